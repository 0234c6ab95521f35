"""What holds matter that is followed by particles: sides of a box and bodies in it, and how both touch it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import numpy as np

from sciml.boundary import Series
from sciml.errors import InputError, is_number
from sciml.geometry import Geometry

if TYPE_CHECKING:
    from jaxtyping import Float, Shaped


class Wall(ABC):
    """Abstract: how a wall touches matter. With v the velocity of matter against the wall, n the wall's normal into
    the matter: matter that comes nearer (v·n < 0) loses that part of its velocity, and by friction up to `friction`
    times as much of the part along the wall."""

    @property
    @abstractmethod
    def friction(self) -> float:
        """Coulomb's coefficient μ; infinite where matter sticks."""

    @property
    def separates(self) -> bool:
        """Whether matter may leave it: a wall pushes and never pulls."""
        return True


@final
@dataclass(frozen=True)
class Slip(Wall):
    """Without friction."""

    @property
    def friction(self) -> float:
        return 0.0


@final
@dataclass(frozen=True)
class Stick(Wall):
    """Matter has the wall's velocity, and cannot leave."""

    @property
    def friction(self) -> float:
        return math.inf

    @property
    def separates(self) -> bool:
        return False


@final
@dataclass(frozen=True)
class Friction(Wall):
    """Coulomb's dry friction.

    Args:
        coefficient: μ ≥ 0.
    """

    coefficient: float

    def __post_init__(self) -> None:
        if not (is_number(self.coefficient) and self.coefficient >= 0):
            raise InputError(f"friction: the coefficient is {self.coefficient!r}, expected a number >= 0")

    @property
    def friction(self) -> float:
        return float(self.coefficient)


@dataclass(frozen=True)
class Body:
    """A rigid body in the way of matter.

    Args:
        shape: where it is at t = 0; a region of its own, so that its signed distance is positive in the body.
        condition: how it touches matter.
        motion: its velocity over time along each axis, m s⁻¹; () for a body that stands. It does not turn.

    Raises:
        InputError: velocities that are not one `Series` an axis.
    """

    shape: Geometry
    condition: Wall = Stick()
    motion: tuple[Series, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "motion", tuple(self.motion))
        if not isinstance(self.condition, Wall):
            raise InputError(f"body: condition is {self.condition!r:.60}, expected Slip(), Stick() or Friction(μ)")
        if not isinstance(self.shape, Geometry):
            raise InputError(f"body: shape is {self.shape!r:.60}, expected a region of sciml.geometry")
        d = self.shape.dimensions
        if self.motion and (len(self.motion) != d or not all(isinstance(s, Series) for s in self.motion)):
            raise InputError(f"body: motion is {self.motion!r:.80}, expected {d} Series, one an axis")

    def velocity(self, times: Any) -> Float[np.ndarray, "*time d"]:
        """(*time, D) at times."""
        times = np.asarray(times, dtype=np.float64)
        if not self.motion:
            return np.zeros((*times.shape, self.shape.dimensions))
        return np.stack([np.asarray(s(times), dtype=np.float64) for s in self.motion], axis=-1)

    def displacement(self, times: Any) -> Float[np.ndarray, "*time d"]:
        """(*time, D) how far it has come from where it is at t = 0: the integral of its velocity."""
        times = np.asarray(times, dtype=np.float64)
        if not self.motion:
            return np.zeros((*times.shape, self.shape.dimensions))
        return np.stack([integral(s, times) - integral(s, np.zeros(())) for s in self.motion], axis=-1)

    def distance(self, points: Shaped[np.ndarray, "*batch d"], time: float = 0.0) -> Float[np.ndarray, "*batch"]:
        """(...) from points (..., D) to its surface, negative in the body."""
        away = np.asarray(points, dtype=np.float64) - self.displacement(float(time))
        return -np.asarray(self.shape.signed_distance(away), dtype=np.float64)


def integral(series: Series, times: np.ndarray) -> np.ndarray:
    """∫ of a series from its first knot to times, exactly."""
    knots, values = series.times, series.values
    steps = np.diff(knots)
    until = np.concatenate([[0.0], np.cumsum(steps * (values[1:] + values[:-1]) / 2)])
    k = np.clip(np.searchsorted(knots, times, side="right") - 1, 0, len(knots) - 1)
    after = times - knots[k]
    before = np.minimum(after, 0.0)  # before the first knot
    now = np.asarray(series(times), dtype=np.float64)
    return until[k] + np.where(after < 0, before * values[0], after * (values[k] + now) / 2)
