"""Coordinates of nodes as attention averages of those of their neighbours, all at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse
import scipy.sparse.linalg
import torch
from torch import Tensor

from sciml.meshing._simplices import contents, gathered
from sciml.meshing.mover import Domain


class Neighbours:
    """Which nodes see which, and the weights by which every node of the mesh, as it is, is the average of those.

        wᵢⱼ = Σ over triangles at edge ij of tan(α/2)/ℓᵢⱼ,    Σⱼ wᵢⱼ (ξⱼ − ξᵢ) = 0,

    α being the angle of the triangle at i. All are positive. Where a node slides, its two neighbours on the boundary
    take up what is missing along it.

    Attributes:
        to, of: (E,) the node that sees, in order, and the one that is seen.
        weight: (E,) wᵢⱼ over their sum at i.
        length: (E,) of edges.
        content: (N,) a third of the triangles around a node.

    Source of the weights: M. S. Floater, Mean value coordinates, Comput. Aided Geom. Des. 20 (2003), 19.
    """

    def __init__(self, domain: Domain):
        points, cells, sliding = domain.points, domain.cells, domain.sliding
        count, slides = len(points), sliding.slides
        rows, columns, values = [], [], []
        area = contents(points, cells)
        for i in range(3):
            a, b, c = cells[:, i], cells[:, (i + 1) % 3], cells[:, (i + 2) % 3]
            u, v = points[b] - points[a], points[c] - points[a]
            p, q = np.sqrt((u * u).sum(1)), np.sqrt((v * v).sum(1))
            half = (p * q - (u * v).sum(1)) / (2 * area)  # tan α/2 = (1 − cos α)/sin α
            rows += [a, a]
            columns += [b, c]
            values += [half / p, half / q]
        table: Any = scipy.sparse.csr_array(
            (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), shape=(count, count)
        )
        a, b = sliding.sides.T
        pull, ends = table @ points - table.sum(1)[:, None] * points, points[b] - points[a]
        along = (pull * sliding.tangent).sum(1)
        length = np.sqrt((ends * ends).sum(1))
        back, forth = slides[b], slides[a]  # a side leads out of its first node, along the tangent of that
        extra = scipy.sparse.csr_array(
            (
                np.concatenate([np.maximum(along[b], 0)[back] / length[back],
                                np.maximum(-along[a], 0)[forth] / length[forth]]),
                (np.concatenate([b[back], a[forth]]), np.concatenate([a[back], b[forth]])),
            ),
            shape=(count, count),
        )  # fmt: skip
        table = (table + extra).tocsr()
        table.sort_indices()
        self.count = count
        self.to, self.of = np.repeat(np.arange(count), np.diff(table.indptr)), table.indices.astype(np.int64)
        self.weight = table.data / np.repeat(table.sum(1), np.diff(table.indptr))
        self.points, self.cells, self.sliding = points, cells, sliding
        self.length = np.sqrt(((points[self.of] - points[self.to]) ** 2).sum(1))
        self.content = gathered(cells, np.repeat(area[:, None] / 3, 3, 1), count)
        self._equations()

    def _equations(self) -> None:
        """Which numbers of edges go where in the matrix of what is free."""
        slides, tangent = self.sliding.slides, self.sliding.tangent
        inner = ~self.sliding.fixed & ~slides
        ways = np.zeros((self.count, 2, 2))  # directions in which a node is free
        ways[inner], ways[slides, 0] = np.eye(2), tangent[slides]
        free = np.stack([inner | slides, inner], 1)
        number = np.cumsum(free.ravel()).reshape(free.shape) - 1
        self.ways, self.free, self.size = ways, free, int(free.sum())
        self._number = number
        rows, columns, edges, values = [], [], [], []
        for p in range(2):
            for q in range(2):
                value = (ways[self.to, p] * ways[self.of, q]).sum(1)
                used = np.flatnonzero(free[self.to, p] & free[self.of, q] & (value != 0))
                rows.append(number[self.to[used], p])
                columns.append(number[self.of[used], q])
                edges.append(used)
                values.append(value[used])
        self._rows, self._columns = np.concatenate(rows), np.concatenate(columns)
        self._edges, self._values = np.concatenate(edges), np.concatenate(values)
        self._pattern: Any = None

    def _slots(self) -> Any:
        """The matrix's pattern in an order of its rows that keeps the factors small; found once, from the nodes."""
        if self._pattern is None:
            nodes: Any = scipy.sparse.csc_array((-self.weight, (self.of, self.to)), shape=(self.count, self.count))
            rank = _factored((nodes + 2 * scipy.sparse.eye_array(self.count)).tocsc(), "MMD_AT_PLUS_A").perm_c
            nodes_of, ways_of = np.nonzero(self.free)
            order = np.lexsort((ways_of, rank[nodes_of]))
            place = np.argsort(order)
            diagonal = np.arange(self.size)
            rows, columns = np.append(self._rows, diagonal), np.append(self._columns, diagonal)
            where: Any = scipy.sparse.csc_array(
                (np.arange(1, len(rows) + 1), (place[rows], place[columns])), shape=(self.size, self.size)
            )
            self._pattern = order, where.indices, where.indptr, where.data - 1
        return self._pattern

    def factored(self, shares: np.ndarray) -> tuple[np.ndarray, Any]:
        """(an order of what is free, the factors of I − A in that order)."""
        order, indices, starts, slots = self._slots()
        data = np.append(-self._values * shares[self._edges], np.ones(self.size))[slots]
        matrix: Any = scipy.sparse.csc_array((data, indices, starts), shape=(self.size, self.size))
        return order, _factored(matrix, "NATURAL")

    def gather(self, nodal: np.ndarray) -> np.ndarray:
        """(N, 2) along what is free."""
        return np.einsum("nd,npd->np", nodal, self.ways)[self.free]

    def scatter(self, values: np.ndarray) -> np.ndarray:
        """The other way round."""
        wide = np.zeros(self.free.shape)
        wide[self.free] = values
        return np.einsum("np,npd->nd", wide, self.ways)


def _factored(matrix: Any, ordering: str) -> Any:
    # rows are diagonally dominant: no pivots are needed
    return scipy.sparse.linalg.splu(
        matrix, permc_spec=ordering, diag_pivot_thresh=0.0, panel_size=1, options={"SymmetricMode": True}
    )


class Rest(torch.autograd.Function):
    """x with xᵢ = Σⱼ aᵢⱼ xⱼ, of nodes that slide along the boundary alone, from the aᵢⱼ of edges (float64)."""

    @staticmethod
    def forward(ctx: Any, shares: Tensor, near: Neighbours) -> Tensor:
        a = shares.detach().numpy()
        xi = near.points
        pull = a[:, None] * (xi[near.of] - xi[near.to])
        right = np.stack([np.bincount(near.to, pull[:, k], near.count) for k in range(2)], 1)
        moved = xi
        ctx.near, ctx.factors = near, None
        if near.size:
            order, factors = near.factored(a)
            step = np.empty(near.size)
            step[order] = factors.solve(near.gather(right)[order])
            moved, ctx.factors = xi + near.scatter(step), (order, factors)
        ctx.moved = moved
        return torch.from_numpy(np.array(moved))

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        near: Neighbours = ctx.near
        if ctx.factors is None:
            return torch.zeros(len(near.to), dtype=torch.float64), None
        order, factors = ctx.factors
        back = np.empty(near.size)
        back[order] = factors.solve(near.gather(grads[0].numpy())[order], "T")
        at = near.scatter(back)
        x = ctx.moved
        return torch.from_numpy((at[near.to] * (x[near.of] - x[near.to])).sum(1)), None
