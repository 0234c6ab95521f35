"""Field pictures: values on any support, drawn where they live, as SVG strings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sciml.reporting._style import DIVERGING, INK, LEARNED, SEQUENTIAL, caption, figure, style, svg
from sciml.reporting.names import labelled
from sciml.support import Grid, Mesh, Support

GREY = "#d5d9de"  # where there is nothing to have a value
SLAB = 0.1  # thickness of the slab of 3-D nodes that is drawn, as a share of the extent
Scale = tuple[float, float, str]


def limits(*arrays: np.ndarray, signed: bool | None = None) -> Scale:
    """Return (low, high, colour map) that show all `arrays` on one scale.

    Where the first, the truth, has both signs, the map is white at zero and limits are symmetric; else they run from
    least to largest.
    """
    finite = np.concatenate([np.asarray(a, float)[np.isfinite(a)].ravel() for a in arrays] or [np.zeros(1)])
    if finite.size == 0:
        finite = np.zeros(1)
    low, high = float(finite.min()), float(finite.max())
    if signed is None:
        first = np.asarray(arrays[0], float)[np.isfinite(arrays[0])] if arrays else finite
        least, most = (float(first.min()), float(first.max())) if first.size and np.any(first) else (low, high)
        signed = least < 0 < most and min(-least, most) > 0.05 * max(-least, most)
    if signed:
        bound = max(abs(low), abs(high)) or 1.0
        return -bound, bound, DIVERGING
    if high <= low:
        high = low + (abs(low) or 1.0)
    return low, high, SEQUENTIAL


def inside(values: np.ndarray, support: Support) -> np.ndarray:
    """Values (..., *shape) as floats, NaN where the support has none."""
    values = np.asarray(values, float)
    return values if support.inside is None else np.where(support.inside, values, np.nan)


def _panel(shape: float) -> tuple[Figure, Axes, Axes]:
    """Return a figure with axes of height / width = `shape` and a colour bar of the same height beside them."""
    width = 2.25 if shape <= 1.3 else max(2.25 * 1.3 / shape, 0.9)
    height = max(width * shape, 0.75)
    left = 0.78  # room for tick labels such as 0.008
    whole, high = width + left + 0.95, height + 0.85
    made, axes = figure(whole, high)
    made.set_layout_engine("none")
    axes.set_position((left / whole, 0.5 / high, width / whole, height / high))
    bar_axes = made.add_axes(((left + width + 0.1) / whole, 0.5 / high, 0.12 / whole, height / high))
    return made, axes, bar_axes


@style()
def field(
    values: np.ndarray, support: Support, scale: Scale, title: str, unit: str, length_unit: str = "m",
    names: tuple[str, str] = ("x", "y"),
) -> str:  # fmt: skip
    """Draw a field (*shape) on a two-dimensional support, with its colour bar.

    Cells of a grid are drawn as they are, stretched or not; between the nodes of a mesh colours run linearly over its
    triangles; loose points are dots. Where there is no value (a mask, outside of a mesh) it is left grey.

    Args:
        names: of the axes.
    """
    (left, right), (low, high) = support.extents
    ratio = ((high - low) or 1e-9) / ((right - left) or 1e-9)
    slender = not 0.1 <= ratio <= 4.0  # too much so to be drawn true to scale
    made, axes, bar_axes = _panel((1 / 3 if ratio < 1 else 2.0) if slender else ratio)
    axes.grid(False)
    axes.set_facecolor(GREY)
    shown = np.ma.masked_invalid(inside(values, support))
    if isinstance(support, Grid):
        drawn = _cells(axes, support, shown, scale)
    elif isinstance(support, Mesh) and support.simplices().shape[1] == 3:
        drawn = _triangles(axes, support, shown, scale)
    else:
        drawn = _dots(axes, support.points(), shown, scale)
    axes.set_aspect("auto" if slender else "equal")
    axes.set_xlim(*_ends(left, right, isinstance(support, Grid)))
    axes.set_ylim(*_ends(low, high, isinstance(support, Grid)))
    bar = made.colorbar(drawn, cax=bar_axes)
    bar_axes.tick_params(labelsize=9)
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    box = axes.get_position(original=True)
    height = box.height * made.get_figheight()
    bar.locator = MaxNLocator(3 if height < 1.0 else 5)
    bar.update_ticks()
    bar.set_label(unit)
    for spine in axes.spines.values():
        spine.set_visible(True)
        spine.set_color(INK)
        spine.set_linewidth(0.8)
    axes.xaxis.set_major_locator(MaxNLocator(3))
    axes.yaxis.set_major_locator(MaxNLocator(3))
    # of a low panel the title would run into the colour bar, which is higher than a picture that is true to scale
    drawn_height = min(box.width * made.get_figwidth() * ratio, height) if not slender else height
    pad = 36 * (height - drawn_height) + 10 if height < 1.0 else None
    caption(axes, title, labelled(names[0], length_unit), labelled(names[1], length_unit), pad=pad)
    return svg(made, f"{title}, scale from {scale[0]:.3g} to {scale[1]:.3g} {unit}")


def _ends(low: float, high: float, cells: bool) -> tuple[float, float]:
    """Limits of an axis: those of cells, or with some room for nodes on the edge."""
    room = 0.0 if cells else 0.02 * (high - low)
    return (low - room, high + room) if high > low else (low - 0.5, high + 0.5)


def _cells(axes: Axes, grid: Grid, shown: Any, scale: Scale) -> Any:
    if grid.uniform_cells:
        (left, right), (low, high) = grid.extents
        return axes.imshow(
            shown, origin="lower", extent=(left, right, low, high), vmin=scale[0], vmax=scale[1], cmap=scale[2],
            aspect="auto", interpolation="nearest",
        )  # fmt: skip
    return axes.pcolormesh(
        *grid.faces[:2], shown, vmin=scale[0], vmax=scale[1], cmap=scale[2], shading="flat", rasterized=True
    )


def _triangles(axes: Axes, mesh: Mesh, shown: Any, scale: Scale) -> Any:
    triangles = mesh.simplices()
    missing = np.ma.getmaskarray(shown)
    whole = triangles[~missing[triangles].any(axis=1)]
    x, y = mesh.points().T
    if not len(whole):  # nothing is finite: grey, with the colour bar all the same
        return _dots(axes, mesh.points(), shown, scale)
    return axes.tripcolor(
        x, y, np.ma.filled(shown, 0.0), triangles=whole, shading="gouraud", vmin=scale[0], vmax=scale[1],
        cmap=scale[2], rasterized=True,
    )  # fmt: skip


def _dots(axes: Axes, points: np.ndarray, shown: Any, scale: Scale) -> Any:
    """Dots that about touch where there are many, and can be seen where there are few."""
    size = float(np.clip(2.0e4 / max(len(points), 1), 4.0, 60.0))
    return axes.scatter(
        points[:, 0], points[:, 1], s=size, c=np.ma.filled(shown, np.nan), vmin=scale[0], vmax=scale[1],
        cmap=scale[2], linewidths=0, rasterized=len(points) > 400, plotnonfinite=False,
    )  # fmt: skip


def slices(grid: Grid) -> list[tuple[str, tuple[str, str], tuple[Any, ...], Grid]]:
    """Three slices of a 3-D grid, across z, y and x: (title, names of the axes, how to take it from an array, grid of
    the slice).

    They go through the middle; where the number of cells along an axis is even, through the layer just above. Between
    walls, where one axis alone is not periodic, that axis is drawn upright, and the slice along the walls is the one
    nearest to a tenth of the half height above the lower one, where streaks are.
    """
    wall = next((a for a in range(3) if not grid.periodic[a]), None) if sum(grid.periodic) == 2 else None
    found = []
    for normal in (2, 1, 0):  # xy, xz, yz
        first, second = (a for a in range(3) if a != normal)
        if first == wall:
            first, second = second, first
        low, high = grid.extents[normal]
        near = low + 0.05 * (high - low)
        k = int(np.argmin(np.abs(grid.centres[normal] - near))) if normal == wall else grid.shape[2 - normal] // 2
        index: list[Any] = [slice(None)] * 3
        index[2 - normal] = k
        at = grid.centres[normal][k]
        names = ("xyz"[first], "xyz"[second])
        mask = None if grid.mask is None else taken(grid.mask, tuple(index), names)
        if mask is not None and not mask.any():
            mask = None
        flat = Grid((grid.faces[first], grid.faces[second]), (grid.periodic[first], grid.periodic[second]), mask)
        title = f"{'xyz'[normal]} = {at:.3g}".replace("-", "−") + (", near the wall" if normal == wall else "")
        found.append((title, names, tuple(index), flat))
    return found


def taken(values: np.ndarray, index: tuple[Any, ...], names: tuple[str, str]) -> np.ndarray:
    """A slice of values (..., z, y, x) with its axes as `slices` has them: the second one upright."""
    found = np.asarray(values)[(..., *index)]
    return found if names[0] < names[1] else np.swapaxes(found, -1, -2)


@style()
def stack(
    panels: Sequence[tuple[str, np.ndarray, Scale]], grid: Grid, title: str, unit: str, length_unit: str,
    names: tuple[str, str],
) -> str:  # fmt: skip
    """Draw fields on one plane under each other: (name, values, scale); neighbours of one scale share a colour bar."""
    (left, right), (low, high) = grid.extents
    ratio = ((high - low) or 1e-9) / ((right - left) or 1e-9)
    slender = not 0.1 <= ratio <= 4.0
    shape = (1 / 3 if ratio < 1 else 2.0) if slender else ratio
    width = 2.28 if shape <= 1.2 else max(2.28 * 1.2 / shape, 0.9)
    tall, above, left_, beneath = width * shape, 0.28, 0.64, 0.5
    whole, total = left_ + width + 0.78, len(panels) * (tall + above) + beneath + 0.2  # three fit side by side
    made, axes = figure(whole, total)
    axes.remove()
    made.set_layout_engine("none")
    made.text(left_ / whole, 1 - 0.04 / total, title, fontweight="bold", fontsize=10.5, va="top")
    bars: list[tuple[Scale, Any, float, float]] = []
    for i, (name, values, scale) in enumerate(panels):
        bottom = beneath + (len(panels) - 1 - i) * (tall + above)
        here = made.add_axes((left_ / whole, bottom / total, width / whole, tall / total))
        here.grid(False)
        here.set_facecolor(GREY)
        drawn = _cells(here, grid, np.ma.masked_invalid(inside(values, grid)), scale)
        here.set_aspect("auto")
        here.set_xlim(left, right)
        here.set_ylim(low, high)
        here.set_title(name, loc="left", fontsize=9, pad=3)
        for spine in here.spines.values():
            spine.set_visible(True)
            spine.set_color(INK)
            spine.set_linewidth(0.8)
        here.xaxis.set_major_locator(MaxNLocator(4))
        here.yaxis.set_major_locator(MaxNLocator(2 if tall < 0.8 else 4))
        if i < len(panels) - 1:
            here.set_xticklabels([])
        else:
            here.set_xlabel(labelled(names[0], length_unit))
        here.set_ylabel(labelled(names[1], length_unit))
        if bars and bars[-1][0] == scale:
            bars[-1] = (scale, drawn, bottom, bars[-1][3])
        else:
            bars.append((scale, drawn, bottom, bottom + tall))
    for _, drawn, bottom, top in bars:
        beside = made.add_axes(((left_ + width + 0.1) / whole, bottom / total, 0.12 / whole, (top - bottom) / total))
        bar = made.colorbar(drawn, cax=beside)
        bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
        bar.locator = MaxNLocator(3 if top - bottom < 0.8 else 5)
        bar.update_ticks()
        bar.set_label(unit)
    told = ", ".join(f"{name} from {scale[0]:.3g} to {scale[1]:.3g} {unit}".strip() for name, _, scale in panels)
    return svg(made, f"{title}: {told}")


def slab(points: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Which 3-D points lie in a slab in the middle of z: (bool (N,), least z, largest z).

    It is a tenth of the extent thick, or as thick as it must be to hold fifty points.
    """
    z = points[:, 2]
    middle = (z.min() + z.max()) / 2
    off = np.abs(z - middle)
    half = max(SLAB / 2 * np.ptp(z), float(np.sort(off)[min(49, len(off) - 1)]))
    return off <= half, float(middle - half), float(middle + half)


