"""The reference solver for incompressible flow in boxes."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import jax
import jax.numpy as jnp
import numpy as np

from sciml.errors import InputError
from sciml.problem import Case, Problem
from sciml.registry import solvers
from sciml.solver import Start
from sciml.solvers import _equations, _flow_batches, _flow_setup, _flow_stepper, _stabilised, _staggered, _time
from sciml.solvers._flow_linear import Listener, boundary_values, overheard
from sciml.solvers._numerical import Begin, GridSolver, checked, forces, known_names, plane_counts, since, two_counts
from sciml.solvers._promotion import standard
from sciml.solvers.linear import Direct, Discretisation, End, Ends, LinearSolver, MarchStart, Zero
from sciml.support import Grid

if TYPE_CHECKING:
    import xarray

USUAL = Zero()


@solvers.register("incompressible_flow", "incompressible")
class IncompressibleFlow(GridSolver):
    """Finite volumes on a staggered grid, second order in space and time, for incompressible flow in boxes with bodies.

    ∇·u = 0, ∂t(ρu) + ∇·(ρ u⊗u + p I − μ(∇u + ∇uᵀ)) = 0 with constant ρ and μ. Each pair of sides is periodic, or each
    is a wall whose velocity is given in time and along it (fluid may go through), or open (`Outflow`: p = 0 and
    ∂u/∂n = 0; where fluid comes back p = −½ρ(u·n)², without which eddies that leave grow without bound). What the
    geometry leaves out of the box is a body at rest, a cut cell method of second order; solutions hold the force on
    it where the problem has the quantities "force_x" and "force_y". Velocities are divergence-free to the tolerance
    of the pressure solver. Time steps are explicit Runge-Kutta with a projection in every stage; the number of
    stages follows the viscosity, the number of sub-steps the velocity, such that requested times are met exactly.
    Pressure belongs to its frame's instant, and has zero mean where no end is open.

    Args:
        resolution: cells along both axes, or (ny, nx).
        cfl: largest τ (|u|/Δx + |v|/Δy) of a sub-step, at most 2.
        dtype: "float32" or "float64".
        pressure_solver: solves the pressure equation; the default is `sciml.solvers.linear.Direct`.
        tendencies: whether solutions hold ∂u/∂t and ∂v/∂t of their frames, "u_tendency" and "v_tendency".
        max_substeps: between two requested times.
        derivative: which derivatives of `simulate` can be taken: "reverse" (jax.grad, jax.vjp) or "forward" (jax.jvp).
        pressure_start: where the iterations of a pressure solver that iterates begin, such as
            `sciml.solvers.linear.Projected(4)`; None for zero. Derivatives are not of it.

    Source: F. H. Harlow, J. E. Welch, Phys. Fluids 8, 2182 (1965); B. Sanderse, B. Koren, J. Comput. Phys. 231, 3041
    (2012); J. G. Verwer, B. P. Sommeijer, W. Hundsdorfer, J. Comput. Phys. 201, 61 (2004).
    """

    name = "incompressible_flow"

    def __init__(
        self,
        resolution: int | tuple[int, int] = 64,
        cfl: float = 2.0,
        dtype: str = "float32",
        pressure_solver: LinearSolver | None = None,
        tendencies: bool = True,
        max_substeps: int = 1_000_000,
        derivative: str = "reverse",
        pressure_start: MarchStart | None = None,
    ):
        self.resolution = plane_counts(self.name, resolution)
        _flow_setup.check_options(
            self.name, cfl, _stabilised.LIMIT_ADVECTION, dtype, pressure_solver, max_substeps, derivative
        )  # fmt: skip
        self.cfl, self.dtype, self.tendencies = float(cfl), dtype, bool(tendencies)
        self.pressure_solver = Direct() if pressure_solver is None else pressure_solver
        self.max_substeps, self.derivative = int(max_substeps), derivative
        self.pressure_start = _flow_setup.pressure_start(
            self.name, pressure_start, USUAL, self.pressure_solver, self.resolution
        )

    @classmethod
    def on(cls, counts: tuple[int, ...], dtype: str = "float32", tendencies: bool = False, **options: Any) -> Self:
        return cls(two_counts(cls.name, counts), dtype=dtype, tendencies=tendencies, **options)

    def answers(self, problem: Problem) -> tuple[str, ...]:
        return (*super().answers(problem), "u_face", "v_face")

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "resolution": list(self.resolution),
            "cfl": self.cfl,
            "dtype": self.dtype,
            "pressure_solver": self.pressure_solver.name,
            "pressure_start": self.pressure_start.name,
            "tendencies": self.tendencies,
            "max_substeps": self.max_substeps,
        }

    def supports(self, problem: Problem) -> bool:
        """Incompressible Navier-Stokes with constant density and viscosity in two dimensions."""
        if problem.dimensions != 2 or problem.steady or {f.name for f in problem.fields} != {"u", "v", "p"}:
            return False
        return _equations.one_fluid(problem)

    def grid(self, case: Case) -> Grid:
        return Grid.uniform(case.geometry, self.resolution, masked=True)

    def fit(self, case: Case) -> None:
        _flow_setup.body_in(case, self.grid(case), self.pressure_solver)

    def arrays(
        self, case: Case, times: Any = None, begin: Begin | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """The `parameters` and `inputs` of `simulate` for a case, in float64.

        Args:
            times: the times that will be asked for; only needed where wall values are given as functions of time.
            begin: where to start from instead of the case's beginning: "u_face" and "v_face".
        """
        self.require(case)
        return _flow_setup.arrays(case, self.resolution, times, self.pressure_solver, begin)

    def ends(self, case: Case) -> tuple[Ends, Ends]:
        """What the ends of x and of y are, as `simulate` takes them."""
        self.require(case)
        return _flow_setup.ends_of(case)

    def simulate(
        self,
        parameters: Mapping[str, Any],
        inputs: Mapping[str, Any],
        times: Any,
        ends: tuple[Ends, Ends] | None = None,
    ) -> dict[str, jax.Array]:
        """The solution as a pure function of arrays: under `jax.jit`, `jax.vmap` and `jax.grad`.

        Computes in the type that JAX is set to: call it within `jax.enable_x64(True)` for float64.

        Args:
            parameters: "density", "viscosity" (dynamic), "width", "height" in SI units. With a body the box is the one
                that it was made for, whatever "width" and "height" say.
            inputs: how the flow starts, "u_face" (ny, nx + 1) and "v_face" (ny + 1, nx), or "streamfunction"
                (ny + 1, nx + 1) on cell corners, or nothing for fluid at rest; how walls slide, "y_min_u", "y_max_u",
                "x_min_v", "x_max_v", each (times (K,), values (K,) or (K, n)) linear in between, n = nx + 1 or ny + 1
                faces along the wall, or absent for a wall at rest; what goes through them, "x_min_u", "x_max_u",
                "y_min_v", "y_max_v", likewise with n = ny or nx cells; accelerations in N/kg, "force": (times (K,),
                (K, ny, nx + 1), (K, ny + 1, nx)); a "body" as `arrays` makes it; "start", the time at which it
                starts, 0 by default; and "settled", anything, where the state fits to the walls and need not be gone on
                from in short steps at first. What is not divergence-free or crosses a wall is projected away.
            times: (T,) increasing times from the start on.
            ends: what the ends of x and y are, see the method `ends`; static. None for walls that nothing goes through.

        Returns:
            "u", "v", "p" (T, ny, nx) at cell centres, "u_face" (T, ny, nx + 1), "v_face" (T, ny + 1, nx), "u_tendency"
            and "v_tendency" at cell centres, "substeps" (T,) since the last time, and the time "reached" (T,); with a
            body "force" (T, 2) on it in N/m. Where the march stopped, the remaining values are NaN.

        Raises:
            InputError: a name that nothing would act on, or a body or flow through walls without `ends`.
        """
        return self._simulate(parameters, inputs, times, ends, self.derivative)

    @standard
    def _simulate(self, parameters: Any, inputs: Any, times: Any, ends: Any, derivative: str) -> dict[str, Any]:
        known_names("parameters", parameters, ("density", "viscosity", "width", "height"))
        walls = _staggered.Walls._fields
        known_names(
            "inputs", inputs, ["u_face", "v_face", "streamfunction", *walls, "force", "body", "start", "settled"]
        )
        if ends is None:
            through = [name for name in ("body", "x_min_u", "x_max_u", "y_min_v", "y_max_v") if name in inputs]
            if through:
                raise InputError(f"simulate: ends: {through[0]} is given, expected the ends too, see solver.ends")
            ends = ((End.WALL, End.WALL), (End.WALL, End.WALL))
        layout, flow, parameters, inputs = self._flow(parameters, inputs, ends)
        controls = _time.Controls(self.max_substeps, 64, derivative)
        stepper = _flow_stepper.FlowStepper(flow, controls, self.cfl)
        past = flow.start.empty(flow.system, flow.nu.dtype, same=True)
        state = *_flow_setup.start(layout, inputs, flow.spacing), past
        frames = _time.march(stepper, controls, state, checked(times, flow.nu.dtype), inputs.get("start", 0.0))
        found = self._named(layout, parameters["density"], frames.values)
        return found | {"substeps": frames.substeps, "reached": frames.reached}

    def _flow(self, parameters: Any, inputs: Any, ends: Any) -> tuple[_staggered.Layout, Any, Any, Any]:
        """The layout, what a march needs to know, and parameters and inputs as arrays of JAX."""
        if "body" in inputs:
            parameters = {**parameters, **dict(zip(("width", "height"), inputs["body"].extent, strict=True))}
        real = jnp.zeros(()).dtype
        parameters = {k: jnp.asarray(v, real) for k, v in parameters.items()}
        inputs = jax.tree.map(lambda a: jnp.asarray(a, None if _whole(a) else real), dict(inputs))
        ny, nx = self.resolution
        layout = _staggered.Layout(nx, ny, ends)
        flow = _flow_setup.flow(layout, parameters, inputs, self.pressure_solver, self.pressure_start)
        return layout, flow, parameters, inputs

    def _named(self, layout: _staggered.Layout, density: Any, values: Mapping[str, Any]) -> dict[str, Any]:
        """Frames (T, ...) of the stepper as `simulate` gives them."""
        pressure, u_face, v_face = values["p"], values["u_face"], values["v_face"]
        du, dv = values["u_face_tendency"], values["v_face_tendency"]
        return {
            "u": (u_face[:, :, 1:] + u_face[:, :, :-1]) / 2,
            "v": (v_face[:, 1:] + v_face[:, :-1]) / 2,
            "p": density * (pressure if layout.open else pressure - pressure.mean((1, 2), keepdims=True)),
            "u_face": u_face,
            "v_face": v_face,
            "u_tendency": (du[:, :, 1:] + du[:, :, :-1]) / 2,
            "v_tendency": (dv[:, 1:] + dv[:, :-1]) / 2,
        } | ({"force": density * values["force"]} if "force" in values else {})

    def with_pressure_solver(self, wrap: Callable[[LinearSolver], LinearSolver]) -> Self:
        found = copy.copy(self)
        found.pressure_solver = wrap(self.pressure_solver)
        return found

    # -- many cases ---------------------------------------------------------------------------------------------

    @property
    def threads(self) -> int:
        return _flow_batches.cores()

    def portions(self, cases: Sequence[Case], times: Sequence[np.ndarray | None]) -> list[tuple[int, ...]]:
        return self._batches(*self._prepared(cases, times))

    def seconds(self, cases: Sequence[Case], times: Sequence[np.ndarray | None]) -> list[float]:
        size, found = np.dtype(self.dtype).itemsize, []
        for case, asked in zip(cases, times, strict=True):
            assert asked is not None
            found.append(_flow_batches.seconds(case, self.resolution, self.cfl, asked, size))
        return found

    def _prepared(
        self, cases: Sequence[Case], times: Sequence[np.ndarray | None], begins: Sequence[Begin] | None = None
    ) -> tuple[list[_flow_batches.Prepared], Sequence[Case], list[np.ndarray]]:
        """What `_batches` and `_batch` take, of cases that have been checked."""
        each, starts = [t for t in times if t is not None], begins or [None] * len(cases)
        prepared = [
            _flow_setup.arrays(c, self.resolution, t, self.pressure_solver, b)
            for c, t, b in zip(cases, each, starts, strict=True)
        ]
        return prepared, cases, each

    def _batches(self, prepared: Any, cases: Sequence[Case], times: Sequence[np.ndarray]) -> list[tuple[int, ...]]:
        ends = [_flow_setup.ends_of(case) for case in cases]
        size = np.dtype(self.dtype).itemsize
        return _flow_batches.batches(prepared, times, ends, self.resolution, self.cfl, size)

    def run(
        self, cases: Sequence[Case], times: Sequence[np.ndarray], begins: Sequence[Begin] | None = None
    ) -> list[dict[str, np.ndarray]]:
        """The bare arrays of many cases, as `simulate` names them; see `GridSolver.run`."""
        prepared, _, _ = self._prepared(cases, times, begins)
        if begins is not None:
            prepared = _flow_batches.alike(prepared)
        batches = self._batches(prepared, cases, times)
        found: dict[int, dict[str, np.ndarray]] = {}

        def one(batch: tuple[int, ...]) -> None:
            some = [prepared[i] for i in batch], [cases[i] for i in batch], [times[i] for i in batch]
            found.update(zip(batch, self._batch(*some, _flow_batches.places(batch, batches)), strict=True))

        if len(batches) == 1:
            one(batches[0])
        else:
            with ThreadPoolExecutor(min(self.threads, len(batches))) as pool:
                list(pool.map(one, batches))
        return [found[i] for i in range(len(cases))]

    def carried(self, case: Case) -> tuple[str, ...]:
        return ("u_face", "v_face")

    def _batch(
        self, prepared: Any, cases: Sequence[Case], times: Sequence[np.ndarray], places: int
    ) -> list[dict[str, np.ndarray]]:
        """Alike cases in one compiled loop."""
        late = [float(inputs.get("start", 0.0)) for _, inputs in prepared]
        elapsed = [since(start, asked, self.dtype) for start, asked in zip(late, times, strict=True)]
        several = _flow_batches.stacked([_flow_setup.from_start(*p) for p in prepared], elapsed, places)
        with jax.enable_x64(self.dtype == "float64"):
            made, told = _flow_setup.computed(_compiled, self, *several, _flow_setup.ends_of(cases[0]))
        found = [{k: v[place] for k, v in made.items()} for place in range(len(cases))]
        found = [f | {"reached": f["reached"] + np.float64(start)} for f, start in zip(found, late, strict=True)]
        return [_flow_setup.with_reason(self.name, f, told) for f in found]

    def _together(self, cases: Sequence[Case], times: Sequence[np.ndarray | None]) -> list[xarray.Dataset]:
        # a portion is a batch already: taken apart again it would be two half ones
        work = self._prepared(cases, times)
        found = self._batch(*work, _flow_batches.places(range(len(cases))))
        return [self.label(c, t, f) for c, t, f in zip(cases, work[2], found, strict=True)]

    @standard
    def _linear(self, case: Case, begin: Begin | None) -> Discretisation:
        """The equation of the pressure over the density at an instant, −∇²φ = −∇·(A(u) + f)."""
        time = 0.0 if begin is None else begin.time
        with jax.enable_x64(True):
            prepared = _flow_setup.arrays(case, self.resolution, np.array([time]), self.pressure_solver, begin)
            layout, flow, parameters, inputs = self._flow(*prepared, _flow_setup.ends_of(case))
            flow = flow._replace(start=Zero())
            controls = _time.Controls(self.max_substeps, 64, "forward")
            settled = jax.jit(_flow_stepper.FlowStepper(flow, controls, self.cfl).settle)
            state = settled((*_flow_setup.start(layout, inputs, flow.spacing), ()), jnp.asarray(time))

            def frame(listener: Listener) -> dict[str, Any]:
                heard = flow._replace(solver=listener)
                return _flow_stepper.FlowStepper(heard, controls, self.cfl).frame(state, jnp.asarray(time))

            asked, again = overheard(frame)

        def answer(x: np.ndarray, status: str) -> xarray.Dataset:
            with jax.enable_x64(True), jax.numpy_rank_promotion("allow"):
                values = jax.tree.map(lambda a: a[None], again(x))
                found = jax.tree.map(np.asarray, self._named(layout, parameters["density"], values))
            found |= {"substeps": np.zeros(1, int), "reached": np.array([time]), "status": status}
            return self.label(case, np.array([time]), found)

        return Discretisation(case, *asked, self.grid(case), ("p",), boundary_values(case, time), answer)

    def begin(self, start: Start) -> Begin:
        given = self.given(start)
        grid = self.grid(start.case)
        u_face, v_face = _flow_setup.faces_of(start.case, given["u"], given["v"], start.support, grid, start.time)
        return Begin({"u_face": u_face, "v_face": v_face}, start.time)

    def exactly(self, frame: xarray.Dataset, start: Start) -> Begin | None:
        if not self.grid(start.case).same(start.support):
            return None
        faces = _flow_setup.own_faces(frame, self.resolution, self.given(start), start.support.inside)  # type: ignore[attr-defined]
        return None if faces is None else Begin(faces, start.time)

    def label(self, case: Case, times: np.ndarray | None, found: Mapping[str, np.ndarray]) -> xarray.Dataset:
        from sciml.data import solution

        assert times is not None
        hint = f"a cfl below {self.cfl:g} or a finer resolution may help"
        count, status = self.outcome(case, times, found, hint)
        status = str(found.get("status", status))
        centre, u_face, v_face = ("time", "y", "x"), ("time", "y", "x_face"), ("time", "y_face", "x")
        dims = {"u": centre, "v": centre, "p": centre, "u_face": u_face, "v_face": v_face}
        if self.tendencies:
            dims |= {"u_tendency": centre, "v_tendency": centre}
        grid = self.grid(case)
        coords = {"x": grid.centres[0], "y": grid.centres[1], "x_face": grid.faces[0], "y_face": grid.faces[1]}
        fields = {name: (axes, found[name][:count]) for name, axes in dims.items()}
        told = forces(case, found, count)
        steps = {"substeps": int(found["substeps"].sum())}
        return solution(
            case, times[:count], fields, coords, solver=self.name, settings=self.settings, status=status,
            mask=grid.mask, quantities=told, attrs=steps,
        )  # fmt: skip

    def _key(self) -> tuple[Any, ...]:
        return self.resolution, self.cfl, self.dtype, self.pressure_solver, self.max_substeps, self.pressure_start

    def __hash__(self) -> int:  # equal settings share one compiled function
        return hash(self._key())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, IncompressibleFlow) and self._key() == other._key()


def _whole(values: Any) -> bool:
    return jnp.issubdtype(jnp.result_type(values), jnp.integer)


@partial(jax.jit, static_argnames=("solver", "ends"))
def _compiled(solver: IncompressibleFlow, parameters: Any, inputs: Any, times: Any, ends: Any) -> Any:
    def one(parameters, inputs, times):
        return solver._simulate(parameters, inputs, times, ends, "forward")

    if len(times) == 1 and not solver.pressure_start.from_zero:
        # loops over several cases copy all that they carry at every turn, which a past makes much
        alone = jax.tree.map(lambda a: a[0], (parameters, inputs, times))
        return jax.tree.map(lambda a: a[None], one(*alone))
    return jax.vmap(one)(parameters, inputs, times)
