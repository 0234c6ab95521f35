"""MATLAB's files of version 5 and of version 4, read here: what SciPy's reader does with damaged ones is to crash.

    version 5    head of 128 bytes, then elements: a tag (type, bytes) and data, filled up to 8 bytes; miCOMPRESSED
                 holds another element by zlib; miMATRIX holds flags, dimensions, name, real part, imaginary part
    version 4    for each matrix five integers (type, rows, columns, imaginary, length of the name), name, data

Source: The MathWorks, "MAT-File Format".
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import numpy as np

from sciml.errors import FileFormatError

MOST_BYTES = 8 << 30
DEEPEST = 4  # structs in structs
TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8", 16: "u1"}
MATRIX, COMPRESSED = 14, 15
#: class -> type of values, in the order of MATLAB's numbers
CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
OTHERS = {1: "cell", 2: "struct", 3: "object", 4: "char", 5: "sparse", 16: "function", 17: "object", 18: "object"}
STRUCT, COMPLEX, LOGICAL = 2, 0x08, 0x02
OLD = ("f8", "f4", "i4", "i2", "u2", "u1")


def read(path: Path, content: bytes) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Arrays by name, and why others were left out.

    Raises:
        FileFormatError: no such file, or a damaged one.
    """
    mark = content[126:128]
    if mark in (b"IM", b"MI") and len(content) >= 128:
        reader = _Reader(path, "<" if mark == b"IM" else ">")
        for kind, data in reader.elements(memoryview(content)[128:]):
            if kind == MATRIX:
                reader.matrix(data, "", 0)
        return reader.found, reader.left
    return _old(path, content)


class _Reader:
    def __init__(self, path: Path, order: str):
        self.path, self.order = path, order
        self.found: dict[str, np.ndarray] = {}
        self.left: dict[str, str] = {}

    def fail(self, text: str = "an element is cut off") -> NoReturn:
        raise FileFormatError(f"{self.path}: damaged MATLAB file: {text}")

    def elements(self, data: memoryview) -> Iterator[tuple[int, memoryview]]:
        """Types and contents, one after another."""
        at = 0
        while at + 8 <= len(data):
            kind, start, end = self._tag(data, at)
            if end > len(data):
                self.fail()
            body = data[start:end]
            at = max(at + 8, end if kind == COMPRESSED else end + -end % 8 if start - at == 8 else at + 8)
            if kind == COMPRESSED:
                yield from self.elements(memoryview(self._unpacked(body)))
            else:
                yield kind, body

    def _tag(self, data: memoryview, at: int) -> tuple[int, int, int]:
        """Type, and where the content begins and ends."""
        first, size = (int(v) for v in np.frombuffer(data[at : at + 8], f"{self.order}u4"))
        if first >> 16:  # small elements stand within their tag
            if first >> 16 > 4:
                self.fail("a small element of more than 4 bytes")
            return first & 0xFFFF, at + 4, at + 4 + (first >> 16)
        return first, at + 8, at + 8 + size

    def _unpacked(self, body: memoryview) -> bytes:
        engine = zlib.decompressobj()
        try:
            found = engine.decompress(body, MOST_BYTES)
        except zlib.error as error:
            self.fail(f"a compressed element ({error})")
        if engine.unconsumed_tail:
            self.fail(f"a compressed element of more than {MOST_BYTES} bytes")
        if not engine.eof:
            self.fail("a compressed element is cut off")
        return found

    def matrix(self, data: memoryview, name: str, depth: int) -> None:
        """Enter an array, or the fields of a struct."""
        parts = self.elements(data)
        flags = self._next(parts, "u4")
        shape = tuple(int(n) for n in self._next(parts, "i4"))
        own = bytes(self._next(parts, "u1")).rstrip(b"\0").decode("latin-1")
        name = name or own
        if len(flags) < 1 or len(shape) < 2 or min(shape) < 0 or len(shape) > 32:
            self.fail(f"variable {name[:60]!r}: flags or dimensions")
        kind, bits = int(flags[0]) & 0xFF, int(flags[0]) >> 8
        if kind == STRUCT and math.prod(shape) == 1 and depth < DEEPEST:
            self._struct(parts, name, depth)
        elif kind not in CLASSES:
            self.left[name] = "an array of structs" if kind == STRUCT else OTHERS.get(kind, "of an unknown class")
        elif not math.prod(shape):
            self.left[name] = "empty"
        else:
            dtype = np.dtype("?") if bits & LOGICAL else np.dtype(CLASSES[kind])
            values = self._values(parts, name, shape, dtype)
            if bits & COMPLEX:
                values = values + 1j * self._values(parts, name, shape, dtype)
            self.found[name] = values

    def _struct(self, parts: Iterator[tuple[int, memoryview]], name: str, depth: int) -> None:
        length = self._next(parts, "i4")
        names = bytes(self._next(parts, "u1"))
        if len(length) != 1 or not 0 < length[0] <= 4096 or len(names) % int(length[0]):
            self.fail(f"variable {name[:60]!r}: names of fields")
        width = int(length[0])
        for k in range(0, len(names), width):
            label = names[k : k + width].split(b"\0")[0].decode("latin-1")
            kind, body = next(parts, (0, memoryview(b"")))
            if kind != MATRIX:
                self.fail(f"variable {name[:60]!r}: field {label[:60]!r}")
            if len(body):
                self.matrix(body, f"{name}.{label}", depth + 1)
            else:
                self.left[f"{name}.{label}"] = "empty"

    def _next(self, parts: Iterator[tuple[int, memoryview]], code: str) -> np.ndarray:
        kind, body = next(parts, (0, memoryview(b"")))
        if kind not in TYPES or len(body) % np.dtype(code).itemsize:
            self.fail("a variable without flags, dimensions or name")
        return np.frombuffer(body, self.order + code)

    def _values(
        self, parts: Iterator[tuple[int, memoryview]], name: str, shape: tuple[int, ...], dtype: np.dtype
    ) -> np.ndarray:
        """Of the type of their class, though they may be stored in a smaller one; columns first."""
        kind, body = next(parts, (0, memoryview(b"")))
        stored = np.dtype(self.order + TYPES[kind]) if kind in TYPES else None
        if stored is None or len(body) != math.prod(shape) * stored.itemsize:
            self.fail(f"variable {name[:60]!r}: shape {shape}, but {len(body)} bytes of values")
        return np.frombuffer(body, stored).astype(dtype).reshape(shape, order="F")


