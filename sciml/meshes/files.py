"""Meshes from and to files of other programs (through meshio)."""

from __future__ import annotations

import contextlib
import io
import os
import secrets
import warnings
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
    place = Path(path)
    if not place.is_file():
        raise InputError(f"path: {place} is not a file")
    found = _quietly(place, lambda meshio: meshio.read(place))
    try:
        mesh, notes = _from(found)
    except InputError as error:
        raise FileFormatError(f"{place}: {error}") from None
    for note in notes:
        warnings.warn(f"{place}: {note}", stacklevel=2)
    return mesh


def write(path: str | os.PathLike[str], mesh: Mesh) -> Path:
    """A mesh to any file that meshio writes, by the ending of its name.

    Raises:
        InputError: meshio is not installed, an ending that it does not know, or a place that cannot be written.
    """
    place = Path(path)
    points = mesh.position
    if place.suffix not in (".xdmf", ".svg") and points.shape[1] < 3:  # most formats know nodes in space only
        points = np.column_stack([points, np.zeros((len(points), 3 - points.shape[1]))])
    cells = [(NAMES[kind], array) for kind, array in mesh.cells.items() if len(array)]
    options = {".msh": {"file_format": "gmsh22"}, ".xdmf": {"data_format": "XML"}}.get(place.suffix, {})
    part = place.with_name(f".{secrets.token_hex(8)}{place.suffix}")
    try:
        _quietly(place, lambda meshio: meshio.Mesh(points, cells).write(part, **options), writing=part)
        os.replace(part, place)
    except OSError as error:
        raise InputError(f"{place}: cannot write: {error.strerror or error}") from None
    finally:
        part.unlink(missing_ok=True)
    return place


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


def _from(found: Any) -> tuple[Mesh, list[str]]:
    position, gathered, unknown = np.asarray(found.points, dtype=np.float64), {}, set()
    for block in found.cells:
        kind = _KINDS.get(block.type.rstrip("0123456789"))
        if kind is None:
            unknown.add(block.type)
        elif len(block.data):
            gathered.setdefault(kind, []).append(np.asarray(block.data, dtype=np.int64)[:, : CELLS[kind]])
    if not gathered:
        raise InputError(f"no cells of a known kind ({', '.join(NAMES)})" + f", got {sorted(unknown)}" * bool(unknown))
    most = max(_DIMENSION[kind] for kind in gathered)
    cells = {kind: np.concatenate(parts) for kind, parts in gathered.items() if _DIMENSION[kind] == most}
    return tidy(position, cells)


def tidy(position: np.ndarray, cells: dict[str, np.ndarray]) -> tuple[Mesh, list[str]]:
    """(mesh, what was put right): see `read`.

    Raises:
        InputError: what cannot be put right.
    """
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
    for kind, volume in volumes.items() if least > 0 else ():  # else the mesh says what is wrong
        turned = (volume < -least) & (most == position.shape[1]) & (kind in _TURNED)
        if turned.any():
            cells[kind] = np.where(turned[:, None], cells[kind][:, _TURNED[kind]], cells[kind])
            word = "clockwise" if most == 2 else "inverted"
            notes.append(f"{int(turned.sum())} of {len(volume)} {kind} cells were {word}: turned")
        flat = np.abs(volume) <= least
        if flat.any():
            crossed = flat & _distinct(cells[kind]) & (CELLS[kind] != most + 1)
            kept = cells[kind][~flat | crossed]  # those that cross themselves are told of by the mesh
            if len(kept) < len(volume):
                notes.append(f"{len(volume) - len(kept)} of {len(volume)} {kind} cells have no volume: left out")
            cells[kind] = kept
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
    return mesh, notes


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
