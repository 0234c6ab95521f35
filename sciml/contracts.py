"""What operators promise: how they are built from what the data are, and what one batch of the data looks like.

An operator is a plain `torch.nn.Module`. Its `takes` names one of the batch types below, and its `forward` takes the
fields of that type, under their names, as plain tensors: so that it can be exported, take the weights of a peer and be
used bare. Training and solvers make the batches, and know no operator by its name.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Self, TypeVar

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from sciml.errors import InputError, positive, suggest


@dataclass(frozen=True)
class FunctionSignature:
    """What is known of one input function, u: R^dimensions → R^channels, before any of its values.

    Args:
        name: of the input, as the problem has it.
        channels: components of a value.
        dimensions: coordinates of a point at which it is given.
        sensors: number of points at which every sample gives it; None where any number may come.
    """

    name: str
    channels: int
    dimensions: int
    sensors: int | None = None

    def __post_init__(self) -> None:
        positive(f"functions: {self.name}: channels", self.channels)
        positive(f"functions: {self.name}: dimensions", self.dimensions)
        if self.sensors is not None:
            positive(f"functions: {self.name}: sensors", self.sensors)


@dataclass(frozen=True)
class Signature:
    """What an operator has to map to what: everything that its constructor must learn from the data.

    Args:
        channels_in: fields a point that come in, all steps of the history counted; 0 where only parameters and
            functions do.
        channels_out: fields a point that go out.
        dimensions: coordinates of a point: the spatial axes, and one more where points carry a time.
        n_params: scalar parameters a sample.
        masked: whether some points of a sample lie outside the domain, or are there to fill up a batch.
        periodic: for each spatial axis, in the order of the arrays' axes, or of the coordinates where points have no
            arrays; () where none is.
        space: points an axis where all samples have the same grid, in the order of the arrays' axes; else None.
        residual: whether the answer is added to the state that came in.
        functions: the input functions, in the order of `PointBatch.functions` and `CloudBatch.functions`.
        frames_out: frames whose channels go out, one frame after another.
    """

    channels_in: int
    channels_out: int
    dimensions: int
    n_params: int = 0
    masked: bool = False
    periodic: tuple[bool, ...] = ()
    space: tuple[int, ...] | None = None
    residual: bool = False
    functions: tuple[FunctionSignature, ...] = ()
    frames_out: int = 1

    def __post_init__(self) -> None:
        positive("channels_in", self.channels_in, 0)
        positive("channels_out", self.channels_out)
        positive("dimensions", self.dimensions)
        positive("n_params", self.n_params, 0)
        for name, values in (("periodic", self.periodic), ("space", self.space)):
            if values and len(values) > self.dimensions:
                raise InputError(f"{name}: expected at most {self.dimensions} values, one an axis, got {values}")

    def is_periodic(self, axis: int) -> bool:
        """Whether the axis of the arrays with this number is periodic."""
        return axis < len(self.periodic) and bool(self.periodic[axis])


class Function(NamedTuple):
    """An input function of every sample of a batch, by its values at sensors.

    Args:
        values: (batch, sensor, channel).
        points: (batch, sensor, dimension), where the sensors are.
        mask: (batch, sensor), 1 where a sensor is one, 0 where it fills up the batch; None where all are.
        weights: (batch, sensor), quadrature weights in any unit; None where all sensors count alike.
    """

    values: Float[Tensor, "batch sensor channel"]
    points: Float[Tensor, "batch sensor dimension"]
    mask: Shaped[Tensor, "batch sensor"] | None = None
    weights: Float[Tensor, "batch sensor"] | None = None


class Batch:
    """Several samples together; the fields of a batch are the arguments of `forward`."""

    def arguments(self) -> dict[str, Any]:
        """The fields by name: `operator(**batch.arguments())`."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}  # pyright: ignore[reportArgumentType]

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Self:
        """The same on another device, floating-point tensors in another dtype; whole numbers keep theirs."""
        return type(self)(**{name: _to(value, device, dtype) for name, value in self.arguments().items()})


def _to(value: Any, device: torch.device | str | None, dtype: torch.dtype | None) -> Any:
    if isinstance(value, Tensor):
        return value.to(device=device, dtype=dtype if value.is_floating_point() else None)
    if isinstance(value, Function):
        return Function(*(_to(part, device, dtype) for part in value))
    if isinstance(value, tuple):
        return tuple(_to(part, device, dtype) for part in value)
    return value


@dataclass(frozen=True, eq=False)
class GridBatch(Batch):
    """Fields on one regular grid.

    Args:
        x: (batch, channel, *space).
        params: (batch, n_params); None where there are none.
        mask: (batch or 1, 1, *space), 1 inside the domain; None where every point is inside.
        coords: (batch or 1, dimension, *space), positions of the points on the unit box; None for evenly spread ones.
    """

    x: Float[Tensor, "batch channel *space"]
    params: Float[Tensor, "batch n_params"] | None = None
    mask: Shaped[Tensor, "#batch 1 *space"] | None = None
    coords: Float[Tensor, "#batch dimension *space"] | None = None


