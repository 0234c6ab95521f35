"""Eigenvectors of the second difference along an axis: cosines, sines and Fourier modes.

On the grids of this package small dense matrix products are the fastest transforms; long periodic axes use the FFT.

Source: R. W. Hockney, J. ACM 12, 95 (1965); R. E. Lynch, J. R. Rice, D. H. Thomas, Numer. Math. 6, 185 (1964).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Float

from sciml.solvers.linear._ends import End, Ends

FFT_FROM = 192  # cells along a periodic axis from which the FFT beats the matrix product


def eigenvalues(n: int, ends: Ends, fourier: bool = False) -> Float[np.ndarray, " {n}"]:
    """−h² times the eigenvalues of the second difference along one axis, in the order of `transform`.

    Args:
        fourier: whether modes are those of the FFT.
    """
    k = np.arange(n)
    if ends[0] is not End.PERIODIC:
        found = 4 * np.sin(np.pi * (k + _shift(ends)) / (2 * n)) ** 2
        return found[_order(n, ends)]
    return 4 * np.sin(np.pi * (k if fourier else (k + 1) // 2) / n) ** 2


def _shift(ends: Ends) -> float:
    """By which the half waves across an axis differ from whole numbers: a half for each open end."""
    return sum(end is End.OPEN for end in ends) / 2


def basis(n: int, ends: Ends) -> Float[np.ndarray, "{n} {n}"]:
    """Orthonormal eigenvectors (mode, cell): cosines and sines that are level at walls and zero at open ends; on
    periodic axes 1, cos, sin, cos, sin, ... Between walls even ones come first, see `transform`."""
    k, j = np.arange(n)[:, None], np.arange(n)[None, :]
    if ends[0] is End.PERIODIC:
        wave = (k + 1) // 2
        phase = 2 * np.pi * wave * j / n
        modes = np.where(k % 2 == 1, np.cos(phase), np.sin(phase)) * np.sqrt(2 / n)
        if n % 2 == 0:
            modes[-1] = np.cos(np.pi * j[0]) / np.sqrt(n)
    else:
        phase = np.pi * (k + _shift(ends)) * (j + 0.5) / n
        modes = np.sqrt(2 / n) * (np.sin(phase) if ends[0] is End.OPEN else np.cos(phase))
    if _shift(ends) == 0:
        modes[0] = 1 / np.sqrt(n)
    elif _shift(ends) == 1:
        modes[-1] /= np.sqrt(2)
    return modes[_order(n, ends)]


def _halved(n: int, ends: Ends) -> bool:
    return ends == (End.WALL, End.WALL) and n % 2 == 0


def _order(n: int, ends: Ends) -> np.ndarray:
    k = np.arange(n)
    return np.concatenate([k[0::2], k[1::2]]) if _halved(n, ends) else k


def by_fft(n: int, ends: Ends) -> bool:
    return ends[0] is End.PERIODIC and n >= FFT_FROM


def transform(x: jax.Array, ends: Ends, axis: int, back: bool = False, fourier: bool = False) -> jax.Array:
    """To modes along one axis, or back. Where both ends are walls modes come even ones first, then odd ones: even modes
    see only the even part of a line of cells and odd ones the odd part, which halves the work."""
    if fourier:
        return jnp.fft.ifft(x, axis=axis) if back else jnp.fft.fft(x, axis=axis)
    n = x.shape[axis]
    matrix = basis(n, ends)
    if not _halved(n, ends):
        return product(matrix.T if back else matrix, x, axis)
    half = n // 2
    even, odd = matrix[:half, :half], matrix[half:, :half]
    low, high = (lax.slice_in_dim(x, k, k + half, axis=axis) for k in (0, half))
    if back:
        low, high = product(even.T, low, axis), product(odd.T, high, axis)
        return jnp.concatenate([low + high, jnp.flip(low - high, axis)], axis)
    high = jnp.flip(high, axis)
    return jnp.concatenate([product(even, low + high, axis), product(odd, low - high, axis)], axis)


def product(matrix: np.ndarray | jax.Array, x: jax.Array, axis: int) -> jax.Array:
    """The matrix over one axis of an array."""
    m = jnp.asarray(matrix, x.real.dtype)
    if axis == x.ndim - 1:
        return jnp.matmul(x, m.T, precision="highest")
    if axis == x.ndim - 2:
        return jnp.matmul(m, x, precision="highest")
    return jnp.moveaxis(jnp.matmul(jnp.moveaxis(x, axis, -1), m.T, precision="highest"), -1, axis)
