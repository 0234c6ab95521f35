"""Which simplex a point lies in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float, Integer

FIRST = 4  # simplices with the nearest centres are tried first: most points are in one of them
SLACK = 1e-9  # barycentric: how far beyond a side a point still is inside
PAIRS = 1_000_000  # of points and simplices that are looked at together


def locate(
    corners: Float[np.ndarray, "simplex corner d"], flat: np.ndarray, points: Float[np.ndarray, "point d"]
) -> tuple[Integer[np.ndarray, " point"], Float[np.ndarray, "point corner"]]:
    """(number of the simplex that a point lies in, its barycentric coordinates there); −1 beyond all of them.

    Args:
        corners: (S, d + 1, d) of the simplices.
        flat: (S,) bool, those without a volume, in which nothing lies.
        points: (M, d).
    """
    from scipy.spatial import KDTree

    d = points.shape[1]
    origin, sides = corners[:, 0], np.swapaxes(corners[:, 1:] - corners[:, :1], 1, 2).copy()
    sides[flat] = np.eye(d)
    inverse = np.linalg.inv(sides)

    def barycentric(at: np.ndarray, simplex: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        away, matrix = at - origin[simplex], inverse[simplex]
        found = np.empty((len(at), d + 1))
        for i in range(d):
            found[:, i + 1] = sum(matrix[:, i, j] * away[:, j] for j in range(d))
        found[:, 0] = 1.0 - found[:, 1:].sum(1)
        return found, np.where(flat[simplex], -np.inf, found.min(1))

    number, place = np.full(len(points), -1), np.zeros((len(points), d + 1))
    count = min(FIRST, len(corners))
    _, near = KDTree(corners.mean(1)).query(points, k=count)
    near = np.asarray(near).reshape(len(points), count)
    left = np.arange(len(points))
    for k in range(count):
        found, least = barycentric(points[left], near[left, k])
        hit = least > -SLACK
        number[left[hit]], place[left[hit]] = near[left[hit], k], found[hit]
        left = left[~hit]
    bins = _Bins(corners)
    cell = bins.of(points[left])
    left, cell = left[cell >= 0], cell[cell >= 0]
    pairs = bins.count[cell]
    left, cell, pairs = left[pairs > 0], cell[pairs > 0], pairs[pairs > 0]
    ends = np.cumsum(pairs)
    start = 0
    while start < len(left):
        stop = max(start + 1, int(np.searchsorted(ends, (ends[start - 1] if start else 0) + PAIRS, side="right")))
        n = pairs[start:stop]
        first = np.concatenate([[0], np.cumsum(n)[:-1]])
        rank = np.arange(n.sum()) - np.repeat(first, n)
        simplex = bins.members[np.repeat(bins.first[cell[start:stop]], n) + rank]
        found, least = barycentric(points[np.repeat(left[start:stop], n)], simplex)
        best = np.maximum.reduceat(least, first)
        at = np.flatnonzero(least == np.repeat(best, n))
        _, one = np.unique(np.repeat(np.arange(stop - start), n)[at], return_index=True)
        at = at[one]
        hit = best > -SLACK
        mine = left[start:stop][hit]
        number[mine], place[mine] = simplex[at[hit]], found[at[hit]]
        start = stop
    return number, np.clip(place, 0.0, 1.0)


class _Bins:
    """Equal boxes about as many as simplices, each with those that may reach into it."""

    def __init__(self, corners: np.ndarray):
        d = corners.shape[2]
        lower, upper = corners.min(1), corners.max(1)
        self.low, high = lower.min(0), upper.max(0)
        span = high - self.low
        width = (float(np.prod(span)) / len(corners)) ** (1 / d) or 1.0
        self.shape = np.clip(np.ceil(span / width), 1, 4096).astype(np.int64)
        self.width = np.where(span > 0, span, 1.0) / self.shape
        reach = 1e-9 * float(span.max())
        first, last = self._cells(lower - reach), self._cells(upper + reach)
        sizes = last - first + 1
        number = sizes.prod(1)
        simplex = np.repeat(np.arange(len(corners)), number)
        rank = np.arange(number.sum()) - np.repeat(np.cumsum(number) - number, number)
        cell = np.zeros(len(rank), dtype=np.int64)
        for k in range(d):
            size = sizes[simplex, k]
            cell = cell * self.shape[k] + first[simplex, k] + rank % size
            rank //= size
        order = np.argsort(cell, kind="stable")
        self.members = simplex[order]
        self.count = np.bincount(cell, minlength=int(self.shape.prod()))
        self.first = np.cumsum(self.count) - self.count

    def _cells(self, points: np.ndarray) -> np.ndarray:
        return np.clip(np.floor((points - self.low) / self.width), 0, self.shape - 1).astype(np.int64)

    def of(self, points: np.ndarray) -> np.ndarray:
        """The box of each point, −1 beyond all of them."""
        beyond = (points < self.low - 1e-9 * self.width * self.shape) | (
            points > self.low + (1 + 1e-9) * self.width * self.shape
        )
        found = np.zeros(len(points), dtype=np.int64)
        for k, column in enumerate(self._cells(points).T):
            found = found * self.shape[k] + column
        return np.where(beyond.any(1), -1, found)
