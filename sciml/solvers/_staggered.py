"""Central differences on the staggered grid of Harlow and Welch.

On a box of ny × nx cells pressure lives at cell centres, u on faces normal to x, v on faces normal to y. Unknown
velocities are stored without the wall faces: u (ny, nx − 1) between walls, (ny, nx) if x is periodic, entry i being
the face between cells i and i + 1; v likewise. `pad` adds two layers of wall and ghost values around them, after which
walls and periodic sides are the same to every formula:

    U (ny + 4, m + 4), U[j + 2, k + 1] the face at x = x₀ + k Δx of row j,    V (m' + 4, nx + 4).

Fluxes of momentum carry velocity interpolated by the four-point formula (7 (a + b) − z − c)/12 whose differences are
of fourth order; it halves the error of the two-point mean on coarse grids. Next to walls the mean is used. Beyond a
wall lies the parabola through the wall's tangential velocity g and the first two cells, 8/3 g − 2 a + b/3. The scheme
as a whole is of second order, and conserves momentum.

Source: F. H. Harlow, J. E. Welch, Phys. Fluids 8, 2182 (1965); Y. Morinishi, T. S. Lund, O. V. Vasilyev, P. Moin,
J. Comput. Phys. 143, 90 (1998).
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


def _at(a: jax.Array, i: int, axis: int) -> jax.Array:
    i = i % a.shape[axis]
    return lax.slice_in_dim(a, i, i + 1, axis=axis)


def _wrap(a: jax.Array, axis: int) -> jax.Array:
    n = a.shape[axis]
    last, first = lax.slice_in_dim(a, n - 2, n, axis=axis), lax.slice_in_dim(a, 0, 2, axis=axis)
    return jnp.concatenate([last, a, first], axis=axis)


def _through(a: jax.Array, axis: int) -> jax.Array:
    """Normal velocity: zero on the wall faces. The layer beyond makes the four-point formula the mean at the wall."""
    low, high = _at(a, 0, axis), _at(a, -1, axis)
    zero = jnp.zeros_like(low)
    return jnp.concatenate([low - _at(a, 1, axis), zero, a, zero, high - _at(a, -2, axis)], axis=axis)


def _along(a: jax.Array, low: jax.Array, high: jax.Array, axis: int) -> jax.Array:
    """Tangential velocity: a ghost on the parabola, and beyond it as in `_through`."""
    ghosts = []
    for g, i, k in ((low, 0, 1), (high, -1, -2)):
        wall = jnp.expand_dims(jnp.broadcast_to(g, (a.shape[1 - axis],)), axis)
        first, second = _at(a, i, axis), _at(a, k, axis)
        ghost = (8 * wall - 6 * first + second) / 3
        ghosts.append((ghost, ghost + first - second))
    (ghost_low, beyond_low), (ghost_high, beyond_high) = ghosts
    return jnp.concatenate([beyond_low, ghost_low, a, ghost_high, beyond_high], axis=axis)


def pad(layout: Layout, u: jax.Array, v: jax.Array, walls: Walls) -> tuple[jax.Array, jax.Array]:
    """U (ny + 4, m + 4) and V (m' + 4, nx + 4) with wall faces and ghosts."""
    px, py = layout.periodic
    upad = _wrap(u, 0) if py else _along(u, walls.y_min, walls.y_max, 0)
    upad = _wrap(upad, 1) if px else _through(upad, 1)
    vpad = _wrap(v, 1) if px else _along(v, walls.x_min, walls.x_max, 1)
    vpad = _wrap(vpad, 0) if py else _through(vpad, 0)
    # Without the barrier XLA would recompute the concatenations inside every one of their many uses.
    return lax.optimization_barrier((upad, vpad))


def acceleration(layout: Layout, upad, vpad, nu, spacing) -> tuple[jax.Array, jax.Array]:
    """−∇·(u u) + ν ∇²u on the unknown faces, as differences of fluxes."""
    (ny, mx), (my, nx) = layout.u_shape, layout.v_shape
    dx, dy = spacing
    kx, ky, dxx, dyy = 1 / (24 * dx), 1 / (24 * dy), nu / dx**2, nu / dy**2

    def part(a: jax.Array, shape: tuple[int, int], j: int, i: int) -> jax.Array:
        return a[2 + j : 2 + j + shape[0], 2 + i : 2 + i + shape[1]]

    def carried(z, a, b, c):  # twelve times the face value
        return 7 * (a + b) - z - c

    def balance(field, shape, east, west, north, south):
        """With twice the velocities through the four sides of each control volume."""
        c, e, w, n, s = (part(field, shape, *k) for k in ((0, 0), (0, 1), (0, -1), (1, 0), (-1, 0)))
        ee, ww, nn, ss = (part(field, shape, *k) for k in ((0, 2), (0, -2), (2, 0), (-2, 0)))
        advection_x = carried(ww, w, c, e) * west - carried(w, c, e, ee) * east
        advection_y = carried(ss, s, c, n) * south - carried(s, c, n, nn) * north
        return kx * advection_x + ky * advection_y + dxx * (e + w - 2 * c) + dyy * (n + s - 2 * c)

    u_shape, v_shape = (ny, mx), (my, nx)
    c, e, w = (part(upad, u_shape, 0, k) for k in (0, 1, -1))
    north, south = (part(vpad, u_shape, k, 0) + part(vpad, u_shape, k, 1) for k in (0, -1))
    au = balance(upad, u_shape, c + e, c + w, north, south)
    c, n, s = (part(vpad, v_shape, k, 0) for k in (0, 1, -1))
    east, west = (part(upad, v_shape, 0, k) + part(upad, v_shape, 1, k) for k in (0, -1))
    av = balance(vpad, v_shape, east, west, c + n, c + s)
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
