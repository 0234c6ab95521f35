"""The stepper of two immiscible incompressible fluids in one velocity field, on the staggered grid.

    ∂t α + ∇·(α u) = 0,  ∂t(ρ u) + ∇·(ρ u⊗u) = −∇p + ∇·(μ (∇u + ∇uᵀ)) + (ρ − ρ₂) g,  ∇·u = 0,
    ρ = α ρ₁ + (1 − α) ρ₂,  μ = α μ₁ + (1 − α) μ₂,

p counted from the hydrostatic pressure of the second fluid, which is what surrounds open ends. A step carries α
(`_volume_fraction`), then momentum with the very masses that crossed the faces: where one fluid is a thousand times
heavier, velocities are wrong at once otherwise. Viscosity and weight act over the step by a stabilised scheme with
as many stages as viscosity asks for, and pressure makes the result free of divergence. What the last pressure did per
mass, ∇p/ρ, is foreseen in them and taken back before the pressure is found: the steady state does not depend on the
step then, and across the interface it is an acceleration, which does not jump as ∇p does.

The velocity that carries is that of the middle of the step, from the last two; what it carries is, away from the
interface, the velocity that forces have made by then. There the error in time is of second order, but for that of
viscosity, which follows advection, of first.

Source: G. D. Weymouth, D. K.-P. Yue, J. Comput. Phys. 229, 2853 (2010); M. Rudman, Int. J. Numer. Meth. Fluids 28, 357
(1998), on masses and momentum; J. van Kan, SIAM J. Sci. Stat. Comput. 7, 870 (1986), on the pressure of the last step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from sciml.solvers import _stabilised, _volume_fraction
from sciml.solvers._staggered import Layout, Walls, faces, gradient, outward, pad, unknowns
from sciml.solvers._time import Controls, Stepper
from sciml.solvers.linear import End, GridSystem, LinearSolver, MarchStart, Zero
from sciml.solvers.linear._warm_start import solved

TINY = 1e-6  # of a cell; less is none of a fluid
LIMIT = 0.5  # largest share of a cell that may be swept, |s_x| + |s_y|


class TwoFluids(NamedTuple):
    """What a march needs to know.

    Args:
        densities, viscosities: of the first and of the second fluid, kg/m³ and Pa s.
        gravity: (g_x, g_y), m/s².
        walls: time -> velocities at the walls.
        inflow: α of what comes in through walls: (x_min, x_max, y_min, y_max), each a scalar or values at the cells.
        wall_speed: the largest velocity there at any time.
        open: of the faces normal to x (ny, nx + 1) and y (ny + 1, nx), 0 in bodies, 1 elsewhere; None without.
        held: likewise, 1 for faces of open ends through which a velocity is given; None without.
        through: time -> velocities on all faces, of which those that are held are asked.
        start: where the iterations of a pressure solve begin.
    """

    layout: Layout
    densities: tuple[jax.Array, jax.Array]
    viscosities: tuple[jax.Array, jax.Array]
    gravity: tuple[jax.Array, jax.Array]
    spacing: tuple[jax.Array, jax.Array]
    walls: Callable[[jax.Array], Walls]
    wall_speed: jax.Array
    solver: LinearSolver
    inflow: tuple[Any, Any, Any, Any] = (0.0, 0.0, 0.0, 0.0)
    open: tuple[Any, Any] | None = None
    held: tuple[Any, Any] | None = None
    through: Callable[[jax.Array], tuple[jax.Array, jax.Array]] | None = None
    start: MarchStart = Zero()

    def free(self, k: int) -> Any:
        """Where pressure acts on faces normal to an axis; None for all."""
        if self.held is None:
            return None if self.open is None else self.open[k]
        return (1 - self.held[k]) * (1 if self.open is None else self.open[k])

    def given(self, u: jax.Array, v: jax.Array, time: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Velocities on unknown faces with those that are held."""
        if self.held is None or self.through is None:
            return u, v
        held, values = unknowns(self.layout, *self.held), unknowns(self.layout, *self.through(time))
        return jnp.where(held[0] > 0, values[0], u), jnp.where(held[1] > 0, values[1], v)

    def solid(self) -> jax.Array | None:
        """1 in cells within bodies, all of whose faces are closed, else 0; None without."""
        if self.open is None:
            return None
        x, y = self.open
        return jnp.where(x[:, 1:] + x[:, :-1] + y[1:] + y[:-1] > 0, 0.0, 1.0).astype(x.dtype)

    def mixed(self, alpha: jax.Array, of: tuple[Any, Any]) -> jax.Array:
        return alpha * of[0] + (1 - alpha) * of[1]


