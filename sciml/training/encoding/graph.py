"""Fields on nodes that are joined by edges."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from sciml.contracts import CellGraphBatch, CurvedGraphBatch, GraphBatch, Signature
from sciml.problem import Case
from sciml.support import Grid, Mesh, Support
from sciml.training.encoding._base import Encoding
from sciml.training.encoding.cells import freedom, simplices
from sciml.training.encoding.curvature import node_curvature
from sciml.training.encoding.given import Given

NEIGHBOURS = 6  # of loose points, which bring no edges along


class OnGraphs(Encoding):
    """Abstract. Past frames and static inputs as channels of nodes; edges, both ways, along the sides of cells.

    Neighbouring cells of a grid are joined, across the seam of a periodic axis as well; loose points each with the
    nearest six. The time that is asked for (`Query`) is a parameter of the sample.
    """

    flat: ClassVar[bool] = True

    def signature(self) -> Signature:
        past = self.stepping.past if self.sees_start else 0
        channels = past * len(self.fields) + len(self.static.names)
        return Signature(
            channels, self.channels_out, self.template.dimensions,
            n_params=len(self.features.names) + self.stepping.queries, masked=self.masked or not self.shared,
            periodic=self.template.periodic, residual=self.stepping.residual,
        )  # fmt: skip

    def place(self, case: Case, support: Support) -> dict[str, Any]:
        return self.place_flat(case, support) | {
            "lengths": np.array([b - a for a, b in support.extents]),
            "edges": edges(support),
            "periodic": support.periodic,
        }

    def applied(
        self, operator: nn.Module, state: Tensor | None, given: Given, params: Tensor, time: Tensor | None
    ) -> Tensor:
        n = len(params)
        assert given.coords is not None
        points = given.coords.expand(n, -1, -1)
        count = points.shape[2]
        parts = [] if state is None or not self.sees_start else [state.flatten(1, 2)]
        if given.static is not None:
            parts.append(given.static.expand(n, -1, -1))
        nodes = torch.cat(parts, dim=1) if parts else points.new_zeros(n, 0, count)
        if time is not None:
            params = torch.cat([params, time[:, None]], dim=1)
        joined = self._joined(given.edges, n, count).to(points.device)
        mask = None if given.mask is None else given.mask[:, 0].expand(n, -1).reshape(-1)
        places = points.movedim(1, 2).reshape(n * count, -1)
        batch = self.batch(given, GraphBatch(
            nodes.movedim(1, 2).reshape(n * count, -1), places, joined, self._offsets(places, joined, given, count),
            torch.arange(n, device=points.device).repeat_interleave(count),
            params if params.shape[1] else None, mask,
        ))  # fmt: skip
        out = operator(**batch.arguments())
        return out.reshape(n, count, -1).movedim(2, 1)

    @staticmethod
    def _joined(numbers: tuple[Tensor, ...], samples: int, count: int) -> Tensor:
        """(corner, all) numbers of nodes of all samples, each of which has `count` of them."""
        several = numbers if len(numbers) == samples else numbers * samples
        return torch.cat([e + i * count for i, e in enumerate(several)], dim=1)

    @abstractmethod
    def batch(self, given: Given, graphs: GraphBatch) -> GraphBatch:
        """The graphs with what else there is to know of them."""

    @staticmethod
    def scales(given: Given) -> Tensor:
        """(batch or 1, D) lengths of the domain in units of the longest."""
        assert given.lengths is not None
        return given.lengths / given.lengths.amax(dim=1, keepdim=True)

    def _offsets(self, places: Tensor, joined: Tensor, given: Given, count: int) -> Tensor:
        """(edge, D) from sender to receiver, in units of the domain's longest extent."""
        share = places[joined[1]] - places[joined[0]]
        around = torch.tensor([float(p) for p in given.periodic], dtype=share.dtype, device=share.device)
        share = share - torch.round(share) * around  # the short way round
        scale = self.scales(given)
        return share * (scale if len(scale) == 1 else scale[joined[1] // count])


class GraphEncoding(OnGraphs):
    """Graphs as they are."""

    def batch(self, given: Given, graphs: GraphBatch) -> GraphBatch:
        return graphs


class CurvedGraphEncoding(OnGraphs):
    """Graphs with the curvature at their nodes, computed once a graph."""

    def place(self, case: Case, support: Support) -> dict[str, Any]:
        found = super().place(case, support)
        return found | {"curvature": node_curvature(found["edges"], support.size)[None]}

    def batch(self, given: Given, graphs: GraphBatch) -> GraphBatch:
        assert given.curvature is not None and given.coords is not None
        samples = len(graphs.graph) // given.curvature.shape[-1]
        curvature = given.curvature[:, 0].expand(samples, -1).reshape(-1)
        return CurvedGraphBatch(**graphs.arguments(), curvature=curvature, lengths=self.scales(given))


class CellGraphEncoding(OnGraphs):
    """Graphs with the cells that their nodes are corners of, and with the steps that keep these nodes in the domain."""

    def signature(self) -> Signature:
        simplices(self.template)  # refuses what has no cells
        return super().signature()

    def place(self, case: Case, support: Support) -> dict[str, Any]:
        found = super().place(case, support)
        cells = simplices(support)
        return found | {"cells": cells.T.copy(), "free": freedom(support, cells).T.astype(self.dtype)}

    def batch(self, given: Given, graphs: GraphBatch) -> GraphBatch:
        assert given.free is not None
        count = given.free.shape[-1]
        samples = len(graphs.graph) // count
        cells = self._joined(given.cells, samples, count).to(graphs.nodes.device)
        free = given.free.expand(samples, -1, -1).movedim(1, 2).reshape(samples * count, -1)
        return CellGraphBatch(**graphs.arguments(), cells=cells, free=free, lengths=self.scales(given))


def edges(support: Support) -> np.ndarray:
    """(2, E) int64, each edge both ways, sorted by receiver."""
    if isinstance(support, Mesh):
        pairs = support.edges()
    elif isinstance(support, Grid):
        pairs = _of_grid(support)
    else:
        from scipy.spatial import KDTree

        points = support.points()
        count = min(NEIGHBOURS + 1, len(points))
        _, near = KDTree(points).query(points, k=count)
        near = np.asarray(near).reshape(len(points), count)
        pairs = np.stack([np.repeat(np.arange(len(points)), count), near.reshape(-1)], 1)
        pairs = np.unique(np.sort(pairs[pairs[:, 0] != pairs[:, 1]], axis=1), axis=0)
    both = np.concatenate([pairs, pairs[:, ::-1]])
    return both[np.lexsort((both[:, 0], both[:, 1]))].T.astype(np.int64).copy()


def _of_grid(grid: Grid) -> np.ndarray:
    number = np.arange(grid.size).reshape(grid.shape)
    pairs = []
    for axis, around in enumerate(reversed(grid.periodic)):
        n = grid.shape[axis]
        lower = number.take(np.arange(n - 1), axis).ravel()
        upper = number.take(np.arange(1, n), axis).ravel()
        pairs.append(np.stack([lower, upper], 1))
        if around and n > 2:
            pairs.append(np.stack([number.take([0], axis).ravel(), number.take([n - 1], axis).ravel()], 1))
    found = np.concatenate(pairs)
    if grid.inside is not None:
        inside = grid.inside.reshape(-1)
        found = found[inside[found].all(1)]
    return np.unique(np.sort(found, axis=1), axis=0)
