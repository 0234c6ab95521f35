"""Fronts of work and precision: what costs least at each error, and where it is worth timing again."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
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


def picture(
    drawn: Mapping[str, Mapping[str, tuple[Sequence[Point], Sequence[Point]]]], cost_of: str, out: Path
) -> None:
    """Error against cost, a panel each.

    Args:
        drawn: title -> code, the peer first -> all its points and its front.
        cost_of: what the seconds are of.
    """
    from matplotlib.figure import Figure

    from sciml.reporting import _style

    with _style.style():
        figure = Figure(figsize=(3.45 * len(drawn), 3.3), layout="constrained")
        panels = figure.subplots(1, len(drawn), sharey=True, squeeze=False)[0]
        for axes, (title, codes) in zip(panels, drawn.items(), strict=True):
            axes.axvspan(100 * LOW, 100 * HIGH, color=_style.GRID, alpha=0.4, lw=0)
            looks = zip(codes.items(), (_style.LEARNED[1], _style.LEARNED[0]), "os", strict=True)
            for (code, pair), colour, marker in looks:
                every, edge = ([[100 * p["error"] for p in some], [p["seconds"] for p in some]] for some in pair)
                axes.loglog(*every, ".", color=colour, ms=4, alpha=0.35, mew=0)
                axes.loglog(*edge, marker=marker, ms=4, color=colour, label=code)
            _style.caption(axes, title, "error, %", "")
            axes.set_xlim(100 * TIMED[0], 100 * TIMED[1])
            axes.set_xticks([0.5, 1, 2, 5, 10, 20], ["0.5", "1", "2", "5", "10", "20"])
            axes.minorticks_off()
        panels[0].set_ylabel(cost_of)
        panels[0].legend(frameon=False)
        out.write_bytes(_style.png(figure))


def _slope(a: Point, b: Point) -> float:
    return math.log(b["seconds"] / a["seconds"]) / math.log(b["error"] / a["error"])
