"""Straight lines and arcs of the plane: what outlines of regions consist of."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float, Shaped


class Curve(ABC):
    """A piece of a curve, r(s) for shares 0 ≤ s ≤ 1; abstract, final are `Line` and `Arc`."""

    name: str

    @property
    @abstractmethod
    def length(self) -> float: ...

    @property
    @abstractmethod
    def curvature(self) -> float:
        """1 / radius."""

    @abstractmethod
    def at(self, share: Shaped[np.ndarray, " place"]) -> Float[np.ndarray, "place 2"]:
        """Points of it."""

    @abstractmethod
    def tangent(self, share: Shaped[np.ndarray, " place"]) -> Float[np.ndarray, "place 2"]:
        """Unit vectors along it."""

    @abstractmethod
    def nearest(self, points: Shaped[np.ndarray, "point 2"]) -> Float[np.ndarray, " point"]:
        """Shares at which it is nearest to `points`."""

    @abstractmethod
    def part(self, start: float, stop: float) -> Self:
        """What lies between two shares; the other way round if `stop` is less than `start`."""

    @abstractmethod
    def named(self, name: str) -> Self:
        """The same, as part of the boundary of this name."""

    @abstractmethod
    def meets(self, other: Curve) -> Float[np.ndarray, "place 2"]:
        """Points at which it crosses or touches another curve, both continued beyond their ends: to be looked up on
        each of them. None for curves that coincide."""

    @abstractmethod
    def on_circle(self, centre: np.ndarray, radius: float) -> np.ndarray:
        """Points (P, 2) in which its continuation meets a circle."""

    @abstractmethod
    def on_line(self, start: np.ndarray, along: np.ndarray) -> np.ndarray:
        """Points (P, 2) in which its continuation meets a line."""

    def distance(self, points: Shaped[np.ndarray, "point 2"]) -> Float[np.ndarray, " point"]:
        return np.linalg.norm(np.asarray(points) - self.at(self.nearest(points)), axis=-1)


@dataclass(frozen=True)
class Line(Curve):
    """A straight line from `start` to `stop`."""

    start: tuple[float, float]
    stop: tuple[float, float]
    name: str = "surface"

    @property
    def along(self) -> np.ndarray:
        return np.array(self.stop) - np.array(self.start)

    @property
    def length(self) -> float:
        return math.dist(self.start, self.stop)

    @property
    def curvature(self) -> float:
        return 0.0

    def at(self, share: Shaped[np.ndarray, " place"]) -> Float[np.ndarray, "place 2"]:
        s = np.asarray(share, dtype=np.float64)[..., None]
        return (1.0 - s) * np.array(self.start) + s * np.array(self.stop)  # both ends to the last bit

    def tangent(self, share: Shaped[np.ndarray, " place"]) -> Float[np.ndarray, "place 2"]:
        return np.broadcast_to(self.along / self.length, (*np.shape(share), 2))

    def nearest(self, points: Shaped[np.ndarray, "point 2"]) -> Float[np.ndarray, " point"]:
        along = self.along
        return np.clip((np.asarray(points) - np.array(self.start)) @ along / (along @ along), 0.0, 1.0)

    def part(self, start: float, stop: float) -> Line:
        ends = self.at(np.array([start, stop])).tolist()
        return replace(self, start=tuple(ends[0]), stop=tuple(ends[1]))

    def named(self, name: str) -> Line:
        return replace(self, name=name)

    def meets(self, other: Curve) -> Float[np.ndarray, "place 2"]:
        return other.on_line(np.array(self.start), self.along)

    def on_circle(self, centre: np.ndarray, radius: float) -> np.ndarray:
        return _line_and_circle(np.array(self.start), self.along, centre, radius)

    def on_line(self, start: np.ndarray, along: np.ndarray) -> np.ndarray:
        mine = self.along
        cross = mine[0] * along[1] - mine[1] * along[0]
        if abs(cross) <= 1e-12 * np.linalg.norm(mine) * np.linalg.norm(along):
            return np.zeros((0, 2))
        offset = start - np.array(self.start)
        return (np.array(self.start) + mine * (offset[0] * along[1] - offset[1] * along[0]) / cross)[None]


@dataclass(frozen=True)
class Arc(Curve):
    """Part of a circle, from the angle `angle` on over `sweep` (positive: anticlockwise), both in radians."""

    centre: tuple[float, float]
    radius: float
    angle: float
    sweep: float
    name: str = "surface"

    @property
    def length(self) -> float:
        return self.radius * abs(self.sweep)

    @property
    def curvature(self) -> float:
        return 1.0 / self.radius

    def at(self, share: Shaped[np.ndarray, " place"]) -> Float[np.ndarray, "place 2"]:
        angle = self.angle + self.sweep * np.asarray(share, dtype=np.float64)
        return np.array(self.centre) + self.radius * np.stack([np.cos(angle), np.sin(angle)], axis=-1)

    def tangent(self, share: Shaped[np.ndarray, " place"]) -> Float[np.ndarray, "place 2"]:
        angle = self.angle + self.sweep * np.asarray(share, dtype=np.float64)
        return math.copysign(1.0, self.sweep) * np.stack([-np.sin(angle), np.cos(angle)], axis=-1)

    def nearest(self, points: Shaped[np.ndarray, "point 2"]) -> Float[np.ndarray, " point"]:
        away = np.asarray(points) - np.array(self.centre)
        turn = math.copysign(1.0, self.sweep) * (np.arctan2(away[..., 1], away[..., 0]) - self.angle)
        sweep = abs(self.sweep)
        turn = np.mod(turn - (sweep - 2 * math.pi) / 2, 2 * math.pi) + (sweep - 2 * math.pi) / 2  # about its middle
        return np.clip(turn / sweep, 0.0, 1.0)

    def part(self, start: float, stop: float) -> Arc:
        return replace(self, angle=self.angle + start * self.sweep, sweep=(stop - start) * self.sweep)

    def named(self, name: str) -> Arc:
        return replace(self, name=name)

    def meets(self, other: Curve) -> Float[np.ndarray, "place 2"]:
        return other.on_circle(np.array(self.centre), self.radius)

    def on_line(self, start: np.ndarray, along: np.ndarray) -> np.ndarray:
        return _line_and_circle(start, along, np.array(self.centre), self.radius)

    def on_circle(self, centre: np.ndarray, radius: float) -> np.ndarray:
        towards = centre - np.array(self.centre)
        gap = float(np.linalg.norm(towards))
        if gap <= 1e-12 * radius:
            return np.zeros((0, 2))
        along = (gap**2 + self.radius**2 - radius**2) / (2 * gap)
        square = self.radius**2 - along**2
        if square < -1e-12 * self.radius**2:
            return np.zeros((0, 2))
        foot = np.array(self.centre) + towards / gap * along
        aside = np.array([-towards[1], towards[0]]) / gap * math.sqrt(max(square, 0.0))
        return np.stack([foot + aside, foot - aside])


def _line_and_circle(start: np.ndarray, along: np.ndarray, centre: np.ndarray, radius: float) -> np.ndarray:
    unit = along / np.linalg.norm(along)
    foot = start + unit * ((centre - start) @ unit)
    square = radius**2 - float(((foot - centre) ** 2).sum())
    if square < -1e-12 * radius**2:
        return np.zeros((0, 2))
    half = math.sqrt(max(square, 0.0))
    return np.stack([foot + half * unit, foot - half * unit])
