"""Files of OpenFOAM: headers, dictionaries, and lists of numbers in text or as their bytes."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from sciml.errors import FileFormatError

HEADER = "FoamFile {{ version 2.0; format {format}; class {cls}; object {name}; }}\n"
COMPONENTS = {"scalar": 1, "vector": 3}


def put(folder: Path, name: str, cls: str, text: str) -> None:
    """Write a file of a case.

    Args:
        name: with its folder, as "system/controlDict".
        cls: as "dictionary" or "volVectorField".
        text: what follows the header.
    """
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(HEADER.format(format="ascii", cls=cls, name=path.name) + text)


def entry(values: np.ndarray) -> str:
    """Numbers (n,) or (n, 3) as an entry of a dictionary: one for all where they are equal, else a list."""
    values = np.asarray(values, dtype=np.float64)
    first = values[0] if len(values) else np.zeros(values.shape[1:])
    if np.all(values == first):
        return f"uniform {_one(first)}"
    kind = "vector" if values.ndim == 2 else "scalar"
    return f"nonuniform List<{kind}> {rows(values)}"


def rows(values: np.ndarray) -> str:
    """Numbers (n,) or (n, k) as a list."""
    return f"{len(values)}\n(\n" + "\n".join(map(_one, values.tolist())) + "\n)\n"


def _one(value: object) -> str:
    if isinstance(value, list | np.ndarray):
        return "(" + " ".join(map(repr, np.asarray(value).tolist())) + ")"
    return repr(float(value))  # type: ignore[arg-type]


def internal(path: Path, cells: int) -> np.ndarray:
    """(cells,) or (cells, 3) values of a field that OpenFOAM has written, in float64.

    Raises:
        FileFormatError: no such field, or not of so many cells.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise FileFormatError(f"{path}: cannot be read ({error.strerror})") from None
    start = content.find(b"internalField")
    if start < 0:
        raise FileFormatError(f"{path}: expected an internalField, found none")
    return values_at(content, start + len(b"internalField"), cells, str(path))


def values_at(content: bytes, start: int, count: int, name: str) -> np.ndarray:
    """(count,) or (count, 3) of an entry "uniform ..." or "nonuniform List<...> ..." that begins at a place of a file.

    Raises:
        FileFormatError: something else, or another number of values.
    """
    same = re.compile(rb"\s*uniform\s+(\([^)]*\)|[^\s;]+)").match(content, start)
    if same is not None:
        one = np.array(same[1].strip(b"()").split(), dtype=np.float64)
        return np.repeat(one[None], count, axis=0) if same[1].startswith(b"(") else np.full(count, one[0])
    head = re.compile(rb"\s*nonuniform\s+List<(\w+)>\s*(\d+)\s*\(").match(content, start)
    kind = "" if head is None else head[1].decode()
    if head is None or kind not in COMPONENTS:
        found = content[start : start + 40].decode(errors="replace").strip()
        raise FileFormatError(f"{name}: expected values of scalars or vectors, found {found!r}")
    if int(head[2]) != count:
        raise FileFormatError(f"{name}: expected {count} values, found {int(head[2])}")
    k = COMPONENTS[kind]
    if re.search(rb"format\s+binary", content[: content.find(b"}") + 1]):
        width = re.search(rb"scalar=(\d+)", content[: content.find(b"}") + 1])
        kind_of = np.float32 if width is not None and width[1] == b"32" else np.float64
        if len(content) < head.end() + k * count * np.dtype(kind_of).itemsize:
            raise FileFormatError(f"{name}: ends within its values")
        values = np.frombuffer(content, kind_of, k * count, head.end()).astype(np.float64)
    else:
        text = re.compile(rb"[\s()]*;").search(content, head.end())
        text = content[head.end() : None if text is None else text.start()]
        values = np.array(text.replace(b"(", b" ").replace(b")", b" ").split()[: k * count], dtype=np.float64)
        if len(values) < k * count:
            raise FileFormatError(f"{name}: ends within its values")
    return values.reshape(count, k) if k > 1 else values


def instants(folder: Path) -> list[tuple[float, Path]]:
    """The times of which a case holds fields, in order, and their folders."""
    found = []
    for path in folder.iterdir():
        try:
            time = float(path.name)
        except ValueError:
            continue
        if path.is_dir():
            found.append((time, path))
    return sorted(found)
