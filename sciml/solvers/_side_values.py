"""Values that are given along the sides of a grid, as numbers over times."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from sciml.boundary import Condition, InSpace, Samples, Series
from sciml.errors import InputError
from sciml.geometry import Boundary
from sciml.support import Grid

SAMPLES = 64  # knots in each output interval and time scale for wall values that are given as functions of time
MOST_SAMPLES = 100_000  # in an interval
BEYOND_START, BEYOND = 1e-6, 0.05  # that α may be outside [0, 1] by: at first, and in a frame to go on from


def wall_points(grid: Grid, wall: str) -> tuple[np.ndarray, np.ndarray]:
    """(n + 1, 2) where the faces of the cells along a wall meet it, and (n, 2) the middles between."""
    axis = "xy".index(wall[0])
    found = []
    for places in (grid.faces[1 - axis], grid.centres[1 - axis]):
        points = np.empty((len(places), 2))
        points[:, axis], points[:, 1 - axis] = grid.faces[axis][-int(wall.endswith("max"))], places
        found.append(points)
    return found[0], found[1]


def check_ends(name: str, parts: Sequence[Boundary], grid: Grid, wall: str) -> None:
    """Refuse parts of a side that end within a cell: what comes in through them would be more or less than is said.

    Raises:
        InputError: names the cell.
    """
    if not parts:
        return
    corners, middles = wall_points(grid, wall)
    inset = 1e-3 * np.diff(corners, axis=0)
    nearest = [
        np.stack([part.distance(points) for part in parts]).argmin(0)
        for points in (middles, corners[:-1] + inset, corners[1:] - inset)
    ]
    cut = np.flatnonzero((nearest[0] != nearest[1]) | (nearest[0] != nearest[2]))
    if len(cut):
        axis = 1 - "xy".index(wall[0])
        low, high = corners[cut[0]][axis], corners[cut[0] + 1][axis]
        raise InputError(
            f"{name}: a part of {wall} ends within the cell from {'xy'[axis]} = {low:g} to {high:g} m; expected a "
            "resolution with a grid line at its end"
        )


def values_in_time(
    condition: Condition, times: Any, begun: float, scale: float, places: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Knots and values: of a function of time `SAMPLES` in each interval and in each of the case's time scales."""
    value = condition.value
    if isinstance(value, Series):
        return value.times, value.values
    if isinstance(value, InSpace) and value.factor is not None:
        return value.factor.times, np.stack([np.asarray(value(places, t)) for t in value.factor.times])
    if isinstance(value, Samples | InSpace) or not callable(value):
        return np.zeros(1), np.asarray(condition.at(0.0, places), dtype=np.float64)[None]
    ends = np.unique(np.concatenate([[begun], np.atleast_1d(np.asarray([] if times is None else times, float))]))
    ends = ends[ends >= begun]
    if ends.size < 2:
        return ends, condition.over(ends, places)
    counts = [min(math.ceil(SAMPLES * max(1.0, gap / scale)), MOST_SAMPLES) for gap in np.diff(ends)]
    parts = [np.linspace(a, b, n, endpoint=False) for a, b, n in zip(ends[:-1], ends[1:], counts, strict=True)]
    knots = np.append(np.concatenate(parts), ends[-1])
    return knots, condition.over(knots, places)


def shares_of(name: str, alpha: Any, beyond: float = BEYOND) -> np.ndarray:
    """α within [0, 1].

    Args:
        beyond: what a value may be outside by, to be taken for 0 or 1.

    Raises:
        InputError: values farther outside.
    """
    low, high = float(np.min(alpha)), float(np.max(alpha))
    if not (low >= -beyond and high <= 1 + beyond):
        raise InputError(f"{name}: alpha: expected a volume fraction in [0, 1], got {low:g} to {high:g}")
    return np.clip(np.asarray(alpha, dtype=np.float64), 0, 1)
