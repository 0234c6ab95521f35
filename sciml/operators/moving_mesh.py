"""Messages along the edges of a mesh, and of the same mesh with its nodes moved to where the fields change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor, nn

from sciml import registry
from sciml.contracts import CellGraphBatch
from sciml.errors import InputError, is_number, positive, suggest
from sciml.operators._graph import GraphNetwork, summed
from sciml.operators._moved import Between, Cells, Rows, beside, monitor, safe_share, unevenness
from sciml.operators._points import only
from sciml.operators.layers.least_squares import LeastSquares
from sciml.operators.layers.movers import Mover, Potential, RandomWaves, Still

#: what gives nodes their steps; None for no second branch at all
MOVERS: dict[str, Callable[[MovingMeshOperator], Mover] | None] = {
    "potential": lambda o: Potential(o.dimensions, o.map_width, o.map_modes, o.map_layers),
    "random": lambda o: RandomWaves(o.dimensions, o.size, o.seed),
    "still": lambda o: Still(o.dimensions),
    "none": None,
}


@registry.operators.register("moving_mesh")
class MovingMeshOperator(GraphNetwork):
    """Two graph networks, one on the mesh as it is, one on the mesh with its nodes moved, and a linear part:

        y = N₁(u; ξ) + I₂ N₂(I₁ u; x) + A u + B (mean of u over neighbours − u),    x = ξ + λ F Δ(u)

    N₁ and N₂ are MeshGraphNets of the same kind. The moved mesh has the edges of the mesh, with new offsets and
    positions: cells are never turned over, so that neighbours stay neighbours. I₁ takes values at the nodes ξ to the
    moved ones, I₂ takes answers back, both by moving least squares with learned weights: they reproduce constants and
    linear functions whatever they have learned.

    Steps Δ are those of a potential that solves the linearised equation of Monge and Ampère for m = 1 + |∇u|/mean |∇u|,
    and that a network corrects. F leaves out what leads off the
    boundary, and λ is the largest of 1, ½, ¼, ... for each sample at which every cell keeps a twentieth of its content.
    The mover learns by its own residual, the unevenness of m over the moved cells, and sees no labels: its gradient
    comes along with that of the answer in training, whatever the objective is, and that of the answer does not reach
    it. `unevenness` says how well it does.

    In the published code the mover indexes x along the last axis and the graph along the first, so that meshes are
    mirrored; here both take the same positions of the same nodes. There the comparison has no linear part; here it is
    `mover="none"`, with one.

    Args:
        in_channels: fields a node that come in.
        out_channels: fields a node that go out.
        dimensions: coordinates of a node, 1 or 2.
        n_params: scalar parameters a sample.
        periodic: for each coordinate, whether it is periodic.
        mover: "potential"; or a control: "random", the same smooth steps for all samples; "still", both branches on the
            same mesh; "none", without a second branch.
        watched: numbers of the channels that |∇u| is of; None for all.
        neighbours: of the least squares fits.
        kernel_width: of the networks of their weights.
        map_width, map_modes, map_layers: of the network of the potential.
        size, seed: of random steps, root mean square in units of the extents.
        width: channels of nodes and edges inside.
        layers: rounds of messages of each branch.
        depth: affine maps of every perceptron, at least 2.
        activation: "relu", "gelu" or "silu".
        aggregation: "sum" or "mean" of the messages that arrive.
        positions: whether `points` go into the nodes.

    Raises:
        InputError: an argument out of range, tensors whose shapes do not fit, edges or cells of nodes that there are
            not.

    Source: P. Hu, Y. Wang, Z.-M. Ma, "Better neural PDE solvers through data-free mesh movers", ICLR (2024).
    """

    name, title = "moving_mesh", "Moving-mesh operator"
    takes: ClassVar = CellGraphBatch
    decided: ClassVar = {**GraphNetwork.decided, "periodic": "periodic"}

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        dimensions: int = 2,
        n_params: int = 0,
        periodic: Sequence[bool] = (),
        *,
        mover: str = "potential",
        watched: Sequence[int] | None = None,
        neighbours: int = 8,
        kernel_width: int = 16,
        map_width: int = 8,
        map_modes: int = 10,
        map_layers: int = 2,
        size: float = 0.03,
        seed: int = 0,
        width: int = 32,
        layers: int = 4,
        depth: int = 2,
        activation: str = "relu",
        aggregation: str = "mean",
        positions: bool = True,
    ):
        kind: dict[str, Any] = {
            "width": width, "layers": layers, "depth": depth, "activation": activation, "aggregation": aggregation,
            "positions": positions,
        }  # fmt: skip
        super().__init__(in_channels, out_channels, dimensions, n_params, **kind)
        if self.dimensions > 2:
            raise InputError(f"moving_mesh: dimensions: expected data on 1 or 2 axes, got {dimensions}")
        if mover not in MOVERS:
            raise InputError(f"mover: expected one of {tuple(MOVERS)}, got {mover!r}{suggest(str(mover), MOVERS)}")
        if mover == "potential" and not self.in_channels:
            raise InputError("mover: moving_mesh needs fields at the nodes, as problems in time have, or mover='none'")
        self.periodic = tuple(bool(p) for p in periodic)
        if self.periodic and len(self.periodic) != self.dimensions:
            raise InputError(f"periodic: expected {self.dimensions} values, one a coordinate, got {self.periodic}")
        self.watched = None if watched is None else tuple(positive("watched", k, 0) for k in watched)
        if self.watched is not None and (not self.watched or max(self.watched) >= self.in_channels):
            raise InputError(f"watched: expected numbers from 0 to {self.in_channels - 1}, got {watched!r}")
        if not is_number(size) or size < 0:
            raise InputError(f"size: expected a number ≥ 0, got {size!r}")
        self.size, self.seed = float(size), positive("seed", seed, 0)
        self.neighbours, self.kernel_width = (
            positive("neighbours", neighbours, 3),
            positive("kernel_width", kernel_width),
        )
        self.map_width, self.map_modes = positive("map_width", map_width), positive("map_modes", map_modes, 2)
        self.map_layers, self.moves = positive("map_layers", map_layers), mover
        self.cut = nn.Linear(2 * self.in_channels, self.out_channels) if self.in_channels else None
        make = MOVERS[mover]
        self.mover = None if make is None else make(self)
        if self.mover is not None:
            self.second = GraphNetwork(in_channels, out_channels, dimensions, n_params, **kind)
            self.there, self.back = (LeastSquares(self.dimensions, self.kernel_width) for _ in range(2))
            self.plain = LeastSquares(self.dimensions, 0)

    def config(self) -> dict[str, Any]:
        return super().config() | {
            "periodic": list(self.periodic),
            "mover": self.moves,
            "watched": None if self.watched is None else list(self.watched),
            "neighbours": self.neighbours,
            "kernel_width": self.kernel_width,
            "map_width": self.map_width,
            "map_modes": self.map_modes,
            "map_layers": self.map_layers,
            "size": self.size,
            "seed": self.seed,
        }

    def forward(
        self,
        nodes: Float[Tensor, "node channel"],
        points: Float[Tensor, "node dimension"],
        edges: Int64[Tensor, "2 edge"],
        offsets: Float[Tensor, "edge dimension"],
        graph: Int64[Tensor, " node"],
        params: Float[Tensor, "graph n_params"] | None = None,
        mask: Shaped[Tensor, " node"] | None = None,
        *,
        cells: Int64[Tensor, "corner cell"] | None = None,
        free: Float[Tensor, "node dimension"] | None = None,
        lengths: Float[Tensor, "#graph dimension"] | None = None,
    ) -> Float[Tensor, "node channel_out"]:
        """Apply the operator.

        Args:
            nodes: (node, in_channels), the fields at the nodes of all samples, one sample after another.
            points: (node, dimensions), where they are, as shares of the domain's extents.
            edges: (2, edge), the numbers of sender and receiver.
            offsets: (edge, dimensions), from sender to receiver.
            graph: (node,), the number of the sample that a node belongs to.
            params: (graph, n_params), or None where n_params = 0.
            mask: (node,), 1 where a node is one. The others, their edges and cells never matter, and the answer is 0
                there.
            cells: (dimensions + 1, cell), the numbers of the corners of every cell; None with mover="none" alone.
            free: (node, dimensions), the share of a step along each axis that a node may take; None for 1.
            lengths: (graph or 1, dimensions), which make offsets of differences of points; None for 1.

        Returns:
            (node, out_channels).
        """
        self.check(nodes, points, edges, offsets, graph, params, mask)
        spacing = self.spacing(edges, offsets, graph, mask)
        found = self.network(nodes, points, edges, offsets, graph, params, mask, spacing) + self.linear(
            nodes, edges, mask
        )
        if self.mover is None:
            return found
        frame = self.frame(nodes, points, graph, mask, cells, free, lengths)
        m = self.monitor(frame, edges, mask) if self.mover.learns else torch.ones_like(frame.cells.weights)
        steps = self.steps(frame, m)
        share = frame.share(steps)
        old, new = frame.cells.places, frame.after(steps.detach(), share)
        into, out_of = (self.between(*pair, frame) for pair in ((old, new), (new, old)))
        if self.mover.learns and self.training and torch.is_grad_enabled():
            found = beside(found, self._unevenness(frame, steps, m, into if bool((share == 1).all()) else None))
        moved = offsets.to(self.dtype) + (new - old)[edges[1]] - (new - old)[edges[0]]
        answer = self.second.network(
            into(frame.nodes, self.there), new / frame.scale, edges, moved, graph, params, mask,
            self.spacing(edges, moved, graph, mask),
        )  # fmt: skip
        return found + only(out_of(answer, self.back), frame.inside)

    def linear(self, nodes: Tensor, edges: Tensor, mask: Tensor | None) -> Tensor:
        """A u + B (mean of u over neighbours − u)."""
        if self.cut is None:
            return torch.zeros((), dtype=self.dtype, device=nodes.device)
        inside = None if mask is None else (mask > 0)[:, None]
        values = only(nodes.to(self.dtype), inside)
        mean = summed(
            values.index_select(0, edges[0]), self.target(edges, mask, nodes.shape[0]), nodes.shape[0] + 1, mean=True
        )
        return only(self.cut(torch.cat((values, mean[:-1] - values), dim=1)), inside)

    def target(self, edges: Tensor, mask: Tensor | None, count: int) -> Tensor:
        """(edge,) where messages count; one past the last node where they do not."""
        alive = self.alive(edges, mask)
        return edges[1] if alive is None else torch.where(alive, edges[1], count)

    def frame(
        self, nodes: Tensor, points: Tensor, graph: Tensor, mask: Tensor | None, cells: Tensor | None,
        free: Tensor | None, lengths: Tensor | None,
    ) -> Frame:  # fmt: skip
        """What moving takes, in the weights' dtype."""
        if cells is None or cells.ndim != 2 or len(cells) != self.dimensions + 1 or cells.dtype != torch.int64:
            got = None if cells is None else f"{cells.dtype} {tuple(cells.shape)}"
            raise InputError(f"MovingMeshOperator: cells: expected int64 ({self.dimensions + 1}, cell), got {got}")
        if cells.numel() and not 0 <= int(cells.min()) <= int(cells.max()) < len(points):
            most, found = len(points) - 1, f"{int(cells.min())} to {int(cells.max())}"
            raise InputError(f"MovingMeshOperator: cells: expected numbers from 0 to {most}, got {found}")
        if free is not None and free.shape != points.shape:
            raise InputError(f"MovingMeshOperator: free: expected {tuple(points.shape)}, got {tuple(free.shape)}")
        if lengths is not None and (lengths.ndim != 2 or lengths.shape[1] != self.dimensions):
            expected = f"(graph or 1, {self.dimensions})"
            raise InputError(f"MovingMeshOperator: lengths: expected {expected}, got {tuple(lengths.shape)}")
        inside = None if mask is None else (mask > 0)[:, None]
        rows, values = Rows(graph, mask), only(nodes.to(self.dtype), inside)
        scale = points.new_ones(1, self.dimensions) if lengths is None else lengths
        scale = scale.to(self.dtype).expand(rows.shape[0], -1)
        around = torch.tensor(self.periodic, dtype=self.dtype, device=points.device) if any(self.periodic) else None
        places = only(points.to(self.dtype), inside) * scale[graph]
        share = torch.ones_like(places) if free is None else only(free.to(self.dtype), inside)
        found = Cells.of(cells, places, rows, None if around is None else around * scale)
        return Frame(values, rows, found, share, scale[graph], inside)

    @torch.no_grad()
    def monitor(self, frame: Frame, edges: Tensor, mask: Tensor | None) -> Tensor:
        """(node,) where nodes should gather."""
        values = frame.nodes if self.watched is None else frame.nodes[:, list(self.watched)]
        return monitor(values, frame.cells, frame.rows, edges, self.target(edges, mask, values.shape[0]))

    def steps(self, frame: Frame, m: Tensor) -> Tensor:
        """(node, D) that the mover would have nodes go, true to scale and within the domain."""
        assert self.mover is not None
        rows, cells = frame.rows, frame.cells
        proposed = self.mover(rows.of(cells.places / frame.scale), rows.of(m - 1) + 1, rows.of(cells.weights))
        steps = rows.back(proposed) * frame.scale * frame.free
        return only(steps, torch.isfinite(steps).all(1, keepdim=True))

    def between(self, old: Tensor, new: Tensor, frame: Frame) -> Between:
        return Between.of(old, new, frame.rows, frame.cells.periods, self.neighbours)

    def _unevenness(self, frame: Frame, steps: Tensor, m: Tensor, known: Between | None = None) -> Tensor:
        """`known`: from the mesh to where these steps lead."""
        places = frame.cells.places + steps
        found = known or self.between(frame.cells.places, places.detach(), frame)
        there = found.along(frame.cells.places, places, frame.rows, frame.cells.periods)
        around = m[there.index]
        moved = there(m[:, None], self.plain)[:, 0].clamp(around.amin(1), around.amax(1))
        return unevenness(places, moved, frame.cells, frame.rows.shape[0])

    @torch.no_grad()
    def unevenness(self, **batch: Any) -> tuple[float, float, float]:
        """Of a batch, root mean squares over cells of m J/θ − 1: on the mesh as it is and on the moved one; and the
        mean share of steps that the safeguard left."""
        frame, m = self._asked(batch)
        steps = self.steps(frame, m)
        share = frame.share(steps)
        ways = torch.zeros_like(steps), frame.after(steps, share) - frame.cells.places
        before, after = (self._unevenness(frame, way, m) for way in ways)
        return float(before.sqrt()), float(after.sqrt()), float(share.mean())

    @torch.no_grad()
    def moved(self, **batch: Any) -> Float[Tensor, "node dimension"]:
        """Where the nodes of a batch go, in shares of the extents, as `points`."""
        frame, m = self._asked(batch)
        steps = self.steps(frame, m)
        return frame.after(steps, frame.share(steps)) / frame.scale

    def _asked(self, batch: dict[str, Any]) -> tuple[Frame, Tensor]:
        given = (batch.get(n) for n in ("nodes", "points", "graph", "mask", "cells", "free", "lengths"))
        frame = self.frame(*given)  # type: ignore[arg-type]
        return frame, self.monitor(frame, batch["edges"], batch.get("mask"))


class Frame:
    """A batch as moving takes it.

    Args:
        nodes: (node, channel) fields, 0 outside of the mask.
        rows, cells: of the nodes.
        free: (node, D) shares of steps along each axis.
        scale: (node, D) lengths of the domain.
        inside: (node, 1) of the mask; None where all are.
    """

    def __init__(self, nodes: Tensor, rows: Rows, cells: Cells, free: Tensor, scale: Tensor, inside: Tensor | None):
        self.nodes, self.rows, self.cells, self.free, self.scale, self.inside = nodes, rows, cells, free, scale, inside

    def share(self, steps: Tensor) -> Tensor:
        """(sample,) how much of steps turns no cell over."""
        return safe_share(steps, self.cells, self.rows.shape[0])

    def after(self, steps: Tensor, share: Tensor) -> Tensor:
        """(node, D) places after so much of steps."""
        return self.cells.places + share[self.rows.graph][:, None] * steps
