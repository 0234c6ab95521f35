"""Where values live: the cells of a grid, loose points, or the nodes of a mesh.

A support knows its points, its quadrature weights and how to interpolate. Losses, metrics and audits take their weights
from it; solutions take their coordinates from it. It may differ from case to case and, for nodes that move, from frame
to frame. Coordinates run x, y, z; arrays of a grid run z, y, x.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from sciml.arrays import plain
from sciml.errors import InputError
from sciml.geometry import Geometry, faces_of

Variable = tuple[tuple[str, ...], np.ndarray]
CELLS = {"line": 2, "triangle": 3, "quadrilateral": 4, "tetrahedron": 4, "hexahedron": 8}


@dataclass(frozen=True)
class Stencil:
    """Linear interpolation at M points: value_m = Σ_k weight[m, k] · flat_values[index[m, k]].

    Args:
        index: (M, K) positions in the flattened values.
        weight: (M, K), each row with sum 1; all 0 for a point of a masked grid that has no cell inside around it.
    """

    index: np.ndarray
    weight: np.ndarray

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """(..., N) -> (..., M)."""
        return (plain("values", values)[..., self.index] * self.weight).sum(-1)


class Support(ABC):
    """Abstract; final are `Grid`, `Points` and `Mesh`."""

    @property
    @abstractmethod
    def dims(self) -> tuple[str, ...]:
        """Names of the array axes of a field: ("z", "y", "x") or its tail, or ("node",)."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Lengths of these axes."""

    @property
    @abstractmethod
    def dimensions(self) -> int:
        """Dimensions of space."""

    @property
    @abstractmethod
    def extents(self) -> tuple[tuple[float, float], ...]:
        """(lower, upper) of the box around it, for x, y, z."""

    #: for x, y, z: whether the ends of the box are identified
    periodic: tuple[bool, ...]

    @property
    def inside(self) -> np.ndarray | None:
        """(*shape) True where there is something to have a value; None where it is so everywhere."""
        return None

    @property
    def size(self) -> int:
        return int(np.prod(self.shape))

    @abstractmethod
    def points(self) -> np.ndarray:
        """(*shape, D) positions."""

    @abstractmethod
    def weights(self) -> np.ndarray:
        """(*shape) quadrature weights, Σ w a ≈ ∫ a dV: cell volumes, dual volumes; 0 where not `inside`."""

    @abstractmethod
    def stencil(self, points: np.ndarray) -> Stencil:
        """Linear interpolation at points (M, D); beyond the outermost points values are continued."""

    @abstractmethod
    def coordinates(self) -> dict[str, Variable]:
        """Coordinate variables of a solution, name -> (dims, array)."""

    def variables(self) -> dict[str, Variable]:
        """What a solution needs beside coordinates: connectivity, mask."""
        return {}

    def sample(self, values: np.ndarray, points: np.ndarray) -> np.ndarray:
        """Values (..., *shape) at points (M, D): (..., M), by linear interpolation."""
        values = plain("values", values)
        lead = values.shape[: values.ndim - len(self.shape)]
        return self.stencil(points)(values.reshape(*lead, -1))

    def onto(self, values: np.ndarray, other: Support) -> np.ndarray:
        """Values (..., *shape) on another support of the same domain: (..., *other.shape)."""
        if self.same(other):
            return np.asarray(values)
        d = other.dimensions
        found = self.sample(values, other.points().reshape(-1, d))
        return found.reshape(*found.shape[:-1], *other.shape)

    def same(self, other: Support) -> bool:
        """Whether values of the one are values of the other: equal points up to rounding, and equal masks."""
        if self is other:
            return True
        if type(self) is not type(other) or self.shape != other.shape or self.dimensions != other.dimensions:
            return False
        size = max(b - a for a, b in self.extents) or 1.0
        return bool(np.allclose(self.points(), other.points(), rtol=0.0, atol=1e-6 * size))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({' × '.join(map(str, self.shape))}, {self.dimensions}-D)"

    def unit(self) -> np.ndarray:
        """(*shape, D) positions as shares of the extents."""
        low, high = np.array(self.extents, dtype=np.float64).T
        return (self.points() - low) / np.where(high > low, high - low, 1.0)


