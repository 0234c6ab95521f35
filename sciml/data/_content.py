"""What the cases of a data set hold, as digests that no file and no neighbour has a say in.

    frame digest = SHA-256( for each field (and each moving axis), by name:  name, shape, SHA-256(values) )
    case digest  = SHA-256( its description, its times, and the digest of every frame )
    description  = parameters, inputs, extents or nodes and cells, mask

Real numbers enter as float64 (little-endian, −0 as 0, every NaN as one), integers as int64, so that a case has the same
digest whatever type, chunks, compression, order and company its file gives it. Labels, subsets, splits and units do not
enter; text never does.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from sciml.data import _inputs, schema
from sciml.data._axes import positions
from sciml.data._open import open as _open
from sciml.data.digest import BLOCK, ranges
from sciml.errors import InputError
from sciml.progress import Bar


@dataclass(frozen=True, eq=False)
class Content:
    """Digests and a few numbers of every case (C) and frame (F).

    Args:
        dataset: what was looked through.
        sha256: of each case, values and parameters, as hexadecimal text.
        described: of what each case is, without its fields and times; numbers rounded to float32.
        frames: SHA-256 of each frame, fields alone.
        starts: (C + 1,) first frame of each case, and the total.
        names: of the fields.
        finite: whether all values of a frame are numbers.
        low, high, mean, rms: of each field in each frame.
    """

    dataset: Any
    sha256: list[str]
    described: list[str]
    frames: UInt8[np.ndarray, "frame 32"]
    starts: Int[np.ndarray, " ends"]
    names: tuple[str, ...]
    finite: Bool[np.ndarray, " frame"]
    low: Float[np.ndarray, "frame field"]
    high: Float[np.ndarray, "frame field"]
    mean: Float[np.ndarray, "frame field"]
    rms: Float[np.ndarray, "frame field"]

    @property
    def count(self) -> int:
        return len(self.sha256)

    @property
    def split(self) -> list[str]:
        """Of each case; "train" where the data set has no splits."""
        return split_of(self.dataset)

    @property
    def subset(self) -> list[str]:
        return subset_of(self.dataset)

    def rows(self, i: int) -> slice:
        """The frames of case i."""
        return slice(int(self.starts[i]), int(self.starts[i + 1]))

    def frame(self, name: str, k: int) -> np.ndarray:
        """The values of a field in frame k of the data set, float64."""
        a, b = _edges(self.dataset, name)[k : k + 2]
        return np.asarray(_read(self.dataset.variables[name], int(a), int(b)), dtype=np.float64)


def split_of(dataset: Any, name: str = "split") -> list[str]:
    if name not in dataset.variables:
        return ["train"] * dataset.sizes["case"]
    return schema.flag_names(dataset[name]).tolist()


def subset_of(dataset: Any) -> list[str]:
    if "subset" not in dataset.variables:
        return ["all"] * dataset.sizes["case"]
    return schema.flag_names(dataset["subset"]).tolist()


def opened(data: Any, what: str = "data") -> Any:
    """A packed data set, from itself or from its file.

    Raises:
        InputError: something else.
    """
    if isinstance(data, str | os.PathLike):
        return _open(data)
    if hasattr(data, "variables") and schema.is_packed(data):
        return data
    raise InputError(f"{what}: expected a path or a packed data set (sciml.data.pack), got {type(data).__name__}")


def content(data: Any, progress: bool = False) -> Content:
    """Look through all values of a data set once.

    Args:
        data: a file or a packed data set; what has been looked through already is given back.
        progress: whether to show a bar.

    Raises:
        InputError: no data set.
    """
    if isinstance(data, Content):
        return data
    dataset = opened(data)
    names = tuple(sorted(schema.field_names(dataset)))
    total = len(np.asarray(dataset["frame_case"].values))
    table = np.zeros((4, total, len(names)))
    finite = np.ones(total, bool)
    sums = [hashlib.sha256() for _ in range(total)]
    moving = [a for a in "xyz" if a in dataset.variables and dataset[a].dims == ("obs",)]
    with Bar("look through", len(names) + len(moving), progress) as step:
        for k, name in enumerate(names):
            for f, values in _each_frame(dataset, name):
                _enter(sums[f], name, values)
                good = np.isfinite(values)
                finite[f] &= bool(good.all())
                values = values if good.all() else values[good]
                if values.size:
                    table[:, f, k] = values.min(), values.max(), values.mean(), np.sqrt(np.mean(np.square(values)))
            step()
        places: dict[str, list[bytes]] = {}
        for axis in moving:
            places[axis] = [_digest(values) for _, values in _each_frame(dataset, axis)]
            step()
    frames = np.frombuffer(b"".join(s.digest() for s in sums), np.uint8).reshape(total, 32)
    starts = schema.starts(dataset["row_size"].values)
    bounds = ranges(dataset)
    whole, rounded = [], []
    for i in range(len(starts) - 1):
        rows = slice(int(starts[i]), int(starts[i + 1]))
        mine = {axis: found[rows] for axis, found in places.items()}
        whole.append(_case(dataset, i, rows, frames, _description(dataset, i, bounds, mine, np.float64)))
        told = _description(dataset, i, bounds, mine, np.float32)
        rounded.append(hashlib.sha256(b"".join(told)).hexdigest())
    return Content(dataset, whole, rounded, frames, starts, names, finite, *table)


def _case(dataset: Any, i: int, rows: slice, frames: np.ndarray, description: list[bytes]) -> str:
    found = hashlib.sha256(b"".join(description))
    along = ["time", *str(dataset.attrs.get("quantities", "")).split()]
    along += sorted(str(n) for n in dataset.variables if str(n).startswith("boundary_"))
    for name in along:
        if name in dataset.variables:
            values = np.asarray(dataset.variables[name][rows].values, dtype=np.float64)
            values = values[:, ~np.isnan(values).all(axis=0)] if values.ndim == 2 else values
            if not np.isnan(values).all():  # what a case lacks is filled in where another has it
                _enter(found, name, values)
    found.update(frames[rows].tobytes())
    return found.hexdigest()


def _description(
    dataset: Any, i: int, bounds: dict[str, np.ndarray], moving: dict[str, list[bytes]], kind: Any
) -> list[bytes]:
    """What says which case this is, piece by piece; real numbers as `kind`."""
    found: list[bytes] = [f"fields {' '.join(sorted(schema.field_names(dataset)))}\n".encode()]

    def tell(name: str, values: Any) -> None:
        values = np.asarray(values)
        if values.dtype.kind == "f":
            values = values.astype(kind)
        found.append(f"{name} {'x'.join(map(str, values.shape))} ".encode() + _digest(values))

    for name in sorted(schema.parameter_names(dataset)):
        tell(name, dataset[name].values[i])
    for name in sorted(schema.input_names(dataset)):
        got = _inputs.of_case(dataset, name, i)
        if got is not None:
            values = np.asarray(got[1])
            if values.dtype.kind == "f" and values.ndim == 1:
                values = values[~np.isnan(values)]  # shorter series are padded
            if values.size:
                tell(f"input_{name}", values)
    if "mask" in dataset.variables and not np.all(np.asarray(dataset.variables["mask"][i].values) == 1):
        tell("mask", np.asarray(dataset.variables["mask"][i].values))
    if "node_row_size" not in dataset.variables:
        dims = {str(d) for n in schema.field_names(dataset) for d in dataset[n].dims[1:]}
        for dim in sorted(dims):
            tell(dim, positions(dataset, i, dim))
        return found
    for axis in "xyz":
        if axis in moving:  # nodes that stay where they are may be written out for every frame
            each = moving[axis]
            found.append(f"{axis} ".encode() + b"".join(each[:1] if len(set(each)) == 1 else each))
        elif axis in dataset.variables:
            values = dataset.variables[axis][slice(*bounds["node"][i : i + 2].tolist())].values
            found.append(f"{axis} ".encode() + _digest(np.asarray(values)))
    for name in sorted(map(str, dataset.variables)):
        variable = dataset.variables[name]
        along = str(variable.dims[0])
        attribute = name.startswith("node_") and along == "node"
        if attribute or name.startswith("connectivity"):
            a, b = bounds[along][i : i + 2].tolist()
            if b > a:
                tell(name, variable[a:b].values)
    return found


def _edges(dataset: Any, name: str) -> np.ndarray:
    """(F + 1,) where each frame of a variable begins along its first axis, and the end."""
    if dataset.variables[name].dims[0] == "obs":
        return schema.starts(schema.node_counts(dataset))
    return np.arange(dataset.sizes["frame"] + 1)


def _each_frame(dataset: Any, name: str) -> Iterator[tuple[int, np.ndarray]]:
    """(number, float64 values) of every frame, read in blocks of whole frames."""
    variable, edges = dataset.variables[name], _edges(dataset, name)
    flat = variable.dims[0] == "obs"
    row = max(int(np.prod(variable.shape[1:], dtype=np.int64)) * variable.dtype.itemsize, 1)
    first = 0
    while first < len(edges) - 1:
        last = int(np.searchsorted(edges, edges[first] + max(BLOCK // row, 1), side="right")) - 1
        last = min(max(last, first + 1), len(edges) - 1)
        block = _read(variable, int(edges[first]), int(edges[last]))
        for f in range(first, last):
            a, b = int(edges[f] - edges[first]), int(edges[f + 1] - edges[first])
            yield f, np.asarray(block[a:b] if flat else block[a], dtype=np.float64)
        first = last


def _read(variable: Any, a: int, b: int) -> np.ndarray:
    values = variable.data[a:b]
    return values.compute(scheduler="synchronous") if hasattr(values, "compute") else np.asarray(values)


def _enter(sums: Any, name: str, values: np.ndarray) -> None:
    sums.update(f"{name} {'x'.join(map(str, values.shape))} ".encode() + _digest(values))


def _digest(values: np.ndarray) -> bytes:
    """SHA-256 of numbers in their one form."""
    if values.dtype.kind == "f":
        values = values.astype("<f8") + 0.0  # −0 becomes 0
        missing = np.isnan(values)
        if missing.any():
            values[missing] = np.nan
    else:
        values = values.astype("<i8")
    return hashlib.sha256(np.ascontiguousarray(values).reshape(-1).view(np.uint8).data).digest()
