"""What statistics of turbulence share: frames become a few numbers a place, which are averaged as they come."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from sciml.errors import InputError, is_number, is_whole
from sciml.evaluation._blocking import Blocking
from sciml.evaluation._statistic import TRUTH, Statistic
from sciml.problem import Case
from sciml.support import Support

if TYPE_CHECKING:
    import xarray as xr
    from jaxtyping import Float

LIMIT = 1e3  # times the first frame's speed: a rollout that is faster has blown up


def shown(case: Case) -> dict[str, float]:
    """The numbers that say which kind of flow a case is; cases that differ in a seed alone are of one kind."""
    return {name: float(value) for name, value in case.problem.shown(case).items()}


def kind_of(case: Case) -> Hashable:
    """Equal for cases whose frames may be averaged: equal numbers that are shown, scales and wall units, as far as
    single precision holds them."""
    scales = case.scales if case.problem.scaled else None
    numbers = [*shown(case).values(), *(n for n in case.problem.wall_units(case) or () if n is not None)]
    numbers += [] if scales is None else [scales.length, scales.time, scales.velocity]
    return (tuple(shown(case)), *(float(f"{v:.6g}") for v in numbers))


def told(content: Any) -> Any:
    """Nested values as JSON has them: arrays as lists, and None for what is not finite."""
    if isinstance(content, dict):
        return {k: told(v) for k, v in content.items()}
    if isinstance(content, np.ndarray | np.generic):
        content = content.tolist()
    if isinstance(content, list | tuple):
        return [told(v) for v in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


@dataclass
class Group:
    """What is averaged together: frames of one run on one grid and of one kind of flow.

    Args:
        place: what `Streamed.place` made of the grid.
        case: the first of its cases.
        step: of the frames, where they are kept apart by it.
        left_out: frames that were not finite or far too fast, and those that came after them.
        first, last: times of the earliest and the latest frame; `passed`: between frames, of all rollouts together.
        latest: time of the last frame of each rollout.
    """

    row: str
    run: int
    place: Any
    case: Case
    step: int | None = None
    blocking: Blocking | None = None
    left_out: int = 0
    first: float = math.inf
    last: float = -math.inf
    passed: float = 0.0
    latest: dict[Hashable, float] = field(default_factory=dict)

    @property
    def frames(self) -> int:
        return 0 if self.blocking is None else self.blocking.frames

    @property
    def spacing(self) -> float:
        """Mean time between frames of one rollout."""
        steps = self.frames - len(self.latest)
        return self.passed / steps if steps > 0 else math.nan

    def head(self) -> dict[str, Any]:
        """What every entry of a result begins with."""
        found: dict[str, Any] = {
            "row": self.row, "run": self.run, "parameters": shown(self.case), "frames": self.frames,
            "rollouts": len(self.latest), "left_out": self.left_out,
            "time": [self.first, self.last] if self.frames else [None, None],
        }  # fmt: skip
        return found if self.step is None else found | {"step": self.step}


class Streamed(Statistic):
    """Abstract. Time averages of what `measure` makes of each frame, apart by row, run, grid and kind of flow (the
    numbers that `Problem.shown` tells of a case, its scales and wall units; not by its seed).

    Frames count alike, so that they should be equally far apart. A frame that is not finite, or whose largest component
    is beyond 1000 times the scale of the velocity (or the root mean square of its rollout's first frame, if larger), is
    left out with all that follow it in its rollout; other rollouts go on. Of the truth each frame counts once, however
    many rollouts pass it.

    Args:
        name: under which the result stands in a summary.
        velocity: names of the components along x, y, (z); None for those that the problem names.
        homogeneous: names of the directions to average over; None for the periodic ones.
        skip: steps at the beginning of each rollout that do not count.
    """

    #: the dimension of lists in a data set of the result
    along: str

    def __init__(
        self, name: str, velocity: Sequence[str] | None, homogeneous: Sequence[str] | None, skip: int
    ):  # fmt: skip
        if not isinstance(name, str) or not name:
            raise InputError(f"name: expected a word, got {name!r}")
        if not is_whole(skip) or skip < 0:
            raise InputError(f"skip: expected a whole number >= 0, got {skip!r}")
        self.name, self.velocity, self.homogeneous, self.skip = name, velocity, homogeneous, int(skip)
        self.fields: tuple[str, ...] = ()
        self.groups: dict[Hashable, Group] = {}
        self._places: dict[tuple[int, int], tuple[Support, Case, Any, Hashable]] = {}
        self._speeds: dict[Hashable, float] = {}
        self._gone: set[Hashable] = set()
        self._seen: dict[int, tuple[Case, set[float]]] = {}

    # -- what a statistic says ------------------------------------------------------------------------------------

    @abstractmethod
    def place(self, support: Support, case: Case) -> tuple[Any, Hashable]:
        """What is needed of a grid, made once, and a key that is equal for equal grids.

        Raises:
            InputError: a grid that has no such statistic.
        """

    @abstractmethod
    def measure(self, velocity: Float[np.ndarray, " component *shape"], place: Any) -> Float[np.ndarray, "quantity n"]:
        """The numbers of one frame, Q quantities at P places."""

    @abstractmethod
    def entry(self, group: Group) -> dict[str, Any]:
        """JSON values of what was averaged."""

    def step_of(self, step: int) -> tuple[bool, int | None]:
        """Whether frames of a step count, and under which step they are kept apart."""
        return step >= self.skip, None

    # -- frames ---------------------------------------------------------------------------------------------------

    def begin(self, fields: Sequence[str]) -> None:
        self.fields = tuple(fields)

    def names(self, case: Case) -> tuple[str, ...]:
        """The components of the velocity."""
        return names_of(self.name, self.velocity, self.fields, case)

    def add(
        self, row: str, run: int, rollout: int, step: int, time: float, frame: np.ndarray, case: Case, support: Support
    ) -> None:
        counts, apart = self.step_of(step)
        if not counts or (row == TRUTH and self._known(case, time)):
            return
        components = [self.fields.index(n) for n in self.names(case)]
        ids = (id(support), id(case))
        if ids not in self._places:
            place, key = self.place(support, case)
            self._places[ids] = (support, case, place, (key, kind_of(case)))
        _, _, place, key = self._places[ids]
        group = self.groups.setdefault((row, run, key, apart), Group(row, run, place, case, apart))
        series = (row, run, rollout, id(case))
        if series in self._gone:
            group.left_out += 1
            return
        velocity = np.asarray(frame, dtype=np.float64)[components]
        size = float(np.abs(velocity).max())
        if not np.isfinite(size) or size > LIMIT * self._speed(series, velocity, case):
            self._gone.add(series)
            group.left_out += 1
            return
        values = self.measure(velocity, place)
        if group.blocking is None:
            group.blocking = Blocking(*values.shape)
        if group.latest.get(series, -math.inf) > time:
            group.blocking.end(series)
        elif series in group.latest:
            group.passed += time - group.latest[series]
        group.latest[series] = time
        group.blocking.add(series, values)
        group.first, group.last = min(group.first, time), max(group.last, time)

    def _known(self, case: Case, time: float) -> bool:
        times = self._seen.setdefault(id(case), (case, set()))[1]
        if time in times:
            return True
        times.add(time)
        return False

    def _speed(self, series: Hashable, velocity: np.ndarray, case: Case) -> float:
        if series not in self._speeds:
            scale = case.scales.velocity if case.problem.scaled else 0.0
            first = float(np.sqrt(np.mean(velocity**2)))
            self._speeds[series] = max(scale, first) or math.inf
        return self._speeds[series]

    # -- results --------------------------------------------------------------------------------------------------

    def result(self) -> dict[str, Any]:
        """{"kind": the class, "entries": one for each row, run, grid and kind of flow, the truth first}."""
        groups = sorted(self.groups.values(), key=lambda g: g.row != TRUTH)
        return {"kind": type(self).__name__, "entries": [told(g.head() | self.entry(g)) for g in groups]}

    def dataset(self) -> xr.Dataset:
        """The result as a data set over (entry, ...), with the names of rows and runs as coordinates.

        Raises:
            InputError: entries that do not share a grid.
        """
        from sciml.evaluation._labelled import labelled

        return labelled(self.name, self.along, self.result()["entries"])


def average(group: Group, values: Any, weights: Any) -> dict[str, Any]:
    """A mean with its sampling error: {"value", "standard_error", "integral_time", "resolved"}.

    Args:
        weights: (Q, P) derivatives of the value by the means of the quantities.
    """
    if group.blocking is None:
        nothing = np.full(np.shape(values), np.nan)
        return {"value": nothing, "standard_error": nothing, "integral_time": None, "resolved": False}
    found = group.blocking.error(weights)
    shape = np.shape(values)
    finite = np.isfinite(found.samples) & (found.samples > 0)
    least = float(found.samples[finite].min()) if finite.any() else math.nan
    return {
        "value": values, "standard_error": found.standard_error.reshape(shape),
        "integral_time": group.spacing * group.frames / (2 * least), "resolved": bool(found.resolved.all()),
    }  # fmt: skip


def names_of(who: str, given: Sequence[str] | None, fields: Sequence[str], case: Case) -> tuple[str, ...]:
    """The components of the velocity: those given, else those that the problem names.

    Raises:
        InputError: some are not among the fields.
    """
    if given is not None and (isinstance(given, str) or not all(isinstance(v, str) for v in given)):
        raise InputError(f"{who}: velocity: expected names of fields, such as ('u', 'v', 'w'), got {given!r}")
    chosen = tuple(case.problem.velocity if given is None else given)
    if len(chosen) != case.problem.dimensions or not set(chosen) <= set(fields):
        raise InputError(
            f"{who}: velocity: expected {case.problem.dimensions} of the fields "
            f"{', '.join(fields) or '(none were named)'}, got {', '.join(chosen) or 'none'}"
        )
    return chosen


def above_zero(who: str, name: str, value: float | None) -> float | None:
    """A given scale, which has to be above zero."""
    if value is not None and (not is_number(value) or value <= 0):
        raise InputError(f"{who}: {name}: expected a number > 0, got {value!r}")
    return None if value is None else float(value)