@dataclass(frozen=True, eq=False, repr=False)
class Grid(Support):
    """A structured grid of cells in one, two or three dimensions, uniform or stretched.

    Args:
        faces: for each axis x, y, z the (n + 1,) increasing face coordinates.
        periodic: for each axis, whether its ends are identified.
        mask: (*shape) 1 where a cell belongs to the domain; None where all do.
        at: for each axis the (n,) places within the cells that values belong to; None where these are the middles.
    """

    faces: tuple[np.ndarray, ...]
    periodic: tuple[bool, ...] = ()
    mask: np.ndarray | None = None
    at: tuple[np.ndarray, ...] | None = None

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
        faces: tuple[np.ndarray, ...],
        masked: bool = False,
        at: tuple[np.ndarray, ...] | None = None,
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
        centres: tuple[np.ndarray, ...], geometry: Geometry | None = None, mask: np.ndarray | None = None
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
    def inside(self) -> np.ndarray | None:
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
    def centres(self) -> tuple[np.ndarray, ...]:
        """Where values are, for axes x, y, z: in the middle of cells, or `at`."""
        return tuple((f[1:] + f[:-1]) / 2 for f in self.faces) if self.at is None else self.at

    @property
    def widths(self) -> tuple[np.ndarray, ...]:
        return tuple(np.diff(f) for f in self.faces)

    @cached_property
    def uniform_cells(self) -> bool:
        """Whether all cells are of one size."""
        return all(np.ptp(w) <= 1e-6 * w.mean() for w in self.widths)

    def volumes(self) -> np.ndarray:
        """Cell volumes (areas, lengths) in array order, of cells outside the mask as well."""
        result = np.ones(())
        for w in self.widths:  # x is the last array axis, so later axes go in front
            result = w.reshape((-1,) + (1,) * result.ndim) * result
        return result

    def weights(self) -> np.ndarray:
        return self.volumes() if self.mask is None else self.volumes() * self.mask

    def points(self) -> np.ndarray:
        """Cell centres as (*shape, D), components in the order x, y, z."""
        mesh = np.meshgrid(*reversed(self.centres), indexing="ij")
        return np.stack(mesh[::-1], axis=-1)

    def coordinate(self, axis: int) -> np.ndarray:
        """One coordinate of the cell centres, shaped to broadcast over arrays."""
        return self.centres[axis].reshape((-1,) + (1,) * axis)

    def stencil(self, points: np.ndarray) -> Stencil:
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


class _Cloud(Support):
    """What points and meshes share: values over ("node",)."""

    position: np.ndarray

    @property
    def periodic(self) -> tuple[bool, ...]:  # type: ignore[override]
        return (False,) * self.dimensions

    @property
    def dims(self) -> tuple[str, ...]:
        return ("node",)

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.position),)

    @property
    def dimensions(self) -> int:
        return self.position.shape[1]

    @property
    def extents(self) -> tuple[tuple[float, float], ...]:
        return tuple((float(a), float(b)) for a, b in zip(self.position.min(0), self.position.max(0), strict=True))

    def points(self) -> np.ndarray:
        return self.position

    def coordinates(self) -> dict[str, Variable]:
        return {a: (("node",), self.position[:, i]) for i, a in zip(range(self.dimensions), "xyz", strict=False)}

    def _nearest(self, points: np.ndarray, count: int) -> Stencil:
        """The nearest points, weighted by the inverse square of their distance; a point of the cloud gives itself."""
        from scipy.spatial import KDTree

        count = min(count, len(self.position))
        distance, index = KDTree(self.position).query(points, k=count)
        distance, index = distance.reshape(len(points), count), np.asarray(index).reshape(len(points), count)
        size = max(b - a for a, b in self.extents) or 1.0
        weight = 1.0 / np.maximum(distance, 1e-12 * size) ** 2
        return Stencil(index, weight / weight.sum(1, keepdims=True))


def _position(value: Any, name: str) -> np.ndarray:
    array = plain(name, value).astype(np.float64)
    if array.ndim != 2 or not 1 <= array.shape[1] <= 3 or not len(array):
        raise InputError(f"{name}: expected positions of shape (N, 1 to 3), got {array.shape}")
    if not np.isfinite(array).all():
        raise InputError(f"{name}: position {int(np.argmin(np.isfinite(array).all(1)))} is not finite")
    return array