class State(NamedTuple):
    """α at cells, velocities on unknown faces, the rate of change of all face velocities over the last step, the
    acceleration by the last pressure on unknown faces and by all forces, the pressure, how many steps have been taken
    (their parity), and what `TwoFluids.start` knows of past pressures."""

    alpha: jax.Array
    u: jax.Array
    v: jax.Array
    du: jax.Array
    dv: jax.Array
    gx: jax.Array
    gy: jax.Array
    ax: jax.Array
    ay: jax.Array
    p: jax.Array
    even: jax.Array
    past: Any = ()


def _edges(a: jax.Array, layout: Layout, n: int = 1) -> jax.Array:
    """With n more layers: the last values again, or around."""
    for k, axis in ((0, 1), (1, 0)):
        width = [(n, n) if d == axis else (0, 0) for d in (0, 1)]
        a = jnp.pad(a, width, mode="wrap" if layout.periodic[k] else "edge")
    return a


def _beside_bodies(two: TwoFluids, alpha: jax.Array) -> jax.Array:
    """α with, in cells within bodies, the mean of the fluid cells around: as beyond walls, a body is neither fluid."""
    solid = two.solid()
    if solid is None:
        return alpha
    layout, (ny, nx) = two.layout, alpha.shape
    fluid, held = _edges(1 - solid, layout), _edges(alpha * (1 - solid), layout)
    places = [(j, i) for j in range(3) for i in range(3)]
    count = sum(fluid[j : j + ny, i : i + nx] for j, i in places)
    total = sum(held[j : j + ny, i : i + nx] for j, i in places)
    return jnp.where((solid > 0) & (count > 0), total / jnp.maximum(count, 1), alpha)


def masses(two: TwoFluids, f: jax.Array, s: jax.Array) -> jax.Array:
    """What crosses faces in a step, kg over a cell's volume."""
    heavy, light = two.densities
    return heavy * f + light * (s - f)


def _limited(a: jax.Array, b: jax.Array) -> jax.Array:
    """The harmonic mean of two slopes, 0 where they differ in sign (van Leer)."""
    same = a * b > 0
    return jnp.where(same, 2 * a * b / jnp.where(same, a + b, 1), 0)


def _upwind(line: jax.Array, m: jax.Array, s: jax.Array, axis: int, stays: jax.Array, periodic: bool) -> jax.Array:
    """Values carried through the faces between cells, each with its value at the middle of the step.

    Args:
        line: with two more values at either end of the axis.
        m, s: masses and volumes over a cell's volume that cross each of the n + 1 faces; where they differ in sign the
            mass tells from where it comes.
        stays: of the slope in each of the n cells the share that counts, see `_staying`.
    """
    n = s.shape[axis]
    z, a, b, c = (lax.slice_in_dim(line, k, k + n, axis=axis) for k in range(4))
    mode = "wrap" if periodic else "edge"
    stays = jnp.pad(stays, [(1, 1) if d == axis else (0, 0) for d in (0, 1)], mode=mode)
    before, after = (lax.slice_in_dim(stays, k, k + n, axis=axis) for k in (0, 1))
    slope = 0.5 * (1 - jnp.abs(s))
    return jnp.where(m > 0, a + slope * before * _limited(a - z, b - a), b - slope * after * _limited(c - b, b - a))


