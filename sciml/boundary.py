"""Conditions on named boundaries and values that change in time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from sciml.arrays import clock, real
from sciml.errors import InputError

KINDS = ("dirichlet", "neumann", "periodic")


class Series:
    """A scalar of time, linear between its knots and constant outside them.

    Args:
        times: (K,) knot times, strictly increasing, in the case's time unit; durations are taken in seconds.
        values: (K,) values.
    """

    __slots__ = ("times", "values")

    def __init__(self, times: Any, values: Any):
        try:
            times = np.array(clock("series: times", times))
            values = np.array(real("series: values", values))
        except InputError:
            raise
        except (TypeError, ValueError):
            raise InputError(f"series: expected numbers, got times {times!r:.60} and values {values!r:.60}") from None
        if times.ndim != 1 or times.shape != values.shape or times.size == 0:
            raise InputError(f"series: expected times and values of one length, got {times.shape} and {values.shape}")
        if not (np.isfinite(times).all() and np.isfinite(values).all()):
            raise InputError("series: times and values must be finite")
        if np.any(np.diff(times) <= 0):
            raise InputError("series: times must increase strictly")
        times.flags.writeable = values.flags.writeable = False
        object.__setattr__(self, "times", times)
        object.__setattr__(self, "values", values)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError("a Series is immutable")

    def __reduce__(self) -> Any:
        return (Series, (self.times, self.values))

    def __call__(self, time: Any) -> Any:
        """The value at `time` (scalar or array)."""
        return np.interp(time, self.times, self.values)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Series)
            and np.array_equal(self.times, other.times)
            and np.array_equal(self.values, other.values)
        )

    def __hash__(self) -> int:
        return hash((self.times.tobytes(), self.values.tobytes()))

    def __repr__(self) -> str:
        return f"Series({self.times.size} knots, t = {self.times[0]:g} ... {self.times[-1]:g})"


@dataclass(frozen=True)
class BoundaryCondition:
    """One field on one boundary.

    Args:
        kind: "dirichlet" (value of the field), "neumann" (outward normal derivative) or "periodic".
        value: a number, a `Series`, a function of time, or an array along the boundary.
    """

    kind: str
    value: float | Series | Callable[[float], float] | np.ndarray = 0.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(f"boundary condition: kind is {self.kind!r}, expected one of {', '.join(KINDS)}")

    def at(self, time: float) -> Any:
        """The value at one time."""
        return self.value(time) if callable(self.value) else self.value

    def over(self, times: Any) -> np.ndarray:
        """The values at many times: (T,) or (T, n along the boundary)."""
        times = np.atleast_1d(times)
        if not len(times):
            return np.zeros((0, *np.shape(self.at(0.0))))
        return np.stack([np.asarray(self.at(float(t)), dtype=np.float64) for t in times])
