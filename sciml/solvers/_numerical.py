"""What solvers that march fields on a grid of their own share: restarts, rollouts, status and labels."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

import numpy as np

from sciml.errors import InputError, is_number, is_whole, suggest
from sciml.problem import Case, Problem
from sciml.solver import Restartable, Start, check_times
from sciml.solvers._titles import title
from sciml.support import Grid, Support

if TYPE_CHECKING:
    import xarray

    from sciml.solvers.linear import Discretisation, LinearSolver


class Begin(NamedTuple):
    """A state on the solver's own support: arrays by name, as `NumericalSolver.run` takes and gives them, and their
    time; `settled` where it fits to the walls, as what a solver has made does."""

    state: Mapping[str, np.ndarray]
    time: float
    settled: bool = True


class NumericalSolver(Restartable):
    """Abstract: problems on a support of the solver's own, a grid or a mesh.

    Subclasses march (`run`), make a state from given frames (`begin`) and label what comes out (`label`).
    """

    max_substeps: int
    #: arguments of the constructor that are objects: name -> the classes that they, or classes derived, may be of
    parts: ClassVar[Mapping[str, tuple[type, ...]]] = {}

    @classmethod
    @abstractmethod
    def on(cls, counts: tuple[int, ...], dtype: str = "float32", tendencies: bool = False, **options: Any) -> Self:
        """The solver on a grid of so many cells in array order (z, y, x).

        Args:
            dtype: type to compute in, where there is a choice.
            tendencies: whether answers hold rates of change, where that costs anything.
            options: further arguments of the constructor.

        Raises:
            InputError: not in so many dimensions, or not on so few cells.
        """

    def is_reference(self, problem: Problem) -> bool:
        """Whether its answers are what others are held against, unless a solver named before it has them."""
        return self.supports(problem)

    @property
    def modelled(self) -> bool:
        """Whether a model stands for what the grid does not hold, so that nobody expects that all is resolved."""
        return False

    def answers(self, problem: Problem) -> tuple[str, ...]:
        """The names of what a solution can hold."""
        names = [f.name for f in problem.fields]
        rates = [] if problem.steady else [f"{f.name}_tendency" for f in problem.fields if f.role != "diagnostic"]
        return (*names, *rates)

    @abstractmethod
    def grid(self, case: Case) -> Support:
        """The support on which a case is solved."""

    def fit(self, case: Case) -> None:
        """Refuse a case whose domain this solver's grid cannot hold.

        Raises:
            InputError: which says what of it is too small.
        """
        self.grid(case)

    @abstractmethod
    def run(
        self, cases: Sequence[Case], times: Sequence[np.ndarray], begins: Sequence[Begin] | None = None
    ) -> list[dict[str, np.ndarray]]:
        """The bare arrays of some cases, over their times: fields, "substeps" since the last time, time "reached"; NaN
        after a failure.

        Args:
            begins: where each starts from; None for the beginnings of the cases.
        """

    @abstractmethod
    def begin(self, start: Start) -> Begin:
        """A state on the solver's support from the last of some frames."""

    def held(self, case: Case, dtype: str) -> int | None:
        """Frames of a case that are held at once while a data set is made; None for all."""
        return None

    def stored(self, case: Case, solution: xarray.Dataset, resolution: tuple[int, ...], names: Sequence[str]) -> Any:
        """What a data set made at this resolution keeps of a solution: the fields `names`."""
        return solution

    def seconds(self, cases: Sequence[Case], times: Sequence[np.ndarray | None]) -> list[float] | None:
        """About how long each case takes on one core; None where nothing is known."""
        return None

    def carried(self, case: Case) -> tuple[str, ...]:
        """The arrays of an answer that are the state to go on from."""
        return self.needed(case)

    @abstractmethod
    def label(self, case: Case, times: np.ndarray | None, found: Mapping[str, np.ndarray]) -> xarray.Dataset:
        """What `run` found of a case as a solution with its status."""

    def _together(self, cases: Sequence[Case], times: Sequence[np.ndarray | None]) -> list[xarray.Dataset]:
        each: list[np.ndarray] = [np.zeros(1) if t is None else t for t in times]
        found = self.run(cases, each)
        return [self.label(c, t, f) for c, t, f in zip(cases, times, found, strict=True)]

    # -- restarts -----------------------------------------------------------------------------------------------

    def rollout(self, starts: Sequence[Start], times: np.ndarray) -> Iterator[list[np.ndarray]]:
        if not starts:
            return
        times = np.asarray(times, dtype=np.float64).reshape(len(starts), -1)
        cases = [s.case for s in starts]
        for start, asked in zip(starts, times, strict=True):
            self.require(start.case)
            if asked.size:
                _check_after(start, check_times(start.case.problem, asked))
        grids = [self.grid(case) for case in cases]
        back = [self.back(start, grid) for grid, start in zip(grids, starts, strict=True)]
        begins = [self.begin(start) for start in starts]
        for k in range(times.shape[1]):
            found = self.run(cases, [times[i, k : k + 1] for i in range(len(cases))], begins)
            begins = [
                Begin({n: f[n][0] for n in self.carried(case)}, float(t))
                for case, f, t in zip(cases, found, times[:, k], strict=True)
            ]
            yield [
                onto(np.stack([f[n][0] for n in start.fields or self.names(start.case)]))
                for f, onto, start in zip(found, back, starts, strict=True)
            ]

    def back(self, start: Start, grid: Support) -> Callable[[np.ndarray], np.ndarray]:
        """How frames (field, *shape) on the solver's support become frames on that of the start."""
        return grid.map_onto(start.support)

    def resume(self, case: Case, frame: Any, times: Any) -> xarray.Dataset:
        """The solution at `times` from a given state on; see `Restartable.resume`.

        Raises:
            InputError: the request cannot be met as given.
            SolverError: the computation failed.
        """
        from sciml.solvers._frames import start_of

        self.require(case)
        asked = check_times(case.problem, times)
        if asked is None:
            raise InputError(f"resume: {case.problem.name} is steady; use solve")
        start = start_of(case, frame, self.needed(case))
        _check_after(start, asked)
        begin = self.exactly(frame, start) or self.begin(start)._replace(settled=False)
        return self._whole(self.label(case, asked, self.run([case], [asked], [begin])[0]))

    def exactly(self, frame: xarray.Dataset, start: Start) -> Begin | None:
        """The state where a solution holds all of it, as this solver's own may; else None."""
        return None

    def names(self, case: Case) -> tuple[str, ...]:
        """The fields of an answer."""
        return tuple(f.name for f in case.problem.fields)

    def needed(self, case: Case) -> tuple[str, ...]:
        """The fields that a state is made from."""
        return tuple(f.name for f in case.problem.fields if f.role != "diagnostic")

    def given(self, start: Start) -> dict[str, np.ndarray]:
        """The fields of the last frame that a state is made from.

        Raises:
            InputError: one is missing.
        """
        names = start.fields or self.needed(start.case)
        for n in self.needed(start.case):
            if n not in names:
                wanted = ", ".join(self.needed(start.case))
                raise InputError(f"{self.name}: the frame has no field {n!r}, expected {wanted}")
        return dict(zip(names, start.frames[-1], strict=True))

    # -- linear systems -----------------------------------------------------------------------------------------

    def linear(self, case: Case, time: float | None = None, state: xarray.Dataset | None = None) -> Discretisation:
        """The linear system that this solver has of a case; see `sciml.solvers.linear.system`.

        Raises:
            InputError: there is none, or none that is linear.
        """
        from sciml.solvers._frames import start_of

        if state is None:
            if time is not None and (not is_number(time) or time != 0):
                raise InputError(f"time: got {time!r} without a state, expected 0, when the case begins, or a state")
            return self._linear(case, None)
        if time is not None and not is_number(time):
            raise InputError(f"time: expected a number, got {time!r}")
        start = start_of(case, state, self.needed(case))
        begin = self.exactly(state, start) or self.begin(start)._replace(settled=False)
        return self._linear(case, begin if time is None else begin._replace(time=float(time)))

    def _linear(self, case: Case, begin: Begin | None) -> Discretisation:
        """The system at the beginning of a case, or of the step after a state."""
        raise InputError(f"{self.name}: hands out no linear system, expected FiniteElements, FiniteVolume or a flow")

    def with_pressure_solver(self, wrap: Callable[[LinearSolver], LinearSolver]) -> Self:
        """The same with another pressure solver, made of the one that it has.

        Raises:
            InputError: it solves no equation of a pressure.
        """
        raise InputError(f"{self.name}: solves no pressure equation, expected IncompressibleFlow or TwoPhaseFlow")

    # -- outcome ------------------------------------------------------------------------------------------------

    def outcome(self, case: Case, times: np.ndarray, found: Mapping[str, np.ndarray], hint: str) -> tuple[int, str]:
        """How many frames are whole, and the status.

        Args:
            hint: what may help where values are not finite.
        """
        names = [n for n in self.names(case) if n in found]
        whole = np.all([np.isfinite(found[n].reshape(len(times), -1)).all(axis=1) for n in names], axis=0)
        if whole.all():
            return len(times), "ok"
        count = int(np.argmin(whole))
        if found["substeps"][count] >= self.max_substeps:
            what, hint = f"reached max_substeps = {self.max_substeps}", "allow more, or ask for more times"
        else:
            what = "values are not finite"
        return count, f"{self.name}: {title(case)}: {what} at t = {float(found['reached'][count]):.6g}; {hint}"


