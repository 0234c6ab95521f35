"""The interface of every solver, numerical or learned."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from sciml.arrays import clock, real
from sciml.errors import InputError, SolverError
from sciml.problem import Case, Problem
from sciml.progress import Bar
from sciml.support import Grid, Support

if TYPE_CHECKING:
    import xarray
    from jaxtyping import Float, Shaped

    from sciml.geometry import Geometry


BEYOND = 1e-6  # of the longest extent: how far off the box around a domain points may lie, by rounding


class Solver(ABC):
    """Solves any case of the problems that it supports, and labels the answer.

    Subclasses give `supports` and `_solve`, or `_together` where several cases are solved at once; the public methods
    validate first, so that a wrong request fails before anything is computed.
    """

    name: ClassVar[str]
    #: what people call it, where that is not its name
    title: str = ""

    @property
    def gives_std(self) -> bool:
        """Whether its answers carry `<field>_std`."""
        return False

    @property
    def gives_intervals(self) -> bool:
        """Whether its answers carry `<field>_lower` and `<field>_upper`, with the attribute `coverage`."""
        return False

    def relative_widths(self, coverage: float) -> dict[str, float] | None:
        """By field, how many times as wide its bands would be for another coverage; None where it cannot say."""
        return None

    @abstractmethod
    def supports(self, problem: Problem) -> bool:
        """Whether this solver can solve the cases of `problem`."""

    def _solve(self, case: Case, times: np.ndarray | None) -> xarray.Dataset:
        """The solution of one case; what fails says so in its `status`."""
        raise NotImplementedError(f"{type(self).__name__} gives neither _solve nor _together")

    def _together(self, cases: Sequence[Case], times: Sequence[np.ndarray | None]) -> list[xarray.Dataset]:
        """The solutions of the cases of one portion; what fails says so in its `status` and raises nothing."""
        return [self._solve(case, asked) for case, asked in zip(cases, times, strict=True)]

    @property
    def settings(self) -> dict[str, Any]:
        """What determines the answer beside the case, as JSON values; stored with every solution."""
        return {}

    @property
    def threads(self) -> int:
        """Portions that are worked on at the same time."""
        return 1

    def portions(self, cases: Sequence[Case], times: Sequence[np.ndarray | None]) -> list[tuple[int, ...]]:
        """Which cases (by number) are solved together. It depends on the list alone, so that equal requests have equal
        answers.

        Raises:
            InputError: a case that cannot be solved, before anything is computed.
        """
        return [(i,) for i in range(len(cases))]

    def work(
        self, cases: Sequence[Case], times: Sequence[np.ndarray | None], portions: Iterable[tuple[int, ...]]
    ) -> Iterator[tuple[int, xarray.Dataset]]:
        """(number, solution) of the cases of these portions, in the order in which they are done."""

        def one(portion: tuple[int, ...]) -> list[tuple[int, xarray.Dataset]]:
            found = self._together([cases[i] for i in portion], [times[i] for i in portion])
            return list(zip(portion, found, strict=True))

        several = list(portions)
        if self.threads == 1 or len(several) == 1:
            for portion in several:
                yield from one(portion)
            return
        with ThreadPoolExecutor(min(self.threads, len(several))) as pool:
            jobs = [pool.submit(one, portion) for portion in several]
            try:
                for job in as_completed(jobs):
                    yield from job.result()
            finally:
                for job in jobs:
                    job.cancel()

    def stream(self, cases: Iterable[Case], times: Any = None) -> Iterator[tuple[int, xarray.Dataset]]:
        """(number, solution with its `status`) of every case, as they come; one failure does not stop the others.

        Args:
            times: one sequence for all cases, or one sequence for each case.

        Raises:
            InputError: no cases, one that the solver does not support, or unusable times.
        """
        several, each = self.prepared(cases, times)
        return self.work(several, each, self.portions(several, each))

    def prepared(self, cases: Iterable[Case], times: Any) -> tuple[list[Case], list[np.ndarray | None]]:
        """Cases and their times, checked."""
        several = as_cases(cases)
        if not several:
            raise InputError("cases: expected at least one, got none")
        for case in several:
            self.require(case)
        return several, times_for(several, times)

    def solve(self, case: Case, times: Any = None, points: Any = None) -> xarray.Dataset:
        """Solve one case.

        Args:
            case: which case.
            times: requested times, increasing, in the case's time unit; None for steady problems.
            points: (N, D) points to answer at instead of the solver's own grid.

        Returns:
            The solution at exactly these times (see DESIGN: "solution").

        Raises:
            InputError: the request cannot be met as given.
            SolverError: the computation failed.
        """
        self.require(case)
        asked, places = check_times(case.problem, times), check_points(case, points)
        if places is not None:
            check_within(places, self._outside(case, places))
        found = self._together([case], [asked])[0] if places is None else self._at(case, asked, places)
        return self._whole(found)

    def _whole(self, found: xarray.Dataset) -> xarray.Dataset:
        """The solution.

        Raises:
            SolverError: its status is not ok.
        """
        status = found.attrs["status"]
        if status != "ok":
            raise SolverError(status if status.startswith(self.name) else f"{self.name}: {status}")
        return found

    def _outside(self, case: Case, points: np.ndarray) -> np.ndarray:
        """(N,) which of the points lie beyond the box around the case's domain and its support; nothing lies beyond
        the ends of a periodic axis, nor of a domain that nothing tells of."""
        known = not case.problem.needs_extents or case.extents is not None
        return beyond(points, case.geometry if known else None, case.support)

    def _at(self, case: Case, times: np.ndarray | None, points: np.ndarray) -> xarray.Dataset:
        """The solution at points: that on the solver's own support, interpolated."""
        from sciml.data import sampled

        return sampled(case, self._together([case], [times])[0], points)

    def solve_many(self, cases: Iterable[Case], times: Any = None, progress: bool = True) -> xarray.Dataset:
        """Solve many cases into one ragged data set with a `status` for each; one failure does not stop the others.

        Args:
            times: one sequence for all cases, or one sequence for each case.
        """
        from sciml.data import pack

        several, each = self.prepared(cases, times)
        found: dict[int, xarray.Dataset] = {}
        with Bar(self.name, len(several), progress) as step:
            for i, solution in self.work(several, each, self.portions(several, each)):
                found[i] = solution
                step()
        return pack([found[i] for i in range(len(several))], dtype=None)

    def require(self, case: Case) -> None:
        """Check that `case` is a case, and one that this solver supports."""
        if not isinstance(case, Case):
            raise InputError(
                f"{self.name}: case is a {type(case).__name__}, expected a Case such as LidDrivenCavity().case()"
            )
        if not self.supports(case.problem):
            raise InputError(f"{self.name}: cannot solve the problem {case.problem.name!r}")

    def _repr_html_(self) -> str:
        from sciml._repr_html import solver_html

        return solver_html(self)


