"""Pictures of meshes: their cells, what they should follow, how good they are, and where errors are.

    save(gallery({"before": mesh, "after": moved}, {"before": m, "after": m_moved}, unit="monitor"), "pair.png")

Every function gives a Matplotlib figure of its own, never through pyplot; `save` writes it. Sequential maps are those
of ColorBrewer that get evenly darker, without their darkest part, on which edges of cells could not be seen.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PolyCollection
from matplotlib.colors import ListedColormap, LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from sciml.errors import InputError, is_number, positive, suggest
from sciml.meshing.quality import cell_quality
from sciml.reporting._files import write_bytes
from sciml.reporting._style import LEARNED, SEQUENTIAL, caption, png, style
from sciml.support import Mesh


def _without_dark(name: str) -> ListedColormap:
    return ListedColormap(matplotlib.colormaps[name](np.linspace(0.02, 0.72, 256)), name=f"{name}_light")


FIELDS, ERRORS = _without_dark("YlGnBu"), _without_dark("YlOrRd")
NONE = "#d5d9de"  # cells without a value
LINE = "#30363d"
FOLDED = "#D55E00"  # cells that are turned over, in every picture of cells
PANEL, WIDE = 3.1, 4.4  # inches that the longer side of a panel is, of several and of one
TITLE, NOTE, GAP, BAR, LABELS = 0.34, 0.3, 0.15, 0.13, 0.8  # inches around panels

Box = tuple[float, float, float, float]  # x from, to, y from, to


@style()
def draw(mesh: Mesh, values: Any = None, *, title: str = "", unit: str = "", scale: Any = None) -> Figure:
    """One mesh of the plane; cells whose value is not finite are grey.

    Args:
        values: at its nodes or in its cells, shown by colours; None for lines alone.
        title, unit: of the picture, and of the values.
        scale: (low, high) of the colours; None for the values' own.

    Raises:
        InputError: a mesh that is not of the plane, values of another number than nodes or cells, or none that is
            finite, or a scale that falls.
    """
    return gallery({title: mesh}, None if values is None else {title: values}, unit=unit, scale=scale)


@style()
def gallery(
    meshes: Mapping[str, Mesh],
    values: Mapping[str, Any] | None = None,
    *,
    unit: str = "",
    scale: Any = None,
    columns: int = 3,
    notes: Mapping[str, str] | None = None,
    logarithmic: bool = False,
    colours: Any = FIELDS,
    box: Box | None = None,
    size: float | None = None,
) -> Figure:
    """Meshes side by side, all to one scale and with one scale of colours.

    Args:
        meshes: title -> mesh.
        values: title -> values at the nodes or in the cells, of some or all of them.
        unit, scale: as those of `draw`.
        columns: panels a row.
        notes: title -> a line below the panel.
        logarithmic: whether colours go by the logarithm, over no more than three decades; what is not positive is
            grey then.
        colours: a map of Matplotlib's.
        box: what is shown of the plane; None for all.
        size: inches that the longer side of a panel is.

    Raises:
        InputError: as `draw`, no mesh at all, or values of a title that no mesh has.
    """
    shown = _all_values(meshes, values, scale is None)
    columns, norm = positive("columns", columns), _norm(list(shown.values()), scale, logarithmic)
    if logarithmic:
        shown = {name: np.where(v > 0, v, np.nan) for name, v in shown.items()}
    window = box or _around([_box(name, mesh) for name, mesh in meshes.items()])
    across = min(columns, len(meshes))
    down = -(-len(meshes) // across)
    width, height = _panel(window, size or (WIDE if len(meshes) == 1 else PANEL))
    step = TITLE + height + (NOTE if notes else 0.0)
    whole = (across * (width + GAP) + GAP + (BAR + LABELS if shown else 0.0), down * step + GAP)
    figure = Figure(figsize=whole)
    FigureCanvasAgg(figure)
    drawn: Any = None
    for k, (name, mesh) in enumerate(meshes.items()):
        row, column = divmod(k, across)
        left, low = GAP + column * (width + GAP), whole[1] - row * step - TITLE - height
        panel = _axes(figure, left, low, width, height)
        drawn = cells_on(panel, mesh, shown.get(name), norm, colours, window) or drawn
        _titled(panel, name, width, (notes or {}).get(name, ""))
    if drawn is not None:
        low = whole[1] - (down - 1) * step - TITLE - height
        bar_axes = _axes(figure, GAP + across * (width + GAP), low, BAR, whole[1] - TITLE - low)
        _bar(figure, drawn, bar_axes, unit, logarithmic)
    return figure


def cells_on(
    axes: Axes, mesh: Mesh, values: np.ndarray | None, norm: Normalize, colours: Any = FIELDS, box: Box | None = None
) -> Any:
    """Draw a mesh into axes of equal scales without ticks; folded cells are outlined in orange, above all others.

    Args:
        values: in its cells; those that are not finite are grey.

    Returns:
        What a colour bar is made for; None where there are no values.
    """
    polygons = _polygons(mesh)
    many = sum(len(p) for p in polygons)
    width = float(np.clip(14 / np.sqrt(max(many, 1)), 0.2, 0.7))
    found, start = None, 0
    for corners in polygons:
        made = PolyCollection(list(corners), linewidths=width, edgecolors=LINE, joinstyle="round")
        made.set_rasterized(many > 2000)
        axes.add_collection(made)
        if values is None:
            made.set_facecolor("white")
        else:
            made.set_array(np.ma.masked_invalid(values[start : start + len(corners)]))
            made.set(norm=norm, cmap=matplotlib.colormaps.get_cmap(colours).with_extremes(bad=NONE))
            found = made
        start += len(corners)
        turned = _areas(corners) <= 0
        if turned.any() and not turned.all():
            axes.add_collection(
                PolyCollection(list(corners[turned]), facecolors="none", edgecolors=FOLDED, linewidths=1.2, zorder=3)
            )
    x0, x1, y0, y1 = box or _box("", mesh)
    room = 0.004 * max(x1 - x0, y1 - y0)
    axes.set(xlim=(x0 - room, x1 + room), ylim=(y0 - room, y1 + room), xticks=[], yticks=[], aspect="equal")
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return found


@style()
def quality_maps(meshes: Mapping[str, Mesh]) -> Figure:
    """Where triangles are good, 4 √3 A/Σ ℓ² of each, and how many are how good: a row a mesh, on the same scales.

    Args:
        meshes: title -> mesh of triangles of the plane.

    Raises:
        InputError: other meshes, or none.
    """
    if not meshes:
        raise InputError("meshes: expected one at least, got none")
    q = {name: _quality(name, mesh) for name, mesh in meshes.items()}
    window = _around([_box(name, mesh) for name, mesh in meshes.items()])
    width, height = _panel(window)
    row, side = max(height, 1.4), 3.0  # inches of a row, and of the width of a histogram
    step, foot, between = row + TITLE + 0.25, 0.35, LABELS + 0.55
    whole = (GAP + width + GAP + BAR + between + side + GAP, len(meshes) * step + foot)
    figure = Figure(figsize=whole)
    FigureCanvasAgg(figure)
    least = min(0.0, *(float(v.min()) for v in q.values()))
    low = np.floor(20 * least) / 20
    bins = np.linspace(low, 1, round((1 - low) * 20) + 1)
    top = max(np.histogram(v, bins)[0].max() / len(v) for v in q.values())
    drawn: Any = None
    for k, (name, mesh) in enumerate(meshes.items()):
        bottom = whole[1] - k * step - TITLE - row
        left = _axes(figure, GAP, bottom, width, row)
        drawn = cells_on(left, mesh, q[name], Normalize(0, 1), SEQUENTIAL, window)
        _titled(left, name, width)
        right = _axes(figure, GAP + width + GAP + BAR + between, bottom, side, row)
        _histogram(right, q[name], bins, 108 * top)
    right.set_xlabel("quality (1: equilateral)")
    bottom = whole[1] - (len(meshes) - 1) * step - TITLE - row
    bar_axes = _axes(figure, GAP + width + GAP, bottom, BAR, whole[1] - TITLE - bottom)
    _bar(figure, drawn, bar_axes, "quality", False)
    return figure


def _histogram(axes: Axes, q: np.ndarray, bins: np.ndarray, top: float) -> None:
    least, folded = float(q.min()), int((q <= 0).sum())
    axes.hist(q, bins.tolist(), weights=np.full(len(q), 100 / len(q)), color=LEARNED[0], linewidth=0)
    axes.axvline(least, color=FOLDED, linewidth=1.2)
    beside = least > (bins[0] + bins[-1]) / 2
    axes.annotate(
        f"least {least:.2f}".replace("-", "−"), (least, 1), xycoords=("data", "axes fraction"),
        xytext=(-4 if beside else 4, -3), textcoords="offset points", va="top", ha="right" if beside else "left",
        color=FOLDED, fontsize=9,
    )  # fmt: skip
    axes.set(xlim=(bins[0], bins[-1]), ylim=(0, top), ylabel="cells (%)")
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.set_title(f"{len(q)} cells" + f", {folded} folded" * bool(folded), loc="right", fontsize=9, pad=5)


@style()
def error_maps(
    meshes: Mapping[str, Mesh], errors: Mapping[str, Any], *, unit: str = "error", columns: int = 3,
    notes: Mapping[str, str] | None = None,
) -> Figure:  # fmt: skip
    """Sizes of errors in cells or at nodes on one logarithmic scale, on which 0 has no place: cells without an error
    are grey, which the bar then says; arguments as those of `gallery`."""
    sizes = {name: np.abs(e) for name, e in _all_values(meshes, errors).items()}
    unit += " (grey: 0)" * any((e == 0).any() for e in sizes.values())
    return gallery(meshes, sizes, unit=unit, columns=columns, notes=notes, logarithmic=True, colours=ERRORS)


def save(figure: Figure, out: str | os.PathLike[str], dpi: int = 110) -> Path:
    """Write a figure as .png or .svg, whole or not at all.

    Raises:
        InputError: another ending, or a place that cannot be written.
    """
    ending = Path(out).suffix.lower()
    if ending == ".png":
        return write_bytes(out, png(figure, dpi))
    if ending == ".svg":
        buffer = io.BytesIO()
        with style():
            figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
        return write_bytes(out, buffer.getvalue())
    raise InputError(f"out: expected a name that ends in .png or .svg, got {Path(out).name!r}")


def _axes(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Axes at a place in inches."""
    across, up = figure.get_size_inches()
    return figure.add_axes((left / across, bottom / up, width / across, height / up))


