"""Line and point figures of the report: pure functions from arrays to an SVG string.

Every function takes plain numbers and names, returns one `<svg>` element, and draws at phone width; the page lays
several side by side where there is room.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from sciml.reporting._style import (
    INK,
    MARKERS,
    MUTED,
    SUBSETS,
    Look,
    caption,
    figure,
    label_lines,
    label_points,
    number,
    style,
    superscript,
    svg,
)

_TINY = 1e-30


@dataclass(frozen=True)
class Line:
    """One named curve: x and y of the same length, with an optional band (low, high)."""

    name: str
    x: np.ndarray
    y: np.ndarray
    low: np.ndarray | None = None
    high: np.ndarray | None = None


@style()
def error_growth(lines: Sequence[Line], looks: Mapping[str, Look], title: str, ylabel: str = "NMSE") -> str:
    """Draw error against rollout step, logarithmic, every row named at the end of its line."""
    made, axes = figure(4.0, 3.3)
    ends = []
    for line in lines:
        look = looks[line.name]
        y = np.where(np.asarray(line.y, float) > _TINY, line.y, np.nan)
        axes.plot(line.x, y, color=look.colour, linestyle=look.dash, linewidth=look.width)
        if line.low is not None and line.high is not None:
            low = np.maximum(line.low, _TINY)
            axes.fill_between(line.x, low, np.maximum(line.high, low), color=look.colour, alpha=0.15, linewidth=0)
        good = np.flatnonzero(np.isfinite(y))
        if good.size:
            ends.append((float(np.asarray(line.x)[good[-1]]), float(y[good[-1]]), line.name, look.colour))
    axes.set_yscale("log")
    _quiet_log(axes.yaxis)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    caption(axes, title, "rollout step", ylabel)
    label_lines(axes, ends)
    return svg(made, f"{title}: error against rollout step for {', '.join(line.name for line in lines)}")


@style()
def learning_curve(lines: Sequence[Line], looks: Mapping[str, Look], xlabel: str = "step", title: str = "") -> str:
    """Draw training (thin) and validation (thick, band = seeds) losses; names carry `training` or `validation`."""
    made, axes = figure(4.0, 3.0)
    ends = []
    for line in lines:
        model, _, part = line.name.partition("|")
        look = looks[model]
        thin = part == "training"
        axes.plot(line.x, line.y, color=look.colour, linewidth=0.9 if thin else 2.2, alpha=0.55 if thin else 1.0)
        if not thin and len(line.x):
            ends.append((float(line.x[-1]), float(line.y[-1]), model, look.colour))
        elif thin and not any(other.name == f"{model}|validation" for other in lines) and len(line.x):
            ends.append((float(line.x[-1]), float(line.y[-1]), model, look.colour))
    axes.set_yscale("log")
    _quiet_log(axes.yaxis)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    caption(axes, title, xlabel, "loss")
    label_lines(axes, ends)
    return svg(made, f"{title or 'Learning curves'}: loss against {xlabel}")


@style()
def dots(
    rows: Sequence[tuple[str, Sequence[float] | np.ndarray]], looks: Mapping[str, Look], title: str, xlabel: str
) -> str:
    """Draw one value a row (a dot for every seed) on a logarithmic axis, best row first."""

    def middle(values: Sequence[float] | np.ndarray) -> float:
        finite = [v for v in values if np.isfinite(v)]
        return float(np.mean(finite)) if finite else np.inf

    ordered = sorted(rows, key=lambda row: middle(row[1]), reverse=True)
    made, axes = figure(4.0, 0.9 + 0.34 * len(ordered))
    for height, (name, values) in enumerate(ordered):
        look = looks[name]
        good = [v for v in values if np.isfinite(v) and v > 0]
        if not good:
            continue
        axes.plot([min(good), max(good)], [height, height], color=look.colour, linewidth=3, alpha=0.35)
        axes.plot(good, [height] * len(good), look.marker, color=look.colour, markersize=7, linestyle="none")
        axes.annotate(
            number(middle(good)), (max(good), height), xytext=(8, 0), textcoords="offset points", va="center",
            fontsize=9, color=look.colour,
        )  # fmt: skip
    axes.set_yticks(range(len(ordered)), [name for name, _ in ordered])
    axes.set_ylim(-0.6, len(ordered) - 0.4)
    axes.set_xscale("log")
    axes.margins(x=0.18)
    _quiet_log(axes.xaxis, 5)
    axes.grid(axis="y", visible=False)
    caption(axes, title, xlabel)
    return svg(made, f"{title}: {xlabel} by row")


@style()
def profile(
    lines: Sequence[Line], looks: Mapping[str, Look], title: str, xlabel: str, ylabel: str,
    points: tuple[np.ndarray, np.ndarray, str] | None = None, upright: bool = False,
) -> str:  # fmt: skip
    """Draw a centre-line profile; `points` are a published table (abscissa, ordinate, name) drawn as open circles.

    `upright` puts position on the vertical axis, as one draws u over the height of a cavity.
    """
    made, axes = figure(4.0, 3.4)
    for line in lines:
        look = looks.get(line.name, Look(INK))
        first, second = (line.y, line.x) if upright else (line.x, line.y)
        axes.plot(first, second, color=look.colour, linestyle=look.dash, linewidth=look.width, label=line.name)
    if points is not None:
        first, second = (points[1], points[0]) if upright else (points[0], points[1])
        axes.plot(first, second, "o", mfc="none", mec=INK, ms=6, linestyle="none", label=points[2], zorder=5)
    caption(axes, title, xlabel, ylabel)
    axes.legend(frameon=False, loc="best", handlelength=1.8)
    return svg(made, f"{title}: {ylabel} against {xlabel}")


@style()
def reliability(
    lines: Sequence[Line], looks: Mapping[str, Look], title: str, marks: Sequence[tuple[float, float, str]] = ()
) -> str:
    """Draw the coverage that came out over the coverage that was promised; on the diagonal both are equal.

    Args:
        marks: (promised, came out, name) of the bands that answers carry.
    """
    made, axes = figure(4.0, 3.8)
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1.2, zorder=1)
    low = 1.0
    for line in lines:
        look = looks[line.name]
        axes.plot(line.x, line.y, color=look.colour, linewidth=look.width, marker="o", markersize=4, label=line.name)
        low = min(low, float(np.min(line.x, initial=1.0)), float(np.min(line.y, initial=1.0)))
    for promised, came, name in marks:
        axes.plot([promised], [came], "o", mfc="none", mec=looks[name].colour, ms=11, mew=1.6, linestyle="none")
        low = min(low, came)
    low = max(low - 0.08, 0.0)
    axes.set_xlim(low, 1.01)
    axes.set_ylim(low, 1.01)
    axes.set_aspect("equal")
    caption(axes, title, "coverage promised", "coverage on held-out cases")
    if len(lines) > 1:
        axes.legend(frameon=False, loc="lower right")
    return svg(made, f"{title}: coverage on held-out cases against coverage promised")


@style()
def parameter_scatter(
    x: np.ndarray, y: np.ndarray, group: Sequence[str], xlabel: str, ylabel: str, title: str,
    other: np.ndarray | None = None,
) -> str:  # fmt: skip
    """Draw the error of every case over one parameter; colour and shape are the subset.

    `other` is a second row's error at the same cases, in pale grey behind: what the row must beat.
    """
    made, axes = figure(4.0, 3.2)
    x, y = np.asarray(x, float), np.asarray(y, float)
    names = list(dict.fromkeys(group))
    if other is not None:
        axes.plot(x, other, ".", color="#b6bcc4", ms=7, linestyle="none", zorder=1)
    for index, name in enumerate(names):
        pick = np.array([g == name for g in group])
        axes.plot(
            x[pick], y[pick], MARKERS[index % len(MARKERS)], color=SUBSETS[index % len(SUBSETS)], ms=6, alpha=0.8,
            mec="white", mew=0.5, linestyle="none", label=name,
        )  # fmt: skip
    positive = x[np.isfinite(x)]
    if positive.size and positive.min() > 0 and positive.max() / positive.min() > 20:
        axes.set_xscale("log")
        _quiet_log(axes.xaxis)
        if positive.max() / positive.min() < 1e3:  # one or two whole decades are too few to read from
            axes.xaxis.set_major_locator(LogLocator(base=10, subs=(1.0, 2.0, 5.0)))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_yscale("log")
    _quiet_log(axes.yaxis)
    caption(axes, title, xlabel, ylabel)
    figure_legend(axes)
    return svg(made, f"{title}: {ylabel} against {xlabel}")


@style()
def spectrum(lines: Sequence[Line], looks: Mapping[str, Look], title: str, xlabel: str, ylabel: str) -> str:
    """Draw energy against wavenumber, both logarithmic; `truth` is a thick dark line."""
    made, axes = figure(4.0, 3.3)
    ends = []
    floor = min((float(np.nanmin(line.y[line.y > 0])) for line in lines if np.any(line.y > 0)), default=_TINY)
    peak = max((float(np.nanmax(line.y)) for line in lines if len(line.y)), default=1.0)
    for line in lines:
        look = looks.get(line.name, Look(INK, "-", "o", 3.2))
        positive = np.where(line.y > 0, line.y, np.nan)
        axes.plot(line.x, positive, color=look.colour, linestyle=look.dash, linewidth=look.width)
        good = np.flatnonzero(np.isfinite(positive))
        if good.size:
            ends.append((float(line.x[good[-1]]), float(positive[good[-1]]), line.name, look.colour))
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_ylim(max(floor / 2, peak * 1e-12), peak * 3)
    _quiet_log(axes.yaxis)
    axes.xaxis.set_major_formatter(FuncFormatter(_decade))
    axes.xaxis.set_minor_formatter(NullFormatter())
    low, high = axes.get_xlim()
    if high < 20 * low:  # one whole decade at most, which is too few to read from
        axes.xaxis.set_major_locator(LogLocator(base=10, subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    caption(axes, title, xlabel, ylabel)
    label_lines(axes, ends)
    return svg(made, f"{title}: energy against wavenumber")


@style()
def speed_accuracy(
    points: Sequence[tuple[str, float, float, str]], looks: Mapping[str, Look], title: str, xlabel: str, ylabel: str,
) -> str:  # fmt: skip
    """Draw every row as a point (name, seconds, error, kind), cheaper to the left, better below.

    The reference solver's resolutions are joined by a line: a surrogate is worth having only to its lower left.
    """
    made, axes = figure(4.0, 3.6)
    usable = [p for p in points if p[1] > 0 and p[2] > 0 and np.isfinite(p[1]) and np.isfinite(p[2])]
    reference = sorted((p for p in usable if p[3] == "reference"), key=lambda p: p[1])
    if len(reference) > 1:
        axes.plot([p[1] for p in reference], [p[2] for p in reference], color=MUTED, linewidth=1.4, zorder=1)
    for name, seconds, error, kind in usable:
        look = looks[name]
        size = 10 if kind == "surrogate" else 7
        axes.plot(
            [seconds], [error], look.marker, color=look.colour, markersize=size,
            mec="white" if look.marker != "x" else look.colour,
        )  # fmt: skip
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.margins(x=0.2, y=0.15)
    _quiet_log(axes.xaxis, 5)
    _quiet_log(axes.yaxis)
    caption(axes, title, xlabel, ylabel)
    label_points(axes, [(p[1], p[2], p[0], looks[p[0]].colour, p[3] == "surrogate") for p in usable])
    return svg(made, f"{title}: {ylabel} against {xlabel}")


def row_legend(axes, loc: str = "best", most: int = 6) -> None:
    """A legend within the axes, or, of more rows than `most`, below them, by which the figure grows."""
    handles, labels = axes.get_legend_handles_labels()
    if len(handles) <= most:
        axes.legend(frameon=False, loc=loc, handlelength=1.8)
        return
    figure = axes.figure
    figure.set_figheight(figure.get_figheight() + 0.18 * -(-len(handles) // 2))
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False, fontsize=8, columnspacing=1.0)


def figure_legend(axes) -> None:
    """Put a frameless legend above the axes, where it covers no data."""
    handles, labels = axes.get_legend_handles_labels()
    if len(handles) > 1:
        axes.figure.legend(
            handles, labels, loc="outside lower center", ncols=min(len(handles), 4), frameon=False,
            handletextpad=0.3, columnspacing=1.0,
        )  # fmt: skip


def _quiet_log(axis, count: int = 6) -> None:
    """Label whole decades only, at most about `count` of them."""
    axis.set_major_locator(LogLocator(base=10, numticks=count))
    axis.set_major_formatter(FuncFormatter(_decade))  # Matplotlib's own sets formulas, which takes longer than to draw
    axis.set_minor_formatter(NullFormatter())
    axis.set_tick_params(which="minor", label1On=False)  # empty labels would be laid out all the same


def _decade(value: float, _: int | None = None) -> str:
    """A whole power of ten as text."""
    return f"10{superscript(round(math.log10(value)))}" if value > 0 else ""
