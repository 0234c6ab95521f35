"""Trigonometric polynomials on periodic grids: wave numbers, the modes that are kept, and other samples of the same."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def wave_numbers(n: int, length: Any, half: bool) -> jax.Array:
    """2πm/length for the modes m of a (real, where `half`) transform over n cells."""
    m = np.fft.rfftfreq(n, 1 / n) if half else np.fft.fftfreq(n, 1 / n)
    return jnp.asarray(m) * (2 * np.pi / length)


def kept(n: int, half: bool) -> np.ndarray:
    """Which modes survive the 2/3 rule."""
    m = np.fft.rfftfreq(n, 1 / n) if half else np.fft.fftfreq(n, 1 / n)
    return 3 * np.abs(m) < n


def refit(values: jax.Array, n: int, axis: int, have: float, want: float) -> jax.Array:
    """The trigonometric interpolant of periodic samples, on n points.

    Args:
        values: samples at (i + have)/m of the period along `axis`.
        want: results at (j + want)/n of the period.
    """
    m = values.shape[axis]
    modes = np.fft.rfftfreq(m, 1 / m)
    spectrum = jnp.moveaxis(jnp.fft.rfft(values, axis=axis), axis, -1)
    size = n // 2 + 1
    spectrum = spectrum * jnp.exp(-2j * np.pi * modes * have / m).astype(spectrum.dtype)
    if m % 2 == 0:  # the highest mode stands for both signs: half of it belongs to each
        spectrum = spectrum.at[..., -1].multiply(0.5 if size > len(modes) else 1.0)
    spectrum = jnp.pad(spectrum, [(0, 0)] * (spectrum.ndim - 1) + [(0, max(0, size - len(modes)))])[..., :size]
    kept_modes = np.fft.rfftfreq(n, 1 / n)
    spectrum = spectrum * jnp.exp(2j * np.pi * kept_modes * want / n).astype(spectrum.dtype) * (n / m)
    return jnp.moveaxis(jnp.fft.irfft(spectrum, n, axis=-1), -1, axis)


def velocities(streamfunction: np.ndarray, lengths: tuple[float, float], shape: tuple[int, int]) -> Any:
    """u = ∂ψ/∂y and v = −∂ψ/∂x at the centres of cells, exact for trigonometric polynomials.

    Args:
        streamfunction: (m + 1, n + 1) nodal ψ, both ends of the period included; what it gains across the period is the
            mean flow.
        lengths: periods along x and y.
        shape: cells (y, x).
    """
    psi = np.asarray(streamfunction, np.float64)
    rise_y, rise_x = np.mean(psi[-1] - psi[0]), np.mean(psi[:, -1] - psi[:, 0])
    rows, columns = (np.arange(n) / (n - 1) for n in psi.shape)
    psi = (psi - rise_y * rows[:, None] - rise_x * columns[None, :])[:-1, :-1]
    found = []
    for axis, sign, mean in ((0, 1.0, rise_y / lengths[1]), (1, -1.0, -rise_x / lengths[0])):
        n = psi.shape[axis]
        k = np.fft.rfftfreq(n, 1 / n) * (2 * np.pi / lengths[1 - axis])
        k = np.where(2 * np.arange(len(k)) == n, 0.0, k)  # the highest wave has no derivative that its samples know
        modes = np.fft.rfft(psi, axis=axis) * 1j * np.expand_dims(k, 1 - axis)
        slope = np.fft.irfft(modes, n, axis=axis)
        with jax.enable_x64(True):
            for along in (0, 1):
                slope = refit(jnp.asarray(slope), shape[along], along, 0.0, 0.5)
            found.append(sign * np.asarray(slope) + mean)
    return found[0], found[1]