def _staying(mass: jax.Array, volume: jax.Array, m: jax.Array, s: jax.Array, axis: int) -> jax.Array:
    """Of the mass in control volumes the share that stays, over that of the volume, at most 1.

    Where a heavy fluid leaves, nearly all of the mass goes with a small share of the volume. What goes then has the
    velocity of all of it: with a value from one end of a slope, the little that stays would have the rest of the
    momentum, and be shot away, whatever the step.

    Args:
        mass, volume: over a cell's volume.
        m, s: masses and volumes over a cell's volume that cross the sides along the axis.
    """

    def leaving(a: jax.Array) -> jax.Array:
        n = a.shape[axis] - 1
        low, high = (lax.slice_in_dim(a, k, k + n, axis=axis) for k in (0, 1))
        return jnp.maximum(high, 0) + jnp.maximum(-low, 0)

    return jnp.clip((1 - leaving(m) / mass) / (1 - leaving(s) / volume), 0, 1)


class _Axis(NamedTuple):
    """The control volumes of one velocity: where its unknowns lie among the faces along its own axis."""

    own: int  # array axis
    first: int
    count: int


def _axes(layout: Layout) -> tuple[_Axis, _Axis]:
    fx, fy = (int(ends[0] is not End.OPEN) for ends in layout.ends)
    return _Axis(1, fx, layout.u_shape[1]), _Axis(0, fy, layout.v_shape[0])


def _take(a: jax.Array, axis: int, start: int, count: int) -> jax.Array:
    return lax.slice_in_dim(a, start, start + count, axis=axis)


def _between(layout: Layout, a: jax.Array, axis: _Axis) -> jax.Array:
    """Means of neighbouring cells along an axis, on the unknown faces: from values with one more layer there."""
    n = a.shape[axis.own] - 1
    mean = (_take(a, axis.own, 0, n) + _take(a, axis.own, 1, n)) / 2
    return _take(mean, axis.own, axis.first, axis.count)


class Carried(NamedTuple):
    """α, and for both velocities the values on unknown faces, and the masses and volumes of their control volumes, over
    a cell's volume."""

    alpha: jax.Array
    velocity: tuple[jax.Array, jax.Array]
    mass: tuple[jax.Array, jax.Array]
    volume: tuple[jax.Array, jax.Array]


def carried(
    two: TwoFluids, alpha: jax.Array, u: jax.Array, v: jax.Array, walls: Walls, sx: jax.Array, sy: jax.Array,
    first_x: jax.Array,
) -> Carried:  # fmt: skip
    """α, and velocities after advection, (M u − ∇·(m u))/(M − ∇·m) on the control volumes of the faces, M their mass:
    first along one axis, then along the other. What crosses twice in a step, along one and then along the other, has
    the velocity then of where it was in between.

    Args:
        sx, sy: (ny, nx + 1), (ny + 1, nx) volumes that cross faces, over a cell's; without divergence.
        first_x: whether x comes first.
    """
    layout = two.layout
    least = 0.5 * jnp.minimum(*two.densities)
    full = _volume_fraction.full(alpha)
    rho = two.mixed(alpha, two.densities)
    contents = []
    for k, axis in enumerate(_axes(layout)):
        mode = "wrap" if layout.periodic[k] else "edge"
        width = [(1, 1) if d == axis.own else (0, 0) for d in (0, 1)]
        contents.append(_between(layout, jnp.pad(rho, width, mode=mode), axis))

    def along(state: Carried, sides: int) -> Carried:
        """What crosses sides normal to an array axis."""
        direction = 1 - sides
        s = (sx, sy)[direction]
        alpha, f = _volume_fraction.over(
            state.alpha,
            full,
            s,
            sides,
            lambda a: _edges(_beside_bodies(two, a), layout, 2),
            lambda f, s, axis: _entering(two, f, s, axis),
        )
        m = masses(two, f, s)
        padded = pad(layout, state.velocity[0], state.velocity[1], walls)
        velocities, contents, volumes = [], [], []
        for k, axis in enumerate(_axes(layout)):
            between = _middles if k == direction else _corners
            through, swept = (between(layout, a, k, axis) for a in (m, s))
            line = _take(padded[k], direction, 2, padded[k].shape[direction] - 4)
            mass, volume = state.mass[k], state.volume[k]
            stays = _staying(mass, volume, through, swept, sides)
            flux = through * _upwind(line, through, swept, sides, stays, layout.periodic[direction])
            left = jnp.maximum(mass - jnp.diff(through, axis=sides), least)
            velocities.append((mass * state.velocity[k] - jnp.diff(flux, axis=sides)) / left)
            contents.append(left)
            volumes.append(volume - jnp.diff(swept, axis=sides))
        return Carried(alpha, (velocities[0], velocities[1]), (contents[0], contents[1]), (volumes[0], volumes[1]))

    ones = jnp.ones_like(contents[0]), jnp.ones_like(contents[1])
    return _volume_fraction.in_turns(first_x, along, Carried(alpha, (u, v), (contents[0], contents[1]), ones))


