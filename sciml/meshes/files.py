"""Meshes from and to files of other programs (through meshio)."""

from __future__ import annotations

import contextlib
import io
import os
import secrets
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from sciml.errors import FileFormatError, InputError
from sciml.support import CELLS, Mesh

#: names of kinds of cells: ours -> meshio's
NAMES = {
    "line": "line", "triangle": "triangle", "quadrilateral": "quad", "tetrahedron": "tetra", "hexahedron": "hexahedron",
    "prism": "wedge", "pyramid": "pyramid",
}  # fmt: skip
_KINDS = {theirs: ours for ours, theirs in NAMES.items()}
_DIMENSION = {
    "line": 1, "triangle": 2, "quadrilateral": 2, "tetrahedron": 3, "hexahedron": 3, "prism": 3, "pyramid": 3,
}  # fmt: skip
#: the vertices of a cell in an order that turns it inside out
_TURNED = {
    "triangle": [0, 2, 1], "quadrilateral": [0, 3, 2, 1], "tetrahedron": [0, 2, 1, 3],
    "hexahedron": [4, 5, 6, 7, 0, 1, 2, 3], "pyramid": [0, 3, 2, 1, 4],
}  # fmt: skip
# of prisms there are two conventions: VTK's manual has the first triangle run the other way round than most files
FLAT = 1e-12  # of the largest volume: cells of less have none


Values = dict[str, np.ndarray]


def read(path: str | os.PathLike[str]) -> Mesh:
    """A mesh from any file that meshio reads: .msh, .vtu, .vtk, .xdmf, .inp, .mesh, .su2 and others.

    Kept are the cells of the highest dimension, by their corners. Nodes that all have one z become two-dimensional.
    What does no harm is put right, with a warning that says how often: clockwise or inverted cells are turned, cells
    without a volume and nodes that no cell has are left out. Parts that share no node are kept, with a warning.

    Raises:
        InputError: meshio is not installed; no such file.
        FileFormatError: the file is not readable, holds no cells of a known kind, a node of a cell is not finite, or a
            cell crosses itself.
    """
    return _read(path)[0]


def read_values(path: str | os.PathLike[str]) -> tuple[Mesh, Values, Values]:
    """A mesh as of `read`, with what the file says of its nodes and of its cells: name -> (N,) or (N, components), and
    name -> (C,) or (C, components), cells being those of all kinds in the order of `Mesh.cells`. What is left out of
    the mesh is left out of these, and vectors on a mesh of the plane lose a third component that is 0."""
    return _read(path)


def _read(path: str | os.PathLike[str]) -> tuple[Mesh, Values, Values]:
    place = Path(path)
    if not place.is_file():
        raise InputError(f"path: {place} is not a file")
    found = _quietly(place, lambda meshio: meshio.read(place))
    try:
        mesh, notes, nodes, cells = _from(found)
    except InputError as error:
        raise FileFormatError(f"{place}: {error}") from None
    for note in notes:
        warnings.warn(f"{place}: {note}", stacklevel=3)
    return mesh, nodes, cells


def write(
    path: str | os.PathLike[str],
    mesh: Mesh,
    *,
    node_values: Mapping[str, Any] | None = None,
    cell_values: Mapping[str, Any] | None = None,
) -> Path:
    """A mesh to any file that meshio writes, by the ending of its name.

    Args:
        node_values: name -> (N,) or (N, components) that go into the file with it; two components get a third of 0.
        cell_values: name -> (C,) or (C, components), cells of all kinds in the order of `Mesh.cells`.

    Raises:
        InputError: meshio is not installed, an ending that it does not know, a place that cannot be written, or values
            of another number than there are nodes or cells.
    """
    place = Path(path)
    counts = {kind: len(array) for kind, array in mesh.cells.items() if len(array)}
    ends = np.cumsum(list(counts.values()))
    if cell_values and place.suffix == ".msh" and len(counts) > 1:
        raise InputError(
            f"cell_values: {place.name}: meshio does not read them back for {' and '.join(counts)}; use .vtu"
        )
    point_data = _checked("node_values", node_values, mesh.size)
    cell_data = {k: np.split(v, ends[:-1]) for k, v in _checked("cell_values", cell_values, int(ends[-1])).items()}
    points = mesh.position
    if place.suffix not in (".xdmf", ".svg") and points.shape[1] < 3:  # most formats know nodes in space only
        points = np.column_stack([points, np.zeros((len(points), 3 - points.shape[1]))])
    cells = [(NAMES[kind], array) for kind, array in mesh.cells.items() if len(array)]
    options = {".msh": {"file_format": "gmsh22"}, ".xdmf": {"data_format": "XML"}}.get(place.suffix, {})
    part = place.with_name(f".{secrets.token_hex(8)}{place.suffix}")
    try:
        _quietly(
            place, lambda meshio: meshio.Mesh(points, cells, point_data, cell_data).write(part, **options), writing=part
        )
        os.replace(part, place)
    except OSError as error:
        raise InputError(f"{place}: cannot write: {error.strerror or error}") from None
    finally:
        part.unlink(missing_ok=True)
    return place


