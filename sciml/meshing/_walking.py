"""Linear interpolation on a mesh at places that are near to those of the last time."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from sciml.meshing._dual_cells import Nodal
from sciml.meshing._simplices import Cells, Points
from sciml.support import Mesh

INSIDE = -1e-9  # barycentric: how far beyond a side a point still is inside
STEPS = 1000


class Walk:
    """From the cell where each of some points was the last time to the one where it is now, through the sides beyond
    which it lies.

    Args:
        cells: intervals or triangles.
        count: of the nodes, at which as many points are looked for at first.
    """

    def __init__(self, cells: Cells, count: int):
        self.cells, corners = cells, cells.shape[1]
        sides = np.concatenate([np.delete(cells, k, 1) for k in range(corners)])
        _, number, met = np.unique(np.sort(sides, 1), axis=0, return_inverse=True, return_counts=True)
        order = np.argsort(number.ravel(), kind="stable")
        first = np.cumsum(met) - met
        pairs = first[met == 2]
        other = np.full(len(sides), -1)
        a, b = order[pairs], order[pairs + 1]
        other[a], other[b] = b % len(cells), a % len(cells)
        self.beyond = other.reshape(corners, len(cells)).T  # (C, corner): across the side opposite to it
        near = np.zeros(count, int)
        near[cells] = np.arange(len(cells))[:, None]
        self.guesses = {count: near}  # by the number of points

    def on(self, points: Points, values: Nodal) -> _Linear:
        """The function that is linear on each cell, with these values at nodes that lie there."""
        return _Linear(self, points, values)


class _Linear:
    def __init__(self, walk: Walk, points: Points, values: Nodal):
        self.walk, self.points, self.values = walk, points, values
        corners = points[walk.cells]
        self.origin, self.inverse = corners[:, 0], np.linalg.inv(corners[:, 1:] - corners[:, :1])

    def __call__(self, places: Float[np.ndarray, "point dimension"]) -> Float[np.ndarray, " point"]:
        """At points; beyond the mesh the value of the nearest place on it."""
        walk = self.walk
        known = walk.guesses.get(len(places))
        cell = np.zeros(len(places), int) if known is None else np.array(known)
        share = np.empty((len(places), walk.cells.shape[1]))
        left, lost = np.arange(len(places)), []
        for _ in range(STEPS):
            at = cell[left]
            inner = ((places[left] - self.origin[at])[:, None] @ self.inverse[at])[:, 0]
            found = np.concatenate([1 - inner.sum(1, keepdims=True), inner], 1)
            share[left] = found
            worst = found.argmin(1)
            off = found[np.arange(len(left)), worst] < INSIDE
            left, following = left[off], walk.beyond[at[off], worst[off]]
            lost.append(left[following < 0])
            left, following = left[following >= 0], following[following >= 0]
            if not len(left):
                break
            cell[left] = following
        walk.guesses[len(places)] = cell
        result = (self.values[walk.cells[cell]] * share).sum(1)
        missed = np.concatenate([*lost, left])
        if len(missed):  # on or beyond the boundary, or round a corner of it
            kind = "line" if self.points.shape[1] == 1 else "triangle"
            result[missed] = Mesh(self.points, {kind: walk.cells}).sample(self.values[None], places[missed])[0]
        return result
