"""The reference solver for incompressible flow in boxes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from sciml.errors import InputError, is_number, is_whole
from sciml.problem import Case, PDEProblem
from sciml.registry import solvers
from sciml.solver import Solver, as_cases
from sciml.solvers import _flow_batches, _flow_setup, _many, _march, _poisson, _stabilised, _staggered
from sciml.solvers._promotion import standard
from sciml.support import Grid

if TYPE_CHECKING:
    import xarray


@solvers.register("incompressible_flow", "incompressible")
class IncompressibleFlow(Solver):
    """Finite volumes on a staggered grid, second order in space and time, for incompressible flow in a box.

    ∇·u = 0, ∂t(ρu) + ∇·(ρ u⊗u + p I − μ(∇u + ∇uᵀ)) = 0 with constant ρ and μ; each pair of sides periodic, or walls
    that may slide along themselves in time. Velocities are divergence-free to rounding. Time steps are explicit
    Runge-Kutta with a projection in every stage; the number of stages follows the viscosity, the number of sub-steps
    the velocity, such that requested times are met exactly. Pressure has zero mean and belongs to its frame's instant.

    Args:
        resolution: cells along both axes, or (ny, nx).
        cfl: largest τ (|u|/Δx + |v|/Δy) of a sub-step, at most 2.
        dtype: "float32" or "float64".
        pressure_solver: solves the five-point pressure equation, see `sciml.solvers._poisson.PressureSolver`; the
            default is direct, by cosine and Fourier transforms.
        tendencies: whether solutions hold ∂u/∂t and ∂v/∂t of their frames, "u_tendency" and "v_tendency".
        max_substeps: between two requested times.
        derivative: which derivatives of `simulate` can be taken: "reverse" (jax.grad, jax.vjp) or "forward" (jax.jvp).

    Source: F. H. Harlow, J. E. Welch, Phys. Fluids 8, 2182 (1965); B. Sanderse, B. Koren, J. Comput. Phys. 231, 3041
    (2012); J. G. Verwer, B. P. Sommeijer, W. Hundsdorfer, J. Comput. Phys. 201, 61 (2004).
    """

    name = "incompressible_flow"

    def __init__(
        self,
        resolution: int | tuple[int, int] = 64,
        cfl: float = 2.0,
        dtype: str = "float32",
        pressure_solver: _poisson.PressureSolver | None = None,
        tendencies: bool = True,
        max_substeps: int = 1_000_000,
        derivative: str = "reverse",
    ):
        counts = (resolution, resolution) if isinstance(resolution, int) else resolution
        whole = isinstance(counts, tuple | list) and len(counts) == 2 and not isinstance(resolution, bool)
        if not whole or any(not is_whole(n) or n < 4 for n in counts):
            raise InputError(f"{self.name}: resolution is {resolution!r}, expected at least 4 cells, or (ny, nx)")
        if not is_number(cfl) or not 0 < cfl <= _stabilised.LIMIT_ADVECTION:
            raise InputError(f"{self.name}: cfl is {cfl!r}, expected a number in (0, {_stabilised.LIMIT_ADVECTION:g}]")
        if dtype not in ("float32", "float64"):
            raise InputError(f"{self.name}: dtype is {dtype!r}, expected 'float32' or 'float64'")
        if pressure_solver is not None and not callable(pressure_solver):
            raise InputError(f"{self.name}: pressure_solver is a {type(pressure_solver).__name__}, expected a function")
        if not is_whole(max_substeps) or max_substeps < 1:
            raise InputError(f"{self.name}: max_substeps is {max_substeps!r}, expected an integer from 1 on")
        if derivative not in ("reverse", "forward"):
            raise InputError(f"{self.name}: derivative is {derivative!r}, expected 'reverse' or 'forward'")
        self.resolution = (int(counts[0]), int(counts[1]))
        self.cfl, self.dtype, self.tendencies = float(cfl), dtype, bool(tendencies)
        self.pressure_solver = _poisson.direct if pressure_solver is None else pressure_solver
        self.max_substeps, self.derivative = int(max_substeps), derivative

    @property
    def settings(self) -> dict[str, Any]:
        solver = self.pressure_solver
        return {
            "resolution": list(self.resolution),
            "cfl": self.cfl,
            "dtype": self.dtype,
            "pressure_solver": getattr(solver, "__name__", type(solver).__name__),
            "tendencies": self.tendencies,
            "max_substeps": self.max_substeps,
        }

    def supports(self, problem: PDEProblem) -> bool:
        """Incompressible Navier-Stokes with constant density and viscosity in two dimensions."""
        if problem.dimensions != 2 or problem.steady or {f.name for f in problem.fields} != {"u", "v", "p"}:
            return False
        return _flow_setup.equations_fit(problem)

    def arrays(self, case: Case, times: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
        """The `parameters` and `inputs` of `simulate` for a case, in float64.

        Args:
            times: the times that will be asked for; only needed where wall values are given as functions of time.
        """
        self.require(case)
        return _flow_setup.arrays(case, self.resolution, times)

    def simulate(
        self,
        parameters: Mapping[str, Any],
        inputs: Mapping[str, Any],
        times: Any,
        periodic: tuple[bool, bool] = (False, False),
    ) -> dict[str, jax.Array]:
        """The solution as a pure function of arrays: under `jax.jit`, `jax.vmap` and `jax.grad`.

        Computes in the type that JAX is set to: call it within `jax.enable_x64(True)` for float64.

        Args:
            parameters: "density", "viscosity" (dynamic), "width", "height" in SI units.
            inputs: how the flow starts, "u_face" (ny, nx + 1) and "v_face" (ny + 1, nx), or "streamfunction"
                (ny + 1, nx + 1) on cell corners, or nothing for fluid at rest; how walls slide, "y_min_u", "y_max_u",
                "x_min_v", "x_max_v", each (times (K,), values (K,) or (K, n)) linear in between, n = nx + 1 or ny + 1
                faces along the wall, or absent for a wall at rest; and accelerations in N/kg, "force": (times (K,),
                (K, ny, nx + 1), (K, ny + 1, nx)). What is not divergence-free or crosses a wall is projected away.
            times: (T,) increasing times from 0 on.
            periodic: axes (x, y) that are periodic; static.

        Returns:
            "u", "v", "p" (T, ny, nx) at cell centres, "u_face" (T, ny, nx + 1), "v_face" (T, ny + 1, nx), "u_tendency"
            and "v_tendency" at cell centres, "substeps" (T,) since the last time, and the time "reached" (T,). Where
            the march stopped, the remaining values are NaN.
        """
        return self._simulate(parameters, inputs, times, periodic, self.derivative)

    @standard
    def _simulate(self, parameters: Any, inputs: Any, times: Any, periodic: Any, derivative: str) -> dict[str, Any]:
        real = jnp.zeros(()).dtype
        parameters = {k: jnp.asarray(v, real) for k, v in parameters.items()}
        inputs = jax.tree.map(lambda a: jnp.asarray(a, real), dict(inputs))
        ny, nx = self.resolution
        layout = _staggered.Layout(nx, ny, (bool(periodic[0]), bool(periodic[1])))
        flow = _flow_setup.flow(layout, parameters, inputs, self.pressure_solver)
        controls = _march.Controls(self.cfl, self.max_substeps, 64, derivative)
        u, v = _flow_setup.start(layout, inputs, flow.spacing)
        frames = _march.march(flow, controls, u, v, jnp.asarray(times, real))

        faces = jax.vmap(partial(_staggered.faces, layout))
        u_face, v_face = faces(frames.u, frames.v)
        du, dv = faces(frames.u_tendency, frames.v_tendency)
        return {
            "u": (u_face[:, :, 1:] + u_face[:, :, :-1]) / 2,
            "v": (v_face[:, 1:] + v_face[:, :-1]) / 2,
            "p": parameters["density"] * (frames.p - jnp.mean(frames.p, axis=(1, 2), keepdims=True)),
            "u_face": u_face,
            "v_face": v_face,
            "u_tendency": (du[:, :, 1:] + du[:, :, :-1]) / 2,
            "v_tendency": (dv[:, 1:] + dv[:, :-1]) / 2,
            "substeps": frames.substeps,
            "reached": frames.reached,
        }

    def _solve(self, case: Case, times: np.ndarray | None, points: np.ndarray | None) -> xarray.Dataset:
        if points is not None:
            raise InputError(f"{self.name}: points are not available, expected None; the answer is on cell centres")
        assert times is not None
        parameters, inputs = self.arrays(case, times)
        with jax.enable_x64(self.dtype == "float64"):
            found = _compiled(self, parameters, inputs, times, case.geometry.periodic)  # type: ignore[attr-defined]
            found = {k: np.asarray(v) for k, v in found.items()}
        return _many.checked(self._label(case, times, found))

    def solve_many(self, cases: Iterable[Case], times: Any = None, progress: bool = True) -> xarray.Dataset:
        """Solve many cases, alike ones together (see `Solver.solve_many`)."""
        from sciml.data import pack

        found = dict(_flow_batches.solve(self, as_cases(cases), times, progress))
        return pack([found[i] for i in range(len(found))], dtype=None)

    def compute(self, cases: Iterable[Case], times: Any) -> list[dict[str, np.ndarray]]:
        """The bare arrays of many cases, as `simulate` names them, without labels and checks of the outcome.

        Args:
            times: one sequence for all cases, or one for each.
        """
        cases = as_cases(cases)
        for case in cases:
            self.require(case)
        return _flow_batches.compute(self, cases, times)

    def _label(self, case: Case, times: np.ndarray, found: Mapping[str, np.ndarray]) -> xarray.Dataset:
        """The arrays of one case as a solution with its status."""
        from sciml.data import solution

        count, status = self._outcome(case, times, found)
        centre, u_face, v_face = ("time", "y", "x"), ("time", "y", "x_face"), ("time", "y_face", "x")
        dims = {"u": centre, "v": centre, "p": centre, "u_face": u_face, "v_face": v_face}
        if self.tendencies:
            dims |= {"u_tendency": centre, "v_tendency": centre}
        grid = Grid.uniform(case.geometry, self.resolution)
        coords = {"x": grid.centres[0], "y": grid.centres[1], "x_face": grid.faces[0], "y_face": grid.faces[1]}
        fields = {name: (axes, found[name][:count]) for name, axes in dims.items()}
        steps = {"substeps": int(found["substeps"].sum())}
        return solution(
            case, times[:count], fields, coords, solver=self.name, settings=self.settings, status=status, attrs=steps
        )

    def _outcome(self, case: Case, times: np.ndarray, found: Mapping[str, np.ndarray]) -> tuple[int, str]:
        """How many frames are whole, and the status."""
        whole = np.isfinite(found["u"]).all(axis=(1, 2)) & np.isfinite(found["p"]).all(axis=(1, 2))
        if whole.all():
            return len(times), "ok"
        count = int(np.argmin(whole))
        if found["substeps"][count] >= self.max_substeps:
            what, hint = f"reached max_substeps = {self.max_substeps}", "allow more, or ask for more times"
        else:
            what, hint = "values are not finite", f"a cfl below {self.cfl:g} or a finer resolution may help"
        return count, f"{self.name}: {_many.title(case)}: {what} at t = {float(found['reached'][count]):.6g}; {hint}"

    def _key(self) -> tuple[Any, ...]:
        return self.resolution, self.cfl, self.dtype, self.pressure_solver, self.max_substeps

    def __hash__(self) -> int:  # equal settings share one compiled function
        return hash(self._key())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, IncompressibleFlow) and self._key() == other._key()


@partial(jax.jit, static_argnames=("solver", "periodic"))
def _compiled(solver: IncompressibleFlow, parameters: Any, inputs: Any, times: Any, periodic: Any) -> Any:
    return solver._simulate(parameters, inputs, times, periodic, "forward")


@partial(jax.jit, static_argnames=("solver", "periodic"))
def _compiled_batch(solver: IncompressibleFlow, parameters: Any, inputs: Any, times: Any, periodic: Any) -> Any:
    def one(parameters, inputs, times):
        return solver._simulate(parameters, inputs, times, periodic, "forward")

    return jax.vmap(one)(parameters, inputs, times)