def _checked(name: str, values: Mapping[str, Any] | None, count: int) -> Values:
    if values is not None and not isinstance(values, Mapping):
        raise InputError(f"{name}: expected name -> values, got {values!r:.60}")
    found = {key: np.asarray(value) for key, value in (values or {}).items()}
    for key, array in found.items():
        if array.ndim not in (1, 2) or len(array) != count or array.dtype.kind not in "fiub":
            raise InputError(
                f"{name}: {key}: expected numbers ({count},) or ({count}, components), got {array.dtype} {array.shape}"
            )
        array = array.astype(np.int32) if array.dtype.kind == "b" else array
        if array.ndim == 2 and array.shape[1] == 2:  # vectors of the plane, which most formats do not know either
            array = np.column_stack([array, np.zeros(count, array.dtype)])
        found[key] = array
    return found


def _quietly(place: Path, what: Any, writing: Path | None = None) -> Any:
    """Calls meshio, which prints what it finds wrong and ends the program.

    Args:
        writing: the file that it writes in the place of `place`.
    """
    try:
        import meshio
    except ImportError:
        raise InputError("meshio is not installed, which mesh files need: pip install 'sciml[mesh]'") from None
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            return what(meshio)
    except OSError:
        raise
    except (Exception, SystemExit) as error:
        text = " ".join(str(error).split()) if not isinstance(error, SystemExit) else ""
        text = text or " ".join(said.getvalue().split()).removeprefix("Error: ") or type(error).__name__
        if writing is not None:
            text = text.replace(str(writing), str(place))
            raise InputError(f"{place}: cannot write this mesh: {text:.160}") from None
        raise FileFormatError(f"{place}: not readable as a mesh: {text:.160}") from None


def _from(found: Any) -> tuple[Mesh, list[str], Values, Values]:
    position, gathered, unknown = np.asarray(found.points, dtype=np.float64), {}, set()
    numbers: dict[str, list[int]] = {}
    for k, block in enumerate(found.cells):
        kind = _KINDS.get(block.type.rstrip("0123456789"))
        if kind is None:
            unknown.add(block.type)
        elif len(block.data):
            gathered.setdefault(kind, []).append(np.asarray(block.data, dtype=np.int64)[:, : CELLS[kind]])
            numbers.setdefault(kind, []).append(k)
    if not gathered:
        raise InputError(f"no cells of a known kind ({', '.join(NAMES)})" + f", got {sorted(unknown)}" * bool(unknown))
    most = max(_DIMENSION[kind] for kind in gathered)
    cells = {kind: np.concatenate(parts) for kind, parts in gathered.items() if _DIMENSION[kind] == most}
    mesh, notes, nodes, kept = _tidied(position, cells)
    of_nodes = {str(name): np.asarray(values)[nodes] for name, values in found.point_data.items()}
    of_cells = {
        str(name): np.concatenate(
            [np.concatenate([np.asarray(blocks[k]) for k in numbers[kind]])[of] for kind, of in kept.items()]
        )
        for name, blocks in found.cell_data.items()
    }
    if mesh.dimensions == 2:
        of_nodes, of_cells = ({name: _plane(v) for name, v in given.items()} for given in (of_nodes, of_cells))
    return mesh, notes, of_nodes, of_cells


