"""Fronts of work and precision: what costs least at each error, and where it is worth timing again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

LOW, HIGH = 0.01, 0.10  # errors at which costs are compared
TIMED = (0.005, 0.25)  # errors of points that are timed again
NEAR = 1.15  # what costs at most this times the front is timed again
DOUBT = 0.2  # of an error may be the reference's doubt
REPEATS = 5

Point = dict[str, Any]  # "error", "seconds", and what it is


def front(points: Sequence[Point]) -> list[Point]:
    """The lower left edge of the convex hull in logarithms of error and cost, by rising error."""
    edge: list[Point] = []
    for p in sorted(points, key=lambda p: (p["error"], p["seconds"])):
        if edge and p["seconds"] >= edge[-1]["seconds"]:
            continue
        while len(edge) > 1 and _slope(edge[-2], edge[-1]) >= _slope(edge[-2], p):
            edge.pop()
        edge.append(p)
    return edge


def useful(points: Sequence[Point]) -> list[Point]:
    """Of the front, what is of the errors in question, or its most exact point where it ends before them."""
    edge = front(points)
    return [p for p in edge if TIMED[0] <= p["error"] <= TIMED[1]] or edge[:1]


def near(points: Sequence[Point]) -> list[Point]:
    """The points that are timed again: those of the errors in question on their front or little above it, and the next
    more exact one of the front."""
    edge = front([p for p in points if p["error"] <= TIMED[1]])  # beyond, cheap ones would hide what is in question
    limit = NEAR * cost(edge, [p["seconds"] for p in edge], np.array([p["error"] for p in points]))
    last = max((p["error"] for p in edge if p["error"] < TIMED[0]), default=TIMED[0])
    return [
        p for p, most in zip(points, limit, strict=True)
        if (p["seconds"] <= most and TIMED[0] <= p["error"] <= TIMED[1]) or (p in edge and p["error"] == last)
    ]  # fmt: skip


def cost(points: Sequence[Point], seconds: Sequence[float], at: np.ndarray) -> np.ndarray:
    """Seconds over errors, straight between the points in logarithms; to the right of them the last, which is better
    than what is asked for, to their left NaN."""
    if not points:
        return np.full(np.shape(at), math.nan)
    errors = np.log([p["error"] for p in points])
    return np.exp(np.interp(np.log(at), errors, np.log(seconds), left=math.nan))


def _slope(a: Point, b: Point) -> float:
    return math.log(b["seconds"] / a["seconds"]) / math.log(b["error"] / a["error"])
