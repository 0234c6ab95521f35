"""Pictures of particles: dots as large as the particles, in the box that holds them, and films of these.

In space particles are seen from an angle, nearer ones in front of those behind and lighter, or as a slab of them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sciml.errors import InputError
from sciml.problem import Case
from sciml.reporting._style import INK, MUTED, style, svg
from sciml.reporting.images import Scale, limits
from sciml.reporting.moving import save_film
from sciml.reporting.names import labelled, unit_text
from sciml.reporting.stage import Stage
from sciml.support import support_of

if TYPE_CHECKING:
    from jaxtyping import Float, Shaped

BODY = "#8d939c"  # what stands or moves in the way
FAR = 0.62  # of its own lightness has what is farthest from the eye
TOGETHER = 1 << 20  # pixels of discs that are looked at at a time
PIXELS = 144  # along the longer side of a frame of a film on a page


@dataclass(frozen=True, eq=False)
class Shown:
    """Particles of one panel.

    Args:
        points: (N, D).
        values: (N,), which become colours.
        scale: (low, high, map).
        time: of the frame, for bodies that move.
        spacing: between these particles; None for the stage's.
    """

    points: Shaped[np.ndarray, "node d"]
    values: Shaped[np.ndarray, " node"]
    scale: Scale
    time: float = 0.0
    spacing: float | None = None


@style()
def table(
    stage: Stage, columns: Sequence[str], rows: Sequence[str], shown: Sequence[Sequence[Shown]], units: Sequence[str],
    length_unit: str, title: str,
) -> str:  # fmt: skip
    """Draw panels in rows (times) and columns (truth, prediction, error), with a colour bar below each column; columns
    beside each other of one scale share theirs.

    Args:
        shown: for each row its panels.
        units: of each column's values.
    """
    made, _ = _table(stage, columns, rows, shown, units, length_unit, title)
    return svg(made, f"{title}: {', '.join(columns)}; {', '.join(rows)}")


def _table(
    stage: Stage, columns: Sequence[str], rows: Sequence[str], shown: Sequence[Sequence[Shown]], units: Sequence[str],
    length_unit: str, title: str,
) -> tuple[Figure, list[Axes]]:  # fmt: skip
    (x0, x1), (y0, y1) = stage.window()
    ratio = (y1 - y0) / (x1 - x0)
    width = float(min(2.7, 2.9 / ratio))
    height = width * ratio
    flat = stage.dimensions < 3
    left, gap, above, foot = (0.72, 0.2, 0.3, 1.2) if flat else (0.1, 0.16, 0.3, 0.75)
    whole = left + len(columns) * (width + gap) + 0.12
    total = 0.34 + len(rows) * (height + above) + foot
    made = Figure(figsize=(whole, total))
    FigureCanvasAgg(made)
    made.text(left / whole, 1 - 0.05 / total, title, fontweight="bold", fontsize=10.5, va="top")
    places: list[Axes] = []
    for i, row in enumerate(rows):
        bottom = foot + (len(rows) - 1 - i) * (height + above)
        for j, column in enumerate(columns):
            place = (left + j * (width + gap)) / whole, bottom / total, width / whole, height / total
            axes = made.add_axes(place)
            draw(axes, stage, shown[i][j], width)
            head = f"{column}, {row}" if j == 0 and row else column
            axes.set_title(head, loc="left", fontsize=9, pad=3)
            if flat:
                axes.xaxis.set_major_locator(MaxNLocator(4, prune="both" if len(columns) > 1 else None))
                axes.yaxis.set_major_locator(MaxNLocator(4))
                axes.set_xticklabels([]) if i < len(rows) - 1 else axes.set_xlabel(labelled("x", length_unit))
                axes.set_yticklabels([]) if j else axes.set_ylabel(labelled("xyz"[stage.up], length_unit))
            places.append(axes)
    for first, last in _alike([p.scale for p in shown[0]], units):
        start = left + first * (width + gap)
        long = (last - first) * (width + gap) + width
        bar_width = min(long, 2.7)
        place = (start + (long - bar_width) / 2) / whole, 0.5 / total, bar_width / whole, 0.1 / total
        bar_axes = made.add_axes(place)
        low, high, colours = shown[0][first].scale
        bar = made.colorbar(ScalarMappable(Normalize(low, high), colours), cax=bar_axes, orientation="horizontal")
        bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
        bar.locator = MaxNLocator(4)
        bar.update_ticks()
        bar.set_label(units[first])
    return made, places


def _alike(scales: Sequence[Scale], units: Sequence[str]) -> list[tuple[int, int]]:
    """First and last of the columns that share a scale."""
    found: list[tuple[int, int]] = []
    for k, (scale, unit) in enumerate(zip(scales, units, strict=True)):
        if found and scales[found[-1][0]] == scale and units[found[-1][0]] == unit:
            found[-1] = (found[-1][0], k)
        else:
            found.append((k, k))
    return found


def draw(axes: Axes, stage: Stage, shown: Shown, inches: float) -> None:
    """Draw particles into axes that are so wide, in the box and with what is in their way."""
    (x0, x1), (y0, y1) = stage.window()
    where, near = stage.seen(shown.points)
    good = np.isfinite(where).all(1) & np.isfinite(shown.values)
    order = np.flatnonzero(good)[np.argsort(near[good], kind="stable")]
    if stage.dimensions == 3:
        for edge in stage.edges():
            axes.plot(*edge.T, color=MUTED, linewidth=0.5, zorder=0)
    elif stage.body is not None:
        _body(axes, stage, shown.time)
    # a dot is nearly as wide as the diagonal of a cell, so that matter without gaps has few in the picture
    size = float(np.clip((72 * inches * 1.35 * (shown.spacing or stage.spacing) / (x1 - x0)) ** 2, 0.3, 900.0))
    where, near, colours = where[order], near[order], painted(shown.values[order], shown.scale)
    if stage.dimensions == 3:
        where, near, colours = _with_body(stage, shown.time, where, near, colours)
        colours[:, :3] *= shade(near)[:, None]
    axes.scatter(*where.T, s=size, c=colours, linewidths=0, rasterized=True, zorder=2)
    axes.set(xlim=(x0, x1), ylim=(y0, y1))
    axes.set_aspect("equal")
    axes.grid(False)
    if stage.dimensions == 3:
        room = 0.01 * (x1 - x0)
        axes.set(xlim=(x0 - room, x1 + room), ylim=(y0 - room, y1 + room), xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_visible(stage.dimensions < 3)
        spine.set_color(INK)
        spine.set_linewidth(0.8)


def _with_body(
    stage: Stage, time: float, where: np.ndarray, near: np.ndarray, colours: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Dots of space with those of the skin of what is in their way, from far to near."""
    skin, depth = _skin(stage, time)
    grey = np.tile([*to_rgb(BODY), 1.0], (len(skin), 1))
    near = np.concatenate([near, depth])
    order = np.argsort(near, kind="stable")
    return np.concatenate([where, skin])[order], near[order], np.concatenate([colours, grey])[order]


