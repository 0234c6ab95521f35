"""The finite-volume solver for scalar balances."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import jax
import jax.numpy as jnp
import lineax
import numpy as np
import optimistix
from scipy.sparse.linalg import splu

from sciml.errors import InputError, SolverError, is_number, is_whole
from sciml.geometry import AXES, Box
from sciml.problem import Case, PDEProblem, beginning
from sciml.registry import solvers
from sciml.solver import Start, check_times
from sciml.solvers._asked import Listener, first_request
from sciml.solvers._control_volumes import ControlVolumes, assemble, cell_inputs
from sciml.solvers._dirk_stepper import DirkStepper, conditions, steps
from sciml.solvers._fv_linear import linear_system
from sciml.solvers._numerical import Begin, GridSolver, cell_counts, known_names
from sciml.solvers._promotion import standard
from sciml.solvers._sparse_jacobian import Pattern
from sciml.solvers._time import Controls, Frames, march
from sciml.solvers._titles import title
from sciml.support import Grid

if TYPE_CHECKING:
    import xarray

    from sciml.solvers.linear.discretisation import Discretisation

_SUBSTEPS = [1, 2, 3] + [m * 2**k for k in range(1, 60) for m in (2, 3)]


@solvers.register("finite_volume")
class FiniteVolume(GridSolver):
    """Cells that balance exactly, straight from the problem's equation: any scalar balance on a box in 1-D, 2-D, 3-D,
    or on any domain in a plane.

    ∂t storage + ∇·flux = source is integrated over every cell with the second-order face fluxes of
    `sciml.derivatives`, so that what leaves one cell enters the next to rounding, whatever the coefficients. Steady
    problems are solved by Newton's method with a sparse direct solver, transient ones by the two-stage, second-order
    singly diagonally implicit Runge-Kutta scheme, which is L-stable: boundary data may jump.

    Advective fluxes are central, without added diffusion: fronts need a few cells across them.

    Args:
        resolution: cells along each axis, or counts in array order (z, y, x).
        stretching: b > 0 draws cells to the ends of axes that are not periodic, x ~ tanh(b(2ξ − 1)); 0: equal cells.
        courant: sub-steps are at most courant · (cell size / L) · T, L and T being the problem's scales, so that time
            and space are refined together.
        time_step: the largest sub-step, in the problem's time unit, instead of the one from `courant`.
        derivative: "reverse" (jax.grad, jax.vjp) or "forward" (jax.jvp): which `simulate` has in time; it changes no
            result.
        max_substeps: between two requested times.

    Source: R. Alexander, SIAM J. Numer. Anal. 14, 1006 (1977), for the scheme in time.
    """

    name = "finite_volume"

    def __init__(
        self,
        resolution: int | tuple[int, ...] = 64,
        stretching: float = 0.0,
        courant: float = 0.5,
        time_step: float | None = None,
        derivative: str = "reverse",
        max_substeps: int = 1_000_000,
    ):
        self.resolution = cell_counts(self.name, resolution, 3)
        numbers = (stretching, courant, 1.0 if time_step is None else time_step)
        for what, value in zip(("stretching", "courant", "time_step"), numbers, strict=True):
            if not is_number(value):
                raise InputError(f"{self.name}: {what} is {value!r}, expected a finite number")
        if not 0 <= stretching <= 5:
            raise InputError(f"{self.name}: stretching is {stretching!r}, expected a number in [0, 5]")
        for what, value in (("courant", courant), ("time_step", 1.0 if time_step is None else time_step)):
            if value <= 0:
                raise InputError(f"{self.name}: {what} is {value!r}, expected a number > 0")
        if derivative not in ("reverse", "forward"):
            raise InputError(f"{self.name}: derivative is {derivative!r}, expected 'reverse' or 'forward'")
        if not is_whole(max_substeps) or max_substeps < 1:
            raise InputError(f"{self.name}: max_substeps is {max_substeps!r}, expected an integer from 1 on")
        self.max_substeps = int(max_substeps)
        self.stretching, self.courant, self.derivative = float(stretching), float(courant), derivative
        self.time_step = None if time_step is None else float(time_step)

    @classmethod
    def on(cls, counts: tuple[int, ...], dtype: str = "float32", tendencies: bool = False, **options: Any) -> Self:
        return cls(counts, **options)

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "resolution": self.resolution, "stretching": self.stretching, "courant": self.courant,
            "time_step": self.time_step,
        }  # fmt: skip

    def supports(self, problem: PDEProblem) -> bool:
        if len(problem.fields) != 1 or any(s.at for s in problem.inputs if s.kind in ("coefficient", "source")):
            return False  # of inputs of the equation those of cells are taken, not functions at points of their own
        balances = list(problem.balances().values())
        if len(balances) != 1 or len(balances[0].components()) != 1:
            return False
        return problem.steady or balances[0].storage is not None

    def grid(self, case: Case) -> Grid:
        """The cells on which `case` is solved."""
        box = case.geometry
        if not isinstance(box, Box) and box.dimensions != 2:
            kind = f"{type(box).__name__} in {box.dimensions}-D"
            raise InputError(f"{self.name}: the geometry is a {kind}, expected a Box or a plane domain")
        if not isinstance(self.resolution, int) and len(self.resolution) != box.dimensions:
            raise InputError(f"{self.name}: resolution is {self.resolution}, expected {box.dimensions} counts")
        grid = Grid.uniform(box, self.resolution, masked=True)
        if self.stretching == 0:
            return grid
        faces = []
        for f, p in zip(grid.faces, grid.periodic, strict=True):
            s = np.tanh(self.stretching * np.linspace(-1, 1, len(f))) / math.tanh(self.stretching)
            inner = f[0] + (f[-1] - f[0]) * (1 + s) / 2
            faces.append(f if p else np.concatenate([f[:1], inner[1:-1], f[-1:]]))
        return Grid.of(box, tuple(faces), masked=True)

    def fit(self, case: Case) -> None:
        assemble(case, self.grid(case))

    def step_size(self, case: Case) -> float:
        """The largest sub-step."""
        if self.time_step is not None:
            return self.time_step
        sizes = [float(np.mean(w)) for w in self.grid(case).widths]
        return self.courant * min(sizes) / case.scales.length * case.scales.time

    @standard
    def substeps(self, case: Case, times: np.ndarray, start: float = 0.0) -> list[int]:
        """Equal sub-steps from each requested time (at first: from the start) to the next."""
        step = self.step_size(case)
        gaps = np.diff(times, prepend=start)
        if gaps.max() > self.max_substeps * step:
            k = int(gaps.argmax())
            raise InputError(
                f"{self.name}: {title(case)}: from t = {times[k] - gaps[k]:g} to {times[k]:g} are {gaps[k] / step:.3g} "
                f"sub-steps, more than max_substeps = {self.max_substeps}; ask for more times, or allow more"
            )
        # from a sparse list of counts, so that few different loops are compiled
        return [0 if g == 0 else next(n for n in _SUBSTEPS if n >= g / step * (1 - 1e-9)) for g in gaps]

    @standard
    def simulate(self, parameters: Mapping[str, Any], inputs: Mapping[str, Any], times: Any, case: Case) -> dict:
        """The same discrete solution in JAX alone: pure, and differentiable in parameters and cell inputs.

        Stages are solved by Newton's method with stabilised bi-conjugate gradients and differentiated implicitly; the
        direct solver of `solve` is faster and is not differentiable. Call it within `jax.enable_x64(True)`.

        Args:
            parameters: parameters of the equation, by name; the case's where left out. Those that act through
                boundary values alone are taken from the case.
            inputs: coefficients, sources (on cells) and "initial" (the field on cells at the start); the case's where
                left out; and "start", the concrete time at which it starts, 0 by default.
            times: (T,) concrete times, or None for a steady problem.
            case: gives geometry and boundary values, which are not differentiated.

        Returns:
            the field over (T, z, y, x), or (z, y, x) where steady.
        """
        self.require(case)
        given = check_times(case.problem, times)
        known_names("parameters", parameters, [p.name for p in case.problem.parameters])
        known_names("inputs", inputs, [*(i.name for i in case.problem.inputs), "initial", "start"])
        volumes, fixed = self._parts(case, parameters, inputs)
        implicit = _Implicit(volumes, case.scales.fields.get(volumes.field, 1.0))
        if given is None:
            return {volumes.field: _steady(case, volumes, implicit, fixed)}
        q = inputs["initial"] if "initial" in inputs else beginning(case, volumes.grid, (volumes.field,))[volumes.field]
        start = float(inputs.get("start", 0.0))
        return self._march(case, volumes, implicit, fixed, q, start, given, self.derivative)[0].values

    def _parts(self, case: Case, parameters: Mapping[str, Any], inputs: Mapping[str, Any]) -> Any:
        """The control volumes of a case, and what of their data does not change in time."""
        volumes = assemble(case, self.grid(case))
        theta = {k: jnp.asarray(v, float) for k, v in {**case.parameters, **parameters}.items()}
        cells = {k: jnp.asarray(inputs.get(k, v), float) for k, v in cell_inputs(case, volumes.grid).items()}
        return volumes, {"parameters": theta, "inputs": cells}

    def _march(
        self, case: Case, volumes: Any, solve: Any, fixed: Any, q: Any, start: float, times: np.ndarray, derivative: str
    ) -> tuple[Frames, DirkStepper]:
        """The march from q at `start` on; `derivative` is that of `Controls`."""
        counts = np.array(self.substeps(case, times, start))
        table = steps(case, volumes, start, times, counts)
        if derivative != "none":
            table = jax.tree.map(lambda a: jnp.asarray(a, float), table)
        stepper = DirkStepper(volumes, solve, fixed, table)
        controls = Controls(max(int(counts.max()), 1), 64, derivative)
        return march(stepper, controls, jnp.asarray(q, float), jnp.asarray(np.cumsum(counts), float)), stepper

    @standard
    def run(
        self, cases: Sequence[Case], times: Sequence[np.ndarray], begins: Sequence[Begin] | None = None
    ) -> list[dict[str, Any]]:
        """Fields and their rates of change up to the end or to a failure, and the "status"; see `GridSolver.run`."""
        with jax.enable_x64(True):
            starts = [None] * len(cases) if begins is None else begins
            return [self._run(case, t, b) for case, t, b in zip(cases, times, starts, strict=True)]

    def _run(self, case: Case, times: np.ndarray, begin: Begin | None) -> dict[str, Any]:
        volumes, fixed = self._parts(case, {}, {})
        name, failure, rates = volumes.field, "", {}
        newton = _Newton(volumes, case.scales.fields.get(name, 1.0))
        if case.problem.steady:
            time, counts = 0.0, np.zeros(1, int)
            try:
                values = np.array(_steady(case, volumes, newton, fixed))[None]
            except SolverError as error:
                values, failure = np.full((1, *volumes.grid.shape), np.nan), str(error)
        else:
            begun = begin or Begin(beginning(case, volumes.grid, (volumes.field,)), 0.0)
            start, time = begun.state, begun.time
            frames, stepper = self._march(case, volumes, newton, fixed, start[name], time, times, "none")
            values, failure = np.array(frames.values[name]), stepper.failure  # that can be written to
            counts = np.asarray(frames.substeps)
            here = conditions(case, volumes, times)
            rates = {
                f"{name}_tendency": np.stack([volumes.rate(q, fixed | _at(here, i)) for i, q in enumerate(values)])
            }
        whole = np.isfinite(values.reshape(len(values), -1)).all(axis=1)
        status = "ok" if whole.all() else f"{self.name}: {title(case)}: {failure}"
        known = np.maximum.accumulate(np.where(whole, times, time))
        return {name: values, **rates, "substeps": counts, "reached": known, "status": status}

    @standard
    def _linear(self, case: Case, begin: Begin | None) -> Discretisation:
        with jax.enable_x64(True):
            volumes, fixed = self._parts(case, {}, {})
            name, listener = volumes.field, Listener()

            def ask() -> None:
                if case.problem.steady:
                    _steady(case, volumes, listener, fixed)
                    return
                begun = begin or Begin(beginning(case, volumes.grid, (name,)), 0.0)
                end = np.array([begun.time + self.step_size(case)])
                table = steps(case, volumes, begun.time, end, np.ones(1, int))
                DirkStepper(volumes, listener, fixed, table).step(jnp.asarray(begun.state[name], float), 0.0, 1.0)

            _, *given = first_request(ask)
            data = given[0]

            def answer(q: np.ndarray, status: str) -> xarray.Dataset:
                if case.problem.steady:
                    return self.label(case, None, {name: q[None], "status": status})
                with jax.enable_x64(True):
                    rate = np.asarray(volumes.rate(q, data))
                found = {name: q[None], f"{name}_tendency": rate[None], "status": status}
                return self.label(case, np.array([float(data["time"])]), found)

            return linear_system(self.name, case, volumes, tuple(given), answer)

    def begin(self, start: Start) -> Begin:
        name = start.case.problem.fields[0].name
        return Begin({name: start.support.onto(self.given(start)[name], self.grid(start.case))}, start.time)

    def exactly(self, frame: xarray.Dataset, start: Start) -> Begin | None:
        # around a body cells behind the wall are unknowns as well, which are not among those of the domain
        if isinstance(start.case.geometry, Box) or not self.grid(start.case).same(start.support):
            return None
        name = start.case.problem.fields[0].name
        values = frame[name].isel(time=-1) if "time" in frame[name].dims else frame[name]
        return Begin({name: np.where(np.isfinite(values.values), values.values, 0.0)}, start.time)

    def label(self, case: Case, times: np.ndarray | None, found: Mapping[str, Any]) -> xarray.Dataset:
        from sciml.data import solution

        grid, name = self.grid(case), case.problem.fields[0].name
        dims = AXES[: grid.dimensions][::-1]
        coords = dict(zip(AXES, grid.centres, strict=False))
        if self.stretching:
            coords |= {f"{a}_face": f for a, f in zip(AXES, grid.faces, strict=False)}
        if times is None:
            fields: dict[str, Any] = {name: (dims, found[name][0])}
        else:
            count = int(np.isfinite(found[name].reshape(len(times), -1)).all(axis=1).sum())
            times = times[:count]
            fields = {n: (("time", *dims), found[n][:count]) for n in (name, f"{name}_tendency")}
        return solution(
            case,
            times,
            fields,
            coords,
            solver=self.name,
            settings=self.settings,
            status=found["status"],
            mask=grid.mask,
        )


def _at(data: Any, i: int) -> Any:
    return jax.tree.map(lambda a: jnp.asarray(a[i], float), data)


def _steady(case: Case, volumes: ControlVolumes, solve: Any, fixed: Any) -> Any:
    zero = jnp.zeros(volumes.grid.shape)
    return solve(zero, fixed | _at(conditions(case, volumes, np.zeros(1)), 0), 0.0, 1.0, zero)


class _Newton:
    """Newton's method with a sparse direct solver; a factorisation is kept for as long as it contracts well."""

    def __init__(self, volumes: ControlVolumes, scale: float):
        self.volumes, self.scale = volumes, scale
        self.pattern: Pattern | None = None
        self.factors: Any = None
        self.key: Any = None

    def __call__(self, q: Any, data: Any, mass: float, factor: float, known: Any) -> Any:
        q, last, fresh, stale = np.array(q), math.inf, False, 0
        for _ in range(100):
            residual = np.asarray(self.volumes.residual(q, data, mass, factor, known))
            if not np.isfinite(residual).all():
                raise SolverError("values are not finite; a smaller time_step or a finer resolution may help")
            if self.key != (mass, factor):
                self._factorise(q, data, mass, factor, known)
                fresh = True
            change = self.factors.solve(-residual.ravel()).reshape(q.shape)
            q = q + change
            size = float(np.max(np.abs(change))) / max(float(np.max(np.abs(q))), self.scale)
            if size <= 1e-13 or (size <= 1e-9 and size >= 0.2 * last):
                return jnp.asarray(q)
            if size > 0.1 * last and (not fresh or stale > 2):
                # The factorisation is out of date. Where that goes on, the equation has a kink (a front, a change of
                # phase), and Newton's method proper, which follows each change of sides, is what converges.
                self.key, stale = None, stale + 1
            fresh, last = False, size
        raise SolverError(
            f"Newton's iteration did not converge (last relative change {size:.1e}); "
            "a smaller time_step or a finer resolution may help"
        )

    def _factorise(self, q: Any, data: Any, mass: float, factor: float, known: Any) -> None:
        given = (data, mass, factor, known)
        if self.pattern is None:
            self.pattern = self._detect(q, given)
        matrix = self.pattern.matrix(np.asarray(self.volumes.along(q, self.pattern.directions, *given)))
        # Without storage, an operator that sends a constant to zero leaves the level of the solution open.
        body = self.volumes.body
        alive = np.ones(q.size, bool) if body is None else body.alive.ravel()
        if mass == 0 and np.abs(matrix @ alive)[alive].max() <= 1e-11 * abs(matrix).max():
            raise SolverError("the level of the solution is open: no boundary value and no equation fixes it")
        try:
            self.factors = splu(matrix)
        except RuntimeError as error:
            raise SolverError(f"the linear system has no unique solution ({error})") from None
        self.key = (mass, factor)

    def _detect(self, q: Any, given: tuple) -> Pattern:
        """The narrowest stencil whose matrix gives the directional derivative along a random direction."""
        grid = self.volumes.grid
        trial = np.random.default_rng(0).standard_normal(q.shape)
        expected = np.asarray(self.volumes.along(q, trial[None], *given))[0]
        for reach in (1, 2, 3):
            pattern = Pattern(grid.shape, tuple(grid.periodic[::-1]), reach)
            matrix = pattern.matrix(np.asarray(self.volumes.along(q, pattern.directions, *given)))
            found = (matrix @ trial.ravel()).reshape(q.shape)
            if np.abs(found - expected).max() <= 1e-9 * np.abs(expected).max():
                return pattern
        raise SolverError("the equation couples cells more than 3 apart")


