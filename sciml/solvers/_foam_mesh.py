"""Meshes for OpenFOAM of plane domains: one cell deep, written without any program of its own.

Boxes, with bodies along grid lines left out, have the cells of a uniform grid. A box with one disc has rings of cells
around the disc, which fill a rectangle of the grid beside whose sides its lines go on.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import coo_matrix, diags
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from sciml.errors import InputError
from sciml.geometry import SIDES, Box, Difference, Disc, Geometry
from sciml.solvers._foam_files import put, rows
from sciml.support import Apertures, Grid

REACH = 2.0  # radii from the middle of a disc to the sides of the rectangle around it, where there is room
ROOM = 1.1  # radii that there must be
AROUND = 8  # cells along each side of that rectangle, at least
FRONT_AND_BACK = "front_and_back"


@dataclass(frozen=True)
class Patch:
    """A part of the boundary: edges `start` to `start + count` of the mesh.

    Args:
        name: as OpenFOAM takes it.
        part: the name of the boundary in the geometry; of periodic sides that of the side.
        partner: the patch that it is one with; "" where it is not periodic.
    """

    name: str
    part: str
    start: int
    count: int
    partner: str = ""

    @property
    def edges(self) -> slice:
        return slice(self.start, self.start + self.count)


@dataclass(frozen=True)
class Mesh:
    """Quadrilaterals in the plane.

    Args:
        points: (N, 2) corners.
        cells: (M, 4) numbers of corners, anticlockwise.
        edges: (F, 2) numbers of corners, inner edges first, the owner on their left.
        owner: (F,) cells.
        neighbour: (I,) cells on the other side of the inner edges, with higher numbers.
        patches: what the other edges belong to, in their order.
        places: (M,) numbers of the cells of the uniform grid that these are; None where they are others.
    """

    points: np.ndarray
    cells: np.ndarray
    edges: np.ndarray
    owner: np.ndarray
    neighbour: np.ndarray
    patches: tuple[Patch, ...]
    places: np.ndarray | None = None

    @cached_property
    def areas(self) -> np.ndarray:
        """(M,)"""
        a, b, c, d = np.moveaxis(self.points[self.cells], 1, 0)
        return _cross(c - a, d - b) / 2

    @cached_property
    def centroids(self) -> np.ndarray:
        """(M, 2)"""
        a, b, c, d = np.moveaxis(self.points[self.cells], 1, 0)
        one, other = _cross(b - a, c - a)[:, None] / 2, _cross(c - a, d - a)[:, None] / 2
        return ((a + b + c) * one + (a + c + d) * other) / (3 * (one + other))

    @cached_property
    def middles(self) -> np.ndarray:
        """(F, 2) of the edges."""
        return self.points[self.edges].mean(1)

    @cached_property
    def normals(self) -> np.ndarray:
        """(F, 2), out of the owner, as long as the edge."""
        along = self.points[self.edges[:, 1]] - self.points[self.edges[:, 0]]
        return np.stack([along[:, 1], -along[:, 0]], axis=1)

    @property
    def depth(self) -> float:
        """m, of the one layer of cells; no answer depends on it."""
        return float(np.sqrt(self.areas.mean()))

    @cached_property
    def neighbours(self) -> Any:
        """(M, M) 1 where two cells share an edge."""
        n, inner = len(self.cells), self.owner[: len(self.neighbour)]
        one = coo_matrix((np.ones(len(inner)), (inner, self.neighbour)), (n, n)).tocsr()
        return one + one.T

    @cached_property
    def gradients(self) -> tuple[Any, Any]:
        """Least-squares ∂/∂x and ∂/∂y at the centroids from the cells beside, as matrices."""
        links = self.neighbours.tocoo()
        apart = self.centroids[links.col] - self.centroids[links.row]
        weight = 1 / (apart**2).sum(1)
        moments = np.zeros((len(self.cells), 2, 2))
        np.add.at(moments, links.row, weight[:, None, None] * apart[:, :, None] * apart[:, None, :])
        inverse = np.linalg.pinv(moments)
        shares = weight[:, None] * np.einsum("nij,nj->ni", inverse[links.row], apart)
        found = []
        for k in (0, 1):
            beside = coo_matrix((shares[:, k], (links.row, links.col)), self.neighbours.shape).tocsr()
            found.append(beside - diags(np.asarray(beside.sum(1)).ravel()))
        return found[0], found[1]

    def write(self, folder: Path) -> None:
        """The files of constant/polyMesh."""
        n, place = len(self.points), "constant/polyMesh/"
        flat = np.concatenate([self.points, self.points])
        height = np.repeat([0.0, self.depth], n)
        put(folder, place + "points", "vectorField", rows(np.column_stack([flat, height])))
        a, b = self.edges.T
        sides = np.stack([a, b, b + n, a + n], axis=1)
        faces = np.concatenate([sides, self.cells[:, ::-1], self.cells + n])
        listed = "\n".join(f"4({p} {q} {r} {s})" for p, q, r, s in faces.tolist())
        put(folder, place + "faces", "faceList", f"{len(faces)}\n(\n{listed}\n)\n")
        owner = np.concatenate([self.owner, np.tile(np.arange(len(self.cells)), 2)])
        for name, labels in (("owner", owner), ("neighbour", self.neighbour)):
            text = f"{len(labels)}\n(\n" + "\n".join(map(str, labels.tolist())) + "\n)\n"
            put(folder, place + name, "labelList", text)
        blocks = []
        for patch in self.patches:
            kind = f"cyclic; neighbourPatch {patch.partner}" if patch.partner else "patch"
            blocks.append(f"{patch.name} {{ type {kind}; nFaces {patch.count}; startFace {patch.start}; }}")
        blocks.append(f"{FRONT_AND_BACK} {{ type empty; nFaces {2 * len(self.cells)}; startFace {len(self.edges)}; }}")
        listed = "\n".join(blocks)
        put(folder, place + "boundary", "polyBoundaryMesh", f"{len(blocks)}\n(\n{listed}\n)\n")


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def mesh_of(name: str, geometry: Geometry, shape: tuple[int, int]) -> Mesh:
    """The mesh of a plane domain.

    Args:
        name: of the problem, for messages.
        shape: cells of the uniform grid, (ny, nx).

    Raises:
        InputError: bodies other than one disc within the box or what lies along lines of the grid.
    """
    grid = Grid.uniform(geometry, shape)
    disc = _disc_in(geometry)
    if disc is not None:
        return joined(geometry, *rings(disc, *_lines(name, geometry, disc, grid)))
    kept = _left(name, geometry, grid)
    ny, nx = shape
    x, y = np.meshgrid(*grid.faces)
    corner = np.arange(ny)[:, None] * (nx + 1) + np.arange(nx)
    cells = np.stack([corner, corner + 1, corner + nx + 2, corner + nx + 1], axis=-1).reshape(-1, 4)
    places = np.flatnonzero(kept.ravel())
    return joined(geometry, np.column_stack([x.ravel(), y.ravel()]), cells[places], places)


def _disc_in(geometry: Geometry) -> Disc | None:
    """The only body of a domain where it is a disc in a box."""
    if isinstance(geometry, Difference) and isinstance(geometry.whole, Box) and isinstance(geometry.hole, Disc):
        return geometry.hole
    return None


def _left(name: str, geometry: Geometry, grid: Grid) -> np.ndarray:
    """Which cells of the grid are in the domain.

    Raises:
        InputError: some are in part.
    """
    if isinstance(geometry, Box):
        return np.ones(grid.shape, dtype=bool)
    apertures = Apertures.of(geometry, grid)
    try:
        apertures.check_along_lines(geometry, grid, name)
    except InputError as error:
        raise InputError(f"{error}, or one disc in a box") from None
    return apertures.volumes > 0.5


def joined(geometry: Geometry, points: np.ndarray, cells: np.ndarray, places: np.ndarray | None = None) -> Mesh:
    """A mesh from corners and cells: their edges, once each, in the order that OpenFOAM asks for."""
    used, cells = np.unique(cells, return_inverse=True)
    points, cells = points[used], cells.reshape(-1, 4)
    n = len(points)
    ends = np.stack([cells, np.roll(cells, -1, axis=1)], axis=-1).reshape(-1, 2)
    of = np.repeat(np.arange(len(cells)), 4)
    _, first, number = np.unique(ends.min(1).astype(np.int64) * n + ends.max(1), return_index=True, return_inverse=True)
    twice = np.bincount(number) == 2
    last = np.zeros(len(first), dtype=int)
    last[number] = np.arange(len(number))  # the later of two places, whose cell has the higher number
    inner, outer = first[twice], first[~twice]
    beside = of[last[twice]]
    order = np.lexsort((beside, of[inner]))
    inner, beside = inner[order], beside[order]
    if _regions(len(cells), of[inner], beside) > 1:
        raise InputError("geometry: a body cuts off a part of the domain, expected one that is connected")
    sorted_edges, patches = _patches(geometry, points, ends[outer], len(inner))
    outer = outer[sorted_edges]
    every = np.concatenate([inner, outer])
    return Mesh(points, cells, ends[every], of[every], beside, patches, places)


def _regions(cells: int, one: np.ndarray, other: np.ndarray) -> int:
    links = coo_matrix((np.ones(len(one)), (one, other)), (cells, cells))
    return int(connected_components(links, directed=False)[0])


def _patches(
    geometry: Geometry, points: np.ndarray, edges: np.ndarray, start: int
) -> tuple[np.ndarray, tuple[Patch, ...]]:
    """The order of the boundary's edges, by patch and along it, and the patches."""
    middles = points[edges].mean(1)
    parts = geometry.boundaries
    names = np.full(len(edges), "", dtype=object)
    if parts:
        distances = np.stack([part.distance(middles) for part in parts.values()])
        names = np.array(list(parts), dtype=object)[distances.argmin(0)]
    around = []
    for side, (axis, end) in SIDES.items():
        if axis < 2 and geometry.periodic[axis]:
            low, high = geometry.extents[axis]
            names[np.abs(middles[:, axis] - (low, high)[end]) < 1e-9 * (high - low)] = side
            around.append(side)
    known = [name for name in (*parts, *around) if np.any(names == name)]
    called = {name: name if re.fullmatch(r"[A-Za-z]\w*", name) else f"part_{k}" for k, name in enumerate(known)}
    order, patches = [], []
    for name in known:
        mine = np.flatnonzero(names == name)
        along = 1 - SIDES[name][0] if name in around else 0
        mine = mine[np.argsort(middles[mine, along], kind="stable")]
        partner = "" if name not in around else f"{name[:2]}{'min' if name.endswith('max') else 'max'}"
        patches.append(Patch(called[name], name, start + len(order), len(mine), partner))
        order += mine.tolist()
    return np.array(order, dtype=int), tuple(patches)


