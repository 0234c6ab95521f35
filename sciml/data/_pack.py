"""Many solutions in one ragged data set, and one solution back out of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from sciml.arrays import cast, clock, storable
from sciml.data import schema
from sciml.data import splits as _splits
from sciml.data._solution import VOLATILE
from sciml.errors import InputError, is_whole
from sciml.problem import Case

_CASE_ATTRS = ("case_json", "status")  # kept as variables over case
_ROOT = ("Conventions", "schema_version", "problem")


def pack(
    solutions: Iterable[xr.Dataset],
    splits: Any = None,
    dtype: str | None = "float32",
    fields: Sequence[str] | None = None,
    attrs: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Put the solutions of many cases of one problem into one data set (see `sciml.data.schema`).

    Args:
        solutions: what solvers return, of any lengths in time, on grids of one shape (extents may differ) or on nodes.
        splits: a name for each case ("train", "validation", "test", "unused") or a mapping from names to case numbers;
            `sciml.data.splits.by_case` makes one.
        dtype: type to store fields in; None keeps the solutions' own.
        fields: which fields to keep; all by default.
        attrs: further root attributes, for instance the generator and its seed.

    Raises:
        InputError: no solutions, different problems or grid shapes, or a field that some solution lacks.
    """
    parts = [single(solution, dtype, fields) for solution in solutions]
    if not parts:
        raise InputError("solutions: expected at least one, got none")
    return concat(parts, splits, attrs)


def single(solution: xr.Dataset, dtype: str | None = "float32", fields: Sequence[str] | None = None) -> xr.Dataset:
    """One solution as a data set of one case."""
    if schema.is_packed(solution):
        return solution
    case = Case.from_parts(solution.attrs, {str(k): v.values for k, v in solution.variables.items()})
    problem = case.problem
    steady = "time" not in solution.variables
    frames = 1 if steady else solution.sizes["time"]
    kept = [str(n) for n in solution.data_vars if _is_field(str(n), solution)]
    for name in fields or ():
        if name not in kept:
            raise InputError(f"fields: the solution has no field {name!r}, only {kept}")
    kept = kept if fields is None else [n for n in kept if n in fields]
    nodal = any("node" in solution[n].dims for n in kept)
    data: dict[str, Any] = {
        "row_size": (("case",), np.array([frames]), {"long_name": "frames of each case", "sample_dimension": "frame"}),
    }
    if not steady:
        time = clock("solution: time", solution["time"].values, schema.units_in_time(problem))
        note = {"units": schema.units_in_time(problem), "long_name": "time", "axis": "T"}
        data["time"] = (("frame",), time, note)
    for name in kept:
        var = solution[name]
        values = var.values if dtype is None else var.values.astype(dtype, copy=False)
        values = values[None] if steady else values
        dims = ("frame", *(d for d in var.dims if d != "time"))
        unit, text = schema.units_of(problem, name)
        note = {"units": unit, "long_name": text}
        data[name] = (("obs",), values.ravel(), note) if nodal else (dims, values, note)
    data |= _nodes(solution, steady) if nodal else _axes(solution, case, kept)
    for name, var in solution.variables.items():
        if str(name).startswith("input_") or name == "mask":
            data[str(name)] = (("case", *(str(d) for d in var.dims)), var.values[None], dict(var.attrs))
    times = np.zeros(1) if steady else data["time"][1]
    data |= describe(case, times, str(solution.attrs.get("status", "ok")))
    attrs = {k: v for k, v in solution.attrs.items() if k not in _CASE_ATTRS + VOLATILE}
    attrs |= {
        "Conventions": schema.CONVENTIONS,
        "schema_version": schema.VERSION,
        "fields": " ".join(kept),
        "parameters": " ".join(case.parameters),
    }
    return concat([xr.Dataset(data, attrs=attrs)])