@dataclass(frozen=True, eq=False)
class Start:
    """What a restart knows: a case, where its values live, and frames up to the present one.

    Args:
        frames: (history, field, *shape) in physical units, the last one at `time`.
        time: of the last frame, in the problem's time unit; 0 for steady problems.
        first: (field, *shape) the frame at which the case begins, and its time; by default the last of `frames`.
        fields: names of the fields of the frames; () for those of the solver that is asked.
    """

    case: Case
    support: Support
    frames: np.ndarray
    time: float = 0.0
    first: tuple[np.ndarray, float] | None = None
    fields: tuple[str, ...] = ()

    @property
    def beginning(self) -> tuple[np.ndarray, float]:
        return (self.frames[-1], self.time) if self.first is None else self.first


class Restartable(Solver):
    """A solver that goes on from any given state, so that every row of a table can start from the same true frame."""

    #: frames up to the present one that it makes use of
    history: int = 1
    #: frames of its data that lie between two of these, and that one of its steps spans
    every: int = 1

    @abstractmethod
    def rollout(self, starts: Sequence[Start], times: np.ndarray) -> Iterator[list[np.ndarray]]:
        """Frames of several cases, one time after another.

        Args:
            starts: where each begins.
            times: (start, K) increasing times, after those of the starts or equal to them.

        Yields:
            K times the frames (field, *shape) of all starts, physical units. What became non-finite stays so.
        """

    @abstractmethod
    def resume(self, case: Case, frame: Any, times: Any) -> xarray.Dataset:
        """The solution at `times` from a given state on.

        Args:
            frame: a solution with the state fields: its last time is where it starts, earlier ones are history.
            times: from that of the frame on.
        """


