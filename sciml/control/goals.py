"""What is wanted of particles, as numbers ≥ 0 that are smooth in their places.

Goals are written once for NumPy, JAX and torch: `xp` is the library whose arrays come in.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sciml.errors import InputError, is_number


class Goal(ABC):
    """Abstract: how far particles are from where they are wanted; 0 where they are there."""

    @abstractmethod
    def __call__(self, xp: Any, frames: Mapping[str, Any]) -> Any:
        """The distance, a scalar.

        Args:
            xp: numpy, jax.numpy or torch.
            frames: "position" and "velocity" (time, particle, dimension) and "mass" (particle,).
        """


class CentreOfMass(Goal):
    """Σ_i (X_i − target_i)² / L² of the last frame, X = Σ m x / Σ m the centre of mass.

    Args:
        target: where it is wanted along x, y, z, in m; None for an axis along which it may be anywhere.
        length: L, what counts as one, in m.

    Raises:
        InputError: no axis with a target, or no length.
    """

    def __init__(self, target: Sequence[float | None], length: float = 1.0):
        self.target = tuple(None if t is None else float(t) for t in _entries("target", target))
        if all(t is None for t in self.target):
            raise InputError("target: expected a number for at least one axis, got None for all")
        self.length = _positive("length", length)

    def __call__(self, xp: Any, frames: Mapping[str, Any]) -> Any:
        _fits("target", self.target, frames)
        mass, last = frames["mass"], frames["position"][-1]
        total, found = mass.sum(), 0.0
        for axis, wanted in enumerate(self.target):
            if wanted is not None:
                found = found + (((mass * last[:, axis]).sum() / total - wanted) / self.length) ** 2
        return found


class Inside(Goal):
    """The share of the mass that the last frame has outside of a box, with soft edges:

        1 − Σ m Π_i s((x_i − lower_i)/w) s((upper_i − x_i)/w) / Σ m,    s(z) = 1/(1 + exp(−z)).

    Args:
        lower, upper: ends of the box along x, y, z, in m; None where it is open.
        softness: w, width of an edge, in m. Matter further away than a few widths feels the goal hardly: begin with a
            wide one.

    Raises:
        InputError: ends that are none, or the wrong way round.
    """

    def __init__(self, lower: Sequence[float | None], upper: Sequence[float | None], softness: float):
        self.lower = tuple(None if a is None else float(a) for a in _entries("lower", lower))
        self.upper = tuple(None if a is None else float(a) for a in _entries("upper", upper))
        if len(self.lower) != len(self.upper):
            raise InputError(f"upper: expected {len(self.lower)} entries, as lower has, got {len(self.upper)}")
        for a, b in zip(self.lower, self.upper, strict=True):
            if a is not None and b is not None and not a < b:
                raise InputError(f"upper: expected more than lower, got {b:g} after {a:g}")
        self.softness = _positive("softness", softness)

    def __call__(self, xp: Any, frames: Mapping[str, Any]) -> Any:
        _fits("lower", self.lower, frames)
        mass, last = frames["mass"], frames["position"][-1]
        share = mass / mass.sum()
        for axis, (low, high) in enumerate(zip(self.lower, self.upper, strict=True)):
            for end, sign in ((low, 1.0), (high, -1.0)):
                if end is not None:  # ½ (1 + tanh(z/2)) is the logistic function, and overflows nowhere
                    share = share * 0.5 * (1.0 + xp.tanh(sign * (last[:, axis] - end) / (2.0 * self.softness)))
        return 1.0 - share.sum()


def _entries(name: str, given: Any) -> tuple[Any, ...]:
    found = tuple(given) if isinstance(given, Sequence | np.ndarray) and not isinstance(given, str) else ()
    if not 1 <= len(found) <= 3 or any(v is not None and not is_number(v) for v in found):
        raise InputError(f"{name}: expected a number or None for each axis, got {given!r:.60}")
    return found


def _positive(name: str, given: Any) -> float:
    if not is_number(given) or not given > 0:
        raise InputError(f"{name}: expected a number > 0, got {given!r:.60}")
    return float(given)


def _fits(name: str, given: Sequence[Any], frames: Mapping[str, Any]) -> None:
    found = frames["position"].shape[-1]
    if len(given) != found:
        raise InputError(f"{name}: has {len(given)} entries, expected {found}, as positions have")
