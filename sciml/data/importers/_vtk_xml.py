"""XML files of VTK (.vti, .vtr, .vts, .vtu, .vtp) as plain arrays, and what .pvd, .pvtu and the like list.

Arrays are text, base64, or bytes behind the XML ("appended"), as they are or in blocks compressed by zlib or LZMA:

    [bytes] data                                     uncompressed, [] of `header_type`
    [blocks, size, last size, compressed sizes...] data

Source: VTK User's Guide, "VTK File Formats", XML formats.
"""

from __future__ import annotations

import base64
import binascii
import lzma
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree as Xml

import numpy as np

from sciml.data.importers._snapshot import Lattice, Nodes, Snapshot, nodes, structured
from sciml.errors import FileFormatError

TYPES = {
    "Int8": "i1", "UInt8": "u1", "Int16": "i2", "UInt16": "u2", "Int32": "i4", "UInt32": "u4", "Int64": "i8",
    "UInt64": "u8", "Float32": "f4", "Float64": "f8",
}  # fmt: skip
KINDS = ("ImageData", "RectilinearGrid", "StructuredGrid", "UnstructuredGrid", "PolyData")
TIMES = ("time", "timevalue", "time_value")
MOST_RATIO = 1100  # zlib makes at most 1032 bytes of one; LZMA may make more, which is refused


@dataclass
class File:
    """An XML file, its arrays yet to be read."""

    name: str
    root: Xml.Element
    appended: bytes
    raw: bool
    order: str
    header: np.dtype
    compressor: str

    def fail(self, text: str) -> FileFormatError:
        return FileFormatError(f"{self.name}: {text}")

    @property
    def kind(self) -> str:
        return self.root.get("type", "")


def opened(content: bytes, name: str) -> File:
    """The XML of a file.

    Raises:
        FileFormatError: no XML, or not of VTK.
    """
    if not content.strip():
        raise FileFormatError(f"{name}: the file is empty")
    text, appended, raw = content, b"", False
    start = content.find(b"<AppendedData")
    if start >= 0:
        end = content.find(b">", start)
        mark = content.find(b"_", end)
        if end < 0 or mark < 0:
            raise FileFormatError(f"{name}: ends within the head of its appended data")
        raw = b"raw" in content[start:end]
        appended = content[mark + 1 :]
        if not raw:
            stop = appended.find(b"<")
            appended = appended if stop < 0 else appended[:stop]
        text = content[:start] + b"</VTKFile>"
    if b"<!DOCTYPE" in text or b"<!ENTITY" in text:
        raise FileFormatError(f"{name}: declares entities, which VTK's files do not")
    try:
        root = Xml.fromstring(text)
    except Xml.ParseError as error:
        raise FileFormatError(f"{name}: line {error.position[0]}: damaged XML ({error})") from None
    except (LookupError, ValueError) as error:
        raise FileFormatError(f"{name}: XML of an encoding that is not known ({error})") from None
    if root.tag != "VTKFile":
        raise FileFormatError(f"{name}: expected <VTKFile>, got <{root.tag[:40]}>")
    header = {"UInt64": "u8", "UInt32": "u4"}.get(root.get("header_type", "UInt32"))
    if header is None:
        raise FileFormatError(f"{name}: header_type {root.get('header_type')!r:.40}, expected UInt32 or UInt64")
    order = ">" if root.get("byte_order") == "BigEndian" else "<"
    return File(name, root, appended, raw, order, np.dtype(order + header), root.get("compressor", ""))