def _middles(layout: Layout, a: jax.Array, k: int, axis: _Axis) -> jax.Array:
    """What crosses the sides of control volumes along their own axis, which lie in the middles of cells."""
    along = axis.own
    n = a.shape[along] - 1
    mean = (_take(a, along, 0, n) + _take(a, along, 1, n)) / 2
    if layout.periodic[k]:
        mean = jnp.pad(mean, [(1, 1) if d == along else (0, 0) for d in (0, 1)], mode="wrap")
    else:  # beyond an end what crosses the end itself
        mean = jnp.concatenate([_take(a, along, 0, 1), mean, _take(a, along, n, 1)], axis=along)
    return _take(mean, along, axis.first, axis.count + 1)


def _corners(layout: Layout, a: jax.Array, k: int, axis: _Axis) -> jax.Array:
    """What crosses their other sides, which end in corners of cells."""
    along = axis.own
    mode = "wrap" if layout.periodic[k] else "edge"
    a = jnp.pad(a, [(1, 1) if d == along else (0, 0) for d in (0, 1)], mode=mode)
    n = a.shape[along] - 1
    mean = (_take(a, along, 0, n) + _take(a, along, 1, n)) / 2
    return _take(mean, along, axis.first, axis.count)


class Viscous(NamedTuple):
    """Viscosities where stresses are wanted, for the two velocities: in the middles of cells along their own axis and
    at corners; one over the densities of their control volumes; how open their faces are."""

    middle: tuple[jax.Array, jax.Array]
    corner: tuple[jax.Array, jax.Array]
    volume: tuple[jax.Array, jax.Array]
    beside: tuple[Any, Any]


def viscous(two: TwoFluids, alpha: jax.Array) -> Viscous:
    """At corners the harmonic mean of the four cells, or of those outside of bodies: stress along an interface is the
    same on both of its sides."""
    layout, mu, rho = two.layout, two.mixed(alpha, two.viscosities), two.mixed(alpha, two.densities)
    solid = two.solid()
    fluid = jnp.ones_like(mu) if solid is None else 1 - solid
    around, count = (
        a[1:, 1:] + a[1:, :-1] + a[:-1, 1:] + a[:-1, :-1] for a in (_edges(fluid / mu, layout), _edges(fluid, layout))
    )
    corner = jnp.where(count > 0, count / jnp.where(count > 0, around, 1), 0)
    middles, corners, volumes, beside = [], [], [], []
    for k, axis in enumerate(_axes(layout)):
        mode = "wrap" if layout.periodic[k] else "edge"
        width = [(1, 1) if d == axis.own else (0, 0) for d in (0, 1)]
        middles.append(_take(jnp.pad(mu, width, mode=mode), axis.own, axis.first, axis.count + 1))
        corners.append(_take(corner, axis.own, axis.first, axis.count))
        inverse, free = 1 / _between(layout, jnp.pad(rho, width, mode=mode), axis), two.free(k)
        if free is not None:
            inverse = inverse * _take(free, axis.own, axis.first, axis.count)
        if two.open is None:
            beside.append(None)
        else:
            share = _take(two.open[k], axis.own, axis.first, axis.count)
            # the wall of a body lies halfway between a face beside it and one within it
            wider = jnp.pad(share, [(1, 1) if d != axis.own else (0, 0) for d in (0, 1)], mode="edge")
            beside.append(1 + jnp.abs(jnp.diff(wider, axis=1 - axis.own)))
        volumes.append(inverse)
    return Viscous((middles[0], middles[1]), (corners[0], corners[1]), (volumes[0], volumes[1]), (beside[0], beside[1]))


