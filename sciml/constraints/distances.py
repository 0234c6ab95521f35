"""Functions that vanish on given pieces of a boundary alone, with slope one along the normal: approximate distances.

Of a segment of length L, with f the distance to its line and t = ((L/2)² − |x − c|²)/L, c its middle,

    φ = √(f² + (√(t² + f⁴) − t)²/4),

of a circle |r² − |x − c|²|/(2r), of a whole side of a box the distance to its plane. Pieces are joined by

    φ = (Σ φᵢ^(−m))^(−1/m),

which keeps zeros, and the slope on each piece up to order m. Written with the operators of arrays alone: NumPy, torch
and JAX evaluate them, at any points.

Source: N. Sukumar, A. Srivastava, Comput. Methods Appl. Mech. Eng. 389, 114333 (2022); V. L. Rvachev, T. I. Sheiko,
V. Shapiro, I. Tsukanov, Comput. Aided Geom. Des. 18, 195 (2001).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

from sciml.errors import InputError, is_number


class Piece(ABC):
    """Abstract: a part of a boundary with an approximate distance."""

    @abstractmethod
    def distance(self, points: Any) -> Any:
        """φ (...) at points (..., D): zero on the piece, positive elsewhere, of slope one along its normal."""


def _finite(name: str, values: Sequence[float]) -> tuple[float, ...]:
    found = tuple(float(v) for v in values)
    if not all(is_number(v) for v in found):
        raise InputError(f"{name}: expected finite numbers, got {values!r}")
    return found


@final
@dataclass(frozen=True)
class Plane(Piece):
    """A plane normal to an axis, or in one dimension a point: |x − place|. Its whole extent counts as the boundary."""

    axis: int
    place: float

    def distance(self, points: Any) -> Any:
        return abs(points[..., self.axis] - self.place)


@final
@dataclass(frozen=True)
class Segment(Piece):
    """A straight piece in the plane, ends included."""

    start: tuple[float, float]
    end: tuple[float, float]

    def __post_init__(self) -> None:
        if len(_finite("start", self.start)) != 2 or len(_finite("end", self.end)) != 2 or self.start == self.end:
            raise InputError(f"segment: expected two different points (x, y), got {self.start} and {self.end}")

    def distance(self, points: Any) -> Any:
        (x0, y0), (x1, y1) = self.start, self.end
        length = math.hypot(x1 - x0, y1 - y0)
        x, y = points[..., 0], points[..., 1]
        f = ((x - x0) * (y1 - y0) - (y - y0) * (x1 - x0)) / length
        # ((L/2)² − |x − c|²)/L = −(x − start)·(x − end)/L
        t = -((x - x0) * (x - x1) + (y - y0) * (y - y1)) / length
        # √(t² + f⁴) − t without the difference of equal numbers, where t > 0
        root = _root(t * t + f**4)
        positive = _one(t > 0, t)
        rest = positive * f**4 / (root + abs(t) + (1.0 - positive)) + (1.0 - positive) * (root - t)
        return _root(f * f + rest * rest / 4)


@final
@dataclass(frozen=True)
class Circle(Piece):
    """A circle, or a sphere."""

    centre: tuple[float, ...]
    radius: float

    def __post_init__(self) -> None:
        _finite("centre", self.centre)
        if not (is_number(self.radius) and self.radius > 0):
            raise InputError(f"circle: radius is {self.radius!r}, expected a positive length")

    def distance(self, points: Any) -> Any:
        square = sum((points[..., k] - c) ** 2 for k, c in enumerate(self.centre))
        return abs(self.radius**2 - square) / (2 * self.radius)


def outline(vertices: Sequence[tuple[float, float]]) -> tuple[Segment, ...]:
    """The edges of a polygon."""
    corners = [(float(x), float(y)) for x, y in vertices]
    if len(corners) < 3:
        raise InputError(f"vertices: expected three corners or more, got {len(corners)}")
    return tuple(Segment(a, b) for a, b in zip(corners, corners[1:] + corners[:1], strict=True))


def _one(where: Any, like: Any) -> Any:
    """1 there and 0 elsewhere, in the type of `like`."""
    return where + 0.0 * like


def _root(square: Any) -> Any:
    """√, with the slope 0 instead of infinity at 0."""
    none = _one(square <= 0, square)
    return (square + none) ** 0.5 - none


def joined(distances: Sequence[Any], order: int = 2) -> Any:
    """φ of all pieces together, from those of each: zero where one is, and its slope is one on each up to `order`.

    Args:
        distances: (...) of each piece.
    """
    if order < 1:
        raise InputError(f"order: expected a whole number ≥ 1, got {order!r}")
    found = None
    for d in distances:
        # two at a time, d₁ d₂ / (d₁^m + d₂^m)^(1/m): no quotient by zero but where both vanish
        if found is None:
            found = d
            continue
        power = found**order + d**order
        none = _one(power <= 0, power)
        found = found * d / (power + none) ** (1.0 / order)
    if found is None:
        raise InputError("distances: expected at least one piece")
    return found


def shares(distances: Sequence[Any], order: int = 1) -> list[Any]:
    """Weights that add up to one, each one on its own piece and zero on the others: wᵢ ∝ Π_{j≠i} φⱼ^m.

    Where pieces meet, both weigh alike. With `order` 2 the slope of the interpolant across a piece is that of nothing.
    """
    if not distances:
        raise InputError("distances: expected at least one piece")
    raw = []
    for i in range(len(distances)):
        weight = 1.0
        for j, d in enumerate(distances):
            if j != i:
                weight = weight * d**order
        raw.append(weight)
    total = sum(raw)
    none = _one(total <= 0, total)  # where pieces meet
    meet = [none * (d <= 0) for d in distances]
    count = sum(meet) + (1.0 - none)
    return [(1.0 - none) * w / (total + none) + m / count for w, m in zip(raw, meet, strict=True)]
