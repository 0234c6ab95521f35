"""NetCDF-3: the classic format, with 64-bit offsets (CDF-2) and 64-bit data (CDF-5).

    header = magic numrecs dim_list gatt_list var_list; then values, big-endian: fixed variables, then records

Source: Unidata, "The NetCDF Classic Format Specification"; CDF-5: Parallel NetCDF.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from sciml.data.importers._labelled import MOST_VARIABLES, Labelled, Variable
from sciml.errors import FileFormatError

MOST_HEADER = 1 << 26
TYPES = {1: ">i1", 2: "S1", 3: ">i2", 4: ">i4", 5: ">f4", 6: ">f8", 7: ">u1", 8: ">u2", 9: ">u4", 10: ">i8", 11: ">u8"}
DIMENSION, VARIABLE, ATTRIBUTE = 10, 11, 12


def labelled(path: Path) -> Labelled:
    """A file.

    Raises:
        FileFormatError: it is damaged or cut off.
    """
    return _Header(path).labelled()


class _Header:
    def __init__(self, path: Path):
        self.path, self.size = path, path.stat().st_size
        with path.open("rb") as file:
            self.content = file.read(MOST_HEADER)
        self.version, self.at = self.content[3] if len(self.content) > 3 else 0, 4
        if self.version not in (1, 2, 5):
            self.fail("expected NetCDF-3")

    def fail(self, text: str) -> NoReturn:
        raise FileFormatError(f"{self.path}: {text}")

    def take(self, count: int) -> bytes:
        if count < 0 or self.at + count > len(self.content):
            self.fail("the header is damaged or cut off")
        found = self.content[self.at : self.at + count]
        self.at += count
        return found

    def number(self, width: int = 0) -> int:
        return int.from_bytes(self.take(width or (8 if self.version == 5 else 4)), "big")

    def name(self) -> str:
        count = self.number()
        found = self.take(count)
        self.take(-count % 4)
        return found.decode("utf-8", "replace")

    def many(self, tag: int, one: Callable[[], Any]) -> list[Any]:
        got, count = self.number(4), self.number()
        if got not in (0, tag) or (not got and count) or count > MOST_VARIABLES:
            self.fail("the header is damaged: a list is not where it should be")
        return [one() for _ in range(count)]

    def attribute(self) -> tuple[str, Any]:
        name, code, count = self.name(), self.number(4), self.number()
        if code not in TYPES:
            self.fail(f"attribute {name[:60]!r} is of the unknown type {code}")
        dtype = np.dtype(TYPES[code])
        raw = self.take(count * dtype.itemsize)
        self.take(-len(raw) % 4)
        if code == 2:
            try:
                return name, raw.rstrip(b"\0").decode("utf-8")
            except UnicodeDecodeError:
                return name, raw.rstrip(b"\0").decode("latin-1")
        values = np.frombuffer(raw, dtype).tolist()
        return name, values[0] if count == 1 else values

    def variable(self) -> dict[str, Any]:
        name, dims = self.name(), [self.number() for _ in range(self._few(self.number()))]
        attrs, code = dict(self.many(ATTRIBUTE, self.attribute)), self.number(4)
        self.number()  # the size, which is too short a number where variables are large
        begin = self.number(4 if self.version == 1 else 8)
        if code not in TYPES:
            self.fail(f"variable {name[:60]!r} is of the unknown type {code}")
        return {"name": name, "dims": dims, "attrs": attrs, "dtype": np.dtype(TYPES[code]), "begin": begin}

    def _few(self, count: int) -> int:
        if count > 32:
            self.fail("the header is damaged: a variable of more than 32 dimensions")
        return count

    def labelled(self) -> Labelled:
        records = self.number()
        streaming = records == (1 << (64 if self.version == 5 else 32)) - 1
        dims = self.many(DIMENSION, lambda: (self.name(), self.number()))
        attrs = dict(self.many(ATTRIBUTE, self.attribute))
        variables = self.many(VARIABLE, self.variable)
        for v in variables:
            if any(d >= len(dims) for d in v["dims"]):
                self.fail(f"variable {v['name'][:60]!r} has a dimension that is not there")
            v["record"] = bool(v["dims"]) and not dims[v["dims"][0]][1]
            inner = [dims[d][1] for d in v["dims"]][1 if v["record"] else 0 :]
            if v["record"] and 0 in inner:
                self.fail(f"variable {v['name'][:60]!r} has two dimensions without end")
            v["inner"], v["bytes"] = tuple(inner), math.prod(inner) * v["dtype"].itemsize
        recorded = [v for v in variables if v["record"]]
        step = sum(v["bytes"] + (-v["bytes"] % 4 if len(recorded) > 1 else 0) for v in recorded)
        if streaming and step:
            records = max(0, self.size - min(v["begin"] for v in recorded)) // step
        found = {v["name"]: self._made(v, dims, records, step) for v in variables}
        return Labelled(str(self.path), "NetCDF-3", found, attrs)

    def _made(self, v: dict[str, Any], dims: list[Any], records: int, step: int) -> Variable:
        shape = ((records,) if v["record"] else ()) + v["inner"]
        last = v["begin"] + (v["bytes"] if not v["record"] else (records - 1) * step + v["bytes"] if records else 0)
        where = f"{self.path}: variable {v['name']!r}"
        if last > self.size:
            raise FileFormatError(f"{where}: values end at byte {last}, but the file has {self.size}: it is cut off")
        strides = [v["dtype"].itemsize]
        for n in reversed(v["inner"][1:]):
            strides.insert(0, strides[0] * n)
        strides = ([step] if v["record"] else []) + strides[: len(v["inner"])]

        def fetch(key: tuple[int | slice, ...]) -> np.ndarray:
            if 0 in shape:
                return np.zeros(shape, v["dtype"])[key]
            try:
                raw = np.memmap(self.path, np.uint8, "r")
            except (OSError, ValueError) as error:
                raise FileFormatError(f"{where}: cannot be read: {error}") from None
            whole = np.ndarray(shape, v["dtype"], raw, v["begin"], strides)  # looks into the file, copies nothing
            return np.array(whole[key])

        names = tuple(dims[d][0] for d in v["dims"])
        if len(set(names)) < len(names):
            names = tuple(f"{d}_{k}" if names.count(d) > 1 else d for k, d in enumerate(names))
        return Variable(v["name"], names, shape, v["dtype"], v["attrs"], fetch, label=str(self.path))