def _bar(figure: Figure, drawn: Any, axes: Axes, unit: str, logarithmic: bool) -> None:
    bar = figure.colorbar(drawn, cax=axes)
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    bar.set_label(unit)
    bar.locator = MaxNLocator(5, steps=[1, 2, 5, 10]) if logarithmic else MaxNLocator(5)
    if logarithmic:
        low, high = drawn.norm.vmin, drawn.norm.vmax
        if high >= 10 * low:  # else there are few round powers, or none
            bar.locator = LogLocator(subs=(1.0,) if high >= 100 * low else (1.0, 2.0, 5.0))
        bar.formatter = FuncFormatter(lambda x, _: f"{x:.4g}" if low >= 1e-3 and high < 1e4 else _powers(x))
        bar.minorformatter = NullFormatter()
    bar.update_ticks()


def _powers(x: float) -> str:
    """Such as 2 × 10⁻⁶, or 10⁻⁶."""
    factor, power = f"{x:.3e}".split("e")
    times = "" if float(factor) == 1 else rf"{float(factor):g}\times"
    return rf"${times}10^{{{int(power)}}}$"


def _titled(axes: Axes, title: str, width: float, note: str = "") -> None:
    """A caption no wider than a panel in inches: smaller if need be, and cut where that is not enough."""
    caption(axes, title, note, "", pad=5)
    bold, size = FontProperties(family="DejaVu Sans", weight="bold"), 10.5

    def inches(text: str) -> float:
        return TextPath((0, 0), text, size=size, prop=bold).get_extents().width / 72 if text.strip() else 0.0

    wanted = inches(title)
    width *= 0.97  # letters are drawn a little wider than their outlines say
    if wanted > width:
        size = max(7.5, size * width / wanted)
        while inches(title) > width and len(title) > 1:
            title = title.removesuffix("…")[:-1].rstrip(" $") + "…"
        axes.set_title(title, loc="left", fontweight="bold", fontsize=size, pad=5)