def _skin(stage: Stage, time: float) -> tuple[np.ndarray, np.ndarray]:
    """(M, 2) dots on the skin of what is in the way in space, as they are seen, and how near they are."""
    if stage.body is None:
        return np.zeros((0, 2)), np.zeros(0)
    low, high = np.array(stage.extents).T
    count = np.clip(np.ceil((high - low) / stage.spacing), 2, 64).astype(int)
    axes = [a + (np.arange(n) + 0.5) * (b - a) / n for a, b, n in zip(low, high, count, strict=True)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    there = stage.body(points.reshape(-1, 3), time).reshape(tuple(count))
    around = np.pad(there, 1)
    buried = np.logical_and.reduce([np.roll(around, s, a)[1:-1, 1:-1, 1:-1] for a in range(3) for s in (-1, 1)])
    return stage.seen(points[there & ~buried])


def _body(axes: Axes, stage: Stage, time: float) -> None:
    (x0, x1), (y0, y1) = stage.window()
    n = 400
    points, shape = _raster(stage, n)
    assert stage.body is not None
    there = stage.body(points, time).reshape(shape)
    if there.any():
        colour = np.zeros((*shape, 4))
        colour[there] = (*to_rgb(BODY), 1.0)
        axes.imshow(colour, origin="lower", extent=(x0, x1, y0, y1), aspect="auto", interpolation="nearest", zorder=1)


def _raster(stage: Stage, longest: int) -> tuple[np.ndarray, tuple[int, int]]:
    """Centres of the pixels of the window, and (down, across)."""
    (x0, x1), (y0, y1) = stage.window()
    h = max(x1 - x0, y1 - y0) / longest
    across, down = max(2, round((x1 - x0) / h)), max(2, round((y1 - y0) / h))
    x = x0 + (np.arange(across) + 0.5) * (x1 - x0) / across
    y = y0 + (np.arange(down) + 0.5) * (y1 - y0) / down
    return np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2), (down, across)


