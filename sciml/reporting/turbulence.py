"""Figures of turbulence: the law of the wall, and quantities over time with the bound that they should keep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from sciml.reporting._style import INK, MUTED, Look, caption, figure, label_lines, style, svg
from sciml.reporting.curves import Line, row_legend

KAPPA, INTERCEPT = 0.41, 5.2


@style()
def law_of_the_wall(
    lines: Sequence[Line], looks: Mapping[str, Look], title: str, points: tuple[np.ndarray, np.ndarray, str] | None
) -> str:
    """Draw U⁺ over y⁺, logarithmic, with u⁺ = y⁺ and u⁺ = ln(y⁺)/0.41 + 5.2 behind; `points` are published ones."""
    made, axes = figure(4.0, 3.4)
    last = max(float(np.max(line.x)) for line in lines)
    top = 1.15 * max(float(np.nanmax(line.y)) for line in lines if np.isfinite(line.y).any())
    near, far = np.geomspace(0.5, 12.0, 40), np.geomspace(8.0, max(last, 9.0), 40)
    axes.plot(near, near, color=MUTED, linewidth=1.0, linestyle=(0, (4, 2)), zorder=1)
    axes.plot(far, np.log(far) / KAPPA + INTERCEPT, color=MUTED, linewidth=1.0, linestyle=(0, (1, 1.6)), zorder=1)
    for line in lines:
        look = looks.get(line.name, Look(INK))
        axes.plot(line.x, line.y, color=look.colour, linestyle=look.dash, linewidth=look.width, label=line.name)
        _band(axes, line, look)
    if points is not None:
        axes.plot(points[0], points[1], "o", mfc="none", mec=INK, ms=5, linestyle="none", label=points[2], zorder=5)
    axes.set_xscale("log")
    axes.set_xlim(0.5, 1.1 * last)
    axes.set_ylim(0.0, top)
    axes.xaxis.set_major_locator(LogLocator(base=10))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    caption(axes, title, "y⁺", "U⁺")
    row_legend(axes, "upper left")
    return svg(made, f"{title}: U⁺ against y⁺ on a logarithmic axis")


@style()
def across(
    lines: Sequence[Line], looks: Mapping[str, Look], title: str, xlabel: str, ylabel: str,
    points: tuple[np.ndarray, np.ndarray, str] | None = None, straight: tuple[np.ndarray, np.ndarray] | None = None,
) -> str:  # fmt: skip
    """Draw profiles with their sampling errors as bands; `points` are published, `straight` is what theory has."""
    made, axes = figure(4.0, 3.1)
    if straight is not None:
        axes.plot(*straight, color=MUTED, linewidth=1.0, linestyle=(0, (4, 2)), zorder=1)
    for line in lines:
        look = looks.get(line.name, Look(INK))
        axes.plot(line.x, line.y, color=look.colour, linestyle=look.dash, linewidth=look.width, label=line.name)
        _band(axes, line, look)
    if points is not None:
        axes.plot(points[0], points[1], "o", mfc="none", mec=INK, ms=5, linestyle="none", label=points[2], zorder=5)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    caption(axes, title, xlabel, ylabel)
    row_legend(axes)
    return svg(made, f"{title}: {ylabel} against {xlabel}")


@style()
def course(
    lines: Sequence[Line], looks: Mapping[str, Look], title: str, xlabel: str, ylabel: str, bound: float | None = None,
    sizes: bool = True,
) -> str:  # fmt: skip
    """Draw quantities over time, rows beyond `bound` cut off there with a cross.

    Args:
        sizes: whether they are sizes, drawn on a logarithmic axis where they differ much; places are not.
    """
    made, axes = figure(4.0, 3.1)
    ends, shown = [], []
    for line in lines:
        look = looks.get(line.name, Look(INK))
        inside = np.isfinite(line.y) & (np.abs(line.y) <= (np.inf if bound is None else bound))
        count = len(line.y) if inside.all() else int(np.argmin(inside))
        x, y = np.asarray(line.x)[:count], np.asarray(line.y)[:count]
        if not count:
            continue
        axes.plot(x, y, color=look.colour, linestyle=look.dash, linewidth=look.width)
        if count < len(line.y):
            axes.plot(x[-1:], y[-1:], "x", color=look.colour, ms=8, mew=2)
        ends.append((float(x[-1]), float(y[-1]), line.name, look.colour))
        shown.append(y)
    if shown:
        values = np.concatenate(shown)
        if sizes and values.min() > 0 and values.max() > 20 * values.min():
            axes.set_yscale("log")
        if bound is not None and bound < 3 * values.max():
            axes.axhline(bound, color=MUTED, linewidth=1.0, linestyle=(0, (4, 2)), zorder=1)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    caption(axes, title, xlabel, ylabel)
    label_lines(axes, ends)
    return svg(made, f"{title}: {ylabel} against {xlabel}")


def _band(axes, line: Line, look: Look) -> None:
    if line.low is not None and line.high is not None:
        axes.fill_between(line.x, line.low, line.high, color=look.colour, alpha=0.15, linewidth=0)
