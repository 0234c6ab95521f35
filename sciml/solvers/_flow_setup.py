"""From a case to the arrays of a march, and from arrays to its functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sciml.boundary import Condition, Dirichlet, InSpace, Outflow, Periodic, Samples, Series
from sciml.errors import InputError, is_number, is_whole, suggest
from sciml.geometry import Box, Geometry
from sciml.problem import Case, beginning
from sciml.problems._incompressible import face_velocities
from sciml.solvers._cut_cells import CLOSED, Body, body_of
from sciml.solvers._flow_stepper import Flow
from sciml.solvers._numerical import Begin
from sciml.solvers._side_values import values_in_time, wall_points
from sciml.solvers._staggered import Layout, Walls, unknowns
from sciml.solvers.linear import End, Ends, GridSystem, LinearSolver, MarchStart, WarmStart, Zero
from sciml.solvers.linear._hosted import FAILURES
from sciml.support import Apertures, Grid, Support

# wall, the field along it, the field through it
WALLS = (("y_min", "u", "v"), ("y_max", "u", "v"), ("x_min", "v", "u"), ("x_max", "v", "u"))


def arrays(
    case: Case, shape: tuple[int, int], times: Any, solver: LinearSolver, begin: Begin | None = None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """`parameters` and `inputs` of `IncompressibleFlow.simulate`, from geometry, boundary conditions and start.

    Raises:
        InputError: a domain that is no box with bodies in it, or conditions that do not fit.
    """
    domain, name = case.geometry, case.problem.name
    (x0, x1), (y0, y1) = domain.extents
    parameters = {k: float(case.parameters[k]) for k in ("density", "viscosity")}
    parameters |= {"width": x1 - x0, "height": y1 - y0}
    grid = Grid.uniform(domain, shape)
    inputs: dict[str, Any] = {}
    conditions, begun = case.boundary_conditions, 0.0 if begin is None else begin.time
    ends = ends_of(case)
    for (wall, along, through), end in zip(WALLS, (*ends[1], *ends[0]), strict=True):
        if end is not End.WALL:
            continue
        for f in (along, through):
            if times is None and _changes(conditions[wall][f]):
                raise InputError(
                    f"{name}: {f} on {wall} is a function of time; expected the times that will be asked for"
                )
        corners, middles = wall_points(grid, wall)
        knots, values = values_in_time(conditions[wall][along], times, begun, case.scales.time, corners)
        if np.any(values != 0):
            inputs[f"{wall}_{along}"] = (knots, _along(values, len(corners)))
        both = np.concatenate([corners, middles])
        knots, values = values_in_time(conditions[wall][through], times, begun, case.scales.time, both)
        if np.any(values != 0):
            inputs[f"{wall}_{through}"] = (knots, _means(values, len(middles)))
    if not any(end is End.OPEN for pair in ends for end in pair):
        _check_closed(name, inputs, grid)
    body = body_in(case, grid, solver)
    if body is not None:
        inputs["body"] = body
    if begin is None:
        inputs["u_face"], inputs["v_face"] = _start(case, grid)
    else:
        inputs |= {**begin.state, "start": np.float64(begin.time)}
        inputs |= {"settled": np.float64(1)} if begin.settled else {}
    return parameters, inputs


def body_in(case: Case, grid: Grid, solver: LinearSolver) -> Body | None:
    """The bodies in a box, all at rest and without slip; None where there are none.

    Raises:
        InputError: another condition on them, one that reaches an end of the box through which fluid goes, or nothing
            left to flow through.
    """
    if isinstance(case.geometry, Box):
        return None
    name, ends = case.problem.name, ends_of(case)
    for key, inner in _parts(case.geometry).items():
        given = case.boundary_conditions.get(key, {})
        if inner and not all(f in given and given[f].zero for f in ("u", "v")):
            raise InputError(f"{name}: {key}: expected Dirichlet(0) for u and v, a body at rest")
    body, shut = _made(case.geometry, grid.shape, ends, solver)
    for wall, _, through in WALLS:
        shares = body.x if through == "u" else body.y.T
        shares = shares[:, slice(-2, None) if wall.endswith("max") else slice(2)]
        end = ends["xy".index(wall[0])][int(wall.endswith("max"))]
        # a wall has conditions, see `ends_of`
        closed = end is End.WALL and case.boundary_conditions[wall][through].zero
        if np.any(shares < 1) and end is End.PERIODIC:
            raise InputError(f"{name}: a body reaches {wall}, which is periodic; expected it within the box")
        if np.any((shares > 0) & (shares < 1)) and not closed:
            raise InputError(
                f"{name}: a body cuts cells beside {wall}, through which fluid goes; expected it along lines of the "
                "grid there, room, or finer cells"
            )
        if wall in shut and not closed and end is End.WALL:
            raise InputError(f"{name}: fluid goes through {wall} into a region that a body cuts off")
    if not np.any(body.u.inverse > 0):
        raise InputError(f"{name}: no face of the grid is open, expected room around the body")
    return body


def _changes(condition: Condition) -> bool:
    """Whether a condition is a function of time, whose knots depend on the times that are asked for."""
    value = condition.value
    return callable(value) and not isinstance(value, Series | Samples | InSpace)


@lru_cache(maxsize=256)
def _parts(domain: Geometry) -> dict[str, bool]:
    """The parts of a boundary, and whether each lies within the bounding box rather than on its sides."""
    low, high = np.array(domain.extents).T
    found = {}
    for name, boundary in domain.boundaries.items():
        points = np.zeros((0, 2)) if boundary.side is not None else boundary.places(64)
        near = np.minimum(np.abs(points - low), np.abs(points - high)).min(axis=1, initial=np.inf)
        found[name] = bool(np.any(near > 1e-9 * (high - low).max())) if len(points) else False
    return found


def _without_way_out(system: GridSystem) -> frozenset[str]:
    """The sides beside which lie cells that no open faces join to an open end; of a closed box, where there are several
    regions, all sides that fluid is beside."""
    from scipy.sparse.csgraph import connected_components

    matrix = system.matrix()
    matrix.eliminate_zeros()
    _, region = connected_components(matrix, directed=False)
    region = np.where(system.live(np), region.reshape(system.shape), -1)
    beside = {"x_min": region[:, 0], "x_max": region[:, -1], "y_min": region[0], "y_max": region[-1]}
    cells = {wall: set(numbers.tolist()) - {-1} for wall, numbers in beside.items()}
    if system.closed:
        several = len(set(region.ravel().tolist()) - {-1}) > 1
        return frozenset(cells if several else ())
    out = {n for k, c in enumerate("xy") for e, word in enumerate(("min", "max")) if system.ends[k][e] is End.OPEN
           for n in cells[f"{c}_{word}"]}  # fmt: skip
    return frozenset(wall for wall, numbers in cells.items() if numbers - out)


@lru_cache(maxsize=16)
def _made(
    geometry: Geometry, shape: tuple[int, int], ends: tuple[Ends, Ends], solver: LinearSolver
) -> tuple[Body, frozenset[str]]:
    """A body with what the pressure solver works out beforehand; `_without_way_out`."""
    grid, layout = Grid.uniform(geometry, shape), Layout(shape[1], shape[0], ends)
    apertures = Apertures.of(geometry, grid, CLOSED)
    apertures.check_resolved(geometry, grid)
    body = body_of(apertures, grid, layout)
    spacing = tuple(float(w[0]) for w in grid.widths)
    system = GridSystem(shape, ends, spacing, body.coefficients)
    if not solver.supports(system):
        raise InputError(f"pressure_solver: {solver.name} does not take this body; try MultigridCG()")
    return body._replace(factor=solver.factor(system)), _without_way_out(system)


def in_time(name: str, value: Any) -> bool:
    """Whether an input is (knots, values, ...)."""
    return isinstance(value, tuple) and name != "body"


def from_start(parameters: Mapping[str, Any], inputs: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The same with times counted from the start."""
    start = float(inputs.get("start", 0.0))
    moved = {k: (v[0] - start, *v[1:]) if in_time(k, v) else v for k, v in inputs.items() if k != "start"}
    return dict(parameters), moved


