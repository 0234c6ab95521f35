"""How far a profile is from another one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.interpolate import PchipInterpolator

from sciml.arrays import plain
from sciml.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Shaped

    Numbers = Shaped[np.ndarray, " place"] | Sequence[float]


def profile_error(
    place: Any,
    values: Any,
    reference_place: Any,
    reference: Any,
    *,
    low: float | None = None,
    high: float | None = None,
    widths: Any = None,
) -> dict[str, float]:
    """The error of a profile against a reference over places in [low, high]:

    relative_l2 = √(Σ w (f − g)² / Σ w g²),  largest = max |f − g| / |g|,  offset = Σ w (f − g) / Σ w |g|,

    with g the reference at the places of f (monotone cubics between its points), w the widths of the cells. So "the
    mean velocity within 5 % of the reference for y⁺ ≤ 40" is `profile_error(y_plus, u_plus, ..., high=40)["largest"] <=
    0.05`.

    Args:
        place, values: (P,) the profile, at increasing places.
        reference_place, reference: (R,) increasing places in the same unit, and values.
        low, high: the range; default all that both have.
        widths: (P,) of the cells; None for those between the midpoints of the places.

    Returns:
        relative_l2, largest (with g = 0 left out), offset, and points, the number of places in the range.

    Raises:
        InputError: other lengths, places that do not increase, values that are not finite, no place in the range.

    Source of the interpolant: F. N. Fritsch, R. E. Carlson, SIAM J. Numer. Anal. 17, 238 (1980).
    """
    y, f = _pair("place", "values", place, values)
    x, g = _pair("reference_place", "reference", reference_place, reference)
    if widths is None:
        edges = np.concatenate([y[:1], (y[1:] + y[:-1]) / 2, y[-1:]])
        w = np.diff(edges)
    else:
        w = plain("widths", widths).astype(np.float64)
        if w.shape != y.shape or np.any(w <= 0):
            raise InputError(f"widths: expected {len(y)} numbers > 0, got shape {w.shape}")
    slack = 1e-9 * max(abs(x[0]), abs(x[-1]))
    inside = (y >= x[0] - slack) & (y <= x[-1] + slack)
    inside &= (y >= (-np.inf if low is None else low)) & (y <= (np.inf if high is None else high))
    if not inside.any():
        span = f"{x[0] if low is None else low:g} to {x[-1] if high is None else high:g}"
        raise InputError(f"place: expected some in {span}, got {y[0]:g} to {y[-1]:g}")
    g = PchipInterpolator(x, g)(np.clip(y[inside], x[0], x[-1]))
    f, w = f[inside], w[inside]
    size = float((w * g**2).sum())
    there = g != 0
    return {
        "relative_l2": float(np.sqrt((w * (f - g) ** 2).sum() / size)) if size > 0 else float("nan"),
        "largest": float((np.abs(f - g)[there] / np.abs(g[there])).max()) if there.any() else float("nan"),
        "offset": float((w * (f - g)).sum() / (w * np.abs(g)).sum()) if size > 0 else float("nan"),
        "points": int(inside.sum()),
    }


def _pair(first: str, second: str, place: Any, values: Any) -> tuple[np.ndarray, np.ndarray]:
    y, f = (plain(n, v).astype(np.float64) for n, v in ((first, place), (second, values)))
    if y.ndim != 1 or len(y) < 2 or f.shape != y.shape:
        raise InputError(f"{first}, {second}: expected two lists of one length, two or more, got {y.shape}, {f.shape}")
    if not (np.isfinite(y).all() and np.isfinite(f).all()):
        raise InputError(f"{first}, {second}: expected finite numbers, got NaN or infinity")
    if np.any(np.diff(y) <= 0):
        raise InputError(f"{first}: expected increasing places")
    return y, f
