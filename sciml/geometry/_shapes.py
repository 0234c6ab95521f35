"""Boxes, discs and polygons."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from sciml.errors import InputError
from sciml.geometry._boundary import AXES, SIDES, Boundary
from sciml.geometry._curves import Arc, Curve, Line
from sciml.geometry._region import Geometry

if TYPE_CHECKING:
    from jaxtyping import Float, Shaped


def _numbers(name: str, values: Any) -> tuple[float, ...]:
    try:
        found = tuple(float(v) for v in values)
    except (TypeError, ValueError):
        raise InputError(f"{name} is {values!r}, expected numbers") from None
    if not all(math.isfinite(v) for v in found):
        raise InputError(f"{name} is {values!r}, expected finite numbers")
    return found


class Side(Boundary):
    """A side of a box: the lower (0) or upper (1) end of an axis."""

    def __init__(self, box: Box, axis: int, end: int):
        self.box, self.side, self.name = box, (axis, end), f"{AXES[axis]}_{('min', 'max')[end]}"
        self.axis, self.end = axis, end
        self.lower, self.upper = np.array(box.lower), np.array(box.upper)
        self.lower[axis] = self.upper[axis] = (box.lower, box.upper)[end][axis]
        self.size = float(np.prod(np.delete(self.upper - self.lower, axis)))

    def distance(self, points: Shaped[np.ndarray, "*batch d"]) -> Float[np.ndarray | np.floating, "*batch"]:
        points = np.asarray(points, dtype=np.float64)
        return np.linalg.norm(points - np.clip(points, self.lower, self.upper), axis=-1)

    def normal(self, points: Shaped[np.ndarray, "*batch d"]) -> Float[np.ndarray, "*batch d"]:
        found = np.zeros(np.shape(points))
        found[..., self.axis] = 2.0 * self.end - 1.0
        return found

    def places(self, count: int) -> Float[np.ndarray, "place d"]:
        if len(self.lower) != 2:
            return super().places(count)
        share = (np.arange(count)[:, None] + 0.5) / count
        return self.lower + share * (self.upper - self.lower)

    def sample(self, count: int, random: np.random.Generator) -> Float[np.ndarray, "count d"]:
        return random.uniform(self.lower, self.upper, (count, len(self.lower)))


class Section(Side):
    """A part of a side of a plane box, from one place along it to another."""

    def __init__(self, box: Box, axis: int, end: int, name: str, start: float, stop: float):
        super().__init__(box, axis, end)
        self.name, self.side = name, None  # no whole side
        self.lower[1 - axis], self.upper[1 - axis] = start, stop
        self.size = stop - start


@dataclass(frozen=True)
class Box(Geometry):
    """An axis-parallel box; its boundaries are x_min, x_max, y_min, y_max, ..., or the sections of a side.

    Args:
        sections: of sides of a plane box that are divided: side -> name -> (from, to) along it, all of it once; for
            instance {"x_min": {"inlet": (0.0, 0.1), "vent": (0.1, 0.4)}}.
    """

    lower: tuple[float, ...]
    upper: tuple[float, ...]
    periodic: tuple[bool, ...] = ()
    sections: Any = ()

    def __post_init__(self) -> None:
        for name in ("lower", "upper"):
            object.__setattr__(self, name, _numbers(f"box: {name}", getattr(self, name)))
        object.__setattr__(self, "periodic", tuple(bool(p) for p in self.periodic))
        if not self.periodic:
            object.__setattr__(self, "periodic", (False,) * len(self.lower))
        if not len(self.lower) == len(self.upper) == len(self.periodic):
            raise InputError("box: lower, upper and periodic must have one entry an axis")
        if not all(b > a for a, b in zip(self.lower, self.upper, strict=True)):
            raise InputError(f"box: upper {self.upper} must exceed lower {self.lower} on every axis")
        object.__setattr__(self, "sections", self._divided())

    def _divided(self) -> tuple[tuple[str, tuple[tuple[str, float, float], ...]], ...]:
        """`sections` in order, hashable.

        Raises:
            InputError: not a plane box, no such side, or sections that do not cover a side once.
        """
        given = dict(self.sections) if self.sections else {}
        if given and self.dimensions != 2:
            raise InputError("box: sections are of sides of a plane box")
        found, names = [], [side for side in SIDES if side not in given]
        for side, parts in given.items():
            if side not in SIDES or SIDES[side][0] > 1 or self.periodic[SIDES[side][0]]:
                raise InputError(f"box: sections: {side!r}, expected x_min, x_max, y_min or y_max, not periodic")
            low, high = self.extents[1 - SIDES[side][0]]
            rows = parts.items() if isinstance(parts, Mapping) else [(name, (a, b)) for name, a, b in parts]
            spans = sorted((*_numbers(f"box: {name}", span), str(name)) for name, span in rows)
            ends = [low, *(b for _, b, _ in spans)]
            near = 1e-9 * (high - low)
            fit = all(abs(a - e) <= near and b > a for (a, b, _), e in zip(spans, ends, strict=False))
            if not fit or abs(ends[-1] - high) > near:
                got = ", ".join(f"{name} {a:g} to {b:g}" for a, b, name in spans)
                raise InputError(f"box: sections of {side}: expected all from {low:g} to {high:g} once, got {got}")
            names += [name for _, _, name in spans]
            found.append((side, tuple((name, a, b) for a, b, name in spans)))
        if len(set(names)) < len(names):
            raise InputError(f"box: sections: expected names that differ from each other's and sides', got {names}")
        return tuple(sorted(found))

    @property
    def dimensions(self) -> int:  # type: ignore[override]
        return len(self.lower)

    @property
    def extents(self) -> tuple[tuple[float, float], ...]:
        return tuple(zip(self.lower, self.upper, strict=True))

    @property
    def boundaries(self) -> Mapping[str, Boundary]:
        """Its sides, or their sections, by name, on the axes that are not periodic."""
        divided, found = dict(self.sections), []
        for axis, around in enumerate(self.periodic):
            for end in () if around else (0, 1):
                side = Side(self, axis, end)
                parts = divided.get(side.name)
                found += [side] if parts is None else [Section(self, axis, end, *part) for part in parts]
        return {side.name: side for side in found}

    def signed_distance(
        self, points: Shaped[np.ndarray, "*batch {self.dimensions}"]
    ) -> Float[np.ndarray | np.floating, "*batch"]:
        points = np.asarray(points, dtype=np.float64)
        inner = np.minimum(points - np.array(self.lower), np.array(self.upper) - points)
        inner = np.where(np.array(self.periodic), np.inf, inner)
        outside = np.sqrt(np.sum(np.minimum(inner, 0.0) ** 2, axis=-1))
        return np.where(outside > 0, -outside, np.min(inner, axis=-1))

    def _within(self, points: np.ndarray, extents: tuple[tuple[float, float], ...]) -> np.ndarray:
        found = np.full(points.shape[:-1], max(b - a for a, b in extents))
        for axis, (low, high) in enumerate(extents):
            near = 1e-12 * (high - low)
            if abs(self.lower[axis] - low) > near:
                found = np.minimum(found, points[..., axis] - self.lower[axis])
            if abs(self.upper[axis] - high) > near:
                found = np.minimum(found, self.upper[axis] - points[..., axis])
        return found

    def curves(self) -> tuple[Curve, ...]:
        if self.dimensions != 2:
            return super().curves()
        (x0, x1), (y0, y1) = self.extents
        corners = [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]
        found: list[Curve] = []
        for side, start, stop in zip(
            ("y_min", "x_max", "y_max", "x_min"), corners, corners[1:] + corners[:1], strict=True
        ):
            parts = dict(self.sections).get(side, ((side, 0.0, 0.0),))
            axis = 1 - SIDES[side][0]
            if len(parts) > 1:
                found += [Line(_moved(start, axis, a), _moved(start, axis, b), name) for name, a, b in parts]
            else:
                found.append(Line(start, stop, parts[0][0]))
        return tuple(found)


def _moved(point: tuple[float, float], axis: int, place: float) -> tuple[float, float]:
    return (place, point[1]) if axis == 0 else (point[0], place)


class Round(Boundary):
    """The surface of a disc or ball."""

    name = "surface"

    def __init__(self, disc: Disc):
        self.disc = disc
        d, r = disc.dimensions, disc.radius
        self.size = 2 * math.pi * r if d == 2 else 4 * math.pi * r**2 if d == 3 else 2.0

    def distance(self, points: Shaped[np.ndarray, "*batch d"]) -> Float[np.ndarray | np.floating, "*batch"]:
        return np.abs(self.disc.signed_distance(points))

    def normal(self, points: Shaped[np.ndarray, "*batch d"]) -> Float[np.ndarray, "*batch d"]:
        away = np.asarray(points, dtype=np.float64) - np.array(self.disc.centre)
        return away / np.maximum(np.linalg.norm(away, axis=-1, keepdims=True), 1e-300)

    def sample(self, count: int, random: np.random.Generator) -> Float[np.ndarray, "count d"]:
        away = random.standard_normal((count, self.disc.dimensions))
        away *= self.disc.radius / np.linalg.norm(away, axis=1, keepdims=True)
        return np.array(self.disc.centre) + away


@dataclass(frozen=True)
class Disc(Geometry):
    """A disc (or ball) of given centre and radius; its boundary is called "surface"."""

    centre: tuple[float, ...]
    radius: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "centre", _numbers("disc: centre", self.centre))
        (radius,) = _numbers("disc: radius", (self.radius,))
        object.__setattr__(self, "radius", radius)
        if not self.radius > 0:
            raise InputError(f"disc: radius is {self.radius}, expected a positive length")

    @property
    def dimensions(self) -> int:  # type: ignore[override]
        return len(self.centre)

    @property
    def extents(self) -> tuple[tuple[float, float], ...]:
        return tuple((c - self.radius, c + self.radius) for c in self.centre)

    @property
    def boundaries(self) -> Mapping[str, Boundary]:
        return {"surface": Round(self)}

    def signed_distance(
        self, points: Shaped[np.ndarray, "*batch {self.dimensions}"]
    ) -> Float[np.ndarray | np.floating, "*batch"]:
        return self.radius - np.linalg.norm(np.asarray(points) - np.array(self.centre), axis=-1)

    def curves(self) -> tuple[Curve, ...]:
        if self.dimensions != 2:
            return super().curves()
        x, y = self.centre
        return (Arc((x, y), self.radius, 0.0, 2 * math.pi),)


class Edges(Boundary):
    """All edges of a polygon."""

    name = "surface"

    def __init__(self, polygon: Polygon):
        self.start = np.array(polygon.vertices, dtype=np.float64)
        self.along = np.roll(self.start, -1, axis=0) - self.start
        self.lengths = np.linalg.norm(self.along, axis=1)
        self.size = float(self.lengths.sum())
        self.polygon = polygon

    def nearest(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(distance to the nearest edge, its number)."""
        points = np.asarray(points, dtype=np.float64)
        offset = points[..., None, :] - self.start
        share = np.clip((offset * self.along).sum(-1) / self.lengths**2, 0.0, 1.0)
        distance = np.linalg.norm(offset - share[..., None] * self.along, axis=-1)
        return distance.min(-1), distance.argmin(-1)

    def distance(self, points: Shaped[np.ndarray, "*batch d"]) -> Float[np.ndarray | np.floating, "*batch"]:
        return self.nearest(points)[0]

    def normal(self, points: Shaped[np.ndarray, "*batch d"]) -> Float[np.ndarray, "*batch d"]:
        along = (self.along / self.lengths[:, None])[self.nearest(points)[1]]
        return np.stack([along[..., 1], -along[..., 0]], axis=-1) * (1.0 if self.polygon.area > 0 else -1.0)

    def sample(self, count: int, random: np.random.Generator) -> Float[np.ndarray, "count d"]:
        edge = random.choice(len(self.lengths), count, p=self.lengths / self.size)
        return self.start[edge] + random.uniform(size=(count, 1)) * self.along[edge]