@dataclass(frozen=True, eq=False, repr=False)
class Points(_Cloud):
    """Loose points: particles, sensors.

    Args:
        position: (N, D).
        volume: (N,) quadrature weights; by default all are equal, with the volume of the box around the points as sum.
    """

    position: np.ndarray
    volume: np.ndarray | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "position", _position(self.position, "points"))
        if self.volume is not None:
            volume = plain("points: volume", self.volume).astype(np.float64)
            if volume.shape != (len(self.position),) or not np.all(volume > 0):
                raise InputError(f"points: expected {len(self.position)} positive volumes, got shape {volume.shape}")
            object.__setattr__(self, "volume", volume)

    def weights(self) -> np.ndarray:
        if self.volume is not None:
            return self.volume
        box = float(np.prod([(b - a) or 1.0 for a, b in self.extents]))
        return np.full(self.shape, box / self.size)

    def stencil(self, points: np.ndarray) -> Stencil:
        """From the D + 1 nearest points, by inverse squares of distances."""
        return self._nearest(plain("points", points).astype(np.float64), self.dimensions + 1)


@dataclass(frozen=True, eq=False, repr=False)
class Mesh(_Cloud):
    """Nodes joined by cells of one or several kinds; values live on the nodes.

    Args:
        position: (N, D).
        cells: kind -> (C, vertices) 0-based node numbers; kinds are those of `CELLS`.
    """

    position: np.ndarray
    cells: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "position", _position(self.position, "mesh"))
        found = {}
        for kind, given in self.cells.items():
            if kind not in CELLS:
                raise InputError(f"mesh: no kind of cell is called {kind!r}; known: {', '.join(CELLS)}")
            cells = plain(f"mesh: {kind} cells", given)
            if cells.ndim != 2 or cells.shape[1] != CELLS[kind] or cells.dtype.kind not in "iu":
                raise InputError(f"mesh: expected {kind} cells as integers (C, {CELLS[kind]}), got {cells.shape}")
            if cells.size and (cells.min() < 0 or cells.max() >= len(self.position)):
                wrong = int(cells.min() if cells.min() < 0 else cells.max())
                raise InputError(f"mesh: a {kind} names node {wrong}, expected 0 to {self.size - 1}")
            found[kind] = cells.astype(np.int64)
        if not any(len(c) for c in found.values()):
            raise InputError("mesh: expected at least one cell, got none")
        object.__setattr__(self, "cells", found)

    def simplices(self) -> np.ndarray:
        """(S, 2 to 4) lines, triangles or tetrahedra that make up the cells of the highest dimension: less than that of
        space for a surface or a curve."""
        most = max(len(_SIMPLICES[kind][0]) for kind, cells in self.cells.items() if len(cells))
        several = [(c, corner) for kind, c in self.cells.items() for corner in _SIMPLICES[kind] if len(corner) == most]
        return np.concatenate([cells[:, corner] for cells, corner in several])

    def edges(self) -> np.ndarray:
        """(E, 2) pairs of nodes joined by a side of a cell, each once, the smaller number first."""
        parts = [cells[:, pair] for kind, cells in self.cells.items() for pair in _EDGES[kind]]
        return np.unique(np.sort(np.concatenate(parts), axis=1), axis=0)

    @cached_property
    def _volumes(self) -> np.ndarray:
        simplices = self.simplices()
        sides = self.position[simplices[:, 1:]] - self.position[simplices[:, :1]]
        d = sides.shape[1]
        if d == self.dimensions:
            content = np.abs(np.linalg.det(sides))
        else:
            content = np.sqrt(np.maximum(np.linalg.det(sides @ np.swapaxes(sides, 1, 2)), 0.0))
        return content / float(np.prod(np.arange(1, d + 1)))

    def weights(self) -> np.ndarray:
        """Dual volumes: each simplex gives an equal share to its corners; orientation does not matter."""
        total = np.zeros(self.size)
        simplices = self.simplices()
        for corner in range(simplices.shape[1]):
            np.add.at(total, simplices[:, corner], self._volumes / simplices.shape[1])
        return total

    def stencil(self, points: np.ndarray) -> Stencil:
        """Linear on the simplex that a point lies in; beyond the mesh the nearest node. On a surface or a curve as for
        loose points."""
        from scipy.spatial import KDTree

        points = plain("points", points).astype(np.float64)
        simplices, d = self.simplices(), self.dimensions
        if simplices.shape[1] != d + 1:
            return self._nearest(points, d + 1)
        corners = self.position[simplices]
        origin, sides = corners[:, 0], np.swapaxes(corners[:, 1:] - corners[:, :1], 1, 2)
        flat = self._volumes <= 1e-14 * max(float(self._volumes.max(initial=0.0)), 1e-300)
        sides[flat] = np.eye(d)
        inverse = np.linalg.inv(sides)
        near = self._nearest(points, 1)
        index = np.repeat(near.index, d + 1, axis=1)
        weight = np.zeros((len(points), d + 1))
        weight[:, 0] = 1.0
        left = np.arange(len(points))

        def settle(left: np.ndarray, candidates: np.ndarray) -> np.ndarray:
            """Those of the points `left` that lie in none of their candidates (left, C)."""
            local = np.einsum("pcij,pcj->pci", inverse[candidates], points[left, None] - origin[candidates])
            bary = np.concatenate([1 - local.sum(-1, keepdims=True), local], axis=-1)
            worst = np.where(flat[candidates], -np.inf, bary.min(-1))
            best, rows = worst.argmax(1), np.arange(len(left))
            hit = worst[rows, best] > -1e-9
            index[left[hit]] = simplices[candidates[rows, best][hit]]
            weight[left[hit]] = np.clip(bary[rows, best][hit], 0.0, 1.0)
            return left[~hit]

        tree = KDTree(corners.mean(1))
        for count in (8, 64):  # the simplex of a point is nearly always among those with the nearest centres
            count = min(count, len(simplices))
            if len(left):
                _, candidates = tree.query(points[left], k=count)
                left = settle(left, np.asarray(candidates).reshape(len(left), count))
        lower, upper = corners.min(1), corners.max(1)
        for k in left if len(simplices) > 64 else ():  # not so where cells are thin
            around = np.flatnonzero(((lower <= points[k]) & (points[k] <= upper)).all(1))
            if len(around):
                settle(np.array([k]), around[None])
        return Stencil(index, weight / weight.sum(1, keepdims=True))

    def variables(self) -> dict[str, Variable]:
        if len(self.cells) == 1:
            ((_, cells),) = self.cells.items()
            return {"connectivity": (("cell", "vertex"), cells.astype(np.int32))}
        return {
            f"connectivity_{kind}": ((f"cell_{kind}", f"vertex_{kind}"), cells.astype(np.int32))
            for kind, cells in self.cells.items()
        }


