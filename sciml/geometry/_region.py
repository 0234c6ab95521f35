"""Regions, and what can be made of two of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sciml.errors import InputError
from sciml.geometry._boundary import Boundary, Part

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Shaped, UInt8


class Geometry(ABC):
    """A region of D-dimensional space."""

    dimensions: int

    @abstractmethod
    def signed_distance(
        self, points: Shaped[np.ndarray, "*batch {self.dimensions}"]
    ) -> Float[np.ndarray | np.floating, "*batch"]:
        """Distance to the boundary, positive inside: points (..., D) -> (...). Exact for the primitives; for what is
        combined of them it is a bound that has the right sign and is exact near the nearer boundary."""

    @property
    @abstractmethod
    def extents(self) -> tuple[tuple[float, float], ...]:
        """The bounding box: (lower, upper) for each axis."""

    @property
    @abstractmethod
    def boundaries(self) -> Mapping[str, Boundary]:
        """The parts of its boundary that are not periodic, by name."""

    def contains(self, points: Shaped[np.ndarray, "*batch {self.dimensions}"]) -> Bool[np.ndarray | np.bool_, "*batch"]:
        return self.signed_distance(np.asarray(points)) > 0

    @property
    def periodic(self) -> tuple[bool, ...]:
        """For each axis, whether the ends of the bounding box are identified."""
        return (False,) * self.dimensions

    def inner_distance(
        self, points: Shaped[np.ndarray, "*batch {self.dimensions}"]
    ) -> Float[np.ndarray | np.floating, "*batch"]:
        """`signed_distance` to what bounds the region within its bounding box: straight sides along that box, where
        conditions of a grid's ends are given, do not count."""
        return self._within(np.asarray(points), self.extents)

    def _within(self, points: np.ndarray, extents: tuple[tuple[float, float], ...]) -> Any:
        """`signed_distance` to what bounds the region other than straight sides on these extents."""
        return self.signed_distance(points)

    def mask(self, grid: Any) -> UInt8[np.ndarray, "*shape"]:
        """1 where a cell centre of the `Grid` lies inside, else 0: uint8 in array order (z, y, x)."""
        return np.asarray(self.contains(grid.points()), dtype=np.uint8)

    def sample(self, count: int, random: np.random.Generator) -> Float[np.ndarray, "count d"]:
        """Points inside, uniform by volume."""
        low, high = np.array(self.extents).T
        found = np.zeros((0, self.dimensions))
        while len(found) < count:
            trial = random.uniform(low, high, (2 * count, self.dimensions))
            found = np.concatenate([found, trial[self.contains(trial)]])
        return found[:count]

    def without(self, hole: Geometry, name: str = "obstacle") -> Difference:
        """The part outside of `hole`, whose boundary is called `name`."""
        return Difference(self, hole, name)

    def __sub__(self, other: Geometry) -> Difference:
        return self.without(other)

    def __or__(self, other: Geometry) -> Union:
        return Union(self, other)

    def __and__(self, other: Geometry) -> Intersection:
        return Intersection(self, other)


def _outside(other: Geometry) -> Callable[[np.ndarray], np.ndarray]:
    return lambda points: np.asarray(other.signed_distance(points)) <= 0


def _inside(other: Geometry) -> Callable[[np.ndarray], np.ndarray]:
    return lambda points: np.asarray(other.signed_distance(points)) >= 0


def _check(name: str, a: Geometry, b: Geometry) -> None:
    if a.dimensions != b.dimensions:
        raise InputError(f"{name}: one region has {a.dimensions} dimensions, the other {b.dimensions}")


def _joined(a: Geometry, b: Geometry, kept: Callable[[Geometry], Callable]) -> Mapping[str, Boundary]:
    found = {}
    for name in dict.fromkeys([*a.boundaries, *b.boundaries]):
        pieces = [(g.boundaries[name], 1.0, kept(o)) for g, o in ((a, b), (b, a)) if name in g.boundaries]
        part = Part(name, pieces)
        if part.size > 0:
            found[name] = part
    return found


