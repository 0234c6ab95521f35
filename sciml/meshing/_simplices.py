"""Lengths and areas, slopes and matrices of linear functions on intervals and triangles."""

from __future__ import annotations

import math

import numpy as np
import scipy.sparse
from jaxtyping import Float, Integer

Points = Float[np.ndarray, "node dimension"]
Cells = Integer[np.ndarray, "cell corner"]


def contents(points: Points, cells: Cells) -> Float[np.ndarray, " cell"]:
    """Signed lengths or areas."""
    x = points[:, 0]
    if points.shape[1] == 1:
        return x[cells[:, 1]] - x[cells[:, 0]]
    y, (a, b, c) = points[:, 1], cells.T  # coordinate by coordinate: far fewer passes over memory than corners at once
    u, v = x[a], y[a]
    return ((x[b] - u) * (y[c] - v) - (y[b] - v) * (x[c] - u)) / 2


def slopes(points: Points, cells: Cells) -> Float[np.ndarray, "cell corner dimension"]:
    """Of the function that is 1 at a corner and 0 at the others."""
    if points.shape[1] == 1:
        inner = 1 / contents(points, cells)[:, None, None]
    else:
        x, y, (a, b, c) = points[:, 0], points[:, 1], cells.T
        inner = np.stack([y[c] - y[a], x[a] - x[c], y[a] - y[b], x[b] - x[a]], 1).reshape(-1, 2, 2)
        inner /= 2 * contents(points, cells)[:, None, None]
    return np.concatenate([-inner.sum(1, keepdims=True), inner], 1)


def assembled(cells: Cells, local: np.ndarray, count: int) -> scipy.sparse.csc_array:
    """(C, corner, corner) numbers of cells in one matrix."""
    corners = cells.shape[1]
    rows, columns = np.repeat(cells, corners, 1).ravel(), np.tile(cells, (1, corners)).ravel()
    return scipy.sparse.csc_array((local.ravel(), (rows, columns)), shape=(count, count))


def mass(points: Points, cells: Cells) -> scipy.sparse.csc_array:
    """∫ vᵢ vⱼ."""
    k = cells.shape[1]
    local = (np.ones((k, k)) + np.eye(k)) / (k * (k + 1))
    return assembled(cells, np.abs(contents(points, cells))[:, None, None] * local, len(points))


def stiffness(points: Points, cells: Cells) -> scipy.sparse.csc_array:
    """∫ ∇vᵢ·∇vⱼ."""
    g = slopes(points, cells)
    return assembled(cells, np.einsum("cid,cjd,c->cij", g, g, np.abs(contents(points, cells))), len(points))


def gathered(cells: Cells, local: np.ndarray, count: int) -> Float[np.ndarray, " node"]:
    """(C, corner) numbers of cells, summed at nodes."""
    return np.bincount(cells.ravel(), local.ravel(), count)


def rule(dimensions: int, degree: int = 6) -> tuple[Float[np.ndarray, "point corner"], Float[np.ndarray, " point"]]:
    """Barycentric places and weights (their sum is 1) of a quadrature that is exact for products of `degree` linear
    functions, 4 or 6; of triangles those of D. A. Dunavant, Int. J. Numer. Methods Eng. 21, 1129 (1985)."""
    if dimensions == 1:
        x, w = np.polynomial.legendre.leggauss(degree // 2 + 1)
        return np.stack([(1 - x) / 2, (1 + x) / 2], 1), w / 2
    places: list[tuple[float, float, float]] = []
    weights: list[float] = []
    threes = {
        4: ((0.44594849091596489, 0.22338158967801147), (0.091576213509770743, 0.10995174365532187)),
        6: ((0.063089014491502228, 0.050844906370206817), (0.24928674517091042, 0.11678627572637937)),
    }
    for a, w in threes[degree]:
        b = 1 - 2 * a
        places += [(a, a, b), (a, b, a), (b, a, a)]
        weights += [w] * 3
    if degree == 6:
        a, b, w = 0.053145049844816947, 0.31035245103378440, 0.082851075618373575
        c = 1 - a - b
        places += [(a, b, c), (a, c, b), (b, a, c), (b, c, a), (c, a, b), (c, b, a)]
        weights += [w] * 6
    return np.array(places), np.array(weights)


def adjacency(cells: Cells, count: int) -> scipy.sparse.coo_array:
    """Which nodes share a cell, as far as that takes to reach all of a part."""
    rows = np.concatenate([cells[:, i] for i in range(cells.shape[1] - 1)])
    columns = np.concatenate([cells[:, i + 1] for i in range(cells.shape[1] - 1)])
    return scipy.sparse.coo_array((np.ones(len(rows)), (rows, columns)), shape=(count, count))


def sides_of(cells: Cells) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The side of each cell opposite to its first, second, ... corner: (C · corner, corner − 1) end nodes, running as
    the cell does; and which of them are two of one side: numbers of the one, and of the other."""
    count, k = cells.shape
    ends = np.stack([np.roll(cells, -1 - i, 1)[:, : k - 1] for i in range(k)], 1).reshape(count * k, k - 1)
    low, high = ends.min(1), ends.max(1)
    keys = low.astype(np.int64) * (int(cells.max()) + 1) + high
    sequence = np.argsort(keys)
    ordered = keys[sequence]
    twins = np.flatnonzero(ordered[1:] == ordered[:-1])
    return ends, sequence[twins], sequence[twins + 1]


def outer_sides(cells: Cells) -> Integer[np.ndarray, "side end"]:
    """The sides of single cells: end nodes of intervals, edges of triangles, which run as their cell does."""
    ends, one, other = sides_of(cells)
    single = np.ones(len(ends), bool)
    single[one] = single[other] = False
    return ends[single]


def neighbours(cells: Cells) -> Integer[np.ndarray, "cell corner"]:
    """The cell across the side opposite to each corner; −1 on the boundary."""
    k = cells.shape[1]
    _, one, other = sides_of(cells)
    found = np.full(cells.size, -1, np.int64)
    found[one], found[other] = other // k, one // k
    return found.reshape(cells.shape)


def spread(values: Float[np.ndarray, " cell"]) -> float:
    """Standard deviation over mean."""
    mean = float(values.mean())
    return float(values.std() / mean) if mean > 0 else math.inf