class GridSolver(NumericalSolver):
    """Abstract: problems in time on a grid of the solver's own."""

    @abstractmethod
    def grid(self, case: Case) -> Grid:
        """The cells on which a case is solved."""

    def held(self, case: Case, dtype: str) -> int | None:
        return window(self.grid(case).shape, dtype)

    def stored(self, case: Case, solution: xarray.Dataset, resolution: tuple[int, ...], names: Sequence[str]) -> Any:
        from sciml.solvers._coarse import coarsened

        return coarsened(case, solution, resolution, names)


HELD = 1 << 30  # bytes of fine frames, and what is made of them, that a task holds at once


def window(cells: Sequence[int], dtype: str) -> int:
    """Frames on so many cells that a task holds at once."""
    return max(HELD // (frame_bytes(cells, dtype)), 2)


def frame_bytes(cells: Sequence[int], dtype: str) -> int:
    # a dozen arrays over all times leave the compiled loop, and are copied once
    return math.prod(cells) * 24 * np.dtype(dtype).itemsize


def _check_after(start: Start, asked: np.ndarray | None) -> None:
    """Refuse times before that of the frame."""
    if asked is not None and asked[0] < start.time * (1 - 1e-9):
        raise InputError(f"times: expected times from that of the frame on, {start.time:g}, got {asked[0]:g}")


def since(start: float, times: np.ndarray, dtype: str) -> np.ndarray:
    """Times counted from `start`, so that rounding to `dtype` does not grow with how late a march begins.

    Raises:
        InputError: two that are one when rounded.
    """
    elapsed = np.asarray(times, dtype=np.float64) - start
    close = np.diff(elapsed.astype(dtype)) <= 0
    if close.any():
        k = int(np.argmax(close))
        raise InputError(f"times: {times[k]!r} and {times[k + 1]!r} are one in {dtype}; use dtype float64, or fewer")
    return elapsed


class Alike:
    """A problem as a key of compiled functions: equal balances and fields, equal functions."""

    def __init__(self, problem: Problem):
        self.problem: Any = problem
        rows = {n: b.components() for n, b in problem.balances().items()}
        self.key = repr((rows, [f.name for f in problem.fields], problem.velocity))

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Alike) and self.key == other.key


