"""Files of OpenFOAM as plain arrays: polyMesh, fields of a time, in text or as bytes.

Values live in cells. Of a cell with faces f, outward areas S_f and centroids c_f,

    V = Σ V_f,  V_f = S_f·(c_f − c̄) / 3,      centre = Σ V_f (¾ c_f + ¼ c̄) / V,      c̄ = mean of c_f

Source: OpenFOAM User Guide, "Mesh description", "Basic input/output file format".
"""

from __future__ import annotations

import gzip
import io
import re
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from sciml.errors import FileFormatError

WIDTHS = {"scalar": 1, "vector": 3, "symmTensor": 6, "tensor": 9, "sphericalTensor": 1}
FIELDS = {"volScalarField": 1, "volVectorField": 3, "volSymmTensorField": 6, "volTensorField": 9}
BASE = ("kg", "m", "s", "K", "mol", "A", "cd")
MOST = 1 << 31  # bytes of an unpacked file
NUMBER = rb"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_COMMENT = re.compile(rb"/\*.*?\*/|//[^\n]*", re.S)


@dataclass(frozen=True)
class Head:
    """What the FoamFile entry of a file says, and where what follows begins."""

    cls: str
    binary: bool
    label: np.dtype
    scalar: np.dtype
    at: int


def unpacked(content: bytes, name: str) -> bytes:
    """The content of a file that may be compressed by gzip.

    Raises:
        FileFormatError: damaged, or too large.
    """
    if not content.startswith(b"\x1f\x8b"):
        return content
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
            found = file.read(MOST + 1)
    except (OSError, EOFError) as error:
        raise FileFormatError(f"{name}: damaged gzip ({error})") from None
    if len(found) > MOST:
        raise FileFormatError(f"{name}: unpacks to more than {MOST} bytes")
    return found


def head(content: bytes, name: str) -> Head:
    """The FoamFile entry.

    Raises:
        FileFormatError: there is none.
    """
    if not content.strip():
        raise FileFormatError(f"{name}: the file is empty")
    start = content.find(b"FoamFile")
    end = content.find(b"}", start)
    if start < 0 or end < 0:
        raise FileFormatError(f"{name}: expected a FoamFile entry, as OpenFOAM writes it, got none")
    entry = content[start:end]

    def word(key: bytes) -> str:
        found = re.search(rb"\b" + key + rb"\s+\"?([^\";]+)\"?", entry)
        return "" if found is None else found[1].decode("latin-1").strip()

    arch = re.search(rb'arch\s+"([^"]*)"', entry)
    told = "" if arch is None else arch[1].decode("latin-1")
    order = ">" if "MSB" in told else "<"
    label = np.dtype(order + ("i8" if "label=64" in told else "i4"))
    scalar = np.dtype(order + ("f4" if "scalar=32" in told else "f8"))
    return Head(word(b"class"), word(b"format") == "binary", label, scalar, end + 1)


def _fail(content: bytes, at: int, name: str, text: str) -> FileFormatError:
    line = content.count(b"\n", 0, at) + 1
    return FileFormatError(f"{name}: line {line}: {text}")


def _counted(content: bytes, at: int, name: str) -> tuple[int, bytes, int]:
    """(count, "(" or "{", where what is in it begins) of a list."""
    found = re.compile(rb"(?:\s|//[^\n]*\n|/\*.*?\*/)*(-?\d+)\s*([({])", re.S).match(content, at)
    if found is None:
        got = content[at : at + 40].decode("latin-1").strip()
        raise _fail(content, at, name, f"expected a list as 'count ( ... )', got {got!r}")
    count = int(found[1])
    if count < 0:
        raise _fail(content, at, name, f"a list of {count} entries")
    return count, found[2], found.end()


