"""Some cases of a packed data set, and some of their frames, as a packed data set; what is lazy stays so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sciml.data import schema
from sciml.data.digest import ranges

CHUNK_BYTES = 64 << 20
READ_BYTES = 16 << 20  # that several runs are read in at once, gaps and all
MADE_FROM = ("request",)  # attributes that say of which call a file is the whole outcome


class Rows:
    """Runs of rows of an array, one after another, read when they are asked for.

    Args:
        source: anything that is sliced along its first axis, for instance a Dask array.
        start, stop: (R,) the runs.
    """

    def __init__(self, source: Any, start: np.ndarray, stop: np.ndarray):
        self.source, self.start = source, start
        self.ends = schema.starts(stop - start)
        self.dtype, self.ndim = source.dtype, source.ndim
        self.shape = (int(self.ends[-1]), *source.shape[1:])

    def __getitem__(self, key: Any) -> np.ndarray:
        first, *rest = key if isinstance(key, tuple) else (key,)
        if not isinstance(first, slice):
            index = np.arange(self.shape[0])[first]
            one = (
                self._read(int(index), int(index) + 1)[0]
                if np.ndim(index) == 0
                else self._read(0, self.shape[0])[index]
            )
            return one[tuple(rest)] if np.ndim(index) == 0 else one[(slice(None), *rest)]
        a, b, step = first.indices(self.shape[0])
        if step != 1:
            return self._read(0, self.shape[0])[(first, *rest)]
        return self._read(a, max(a, b))[(slice(None), *rest)]

    def _read(self, a: int, b: int) -> np.ndarray:
        """Rows a to b, in as few reads as do not cost more than twice what is wanted."""
        if b <= a:
            return np.empty((0, *self.shape[1:]), self.dtype)
        low, high = (int(np.searchsorted(self.ends, k, side="right")) - 1 for k in (a, b - 1))
        runs = np.arange(low, high + 1)
        start = self.start[runs] + np.maximum(a - self.ends[runs], 0)
        stop = self.start[runs] + np.minimum(b - self.ends[runs], self.ends[runs + 1] - self.ends[runs])
        row = max(int(np.prod(self.shape[1:], dtype=np.int64)) * self.dtype.itemsize, 1)
        found, at, i = np.empty((b - a, *self.shape[1:]), self.dtype), 0, 0
        while i < len(runs):
            j, wanted = i + 1, int(stop[i] - start[i])
            while j < len(runs) and start[j] >= stop[j - 1]:
                more = wanted + int(stop[j] - start[j])
                if stop[j] - start[i] > min(2 * more, max(READ_BYTES // row, 1)):
                    break
                j, wanted = j + 1, more
            block = _computed(self.source[int(start[i]) : int(stop[j - 1])])
            for k in range(i, j):
                count = int(stop[k] - start[k])
                found[at : at + count] = block[int(start[k] - start[i]) : int(stop[k] - start[i])]
                at += count
            i = j
        return found


def _computed(values: Any) -> np.ndarray:
    return values.compute(scheduler="synchronous") if hasattr(values, "compute") else np.asarray(values)


def _runs(start: np.ndarray, stop: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same rows in as few runs as there are: empty ones left out, neighbours joined."""
    full = stop > start
    start, stop = start[full], stop[full]
    if not len(start):
        return start, stop
    new = np.concatenate([[True], start[1:] != stop[:-1]])
    return start[new], stop[np.concatenate([new[1:], [True]])]


def _rows(values: Any, start: np.ndarray, stop: np.ndarray) -> Any:
    if isinstance(values, np.ndarray):
        pieces = [values[a:b] for a, b in zip(start.tolist(), stop.tolist(), strict=True)]
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces) if pieces else values[:0]
    if len(start) == 1:
        return values[int(start[0]) : int(stop[0])]
    if not len(start):
        return values[:0]
    import dask.array

    rows = Rows(values, start, stop)
    one = max(int(np.prod(rows.shape[1:], dtype=np.int64)) * rows.dtype.itemsize, 1)
    depth = min(max(CHUNK_BYTES // one, 1), rows.shape[0])
    chunks: Any = (depth, *rows.shape[1:])
    return dask.array.from_array(rows, chunks=chunks, fancy=False, asarray=False, lock=False)


def take(dataset: Any, cases: np.ndarray, frames: Sequence[np.ndarray] | None = None) -> Any:
    """Some cases in the order given, each with some of its frames.

    Args:
        dataset: packed.
        cases: (K,) numbers, each once.
        frames: for each of them the numbers of frames within the case, increasing; None for all.
    """
    import xarray as xr

    bounds = ranges(dataset)
    starts = bounds["frame"][:-1]
    rows = np.asarray(dataset["row_size"].values, dtype=np.int64)
    ends = {dim: _runs(b[:-1][cases], b[1:][cases]) for dim, b in bounds.items()}
    kept = rows[cases]
    if frames is not None:
        kept = np.array([len(f) for f in frames], dtype=np.int64)
        index = np.concatenate([starts[i] + f for i, f in zip(cases, frames, strict=True)]).astype(np.int64)
        ends["frame"] = _runs(index, index + 1)
        if "node_row_size" in dataset.variables:
            nodes = schema.starts(schema.node_counts(dataset))
            ends["obs"] = _runs(nodes[index], nodes[index + 1])
    data: dict[str, Any] = {}
    for name in map(str, dataset.variables):
        variable = dataset.variables[name]
        if name == "sha256":
            continue
        values = _rows(variable.data, *ends[str(variable.dims[0])])
        coding = {k: v for k, v in variable.encoding.items() if k == "dtype"}
        data[name] = (variable.dims, values, dict(variable.attrs), coding)
    data["row_size"] = (("case",), kept, dict(dataset["row_size"].attrs))
    numbers = np.repeat(np.arange(kept.size, dtype=np.int32), kept)
    data["frame_case"] = (("frame",), numbers, dict(dataset["frame_case"].attrs))
    if "subset" in data:
        data["subset"] = subsets(schema.flag_names(dataset["subset"])[cases], dataset["subset"].attrs)
    coords = {n: data.pop(n) for n in ("time",) if n in data}
    return xr.Dataset(data, coords, {k: v for k, v in dataset.attrs.items() if k not in MADE_FROM})


def subsets(names: np.ndarray, attrs: Any) -> Any:
    """The variable `subset` from a name for each case."""
    meanings = sorted(set(names.tolist()))
    codes = np.array([meanings.index(n) for n in names.tolist()], dtype=np.uint8)
    return (("case",), codes, schema.flag_attrs(meanings, str(attrs.get("long_name", "part of the benchmark"))))