class Differentiable(Solver):
    """A solver of particles that says how a number made of its answers changes with what they are computed from.

    A goal is a function (xp, frames) -> scalar of a library's arrays: "position" and "velocity" (time, particle,
    dimension) and "mass" (particle,).
    """

    @abstractmethod
    def setup(self, case: Case) -> dict[str, np.ndarray]:
        """The arrays that it computes a case from, by name, float64: smooth functions of the numbers of the case."""

    @abstractmethod
    def value(self, case: Case, times: np.ndarray, goal: Callable[..., Any], setup: dict[str, np.ndarray]) -> float:
        """The goal of the particles at `times`; not finite where the computation fails.

        Args:
            setup: of this case.
        """

    @abstractmethod
    def value_and_gradient(
        self, case: Case, times: np.ndarray, goal: Callable[..., Any], setup: dict[str, np.ndarray]
    ) -> tuple[float, dict[str, np.ndarray]]:
        """The same, and its derivatives with respect to the arrays of `setup` that it depends on, by their names."""


class TrainableSolver(Solver):
    """A solver that learns, and lives in a directory.

    What evaluation, report and command line ask of it beside its answers are the properties below.

    Class attributes:
        alone: whether its own arguments are all that it is made of, no operator and no other solver, and it learns from
            one data set in one go: what `sciml train --solver` trains.
        several: whether it learns from several data sets at once, one a problem.
    """

    alone: ClassVar[bool] = False
    several: ClassVar[bool] = False

    @property
    def fitted(self) -> bool:
        """Whether it has learned anything yet."""
        return True

    @property
    def problem(self) -> Problem | None:
        """The problem that it was trained on; None where it is not bound to one."""
        return None

    @property
    def predicted(self) -> tuple[str, ...] | None:
        """The fields that it answers with; None for all that the problem has."""
        return None

    @property
    def training(self) -> dict[str, Any]:
        """The record of its training, JSON values: recipe, seconds."""
        return {}

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """Losses and validation figures on the way: records with "step", "loss", "validation"."""
        return []

    @property
    def weights(self) -> int:
        """Number of trained numbers."""
        return 0

    @property
    def identity(self) -> dict[str, Any]:
        """All that makes it the model that it is, but its seed, JSON values: equal for runs that are seeds of one."""
        return self.settings

    def for_problem(self, problem: Problem) -> Self:
        """The same, as a solver of one problem among those that it was trained on.

        Raises:
            InputError: of several, it is none.
        """
        return self

    @staticmethod
    def default_recipe() -> Any:
        """The `sciml.Recipe` that it is trained with where nobody says; None where there is nothing to choose."""
        return None

    @abstractmethod
    def fit(
        self, data: Any, recipe: Any = None, *, split: str | None = "train", validation: str | None = "validation",
        running: Any = None,
    ) -> Any:  # fmt: skip
        """Train on a data set (path or Dataset), or on cases where no data are needed.

        Args:
            recipe: `sciml.Recipe`: what determines the result.
            running: `sciml.Running`: how it is done, which changes no result.
        """

    @abstractmethod
    def save(self, directory: str | Path) -> None:
        """Write weights.safetensors and config.json into `directory`, atomically."""

    @classmethod
    @abstractmethod
    def load(cls, directory: str | Path, device: str = "auto") -> TrainableSolver:
        """Read what `save` wrote, to answer on `device`. Executes no code from the files."""


def as_cases(cases: Any) -> list[Case]:
    """A list of cases.

    Raises:
        InputError: something else, or none.
    """
    if isinstance(cases, Case) or not isinstance(cases, Iterable):
        raise InputError(f"cases: expected a sequence of cases, got {type(cases).__name__}")
    found = list(cases)
    for case in found:
        if not isinstance(case, Case):
            raise InputError(f"cases: expected cases such as LidDrivenCavity().case(), got {type(case).__name__}")
    return found


