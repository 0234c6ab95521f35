"""Nodes joined by cells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from sciml.arrays import plain
from sciml.errors import InputError
from sciml.support.base import Stencil, Variable
from sciml.support.points import Cloud, checked_position

if TYPE_CHECKING:
    from jaxtyping import Float, Integer, Shaped

CELLS = {"line": 2, "triangle": 3, "quadrilateral": 4, "tetrahedron": 4, "hexahedron": 8}

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


@dataclass(frozen=True, eq=False, repr=False)
class Mesh(Cloud):
    """Nodes joined by cells of one or several kinds; values live on the nodes.

    Args:
        position: (N, D).
        cells: kind -> (C, vertices) 0-based node numbers; kinds are those of `CELLS`.
    """

    position: Shaped[np.ndarray, "node dimension"]
    cells: Mapping[str, Shaped[np.ndarray, "_ _"]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "position", checked_position(self.position, "mesh"))
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

    def simplices(self) -> Integer[np.ndarray, "simplex corner"]:
        """(S, 2 to 4) lines, triangles or tetrahedra that make up the cells of the highest dimension: less than that of
        space for a surface or a curve."""
        most = max(len(_SIMPLICES[kind][0]) for kind, cells in self.cells.items() if len(cells))
        several = [(c, corner) for kind, c in self.cells.items() for corner in _SIMPLICES[kind] if len(corner) == most]
        return np.concatenate([cells[:, corner] for cells, corner in several])

    def edges(self) -> Integer[np.ndarray, "edge 2"]:
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

    def weights(self) -> Float[np.ndarray, " node"]:
        """Dual volumes: each simplex gives an equal share to its corners; orientation does not matter."""
        total = np.zeros(self.size)
        simplices = self.simplices()
        for corner in range(simplices.shape[1]):
            np.add.at(total, simplices[:, corner], self._volumes / simplices.shape[1])
        return total

    def stencil(self, points: Shaped[np.ndarray, "point {self.dimensions}"]) -> Stencil:
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


def kind_of(vertices: int, dimensions: int) -> str:
    """The kind of cell with so many vertices in so many dimensions."""
    if vertices == 4:
        return "quadrilateral" if dimensions == 2 else "tetrahedron"
    for kind, count in CELLS.items():
        if count == vertices:
            return kind
    raise InputError(f"connectivity: cells of {vertices} vertices, expected 2, 3, 4 or 8")
