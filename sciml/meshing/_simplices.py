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
    corners = points[cells]
    edges = corners[:, 1:] - corners[:, :1]
    if points.shape[1] == 1:
        return edges[:, 0, 0]
    return (edges[:, 0, 0] * edges[:, 1, 1] - edges[:, 0, 1] * edges[:, 1, 0]) / 2


def slopes(points: Points, cells: Cells) -> Float[np.ndarray, "cell corner dimension"]:
    """Of the function that is 1 at a corner and 0 at the others."""
    corners = points[cells]
    inner = np.linalg.inv(corners[:, 1:] - corners[:, :1])  # (C, D, corner − 1)
    inner = np.swapaxes(inner, 1, 2)
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


def outer_sides(cells: Cells) -> Integer[np.ndarray, "side end"]:
    """The sides of single cells: end nodes of intervals, edges of triangles, which run as their cell does."""
    k, count = cells.shape[1], int(cells.max()) + 1
    sides = np.concatenate([np.roll(cells, -i, 1)[:, : k - 1] for i in range(k)])
    keys = sides.min(1) * count + sides.max(1)
    _, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
    return sides[counts[inverse.ravel()] == 1]


def spread(values: Float[np.ndarray, " cell"]) -> float:
    """Standard deviation over mean."""
    mean = float(values.mean())
    return float(values.std() / mean) if mean > 0 else math.inf