def check_times(problem: Problem, times: Any) -> np.ndarray | None:
    """Requested times as a float64 array in the problem's unit of time (durations are converted); None for steady
    problems.

    Raises:
        InputError: missing, empty, masked, not finite, negative or not strictly increasing times.
    """
    if problem.steady:
        if times is not None:
            raise InputError(f"times: {problem.name} is steady, expected no times, got {times!r:.80}")
        return None
    if times is None:
        raise InputError(f"times: {problem.name} changes in time, expected a sequence of times, got None")
    array = np.atleast_1d(clock("times", times, problem.time_unit))
    if array.ndim != 1 or array.size == 0:
        raise InputError(f"times: expected a non-empty sequence, got shape {array.shape}")
    if not np.isfinite(array).all():
        raise InputError("times: expected finite numbers, got NaN or infinity")
    if array[0] < 0:
        raise InputError(f"times: expected times from 0 on, got {array[0]:g}")
    if np.any(np.diff(array) <= 0):
        k = int(np.argmax(np.diff(array) <= 0))
        raise InputError(f"times: expected strictly increasing times, got {array[k]:g} before {array[k + 1]:g}")
    return array


def check_points(case: Case, points: Any) -> np.ndarray | None:
    """Query points as (N, D) float64, or None."""
    if points is None:
        return None
    d = case.problem.dimensions
    try:
        array = real("points", points)
    except InputError:
        raise
    except (TypeError, ValueError):
        raise InputError(f"points: expected coordinates of shape (N, {d}), got {points!r:.80}") from None
    if array.ndim != 2 or array.shape[1] != d:
        raise InputError(f"points: expected finite coordinates of shape (N, {d}), got shape {array.shape}")
    if not len(array):
        raise InputError("points: expected at least one point, got none")
    wrong = ~np.isfinite(array).all(axis=1)
    if wrong.any():
        k = int(wrong.argmax())
        raise InputError(f"points: expected finite coordinates, got {array[k].tolist()} in row {k}")
    return array


def beyond(points: np.ndarray, geometry: Geometry | None, support: Support | None) -> np.ndarray:
    """(N,) which of the points lie beyond the boxes around a geometry and a support; of loose nodes and meshes, whose
    outermost nodes need not lie on the boundary, by more than about the distance of two of them."""
    low, high = np.full(points.shape[1], np.inf), np.full(points.shape[1], -np.inf)
    periodic = np.zeros(points.shape[1], bool)
    for domain in (geometry, support):
        if domain is None:
            continue
        a, b = np.array(domain.extents, dtype=np.float64).T
        share = BEYOND
        if isinstance(domain, Support) and not isinstance(domain, Grid):
            share = max(BEYOND, domain.size ** (-1 / domain.dimensions))
        slack = share * float((b - a).max())
        low, high = np.minimum(low, a - slack), np.maximum(high, b + slack)
        periodic |= np.array(domain.periodic, dtype=bool)
    if geometry is None and support is None:
        return np.zeros(len(points), bool)
    return np.any(((points < low) | (points > high)) & ~periodic, axis=1)


def check_within(points: Float[np.ndarray, "point dimension"], outside: Shaped[np.ndarray, " point"]) -> None:
    """Refuse points of which some lie outside of the domain.

    Raises:
        InputError: names the first of them.
    """
    if outside.any():
        k = int(np.argmax(outside))
        place = ", ".join(f"{c:g}" for c in points[k])
        raise InputError(f"points: point {k} at ({place}) lies outside of the domain")


def times_for(cases: Sequence[Case], times: Any) -> list[np.ndarray | None]:
    """One validated time sequence for each case, from one for all or one for each."""
    if isinstance(times, Iterator):
        times = list(times)
    if isinstance(times, list | tuple | np.ndarray) and np.shape(times[:1]) and len(times) and np.ndim(times[0]) > 0:
        if len(times) != len(cases):
            raise InputError(f"times: expected one sequence for each of {len(cases)} cases, got {len(times)}")
        return [check_times(c.problem, t) for c, t in zip(cases, times, strict=True)]
    return [check_times(c.problem, times) for c in cases]