@dataclass(frozen=True, eq=False)
class PointBatch(Batch):
    """Points at which an answer is wanted, and what determines it.

    Args:
        points: (batch, point, dimension): space, and time as the last coordinate where the operator is asked for times.
        params: (batch, n_params); None where there are none.
        functions: the input functions, in the order of `Signature.functions`.
        mask: (batch, point), 1 where a point is one, 0 where it fills up the batch; None where all are.
    """

    points: Float[Tensor, "batch point dimension"]
    params: Float[Tensor, "batch n_params"] | None = None
    functions: tuple[Function, ...] = ()
    mask: Shaped[Tensor, "batch point"] | None = None


@dataclass(frozen=True, eq=False)
class CloudBatch(Batch):
    """Fields at points, any number of them, that are joined by nothing.

    A sum over points is a quadrature: an operator weighs every point by its share of the weights of its sample, so that
    answers converge as points get denser, wherever they do. A point of weight 0 that the mask does not rule out is a
    *query point*: it gets an answer, and no other answer depends on it.

    Args:
        points: (batch, point, dimension): space, and time as the last coordinate where the operator is asked for times.
        values: (batch, point, channel), the fields at the points: past frames and static inputs; None where there are
            none.
        params: (batch, n_params); None where there are none.
        functions: the input functions at points of their own, in the order of `Signature.functions`.
        mask: (batch, point), 1 where a point is one; the others fill up the batch, never matter, and are answered by 0.
            None where all are.
        weights: (batch, point), quadrature weights ≥ 0 in any unit, at least one of them positive; None where all
            points count alike.
    """

    points: Float[Tensor, "batch point dimension"]
    values: Float[Tensor, "batch point channel"] | None = None
    params: Float[Tensor, "batch n_params"] | None = None
    functions: tuple[Function, ...] = ()
    mask: Shaped[Tensor, "batch point"] | None = None
    weights: Float[Tensor, "batch point"] | None = None


@dataclass(frozen=True, eq=False)
class GraphBatch(Batch):
    """The graphs of several samples as one graph without edges between samples.

    Args:
        nodes: (node, channel), the fields at the nodes of all samples, one sample after another.
        points: (node, dimension), where the nodes are.
        edges: (2, edge), the numbers of sender and receiver of every edge.
        offsets: (edge, dimension), from sender to receiver, in units of the domain's longest extent: true to scale, and
            the short way across a periodic seam.
        graph: (node,), the number of the sample that a node belongs to.
        params: (graph, n_params); None where there are none.
        mask: (node,), 1 where a node is one, 0 where it fills up the batch; None where all are.
    """

    nodes: Float[Tensor, "node channel"]
    points: Float[Tensor, "node dimension"]
    edges: Int64[Tensor, "2 edge"]
    offsets: Float[Tensor, "edge dimension"]
    graph: Int64[Tensor, " node"]
    params: Float[Tensor, "graph n_params"] | None = None
    mask: Shaped[Tensor, " node"] | None = None


@dataclass(frozen=True, eq=False)
class CurvedGraphBatch(GraphBatch):
    """Graphs, and where their bottlenecks are: for operators that build edges of their own.

    Args:
        curvature: (node,), the mean Ollivier–Ricci curvature of the edges at each node: negative where edges are
            bridges, 0 at nodes without edges.
        lengths: (graph or 1, dimension), extents of the domain in units of the longest: `lengths` times a difference of
            `points` is an offset.
    """

    curvature: Float[Tensor, " node"] = dataclasses.field(kw_only=True)
    lengths: Float[Tensor, "#graph dimension"] = dataclasses.field(kw_only=True)


@dataclass(frozen=True, eq=False)
class CellGraphBatch(GraphBatch):
    """Graphs whose nodes are the corners of cells: for operators that move nodes.

    Args:
        cells: (dimension + 1, cell), the numbers of the corners of intervals or triangles, of positive content.
        free: (node, dimension), the share of a step along each axis that a node may take: 0 along axes that lead off
            the boundary, 1 inside.
        lengths: (graph or 1, dimension), extents of the domain in units of the longest: `lengths` times a difference of
            `points` is an offset.
    """

    cells: Int64[Tensor, "corner cell"] = dataclasses.field(kw_only=True)
    free: Float[Tensor, "node dimension"] = dataclasses.field(kw_only=True)
    lengths: Float[Tensor, "#graph dimension"] = dataclasses.field(kw_only=True)


@dataclass(frozen=True, eq=False)
class ParticleBatch(GraphBatch):
    """Particles at one instant, joined to those within a radius: for operators that answer with accelerations.

    `nodes` are the past velocities of every particle, the oldest first, in units of their spread; then its distances
    to the walls and what there is to know of the nearest body. `points` are shares of the box. `edges` join every
    particle to all within the radius, itself among them, and `offsets` are in units of the radius. What operators
    answer, (node, dimension), are second differences of positions in time, in units of their own spread.

    Args:
        lengths: (graph, dimension), extents of the box in units of the radius: `lengths` times a difference of `points`
            is an offset.
    """

    lengths: Float[Tensor, "graph dimension"] = dataclasses.field(kw_only=True)


