"""Values of linear functions on a mesh at points that are near known nodes, found by walking from cell to cell."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from sciml.meshing._simplices import Cells, Points, neighbours, slopes
from sciml.support import Mesh

ON = -1e-12  # share of a corner in a point from which on the point is in the cell
STEPS = 200  # of a walk; who is still on the way then is looked up


class Walk:
    """Where the nodes of a mesh are in the mesh as it was, as they move.

    Each call begins where the last one ended, so that a step of a mover costs a few steps from cell to cell. Who meets
    the boundary on the way (regions that are not convex, or points beyond it) is looked up by `Mesh.sample`.

    Args:
        points, cells: the mesh as it was.
    """

    def __init__(self, points: Points, cells: Cells):
        self.points, self.cells = points, cells
        self._slopes, self._first = slopes(points, cells), points[cells[:, 0]]
        self._next = neighbours(cells)
        self._at = np.empty(len(points), np.int64)
        self._at[cells.ravel()] = np.repeat(np.arange(len(cells)), cells.shape[1])
        self._mesh = Mesh(points, {"line" if points.shape[1] == 1 else "triangle": cells})

    def sample(
        self, values: Float[np.ndarray, " node"], places: Float[np.ndarray, "place dimension"]
    ) -> Float[np.ndarray, " place"]:
        """Values at the places of the nodes; other points are looked up."""
        if len(places) != len(self.points):
            return self._mesh.sample(values[None], places)[0]
        at, shares = self._at.copy(), self._shares(self._at, places)
        lost: list[np.ndarray] = []
        going = np.flatnonzero(_least(shares) < ON)
        for _ in range(STEPS):
            if not len(going):
                break
            onward = self._next[at[going], shares[going].argmin(1)]
            lost.append(going[onward < 0])
            going, onward = going[onward >= 0], onward[onward >= 0]
            at[going] = onward
            shares[going] = self._shares(onward, places[going])
            going = going[_least(shares[going]) < ON]
        self._at = at
        found = (shares * values[self.cells[at]]).sum(1)
        rest = np.concatenate([*lost, going])
        if len(rest):
            found[rest] = self._mesh.sample(values[None], places[rest])[0]
        return found

    def _shares(self, at: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Of the corners of cells in points."""
        found = np.einsum("nkd,nd->nk", self._slopes[at], places - self._first[at])
        found[:, 0] += 1
        return found


def _least(shares: np.ndarray) -> np.ndarray:
    """The least of each row; many times faster than along the short axis."""
    found = shares[:, 0]
    for column in shares.T[1:]:
        found = np.minimum(found, column)
    return found