def values(content: bytes, at: int, name: str, width: int, dtype: np.dtype, binary: bool) -> tuple[np.ndarray, int]:
    """(n, width) numbers of a list, and where it ends."""
    empty = re.compile(rb"(?:\s|//[^\n]*\n|/\*.*?\*/)*0\s*(?:\(\s*\)|;|\s*$)?", re.S).match(content, at)
    if empty is not None and empty[0].strip().rstrip(b"();").strip() == b"0":
        return np.zeros((0, width)), empty.end()
    count, bracket, start = _counted(content, at, name)
    left = len(content) - start
    if bracket == b"{":  # one for all
        stop = content.find(b"}", start)
        one = _numbers(content, start, content[start : max(stop, start)], name)
        if stop < 0 or len(one) != width or count > 1 << 31:
            raise _fail(content, start, name, f"expected {width} numbers for all of {count}")
        return np.broadcast_to(one, (count, width)), stop + 1
    if binary:
        size = count * width * dtype.itemsize
        if size > left:
            raise FileFormatError(
                f"{name}: byte {start}: {count} x {width} numbers of {dtype.itemsize} bytes are told, but {left} bytes "
                "are left of the file"
            )
        found = np.frombuffer(content, dtype, count * width, start).reshape(count, width)
        return found.astype(dtype.newbyteorder("=")), start + size + 1
    if 2 * count * width > left + 1:
        raise _fail(content, start, name, f"{count} x {width} numbers are told, but {left} characters are left")
    stop = _closing(content, start, width)
    if stop < 0:
        raise _fail(content, len(content), name, "ends within a list")
    found = _numbers(content, start, content[start:stop], name)
    if len(found) != count * width:
        raise _fail(content, start, name, f"{count} x {width} numbers are told, but the list has {len(found)}")
    return found.reshape(count, width), stop + 1


def _labels(found: np.ndarray, name: str) -> np.ndarray:
    """Whole numbers, flat."""
    if not (np.abs(found) < 2**62).all() or not np.array_equal(found, np.round(found)):
        raise FileFormatError(f"{name}: expected whole numbers")
    return found.ravel().astype(np.int64)


def _closing(content: bytes, start: int, width: int) -> int:
    """Where the bracket of a list of numbers, or of brackets of numbers, closes."""
    if width == 1:
        return content.find(b")", start)
    found = re.compile(rb"\)\s*\)").search(content, start)
    return -1 if found is None else found.end() - 1


def _numbers(content: bytes, start: int, part: bytes, name: str) -> np.ndarray:
    if b"/" in part:
        part = _COMMENT.sub(lambda m: b" " + b"\n" * m[0].count(b"\n"), part)
    words = part.replace(b"(", b" ").replace(b")", b" ").split()
    try:
        return np.array(words, dtype=np.float64) if words else np.zeros(0)
    except ValueError:
        for word in words:
            try:
                float(word)
            except ValueError:
                at = content.find(word, start)
                raise _fail(content, at, name, f"expected numbers, got {word.decode('latin-1')!r:.40}") from None
        raise


@dataclass(frozen=True)
class Mesh:
    """Cells of a polyMesh.

    Args:
        points: of the mesh.
        centres, volumes: of the cells.
        patches: name -> type, of its sides.
    """

    points: Float[np.ndarray, "point 3"]
    centres: Float[np.ndarray, "cell 3"]
    volumes: Float[np.ndarray, " cell"]
    patches: dict[str, str]