def painted(values: np.ndarray, scale: Scale) -> np.ndarray:
    """(N, 4) colours of values on a scale."""
    low, high, name = scale
    return matplotlib.colormaps[name](np.clip((np.asarray(values, float) - low) / ((high - low) or 1.0), 0.0, 1.0))


def shade(near: np.ndarray) -> np.ndarray:
    """(N,) by how much what is far is darker."""
    span = float(np.ptp(near)) if len(near) else 0.0
    return FAR + (1 - FAR) * ((near - near.min()) / span if span > 0 else np.ones(len(near)))


def pixels(stage: Stage, shown: Shown, longest: int = PIXELS) -> Float[np.ndarray, "down across"]:
    """Particles as discs on square pixels, the first row lowest: the value of the nearest one (in space, of the one
    nearest to the eye), NaN where there is none; what is in the way, and the edges of a box in space, are ∞."""
    points, (down, across) = _raster(stage, longest)
    (x0, x1), (y0, y1) = stage.window()
    h, found = (x1 - x0) / across, np.full(down * across, np.nan)
    where, near = stage.seen(shown.points)
    good = np.isfinite(where).all(1) & np.isfinite(shown.values)
    where, near, values = where[good], near[good], np.asarray(shown.values, float)[good]
    if stage.dimensions == 3:
        lines = np.concatenate([a + np.linspace(0, 1, 2 * longest)[:, None] * (b - a) for a, b in stage.edges()])
        x, y = np.clip(((lines - (x0, y0)) / h).astype(int), 0, (across - 1, down - 1)).T
        found[y * across + x] = np.inf
        skin, depth = _skin(stage, shown.time)
        where, near = np.concatenate([where, skin]), np.concatenate([near, depth])
        values = np.concatenate([values, np.full(len(skin), np.inf)])
    elif stage.body is not None:
        found[stage.body(points, shown.time)] = np.inf
    radius = 0.7 * (shown.spacing or stage.spacing) / h + 0.25  # in pixels, of which each has half a width
    reach = int(np.ceil(radius))
    at = np.stack([(where[:, 0] - x0) / h, (where[:, 1] - y0) / ((y1 - y0) / down)], axis=1)
    around = np.stack(np.meshgrid(*[np.arange(-reach, reach + 1)] * 2), axis=-1).reshape(-1, 2)
    base, index, order, kept = np.floor(at).astype(int), [], [], []
    for part in np.array_split(np.arange(len(at)), 1 + len(at) * len(around) // TOGETHER):
        cell = base[part, None] + around
        away = np.hypot(*np.moveaxis(cell + 0.5 - at[part, None], -1, 0))
        inside = (away <= radius) & (cell >= 0).all(-1) & (cell < (across, down)).all(-1)
        index.append((cell[..., 1] * across + cell[..., 0])[inside])
        order.append(np.broadcast_to(near[part, None], away.shape)[inside] if stage.dimensions == 3 else -away[inside])
        kept.append(np.broadcast_to(values[part, None], away.shape)[inside])
    place, rank, value = (np.concatenate(part) for part in (index, order, kept))
    first = np.argsort(rank, kind="stable")  # the last one that is written stays
    found[place[first]] = value[first]
    return found.reshape(down, across)


@style()
def film(
    out: str | os.PathLike[str],
    stage: Stage,
    panels: Mapping[str, Sequence[Shown]],
    times: Sequence[str],
    *,
    unit: str = "",
    length_unit: str = "m",
    milliseconds: int = 80,
    dpi: int = 80,
) -> Path:
    """A film of particles, truth beside prediction, to one scale of colours each.

    Args:
        out: .webp, .gif or .png (an animated one).
        panels: title -> a frame each.
        times: what is written above each frame.
        unit: of the values, with their name.
        milliseconds: that a frame is shown.
        dpi: pixels an inch; a panel is less than three inches wide.

    Raises:
        InputError: panels of another number of frames than there are times, another ending, or a place that cannot be
            written.
    """
    for name, frames in panels.items():
        if len(frames) != len(times):
            raise InputError(f"panels: {name!r} has {len(frames)} frames, expected {len(times)}, as there are times")

    def figures() -> Iterable[Figure]:
        for k, time in enumerate(times):
            row = [frames[k] for frames in panels.values()]
            yield _table(stage, list(panels), [""], [row], [unit] * len(row), length_unit, time)[0]

    return save_film(figures(), out, milliseconds=milliseconds, dpi=dpi)


def film_of(
    out: str | os.PathLike[str], solutions: Mapping[str, Any], *, every: int = 1, milliseconds: int = 80, dpi: int = 80
) -> Path:
    """A film of solutions of one case, truth beside predictions, each particle where it is, coloured by speed.

    Args:
        out: .webp, .gif or .png (an animated one).
        solutions: title -> solution (xarray.Dataset) of particles, all at the same times; the first gives the colours.
        every: frames from one picture to the next.
        milliseconds, dpi: as those of `film`.

    Raises:
        InputError: solutions that are no particles with velocities, or at other times, or what `film` refuses.
    """
    stage, panels, times, unit, length = _from(solutions, every)
    return film(out, stage, panels, times, unit=unit, length_unit=length, milliseconds=milliseconds, dpi=dpi)


@style()
def snapshots(solutions: Mapping[str, Any], frames: Sequence[int], title: str = "") -> Figure:
    """A figure of solutions of one case at some of their frames, a row each, coloured by speed; `save` of
    `sciml.reporting.meshes` writes it.

    Args:
        solutions: see `film_of`.
        frames: numbers of frames, from the end where negative.
    """
    stage, panels, times, unit, length = _from(solutions, 1)
    for k in frames:
        if not -len(times) <= k < len(times):
            raise InputError(f"frames: expected numbers below {len(times)}, got {k!r}")
    rows = [[panel[k] for panel in panels.values()] for k in frames]
    return _table(stage, list(panels), [times[k] for k in frames], rows, [unit] * len(panels), length, title)[0]


def _from(
    solutions: Mapping[str, Any], every: int
) -> tuple[Stage, dict[str, list[Shown]], list[str], str, str]:  # fmt: skip
    """(stage, title -> frames, times in words, what colours are, unit of length)."""
    if not solutions:
        raise InputError("solutions: expected one at least, got none")
    tracks: dict[str, tuple[np.ndarray, np.ndarray, float]] = {}
    first = next(iter(solutions.values()))
    inputs = {str(k): v.values for k, v in first.variables.items() if str(k).startswith("input_")}
    case = Case.from_parts(first.attrs, inputs)
    problem, axes = case.problem, "xyz"[: case.problem.dimensions]
    for name, solution in solutions.items():
        for need in (*axes, *problem.velocity):
            if need not in solution.variables or solution[need].dims != ("time", "node"):
                raise InputError(f"solutions: {name!r} has no {need!r} over (time, node), which particles have")
        if not problem.velocity or not np.array_equal(solution["time"].values, first["time"].values):
            raise InputError(f"solutions: {name!r} is at other times than the first one, or has no velocity")
        position = np.stack([np.asarray(solution[a].values, float)[::every] for a in axes], axis=-1)
        speed = np.sqrt(sum(np.square(np.asarray(solution[n].values, float)[::every]) for n in problem.velocity))
        tracks[name] = position, speed, Stage.of(case, position[0], support_of(case, solution, 0)).spacing
    times = np.asarray(first["time"].values, float)[::every]
    support = support_of(case, first, 0)
    stage = Stage.of(case, support.points(), support).near(p for position, *_ in tracks.values() for p in position)
    scale = limits(next(iter(tracks.values()))[1], signed=False)
    panels = {
        name: [Shown(p, v, scale, float(t), spacing) for p, v, t in zip(position, speed, times, strict=True)]
        for name, (position, speed, spacing) in tracks.items()
    }
    words = [f"t = {t:.3g} {unit_text(problem.time_unit)}".strip() for t in times]
    unit = labelled("speed", unit_text(problem.field(problem.velocity[0]).unit))
    return stage, panels, words, unit, unit_text(problem.length_unit)
