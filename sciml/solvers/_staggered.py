"""Central differences on the staggered grid of Harlow and Welch.

On a box of ny × nx cells pressure lives at cell centres, u on faces normal to x, v on faces normal to y. Unknown
velocities are stored without the wall faces: u (ny, nx − 1) between walls, (ny, nx) if x is periodic, entry i being
the face between cells i and i + 1; v likewise. `pad` adds one layer of wall and ghost values around them, after which
walls and periodic sides are the same to every formula:

    U (ny + 2, m + 2), U[j + 1, k] the face at x = x₀ + k Δx of row j,    V (m' + 2, nx + 2).

At a wall the ghost value is 2 g − u (g the wall's tangential velocity), so that the wall value is met to second order.
With discretely divergence-free velocities the advection terms conserve momentum and kinetic energy.

Source: F. H. Harlow, J. E. Welch, Phys. Fluids 8, 2182 (1965).
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax


class Walls(NamedTuple):
    """Tangential velocities at one time: u on y_min and y_max, v on x_min and x_max.

    Each a scalar or values on the faces along that wall, wall faces left out (as the unknowns).
    """

    y_min: jax.Array
    y_max: jax.Array
    x_min: jax.Array
    x_max: jax.Array


class Layout(NamedTuple):
    """Static facts of a grid: cells and which axes are periodic, both in order (x, y)."""

    nx: int
    ny: int
    periodic: tuple[bool, bool]

    @property
    def u_shape(self) -> tuple[int, int]:
        return self.ny, self.nx if self.periodic[0] else self.nx - 1

    @property
    def v_shape(self) -> tuple[int, int]:
        return self.ny if self.periodic[1] else self.ny - 1, self.nx


def _wrap(a: jax.Array, axis: int) -> jax.Array:
    n = a.shape[axis]
    last, first = lax.slice_in_dim(a, n - 1, n, axis=axis), lax.slice_in_dim(a, 0, 1, axis=axis)
    return jnp.concatenate([last, a, first], axis=axis)


def _reflect(a: jax.Array, low: jax.Array, high: jax.Array, axis: int) -> jax.Array:
    n = a.shape[axis]
    first, last = lax.slice_in_dim(a, 0, 1, axis=axis), lax.slice_in_dim(a, n - 1, n, axis=axis)
    low, high = (jnp.expand_dims(jnp.broadcast_to(g, (a.shape[1 - axis],)), axis) for g in (low, high))
    return jnp.concatenate([2 * low - first, a, 2 * high - last], axis=axis)


def pad(layout: Layout, u: jax.Array, v: jax.Array, walls: Walls) -> tuple[jax.Array, jax.Array]:
    """U (ny + 2, m + 2) and V (m' + 2, nx + 2) with wall faces (zero) and ghosts."""
    px, py = layout.periodic
    upad = _wrap(u, 0) if py else _reflect(u, walls.y_min, walls.y_max, 0)
    upad = _wrap(upad, 1) if px else jnp.pad(upad, ((0, 0), (1, 1)))
    vpad = _wrap(v, 1) if px else _reflect(v, walls.x_min, walls.x_max, 1)
    vpad = _wrap(vpad, 0) if py else jnp.pad(vpad, ((1, 1), (0, 0)))
    # Without the barrier XLA would recompute the concatenations inside every one of their many uses.
    return lax.optimization_barrier((upad, vpad))


def acceleration(layout: Layout, upad, vpad, nu, spacing) -> tuple[jax.Array, jax.Array]:
    """−∇·(u u) + ν ∇²u on the unknown faces, as differences of fluxes."""
    nx, ny = layout.nx, layout.ny
    dx, dy = spacing
    mx, my = layout.u_shape[1], layout.v_shape[0]
    kx, ky, dxx, dyy = 0.25 / dx, 0.25 / dy, nu / dx**2, nu / dy**2

    c, e, w, n, s = upad[1:-1, 1:-1], upad[1:-1, 2:], upad[1:-1, :-2], upad[2:, 1:-1], upad[:-2, 1:-1]
    v_n = vpad[1 : ny + 1, 1 : mx + 1] + vpad[1 : ny + 1, 2 : mx + 2]
    v_s = vpad[:ny, 1 : mx + 1] + vpad[:ny, 2 : mx + 2]
    au = (
        kx * ((c + w) ** 2 - (c + e) ** 2)
        + ky * ((c + s) * v_s - (c + n) * v_n)
        + dxx * (e + w - 2 * c)
        + dyy * (n + s - 2 * c)
    )
    c, e, w, n, s = vpad[1:-1, 1:-1], vpad[1:-1, 2:], vpad[1:-1, :-2], vpad[2:, 1:-1], vpad[:-2, 1:-1]
    u_e = upad[1 : my + 1, 1 : nx + 1] + upad[2 : my + 2, 1 : nx + 1]
    u_w = upad[1 : my + 1, :nx] + upad[2 : my + 2, :nx]
    av = (
        ky * ((c + s) ** 2 - (c + n) ** 2)
        + kx * ((c + w) * u_w - (c + e) * u_e)
        + dxx * (e + w - 2 * c)
        + dyy * (n + s - 2 * c)
    )
    return au, av


def gradient(layout: Layout, p: jax.Array, spacing) -> tuple[jax.Array, jax.Array]:
    """(δx p, δy p) on the unknown faces."""
    px, py = layout.periodic
    right = jnp.concatenate([p, p[:, :1]], axis=1) if px else p
    above = jnp.concatenate([p, p[:1]], axis=0) if py else p
    return (right[:, 1:] - right[:, :-1]) / spacing[0], (above[1:] - above[:-1]) / spacing[1]


def faces(layout: Layout, u: jax.Array, v: jax.Array) -> tuple[jax.Array, jax.Array]:
    """All face-normal velocities, u (ny, nx + 1) and v (ny + 1, nx), walls and both periodic sides included."""
    px, py = layout.periodic
    uf = jnp.concatenate([u[:, -1:], u], axis=1) if px else jnp.pad(u, ((0, 0), (1, 1)))
    vf = jnp.concatenate([v[-1:], v], axis=0) if py else jnp.pad(v, ((1, 1), (0, 0)))
    return uf, vf


def unknowns(layout: Layout, uf: jax.Array, vf: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The inverse of `faces`; what is given on wall faces is dropped (walls are impermeable)."""
    px, py = layout.periodic
    return uf[:, 1:] if px else uf[:, 1:-1], vf[1:] if py else vf[1:-1]


def divergence(layout: Layout, u: jax.Array, v: jax.Array, spacing) -> jax.Array:
    """δx u + δy v at cell centres."""
    uf, vf = faces(layout, u, v)
    return (uf[:, 1:] - uf[:, :-1]) / spacing[0] + (vf[1:] - vf[:-1]) / spacing[1]


def courant_rate(layout: Layout, u: jax.Array, v: jax.Array, spacing) -> jax.Array:
    """max over cells of |u|/Δx + |v|/Δy (1/s), each the larger of the two faces."""
    uf, vf = faces(layout, jnp.abs(u), jnp.abs(v))
    x = jnp.maximum(uf[:, 1:], uf[:, :-1])
    y = jnp.maximum(vf[1:], vf[:-1])
    return jnp.max(x / spacing[0] + y / spacing[1])
