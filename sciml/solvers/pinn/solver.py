"""Networks that solve one case from its equations."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import jax
import numpy as np

from sciml import registry
from sciml.errors import InputError, positive
from sciml.problem import Case, Problem
from sciml.solver import TrainableSolver, check_times
from sciml.solvers._promotion import standard
from sciml.solvers.pinn import _files
from sciml.solvers.pinn._conditions import Ansatz
from sciml.solvers.pinn._inputs import given_inputs
from sciml.solvers.pinn._observed import observed
from sciml.solvers.pinn._terms import Terms
from sciml.solvers.pinn._training import Handed, Run, evaluated, train
from sciml.solvers.pinn._unknowns import Unknown, check, input_network
from sciml.solvers.pinn._window import Window
from sciml.solvers.pinn.networks import Architecture
from sciml.solvers.pinn.recipe import PINNRecipe
from sciml.support import Grid, Points, Support

if TYPE_CHECKING:
    import xarray


@dataclass(frozen=True, eq=False)
class Solved:
    """What was trained on one window of time.

    Args:
        span: from when to when.
        fields: (x, y, .., t) -> (F,).
        parameters: of the equations, as found.
        inputs: functions of a point.
    """

    span: tuple[float, float]
    fields: Ansatz
    parameters: dict[str, float]
    inputs: dict[str, Any]


@registry.solvers.register("pinn")
class PINN(TrainableSolver):
    """A network q(x, t) whose weights minimise what is left of the equations, conditions and observations of a case.

        Σ_i λ_i ½ mean (r_i / scale_i)²

    over the strong rows r of all balances, with all derivatives out of one pass through the network, and over those
    conditions and beginnings that are not satisfied by construction. It solves any problem that states equations, and
    only the case that it was trained on: nothing in it knows a problem by name. Unknown parameters and inputs are
    found from observations on the way (`found`).

    Args:
        architecture: of the network.
        unknown: parameters, or inputs over space, that are trained too; the case has the first guess.
        exact: whether periodic sides aside, too, conditions are satisfied by construction where that is possible: given
            values on sides of a box, and how fields begin.
        resolution: cells along the longest extent of the domain, of answers on a grid.

    Source: M. Raissi, P. Perdikaris, G. E. Karniadakis, J. Comput. Phys. 378, 686 (2019).
    """

    name = "pinn"
    title = "PINN"

    def __init__(
        self,
        architecture: Architecture | None = None,
        *,
        unknown: Sequence[str] = (),
        exact: bool = True,
        resolution: int = 128,
    ):
        self.architecture = Architecture() if architecture is None else architecture
        if not isinstance(self.architecture, Architecture):
            raise InputError(f"{self.name}: architecture is {architecture!r:.60}, expected an Architecture")
        if isinstance(unknown, str) or not all(isinstance(n, str) for n in unknown):
            raise InputError(
                f"{self.name}: unknown is {unknown!r:.60}, expected names of parameters, as in ('viscosity',)"
            )
        if not isinstance(exact, bool):
            raise InputError(f"{self.name}: exact is {exact!r}, expected True or False")
        self.unknown, self.exact = tuple(unknown), exact
        self.resolution = positive("resolution", resolution, 2)
        self.case: Case | None = None
        self.recipe: PINNRecipe | None = None
        self.windows: list[Solved] = []
        self.record: dict[str, Any] = {}
        #: one record a step: step, phase, window, loss; now and then losses and weights by row, and what was found
        self.history: list[dict[str, Any]] = []

    # -- what it is ---------------------------------------------------------------------------------------------

    @property
    def fitted(self) -> bool:
        return bool(self.windows)

    @property
    def problem(self) -> Problem | None:
        return None if self.case is None else self.case.problem

    @property
    def training(self) -> dict[str, Any]:
        return self.record

    @property
    def metrics(self) -> list[dict[str, Any]]:
        return self.history

    @property
    def weights(self) -> int:
        return sum(int(np.size(leaf)) for w in self.windows for leaf in jax.tree.leaves(w.fields.network))

    @property
    def found(self) -> dict[str, Any]:
        """The unknowns: numbers, and functions of points (N, D)."""
        if not self.windows:
            raise InputError(f"{self.name}: nothing is known yet; call fit first")
        last = self.windows[-1]
        return {
            n: last.parameters[n] if n in last.parameters else self._over_space(last.inputs[n]) for n in self.unknown
        }

    def _over_space(self, function: Any) -> Any:
        def at(points: Any) -> np.ndarray:
            places = np.atleast_2d(np.asarray(points, np.float64))
            with jax.enable_x64(self._double):
                return evaluated(function, np.concatenate([places, np.zeros((len(places), 1))], axis=1))

        return at

    @property
    def settings(self) -> dict[str, Any]:
        found: dict[str, Any] = {
            "architecture": self.architecture.to_json(), "unknown": list(self.unknown), "exact": self.exact,
            "resolution": self.resolution,
        }  # fmt: skip
        return found | ({} if self.recipe is None else {"recipe": self.recipe.to_json()})

    @property
    def _double(self) -> bool:
        return self.recipe is None or self.recipe.precision == "float64"

    def supports(self, problem: Problem) -> bool:
        return bool(problem.balances()) and problem.dimensions in (1, 2, 3)

    # -- training -----------------------------------------------------------------------------------------------

    @standard
    def fit(
        self, data: Any, recipe: PINNRecipe | None = None, *, observations: Any = None, split: str | None = None,
        validation: str | None = None, running: Any = None,
    ) -> Self:  # fmt: skip
        """Solve a case.

        Args:
            data: the case; no data are needed.
            recipe: how; `PINNRecipe(until=...)` for a problem that changes in time.
            observations: measured fields: a solution, or {"points": (N, D + 1), "u": (N,)}; see `observed`.
            split, validation: make no difference here.
            running: `sciml.Running`: callbacks and progress.

        Raises:
            InputError: what cannot be trained: a boundary without a condition, a field that does not know how it
                begins, an unknown that is in no equation.
            TrainingError: a loss that is not finite.
        """
        from sciml.training.recipe import Running

        case = _one(self.name, data)
        self.require(case)
        recipe = _recipe_for(self.name, case, recipe)
        running = Running() if running is None else running
        callbacks = list(running.callbacks)
        if running.progress:
            from sciml.training.progress import ProgressDisplay

            callbacks.append(ProgressDisplay(self.name))
        began = time.perf_counter()
        run = Run(recipe, callbacks)
        with jax.enable_x64(recipe.precision == "float64"):
            parts = self._prepared(case, recipe, observations)
            # what fails on the way leaves the windows that are done
            self.case, self.recipe, self.windows, self.history = case, recipe, [], run.records
            run.tell("on_start")
            try:
                self._train(case, recipe, run, *parts)
            finally:
                run.tell("on_end")
        self.record = {
            "recipe": recipe.to_json(), "seconds": time.perf_counter() - began, "steps": run.step,
            "stopped": run.stopped, "loss": run.records[-1]["loss"] if run.records else float("nan"),
        }  # fmt: skip
        if running.folder is not None:
            self.save(running.folder)
        return self

    def _prepared(self, case: Case, recipe: PINNRecipe, observations: Any) -> tuple[Any, ...]:
        """Terms, unknowns, inputs, which of them are trained, observations."""
        terms = Terms(case)
        parameters, trained = check(self.name, case, terms, self.unknown)
        seen = None if observations is None else observed(case, observations)
        if self.unknown and seen is None:
            raise InputError(f"{self.name}: unknown is {self.unknown}, expected observations to find it from")
        if seen is not None and not case.problem.steady:
            within = seen[0][:, -1] <= recipe.until * (1 + 1e-12)  # type: ignore[operator]
            if not within.any():
                raise InputError(f"observations: all of them are later than until = {recipe.until:g}")
            seen = seen[0][within], {n: v[within] for n, v in seen[1].items()}
        specs = {s.name: s for s in case.problem.parameters}
        unknowns = {n: Unknown.of(self.name, specs[n], case.parameters[n]) for n in parameters}
        needed = {n for term in terms.each() for n in term.inputs}
        inputs = given_inputs(case, needed - set(trained))
        key = jax.random.fold_in(jax.random.key(recipe.seed), 1)
        for k, name in enumerate(trained):
            inputs[name] = input_network(case, name, self.architecture, jax.random.fold_in(key, k))
        return terms, unknowns, inputs, trained, seen

    def _train(
        self, case: Case, recipe: PINNRecipe, run: Run, terms: Terms, unknowns: dict[str, Unknown],
        inputs: dict[str, Any], trained: tuple[str, ...], seen: Any,
    ) -> None:  # fmt: skip
        steady, d = case.problem.steady, case.problem.dimensions
        around = (*case.geometry.periodic, *(() if steady else (False,)))
        key = jax.random.key(recipe.seed)
        random = np.random.default_rng(recipe.seed)
        ends = np.linspace(0.0, 1.0 if recipe.until is None else recipe.until, recipe.windows + 1)
        given: Any = terms.beginning
        start = {} if given is None else dict(given.functions)
        network = self.architecture.build(d + (not steady), len(terms.names), key, periodic=around)
        params: Any = None
        windows: list[Solved] = []
        for k in range(recipe.windows):
            span = (float(ends[k]), float(ends[k + 1]))
            here = _within(seen, span, k == 0 or steady)
            window = Window(
                case, terms, network, recipe, span, start, given, unknowns, inputs, trained, self.exact, here
            )  # fmt: skip
            # what was learned of one window is where the next one begins
            params = train(run, window, k, window.first if params is None else params, random)
            fields, theta, known = window.assembled(params)
            found = {n: float(v) for n, v in theta.items()}
            windows.append(Solved(span, fields, found, {n: known[n] for n in known}))
            self.windows = windows
            if run.stopped:
                break
            if k + 1 < recipe.windows:
                given = Handed(case, terms.names, fields, span[1], terms.rates)
                start = given.functions

    # -- answers ------------------------------------------------------------------------------------------------

    def require(self, case: Case) -> None:
        super().require(case)

    def _known(self, case: Case, times: np.ndarray | None) -> None:
        if not self.windows:
            raise InputError(f"{self.name}: has solved no case yet; call fit first")
        if case != self.case:
            raise InputError(
                f"{self.name}: was trained on {self.case!r} alone, and cannot answer for {case!r}; fit it anew"
            )
        last = self.windows[-1].span[1]
        if times is not None and times[-1] > last * (1 + 1e-9):
            raise InputError(
                f"times: {self.name} was trained until {last:g}, expected no later time, got {times[-1]:g}"
            )

    def grid(self, case: Case) -> Support:
        """Where a case is answered: on the support that it comes with, else on a grid over its domain."""
        if case.support is not None:
            return case.support
        size = np.array([b - a for a, b in case.geometry.extents])
        shape = tuple(max(round(float(n)), 2) for n in (self.resolution * size / size.max())[::-1])
        return Grid.uniform(case.geometry, shape, masked=True)

    def _solve(self, case: Case, times: np.ndarray | None) -> xarray.Dataset:
        return self._answer(case, times, self.grid(case))

    def _at(self, case: Case, times: np.ndarray | None, points: np.ndarray) -> xarray.Dataset:
        return self._answer(case, times, Points(points))

    def portions(self, cases: Sequence[Case], times: Sequence[np.ndarray | None]) -> list[tuple[int, ...]]:
        for case, asked in zip(cases, times, strict=True):
            self._known(case, asked)
        return super().portions(cases, times)

    def _answer(self, case: Case, times: np.ndarray | None, support: Support) -> xarray.Dataset:
        from sciml.data import solution

        self._known(case, times)
        values = self._frames(times, support, lambda w: w.fields)
        names = [f.name for f in case.problem.fields]
        fields = {n: values[..., k] if times is not None else values[0, ..., k] for k, n in enumerate(names)}
        return solution(case, times, fields, support, solver=self.name, settings=self.settings)

    @standard
    def _frames(self, times: np.ndarray | None, support: Support, function: Any) -> np.ndarray:
        """(T, *shape, F) values of functions of a point, by the window that a time belongs to."""
        places = support.points().reshape(-1, support.dimensions)
        asked = np.zeros(1) if times is None else times
        owner = np.searchsorted([w.span[1] * (1 - 1e-12) for w in self.windows[:-1]], asked)
        frames: list[Any] = [None] * len(asked)
        with jax.enable_x64(self._double):
            for k in np.unique(owner):
                here = np.flatnonzero(owner == k)
                f = function(self.windows[int(k)])
                points = np.concatenate([
                    np.tile(places, (len(here), 1)), np.repeat(asked[here], len(places))[:, None]
                ], axis=1)  # fmt: skip
                table = evaluated(f, points)
                for i, frame in zip(here, table.reshape(len(here), *support.shape, -1), strict=True):
                    frames[i] = frame
        return np.stack(frames).astype(np.float64)

    def residual_map(self, times: Any = None) -> xarray.Dataset:
        """What is left of every equation, over the size of its largest term, on the grid of answers.

        Returns:
            A dataset with a variable "residual_<row>" for every row of the balances.
        """
        import jax.numpy as jnp
        import xarray as xr

        if self.case is None:
            raise InputError(f"{self.name}: has solved no case yet; call fit first")
        asked = check_times(self.case.problem, times)
        self._known(self.case, asked)
        interior = Terms(self.case, start=False).interior
        support = self.grid(self.case)

        def of(window: Solved) -> Any:
            return lambda z: jnp.asarray(interior.scaled(window.fields, {"z": z}, window.parameters, window.inputs))

        values = self._frames(asked, support, of)
        dims = support.dims if asked is None else ("time", *support.dims)
        table = values[0] if asked is None else values
        coords: dict[str, Any] = {n: (d, v) for n, (d, v) in support.coordinates().items()}
        if asked is not None:
            coords["time"] = (("time",), asked, {"units": self.case.problem.time_unit})
        found = {
            f"residual_{row}": (dims, table[..., k], {"units": "1", "long_name": f"residual of {row} over its scale"})
            for k, row in enumerate(interior.rows)
        }
        mask = {n: (d, v) for n, (d, v) in support.variables().items()}
        return xr.Dataset({**found, **mask}, coords, {"solver": self.name, **self.case.to_attrs()})

    # -- files --------------------------------------------------------------------------------------------------

    def save(self, directory: str | Path) -> None:
        """Write weights.safetensors, config.json and metrics.jsonl into `directory`, atomically."""
        if self.case is None or self.recipe is None:
            raise InputError(f"{self.name}: nothing to save yet; call fit first")
        _files.save(self, directory)

    @classmethod
    def load(cls, directory: str | Path, device: str = "auto") -> PINN:
        """Read what `save` wrote. Executes no code from the files.

        Raises:
            InputError: no such directory.
            FileFormatError: a file that is missing, broken, or does not belong to the others.
        """
        with _files.reading(directory) as (config, arrays):
            found = cls(
                Architecture.from_json(config["architecture"], "architecture"), unknown=tuple(config["unknown"]),
                exact=config["exact"], resolution=config["resolution"],
            )  # fmt: skip
            found.recipe = PINNRecipe.from_json(config["training"]["recipe"], "recipe")
            found.case = _files.case_of(config, arrays)
            found.record = dict(config["training"])
            with jax.enable_x64(found._double):
                rows = _files.windows_of(config, arrays, found.architecture, found.case)
                found.windows = [Solved(*row) for row in rows]
        found.history = _files.history_of(directory)
        return found


def _one(name: str, data: Any) -> Case:
    """The case of an argument that is one, or a list of one."""
    if isinstance(data, Case):
        return data
    if isinstance(data, list | tuple) and len(data) == 1 and isinstance(data[0], Case):
        return data[0]
    raise InputError(f"{name}: fit solves one case, got {type(data).__name__}; expected one such as Burgers().case()")


def _recipe_for(name: str, case: Case, recipe: PINNRecipe | None) -> PINNRecipe:
    if recipe is None:
        recipe = PINNRecipe()
    if not isinstance(recipe, PINNRecipe):
        raise InputError(f"{name}: recipe is a {type(recipe).__name__}, expected a PINNRecipe")
    if case.problem.steady and recipe.until is not None:
        raise InputError(
            f"{name}: {case.problem.name} is steady, expected a recipe without `until`, got {recipe.until:g}"
        )
    if not case.problem.steady and recipe.until is None:
        raise InputError(f"{name}: {case.problem.name} changes in time, expected PINNRecipe(until=...), the last time")
    return recipe


def _within(seen: Any, span: tuple[float, float], first: bool) -> Any:
    """The observations of a window; those at its start belong to the one before."""
    if seen is None:
        return None
    points, values = seen
    here = points[:, -1] <= span[1] * (1 + 1e-12)
    if not first:
        here &= points[:, -1] > span[0]
    return (points[here], {n: v[here] for n, v in values.items()}) if here.any() else None