def mesh(files: dict[str, bytes], name: str) -> Mesh:
    """From the contents of points, faces, owner, neighbour and boundary.

    Args:
        name: of the folder, for errors.

    Raises:
        FileFormatError: damaged, or faces that refer to points or cells that do not exist.
    """
    of = {key: f"{name}/{key}" for key in files}
    contents = {key: unpacked(content, of[key]) for key, content in files.items()}
    heads = {key: head(content, of[key]) for key, content in contents.items()}
    h = heads["points"]
    points, _ = values(contents["points"], h.at, of["points"], 3, h.scalar, h.binary)
    points = np.asarray(points, dtype=np.float64)
    if not len(points) or not np.isfinite(points).all():
        raise FileFormatError(f"{of['points']}: expected finite points, got {len(points)} with others among them")
    offsets, corners = _faces(contents["faces"], heads["faces"], of["faces"])
    wrong = (corners < 0) | (corners >= len(points))
    if wrong.any():
        k = int(np.argmax(wrong))
        face = int(np.searchsorted(offsets, k, side="right")) - 1
        raise FileFormatError(
            f"{of['faces']}: face {face} refers to point {int(corners[k])}, but points are 0 to {len(points) - 1}"
        )
    labels = {}
    for key in ("owner", "neighbour"):
        h = heads[key]
        labels[key] = _labels(values(contents[key], h.at, of[key], 1, h.label, h.binary)[0], of[key])
    owner, neighbour, count = labels["owner"], labels["neighbour"], len(offsets) - 1
    if len(owner) != count or len(neighbour) > count:
        raise FileFormatError(f"{of['owner']}: {len(owner)} owners and {len(neighbour)} neighbours of {count} faces")
    if not count or owner.min() < 0 or neighbour[neighbour != -1].min(initial=0) < 0:
        raise FileFormatError(f"{of['owner']}: cells with negative numbers")
    cells = int(max(owner.max(), neighbour.max(initial=-1))) + 1
    if cells > count:
        raise FileFormatError(f"{of['owner']}: cell {cells - 1} among {count} faces")
    with np.errstate(over="ignore", invalid="ignore"):  # of absurd coordinates: cells without a volume then
        centres, volumes = _cells(points, offsets, corners, owner, neighbour, cells)
    flat = np.flatnonzero(~(volumes > 0))
    if len(flat):
        raise FileFormatError(f"{name}: cell {int(flat[0])} has no positive volume ({len(flat)} such cells)")
    return Mesh(points, centres, volumes, patches(contents.get("boundary", b"")))


def _faces(content: bytes, h: Head, name: str) -> tuple[np.ndarray, np.ndarray]:
    if h.cls == "faceCompactList" or (h.binary and "Compact" in h.cls):
        offsets, end = values(content, h.at, name, 1, h.label, h.binary)
        corners, _ = values(content, end, name, 1, h.label, h.binary)
        ends, points = _labels(offsets, name), _labels(corners, name)
        if not len(ends) or ends[0] != 0 or (np.diff(ends) < 3).any() or ends[-1] != len(corners):
            raise FileFormatError(f"{name}: offsets of faces do not fit {len(corners)} point numbers")
        return ends, points
    if h.binary:
        raise FileFormatError(f"{name}: faces of class {h.cls!r} as bytes are not read; run foamFormatConvert to ascii")
    count, _, start = _counted(content, h.at, name)
    if count * 6 > len(content) - start:
        raise _fail(content, start, name, f"{count} faces are told, but {len(content) - start} characters are left")
    stop = _closing(content, start, 3)
    text = content[start : len(content) if stop < 0 else stop]
    found = _labels(_numbers(content, start, text, name), name)
    sizes, at, flat = np.zeros(count, np.int64), 0, found.tolist()
    kept = np.ones(len(flat), bool)
    for k in range(count):
        if at >= len(flat) or flat[at] < 3 or at + 1 + flat[at] > len(flat):
            raise FileFormatError(f"{name}: face {k} of {count} is not whole")
        sizes[k], kept[at] = flat[at], False
        at += 1 + flat[at]
    if at != len(flat):
        raise FileFormatError(f"{name}: {count} faces take {at} numbers, but the list has {len(flat)}")
    return np.concatenate([[0], np.cumsum(sizes)]), found[kept]


def _cells(
    points: np.ndarray, offsets: np.ndarray, corners: np.ndarray, owner: np.ndarray, neighbour: np.ndarray, cells: int
) -> tuple[np.ndarray, np.ndarray]:
    """Centres and volumes."""
    sizes = np.diff(offsets)
    face = np.repeat(np.arange(len(sizes)), sizes)
    p = points[corners]
    last = np.zeros(len(corners), bool)
    last[offsets[1:] - 1] = True
    after = np.arange(1, len(corners) + 1)
    after[last] = offsets[:-1]
    q = points[corners[after]]

    def summed(values: np.ndarray, index: np.ndarray, count: int) -> np.ndarray:
        return np.stack([np.bincount(index, values[:, k], count) for k in range(values.shape[1])], axis=1)

    middle = summed(p, face, len(sizes)) / sizes[:, None]
    areas = np.cross(p - middle[face], q - middle[face]) / 2
    area = summed(areas, face, len(sizes))
    unit = area / np.maximum(np.linalg.norm(area, axis=1), 1e-300)[:, None]
    share = (areas * unit[face]).sum(1)
    total = np.bincount(face, share, len(sizes))
    centroid = summed(share[:, None] * (p + q + middle[face]) / 3, face, len(sizes))
    centroid = centroid / np.where(total > 0, total, 1.0)[:, None]
    inner = neighbour >= 0
    index = np.concatenate([owner, neighbour[inner]])
    number = np.concatenate([np.arange(len(sizes)), np.flatnonzero(inner)])
    sign = np.concatenate([np.ones(len(sizes)), -np.ones(int(inner.sum()))])
    count = np.bincount(index, minlength=cells)
    about = summed(centroid[number], index, cells) / np.maximum(count, 1)[:, None]
    pyramid = sign * ((centroid[number] - about[index]) * area[number]).sum(1) / 3
    volume = np.bincount(index, pyramid, cells)
    at = summed(pyramid[:, None] * (0.75 * centroid[number] + 0.25 * about[index]), index, cells)
    return at / np.where(volume > 0, volume, 1.0)[:, None], volume