def _panel(window: Box, most: float = PANEL) -> tuple[float, float]:
    """Inches across and up."""
    wide, high = window[1] - window[0], window[3] - window[2]
    return (most, most * high / wide) if wide >= high else (most * wide / high, most)


def _polygons(mesh: Mesh) -> list[np.ndarray]:
    """Corners of the cells of each kind, (C, corner, 2)."""
    return [mesh.points()[mesh.cells[k]] for k in ("triangle", "quadrilateral") if len(mesh.cells.get(k, ()))]


def _areas(corners: np.ndarray) -> np.ndarray:
    after = np.roll(corners, -1, 1)
    return (corners[..., 0] * after[..., 1] - after[..., 0] * corners[..., 1]).sum(1) / 2


def _box(name: str, mesh: Any) -> Box:
    _checked_mesh(name, mesh)
    if mesh.dimensions != 2 or not _polygons(mesh):
        raise InputError(
            f"mesh {name!r}: expected triangles or quadrilaterals of the plane, got {', '.join(mesh.cells)} in "
            f"{mesh.dimensions}-D"
        )
    (x0, y0), (x1, y1) = mesh.points().min(0), mesh.points().max(0)
    return float(x0), float(x1), float(y0), float(y1)


def _around(boxes: Sequence[Box]) -> Box:
    x0, x1, y0, y1 = np.transpose(boxes)
    return float(x0.min()), float(x1.max()), float(y0.min()), float(y1.max())


