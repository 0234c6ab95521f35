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
from sciml.support.locate import locate
from sciml.support.points import Cloud, checked_position

if TYPE_CHECKING:
    from jaxtyping import Float, Integer, Shaped

CELLS = {
    "line": 2, "triangle": 3, "quadrilateral": 4, "tetrahedron": 4, "hexahedron": 8, "prism": 6, "pyramid": 5,
}  # fmt: skip

# corners of simplices that make up a cell by itself, and its edges; vertices in the usual (VTK) order
_SIMPLICES: dict[str, tuple[list[int], ...]] = {
    "line": ([0, 1],),
    "triangle": ([0, 1, 2],),
    "quadrilateral": ([0, 1, 2], [0, 2, 3]),
    "tetrahedron": ([0, 1, 2, 3],),
    "hexahedron": ([0, 1, 3, 4], [1, 2, 3, 6], [1, 3, 4, 6], [1, 4, 5, 6], [3, 4, 6, 7]),
    "prism": ([0, 1, 2, 3], [1, 2, 3, 4], [2, 3, 4, 5]),
    "pyramid": ([0, 1, 2, 4], [0, 2, 3, 4]),
}
_EDGES: dict[str, tuple[list[int], ...]] = {
    "line": ([0, 1],),
    "triangle": ([0, 1], [1, 2], [2, 0]),
    "quadrilateral": ([0, 1], [1, 2], [2, 3], [3, 0]),
    "tetrahedron": ([0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]),
    "hexahedron": (
        [0, 1], [1, 2], [2, 3], [3, 0], [4, 5], [5, 6], [6, 7], [7, 4], [0, 4], [1, 5], [2, 6], [3, 7],
    ),
    "prism": ([0, 1], [1, 2], [2, 0], [3, 4], [4, 5], [5, 3], [0, 3], [1, 4], [2, 5]),
    "pyramid": ([0, 1], [1, 2], [2, 3], [3, 0], [0, 4], [1, 4], [2, 4], [3, 4]),
}  # fmt: skip
_OTHER = ([1, 2, 3], [1, 3, 0])  # a quadrilateral along its other diagonal
_FACES: dict[str, tuple[list[int], ...]] = {  # anticlockwise as seen from outside
    "hexahedron": ([0, 3, 2, 1], [4, 5, 6, 7], [0, 1, 5, 4], [1, 2, 6, 5], [2, 3, 7, 6], [3, 0, 4, 7]),
    "prism": ([0, 2, 1], [3, 4, 5], [0, 1, 4, 3], [1, 2, 5, 4], [2, 0, 3, 5]),
    "pyramid": ([0, 3, 2, 1], [0, 1, 4], [1, 2, 4], [2, 3, 4], [3, 0, 4]),
}


def _signs() -> dict[str, np.ndarray]:
    """Of the volumes of the simplices of a cell that is as it should be."""
    corners = {
        "quadrilateral": [(0, 0), (1, 0), (1, 1), (0, 1)],
        "hexahedron": [(x, y, z) for z in (0, 1) for x, y in ((0, 0), (1, 0), (1, 1), (0, 1))],
        "prism": [(x, y, z) for z in (0, 1) for x, y in ((0, 0), (1, 0), (0, 1))],
        "pyramid": [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (0.5, 0.5, 1)],
    }
    found = {}
    for kind, given in corners.items():
        p = np.array(given, dtype=np.float64)[np.array(_SIMPLICES[kind])]
        found[kind] = np.sign(np.linalg.det(p[:, 1:] - p[:, :1]))
    return found


_SIGNS = _signs()


def _tetrahedra(kind: str, cells: np.ndarray) -> np.ndarray:
    """Each cell as tetrahedra from its corner of the smallest number to the sides that do not have it."""
    found, first = [np.zeros((0, 4), np.int64)], cells.argmin(1)
    for tip in range(CELLS[kind]):
        mine = cells[first == tip]
        for side in _FACES[kind]:
            if tip in side:
                continue
            corners = mine[:, side]
            turn = (corners.argmin(1)[:, None] + np.arange(len(side))) % len(side)
            corners = np.take_along_axis(corners, turn, axis=1)
            for k in range(1, len(side) - 1):
                found.append(np.column_stack([mine[:, tip], corners[:, [0, k, k + 1]]]))
    return np.concatenate(found)


