"""Many solutions in one ragged data set, and one solution back out of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from sciml.arrays import cast, clock, storable
from sciml.data import _inputs, _nodes, schema
from sciml.data import splits as _splits
from sciml.data._axes import positions, uniform
from sciml.data._decoded import CODING
from sciml.data._solution import VOLATILE, _plain
from sciml.data._support import support
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
    named_splits: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Put the solutions of many cases of one problem into one data set (see `sciml.data.schema`).

    Args:
        solutions: what solvers return, of any lengths in time, on grids of one shape (extents may differ) or on nodes.
        splits: a name for each case ("train", "validation", "test", "unused") or a mapping from names to case numbers;
            `sciml.data.splits.by_case` makes one.
        dtype: type to store fields in; None keeps the solutions' own.
        fields: which fields to keep; all by default.
        attrs: further root attributes, for instance the generator and its seed.
        named_splits: further splits by name, each as `splits`; `sciml.data.splits.folds` makes those of a
            cross-validation.

    Raises:
        InputError: no solutions, different problems or grid shapes, or a field that some solution lacks.
    """
    parts = [single(solution, dtype, fields) for solution in solutions]
    if not parts:
        raise InputError("solutions: expected at least one, got none")
    return concat(parts, splits, attrs, named_splits)


def single(solution: xr.Dataset, dtype: str | None = "float32", fields: Sequence[str] | None = None) -> xr.Dataset:
    """One solution as a data set of one case."""
    if schema.is_packed(solution):
        return solution
    case = Case.from_parts(solution.attrs, {str(k): v.values for k, v in solution.variables.items()})
    problem = case.problem
    steady = "time" not in solution.variables
    if steady and not problem.steady:
        raise InputError(f"solution: the coordinate 'time' is missing, although {problem.name} changes in time")
    # numbers over time alone: what the problem calls its quantities, or, of a problem without a class, whatever is so
    told = [str(n) for n, v in solution.data_vars.items() if v.dims == ("time",) and v.dtype.kind == "f"]
    told = told if problem.dimensions else []
    kept = [str(n) for n in solution.data_vars if _is_field(str(n), solution) and n not in told]
    for name in fields or ():
        if name not in kept:
            raise InputError(f"fields: the solution has no field {name!r}, only {kept}")
    kept = kept if fields is None else [n for n in kept if n in fields]
    if not kept:
        raise InputError("solution: holds no field, expected at least one floating-point variable of the problem")
    for name in kept:
        if name in case.parameters:
            raise InputError(f"pack: {name!r} is a field and a parameter of {problem.name}, expected names that differ")
    nodal = any("node" in solution[n].dims for n in kept)
    # a solution without `time`, and one cut down to a single time, is one frame
    framed = not steady and solution["time"].ndim > 0
    frames = solution.sizes["time"] if framed else 1
    data: dict[str, Any] = {
        "row_size": (("case",), np.array([frames]), {"long_name": "frames of each case", "sample_dimension": "frame"}),
    }
    if not steady:
        time = np.atleast_1d(clock("solution: time", solution["time"].values, schema.units_in_time(problem)))
        note = {"units": schema.units_in_time(problem), "long_name": "time", "axis": "T"}
        data["time"] = (("frame",), time, note)
    count = _nodes.frame_count(solution) if nodal else None
    for name in kept:
        var = solution[name]
        values = cast(f"pack: {name!r}", var.values, storable(var.dtype) if dtype is None else dtype)
        values = values if framed else values[None]
        dims = ("frame", *(d for d in var.dims if d != "time"))
        note = _note(name, var, problem)
        data[name] = (("obs",), _nodes.flatten(values, count), note) if nodal else (dims, values, note)
    for name in told:
        values = cast(f"pack: {name!r}", np.atleast_1d(solution[name].values), "float64")
        data[name] = (("frame",), values, dict(solution[name].attrs))
    data |= _nodes.pack(solution) if nodal else _axes(solution, case, kept)
    for name, var in solution.variables.items():
        if str(name).startswith("input_") or name == "mask":
            values = cast(f"pack: {name!r}", var.values, storable(var.dtype))
            data[str(name)] = (("case", *(str(d) for d in var.dims)), values[None], dict(var.attrs))
    times = np.zeros(1) if steady else data["time"][1]
    data |= describe(case, times, str(solution.attrs.get("status", "ok")))
    attrs = {k: v for k, v in solution.attrs.items() if k not in _CASE_ATTRS + VOLATILE}
    attrs |= {
        "Conventions": schema.CONVENTIONS,
        "schema_version": schema.VERSION,
        "fields": " ".join(kept),
        "parameters": " ".join(case.parameters),
    } | ({"quantities": " ".join(told)} if told else {})
    return concat([xr.Dataset(data, attrs=attrs)])