def ends_of(case: Case) -> tuple[Ends, Ends]:
    """What the ends of x and of y are: periodic as the domain is, walls where both velocities are given, open where
    both flow out.

    Raises:
        InputError: anything else, or a pressure on an open end that is not zero.
    """
    domain, conditions, name = case.geometry, case.boundary_conditions, case.problem.name
    found: dict[str, End] = {}
    sides = [wall for wall, _, _ in WALLS]
    for key, fields in conditions.items():
        if key not in sides and key not in _parts(domain):
            known = list(dict.fromkeys([*sides, *_parts(domain)]))
            raise InputError(f"{name}: {key}: no boundary is called that{suggest(key, known)}")
        if "p" in fields and not isinstance(fields["p"], Periodic) and not isinstance(fields.get("u"), Outflow):
            raise InputError(f"{name}: p on {key}: expected no pressure but on an open end, got {fields['p']}")
    for wall, along, through in WALLS:
        here = conditions.get(wall, {})
        if domain.periodic["xy".index(wall[0])]:
            if not all(isinstance(c, Periodic) for c in here.values()):
                raise InputError(f"{name}: {wall} is periodic, expected no condition on it")
            found[wall] = End.PERIODIC
        elif all(f in here and here[f].given for f in (along, through)):
            found[wall] = End.WALL
        elif all(isinstance(here.get(f), Outflow) for f in (along, through)):
            found[wall] = End.OPEN
            pressure = here.get("p", Dirichlet(0.0))
            if not pressure.zero:
                raise InputError(f"{name}: p on {wall}, which is open: expected Dirichlet(0), got {pressure}")
        else:
            got = ", ".join(f"{f}: {here.get(f)}" for f in (along, through))
            raise InputError(f"{name}: {wall}: expected the velocity (Dirichlet) or Outflow, for both of it, got {got}")
    return (found["x_min"], found["x_max"]), (found["y_min"], found["y_max"])


