"""Where a field on a grid has a value: lines in 2-D, surfaces in 3-D, by linear interpolation in simplices.

The lattice of cell centres is cut into squares or cubes, and these into 2 triangles or 6 tetrahedra around one
diagonal, so that neighbours fit. In each simplex the field is linear: its level set is a piece of a line or of a plane.

Source: H. W. Kuhn, IBM J. Res. Dev. 4, 518 (1960), for the simplices; A. Doi, A. Koide, IEICE Trans. E74, 214 (1991).
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from sciml.errors import InputError
from sciml.support import Grid

if TYPE_CHECKING:
    from jaxtyping import Float, Integer


@dataclass(frozen=True)
class Isosurface:
    """A level set.

    Args:
        grid: of the field.
        points: (V, D), beyond the domain's end by less than a cell where a node lies on a periodic seam.
        cells: (E, D) nodes of each piece.
        volume: of the part of the lattice in which the field is larger.
    """

    grid: Grid
    points: Float[np.ndarray, "node dimension"]
    cells: Integer[np.ndarray, "cell dimension"]
    volume: float

    @cached_property
    def sizes(self) -> Float[np.ndarray, " _cell"]:
        """Length or area of each piece."""
        corner = self.points[self.cells]
        sides = corner[:, 1:] - corner[:, :1]
        for a, around in enumerate(self.grid.periodic):
            if around:
                period = self.grid.faces[a][-1] - self.grid.faces[a][0]
                sides[..., a] -= period * np.round(sides[..., a] / period)
        if self.grid.dimensions == 2:
            return np.linalg.norm(sides[:, 0], axis=1)
        return 0.5 * np.linalg.norm(np.cross(sides[:, 0], sides[:, 1]), axis=1)

    @cached_property
    def areas(self) -> Float[np.ndarray, " _node"]:
        """Share of the surface of each node: ∫ f dA = Σ f · areas."""
        d = self.grid.dimensions
        return np.bincount(self.cells.ravel(), np.repeat(self.sizes / d, d), len(self.points))


def isosurface(
    values: Float[np.ndarray, "*shape"], grid: Grid, level: float, gradient: np.ndarray | None = None
) -> Isosurface:
    """The level set of one frame of values at cell centres; cells outside a mask take no part.

    Args:
        gradient: (D, *shape) of the values, where it is at hand: nodes then lie where the cubic through values and
            slopes at the ends of their edges has the level, to fourth order.

    Raises:
        InputError: another shape, or a level that the field does not cross.
    """
    d = grid.dimensions
    if values.shape != grid.shape or d not in (2, 3):
        raise InputError(f"values: expected shape {grid.shape} in 2 or 3 dimensions, got {values.shape}")
    flat = np.asarray(values, dtype=np.float64).reshape(-1)
    wet = np.isfinite(flat) if grid.inside is None else grid.inside.reshape(-1) & np.isfinite(flat)
    corners = _corners(grid)  # (cube, 2^d)
    corners = corners[wet[corners].all(1)]
    size = _sizes(grid)[corners[:, 0]]
    above = flat > level
    inner = above[corners].all(1)
    volume = float(size[inner].sum())
    mixed = above[corners].any(1) & ~inner
    corners, size = corners[mixed], size[mixed]
    if not len(corners):
        low, high = (float(f(flat[wet])) for f in (np.min, np.max))
        raise InputError(f"level: expected one that the field crosses, between {low:g} and {high:g}, got {level:g}")
    pieces = []
    for order in itertools.permutations(range(d)):  # a path of steps along the axes from the first corner to the last
        path = np.cumsum([0, *(1 << a for a in order)])
        simplex = corners[:, path]
        volume += float((size * _share_above(flat[simplex] - level)).sum()) / math.factorial(d)
        for pattern in range(1, 2 ** (d + 1) - 1):
            bits = [(pattern >> k) & 1 for k in range(d + 1)]
            chosen = (above[simplex] == np.array(bits, bool)).all(1)
            if not chosen.any():
                continue
            high = [k for k in range(d + 1) if bits[k]]
            low = [k for k in range(d + 1) if not bits[k]]
            edges = [tuple(sorted((i, j))) for i in high for j in low]
            if len(edges) == d + 1 and d == 3:  # a quadrilateral: two triangles on one diagonal
                faces = [(edges[0], edges[1], edges[3]), (edges[0], edges[3], edges[2])]
            else:
                faces = [tuple(edges)]
            for face in faces:
                pieces.append(np.stack([simplex[chosen][:, list(e)] for e in face], axis=1))
    every = np.concatenate(pieces)  # (piece, d, 2)
    keys = every[..., 0] * np.int64(flat.size) + every[..., 1]
    unique, index = np.unique(keys, return_inverse=True)
    ends = np.stack([unique // flat.size, unique % flat.size], 1)
    a, b = flat[ends[:, 0]], flat[ends[:, 1]]
    share = (level - a) / (b - a)
    place = grid.points().reshape(-1, d)
    step = place[ends[:, 1]] - place[ends[:, 0]]
    for k, around in enumerate(grid.periodic):
        if around:  # steps go up: one that goes down is across the seam
            step[:, k] += np.where(step[:, k] < 0, grid.faces[k][-1] - grid.faces[k][0], 0.0)
    if gradient is not None:
        slopes = gradient.reshape(d, -1)
        da, db = ((slopes[:, ends[:, k]].T * step).sum(1) for k in (0, 1))
        better = _cubic_root(a - level, b - level, da, db, share)
        found = Isosurface(grid, place[ends[:, 0]] + better[:, None] * step, index.reshape(keys.shape), volume)
        normal = (1 - better) * slopes[:, ends[:, 0]] + better * slopes[:, ends[:, 1]]
        normal = -normal / np.sqrt((normal**2).sum(0))
        moved = ((better - share)[:, None] * step * normal.T).sum(1)  # outwards, from where linear pieces are
        return replace(found, volume=volume + float(np.nansum(moved * found.areas)))
    points = place[ends[:, 0]] + share[:, None] * step
    return Isosurface(grid, points, index.reshape(keys.shape), volume)


def _cubic_root(a: np.ndarray, b: np.ndarray, da: np.ndarray, db: np.ndarray, linear: np.ndarray) -> np.ndarray:
    """Where Hermite's cubic with values a, b of different sign and slopes da, db is zero in (0, 1), by bisection."""
    low, high = np.zeros_like(a), np.ones_like(a)
    for _ in range(40):
        s = 0.5 * (low + high)
        f = (1 + 2 * s) * (1 - s) ** 2 * a + s * (1 - s) ** 2 * da + s**2 * (3 - 2 * s) * b - s**2 * (1 - s) * db
        same = (f > 0) == (a > 0)
        low, high = np.where(same, s, low), np.where(same, high, s)
    return np.where(np.isfinite(da) & np.isfinite(db), 0.5 * (low + high), linear)