def describe(case: Case, times: np.ndarray, status: str = "ok") -> dict[str, Any]:
    """What a packed data set says about one case beside its fields: parameters, boundary values, status, subset."""
    problem = case.problem
    data: dict[str, Any] = {}
    for name, value in case.parameters.items():
        spec = next(s for s in problem.parameters if s.name == name)
        note = {"units": spec.unit, "long_name": spec.description or name}
        data[name] = (("case",), np.array([value], dtype=np.float64), note)
    asked = times if len(times) else np.zeros(1)  # a case may have failed before its first frame
    for name, given in problem.boundary_values(case, asked).items():
        values = np.asarray(given, dtype=np.float64)[: len(times)]
        dims = ("frame",) if np.ndim(values) == 1 else ("frame", f"boundary_{name}_point")
        note = {"units": schema.units_of(problem, name.rsplit("_", 1)[-1])[0], "long_name": f"boundary value {name}"}
        data[f"boundary_{name}"] = (dims, values, note)
    data["status"] = (("case",), np.array([status != "ok"], np.uint8), schema.flag_attrs(schema.STATUSES, "outcome"))
    if status != "ok":
        data["status_message"] = (("case",), np.array([status]), {"long_name": "what failed"})
    data["case_json"] = (("case",), np.array([case.to_attrs()["case_json"]]), {"long_name": "the case, as JSON"})
    return data | label_subset(case.subset)


def label_subset(subset: str) -> dict[str, Any]:
    """The `subset` variable of one case; cases of no subset are of subset "all"."""
    word = subset.replace(" ", "_") or "all"
    return {"subset": (("case",), np.zeros(1, np.uint8), schema.flag_attrs([word], "part of the benchmark"))}


def _is_field(name: str, solution: xr.Dataset) -> bool:
    var = solution[name]
    if name.startswith("input_") or name in ("mask", "connectivity") or var.dtype.kind != "f" or not var.dims:
        return False
    return var.dims[0] == "time" or "time" not in solution.variables


