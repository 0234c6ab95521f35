"""A structured grid of cells."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from sciml.arrays import plain
from sciml.errors import InputError
from sciml.geometry import Geometry, faces_of
from sciml.support.base import Stencil, Support, Variable

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Shaped


@dataclass(frozen=True, eq=False, repr=False)
class Grid(Support):
    """A structured grid of cells in one, two or three dimensions, uniform or stretched.

    Args:
        faces: for each axis x, y, z the (n + 1,) increasing face coordinates.
        periodic: for each axis, whether its ends are identified.
        mask: (*shape) 1 where a cell belongs to the domain; None where all do.
        at: for each axis the (n,) places within the cells that values belong to; None where these are the middles.
    """

    faces: tuple[Shaped[np.ndarray, " _face"], ...]
    periodic: tuple[bool, ...] = ()
    mask: Shaped[np.ndarray, "*shape"] | None = None
    at: tuple[Shaped[np.ndarray, " _cell"], ...] | None = None

    def __post_init__(self) -> None:
        faces = tuple(plain("grid: faces", f).astype(np.float64) for f in self.faces)
        object.__setattr__(self, "faces", faces)
        if not self.periodic:
            object.__setattr__(self, "periodic", (False,) * len(faces))
        if len(self.periodic) != len(faces):
            raise InputError(f"grid: {len(faces)} axes, but {len(self.periodic)} entries that say which are periodic")
        for axis, f in zip("xyz", faces, strict=False):
            if f.ndim != 1 or len(f) < 2 or not np.all(np.isfinite(f)) or np.any(np.diff(f) <= 0):
                raise InputError(f"grid: faces along {axis}: expected strictly increasing finite numbers")
        if self.mask is not None:
            mask = plain("grid: mask", self.mask) != 0
            if mask.shape != self.shape:
                raise InputError(f"grid: the mask has shape {mask.shape}, expected {self.shape}")
            if not mask.any():
                raise InputError("grid: the mask leaves no cell")
            object.__setattr__(self, "mask", None if mask.all() else mask.astype(np.uint8))
        if self.at is not None:
            at = tuple(plain("grid: at", c).astype(np.float64) for c in self.at)
            if len(at) != len(faces):
                raise InputError(f"grid: at: expected places along {len(faces)} axes, got {len(at)}")
            for axis, c, f in zip("xyz", at, faces, strict=False):
                if c.shape != (len(f) - 1,) or not (np.all(c >= f[:-1]) and np.all(c <= f[1:])):
                    raise InputError(f"grid: at: expected one place within each of the {len(f) - 1} cells along {axis}")
            object.__setattr__(self, "at", at)

    @staticmethod
    def uniform(geometry: Geometry, shape: int | tuple[int, ...], masked: bool = False) -> Grid:
        """Equal cells over the extents of `geometry`; `shape` in array order (z, y, x).

        Args:
            masked: whether to leave out the cells whose centres lie outside of the geometry.
        """
        d = geometry.dimensions
        shape = (shape,) * d if isinstance(shape, int) else tuple(shape)
        if len(shape) != d or any(n < 1 for n in shape):
            raise InputError(f"grid: shape is {shape}, expected {d} positive cell counts")
        faces = tuple(np.linspace(a, b, n + 1) for (a, b), n in zip(geometry.extents, reversed(shape), strict=True))
        return Grid.of(geometry, faces, masked)

    @staticmethod
    def of(
        geometry: Geometry,
        faces: tuple[Shaped[np.ndarray, " _face"], ...],
        masked: bool = False,
        at: tuple[Shaped[np.ndarray, " _cell"], ...] | None = None,
    ) -> Grid:
        """The grid with these faces, periodic where the geometry is."""
        grid = Grid(faces, geometry.periodic, None, at)
        return Grid(grid.faces, grid.periodic, geometry.mask(grid), at) if masked else grid

    def over(self, geometry: Geometry, masked: bool = False, shift: tuple[float, ...] = ()) -> Grid:
        """The same cells in another domain: faces, and places within cells, at the same shares of its extents, moved by
        `shift` of them (on a periodic axis the first cell may begin beside the domain's end)."""
        faces, places = [], []
        by = shift or (0.0,) * self.dimensions
        for f, c, (a, b), d in zip(self.faces, self.centres, geometry.extents, by, strict=True):
            length = f[-1] - f[0]
            faces.append(a + (b - a) * ((f - f[0]) / length + d))
            places.append(np.clip(a + (b - a) * ((c - f[0]) / length + d), faces[-1][:-1], faces[-1][1:]))
        return Grid.of(geometry, tuple(faces), masked, None if self.at is None else tuple(places))

    @staticmethod
    def from_centres(
        centres: tuple[Shaped[np.ndarray, " _cell"], ...],
        geometry: Geometry | None = None,
        mask: Shaped[np.ndarray, "*shape"] | None = None,
    ) -> Grid:
        """The grid whose cell centres (x, y, z) are given: the faces of which they are the midpoints, ends on the
        geometry's extents; where there are no such faces, faces midway between centres, which then are places within
        cells (`at`). Without a geometry the domain ends half a spacing beyond the outer centres. A periodic axis has
        no ends: equally spaced centres have equal cells, wherever the first one lies, and the first of the faces
        midway between centres is the one between the last centre and the first.

        Raises:
            InputError: centres that do not increase.
        """
        faces, places, middles = [], [], True
        known = [(*e, p) for e, p in zip(geometry.extents, geometry.periodic, strict=True)] if geometry else []
        if geometry is not None and len(known) != len(centres):
            raise InputError(f"grid: centres: expected {len(known)} axes, as the geometry has, got {len(centres)}")
        for i, (axis, c) in enumerate(zip("xyz", centres, strict=False)):
            c = plain(f"grid: centres along {axis}", c).astype(np.float64)
            if not np.all(np.diff(c) > 0):
                raise InputError(
                    f"grid: centres along {axis}: expected increasing coordinates, got {c}".replace("\n", " ")
                )
            if geometry is None and len(c) < 2:
                raise InputError(f"grid: centres along {axis}: expected a geometry, or two centres and more, got {c}")
            a, b, around = known[i] if geometry else (1.5 * c[0] - 0.5 * c[1], 1.5 * c[-1] - 0.5 * c[-2], False)
            h = (b - a) / len(c)
            if around and len(c) > 1 and np.allclose(np.diff(c), h, rtol=0.0, atol=1e-6 * h):
                faces.append(c[0] + (np.arange(len(c) + 1) - 0.5) * h)
                places.append((faces[-1][1:] + faces[-1][:-1]) / 2)
                continue
            first = (c[0] + c[-1] - (b - a)) / 2 if around else a
            midway = np.concatenate([[first], (c[1:] + c[:-1]) / 2, [first + (b - a) if around else b]])
            exact = faces_of(c, a, b - a, around, 1e-6 * np.diff(midway).min())
            faces.append(midway if exact is None else exact)
            places.append(np.clip(c, midway[:-1], midway[1:]) if exact is None else (exact[1:] + exact[:-1]) / 2)
            middles &= exact is not None
        return Grid(tuple(faces), geometry.periodic if geometry else (), mask, None if middles else tuple(places))

    @property
    def dims(self) -> tuple[str, ...]:
        return ("z", "y", "x")[-self.dimensions :]

    @property
    def inside(self) -> Bool[np.ndarray, "*shape"] | None:
        return None if self.mask is None else self.mask != 0

    @property
    def dimensions(self) -> int:
        return len(self.faces)

    @property
    def extents(self) -> tuple[tuple[float, float], ...]:
        return tuple((float(f[0]), float(f[-1])) for f in self.faces)

    @property
    def shape(self) -> tuple[int, ...]:
        """Cell counts in array order (z, y, x)."""
        return tuple(len(f) - 1 for f in reversed(self.faces))

    @property
    def centres(self) -> tuple[Float[np.ndarray, " _cell"], ...]:
        """Where values are, for axes x, y, z: in the middle of cells, or `at`."""
        return tuple((f[1:] + f[:-1]) / 2 for f in self.faces) if self.at is None else self.at

    @property
    def widths(self) -> tuple[Float[np.ndarray, " _cell"], ...]:
        return tuple(np.diff(f) for f in self.faces)

    @cached_property
    def uniform_cells(self) -> bool:
        """Whether all cells are of one size."""
        return all(np.ptp(w) <= 1e-6 * w.mean() for w in self.widths)

    def volumes(self) -> Float[np.ndarray, "*shape"]:
        """Cell volumes (areas, lengths) in array order, of cells outside the mask as well."""
        result = np.ones(())
        for w in self.widths:  # x is the last array axis, so later axes go in front
            result = w.reshape((-1,) + (1,) * result.ndim) * result
        return result

    def weights(self) -> Float[np.ndarray, "*shape"]:
        return self.volumes() if self.mask is None else self.volumes() * self.mask

    def points(self) -> Float[np.ndarray, "*shape {self.dimensions}"]:
        """Cell centres as (*shape, D), components in the order x, y, z."""
        mesh = np.meshgrid(*reversed(self.centres), indexing="ij")
        return np.stack(mesh[::-1], axis=-1)

    def side_points(self, axis: int, end: int) -> Float[np.ndarray, "face {self.dimensions}"]:
        """Centres of the outermost faces at the lower (0) or upper (1) end of an axis."""
        points = np.take(self.points(), [-end], axis=-2 - axis)
        points[..., axis] = self.faces[axis][-end]
        return points.reshape(-1, self.dimensions)

    def coordinate(self, axis: int) -> np.ndarray:
        """One coordinate of the cell centres, shaped to broadcast over arrays."""
        return self.centres[axis].reshape((-1,) + (1,) * axis)

    def stencil(self, points: Shaped[np.ndarray, "point {self.dimensions}"]) -> Stencil:
        """Multilinear between cell centres: across the seam of a periodic axis, continued linearly to the boundary of
        others; cells outside the mask take no part."""
        points = plain("points", points).astype(np.float64)
        lower, share = [], []
        for a, c in enumerate(self.centres):
            n, x = len(c), points[:, a]
            if self.periodic[a]:
                period = self.faces[a][-1] - self.faces[a][0]
                x = self.faces[a][0] + np.mod(x - self.faces[a][0], period)
                c = np.concatenate([c[-1:] - period, c, c[:1] + period])
            if len(c) == 1:
                lower.append(np.zeros((len(x), 2), int))
                share.append(np.stack([np.ones_like(x), np.zeros_like(x)], 1))
                continue
            k = np.clip(np.searchsorted(c, x, side="right") - 1, 0, len(c) - 2)
            s = (x - c[k]) / (c[k + 1] - c[k])
            pair = np.stack([k, k + 1], 1)
            lower.append((pair - 1) % n if self.periodic[a] else pair)
            share.append(np.stack([1 - s, s], 1))
        index, weight = [], []
        for corner in itertools.product((0, 1), repeat=self.dimensions):
            at, w = np.zeros(len(points), int), np.ones(len(points))
            for a in reversed(range(self.dimensions)):  # z first: C order of the array
                at = at * self.shape[-1 - a] + lower[a][:, corner[a]]
                w = w * share[a][:, corner[a]]
            index.append(at)
            weight.append(w)
        return self._within(np.stack(index, 1), np.stack(weight, 1))

    def _within(self, index: np.ndarray, weight: np.ndarray) -> Stencil:
        """Drop cells outside the mask; a point with none left takes the nearest of its cells that is inside at all."""
        if self.mask is None:
            return Stencil(index, weight)
        fluid = self.mask.reshape(-1)[index] != 0
        kept = np.where(fluid, np.maximum(weight, 0.0), 0.0)
        none = kept.sum(1) <= 1e-12
        nearest = np.where(fluid, weight, -np.inf).argmax(1)
        kept[none] = (np.arange(weight.shape[1]) == nearest[none, None]) & fluid[none]
        total = kept.sum(1, keepdims=True)
        whole = fluid.all(1, keepdims=True)
        return Stencil(index, np.where(whole, weight, kept / np.where(total > 0, total, 1.0)))

    def same(self, other: Support) -> bool:
        if not super().same(other):
            return False
        mine, its = self.inside, other.inside
        return (mine is None and its is None) or (mine is not None and its is not None and np.array_equal(mine, its))

    def coordinates(self) -> dict[str, Variable]:
        return {a: ((a,), c) for a, c in zip("xyz", self.centres, strict=False)}

    def variables(self) -> dict[str, Variable]:
        return {} if self.mask is None else {"mask": (self.dims, self.mask)}
