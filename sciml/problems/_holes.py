"""Plates with holes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from sciml.errors import InputError
from sciml.geometry import Disc, Geometry, Polygon

HOLE_VALUES = 5  # x, y, radius, corners (0 for a circle), angle of the first corner


def hole(values: np.ndarray) -> Geometry:
    """A circle, or a regular polygon in it, from (x, y, radius, corners, angle)."""
    x, y, radius, corners, angle = (float(v) for v in values)
    if corners == 0:
        return Disc((x, y), radius)
    turns = angle + 2 * math.pi * np.arange(int(corners)) / corners
    return Polygon(tuple(zip(x + radius * np.cos(turns), y + radius * np.sin(turns), strict=True)))


def with_holes(problem: str, plate: Geometry, holes: np.ndarray) -> Geometry:
    """A plate without its holes, whose boundaries are "hole_0", "hole_1", ...

    Raises:
        InputError: a hole that is none, or that touches the edge of the plate or another hole.
    """
    holes = np.asarray(holes, dtype=np.float64)
    if holes.ndim != 2 or holes.shape[1] != HOLE_VALUES:
        raise InputError(f"{problem}: holes: expected (N, 5) values x, y, radius, corners, angle; got {holes.shape}")
    whole = plate
    for k, (x, y, radius, corners, _) in enumerate(holes):
        if radius <= 0 or corners != int(corners) or (corners != 0 and corners < 3):
            raise InputError(f"{problem}: holes: hole {k} has radius {radius:g} and {corners:g} corners")
        if float(plate.signed_distance(np.array([x, y]))) <= radius:
            raise InputError(f"{problem}: holes: hole {k} touches the edge of the plate")
        gaps = np.hypot(*(holes[:k, :2] - (x, y)).T) - holes[:k, 2] - radius
        if (gaps <= 0).any():
            raise InputError(f"{problem}: holes: hole {k} touches hole {int(gaps.argmin())}")
        whole = whole.without(hole(holes[k]), f"hole_{k}")
    return whole


def drawn(random: np.random.Generator, plate: Geometry, count: int, radii: tuple[float, float], gap: float) -> Any:
    """(count, 5) holes at random that keep `gap` from the edge and from each other; circles and polygons alike."""
    found = np.zeros((0, HOLE_VALUES))
    low, high = np.array(plate.extents).T
    for _ in range(10_000):
        if len(found) == count:
            break
        place, radius = random.uniform(low, high), random.uniform(*radii)
        corners = random.choice([0, 0, 0, 3, 4, 6])
        turn = random.uniform(0, 2 * math.pi)
        near = np.hypot(*(found[:, :2] - place).T) - found[:, 2] - radius
        if float(plate.signed_distance(place)) > radius + gap and (near > gap).all():
            found = np.concatenate([found, [[*place, radius, corners, turn]]])
    return found
