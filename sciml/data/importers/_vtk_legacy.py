"""Legacy files of VTK (.vtk, versions 1.0 to 5.1), text or bytes, as plain arrays.

    # vtk DataFile Version 3.0
    a title
    ASCII                                     or BINARY: numbers as big-endian bytes
    DATASET STRUCTURED_POINTS                 RECTILINEAR_GRID, STRUCTURED_GRID, UNSTRUCTURED_GRID, POLYDATA
    DIMENSIONS 3 2 1
    ...
    POINT_DATA 6                              and CELL_DATA: SCALARS, VECTORS, TENSORS, FIELD, ...

Source: VTK User's Guide, "VTK File Formats"; 5.1: Kitware's note of 2019 on OFFSETS and CONNECTIVITY.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from urllib.parse import unquote

import numpy as np

from sciml.data.importers._snapshot import Lattice, Nodes, Snapshot, nodes, structured
from sciml.errors import FileFormatError

TYPES = {
    "bit": "u1", "unsigned_char": "u1", "char": "i1", "unsigned_short": "u2", "short": "i2", "unsigned_int": "u4",
    "int": "i4", "unsigned_long": "u8", "long": "i8", "vtkidtype": "i4", "vtktypeint64": "i8", "vtktypeuint64": "u8",
    "float": "f4", "double": "f8", "vtktypefloat32": "f4", "vtktypefloat64": "f8", "vtktypeint32": "i4",
    "vtktypeuint32": "u4", "vtktypeint8": "i1", "vtktypeuint8": "u1", "vtktypeint16": "i2", "vtktypeuint16": "u2",
}  # fmt: skip
POLY = {"VERTICES": 2, "LINES": 4, "POLYGONS": 7, "TRIANGLE_STRIPS": 6}
TIMES = ("time", "timevalue", "time_value")


class _Text:
    """A file from its start to its end, line by line and array by array."""

    def __init__(self, content: bytes, name: str):
        self.content, self.name, self.at, self.binary = content, name, 0, False

    def fail(self, text: str, at: int | None = None) -> FileFormatError:
        where = max(self.at - 1, 0) if at is None else at  # the line that was just read
        lines = self.content.count(b"\n", 0, where) + 1
        place = f"byte {where}" if self.binary else f"line {lines}"
        return FileFormatError(f"{self.name}: {place}: {text}")

    def raw_line(self) -> str | None:
        if self.at >= len(self.content):
            return None
        end = self.content.find(b"\n", self.at)
        end = len(self.content) if end < 0 else end
        line = self.content[self.at : min(end, self.at + 4096)].decode("utf-8", "replace").strip()
        self.at = end + 1
        return line

    def line(self) -> str | None:
        """The next line that holds something; None at the end."""
        while (found := self.raw_line()) is not None:
            if found:
                return found
        return None

    def words(self, keyword: str, count: int) -> list[str]:
        """The words behind an expected keyword."""
        before = self.at
        line = self.line()
        if line is None:
            raise self.fail(f"the file ends, expected {keyword}", before)
        words = line.split()
        if words[0].upper() != keyword or len(words) < count + 1:
            raise self.fail(f"expected {keyword} and {count} values, got {line!r:.80}", before)
        return words[1:]

    def whole(self, word: str, what: str, least: int = 0) -> int:
        try:
            value = int(word)
        except ValueError:
            raise self.fail(f"{what}: expected a whole number, got {word!r:.40}") from None
        if value < least:
            raise self.fail(f"{what}: expected at least {least}, got {value}")
        return value

    def numbers(self, count: int, kind: str, what: str) -> np.ndarray:
        """So many numbers of one of the format's types; sizes are compared with the file's before anything is made."""
        code = TYPES.get(kind.lower())
        if code is None:
            raise self.fail(f"{what}: no type of numbers is called {kind!r:.40}")
        left = len(self.content) - self.at
        if kind.lower() == "bit" and self.binary:
            size = (count + 7) // 8
            if size > left:
                raise self.fail(f"{what}: {count} bits are told, but {left} bytes are left of the file")
            found = np.unpackbits(np.frombuffer(self.content, np.uint8, size, self.at))[:count]
            self.at += size
            return found
        if self.binary:
            dtype = np.dtype(">" + code)
            if count * dtype.itemsize > left:
                raise self.fail(
                    f"{what}: {count} numbers of {dtype.itemsize} bytes are told, but {left} bytes are left of the file"
                )
            found = np.frombuffer(self.content, dtype, count, self.at)
            self.at += count * dtype.itemsize
            return found.astype(dtype.newbyteorder("="))
        if count > (left + 1) // 2:
            raise self.fail(f"{what}: {count} numbers are told, but {left} characters are left of the file")
        start = self.at
        tokens = self._tokens(count, what)

        def wrong(token: str) -> FileFormatError:
            return self.fail(f"{what}: expected numbers, got {token!r:.40}", self.content.find(token.encode(), start))

        return _parsed(tokens, code, wrong)

    def _tokens(self, count: int, what: str) -> list[bytes]:
        if count == 0:
            return []
        size = 24 * count + 256
        while True:
            window = self.content[self.at : self.at + size]
            tokens = window.split(None, count)
            end = self.at + size >= len(self.content)
            if len(tokens) > count:
                rest = tokens.pop()
                self.at += len(window) - len(rest)
                return tokens
            if end:
                if len(tokens) < count:
                    raise self.fail(f"{what}: the file ends after {len(tokens)} of {count} numbers", len(self.content))
                self.at = len(self.content)
                return tokens
            size *= 2


def _parsed(tokens: list[bytes], code: str, error: Callable[[str], FileFormatError]) -> np.ndarray:
    try:
        found = np.array(tokens, dtype=np.float64) if tokens else np.zeros(0)
    except ValueError:
        for token in tokens:
            try:
                float(token)
            except ValueError:
                raise error(token.decode("utf-8", "replace")) from None
        raise
    if code[0] in "iu":
        if not np.array_equal(found, np.round(found)):
            raise error(tokens[int(np.argmax(found != np.round(found)))].decode("utf-8", "replace"))
        with np.errstate(invalid="ignore"):
            return found.astype(np.int64)
    return found.astype(code) if code == "f4" else found


def parse(content: bytes, name: str) -> Snapshot:
    """The content of a legacy file.

    Args:
        name: of the file, for errors.

    Raises:
        FileFormatError: damaged; names file and line (of bytes: the place).
    """
    text = _Text(content, name)
    if not content:
        raise FileFormatError(f"{name}: the file is empty")
    if not content.startswith(b"# vtk DataFile"):
        raise FileFormatError(f"{name}: line 1: expected '# vtk DataFile Version', got {content[:40]!r}")
    text.raw_line()
    text.raw_line()  # a title, which may be empty
    mode = (text.line() or "").upper()
    if mode not in ("ASCII", "BINARY"):
        raise text.fail(f"expected ASCII or BINARY, got {mode!r:.40}")
    binary = mode == "BINARY"
    found = Snapshot(Lattice((np.zeros(1), np.zeros(1), np.zeros(1))))
    kind = ""
    while not kind:
        words = _next(text)
        if words is None:
            raise text.fail("the file ends, expected DATASET")
        if words[0] == "DATASET" and len(words) > 1:
            kind = words[1].upper()
        elif words[0] == "FIELD":
            text.binary = binary
            _field_data(text, words, found)
        else:
            raise text.fail(f"expected DATASET, got {words[0]!r:.40}")
    text.binary = binary
    readers = {
        "STRUCTURED_POINTS": _image, "RECTILINEAR_GRID": _rectilinear, "STRUCTURED_GRID": _structured,
        "UNSTRUCTURED_GRID": _unstructured, "POLYDATA": _poly,
    }  # fmt: skip
    if kind == "FIELD":
        raise text.fail("DATASET FIELD holds arrays without places, which cannot be read as a case")
    if kind not in readers:
        raise text.fail(f"no DATASET is called {kind!r:.40}; known: {', '.join(readers)}")
    place, words = readers[kind](text, found)
    found.place = place
    _attributes(text, words, found)
    return found


def _next(text: _Text) -> list[str] | None:
    """Words of the next line, the keyword in capitals; METADATA is passed over."""
    while (line := text.line()) is not None:
        words = line.split()
        words[0] = words[0].upper()
        if words[0] == "METADATA":
            while text.raw_line():
                pass
            continue
        return words
    return None


def _field_data(text: _Text, words: list[str], found: Snapshot) -> None:
    """Numbers that belong to the file as a whole; single ones are kept."""
    for array_name, values in _field_arrays(text, words).items():
        if values.size == 1 and values.dtype.kind in "fiu":
            if array_name.lower() in TIMES:
                found.time = float(values.ravel()[0])
            else:
                found.scalars[array_name] = float(values.ravel()[0])
        else:
            found.notes.append(f"field data {array_name!r:.60} ({values.size} values) is not read")


def _field_arrays(text: _Text, words: list[str]) -> dict[str, np.ndarray]:
    if len(words) < 3:
        raise text.fail("FIELD: expected a name and a number of arrays")
    arrays = {}
    for _ in range(text.whole(words[2], "FIELD: arrays")):
        head = _next(text)
        if head is None or len(head) < 4:
            raise text.fail(f"FIELD: expected 'name components tuples type', got {' '.join(head or ['the end'])!r:.80}")
        name = unquote(" ".join(_original(text, head)[:-3]))
        k = text.whole(head[-3], f"{name}: components")
        n = text.whole(head[-2], f"{name}: tuples")
        if head[-1].lower() == "string":
            for _ in range(k * n):
                _string(text)
            arrays[name] = np.full(k * n, "", dtype="U1")
            continue
        arrays[name] = text.numbers(k * n, head[-1], name).reshape(n, k) if k else np.zeros((n, 0))
    return arrays


def _original(text: _Text, head: list[str]) -> list[str]:
    """The words of the line just read, as written (keywords are put in capitals by `_next`)."""
    end = text.at - 1
    start = text.content.rfind(b"\n", 0, max(end, 0)) + 1
    words = text.content[start:end].decode("utf-8", "replace").split()
    return words if len(words) == len(head) else head


def _string(text: _Text) -> None:
    if not text.binary:
        if text.raw_line() is None:
            raise text.fail("the file ends within texts")
        return
    if text.at >= len(text.content):
        raise text.fail("the file ends within texts")
    first = text.content[text.at]
    more = {3: 0, 2: 1, 1: 3, 0: 7}[first >> 6]
    length = int.from_bytes(bytes([first & 0x3F]) + text.content[text.at + 1 : text.at + 1 + more], "big")
    if length > len(text.content) - text.at:
        raise text.fail(f"a text of {length} bytes is told, which the file does not have")
    text.at += 1 + more + length


# -- places ---------------------------------------------------------------------------------------------------------


def _dimensions(text: _Text) -> tuple[int, int, int]:
    words = text.words("DIMENSIONS", 3)
    n = tuple(text.whole(w, "DIMENSIONS", 1) for w in words[:3])
    return n  # type: ignore[return-value]


def _image(text: _Text, found: Snapshot) -> tuple[Lattice, list[str] | None]:
    n: tuple[int, ...] = ()
    origin, spacing = [0.0] * 3, [1.0] * 3
    words = _next(text)
    while words is not None and words[0] in ("DIMENSIONS", "ORIGIN", "SPACING", "ASPECT_RATIO"):
        if len(words) < 4:
            raise text.fail(f"{words[0]}: expected three values")
        if words[0] == "DIMENSIONS":
            n = tuple(text.whole(w, "DIMENSIONS", 1) for w in words[1:4])
        else:
            try:
                values = [float(w) for w in words[1:4]]
            except ValueError:
                raise text.fail(f"{words[0]}: expected three numbers, got {' '.join(words[1:4])!r:.60}") from None
            if not all(map(math.isfinite, values)):
                raise text.fail(f"{words[0]}: expected finite numbers, got {' '.join(words[1:4])!r:.60}")
            if words[0] == "ORIGIN":
                origin = values
            else:
                spacing = values
        words = _next(text)
    if not n:
        raise text.fail("expected DIMENSIONS")
    if math.prod(n) > 8 * len(text.content):
        raise text.fail(f"DIMENSIONS of {math.prod(n)} points, but the file has {len(text.content)} bytes")
    if any(s == 0 and k > 1 for s, k in zip(spacing, n, strict=True)):
        raise text.fail("SPACING: expected numbers other than 0")
    axes = tuple(o + s * np.arange(k) for o, s, k in zip(origin, spacing, n, strict=True))
    return Lattice(axes), words  # type: ignore[arg-type]


def _rectilinear(text: _Text, found: Snapshot) -> tuple[Lattice, list[str] | None]:
    n, axes = _dimensions(text), []
    for axis, count in zip("XYZ", n, strict=True):
        words = text.words(f"{axis}_COORDINATES", 2)
        if text.whole(words[0], f"{axis}_COORDINATES") != count:
            raise text.fail(f"{axis}_COORDINATES: {words[0]} are told, DIMENSIONS say {count}")
        line = text.numbers(count, words[1], f"{axis}_COORDINATES").astype(np.float64)
        steps = np.diff(line)
        if not np.isfinite(line).all() or not (np.all(steps > 0) or np.all(steps < 0)):
            raise text.fail(f"{axis}_COORDINATES: expected finite numbers that increase")
        axes.append(line)
    return Lattice(tuple(axes)), _next(text)  # type: ignore[arg-type]


def _points(text: _Text) -> np.ndarray:
    words = text.words("POINTS", 2)
    count = text.whole(words[0], "POINTS", 1)
    points = text.numbers(3 * count, words[1], "POINTS").reshape(-1, 3).astype(np.float64)
    if not np.isfinite(points).all():
        raise text.fail(f"POINTS: point {int(np.argmin(np.isfinite(points).all(1)))} is not finite")
    return points


def _structured(text: _Text, found: Snapshot) -> tuple[Lattice | Nodes, list[str] | None]:
    n = _dimensions(text)
    points = _points(text)
    if len(points) != math.prod(n):
        raise text.fail(f"POINTS: {len(points)} are told, DIMENSIONS say {math.prod(n)}")
    return structured(points, n, text.name), _next(text)


def _cells(text: _Text, keyword: str, words: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """(offsets, connectivity), of either layout."""
    if len(words) < 3:
        raise text.fail(f"{keyword}: expected two numbers")
    first, second = (text.whole(w, keyword) for w in words[1:3])
    before = text.at
    line = text.line()
    if line is not None and line.upper().startswith("OFFSETS"):  # 5.x: counts of offsets and of node numbers
        offsets = text.numbers(first, line.split()[-1], "OFFSETS").astype(np.int64)
        kind = text.words("CONNECTIVITY", 1)[0]
        return (offsets if first else np.zeros(1, np.int64)), text.numbers(second, kind, "CONNECTIVITY").astype(
            np.int64
        )
    text.at = before
    flat = text.numbers(second, "int", keyword).astype(np.int64)
    if first > second:
        raise text.fail(f"{keyword}: {first} cells in {second} numbers")
    if second == first * (flat[0] + 1 if first else 0) and (first == 0 or np.all(flat[:: flat[0] + 1] == flat[0])):
        width = int(flat[0]) if first else 0
        table = flat.reshape(first, width + 1) if first else np.zeros((0, 1), np.int64)
        return np.arange(first + 1) * width, table[:, 1:].ravel()
    starts, at, values = np.zeros(first + 1, np.int64), 0, flat.tolist()
    kept = np.ones(second, bool)
    for k in range(first):
        if at >= second or values[at] < 0 or at + 1 + values[at] > second:
            raise text.fail(f"{keyword}: cell {k} runs beyond the {second} numbers that are told")
        kept[at] = False
        starts[k + 1] = starts[k] + values[at]
        at += 1 + values[at]
    if at != second:
        raise text.fail(f"{keyword}: {first} cells take {at} numbers, but {second} are told")
    return starts, flat[kept]


def _unstructured(text: _Text, found: Snapshot) -> tuple[Nodes, list[str] | None]:
    points = _points(text)
    words = _next(text)
    if words is None or words[0] != "CELLS":
        return Nodes(points), words
    offsets, connectivity = _cells(text, "CELLS", words)
    count = text.whole(text.words("CELL_TYPES", 1)[0], "CELL_TYPES")
    if count != len(offsets) - 1:
        raise text.fail(f"CELL_TYPES: {count} are told, CELLS says {len(offsets) - 1}")
    types = text.numbers(count, "int", "CELL_TYPES").astype(np.int64)
    return nodes(points, types, offsets, connectivity, text.name, found.notes), _next(text)


def _poly(text: _Text, found: Snapshot) -> tuple[Nodes, list[str] | None]:
    points, parts = _points(text), {}
    words = _next(text)
    while words is not None and words[0] in POLY:
        parts[words[0]] = _cells(text, words[0], words)
        words = _next(text)
    types, starts, all_ = [np.zeros(0, np.int64)], [np.zeros(1, np.int64)], [np.zeros(0, np.int64)]
    total = 0
    for keyword, kind in POLY.items():  # cell data come in this order, whatever the order in the file
        if keyword in parts:
            offsets, connectivity = parts[keyword]
            types.append(np.full(len(offsets) - 1, kind))
            starts.append(offsets[1:] + total)
            all_.append(connectivity)
            total += len(connectivity)
    joined = (np.concatenate(types), np.concatenate(starts), np.concatenate(all_))
    return nodes(points, *joined, text.name, found.notes), words


# -- values ---------------------------------------------------------------------------------------------------------


def _attributes(text: _Text, words: list[str] | None, found: Snapshot) -> None:
    place = found.place
    expected = {
        "POINT_DATA": place.points if isinstance(place, Lattice) else len(place.position),
        "CELL_DATA": place.cells if isinstance(place, Lattice) else place.count,
    }
    into, count = None, 0
    while words is not None:
        keyword = words[0]
        if keyword in expected:
            count = text.whole(words[1] if len(words) > 1 else "", keyword)
            if count != expected[keyword]:
                raise text.fail(f"{keyword}: {count} are told, but there are {expected[keyword]}")
            into = found.point if keyword == "POINT_DATA" else found.cell
        elif into is None and keyword == "FIELD":
            _field_data(text, words, found)
        elif into is None:
            raise text.fail(f"expected POINT_DATA or CELL_DATA, got {keyword!r:.40}")
        else:
            _attribute(text, keyword, words, count, into, found)
        words = _next(text)


def _attribute(
    text: _Text, keyword: str, words: list[str], count: int, into: dict[str, np.ndarray], found: Snapshot
) -> None:
    name = unquote(words[1]) if len(words) > 1 else keyword.lower()
    widths = {"VECTORS": 3, "NORMALS": 3, "TENSORS": 9, "TENSORS6": 6, "GLOBAL_IDS": 1, "PEDIGREE_IDS": 1}
    if keyword == "FIELD":
        for array_name, values in _field_arrays(text, words).items():
            if values.dtype.kind == "U":
                found.notes.append(f"{array_name!r:.60} holds texts and is not read")
            elif len(values) != count:
                raise text.fail(f"{array_name}: {len(values)} tuples, expected {count}")
            else:
                into[array_name] = values[:, 0] if values.shape[1] == 1 else values
    elif keyword == "SCALARS":
        if len(words) < 3:
            raise text.fail("SCALARS: expected a name and a type")
        width = text.whole(words[3], "SCALARS: components", 1) if len(words) > 3 else 1
        before = text.at
        line = text.line()
        if line is None or not line.upper().startswith("LOOKUP_TABLE"):
            text.at = before  # the line may be missing
        values = text.numbers(count * width, words[2], name)
        into[name] = values if width == 1 else values.reshape(count, width)
    elif keyword in widths:
        if len(words) < 3:
            raise text.fail(f"{keyword}: expected a name and a type")
        width = widths[keyword]
        values = text.numbers(count * width, words[2], name)
        into[name] = values if width == 1 else values.reshape(count, width)
    elif keyword == "TEXTURE_COORDINATES":
        if len(words) < 4:
            raise text.fail(f"{keyword}: expected a name, a number and a type")
        text.numbers(count * text.whole(words[2], keyword), words[3], name)
        found.notes.append(f"{name!r:.60} are texture coordinates and are not read")
    elif keyword == "COLOR_SCALARS":
        width = text.whole(words[2] if len(words) > 2 else "", keyword)
        text.numbers(count * width, "unsigned_char" if text.binary else "float", name)
        found.notes.append(f"{name!r:.60} are colours and are not read")
    elif keyword == "LOOKUP_TABLE":
        size = text.whole(words[2] if len(words) > 2 else "", keyword)
        text.numbers(4 * size, "unsigned_char" if text.binary else "float", name)
    else:
        raise text.fail(f"no such data: {keyword!r:.40}; expected SCALARS, VECTORS, FIELD or the like")
