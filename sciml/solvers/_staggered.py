"""Central differences on the staggered grid of Harlow and Welch.

On a box of ny × nx cells pressure lives at cell centres, u on faces normal to x, v on faces normal to y. Each end of an
axis is periodic, a wall or open. At a wall the velocity is given, through it as well as along it; at an open end the
pressure is zero and the velocity leaves as it comes, ∂u/∂n = 0. Unknown velocities are stored without the wall faces:
u (ny, nx − 1) between walls, one column more for every open end, (ny, nx) if x is periodic; v likewise. `pad` adds two
layers of wall and ghost values around them, after which all ends are the same to every formula:

    U (ny + 4, m + 4), U[2, 2] the first unknown,    V (m' + 4, nx + 4).

Fluxes of momentum carry velocity interpolated by the four-point formula (7 (a + b) − z − c)/12 whose differences are
of fourth order; it halves the error of the two-point mean on coarse grids. Next to walls the mean is used. Beyond a
wall lies the parabola through the wall's tangential velocity g and the first two cells, 8/3 g − 2 a + b/3. The scheme
as a whole is of second order, and conserves momentum.

Source: F. H. Harlow, J. E. Welch, Phys. Fluids 8, 2182 (1965); Y. Morinishi, T. S. Lund, O. V. Vasilyev, P. Moin,
J. Comput. Phys. 143, 90 (1998).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from sciml.solvers.linear import End, Ends


class Walls(NamedTuple):
    """Velocities at the walls at one time, along them and through them; what is open or periodic is not asked.

    Along a wall a scalar or values on the faces along it, wall faces left out (as the unknowns); through it a scalar or
    values at the cells.
    """

    y_min_u: jax.Array
    y_max_u: jax.Array
    x_min_v: jax.Array
    x_max_v: jax.Array
    x_min_u: jax.Array
    x_max_u: jax.Array
    y_min_v: jax.Array
    y_max_v: jax.Array


class Layout(NamedTuple):
    """Static facts of a grid: cells and what the ends of its axes are, both in order (x, y)."""

    nx: int
    ny: int
    ends: tuple[Ends, Ends]

    @property
    def periodic(self) -> tuple[bool, bool]:
        return self.ends[0][0] is End.PERIODIC, self.ends[1][0] is End.PERIODIC

    @property
    def open(self) -> bool:
        """Whether the pressure is given anywhere."""
        return any(end is End.OPEN for ends in self.ends for end in ends)

    @property
    def u_shape(self) -> tuple[int, int]:
        return self.ny, _count(self.nx, self.ends[0])

    @property
    def v_shape(self) -> tuple[int, int]:
        return _count(self.ny, self.ends[1]), self.nx


def _count(n: int, ends: Ends) -> int:
    return n if ends[0] is End.PERIODIC else n - 1 + sum(end is End.OPEN for end in ends)


def _at(a: jax.Array, i: int, axis: int) -> jax.Array:
    i = i % a.shape[axis]
    return lax.slice_in_dim(a, i, i + 1, axis=axis)


def _wrap(a: jax.Array, axis: int) -> jax.Array:
    n = a.shape[axis]
    last, first = lax.slice_in_dim(a, n - 2, n, axis=axis), lax.slice_in_dim(a, 0, 2, axis=axis)
    return jnp.concatenate([last, a, first], axis=axis)


def _layer(value: Any, a: jax.Array, axis: int) -> jax.Array:
    return jnp.expand_dims(jnp.broadcast_to(value, (a.shape[1 - axis],)), axis)


def _through(a: jax.Array, low: Any, high: Any, ends: Ends, axis: int) -> jax.Array:
    """Normal velocity: what is given on wall faces; beyond an open end, whose face is among the unknowns, that face
    again. The layer beyond makes the four-point formula the mean next to them."""
    pieces = []
    for g, end, i, k in ((low, ends[0], 0, 1), (high, ends[1], -1, -2)):
        first, second = _at(a, i, axis), _at(a, k, axis)
        next_to = first if end is End.OPEN else _layer(g, a, axis)
        pieces.append((next_to, next_to + first - second))
    (one, before), (other, after) = pieces
    return jnp.concatenate([before, one, a, other, after], axis=axis)


def _along(a: jax.Array, low: Any, high: Any, ends: Ends, axis: int) -> jax.Array:
    """Tangential velocity: a ghost on the parabola through a wall, or the same again beyond an open end; beyond it as
    in `_through`."""
    pieces = []
    for g, end, i, k in ((low, ends[0], 0, 1), (high, ends[1], -1, -2)):
        first, second = _at(a, i, axis), _at(a, k, axis)
        ghost = first if end is End.OPEN else (8 * _layer(g, a, axis) - 6 * first + second) / 3
        pieces.append((ghost, ghost + first - second))
    (one, before), (other, after) = pieces
    return jnp.concatenate([before, one, a, other, after], axis=axis)


def pad(layout: Layout, u: jax.Array, v: jax.Array, walls: Walls) -> tuple[jax.Array, jax.Array]:
    """U (ny + 4, m + 4) and V (m' + 4, nx + 4) with wall faces and ghosts."""
    (px, py), (x, y) = layout.periodic, layout.ends
    upad = _wrap(u, 0) if py else _along(u, walls.y_min_u, walls.y_max_u, y, 0)
    low, high = (_beside(g, py) for g in (walls.x_min_u, walls.x_max_u))
    upad = _wrap(upad, 1) if px else _through(upad, low, high, x, 1)
    vpad = _wrap(v, 1) if px else _along(v, walls.x_min_v, walls.x_max_v, x, 1)
    low, high = (_beside(g, px) for g in (walls.y_min_v, walls.y_max_v))
    vpad = _wrap(vpad, 0) if py else _through(vpad, low, high, y, 0)
    # Without the barrier XLA would recompute the concatenations inside every one of their many uses.
    return lax.optimization_barrier((upad, vpad))


def _beside(g: Any, periodic: bool) -> Any:
    """What goes through a wall, with two more values at either end: of ghosts, which see no more than the last ones."""
    return jnp.pad(g, 2, mode="wrap" if periodic else "edge") if jnp.ndim(g) else g


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
    # where an axis begins open, its first unknown is the face before the first cell, not behind it
    ox, oy = (int(ends[0] is End.OPEN) for ends in layout.ends)
    north, south = (part(vpad, u_shape, k + oy, -ox) + part(vpad, u_shape, k + oy, 1 - ox) for k in (0, -1))
    au = balance(upad, u_shape, c + e, c + w, north, south)
    c, n, s = (part(vpad, v_shape, k, 0) for k in (0, 1, -1))
    east, west = (part(upad, v_shape, -oy, k + ox) + part(upad, v_shape, 1 - oy, k + ox) for k in (0, -1))
    av = balance(vpad, v_shape, east, west, c + n, c + s)
    return au, av


def gradient(layout: Layout, p: jax.Array, spacing) -> tuple[jax.Array, jax.Array]:
    """(δx p, δy p) on the unknown faces; p is zero on open ends."""
    found = []
    for axis, ends, h in ((1, layout.ends[0], spacing[0]), (0, layout.ends[1], spacing[1])):
        first, last = _at(p, 0, axis), _at(p, -1, axis)
        before = [-first] if ends[0] is End.OPEN else []
        after = [first] if ends[0] is End.PERIODIC else [-last] if ends[1] is End.OPEN else []
        line = jnp.concatenate([*before, p, *after], axis=axis)
        n = line.shape[axis]
        found.append((lax.slice_in_dim(line, 1, n, axis=axis) - lax.slice_in_dim(line, 0, n - 1, axis=axis)) / h)
    return found[0], found[1]


def outward(layout: Layout, acceleration: jax.Array, velocity: jax.Array, k: int, h: Any) -> jax.Array:
    """With what returning fluid feels at open ends of axis k (0: x): there the pressure over density is −½ min(u·n, 0)²
    instead of zero. Fluid from outside then brings no energy of its motion along the normal, without which an eddy that
    crosses an outlet at a high Reynolds number grows without bound.

    Source: after S. Dong, G. E. Karniadakis, C. Chryssostomidis, J. Comput. Phys. 261, 83 (2014), the normal part
    alone, which has continuous derivatives.
    """
    for end, place, sign in ((layout.ends[k][0], 0, -1), (layout.ends[k][1], -1, 1)):
        if end is End.OPEN:
            at = (slice(None), place) if k == 0 else place
            acceleration = acceleration.at[at].add(sign * jnp.minimum(sign * velocity[at], 0) ** 2 / h)
    return acceleration


def faces(layout: Layout, u: jax.Array, v: jax.Array, walls: Walls | None = None) -> tuple[jax.Array, jax.Array]:
    """All face-normal velocities, u (ny, nx + 1) and v (ny + 1, nx), walls (zero by default) and both periodic sides
    included."""
    given = ((0.0, 0.0), (0.0, 0.0)) if walls is None else (
        (walls.x_min_u, walls.x_max_u), (walls.y_min_v, walls.y_max_v)
    )  # fmt: skip
    found = []
    for a, axis, ends, (low, high) in ((u, 1, layout.ends[0], given[0]), (v, 0, layout.ends[1], given[1])):
        if ends[0] is End.PERIODIC:
            found.append(jnp.concatenate([_at(a, -1, axis), a], axis=axis))
            continue
        before = [_layer(low, a, axis).astype(a.dtype)] if ends[0] is End.WALL else []
        after = [_layer(high, a, axis).astype(a.dtype)] if ends[1] is End.WALL else []
        found.append(jnp.concatenate([*before, a, *after], axis=axis))
    return found[0], found[1]


def unknowns(layout: Layout, uf: jax.Array, vf: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The inverse of `faces`; what is given on wall faces is dropped."""
    found = []
    for a, axis, ends in ((uf, 1, layout.ends[0]), (vf, 0, layout.ends[1])):
        stop = a.shape[axis] - int(ends[1] is End.WALL)
        found.append(lax.slice_in_dim(a, int(ends[0] is not End.OPEN), stop, axis=axis))
    return found[0], found[1]


def divergence(
    layout: Layout, u: jax.Array, v: jax.Array, spacing, walls: Walls | None = None, shares: Any = None
) -> jax.Array:
    """δx u + δy v at cell centres, each face counting by its open share."""
    uf, vf = faces(layout, u, v, walls)
    if shares is not None:
        uf, vf = uf * shares[0], vf * shares[1]
    return (uf[:, 1:] - uf[:, :-1]) / spacing[0] + (vf[1:] - vf[:-1]) / spacing[1]


def courant_rate(layout: Layout, u: jax.Array, v: jax.Array, spacing, walls: Walls | None = None) -> jax.Array:
    """max over cells of |u|/Δx + |v|/Δy (1/s), each the larger of the two faces."""
    uf, vf = map(jnp.abs, faces(layout, u, v, walls))
    x = jnp.maximum(uf[:, 1:], uf[:, :-1])
    y = jnp.maximum(vf[1:], vf[:-1])
    return jnp.max(x / spacing[0] + y / spacing[1])
