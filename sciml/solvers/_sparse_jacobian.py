"""Jacobians of stencil functions on grids, as sparse matrices, by few directional derivatives.

Where F at a cell depends on cells at most r away along each axis, columns 2r + 1 apart share no row: one directional
derivative along the sum of all such columns gives them all. (2r + 1)^D directions suffice (a few more on periodic axes
that 2r + 1 does not divide), whatever the number of cells.

Source: A. R. Curtis, M. J. D. Powell, J. K. Reid, IMA J. Appl. Math. 13, 117 (1974).
"""

from __future__ import annotations

import itertools

import numpy as np
import scipy.sparse


def _axis(n: int, reach: int, periodic: bool) -> tuple[np.ndarray, list[np.ndarray]]:
    """Colours (n,) of the cells on one axis, and for each neighbour offset the neighbours (n,), −1 where there is
    none."""
    width, cells = 2 * reach + 1, np.arange(n)
    if n <= width:
        neighbours = [np.full(n, j) for j in range(n)] if periodic else []
        if not periodic:
            neighbours = [_inside(cells + o, n) for o in range(-reach, reach + 1)]
        return cells, neighbours
    colours = cells % width
    if periodic:
        tail = n - n % width
        colours = np.where(cells < tail, colours, width + cells - tail)
        return colours, [(cells + o) % n for o in range(-reach, reach + 1)]
    return colours, [_inside(cells + o, n) for o in range(-reach, reach + 1)]


def _inside(index: np.ndarray, n: int) -> np.ndarray:
    return np.where((index >= 0) & (index < n), index, -1)


class Pattern:
    """Which cells a cell depends on, and the directions that tell them apart.

    Args:
        shape: cells in array order.
        periodic: for each array axis.
        reach: r, the largest distance in cells along each axis.
    """

    def __init__(self, shape: tuple[int, ...], periodic: tuple[bool, ...], reach: int):
        self.shape = shape
        self.size = int(np.prod(shape))
        axes = [_axis(n, reach, p) for n, p in zip(shape, periodic, strict=True)]
        counts = [int(colours.max()) + 1 for colours, _ in axes]
        mesh = np.meshgrid(*(colours for colours, _ in axes), indexing="ij")
        colour = np.ravel_multi_index([m.ravel() for m in mesh], counts)
        self.directions = np.zeros((int(np.prod(counts)), self.size))
        self.directions[colour, np.arange(self.size)] = 1.0
        self.directions = self.directions.reshape(-1, *shape)
        rows, columns = [], []
        for choice in itertools.product(*(neighbours for _, neighbours in axes)):
            there = np.meshgrid(*choice, indexing="ij")
            valid = np.all([t >= 0 for t in there], axis=0).ravel()
            rows.append(np.flatnonzero(valid))
            columns.append(np.ravel_multi_index([t.ravel()[valid] for t in there], shape))
        self._rows, self._columns = np.concatenate(rows), np.concatenate(columns)
        self._colours = colour[self._columns]

    def matrix(self, derivatives: np.ndarray) -> scipy.sparse.csc_matrix:
        """The Jacobian from the derivatives (direction, *shape) along `directions`."""
        values = derivatives.reshape(len(derivatives), -1)[self._colours, self._rows]
        used = values != 0
        entries = (values[used], (self._rows[used], self._columns[used]))
        return scipy.sparse.csc_matrix(entries, shape=(self.size, self.size))
