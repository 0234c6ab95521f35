"""From a case with two fluids to the arrays of a march, and from arrays to its functions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sciml.boundary import Dirichlet, Outflow
from sciml.errors import InputError, suggest
from sciml.geometry import SIDES, Box
from sciml.problem import Case, beginning
from sciml.solvers import _flow_setup
from sciml.solvers._numerical import Begin
from sciml.solvers._side_values import BEYOND_START, check_ends, shares_of, values_in_time, wall_points
from sciml.solvers._staggered import Layout, Walls
from sciml.solvers._two_phase_stepper import TwoFluids
from sciml.solvers.linear import End, Ends, LinearSolver, MarchStart, Previous
from sciml.support import Apertures, Grid

USUAL = Previous()
NAMES = ("density", "viscosity", "air_density", "air_viscosity")


class Edge(NamedTuple):
    """One side of the box: what it is, which of its cells' faces a velocity is given on, and their boundaries."""

    end: End
    given: np.ndarray
    names: list[str]


def edges(case: Case, grid: Grid) -> dict[str, Edge]:
    """The four sides by name.

    Raises:
        InputError: conditions that do not fit.
    """
    domain, conditions, name = case.geometry, case.boundary_conditions, case.problem.name
    parts, found = domain.boundaries, {}
    for key in conditions:
        if key not in parts:
            raise InputError(f"{name}: {key}: no boundary is called that{suggest(key, list(parts))}")
    for wall in SIDES:
        if wall[0] == "z":
            continue
        axis = SIDES[wall][0]
        middles = wall_points(grid, wall)[1]
        if domain.periodic[axis]:
            found[wall] = Edge(End.PERIODIC, np.zeros(len(middles), bool), [])
            continue
        distances = np.stack([boundary.distance(middles) for boundary in parts.values()])
        names = [list(parts)[k] for k in distances.argmin(0)]
        check_ends(name, list(parts.values()), grid, wall)
        given = np.ones(len(middles), bool)
        for k, part in enumerate(names):
            here = conditions.get(part, {})
            if all(isinstance(here.get(f), Outflow) for f in ("u", "v")):
                given[k] = False
                pressure = here.get("p", Dirichlet(0.0))
                if not pressure.zero:
                    raise InputError(f"{name}: p on {part}, which is open: expected Dirichlet(0), got {pressure}")
            elif not all(f in here and here[f].given for f in ("u", "v")):
                got = ", ".join(f"{f}: {here.get(f)}" for f in ("u", "v"))
                raise InputError(
                    f"{name}: {part}: expected the velocity (Dirichlet) or Outflow, for both of it, got {got}"
                )
            elif "p" in here:
                raise InputError(f"{name}: p on {part}: expected no pressure but where it is open, got {here['p']}")
        found[wall] = Edge(End.WALL if given.all() else End.OPEN, given, names)
    return found


def ends_of(case: Case, grid: Grid) -> tuple[Ends, Ends]:
    found = edges(case, grid)
    return (found["x_min"].end, found["x_max"].end), (found["y_min"].end, found["y_max"].end)


