"""The reference solver for two immiscible fluids."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import jax
import jax.numpy as jnp
import numpy as np

from sciml.errors import InputError
from sciml.problem import Case, Problem
from sciml.registry import solvers
from sciml.solver import Start
from sciml.solvers import (
    _equations,
    _flow_setup,
    _staggered,
    _time,
    _two_phase_force,
    _two_phase_setup,
    _two_phase_stepper,
)
from sciml.solvers._flow_linear import Listener, boundary_values, overheard
from sciml.solvers._numerical import Begin, GridSolver, checked, forces, known_names, plane_counts, since, two_counts
from sciml.solvers._promotion import standard
from sciml.solvers._side_values import shares_of
from sciml.solvers.linear import (
    Discretisation,
    End,
    Ends,
    GridSystem,
    LinearSolver,
    MarchStart,
    MultigridCG,
    Zero,
)
from sciml.support import Grid

if TYPE_CHECKING:
    import xarray


SECONDS_A_CELL = {"float32": 3.1e-7, "float64": 7e-7}  # and step, of one core


@solvers.register("two_phase_flow", "two_phase")
class TwoPhaseFlow(GridSolver):
    """Finite volumes on a staggered grid for two immiscible incompressible fluids in boxes.

    ∇·u = 0, ∂tα + ∇·(α u) = 0, ∂t(ρu) + ∇·(ρ u⊗u + p I − μ(∇u + ∇uᵀ)) = (ρ − ρ_air) g with ρ and μ the means of water's
    and air's with weights α and 1 − α; p is counted from the hydrostatic pressure of air, which is around what is open.
    There is no surface tension. α stays within [0, 1], the volume of water is kept but for what crosses the ends, and
    the interface is as sharp as the cells: straight lines carried in turns along x and y. Momentum is carried by the
    masses that cross faces, so that a fluid a thousand times heavier than the other does no harm. Each side is
    periodic, or its sections are walls whose velocity is given (fluid may go through) or open (`Outflow`: p = 0, air
    comes in).
    Bodies are at rest, without slip, along lines of the grid. Away from the interface second order in space, and in
    time but for viscosity, which follows advection with an error of first order.

    Args:
        resolution: cells along both axes, or (ny, nx).
        cfl: largest share of a cell, τ (|u|/Δx + |v|/Δy), that is swept in a sub-step, at most 0.5.
        dtype: "float32" or "float64".
        pressure_solver: solves the pressure equation; the default is `sciml.solvers.linear.MultigridCG`.
        max_substeps: between two requested times.
        derivative: which derivatives of `simulate` can be taken: "reverse" (jax.grad, jax.vjp) or "forward" (jax.jvp).
        pressure_start: where the iterations of the pressure solver begin; None for the last pressure,
            `sciml.solvers.linear.Previous`, with a solver that iterates. Derivatives are not of it.

    Source: G. D. Weymouth, D. K.-P. Yue, J. Comput. Phys. 229, 2853 (2010); M. Rudman, Int. J. Numer. Meth. Fluids 28,
    357 (1998).
    """

    name = "two_phase_flow"

    def __init__(
        self,
        resolution: int | tuple[int, int] = 64,
        cfl: float = 0.4,
        dtype: str = "float32",
        pressure_solver: LinearSolver | None = None,
        max_substeps: int = 1_000_000,
        derivative: str = "reverse",
        pressure_start: MarchStart | None = None,
    ):
        self.resolution = plane_counts(self.name, resolution)
        _flow_setup.check_options(
            self.name, cfl, _two_phase_stepper.LIMIT, dtype, pressure_solver, max_substeps, derivative
        )  # fmt: skip
        self.cfl, self.dtype = float(cfl), dtype
        self.pressure_solver = MultigridCG() if pressure_solver is None else pressure_solver
        self.max_substeps, self.derivative = int(max_substeps), derivative
        self.pressure_start = _flow_setup.pressure_start(
            self.name, pressure_start, _two_phase_setup.USUAL, self.pressure_solver, self.resolution
        )

    @classmethod
    def on(cls, counts: tuple[int, ...], dtype: str = "float32", tendencies: bool = False, **options: Any) -> Self:
        return cls(two_counts(cls.name, counts, tendencies), dtype=dtype, **options)

    def answers(self, problem: Problem) -> tuple[str, ...]:
        return (*(f.name for f in problem.fields), "u_face", "v_face")

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "resolution": list(self.resolution),
            "cfl": self.cfl,
            "dtype": self.dtype,
            "pressure_solver": self.pressure_solver.name,
            "pressure_start": self.pressure_start.name,
            "max_substeps": self.max_substeps,
        }

    def supports(self, problem: Problem) -> bool:
        """Two incompressible fluids in two dimensions, with or without gravity along −y."""
        if problem.dimensions != 2 or problem.steady or {f.name for f in problem.fields} != {"u", "v", "p", "alpha"}:
            return False
        return _equations.two_fluids(problem)

    def grid(self, case: Case) -> Grid:
        return Grid.uniform(case.geometry, self.resolution, masked=True)

    def fit(self, case: Case) -> None:
        _two_phase_setup.arrays(case, self.resolution, np.zeros(1))

    def _solvable(self, ends: tuple[Ends, Ends]) -> None:
        """Refuse a pressure solver that takes no coefficients."""
        ny, nx = self.resolution
        vary = np.linspace(0.5, 2, nx + 1) + np.zeros((ny, 1)), np.linspace(0.5, 2, nx) + np.zeros((ny + 1, 1))
        if not self.pressure_solver.supports(GridSystem(self.resolution, ends, (1.0, 1.0), vary)):
            raise InputError(
                f"{self.name}: pressure_solver: {self.pressure_solver.name} does not solve systems whose coefficients "
                "vary, as 1/ρ does; expected MultigridCG"
            )

    def arrays(
        self, case: Case, times: Any = None, begin: Begin | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """The `parameters` and `inputs` of `simulate` for a case, in float64; see `IncompressibleFlow.arrays`."""
        self.require(case)
        return _two_phase_setup.arrays(case, self.resolution, times, begin)

    def ends(self, case: Case) -> tuple[Ends, Ends]:
        """What the ends of x and of y are, as `simulate` takes them."""
        self.require(case)
        return _two_phase_setup.ends_of(case, self.grid(case))

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
            parameters: "density", "viscosity" (of water, dynamic), "air_density", "air_viscosity", "gravity" (along
                −y), "width", "height" in SI units.
            inputs: "alpha" (ny, nx), and the velocity at first, "u_face" (ny, nx + 1) and "v_face" (ny + 1, nx), made
                free of divergence; how walls slide and what goes through sides as in `IncompressibleFlow.simulate`; α
                of what comes in, "x_min_alpha", ... (n,) at the cells; "open_x", "open_y", 0 for faces within bodies
                and on them; "held_x", "held_y", 1 for faces of open ends through which the velocity is given; "start",
                the time at which it starts, 0 by default.
            times: (T,) increasing times from the start on.
            ends: what the ends of x and y are; static. None for walls.

        Returns:
            "u", "v", "p", "alpha" (T, ny, nx) at cell centres, "u_face" (T, ny, nx + 1), "v_face" (T, ny + 1, nx),
            "substeps" (T,) since the last time, the time "reached" (T,), with bodies the "force" (T, 2) on them, N/m.
            Where the march stopped, the remaining values are NaN.

        Raises:
            InputError: a name that nothing would act on.
        """
        return self._simulate(parameters, inputs, times, ends, self.derivative)

    @standard
    def _simulate(self, parameters: Any, inputs: Any, times: Any, ends: Any, derivative: str) -> dict[str, Any]:
        known_names("parameters", parameters, (*_two_phase_setup.NAMES, "gravity", "width", "height"))
        walls = _staggered.Walls._fields
        sides = [f"{w}_alpha" for w in ("x_min", "x_max", "y_min", "y_max")]
        shapes = ["open_x", "open_y", "held_x", "held_y"]
        known_names("inputs", inputs, ["alpha", "u_face", "v_face", *walls, *sides, *shapes, "start"])
        ends = ((End.WALL, End.WALL), (End.WALL, End.WALL)) if ends is None else ends
        layout, two, inputs = self._fluids(parameters, inputs, ends)
        controls = _time.Controls(self.max_substeps, 64, derivative)
        real = two.wall_speed.dtype
        u, v = _flow_setup.start(layout, inputs, two.spacing)
        start = inputs.get("start", jnp.zeros((), real))
        state = _two_phase_stepper.begin(two, controls, inputs["alpha"], u, v, start, self.cfl)
        stepper = _two_phase_stepper.TwoPhaseStepper(two, controls, self.cfl)
        frames = _time.march(stepper, controls, state, checked(times, real), start)
        return self._named(two, frames.values) | {"substeps": frames.substeps, "reached": frames.reached}

    def _fluids(self, parameters: Any, inputs: Any, ends: Any) -> tuple[_staggered.Layout, Any, dict[str, Any]]:
        """The layout, what a march needs to know, and the inputs as arrays of JAX."""
        real = jnp.zeros(()).dtype
        parameters = {k: jnp.asarray(v, real) for k, v in parameters.items()}
        inputs = jax.tree.map(lambda a: jnp.asarray(a, real), dict(inputs))
        ny, nx = self.resolution
        layout = _staggered.Layout(nx, ny, ends)
        two = _two_phase_setup.fluids(layout, parameters, inputs, self.pressure_solver, self.pressure_start)
        return layout, two, inputs

    def _named(self, two: _two_phase_stepper.TwoFluids, values: Mapping[str, Any]) -> dict[str, Any]:
        """Frames (T, ...) of the stepper as `simulate` gives them."""
        u_face, v_face, p = values["u_face"], values["v_face"], values["p"]
        found = {
            "u": (u_face[:, :, 1:] + u_face[:, :, :-1]) / 2,
            "v": (v_face[:, 1:] + v_face[:, :-1]) / 2,
            "p": p,
            "alpha": values["alpha"],
            "u_face": u_face,
            "v_face": v_face,
        }
        if two.open is not None:
            weight = (two.densities[0] - two.densities[1]) * -two.gravity[1]
            found["force"] = _two_phase_force.force(
                *two.open, p, found["alpha"], found["u"], found["v"], two.viscosities, weight, two.spacing
            )
        return found

    def with_pressure_solver(self, wrap: Callable[[LinearSolver], LinearSolver]) -> Self:
        found = copy.copy(self)
        found.pressure_solver = wrap(self.pressure_solver)
        return found

    # -- cases --------------------------------------------------------------------------------------------------

    def seconds(self, cases: Sequence[Case], times: Sequence[np.ndarray | None]) -> list[float]:
        """From what tubes and dams took, within a factor of two: velocities of twice the scale along x, 0.7 of it
        along y."""
        found = []
        for case, asked in zip(cases, times, strict=True):
            (ny, nx), ((x0, x1), (y0, y1)) = self.resolution, case.geometry.extents
            last = 0.0 if asked is None else float(asked[-1])
            rate = case.scales.fields["u"] * (2 * nx / (x1 - x0) + 0.7 * ny / (y1 - y0)) / self.cfl
            steps = last * rate + (0 if asked is None else len(asked))
            found.append(steps * (3e-4 + SECONDS_A_CELL[self.dtype] * ny * nx))
        return found

    def run(
        self, cases: Sequence[Case], times: Sequence[np.ndarray], begins: Sequence[Begin] | None = None
    ) -> list[dict[str, np.ndarray]]:
        return [self._one(c, t, b) for c, t, b in zip(cases, times, begins or [None] * len(cases), strict=True)]

    def _one(self, case: Case, times: np.ndarray, begin: Begin | None) -> dict[str, np.ndarray]:
        parameters, inputs = _two_phase_setup.arrays(case, self.resolution, times, begin)
        ends = self.ends(case)
        self._solvable(ends)
        late = float(inputs.get("start", 0.0))
        elapsed = since(late, times, self.dtype)
        fitted = self._fitted(parameters)
        with jax.enable_x64(self.dtype == "float64"):
            moved = _flow_setup.from_start(parameters, inputs)
            found, told = _flow_setup.computed(_compiled, fitted, *moved, elapsed, ends)
        found["reached"] = found["reached"] + np.float64(late)
        return _flow_setup.with_reason(self.name, found, told)

    def _fitted(self, parameters: Mapping[str, Any]) -> TwoPhaseFlow:
        """The same with its pressure solver as it does best on such cells."""
        sides = (parameters["width"] / self.resolution[1], parameters["height"] / self.resolution[0])
        fitted = copy.copy(self)
        fitted.pressure_solver = self.pressure_solver.fitted(sides)
        return fitted

    @standard
    def _linear(self, case: Case, begin: Begin | None) -> Discretisation:
        """The equation of the pressure of the next step, −∇·(∇p/ρ) = −∇·u/τ."""
        ends = self.ends(case)
        self._solvable(ends)
        with jax.enable_x64(True):
            parameters, inputs = _two_phase_setup.arrays(case, self.resolution, _span(case, begin), begin)
            layout, two, inputs = self._fitted(parameters)._fluids(parameters, inputs, ends)
            two = two._replace(start=Zero())
            controls = _time.Controls(self.max_substeps, 64, "forward")
            stepper = _two_phase_stepper.TwoPhaseStepper(two, controls, self.cfl)
            start = inputs.get("start", jnp.zeros(()))
            u, v = _flow_setup.start(layout, inputs, two.spacing)
            state = jax.jit(
                lambda a, u, v: _two_phase_stepper.begin(two, controls, a, u, v, start, self.cfl)
            )(inputs["alpha"], u, v)  # fmt: skip
            # a little less than fits, so that a march to its end takes it in one step
            tau = 0.99 * stepper.plan(state, jnp.asarray(1e30))[0]

            def frame(listener: Listener) -> dict[str, Any]:
                heard = two._replace(solver=listener)
                after = _two_phase_stepper.advance(heard, controls, state, start, tau)
                return stepper.frame(after, start + tau)

            asked, again = overheard(frame)
        end = float(start + tau)

        def answer(x: np.ndarray, status: str) -> xarray.Dataset:
            with jax.enable_x64(True), jax.numpy_rank_promotion("allow"):
                values = jax.tree.map(lambda a: a[None], again(x))
                found = jax.tree.map(np.asarray, self._named(two, values))
            found |= {"substeps": np.ones(1, int), "reached": np.array([end]), "status": status}
            return self.label(case, np.array([end]), found)

        return Discretisation(case, *asked, self.grid(case), ("p",), boundary_values(case, end), answer)

    def carried(self, case: Case) -> tuple[str, ...]:
        return ("alpha", "u_face", "v_face")

    def begin(self, start: Start) -> Begin:
        given, grid = self.given(start), self.grid(start.case)
        case, time = start.case, start.time
        ends = self.ends(case)
        edges = _two_phase_setup.edges(case, grid)
        u_face, v_face = _flow_setup.faces_of(
            case, given["u"], given["v"], start.support, grid, time, ends=ends,
            through=lambda wall: _two_phase_setup.through(case, grid, edges, wall, time),
        )  # fmt: skip
        alpha = shares_of(case.problem.name, start.support.map_onto(grid)(given["alpha"]))
        return Begin({"alpha": alpha, "u_face": u_face, "v_face": v_face}, time)

    def exactly(self, frame: xarray.Dataset, start: Start) -> Begin | None:
        given = self.given(start)
        if not self.grid(start.case).same(start.support):
            return None
        faces = _flow_setup.own_faces(frame, self.resolution, given, start.support.inside)  # type: ignore[attr-defined]
        if faces is None:
            return None
        return Begin({"alpha": shares_of(start.case.problem.name, given["alpha"])} | faces, start.time)

    def label(self, case: Case, times: np.ndarray | None, found: Mapping[str, np.ndarray]) -> xarray.Dataset:
        from sciml.data import solution

        assert times is not None
        hint = f"a cfl below {self.cfl:g} or a finer resolution may help"
        count, status = self.outcome(case, times, found, hint)
        status = str(found.get("status", status))
        centre, u_face, v_face = ("time", "y", "x"), ("time", "y", "x_face"), ("time", "y_face", "x")
        dims = {"u": centre, "v": centre, "p": centre, "alpha": centre, "u_face": u_face, "v_face": v_face}
        grid = self.grid(case)
        told = forces(case, found, count)
        coords = {"x": grid.centres[0], "y": grid.centres[1], "x_face": grid.faces[0], "y_face": grid.faces[1]}
        return solution(
            case, times[:count], {name: (axes, found[name][:count]) for name, axes in dims.items()}, coords,
            solver=self.name, settings=self.settings, status=status, mask=grid.mask,
            quantities=told, attrs={"substeps": int(found["substeps"].sum())},
        )  # fmt: skip

    def _key(self) -> tuple[Any, ...]:
        return self.resolution, self.cfl, self.dtype, self.pressure_solver, self.max_substeps, self.pressure_start

    def __hash__(self) -> int:  # equal settings share one compiled function
        return hash(self._key())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TwoPhaseFlow) and self._key() == other._key()


def _span(case: Case, begin: Begin | None) -> np.ndarray:
    """Times between which the next step lies."""
    return np.array([0.0 if begin is None else begin.time]) + np.array([0.0, case.scales.time])


@partial(jax.jit, static_argnames=("solver", "ends"))
def _compiled(solver: TwoPhaseFlow, parameters: Any, inputs: Any, times: Any, ends: Any) -> Any:
    return solver._simulate(parameters, inputs, times, ends, "forward")