def _check_closed(name: str, inputs: Mapping[str, Any], grid: Grid) -> None:
    """Refuse a box without open ends that takes in more than it lets out."""
    times = np.unique(np.concatenate([np.zeros(1), *(v[0] for v in inputs.values())]))
    total, size = np.zeros(len(times)), np.zeros(len(times))
    for wall, _, through in WALLS:
        if f"{wall}_{through}" in inputs:
            knots, values = inputs[f"{wall}_{through}"]
            area = grid.widths[1 - "xy".index(wall[0])]
            flux = (values * area).sum(1) if values.ndim == 2 else values * area.sum()
            flux = np.interp(times, knots, flux)
            total, size = total + flux * (1 if wall.endswith("max") else -1), size + np.abs(flux)
    if np.any(np.abs(total) > 1e-6 * size):
        k = int(np.argmax(np.abs(total)))
        raise InputError(
            f"{name}: at t = {times[k]:g} the box loses {total[k]:.3g} m²/s and has no open end; expected an Outflow"
        )


def _means(values: np.ndarray, cells: int) -> np.ndarray:
    """Means over the cells along a wall, by Simpson's rule from corners and middles; or what is given at cells."""
    if values.ndim == 1 or values.shape[1] == cells:
        return values
    if values.shape[1] == 2 * cells + 1:
        corners, middles = values[:, : cells + 1], values[:, cells + 1 :]
        return (corners[:, 1:] + 4 * middles + corners[:, :-1]) / 6
    corners = _along(values, cells + 1)
    return (corners[:, 1:] + corners[:, :-1]) / 2


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
    state = beginning(case, grid, ("u", "v"))
    return faces_of(case, state["u"], state["v"], grid, grid, 0.0, points=True)


def own_faces(
    frame: Any, shape: tuple[int, int], given: Mapping[str, np.ndarray], inside: np.ndarray | None
) -> dict[str, np.ndarray] | None:
    """The velocities through faces that an answer of ours holds beside their means; None where it holds none, or the
    means `given` are others, as of a frame that has been changed."""
    ny, nx = shape
    shapes = {"u_face": (ny, nx + 1), "v_face": (ny + 1, nx)}
    if not shapes.keys() <= frame.keys():
        return None
    faces = {n: np.asarray((frame[n].isel(time=-1) if "time" in frame[n].dims else frame[n]).values) for n in shapes}
    if any(faces[n].shape != s for n, s in shapes.items()):
        return None
    means = {"u": (faces["u_face"][:, 1:] + faces["u_face"][:, :-1]) / 2,
             "v": (faces["v_face"][1:] + faces["v_face"][:-1]) / 2}  # fmt: skip
    for name, mean in means.items():
        rounding = 8 * float(np.finfo(given[name].dtype).eps) * np.abs(faces[f"{name}_face"]).max()
        off = np.abs(given[name] - mean)
        if (off if inside is None else off[inside]).max() > rounding:
            return None
    return faces