@dataclass(frozen=True)
class Polygon(Geometry):
    """A polygon in the plane that does not cross itself; its boundary is called "surface".

    Args:
        vertices: corners in order, either way round.
    """

    vertices: tuple[tuple[float, float], ...]

    dimensions = 2

    def __post_init__(self) -> None:
        corners = np.asarray(self.vertices, dtype=np.float64)
        if corners.ndim != 2 or corners.shape[1] != 2 or len(corners) < 3 or not np.isfinite(corners).all():
            raise InputError(f"polygon: expected three corners (x, y) or more, got shape {corners.shape}")
        if np.any(np.all(corners == np.roll(corners, -1, axis=0), axis=1)):
            raise InputError("polygon: two corners in a row are the same point")
        object.__setattr__(self, "vertices", tuple((float(x), float(y)) for x, y in corners))
        if len(set(self.vertices)) < len(self.vertices):
            raise InputError("polygon: two corners are the same point")
        if self._crosses():
            raise InputError("polygon: its edges cross each other")
        if abs(self.area) <= 1e-12 * float(np.ptp(corners, axis=0).max()) ** 2:
            raise InputError("polygon: its corners lie on a line")

    def _crosses(self) -> bool:
        a = np.array(self.vertices)
        b = np.roll(a, -1, axis=0)

        def turn(p: np.ndarray, q: np.ndarray, r: np.ndarray) -> np.ndarray:
            return np.sign((q[..., 0] - p[..., 0]) * (r[..., 1] - p[..., 1])
                           - (q[..., 1] - p[..., 1]) * (r[..., 0] - p[..., 0]))  # fmt: skip

        p, q = a[:, None], b[:, None]
        across = (turn(p, q, a[None]) * turn(p, q, b[None]) < 0) & (
            turn(a[None], b[None], p) * turn(a[None], b[None], q) < 0
        )
        return bool(across.any())

    @cached_property
    def area(self) -> float:
        """Positive where the corners run anticlockwise."""
        x, y = np.array(self.vertices).T
        return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2)

    @cached_property
    def edges(self) -> Edges:
        return Edges(self)

    @property
    def extents(self) -> tuple[tuple[float, float], ...]:
        corners = np.array(self.vertices)
        return tuple((float(a), float(b)) for a, b in zip(corners.min(0), corners.max(0), strict=True))

    @property
    def boundaries(self) -> Mapping[str, Boundary]:
        return {"surface": self.edges}

    def signed_distance(
        self, points: Shaped[np.ndarray, "*batch {self.dimensions}"]
    ) -> Float[np.ndarray | np.floating, "*batch"]:
        points = np.asarray(points, dtype=np.float64)
        x, y = points[..., 0, None], points[..., 1, None]
        (x0, y0), (dx, dy) = self.edges.start.T, self.edges.along.T
        # edges that the horizontal line through a point meets; a corner is one number for both of its edges
        above = (y0 <= y) != (np.roll(y0, -1) <= y)
        right = x < x0 + dx * (y - y0) / np.where(dy == 0, 1.0, dy)
        inside = (above & right).sum(-1) % 2 == 1
        return np.where(inside, 1.0, -1.0) * self.edges.distance(points)

    def curves(self) -> tuple[Curve, ...]:
        stops = self.vertices[1:] + self.vertices[:1]
        return tuple(Line(start, stop) for start, stop in zip(self.vertices, stops, strict=True))
