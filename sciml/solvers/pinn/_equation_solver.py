"""What networks that solve one case from its equations share: fitting window after window, and answers."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import jax
import numpy as np

from sciml.errors import InputError, positive
from sciml.problem import Case, Problem
from sciml.solver import TrainableSolver
from sciml.solvers._promotion import standard
from sciml.solvers.pinn._functions import evaluated
from sciml.solvers.pinn._training import Run
from sciml.solvers.pinn.networks import Architecture
from sciml.solvers.pinn.recipe import PINNRecipe
from sciml.support import Grid, Points, Support

if TYPE_CHECKING:
    import xarray


class EquationSolver(TrainableSolver):
    """Abstract: a solver whose `fit` takes one case, and which answers for that case alone, window by window of time.

    Args:
        architecture: of its networks.
        resolution: cells along the longest extent of the domain, of answers on a grid.
    """

    def __init__(self, architecture: Architecture | None = None, resolution: int = 128):
        self.architecture = Architecture() if architecture is None else architecture
        if not isinstance(self.architecture, Architecture):
            raise InputError(f"{self.name}: architecture is {architecture!r:.60}, expected an Architecture")
        self.resolution = positive("resolution", resolution, 2)
        self.case: Case | None = None
        self.recipe: PINNRecipe | None = None
        #: what was trained on each window of time; each has a `span` and `fields` with a `network`
        self.windows: list[Any] = []
        self.record: dict[str, Any] = {}
        #: one record a step: step, phase, window, loss; now and then losses and weights by row, and what was found
        self.history: list[dict[str, Any]] = []

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
    def settings(self) -> dict[str, Any]:
        found: dict[str, Any] = {**self._options(), "resolution": self.resolution}
        return found | ({} if self.recipe is None else {"recipe": self.recipe.to_json()})

    def _options(self) -> dict[str, Any]:
        """Arguments of the constructor, as JSON."""
        return {"architecture": self.architecture.to_json()}

    @property
    def _double(self) -> bool:
        return self.recipe is None or self.recipe.precision == "float64"

    @standard
    def _fit(self, data: Any, recipe: Any, running: Any, prepare: Callable[[Case, PINNRecipe], Any]) -> Self:
        """Train.

        Args:
            prepare: (case, recipe) -> a function of a run that trains the windows one after the other.
        """
        from sciml.training.recipe import Running

        case = _one(self.name, data)
        self.require(case)
        recipe = _recipe_for(self.name, case, recipe)
        running = Running() if running is None else running
        if not isinstance(running, Running):
            raise InputError(f"{self.name}: running is a {type(running).__name__}, expected a Running")
        _refuse_absent(self.name, running)
        callbacks = list(running.callbacks)
        if running.progress:
            from sciml.training.progress import ProgressDisplay

            callbacks.append(ProgressDisplay(self.name))
        began = time.perf_counter()
        run = Run(recipe, callbacks)
        with jax.enable_x64(recipe.precision == "float64"):
            train = prepare(case, recipe)
            former = self.case, self.recipe, self.windows, self.history
            self.case, self.recipe, self.windows, self.history = case, recipe, [], run.records
            try:
                run.tell("on_start")
                try:
                    train(run)
                finally:
                    run.tell("on_end")
            except BaseException:  # what fails on the way leaves all as it was
                self.case, self.recipe, self.windows, self.history = former
                raise
        self.record = {
            "recipe": recipe.to_json(), "seconds": time.perf_counter() - began, "steps": run.step,
            "stopped": run.stopped, "loss": run.records[-1]["loss"] if run.records else float("nan"),
        }  # fmt: skip
        if running.folder is not None:
            self.save(running.folder)
        return self

    def save(self, directory: str | Path) -> None:
        """Write weights.safetensors, config.json and metrics.jsonl into `directory` (made if missing), atomically.

        Raises:
            InputError: no case has been solved yet.
        """
        if not self.windows:
            raise InputError(f"{self.name}: nothing to save yet; call fit first")
        self._save(directory)

    @abstractmethod
    def _save(self, directory: str | Path) -> None:
        """Write the run, which there is."""

    # -- answers ------------------------------------------------------------------------------------------------

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
        values = self._frames(times, support, self._values)
        names = [f.name for f in case.problem.fields]
        fields = {n: values[..., k] if times is not None else values[0, ..., k] for k, n in enumerate(names)}
        return solution(case, times, fields, support, solver=self.name, settings=self.settings)

    @abstractmethod
    def _values(self, window: Any, times: np.ndarray, places: np.ndarray) -> np.ndarray:
        """(T, N, F) fields at times of one window and places (N, D)."""

    @standard
    def _frames(self, times: np.ndarray | None, support: Support, values: Callable[..., np.ndarray]) -> np.ndarray:
        """(T, *shape, F) of `values`, by the window that a time belongs to."""
        places = support.points().reshape(-1, support.dimensions)
        asked = np.zeros(1) if times is None else times
        owner = np.searchsorted([w.span[1] * (1 - 1e-12) for w in self.windows[:-1]], asked)
        frames: list[Any] = [None] * len(asked)
        with jax.enable_x64(self._double):
            for k in np.unique(owner):
                here = np.flatnonzero(owner == k)
                table = values(self.windows[int(k)], asked[here], places)
                for i, frame in zip(here, table.reshape(len(here), *support.shape, -1), strict=True):
                    frames[i] = frame
        return np.stack(frames).astype(np.float64)


def at_points(function: Any, times: np.ndarray, places: np.ndarray) -> np.ndarray:
    """(T, N, ...) of a function of a point (D + 1,), time last."""
    points = np.concatenate([np.tile(places, (len(times), 1)), np.repeat(times, len(places))[:, None]], axis=1)
    table = evaluated(function, points)
    return table.reshape(len(times), len(places), *table.shape[1:])


def _one(name: str, data: Any) -> Case:
    """The case of an argument that is one, or a list of one."""
    if isinstance(data, Case):
        return data
    if isinstance(data, list | tuple) and len(data) == 1 and isinstance(data[0], Case):
        return data[0]
    raise InputError(f"{name}: fit solves one case, got {type(data).__name__}; expected one such as Burgers().case()")


def _refuse_absent(name: str, running: Any) -> None:
    """What a `Running` may ask for, and these solvers do not have."""
    asked = [f for f in ("resume", "checkpoint_seconds", "checkpoint_every", "forget")
             if getattr(running, f) != getattr(type(running)(), f)]  # fmt: skip
    if asked:
        raise InputError(f"{name}: running: keeps no checkpoints and no blocks, expected no {asked[0]}")
    here = jax.default_backend().replace("gpu", "cuda")
    if running.device not in ("auto", here):
        raise InputError(f"{name}: running: device is {running.device!r}, expected 'auto' (JAX runs on {here})")


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
