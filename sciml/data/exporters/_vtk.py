"""VTK's XML files: unstructured grids (.vtu), rectilinear ones (.vtr) and series of them over time (.pvd)."""

from __future__ import annotations

import base64
import os
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from xml.sax.saxutils import quoteattr

import numpy as np

from sciml.errors import InputError
from sciml.support import CELLS

if TYPE_CHECKING:
    from jaxtyping import Integer, Shaped

#: VTK's numbers of the kinds of cells
NUMBERS = {
    "vertex": 1, "line": 3, "triangle": 5, "quadrilateral": 9, "tetrahedron": 10, "hexahedron": 12, "prism": 13,
    "pyramid": 14,
}  # fmt: skip
BLOCK = 1 << 20  # bytes that are compressed together
_TYPES = {
    "f4": "Float32", "f8": "Float64", "i1": "Int8", "i2": "Int16", "i4": "Int32", "i8": "Int64", "u1": "UInt8",
    "u2": "UInt16", "u4": "UInt32", "u8": "UInt64",
}  # fmt: skip


def write_vtu(
    path: str | os.PathLike[str],
    position: Shaped[np.ndarray, "node dimension"],
    cells: Mapping[str, Integer[np.ndarray, "_ _"]],
    point_data: Mapping[str, np.ndarray] | None = None,
    cell_data: Mapping[str, np.ndarray] | None = None,
) -> None:
    """One unstructured grid, its arrays compressed by zlib and in base64.

    Args:
        position: (N, 1 to 3).
        cells: kind -> (C, vertices), kinds as of `sciml.Mesh` and "vertex"; one after the other.
        point_data: name -> (N,), or (N, 2 or 3) of vectors.
        cell_data: the same for all cells, in the order of `cells`.

    Raises:
        InputError: an array of the wrong length, or of a type that VTK does not know.
    """
    n = len(position)
    kinds = {kind: np.asarray(array, dtype=np.int64) for kind, array in cells.items() if len(array)}
    count = sum(len(array) for array in kinds.values())
    for kind, array in kinds.items():
        if array.shape[1] != CELLS.get(kind, 1) or array.min() < 0 or array.max() >= n:
            raise InputError(f"cells: {kind}: expected (C, {CELLS.get(kind, 1)}) numbers of {n} nodes")
    sizes = np.concatenate([np.full(len(a), a.shape[1]) for a in kinds.values()] or [np.zeros(0, np.int64)])
    codes = np.concatenate([np.full(len(a), NUMBERS[k]) for k, a in kinds.items()] or [np.zeros(0)]).astype(np.uint8)
    joined = np.concatenate([a.ravel() for a in kinds.values()] or [np.zeros(0, np.int64)])
    place = np.zeros((n, 3))
    place[:, : position.shape[1]] = position
    lines = [
        '<?xml version="1.0"?>',
        '<VTKFile type="UnstructuredGrid" version="1.0" byte_order="LittleEndian" header_type="UInt64" '
        'compressor="vtkZLibDataCompressor">',
        "<UnstructuredGrid>",
        f'<Piece NumberOfPoints="{n}" NumberOfCells="{count}">',
        "<Points>", _array("Points", place), "</Points>",
        "<Cells>", _array("connectivity", joined), _array("offsets", np.cumsum(sizes)), _array("types", codes),
        "</Cells>",
    ]  # fmt: skip
    lines += [*_data("PointData", n, point_data), *_data("CellData", count, cell_data)]
    lines += ["</Piece>", "</UnstructuredGrid>", "</VTKFile>", ""]
    Path(path).write_text("\n".join(lines), encoding="utf-8")


def write_vtr(
    path: str | os.PathLike[str], faces: Sequence[np.ndarray], cell_data: Mapping[str, np.ndarray] | None = None
) -> None:
    """One rectilinear grid, of which a file holds no more than the faces along each axis; packed as in `write_vtu`.

    Args:
        faces: along x, y and z, increasing; axes that are left out have no extent.
        cell_data: name -> (N,), or (N, 2 or 3) of vectors; x runs fastest.

    Raises:
        InputError: as `write_vtu`.
    """
    axes = [np.asarray(f, dtype=np.float64) for f in faces] + [np.zeros(1)] * (3 - len(faces))
    extent = " ".join(f"0 {len(f) - 1}" for f in axes)
    count = int(np.prod([max(len(f) - 1, 1) for f in axes]))
    lines = [
        '<?xml version="1.0"?>',
        '<VTKFile type="RectilinearGrid" version="1.0" byte_order="LittleEndian" header_type="UInt64" '
        'compressor="vtkZLibDataCompressor">',
        f'<RectilinearGrid WholeExtent="{extent}">', f'<Piece Extent="{extent}">',
        "<Coordinates>", *(_array(name, f) for name, f in zip("xyz", axes, strict=True)), "</Coordinates>",
        *_data("CellData", count, cell_data), "</Piece>", "</RectilinearGrid>", "</VTKFile>", "",
    ]  # fmt: skip
    Path(path).write_text("\n".join(lines), encoding="utf-8")


def _data(tag: str, length: int, data: Mapping[str, np.ndarray] | None) -> list[str]:
    lines = [f"<{tag}>"]
    for name, values in (data or {}).items():
        array = np.asarray(values)
        if array.ndim not in (1, 2) or len(array) != length:
            raise InputError(f"{tag}: {name!r} has shape {array.shape}, expected {length} values or vectors")
        if array.ndim == 2 and array.shape[1] == 2:  # vectors of VTK live in space
            array = np.column_stack([array, np.zeros(length, array.dtype)])
        lines.append(_array(name, array))
    return [*lines, f"</{tag}>"]


def _array(name: str, values: np.ndarray) -> str:
    code = values.dtype.str[1:]
    if code not in _TYPES:
        raise InputError(f"{name!r}: arrays of type {values.dtype} have no place in a VTK file")
    parts = f' NumberOfComponents="{values.shape[1]}"' if values.ndim == 2 else ""
    raw = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<")).tobytes()
    blocks = [zlib.compress(raw[k : k + BLOCK]) for k in range(0, len(raw), BLOCK)]
    head = np.array([len(blocks), BLOCK, len(raw) % BLOCK, *map(len, blocks)], dtype="<u8").tobytes()
    text = base64.b64encode(head).decode() + base64.b64encode(b"".join(blocks)).decode()
    return f'<DataArray type="{_TYPES[code]}" Name={quoteattr(name)}{parts} format="binary">{text}</DataArray>'


def write_pvd(path: str | os.PathLike[str], times: Sequence[float], files: Sequence[str]) -> None:
    """A series: the files, relative to this one, and their times."""
    rows = [
        f'<DataSet timestep="{t!r}" group="" part="0" file={quoteattr(file)}/>'
        for t, file in zip(map(float, times), files, strict=True)
    ]
    head = '<?xml version="1.0"?>\n<VTKFile type="Collection" version="1.0" byte_order="LittleEndian">\n<Collection>'
    Path(path).write_text("\n".join([head, *rows, "</Collection>", "</VTKFile>", ""]), encoding="utf-8")
