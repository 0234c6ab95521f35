"""Nodes, cells and particles in a packed data set: values flat over `obs`, frame after frame."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from sciml.data import schema
from sciml.errors import InputError

COUNT = "node_count"  # of a solution: nodes of each frame, where it changes; what is beyond is padding


def flatten(values: np.ndarray, count: np.ndarray | None) -> np.ndarray:
    """(T, N) to the values of all frames one after another, without padding."""
    if count is None:
        return values.ravel()
    return values[np.arange(values.shape[1]) < count[:, None]]


def padded(flat: np.ndarray, count: np.ndarray, width: int) -> np.ndarray:
    """The other way: (T, width), NaN where a frame has fewer nodes."""
    found = np.full((len(count), width), np.nan, flat.dtype)
    found[np.arange(width) < count[:, None]] = flat
    return found


def frame_count(solution: xr.Dataset) -> np.ndarray | None:
    """Nodes of each frame, where they change."""
    return np.asarray(solution[COUNT].values, dtype=np.int64) if COUNT in solution.variables else None


def pack(solution: xr.Dataset) -> dict[str, Any]:
    """Counts, positions, attributes and cells of the nodes of one solution."""
    count = frame_count(solution)
    rows = (("case",), np.array([solution.sizes["node"]])) if count is None else (("frame",), count)
    found: dict[str, Any] = {"node_row_size": (*rows, {"long_name": f"nodes of each {rows[0][0]}"})}
    for axis in "xyz":
        if axis in solution.variables:
            var = solution[axis]
            moving = "time" in var.dims
            found[axis] = ("obs" if moving else "node", flatten(var.values, count if moving else None), dict(var.attrs))
    for name, var in solution.variables.items():
        if str(name).startswith("node_") and var.dims == ("node",):
            found[str(name)] = (("node",), var.values, dict(var.attrs))
        elif str(name).startswith("connectivity"):
            suffix = str(name).removeprefix("connectivity")
            found[str(name)] = ((f"cell{suffix}", f"vertex{suffix}"), var.values, dict(var.attrs))
            note = {"long_name": f"cells of each case{suffix.replace('_', ', ')}"}
            found[f"cell_row_size{suffix}"] = (("case",), np.array([var.shape[0]]), note)
    return found


def alike(parts: list[xr.Dataset]) -> list[xr.Dataset]:
    """Packed data sets with the same layout of counts and positions: what is fixed in some and changes in others is
    written out frame by frame in all.

    Raises:
        InputError: cells or attributes of nodes, which need fixed nodes, beside node counts that change.
    """
    if not any("node_row_size" in part.variables for part in parts):
        return parts
    if not all("node_row_size" in part.variables for part in parts):
        raise InputError("pack: values on a grid in some data sets and on nodes in others; one kind a data set")
    changing = any(part["node_row_size"].dims == ("frame",) for part in parts)
    moving = {a for a in "xyz" for part in parts if a in part.variables and part[a].dims == ("obs",)}
    found = []
    for part in parts:
        fixed = part["node_row_size"].dims == ("case",)
        new: dict[str, Any] = {}
        for axis in sorted(set("xyz") & set(map(str, part.variables))):
            if part[axis].dims == ("node",) and (changing or axis in moving):
                new[axis] = (("obs",), _every_frame(part, axis), dict(part[axis].attrs))
        if fixed and changing:
            for name in map(str, part.variables):
                if name.startswith("connectivity") or (name.startswith("node_") and part[name].dims == ("node",)):
                    raise InputError(f"pack: {name!r} needs fixed nodes, but other cases have nodes that come and go")
            new["node_row_size"] = (("frame",), schema.node_counts(part), {"long_name": "nodes of each frame"})
        found.append(part.drop_vars(list(new)).assign(new) if new else part)
    return found


def _every_frame(part: xr.Dataset, axis: str) -> np.ndarray:
    """Fixed positions once for every frame of their case."""
    ends = schema.starts(part["node_row_size"].values)
    values = np.asarray(part[axis].values)
    rows = np.asarray(part["row_size"].values)
    pieces = [np.tile(values[ends[i] : ends[i + 1]], int(n)) for i, n in enumerate(rows)]
    return np.concatenate(pieces)


def unpack(dataset: xr.Dataset, i: int, rows: slice, names: list[str], data: dict[str, Any], coords: dict) -> None:
    """Enter fields, positions, attributes and cells of case i into `data` and `coords`."""
    steady = "time" not in dataset.variables
    count = schema.node_counts(dataset)
    starts = schema.starts(count)
    part = slice(int(starts[rows.start]), int(starts[rows.stop]))
    count = count[rows]
    fixed = dataset["node_row_size"].dims == ("case",)
    n = int(dataset["node_row_size"].values[i]) if fixed else int(count.max(initial=0))
    changing = bool(np.any(count != n))
    along = ("node",) if steady else ("time", "node")
    shape = (n,) if steady else (len(count), n)
    nodes = slice(*(int(k) for k in schema.starts(dataset["node_row_size"].values)[i : i + 2])) if fixed else slice(0)
    for name in [*names, *(a for a in "xyz" if a in dataset.variables)]:
        var = dataset[name].variable
        if var.dims == ("node",):
            coords[name] = (("node",), np.asarray(var.values[nodes]), dict(var.attrs))
            continue
        flat: Any = var.data[part]
        values = _lazily_padded(flat, count, n) if changing else flat.reshape(shape)
        (data if name in names else coords)[name] = (along, values, dict(var.attrs))
    if changing:
        data[COUNT] = (("time",), count, {"units": "1", "long_name": "nodes of each frame"})
    for name in map(str, dataset.variables):
        var = dataset[name].variable
        if name.startswith("node_") and var.dims == ("node",):
            data[name] = (("node",), np.asarray(var.values[nodes]), dict(var.attrs))
        elif name.startswith("connectivity"):
            suffix = name.removeprefix("connectivity")
            ends = schema.starts(dataset[f"cell_row_size{suffix}"].values)[i : i + 2]
            if ends[1] > ends[0] or not suffix:
                cells = np.asarray(var.values[int(ends[0]) : int(ends[1])])
                data[name] = (var.dims, cells, dict(var.attrs))


def _lazily_padded(flat: Any, count: np.ndarray, width: int) -> Any:
    if isinstance(flat, np.ndarray):
        return padded(flat, count, width)
    whole = flat.rechunk(-1)
    chunks = ((len(count),), (width,))
    meta = np.empty((0, 0), flat.dtype)
    return whole.map_blocks(padded, count, width, chunks=chunks, new_axis=[1], dtype=flat.dtype, meta=meta)