@dataclass(frozen=True, eq=False)
class SensorBatch(Batch):
    """What sensors measured at several instants, and where and when answers are wanted.

    Positions are in units of the domain's longest extent, true to scale; times are in one unit of the model's.

    Args:
        values: (batch, instant, sensor, channel); what stands where nothing was seen never matters.
        seen: (batch, instant, sensor), 1 where a sensor measured at an instant, else 0.
        sensors: (batch, sensor, dimension), where they are; one that measured at no instant fills up the batch.
        instants: (batch, instant), increasing. At one where nothing was seen, what is known only moves on.
        points: (batch, query, dimension + 1), where and when, time last, each from the first instant of its sample on.
        params: (batch, n_params); None where there are none.
    """

    values: Float[Tensor, "batch instant sensor channel"]
    seen: Float[Tensor, "batch instant sensor"]
    sensors: Float[Tensor, "batch sensor dimension"]
    instants: Float[Tensor, "batch instant"]
    points: Float[Tensor, "batch query coordinate"]
    params: Float[Tensor, "batch n_params"] | None = None


class Operator(nn.Module):
    """A learnable map. Arguments of the constructor are sizes and settings, never data, and `config()` gives them back.

    Class attributes:
        takes: the batch type whose fields `forward` takes.
        title: what people call it.
        name: what files and the command line call it, and under which it is registered.
        decided: constructor arguments that follow from the signature, with what they follow from.
        sensors: number of fixed sensors at which it wants to see functions; None for all their points.
        asks_times: whether it is made to be asked for times, rather than for the next frame.
        frames: frames that go in, and that come out at once, where it is made for several; None for the next frame.
        solver: the registered name of the solver that it is trained as.
        nodes_share: of the particles that it is made for, where it takes particles; None for all.

    Attributes:
        forgets: whether training keeps nothing of what is inside of a block, and computes it again on the way back.
    """

    sensors: ClassVar[int | None] = None
    asks_times: ClassVar[bool] = False
    frames: ClassVar[tuple[int, int] | None] = None
    solver: ClassVar[str] = "surrogate"
    nodes_share: ClassVar[float | None] = None
    forgets: bool = False

    takes: ClassVar[type[Batch]]
    title: ClassVar[str]
    name: ClassVar[str]
    decided: ClassVar[Mapping[str, str]] = {
        "in_channels": "channels_in",
        "out_channels": "channels_out",
        "n_params": "n_params",
        "dimensions": "dimensions",
    }

    @classmethod
    def for_signature(cls, signature: Signature, **options: Any) -> Self:
        """The untrained operator for data like these.

        Args:
            signature: what the data are.
            options: arguments of the constructor in place of those that the data would suggest.

        Raises:
            InputError: an option out of range, or an operator that cannot take such data.
        """
        raise NotImplementedError

    @classmethod
    def options(cls) -> tuple[str, ...]:
        """Names that `for_signature` takes as options."""
        return tuple(n for n in inspect.signature(cls.__init__).parameters if n != "self" and n not in cls.decided)

    def config(self) -> dict[str, Any]:
        """Arguments from which the constructor builds this module anew; JSON-able."""
        raise NotImplementedError

    @property
    def dtype(self) -> torch.dtype | None:
        """That of the weights, in which it computes and answers whatever comes in; None where there are none."""
        return next((p.dtype for p in self.parameters() if p.is_floating_point()), None)

    def objective(self) -> Callable[..., Tensor] | None:
        """The loss that this operator brings along; None where it is trained like any other."""
        return None

    def through(self, block: Callable[..., Any], *arguments: Any) -> Any:
        """`block(*arguments)`; where the operator `forgets`, with a memory of its arguments alone.

        Args:
            block: a function of tensors, as a rule a submodule.
        """
        if self.forgets and self.training and torch.is_grad_enabled():
            return checkpoint(block, *arguments, use_reentrant=False)
        return block(*arguments)


AnyOperator = TypeVar("AnyOperator", bound=Operator)


def build(cls: type[AnyOperator], signature: Signature, options: Mapping[str, Any]) -> AnyOperator:
    """`cls.for_signature(signature, **options)` with the names of the options checked.

    An option that the data decide may be given where it agrees with them.

    Raises:
        InputError: a name that is none, with the nearest one that is; a value that the data contradict.
    """
    rest = {}
    for name, value in options.items():
        if name in cls.decided:
            expected = getattr(signature, cls.decided[name])
            if value != expected:
                raise InputError(f"{cls.name}: {name}: the data have {expected}, got {value!r}")
        elif name in cls.options():
            rest[name] = value
        else:
            raise InputError(f"{cls.name}: {name}: no option is called so{suggest(name, cls.options())}")
    return cls.for_signature(signature, **rest)
