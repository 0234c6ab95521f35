"""Control volumes around the nodes of intervals or triangles, and how they change while the nodes move.

Around a node lie, of each cell that it belongs to, the points that are nearer to it in barycentric coordinates: a
half of an interval, a third of a triangle, bounded by pieces from the middle of a side to the centroid. Two nodes that
an edge joins share a face. While nodes move along straight lines, what a piece sweeps over within a step is its
extent halfway, times the mean of the velocities of its ends; summed around a node this is to rounding by how much its
volume grows, whatever the motion (the space conservation law).

Source: M. Lesoinne, C. Farhat, Comput. Methods Appl. Mech. Eng. 134, 71 (1996).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import scipy.sparse
from jaxtyping import Float

from sciml.meshing._simplices import Cells, Points, contents, outer_sides, slopes

Nodal = Float[np.ndarray, " node"]


class Faces(NamedTuple):
    """Where nodes are halfway through a step.

    Args:
        points: (N, D) nodes.
        middles: (E, D) of the edges; normals: (E, D) of the faces between their ends, from the first to the second,
            as long as these are large; swept: (E,) what the faces sweep over in a unit of time, along the normals.
        outer: (B, D) middles of the parts of the boundary that belong to one node; outwards: (B, D) their normals, as
            long as these are large; outer_swept: (B,).
        content: (C,) of the cells; slopes: (C, corner, D) of linear functions on them.
    """

    points: np.ndarray
    middles: np.ndarray
    normals: np.ndarray
    swept: np.ndarray
    outer: np.ndarray
    outwards: np.ndarray
    outer_swept: np.ndarray
    content: np.ndarray
    slopes: np.ndarray


class DualCells:
    """What of control volumes stays while nodes move.

    Attributes:
        first, second: (E,) ends of the edges.
        sides: (S, D) of the boundary, as `outer_sides` has them.
        owner: (B,) nodes of the parts of the boundary; side: (B,) the side that each is a part of.
    """

    def __init__(self, points: Points, cells: Cells):
        self.cells, self.count, self.dimensions = cells, len(points), points.shape[1]
        self.sides = outer_sides(cells)
        d = self.dimensions
        if d == 1:
            self.first, self.second = cells.T
            self.owner, self.side = self.sides[:, 0], np.arange(len(self.sides))
            self._ends = np.where(np.isin(self.owner, cells[:, 1]), 1.0, -1.0)[:, None]
        else:
            directed = np.concatenate([cells[:, [0, 1]], cells[:, [1, 2]], cells[:, [2, 0]]])
            key = np.sort(directed, 1) @ np.array([self.count, 1])
            _, lead, number = np.unique(key, return_index=True, return_inverse=True)
            number = number.ravel()
            self.first, self.second = directed[lead].T
            here, cell = directed[:, 0] == self.first[number], np.tile(np.arange(len(cells)), 3)
            self._left = np.empty(len(lead), int)
            self._left[number[here]] = cell[here]
            self._right = np.full(len(lead), -1)
            self._right[number[~here]] = cell[~here]
            self.owner, self.side = self.sides.T.ravel(), np.tile(np.arange(len(self.sides)), 2)
        edges = len(self.first)
        ones = np.ones(edges)
        shape, number = (self.count, edges), np.arange(edges)
        leaves = scipy.sparse.csr_array((ones, (self.first, number)), shape=shape)
        comes = scipy.sparse.csr_array((ones, (self.second, number)), shape=shape)
        self.difference, self.total = leaves - comes, leaves + comes
        corners = cells.shape[1]
        places = (cells.ravel(), np.repeat(np.arange(len(cells)), corners))
        self.around = scipy.sparse.csr_array((np.ones(cells.size), places), shape=(self.count, len(cells)))
        pairs = scipy.sparse.csr_array(
            (np.ones(2 * edges), (np.r_[self.first, self.second], np.r_[self.second, self.first])),
            shape=(self.count, self.count),
        )
        self._neighbours, self._starts = pairs.indices, pairs.indptr[:-1]

    def volumes(self, points: np.ndarray) -> np.ndarray:
        """Of all control volumes."""
        return self.around @ (contents(points, self.cells) / self.cells.shape[1])

    def faces(self, points: np.ndarray, velocity: np.ndarray) -> Faces:
        """At nodes halfway through a step, that move at these velocities."""
        middles = (points[self.first] + points[self.second]) / 2
        moving = (velocity[self.first] + velocity[self.second]) / 2
        content, slope = contents(points, self.cells), slopes(points, self.cells)
        if self.dimensions == 1:
            ends = self._ends
            return Faces(
                points, middles, np.ones_like(middles), moving[:, 0], points[self.owner], ends,
                velocity[self.owner, 0] * ends[:, 0], content, slope,
            )  # fmt: skip
        centroids, drift = points[self.cells].mean(1), velocity[self.cells].mean(1)
        outer = self._right < 0
        left, right = centroids[self._left], np.where(outer[:, None], middles, centroids[self._right])
        drift_left, drift_right = drift[self._left], np.where(outer[:, None], moving, drift[self._right])
        before, after = _turned(middles - right), _turned(left - middles)
        swept = ((drift_right + moving) * before + (moving + drift_left) * after).sum(1) / 2
        a, b = self.sides.T
        half, mean = _turned(points[b] - points[a]) / 2, (velocity[a] + velocity[b]) / 2
        between = (points[a] + points[b]) / 2
        outwards = np.concatenate([half, half])
        own = np.concatenate([velocity[a] + mean, velocity[b] + mean]) / 2
        at = np.concatenate([points[a] + between, points[b] + between]) / 2
        return Faces(
            points, middles, before + after, swept, at, outwards, (own * outwards).sum(1), content, slope
        )  # fmt: skip

    def flows(self, stream: Any, faces: Faces) -> tuple[np.ndarray, np.ndarray]:
        """Through the faces along their normals, and outwards through the parts of the boundary, of a plane velocity
        (∂ψ/∂y, −∂ψ/∂x).

        Args:
            stream: points (N, 2) -> (N,) ψ.
        """
        points, (a, b) = faces.points, self.sides.T
        middle, node, centre = stream(faces.middles), stream(points), stream(points[self.cells].mean(1))
        right = np.where(self._right < 0, middle, centre[self._right])
        between = stream((points[a] + points[b]) / 2)
        return centre[self._left] - right, np.concatenate([between - node[a], node[b] - between])

    def range(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The least and the greatest of each node and its neighbours."""
        near = values[self._neighbours]
        low, high = np.minimum.reduceat(near, self._starts), np.maximum.reduceat(near, self._starts)
        return np.minimum(low, values), np.maximum(high, values)


def _turned(along: np.ndarray) -> np.ndarray:
    """Normals on the right of lines in the plane, as long as these."""
    return np.stack([along[:, 1], -along[:, 0]], 1)


def least_share(before: Points, after: Points, cells: Cells) -> float:
    """The least content of a cell over its content at first, while nodes go from `before` to `after` along straight
    lines: the minimum of a line or a parabola, exactly."""
    first, last = contents(before, cells), contents(after, cells)
    least = np.minimum(first, last)
    if before.shape[1] == 2:
        bend = contents(after - before, cells)  # A(s) = A₀ + s (A₁ − A₀ − bend) + s² bend
        slope = last - first - bend
        with np.errstate(divide="ignore", invalid="ignore"):
            s = -slope / (2 * bend)
            inner = first + s * slope + s**2 * bend
        least = np.where((bend > 0) & (s > 0) & (s < 1), np.minimum(least, inner), least)
    return float((least / first).min())
