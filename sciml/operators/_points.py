"""What operators on points share: their arguments, checks, and the vector of all that is given."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from sciml.contracts import Function, Operator, PointBatch, Signature
from sciml.errors import InputError, positive, suggest

ACTIVATIONS = {"gelu": nn.GELU, "silu": nn.SiLU, "relu": nn.ReLU}


def activation_named(name: str) -> str:
    """The name, if it is one of an activation.

    Raises:
        InputError: it is not.
    """
    if name not in ACTIVATIONS:
        known = tuple(ACTIVATIONS)
        raise InputError(f"activation: expected one of {known}, got {name!r}{suggest(str(name), known)}")
    return name


def perceptron(sizes: Sequence[int], activation: str, *, last: bool) -> nn.Sequential:
    """Affine maps between spaces of these sizes with an activation after each; after the final one only if `last`."""
    layers: list[nn.Module] = []
    for i, (a, b) in enumerate(itertools.pairwise(sizes)):
        layers.append(nn.Linear(a, b))
        if last or i < len(sizes) - 2:
            layers.append(ACTIVATIONS[activation]())
    return nn.Sequential(*layers)


class PointOperator(Operator):
    """An answer at any points, from parameters and input functions at fixed sensors.

    Args:
        out_channels: channels of the answer.
        dimensions: coordinates of a point (space, and time where the network is asked for times).
        n_params: scalar parameters a sample.
        functions: (channels, sensors) of every input function.
    """

    takes: ClassVar = PointBatch
    sensors: ClassVar[int | None] = 128  # the number that it asks for of every input function
    asks_times: ClassVar[bool] = True
    decided: ClassVar = {
        "out_channels": "channels_out",
        "dimensions": "dimensions",
        "n_params": "n_params",
        "functions": "functions",
    }

    def __init__(self, out_channels: int, dimensions: int, n_params: int, functions: Sequence[Sequence[int]]):
        super().__init__()
        self.out_channels, self.dimensions = positive("out_channels", out_channels), positive("dimensions", dimensions)
        self.n_params = positive("n_params", n_params, 0)
        self.functions = tuple((positive("functions", c), positive("functions", n)) for c, n in functions)
        if not self.given_count:
            raise InputError("n_params and functions: expected something that the answer depends on, got neither")

    @property
    def given_count(self) -> int:
        """Numbers of a sample that the answer depends on beside the point."""
        return self.n_params + sum(c * n for c, n in self.functions)

    @classmethod
    def for_signature(cls, signature: Signature, **options: Any) -> Self:
        """As the data are; every input function has to come at a fixed number of sensors."""
        for f in signature.functions:
            if f.sensors is None:
                raise InputError(f"{cls.name}: functions: {f.name}: expected a fixed number of sensors, got any number")
        return cls(
            signature.channels_out,
            signature.dimensions,
            signature.n_params,
            [(f.channels, f.sensors) for f in signature.functions if f.sensors is not None],
            **options,
        )

    def config(self) -> dict[str, Any]:
        return {
            "out_channels": self.out_channels,
            "dimensions": self.dimensions,
            "n_params": self.n_params,
            "functions": [list(f) for f in self.functions],
        }

    def given(self, params: Tensor | None, functions: tuple[Function, ...]) -> Tensor:
        """All that is given beside the points, (batch, n_params + Σ channels · sensors), in the weights' dtype."""
        parts = [] if params is None else [params]
        parts += [f.values.flatten(1) for f in functions]
        return torch.cat([p.to(self.dtype) for p in parts], dim=1)

    def check(
        self, points: Tensor, params: Tensor | None, functions: tuple[Function, ...], mask: Tensor | None
    ) -> None:
        """Refuse tensors whose shapes do not fit, in one line that says which and why."""
        title = type(self).__name__
        tensors(title, points=points, params=params, mask=mask)
        if points.ndim != 3 or points.shape[2] != self.dimensions or not points.is_floating_point():
            expected = f"floating-point (batch, point, {self.dimensions})"
            raise InputError(f"{title}: points: expected {expected}, got {points.dtype} {tuple(points.shape)}")
        batch, count = points.shape[:2]
        if not count:
            raise InputError(f"{title}: points: expected at least one, got none")
        fitting(f"{title}: params", params, (batch, self.n_params))
        fitting(f"{title}: mask", mask, (batch, count), needed=False)
        if len(functions) != len(self.functions):
            raise InputError(f"{title}: functions: expected {len(self.functions)} of them, got {len(functions)}")
        for i, (f, (channels, sensors)) in enumerate(zip(functions, self.functions, strict=True)):
            name = f"{title}: functions[{i}]"
            fitting(f"{name}.values", f.values, (batch, sensors, channels))
            fitting(f"{name}.mask", f.mask, (batch, sensors), needed=False)
            if looked_at(f.values) and f.mask is not None and not bool((f.mask > 0).all()):
                sensor = int((~(f.mask > 0)).nonzero()[0, 1])
                raise InputError(f"{name}: sensor {sensor} is masked; expected values at all of the fixed sensors")
            finite(f"{name}.values", f.values)
        counted(title, points, mask, None)
        finite(f"{title}: params", params)

    def extra_repr(self) -> str:
        return f"{self.out_channels}, {self.dimensions}, n_params={self.n_params}, functions={self.functions}"