def _note(name: str, variable: Any, problem: Any) -> dict[str, Any]:
    """Attributes of a field: its own, with units and a name where it lacks them.

    Raises:
        InputError: units other than the problem's, or values that are still packed.
    """
    note = {str(k): _plain(str(k), v) for k, v in variable.attrs.items()}
    for key in CODING:
        if key in note:
            raise InputError(
                f"solution: {name!r} has the attribute {key!r}: decode its values first (xarray.decode_cf)"
            )
    unit, text = schema.units_of(problem, name)
    if note.setdefault("units", unit) != unit and schema.describes(problem, name):
        raise InputError(f"solution: {name!r} has units {note['units']!r}, expected {unit!r}")
    note.setdefault("long_name", text)
    return note


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
        note = {"units": schema.units_of(problem, problem.field_on(name))[0], "long_name": f"boundary value {name}"}
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
    if name.startswith(("input_", "node_", "connectivity")) or name == "mask" or var.dtype.kind != "f" or not var.dims:
        return False
    return var.dims[0] == "time" or "time" not in solution.dims


def _axes(solution: xr.Dataset, case: Case, fields: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    unit = schema.units_in_space(case.problem)
    extents = dict(zip("xyz", case.geometry.extents, strict=False))
    periodic = dict(zip("xyz", schema.periodic_axes(case.geometry), strict=False))
    dims = {d: n for name in fields for d, n in solution[name].sizes.items() if d != "time"}
    for name in fields:
        here = tuple(d for d in solution[name].dims if d != "time")
        if len(here) != case.problem.dimensions:
            raise InputError(f"solution: {name!r} is over {here}, expected {case.problem.dimensions} axes of space")
    for dim, n in dims.items():
        axis = schema.axis_of(str(dim))
        if axis is None or axis not in extents:
            raise InputError(f"solution: dimension {dim!r} is not an axis of {case.problem.name}")
        low, high = extents[axis]
        for end, value in (("min", low), ("max", high)):
            note = {"units": unit, "long_name": f"{'lower' if end == 'min' else 'upper'} end of the domain in {axis}"}
            found[f"{axis}_{end}"] = (("case",), np.array([value], dtype=np.float64), note)
        if dim not in solution.variables:
            raise InputError(f"solution: coordinate {dim!r} is missing, expected the positions of its {n} values")
        points = np.asarray(solution[dim].values, dtype=np.float64)
        schema.require_cover(f"solution: {dim!r}", str(dim), points, low, high, periodic[axis])
        if not np.allclose(points, uniform(str(dim), n, low, high), rtol=0.0, atol=1e-9 * (high - low)):
            note = {"units": unit, "long_name": f"positions along {dim}"}
            found[f"{dim}_coordinate"] = (("case", str(dim)), points[None], note)
    return found


def concat(
    parts: Sequence[xr.Dataset],
    splits: Any = None,
    attrs: Mapping[str, Any] | None = None,
    named_splits: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Join packed data sets of one problem, case after case; dask-backed fields stay lazy.

    Raises:
        InputError: they differ in problem, fields, parameters or grid shape.
    """
    parts = _nodes.alike(list(parts))
    told = dict.fromkeys(n for part in parts for n in str(part.attrs.get("quantities", "")).split())
    if told:
        parts = [part.assign_attrs(quantities=" ".join(told)) for part in parts]
    first = parts[0]
    names = str(first.attrs.get("fields"))
    parts = [  # in whatever order they name their fields
        part.assign_attrs(fields=names) if set(str(part.attrs.get("fields")).split()) == set(names.split()) else part
        for part in parts
    ]
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
    for name in sorted({n for part in parts for n in schema.input_names(part)}):
        joined = _inputs.join(name, parts)
        if joined is not None:
            data |= joined
            names = [n for n in names if n not in (f"input_{name}", *joined)]
    flat = {f"input_{n}_{part}" for n in [k.removeprefix("input_") for k in data] for part in ("row_size", "shape")}
    for name in (n for n in names if n not in flat):
        holders = [part.variables[name] for part in parts if name in part.variables]
        like = holders[0]
        if "flag_meanings" in like.attrs and name != "mask":
            data[name] = _flags(name, parts, counts)
        else:
            pieces = [part.variables[name] if name in part.variables else _absent(name, like, part) for part in parts]
            coding = {"dtype": "S1"} if name in schema.TEXT else {}  # as other writers of netCDF must store it
            data[name] = (like.dims, _join(name, pieces), dict(like.attrs), coding)
    note = {"long_name": "case of each frame", "instance_dimension": "case"}
    data["frame_case"] = (("frame",), np.repeat(np.arange(rows.size, dtype=np.int32), rows), note)
    for key, given in [("split", splits), *((f"split_{k}", v) for k, v in (named_splits or {}).items())]:
        chosen = _splits.names(given, rows.size)
        if not schema.NAME.match(key):
            raise InputError(f"named_splits: {key.removeprefix('split_')!r:.60} is not a name for a split")
        if chosen is not None:
            data[key] = (("case",), _splits.codes(chosen), schema.flag_attrs(schema.SPLITS, f"{key}, by case"))
    root, text = _attrs(parts, counts)
    if text is not None:
        note = {"long_name": "attributes that differ between cases, as JSON"}
        data["case_attrs_json"] = (("case",), text, note, {"dtype": "S1"})
    coords = {"time": data.pop("time")} if "time" in data else {}
    return xr.Dataset(data, coords, root | dict(attrs or {}))


def _join(name: str, pieces: list[Any]) -> Any:
    """Concatenate along the first axis; boundary values along fewer points are padded with NaN."""
    trailing = [p.shape[1:] for p in pieces]
    if len(set(trailing)) > 1:
        if not name.startswith("boundary_"):
            shapes = " and ".join(str(t) for t in sorted(set(trailing)))
            hint = "; name the kinds of cells" if name == "connectivity" else ""
            raise InputError(f"pack: {name!r} has shapes {shapes} in different cases, expected one{hint}")
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
    return np.pad(array, widths, constant_values=np.nan)


def _absent(name: str, like: Any, part: xr.Dataset) -> Any:
    """What stands for a variable that some cases lack."""
    if name.startswith("connectivity"):
        return xr.Variable(like.dims, np.empty((0, *like.shape[1:]), like.dtype))
    if name.startswith("cell_row_size"):
        return xr.Variable(like.dims, np.zeros(part.sizes["case"], like.dtype))
    if name in str(part.attrs.get("quantities", "")).split():
        return xr.Variable(like.dims, np.full(part.sizes["frame"], np.nan))
    if like.dims[0] not in part.sizes:
        raise InputError(f"pack: variable {name!r} is in some of the data sets only")
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
    if name.startswith("boundary_"):
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
        InputError: no such case.
    """
    count = dataset.sizes.get("case", 0)
    if not is_whole(i) or not 0 <= i < count:
        raise InputError(f"case: number {i!r}, expected 0 to {count - 1}")
    solution = case_solution(dataset, int(i))
    found = _described(dataset, int(i), solution)
    # nodes say themselves where they are, and may be all that says where a case lives
    geometry = None if "node_row_size" in dataset.variables else found.geometry
    return found.on(support(dataset, int(i), geometry)), solution


def _described(dataset: xr.Dataset, i: int, solution: xr.Dataset) -> Case:
    """The case as the data set tells of it: in full, or, of a problem without a class, by its parameters."""
    if "case_json" in solution.attrs:
        return Case.from_parts(solution.attrs, {k: v.values for k, v in _parts(solution)})
    from sciml.problems import DataProblem

    problem = DataProblem.from_dataset(dataset)
    parameters = {p.name: float(dataset[p.name].values[i]) for p in problem.parameters}
    inputs = {
        s.name: solution[f"input_{s.name}"].values for s in problem.inputs if f"input_{s.name}" in solution.variables
    }
    subset = str(schema.flag_names(dataset["subset"])[i]) if "subset" in dataset.variables else ""
    extents = support(dataset, i).extents
    return Case(problem, parameters, inputs, f"case {i}", "" if subset == "all" else subset, extents)


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
        time = clock("time", dataset["time"].values[rows], dataset["time"].attrs.get("units", "s"))
        coords["time"] = (("time",), time, dict(dataset["time"].attrs))
    if "node_row_size" in dataset.variables:
        _nodes.unpack(dataset, i, rows, names, data, coords)
    else:
        for name in names:
            var = dataset[name].variable[rows]
            dims = ("time", *var.dims[1:])
            data[name] = (dims[1:], var.data[0], dict(var.attrs)) if steady else (dims, var.data, dict(var.attrs))
            for dim in var.dims[1:]:
                coords[str(dim)] = ((str(dim),), positions(dataset, i, str(dim)), _axis_note(dataset, str(dim)))
    for name in str(dataset.attrs.get("quantities", "")).split():
        data[name] = (("time",), np.asarray(dataset[name].values[rows]), dict(dataset[name].attrs))
    for name in schema.input_names(dataset):
        found = _inputs.of_case(dataset, name, i)
        if found is not None:
            note = {k: v for k, v in dataset[f"input_{name}"].attrs.items() if k not in ("dims", "sample_dimension")}
            data[f"input_{name}"] = (*found, note)
    if "mask" in dataset.variables:
        var = dataset.variables["mask"]
        data["mask"] = (var.dims[1:], np.asarray(var[i].values), dict(var.attrs))
    attrs = {k: v for k, v in dataset.attrs.items() if k not in ("fields", "parameters", "quantities")}
    if "case_attrs_json" in dataset.variables:
        attrs |= json.loads(str(dataset["case_attrs_json"].values[i]))
    if "case_json" in dataset.variables:
        attrs["case_json"] = str(dataset["case_json"].values[i])
    message = str(dataset["status_message"].values[i]) if "status_message" in dataset.variables else ""
    failed = "status" in dataset.variables and int(dataset["status"].values[i]) != 0
    attrs["status"] = (message or "failed") if failed else "ok"
    return xr.Dataset(data, coords, attrs)


def _axis_note(dataset: xr.Dataset, dim: str) -> dict[str, str]:
    axis = str(schema.axis_of(dim))
    unit = dataset[f"{axis}_min"].attrs.get("units", "m")
    return {"units": unit, "long_name": f"{axis} coordinate", "axis": axis.upper()}
