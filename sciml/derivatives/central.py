"""Central differences of values at cell centres, for what is measured of a field rather than solved with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from sciml.support import Grid

if TYPE_CHECKING:
    from jaxtyping import Float, Shaped

    Velocity = Sequence[Shaped[np.ndarray, "*batch_shape"]] | Shaped[np.ndarray, " component *batch_shape"]


def derivative(values: Shaped[np.ndarray, "*batch_shape"], grid: Grid, axis: int) -> Float[np.ndarray, "*batch_shape"]:
    """∂/∂x of values (..., *shape) along x, y or z (axis 0, 1, 2), of second order on stretched cells too.

    Across the seam of a periodic axis; NaN at the ends of others, in cells outside the mask and beside them.
    """
    values = np.asarray(values, dtype=np.float64)
    if grid.inside is not None:
        values = np.where(grid.inside, values, np.nan)
    f, c = np.moveaxis(values, -1 - axis, -1), grid.centres[axis]
    found = np.full(f.shape, np.nan)
    if len(c) >= 3 and grid.periodic[axis]:
        period = grid.faces[axis][-1] - grid.faces[axis][0]
        c = np.concatenate([c[-1:] - period, c, c[:1] + period])
        found = np.gradient(np.concatenate([f[..., -1:], f, f[..., :1]], axis=-1), c, axis=-1)[..., 1:-1]
    elif len(c) >= 3:
        found[..., 1:-1] = np.gradient(f, c, axis=-1)[..., 1:-1]
    found = np.moveaxis(found, -1, -1 - axis)
    return found if grid.inside is None else np.where(grid.inside, found, np.nan)


def divergence(velocity: Velocity, grid: Grid) -> Float[np.ndarray, "*batch_shape"]:
    """∇·u of the components x, y, z, each (..., *shape); NaN where a difference reaches out of the domain."""
    parts = [derivative(v, grid, a) for a, v in enumerate(velocity)]
    return np.sum(parts, axis=0)


def rate(velocity: Velocity, grid: Grid) -> float:
    """U/L, what a divergence is measured against: the root mean square speed over the longest side of the domain."""
    weights = grid.weights()
    square = np.sum(np.square(np.asarray(velocity, dtype=np.float64)), axis=0)
    if grid.inside is not None:
        square = np.where(grid.inside, square, 0.0)
    mean = float((square * weights).sum() / (weights.sum() * max(1, square.size // weights.size)))
    return float(np.sqrt(mean)) / max(b - a for a, b in grid.extents)
