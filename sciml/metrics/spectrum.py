"""Energy spectra of fields on uniform grids, periodic or between walls, and the error between two of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Shaped

from sciml.errors import InputError
from sciml.metrics._array import Kept, Values, align, floating, namespace, ratio


@lru_cache(maxsize=16)
def _cosine_matrix(n: int) -> np.ndarray:
    """Orthonormal DCT-II: row k, column j is √(2/n) cos(πk(2j+1)/2n), row 0 divided by √2."""
    k, j = np.arange(n)[:, None], np.arange(n)[None, :]
    matrix = math.sqrt(2.0 / n) * np.cos(math.pi * k * (2 * j + 1) / (2 * n))
    matrix[0] /= math.sqrt(2.0)
    return matrix


def energy_spectrum(
    velocity: Shaped[Any, "*_"],
    extents: Sequence[float],
    *,
    periodic: bool | Sequence[bool] = False,
    mask: Shaped[Any, "*space"] | None = None,
) -> tuple[Shaped[Any, " shell"], Shaped[Any, "*batch shell"]]:
    """Shell-summed energy spectrum, E(k) = ½ Σ_{κ in shell k} |û(κ)|².

    Periodic axes use the Fourier transform, κ = 2πm/L with m of both signs. Axes between walls use the cosine
    transform (DCT-II, κ = πm/L): it belongs to the even extension of the field, which is continuous, so a wall
    does not smear a false k⁻² tail over the spectrum as a bare FFT would, and no window throws energy away.
    Every wavenumber up to the corner of the grid is counted, not one quadrant and not the inscribed circle alone;
    hence Parseval's identity Σ_k E(k) = ½⟨|u|²⟩ holds to rounding.

    Args:
        velocity: (..., component, *space); a scalar field needs a component axis of length 1.
        extents: the domain's length along each space axis, in the array's order, e.g. (height, width) for (y, x).
        periodic: for all axes or for each.
        mask: (*space), 1 = fluid; the field is set to zero elsewhere (the jump at the body is then part of it).
    Returns:
        wavenumber (shell,) in rad per unit of length, k_s = s·k₀ with k₀ the largest fundamental wavenumber among
        the axes, a mode belonging to the nearest shell; and energy (..., shell) in velocity² units.
    """
    xp = namespace(velocity)
    u = floating(xp, velocity)
    d = len(extents)
    if u.ndim < d + 1:
        raise InputError(f"velocity: expected (..., component, *space) with {d} space axes, got shape {tuple(u.shape)}")
    if any(not length > 0 for length in extents):
        raise InputError(f"extents: expected lengths > 0, got {tuple(extents)}")
    flags = (periodic,) * d if isinstance(periodic, bool) else tuple(periodic)
    if len(flags) != d:
        raise InputError(f"periodic: expected {d} flags, got {len(flags)}")
    if mask is not None:
        u = xp.where(xp.asarray(mask) != 0, u, xp.zeros_like(u))
    space = tuple(int(n) for n in u.shape[u.ndim - d :])
    for i, (n, wraps) in enumerate(zip(space, flags, strict=True)):
        axis = u.ndim - d + i
        if wraps:
            u = xp.fft.fft(u, axis=axis) / n
        else:
            matrix = xp.asarray(_cosine_matrix(n) / math.sqrt(n), dtype=floating(xp, velocity).dtype)
            if xp.isdtype(u.dtype, "complex floating"):
                matrix = xp.astype(matrix, u.dtype)
            u = xp.moveaxis(xp.moveaxis(u, axis, -1) @ matrix.T, -1, axis)
    power = 0.5 * xp.sum(xp.real(u) ** 2 + (xp.imag(u) ** 2 if xp.isdtype(u.dtype, "complex floating") else 0.0),
                         axis=u.ndim - d - 1)  # fmt: skip
    k0, shells = _shells(space, tuple(float(length) for length in extents), flags)
    flat = xp.reshape(power, (*power.shape[: power.ndim - d], -1))
    energy = [xp.sum(xp.take(flat, xp.asarray(members), axis=-1), axis=-1) for members in shells]
    return xp.asarray(k0 * np.arange(len(shells))), xp.stack(energy, axis=-1)


@lru_cache(maxsize=32)
def _shells(
    space: tuple[int, ...], extents: tuple[float, ...], periodic: tuple[bool, ...]
) -> tuple[float, list[np.ndarray]]:
    """k₀ and, for each shell, the positions of its modes in the flattened transform."""
    wavenumbers, fundamental = [], []
    for n, length, wraps in zip(space, extents, periodic, strict=True):
        first = (2 if wraps else 1) * math.pi / length
        wavenumbers.append(first * (np.fft.fftfreq(n, 1.0 / n) if wraps else np.arange(n)))
        fundamental.append(first)
    k0 = max(fundamental)
    grid = np.sqrt(sum(k**2 for k in np.meshgrid(*wavenumbers, indexing="ij")))
    shell = np.rint(grid / k0).astype(int).ravel()
    order = np.argsort(shell, kind="stable")
    return k0, np.split(order, np.searchsorted(shell[order], np.arange(1, shell.max() + 1)))


def spectrum_error(
    prediction: Values,
    target: Values,
    extents: Sequence[float],
    *,
    periodic: bool | Sequence[bool] = False,
    mask: Shaped[Any, "*space"] | None = None,
    bands: int | None = None,
) -> Kept:
    """Energy spectrum error, Σ_k |E_p(k) − E_t(k)| / Σ_k E_t(k), over all shells or over `bands`.

    With `bands` = n the shells are cut into n groups, equally many octaves wide, and each group has its own ratio
    (last axis): the energy-poor small scales, which the total does not see, are then judged by themselves.
    Leading axes (samples, steps) are kept. Zero fields: 0 if both are zero, ∞ if only the target is.
    """
    prediction, target = align({"prediction": prediction, "target": target}).values()
    _, ep = energy_spectrum(prediction, extents, periodic=periodic, mask=mask)
    _, et = energy_spectrum(target, extents, periodic=periodic, mask=mask)
    xp = namespace(ep, et)
    if bands is None:
        return ratio(xp, xp.sum(xp.abs(ep - et), axis=-1), xp.sum(et, axis=-1))
    shells = int(ep.shape[-1])
    if not 1 <= bands <= shells:
        raise InputError(f"bands: expected 1 to {shells} (the number of shells), got {bands}")
    edges = np.unique(np.rint(np.geomspace(1, shells, bands + 1)).astype(int))
    if len(edges) != bands + 1:
        raise InputError(f"bands: {bands} is too many for {shells} shells; expected at most {len(edges) - 1}")
    edges[0] = 0
    parts = [
        ratio(xp, xp.sum(xp.abs(ep - et)[..., a:b], axis=-1), xp.sum(et[..., a:b], axis=-1)) for a, b in pairwise(edges)
    ]
    return xp.stack(parts, axis=-1)
