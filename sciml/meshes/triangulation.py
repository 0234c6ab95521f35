"""Triangles that fill a plane region."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import Delaunay, KDTree, QhullError

from sciml.errors import InputError, suggest
from sciml.geometry import Geometry
from sciml.meshes.outlines import Chain, Spacing, chains, nodes, outline, spacing
from sciml.support import Mesh

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Integer

WANTED = math.radians(29.0)  # the least angle that is worked for
MOST = 2_000_000  # nodes


def triangulate(geometry: Geometry, size: float, *, near: Mapping[str, float] | None = None, seed: int = 0) -> Mesh:
    """Triangles of edge length about `size` that fill a plane region.

    Nodes on the boundary lie on it exactly, one at each corner. Inside, a hexagonal lattice of nodes is let go like a
    truss of springs, xᵢ += dt Σⱼ max(ℓ₀ − ℓᵢⱼ, 0) eᵢⱼ, then drawn to xᵢ = Σ |T| c_T / Σ |T| over the triangles around
    it (c_T their circumcentres: optimal Delaunay triangulations), with the triangulation renewed at each step.
    Edges are shorter where the boundary is curved, has short sides or comes near to itself: at least two of them cross
    a gap. Angles are 25° or more, but in corners of the region that are sharper themselves.

    Args:
        geometry: boxes, discs and polygons, and what is made of them.
        size: edge length, in the geometry's unit.
        near: name of a boundary -> how long edges are there at most; from there on they get longer by a quarter of the
            distance.
        seed: of the small displacements by which the first lattice loses its symmetry.

    Returns:
        Anticlockwise triangles; the nodes on the boundary come first.

    Raises:
        InputError: no plane region; a size that is too long for a detail or gives too many nodes; a region of several
            parts; in `near` a boundary that there is not, or no positive length.

    Source: Persson and Strang (2004), A simple mesh generator in MATLAB; Chen (2004), Mesh smoothing schemes based on
    optimal Delaunay triangulations.
    """
    if not (isinstance(size, int | float | np.number) and math.isfinite(size) and size > 0):
        raise InputError(f"size: expected a positive length, got {size!r}")
    loops = outline(geometry)
    size = float(size)
    (x0, x1), (y0, y1) = geometry.extents
    if (x1 - x0) * (y1 - y0) / size**2 > MOST:
        raise InputError(f"size: {size:g} gives more than {MOST:,} nodes, expected a longer one")
    parts = chains(loops, size)
    wanted = spacing(geometry, parts, size, _checked(near, parts))
    boundary, sides = nodes(parts, wanted)
    work = _Truss(geometry, boundary, sides, wanted)
    inner = work.start(np.random.default_rng(seed))
    inner = work.refine(work.relax(work.release(inner)))
    points, triangles = work.mesh(inner)
    count, _ = connected_components(
        coo_array((np.ones(3 * len(triangles)), triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2).T), (len(points),) * 2)
    )
    if count > 1:
        raise InputError(f"geometry: a region of {count} parts, expected one that hangs together")
    return Mesh(points, {"triangle": triangles})


def _checked(near: Mapping[str, float] | None, parts: Sequence[Chain]) -> dict[str, float]:
    found, known = dict(near or {}), dict.fromkeys(p.name for c in parts for p in c.pieces)
    for name, length in found.items():
        if name not in known:
            raise InputError(f"near: no boundary is called {name!r}{suggest(name, known)}")
        if not (isinstance(length, int | float | np.number) and math.isfinite(length) and length > 0):
            raise InputError(f"near: {name}: expected a positive length, got {length!r}")
    return found


class _Truss:
    """A region with nodes that stay on its boundary and others that move inside."""

    def __init__(self, geometry: Geometry, boundary: np.ndarray, sides: np.ndarray, spacing: Spacing):
        self.geometry, self.boundary, self.sides, self.spacing = geometry, boundary, sides, spacing
        self.tree = KDTree(boundary)
        self.count = len(boundary)
        middle, half = boundary[sides].mean(1), np.linalg.norm(np.diff(boundary[sides], axis=1)[:, 0], axis=1) / 2
        self.middles, self.half, self.middle_tree = middle, half, KDTree(middle)

    def start(self, random: np.random.Generator) -> Float[np.ndarray, "node 2"]:
        """Hexagonal lattices, each finer one where edges are to be shorter by half."""
        (x0, x1), (y0, y1) = self.geometry.extents
        high = math.sqrt(3) / 2
        width = self.spacing.size
        columns, rows = np.meshgrid(
            np.arange(math.ceil((x1 - x0) / width) + 1), np.arange(math.ceil((y1 - y0) / width / high) + 1)
        )
        columns, rows = columns.ravel(), rows.ravel()
        found = []
        while len(columns):
            shift = np.where(rows % 2 == 0, 0.25, 0.75)
            points = np.stack([x0 + (columns + shift) * width, y0 + (rows + 0.5) * high * width], axis=1)
            points -= 0.5 * width
            split = self.spacing(points) < width / math.sqrt(2)
            found.append(points[~split] + random.uniform(-0.02, 0.02, (int((~split).sum()), 2)) * width)
            width /= 2
            c, r = columns[split], rows[split]
            columns = (2 * c[:, None] + [0, 1, 0, 1]).ravel()
            rows = (2 * r[:, None] + [0, 0, 1, 1]).ravel()
        points = np.concatenate(found)
        return points[self.free(points, 0.55)]

    def free(self, points: np.ndarray, share: float) -> Bool[np.ndarray, " point"]:
        """Which points lie inside, at least so many edge lengths off the boundary, and in no circle about a side."""
        if not len(points):
            return np.zeros(0, dtype=bool)
        length = self.spacing(points)
        (x0, x1), (y0, y1) = self.geometry.extents
        x, y = points.T
        distance = np.minimum(np.asarray(self.geometry.signed_distance(points)), np.minimum(x - x0, x1 - x))
        distance = np.minimum(distance, np.minimum(y - y0, y1 - y))  # periodic sides bound a mesh, too
        good = np.asarray(distance > share * length)
        near = np.flatnonzero(good & (distance < 1.2 * length))
        if len(near):
            _, k = self.middle_tree.query(points[near], k=min(3, len(self.half)))
            k = np.asarray(k).reshape(len(near), -1)
            away = np.linalg.norm(points[near, None] - self.middles[k], axis=-1)
            good[near] &= (away > 1.05 * self.half[k]).all(1)
        return good

    def mesh(self, inner: np.ndarray) -> tuple[np.ndarray, Integer[np.ndarray, "triangle 3"]]:
        """The nodes, those on the boundary first, and the Delaunay triangles inside, anticlockwise."""
        points = np.concatenate([self.boundary, inner])
        try:
            triangles = Delaunay(points).simplices.astype(np.int64)
        except QhullError:
            raise InputError("geometry: its boundary cannot be triangulated; is it a line?") from None
        corners = points[triangles]
        a, b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
        double = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
        triangles = np.where(double[:, None] < 0, triangles[:, [0, 2, 1]], triangles)
        kept = np.asarray((triangles >= self.count).any(1))
        outer = np.flatnonzero(~kept)
        centre = corners[outer].mean(1)
        (x0, x1), (y0, y1) = self.geometry.extents
        inside = np.asarray(self.geometry.contains(centre)) & ((centre > [x0, y0]) & (centre < [x1, y1])).all(1)
        longest = np.maximum((a[outer] ** 2).sum(1), (b[outer] ** 2).sum(1))
        kept[outer] = inside & (np.abs(double[outer]) > 1e-6 * longest)
        return points, triangles[kept]

    def _edges(self, triangles: np.ndarray) -> np.ndarray:
        pairs = np.sort(triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
        base = int(triangles.max()) + 1
        keys = np.unique(pairs[:, 0] * base + pairs[:, 1])
        return np.stack([keys // base, keys % base], axis=1)

    def _moved(self, inner: np.ndarray, step: np.ndarray) -> np.ndarray:
        """`inner` + `step`, no longer than a third of an edge; what would leave the region stays."""
        length = np.linalg.norm(step, axis=1)
        limit = self.spacing(inner) / 3
        step = step * np.minimum(1.0, limit / np.maximum(length, 1e-300))[:, None]
        there = inner + step
        return np.where(self.free(there, 0.3)[:, None], there, inner)

    def release(self, inner: np.ndarray, steps: int = 30) -> np.ndarray:
        """Springs that only push, 1.1 times as long as they may be."""
        for k in range(steps if len(inner) else 0):
            points, triangles = self.mesh(inner)
            edges = self._edges(triangles)
            bars = points[edges[:, 0]] - points[edges[:, 1]]
            length = np.maximum(np.linalg.norm(bars, axis=1), 1e-300)
            wanted = self.spacing(points)[edges].mean(1)
            rest = wanted * 1.1 * math.sqrt((length**2).sum() / (wanted**2).sum())
            if k in (10, 20):  # too many nodes here: one of a pair that is half as long as wanted is taken out
                close = edges[(length < 0.5 * rest) & (edges[:, 1] >= self.count)]
                out = np.unique(close[:, 1]) - self.count
                if len(out):
                    inner = np.delete(inner, out, axis=0)
                    continue
            force = (np.maximum(rest - length, 0.0) / length)[:, None] * bars
            step = np.stack(
                [
                    np.bincount(edges[:, 0], force[:, i], len(points))
                    - np.bincount(edges[:, 1], force[:, i], len(points))
                    for i in (0, 1)
                ],
                axis=1,
            )
            inner = self._moved(inner, 0.2 * step[self.count :])
        return inner

    def relax(self, inner: np.ndarray, steps: int = 10) -> np.ndarray:
        """Each node to the mean of the circumcentres around it, weighted by area over h⁴."""
        for _ in range(steps if len(inner) else 0):
            points, triangles = self.mesh(inner)
            centre, area = _circumcentres(points[triangles])
            middle = points[triangles].mean(1)
            wild = np.linalg.norm(centre - middle, axis=1) > np.sqrt(np.maximum(area, 1e-300))
            centre = np.where(wild[:, None], middle, centre)
            weight = area / self.spacing(middle) ** 4
            total = np.zeros(len(points))
            drawn = np.zeros((len(points), 2))
            for corner in range(3):
                total += np.bincount(triangles[:, corner], weight, len(points))
                for i in (0, 1):
                    drawn[:, i] += np.bincount(triangles[:, corner], weight * centre[:, i], len(points))
            target = drawn[self.count :] / np.maximum(total[self.count :], 1e-300)[:, None]
            inner = self._moved(inner, np.where(total[self.count :, None] > 0, target - inner, 0.0))
        return inner

    def refine(self, inner: np.ndarray, rounds: int = 20) -> np.ndarray:
        """Where an angle is small a node goes or one is added; the best of all rounds is kept."""
        best, least = inner, -1.0
        for _ in range(rounds):
            points, triangles = self.mesh(inner)
            self._check(points, triangles)
            angle = _angles(points[triangles])
            sharp = self._sharp(points, triangles)
            angle = np.where(sharp, np.pi, angle.min(1))
            if angle.min() > least:
                best, least = inner, float(angle.min())
            if least >= WANTED:
                break
            bad = np.flatnonzero(angle < WANTED)
            corners = points[triangles[bad]]
            edge = np.linalg.norm(np.roll(corners, -1, axis=1) - corners, axis=2)
            shortest = edge.argmin(1)
            ends = np.stack([triangles[bad, shortest], triangles[bad, (shortest + 1) % 3]], axis=1)
            long = edge.max(1) > 1.25 * self.spacing(corners.mean(1))
            crowded = ~long & (ends.max(1) >= self.count)
            out = np.unique(ends[crowded].max(1)) - self.count
            a = np.arange(len(bad))
            k = edge.argmax(1)
            between = (corners[a, k] + corners[a, (k + 1) % 3]) / 2
            more = between[~crowded]
            more = more[self.free(more, 0.4)]
            if len(more) > 1:  # one of several that are the same
                near = KDTree(more).query_pairs(0.7 * float(self.spacing(more).min()))
                more = np.delete(more, sorted({j for _, j in near}), axis=0)
            if not len(out) and not len(more):
                moved = self.relax(inner, 3)
                if np.array_equal(moved, inner):
                    break
                inner = moved
                continue
            inner = np.concatenate([np.delete(inner, out, axis=0), more])
            inner = self.relax(inner, 5)
        return best

    def _sharp(self, points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
        """Triangles in a corner of the region that is itself as sharp as that: three nodes of the boundary in a row."""
        before = np.full(self.count, -1)
        before[self.sides[:, 1]] = self.sides[:, 0]
        after = np.full(self.count, -1)
        after[self.sides[:, 0]] = self.sides[:, 1]
        a, b = points[before] - points[: self.count], points[after] - points[: self.count]
        cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
        cross = b[:, 0] * a[:, 1] - b[:, 1] * a[:, 0]
        sharp = (np.arccos(np.clip(cosine, -1, 1)) < 2 * WANTED) & (cross > 0)
        flags = np.concatenate([sharp, np.zeros(len(points) - self.count, dtype=bool)])
        return np.asarray(flags[triangles].any(1))

    def _check(self, points: np.ndarray, triangles: np.ndarray) -> None:
        """Every side of the boundary is one of one triangle, and no other edge is."""
        pairs = triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
        base = len(points)
        keys = pairs[:, 0] * base + pairs[:, 1]
        free = np.setdiff1d(keys, pairs[:, 1] * base + pairs[:, 0])
        sides = self.sides[:, 0] * base + self.sides[:, 1]
        if len(lost := np.setxor1d(free, sides)):
            x, y = points[[lost[0] // base, lost[0] % base]].mean(0)
            raise InputError(
                f"size: the boundary near ({x:.4g}, {y:.4g}) is not met by edges of {self.spacing.size:g}, expected a "
                "shorter size"
            )


def _circumcentres(corners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(T, 2) centres and (T,) areas of triangles (T, 3, 2)."""
    b, c = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    double = b[:, 0] * c[:, 1] - b[:, 1] * c[:, 0]
    bb, cc = (b**2).sum(1), (c**2).sum(1)
    safe = np.where(double == 0, 1.0, 2 * double)
    x, y = (c[:, 1] * bb - b[:, 1] * cc) / safe, (b[:, 0] * cc - c[:, 0] * bb) / safe
    return corners[:, 0] + np.stack([x, y], axis=1), np.abs(double) / 2


def _angles(corners: np.ndarray) -> Float[np.ndarray, "triangle 3"]:
    a, b = np.roll(corners, -1, axis=1) - corners, np.roll(corners, 1, axis=1) - corners
    cosine = (a * b).sum(-1) / np.maximum(np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1), 1e-300)
    return np.asarray(np.arccos(np.clip(cosine, -1.0, 1.0)))