def _axes(solution: xr.Dataset, case: Case, fields: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    unit = schema.units_in_space(case.problem)
    extents = dict(zip("xyz", case.geometry.extents, strict=False))
    dims = {d: n for name in fields for d, n in solution[name].sizes.items() if d != "time"}
    for dim, n in dims.items():
        axis = schema.axis_of(str(dim))
        if axis is None or axis not in extents:
            raise InputError(f"solution: dimension {dim!r} is not an axis of {case.problem.name}")
        low, high = extents[axis]
        for end, value in (("min", low), ("max", high)):
            note = {"units": unit, "long_name": f"{'lower' if end == 'min' else 'upper'} end of the domain in {axis}"}
            found[f"{axis}_{end}"] = (("case",), np.array([value], dtype=np.float64), note)
        points = np.asarray(solution[dim].values, dtype=np.float64)
        if not np.allclose(points, uniform(str(dim), n, low, high), rtol=0.0, atol=1e-9 * (high - low)):
            note = {"units": unit, "long_name": f"positions along {dim}"}
            found[f"{dim}_coordinate"] = (("case", str(dim)), points[None], note)
    return found


def uniform(dim: str, n: int, low: float, high: float) -> np.ndarray:
    """Positions along a uniform axis: n cell centres for "x", n points from end to end for "x_face" and "x_node"."""
    if dim in schema.SPACE:
        return low + (np.arange(n) + 0.5) * ((high - low) / n)
    return np.linspace(low, high, n)


def _nodes(solution: xr.Dataset, steady: bool) -> dict[str, Any]:
    note = {"long_name": "nodes of each case"}
    found: dict[str, Any] = {"node_row_size": (("case",), np.array([solution.sizes["node"]]), note)}
    for axis in "xyz":
        if axis in solution.variables:
            var = solution[axis]
            found[axis] = (("obs",) if "time" in var.dims else ("node",), var.values.ravel(), dict(var.attrs))
    if "connectivity" in solution.variables:
        var = solution["connectivity"]
        found["connectivity"] = (("cell", "vertex"), var.values, dict(var.attrs))
        found["cell_row_size"] = (("case",), np.array([var.shape[0]]), {"long_name": "cells of each case"})
    return found


def concat(parts: Sequence[xr.Dataset], splits: Any = None, attrs: Mapping[str, Any] | None = None) -> xr.Dataset:
    """Join packed data sets of one problem, case after case; dask-backed fields stay lazy.

    Raises:
        InputError: they differ in problem, fields, parameters or grid shape.
    """
    first = parts[0]
    for part in parts[1:]:
        for key in (*_ROOT, "fields", "parameters"):
            if part.attrs.get(key) != first.attrs.get(key):
                raise InputError(f"pack: {key} differs: {first.attrs.get(key)!r} and {part.attrs.get(key)!r}")
        for name in schema.field_names(first):
            if part[name].dims != first[name].dims or part[name].shape[1:] != first[name].shape[1:]:
                shapes = f"{first[name].shape[1:]} and {part[name].shape[1:]} over {first[name].dims[1:]}"
                raise InputError(f"pack: field {name!r} differs in grid shape: {shapes}; one shape a data set")
    counts = [part.sizes["case"] for part in parts]
    rows = np.concatenate([part["row_size"].values for part in parts]).astype(np.int64)
    names = sorted({str(n) for part in parts for n in part.variables} - {"frame_case", "sha256", "case_attrs_json"})
    data: dict[str, Any] = {}
    for name in names:
        holders = [part.variables[name] for part in parts if name in part.variables]
        like = holders[0]
        if "flag_meanings" in like.attrs and name != "mask":
            data[name] = _flags(name, parts, counts)
        else:
            pieces = [part.variables[name] if name in part.variables else _absent(name, like, part) for part in parts]
            data[name] = (like.dims, _join(pieces), dict(like.attrs))
    note = {"long_name": "case of each frame", "instance_dimension": "case"}
    data["frame_case"] = (("frame",), np.repeat(np.arange(rows.size, dtype=np.int32), rows), note)
    chosen = _splits.names(splits, rows.size)
    if chosen is not None:
        data["split"] = (("case",), _splits.codes(chosen), schema.flag_attrs(schema.SPLITS, "split, by case"))
    root, text = _attrs(parts, counts)
    if text is not None:
        data["case_attrs_json"] = (("case",), text, {"long_name": "attributes that differ between cases, as JSON"})
    coords = {"time": data.pop("time")} if "time" in data else {}
    return xr.Dataset(data, coords, root | dict(attrs or {}))


def _join(pieces: list[Any]) -> Any:
    """Concatenate along the first axis; shorter trailing axes are padded (NaN, or 0 for integers)."""
    trailing = [p.shape[1:] for p in pieces]
    if len(set(trailing)) > 1:
        widest = tuple(max(s) for s in zip(*trailing, strict=True))
        pieces = [_pad(np.asarray(p.values), widest) for p in pieces]
        return np.concatenate(pieces)
    arrays: list[Any] = [p.data if isinstance(p, xr.Variable) else p for p in pieces]
    if len(arrays) == 1:
        return arrays[0]
    if any(not isinstance(a, np.ndarray) for a in arrays):
        import dask.array

        return dask.array.concatenate(arrays)
    return np.concatenate(arrays)


def _pad(array: np.ndarray, trailing: tuple[int, ...]) -> np.ndarray:
    widths = [(0, 0), *((0, n - m) for n, m in zip(trailing, array.shape[1:], strict=True))]
    return np.pad(array, widths, constant_values=np.nan if array.dtype.kind == "f" else 0)


def _absent(name: str, like: Any, part: xr.Dataset) -> Any:
    """What stands for a variable that some cases lack."""
    dim, n = like.dims[0], part.sizes[like.dims[0]]
    shape = (n, *like.shape[1:])
    if name == "mask":
        return xr.Variable(like.dims, np.ones(shape, np.uint8))
    if name.endswith("_coordinate"):
        along = like.dims[1]
        axis = schema.axis_of(along)
        ends = zip(part[f"{axis}_min"].values, part[f"{axis}_max"].values, strict=True)
        return xr.Variable(like.dims, np.stack([uniform(along, shape[1], a, b) for a, b in ends]))
    if name in schema.TEXT:
        return xr.Variable(like.dims, np.full(shape, "", dtype="<U1"))
    if name.startswith(("input_", "boundary_")):
        return xr.Variable(like.dims, np.full(shape, np.nan))
    raise InputError(f"pack: variable {name!r} over {dim!r} is in some of the data sets only")


def _flags(name: str, parts: Sequence[xr.Dataset], counts: list[int]) -> Any:
    fixed = schema.SPLITS if name.startswith("split") else schema.STATUSES if name == "status" else None
    filler = "unused" if name.startswith("split") else "ok" if name == "status" else "all"
    values = [
        schema.flag_names(part[name]) if name in part.variables else np.full(n, filler)
        for part, n in zip(parts, counts, strict=True)
    ]
    words = np.concatenate(values)
    meanings: list[str] = list(fixed) if fixed else sorted(set(words.tolist()))
    codes = np.array([meanings.index(w) for w in words.tolist()], dtype=np.uint8)
    text = next(part[name].attrs.get("long_name", name) for part in parts if name in part.variables)
    return (("case",), codes, schema.flag_attrs(meanings, text))


def _attrs(parts: Sequence[xr.Dataset], counts: list[int]) -> tuple[dict[str, Any], np.ndarray | None]:
    """Root attributes that all cases share, and for each case the JSON of those that differ."""
    each: list[dict[str, Any]] = []
    for part, n in zip(parts, counts, strict=True):
        own = [json.loads(t) for t in part["case_attrs_json"].values] if "case_attrs_json" in part else [{}] * n
        each.extend(dict(part.attrs) | extra for extra in own)
    keys = list(dict.fromkeys(k for attrs in each for k in attrs))
    shared = {k: each[0][k] for k in keys if all(k in a and np.array_equal(a[k], each[0][k]) for a in each)}
    rest = [{k: _json(a[k]) for k in keys if k in a and k not in shared} for a in each]
    if not any(rest):
        return shared, None
    return shared, np.array([json.dumps(r, sort_keys=True) for r in rest])


def _json(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def case(dataset: xr.Dataset, i: int) -> tuple[Case, xr.Dataset]:
    """Case number i of a packed data set, and its solution (fields stay lazy until they are read).

    Raises:
        InputError: no such case, or the data set is of a problem that this package has no class for.
    """
    count = dataset.sizes.get("case", 0)
    if not is_whole(i) or not 0 <= i < count:
        raise InputError(f"case: number {i!r}, expected 0 to {count - 1}")
    solution = case_solution(dataset, int(i))
    if "case_json" not in solution.attrs:
        raise InputError(f"case: problem {dataset.attrs.get('problem')!r} has no class in sciml.problems")
    return Case.from_parts(solution.attrs, {k: v.values for k, v in _parts(solution)}), solution


def _parts(solution: xr.Dataset) -> Iterable[tuple[str, Any]]:
    return ((str(k), v) for k, v in solution.variables.items() if str(k).startswith("input_"))


def case_solution(dataset: xr.Dataset, i: int) -> xr.Dataset:
    """The solution of case i, also for problems that this package has no class for."""
    offsets = schema.starts(dataset["row_size"].values)
    rows = slice(int(offsets[i]), int(offsets[i + 1]))
    steady = "time" not in dataset.variables
    names = schema.field_names(dataset)
    data: dict[str, Any] = {}
    coords: dict[str, Any] = {}
    if not steady:
        coords["time"] = (("time",), dataset["time"].values[rows], dict(dataset["time"].attrs))
    if "node_row_size" in dataset.variables:
        _unpack_nodes(dataset, i, rows, steady, names, data, coords)
    else:
        for name in names:
            var = dataset[name].variable[rows]
            dims = ("time", *var.dims[1:])
            data[name] = (dims[1:], var.data[0], dict(var.attrs)) if steady else (dims, var.data, dict(var.attrs))
            for dim in var.dims[1:]:
                coords[str(dim)] = ((str(dim),), positions(dataset, i, str(dim)), _axis_note(dataset, str(dim)))
    for name, var in dataset.variables.items():
        if str(name).startswith("input_"):
            values = _trim(np.asarray(var[i].values))
            if values is not None:
                data[str(name)] = (var.dims[1:], values, dict(var.attrs))
        elif name == "mask":
            data["mask"] = (var.dims[1:], np.asarray(var[i].values), dict(var.attrs))
    attrs = {k: v for k, v in dataset.attrs.items() if k not in ("fields", "parameters")}
    if "case_attrs_json" in dataset.variables:
        attrs |= json.loads(str(dataset["case_attrs_json"].values[i]))
    if "case_json" in dataset.variables:
        attrs["case_json"] = str(dataset["case_json"].values[i])
    message = str(dataset["status_message"].values[i]) if "status_message" in dataset.variables else ""
    failed = "status" in dataset.variables and int(dataset["status"].values[i]) != 0
    attrs["status"] = (message or "failed") if failed else "ok"
    return xr.Dataset(data, coords, attrs)


def positions(dataset: xr.Dataset, i: int, dim: str) -> np.ndarray:
    """Positions along a grid axis of case i."""
    if f"{dim}_coordinate" in dataset.variables:
        return np.asarray(dataset[f"{dim}_coordinate"].values[i], dtype=np.float64)
    axis = schema.axis_of(dim)
    low, high = (float(dataset[f"{axis}_{end}"].values[i]) for end in ("min", "max"))
    return uniform(dim, dataset.sizes[dim], low, high)


def _axis_note(dataset: xr.Dataset, dim: str) -> dict[str, str]:
    axis = str(schema.axis_of(dim))
    unit = dataset[f"{axis}_min"].attrs.get("units", "m")
    return {"units": unit, "long_name": f"{axis} coordinate", "axis": axis.upper()}


def _trim(array: np.ndarray) -> np.ndarray | None:
    """An input without its NaN padding; None where the case has no such input."""
    if array.dtype.kind != "f" or array.ndim == 0:
        return array
    inside = np.isfinite(array)
    if not inside.any():
        return None
    last = [index.max() for index in np.nonzero(inside)]
    return array[tuple(slice(int(k) + 1) for k in last)]


def _unpack_nodes(
    dataset: xr.Dataset, i: int, rows: slice, steady: bool, names: list[str], data: dict, coords: dict
) -> None:
    sizes = dataset["row_size"].values.astype(np.int64)
    count = dataset["node_row_size"].values.astype(np.int64)
    n, t = int(count[i]), rows.stop - rows.start
    start = int(schema.starts(sizes * count)[i])
    nodes = slice(*(int(k) for k in schema.starts(count)[i : i + 2]))
    along = ("node",) if steady else ("time", "node")
    for name in [*names, *(a for a in "xyz" if a in dataset.variables)]:
        var = dataset[name].variable
        if var.dims == ("obs",):
            flat: Any = var.data[start : start + n * t]
            values = flat.reshape((n,) if steady else (t, n))
            (data if name in names else coords)[name] = (along, values, dict(var.attrs))
        else:
            coords[name] = (("node",), np.asarray(var.values[nodes]), dict(var.attrs))
    if "connectivity" in dataset.variables:
        cells = slice(*(int(k) for k in schema.starts(dataset["cell_row_size"].values)[i : i + 2]))
        var = dataset["connectivity"].variable
        data["connectivity"] = (var.dims, np.asarray(var.values[cells]), dict(var.attrs))
