"""Lines of nodes and of faces."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sciml.errors import InputError

if TYPE_CHECKING:
    pass


def resample_nodal(values: Any, shape: tuple[int, int]) -> np.ndarray:
    """Nodal values (ny + 1, nx + 1) on another node grid of the same box, by bicubic spline."""
    from scipy.interpolate import RectBivariateSpline

    values = np.asarray(values, dtype=np.float64)
    if values.shape == tuple(shape):
        return values
    if min(values.shape) < 4:
        raise InputError(f"nodal field: shape {values.shape} is too small to resample, expected at least (4, 4)")
    here = [np.linspace(0.0, 1.0, n) for n in values.shape]
    there = [np.linspace(0.0, 1.0, n) for n in shape]
    return np.asarray(RectBivariateSpline(here[0], here[1], values)(there[0], there[1]))


def faces_of(centres: np.ndarray, low: float, length: float, periodic: bool, slack: float) -> np.ndarray | None:
    """The faces of which `centres` are the midpoints, from `low` on; None where there are none.

    f₍ᵢ₊₁₎ = 2cᵢ − fᵢ, so faces follow from the first one: rounding does not grow along this, an error of the centres
    adds up. On a periodic axis the first face may lie elsewhere: an odd number of cells leaves one place for it, an
    even number any, of which the one is taken that makes wide and narrow cells alternate least.
    """
    sign = (-1.0) ** np.arange(len(centres))
    f = np.concatenate([[low], (low + 2 * np.cumsum(-sign * centres)) * -sign])
    turn = (-1.0) ** np.arange(len(f))
    if periodic and len(centres) % 2:
        f = f + turn * (f[-1] - low - length) / 2
    elif periodic and abs(alternation := float(np.sum(sign * np.diff(f)))) > 0.05 * length:
        f = f + turn * alternation / (2 * len(centres))
    if np.any(np.diff(f) <= 1e3 * slack) or abs(f[-1] - f[0] - length) >= slack:
        return None
    return np.concatenate([f[:-1], [f[0] + length]])
