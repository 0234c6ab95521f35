"""The finite-element solver for balances of any number of fields."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from jaxtyping import Float

from sciml.errors import InputError, SolverError, is_number, is_whole
from sciml.problem import Case, Problem, beginning
from sciml.registry import solvers
from sciml.solver import Start
from sciml.solvers._fe_linear import linear_system
from sciml.solvers._fe_space import BESIDE, Space, made_mesh
from sciml.solvers._fe_stepper import METHODS, Past, Steps, Theta
from sciml.solvers._newton import Newton, check_factor
from sciml.solvers._numerical import Begin, NumericalSolver
from sciml.solvers._time import Controls, march
from sciml.solvers._titles import title
from sciml.solvers._weak_form import System, rows_of
from sciml.support import Mesh, Points

if TYPE_CHECKING:
    import xarray

    from sciml.solvers.linear.discretisation import Discretisation

KEPT = 8  # spaces, of the last cases


@solvers.register("finite_elements")
class FiniteElements(NumericalSolver):
    """Continuous linear or quadratic elements on lines, triangles or tetrahedra, straight from the problem's equations.

    For every test function v, ∫ v ∂t storage − ∫ ∇v·flux + ∮ v (flux·n) = ∫ v source. Steady problems are solved by
    Newton's method with its exact tangent (linear ones in one step), transient ones by an implicit scheme whose factors
    are kept where the matrix stays. Any number of coupled fields, on domains of any shape; `Dirichlet`, `Neumann`,
    `Robin`, `Outflow` and `Flux` on named boundaries.

    Answers are at the nodes of the mesh, with its cells; those of quadratic elements at its vertices too. At other
    `points` the piecewise polynomial itself is evaluated. A case that carries a `Mesh` (`case.on(mesh)`) is solved on
    that one. Fluxes through a `Flux` boundary of a curved domain are those through the sides of the mesh.

    Args:
        resolution: sides of cells along the longest extent of the domain.
        order: 1 or 2, the degree of the polynomials: errors in L² fall with its power plus one.
        factor: "lu" (SuperLU), or "cholesky" (CHOLMOD through cholespy) for symmetric positive matrices.
        method: in time, "sdirk2" (second order, L-stable: boundary data may jump), "bdf2" (second order) or "theta".
        theta: of method "theta": ½ (second order) to 1 (first order, L-stable).
        courant: sub-steps are at most courant · (side of a cell / L) · T, L and T being the problem's scales.
        time_step: the largest sub-step, in the problem's time unit, instead of the one from `courant`.
        max_substeps: between two requested times.

    Source: A. Ern, J.-L. Guermond, Theory and Practice of Finite Elements (2004).
    """

    name = "finite_elements"

    def __init__(
        self,
        resolution: int = 32,
        order: int = 1,
        factor: str = "lu",
        method: str = "sdirk2",
        theta: float = 0.5,
        courant: float = 0.5,
        time_step: float | None = None,
        max_substeps: int = 1_000_000,
    ):
        for what, value, known in (("order", order, (1, 2)), ("method", method, tuple(METHODS))):
            if isinstance(value, bool) or value not in known:
                expected = ", ".join(map(repr, known))
                raise InputError(f"{self.name}: {what} is {value!r}, expected one of {expected}")
        for what, value in (("resolution", resolution), ("max_substeps", max_substeps)):
            if not is_whole(value) or value < 1:
                raise InputError(f"{self.name}: {what} is {value!r}, expected an integer from 1 on")
        for what, value in (("courant", courant), ("time_step", 1.0 if time_step is None else time_step)):
            if not is_number(value) or value <= 0:
                raise InputError(f"{self.name}: {what} is {value!r}, expected a number > 0")
        if not is_number(theta) or not 0.5 <= theta <= 1:
            raise InputError(f"{self.name}: theta is {theta!r}, expected a number in [0.5, 1]")
        check_factor(self.name, factor)
        self.resolution, self.order, self.factor = int(resolution), int(order), factor
        self.method, self.theta, self.courant = method, float(theta), float(courant)
        self.time_step = None if time_step is None else float(time_step)
        self.max_substeps = int(max_substeps)
        self._spaces: OrderedDict[int, tuple[Case, Space]] = OrderedDict()

    @classmethod
    def on(cls, counts: tuple[int, ...], dtype: str = "float32", tendencies: bool = False, **options: Any) -> Self:
        if tendencies:
            raise InputError(f"{cls.name}: gives no rates of change")
        return cls(max(counts), **options)

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "resolution": self.resolution, "order": self.order, "factor": self.factor, "method": self.method,
            "theta": self.theta, "courant": self.courant, "time_step": self.time_step,
        }  # fmt: skip

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_spaces": OrderedDict()}

    def answers(self, problem: Problem) -> tuple[str, ...]:
        return tuple(f.name for f in problem.fields)

    def supports(self, problem: Problem) -> bool:
        # velocities under a constraint need elements of other kinds, and moving interfaces other methods
        if not problem.balances() or problem.velocity or problem.phase or problem.dimensions not in (1, 2, 3):
            return False
        try:
            rows = rows_of(problem)
        except InputError:
            return False
        return problem.steady or any(row.storage is not None for row in rows)

    # -- spaces -------------------------------------------------------------------------------------------------

    def grid(self, case: Case) -> Mesh:
        """The mesh on whose nodes a case is answered."""
        return self.space(case).support

    def space(self, case: Case) -> Space:
        """The functions in which a case is solved; those of the last cases are kept.

        Raises:
            InputError: a mesh that is none of the domain.
        """
        kept = self._spaces.get(id(case))
        if kept is not None and kept[0] is case:
            return kept[1]
        if any(case.geometry.periodic):
            raise InputError(f"{self.name}: {title(case)}: its domain is periodic, which these elements do not take")
        try:
            mesh = case.support if isinstance(case.support, Mesh) else made_mesh(case.geometry, self.resolution)
            found = Space(mesh, case.geometry, self.order)
        except InputError as error:
            raise InputError(f"{self.name}: {title(case)}: {error}") from None
        self._spaces[id(case)] = case, found
        while len(self._spaces) > KEPT:
            self._spaces.popitem(last=False)
        return found

    def system(self, case: Case) -> System:
        """The weak form of a case."""
        return System(case, self.space(case))

    def portions(self, cases: Sequence[Case], times: Sequence[np.ndarray | None]) -> list[tuple[int, ...]]:
        for case in cases:
            if any(case.geometry.periodic):
                raise InputError(f"{self.name}: {title(case)}: its domain is periodic, expected one that is not")
        return super().portions(cases, times)

    # -- solving ------------------------------------------------------------------------------------------------

    def run(
        self, cases: Sequence[Case], times: Sequence[np.ndarray], begins: Sequence[Begin] | None = None
    ) -> list[dict[str, Any]]:
        """Fields at the nodes of the mesh, and "<field>_dofs": all coefficients; see `NumericalSolver.run`."""
        starts = [None] * len(cases) if begins is None else begins
        return [self._run(c, t, b) for c, t, b in zip(cases, times, starts, strict=True)]

    def _run(self, case: Case, times: np.ndarray, begin: Begin | None) -> dict[str, Any]:
        system = self.system(case)
        scales = case.scales.fields
        newton = Newton(system, self.factor, np.array([scales.get(n, 1.0) for n in system.fields]))
        failure, counts, time = "", np.zeros(len(times), int), 0.0
        if case.problem.steady:
            try:
                values = self._steady(system, newton)[None]
            except SolverError as error:
                values, failure = np.full((1, len(system.fields), system.space.size), np.nan), str(error)
        else:
            begun = begin or self._beginning(case, system)
            time = begun.time
            values, failure, counts = self._march(case, system, newton, begun, times)
        whole = np.isfinite(values).all(axis=(1, 2))
        status = "ok" if whole.all() else f"{self.name}: {title(case)}: {failure}"
        found: dict[str, Any] = {f"{n}_dofs": values[:, i] for i, n in enumerate(system.fields)}
        found |= {n: values[:, i][:, system.space.vertices] for i, n in enumerate(system.fields)}
        reached = np.maximum.accumulate(np.where(whole, times, time))
        return found | {"substeps": counts, "reached": reached, "status": status}

    def _steady(self, system: System, newton: Newton) -> np.ndarray:
        empty = np.zeros((len(system.fields), system.space.size))
        state = system.impose(empty, 0.0)
        # nonlinear laws may not hold far from the given values: begin from their mean
        level = [s[f].mean() if f.any() else 0.0 for s, f in zip(state, system.fixed, strict=True)]
        state = np.where(system.fixed, state, np.array(level)[:, None])
        return newton(state, 0.0, 0.0, 1.0, empty)

    def _beginning(self, case: Case, system: System) -> Begin:
        space = system.space
        at = space.support if self.order == 1 else Points(space.nodes)
        state = beginning(case, at, system.fields)
        if self.order == 1:
            ordered = {n: np.empty(space.size) for n in state}
            for n, values in state.items():
                ordered[n][space.vertices] = values
            state = ordered
        return Begin({f"{n}_dofs": v for n, v in state.items()}, 0.0)

    def _march(
        self, case: Case, system: System, newton: Newton, begun: Begin, times: np.ndarray
    ) -> tuple[np.ndarray, str, np.ndarray]:
        counts = np.array(self.substeps(case, times, begun.time))
        steps = Steps.of(begun.time, times, counts)
        stepper = METHODS[self.method](newton, steps)
        if isinstance(stepper, Theta):
            stepper.theta = self.theta
        state = np.stack([np.asarray(begun.state[f"{n}_dofs"], np.float64) for n in system.fields])
        past = Past(state, np.zeros_like(state), np.zeros(()))
        controls = Controls(max(int(counts.max()), 1), 1, "none")
        ends: Any = np.cumsum(counts).astype(float)
        frames: Any = march(stepper, controls, past, ends)
        return np.array(frames.values["state"]), stepper.failure, np.asarray(frames.substeps)

    def step_size(self, case: Case) -> float:
        """The largest sub-step."""
        if self.time_step is not None:
            return self.time_step
        size = max(high - low for low, high in case.geometry.extents) / self.resolution
        return self.courant * size / case.scales.length * case.scales.time

    def substeps(self, case: Case, times: np.ndarray, start: float = 0.0) -> list[int]:
        """Equal sub-steps from each requested time (at first: from the start) to the next.

        Raises:
            InputError: more than `max_substeps`.
        """
        step = self.step_size(case)
        gaps = np.diff(times, prepend=start)
        if gaps.max() > self.max_substeps * step:
            k = int(gaps.argmax())
            raise InputError(
                f"{self.name}: {title(case)}: from t = {times[k] - gaps[k]:g} to {times[k]:g} are {gaps[k] / step:.3g} "
                f"sub-steps, more than max_substeps = {self.max_substeps}; ask for more times, or allow more"
            )
        return [int(np.ceil(g / step * (1 - 1e-9))) for g in gaps]

    def _linear(self, case: Case, begin: Begin | None) -> Discretisation:
        return linear_system(self, case, begin)

    # -- answers ------------------------------------------------------------------------------------------------

    def carried(self, case: Case) -> tuple[str, ...]:
        return tuple(f"{n}_dofs" for n in self.names(case))

    def begin(self, start: Start) -> Begin:
        nodes = self.space(start.case).nodes
        given = self.given(start)
        return Begin({f"{n}_dofs": start.support.sample(v, nodes) for n, v in given.items()}, start.time)

    def exactly(self, frame: xarray.Dataset, start: Start) -> Begin | None:
        if self.order != 1 or not self.grid(start.case).same(start.support):
            return None
        found, vertices = {}, self.space(start.case).vertices
        for n in self.needed(start.case):
            values = frame[n].isel(time=-1) if "time" in frame[n].dims else frame[n]
            found[f"{n}_dofs"] = np.empty(len(vertices))
            found[f"{n}_dofs"][vertices] = values.values
        return Begin(found, start.time)

    def label(self, case: Case, times: np.ndarray | None, found: Mapping[str, Any]) -> xarray.Dataset:
        return self._labelled(case, times, found, {n: found[n] for n in self.names(case)}, self.grid(case))

    def _labelled(self, case: Case, times: Any, found: Mapping[str, Any], fields: Any, support: Any) -> xarray.Dataset:
        from sciml.data import solution

        if times is None:
            fields = {n: (("node",), v[0]) for n, v in fields.items()}
        else:
            whole = [np.isfinite(v).all(axis=1) for v in fields.values()]
            count = int(np.all(whole, axis=0).sum())
            times, fields = times[:count], {n: (("time", "node"), v[:count]) for n, v in fields.items()}
        settings = {"solver": self.name, "settings": self.settings, "status": found["status"]}
        return solution(case, times, fields, support, **settings)

    def _outside(self, case: Case, points: np.ndarray) -> np.ndarray:
        """Which of the points lie neither in the domain nor within a tenth of a cell's side of it."""
        mesh = self.space(case).mesh
        side = np.linalg.norm(mesh.p[:, mesh.t[1]] - mesh.p[:, mesh.t[0]], axis=0).max()
        return np.asarray(case.geometry.signed_distance(points)) < -BESIDE * side

    def _at(self, case: Case, times: np.ndarray | None, points: np.ndarray) -> xarray.Dataset:
        (found,) = self.run([case], [np.zeros(1) if times is None else times])
        space = self.space(case)
        fields = {n: space.at(found[f"{n}_dofs"], points)[:, 0] for n in self.names(case)}
        return self._labelled(case, times, found, fields, Points(points))

    def gradients(
        self, case: Case, points: Float[np.ndarray, "point dimension"], times: Any = None
    ) -> dict[str, Float[np.ndarray, "*time dimension point"]]:
        """The gradients of the fields of a solution at points: of each field ([T,] D, M).

        Raises:
            SolverError: the computation failed.
        """
        from sciml.solver import check_points, check_times, check_within

        self.require(case)
        asked, places = check_times(case.problem, times), np.asarray(check_points(case, points))
        check_within(places, self._outside(case, places))
        (found,) = self.run([case], [np.zeros(1) if asked is None else asked])
        if found["status"] != "ok":
            raise SolverError(found["status"])
        slopes = {n: self.space(case).at(found[f"{n}_dofs"], places)[:, 1:] for n in self.names(case)}
        return {n: s[0] for n, s in slopes.items()} if asked is None else slopes