def _old(path: Path, content: bytes) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Version 4."""
    found: dict[str, np.ndarray] = {}
    left: dict[str, str] = {}
    at = 0
    while at < len(content):
        head = content[at : at + 20]
        order = next((o for o in "<>" if len(head) == 20 and 0 <= np.frombuffer(head, f"{o}i4")[0] < 5000), "")
        if not order:
            raise FileFormatError(f"{path}: damaged or no MATLAB file")
        kind, rows, columns, imaginary, length = (int(v) for v in np.frombuffer(head, f"{order}i4"))
        code, what = kind // 10 % 10, kind % 10
        good = code < len(OLD) and what < 3 and imaginary in (0, 1) and rows >= 0 and columns >= 0 and 0 < length < 4096
        if not good or kind // 1000 != (0 if order == "<" else 1):
            raise FileFormatError(f"{path}: damaged or no MATLAB file")
        dtype = np.dtype(order + OLD[code])
        start, size = at + 20 + length, rows * columns * dtype.itemsize
        name = content[at + 20 : start].rstrip(b"\0").decode("latin-1")
        at = start + size * (1 + imaginary)
        if at > len(content):
            raise FileFormatError(f"{path}: damaged MATLAB file: variable {name[:60]!r} is cut off")
        if what or not rows * columns:
            left[name] = ("empty", "char", "sparse")[what]
            continue
        parts = [np.frombuffer(content, dtype, rows * columns, start + size * k) for k in range(1 + imaginary)]
        values = [p.astype(dtype.newbyteorder("=")).reshape((rows, columns), order="F") for p in parts]
        found[name] = values[0] if len(values) == 1 else values[0] + 1j * values[1]
    return found, left
