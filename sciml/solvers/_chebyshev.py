"""Polynomials through the Chebyshev points of an interval: derivatives, integrals, values and means elsewhere.

With N intervals the points are y_j = −cos(πj/N), j = 0 … N, the ends included. The N − 1 inner ones are the exact
middles of the cells whose faces are −cos(π(j + ½)/N)/cos(π/2N), j = 0 … N − 1, the outermost of which are ∓1: a field
that vanishes at the ends is a polynomial of degree N through values at the centres of a stretched grid.
"""

from __future__ import annotations

from functools import cache

import numpy as np


def points(cells: int) -> np.ndarray:
    """(cells + 2,) the Chebyshev points of [−1, 1], whose inner ones are the middles of `faces(cells)`."""
    j = np.arange(cells + 2)
    # sines keep the points symmetric to rounding
    return np.sin(np.pi * (2 * j - cells - 1) / (2 * (cells + 1)))


def faces(cells: int) -> np.ndarray:
    """(cells + 1,) the faces of the cells about the inner points."""
    j = np.arange(cells + 1)
    found = np.sin(np.pi * (2 * j - cells) / (2 * (cells + 1))) / np.cos(np.pi / (2 * (cells + 1)))
    found[0], found[-1] = -1.0, 1.0
    return found


def weights(cells: int) -> np.ndarray:
    """(cells + 2,) Clenshaw and Curtis' quadrature on [−1, 1]: exact for the polynomials through the points."""
    n = cells + 1
    theta = np.pi * np.arange(n + 1) / n
    total = np.ones(n + 1)
    for k in range(1, n // 2 + 1):
        total -= (1.0 if 2 * k == n else 2.0) / (4 * k * k - 1) * np.cos(2 * k * theta)
    found = 2 * total / n
    found[[0, -1]] /= 2
    return found


def derivative(cells: int) -> np.ndarray:
    """(cells + 2, cells + 2) values at the points -> the slopes there.

    Differences of points are taken as products of sines, and rows sum to zero, against rounding (Bayliss, Class,
    Matkowsky 1994).
    """
    n = cells + 1
    i, j = np.arange(n + 1)[:, None], np.arange(n + 1)[None, :]
    # y_i − y_j = 2 sin(π(i + j)/2N) sin(π(i − j)/2N)
    apart = 2 * np.sin(np.pi * (i + j) / (2 * n)) * np.sin(np.pi * (i - j) / (2 * n))
    edge = np.where((np.arange(n + 1) == 0) | (np.arange(n + 1) == n), 2.0, 1.0)
    sign = (-1.0) ** (i + j)
    matrix = np.where(i == j, 0.0, edge[:, None] / edge[None, :] * sign / np.where(i == j, 1.0, apart))
    return matrix - np.diag(matrix.sum(1))


def values(cells: int, where: np.ndarray) -> np.ndarray:
    """(place, cells + 2) values at the points -> those at other places in [−1, 1] (Berrut, Trefethen 2004)."""
    own = points(cells)
    weight = (-1.0) ** np.arange(cells + 2)
    weight[[0, -1]] /= 2
    apart = np.asarray(where)[:, None] - own[None, :]
    exact = apart == 0
    share = weight / np.where(exact, 1.0, apart)
    found = share / share.sum(1, keepdims=True)
    return np.where(exact.any(1, keepdims=True), exact.astype(float), found)


def means(cells: int, edges: np.ndarray) -> np.ndarray:
    """(len(edges) − 1, cells + 2) values at the points -> means over the intervals between `edges`."""
    at, share = np.polynomial.legendre.leggauss((cells + 2) // 2 + 1)
    middle, half = (edges[1:] + edges[:-1]) / 2, (edges[1:] - edges[:-1]) / 2
    found = values(cells, (middle[:, None] + half[:, None] * at).reshape(-1))
    return np.einsum("q,iqj->ij", share / 2, found.reshape(len(middle), len(at), -1))


class Modes:
    """The eigenvectors of the second derivative of what vanishes at both ends: P⁻¹ D² P = diag(rate).

    All of them are constants of the number of cells: (cells, cells) from amplitudes to values at the inner points or
    back, with `a`, `b` the lower and the upper end.

    Source: D. B. Haidvogel, T. Zang, J. Comput. Phys. 30, 167 (1979), for solving Helmholtz' equation so.
    """

    def __init__(self, cells: int):
        self.cells = cells
        first = derivative(cells)
        second = first @ first
        self.rate, self.to_values = _eigenvectors(second[1:-1, 1:-1])
        self.to_modes = np.linalg.inv(self.to_values)
        self.to_slopes = first[1:-1, 1:-1] @ self.to_values  # amplitudes -> slopes at the inner points
        self.of_slopes = self.to_modes @ first[1:-1, 1:-1]  # values that vanish at the ends -> amplitudes of the slope
        self.slope_at = first[[0, -1], 1:-1] @ self.to_values  # amplitudes -> slopes at a, b
        self.curve_at = second[[0, -1], 1:-1] @ self.to_values
        # what values at the ends add to the second derivative: both 1; −1 and 1
        ends = self.to_modes @ second[1:-1, [0, -1]]
        self.even, self.odd = ends.sum(1), ends[:, 1] - ends[:, 0]
        self.one = self.to_modes.sum(1)
        self.weights = weights(cells)[1:-1]
        self.mean = self.weights @ self.to_values / 2  # amplitudes -> the mean over the interval
        self._neumann(first, second)

    def _neumann(self, first: np.ndarray, second: np.ndarray) -> None:
        """The same for given slopes at the ends: values at the ends follow from the inner ones and the slopes."""
        inner, ends = slice(1, -1), [0, -1]
        inverse = np.linalg.inv(first[np.ix_(ends, ends)])
        self.ends_from_inner = -inverse @ first[ends, inner]
        self.ends_from_slopes = inverse
        matrix = second[inner, inner] + second[inner, ends] @ self.ends_from_inner
        self.from_slopes = second[inner, ends] @ inverse
        self.neumann_rate, self.neumann_to_values = _eigenvectors(matrix)
        self.neumann_rate[0] = 0.0  # of the constant
        self.neumann_to_modes = np.linalg.inv(self.neumann_to_values)
        self.first = first


def _eigenvectors(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues from the largest on, and vectors as columns, of a matrix whose eigenvalues are real."""
    found = np.linalg.eig(matrix)
    rate, vectors = np.real(found[0]), np.real(found[1])
    order = np.argsort(-rate)
    return rate[order], np.ascontiguousarray(vectors[:, order])


@cache
def modes(cells: int) -> Modes:
    return Modes(cells)