# corners of the simplices that a cell is cut into, and its edges; vertices in the usual (VTK) order
_SIMPLICES: dict[str, tuple[list[int], ...]] = {
    "line": ([0, 1],),
    "triangle": ([0, 1, 2],),
    "quadrilateral": ([0, 1, 2], [0, 2, 3]),
    "tetrahedron": ([0, 1, 2, 3],),
    "hexahedron": ([0, 1, 3, 4], [1, 2, 3, 6], [1, 3, 4, 6], [1, 4, 5, 6], [3, 4, 6, 7]),
}
_EDGES: dict[str, tuple[list[int], ...]] = {
    "line": ([0, 1],),
    "triangle": ([0, 1], [1, 2], [2, 0]),
    "quadrilateral": ([0, 1], [1, 2], [2, 3], [3, 0]),
    "tetrahedron": ([0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]),
    "hexahedron": (
        [0, 1], [1, 2], [2, 3], [3, 0], [4, 5], [5, 6], [6, 7], [7, 4], [0, 4], [1, 5], [2, 6], [3, 7],
    ),
}  # fmt: skip


def read(variables: Mapping[str, Any], geometry: Geometry | None) -> Support:
    """The support of one frame of a solution, from its variables (name -> array).

    Args:
        variables: cell centres "x", "y", "z" and "mask" of a grid; or node positions (N,) and connectivity.
        geometry: the domain, for the ends of a grid; None for nodes.
    """
    axes = [a for a in "xyz" if a in variables]
    arrays = [np.asarray(variables[a], dtype=np.float64) for a in axes]
    if geometry is not None:
        mask = variables.get("mask")
        return Grid.from_centres(tuple(arrays), geometry, None if mask is None else np.asarray(mask))
    position = np.stack(arrays, axis=-1)
    cells = {}
    for name, value in variables.items():
        if name == "connectivity":
            cells[kind_of(np.shape(value)[1], position.shape[1])] = np.asarray(value)
        elif name.startswith("connectivity_"):
            cells[name.removeprefix("connectivity_")] = np.asarray(value)
    return Mesh(position, cells) if cells else Points(position)


def kind_of(vertices: int, dimensions: int) -> str:
    """The kind of cell with so many vertices in so many dimensions."""
    if vertices == 4:
        return "quadrilateral" if dimensions == 2 else "tetrahedron"
    for kind, count in CELLS.items():
        if count == vertices:
            return kind
    raise InputError(f"connectivity: cells of {vertices} vertices, expected 2, 3, 4 or 8")
