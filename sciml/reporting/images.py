"""Field pictures and the animation: pure functions from arrays to SVG strings and PNG data addresses."""

from __future__ import annotations

import io
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image

from sciml.reporting._style import DIVERGING, INK, SEQUENTIAL, caption, data_uri, figure, style, svg


def limits(*arrays: np.ndarray, signed: bool | None = None) -> tuple[float, float, str]:
    """Return (low, high, colour map) that show all `arrays` on one scale.

    Values of both signs get a map that is white at zero and symmetric limits; others run from least to largest.
    """
    finite = np.concatenate([np.asarray(a, float)[np.isfinite(a)].ravel() for a in arrays] or [np.zeros(1)])
    if finite.size == 0:
        finite = np.zeros(1)
    low, high = float(finite.min()), float(finite.max())
    if signed is None:
        signed = low < 0 < high and min(-low, high) > 0.05 * max(-low, high)
    if signed:
        bound = max(abs(low), abs(high)) or 1.0
        return -bound, bound, DIVERGING
    if high <= low:
        high = low + (abs(low) or 1.0)
    return low, high, SEQUENTIAL


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
    values: np.ndarray, extent: tuple[float, float, float, float], scale: tuple[float, float, str],
    title: str, unit: str, length_unit: str = "m", mask: np.ndarray | None = None,
) -> str:  # fmt: skip
    """Draw a field (y, x), first row at the bottom, over `extent` (x_min, x_max, y_min, y_max) with its colour bar.

    Cells where `mask` is 0 are left grey: there is no fluid there.
    """
    shown = np.ma.masked_invalid(np.asarray(values, float))
    if mask is not None:
        shown = np.ma.masked_where(np.asarray(mask) == 0, shown)
    made, axes, bar_axes = _panel((extent[3] - extent[2]) / (extent[1] - extent[0]))
    axes.grid(False)
    axes.set_facecolor("#d5d9de")
    image = axes.imshow(
        shown, origin="lower", extent=extent, vmin=scale[0], vmax=scale[1], cmap=scale[2], aspect="equal",
        interpolation="nearest",
    )  # fmt: skip
    bar = made.colorbar(image, cax=bar_axes)
    bar_axes.tick_params(labelsize=9)
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    bar.locator = MaxNLocator(5)
    bar.update_ticks()
    bar.set_label(unit)
    for spine in axes.spines.values():
        spine.set_visible(True)
        spine.set_color(INK)
        spine.set_linewidth(0.8)
    axes.xaxis.set_major_locator(MaxNLocator(3))
    axes.yaxis.set_major_locator(MaxNLocator(3))
    caption(axes, title, f"x ({length_unit})", f"y ({length_unit})")
    return svg(made, f"{title}, scale from {scale[0]:.3g} to {scale[1]:.3g} {unit}")


@style()
def line_field(
    x: np.ndarray, curves: Sequence[tuple[str, np.ndarray, str]], title: str, xlabel: str, ylabel: str
) -> str:
    """Draw one-dimensional fields: `curves` are (name, values, colour) over `x`."""
    made, axes = figure(4.0, 3.0)
    for name, values, colour in curves:
        axes.plot(x, values, color=colour, label=name, linestyle="-" if name == "truth" else (0, (4, 2)))
    caption(axes, title, xlabel, ylabel)
    if len(curves) > 1:
        axes.legend(frameon=False)
    return svg(made, f"{title}: {ylabel} against {xlabel}")


@style()
def colour_bar(scale: tuple[float, float, str], unit: str, width: float = 2.3) -> str:
    """Draw a horizontal colour bar alone, for pictures that carry no axes of their own (the animation)."""
    made, axes = figure(width, 0.64)
    axes.grid(False)
    ramp = np.linspace(0.0, 1.0, 256)[None]
    axes.imshow(ramp, cmap=scale[2], aspect="auto", extent=(scale[0], scale[1], 0.0, 1.0))
    axes.set_yticks([])
    axes.xaxis.set_major_locator(MaxNLocator(3))
    axes.set_xlabel(unit)
    return svg(made, f"colour scale from {scale[0]:.3g} to {scale[1]:.3g} {unit}")


def strip(frames: np.ndarray, scale: tuple[float, float, str]) -> str:
    """Pack the frames of an animation (time, y, x), side by side, into one picture with the 256 colours of its map.

    The page's script copies one frame at a time to a canvas, so a film is one small PNG and needs no video decoder.
    The first row of a field is drawn at the bottom; what is not finite is grey.
    """
    low, high, name = scale
    values = np.asarray(frames, float)[:, ::-1]
    level = np.clip((values - low) / ((high - low) or 1.0), 0.0, 1.0)
    index = np.where(np.isfinite(level), 1 + np.round(254 * np.nan_to_num(level)), 0).astype(np.uint8)
    picture = Image.fromarray(np.concatenate(list(index), axis=1), mode="L")
    colours = matplotlib.colormaps[name](np.linspace(0.0, 1.0, 255), bytes=True)[:, :3]
    picture.putpalette([0xD5, 0xD9, 0xDE, *colours.ravel().tolist()])
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    return data_uri(buffer.getvalue())


def shrink(frames: np.ndarray, most: int = 96) -> np.ndarray:
    """Average (time, y, x) frames down by a whole factor until the longer side has at most `most` cells."""
    frames = np.asarray(frames, float)
    factor = int(np.ceil(max(frames.shape[1:]) / most))
    if factor <= 1:
        return frames
    height, width = (n // factor * factor for n in frames.shape[1:])
    cut = frames[:, :height, :width]
    return cut.reshape(len(cut), height // factor, factor, width // factor, factor).mean(axis=(2, 4))