def _plane(values: np.ndarray) -> np.ndarray:
    return values[:, :2] if values.ndim == 2 and values.shape[1] == 3 and not values[:, 2].any() else values


def tidy(position: np.ndarray, cells: dict[str, np.ndarray]) -> tuple[Mesh, list[str]]:
    """(mesh, what was put right): see `read`.

    Raises:
        InputError: what cannot be put right.
    """
    return _tidied(position, cells)[:2]


def _tidied(
    position: np.ndarray, cells: dict[str, np.ndarray]
) -> tuple[Mesh, list[str], np.ndarray, dict[str, np.ndarray]]:
    """As `tidy`, with which nodes and which cells of each kind were kept."""
    most, notes = max(_DIMENSION[kind] for kind in cells), []
    for kind, array in cells.items():
        if array.min() < 0 or array.max() >= len(position):
            raise InputError(f"a {kind} names node {int(array.max())}, but there are {len(position)} nodes")
    used = np.unique(np.concatenate([array.ravel() for array in cells.values()]))
    if not np.isfinite(position[used]).all():
        raise InputError(f"node {int(used[~np.isfinite(position[used]).all(1)][0])} of a cell is not finite")
    size = float(np.ptp(position[used], axis=0).max())
    while position.shape[1] > most and np.ptp(position[used, -1]) <= 1e-12 * size:
        position = position[:, :-1]
    volumes = {kind: _volumes(position, kind, array) for kind, array in cells.items()}
    least = FLAT * max(float(np.abs(v).max(initial=0.0)) for v in volumes.values())
    of_kind = {kind: np.arange(len(array)) for kind, array in cells.items()}
    for kind, volume in volumes.items() if least > 0 else ():  # else the mesh says what is wrong
        turned = (volume < -least) & (most == position.shape[1]) & (kind in _TURNED)
        if turned.any():
            cells[kind] = np.where(turned[:, None], cells[kind][:, _TURNED[kind]], cells[kind])
            word = "clockwise" if most == 2 else "inverted"
            notes.append(f"{int(turned.sum())} of {len(volume)} {kind} cells were {word}: turned")
        flat = np.abs(volume) <= least
        if flat.any():
            crossed = flat & _distinct(cells[kind]) & (CELLS[kind] != most + 1)
            stay = np.flatnonzero(~flat | crossed)  # those that cross themselves are told of by the mesh
            if len(stay) < len(volume):
                notes.append(f"{len(volume) - len(stay)} of {len(volume)} {kind} cells have no volume: left out")
            cells[kind], of_kind[kind] = cells[kind][stay], stay
    cells = {kind: array for kind, array in cells.items() if len(array)}
    kept = np.unique(np.concatenate([array.ravel() for array in cells.values()]))
    if len(kept) < len(position):
        notes.append(f"{len(position) - len(kept)} of {len(position)} nodes belong to no cell: left out")
        number = np.full(len(position), -1)
        number[kept] = np.arange(len(kept))
        position, cells = position[kept], {kind: number[array] for kind, array in cells.items()}
    mesh = Mesh(position, cells)
    edges = mesh.edges()
    parts, _ = connected_components(coo_array((np.ones(len(edges)), edges.T), shape=(mesh.size, mesh.size)))
    if parts > 1:
        notes.append(f"{parts} parts that share no node; are nodes twice there?")
    return mesh, notes, kept, {kind: of for kind, of in of_kind.items() if len(of)}


def _distinct(cells: np.ndarray) -> np.ndarray:
    """Cells whose nodes all differ."""
    return np.asarray((np.diff(np.sort(cells, axis=1), axis=1) > 0).all(1))


def _volumes(position: np.ndarray, kind: str, cells: np.ndarray) -> np.ndarray:
    """Signed where the cells fill space."""
    reference = Mesh.parts(kind)
    corners = position[cells[:, reference]]
    sides = corners[:, :, 1:] - corners[:, :, :1]
    if sides.shape[-1] == sides.shape[-2]:
        return (np.linalg.det(sides) * Mesh.signs(kind)).sum(1)
    return np.sqrt(np.maximum(np.linalg.det(sides @ np.swapaxes(sides, -1, -2)), 0.0)).sum(1)