def _quality(name: str, mesh: Mesh) -> np.ndarray:
    _box(name, mesh)
    others = [k for k, c in mesh.cells.items() if len(c) and k != "triangle"]
    if others:
        raise InputError(f"mesh {name!r}: expected triangles alone, got {', '.join(others)} as well")
    return cell_quality(mesh.points(), mesh.cells["triangle"])


def _checked_mesh(name: str, mesh: Any) -> None:
    if not isinstance(mesh, Mesh):
        raise InputError(f"mesh {name!r}: expected a Mesh, got {mesh!r:.60}")


def _all_values(meshes: Any, values: Any, own_scale: bool = True) -> dict[str, np.ndarray]:
    """In cells, by titles.

    Raises:
        InputError: no mesh, or values that are none of these meshes, or of which none is finite if the scale is theirs.
    """
    for what, given in (("meshes", meshes), ("values", {} if values is None else values)):
        if not isinstance(given, Mapping):
            raise InputError(f"{what}: expected title -> {what}, got {given!r:.60}")
    if not meshes:
        raise InputError("meshes: expected one at least, got none")
    for name in values or {}:
        if name not in meshes:
            raise InputError(f"values: no mesh is called {name!r}{suggest(name, map(str, meshes))}")
    shown = {name: _values(name, meshes[name], v) for name, v in (values or {}).items()}
    if own_scale and shown and not any(np.isfinite(v).any() for v in shown.values()):
        raise InputError(f"values of {', '.join(map(repr, shown))}: expected some that are finite, got none")
    return shown


def as_numbers(name: str, given: Any) -> np.ndarray:
    """In float64.

    Raises:
        InputError: what is no array of numbers.
    """
    try:
        return np.asarray(given, np.float64)
    except (TypeError, ValueError):
        raise InputError(f"values of {name!r}: expected numbers, got {given!r:.60}") from None


def _values(name: str, mesh: Mesh, given: Any) -> np.ndarray:
    """In cells; the mean of those at the corners of values at nodes."""
    _checked_mesh(name, mesh)
    found = as_numbers(name, given)
    blocks = [mesh.cells[k] for k in ("triangle", "quadrilateral") if len(mesh.cells.get(k, ()))]
    cells = sum(len(b) for b in blocks)
    if found.shape == (cells,):
        return found
    if found.shape != (mesh.size,):
        raise InputError(
            f"values of {name!r}: expected one for each of {mesh.size} nodes or {cells} cells, got {found.shape}"
        )
    return np.concatenate([found[b].mean(1) for b in blocks])


def _norm(values: Sequence[np.ndarray], scale: Any, logarithmic: bool) -> Normalize:
    finite = np.concatenate([v[np.isfinite(v)] for v in values]) if values else np.zeros(1)
    finite = finite if finite.size else np.zeros(1)
    low, high = (float(finite.min()), float(finite.max())) if scale is None else _checked_scale(scale, logarithmic)
    if logarithmic:
        high = high if high > 0 else 1.0
        positive = finite[finite > 0]
        if scale is None:
            low = max(float(positive.min()) if positive.size else 0.0, high / 1e3)
        return LogNorm(min(low, 0.999 * high), high, clip=True)
    return Normalize(low, high if high > low else low + (abs(low) or 1.0))


def _checked_scale(scale: Any, logarithmic: bool) -> tuple[float, float]:
    ends = list(scale) if isinstance(scale, tuple | list | np.ndarray) else []
    if len(ends) != 2 or not all(map(is_number, ends)) or ends[1] < ends[0] or (logarithmic and ends[0] <= 0):
        raise InputError(f"scale: expected (low, high){', both above 0' * logarithmic}, got {scale!r:.60}")
    return float(ends[0]), float(ends[1])
