"""The stepper of the incompressible equations on the staggered grid.

∂t u = A(u) + f − ∇p,  ∇·u = 0, with A = −∇·(u u) + ν ∇²u and p the pressure over density.

The semi-discrete system is an ordinary differential equation on divergence-free fields, u' = P(A(u) + f), P being the
exact discrete projection: p solves ∇²p = ∇·(A(u) + f). A stabilised Runge-Kutta scheme (`_stabilised`) integrates it.
A frame's pressure is found from its velocity in the same way: it belongs to that instant. The projection in every
stage leaves no splitting error. (Holding the first stage's pressure would save most solves, and is second order for
smooth flows; but viscosity and projection do not commute at walls, and after an impulsive start it costs 7 % at Re 10.)

Source: A. J. Chorin, Math. Comp. 22, 745 (1968); B. Sanderse, B. Koren, J. Comput. Phys. 231, 3041 (2012), on
Runge-Kutta methods for the incompressible equations.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from sciml.solvers import _cut_cells, _stabilised
from sciml.solvers._cut_cells import Body
from sciml.solvers._staggered import (
    Layout,
    Walls,
    acceleration,
    courant_rate,
    divergence,
    faces,
    gradient,
    outward,
    pad,
)
from sciml.solvers._time import Controls, Stepper
from sciml.solvers.linear import GridSystem, LinearSolver, MarchStart, Zero
from sciml.solvers.linear._warm_start import solved

NO_START = Zero()


class Flow(NamedTuple):
    """What a march needs to know: static layout and functions, traced numbers.

    Args:
        nu: kinematic viscosity, m²/s.
        spacing: (Δx, Δy), m.
        walls: time -> velocities at the walls.
        rates: time -> their rates of change, of which those through walls are asked.
        wall_speed: the largest of them at any time.
        body: a body at rest within, or None.
        sudden: the time at which the march begins with a flow that need not fit to the walls, such as one from rest;
            None where it fits.
        force: time -> accelerations on the unknown faces, or None.
        force_size: the largest of them at any time.
        start: where the iterations of a pressure solve begin.
    """

    layout: Layout
    nu: jax.Array
    spacing: tuple[jax.Array, jax.Array]
    walls: Callable[[jax.Array], Walls]
    rates: Callable[[jax.Array], Walls]
    wall_speed: jax.Array
    solver: LinearSolver
    body: Body | None = None
    sudden: jax.Array | float | None = None
    force: Callable[[jax.Array], tuple[jax.Array, jax.Array]] | None = None
    force_size: jax.Array | float = 0.0
    start: MarchStart = NO_START

    @property
    def system(self) -> GridSystem:
        """The pressure equation."""
        layout, coefficients = self.layout, None if self.body is None else self.body.coefficients
        return GridSystem((layout.ny, layout.nx), layout.ends, self.spacing, coefficients)


def _rhs(flow: Flow, u, v, time):
    upad, vpad = pad(flow.layout, u, v, flow.walls(time))
    if flow.body is None:
        au, av = acceleration(flow.layout, upad, vpad, flow.nu, flow.spacing)
    else:
        au, av = _cut_cells.acceleration(flow.layout, flow.body, upad, vpad, flow.nu, flow.spacing)
    au, av = outward(flow.layout, au, u, 0, flow.spacing[0]), outward(flow.layout, av, v, 1, flow.spacing[1])
    if flow.force is not None:
        fu, fv = flow.force(time)
        au, av = au + fu, av + fv
    return au, av


def project(flow: Flow, u, v, walls: Walls, start: MarchStart = NO_START, past: Any = ()):
    """(u − ∇φ, v − ∇φ, φ, past) without divergence, with what goes through walls and nothing on closed faces; NaN where
    the pressure equation could not be solved.

    Args:
        start: where the iterations begin, for what it knows of the past.
    """
    body = flow.body
    if body is not None:
        u, v = (jnp.where(s.inverse > 0, a, 0) for s, a in ((body.u, u), (body.v, v)))
    shares = None if body is None else body.coefficients
    lost = divergence(flow.layout, u, v, flow.spacing, walls, shares)
    factor = () if body is None else body.factor
    phi, info, past = solved(flow.solver, start, past, flow.system, -lost, factor)
    phi = jnp.where(info.converged, phi, jnp.nan)
    gx, gy = gradient(flow.layout, phi, flow.spacing)
    if body is not None:
        gx, gy = (jnp.where(s.inverse > 0, g, 0) for s, g in ((body.u, gx), (body.v, gy)))
    return u - gx, v - gy, phi, past


def plan(flow: Flow, cfl: float, u, v, time, remaining):
    """How to go over what is left of an interval: (τ, steps, scheme, stages), equal steps within the limits of
    advection, moving walls, force and diffusion, with the cheaper family of schemes. Velocities that are not finite
    give numbers of steps that are not finite either.

    After a sudden start no step is longer than all before it together, from that of the fastest decay on:
    long steps of these schemes hardly damp the layers at walls that such a start leaves."""
    u, v = lax.stop_gradient((u, v))
    dx, dy = flow.spacing
    smaller, larger = jnp.minimum(dx, dy), jnp.maximum(dx, dy)
    rate = jnp.maximum(courant_rate(flow.layout, u, v, flow.spacing), flow.wall_speed / smaller)
    if flow.body is not None:
        rate = jnp.maximum(rate, _cut_cells.courant_rate(flow.layout, flow.body, u, v, flow.spacing))
    if flow.force is not None:
        rate = jnp.maximum(rate, jnp.sqrt(flow.force_size / smaller))
    rate = rate * (_stabilised.LIMIT_ADVECTION / cfl)
    extent = (dx * flow.layout.nx, dy * flow.layout.ny)
    stiffness = 4 * flow.nu * (1 / dx**2 + 1 / dy**2)
    pace = rate / _stabilised.limit_advection_chebyshev(larger / smaller)
    if flow.body is not None:
        pace = jnp.maximum(pace, _stabilised.pace_chebyshev(rate, 8 * flow.nu / larger**2))
        stiffness = jnp.maximum(stiffness, flow.nu * flow.body.stiffness)
    # Chebyshev schemes would be stable with steps too long to resolve even the slowest decay, π² ν (1/W² + 1/H²).
    decay = 10 * flow.nu * (1 / extent[0] ** 2 + 1 / extent[1] ** 2)

    early = 0.0
    if flow.sudden is not None:
        early = 1 / jnp.maximum(time - flow.sudden, 1 / jnp.maximum(stiffness, 1e-30))

    def steps_at(rate):
        return jnp.maximum(jnp.ceil(remaining * jnp.maximum(rate, early) * (1 - 1e-5)), 1)

    four = steps_at(jnp.maximum(rate / _stabilised.LIMIT_ADVECTION, stiffness / _stabilised.LIMIT_DIFFUSION_FOUR))
    per_stage = stiffness / _stabilised.LIMIT_DIFFUSION_CHEBYSHEV
    slowest = jnp.maximum(2 * decay, per_stage / _stabilised.MAX_STAGES**2)
    many = steps_at(jnp.maximum(pace, slowest))
    stages = jnp.clip(jnp.ceil(jnp.sqrt(per_stage * remaining / many)).astype(int), 5, _stabilised.MAX_STAGES)
    use_four = 4 * four <= stages * many
    steps, stages = jnp.where(use_four, four, many), jnp.where(use_four, 4, stages)
    share, scheme, stages = lax.stop_gradient((1 / steps, jnp.where(use_four, 0, stages - 3), stages))
    return remaining * share, steps, scheme, stages


def step(flow: Flow, controls: Controls, u0, v0, past, time, tau, scheme, stages):
    """Velocities after one step of size τ, and what is known of the pressures on the way. What goes through walls
    changes evenly over it, so that at its end it is what is given then, however suddenly that came."""
    size = jnp.where(tau > 0, tau, 1)  # a step that is not taken has none
    even = jax.tree.map(lambda now, then: (then - now) / size, flow.walls(time), flow.walls(time + tau))

    def rhs(u, v, share, past):
        u, v, _, past = project(flow, *_rhs(flow, u, v, time + share * tau), even, flow.start, past)
        return u, v, past

    return _stabilised.stages_of(controls.loop, rhs, u0, v0, tau, scheme, stages, past)


class FlowStepper(Stepper):
    """States are (u, v) on the unknown faces and what `Flow.start` knows of past pressures; frames hold all faces,
    their tendencies and the pressure over density.

    Args:
        cfl: Courant number of a step.
    """

    def __init__(self, flow: Flow, controls: Controls, cfl: float):
        self.flow, self.controls, self.cfl = flow, controls, cfl

    def step(self, state, time, remaining):
        u, v, past = state
        tau, steps, scheme, stages = plan(self.flow, self.cfl, u, v, time, remaining)
        return step(self.flow, self.controls, u, v, past, time, tau, scheme, stages), tau, steps

    def settle(self, state, time):
        u, v, past = state
        u, v, _, _ = project(self.flow, u, v, self.flow.walls(time))  # rounding has no past
        return u, v, past

    def frame(self, state, time):
        u, v, past = state
        accelerations = _rhs(self.flow, u, v, time)
        du, dv, p, _ = project(self.flow, *accelerations, self.flow.rates(time), self.flow.start, past)
        uf, vf = faces(self.flow.layout, u, v, self.flow.walls(time))
        duf, dvf = faces(self.flow.layout, du, dv, self.flow.rates(time))
        found = {"u_face": uf, "v_face": vf, "p": p, "u_face_tendency": duf, "v_face_tendency": dvf}
        if self.flow.body is not None:
            found["force"] = _cut_cells.force(self.flow.body, u, v, p, self.flow.nu, self.flow.spacing)
        return found
