"""Domains with named boundaries, signed distances and masks.

Signed distance convention: positive inside the fluid, zero on its boundary, negative outside. Coordinates run x, y, z;
arrays run z, y, x.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sciml.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Shaped, UInt8

AXES: tuple[str, ...] = ("x", "y", "z")


class Geometry(ABC):
    """A region of D-dimensional space."""

    dimensions: int

    @abstractmethod
    def signed_distance(
        self, points: Shaped[np.ndarray, "*batch {self.dimensions}"]
    ) -> Float[np.ndarray | np.floating, "*batch"]:
        """Distance to the boundary, positive inside: points (..., D) -> (...). Exact for the primitives; for a
        difference it is a bound that has the right sign and is exact near the nearer boundary."""

    @property
    @abstractmethod
    def extents(self) -> tuple[tuple[float, float], ...]:
        """The bounding box: (lower, upper) for each axis."""

    def contains(self, points: Shaped[np.ndarray, "*batch {self.dimensions}"]) -> Bool[np.ndarray | np.bool_, "*batch"]:
        return self.signed_distance(np.asarray(points)) > 0

    @property
    def periodic(self) -> tuple[bool, ...]:
        """For each axis, whether the ends of the bounding box are identified."""
        return (False,) * self.dimensions

    @property
    def boundaries(self) -> tuple[str, ...]:
        """Names of the boundaries that are not periodic."""
        return ()

    def mask(self, grid: Any) -> UInt8[np.ndarray, "*shape"]:
        """1 where a cell centre of the `Grid` lies inside, else 0: uint8 in array order (z, y, x)."""
        return np.asarray(self.contains(grid.points()), dtype=np.uint8)

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

    def signed_distance(
        self, points: Shaped[np.ndarray, "*batch {self.dimensions}"]
    ) -> Float[np.ndarray | np.floating, "*batch"]:
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

    def signed_distance(
        self, points: Shaped[np.ndarray, "*batch {self.dimensions}"]
    ) -> Float[np.ndarray | np.floating, "*batch"]:
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

    def signed_distance(
        self, points: Shaped[np.ndarray, "*batch {self.dimensions}"]
    ) -> Float[np.ndarray | np.floating, "*batch"]:
        return np.minimum(self.whole.signed_distance(points), -self.hole.signed_distance(points))


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