@dataclass(frozen=True, eq=False, repr=False)
class Mesh(Cloud):
    """Nodes joined by cells of one or several kinds; values live on the nodes.

    Cells may run either way round (clockwise triangles, inverted tetrahedra): volumes are positive. Cells without a
    volume, nodes that no cell has (their weight is 0) and parts that do not hang together are taken as they are;
    `sciml.meshes.read` puts them right where a mesh comes from a file.

    Args:
        position: (N, D).
        cells: kind -> (C, vertices) 0-based node numbers; kinds are those of `CELLS`, vertices in the order of VTK.

    Raises:
        InputError: positions that are none or not finite, unknown kinds, node numbers out of range, cells of more
            dimensions than the positions have, that cross themselves, or none with a volume.
    """

    position: Shaped[np.ndarray, "node dimension"]
    cells: Mapping[str, Shaped[np.ndarray, "_ _"]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "position", checked_position(self.position, "mesh"))
        if not isinstance(self.cells, Mapping):
            raise InputError(f"mesh: cells: expected kind -> (C, vertices), got {type(self.cells).__name__}")
        found = {}
        for kind, given in self.cells.items():
            if kind not in CELLS:
                raise InputError(f"mesh: no kind of cell is called {kind!r}; known: {', '.join(CELLS)}")
            cells = plain(f"mesh: {kind} cells", given)
            if cells.ndim != 2 or cells.shape[1] != CELLS[kind] or cells.dtype.kind not in "iu":
                raise InputError(
                    f"mesh: expected {kind} cells as integers (C, {CELLS[kind]}), got {cells.dtype} {cells.shape}"
                )
            if cells.size and (cells.min() < 0 or cells.max() >= len(self.position)):
                wrong = int(cells.min() if cells.min() < 0 else cells.max())
                raise InputError(f"mesh: a {kind} names node {wrong}, expected 0 to {self.size - 1}")
            if len(cells) and len(_SIMPLICES[kind][0]) > self.dimensions + 1:
                raise InputError(f"mesh: {kind} cells need more dimensions than {self.dimensions}, got {len(cells)}")
            found[kind] = cells.astype(np.int64)
        if not any(len(c) for c in found.values()):
            raise InputError("mesh: expected at least one cell, got none")
        object.__setattr__(self, "cells", found)
        for kind, cells in found.items():
            self._refuse_twisted(kind, cells)
        if not self._volumes.any():
            raise InputError("mesh: no cell has a volume; are all nodes on one line or plane?")

    @staticmethod
    def parts(kind: str) -> list[list[int]]:
        """Vertices of simplices that make up a cell by itself."""
        return [list(part) for part in _SIMPLICES[kind]]

    @staticmethod
    def signs(kind: str) -> np.ndarray:
        """Signs of the volumes of these simplices in a cell that runs the right way round."""
        return _SIGNS.get(kind, np.ones(1))

    def _refuse_twisted(self, kind: str, cells: np.ndarray) -> None:
        """Vertices of a cell in another order than VTK's make simplices that lie on each other."""
        parts = _SIMPLICES[kind]
        if len(parts) == 1 or len(parts[0]) != self.dimensions + 1 or not len(cells):
            return
        corners = self.position[cells[:, parts]]
        signed = np.linalg.det(corners[:, :, 1:] - corners[:, :, :1]) * _SIGNS[kind]
        whole, total = np.abs(signed.sum(1)), np.abs(signed).sum(1)
        if kind == "quadrilateral":  # one with a corner that bends in is cut along its other diagonal
            other = self.position[cells[:, _OTHER]]
            turned = np.linalg.det(other[:, :, 1:] - other[:, :, :1])
            total = np.minimum(total, np.abs(turned).sum(1))
        wrong = np.flatnonzero(whole < 0.5 * total)
        if len(wrong):
            k = int(wrong[0])
            raise InputError(
                f"mesh: {kind} {k} (nodes {cells[k].tolist()}) crosses itself, expected vertices one after another "
                "around it, as in VTK"
            )

    def _bent(self, cells: np.ndarray) -> np.ndarray:
        """Which quadrilaterals of the plane bend in at the second or fourth corner."""
        corners = self.position[cells[:, _SIMPLICES["quadrilateral"]]]
        area = np.linalg.det(corners[:, :, 1:] - corners[:, :, :1])
        return area[:, 0] * area[:, 1] < 0

    def simplices(self) -> Integer[np.ndarray, "simplex corner"]:
        """(S, 2 to 4) lines, triangles or tetrahedra that make up the cells of the highest dimension: less than that of
        space for a surface or a curve. Neighbours fit together: a side of four corners is cut from the one with the
        smallest number."""
        return self._cut(True)

    def _cut(self, fitting: bool) -> np.ndarray:
        """Simplices that fit together, or those of each cell by itself, which do not depend on how nodes are
        numbered."""
        most = max(len(_SIMPLICES[kind][0]) for kind, cells in self.cells.items() if len(cells))
        found = []
        for kind, cells in self.cells.items():
            if fitting and kind in _FACES:
                found.append(_tetrahedra(kind, cells))
            elif len(_SIMPLICES[kind][0]) == most:
                parts = [cells[:, corner] for corner in _SIMPLICES[kind]]
                if kind == "quadrilateral" and self.dimensions == 2 and len(cells):
                    bent = self._bent(cells)
                    for part, corner in zip(parts, _OTHER, strict=True):
                        part[bent] = cells[bent][:, corner]
                found += parts
        return np.concatenate(found)

    def edges(self) -> Integer[np.ndarray, "edge 2"]:
        """(E, 2) pairs of nodes joined by a side of a cell, each once, the smaller number first."""
        parts = [cells[:, pair] for kind, cells in self.cells.items() for pair in _EDGES[kind]]
        return np.unique(np.sort(np.concatenate(parts), axis=1), axis=0)

    def _contents(self, simplices: np.ndarray) -> np.ndarray:
        """(S,) lengths, areas or volumes."""
        sides = self.position[simplices[:, 1:]] - self.position[simplices[:, :1]]
        d = sides.shape[1]
        if d == self.dimensions:
            content = np.abs(np.linalg.det(sides))
        else:
            content = np.sqrt(np.maximum(np.linalg.det(sides @ np.swapaxes(sides, 1, 2)), 0.0))
        return content / float(np.prod(np.arange(1, d + 1)))

    @cached_property
    def _volumes(self) -> np.ndarray:
        return self._contents(self._cut(False))

    def weights(self) -> Float[np.ndarray, " node"]:
        """Dual volumes: each cell's own simplices give equal shares to their corners; orientation does not matter."""
        total = np.zeros(self.size)
        simplices = self._cut(False)
        for corner in range(simplices.shape[1]):
            np.add.at(total, simplices[:, corner], self._volumes / simplices.shape[1])
        return total

    def stencil(self, points: Shaped[np.ndarray, "point {self.dimensions}"]) -> Stencil:
        """Linear on the simplex that a point lies in; beyond the mesh the nearest node. On a surface or a curve as for
        loose points."""
        points = plain("points", points).astype(np.float64)
        simplices, d = self.simplices(), self.dimensions
        if simplices.shape[1] != d + 1:
            return self._nearest(points, d + 1)
        contents = self._contents(simplices)
        flat = contents <= 1e-14 * max(float(contents.max(initial=0.0)), 1e-300)
        number, weight = locate(self.position[simplices], flat, points)
        index, beyond = simplices[number], np.flatnonzero(number < 0)
        if len(beyond):
            index[beyond] = self._nearest(points[beyond], 1).index
            weight[beyond] = np.eye(d + 1)[0]
        return Stencil(index, weight / weight.sum(1, keepdims=True))

    def variables(self) -> dict[str, Variable]:
        if len(self.cells) == 1:
            ((kind, cells),) = self.cells.items()
            if kind_of(cells.shape[1], self.dimensions) == kind:  # not so of quadrilaterals in space
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
    raise InputError(f"connectivity: cells of {vertices} vertices, expected 2, 3, 4, 5, 6 or 8")