def arrays(
    case: Case, shape: tuple[int, int], times: Any, begin: Begin | None = None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """`parameters` and `inputs` of `TwoPhaseFlow.simulate`, from geometry, boundary conditions and start.

    Raises:
        InputError: a body that is not along lines of the grid, conditions that do not fit, or α outside [0, 1].
    """
    name, grid = case.problem.name, Grid.uniform(case.geometry, shape)
    (x0, x1), (y0, y1) = case.geometry.extents
    parameters = {k: float(case.parameters[k]) for k in NAMES}
    parameters |= {"gravity": float(case.parameters.get("gravity", 0.0)), "width": x1 - x0, "height": y1 - y0}
    begun, inputs = 0.0 if begin is None else begin.time, {}
    body = _body(case, grid)
    if body is not None:
        inputs["open_x"], inputs["open_y"] = body
    held = np.zeros((shape[0], shape[1] + 1)), np.zeros((shape[0] + 1, shape[1]))
    found = edges(case, grid)
    for wall, edge in found.items():
        if edge.end is End.PERIODIC:
            continue
        axis, end = SIDES[wall]
        through, along = "uv"[axis], "vu"[axis]
        points = dict(zip(("corners", "middles"), wall_points(grid, wall), strict=True))
        knots, values = _over(case, edge.names, through, times, begun, points["middles"], edge.given)
        if np.any(values != 0):
            inputs[f"{wall}_{through}"] = knots, values
        if edge.end is End.OPEN:
            place = (slice(None), -end) if axis == 0 else (-end, slice(None))
            held[axis][place] = edge.given
        else:
            names = [edge.names[min(k, len(edge.names) - 1)] for k in range(len(points["corners"]))]
            knots, values = _over(case, names, along, times, begun, points["corners"], np.ones(len(names), bool))
            if np.any(values != 0):
                inputs[f"{wall}_{along}"] = knots, values
        inflow = np.array([_inflow(case, part) for part in edge.names])
        if np.any(inflow != 0):
            inputs[f"{wall}_alpha"] = inflow
    if not any(edge.end is End.OPEN for edge in found.values()):
        _shut(name, grid, inputs)
    if any(h.any() for h in held):
        inputs["held_x"], inputs["held_y"] = held
    if begin is None:
        start = beginning(case, grid, ("u", "v", "alpha"))
        inputs["alpha"] = start["alpha"]
        inputs["u_face"], inputs["v_face"] = _faces(start["u"], 1), _faces(start["v"], 0)
    else:
        inputs |= {**begin.state, "start": np.float64(begin.time)}
    inputs["alpha"] = shares_of(name, inputs["alpha"], BEYOND_START)
    return parameters, inputs


def through(case: Case, grid: Grid, edges: Mapping[str, Edge], wall: str, time: float) -> np.ndarray:
    """(n,) the velocity that is given through the cells of a side, 0 where none is."""
    edge, field = edges[wall], "uv"[SIDES[wall][0]]
    middles = wall_points(grid, wall)[1]
    values = np.zeros(len(middles))
    for part in set(edge.names):
        mine = np.array([n == part for n in edge.names]) & edge.given
        if mine.any():
            values[mine] = case.boundary_conditions[part][field].at(time, middles[mine])
    return values


def _faces(values: np.ndarray, axis: int) -> np.ndarray:
    """Means of neighbours on all faces normal to an axis of the array."""
    line = np.pad(values, [(1, 1) if a == axis else (0, 0) for a in (0, 1)], mode="edge")
    n = line.shape[axis] - 1
    return (np.take(line, range(n), axis) + np.take(line, range(1, n + 1), axis)) / 2


def _shut(name: str, grid: Grid, inputs: Mapping[str, Any]) -> None:
    """Refuse fluid that comes into a domain without anything that is open, more than goes out."""
    sides: list[tuple[np.ndarray, np.ndarray]] = []
    for wall, (axis, end) in SIDES.items():
        given = None if axis > 1 else inputs.get(f"{wall}_{'uv'[axis]}")
        if given is not None:
            sides.append((given[0], (given[1] * np.diff(grid.faces[1 - axis])).sum(1) * (1 - 2 * end)))
    times = np.unique(np.concatenate([knots for knots, _ in sides])) if sides else np.zeros(0)
    fluxes = np.array([np.interp(times, knots, flux) for knots, flux in sides])
    net = fluxes.sum(0)
    wrong = np.flatnonzero(np.abs(net) > 1e-9 * np.abs(fluxes).max(initial=0.0))
    if len(wrong):
        flux, what = net[wrong[0]], "comes in" if net[wrong[0]] > 0 else "goes out"
        at = f" at t = {times[wrong[0]]:g}" if len(times) > 1 else ""
        raise InputError(f"{name}: {abs(flux):g} m²/s of fluid {what}{at} and nothing is open; expected an Outflow")


def _inflow(case: Case, part: str) -> float:
    """α of what comes in through a boundary; air where nothing is said."""
    condition = case.boundary_conditions.get(part, {}).get("alpha")
    if condition is None or not condition.given:
        return 0.0
    value = condition.value
    if callable(value) or np.ndim(value) or not 0 <= value <= 1:
        raise InputError(f"{case.problem.name}: alpha on {part}: expected one number in [0, 1], got {value!r}")
    return float(value)


def _over(
    case: Case, names: list[str], field: str, times: Any, begun: float, places: np.ndarray, given: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Knots (K,) and values (K, n) of a velocity along a side, 0 where it is not given."""
    pieces = {}
    for part in dict.fromkeys(names):
        mine = np.array([n == part for n in names]) & given
        if mine.any():
            condition = case.boundary_conditions[part][field]
            pieces[part] = mine, *values_in_time(condition, times, begun, case.scales.time, places[mine])
    knots = np.unique(np.concatenate([np.zeros(1), *(k for _, k, _ in pieces.values())]))
    if all(len(k) == 1 for _, k, _ in pieces.values()):
        knots = knots[:1]
    values = np.zeros((len(knots), len(places)))
    for mine, own, found in pieces.values():
        table = np.broadcast_to(found if found.ndim == 2 else found[:, None], (len(own), int(mine.sum())))
        values[:, mine] = np.stack([np.interp(knots, own, column) for column in table.T], axis=1)
    return knots, values


def _body(case: Case, grid: Grid) -> tuple[np.ndarray, np.ndarray] | None:
    """Which faces are open; None in a box.

    Raises:
        InputError: a body that cuts cells, or is thinner than one.
    """
    if isinstance(case.geometry, Box):
        return None
    apertures = Apertures.of(case.geometry, grid)
    apertures.check_along_lines(case.geometry, grid, case.problem.name)
    for key, conditions in case.boundary_conditions.items():
        part = case.geometry.boundaries[key]
        points = part.places(16)
        low, high = np.array(case.geometry.extents).T
        inner = np.minimum(np.abs(points - low), np.abs(points - high)).min(1) > 1e-9 * (high - low).max()
        if inner.any() and not all(f in conditions and conditions[f].zero for f in ("u", "v")):
            raise InputError(f"{case.problem.name}: {key}: expected Dirichlet(0) for u and v, a body at rest")
    x, y = (np.round(np.array(shares)) for shares in apertures.faces)
    return x, y


def fluids(
    layout: Layout, parameters: Mapping[str, Any], inputs: Mapping[str, Any], solver: LinearSolver,
    start: MarchStart = USUAL,
) -> TwoFluids:  # fmt: skip
    """The functions of time that a march needs, over arrays that may be traced."""
    zero = jnp.zeros_like(parameters["width"])
    given = {name: inputs.get(name) for name in Walls._fields}
    speed = zero
    for value in given.values():
        if value is not None:
            speed = jnp.maximum(speed, jnp.max(jnp.abs(jax.lax.stop_gradient(value[1]))))

    def at(time: Any) -> Walls:
        found = {}
        for n, g in given.items():
            axis = "xy".index(n[0])
            if g is None or layout.ends[axis][int("max" in n)] is End.OPEN:
                found[n] = zero
                continue
            values = _flow_setup._interpolate(time, *g)
            if n[-1] == "vu"[axis]:  # along it, on unknown faces
                low, high = layout.ends[1 - axis]
                values = values[int(low is not End.OPEN) : values.shape[0] - int(high is End.WALL)]
            found[n] = values
        return Walls(**found)

    def through(time: Any) -> tuple[jax.Array, jax.Array]:
        u, v = jnp.zeros((layout.ny, layout.nx + 1), zero.dtype), jnp.zeros((layout.ny + 1, layout.nx), zero.dtype)
        for end, place in (("min", 0), ("max", -1)):
            across, up = given[f"x_{end}_u"], given[f"y_{end}_v"]
            if across is not None:
                u = u.at[:, place].set(_flow_setup._interpolate(time, *across))
            if up is not None:
                v = v.at[place].set(_flow_setup._interpolate(time, *up))
        return u, v

    pairs = {n: (inputs[f"{n}_x"], inputs[f"{n}_y"]) if f"{n}_x" in inputs else None for n in ("open", "held")}
    inflow = [inputs.get(f"{w}_alpha", zero) for w in ("x_min", "x_max", "y_min", "y_max")]
    return TwoFluids(
        layout,
        (parameters["density"], parameters["air_density"]),
        (parameters["viscosity"], parameters["air_viscosity"]),
        (zero, -parameters["gravity"]),
        (parameters["width"] / layout.nx, parameters["height"] / layout.ny),
        at,
        speed,
        solver,
        (inflow[0], inflow[1], inflow[2], inflow[3]),
        pairs["open"],
        pairs["held"],
        through,
        start,
    )
