"""A body at rest on the staggered grid: control volumes that it cuts.

Each face has an open share α (`sciml.support.Apertures`), and every sum over faces counts a face by its share: the
divergence, the mass that carries momentum, and the sides of the control volumes of momentum, whose share is the mean
of the two faces that a side lies between. On top of that,

- viscous stress between two faces beside each other is over the distance between the middles of their open parts; where
  faces behind each other have their middles at different heights, by δ, what u changes over δ is taken off, its slope
  being n_y u/d at the more open one of the two (d: mean distance of its open part from the body; n: normal);
- sides towards a face that is closed belong to the wall;
- the wall of a control volume is what its sides leave open, c = (Δy (α_e − α_w), Δx (α_n − α_s)), and its friction
  ν (n · c) u/d.

So the stresses of a flow u = G n · x along a straight wall are exact, whatever it cuts. Small volumes count as `FLOOR`
of a cell and small distances as `NEAREST` of a face, for the sake of the time step; the pressure equation knows
neither, so that no fluid is lost. The force on the body is the same sums: the pressure of each cell over what its faces
lack, and the friction.

Source: after the cut cells of D. J. Kirkpatrick, S. W. Armfield, J. H. Kent, J. Comput. Phys. 184, 1 (2003).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sciml.solvers._staggered import Layout, Walls, pad
from sciml.solvers.linear import End, Ends
from sciml.support import Apertures, Grid

FLOOR = 0.3  # of a cell
NEAREST = 0.05  # of √(Δx Δy)
CLOSED = 0.02  # faces that are less open are closed


class Sides(NamedTuple):
    """The control volumes of one velocity component, (ny, m) or (m', nx) of them.

    Args:
        x, y: shares of the sides across x (one column more) and across y (one row more), over the distance of the
            middles, for the velocity behind a side; 0 where one of the two faces is closed.
        x_before, y_before: the same for the velocity before it.
        plain_x, plain_y: 1 where the four-point mean meets whole faces alone.
        friction: n · c/d.
        inverse: one over the volume in cells; 0 where the face is closed.
        own: the shares of the faces, padded as the velocities are.
    """

    x: Any
    y: Any
    x_before: Any
    y_before: Any
    plain_x: Any
    plain_y: Any
    friction: Any
    inverse: Any
    own: Any


class Body(NamedTuple):
    """What a march needs to know of a body.

    Args:
        u, v: control volumes.
        x, y: (ny, nx + 1) and (ny + 1, nx) shares of all faces.
        stiffness: the largest rate of diffusion over ν, 1/m².
        extent: (width, height) of the box, m.
        factor: what the pressure solver has worked out.
    """

    u: Sides
    v: Sides
    x: Any
    y: Any
    stiffness: Any
    extent: Any
    factor: Any = ()

    @property
    def coefficients(self) -> tuple[Any, Any]:
        """Of the pressure equation."""
        return self.x, self.y


def body_of(apertures: Apertures, grid: Grid, layout: Layout) -> Body:
    """A body as concrete arrays in float64."""
    (dx, dy), (x, y) = (float(w[0]) for w in grid.widths), apertures.faces
    (du, dv), (ou, ov), (nu, nv) = apertures.distances, apertures.offsets, apertures.slopes
    (ex, ey) = layout.ends
    u = _sides((x, du, ou, nu), y, (ex, ey), (dx, dy))
    # v is u with x and y exchanged
    w = _sides((y.T, dv.T, ov.T, nv.T), x.T, (ey, ex), (dy, dx))
    v = Sides(
        w.y.T, w.x.T, w.y_before.T, w.x_before.T, w.plain_y.T, w.plain_x.T, w.friction.T, w.inverse.T, w.own.T
    )  # fmt: skip
    rates = []
    for s in (u, v):  # rows of the matrix, without their signs
        across = s.x[:, 1:] + s.x_before[:, :-1] + s.x_before[:, 1:] + s.x[:, :-1]
        along = s.y[1:] + s.y_before[:-1] + s.y_before[1:] + s.y[:-1]
        rates.append(s.inverse * (across / dx**2 + along / dy**2 + s.friction / (dx * dy)))
    extent = tuple(np.float64(f[-1] - f[0]) for f in grid.faces)
    return Body(u, v, x, y, np.float64(max(r.max() for r in rates)), extent)


def _faces(n: int, ends: Ends, around: int) -> np.ndarray:
    """Numbers of the faces normal to an axis that are unknown, with `around` more at each end; n cells."""
    if ends[0] is End.PERIODIC:
        return np.arange(1 - around, n + 1 + around) % n
    first, last = int(ends[0] is not End.OPEN), n - int(ends[1] is not End.OPEN)
    return np.clip(np.arange(first - around, last + 1 + around), 0, n)


def _cells(n: int, ends: Ends, numbers: np.ndarray) -> np.ndarray:
    return numbers % n if ends[0] is End.PERIODIC else np.clip(numbers, 0, n - 1)


def _sides(
    own: tuple[np.ndarray, ...], across: np.ndarray, ends: tuple[Ends, Ends], spacing: tuple[float, float]
) -> Sides:
    """Those of u, from (ny, nx + 1) shares, distances, offsets and slopes of its faces and (ny + 1, nx) shares of the
    others."""
    ny, nx = across.shape[0] - 1, across.shape[1]
    (ex, ey), (dx, dy) = ends, spacing
    rows, columns = _cells(ny, ey, np.arange(-2, ny + 2)), _faces(nx, ex, 2)
    shares, distance, shifts, slope = (a[np.ix_(rows, columns)] for a in own)
    near, is_open = np.maximum(distance, NEAREST * np.sqrt(dx * dy)), shares > 0
    # across x, between neighbours in a row
    before, behind = (slice(2, -2), slice(1, -2)), (slice(2, -2), slice(2, -1))
    side = (shares[before] + shares[behind]) / 2 * (is_open[before] & is_open[behind])
    rise = (shifts[behind] - shifts[before]) * dy
    x, x_before = side.copy(), side.copy()
    first = shares[before] > shares[behind]
    x -= np.where(first, 0, side * rise * (slope / near)[behind])
    x_before += np.where(first, side * rise * (slope / near)[before], 0)
    # across y: two faces of v in a row
    number = _faces(nx, ex, 0)
    left, right = (_cells(nx, ex, number - k) for k in (1, 0))
    y = (across[:, left] + across[:, right]) / 2
    lower, upper = (slice(1, -2), slice(2, -2)), (slice(2, -1), slice(2, -2))
    inner = np.ones((ny + 1, 1), bool)
    if ey[0] is not End.PERIODIC:  # beyond are ghosts, as far away as ever
        inner[[0, -1]] = False
    y = y * np.where(inner, is_open[lower] & is_open[upper], True)
    apart = 1 + np.where(inner, shifts[upper] - shifts[lower], 0.0)
    # the wall, and the normal along which it counts
    middle = (slice(2, -2), slice(2, -2))
    wall_x, wall_y = (side[:, 1:] - side[:, :-1]) * dy, (y[1:] - y[:-1]) * dx
    up = slope[middle]
    length = np.abs(wall_x) * np.sqrt(1 - up**2) + wall_y * up
    whole = shares == 1
    plain_x = whole[2:-2, :-3] & whole[2:-2, 1:-2] & whole[2:-2, 2:-1] & whole[2:-2, 3:]
    plain_y = whole[:-3, 2:-2] & whole[1:-2, 2:-2] & whole[2:-1, 2:-2] & whole[3:, 2:-2]
    alive = is_open[middle]
    return Sides(
        x, y / apart, x_before, y / apart, plain_x.astype(float), plain_y.astype(float),
        np.where(alive, length / near[middle], 0.0),
        np.where(alive, 1 / np.maximum(shares[middle], FLOOR), 0.0), shares,
    )  # fmt: skip


def acceleration(
    layout: Layout, body: Body, upad: jax.Array, vpad: jax.Array, nu: Any, spacing: Any
) -> tuple[jax.Array, jax.Array]:
    """−∇·(u u) + ν ∇²u on the unknown faces around a body; where all is whole, what `_staggered.acceleration` gives."""
    dx, dy = spacing

    def balance(field, shape, sides, east, west, north, south):
        """With twice the mass through the four sides of each control volume."""
        c, e, w, n, s = (_part(field, shape, *k) for k in ((0, 0), (0, 1), (0, -1), (1, 0), (-1, 0)))
        ee, ww, nn, ss = (_part(field, shape, *k) for k in ((0, 2), (0, -2), (2, 0), (-2, 0)))

        def carried(z, a, b, y, plain):  # twelve times the face value
            return 6 * (a + b) + plain * (a + b - z - y)

        px, py, sx, sy, bx, by = sides.plain_x, sides.plain_y, sides.x, sides.y, sides.x_before, sides.y_before
        advection_x = carried(ww, w, c, e, px[:, :-1]) * west - carried(w, c, e, ee, px[:, 1:]) * east
        advection_y = carried(ss, s, c, n, py[:-1]) * south - carried(s, c, n, nn, py[1:]) * north
        through_x = sx[:, 1:] * e - bx[:, 1:] * c - sx[:, :-1] * c + bx[:, :-1] * w
        through_y = sy[1:] * n - by[1:] * c - sy[:-1] * c + by[:-1] * s
        viscous = through_x / dx**2 + through_y / dy**2 - sides.friction * c / (dx * dy)
        return sides.inverse * (advection_x / (24 * dx) + advection_y / (24 * dy) + nu * viscous)

    through_u, through_v = _masses(layout, body, upad, vpad)
    au = balance(upad, layout.u_shape, body.u, *through_u)
    av = balance(vpad, layout.v_shape, body.v, *through_v)
    return au, av


def _part(a: jax.Array, shape: tuple[int, int], j: int, i: int) -> jax.Array:
    return a[2 + j : 2 + j + shape[0], 2 + i : 2 + i + shape[1]]


def _masses(layout: Layout, body: Body, upad: jax.Array, vpad: jax.Array) -> tuple[tuple[jax.Array, ...], ...]:
    """Twice what goes through the sides (east, west, north, south) of the control volumes of u, and of v; m/s, by
    their open shares."""
    mass_u, mass_v, part = body.u.own * upad, body.v.own * vpad, _part
    u_shape, v_shape = layout.u_shape, layout.v_shape
    c, e, w = (part(mass_u, u_shape, 0, k) for k in (0, 1, -1))
    ox, oy = (int(ends[0] is End.OPEN) for ends in layout.ends)
    north, south = (part(mass_v, u_shape, k + oy, -ox) + part(mass_v, u_shape, k + oy, 1 - ox) for k in (0, -1))
    through_u = (c + e, c + w, north, south)
    c, n, s = (part(mass_v, v_shape, k, 0) for k in (0, 1, -1))
    east, west = (part(mass_u, v_shape, -oy, k + ox) + part(mass_u, v_shape, 1 - oy, k + ox) for k in (0, -1))
    return through_u, (east, west, c + n, c + s)


def courant_rate(layout: Layout, body: Body, u: jax.Array, v: jax.Array, spacing: Any) -> jax.Array:
    """The largest rate at which a control volume is filled, 1/s, by its own volume: a bound of the eigenvalues of
    advection with two-point means, after Gershgorin. What goes through the sides of the box is left out."""
    dx, dy = spacing
    rest = Walls(*[jnp.zeros((), u.dtype)] * len(Walls._fields))
    rates = []
    for sides, through in zip((body.u, body.v), _masses(layout, body, *pad(layout, u, v, rest)), strict=True):
        east, west, north, south = map(jnp.abs, through)
        rates.append(jnp.max(sides.inverse * ((east + west) / (4 * dx) + (north + south) / (4 * dy))))
    return jnp.maximum(*rates)


def force(body: Body, u: jax.Array, v: jax.Array, p: jax.Array, nu: Any, spacing: Any) -> jax.Array:
    """(2,) force of the fluid on the body over density, m³/s² per metre of depth; p over density as well."""
    dx, dy = spacing
    pressure = (
        dy * jnp.sum(p * (body.x[:, :-1] - body.x[:, 1:])),
        dx * jnp.sum(p * (body.y[:-1] - body.y[1:])),
    )
    friction = nu * jnp.sum(body.u.friction * u), nu * jnp.sum(body.v.friction * v)
    return jnp.stack([a + b for a, b in zip(pressure, friction, strict=True)])