def patches(content: bytes) -> dict[str, str]:
    """Name -> type, of a boundary file; empty where there is none."""
    found = re.findall(rb"([\w.\-]+)\s*\{[^{}]*?\btype\s+(\w+)\s*;[^{}]*\}", content)
    return {n.decode("latin-1"): t.decode("latin-1") for n, t in found if n != b"FoamFile"}


def field(content: bytes, name: str, cells: int) -> tuple[np.ndarray, str] | str:
    """(cells,) or (cells, k) values and the unit of a field; a word on what it is where it lives not in cells.

    Raises:
        FileFormatError: damaged, or of another number of cells.
    """
    content = unpacked(content, name)
    h = head(content, name)
    if h.cls not in FIELDS:
        return h.cls or "a file without a class"
    width = FIELDS[h.cls]
    start = content.find(b"internalField", h.at)
    if start < 0:
        raise FileFormatError(f"{name}: expected an internalField, got none")
    at = start + len(b"internalField")
    told = re.compile(rb"\bdimensions\s*\[([^\]]*)\]").search(content, h.at)
    unit = unit_of(told[1].decode("latin-1")) if told else "1"
    same = re.compile(rb"\s*uniform\s+(\([^)]*\)|[^\s;]+)\s*;").match(content, at)
    if same is not None:
        one = _numbers(content, at, same[1], name)
        if len(one) != width:
            raise _fail(content, at, name, f"expected {width} numbers, got {len(one)}")
        found = np.broadcast_to(one, (cells, width))
    else:
        kind = re.compile(rb"\s*nonuniform\s+List<(\w+)>").match(content, at)
        word = "" if kind is None else kind[1].decode("latin-1")
        if kind is None or WIDTHS.get(word) != width:
            got = content[at : at + 40].decode("latin-1").strip()
            raise _fail(content, at, name, f"expected values of {h.cls}, got {got!r}")
        found, _ = values(content, kind.end(), name, width, h.scalar, h.binary)
        if len(found) != cells:
            raise FileFormatError(f"{name}: {len(found)} values, but the mesh has {cells} cells")
    found = np.array(found, dtype=np.float64)
    return (found[:, 0] if width == 1 else found), unit


def unit_of(text: str) -> str:
    """A unit from the exponents of kg, m, s, K, mol, A, cd."""
    try:
        exponents = [float(w) for w in text.split()]
    except ValueError:
        return "1"
    parts = []
    for base, e in zip(BASE, exponents, strict=False):
        if e:
            parts.append(base if e == 1 else f"{base}{e:g}")
    return " ".join(parts) or "1"


def constants(content: bytes) -> dict[str, float]:
    """Numbers of a dictionary such as transportProperties, with their names."""
    text = _COMMENT.sub(b" ", content)
    start = text.find(b"}", text.find(b"FoamFile")) + 1
    found = {}
    pattern = rb"(?:^|[;{}\n])\s*([A-Za-z]\w*)\s+(?:[A-Za-z]\w*\s+)?(?:\[[^\]]*\]\s*)?(" + NUMBER + rb")\s*(?=;)"
    for key, value in re.findall(pattern, text[start:]):
        found.setdefault(key.decode("latin-1"), float(value))
    return found
