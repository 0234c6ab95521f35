"""Between the grid of data and a coarser one, on whose faces a flow is solved."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from sciml.errors import InputError
from sciml.geometry import Box, Geometry
from sciml.problem import Case
from sciml.solvers._coarse import _along, _lines, _overlaps
from sciml.solvers._cut_cells import CLOSED
from sciml.solvers._flow_setup import faces_of
from sciml.support import Apertures, Grid, Support

Faces = tuple[np.ndarray, np.ndarray]


class TwoGrids:
    """What depends on the two numbers of cells alone: matrices, float64.

    Values on the finer grid are means of cells, (Y, X). On the coarser one velocities are through faces, u (ny, nx + 1)
    and v (ny + 1, nx).

    Args:
        fine, coarse: cells in array order.
        periodic: for x and y.

    Raises:
        InputError: data on fewer cells than the solver's.
    """

    def __init__(self, fine: tuple[int, ...], coarse: tuple[int, int], periodic: tuple[bool, ...]):
        for axis, n, m in zip("yx", fine, coarse, strict=True):
            if n < m:
                raise InputError(f"data: live on {n} cells along {axis}, expected at least the {m} of the solver")
        self.fine, self.coarse, self.periodic = tuple(fine), tuple(coarse), tuple(periodic)
        (ny, nx), (along_y, along_x) = coarse, zip(fine, reversed(periodic), strict=True)
        #: (Y, ny), (X, nx + 1) and (Y, ny + 1), (X, nx): cubic interpolation to the middles of the fine cells
        self.u = _interpolation(ny, *along_y, faces=False), _interpolation(nx, *along_x, faces=True)
        self.v = _interpolation(ny, *along_y, faces=True), _interpolation(nx, *along_x, faces=False)
        #: cells of the fine grid for one of the coarse grid, rounded up, along y and x
        self.ratio = tuple(-(-n // m) for n, m in zip(fine, coarse, strict=True))
        whole = [m * r for m, r in zip(coarse, self.ratio, strict=True)]
        #: for y and x, (m · ratio, n) and back: means over what overlaps
        self.divided = [_means(n, k) for n, k in zip(fine, whole, strict=True)]
        self.united = [_means(k, n) for n, k in zip(fine, whole, strict=True)]

    def down(self, case: Case, u: np.ndarray, v: np.ndarray, support: Support, time: float) -> Faces:
        """Velocities through the coarse faces from means of fine cells: what goes through the fine faces of which they
        consist, over their open part, so that no fluid is lost. Float64.

        Args:
            u, v: (Y, X) in physical units.
            support: the grid of these cells.
            time: of the values; walls move.
        """
        assert isinstance(support, Grid)
        values = faces_of(case, u, v, support, support, time)
        fine, coarse = shares(case, self.fine), shares(case, self.coarse)
        found = []
        for normal, a in ((1, values[0]), (0, values[1])):
            a = a if fine is None else a * fine[1 - normal]
            for axis, (n, m) in enumerate(zip(self.fine, self.coarse, strict=True)):
                a = _along(_lines(n, m), a, axis) if axis == normal else _along(_overlaps(n, m), a, axis) * (m / n)
            if coarse is not None:
                part = coarse[1 - normal]
                a = np.where(part > 0, a / np.where(part > 0, part, 1), 0)
            found.append(a)
        return found[0], found[1]


@lru_cache(maxsize=512)
def _shares(geometry: Geometry, shape: tuple[int, ...]) -> tuple[Faces, np.ndarray]:
    found = Apertures.of(geometry, Grid.uniform(geometry, shape), CLOSED)
    return (found.faces[0], found.faces[1]), found.volumes


def shares(case: Case, shape: tuple[int, ...]) -> Faces | None:
    """The open shares of the faces of equal cells, across x and across y; None where no body is in the box."""
    return None if isinstance(case.geometry, Box) else _shares(case.geometry, tuple(shape))[0]


def volumes(case: Case, shape: tuple[int, ...]) -> np.ndarray:
    """(ny, nx) which share of each cell is fluid."""
    return np.ones(shape) if isinstance(case.geometry, Box) else _shares(case.geometry, tuple(shape))[1]


def _means(n: int, m: int) -> np.ndarray:
    """(m, n): means over m equal cells of what n equal cells of the same length hold."""
    return _overlaps(n, m).toarray() * (m / n)


def _interpolation(cells: int, n: int, periodic: bool, faces: bool) -> np.ndarray:
    """(n, cells + 1 or cells): values at faces, or at the middles of cells, to the middles of n cells.

    Cubic; linear where there are not two values on either side, and continued beyond the outermost.
    """
    count = cells + 1 if faces else cells
    places = (np.arange(count) if faces else np.arange(count) + 0.5) / cells
    matrix = np.zeros((n, count))
    for i in range(n):
        x = (i + 0.5) / n
        k = math.floor(x * cells - (0 if faces else 0.5))
        if periodic:
            near = np.arange(k - 1, k + 3)
        elif 1 <= k <= count - 3:
            near = np.arange(k - 1, k + 3)
        else:
            near = np.arange(2) + min(max(k, 0), count - 2)
        at = places[0] + near / cells
        for a, xa in zip(near, at, strict=True):
            others = at[at != xa]
            matrix[i, a % cells if periodic else a] += np.prod((x - others) / (xa - others))
    return matrix