class _Implicit:
    """The same stage equations within JAX, differentiated through their solution (implicit function theorem)."""

    def __init__(self, volumes: ControlVolumes, scale: float):
        self.volumes, self.scale = volumes, scale
        grid = volumes.grid
        # The diagonal is told apart from neighbours up to two cells away; walls see as far as three.
        self.directions = Pattern(grid.shape, tuple(grid.periodic[::-1]), 1 if volumes.body is None else 3).directions

    def __call__(self, q: Any, data: Any, mass: float, factor: float, known: Any) -> Any:
        given = (data, mass, factor, known)
        q = jax.lax.stop_gradient(q)
        slopes = self.volumes.along(q, jnp.asarray(self.directions, q.dtype), *jax.lax.stop_gradient(given))
        # dividing by the diagonal changes no root, and is what preconditions the linear systems
        size = jnp.sum(slopes * self.directions, axis=0) * self.scale
        eps = float(jnp.finfo(q.dtype).eps)
        krylov = lineax.BiCGStab(rtol=10 * eps, atol=10 * eps, max_steps=20 * q.size)
        newton = optimistix.Newton(rtol=1e3 * eps, atol=1e3 * eps * self.scale, linear_solver=krylov)
        adjoint = optimistix.ImplicitAdjoint(linear_solver=krylov)

        def residual(q: Any, given: Any) -> Any:
            return self.volumes._residual(q, *given) / size

        found = optimistix.root_find(residual, newton, q, given, max_steps=40, throw=False, adjoint=adjoint)
        return jnp.where(found.result == optimistix.RESULTS.successful, found.value, jnp.nan)