def friction(two: TwoFluids, stress: Viscous, u: jax.Array, v: jax.Array, walls: Walls) -> tuple[jax.Array, jax.Array]:
    """∇·(μ (∇u + ∇uᵀ))/ρ on the unknown faces."""
    layout, found = two.layout, []
    padded = pad(layout, u, v, walls)
    for k, axis in enumerate(_axes(layout)):
        along, across = axis.own, 1 - axis.own
        h, w = two.spacing[k], two.spacing[1 - k]
        field, other = padded[k], padded[1 - k]
        line = _take(_take(field, across, 2, field.shape[across] - 4), along, 1, axis.count + 2)
        normal = 2 * stress.middle[k] * jnp.diff(line, axis=along) / h
        n = field.shape[across] - 4
        line = _take(_take(field, along, 2, axis.count), across, 1, n + 2)
        slope = jnp.diff(line, axis=across) / w
        if stress.beside[k] is not None:
            slope = slope * stress.beside[k]
        # the other velocity on the ends of the control volume, its faces along `across` all n + 1 of them
        start = 2 - _axes(layout)[1 - k].first
        line = _take(_take(other, across, start, n + 1), along, 1 + axis.first, axis.count + 1)
        shear = stress.corner[k] * (slope + jnp.diff(line, axis=along) / h)
        found.append((jnp.diff(normal, axis=along) / h + jnp.diff(shear, axis=across) / w) * stress.volume[k])
    return found[0], found[1]


def stiffness(two: TwoFluids, stress: Viscous) -> jax.Array:
    """A bound of the rates of `friction`, 1/s, after Gershgorin; a third more for what lies beside walls."""
    rates = []
    for k, axis in enumerate(_axes(two.layout)):
        h, w = two.spacing[k], two.spacing[1 - k]
        along, across = axis.own, 1 - axis.own
        m, c = stress.middle[k], stress.corner[k]
        m = _take(m, along, 0, axis.count) + _take(m, along, 1, axis.count)
        n = c.shape[across] - 1
        c = _take(c, across, 0, n) + _take(c, across, 1, n)
        rates.append(jnp.max((4 * m / h**2 + 2 * c / w**2 + 2 * c / (h * w)) * stress.volume[k]))
    return 4 / 3 * jnp.maximum(*rates)


def conductances(two: TwoFluids, alpha: jax.Array) -> tuple[jax.Array, jax.Array]:
    """1/ρ on all faces normal to x and to y, 0 where they are closed."""
    rho, found = two.mixed(alpha, two.densities), []
    for k, along in ((0, 1), (1, 0)):
        mode = "wrap" if two.layout.periodic[k] else "edge"
        line = jnp.pad(rho, [(1, 1) if d == along else (0, 0) for d in (0, 1)], mode=mode)
        n = line.shape[along] - 1
        inverse = 2 / (_take(line, along, 0, n) + _take(line, along, 1, n))
        free = two.free(k)
        found.append(inverse if free is None else inverse * free)
    return found[0], found[1]