def tensors(title: str, **given: Any) -> None:
    """Refuse what is no tensor, as an array of NumPy."""
    for name, value in given.items():
        if value is not None and not isinstance(value, Tensor):
            raise InputError(f"{title}: {name}: expected a torch.Tensor, got {type(value).__name__}")


def fitting(name: str, tensor: Tensor | None, shape: tuple[int, ...], *, needed: bool = True) -> None:
    """Refuse a tensor of another shape, or None where one is needed: where its last axis is not 0."""
    if tensor is None:
        if needed and shape[-1]:
            raise InputError(f"{name}: expected {shape}, got None")
    elif tuple(tensor.shape) != shape:
        raise InputError(f"{name}: expected {shape}, got {tuple(tensor.shape)}")


def looked_at(tensor: Tensor) -> bool:
    """Whether numbers are looked at: on the CPU, and not in a program, for on other devices one would have to wait for
    the answer."""
    return not torch.compiler.is_compiling() and tensor.device.type == "cpu"


def finite(name: str, tensor: Tensor | None, mask: Tensor | None = None) -> None:
    """Refuse nan and inf where the mask, of all axes but the last, is not 0; see `looked_at`.

    The sum comes first: it is finite where all numbers are, but for sums that overflow, and needs no memory.
    """
    if tensor is None or not looked_at(tensor) or bool(torch.isfinite(tensor.detach().sum())):
        return
    wrong = ~torch.isfinite(tensor)
    if mask is not None:
        wrong &= (mask > 0)[..., None]
    if bool(wrong.any()):
        raise InputError(f"{name}: expected numbers, got nan or inf, first at {wrong.nonzero()[0].tolist()}")


def counted(name: str, points: Tensor, mask: Tensor | None, weights: Tensor | None) -> None:
    """Refuse points that are no numbers, weights that are none, and samples in which no point counts; see
    `looked_at`."""
    if not looked_at(points):
        return
    inside = torch.ones(points.shape[:2], dtype=torch.bool) if mask is None else mask > 0
    wrong = (~torch.isfinite(points).all(-1) & inside).nonzero()
    if len(wrong):
        raise InputError(f"{name}: points: expected numbers, got nan or inf in point {wrong[0].tolist()}")
    if weights is not None:
        wrong = (~((weights >= 0) & (weights < math.inf)) & inside).nonzero()
        if len(wrong):
            raise InputError(f"{name}: weights: expected numbers ≥ 0, got others, first at point {wrong[0].tolist()}")
        inside = inside & (weights > 0)
    empty = (~inside.any(1)).nonzero()
    if len(empty):
        raise InputError(f"{name}: points: expected at least one that counts, got none in sample {int(empty[0])}")


def only(values: Tensor, inside: Tensor | None) -> Tensor:
    """Zero where not inside; not a product, or a NaN out there would come in as 0 · NaN."""
    if inside is None:
        return values
    return torch.where(inside, values, torch.zeros((), dtype=values.dtype, device=values.device))
