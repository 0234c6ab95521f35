"""The animation: frames on any two-dimensional support as pictures of equal cells, packed into one PNG."""

from __future__ import annotations

import io

import matplotlib
import numpy as np
from PIL import Image

from sciml.reporting._style import data_uri
from sciml.reporting.images import Scale, inside
from sciml.support import Grid, Mesh, Support

LONGEST = 96  # cells along the longer side of a picture


def raster(support: Support) -> tuple[Support, str] | None:
    """The grid of equal cells on which values of `support` are shown, and what is to be said of that; None where a film
    cannot be made: loose points have nothing between them, and other dimensions no plane."""
    if support.dimensions != 2:
        return None
    if isinstance(support, Grid):
        dx, dy = (float(w[0]) for w in support.widths)
        if support.uniform_cells and abs(dx / dy - 1) < 0.02:
            return support, ""
        if support.uniform_cells:
            return _regular(support, LONGEST), "Interpolated to square cells for display."
        return _regular(support, max(support.shape)), "Interpolated from the stretched grid to equal cells for display."
    if isinstance(support, Mesh) and support.simplices().shape[1] == 3:
        return _regular(support, LONGEST), "Interpolated from the nodes of the mesh to equal cells for display."
    return None


def _regular(support: Support, longest: int) -> Grid:
    """Equal cells, about square, over the extents of a support."""
    sides = [(b - a) or 1.0 for a, b in support.extents]
    h = max(sides) / min(longest, LONGEST)
    return Grid(
        tuple(
            np.linspace(a, a + s, max(2, round(s / h)) + 1) for (a, _), s in zip(support.extents, sides, strict=True)
        ),
        tuple(support.periodic),
    )


def frames_on(values: np.ndarray, support: Support, picture: Support) -> np.ndarray:
    """Values (T, *shape) on the picture's cells (T, y, x); NaN where there is nothing to have a value."""
    if picture is support:
        return shrink(inside(values, support), LONGEST)
    points = picture.points().reshape(-1, 2)
    stencil = support.stencil(points)
    shown = np.asarray(values, float) if support.inside is None else np.nan_to_num(inside(values, support))
    found = stencil(shown.reshape(len(values), -1))
    if support.inside is not None:  # cells outside take no part, and cover the picture where they are the nearest
        nearest = stencil.index[np.arange(len(points)), _nearest(support, points, stencil.index)]
        found = np.where(support.inside.reshape(-1)[nearest], found, np.nan)
    if isinstance(support, Mesh):  # beyond a mesh its stencil is one node alone
        beyond = (stencil.index == stencil.index[:, :1]).all(axis=1)
        found = np.where(beyond, np.nan, found)
    return found.reshape(len(values), *picture.shape)


def _nearest(support: Support, points: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Which of the points of each stencil is nearest: (M,)."""
    at = support.points().reshape(-1, support.dimensions)[index]
    return ((at - points[:, None]) ** 2).sum(-1).argmin(1)


def strip(frames: np.ndarray, scale: Scale) -> str:
    """Pack the frames of an animation (time, y, x), side by side, into one picture with the 256 colours of its map.

    The page's script copies one frame at a time to a canvas, so a film is one small PNG and needs no video decoder.
    The first row of a field is drawn at the bottom; what is NaN is grey, and what is infinite a darker grey.
    """
    low, high, name = scale
    values = np.asarray(frames, float)[:, ::-1]
    level = np.clip((values - low) / ((high - low) or 1.0), 0.0, 1.0)
    index = np.where(np.isfinite(values), 1 + np.round(253 * np.nan_to_num(level)), 0)
    index = np.where(np.isinf(values), 255, index).astype(np.uint8)
    picture = Image.fromarray(np.concatenate(list(index), axis=1), mode="L")
    colours = matplotlib.colormaps[name](np.linspace(0.0, 1.0, 254), bytes=True)[:, :3]
    picture.putpalette([0xD5, 0xD9, 0xDE, *colours.ravel().tolist(), 0x5B, 0x64, 0x70])
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    return data_uri(buffer.getvalue())


def shrink(frames: np.ndarray, most: int = LONGEST) -> np.ndarray:
    """Average (time, y, x) frames down by a whole factor until the longer side has at most `most` cells."""
    frames = np.asarray(frames, float)
    factor = int(np.ceil(max(frames.shape[1:]) / most))
    if factor <= 1:
        return frames
    height, width = (n // factor * factor for n in frames.shape[1:])
    cut = frames[:, :height, :width]
    return cut.reshape(len(cut), height // factor, factor, width // factor, factor).mean(axis=(2, 4))