def checked(times: Any, dtype: Any) -> Any:
    """Times of `simulate` as an array of JAX.

    Raises:
        InputError: not a sequence of at least one.
    """
    if np.ndim(times) != 1 or not np.size(times):
        raise InputError(f"simulate: times: expected a sequence of times, got shape {np.shape(times)}")
    import jax.numpy as jnp

    return jnp.asarray(times, dtype)


def known_names(what: str, given: Mapping[str, Any], names: Sequence[str]) -> None:
    """Refuse a name that nothing would act on."""
    for name in given:
        if name not in names:
            raise InputError(f"simulate: {what}: nothing is called {name!r}{suggest(name, names)}")


def cell_counts(name: str, resolution: Any, least: int) -> int | tuple[int, ...]:
    """`resolution` as one count or a tuple of counts, if it is that.

    Raises:
        InputError: anything else, or fewer than `least` cells along some axis.
    """
    several = isinstance(resolution, tuple | list)
    counts = list(resolution) if several else [resolution]
    whole = all(is_whole(n) for n in counts)
    if not counts or not whole or min(counts) < least:
        raise InputError(
            f"{name}: resolution is {resolution!r}, expected a count of at least {least} cells, or one for each axis"
        )
    return tuple(int(n) for n in counts) if several else int(resolution)


def plane_counts(name: str, resolution: Any, least: int = 4) -> tuple[int, int]:
    """`resolution` as (ny, nx), if it is one count or two.

    Raises:
        InputError: anything else, or fewer than `least` cells.
    """
    counts = (resolution, resolution) if is_whole(resolution) else resolution
    whole = isinstance(counts, tuple | list) and len(counts) == 2 and not isinstance(resolution, bool)
    if not whole or any(not is_whole(n) or n < least for n in counts):
        raise InputError(f"{name}: resolution is {resolution!r}, expected a whole number >= {least}, or (ny, nx)")
    return int(counts[0]), int(counts[1])


def two_counts(name: str, counts: tuple[int, ...], rates: bool = False) -> tuple[int, int]:
    """`counts` of a solver for the plane.

    Args:
        rates: whether rates of change are asked for, of a solver that gives none.

    Raises:
        InputError: another number of them, or rates.
    """
    if len(counts) != 2:
        raise InputError(f"{name}: resolution is {counts}, expected two counts")
    if rates:
        raise InputError(f"{name}: gives no rates of change")
    return counts[0], counts[1]


def forces(case: Case, found: Mapping[str, np.ndarray], count: int) -> dict[str, np.ndarray]:
    """Of `count` frames the forces on bodies that the problem has a name for."""
    known = {q.name for q in case.problem.quantities}
    names = [f"force_{c}" for c in "xy"]
    return {n: found["force"][:count, k] for k, n in enumerate(names) if "force" in found and n in known}
