"""Input functions at points of their own, for operators that see them at fixed sensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from sciml.support import Support
from sciml.training.samples import function_of

if TYPE_CHECKING:
    from jaxtyping import Float, Shaped

    from sciml.problem import Case

NEAREST = 3  # points that a value at a sensor comes from
MOST = 4096  # points that sensors are chosen from


def shares(points: Float[np.ndarray, "point dimension"], support: Support) -> Float[np.ndarray, "point dimension"]:
    """Positions as shares of the extents of a support."""
    low, high = np.array(support.extents, dtype=np.float64).T
    return (points - low) / np.where(high > low, high - low, 1.0)


def spread(points: Shaped[np.ndarray, "point dimension"], count: int) -> Shaped[np.ndarray, "sensor dimension"]:
    """So many of the points or fewer, far from one another: each is the one farthest from those before it."""
    if len(points) <= count:
        return points
    chosen = [int(np.argmin(((points - points.mean(0)) ** 2).sum(1)))]
    distance = ((points - points[chosen[0]]) ** 2).sum(1)
    for _ in range(count - 1):
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, ((points - points[chosen[-1]]) ** 2).sum(1))
    return points[np.sort(chosen)]


def function_sensors(
    cases: Sequence[Case], supports: Sequence[Support], name: str, at: str, count: int
) -> Float[np.ndarray, "sensor dimension"]:
    """Where an operator with fixed sensors sees a function: among the points at which training cases give it."""
    every = [shares(function_of(case, name, at)[1], s) for case, s in zip(cases, supports, strict=True)]
    points = np.unique(np.round(np.concatenate(every), 9), axis=0)
    return spread(points[np.unique(np.linspace(0, len(points) - 1, MOST).astype(int))], count)


def places_differ(cases: Sequence[Case], supports: Sequence[Support], name: str, at: str) -> bool:
    """Whether some case gives a function at other points, as shares of its support's extents, than the first does."""
    first, *others = (shares(function_of(case, name, at)[1], s) for case, s in zip(cases, supports, strict=True))
    return any(p.shape != first.shape or not np.allclose(p, first, rtol=0.0, atol=1e-6) for p in others)


def at_sensors(
    values: Float[np.ndarray, " point"],
    points: Float[np.ndarray, "point dimension"],
    sensors: Float[np.ndarray, "sensor dimension"],
) -> Float[np.ndarray, " sensor"]:
    """A function at sensors, Σ w·value / Σ w over the nearest three of its points, w = 1/distance²: at a point of its
    own its value there, and never beyond the values around (Shepard 1968)."""
    from scipy.spatial import KDTree

    k = min(NEAREST, len(points))
    distance, near = (np.reshape(a, (len(sensors), k)) for a in KDTree(points).query(sensors, k=k))
    weight = 1.0 / np.maximum(distance, 1e-8) ** 2
    return (weight * values[near]).sum(1) / weight.sum(1)