def project(
    two: TwoFluids, alpha: jax.Array, u: jax.Array, v: jax.Array, walls: Walls, tau: jax.Array, past: Any
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array, jax.Array, Any]:
    """(u, v) without divergence, the accelerations ∇p/ρ that made it so over a time τ, p, and what is known of past
    pressures; NaN where the pressure equation could not be solved."""
    layout = two.layout
    c = conductances(two, alpha)
    system = equation(two, c)
    uf, vf = faces(layout, u, v, walls)
    if two.open is not None:
        uf, vf = uf * two.open[0], vf * two.open[1]
    lost = (uf[:, 1:] - uf[:, :-1]) / two.spacing[0] + (vf[1:] - vf[:-1]) / two.spacing[1]
    p, info, past = solved(two.solver, two.start, past, system, -lost / tau, same=False)
    p = jnp.where(info.converged, p, jnp.nan)
    gx, gy = gradient(layout, p, two.spacing)
    gx, gy = (g * i for g, i in zip((gx, gy), unknowns(layout, *c), strict=True))
    if two.open is not None:
        u, v = (a * o for a, o in zip((u, v), unknowns(layout, *two.open), strict=True))
    return u - tau * gx, v - tau * gy, gx, gy, p, past


def equation(two: TwoFluids, c: tuple[jax.Array, jax.Array]) -> GridSystem:
    """The pressure equation with 1/ρ on faces."""
    return GridSystem((two.layout.ny, two.layout.nx), two.layout.ends, two.spacing, c)


def advance(
    two: TwoFluids, controls: Controls, state: State, time: jax.Array, tau: jax.Array, over: jax.Array | None = None
) -> State:
    """The state after one step of size τ.

    Args:
        over: the time over which pressure acts; τ by default.
    """
    layout, (dx, dy) = two.layout, two.spacing
    now, then = two.walls(time), two.walls(time + tau)
    uf, vf = faces(layout, state.u, state.v, now)
    if two.open is not None:
        uf, vf = uf * two.open[0], vf * two.open[1]
    sx, sy = (uf + tau / 2 * state.du) * (tau / dx), (vf + tau / 2 * state.dv) * (tau / dy)
    # what is carried is the velocity in the middle of the step, which forces have changed by half of what they will
    kick = [tau / 2 * a * w for a, w in zip((state.ax, state.ay), _apart(two, state.alpha), strict=True)]
    after = carried(two, state.alpha, state.u + kick[0], state.v + kick[1], now, sx, sy, state.even > 0.5)
    alpha, u, v = after.alpha, after.velocity[0] - kick[0], after.velocity[1] - kick[1]

    stress = viscous(two, alpha)
    light = two.densities[1]
    weight = [jnp.where(i > 0, g * (1 - light * i), 0) for g, i in zip(two.gravity, stress.volume, strict=True)]
    push = [w - g for w, g in zip(weight, (state.gx, state.gy), strict=True)]
    push[0], push[1] = outward(layout, push[0], state.u, 0, dx), outward(layout, push[1], state.v, 1, dy)

    def rhs(u: jax.Array, v: jax.Array) -> tuple[jax.Array, jax.Array]:
        au, av = friction(two, stress, u, v, then)
        return au + push[0], av + push[1]

    before = u, v
    u, v = _stages(controls, rhs, u, v, tau, stiffness(two, stress))
    size = jnp.where(tau > 0, tau, 1)
    forces = [(b - a) / size + g for a, b, g in zip(before, (u, v), (state.gx, state.gy), strict=True)]
    u, v = two.given(u + tau * state.gx, v + tau * state.gy, time + tau)
    u, v, gx, gy, p, past = project(two, alpha, u, v, then, tau if over is None else over, state.past)
    new = faces(layout, u, v, then)
    if two.open is not None:
        new = new[0] * two.open[0], new[1] * two.open[1]
    du, dv = (new[0] - uf) / size, (new[1] - vf) / size
    return State(alpha, u, v, du, dv, gx, gy, forces[0] - gx, forces[1] - gy, p, 1 - state.even, past)


