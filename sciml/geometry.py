"""Domains with named boundaries, signed distances and masks.

Signed distance convention: positive inside the fluid, zero on its boundary, negative outside. Coordinates run x, y, z;
arrays run z, y, x.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np

from sciml.errors import InputError

AXES: tuple[str, ...] = ("x", "y", "z")


class Geometry(ABC):
    """A region of D-dimensional space."""

    dimensions: int

    @abstractmethod
    def signed_distance(self, points: np.ndarray) -> np.ndarray:
        """Distance to the boundary, positive inside: points (..., D) -> (...). Exact for the primitives; for a
        difference it is a bound that has the right sign and is exact near the nearer boundary."""

    @property
    @abstractmethod
    def extents(self) -> tuple[tuple[float, float], ...]:
        """The bounding box: (lower, upper) for each axis."""

    def contains(self, points: np.ndarray) -> np.ndarray:
        return self.signed_distance(np.asarray(points)) > 0

    @property
    def periodic(self) -> tuple[bool, ...]:
        """For each axis, whether the ends of the bounding box are identified."""
        return (False,) * self.dimensions

    @property
    def boundaries(self) -> tuple[str, ...]:
        """Names of the boundaries that are not periodic."""
        return ()

    def mask(self, grid: Any) -> np.ndarray:
        """1 where a cell centre of the `Grid` lies inside, else 0: uint8 in array order (z, y, x)."""
        return self.contains(grid.points()).astype(np.uint8)

    def __sub__(self, other: Geometry) -> Difference:
        return Difference(self, other)


@dataclass(frozen=True)
class Box(Geometry):
    """An axis-parallel box; its boundaries are x_min, x_max, y_min, y_max, ..."""

    lower: tuple[float, ...]
    upper: tuple[float, ...]
    periodic: tuple[bool, ...] = ()

    def __post_init__(self) -> None:
        if not self.periodic:
            object.__setattr__(self, "periodic", (False,) * len(self.lower))
        if not len(self.lower) == len(self.upper) == len(self.periodic):
            raise InputError("box: lower, upper and periodic must have one entry an axis")
        if not all(b > a for a, b in zip(self.lower, self.upper, strict=True)):
            raise InputError(f"box: upper {self.upper} must exceed lower {self.lower} on every axis")

    @property
    def dimensions(self) -> int:  # type: ignore[override]
        return len(self.lower)

    @property
    def extents(self) -> tuple[tuple[float, float], ...]:
        return tuple(zip(self.lower, self.upper, strict=True))

    @property
    def boundaries(self) -> tuple[str, ...]:
        """Names of the boundaries that are not periodic."""
        axes = AXES[: self.dimensions]
        return tuple(f"{a}_{end}" for a, p in zip(axes, self.periodic, strict=True) if not p for end in ("min", "max"))

    def signed_distance(self, points: np.ndarray) -> np.ndarray:
        points = np.asarray(points, dtype=np.float64)
        inner = np.minimum(points - np.array(self.lower), np.array(self.upper) - points)
        inner = np.where(np.array(self.periodic), np.inf, inner)
        outside = np.sqrt(np.sum(np.minimum(inner, 0.0) ** 2, axis=-1))
        return np.where(outside > 0, -outside, np.min(inner, axis=-1))


@dataclass(frozen=True)
class Disc(Geometry):
    """A disc (or ball) of given centre and radius."""

    centre: tuple[float, ...]
    radius: float

    def __post_init__(self) -> None:
        if not self.radius > 0:
            raise InputError(f"disc: radius is {self.radius}, expected a positive length")

    @property
    def dimensions(self) -> int:  # type: ignore[override]
        return len(self.centre)

    @property
    def extents(self) -> tuple[tuple[float, float], ...]:
        return tuple((c - self.radius, c + self.radius) for c in self.centre)

    def signed_distance(self, points: np.ndarray) -> np.ndarray:
        return self.radius - np.linalg.norm(np.asarray(points) - np.array(self.centre), axis=-1)


@dataclass(frozen=True)
class Difference(Geometry):
    """The part of `whole` that is outside `hole`; the hole's boundary is called "obstacle"."""

    whole: Geometry
    hole: Geometry

    @property
    def dimensions(self) -> int:  # type: ignore[override]
        return self.whole.dimensions

    @property
    def extents(self) -> tuple[tuple[float, float], ...]:
        return self.whole.extents

    @property
    def boundaries(self) -> tuple[str, ...]:
        return (*self.whole.boundaries, "obstacle")

    @property
    def periodic(self) -> tuple[bool, ...]:
        return self.whole.periodic

    def signed_distance(self, points: np.ndarray) -> np.ndarray:
        return np.minimum(self.whole.signed_distance(points), -self.hole.signed_distance(points))