@style()
def line_field(
    support: Support, curves: Sequence[tuple[str, np.ndarray, str]], title: str, xlabel: str, ylabel: str
) -> str:
    """Draw fields on a one-dimensional support: `curves` are (name, values, colour). Cells outside a mask are gaps."""
    made, axes = figure(4.0, 3.0)
    x = support.points()[:, 0]
    order = np.argsort(x, kind="stable")
    marker = "" if isinstance(support, Grid) else "."
    for name, values, colour in curves:
        y = inside(values, support)[order]
        dash = "-" if name == "truth" else (0, (4, 2))
        axes.plot(x[order], y, color=colour, label=name, linestyle=dash, marker=marker, markersize=4)
    caption(axes, title, xlabel, ylabel)
    if len(curves) > 1:
        axes.legend(frameon=False)
    return svg(made, f"{title}: {ylabel} against {xlabel}")


@style()
def line_band(
    support: Support, truth: np.ndarray, curve: tuple[str, np.ndarray, np.ndarray], title: str, xlabel: str, ylabel: str
) -> str:
    """Draw the truth on a one-dimensional support over a prediction with its band: `curve` is (name, values, half
    widths)."""
    made, axes = figure(4.0, 3.0)
    x = support.points()[:, 0]
    order = np.argsort(x, kind="stable")
    name, middle, half = curve
    low, high = inside(middle - half, support)[order], inside(middle + half, support)[order]
    axes.fill_between(x[order], low, high, color=LEARNED[0], alpha=0.2, linewidth=0, label="band")
    axes.plot(x[order], inside(middle, support)[order], color=LEARNED[0], linestyle=(0, (4, 2)), label=name)
    axes.plot(x[order], inside(truth, support)[order], color=INK, linewidth=1.3, label="truth")
    caption(axes, title, xlabel, ylabel)
    axes.legend(frameon=False)
    return svg(made, f"{title}: {ylabel} against {xlabel}, with its band")


@style()
def colour_bar(scale: Scale, unit: str, width: float = 2.3) -> str:
    """Draw a horizontal colour bar alone, for pictures that carry no axes of their own (the animation)."""
    made, axes = figure(width, 0.64)
    axes.grid(False)
    ramp = np.linspace(0.0, 1.0, 256)[None]
    axes.imshow(ramp, cmap=scale[2], aspect="auto", extent=(scale[0], scale[1], 0.0, 1.0))
    axes.set_yticks([])
    axes.xaxis.set_major_locator(MaxNLocator(3))
    axes.set_xlabel(unit)
    return svg(made, f"colour scale from {scale[0]:.3g} to {scale[1]:.3g} {unit}")
