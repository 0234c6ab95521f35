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
        self, rhs: jax.Array, spacing: tuple[jax.Array, jax.Array], periodic: tuple[bool, bool]
    ) -> jax.Array: ...


def eigenvalues(n: int, periodic: bool) -> np.ndarray:
    """−h² times the eigenvalues of the second difference along one axis, in the order of `basis`."""
    k = np.arange(n)
    if not periodic:
        return 4 * np.sin(np.pi * k / (2 * n)) ** 2
    if n >= FFT_FROM:
        return 4 * np.sin(np.pi * k / n) ** 2
    return 4 * np.sin(np.pi * ((k + 1) // 2) / n) ** 2


def basis(n: int, periodic: bool) -> np.ndarray:
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


def _along_y(matrix: np.ndarray, x: jax.Array) -> jax.Array:
    return jnp.einsum("kj,ji->ki", jnp.asarray(matrix, x.real.dtype), x, precision="highest")


def _along_x(x: jax.Array, matrix: np.ndarray) -> jax.Array:
    return jnp.einsum("ji,ki->jk", x, jnp.asarray(matrix, x.real.dtype), precision="highest")


def direct(rhs: jax.Array, spacing: tuple[jax.Array, jax.Array], periodic: tuple[bool, bool]) -> jax.Array:
    """Solve the five-point equation to rounding (see the module); the default `pressure_solver`."""
    ny, nx = rhs.shape
    dx, dy = spacing
    fft_x, fft_y = periodic[0] and nx >= FFT_FROM, periodic[1] and ny >= FFT_FROM
    qx = None if fft_x else basis(nx, periodic[0])
    qy = None if fft_y else basis(ny, periodic[1])
    lx = jnp.asarray(eigenvalues(nx, periodic[0]), rhs.dtype) / dx**2
    ly = jnp.asarray(eigenvalues(ny, periodic[1]), rhs.dtype) / dy**2
    total = (ly[:, None] + lx[None, :]).at[0, 0].set(1)
    scale = (-1 / total).at[0, 0].set(0)  # the mean of φ is free: zero

    hat = jnp.fft.fft(rhs, axis=0) if qy is None else _along_y(qy, rhs)
    hat = jnp.fft.fft(hat, axis=1) if qx is None else _along_x(hat, qx)
    hat = hat * scale
    hat = jnp.fft.ifft(hat, axis=0) if qy is None else _along_y(qy.T, hat)
    hat = jnp.fft.ifft(hat, axis=1) if qx is None else _along_x(hat, qx.T)
    return hat.real if jnp.iscomplexobj(hat) else hat