@dataclass(frozen=True)
class Grid:
    """A structured grid of cells, uniform or stretched.

    Args:
        faces: for each axis x, y, z the (n + 1,) increasing face coordinates.
        periodic: for each axis, whether its ends are identified.
    """

    faces: tuple[np.ndarray, ...]
    periodic: tuple[bool, ...]

    def __post_init__(self) -> None:
        for axis, f in zip(AXES, self.faces, strict=False):
            if np.ndim(f) != 1 or len(f) < 2 or not np.all(np.diff(f) > 0):
                raise InputError(f"grid: faces along {axis}: expected strictly increasing coordinates, got {f}")

    @staticmethod
    def uniform(geometry: Geometry, shape: int | tuple[int, ...]) -> Grid:
        """Equal cells over the extents of `geometry`; `shape` in array order (z, y, x)."""
        d = geometry.dimensions
        shape = (shape,) * d if isinstance(shape, int) else tuple(shape)
        if len(shape) != d or any(n < 1 for n in shape):
            raise InputError(f"grid: shape is {shape}, expected {d} positive cell counts")
        faces = tuple(np.linspace(a, b, n + 1) for (a, b), n in zip(geometry.extents, reversed(shape), strict=True))
        return Grid(faces, getattr(geometry, "periodic", (False,) * d))

    @staticmethod
    def from_centres(centres: tuple[np.ndarray, ...], geometry: Geometry) -> Grid:
        """The grid whose cell centres (x, y, z) are given: the faces of which they are the midpoints, ends on the
        geometry's extents; where there are no such faces, faces midway between centres. A periodic axis has no ends:
        its first face may be midway between the last centre and the first: points i/N of a period have equal cells.

        Raises:
            InputError: centres that do not increase.
        """
        faces = []
        periodic = getattr(geometry, "periodic", (False,) * geometry.dimensions)
        for name, c, (a, b), around in zip(AXES, centres, geometry.extents, periodic, strict=False):
            c = np.asarray(c, dtype=np.float64)
            if not np.all(np.diff(c) > 0):
                raise InputError(f"grid: centres along {name}: expected strictly increasing coordinates, got {c}")
            first = (c[0] + c[-1] - (b - a)) / 2 if around else a
            first = a if abs(first - a) < 1e-9 * (b - a) else first
            midway = np.concatenate([[first], (c[1:] + c[:-1]) / 2, [first + (b - a)]])
            smallest = np.diff(midway).min()
            if around and np.allclose((midway[1:] + midway[:-1]) / 2, c, rtol=0.0, atol=1e-6 * smallest):
                faces.append(midway)
                continue
            # f₀ = a, f₍ᵢ₊₁₎ = 2cᵢ − fᵢ; rounding does not grow along this, an error of the centres adds up
            sign = (-1.0) ** np.arange(len(c))
            f = np.concatenate([[a], (a + 2 * np.cumsum(-sign * c)) * -sign])
            exact = np.all(np.diff(f) > 1e-3 * smallest) and abs(f[-1] - b) < 1e-6 * smallest
            faces.append(np.concatenate([f[:-1], [b]]) if exact else midway)
        return Grid(tuple(faces), periodic)

    @property
    def dimensions(self) -> int:
        return len(self.faces)

    @property
    def shape(self) -> tuple[int, ...]:
        """Cell counts in array order (z, y, x)."""
        return tuple(len(f) - 1 for f in reversed(self.faces))

    @property
    def centres(self) -> tuple[np.ndarray, ...]:
        """Cell-centre coordinates for axes x, y, z."""
        return tuple((f[1:] + f[:-1]) / 2 for f in self.faces)

    @property
    def widths(self) -> tuple[np.ndarray, ...]:
        return tuple(np.diff(f) for f in self.faces)

    def volumes(self) -> np.ndarray:
        """Cell volumes (areas, lengths) in array order."""
        result = np.ones(())
        for w in self.widths:  # x is the last array axis, so later axes go in front
            result = w.reshape((-1,) + (1,) * result.ndim) * result
        return result

    def points(self) -> np.ndarray:
        """Cell centres as (*shape, D), components in the order x, y, z."""
        mesh = np.meshgrid(*reversed(self.centres), indexing="ij")
        return np.stack(mesh[::-1], axis=-1)

    def coordinate(self, axis: int) -> np.ndarray:
        """One coordinate of the cell centres, shaped to broadcast over arrays."""
        return self.centres[axis].reshape((-1,) + (1,) * axis)


def resample_nodal(values: Any, shape: tuple[int, int]) -> np.ndarray:
    """Nodal values (ny + 1, nx + 1) on another node grid of the same box, by bicubic spline."""
    from scipy.interpolate import RectBivariateSpline

    values = np.asarray(values, dtype=np.float64)
    if values.shape == tuple(shape):
        return values
    if min(values.shape) < 4:
        raise InputError(f"nodal field: shape {values.shape} is too small to resample, expected at least (4, 4)")
    here = [np.linspace(0.0, 1.0, n) for n in values.shape]
    there = [np.linspace(0.0, 1.0, n) for n in shape]
    return np.asarray(RectBivariateSpline(here[0], here[1], values)(there[0], there[1]))


def faces_of(centres: np.ndarray, low: float, length: float, periodic: bool, slack: float) -> np.ndarray | None:
    """The faces of which `centres` are the midpoints, from `low` on; None where there are none.

    f₍ᵢ₊₁₎ = 2cᵢ − fᵢ, so faces follow from the first one: rounding does not grow along this, an error of the centres
    adds up. On a periodic axis the first face may lie elsewhere: an odd number of cells leaves one place for it, an
    even number any, of which the one is taken that makes wide and narrow cells alternate least.
    """
    sign = (-1.0) ** np.arange(len(centres))
    f = np.concatenate([[low], (low + 2 * np.cumsum(-sign * centres)) * -sign])
    turn = (-1.0) ** np.arange(len(f))
    if periodic and len(centres) % 2:
        f = f + turn * (f[-1] - low - length) / 2
    elif periodic and abs(alternation := float(np.sum(sign * np.diff(f)))) > 0.05 * length:
        f = f + turn * alternation / (2 * len(centres))
    if np.any(np.diff(f) <= 1e3 * slack) or abs(f[-1] - f[0] - length) >= slack:
        return None
    return np.concatenate([f[:-1], [f[0] + length]])