# -- a disc in a box ----------------------------------------------------------------------------------------------


def _lines(name: str, geometry: Geometry, disc: Disc, grid: Grid) -> tuple[list[np.ndarray], list[tuple[int, int]]]:
    """Grid lines normal to x and to y, as far apart as the grid's or nearly so, and which of them are the sides of the
    rectangle around a disc."""
    lines, inner = [], []
    for k in (0, 1):
        low, high = geometry.extents[k]
        width, middle, radius = float(grid.widths[k][0]), disc.centre[k], disc.radius
        ends = []
        for side, sign in ((low, -1), (high, 1)):
            room = (side - middle) * sign
            if room < ROOM * radius:
                raise InputError(
                    f"{name}: {room - radius:g} m are left between the disc and the side of the box at "
                    f"{'xy'[k]} = {side:g}; expected {(ROOM - 1) * radius:g} at least"
                )
            reach = min(REACH * radius, room)
            ends.append(side if room - reach < width / 2 else middle + sign * reach)
        counts = [round((ends[0] - low) / width), max(AROUND, round((ends[1] - ends[0]) / width)),
                  round((high - ends[1]) / width)]  # fmt: skip
        counts = [max(n, int(b > a)) for n, a, b in zip(counts, (low, *ends), (*ends, high), strict=True)]
        pieces = [np.linspace(a, b, n + 1) for n, a, b in zip(counts, (low, *ends), (*ends, high), strict=True)]
        lines.append(np.concatenate([pieces[0][:-1], pieces[1], pieces[2][1:]]))
        inner.append((counts[0], counts[0] + counts[1]))
    return lines, inner


