"""Direct solution of the pressure equation on a box.

(δxx + δyy) φ = f at cell centres, with zero normal difference at walls or periodic: the five-point equation of the
projection on a staggered grid. Its eigenvectors are products of one-dimensional cosines (walls) or Fourier modes
(periodic), whatever the cell sizes, so that a solve is a transform, a division and the transform back. On the grids of
this package small dense matrix products are the fastest transforms; long periodic axes use the FFT.

Source: R. W. Hockney, J. ACM 12, 95 (1965); R. E. Lynch, J. R. Rice, D. H. Thomas, Numer. Math. 6, 185 (1964).
"""

from __future__ import annotations

from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Float

Spacing = tuple[Float[jax.Array, ""] | float, Float[jax.Array, ""] | float]  # dx, dy

FFT_FROM = 192  # cells along a periodic axis from which the FFT beats the matrix product


class PressureSolver(Protocol):
    """What `pressure_solver=` expects: a traceable function of arrays.

    Args:
        rhs: (ny, nx) right-hand side; its mean is zero up to rounding.
        spacing: (dx, dy), which may be traced.
        periodic: (x, y), static.

    Returns:
        (ny, nx) φ with (δxx + δyy) φ = rhs and zero mean.
    """

    def __call__(
        self, rhs: Float[jax.Array, "y x"], spacing: Spacing, periodic: tuple[bool, bool]
    ) -> Float[jax.Array, "y x"]: ...


def eigenvalues(n: int, periodic: bool) -> Float[np.ndarray, " {n}"]:
    """−h² times the eigenvalues of the second difference along one axis, in the order of `basis`."""
    k = np.arange(n)
    if not periodic:
        return 4 * np.sin(np.pi * k / (2 * n)) ** 2
    if n >= FFT_FROM:
        return 4 * np.sin(np.pi * k / n) ** 2
    return 4 * np.sin(np.pi * ((k + 1) // 2) / n) ** 2


def basis(n: int, periodic: bool) -> Float[np.ndarray, "{n} {n}"]:
    """Orthonormal eigenvectors (mode, cell): cosines at walls, else 1, cos, sin, cos, sin, ..."""
    k, j = np.arange(n)[:, None], np.arange(n)[None, :]
    if periodic:
        wave = (k + 1) // 2
        phase = 2 * np.pi * wave * j / n
        modes = np.where(k % 2 == 1, np.cos(phase), np.sin(phase)) * np.sqrt(2 / n)
        if n % 2 == 0:
            modes[-1] = np.cos(np.pi * j[0]) / np.sqrt(n)
    else:
        modes = np.sqrt(2 / n) * np.cos(np.pi * k * (j + 0.5) / n)
    modes[0] = 1 / np.sqrt(n)
    return modes


def _transform(x: jax.Array, n: int, periodic: bool, axis: int, back: bool) -> jax.Array:
    """To modes along one axis, or back. Cosine modes come even ones first, then odd ones: even modes see only the even
    part of a line of cells and odd ones the odd part, which halves the work."""
    if periodic and n >= FFT_FROM:
        return jnp.fft.ifft(x, axis=axis) if back else jnp.fft.fft(x, axis=axis)
    matrix = basis(n, periodic)
    if periodic or n % 2:
        return _product(matrix.T if back else matrix, x, axis)
    half = n // 2
    even, odd = matrix[0::2, :half], matrix[1::2, :half]
    low, high = (lax.slice_in_dim(x, k, k + half, axis=axis) for k in (0, half))
    if back:
        low, high = _product(even.T, low, axis), _product(odd.T, high, axis)
        return jnp.concatenate([low + high, jnp.flip(low - high, axis)], axis)
    high = jnp.flip(high, axis)
    return jnp.concatenate([_product(even, low + high, axis), _product(odd, low - high, axis)], axis)


def _product(matrix: np.ndarray, x: jax.Array, axis: int) -> jax.Array:
    m = jnp.asarray(matrix, x.real.dtype)
    return jnp.matmul(m, x, precision="highest") if axis == 0 else jnp.matmul(x, m.T, precision="highest")


def direct(rhs: Float[jax.Array, "y x"], spacing: Spacing, periodic: tuple[bool, bool]) -> Float[jax.Array, "y x"]:
    """Solve the five-point equation to rounding (see the module); the default `pressure_solver`."""
    (ny, nx), (dx, dy), (px, py) = rhs.shape, spacing, periodic
    lx, ly = (jnp.asarray(_ordered(eigenvalues(n, p), p), rhs.dtype) for n, p in ((nx, px), (ny, py)))
    total = ly[:, None] / dy**2 + lx[None, :] / dx**2
    scale = (-1 / total.at[0, 0].set(1)).at[0, 0].set(0)  # the mean of φ is free: zero
    hat = _transform(_transform(rhs, ny, py, 0, False), nx, px, 1, False)
    hat = hat * scale
    hat = _transform(_transform(hat, nx, px, 1, True), ny, py, 0, True)
    return hat.real if jnp.iscomplexobj(hat) else hat


def _ordered(values: np.ndarray, periodic: bool) -> np.ndarray:
    return values if periodic or values.size % 2 else np.concatenate([values[0::2], values[1::2]])
