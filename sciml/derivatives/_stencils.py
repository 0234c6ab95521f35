"""Interpolation and differentiation weights on arbitrary points of a line.

Source: B. Fornberg, Math. Comp. 51, 699 (1988), for the weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


def fornberg(points: np.ndarray, target: float, order: int) -> np.ndarray:
    """Weights w with Σ w_k f(x_k) ≈ f^(order)(target), exact for polynomials of degree len(points) − 1."""
    n = len(points)
    weights = np.zeros((order + 1, n))
    weights[0, 0] = 1.0
    scale, offset = 1.0, points[0] - target
    for i in range(1, n):
        top = min(i, order)
        product, previous = 1.0, offset
        offset = points[i] - target
        for j in range(i):
            gap = points[i] - points[j]
            product *= gap
            if j == i - 1:
                for m in range(top, 0, -1):
                    weights[m, i] = scale * (m * weights[m - 1, i - 1] - previous * weights[m, i - 1]) / product
                weights[0, i] = -scale * previous * weights[0, i - 1] / product
            for m in range(top, 0, -1):
                weights[m, j] = (offset * weights[m, j] - m * weights[m - 1, j]) / gap
            weights[0, j] = offset * weights[0, j] / gap
        scale = product
    return weights[order]


@dataclass(frozen=True)
class Stencil:
    """out[i] = Σ_k weights[i, k] · values[indices[i, k]] along one axis."""

    indices: np.ndarray
    weights: np.ndarray


def stencil(points: np.ndarray, targets: np.ndarray, width: int, order: int, period: float | None = None) -> Stencil:
    """For each target the `width` nearest points and their weights.

    Args:
        points: (n,) increasing positions of the values.
        targets: (m,) positions of the results.
        width: points in each stencil; exact for polynomials of degree width − 1.
        order: 0 interpolates, 1 differentiates.
        period: length of the period where the line is a circle.
    """
    n = len(points)
    if period is None:
        width = min(width, n)
        positions, labels = points, np.arange(n)
    else:
        turns = -(-width // n)
        positions = np.concatenate([points + k * period for k in range(-turns, turns + 1)])
        labels = np.tile(np.arange(n), 2 * turns + 1)
    indices = np.empty((len(targets), width), dtype=np.int64)
    weights = np.empty((len(targets), width))
    tolerance = 1e-9 * (positions[-1] - positions[0])
    known: dict[tuple[float, ...], np.ndarray] = {}
    for i, target in enumerate(targets):
        after = int(np.searchsorted(positions, target - tolerance))
        on_point = after < len(positions) and abs(positions[after] - target) <= tolerance
        # An odd stencil is centred on a point, an even one on the gap between two.
        first = (
            after - width // 2 if on_point or width % 2 == 0 else after - width // 2 - _left(positions, after, target)
        )
        first = min(max(first, 0), len(positions) - width)
        chosen = positions[first : first + width]
        key = tuple(np.round((chosen - target) / tolerance * 1e-3).tolist())  # equal cells share their weights
        if key not in known:
            known[key] = fornberg(chosen, float(target), order)
        indices[i], weights[i] = labels[first : first + width], known[key]
    return Stencil(indices, weights)


def _left(positions: np.ndarray, after: int, target: float) -> int:
    """1 where the nearer of the two neighbours is the left one."""
    if after == 0:
        return 0
    if after == len(positions):
        return 1
    return int(target - positions[after - 1] < positions[after] - target)