def rings(disc: Disc, lines: list[np.ndarray], inner: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    """Corners and cells of a box with rings around a disc.

    Args:
        lines: grid lines normal to x and to y, equally far apart within the rectangle.
        inner: for each axis the first and the last line of the rectangle around the disc, which rings fill.
    """
    (xs, ys), ((left, right), (bottom, top)) = lines, inner
    nx, ny = len(xs) - 1, len(ys) - 1
    x, y = np.meshgrid(xs, ys)
    corner = np.arange(ny)[:, None] * (nx + 1) + np.arange(nx)
    cells = np.stack([corner, corner + 1, corner + nx + 2, corner + nx + 1], axis=-1)
    outside = np.ones((ny, nx), dtype=bool)
    outside[bottom:top, left:right] = False
    # the sides of the rectangle, anticlockwise from its lower left corner, as numbers of the grid's corners
    around = np.concatenate([
        bottom * (nx + 1) + np.arange(left, right), np.arange(bottom, top) * (nx + 1) + right,
        top * (nx + 1) + np.arange(right, left, -1), np.arange(top, bottom, -1) * (nx + 1) + left,
    ])  # fmt: skip
    points = np.column_stack([x.ravel(), y.ravel()])
    square, count = points[around], len(around)
    circle = _circle(disc, square, (0, right - left, right - left + top - bottom, count - (top - bottom)))
    width = min(float(line[a + 1] - line[a]) for line, (a, _) in zip(lines, inner, strict=True))
    shares = _layers(disc, square, circle, width)
    layers = circle + shares[:-1, None, None] * (square - circle)
    number = np.concatenate([len(points) + np.arange(len(shares) - 1)[:, None] * count + np.arange(count), [around]])
    beside = np.roll(number, -1, axis=1)
    turned = np.stack([number[:-1], number[1:], beside[1:], beside[:-1]], axis=-1)  # anticlockwise, the disc inside
    every = np.concatenate([cells[outside], turned.reshape(-1, 4)])
    return np.concatenate([points, layers.reshape(-1, 2)]), every


def _circle(disc: Disc, square: np.ndarray, corners: tuple[int, ...]) -> np.ndarray:
    """Points on the disc, towards the corners of the rectangle and at equal angles between."""
    away = square[list(corners)] - np.array(disc.centre)
    angles = np.unwrap(np.arctan2(away[:, 1], away[:, 0]))
    ends = np.append(angles, angles[0] + 2 * np.pi)
    found = np.interp(np.arange(len(square)), np.append(corners, len(square)), ends)
    return np.array(disc.centre) + disc.radius * np.column_stack([np.cos(found), np.sin(found)])


def _layers(disc: Disc, square: np.ndarray, circle: np.ndarray, width: float) -> np.ndarray:
    """Shares of the way from the disc to the rectangle: cells as thick as they are long at the disc, and of `width` at
    the end."""
    first = 2 * np.pi * disc.radius / len(circle)
    last = max(width, first)
    gap = float(np.linalg.norm(square - circle, axis=1).mean())
    count = max(4, round(2 * gap / (first + last)))
    widths = np.geomspace(first, last, count)
    return np.concatenate([[0.0], np.cumsum(widths) / widths.sum()])


# -- from the mesh to a uniform grid ------------------------------------------------------------------------------

FINE = 4  # places along each axis of a cell of the uniform grid, at which values are taken


def onto_grid(mesh: Mesh, geometry: Geometry, shape: tuple[int, int]) -> Any:
    """(ny·nx, M) means over the cells of the uniform grid, as a matrix; 0 in those whose middles are outside.

    On a mesh of other cells values are taken at places within each cell, linear about the centroids, and of these the
    mean of those in the domain.
    """
    grid = Grid.uniform(geometry, shape, masked=True)
    if mesh.places is not None:
        n = len(mesh.places)
        return coo_matrix((np.ones(n), (mesh.places, np.arange(n))), (shape[0] * shape[1], n)).tocsr()
    offsets = (np.arange(FINE) + 0.5) / FINE
    axes = [(f[:-1, None] + w[:, None] * offsets).ravel() for f, w in zip(grid.faces, grid.widths, strict=True)]
    points = np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 2)
    row, column = np.divmod(np.arange(len(points)), len(axes[0]))
    cell = row // FINE * shape[1] + column // FINE
    inside = np.asarray(geometry.contains(points))
    if grid.inside is not None:
        inside &= grid.inside.ravel()[cell]
    points, cell = points[inside], cell[inside]
    near = KDTree(mesh.centroids).query(points)[1]
    away = points - mesh.centroids[near]
    size = (len(points), len(mesh.cells))
    at: Any = coo_matrix((np.ones(len(points)), (np.arange(len(points)), near)), size).tocsr()
    for k, slope in enumerate(mesh.gradients):
        at = at + diags(away[:, k]) @ slope[near]
    weight = 1 / np.maximum(np.bincount(cell, minlength=shape[0] * shape[1]), 1)
    means = coo_matrix((weight[cell], (cell, np.arange(len(points)))), (len(weight), len(points)))
    return means.tocsr() @ at
