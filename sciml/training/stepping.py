"""How a learned solver treats time: what one training item is, and what one application of the operator answers."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from sciml.errors import InputError, suggest
from sciml.training.parts import Part

if TYPE_CHECKING:
    from sciml.problem import Case, Problem
    from sciml.training.samples import CaseTable, TimeStep


@dataclass(frozen=True)
class Stepping(Part, family="stepping"):
    """Abstract; final are `Steady`, `Autoregressive`, `Query` and `Window`.

    A training item is a present frame of a case: `items` says which there are, `past` and `future` which frames go in
    and come out of it. Numbers of frames count from the first of a case.
    """

    #: whether the operator is asked for times, rather than for the next frames
    queries: ClassVar[bool] = False

    @property
    def past(self) -> int:
        """Frames that go in; 0 where none does."""
        return 0

    @property
    def ahead(self) -> int:
        """Frames that one application answers."""
        return 1

    @property
    def every(self) -> int:
        """Frames of the data that one step spans."""
        return 1

    @property
    def longest(self) -> int:
        """Steps that one application may span in training; in answers it spans one."""
        return 1

    @property
    def residual(self) -> bool:
        """Whether the operator predicts increments from the last frame."""
        return False

    @property
    def linear(self) -> tuple[str, ...]:
        """Parameters that answers are linear in."""
        return ()

    def check(self, problem: Problem) -> None:
        """Refuse a problem whose time is not of this kind."""
        if problem.steady:
            raise InputError(f"stepping: {problem.name} is steady, expected Steady(), got {self!r}")

    @abstractmethod
    def time_step(self, table: CaseTable) -> TimeStep | None:
        """The step that all cases have in common."""

    @abstractmethod
    def items(self, length: int, horizon: int, stride: int = 1) -> np.ndarray:
        """Present frames of the items in a case of so many frames, with `horizon` applications in a row, each over
        `stride` steps."""

    @abstractmethod
    def before(self, present: np.ndarray) -> np.ndarray:
        """(item, past) frames that go in; the first of the case stands in for what was before it."""

    @abstractmethod
    def after(self, present: np.ndarray, horizon: int, stride: np.ndarray | int = 1) -> np.ndarray:
        """(item, horizon, ahead) frames that come out; `stride` (item,) or one for all."""

    def feature_step(self, step: TimeStep | None, case: Case) -> float:
        """The length of time that a problem's features are asked for."""
        return 0.0 if step is None else step.of(case) * self.ahead

    def feature_times(self, times: np.ndarray, step: TimeStep | None, case: Case) -> np.ndarray:
        """Times at which applications may start in a case with frames at `times`."""
        return times

    def sees_start(self, differ: Callable[[], bool]) -> bool:
        """Whether frames go in; `differ` tells whether training cases begin differently."""
        return self.past > 0

    def lead(self, step: TimeStep | None, case: Case) -> float:
        """How far before the first frame of the data an answer may begin without a warning."""
        return 0.0


@dataclass(frozen=True)
class Steady(Stepping):
    """One answer a case, û = operator(inputs); there is no time.

    Args:
        linear_in: parameters in which the solution is linear, all of them together: loads of an elastic body, sources
            of heat. Answers are then sums û = Σ_k p_k·operator(p_k = 1, the others 0; inputs), exactly linear whatever
            the operator, at the cost of one application for each. Nothing else may drive the solution: where all of
            them are zero, so is the answer. Static input fields count among what the solution need not be linear in.

    Raises:
        InputError: a parameter that is named twice.
    """

    linear_in: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in self.linear_in:
            if self.linear_in.count(name) > 1:
                raise InputError(f"linear_in: expected each parameter once, got {name!r} several times")

    @property
    def linear(self) -> tuple[str, ...]:
        return self.linear_in

    def check(self, problem: Problem) -> None:
        if not problem.steady:
            raise InputError(f"stepping: {problem.name} changes in time, expected Autoregressive, Window or Query")
        known = {p.name: p for p in problem.parameters}
        for name in self.linear_in:
            if name not in known:
                raise InputError(f"linear_in: {problem.name} has no parameter {name!r}{suggest(name, list(known))}")
            if known[name].logarithmic:
                raise InputError(f"linear_in: {name} is logarithmic, so that nothing can be linear in it")

    def time_step(self, table: CaseTable) -> None:
        return None

    def items(self, length: int, horizon: int, stride: int = 1) -> np.ndarray:
        return np.arange(length)

    def before(self, present: np.ndarray) -> np.ndarray:
        return np.zeros((len(present), 0), int)

    def after(self, present: np.ndarray, horizon: int, stride: np.ndarray | int = 1) -> np.ndarray:
        return present[:, None, None]