@dataclass(frozen=True)
class Difference(Geometry):
    """The part of `whole` outside of `hole`; what bounds the hole is called `name`, whatever the hole calls it."""

    whole: Geometry
    hole: Geometry
    name: str = "obstacle"

    def __post_init__(self) -> None:
        _check("difference", self.whole, self.hole)
        if self.name in self.whole.boundaries:
            raise InputError(f"difference: a boundary is called {self.name!r} already; give the hole another name")

    @property
    def dimensions(self) -> int:  # type: ignore[override]
        return self.whole.dimensions

    @property
    def extents(self) -> tuple[tuple[float, float], ...]:
        return self.whole.extents

    @property
    def periodic(self) -> tuple[bool, ...]:
        return self.whole.periodic

    @property
    def boundaries(self) -> Mapping[str, Boundary]:
        found: dict[str, Boundary] = {}
        for name, boundary in self.whole.boundaries.items():
            part = Part(name, [(boundary, 1.0, _outside(self.hole))])
            if part.size > 0:
                found[name] = part
        surface = [(b, -1.0, _inside(self.whole)) for b in self.hole.boundaries.values()]
        return found | {self.name: Part(self.name, surface)}

    def signed_distance(
        self, points: Shaped[np.ndarray, "*batch {self.dimensions}"]
    ) -> Float[np.ndarray | np.floating, "*batch"]:
        return np.minimum(self.whole.signed_distance(points), -self.hole.signed_distance(points))

    def _within(self, points: np.ndarray, extents: tuple[tuple[float, float], ...]) -> Any:
        return np.minimum(self.whole._within(points, extents), -self.hole.signed_distance(points))


@dataclass(frozen=True)
class Union(Geometry):
    """What is in the one or the other; parts of their boundaries that have one name are one."""

    first: Geometry
    second: Geometry

    def __post_init__(self) -> None:
        _check("union", self.first, self.second)

    @property
    def dimensions(self) -> int:  # type: ignore[override]
        return self.first.dimensions

    @property
    def extents(self) -> tuple[tuple[float, float], ...]:
        pairs = zip(self.first.extents, self.second.extents, strict=True)
        return tuple((min(a[0], b[0]), max(a[1], b[1])) for a, b in pairs)

    @property
    def boundaries(self) -> Mapping[str, Boundary]:
        return _joined(self.first, self.second, _outside)

    def signed_distance(
        self, points: Shaped[np.ndarray, "*batch {self.dimensions}"]
    ) -> Float[np.ndarray | np.floating, "*batch"]:
        return np.maximum(self.first.signed_distance(points), self.second.signed_distance(points))

    def _within(self, points: np.ndarray, extents: tuple[tuple[float, float], ...]) -> Any:
        return np.maximum(self.first._within(points, extents), self.second._within(points, extents))


@dataclass(frozen=True)
class Intersection(Geometry):
    """What is in both; parts of their boundaries that have one name are one."""

    first: Geometry
    second: Geometry

    def __post_init__(self) -> None:
        _check("intersection", self.first, self.second)
        if any(a[1] <= b[0] or b[1] <= a[0] for a, b in zip(self.first.extents, self.second.extents, strict=True)):
            raise InputError("intersection: the regions have nothing in common")

    @property
    def dimensions(self) -> int:  # type: ignore[override]
        return self.first.dimensions

    @property
    def extents(self) -> tuple[tuple[float, float], ...]:
        pairs = zip(self.first.extents, self.second.extents, strict=True)
        return tuple((max(a[0], b[0]), min(a[1], b[1])) for a, b in pairs)

    @property
    def boundaries(self) -> Mapping[str, Boundary]:
        return _joined(self.first, self.second, _inside)

    def signed_distance(
        self, points: Shaped[np.ndarray, "*batch {self.dimensions}"]
    ) -> Float[np.ndarray | np.floating, "*batch"]:
        return np.minimum(self.first.signed_distance(points), self.second.signed_distance(points))

    def _within(self, points: np.ndarray, extents: tuple[tuple[float, float], ...]) -> Any:
        return np.minimum(self.first._within(points, extents), self.second._within(points, extents))
