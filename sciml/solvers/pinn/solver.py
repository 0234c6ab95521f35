"""Networks that solve one case from its equations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import jax
import numpy as np

from sciml import registry
from sciml.errors import InputError
from sciml.problem import Case, Problem
from sciml.solver import check_times
from sciml.solvers._promotion import standard
from sciml.solvers.pinn import _files
from sciml.solvers.pinn._conditions import Ansatz
from sciml.solvers.pinn._equation_solver import EquationSolver, at_points
from sciml.solvers.pinn._functions import evaluated
from sciml.solvers.pinn._inputs import given_inputs
from sciml.solvers.pinn._observed import observed
from sciml.solvers.pinn._terms import Terms
from sciml.solvers.pinn._training import Handed, Run, train
from sciml.solvers.pinn._unknowns import Unknown, check, input_network, refuse_elsewhere
from sciml.solvers.pinn._window import window_of
from sciml.solvers.pinn.networks import Architecture
from sciml.solvers.pinn.recipe import PINNRecipe

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
class PINN(EquationSolver):
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
        super().__init__(architecture, resolution)
        named = isinstance(unknown, Sequence) and not isinstance(unknown, str)
        if not named or not all(isinstance(n, str) for n in unknown) or len(set(unknown)) < len(unknown):
            raise InputError(
                f"{self.name}: unknown is {unknown!r:.60}, expected different names of parameters, as in ('viscosity',)"
            )
        if not isinstance(exact, bool):
            raise InputError(f"{self.name}: exact is {exact!r}, expected True or False")
        self.unknown, self.exact = tuple(unknown), exact

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

    def _options(self) -> dict[str, Any]:
        return {**super()._options(), "unknown": list(self.unknown), "exact": self.exact}

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
            InputError: what cannot be trained: conditions that determine no solution, a field that does not know how it
                begins while nothing was measured, an unknown that is in no equation.
            TrainingError: a loss that is not finite.
        """

        def prepare(case: Case, recipe: PINNRecipe) -> Any:
            parts = self._prepared(case, recipe, observations)
            return lambda run: self._train(case, recipe, run, *parts)

        return self._fit(data, recipe, running, prepare)

    def _prepared(self, case: Case, recipe: PINNRecipe, observations: Any) -> tuple[Any, ...]:
        """Terms, unknowns, inputs, which of them are trained, observations."""
        seen = None if observations is None else observed(case, observations)
        terms = _terms(case, seen is not None)
        parameters, trained = check(self.name, case, terms, self.unknown)
        if self.unknown and recipe.windows > 1:
            raise InputError(
                f"{self.name}: unknown is {self.unknown}, expected one window of time, got {recipe.windows}: each "
                "would find values of its own"
            )
        if self.unknown and seen is None:
            raise InputError(f"{self.name}: unknown is {self.unknown}, expected observations to find it from")
        if seen is not None and not case.problem.steady:
            within = seen[0][:, -1] <= recipe.until * (1 + 1e-12)  # type: ignore[operator]
            if not within.any():
                raise InputError(f"observations: all of them are later than until = {recipe.until:g}")
            seen = seen[0][within], {n: v[within] for n, v in seen[1].items()}
        refuse_elsewhere(self.name, case, terms, parameters, recipe.until)
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
            window = window_of(
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

    def _values(self, window: Solved, times: np.ndarray, places: np.ndarray) -> np.ndarray:
        return at_points(window.fields, times, places)

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

        def of(window: Solved, times: np.ndarray, places: np.ndarray) -> np.ndarray:
            def left(z: Any) -> Any:
                return jnp.asarray(interior.scaled(window.fields, {"z": z}, window.parameters, window.inputs))

            return at_points(left, times, places)

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

    def _save(self, directory: str | Path) -> None:
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


def _terms(case: Case, measured: bool) -> Terms:
    """The terms of a case; one that does not say how it begins is left to what was measured."""
    try:
        return Terms(case)
    except InputError:
        if not measured:
            raise
        return Terms(case, start=False)


def _within(seen: Any, span: tuple[float, float], first: bool) -> Any:
    """The observations of a window; those at its start belong to the one before."""
    if seen is None:
        return None
    points, values = seen
    here = points[:, -1] <= span[1] * (1 + 1e-12)
    if not first:
        here &= points[:, -1] > span[0]
    return (points[here], {n: v[here] for n, v in values.items()}) if here.any() else None