def _apart(two: TwoFluids, alpha: jax.Array) -> tuple[jax.Array, jax.Array]:
    """1 on unknown faces around which, for two cells, there is one fluid alone, and which pressure acts on, else 0: at
    the interface the forces of the next step are not those of the last, and where a velocity is given there are
    none."""
    layout = two.layout
    alpha = lax.stop_gradient(_beside_bodies(two, alpha))
    mixed = jnp.where((alpha > TINY) & (alpha < 1 - TINY), 1.0, 0.0)
    wide = _edges(alpha, layout, 1)
    for axis in (0, 1):
        inner = lax.slice_in_dim(wide, 1, wide.shape[1 - axis] - 1, axis=1 - axis)
        jump = jnp.abs(jnp.diff(inner, axis=axis)) > TINY
        n = alpha.shape[axis]
        mixed = jnp.maximum(mixed, jnp.where(_take(jump, axis, 0, n) | _take(jump, axis, 1, n), 1.0, 0.0))
    for axis in (0, 1):
        line = _edges(mixed, layout, 1)
        line = lax.slice_in_dim(line, 1, line.shape[1 - axis] - 1, axis=1 - axis)
        n = alpha.shape[axis]
        mixed = jnp.maximum(jnp.maximum(_take(line, axis, 0, n), _take(line, axis, 2, n)), mixed)
    found = []
    for k, axis in enumerate(_axes(layout)):
        mode = "wrap" if layout.periodic[k] else "edge"
        line = jnp.pad(mixed, [(1, 1) if d == axis.own else (0, 0) for d in (0, 1)], mode=mode)
        share, free = 1 - jnp.minimum(1, 2 * _between(layout, line, axis)), two.free(k)
        if free is not None:
            share = share * _take(free, axis.own, axis.first, axis.count)
        found.append(share.astype(alpha.dtype))
    return found[0], found[1]


def _entering(two: TwoFluids, f: jax.Array, s: jax.Array, axis: int) -> jax.Array:
    """With what comes in through the ends of an axis: what is given at walls, the second fluid from outside."""
    k = 1 - axis
    for place, end, sign, given in (
        (0, two.layout.ends[k][0], 1, two.inflow[2 * k]), (-1, two.layout.ends[k][1], -1, two.inflow[2 * k + 1])
    ):  # fmt: skip
        if end is End.PERIODIC:
            continue
        at = (slice(None), place) if axis == 1 else place
        f = f.at[at].set(jnp.where(sign * s[at] > 0, s[at] * given, f[at]))
    return f


def _stages(controls: Controls, rhs: Callable, u0: jax.Array, v0: jax.Array, tau: jax.Array, rate: jax.Array) -> Any:
    """u' = rhs(u) over τ, by a Chebyshev scheme with as many stages as its largest rate asks for."""
    rate = lax.stop_gradient(rate)
    few = tau * rate <= _stabilised.LIMIT_DIFFUSION_FOUR
    many = jnp.ceil(jnp.sqrt(tau * rate / _stabilised.LIMIT_DIFFUSION_CHEBYSHEV))
    many = jnp.where(jnp.isfinite(many), many, 5)
    stages = jnp.where(few, 4, jnp.clip(many, 5, _stabilised.MAX_STAGES)).astype(int)
    scheme = jnp.where(few, 0, stages - 3)
    return _stabilised.stages_of(controls.loop, lambda u, v, *_: (*rhs(u, v), ()), u0, v0, tau, scheme, stages)[:2]


