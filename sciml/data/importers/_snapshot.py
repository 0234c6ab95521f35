"""What a file of a mesh or a grid holds, as plain arrays: places, cells, and values on points and on cells."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Integer, Shaped

from sciml.errors import FileFormatError

#: number of a cell type of VTK -> (kind, the corners in our order); of curved cells the corners alone are taken
LINEAR = {
    3: ("line", (0, 1)), 5: ("triangle", (0, 1, 2)), 8: ("quadrilateral", (0, 1, 3, 2)),
    9: ("quadrilateral", (0, 1, 2, 3)), 10: ("tetrahedron", (0, 1, 2, 3)),
    11: ("hexahedron", (0, 1, 3, 2, 4, 5, 7, 6)), 12: ("hexahedron", tuple(range(8))),
    13: ("prism", tuple(range(6))), 14: ("pyramid", tuple(range(5))),
}  # fmt: skip
CURVED = {
    21: (3, "line"), 22: (6, "triangle"), 23: (8, "quadrilateral"), 24: (10, "tetrahedron"), 25: (20, "hexahedron"),
    26: (15, "prism"), 27: (13, "pyramid"), 28: (9, "quadrilateral"), 29: (27, "hexahedron"), 30: (6, "quadrilateral"),
    31: (12, "prism"), 32: (18, "prism"), 33: (24, "hexahedron"), 34: (7, "triangle"), 35: (4, "line"),
    37: (19, "pyramid"),
}  # fmt: skip
CORNERS = {
    "line": 2, "triangle": 3, "quadrilateral": 4, "tetrahedron": 4, "hexahedron": 8, "prism": 6, "pyramid": 5,
}  # fmt: skip
DIMENSION = {
    "line": 1, "triangle": 2, "quadrilateral": 2, "tetrahedron": 3, "hexahedron": 3, "prism": 3, "pyramid": 3,
}  # fmt: skip
VERTEX, POLYVERTEX, POLYLINE, STRIP, POLYGON, POLYHEDRON = 1, 2, 4, 6, 7, 42


@dataclass(frozen=True)
class Lattice:
    """Points of a grid whose axes are x, y, z; values run fastest along x.

    Args:
        axes: positions of points along x, y, z, increasing or decreasing.
    """

    axes: tuple[Float[np.ndarray, " x"], Float[np.ndarray, " y"], Float[np.ndarray, " z"]]

    @property
    def points(self) -> int:
        return int(np.prod([len(a) for a in self.axes]))

    @property
    def cells(self) -> int:
        return int(np.prod([max(len(a) - 1, 1) for a in self.axes]))


@dataclass(frozen=True)
class Nodes:
    """Points in space, and cells.

    Args:
        position: of points.
        cells: kind -> node numbers.
        number: kind -> which cell of the file each of these is.
        count: cells of the file.
        centres: of the cells of the file, where the file tells their true ones.
    """

    position: Float[np.ndarray, "node 3"]
    cells: dict[str, Integer[np.ndarray, "_ _"]] = field(default_factory=dict)
    number: dict[str, Integer[np.ndarray, " _"]] = field(default_factory=dict)
    count: int = 0
    centres: Float[np.ndarray, "cell 3"] | None = None


@dataclass
class Snapshot:
    """One file, or one instant.

    Args:
        place: where values are.
        point, cell: name -> (N,) or (N, k).
        time: None where the file tells none.
        units: of fields, where the file tells them.
        scalars: numbers that the file has beside fields.
        notes: what was not understood.
    """

    place: Lattice | Nodes
    point: dict[str, Shaped[np.ndarray, "*_point"]] = field(default_factory=dict)
    cell: dict[str, Shaped[np.ndarray, "*_cell"]] = field(default_factory=dict)
    time: float | None = None
    units: dict[str, str] = field(default_factory=dict)
    scalars: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def nodes(
    position: Float[np.ndarray, "node 3"],
    types: Integer[np.ndarray, " cell"],
    offsets: Integer[np.ndarray, " ends"],
    connectivity: Integer[np.ndarray, " corner"],
    name: str,
    notes: list[str],
) -> Nodes:
    """Points and cells as VTK writes cells.

    Args:
        types: numbers of VTK's cell types.
        offsets: where in `connectivity` each cell begins, and the end.
        name: of the file, for errors.
        notes: what is said of cells that are not taken as they are.

    Raises:
        FileFormatError: nodes that do not exist, offsets that do not increase, corners that are too many or too few.
    """
    count, points = len(types), len(position)
    if len(offsets) != count + 1 or (count and (offsets[0] != 0 or offsets[-1] > len(connectivity))):
        raise FileFormatError(f"{name}: cells: offsets do not fit {count} cells and {len(connectivity)} node numbers")
    sizes = np.diff(offsets)
    if (sizes < 0).any():
        raise FileFormatError(f"{name}: cell {int(np.argmin(sizes >= 0))} ends before it begins")
    wrong = (connectivity < 0) | (connectivity >= points)
    if wrong.any():
        k = int(np.argmax(wrong))
        cell = int(np.searchsorted(offsets, k, side="right")) - 1
        raise FileFormatError(
            f"{name}: cell {cell} refers to node {int(connectivity[k])}, but nodes are 0 to {points - 1}"
        )
    found: dict[str, list[np.ndarray]] = {}
    numbers: dict[str, list[np.ndarray]] = {}

    def put(kind: str, cells: np.ndarray, number: np.ndarray) -> None:
        found.setdefault(kind, []).append(cells)
        numbers.setdefault(kind, []).append(number)

    for kind_of in np.unique(types).tolist():
        mine = np.flatnonzero(types == kind_of)
        if kind_of in (VERTEX, POLYVERTEX, 0):
            continue
        if kind_of in LINEAR or kind_of in CURVED:
            if kind_of in LINEAR:
                kind, order = LINEAR[kind_of]
                most = len(order)
            else:
                most, kind = CURVED[kind_of]
                order = tuple(range(CORNERS[kind]))
                notes.append(f"{len(mine)} curved cells (VTK type {kind_of}) are taken by their corners: {kind}")
            bad = sizes[mine] != most
            if bad.any():
                at = int(mine[np.argmax(bad)])
                raise FileFormatError(
                    f"{name}: cell {at} (VTK type {kind_of}) has {int(sizes[at])} nodes, expected {most}"
                )
            put(kind, connectivity[offsets[mine][:, None] + np.array(order)], mine)
        elif kind_of in (POLYLINE, STRIP, POLYGON):
            for size in np.unique(sizes[mine]).tolist():
                these = mine[sizes[mine] == size]
                corners = connectivity[offsets[these][:, None] + np.arange(size)]
                _split(kind_of, size, corners, these, put, name)
            if kind_of == POLYGON and (sizes[mine] > 4).any():
                notes.append(
                    f"{int((sizes[mine] > 4).sum())} polygons of more than four corners are cut into triangles"
                )
        else:
            kind = "polyhedra" if kind_of == POLYHEDRON else f"cells of VTK type {kind_of}"
            notes.append(f"{len(mine)} {kind} are left out: not among {', '.join(CORNERS)}")
    cells = {k: np.concatenate(v).astype(np.int64) for k, v in found.items()}
    number = {k: np.concatenate(v) for k, v in numbers.items()}
    return Nodes(position, cells, number, count)


def _split(kind_of: int, size: int, corners: np.ndarray, these: np.ndarray, put: object, name: str) -> None:
    """Polylines into lines, strips into triangles, polygons into triangles, or quadrilaterals as they are."""
    assert callable(put)
    if size < (2 if kind_of == POLYLINE else 3):
        raise FileFormatError(f"{name}: cell {int(these[0])} has {size} nodes, which is too few")
    if kind_of == POLYLINE:
        for k in range(size - 1):
            put("line", corners[:, k : k + 2], these)
    elif kind_of == STRIP:
        for k in range(size - 2):
            put("triangle", corners[:, [k, k + 1, k + 2] if k % 2 == 0 else [k + 1, k, k + 2]], these)
    elif size == 4:
        put("quadrilateral", corners, these)
    else:
        for k in range(1, size - 1):
            put("triangle", corners[:, [0, k, k + 1]], these)


def structured(points: Float[np.ndarray, "node 3"], shape: tuple[int, int, int], name: str) -> Lattice | Nodes:
    """Points in the order of a structured grid (nx, ny, nz), fastest along x: a lattice where its lines are straight
    and along the axes, else nodes with cells."""
    n = points.reshape(*shape[::-1], 3)
    size = float(np.ptp(points, axis=0).max(initial=0.0)) or 1.0
    slack = max(1e-6 * size, 4 * np.finfo(np.float32).eps * float(np.abs(points).max(initial=0.0)))
    axes = []
    for axis in range(3):
        at = 2 - axis
        line = n[tuple(slice(None) if a == at else 0 for a in range(3))][:, axis]
        steps = np.diff(line)
        along = line.reshape([-1 if a == at else 1 for a in range(3)])
        if not np.all(np.abs(n[..., axis] - along) <= slack) or not (np.all(steps > 0) or np.all(steps < 0)):
            break
        axes.append(line)
    if len(axes) == 3:
        return Lattice((axes[0], axes[1], axes[2]))
    number = np.arange(len(points)).reshape(shape[::-1])
    used = [a for a in range(3) if shape[2 - a] > 1]  # array axes z, y, x with more than one point
    flat = np.squeeze(number)
    if len(used) == 3:
        low, high = np.s_[:-1], np.s_[1:]
        cells = np.stack(
            [flat[k, j, i].ravel() for k, j, i in (
                (low, low, low), (low, low, high), (low, high, high), (low, high, low),
                (high, low, low), (high, low, high), (high, high, high), (high, high, low),
            )], axis=1,
        )  # fmt: skip
        kind = "hexahedron"
    elif len(used) == 2:
        cells = np.stack([flat[:-1, :-1], flat[:-1, 1:], flat[1:, 1:], flat[1:, :-1]], axis=-1).reshape(-1, 4)
        kind = "quadrilateral"
    elif len(used) == 1:
        cells, kind = np.stack([flat[:-1], flat[1:]], axis=1), "line"
    else:
        raise FileFormatError(f"{name}: a structured grid of a single point")
    return Nodes(points, {kind: cells.astype(np.int64)}, {kind: np.arange(len(cells))}, len(cells))
