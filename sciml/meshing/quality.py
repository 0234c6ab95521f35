"""How good the cells of a mesh are, and whether they are folded.

Measures of unsigned areas, of their spread for instance, are blind to cells that are turned over: a mesh that lies on
itself may have them all the same. `cell_quality` and `folded` go by signed ones.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from sciml.errors import InputError
from sciml.meshing._simplices import contents


def cell_quality(points: Any, cells: Any) -> Float[np.ndarray, " cell"]:
    """q = 4 √3 A/(ℓ₁² + ℓ₂² + ℓ₃²) of triangles: 1 where all sides are equal, 0 where they are flat, negative where
    they run clockwise.

    Args:
        points: (N, 2), or (N, 3) of a surface, whose triangles have no sign.
        cells: (C, 3).

    Raises:
        InputError: no such points and triangles.

    Source: R. E. Bank, R. K. Smith, Mesh smoothing using a posteriori error estimates, SIAM J. Numer. Anal. 34 (1997),
    979.
    """
    area, sides = _measured(points, cells)
    total = (sides**2).sum(1)
    return 4 * np.sqrt(3) * area / np.where(total > 0, total, 1)


def aspect_ratio(points: Any, cells: Any) -> Float[np.ndarray, " cell"]:
    """Aspect ratio of triangles, ℓ_max (ℓ₁ + ℓ₂ + ℓ₃)/(4 √3 |A|): 1 where all sides are equal, ∞ where they are flat;
    arguments as those of `cell_quality`."""
    area, sides = _measured(points, cells)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = sides.max(1) * sides.sum(1) / (4 * np.sqrt(3) * np.abs(area))
    return np.where(area == 0, np.inf, found)


def folded(points: Any, cells: Any, before: Any = None) -> Bool[np.ndarray, " cell"]:
    """Which cells are turned over or flat.

    Args:
        points: (N, 1) or (N, 2).
        cells: (C, 2) or (C, 3).
        before: (N, D) places of the nodes by which it is told which way round cells run; None: anticlockwise, and from
            left to right.

    Raises:
        InputError: no such points and cells.
    """
    places, numbers = _checked(points, cells, (1, 2))
    sign = np.ones(len(numbers))
    if before is not None:
        earlier, _ = _checked(before, cells, (1, 2))
        if earlier.shape != places.shape:
            raise InputError(f"before: expected as many places, {places.shape}, got {earlier.shape}")
        sign = np.sign(contents(earlier, numbers))
    return ~(contents(places, numbers) * sign > 0)


def _measured(points: Any, cells: Any) -> tuple[np.ndarray, np.ndarray]:
    """Areas, signed in the plane, and lengths of sides of triangles."""
    places, numbers = _checked(points, cells, (2, 3))
    corners = places[numbers]
    sides = np.linalg.norm(np.roll(corners, -1, 1) - corners, axis=2)
    if places.shape[1] == 2:
        return contents(places, numbers), sides
    edges = corners[:, 1:] - corners[:, :1]
    return np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1) / 2, sides


def _checked(points: Any, cells: Any, dimensions: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    places, numbers = np.asarray(points, np.float64), np.asarray(cells)
    if places.ndim != 2 or places.shape[1] not in dimensions:
        raise InputError(f"points: expected (N, {dimensions[0]}) or (N, {dimensions[1]}), got {places.shape}")
    corners = 2 if places.shape[1] == 1 else 3
    if numbers.ndim != 2 or numbers.shape[1] != corners or numbers.dtype.kind not in "iu":
        raise InputError(f"cells: expected node numbers (C, {corners}), got {numbers.dtype} {numbers.shape}")
    if numbers.size and (numbers.min() < 0 or numbers.max() >= len(places)):
        raise InputError(
            f"cells: node numbers from {numbers.min()} to {numbers.max()}, expected 0 to {len(places) - 1}"
        )
    return places, numbers.astype(np.int64)
