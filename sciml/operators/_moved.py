"""Graphs whose nodes move: contents of cells, what nodes should gather at, steps that turn no cell over."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from sciml.operators._graph import summed
from sciml.operators._points import only
from sciml.operators.layers.least_squares import LeastSquares, nearest, short

LEAST = 0.05  # of a cell's content that must be left
HALVINGS = 10  # after which nothing moves
ROUNDS = 2  # of means over neighbours that make the monitor smooth


class Rows:
    """Nodes of several samples, one after another, as rows of a sample each, filled up with zeros.

    Args:
        graph: (node,) the number of the sample of a node.
        mask: (node,) 1 where a node is one; None where all are.
    """

    def __init__(self, graph: Int64[Tensor, " node"], mask: Tensor | None):
        counts = torch.bincount(graph)
        self.graph, self.inside = graph, None if mask is None else mask > 0
        self.slot = torch.arange(len(graph), device=graph.device) - (counts.cumsum(0) - counts)[graph]
        self.shape, self.first = (len(counts), int(counts.max())), counts.cumsum(0) - counts

    def of(self, values: Float[Tensor, "node ..."]) -> Float[Tensor, "sample place ..."]:
        """Values of nodes in rows."""
        if self.inside is not None:
            values = only(values, self.inside.reshape(-1, *[1] * (values.ndim - 1)))
        found = values.new_zeros(*self.shape, *values.shape[1:])
        return found.index_put((self.graph, self.slot), values)

    def back(self, values: Tensor) -> Tensor:
        """(node, ...) of rows."""
        return values[self.graph, self.slot]

    def present(self, like: Tensor) -> Float[Tensor, "sample place"]:
        ones = torch.ones(len(self.graph), dtype=like.dtype, device=like.device)
        return self.of(ones)


class Cells(NamedTuple):
    """Cells with nodes for corners, those with a masked one left out.

    Args:
        corners: (corner, cell) node numbers.
        sample: (cell,) that a cell belongs to.
        content: (cell,) of the mesh as it is.
        weights: (node,) shares of a sample's content around a node.
        places: (node, D) true to scale.
        periods: (sample, D) lengths of periodic axes, 0 of others; None where none is.
    """

    corners: Tensor
    sample: Tensor
    content: Tensor
    weights: Tensor
    places: Tensor
    periods: Tensor | None

    @classmethod
    def of(cls, corners: Tensor, places: Tensor, rows: Rows, periods: Tensor | None) -> Cells:
        if rows.inside is not None:
            corners = corners[:, rows.inside[corners].all(0)]
        sample = rows.graph[corners[0]]
        content = torch.linalg.det(_sides(corners, places, sample, periods)).abs()
        portions = content[:, None] / len(corners)
        around = sum(summed(portions, c, len(places)) for c in corners)[:, 0]  # type: ignore[index]
        total = around.new_zeros(rows.shape[0]).index_add(0, rows.graph, around)
        weights = around / total.clamp(min=1e-30)[rows.graph]
        return cls(corners, sample, content, weights, places, periods)

    def sides(self, places: Tensor) -> Float[Tensor, "cell side dimension"]:
        return _sides(self.corners, places, self.sample, self.periods)

    def growth(self, places: Tensor) -> Float[Tensor, " cell"]:
        """Content with the nodes at other places over that of before; below 0 of cells that are turned over."""
        before, after = (torch.linalg.det(self.sides(p)) for p in (self.places, places))
        return after / before

    def mean(self, values: Float[Tensor, " cell"]) -> Float[Tensor, " sample"]:
        """Over the cells of a sample, by content."""
        samples = int(self.sample.max()) + 1 if len(self.sample) else 0
        totals = values.new_zeros(samples, 2)
        both = torch.stack((values * self.content, self.content), 1)
        totals = totals.index_add(0, self.sample, both)
        return totals[:, 0] / totals[:, 1].clamp(min=1e-30)


def _sides(corners: Tensor, places: Tensor, sample: Tensor, periods: Tensor | None) -> Tensor:
    sides = places[corners[1:]] - places[corners[:1]]  # (D, C, D)
    return short(sides, None if periods is None else periods[sample]).movedim(0, 1)


def monitor(
    values: Float[Tensor, "node channel"], cells: Cells, rows: Rows, edges: Tensor, target: Tensor
) -> Float[Tensor, " node"]:
    """m = 1 + |∇u| / (mean of |∇u| over the sample), all channels together, then smoothed over neighbours.

    Half of the nodes go where the fields change, half are spread evenly. ∇u of the linear functions on cells, as means
    over the cells around a node.
    """
    rise = values[cells.corners[1:]] - values[cells.corners[:1]]  # (D, C, channel)
    slopes = torch.linalg.solve(cells.sides(cells.places), rise.movedim(0, 1))  # (C, D, channel)
    flat = slopes.flatten(1) * cells.content[:, None]
    count = len(values)
    total = sum(summed(flat, c, count) for c in cells.corners)
    around = sum(summed(cells.content[:, None], c, count) for c in cells.corners)
    size = torch.linalg.vector_norm(total / around.clamp(min=1e-30), dim=1)  # type: ignore[operator, union-attr]
    for _ in range(ROUNDS):
        mean = summed(size[edges[0]][:, None], target, count + 1, mean=True)[:-1, 0]
        size = (size + mean) / 2
    level = size.new_zeros(rows.shape[0]).index_add(0, rows.graph, size * cells.weights)[rows.graph]
    return 1 + torch.where(level > 0, size / level.clamp(min=1e-30), torch.zeros_like(size))


@torch.no_grad()
def safe_share(steps: Float[Tensor, "node dimension"], cells: Cells, samples: int) -> Float[Tensor, " sample"]:
    """The largest of 1, ½, ¼, ... of the way for a sample at which every cell keeps its orientation and a twentieth of
    its content; 0 where none will do."""
    found = steps.new_zeros(samples)
    for k in range(HALVINGS):
        growth = cells.growth(cells.places + 0.5**k * steps)
        wrong = found.new_zeros(samples).index_add(0, cells.sample, (~(growth >= LEAST)).to(found.dtype))
        found = torch.where((found == 0) & (wrong == 0), torch.full_like(found, 0.5**k), found)
        if bool((found > 0).all()):
            break
    return found


class Between(NamedTuple):
    """How values go from nodes at one place to others.

    Args:
        index: (node, neighbour) numbers of nodes around each.
        ways: (node, neighbour, D) offsets to them.
        near: (node, neighbour) 1 for those that are some.
    """

    index: Tensor
    ways: Tensor
    near: Tensor

    @classmethod
    def of(cls, old: Tensor, new: Tensor, rows: Rows, periods: Tensor | None, count: int) -> Between:
        """From values at nodes at `old` to those at `new`, both (node, D)."""
        apart = rows.of(old), rows.of(new)
        index, near = nearest(*apart, rows.present(old), count, periods)
        numbers = rows.back(index + rows.first[:, None, None])
        near = rows.back(near)
        numbers = torch.where(near > 0, numbers, torch.zeros_like(numbers))
        return cls(numbers, near, near).along(old, new, rows, periods)

    def along(self, old: Tensor, new: Tensor, rows: Rows, periods: Tensor | None) -> Between:
        """From the same neighbours, with offsets that are differentiable in both places."""
        around = None if periods is None else periods[rows.graph][:, None]
        ways = short(old[self.index] - new[:, None], around)
        return Between(self.index, only(ways, self.near[..., None] > 0), self.near)

    def __call__(self, values: Float[Tensor, "node channel"], fit: LeastSquares) -> Float[Tensor, "node channel"]:
        weights = fit(self.ways, self.near)
        return torch.einsum("nk,nkc->nc", weights, values[self.index])


def unevenness(places: Tensor, m: Tensor, cells: Cells, samples: int) -> Float[Tensor, ""]:
    """The mean over cells, by content before, of (m J/θ − 1)², J being their growth and θ the mean of m J: 0 where
    nodes have the density m. The equation of Monge and Ampère on cells, where steps are those of a potential.

    Args:
        places: (node, D) of nodes that have moved.
        m: (node,) the monitor there.
    """
    portion = m[cells.corners].mean(0) * cells.growth(places)
    theta = cells.mean(portion).clamp(min=1e-6)
    return cells.mean((portion / theta[cells.sample] - 1).square()).mean()


class _Beside(torch.autograd.Function):
    """The answer as it is; on the way back a loss beside it gets the gradient 1."""

    @staticmethod
    def forward(ctx: Any, answer: Tensor, loss: Tensor) -> Tensor:
        return answer.view_as(answer)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        (gradient,) = gradients
        return gradient, gradient.new_ones(())


def beside(answer: Tensor, loss: Tensor) -> Tensor:
    """The answer, whose gradient brings along that of a loss of its own: for parts that learn without labels, whatever
    objective the answer is trained with."""
    return _Beside.apply(answer, loss)  # type: ignore[no-any-return]
