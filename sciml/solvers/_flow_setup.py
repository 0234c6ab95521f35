"""From a case to the arrays of a march, and from arrays to its functions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sciml.boundary import BoundaryCondition, Series
from sciml.errors import InputError
from sciml.expressions import Field, Names, Operators, Parameter
from sciml.geometry import Box
from sciml.problem import Case, Problem
from sciml.problems._incompressible import face_velocities, navier_stokes
from sciml.solvers._flow_stepper import Flow
from sciml.solvers._numerical import Begin
from sciml.solvers._poisson import PressureSolver
from sciml.solvers._staggered import Layout, Walls, unknowns
from sciml.support import Grid, Support

# wall, the field along it, the field through it
WALLS = (("y_min", "u", "v"), ("y_max", "u", "v"), ("x_min", "v", "u"), ("x_max", "v", "u"))
SAMPLES = 64  # knots in each output interval and time scale for wall values that are given as functions of time
MOST_SAMPLES = 100_000  # in an interval


def equations_fit(problem: Problem) -> bool:
    """Whether the balances of a problem are, term by term, those that this solver integrates."""
    q = Names("field", {name: Field(name) for name in ("u", "v", "p")})
    theta = Names("parameter", {p.name: Parameter(p.name) for p in problem.parameters})
    try:
        wanted = navier_stokes(q, Operators(2), theta)
    except InputError:  # a parameter that incompressible flow needs is missing
        return False
    found = problem.balances()
    return {n: b.components() for n, b in found.items()} == {n: b.components() for n, b in wanted.items()}


def arrays(
    case: Case, shape: tuple[int, int], times: Any, begin: Begin | None = None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """`parameters` and `inputs` of `IncompressibleFlow.simulate`, from geometry, boundary conditions and start.

    Raises:
        InputError: a domain that is no box, or a wall that lets fluid through.
    """
    box, name = case.geometry, case.problem.name
    if not isinstance(box, Box):
        raise InputError(f"{name}: the domain is a {type(box).__name__}, expected a Box for incompressible_flow")
    (x0, x1), (y0, y1) = box.extents
    parameters = {k: float(case.parameters[k]) for k in ("density", "viscosity")}
    parameters |= {"width": x1 - x0, "height": y1 - y0}
    grid = Grid.uniform(box, shape)
    inputs: dict[str, Any] = {}
    conditions, begun = case.boundary_conditions, 0.0 if begin is None else begin.time
    for wall, along, through in WALLS:
        if box.periodic["xy".index(wall[0])]:
            continue
        for field in (along, through):
            kind = conditions[wall][field].kind if field in conditions.get(wall, {}) else "absent"
            if kind != "dirichlet":
                raise InputError(f"{name}: {field} on {wall} has a condition that is {kind}, expected dirichlet")
        knots, values = _in_time(conditions[wall][through], times, begun, case.scales.time)
        if np.any(values != 0):
            raise InputError(f"{name}: {through} on {wall} is not zero; incompressible_flow needs walls")
        knots, values = _in_time(conditions[wall][along], times, begun, case.scales.time)
        if np.any(values != 0):
            inputs[f"{wall}_{along}"] = (knots, _along(values, grid.faces["xy".index(wall[0]) ^ 1].size))
    if begin is None:
        inputs["u_face"], inputs["v_face"] = _start(case, grid)
    else:
        inputs |= {**begin.state, "start": np.float64(begin.time)}
    return parameters, inputs


def from_start(parameters: Mapping[str, Any], inputs: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The same with times counted from the start."""
    start = float(inputs.get("start", 0.0))
    moved = {k: (v[0] - start, *v[1:]) if isinstance(v, tuple) else v for k, v in inputs.items() if k != "start"}
    return dict(parameters), moved


