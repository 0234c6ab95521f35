"""Spectra along the homogeneous directions of a flow along walls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sciml.evaluation._at_heights import AtHeights
from sciml.evaluation._heights import Heights
from sciml.evaluation._streamed import Group, average

if TYPE_CHECKING:
    from jaxtyping import Float


class Spectra(AtHeights):
    """One-sided spectra of each velocity component along each homogeneous direction, on planes at given heights.

    With û_m the Fourier coefficients along a line of n cells and length L, k_m = 2πm/L, m = 0 ... ⌊n/2⌋,

    E_ii(k_m) = c_m ⟨|û_m|²⟩ − δ_m0 U_i²,  c_m = 1 for m = 0 and m = n/2, else 2,

    averaged over the lines of the plane, over time and over the planes as far from the other wall. Hence Parseval's
    identity: Σ_m E_ii(k_m) = ⟨u_i'²⟩, to rounding, with u_i' the departure from the mean over plane and time as in
    `Profiles`; m = 0 holds what varies across the lines and in time. Densities are E / (2π/L).

    Source: S. B. Pope, Turbulent Flows (2000), section 6.5; the normalisation is that of the tables of the Johns
    Hopkins data base (J. Graham et al., J. Turbulence 17, 181 (2016)).

    Args:
        y_plus, y_over_h: distances of the planes from a wall, over ν/u_τ or over h (half of the distance between two
            walls); one of the two. The planes of the nearest cell centres are taken, and told.
        friction_velocity, viscosity: u_τ and ν of wall units; None for what the case knows (`Problem.wall_units`).
        walls: which ends of the axis across are walls, "min", "max".
        velocity, homogeneous, skip, name: see `Streamed`.

    Raises:
        InputError: as `Profiles`; directions that are not periodic or of unequal cells; unknown wall units.
    """

    name = "spectra"

    def measure(self, velocity: Float[np.ndarray, " component *shape"], place: Heights) -> Float[np.ndarray, "q n"]:
        """(2 · wall, direction · component · height · wave number): power, then the mean of the plane at m = 0."""
        planes = place.planes(velocity)
        space = tuple(range(3, planes.ndim))
        mean = planes.mean(axis=space)  # (component, height, wall)
        power, means = [], []
        for axis in place.directions:
            n, at = place.cells(axis), place.plane_axis(axis)
            waves = np.moveaxis(np.abs(np.fft.rfft(planes, axis=at) / n) ** 2, at, -1)
            found = waves.mean(axis=tuple(range(3, waves.ndim - 1))) * _sides(n)  # (component, height, wall, wave)
            first = np.zeros_like(found)
            first[..., 0] = mean
            power.append(np.moveaxis(found, 2, 0).reshape(len(self.walls), -1))
            means.append(np.moveaxis(first, 2, 0).reshape(len(self.walls), -1))
        return np.concatenate([np.concatenate(power, axis=1), np.concatenate(means, axis=1)])

    def entry(self, group: Group) -> dict[str, Any]:
        place: Heights = group.place
        names, s = self.names(group.case), len(self.walls)
        found = place.told() | {"spectra": {}}
        at = 0
        told = None
        if group.blocking is not None:
            q = group.blocking.mean
            weights = np.concatenate([np.full((s, q.shape[1]), 1.0 / s), -2.0 * q[s:] / s])
            told = average(group, (q[:s] - q[s:] ** 2).mean(axis=0), weights)
        for axis in place.directions:
            count = place.cells(axis) // 2 + 1
            shape = (len(names), len(place.layers), count)
            size = int(np.prod(shape))
            entry: dict[str, Any] = {"wavenumber": 2 * np.pi / place.length(axis) * np.arange(count)}
            if told is not None:
                energy, error = (told[k][at : at + size].reshape(shape) for k in ("value", "standard_error"))
                entry["energy"] = dict(zip(names, energy, strict=True))
                entry["standard_error"] = dict(zip(names, error, strict=True))
            found["spectra"]["xyz"[axis]] = entry
            at += size
        return found


def _sides(n: int) -> np.ndarray:
    """How often each wave number of a real transform stands in the whole one."""
    times = np.full(n // 2 + 1, 2.0)
    times[0] = 1.0
    if n % 2 == 0:
        times[-1] = 1.0
    return times