@dataclass(frozen=True)
class _Marching(Stepping):
    """Frames after frames: û(t + Δt), ..., û(t + ahead·Δt) from frames up to t."""

    def time_step(self, table: CaseTable) -> TimeStep:
        from sciml.training.samples import time_step

        return time_step(table, self.every)

    def items(self, length: int, horizon: int, stride: int = 1) -> np.ndarray:
        return np.arange(length - self.every * self.ahead * horizon * stride)

    def before(self, present: np.ndarray) -> np.ndarray:
        return np.maximum(present[:, None] + self.every * np.arange(1 - self.past, 1), 0)

    def after(self, present: np.ndarray, horizon: int, stride: np.ndarray | int = 1) -> np.ndarray:
        steps = self.every * np.arange(1, horizon * self.ahead + 1).reshape(horizon, self.ahead)
        return present[:, None, None] + np.reshape(stride, (-1, 1, 1)) * steps


@dataclass(frozen=True)
class Autoregressive(_Marching):
    """û(t + Δt) = û(t) + σ·operator(û(t), ..., û(t − (history − 1)Δt)), applied to its own answers.

    Args:
        step: frames of the data that Δt spans.
        history: frames that the operator sees.
        increments: predict increments (as above) rather than the next frame.
        strides: in training Δt spans 1, 2, ..., `strides` of these steps, in samples of their own, so that the step is
            a number that the operator learns the influence of: cases whose step is longer, in their own scales, than
            any that training saw are then less unlike what it saw. Answers go by one step.

    Raises:
        InputError: strides with a history: past frames are one step apart.
    """

    step: int = 1
    history: int = 1
    increments: bool = True
    strides: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        self._range("step", 1)
        self._range("history", 1)
        self._range("strides", 1)
        if self.strides > 1 and self.history > 1:
            raise InputError(f"strides: expected 1 where operators see {self.history} frames, got {self.strides}")

    @property
    def longest(self) -> int:
        return self.strides

    @property
    def past(self) -> int:
        return self.history

    @property
    def every(self) -> int:
        return self.step

    @property
    def residual(self) -> bool:
        return self.increments


@dataclass(frozen=True)
class Window(_Marching):
    """n_out frames at once from n_in frames, and on from the last n_in of what is then known.

    Args:
        step: frames of the data that Δt spans.
        increments: predict increments from the last frame that is known rather than the frames themselves.
    """

    n_in: int = 4
    n_out: int = 4
    step: int = 1
    increments: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self._range("n_in", 1)
        self._range("n_out", 1)
        self._range("step", 1)

    @property
    def past(self) -> int:
        return self.n_in

    @property
    def ahead(self) -> int:
        return self.n_out

    @property
    def every(self) -> int:
        return self.step

    @property
    def residual(self) -> bool:
        return self.increments


@dataclass(frozen=True)
class Query(Stepping):
    """û(x, t) at any time (and, for operators on points, at any place) at once, from how the case begins.

    The time is given to the operator as a share of the longest that training saw. Frames may be at unequal times.

    Args:
        start: whether the operator is given the frame at which a case begins; False for cases that their parameters
            and inputs tell in full. By default it is where the training cases begin differently.
    """

    start: bool | None = None

    queries: ClassVar[bool] = True

    @property
    def past(self) -> int:
        return 1

    def time_step(self, table: CaseTable) -> TimeStep:
        """The longest time of a case, in time scales if that is nearly the same for all, else in time units."""
        from sciml.training.samples import TimeStep

        assert table.times is not None
        spans = np.array([t[-1] - t[0] for t in table.times])
        scales = np.array([c.scales.time for c in table.cases])
        if not (spans > 0).any():
            raise InputError("data: no case has two frames, so there is no time to ask for")
        spread = [np.ptp(v) / v.max() for v in (spans / scales, spans)]
        if spread[0] <= spread[1] and table.problem.scaled:
            return TimeStep("nondimensional", float((spans / scales).max()))
        return TimeStep("physical", float(spans.max()))

    def items(self, length: int, horizon: int, stride: int = 1) -> np.ndarray:
        return np.arange(length)

    def before(self, present: np.ndarray) -> np.ndarray:
        return np.zeros((len(present), 1), int)

    def after(self, present: np.ndarray, horizon: int, stride: np.ndarray | int = 1) -> np.ndarray:
        return present[:, None, None]

    def feature_times(self, times: np.ndarray, step: TimeStep | None, case: Case) -> np.ndarray:
        return np.asarray(times)[:1]

    def sees_start(self, differ: Callable[[], bool]) -> bool:
        return differ() if self.start is None else self.start