def parse(content: bytes, name: str) -> Snapshot:
    """The content of a file that holds values itself.

    Raises:
        FileFormatError: damaged, or a list of other files.
    """
    file = opened(content, name)
    if file.kind not in KINDS:
        raise file.fail(f"type {file.kind!r:.40}, expected one of {', '.join(KINDS)}")
    body = file.root.find(file.kind)
    if body is None:
        raise file.fail(f"expected <{file.kind}>, got none")
    found = Snapshot(Lattice((np.zeros(1), np.zeros(1), np.zeros(1))))
    for data in [*file.root.iter("FieldData")]:
        _field_data(file, data, found)
    pieces = body.findall("Piece")
    if not pieces:
        raise file.fail("holds no <Piece>")
    parts = []
    for piece in pieces:
        part = Snapshot(found.place, notes=found.notes)
        if file.kind in ("UnstructuredGrid", "PolyData"):
            part.place = _nodes(file, piece, found.notes)
            counts = (len(part.place.position), part.place.count)
        else:
            part.place, counts = _lattice(file, body, piece)
        for tag, into, count in (("PointData", part.point, counts[0]), ("CellData", part.cell, counts[1])):
            data = piece.find(tag)
            for array in [] if data is None else list(data):
                if array.tag not in ("DataArray", "Array"):
                    continue
                key = array.get("Name") or tag
                if array.get("type") == "String" or array.tag == "Array":
                    found.notes.append(f"{key!r:.60} holds texts and is not read")
                    continue
                width = _whole(file, array.get("NumberOfComponents") or "1", f"{key}: NumberOfComponents", 1)
                values = numbers(file, array, count * width)
                into[key] = values if width == 1 else values.reshape(count, width)
        parts.append(part)
    if len(parts) == 1:
        found.place, found.point, found.cell = parts[0].place, parts[0].point, parts[0].cell
        return found
    if file.kind in ("UnstructuredGrid", "PolyData"):
        whole = joined(parts, name)
    else:
        raise file.fail(f"{len(parts)} pieces of a grid in one file are not joined; write it as a single piece")
    whole.time, whole.scalars = found.time, found.scalars
    return whole


def listed(content: bytes, name: str) -> list[tuple[float | None, str]] | None:
    """(time, file) of what a .pvd, a .pvtu or the like lists; None for a file that holds values itself."""
    file = opened(content, name)
    if file.kind == "Collection":
        sets = list(file.root.iter("DataSet"))
        if not sets:
            raise file.fail("lists no files")
        return [(_number(file, s.get("timestep"), "timestep"), _file(file, s.get("file"))) for s in sets]
    if file.kind.startswith("P") and file.kind[1:] in KINDS:
        return [(None, _file(file, p.get("Source"))) for p in file.root.iter("Piece")]
    if file.kind in ("vtkMultiBlockDataSet", "vtkPartitionedDataSet", "vtkPartitionedDataSetCollection"):
        return [(None, _file(file, d.get("file"))) for d in file.root.iter("DataSet") if d.get("file")]
    return None


def _file(file: File, given: str | None) -> str:
    if not given:
        raise file.fail("lists a file without a name")
    return given.replace("\\", "/")


def _number(file: File, given: str | None, what: str) -> float | None:
    if given is None:
        return None
    try:
        value = float(given)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise file.fail(f"{what}: expected a finite number, got {given!r:.40}")
    return value


def _whole(file: File, given: str | None, what: str, least: int = 0) -> int:
    try:
        value = int(given or "")
    except ValueError:
        raise file.fail(f"{what}: expected a whole number, got {given!r:.40}") from None
    if value < least:
        raise file.fail(f"{what}: expected at least {least}, got {value}")
    return value


# -- arrays ---------------------------------------------------------------------------------------------------------


