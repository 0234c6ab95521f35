"""From a case to the arrays of a march, and from arrays to its functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sciml.boundary import BoundaryCondition, Series
from sciml.errors import InputError
from sciml.expressions import Coordinates, Field, Names, Operators, Parameter
from sciml.geometry import Box
from sciml.problem import Case, PDEProblem
from sciml.problems._incompressible import face_velocities, navier_stokes
from sciml.solvers._march import Flow
from sciml.solvers._poisson import PressureSolver
from sciml.solvers._staggered import Layout, Walls, unknowns
from sciml.support import Grid

# wall, the field along it, the field through it
WALLS = (("y_min", "u", "v"), ("y_max", "u", "v"), ("x_min", "v", "u"), ("x_max", "v", "u"))
SAMPLES = 64  # knots in each output interval for wall values that are given as functions of time


def equations_fit(problem: PDEProblem) -> bool:
    """Whether the balances of a problem are, term by term, those that this solver integrates."""
    q = Names("field", {name: Field(name) for name in ("u", "v", "p")})
    theta = Names("parameter", {p.name: Parameter(p.name) for p in problem.parameters})
    d = Operators(2)
    try:
        return repr(problem.equations(q, d, theta, Coordinates(2))) == repr(navier_stokes(q, d, theta))
    except InputError:  # a name that incompressible flow does not have
        return False


def arrays(case: Case, shape: tuple[int, int], times: Any) -> tuple[dict[str, Any], dict[str, Any]]:
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
    conditions = case.boundary_conditions
    for wall, along, through in WALLS:
        if box.periodic["xy".index(wall[0])]:
            continue
        for field in (along, through):
            kind = conditions[wall][field].kind if field in conditions.get(wall, {}) else "absent"
            if kind != "dirichlet":
                raise InputError(f"{name}: {field} on {wall} has a condition that is {kind}, expected dirichlet")
        knots, values = _in_time(conditions[wall][through], times)
        if np.any(values != 0):
            raise InputError(f"{name}: {through} on {wall} is not zero; incompressible_flow needs walls")
        knots, values = _in_time(conditions[wall][along], times)
        if np.any(values != 0):
            inputs[f"{wall}_{along}"] = (knots, _along(values, grid.faces["xy".index(wall[0]) ^ 1].size))
    inputs["u_face"], inputs["v_face"] = _start(case, grid)
    return parameters, inputs


def _in_time(condition: BoundaryCondition, times: Any) -> tuple[np.ndarray, np.ndarray]:
    value = condition.value
    if isinstance(value, Series):
        return value.times, value.values
    if not callable(value):
        return np.zeros(1), np.asarray(value, dtype=np.float64)[None]
    ends = np.unique(np.concatenate([[0.0], np.atleast_1d(np.asarray([] if times is None else times, float))]))
    if ends.size < 2:
        return ends, condition.over(ends)
    inner = np.linspace(0, 1, SAMPLES, endpoint=False)
    knots = np.append((ends[:-1, None] + inner * np.diff(ends)[:, None]).ravel(), ends[-1])
    return knots, condition.over(knots)


def _along(values: np.ndarray, faces: int) -> np.ndarray:
    """Values along a wall on its face positions: given there, or at cell centres or equally spaced from end to end."""
    if values.ndim == 1 or values.shape[1] == faces:
        return values
    n = values.shape[1]
    have = (np.arange(n) + 0.5) / n if n == faces - 1 else np.linspace(0, 1, n)
    return np.stack([np.interp(np.linspace(0, 1, faces), have, row) for row in values])


def _start(case: Case, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    psi = case.inputs.get("initial_streamfunction")
    if psi is None and hasattr(case.problem, "streamfunction"):
        psi = case.problem.streamfunction(case, grid)  # type: ignore[attr-defined]
    if psi is not None:
        return face_velocities(np.asarray(psi), grid)
    state = case.problem.initial_state(case, grid)
    return _faces_of_cells(state["u"], 1, grid.periodic[0]), _faces_of_cells(state["v"], 0, grid.periodic[1])


def _faces_of_cells(values: np.ndarray, axis: int, periodic: bool) -> np.ndarray:
    padded = np.pad(values, [(1, 1) if a == axis else (0, 0) for a in (0, 1)], mode="wrap" if periodic else "edge")
    n = padded.shape[axis]
    return (np.take(padded, range(1, n), axis=axis) + np.take(padded, range(n - 1), axis=axis)) / 2


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
