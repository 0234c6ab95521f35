"""Pore networks in Statoil's format: four tables of pores ("nodes") and throats ("links")."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sciml.errors import FileFormatError, InputError
from sciml.problems.networks.pores import VISCOSITY, PoreNetwork, percolating

INLET, OUTLET = -1, 0  # the numbers of the two reservoirs
TRIANGLE, SQUARE = np.sqrt(3) / 36, 1 / 16  # the largest shape factors of a triangle and of a square
KINDS = ("node1", "node2", "link1", "link2")
MOST = 512 * 2**20  # bytes of a table


@dataclass(frozen=True, eq=False)
class StatoilNetwork:
    """The tables of a network, in its files' order and in its units.

    Args:
        size: (3,) m, sides of the box, whose faces across x are inlet and outlet.
        points: (n, 3) m.
        coordination: (n,) throats of a pore.
        volume, radius, shape: (n,) m³, m and A / P² of the pores' sections.
        links: (m, 2) the pores that a throat joins, from 0; −1 for the inlet and −2 for the outlet.
        link_radius, link_shape, link_volume: (m,) likewise, of throats.
        lengths: (m, 3) m, of a throat's part in its first pore, in its second, and between.
        total: (m,) m, from centre to centre.
    """

    size: np.ndarray
    points: np.ndarray
    coordination: np.ndarray
    volume: np.ndarray
    radius: np.ndarray
    shape: np.ndarray
    links: np.ndarray
    link_radius: np.ndarray
    link_shape: np.ndarray
    link_volume: np.ndarray
    lengths: np.ndarray
    total: np.ndarray

    @property
    def porosity(self) -> float:
        """Volume of pores and throats over that of the box."""
        return float((self.volume.sum() + self.link_volume.sum()) / np.prod(self.size))

    def conductance(self, viscosity: float = VISCOSITY) -> np.ndarray:
        """(m,) m³/(Pa s): of the parts of a throat in a row, each k A² G / (μ L) with A = r² / (4 G).

        k is 3/5 for sections that are triangles, 0.5623 for squares, 1/2 for round ones; reservoirs do not resist.

        Source: Valvatne, Blunt, Water Resour. Res. 40, W07406 (2004), eqs. 6 to 8.
        """
        pores, throats = _per_length(self.radius, self.shape), _per_length(self.link_radius, self.link_shape)
        resistance = self.lengths[:, 2] / throats
        for end in (0, 1):
            joined = self.links[:, end] >= 0
            resistance[joined] += self.lengths[joined, end] / pores[self.links[joined, end]]
        return 1 / (viscosity * resistance)

    def pores(self, pressures: tuple[float, float] = (1.0, 0.0), viscosity: float = VISCOSITY) -> PoreNetwork:
        """What flows from inlet to outlet; the end of each throat to a reservoir is a pore at the face, where the
        pressure is given. Pores that are joined to neither are left out."""
        n = len(self.points)
        points, radius, links = [self.points], [self.radius], self.links.copy()
        ends = []
        for number, face in ((-1, 0.0), (-2, self.size[0])):
            at = self.links == number
            rows = np.flatnonzero(at.any(1))
            inner = np.where(at[rows, 0], self.links[rows, 1], self.links[rows, 0])
            place = self.points[inner].copy()
            place[:, 0] = face
            links[at] = n + sum(map(len, ends)) + np.arange(len(rows))
            points.append(place)
            radius.append(self.link_radius[rows])
            ends.append(rows)
        count = n + len(ends[0]) + len(ends[1])
        inlet, outlet = np.zeros(count, bool), np.zeros(count, bool)
        inlet[n : n + len(ends[0])], outlet[n + len(ends[0]) :] = True, True
        box = np.stack((np.zeros(3), self.size), 1)
        return percolating(
            np.concatenate(points), np.concatenate(radius), links, self.link_radius, self.lengths[:, 2],
            inlet, outlet, self.conductance(viscosity), pressures=pressures, viscosity=viscosity, box=box,
        )  # fmt: skip


def read_statoil(source: str | Path) -> StatoilNetwork:
    """The network of a folder with NAME_node1.dat, NAME_node2.dat, NAME_link1.dat and NAME_link2.dat.

    Args:
        source: the folder, where it holds one network; or the files' path up to NAME.

    Raises:
        InputError: a file that is missing or cannot be read.
        FileFormatError: a file that holds no such table, or one that does not fit the others; the line is named.
    """
    files = _files(source)
    first, rows = _table(files["node1"], 4, 7, ragged=True)
    n = _whole(files["node1"], 1, first[0])
    nodes = _matrix(files["node1"], [r[:5] for r in rows], n, 2)
    size = np.array(first[1:4])
    if not (size > 0).all():
        raise FileFormatError(f"{files['node1']}: line 1: expected three sides above 0, got {size.tolist()}")
    for k, row in enumerate(rows):
        most = _whole(files["node1"], k + 2, row[4])
        if most < 0 or len(row) != 5 + 2 * most + 2:
            raise FileFormatError(
                f"{files['node1']}: line {k + 2}: expected {7 + 2 * most} numbers for {most} throats, got {len(row)}"
            )
    first, rows = _table(files["link1"], 1, 6)
    m = _whole(files["link1"], 1, first[0])
    one = _matrix(files["link1"], rows, m, 2)
    two = _matrix(files["link2"], _table(files["link2"], 0, 8)[1], m, 1)
    more = _matrix(files["node2"], _table(files["node2"], 0, 5)[1], n, 1)
    links = one[:, 1:3].astype(np.int64)
    for name, table, start in (("link1", one, 2), ("link2", two, 1)):
        ends = table[:, 1:3]
        wrong = ((ends < INLET) | (ends > n) | (ends != np.round(ends)) | (ends != links)).any(1)
        wrong |= ends[:, 0] == ends[:, 1]
        if wrong.any():
            row = int(wrong.argmax())
            raise FileFormatError(
                f"{files[name]}: line {row + start}: expected two pores from {INLET} to {n}, the same in both "
                f"tables of throats, got {ends[row].tolist()}"
            )
    counted = np.bincount(links[links > 0], minlength=n + 1)[1:]
    stated = nodes[:, 4].astype(np.int64)
    if (counted != stated).any():
        row = int((counted != stated).argmax())
        raise FileFormatError(
            f"{files['node1']}: line {row + 2}: says {stated[row]} throats, {files['link1'].name} has {counted[row]}"
        )
    for name, table, columns, start in (
        ("node2", more, (2, 3), 1), ("link1", one, (3, 4, 5), 2), ("link2", two, (3, 4, 5), 1),
    ):  # fmt: skip
        wrong = ~(table[:, columns] > 0).all(1)
        if wrong.any():
            row = int(wrong.argmax())
            raise FileFormatError(
                f"{files[name]}: line {row + start}: expected sizes above 0, got {table[row, columns].tolist()}"
            )
    numbered = np.where(links == INLET, -1, np.where(links == OUTLET, -2, links - 1))
    return StatoilNetwork(
        size, nodes[:, 1:4], stated, more[:, 1], more[:, 2], more[:, 3], numbered, one[:, 3], one[:, 4], two[:, 6],
        two[:, 3:6], one[:, 5],
    )  # fmt: skip


def _per_length(radius: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """k A² G, the conductance of a unit of length at unit viscosity."""
    factor = np.where(shape <= TRIANGLE, 0.6, np.where(shape <= SQUARE * 1.0001, 0.5623, 0.5))
    return factor * (radius**2 / (4 * shape)) ** 2 * shape


def _files(source: str | Path) -> dict[str, Path]:
    if not isinstance(source, str | Path):
        raise InputError(f"source: expected a path, got {type(source).__name__}")
    path = Path(source).expanduser()
    if path.is_dir():
        found = sorted(path.glob("*_node1.dat"))
        if len(found) != 1:
            raise InputError(f"{path}: expected one file *_node1.dat, found {len(found)}")
        stem = str(found[0])[: -len("_node1.dat")]
    else:
        stem = str(path)
    files = {kind: Path(f"{stem}_{kind}.dat") for kind in KINDS}
    for file in files.values():
        if not file.is_file():
            raise InputError(f"{file}: no such file; a network in Statoil's format has *_node1, _node2, _link1, _link2")
    return files


def _table(path: Path, first: int, width: int, *, ragged: bool = False) -> tuple[list[float], list[list[float]]]:
    """(numbers of the first line, or [] where there is no header; numbers of each further line).

    Args:
        first: numbers that the first line holds; 0 where it is a row as the others are.
        width: numbers that each other line holds, or at least where they are `ragged`.
    """
    try:
        if path.stat().st_size > MOST:
            raise FileFormatError(f"{path}: larger than {MOST // 2**20} MiB, which no such table is")
        lines = path.read_text("ascii").splitlines()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise FileFormatError(f"{path}: expected lines of numbers, got bytes that are no text") from None
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        raise FileFormatError(f"{path}: is empty")
    found = []
    for k, line in enumerate(lines):
        wanted = first if first and k == 0 else width
        try:
            row = [float(word) for word in line.split()]
        except ValueError:
            raise FileFormatError(f"{path}: line {k + 1}: expected numbers, got {line.strip()[:60]!r}") from None
        if len(row) < wanted or (len(row) > wanted and not (ragged and k)):
            least = "at least " * (ragged and k > 0)
            raise FileFormatError(f"{path}: line {k + 1}: expected {least}{wanted} numbers, got {len(row)}")
        if not np.isfinite(row).all():
            raise FileFormatError(f"{path}: line {k + 1}: expected finite numbers, got {line.strip()[:60]!r}")
        found.append(row)
    return (found[0], found[1:]) if first else ([], found)


def _whole(path: Path, line: int, value: float) -> int:
    if value != round(value) or value < 0:
        raise FileFormatError(f"{path}: line {line}: expected a whole number ≥ 0, got {value:g}")
    return int(value)


def _matrix(path: Path, rows: list[list[float]], count: int, start: int) -> np.ndarray:
    """(count, width), if there are as many rows and they are numbered from 1."""
    if len(rows) != count or not count:
        raise FileFormatError(f"{path}: expected {count} rows, as the first lines say, got {len(rows)}")
    table = np.array(rows)
    wrong = table[:, 0] != np.arange(1, count + 1)
    if wrong.any():
        row = int(wrong.argmax())
        raise FileFormatError(f"{path}: line {row + start}: expected number {row + 1}, got {table[row, 0]:g}")
    return table