def _in_time(condition: BoundaryCondition, times: Any, begun: float, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Knots and values: of a function of time `SAMPLES` in each interval and in each of the case's time scales."""
    value = condition.value
    if isinstance(value, Series):
        return value.times, value.values
    if not callable(value):
        return np.zeros(1), np.asarray(value, dtype=np.float64)[None]
    ends = np.unique(np.concatenate([[begun], np.atleast_1d(np.asarray([] if times is None else times, float))]))
    ends = ends[ends >= begun]
    if ends.size < 2:
        return ends, condition.over(ends)
    counts = [min(math.ceil(SAMPLES * max(1.0, gap / scale)), MOST_SAMPLES) for gap in np.diff(ends)]
    parts = [np.linspace(a, b, n, endpoint=False) for a, b, n in zip(ends[:-1], ends[1:], counts, strict=True)]
    knots = np.append(np.concatenate(parts), ends[-1])
    return knots, condition.over(knots)


def _along(values: np.ndarray, faces: int) -> np.ndarray:
    """Values along a wall on its face positions: given there, or at cell centres or equally spaced from end to end."""
    if values.ndim == 1 or values.shape[1] == faces:
        return values
    n = values.shape[1]
    have = (np.arange(n) + 0.5) / n if n == faces - 1 else np.linspace(0, 1, n)
    return np.stack([np.interp(np.linspace(0, 1, faces), have, row) for row in values])


def _start(case: Case, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    psi = case.problem.streamfunction(case, grid)
    if psi is not None:
        return face_velocities(np.asarray(psi), grid)
    state = case.problem.initial_state(case, grid)
    return faces_of(state["u"], state["v"], grid, grid, points=True)


def faces_of(u: np.ndarray, v: np.ndarray, support: Support, grid: Grid, points: bool = False) -> Any:
    """Velocities through the faces of a grid (u, v), from velocities at the places of a support.

    On the grid itself the four cells around a face give −1, 5, 5, −1 eighths: with that, the means of two opposite
    faces, which our answers hold, go back to the faces with an error of fourth order; values at points (`points`) go
    there by −1, 9, 9, −1 sixteenths. Beyond a wall the velocity through it is mirrored with its sign reversed.
    """
    near, far = (9 / 16, -1 / 16) if points else (5 / 8, -1 / 8)
    found = []
    for values, axis in ((u, 0), (v, 1)):
        if grid.same(support):
            along = 1 - axis  # in array order
            around = grid.periodic[axis]
            widths = [(2, 2) if a == along else (0, 0) for a in (0, 1)]
            padded = np.pad(values, widths, mode="wrap" if around else "symmetric")
            if not around:
                ends: list[Any] = [slice(None), slice(None)]
                for side in (slice(0, 2), slice(-2, None)):
                    ends[along] = side
                    padded[tuple(ends)] *= -1
            n = padded.shape[along] - 3
            a, b, c, d = (np.take(padded, range(k, k + n), axis=along) for k in range(4))
            found.append(near * (b + c) + far * (a + d))
        else:
            places = [grid.faces[k] if k == axis else grid.centres[k] for k in (0, 1)]
            x, y = np.meshgrid(*places)
            shape = x.shape
            found.append(support.sample(values, np.stack([x.ravel(), y.ravel()], axis=-1)).reshape(shape))
    return found[0], found[1]


def flow(layout: Layout, parameters: Mapping[str, Any], inputs: Mapping[str, Any], solver: PressureSolver) -> Flow:
    """The functions of time that a march needs, over arrays that may be traced."""
    zero = jnp.zeros_like(parameters["width"])
    walls = {wall: inputs.get(f"{wall}_{along}") for wall, along, _ in WALLS}
    speed = zero
    for given in walls.values():
        if given is not None:
            speed = jnp.maximum(speed, jnp.max(jnp.abs(jax.lax.stop_gradient(given[1]))))

    def slide(wall: str, given: Any, time: jax.Array) -> jax.Array:
        if given is None:
            return zero
        values = _interpolate(time, *given)
        if values.ndim == 0:
            return values
        return values[1:] if layout.periodic["yx".index(wall[0])] else values[1:-1]

    def at(time: jax.Array) -> Walls:
        return Walls(**{wall: slide(wall, given, time) for wall, given in walls.items()})

    force: Callable[[jax.Array], tuple[jax.Array, jax.Array]] | None = None
    size = zero
    if "force" in inputs:
        knots, fx, fy = inputs["force"]
        size = jax.lax.stop_gradient(jnp.maximum(jnp.max(jnp.abs(fx)), jnp.max(jnp.abs(fy))))

        def pushed(time: jax.Array) -> tuple[jax.Array, jax.Array]:
            return unknowns(layout, _interpolate(time, knots, fx), _interpolate(time, knots, fy))

        force = pushed

    spacing = (parameters["width"] / layout.nx, parameters["height"] / layout.ny)
    nu = parameters["viscosity"] / parameters["density"]
    return Flow(layout, nu, spacing, at, speed, solver, force, size)


def start(layout: Layout, inputs: Mapping[str, Any], spacing: Any) -> tuple[jax.Array, jax.Array]:
    """Velocities at time 0 on the unknown faces, before projection."""
    if "streamfunction" in inputs:
        psi = inputs["streamfunction"]
        return unknowns(layout, (psi[1:] - psi[:-1]) / spacing[1], -(psi[:, 1:] - psi[:, :-1]) / spacing[0])
    if "u_face" in inputs:
        return unknowns(layout, inputs["u_face"], inputs["v_face"])
    return jnp.zeros(layout.u_shape, spacing[0].dtype), jnp.zeros(layout.v_shape, spacing[0].dtype)


def _interpolate(time: jax.Array, knots: jax.Array, values: jax.Array) -> jax.Array:
    """Linear between knots, constant outside."""
    if knots.shape[0] == 1:
        return values[0]
    right = jnp.clip(jnp.sum(knots <= time), 1, knots.shape[0] - 1)
    left = right - 1
    share = jnp.clip((time - knots[left]) / (knots[right] - knots[left]), 0, 1)
    return (1 - share) * values[left] + share * values[right]
