"""The force of two fluids on bodies along grid lines."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp


def force(
    open_x: jax.Array, open_y: jax.Array, p: jax.Array, alpha: jax.Array, u: jax.Array, v: jax.Array, viscosity: Any,
    weight: jax.Array, spacing: tuple[jax.Array, jax.Array],
) -> jax.Array:  # fmt: skip
    """(T, 2) the force per length, by pressure and friction on the faces that bound the bodies.

    On a face the pressure is that of the cell beside it and half a cell's weight, friction μ times the speed along it
    over half a cell.

    Args:
        open_x, open_y: (ny, nx + 1), (ny + 1, nx), 0 on faces within bodies and on them.
        p, alpha, u, v: (T, ny, nx) on cells.
        viscosity: of the first and of the second fluid.
        weight: of the first fluid in the second, per volume, along −y.
        spacing: Δx, Δy.
    """
    dx, dy = spacing
    sides = open_x[:, :-1] + open_x[:, 1:] + open_y[:-1] + open_y[1:]
    solid = sides == 0
    mu = viscosity[1] + (viscosity[0] - viscosity[1]) * alpha
    half = dy / 2 * weight * alpha
    left, right = (solid[:, 1:] & ~solid[:, :-1]).astype(p.dtype), (solid[:, :-1] & ~solid[:, 1:]).astype(p.dtype)
    below, above = (solid[1:] & ~solid[:-1]).astype(p.dtype), (solid[:-1] & ~solid[1:]).astype(p.dtype)

    def total(values: jax.Array) -> jax.Array:
        return values.sum((1, 2))

    along_x = total(p[:, :, :-1] * left - p[:, :, 1:] * right) * dy
    along_y = total((p - half)[:, :-1] * below - (p + half)[:, 1:] * above) * dx
    shear_x, shear_y = mu * u / (dy / 2), mu * v / (dx / 2)
    along_x += total(shear_x[:, :-1] * below + shear_x[:, 1:] * above) * dx
    along_y += total(shear_y[:, :, :-1] * left + shear_y[:, :, 1:] * right) * dy
    return jnp.stack([along_x, along_y], axis=-1)