class TwoPhaseStepper(Stepper):
    """Frames hold all face velocities, α and p.

    Args:
        cfl: share of a cell that may be swept in a step.
    """

    def __init__(self, two: TwoFluids, controls: Controls, cfl: float):
        self.two, self.controls, self.cfl = two, controls, cfl

    def step(self, state: State, time: jax.Array, remaining: jax.Array) -> tuple[State, jax.Array, jax.Array]:
        tau, steps = self.plan(state, remaining)
        return advance(self.two, self.controls, state, time, tau), tau, steps

    def plan(self, state: State, remaining: jax.Array) -> tuple[jax.Array, jax.Array]:
        """(τ, steps): equal steps over what is left, within the limits of advection, weight and viscosity."""
        two, (dx, dy) = self.two, self.two.spacing
        alpha, u, v = lax.stop_gradient((state.alpha, state.u, state.v))
        uf, vf = map(jnp.abs, faces(two.layout, u, v))
        swept = jnp.maximum(uf[:, 1:], uf[:, :-1]) / dx + jnp.maximum(vf[1:], vf[:-1]) / dy
        # what is swept is of the velocity in the middle of the step: swept τ + gain τ²/2 ≤ cfl
        du, dv = map(jnp.abs, lax.stop_gradient((state.du, state.dv)))
        gain = jnp.maximum(du[:, 1:], du[:, :-1]) / dx + jnp.maximum(dv[1:], dv[:-1]) / dy
        rate = jnp.max(swept + jnp.sqrt(swept**2 + 2 * self.cfl * gain)) / (2 * self.cfl)
        rate = jnp.maximum(rate, two.wall_speed / jnp.minimum(dx, dy) / self.cfl)
        fall = jnp.maximum(jnp.abs(two.gravity[0]) / dx, jnp.abs(two.gravity[1]) / dy) / self.cfl
        thick = stiffness(two, viscous(two, alpha)) / (
            _stabilised.LIMIT_DIFFUSION_CHEBYSHEV * _stabilised.MAX_STAGES**2
        )
        rate = jnp.maximum(jnp.maximum(rate, jnp.sqrt(fall)), thick)
        steps = lax.stop_gradient(jnp.maximum(jnp.ceil(remaining * rate * (1 - 1e-5)), 1))
        return remaining * (1 / steps), steps

    def frame(self, state: State, time: jax.Array) -> dict[str, jax.Array]:
        uf, vf = faces(self.two.layout, state.u, state.v, self.two.walls(time))
        return {"u_face": uf, "v_face": vf, "p": state.p, "alpha": state.alpha}


def begin(
    two: TwoFluids, controls: Controls, alpha: jax.Array, u: jax.Array, v: jax.Array, time: Any, cfl: float
) -> State:
    """The state at the start: velocities made free of divergence by a step of no length, then the pressure from a very
    small one. Both are turns of one loop, for what is compiled is large."""
    layout = two.layout
    walls = two.walls(time)
    zero = jnp.zeros((layout.ny, layout.nx), alpha.dtype)
    one = jnp.ones((), alpha.dtype)
    uf, vf = faces(layout, u, v, walls)
    past = two.start.empty(equation(two, conductances(two, alpha)), alpha.dtype, same=False)
    start = State(alpha, *two.given(u, v, time), 0 * uf, 0 * vf, 0 * u, 0 * v, 0 * u, 0 * v, zero, one, past)

    def turn(first: jax.Array, state: State) -> State:
        tau, _ = TwoPhaseStepper(two, controls, cfl).plan(state, jnp.asarray(1e30, alpha.dtype))
        tau = jnp.where(first, 0, 1e-3 * tau)
        after = advance(two, controls, state, time, tau, jnp.where(first, 1, tau))
        # of the first turn the velocity is kept, of the second one the pressure
        still = start._replace(u=after.u, v=after.v)
        return jax.tree.map(
            lambda a, b: jnp.where(first, a, b),
            still,
            state._replace(gx=after.gx, gy=after.gy, ax=after.ax, ay=after.ay, p=after.p, past=after.past),
        )

    state, _ = lax.scan(lambda state, first: (turn(first, state), None), start, jnp.array([True, False]))
    return state
