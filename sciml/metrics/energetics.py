"""Energy, enstrophy and dissipation of a velocity on a periodic box, exact for what its grid holds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Shaped

from sciml.errors import InputError
from sciml.metrics._array import floating, namespace


class Energetics(NamedTuple):
    """What `energetics` tells of a velocity, each over its leading axes.

    Args:
        energy: ½⟨|u|²⟩, velocity².
        enstrophy: ½⟨|∇×u|²⟩, 1/time².
        strain: ⟨S_ij S_ij⟩ with S the symmetric part of ∇u, 1/time²; the dissipation is 2ν times it.
        wavenumber: (shell,) s·k₀ with k₀ = 2π over the shortest extent; a wave belongs to the nearest shell.
        spectrum: (..., shell) energy of the shells, velocity²; their sum is `energy`.
        palinstrophy: ½⟨|∇ × (∇×u)|²⟩ where ∇·u = 0, else ½⟨|∇(∇×u)|²⟩; 1/(time² length²).
    """

    energy: Any
    enstrophy: Any
    strain: Any
    wavenumber: Any
    spectrum: Any
    palinstrophy: Any

    def dissipation(self, viscosity: float) -> Any:
        """ε = 2ν⟨S_ij S_ij⟩; 2ν times the enstrophy where ∇·u = 0."""
        return 2 * viscosity * self.strain


def energetics(velocity: Shaped[Any, "*_"], extents: Sequence[float]) -> Energetics:
    """Of the trigonometric polynomial through periodic samples, with û its modes and k their wave vectors,

        ½⟨|u|²⟩ = ½ Σ |û|²,  ½⟨|∇×u|²⟩ = ½ Σ (k²|û|² − |k·û|²),  ⟨S_ij S_ij⟩ = ½ Σ (k²|û|² + |k·û|²).

    One transform for each component, whatever is asked for. The shells are those of `energy_spectrum`.

    Args:
        velocity: (..., component, *space), components along x, y, (z); space stored (z, y, x).
        extents: length along each space axis, in the array's order.
    Raises:
        InputError: other shapes, or lengths that are none.
    """
    xp = namespace(velocity)
    u = floating(xp, velocity)
    d = len(extents)
    if d not in (2, 3) or u.ndim < d + 1 or u.shape[u.ndim - d - 1] != d:
        raise InputError(
            f"velocity: expected (..., {d}, *space) with {d} (2 or 3) components, got shape {tuple(u.shape)}"
        )
    if any(not length > 0 for length in extents):
        raise InputError(f"extents: expected lengths > 0, got {tuple(extents)}")
    space = tuple(int(n) for n in u.shape[u.ndim - d :])
    unit, k, twice, members, count = _waves(space, tuple(float(length) for length in extents))
    axes = tuple(range(u.ndim - 1 - d, u.ndim - 1))  # of one component
    power, along = None, None
    for c in range(d):
        modes = xp.fft.rfftn(u[(..., c, *(slice(None),) * d)], axes=axes)
        own = xp.real(modes) ** 2 + xp.imag(modes) ** 2
        slope = modes * xp.asarray(k[c], dtype=own.dtype)
        power = own if power is None else power + own
        along = slope if along is None else along + slope
    factor = xp.asarray(0.5 * twice / math.prod(space) ** 2, dtype=power.dtype)  # type: ignore[union-attr]
    power = power * factor
    along = (xp.real(along) ** 2 + xp.imag(along) ** 2) * factor
    square = xp.asarray(sum(a * a for a in k), dtype=power.dtype)
    over = tuple(range(power.ndim - d, power.ndim))
    turn = square * power - along
    flat = xp.reshape(power, (*power.shape[: power.ndim - d], -1))
    spectrum = [xp.sum(xp.take(flat, xp.asarray(m), axis=-1), axis=-1) for m in members]
    return Energetics(
        xp.sum(power, axis=over), xp.sum(turn, axis=over), xp.sum(square * power + along, axis=over),
        xp.asarray(unit * np.arange(count)), xp.stack(spectrum, axis=-1), xp.sum(square * turn, axis=over),
    )  # fmt: skip


@lru_cache(maxsize=16)
def _waves(space: tuple[int, ...], extents: tuple[float, ...]) -> tuple[float, list[np.ndarray], np.ndarray, Any, int]:
    """The unit of wave numbers, those along x, y, (z), each along its axis of a real transform, how often a mode
    counts, the places of each shell in the flattened modes, and the number of shells."""
    d, k = len(space), []
    for axis in reversed(range(d)):  # x first
        n = space[axis]
        m = np.fft.rfftfreq(n, 1 / n) if axis == d - 1 else np.fft.fftfreq(n, 1 / n)
        where = [1] * d
        where[axis] = -1
        k.append((m * 2 * math.pi / extents[axis]).reshape(where))
    m = np.arange(space[-1] // 2 + 1)
    twice = np.where((m > 0) & (2 * m < space[-1]), 2.0, 1.0)
    unit = 2 * math.pi / min(extents)
    shell = np.rint(np.sqrt(sum(a * a for a in k)) / unit).astype(int).ravel()
    order = np.argsort(shell, kind="stable")
    count = int(shell.max()) + 1
    return unit, k, twice, np.split(order, np.searchsorted(shell[order], np.arange(1, count))), count
