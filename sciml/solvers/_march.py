"""Marching the incompressible equations on the staggered grid to requested times.

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
from typing import NamedTuple

import equinox.internal as eqxi
import jax
import jax.numpy as jnp
from jax import lax

from sciml.solvers import _stabilised
from sciml.solvers._poisson import PressureSolver
from sciml.solvers._staggered import (
    Layout,
    Walls,
    acceleration,
    courant_rate,
    divergence,
    gradient,
    pad,
)


class Flow(NamedTuple):
    """What a march needs to know: static layout and functions, traced numbers.

    Args:
        nu: kinematic viscosity, m²/s.
        spacing: (Δx, Δy), m.
        walls: time -> tangential wall velocities.
        wall_speed: the largest of them at any time.
        force: time -> accelerations on the unknown faces, or None.
        force_size: the largest of them at any time.
    """

    layout: Layout
    nu: jax.Array
    spacing: tuple[jax.Array, jax.Array]
    walls: Callable[[jax.Array], Walls]
    wall_speed: jax.Array
    pressure_solver: PressureSolver
    force: Callable[[jax.Array], tuple[jax.Array, jax.Array]] | None = None
    force_size: jax.Array | float = 0.0


class Controls(NamedTuple):
    """Static choices: Courant number, bound on sub-steps in an interval, how loops are differentiated."""

    cfl: float
    max_substeps: int
    checkpoints: int
    derivative: str  # "reverse" or "forward"


class Frame(NamedTuple):
    """One instant: velocities and their tendencies on the unknown faces, pressure over density, and sub-steps taken
    since the last frame; `reached` tells how far into the interval the march came (its end unless it stopped)."""

    u: jax.Array
    v: jax.Array
    p: jax.Array
    u_tendency: jax.Array
    v_tendency: jax.Array
    substeps: jax.Array
    reached: jax.Array


def _loop(controls: Controls, cond, body, init, bound: int, checkpoints: int):
    if controls.derivative == "forward":
        return lax.while_loop(cond, body, init)
    return eqxi.while_loop(cond, body, init, max_steps=bound, checkpoints=checkpoints, kind="checkpointed")


def _rhs(flow: Flow, u, v, time):
    upad, vpad = pad(flow.layout, u, v, flow.walls(time))
    au, av = acceleration(flow.layout, upad, vpad, flow.nu, flow.spacing)
    if flow.force is not None:
        fu, fv = flow.force(time)
        au, av = au + fu, av + fv
    return au, av


def project(flow: Flow, u, v):
    """(u − ∇φ, v − ∇φ, φ) without divergence."""
    phi = flow.pressure_solver(divergence(flow.layout, u, v, flow.spacing), flow.spacing, flow.layout.periodic)
    gx, gy = gradient(flow.layout, phi, flow.spacing)
    return u - gx, v - gy, phi


def frame(flow: Flow, u, v, time, substeps, reached) -> Frame:
    """Pressure and tendencies of a velocity field at one instant."""
    du, dv, p = project(flow, *_rhs(flow, u, v, time))
    return Frame(u, v, p, du, dv, substeps, reached)


def plan(flow: Flow, controls: Controls, u, v, remaining):
    """How to go over what is left of an interval: (τ, steps, scheme, stages), equal steps within the limits of
    advection, moving walls, force and diffusion, with the cheaper family of schemes. Velocities that are not finite
    give numbers of steps that are not finite either."""
    u, v = lax.stop_gradient((u, v))
    dx, dy = flow.spacing
    smaller, larger = jnp.minimum(dx, dy), jnp.maximum(dx, dy)
    rate = jnp.maximum(courant_rate(flow.layout, u, v, flow.spacing), flow.wall_speed / smaller)
    if flow.force is not None:
        rate = jnp.maximum(rate, jnp.sqrt(flow.force_size / smaller))
    rate = rate * (_stabilised.LIMIT_ADVECTION / controls.cfl)
    extent = (dx * flow.layout.nx, dy * flow.layout.ny)
    stiffness = 4 * flow.nu * (1 / dx**2 + 1 / dy**2)
    # Chebyshev schemes would be stable with steps too long to resolve even the slowest decay, π² ν (1/W² + 1/H²).
    decay = 10 * flow.nu * (1 / extent[0] ** 2 + 1 / extent[1] ** 2)

    def steps_at(rate):
        return jnp.maximum(jnp.ceil(remaining * rate * (1 - 1e-5)), 1)

    four = steps_at(jnp.maximum(rate / _stabilised.LIMIT_ADVECTION, stiffness / _stabilised.LIMIT_DIFFUSION_FOUR))
    per_stage = stiffness / _stabilised.LIMIT_DIFFUSION_CHEBYSHEV
    slowest = jnp.maximum(2 * decay, per_stage / _stabilised.MAX_STAGES**2)
    many = steps_at(jnp.maximum(rate / _stabilised.limit_advection_chebyshev(larger / smaller), slowest))
    stages = jnp.clip(jnp.ceil(jnp.sqrt(per_stage * remaining / many)).astype(int), 5, _stabilised.MAX_STAGES)
    use_four = 4 * four <= stages * many
    steps, stages = jnp.where(use_four, four, many), jnp.where(use_four, 4, stages)
    share, scheme, stages = lax.stop_gradient((1 / steps, jnp.where(use_four, 0, stages - 3), stages))
    return remaining * share, steps, scheme, stages


def step(flow: Flow, controls: Controls, u0, v0, time, tau, scheme, stages):
    """Velocities after one step of size τ."""

    def rhs(u, v, t):
        return project(flow, *_rhs(flow, u, v, t))[:2]

    fu0, fv0 = rhs(u0, v0, time)
    coefficients = jnp.asarray(_stabilised.table(), u0.dtype)[scheme]
    first = tau * coefficients[0, 2]

    def body(carry):
        j, uj, vj, ui, vi = carry
        mu, nu, mu_t, gamma_t, _ = coefficients[j]
        fu, fv = rhs(uj, vj, time + coefficients[j - 1, 4] * tau)
        rest, mu_t, gamma_t = 1 - mu - nu, tau * mu_t, tau * gamma_t
        un = rest * u0 + mu * uj + nu * ui + mu_t * fu + gamma_t * fu0
        vn = rest * v0 + mu * vj + nu * vi + mu_t * fv + gamma_t * fv0
        return j + 1, un, vn, uj, vj

    init = (jnp.ones((), int), u0 + first * fu0, v0 + first * fv0, u0, v0)
    bound = _stabilised.MAX_STAGES
    _, u, v, _, _ = _loop(controls, lambda c: c[0] < stages, body, init, bound, bound)
    return u, v


def advance(flow: Flow, controls: Controls, u, v, start, length):
    """March from `start` over `length`; stops early on values that are not finite, or too many sub-steps.

    Returns:
        u, v, elapsed time, sub-steps taken, whether all is finite.
    """

    def cond(carry):
        _, _, elapsed, count, alive = carry
        return (elapsed < length) & alive & (count < controls.max_substeps)

    def body(carry):
        u, v, elapsed, count, _ = carry
        tau, steps, scheme, stages = plan(flow, controls, u, v, length - elapsed)
        u, v = step(flow, controls, u, v, start + elapsed, tau, scheme, stages)
        finite = jnp.isfinite(steps)  # of the velocities before this step: no other reduction is needed
        return u, v, jnp.where(steps <= 1, length, elapsed + jnp.where(finite, tau, 0)), count + 1, finite

    init = (u, v, jnp.zeros_like(length), jnp.zeros((), int), jnp.array(True))
    u, v, elapsed, count, finite = _loop(controls, cond, body, init, controls.max_substeps, controls.checkpoints)
    return u, v, elapsed, count, finite & jnp.isfinite(jnp.sum(u) + jnp.sum(v))


def march(flow: Flow, controls: Controls, u, v, times) -> Frame:
    """Frames (stacked over time) at `times`, from velocities at time 0 on the unknown faces.

    After a stop the remaining frames hold NaN.
    """
    u, v, _ = project(flow, u, v)

    def interval(carry, ends):
        u, v, alive = carry
        start, stop = ends
        length = jnp.where(alive, stop - start, 0)
        u, v, elapsed, count, finite = advance(flow, controls, u, v, start, length)
        u, v, _ = project(flow, u, v)  # removes what rounding has added to the divergence since the last frame
        alive = alive & finite & (elapsed >= length)
        known = jnp.where(alive, u, jnp.nan), jnp.where(alive, v, jnp.nan)
        out = frame(flow, known[0], known[1], stop, count, start + elapsed)
        return (jnp.where(alive, u, 0), jnp.where(alive, v, 0), alive), out

    starts = jnp.concatenate([jnp.zeros((1,), times.dtype), times[:-1]])
    return lax.scan(interval, (u, v, jnp.array(True)), (starts, times))[1]
