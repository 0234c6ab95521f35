"""The checksum of a case: SHA-256 over everything that the file says about it.

    digest(case) = SHA-256( for each variable, by name:  name, "|", type, "|", shape, "|", SHA-256(values), "\\n" )

over every variable whose first dimension is divided by case, except `sha256` and `frame_case`; `values` are the
case's own part in C order, little-endian (text: UTF-8, each followed by a zero byte); type is NumPy's code ("<f4") or
"text".
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from sciml.data import schema

BLOCK = 32 << 20
_SKIPPED = ("sha256", "frame_case")


def ranges(dataset: Any) -> dict[str, np.ndarray]:
    """For each ragged dimension the (C + 1,) bounds of every case along it."""
    cases = dataset.sizes["case"]
    rows = np.asarray(dataset["row_size"].values, dtype=np.int64)
    found = {"case": np.arange(cases + 1), "frame": schema.starts(rows)}
    if "node_row_size" in dataset.variables:
        found["obs"] = schema.starts(schema.node_counts(dataset))[found["frame"]]
        if dataset["node_row_size"].dims == ("case",):
            found["node"] = schema.starts(dataset["node_row_size"].values)
    for suffix in ("", *(f"_{kind}" for kind in schema.KINDS)):
        if f"cell_row_size{suffix}" in dataset.variables:
            found[f"cell{suffix}"] = schema.starts(dataset[f"cell_row_size{suffix}"].values)
    for name in schema.input_names(dataset):
        if schema.is_flat(dataset, name):
            found[f"{name}_obs"] = schema.starts(dataset[f"input_{name}_row_size"].values)
    return found


def little_endian(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))


def text_bytes(values: np.ndarray) -> list[bytes]:
    return [str(v).encode("utf-8") for v in values.reshape(-1)]


class Digests:
    """Collects the digests of all cases while a data set is written or read, variable by variable."""

    def __init__(self, dataset: Any) -> None:
        self.bounds = ranges(dataset)
        self.cases = dataset.sizes["case"]
        self.lines: dict[str, list[bytes]] = {}

    def covers(self, name: str, dims: tuple[str, ...]) -> bool:
        return name not in _SKIPPED and bool(dims) and dims[0] in self.bounds

    def stream(self, name: str, variable: Any, sink: Callable[[int, np.ndarray], None] | None = None) -> None:
        """Read a variable once, in blocks along its first axis; enter its digests; hand each block to `sink`."""
        if variable.dtype.kind in "OUT":
            sums = [hashlib.sha256(t + b"\0") for t in text_bytes(np.asarray(variable.values))]
            self.lines[name] = [self._line(name, "text", (1,), h) for h in sums]
            return
        bounds = self.bounds[variable.dims[0]]
        sums = [hashlib.sha256() for _ in range(self.cases)]
        for start, block in blocks(variable):
            if sink is not None:
                sink(start, block)
            stop = start + len(block)
            first = int(np.searchsorted(bounds, start, side="right")) - 1
            for i in range(max(first, 0), self.cases):
                if bounds[i] >= stop:
                    break
                low, high = max(bounds[i], start), min(bounds[i + 1], stop)
                if high > low:
                    sums[i].update(block[low - start : high - start].reshape(-1).view(np.uint8).data)
        code = np.dtype(variable.dtype).newbyteorder("<").str
        shapes = ((int(n), *variable.shape[1:]) for n in np.diff(bounds))
        self.lines[name] = [self._line(name, code, s, h) for s, h in zip(shapes, sums, strict=True)]

    @staticmethod
    def _line(name: str, code: str, shape: tuple[int, ...], digest: Any) -> bytes:
        return f"{name}|{code}|{'x'.join(map(str, shape))}|{digest.hexdigest()}\n".encode()

    def result(self) -> np.ndarray:
        """(C, 32) uint8."""
        names = sorted(self.lines)
        found = [hashlib.sha256(b"".join(self.lines[n][i] for n in names)).digest() for i in range(self.cases)]
        return np.frombuffer(b"".join(found), np.uint8).reshape(self.cases, 32)


def blocks(variable: Any) -> Iterator[tuple[int, np.ndarray]]:
    """A variable in little-endian blocks of at most BLOCK bytes along its first axis: (start, block)."""
    count = variable.shape[0]
    row = max(int(np.prod(variable.shape[1:], dtype=np.int64)) * variable.dtype.itemsize, 1)
    step = max(BLOCK // row, 1)
    data = variable.data
    for start in range(0, count, step):
        part = data[start : start + step]
        part = part.compute(scheduler="synchronous") if hasattr(part, "compute") else np.asarray(part)
        yield start, little_endian(part)
