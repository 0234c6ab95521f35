"""Two-point correlations along the homogeneous directions of a flow along walls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.integrate import trapezoid

from sciml.evaluation._at_heights import AtHeights
from sciml.evaluation._heights import Heights
from sciml.evaluation._streamed import Group, average

if TYPE_CHECKING:
    from jaxtyping import Float


class Correlations(AtHeights):
    """Two-point correlations of each velocity component along each homogeneous direction, on planes at given heights:

    R_ii(r) = ⟨u_i'(x) u_i'(x + r)⟩ / ⟨u_i'²⟩,  L_i = ∫₀^{r₀} R_ii dr,

    r = 0 ... half of the domain in steps of a cell, averaged over the plane, over time and over the planes as far from
    the other wall; by the Fourier transform of the spectrum (Wiener, Khinchin), which is exact on a periodic line.
    L_i is the integral length, up to the first zero r₀ (or half of the domain, by trapezia). u' is the departure from
    the mean over plane and time. Where R does not fall to nothing by half of the domain, the domain is too short.

    Source: S. B. Pope, Turbulent Flows (2000), section 3.7 and 6.3.

    Args: as `Spectra`.

    Raises:
        InputError: as `Spectra`.
    """

    name = "correlations"

    def measure(self, velocity: Float[np.ndarray, " component *shape"], place: Heights) -> Float[np.ndarray, "q n"]:
        """(3 · wall, direction · component · height · lag): ⟨u(x) u(x + r)⟩, ⟨u²⟩ and ⟨u⟩."""
        planes = place.planes(velocity)
        mean = planes.mean(axis=tuple(range(3, planes.ndim)))  # (component, height, wall)
        rows = []
        for axis in place.directions:
            n, at = place.cells(axis), place.plane_axis(axis)
            waves = np.moveaxis(np.abs(np.fft.rfft(planes, axis=at)) ** 2, at, -1)
            waves = waves.mean(axis=tuple(range(3, waves.ndim - 1)))
            lags = np.fft.irfft(waves, n, axis=-1)[..., : n // 2 + 1] / n  # (component, height, wall, lag)
            still = np.broadcast_to(lags[..., :1], lags.shape), np.broadcast_to(mean[..., None], lags.shape)
            parts = [np.moveaxis(a, 2, 0).reshape(len(self.walls), -1) for a in (lags, *still)]
            rows.append(np.concatenate(parts))
        return np.concatenate(rows, axis=1)

    def entry(self, group: Group) -> dict[str, Any]:
        place: Heights = group.place
        names, s = self.names(group.case), len(self.walls)
        found = place.told() | {"correlations": {}}
        told = None
        if group.blocking is not None:
            lagged, square, mean = np.split(group.blocking.mean, 3)
            above, below = (lagged - mean**2).sum(axis=0), (square - mean**2).sum(axis=0)
            below = np.where(below > 0, below, np.nan)
            r = above / below
            ones = np.ones((s, 1))
            weights = np.concatenate([ones / below, -ones * r / below, -2.0 * mean * (1.0 - r) / below])
            told = average(group, r, np.nan_to_num(weights))
        at = 0
        for axis in place.directions:
            count = place.cells(axis) // 2 + 1
            shape = (len(names), len(place.layers), count)
            size = int(np.prod(shape))
            lag = place.length(axis) / place.cells(axis) * np.arange(count)
            entry: dict[str, Any] = {"lag": lag}
            if told is not None:
                value, error = (told[k][at : at + size].reshape(shape) for k in ("value", "standard_error"))
                error[..., 0] = 0.0  # there it is 1 by definition
                entry["correlation"] = dict(zip(names, value, strict=True))
                entry["standard_error"] = dict(zip(names, error, strict=True))
                entry["integral_length"] = {
                    name: np.array([_integral(lag, line) for line in part])
                    for name, part in zip(names, value, strict=True)
                }
            found["correlations"]["xyz"[axis]] = entry
            at += size
        return found


def _integral(lag: np.ndarray, values: np.ndarray) -> float:
    """Up to the first zero, which is found on the straight line between two lags."""
    below = np.flatnonzero(values <= 0)
    if not below.size:
        return float(trapezoid(values, lag))
    k = int(below[0])
    zero = lag[k - 1] + (lag[k] - lag[k - 1]) * values[k - 1] / (values[k - 1] - values[k])
    return float(trapezoid([*values[:k], 0.0], [*lag[:k], zero]))
