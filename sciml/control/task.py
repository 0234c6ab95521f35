"""What is to be chosen, and to what end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sciml.arrays import real
from sciml.control.goals import Goal
from sciml.errors import InputError, is_number
from sciml.problem import Case
from sciml.solver import check_times

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclass(frozen=True, eq=False)
class Task:
    """Numbers u that make a case, what is wanted of its particles, and within which bounds u may be.

    Args:
        case: u (K,) -> the case; differentiable in the sense that u changes numbers of the case and no more: places,
            sizes of fixed particle counts, knots of series, parameters.
        times: at which the particles are looked at; the last one counts for the goals of this package.
        goal: what is wanted.
        start: (K,) where u begins.
        lower, upper: (K,) bounds; one number stands for all.
        effort: r of ½ r |u|².

    Raises:
        InputError: bounds the wrong way round, a start beyond them, or times that cannot be.
    """

    case: Callable[[Any], Case]
    times: Any
    goal: Goal
    start: Any
    lower: Any
    upper: Any
    effort: float = 0.0

    def __post_init__(self) -> None:
        if not callable(self.case):
            raise InputError(f"case: expected a function that gives a Case, got {self.case!r:.60}")
        start = np.atleast_1d(_numbers("start", self.start))
        if start.ndim != 1 or not start.size or not np.isfinite(start).all():
            raise InputError(f"start: expected finite numbers (K,), got shape {start.shape}")
        ends = []
        for name, given in (("lower", self.lower), ("upper", self.upper)):
            end = _numbers(name, given)
            if end.shape not in ((), start.shape):
                raise InputError(f"{name}: expected one number or {start.size}, got shape {end.shape}")
            if not np.isfinite(end).all():
                raise InputError(f"{name}: expected finite numbers, got {end[~np.isfinite(end)][0]:g}")
            ends.append(np.array(np.broadcast_to(end, start.shape), dtype=np.float64))
        if not (ends[0] < ends[1]).all():
            k = int(np.argmax(ends[0] >= ends[1]))
            raise InputError(f"upper: expected more than lower, got {ends[1][k]:g} after {ends[0][k]:g}")
        if ((start < ends[0]) | (start > ends[1])).any():
            k = int(np.argmax((start < ends[0]) | (start > ends[1])))
            raise InputError(f"start: entry {k} is {start[k]:g}, expected a value in [{ends[0][k]:g}, {ends[1][k]:g}]")
        if not isinstance(self.goal, Goal):
            raise InputError(f"goal: expected a Goal such as CentreOfMass((1.0, None)), got {self.goal!r:.60}")
        if not is_number(self.effort) or self.effort < 0:
            raise InputError(f"effort: expected a number >= 0, got {self.effort!r:.60}")
        for name, value in zip(("start", "lower", "upper"), (start.astype(np.float64), *ends), strict=True):
            object.__setattr__(self, name, value)
        times = check_times(self.made(self.start).problem, self.times)
        if times is None:
            raise InputError("case: its problem is steady, expected one that changes in time")
        object.__setattr__(self, "times", times)

    def made(self, u: Any) -> Case:
        """The case of these numbers.

        Raises:
            InputError: what `case` gives is none.
        """
        found = self.case(np.asarray(u, dtype=np.float64))
        if not isinstance(found, Case):
            raise InputError(f"case: expected a function that gives a Case, got {type(found).__name__}")
        return found

    def penalty(self, u: Float[np.ndarray, " number"]) -> tuple[float, Float[np.ndarray, " number"]]:
        """½ r |u|² and its gradient."""
        return 0.5 * self.effort * float(u @ u), self.effort * u


def _numbers(name: str, values: Any) -> np.ndarray:
    try:
        return real(name, values)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name}: {error}") from None
