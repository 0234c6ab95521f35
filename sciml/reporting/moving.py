"""Meshes that move: films of them, surfaces in space side by side, and their figures over time."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from mpl_toolkits.mplot3d.art3d import Poly3DCollection
from PIL import Image

from sciml.errors import InputError
from sciml.reporting import meshes as pictures
from sciml.reporting._files import write_bytes
from sciml.reporting._style import LEARNED, MARKERS, caption, style
from sciml.support import Mesh

KINDS = {".gif": "GIF", ".webp": "WEBP", ".png": "PNG"}
PLAIN = (0.62, 0.66, 0.71, 0.28)  # cells of a surface without a value
SUN = np.array([0.35, -0.5, 0.8])  # where the light comes from


@style()
def film(
    out: str | os.PathLike[str],
    meshes: Sequence[Mesh],
    values: Sequence[Any] | None = None,
    *,
    titles: Sequence[str] | None = None,
    unit: str = "",
    scale: Any = None,
    milliseconds: int = 120,
    dpi: int = 80,
) -> Path:
    """A film of meshes of the plane, all to one scale and with one scale of colours.

    Args:
        out: .gif, .webp or .png (an animated one).
        meshes: a frame each.
        values: of each frame, at nodes or in cells; None for lines alone.
        titles: of each frame.
        unit, scale: see `sciml.reporting.meshes.draw`.
        milliseconds: that a frame is shown.
        dpi: pixels an inch; a frame is about four inches wide.

    Raises:
        InputError: no frames, as many values or titles as there are not frames, another ending, or a place that cannot
            be written.
    """
    for name, several in (("values", values), ("titles", titles)):
        if several is not None and len(several) != len(meshes):
            raise InputError(f"{name}: expected one for each of {len(meshes)} meshes, got {len(several)}")
    box = pictures._around([pictures._box("", mesh) for mesh in meshes]) if len(meshes) else None
    if values is not None and scale is None and len(meshes):
        shown = pictures._all_values(dict(enumerate(meshes)), dict(enumerate(values)))
        finite = np.concatenate([v[np.isfinite(v)] for v in shown.values()])
        scale = (float(finite.min()), float(finite.max()))

    def frames() -> Iterable[Figure]:
        for k, mesh in enumerate(meshes):
            title = "" if titles is None else titles[k]
            field = None if values is None else {title: values[k]}
            yield pictures.gallery({title: mesh}, field, unit=unit, scale=scale, box=box)

    return save_film(frames(), out, milliseconds=milliseconds, dpi=dpi)


def save_film(
    figures: Iterable[Figure], out: str | os.PathLike[str], *, milliseconds: int = 120, dpi: int = 80
) -> Path:
    """Write figures of one size as the frames of a film that runs round and round; arguments as those of `film`."""
    kind = KINDS.get(Path(out).suffix.lower())
    if kind is None:
        raise InputError(f"out: expected a name that ends in {', '.join(KINDS)}, got {Path(out).name!r}")
    images = []
    for figure in figures:
        buffer = io.BytesIO()
        with style():
            figure.savefig(buffer, format="png", dpi=dpi)
        images.append(Image.open(buffer).convert("RGB"))
    if not images:
        raise InputError("meshes: expected one at least, got none")
    if kind == "GIF":  # one palette for all: else colours flicker
        every = Image.new("RGB", (images[0].width, images[0].height * min(len(images), 8)))
        for k, i in enumerate(np.linspace(0, len(images) - 1, min(len(images), 8)).round().astype(int)):
            every.paste(images[i], (0, k * images[0].height))
        palette = every.quantize(128)
        images = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]
    buffer = io.BytesIO()
    options: dict[str, Any] = {"quality": 80, "method": 4} if kind == "WEBP" else {"optimize": True}
    images[0].save(
        buffer, format=kind, save_all=True, append_images=images[1:], duration=milliseconds, loop=0, **options
    )
    return write_bytes(out, buffer.getvalue())


@style()
def surfaces(
    meshes: Mapping[str, Mesh],
    values: Mapping[str, Any] | None = None,
    *,
    unit: str = "",
    scale: Any = None,
    columns: int = 5,
    size: tuple[float, float] = (2.1, 1.6),
    view: tuple[float, float] = (20.0, -60.0),
    colours: Any = pictures.FIELDS,
    limits: Any = None,
) -> Figure:
    """Surfaces in space side by side, all to one scale and with one scale of colours.

    Args:
        meshes: title -> mesh of triangles and quadrilaterals in space.
        values: title -> values at nodes; cells with a node whose value is NaN are grey, and can be seen through.
        unit, scale: see `sciml.reporting.meshes.draw`.
        columns: panels a row.
        size: inches across and up of a panel.
        view: angles in degrees above the plane of x and y, and around z.
        colours: a map of Matplotlib's.
        limits: (least corner, largest corner) of what is shown; None for all.

    Raises:
        InputError: no mesh, one that is no surface, or values of another number than nodes.
    """
    if not meshes:
        raise InputError("meshes: expected one at least, got none")
    cells = {name: _surface(name, mesh) for name, mesh in meshes.items()}
    shown = {name: _at_nodes(name, meshes[name], v) for name, v in (values or {}).items()}
    norm = pictures._norm(list(shown.values()), scale, False)
    chosen: Colormap = ScalarMappable(norm, colours).get_cmap()
    low, high = limits or (
        np.min([m.points().min(0) for m in meshes.values()], 0), np.max([m.points().max(0) for m in meshes.values()], 0)
    )  # fmt: skip
    across = min(columns, len(meshes))
    down = -(-len(meshes) // across)
    width, height = size
    step = height + pictures.TITLE
    figure = Figure(
        figsize=(across * width + pictures.GAP + bool(shown) * (pictures.BAR + pictures.LABELS), down * step)
    )
    FigureCanvasAgg(figure)
    wide, tall = figure.get_size_inches()
    for k, (name, mesh) in enumerate(meshes.items()):
        row, column = divmod(k, across)
        bottom = tall - (row + 1) * step
        side = max(width, height)  # a square that the panel is the middle of, as axes in space are drawn into squares
        place = (column * width + (width - side) / 2, bottom + (height - side) / 2)
        axes: Any = figure.add_axes((place[0] / wide, place[1] / tall, side / wide, side / tall), projection="3d")
        axes.set_axis_off()
        axes.patch.set_visible(False)
        axes.set_proj_type("ortho")
        axes.view_init(*view)
        axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), zlim=(low[2], high[2]))
        axes.set_box_aspect(np.maximum(np.subtract(high, low), 1e-9), zoom=1.18)
        axes.add_collection3d(_lit(mesh, cells[name], shown.get(name), norm, chosen))
        at = ((column * width + pictures.GAP) / wide, (bottom + height + 0.08) / tall)
        figure.text(*at, name, fontweight="bold", fontsize=10.5)
    if shown:
        high = min(tall - 0.6, 2.6)
        bar_axes = pictures._axes(figure, across * width + pictures.GAP, (tall - high) / 2, pictures.BAR, high)
        pictures._bar(figure, ScalarMappable(norm, colours), bar_axes, unit, False)
    return figure


def _lit(mesh: Mesh, cells: np.ndarray, values: np.ndarray | None, norm: Normalize, colours: Colormap) -> Any:
    """Triangles that are lighter where they face the light, whichever side is seen."""
    corners = mesh.points()[cells]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    length = np.linalg.norm(normal, axis=1, keepdims=True)
    light = np.abs(normal / np.where(length > 0, length, 1) @ (SUN / np.linalg.norm(SUN)))
    faces = np.tile(PLAIN, (len(cells), 1))
    if values is not None:
        mean = values[cells].mean(1)
        told = np.isfinite(mean)
        faces[told] = colours(norm(mean[told]))
    faces[:, :3] *= (0.62 + 0.38 * light)[:, None]
    edges = np.column_stack([np.tile((0.15, 0.17, 0.2), (len(cells), 1)), np.where(faces[:, 3] < 1, 0.06, 0.35)])
    return Poly3DCollection(list(corners), facecolors=faces, edgecolors=edges, linewidths=0.15)


@style()
def over_time(
    times: Any, curves: Mapping[str, Any], *, title: str = "", xlabel: str = "time", ylabel: str = ""
) -> Figure:
    """Figures of a moving mesh: name -> as many numbers as there are times."""
    figure = Figure(figsize=(4.6, 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for k, (name, values) in enumerate(curves.items()):
        colour, marker = LEARNED[k % len(LEARNED)], MARKERS[k % len(MARKERS)]
        axes.plot(times, values, color=colour, marker=marker, markersize=4, label=name)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=bool(np.all(np.equal(np.mod(times, 1), 0)))))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    if len(curves) > 1:
        axes.legend(frameon=False)
    caption(axes, title, xlabel, ylabel)
    return figure


def _surface(name: str, mesh: Any) -> np.ndarray:
    pictures._checked_mesh(name, mesh)
    cells = mesh.simplices() if mesh.dimensions == 3 else np.zeros((0, 0), int)
    if cells.shape[1] != 3:
        raise InputError(
            f"mesh {name!r}: expected a surface in space, got {', '.join(mesh.cells)} in {mesh.dimensions}-D"
        )
    return cells


def _at_nodes(name: str, mesh: Mesh, given: Any) -> np.ndarray:
    found = pictures.as_numbers(name, given)
    if found.shape != (mesh.size,):
        raise InputError(f"values of {name!r}: expected one for each of {mesh.size} nodes, got {found.shape}")
    return found