def numbers(file: File, array: Xml.Element, count: int | None) -> np.ndarray:
    """The values of a DataArray, flat.

    Args:
        count: how many there must be; None where the file alone says it.
    """
    name = array.get("Name") or "an array"
    code = TYPES.get(array.get("type", ""))
    if code is None:
        raise file.fail(f"{name}: type {array.get('type')!r:.40}, expected one of {', '.join(TYPES)}")
    dtype = np.dtype(file.order + code)
    layout = array.get("format", "ascii")
    if layout == "ascii":
        words = (array.text or "").split()
        if count is not None and len(words) != count:
            raise file.fail(f"{name}: {len(words)} numbers, expected {count}")
        try:
            found = np.array(words, dtype=np.float64) if words else np.zeros(0)
        except ValueError:
            bad = next((w for w in words if not _is_number(w)), "")
            raise file.fail(f"{name}: expected numbers, got {bad!r:.40}") from None
        if code[0] in "iu" and not ((np.abs(found) < 2**62).all() and np.array_equal(found, np.round(found))):
            raise file.fail(f"{name}: expected whole numbers")
        return found.astype(np.int64) if code[0] in "iu" else found.astype(code)
    if layout not in ("binary", "appended"):
        raise file.fail(f"{name}: format {layout!r:.40}, expected ascii, binary or appended")
    expected = None if count is None else count * dtype.itemsize
    if layout == "appended":
        at = _whole(file, array.get("offset"), f"{name}: offset")
        if at >= len(file.appended) and expected != 0:
            raise file.fail(f"{name}: begins at byte {at} of {len(file.appended)} that are appended")
        if expected == 0:
            return np.zeros(0, code)
        data = _bytes(file, name, file.appended[at:] if not file.raw else memoryview(file.appended)[at:], file.raw,
                      expected)  # fmt: skip
    else:
        data = _bytes(file, name, (array.text or "").strip().encode("ascii", "replace"), False, expected)
    if len(data) % dtype.itemsize or (expected is not None and len(data) != expected):
        raise file.fail(f"{name}: {len(data)} bytes of {array.get('type')}, expected {count} numbers")
    return np.frombuffer(data, dtype).astype(dtype.newbyteorder("="))


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _decoded(file: File, name: str, text: bytes | memoryview, size: int) -> bytes:
    """The first bytes of base64."""
    need = 4 * ((size + 2) // 3)
    if len(text) < need:
        raise file.fail(f"{name}: ends within its values")
    try:
        return base64.b64decode(bytes(text[:need]), validate=True)[:size]
    except binascii.Error as error:
        raise file.fail(f"{name}: damaged base64 ({error})") from None


def _bytes(file: File, name: str, data: bytes | memoryview, raw: bool, expected: int | None) -> bytes:
    width = file.header.itemsize

    def take(start: int, size: int) -> bytes:
        if not raw:
            raise AssertionError
        if start + size > len(data):
            raise file.fail(f"{name}: ends within its values")
        return bytes(data[start : start + size])

    def head(count: int) -> np.ndarray:
        got = take(0, count * width) if raw else _decoded(file, name, data, count * width)
        return np.frombuffer(got, file.header).astype(object)

    if not file.compressor:
        if not len(data) and expected == 0:
            return b""
        size = int(head(1)[0])
        if size > len(data):
            raise file.fail(f"{name}: {size} bytes are told, but {len(data)} are left of the file")
        return take(width, size) if raw else _decoded(file, name, data, width + size)[width:]
    if file.compressor not in ("vtkZLibDataCompressor", "vtkLZMADataCompressor"):
        raise file.fail(
            f"compressed by {file.compressor!r:.40}, which is not read; write the file again with zlib or uncompressed"
        )
    blocks = int(head(1)[0])
    if blocks == 0:
        return b""
    if blocks * width > len(data):
        raise file.fail(f"{name}: {blocks} blocks are told, but {len(data)} bytes are left of the file")
    _, size, last, *packed = (int(v) for v in head(3 + blocks))
    total = size * blocks if last == 0 else size * (blocks - 1) + last
    length = sum(packed)
    if expected is not None and total != expected:
        raise file.fail(f"{name}: {total} bytes are told, expected {expected}")
    if length > len(data) or total > MOST_RATIO * max(length, 1):
        raise file.fail(f"{name}: {total} bytes from {length} are told, but {len(data)} are left of the file")
    start = (3 + blocks) * width
    if raw:
        content = take(start, length)
    else:
        content = _decoded(file, name, data[4 * ((start + 2) // 3) :], length)
    found, at = [], 0
    for k, part in enumerate(packed):
        most = last if k == blocks - 1 and last else size
        found.append(_unpacked(file, name, content[at : at + part], most))
        at += part
    return b"".join(found)


def _unpacked(file: File, name: str, data: bytes, size: int) -> bytes:
    try:
        if file.compressor == "vtkZLibDataCompressor":
            got = zlib.decompressobj().decompress(data, size + 1)
        else:
            got = lzma.LZMADecompressor().decompress(data, size + 1)
    except (zlib.error, lzma.LZMAError, EOFError) as error:
        raise file.fail(f"{name}: damaged block ({error})") from None
    if len(got) != size:
        raise file.fail(f"{name}: a block of {len(got)} bytes, expected {size}")
    return got


def _field_data(file: File, data: Xml.Element, found: Snapshot) -> None:
    for array in data:
        if array.tag not in ("DataArray", "Array"):
            continue
        key = array.get("Name") or "field data"
        if array.get("type") == "String" or array.tag == "Array":
            continue
        values = numbers(file, array, None)
        if values.size != 1:
            found.notes.append(f"field data {key!r:.60} ({values.size} values) is not read")
        elif key.lower() in TIMES:
            found.time = float(values[0])
        else:
            found.scalars[key] = float(values[0])


# -- places ---------------------------------------------------------------------------------------------------------


def _extent(file: File, given: str | None) -> tuple[int, ...]:
    words = (given or "").split()
    try:
        found = tuple(int(w) for w in words)
    except ValueError:
        found = ()
    if len(found) != 6 or any(b < a for a, b in zip(found[::2], found[1::2], strict=True)):
        raise file.fail(f"extent: expected six whole numbers, low and high of x, y, z, got {given!r:.60}")
    return found


def _lattice(file: File, body: Xml.Element, piece: Xml.Element) -> tuple[Lattice | Nodes, tuple[int, int]]:
    e = _extent(file, piece.get("Extent") or body.get("WholeExtent"))
    n = tuple(b - a + 1 for a, b in zip(e[::2], e[1::2], strict=True))
    cells = math.prod(max(k - 1, 1) for k in n)
    counts = (math.prod(n), cells)
    if file.kind == "StructuredGrid":
        return structured(_points(file, piece, math.prod(n)), n, file.name), counts  # type: ignore[arg-type]
    if file.kind == "RectilinearGrid":
        arrays = [] if (given := piece.find("Coordinates")) is None else given.findall("DataArray")
        if len(arrays) != 3:
            raise file.fail(f"Coordinates: expected three arrays, got {len(arrays)}")
        axes = []
        for axis, array, count in zip("xyz", arrays, n, strict=True):
            line = numbers(file, array, count).astype(np.float64)
            steps = np.diff(line)
            if not np.isfinite(line).all() or not (np.all(steps > 0) or np.all(steps < 0)):
                raise file.fail(f"Coordinates: expected finite numbers along {axis} that increase")
            axes.append(line)
        return Lattice(tuple(axes)), counts  # type: ignore[arg-type]
    # counts are checked against arrays, but a grid without arrays must not be large either
    if math.prod(n) > 1 << 33:
        raise file.fail(f"extent: {math.prod(n)} points")
    origin = _triple(file, body.get("Origin"), "Origin", (0.0, 0.0, 0.0))
    spacing = _triple(file, body.get("Spacing"), "Spacing", (1.0, 1.0, 1.0))
    direction = (body.get("Direction") or "1 0 0 0 1 0 0 0 1").split()
    try:
        turned = not np.allclose(np.array(direction, dtype=np.float64).reshape(3, 3), np.eye(3))
    except ValueError:
        raise file.fail("Direction: expected nine numbers") from None
    if turned:
        raise file.fail("Direction: a grid that is turned against the axes is not read; resample it to a plain one")
    if any(s == 0 and k > 1 for s, k in zip(spacing, n, strict=True)):
        raise file.fail("Spacing: expected numbers other than 0")
    axes = [o + s * np.arange(a, a + k) for o, s, a, k in zip(origin, spacing, e[::2], n, strict=True)]
    return Lattice(tuple(axes)), counts  # type: ignore[arg-type]


def _triple(file: File, given: str | None, what: str, default: tuple[float, ...]) -> tuple[float, ...]:
    if given is None:
        return default
    found = [_number(file, w, what) for w in given.split()]
    if len(found) != 3:
        raise file.fail(f"{what}: expected three numbers, got {given!r:.60}")
    return tuple(float(v or 0.0) for v in found)


def _points(file: File, piece: Xml.Element, count: int) -> np.ndarray:
    array = None if (given := piece.find("Points")) is None else given.find("DataArray")
    if array is None:
        if count == 0:
            return np.zeros((0, 3))
        raise file.fail("expected <Points>, got none")
    points = numbers(file, array, 3 * count).reshape(-1, 3).astype(np.float64)
    if not np.isfinite(points).all():
        raise file.fail(f"point {int(np.argmin(np.isfinite(points).all(1)))} is not finite")
    return points


def _nodes(file: File, piece: Xml.Element, notes: list[str]) -> Nodes:
    points = _points(file, piece, _whole(file, piece.get("NumberOfPoints"), "NumberOfPoints"))
    types, offsets, all_, total = [np.zeros(0, np.int64)], [np.zeros(1, np.int64)], [np.zeros(0, np.int64)], 0
    parts = [("Cells", "NumberOfCells", None)] if file.kind == "UnstructuredGrid" else [
        ("Verts", "NumberOfVerts", 2), ("Lines", "NumberOfLines", 4), ("Polys", "NumberOfPolys", 7),
        ("Strips", "NumberOfStrips", 6),
    ]  # fmt: skip
    for tag, attribute, kind in parts:
        count = _whole(file, piece.get(attribute) or "0", attribute)
        group = piece.find(tag)
        if not count or group is None:
            if count:
                raise file.fail(f"expected <{tag}>, got none")
            continue
        arrays: Mapping[str, Xml.Element] = {a.get("Name") or "": a for a in group.findall("DataArray")}
        missing = [k for k in ("connectivity", "offsets") if k not in arrays]
        if missing or (kind is None and "types" not in arrays):
            raise file.fail(f"{tag}: expected connectivity, offsets and types, got {', '.join(arrays)[:60]}")
        ends = numbers(file, arrays["offsets"], count).astype(np.int64)
        corners = numbers(file, arrays["connectivity"], None).astype(np.int64)
        if len(corners) != ends[-1]:
            raise file.fail(f"{tag}: offsets end at {int(ends[-1])}, but there are {len(corners)} node numbers")
        if kind is None:
            types.append(numbers(file, arrays["types"], count).astype(np.int64))
        else:
            types.append(np.full(count, kind))
        offsets.append(ends + total)
        all_.append(corners)
        total += len(corners)
    return nodes(points, np.concatenate(types), np.concatenate(offsets), np.concatenate(all_), file.name, notes)


def joined(parts: Sequence[Snapshot], name: str) -> Snapshot:
    """Pieces of one mesh; nodes at the same place, or of the same GlobalNodeId, become one.

    Raises:
        FileFormatError: pieces of grids, or values that differ where pieces meet.
    """
    places = [p.place for p in parts if not (isinstance(p.place, Nodes) and not len(p.place.position))]
    parts = [p for p in parts if not (isinstance(p.place, Nodes) and not len(p.place.position))]
    meshes = [p for p in places if isinstance(p, Nodes)]
    if len(meshes) != len(parts) or not parts:
        raise FileFormatError(f"{name}: pieces of a grid are not joined; write it as a single piece")
    notes = list(dict.fromkeys(n for p in parts for n in p.notes))
    ids = [
        next((p.point[k] for k in ("GlobalNodeId", "GlobalNodeID", "GlobalIds") if k in p.point), None) for p in parts
    ]
    position = np.concatenate([m.position for m in meshes])
    if all(i is not None for i in ids):
        _, first, number = np.unique(np.concatenate([i for i in ids if i is not None]), return_index=True,
                                     return_inverse=True)  # fmt: skip
    else:
        _, first, number = np.unique(position, axis=0, return_index=True, return_inverse=True)
    number = number.ravel()
    starts = np.cumsum([0] + [len(m.position) for m in meshes])
    counts = np.cumsum([0] + [m.count for m in meshes])
    cells: dict[str, list[np.ndarray]] = {}
    numbers_: dict[str, list[np.ndarray]] = {}
    for mesh, start, base in zip(meshes, starts, counts, strict=False):
        for kind, these in mesh.cells.items():
            cells.setdefault(kind, []).append(number[these + start])
            numbers_.setdefault(kind, []).append(mesh.number[kind] + base)
    place = Nodes(position[first], {k: np.concatenate(v) for k, v in cells.items()},
                  {k: np.concatenate(v) for k, v in numbers_.items()}, int(counts[-1]))  # fmt: skip
    whole = Snapshot(place, notes=notes, time=parts[0].time, units=dict(parts[0].units), scalars=dict(parts[0].scalars))
    for of in ("point", "cell"):
        arrays = [getattr(p, of) for p in parts]
        common = [k for k in arrays[0] if all(k in a and a[k].shape[1:] == arrays[0][k].shape[1:] for a in arrays)]
        lost = sorted({k for a in arrays for k in a} - set(common))
        if lost:
            notes.append(f"{', '.join(lost)[:200]}: not in all of {len(parts)} pieces, left out")
        for key in common:
            values = np.concatenate([a[key] for a in arrays])
            getattr(whole, of)[key] = values[first] if of == "point" else values
    return whole