def faces_of(
    case: Case, u: np.ndarray, v: np.ndarray, support: Support, grid: Grid, time: float, points: bool = False,
    ends: tuple[Ends, Ends] | None = None, through: Callable[[str], np.ndarray] | None = None,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Velocities through the faces of a grid (u, v), from velocities at the places of a support.

    On the grid itself the four cells around a face give −1, 5, 5, −1 eighths: with that, the means of two opposite
    faces, which our answers hold, go back to the faces with an error of fourth order; values at points (`points`) go
    there by −1, 9, 9, −1 sixteenths. Beyond a wall the velocity through it is mirrored about what is given there at
    this time (`through`, of the name of a wall), beyond an open end as it is. Within bodies the fluid is at rest.
    """
    if ends is None:
        ends = ends_of(case)
    at_wall = (lambda wall: _through(case, grid, wall, time)) if through is None else through
    if isinstance(support, Grid) and support.inside is not None:
        u, v = np.where(support.inside, u, 0), np.where(support.inside, v, 0)
        support, grid = (Grid(g.faces, g.periodic, None, g.at) for g in (support, grid))
    if not grid.same(support):
        found = []
        for values, axis in ((u, 0), (v, 1)):
            x, y = np.meshgrid(*(grid.faces[k] if k == axis else grid.centres[k] for k in (0, 1)))
            found.append(support.sample(values, np.stack([x.ravel(), y.ravel()], axis=-1)).reshape(x.shape))
        return found[0], found[1]
    near, far = (9 / 16, -1 / 16) if points else (5 / 8, -1 / 8)
    found = []
    for values, axis in ((u, 0), (v, 1)):
        line = np.moveaxis(np.asarray(values, dtype=np.float64), 1 - axis, -1)
        if ends[axis][0] is End.PERIODIC:
            line = np.concatenate([line[..., -2:], line, line[..., :2]], axis=-1)
        else:
            before, after = line[..., 1::-1], line[..., :-3:-1]
            if ends[axis][0] is End.WALL:
                before = 2 * at_wall(f"{'xy'[axis]}_min")[:, None] - before
            if ends[axis][1] is End.WALL:
                after = 2 * at_wall(f"{'xy'[axis]}_max")[:, None] - after
            line = np.concatenate([before, line, after], axis=-1)
        n = line.shape[-1] - 3
        a, b, c, d = (line[..., k : k + n] for k in range(4))
        found.append(np.moveaxis(near * (b + c) + far * (a + d), -1, 1 - axis))
    return found[0], found[1]


def _through(case: Case, grid: Grid, wall: str, time: float) -> np.ndarray:
    """(n,) what goes through a wall at the middles of its cells."""
    field = next(f for w, _, f in WALLS if w == wall)
    middles = wall_points(grid, wall)[1]
    return np.broadcast_to(case.boundary_conditions[wall][field].at(time, middles), len(middles))


def flow(
    layout: Layout, parameters: Mapping[str, Any], inputs: Mapping[str, Any], solver: LinearSolver, start: MarchStart
) -> Flow:
    """The functions of time that a march needs, over arrays that may be traced."""
    zero = jnp.zeros_like(parameters["width"])
    walls = {name: inputs.get(name) for name in Walls._fields}
    tangential = {f"{wall}_{along}": layout.ends["yx".index(wall[0])] for wall, along, _ in WALLS}
    speed = zero
    for given in walls.values():
        if given is not None:
            speed = jnp.maximum(speed, jnp.max(jnp.abs(jax.lax.stop_gradient(given[1]))))

    def wall(name: str, values: jax.Array) -> jax.Array:
        if values.ndim == 0 or name not in tangential:
            return values
        low, high = tangential[name]
        return values[int(low is not End.OPEN) : values.shape[0] - int(high is End.WALL)]

    def at(time: jax.Array) -> Walls:
        return Walls(**{n: zero if g is None else wall(n, _interpolate(time, *g)) for n, g in walls.items()})

    def rates(time: jax.Array) -> Walls:
        return Walls(**{n: zero if g is None or n in tangential else _slope(time, *g) for n, g in walls.items()})

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
    sudden = None if "settled" in inputs else inputs.get("start", 0.0)
    return Flow(layout, nu, spacing, at, rates, speed, solver, inputs.get("body"), sudden, force, size, start)


def start(layout: Layout, inputs: Mapping[str, Any], spacing: Any) -> tuple[jax.Array, jax.Array]:
    """Velocities at time 0 on the unknown faces, before projection."""
    if "streamfunction" in inputs:
        psi = inputs["streamfunction"]
        return unknowns(layout, (psi[1:] - psi[:-1]) / spacing[1], -(psi[:, 1:] - psi[:, :-1]) / spacing[0])
    if "u_face" in inputs:
        return unknowns(layout, inputs["u_face"], inputs["v_face"])
    return jnp.zeros(layout.u_shape, spacing[0].dtype), jnp.zeros(layout.v_shape, spacing[0].dtype)


def _slope(time: jax.Array, knots: jax.Array, values: jax.Array) -> jax.Array:
    """∂/∂t of what `_interpolate` gives, from a knot on that of the piece after it."""
    if knots.shape[0] == 1:
        return jnp.zeros_like(values[0])
    right = jnp.clip(jnp.sum(knots <= time), 1, knots.shape[0] - 1)
    slope = (values[right] - values[right - 1]) / (knots[right] - knots[right - 1])
    return jnp.where((time >= knots[0]) & (time < knots[-1]), slope, 0)


def _interpolate(time: jax.Array, knots: jax.Array, values: jax.Array) -> jax.Array:
    """Linear between knots, constant outside."""
    if knots.shape[0] == 1:
        return values[0]
    right = jnp.clip(jnp.sum(knots <= time), 1, knots.shape[0] - 1)
    left = right - 1
    share = jnp.clip((time - knots[left]) / (knots[right] - knots[left]), 0, 1)
    return (1 - share) * values[left] + share * values[right]


def computed(function: Callable[..., Mapping[str, Any]], *arguments: Any) -> tuple[dict[str, np.ndarray], str | None]:
    """The arrays of a compiled march, and what a pressure solver raised on the way; None where none did."""
    before = FAILURES.count
    made = {k: np.asarray(v) for k, v in function(*arguments).items()}
    return made, FAILURES.since(before)


def with_reason(name: str, found: dict[str, Any], told: str | None) -> dict[str, Any]:
    """The answer of a flow with its "status", where it stopped and a pressure solver said why."""
    if told is None or all(np.isfinite(found[f]).all() for f in ("u_face", "v_face", "p")):
        return found
    return found | {"status": f"{name}: pressure_solver: {told}"}


def pressure_start(
    name: str, given: Any, usual: MarchStart, solver: LinearSolver, shape: tuple[int, int]
) -> MarchStart:
    """Where the iterations of a flow's pressure solver begin; of a solver without iterations from nothing.

    Raises:
        InputError: a start that no march can ask, one of another shape, or one for a solver without iterations.
    """
    if given is None:
        return usual if solver.iterative else Zero()
    if not isinstance(given, MarchStart):
        got = given.name if isinstance(given, WarmStart) else f"{given!r:.40}"
        raise InputError(
            f"{name}: pressure_start is {got}, expected one that a march can ask, such as linear.Projected(8)"
        )
    given.check(shape)
    if not given.from_zero and not solver.iterative:
        raise InputError(
            f"{name}: pressure_start: {solver.name} does not iterate, expected no start, or a pressure_solver such as "
            "MultigridCG()"
        )
    return given


def check_options(
    name: str, cfl: Any, limit: float, dtype: Any, pressure_solver: Any, max_substeps: Any, derivative: Any
) -> None:
    """What the flow solvers on staggered grids are asked for alike.

    Raises:
        InputError: an option that cannot be that; the message names it and the solver.
    """
    if not is_number(cfl) or not 0 < cfl <= limit:
        raise InputError(f"{name}: cfl is {cfl!r}, expected a number in (0, {limit:g}]")
    if dtype not in ("float32", "float64"):
        raise InputError(f"{name}: dtype is {dtype!r}, expected 'float32' or 'float64'")
    if pressure_solver is not None and not isinstance(pressure_solver, LinearSolver):
        got = type(pressure_solver).__name__
        raise InputError(f"{name}: pressure_solver is a {got}, expected one of sciml.solvers.linear")
    if not is_whole(max_substeps) or max_substeps < 1:
        raise InputError(f"{name}: max_substeps is {max_substeps!r}, expected an integer from 1 on")
    if derivative not in ("reverse", "forward"):
        raise InputError(f"{name}: derivative is {derivative!r}, expected 'reverse' or 'forward'")
