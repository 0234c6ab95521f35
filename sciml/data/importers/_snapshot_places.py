"""From what a file holds to where values live: grids where places are those of a grid, else meshes or points."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from sciml.data.importers._snapshot import CORNERS, DIMENSION, Lattice, Nodes, Snapshot
from sciml.errors import FileFormatError
from sciml.geometry import Box
from sciml.support import Grid, Mesh, Points, Support

FLAT = 1e-6  # of the largest extent, within which places lie in a plane, and coordinates are equal
LEAST = 0.25  # share of the places of a grid that cells must fill to count as one with holes


@dataclass(frozen=True)
class Placed:
    """Where values live.

    Args:
        support: in the axes that are left.
        take: (N,) values of the file in their order -> (*support).
        axes: which of x, y, z are left: those along which places differ.
        notes: what was done.
    """

    support: Support
    take: Callable[[np.ndarray], np.ndarray]
    axes: tuple[int, ...]
    notes: list[str] = field(default_factory=list)


def placed(snapshot: Snapshot, on: str, periodic: Sequence[str], name: str) -> Placed:
    """The support of point or cell values.

    Args:
        on: "point" or "cell".
        periodic: axes, by their names after those without extent are left out.
        name: of the file, for errors.

    Raises:
        FileFormatError: a single place.
    """
    place, notes = snapshot.place, list[str]()
    if isinstance(place, Lattice):
        found = _of_lattice(place, on, periodic, name)
    elif on == "cell":
        found = _of_cells(place, periodic, name, notes)
    else:
        found = _of_nodes(place, periodic, name, notes)
    if found.axes != tuple(range(len(found.axes))):
        old, new = ", ".join("xyz"[a] for a in found.axes), ", ".join("xyz"[: len(found.axes)])
        notes.append(f"axes {old} are called {new}; along the others nothing has an extent")
    elif len(found.axes) < 3:
        gone = ", ".join("xyz"[len(found.axes) :])
        notes.append(f"places do not differ along {gone}: taken as {len(found.axes)}-dimensional")
    return Placed(found.support, found.take, found.axes, notes + found.notes)


def _grid(centres: Sequence[np.ndarray], periodic: Sequence[str], ends: Sequence[tuple[float, float]] | None) -> Grid:
    """Cells around centres, over the domain that ends half a spacing beyond the outermost, or where it is told to."""
    if ends is None:
        ends = [(1.5 * c[0] - 0.5 * c[1], 1.5 * c[-1] - 0.5 * c[-2]) for c in centres]
    around = tuple(a in periodic for a in "xyz"[: len(centres)])
    box = Box(tuple(float(a) for a, _ in ends), tuple(float(b) for _, b in ends), around)
    return Grid.from_centres(tuple(centres), box)


def _of_lattice(place: Lattice, on: str, periodic: Sequence[str], name: str) -> Placed:
    axes = tuple(a for a in range(3) if len(place.axes[a]) > 1)
    if not axes:
        raise FileFormatError(f"{name}: a grid of a single point")
    lines = [np.asarray(place.axes[a], dtype=np.float64) for a in axes]
    down = [line[0] > line[-1] for line in lines]
    lines = [line[::-1] if d else line for line, d in zip(lines, down, strict=True)]
    turn = tuple(slice(None, None, -1) if d else slice(None) for d in reversed(down))
    less = int(on == "cell")
    shape = tuple(len(line) - less for line in reversed(lines))

    def take(values: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(values.reshape(shape)[turn])

    if on == "cell":
        around = tuple(a in periodic for a in "xyz"[: len(axes)])
        return Placed(Grid(tuple(lines), around), take, axes)
    return Placed(_grid(lines, periodic, None), take, axes)


def _extended(position: np.ndarray, name: str) -> tuple[int, ...]:
    sizes = np.ptp(position, axis=0) if len(position) else np.zeros(3)
    axes = tuple(int(a) for a in np.flatnonzero(sizes > FLAT * sizes.max(initial=0.0)))
    if not axes:
        raise FileFormatError(f"{name}: all places are the same, or there are none")
    return axes


def lattice(points: np.ndarray) -> tuple[list[np.ndarray], np.ndarray] | None:
    """(positions along each axis, flat number in array order of each point) of points that lie on a grid; None where
    they do not, two share a place, or too few places are taken."""
    size, index, lines, least = float(np.ptp(points, axis=0).max()), [], [], len(points)
    slack = max(FLAT * size, 4 * np.finfo(np.float32).eps * float(np.abs(points).max()))
    for column in points.T:
        order = np.argsort(column, kind="stable")
        new = np.concatenate([[False], np.diff(column[order]) > slack])
        group = np.cumsum(new)
        number = np.empty(len(column), np.int64)
        number[order] = group
        counts = np.bincount(number)
        if len(counts) < 2 or len(counts) * len(lines or [0]) > 4 * len(points) + 8:
            return None
        least = min(least, int(counts.min()))
        lines.append(np.bincount(number, column) / counts)
        index.append(number)
    total = int(np.prod([len(line) for line in lines], dtype=np.float64))
    if LEAST * total > len(points) or (total > len(points) and least < 2):  # no line of a grid has one cell alone
        return None
    flat = np.asarray(np.ravel_multi_index(tuple(reversed(index)), tuple(len(line) for line in reversed(lines))))
    return (lines, flat) if len(np.unique(flat)) == len(points) else None


def _on_lattice(points: np.ndarray, axes: tuple[int, ...], kept: np.ndarray, periodic: Sequence[str],
                ends: Sequence[tuple[float, float]] | None, whole: bool) -> Placed | None:  # fmt: skip
    found = lattice(points)
    if found is None:
        return None
    lines, flat = found
    shape = tuple(len(line) for line in reversed(lines))
    total = int(np.prod(shape))
    if whole and total != len(points):
        return None
    grid, notes = _grid(lines, periodic, ends), []
    if total != len(points):
        mask = np.zeros(total, np.uint8)
        mask[flat] = 1
        grid = Grid(grid.faces, grid.periodic, mask.reshape(shape), grid.at)
        notes.append(f"cells fill {len(points)} of {total} places of a grid: the others are outside of the domain")

    def take(values: np.ndarray) -> np.ndarray:
        out = np.zeros(total)
        out[flat] = values[kept]
        return out.reshape(shape)

    return Placed(grid, take, axes, notes)


def _of_cells(place: Nodes, periodic: Sequence[str], name: str, notes: list[str]) -> Placed:
    top = _top(place, notes)
    if place.centres is not None:
        centres, kept = place.centres, np.arange(len(place.centres))
    else:
        sums, counts = np.zeros((place.count, 3)), np.zeros(place.count)
        for kind in top:
            middle = place.position[place.cells[kind]].mean(axis=1)
            np.add.at(sums, place.number[kind], middle)
            np.add.at(counts, place.number[kind], 1.0)
        kept = np.flatnonzero(counts)
        if not len(kept):
            raise FileFormatError(f"{name}: values on cells, but no cell of a kind that is read")
        centres = sums[kept] / counts[kept, None]
    axes = _extended(centres, name)
    points = centres[:, axes]
    ends = [(float(place.position[:, a].min()), float(place.position[:, a].max())) for a in axes]
    found = _on_lattice(points, axes, kept, periodic, ends, False)
    if found is not None:
        return found
    notes.append("values on cells are taken as values at points in their middles")
    return Placed(Points(points), lambda values: values[kept], axes)


def _top(place: Nodes, notes: list[str]) -> list[str]:
    """The kinds of cells of the highest dimension."""
    most = max((DIMENSION[k] for k, c in place.cells.items() if len(c)), default=0)
    top = [k for k, c in place.cells.items() if len(c) and DIMENSION[k] == most]
    rest = {k: len(c) for k, c in place.cells.items() if len(c) and k not in top}
    if rest:
        notes.append(f"{', '.join(f'{n} {k}' for k, n in rest.items())} beside cells of more dimensions: left out")
    return top


def _of_nodes(place: Nodes, periodic: Sequence[str], name: str, notes: list[str]) -> Placed:
    top = _top(place, notes)
    used = np.ones(len(place.position), bool)
    if top:
        used = np.zeros(len(place.position), bool)
        for kind in top:
            used[place.cells[kind]] = True
        if not used.all():
            notes.append(f"{int((~used).sum())} of {len(used)} nodes are corners of no cell: left out")
    kept = np.flatnonzero(used)
    position = place.position[kept]
    axes = _extended(position, name)
    points = position[:, axes]
    boxes = {1: "line", 2: "quadrilateral", 3: "hexahedron"}[len(axes)]
    if not top or top == [boxes]:
        found = _on_lattice(points, axes, kept, periodic, None, True)
        if found is not None:
            cells = sum(len(place.cells[k]) for k in top)
            if not top or cells == int(np.prod([n - 1 for n in found.support.shape])):
                return found
    if not top:
        return Placed(Points(points), lambda values: values[kept], axes)
    number = np.cumsum(used) - 1
    cells_ = {k: number[place.cells[k]] for k in top}
    flat = {k: np.array([len(set(c)) < CORNERS[k] for c in v.tolist()]) for k, v in cells_.items()}
    if any(f.any() for f in flat.values()):
        notes.append(f"{sum(int(f.sum()) for f in flat.values())} cells name a node twice: left out")
        cells_ = {k: v[~flat[k]] for k, v in cells_.items()}
    return Placed(Mesh(points, cells_), lambda values: values[kept], axes)
