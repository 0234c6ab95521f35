"""EnSight Gold as plain arrays: .case, and geometry and variables as text or as the bytes of C.

    FORMAT                               C Binary | text
    type: ensight gold                   description, description, node id ..., element id ..., [extents]
    GEOMETRY                             part, number, description,
    model: flow.****.geo                 coordinates, n, (ids), x of all, y of all, z of all
    VARIABLE                             hexa8, m, (ids), nodes of all
    vector per node: 1 U flow.****.U     or block, i j k, x of all, y of all, z of all
    TIME ...

Source: EnSight User Manual, "EnSight Gold Casefile Format".
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field

import numpy as np

from sciml.data.importers._snapshot import Lattice, Nodes, Snapshot, nodes, structured
from sciml.errors import FileFormatError

ELEMENTS = {
    "point": (1, 1), "bar2": (2, 3), "bar3": (3, 21), "tria3": (3, 5), "tria6": (6, 22), "quad4": (4, 9),
    "quad8": (8, 23), "tetra4": (4, 10), "tetra10": (10, 24), "pyramid5": (5, 14), "pyramid13": (13, 27),
    "penta6": (6, 13), "penta15": (15, 26), "hexa8": (8, 12), "hexa20": (20, 25), "nsided": (0, 7), "nfaced": (0, 42),
}  # fmt: skip
WIDTHS = {"scalar": 1, "vector": 3, "tensor symm": 6, "tensor asym": 9}


@dataclass
class Variable:
    """A line of VARIABLE.

    Args:
        kind: "scalar", "vector", ...
        on: "node" or "element"; "case" for constants.
        file: pattern, or the numbers of a constant.
    """

    kind: str
    on: str
    name: str
    file: str
    timeset: int = 1


@dataclass
class Case:
    """A .case file."""

    model: str
    model_set: int = 1
    variables: list[Variable] = field(default_factory=list)
    times: dict[int, list[float]] = field(default_factory=dict)
    numbers: dict[int, list[int]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def case(text: str, name: str) -> Case:
    """The content of a .case file.

    Raises:
        FileFormatError: not of EnSight Gold, or without a model.
    """
    section, found, set_ = "", Case(""), 1
    sets: dict[int, dict[str, list[str]]] = {}
    key = ""
    lines = text.splitlines()
    if not text.strip():
        raise FileFormatError(f"{name}: the file is empty")
    for k, raw in enumerate(lines, 1):
        line = raw.split("#", 1)[0].strip()
        if not line:
            continue
        if line.isupper() and ":" not in line and line.isalpha():
            section, key = line, ""
            continue
        left, colon, right = line.partition(":")
        left = " ".join(left.lower().split())
        if section == "FORMAT" and left == "type" and "gold" not in right.lower():
            raise FileFormatError(f"{name}: line {k}: type {right.strip()!r:.40}, expected 'ensight gold'; EnSight can "
                                  "save it as that")  # fmt: skip
        elif section == "GEOMETRY" and left == "model":
            words = right.split()
            words = [w for w in words if not w.startswith("change_coords_only")]
            name_at = next((i for i, w in enumerate(words) if not w.isdigit()), None)
            if name_at is None:
                raise FileFormatError(f"{name}: line {k}: model: expected a file, got {right!r:.60}")
            found.model, found.model_set = words[name_at], int(words[0]) if name_at else 1
        elif section == "VARIABLE" and colon:
            _variable(found, left, right.split(), name, k)
        elif section == "TIME":
            if left == "time set" and colon:
                words = right.split()
                set_ = _whole(words[0] if words else "", name, k)
                sets[set_], key = {}, ""
            elif colon:
                key = left
                sets.setdefault(set_, {}).setdefault(key, []).extend(right.split())
            elif key:
                sets.setdefault(set_, {}).setdefault(key, []).extend(line.split())
        elif section in ("FILE", "MATERIAL", "BLOCK_CONTINUATION", "SCRIPTS") and f"{section} is" not in found.notes:
            found.notes.append(f"section {section} of {name} is not read")
    if not found.model:
        raise FileFormatError(f"{name}: names no model (section GEOMETRY)")
    for number, entry in sets.items():
        _times(found, number, entry, name)
    found.notes = list(dict.fromkeys(found.notes))
    return found


def _whole(word: str, name: str, line: int) -> int:
    try:
        return int(word)
    except ValueError:
        raise FileFormatError(f"{name}: line {line}: expected a whole number, got {word!r:.40}") from None


def _variable(found: Case, left: str, words: list[str], name: str, line: int) -> None:
    form = re.fullmatch(r"(scalar|vector|tensor symm|tensor asym) per (measured )?(node|element)", left)
    if left.startswith("constant per case"):
        if "file" not in left and len(words) >= 2:
            found.variables.append(Variable("constant", "case", words[-2], words[-1]))
        else:
            found.notes.append(f"{name}: line {line}: {left}: not read")
    elif form is None or form[2]:
        found.notes.append(f"{name}: line {line}: {left!r:.60} is not read")
    else:
        sets = [w for w in words[:2] if w.isdigit()]
        if len(words) < len(sets) + 2:
            raise FileFormatError(f"{name}: line {line}: expected a name and a file, got {' '.join(words)!r:.60}")
        found.variables.append(
            Variable(form[1], form[3], words[len(sets)], words[len(sets) + 1], int(sets[0]) if sets else 1)
        )


def _times(found: Case, number: int, entry: dict[str, list[str]], name: str) -> None:
    steps = _whole((entry.get("number of steps") or [""])[0], name, 0)
    try:
        times = [float(w) for w in entry.get("time values", [])]
    except ValueError:
        raise FileFormatError(f"{name}: time values: expected numbers") from None
    if steps < 1 or len(times) != steps or not all(map(math.isfinite, times)):
        raise FileFormatError(f"{name}: time set {number}: {steps} steps, but {len(times)} finite time values")
    if "filename numbers" in entry:
        numbers = [_whole(w, name, 0) for w in entry["filename numbers"]]
    else:
        first = _whole((entry.get("filename start number") or ["0"])[0], name, 0)
        by = _whole((entry.get("filename increment") or ["1"])[0], name, 0)
        numbers = [first + by * k for k in range(steps)]
    if len(numbers) != steps:
        raise FileFormatError(f"{name}: time set {number}: {steps} steps, but {len(numbers)} numbers of files")
    found.times[number], found.numbers[number] = times, numbers


def file_of(pattern: str, number: int | None) -> str:
    """The file of a step: "*" stand for the digits of its number."""
    stars = re.search(r"\*+", pattern)
    if stars is None or number is None:
        return pattern
    return pattern[: stars.start()] + f"{number:0{len(stars[0])}d}" + pattern[stars.end() :]


# -- files of numbers -----------------------------------------------------------------------------------------------


class _Data:
    """A file of EnSight Gold, text or bytes of either order."""

    def __init__(self, content: bytes, name: str, geometry: bool):
        self.content, self.name, self.at, self.order, self.binary = content, name, 0, "<", True
        if not content:
            raise FileFormatError(f"{name}: the file is empty")
        start = content[:80].strip(b"\0 \r\n\t")
        if content[4:20].lower().startswith(b"fortran binary"):
            raise self.fail("bytes of Fortran are not read; write the file as C binary or as text")
        self.binary = start.lower().startswith(b"c binary") if geometry else b"\0" in content
        if self.binary and geometry:
            self.at = 80
        if not self.binary and b"\0" in content:
            raise self.fail("expected text or 'C Binary'")

    def fail(self, text: str) -> FileFormatError:
        lines = self.content.count(b"\n", 0, self.at) + 1
        return FileFormatError(f"{self.name}: {f'byte {self.at}' if self.binary else f'line {lines}'}: {text}")

    @property
    def ended(self) -> bool:
        return self.at >= len(self.content) or not self.content[self.at : self.at + 200].strip(b"\0 \r\n\t")

    def settle(self) -> None:
        """The order of bytes, from a small number that comes next."""
        if self.binary:
            word = self.content[self.at : self.at + 4]
            self.order = "<" if int.from_bytes(word, "little") <= int.from_bytes(word, "big") else ">"

    def text(self) -> str:
        if self.at >= len(self.content):
            raise self.fail("the file ends")
        if self.binary:
            found = self.content[self.at : self.at + 80]
            self.at += 80
            found = found.split(b"\0")[0]
        else:
            end = self.content.find(b"\n", self.at)
            end = len(self.content) if end < 0 else end
            found = self.content[self.at : end]
            self.at = end + 1
        return found.decode("latin-1").strip()

    def whole(self, what: str, most: int) -> int:
        value = int(self.numbers(1, "i4", what)[0])
        if not 0 <= value <= most:
            raise self.fail(f"{what}: {value} is told, which a file of {len(self.content)} bytes does not have")
        return value

    def numbers(self, count: int, kind: str, what: str) -> np.ndarray:
        left = len(self.content) - self.at
        if self.binary:
            if 4 * count > left:
                raise self.fail(f"{what}: {count} numbers are told, but {left} bytes are left of the file")
            found = np.frombuffer(self.content, self.order + kind, count, self.at)
            self.at += 4 * count
            return found.astype(kind)
        if 2 * count > left + 1:
            raise self.fail(f"{what}: {count} numbers are told, but {left} characters are left of the file")
        size = 16 * count + 256
        while True:
            window = self.content[self.at : self.at + size]
            words = window.split(None, count)
            if len(words) > count or self.at + size >= len(self.content):
                break
            size *= 2
        if len(words) < count:
            raise self.fail(f"{what}: the file ends after {len(words)} of {count} numbers")
        rest = words.pop() if len(words) > count else b""
        self.at += len(window) - len(rest)
        try:
            values = np.array(words, dtype=np.float64)
        except ValueError:
            raise self.fail(f"{what}: expected numbers") from None
        if kind != "i4":
            return values
        if not (np.abs(values) < 2**31).all() or not np.array_equal(values, np.round(values)):
            raise self.fail(f"{what}: expected whole numbers")
        return values.astype(np.int64)


@dataclass
class Part:
    """A part of the geometry: how many nodes it has, and elements by their kinds in the order of the file."""

    number: int
    title: str
    place: Lattice | Nodes
    count: int
    elements: list[tuple[str, int]]


def geometry(content: bytes, name: str, notes: list[str]) -> list[Part]:
    """The parts of a geometry file.

    Raises:
        FileFormatError: damaged, or written by Fortran.
    """
    data = _Data(content, name, True)
    most = len(content)
    first = data.text()
    if first.upper().startswith("BEGIN TIME STEP"):
        raise data.fail("several steps in one file are not read; write a file for each step")
    data.text()
    ids = [data.text().lower() for _ in range(2)]
    if not ids[0].startswith("node id") or not ids[1].startswith("element id"):
        raise data.fail(f"expected 'node id' and 'element id', got {ids[0][:40]!r} and {ids[1][:40]!r}")
    node_ids, element_ids = (i.split()[-1] in ("given", "ignore") for i in ids)
    word = "" if data.ended else data.text()
    if word.lower().startswith("extents"):
        data.numbers(6, "f4", "extents")
        word = "" if data.ended else data.text()
    parts = []
    while word:
        if word.lower() != "part":
            raise data.fail(f"expected 'part', got {word[:40]!r}")
        if not parts:
            data.settle()
        number, title = data.whole("part", 2**31 - 1), data.text()
        kind = data.text().lower().split()
        if kind[:1] == ["coordinates"]:
            part, word = _unstructured(data, number, title, node_ids, element_ids, most, notes)
        elif kind[:1] == ["block"]:
            part, word = _block(data, number, title, kind[1:], node_ids, element_ids, most, notes)
        else:
            raise data.fail(f"expected 'coordinates' or 'block', got {' '.join(kind)[:40]!r}")
        parts.append(part)
    if not parts:
        raise data.fail("holds no part")
    return parts


def _unstructured(
    data: _Data, number: int, title: str, node_ids: bool, element_ids: bool, most: int, notes: list[str]
) -> tuple[Part, str]:
    count = data.whole("coordinates", most)
    if node_ids:
        data.numbers(count, "i4", "node ids")
    points = data.numbers(3 * count, "f4", "coordinates").astype(np.float64).reshape(3, count).T
    if not np.isfinite(points).all():
        raise data.fail(f"part {number}: point {int(np.argmin(np.isfinite(points).all(1)))} is not finite")
    elements, types, sizes, corners = [], [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    word = ""
    while not data.ended:
        word = data.text()
        kind = word.lower().split(" ")[0]
        ghost, kind = kind.startswith("g_"), kind.removeprefix("g_")
        if kind not in ELEMENTS:
            break
        m = data.whole(kind, most)
        if element_ids:
            data.numbers(m, "i4", "element ids")
        width, vtk = ELEMENTS[kind]
        if ghost:
            notes.append(f"part {number}: {m} ghost elements are taken as others")
        if kind == "nfaced":
            faces = data.numbers(m, "i4", "nfaced")
            per = data.numbers(int(faces.sum()), "i4", "nfaced") if (faces >= 0).all() else np.array([-1])
            if (per < 0).any():
                raise data.fail("nfaced: negative counts")
            data.numbers(int(per.sum()), "i4", "nfaced")
            widths = np.zeros(m, np.int64)  # left out, but counted among the elements
        elif kind == "nsided":
            widths = data.numbers(m, "i4", "nsided").astype(np.int64)
            if (widths < 0).any():
                raise data.fail("nsided: negative counts")
        else:
            widths = np.full(m, width)
        total = int(widths.sum())
        corners.append(data.numbers(total, "i4", kind).astype(np.int64) - 1)
        types.append(np.full(m, vtk))
        sizes.append(widths)
        elements.append((word.lower().split(" ")[0], m))
        word = ""
    offsets = np.concatenate([[0], np.cumsum(np.concatenate(sizes))]).astype(np.int64)
    place = nodes(points, np.concatenate(types), offsets, np.concatenate(corners), f"{data.name}: part {number}", notes)
    return Part(number, title, place, count, elements), word


def _block(
    data: _Data, number: int, title: str, words: list[str], node_ids: bool, element_ids: bool, most: int,
    notes: list[str],
) -> tuple[Part, str]:  # fmt: skip
    n = tuple(data.whole("block", most) for _ in range(3))
    count, cells = math.prod(n), math.prod(max(k - 1, 1) for k in n)
    if min(n) < 1 or count > 8 * most:
        raise data.fail(f"block: {' x '.join(map(str, n))} points")
    where = f"{data.name}: part {number}"
    if "uniform" in words:
        values = data.numbers(6, "f4", "block").astype(np.float64)
        axes = [values[k] + values[3 + k] * np.arange(n[k]) for k in range(3)]
        place: Lattice | Nodes = Lattice((axes[0], axes[1], axes[2]))
    elif "rectilinear" in words:
        lines = [data.numbers(k, "f4", "block").astype(np.float64) for k in n]
        place = Lattice((lines[0], lines[1], lines[2]))
    else:
        points = data.numbers(3 * count, "f4", "block").astype(np.float64).reshape(3, count).T
        if not np.isfinite(points).all():
            raise data.fail(f"part {number}: points that are not finite")
        place = structured(points, n, where)  # type: ignore[arg-type]
    if isinstance(place, Lattice) and not all(
        np.isfinite(a).all() and (np.all(np.diff(a) > 0) or np.all(np.diff(a) < 0)) for a in place.axes
    ):
        raise data.fail(f"part {number}: expected finite coordinates that increase")
    if "iblanked" in words:
        blank = data.numbers(count, "i4", "iblanked")
        if (blank == 0).any():
            notes.append(f"part {number}: {int((blank == 0).sum())} blanked nodes are taken as others")
    if "with_ghost" in words:
        data.text()
        data.numbers(cells, "i4", "ghost flags")
    word = "" if data.ended else data.text()
    for given, key, size in ((node_ids, "node_ids", count), (element_ids, "element_ids", cells)):
        if given and word.lower().startswith(key):
            data.numbers(size, "i4", key)
            word = "" if data.ended else data.text()
    return Part(number, title, place, count, [("block", cells)]), word


def variable(content: bytes, name: str, kind: str, on: str, parts: list[Part]) -> dict[int, np.ndarray]:
    """Part -> (N,) or (N, k) values of a variable, NaN where undefined.

    Raises:
        FileFormatError: damaged, or of other counts than the geometry.
    """
    data = _Data(content, name, False)
    data.order = _order(content, parts) if data.binary else "<"
    data.text()
    by, found, width = {p.number: p for p in parts}, {}, WIDTHS[kind]
    word = "" if data.ended else data.text()
    while word:
        if word.lower() != "part":
            raise data.fail(f"expected 'part', got {word[:40]!r}")
        number = data.whole("part", 2**31 - 1)
        if number not in by:
            raise data.fail(f"part {number} is not in the geometry ({', '.join(map(str, by))})")
        part, pieces, word = by[number], {}, ""
        while not data.ended:
            word = data.text()
            key = word.lower().split(" ")[0]
            if key == "part":
                break
            sizes = dict(part.elements) if on == "element" else {"coordinates": part.count, "block": part.count}
            if key not in sizes:
                raise data.fail(f"part {number} has no {key!r:.40} elements")
            if "partial" in word.lower():
                raise data.fail("values of a part of the nodes or elements alone ('partial') are not read")
            undefined = float(data.numbers(1, "f4", "undef")[0]) if "undef" in word.lower() else None
            values = data.numbers(width * sizes[key], "f4", word).astype(np.float64).reshape(width, -1).T
            if undefined is not None:
                values = np.where(values == undefined, np.nan, values)
            pieces[key] = values
            word = ""
        if on == "element":
            missing = [k for k, m in part.elements if k not in pieces and m]
            if missing:
                raise data.fail(f"part {number}: no values of {', '.join(missing)}")
            arrays = [pieces[k] for k, m in part.elements if m]
            whole = np.concatenate(arrays) if arrays else np.zeros((0, width))
        else:
            whole = next(iter(pieces.values())) if pieces else np.zeros((0, width))
            if len(whole) != part.count:
                raise data.fail(f"part {number}: {len(whole)} values, expected {part.count}")
        found[number] = whole[:, 0] if width == 1 else whole
    return found


def _order(content: bytes, parts: list[Part]) -> str:
    """The order of bytes, from the number of the first part."""
    known = {p.number for p in parts}
    word = content[160:164]
    return "<" if int.from_bytes(word, "little") in known else ">" if int.from_bytes(word, "big") in known else "<"


def snapshot(part: Part, point: dict[str, np.ndarray], cell: dict[str, np.ndarray], notes: list[str]) -> Snapshot:
    """A part with its values."""
    return Snapshot(part.place, point, cell, notes=notes)