def _corners(grid: Grid) -> np.ndarray:
    """(cube, 2^d) flat numbers of the cells at the corners of each square or cube of centres; bit a is a step along
    axis a."""
    d, shape = grid.dimensions, grid.shape
    number = np.arange(int(np.prod(shape))).reshape(shape)
    found = []
    for bits in range(2**d):
        part = number
        for a in range(d):
            k = d - 1 - a
            ahead = np.roll(part, -1, axis=k) if (bits >> a) & 1 else part
            if not grid.periodic[a]:
                ahead = np.take(ahead, range(shape[k] - 1), axis=k)
            part = ahead
        found.append(part.reshape(-1))
    return np.stack(found, axis=1)


def _sizes(grid: Grid) -> np.ndarray:
    """(cells,) volume of the cube of centres that begins at each cell."""
    result = np.ones(())
    for a in range(grid.dimensions):
        c = grid.centres[a]
        gaps = np.append(np.diff(c), grid.faces[a][-1] - grid.faces[a][0] - (c[-1] - c[0]))
        result = gaps.reshape((-1,) + (1,) * result.ndim) * result
    return result.reshape(-1)


def _share_above(f: np.ndarray) -> np.ndarray:
    """Share of each simplex (N, D + 1 corners) in which a linear function is positive."""
    f = -np.sort(-f, axis=1)  # the largest first
    count = (f > 0).sum(1)
    found = (count == f.shape[1]).astype(float)

    def cut(a: np.ndarray, others: np.ndarray) -> np.ndarray:
        return np.prod(a / (a - others), axis=1)

    one = count == 1
    found[one] = cut(f[one][:, :1], f[one][:, 1:])
    rest = count == f.shape[1] - 1
    found[rest & ~one] = 1 - cut(f[rest & ~one][:, -1:], f[rest & ~one][:, :-1])
    two = (count == 2) & (f.shape[1] == 4)
    if two.any():  # a wedge between a, b above and c, d below, as three tetrahedra
        a, b, c, d = f[two].T
        ac, ad, bc, bd = a / (a - c), a / (a - d), b / (b - c), b / (b - d)
        found[two] = ac * ad + bc * bd * (1 - ac) + bd * ac * (1 - ad)
    return found
