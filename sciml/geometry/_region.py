"""Regions, and what can be made of two of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from sciml.errors import InputError
from sciml.geometry._boundary import Boundary, Part
from sciml.geometry._curves import Curve

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Shaped, UInt8


TRIES = 10_000  # draws of points, before there is nothing inside


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

    def curves(self) -> tuple[Curve, ...]:
        """Lines and arcs among which the boundary of a plane region is: those of the primitives that it is made of,
        whole, whether or not all of them still bound it.

        Raises:
            InputError: none are known for this kind of region.
        """
        raise InputError(f"geometry: the outline of {type(self).__name__.lower()} in {self.dimensions}-D is not known")

    def mask(self, grid: Any) -> UInt8[np.ndarray, "*shape"]:
        """1 where a cell centre of the `Grid` lies inside, else 0: uint8 in array order (z, y, x)."""
        return np.asarray(self.contains(grid.points()), dtype=np.uint8)

    def sample(self, count: int, random: np.random.Generator) -> Float[np.ndarray, "count d"]:
        """Points inside, uniform by volume."""
        low, high = np.array(self.extents).T
        found = np.zeros((0, self.dimensions))
        for _ in range(TRIES):
            if len(found) >= count:
                break
            trial = random.uniform(low, high, (2 * count, self.dimensions))
            found = np.concatenate([found, trial[self.contains(trial)]])
        if len(found) < count:
            raise InputError(f"geometry: found {len(found)} of {count} points inside; is there anything of it?")
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


STEP = 1e-7  # of the size of a region: how far beside a boundary is looked whether it still is one


def _step(a: Geometry) -> float:
    return STEP * max(high - low for low, high in a.extents)


def _still(boundary: Boundary, other: Geometry, sign: float, inside: bool) -> Callable[[np.ndarray], np.ndarray]:
    """Which points of a boundary still are one: those that have another region's inside (or its outside) a step along
    their normals (`sign` 1) or against them. On the boundary itself there may be the other's, too."""
    step = sign * _step(other)

    def kept(points: np.ndarray) -> np.ndarray:
        distance = np.asarray(other.signed_distance(points + step * boundary.normal(points)))
        return distance > 0 if inside else distance <= 0

    return kept


def _once(kept: Callable, first: Geometry) -> Callable[[np.ndarray], np.ndarray]:
    """Without what is on the boundary of the first region as well, and has been counted there."""
    near = _step(first) / 10
    return lambda points: kept(points) & (np.abs(np.asarray(first.signed_distance(points))) > near)


def _check(name: str, a: Geometry, b: Geometry) -> None:
    if a.dimensions != b.dimensions:
        raise InputError(f"{name}: one region has {a.dimensions} dimensions, the other {b.dimensions}")


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

    def curves(self) -> tuple[Curve, ...]:
        return (*self.whole.curves(), *(c.named(self.name) for c in self.hole.curves()))

    @cached_property
    def boundaries(self) -> Mapping[str, Boundary]:
        found: dict[str, Boundary] = {}
        for name, boundary in self.whole.boundaries.items():
            part = Part(name, [(boundary, 1.0, _still(boundary, self.hole, -1.0, False))])
            if part.size > 0:
                found[name] = part
        surface = [(b, -1.0, _still(b, self.whole, 1.0, True)) for b in self.hole.boundaries.values()]
        hole = Part(self.name, surface)
        if hole.size == 0:
            raise InputError(f"difference: {self.name}: what is to be taken off lies outside, or leaves nothing")
        return found | {self.name: hole}

    def signed_distance(
        self, points: Shaped[np.ndarray, "*batch {self.dimensions}"]
    ) -> Float[np.ndarray | np.floating, "*batch"]:
        return np.minimum(self.whole.signed_distance(points), -self.hole.signed_distance(points))

    def _within(self, points: np.ndarray, extents: tuple[tuple[float, float], ...]) -> Any:
        return np.minimum(self.whole._within(points, extents), -self.hole.signed_distance(points))


@dataclass(frozen=True)
class _Pair(Geometry):
    """Abstract: two regions made one; parts of their boundaries that have one name are one."""

    first: Geometry
    second: Geometry

    outer: ClassVar[bool]  # whether it is what is in the one or the other, rather than in both

    def __post_init__(self) -> None:
        _check(type(self).__name__.lower(), self.first, self.second)

    @property
    def dimensions(self) -> int:  # type: ignore[override]
        return self.first.dimensions

    @property
    def extents(self) -> tuple[tuple[float, float], ...]:
        low, high = (min, max) if self.outer else (max, min)
        pairs = zip(self.first.extents, self.second.extents, strict=True)
        return tuple((low(a[0], b[0]), high(a[1], b[1])) for a, b in pairs)

    @cached_property
    def boundaries(self) -> Mapping[str, Boundary]:
        sign, found = 1.0 if self.outer else -1.0, {}
        one, other = self.first.boundaries, self.second.boundaries
        for name in dict.fromkeys([*one, *other]):
            pieces = []
            if name in one:
                pieces.append((one[name], 1.0, _still(one[name], self.second, sign, not self.outer)))
            if name in other:
                kept = _still(other[name], self.first, sign, not self.outer)
                pieces.append((other[name], 1.0, _once(kept, self.first)))
            part = Part(name, pieces)
            if part.size > 0:
                found[name] = part
        return found

    def curves(self) -> tuple[Curve, ...]:
        return (*self.first.curves(), *self.second.curves())

    def _of_both(self, one: Any, other: Any) -> Any:
        return np.maximum(one, other) if self.outer else np.minimum(one, other)

    def signed_distance(
        self, points: Shaped[np.ndarray, "*batch {self.dimensions}"]
    ) -> Float[np.ndarray | np.floating, "*batch"]:
        return self._of_both(self.first.signed_distance(points), self.second.signed_distance(points))

    def _within(self, points: np.ndarray, extents: tuple[tuple[float, float], ...]) -> Any:
        return self._of_both(self.first._within(points, extents), self.second._within(points, extents))


class Union(_Pair):
    """What is in the one or the other; parts of their boundaries that have one name are one."""

    outer = True


class Intersection(_Pair):
    """What is in both; parts of their boundaries that have one name are one."""

    outer = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if any(a[1] <= b[0] or b[1] <= a[0] for a, b in zip(self.first.extents, self.second.extents, strict=True)):
            raise InputError("intersection: the regions have nothing in common")
