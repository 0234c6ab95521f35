"""Conditions on named boundaries, and values that change in time and in space."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self, final

import numpy as np

from sciml.arrays import clock, real
from sciml.errors import InputError, is_number


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
class InTime:
    """A function of time alone.

    Args:
        function: time -> number.
    """

    function: Callable[[float], float]

    def __call__(self, time: float) -> float:
        return self.function(time)


@dataclass(frozen=True)
class InSpace:
    """A function of the place, times a series in time.

    Args:
        function: points (N, D) -> (N,) values.
        factor: 1 where it is None.
    """

    function: Callable[[np.ndarray], np.ndarray]
    factor: Series | None = None

    def __call__(self, points: np.ndarray, time: float = 0.0) -> np.ndarray:
        found = np.asarray(self.function(points), dtype=np.float64)
        return found if self.factor is None else found * self.factor(time)


class Samples:
    """Values at points of a boundary: along a straight line linear in between and constant beyond, elsewhere weighted
    by the inverse distance of as many neighbours as there are dimensions.

    Args:
        points: (N, D) places.
        values: (N,) values.
    """

    __slots__ = ("points", "values")

    def __init__(self, points: Any, values: Any):
        points, values = np.array(real("samples: points", points)), np.array(real("samples: values", values))
        if points.ndim != 2 or points.shape[:1] != values.shape or not len(points):
            raise InputError(f"samples: expected points (N, D) and values (N,), got {points.shape} and {values.shape}")
        if not (np.isfinite(points).all() and np.isfinite(values).all()):
            raise InputError("samples: points and values must be finite")
        points.flags.writeable = values.flags.writeable = False
        object.__setattr__(self, "points", points)
        object.__setattr__(self, "values", values)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError("Samples are immutable")

    def __reduce__(self) -> Any:
        return (Samples, (self.points, self.values))

    def __call__(self, points: np.ndarray, time: float = 0.0) -> np.ndarray:
        """(M,) values at points (M, D)."""
        from scipy.spatial import KDTree

        centred = self.points - self.points.mean(0)
        _, sizes, directions = np.linalg.svd(centred, full_matrices=False)
        if sizes[1:].max(initial=0.0) <= 1e-9 * max(sizes[0], 1e-300):
            along = centred @ directions[0]
            order = np.argsort(along)
            where = (np.asarray(points) - self.points.mean(0)) @ directions[0]
            return np.interp(where, along[order], self.values[order])
        d = self.points.shape[1]
        distance, near = KDTree(self.points).query(points, k=min(d, len(self.points)))
        distance, near = distance.reshape(len(points), -1), near.reshape(len(points), -1)
        weights = 1.0 / np.maximum(distance, 1e-12 * np.ptp(self.points, axis=0).max() + 1e-300)
        return (weights * self.values[near]).sum(1) / weights.sum(1)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Samples):
            return False
        return np.array_equal(self.points, other.points) and np.array_equal(self.values, other.values)

    def __hash__(self) -> int:
        return hash((self.points.tobytes(), self.values.tobytes()))

    def __repr__(self) -> str:
        return f"Samples({len(self.points)} points)"


Value = float | Series | InTime | InSpace | Samples | Callable[[np.ndarray, float], Any] | np.ndarray


@dataclass(frozen=True)
class Condition(ABC):
    """Abstract: a q + b ∂q/∂n = g for one field q on one boundary, n being the outward normal.

    Args:
        value: g: a number; a `Series` or a function `InTime`; `Samples` or a function `InSpace`; a function of (points
            (N, D), time) that gives (N,) values; or an array along a side of a grid.
    """

    value: Value = 0.0

    def __post_init__(self) -> None:
        if isinstance(self.value, float) and not math.isfinite(self.value):
            raise InputError(f"{type(self).__name__.lower()}: the value is {self.value!r}, expected a finite number")

    @property
    @abstractmethod
    def law(self) -> tuple[float, float] | None:
        """(a, b); None where the condition is no such law."""

    @property
    def given(self) -> bool:
        """Whether it says the value of the field itself."""
        return self.law is not None and self.law[1] == 0

    @property
    def zero(self) -> bool:
        """Whether it says that the field is zero, at all times and places."""
        value = self.value.values if isinstance(self.value, Series | Samples) else self.value
        return self.given and not callable(value) and bool(np.all(np.asarray(value) == 0))

    @property
    def in_space(self) -> bool:
        """Whether the value may vary along the boundary."""
        value = self.value
        if isinstance(value, Series | InTime):
            return False
        return callable(value) or np.ndim(value) > 0

    @property
    def still(self) -> bool:
        """Whether its value is known not to change in time."""
        if isinstance(self.value, InSpace):
            return self.value.factor is None
        return isinstance(self.value, Samples) or not callable(self.value)

    @property
    def knots(self) -> np.ndarray:
        """Times between which the value is known to change linearly; none where it does not change or nobody knows."""
        value = self.value.factor if isinstance(self.value, InSpace) else self.value
        return value.times if isinstance(value, Series) else np.zeros(0)

    def with_value(self, value: Any) -> Self:
        return replace(self, value=value)

    def at(self, time: Any, points: np.ndarray | None = None) -> Any:
        """The value at one time: a number, or (N,) at `points` (N, D).

        Raises:
            InputError: a value that varies in space, and no points.
        """
        value = self.value
        if isinstance(value, Series | InTime):
            return value(time)
        if not callable(value):
            return value
        if points is None:
            raise InputError("boundary condition: its value varies along the boundary, expected points")
        found = np.asarray(value(points, time), dtype=np.float64)
        return np.broadcast_to(found, (len(points),))

    def over(self, times: Any, points: np.ndarray | None = None) -> np.ndarray:
        """The values at many times: (T,) or (T, N)."""
        times = np.atleast_1d(times)
        if not len(times):
            return np.zeros((0, *np.shape(self.at(0.0, points))))
        return np.stack([np.asarray(self.at(float(t), points), dtype=np.float64) for t in times])


@final
@dataclass(frozen=True)
class Dirichlet(Condition):
    """q = g."""

    @property
    def law(self) -> tuple[float, float]:
        return 1.0, 0.0


@final
@dataclass(frozen=True)
class Neumann(Condition):
    """∂q/∂n = g."""

    @property
    def law(self) -> tuple[float, float]:
        return 0.0, 1.0


@final
@dataclass(frozen=True)
class Robin(Condition):
    """a q + b ∂q/∂n = g.

    Args:
        a, b: numbers, not both zero; b = 0 is `Dirichlet`.
    """

    a: float = 1.0
    b: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (is_number(self.a) and is_number(self.b)) or self.b == 0:
            raise InputError(f"robin: a and b are {self.a!r} and {self.b!r}, expected numbers and b other than 0")

    @property
    def law(self) -> tuple[float, float]:
        return float(self.a), float(self.b)


@final
@dataclass(frozen=True)
class Flux(Condition):
    """The normal flux of the balance that stores the field, outwards, is g; what the field does there follows."""

    @property
    def law(self) -> None:
        return None


@final
@dataclass(frozen=True)
class Outflow(Condition):
    """The field leaves as it comes, ∂q/∂n = 0; of a velocity: the fluid may pass."""

    def __post_init__(self) -> None:
        if not (is_number(self.value) and self.value == 0):
            raise InputError(f"outflow: has no value, got {self.value!r}")

    def with_value(self, value: Any) -> Self:
        return self

    @property
    def law(self) -> tuple[float, float]:
        return 0.0, 1.0


@final
@dataclass(frozen=True)
class Periodic(Condition):
    """The boundary is one with its partner.

    Args:
        partner: the name of the other one; "" for the opposite side of a box.
    """

    partner: str = ""

    @property
    def law(self) -> None:
        return None


Conditions = Mapping[str, Mapping[str, Condition]]  # boundary -> field -> condition


def scattered(places: np.ndarray, values: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Linear interpolation of values at scattered places."""
    from scipy.interpolate import LinearNDInterpolator
    from scipy.spatial import QhullError

    try:
        found = LinearNDInterpolator(places, values)(points) if places.shape[1] > 1 else np.full(len(points), np.nan)
    except QhullError:  # too few places, or all on a line
        found = np.full(len(points), np.nan)
    beyond = np.isnan(found)
    if beyond.any():
        found[beyond] = Samples(places, values)(points[beyond])
    return found
