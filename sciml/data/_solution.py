"""One solution as an `xarray.Dataset`: the form in which every solver answers."""

from __future__ import annotations

import functools
import importlib.metadata
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from sciml.arrays import cast, clock, plain, storable
from sciml.data import _nodes, schema
from sciml.errors import InputError, suggest
from sciml.problem import Case
from sciml.support import Points, Support, kind_of, support_of

# root attributes that differ between equal runs: kept out of data files
VOLATILE = ("wall_time", "created", "host", "setup_seconds", "solve_seconds")


@functools.cache
def version() -> str:
    try:
        return importlib.metadata.version("sciml")
    except importlib.metadata.PackageNotFoundError:
        return "0"


def solution(
    case: Case,
    times: Any,
    fields: Mapping[str, Any],
    coords: Mapping[str, Any] | Support,
    *,
    solver: str = "",
    settings: Mapping[str, Any] | None = None,
    status: str = "ok",
    mask: Any = None,
    connectivity: Any = None,
    node_count: Any = None,
    node_attributes: Mapping[str, Any] | None = None,
    quantities: Mapping[str, Any] | None = None,
    attrs: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Label the arrays of one solved case.

    Args:
        case: the case that was solved.
        times: (T,) strictly increasing times in the problem's time unit, or durations (timedelta64); None for steady
            problems.
        fields: name -> (dims, array); name -> array where `coords` is a `Support`, which says the axes after "time";
            or name -> DataArray, whose dims count. Grid fields have dims ("time", ["z", ["y",]] "x") with "x_face"
            and the like for face values; node or particle fields have ("time", "node"). Steady fields have no "time".
            Names are the problem's fields, or these with "_face", "_tendency" or "_std" appended.
        coords: a `Support`, which brings mask and connectivity along; or axis name -> (n,) increasing positions ("x",
            "y", "x_face", ...) in m, which cover the domain of the case; for nodes "x", "y", "z" are (N,)
            node positions, or (T, N) where nodes move.
        solver, settings: what computed it; settings are stored as JSON.
        status: "ok", or one line that says what failed; the frames up to the failure are then given.
        mask: (y, x) 1 where fluid, 0 elsewhere; None where everything is fluid. What is not finite outside of it
            becomes 0.
        connectivity: (cell, vertex) 0-based node numbers, for node fields; where there are several kinds of cells, a
            mapping from the kinds ("triangle", "quadrilateral", see `sciml.data.schema.KINDS`) to such arrays.
        node_count: (T,) number of nodes in each frame, where nodes come and go: of the N entries of a frame the first
            node_count[t] count, and the rest is padding that is not looked at.
        node_attributes: name -> (N,) numbers that fixed nodes have for good, for instance a material; they become
            variables "node_<name>".
        quantities: name -> (T,) numbers, those of the problem's `quantities` that are known.
        attrs: further root attributes (text, numbers, 1-D arrays).

    Returns:
        Dataset with the fields, coordinates, `input_<name>` variables, and attributes that rebuild the case.

    Raises:
        InputError: a name, shape or value that does not fit; the message names the argument.
    """
    if isinstance(coords, Support) and coords.dimensions == case.problem.dimensions:
        problem = case.problem.within(coords)
        if problem is not case.problem:
            case = replace(case, problem=problem, parameters=dict(case.parameters), inputs=dict(case.inputs))
    problem, given = case.problem, coords
    if isinstance(coords, Support):
        if case.extents is None and problem.needs_extents:
            case = replace(case, extents=coords.extents, parameters=dict(case.parameters), inputs=dict(case.inputs))
        extra = {name: array for name, (_, array) in coords.variables().items()}
        head = "connectivity"
        cells = {n.removeprefix(head).lstrip("_"): v for n, v in extra.items() if n.startswith(head)}
        mask, connectivity = extra.get("mask", mask), cells or connectivity
        if "node_volume" in extra:
            node_attributes = {"volume": extra["node_volume"], **(node_attributes or {})}
        coords = {name: array for name, (_, array) in coords.coordinates().items()}
    if isinstance(given, Support) and given.dimensions != problem.dimensions:
        raise InputError(f"coords: {given!r}, but {problem.name} has {problem.dimensions} dimensions of space")
    fields = {name: _with_dims(name, value, given, problem) for name, value in fields.items()}
    outside = None if mask is None else plain("mask", mask) == 0
    values: dict[str, Any] = {}
    time = _times(times, problem)
    known = [spec.name for spec in problem.fields]
    sizes = {} if time is None else {"time": time.size}
    nodal = any("node" in dims for dims, _ in fields.values())
    count = _counts(node_count, time, nodal)
    if count is not None:  # entries that no frame uses are cut off; what is left is padding where counts differ
        widest = int(count.max(initial=0))
        fields = {k: (dims, plain(f"fields: {k!r}", a)[..., :widest]) for k, (dims, a) in fields.items()}
        coords = {k: plain(f"coords: {k!r}", a)[..., :widest] for k, a in coords.items()}
        count = count if np.any(count < widest) else None
    positions = _positions(coords, sizes, case, nodal, count)
    if not fields:
        raise InputError(f"fields: expected at least one of {known}, got none")
    for name, (dims, array) in fields.items():
        base = next((name.removesuffix(s) for s in schema.DERIVED if name.endswith(s)), name)
        if name not in known and base not in known:
            raise InputError(f"fields: {problem.name} has no field {name!r}{suggest(base, known)}")
        data = plain(f"fields: {name!r}", array)
        if data.dtype.kind != "f":
            raise InputError(f"fields: {name!r} has type {data.dtype}, expected floating point")
        dims = tuple(dims)
        expected = tuple(sizes.get(dim, -1) for dim in dims)
        if ("time" in dims) != (time is not None) or (dims and time is not None and dims[0] != "time"):
            raise InputError(f"fields: {name!r} has dims {dims}, expected {'no' if time is None else 'first'} 'time'")
        if -1 in expected:
            raise InputError(f"fields: {name!r} has dimension {dims[expected.index(-1)]!r}, but coords lack it")
        if data.shape != expected:
            raise InputError(f"fields: {name!r} has shape {data.shape}, expected {expected} over {dims}")
        if not nodal and len(dims) - (time is not None) != problem.dimensions:
            axes = f"{problem.dimensions} axes of space"
            raise InputError(f"fields: {name!r} has dims {dims}, expected {axes} for {problem.name}")
        data = data if count is None else _padded(data, count)
        if outside is not None and outside.shape == data.shape[data.ndim - outside.ndim :]:
            data = np.where(outside & ~np.isfinite(data), np.zeros((), data.dtype), data)
        holes = ~np.isfinite(data) if count is None else ~np.isfinite(data) & _inside(data, count)
        if status == "ok" and holes.any():
            place = np.argwhere(holes)[0]
            raise InputError(f"fields: {name!r} is not finite at index {tuple(int(i) for i in place)} of {dims}")
        unit, text = schema.units_of(problem, name)
        values[name] = (dims, data, {"units": unit, "long_name": text})
    values |= _inputs(case)
    if mask is not None:
        dims = tuple(d for d in schema.SPACE if d in sizes)
        data = plain("mask", mask).astype(np.uint8)
        if data.shape != tuple(sizes[d] for d in dims):
            raise InputError(f"mask: shape {data.shape}, expected {tuple(sizes[d] for d in dims)} over {dims}")
        if not data.any():
            raise InputError("mask: expected at least one cell that is fluid, got none")
        values["mask"] = (dims, data, {"units": "1", **schema.flag_attrs(("solid", "fluid"), "cells that are fluid")})
    if count is not None:
        if connectivity is not None or node_attributes:
            raise InputError("node_count: nodes come and go, but cells and node_attributes need fixed nodes")
        values[_nodes.COUNT] = (("time",), count, {"units": "1", "long_name": "nodes of each frame"})
    for kind, cells in (connectivity if isinstance(connectivity, Mapping) else {"": connectivity}).items():
        if cells is not None:
            values |= _cells(str(kind), cells, sizes.get("node", 0), problem.dimensions)
    for name, array in (node_attributes or {}).items():
        values |= _attribute(name, array, sizes.get("node", 0))
    for name, array in (quantities or {}).items():
        values[name] = (("time",), *_quantity(problem, name, array, time))
    if time is not None:
        note = {"units": schema.units_in_time(problem), "long_name": "time", "axis": "T"}
        positions["time"] = (("time",), time, note)
    root = {
        "Conventions": schema.CONVENTIONS,
        "schema_version": schema.VERSION,
        **case.to_attrs(),
        "solver": solver,
        "settings": json.dumps(dict(settings or {}), sort_keys=True),
        "sciml_version": version(),
        "status": status,
        **{key: _plain(key, value) for key, value in (attrs or {}).items()},
    }
    return xr.Dataset(values, positions, root)


def sampled(case: Case, found: xr.Dataset, points: np.ndarray) -> xr.Dataset:
    """A solution at points, by linear interpolation on its own support; values on faces are left out.

    Args:
        points: (N, D).
    """
    support = support_of(case, found)
    steady = "time" not in found.dims
    moving = any("time" in found[axis].dims for axis in "xyz" if axis in found.variables)
    each = [support_of(case, found, k) for k in range(found.sizes["time"])] if moving else [support]
    fields = {}
    for name, field in found.data_vars.items():
        if set(support.dims) <= set(field.dims) and set(field.dims) <= {"time", *support.dims} and name != "mask":
            values = field.transpose(*([] if steady else ["time"]), *support.dims).values
            frames = [values] if not moving else list(values[:, None])  # nodes that move have places of their own
            sampled = np.concatenate([s.sample(v, points) for s, v in zip(each, frames, strict=True)])
            fields[str(name)] = (("node",) if steady else ("time", "node"), sampled)
    times = None if steady else found["time"].values
    settings = json.loads(found.attrs.get("settings", "{}"))
    return solution(
        case, times, fields, Points(points), solver=found.attrs.get("solver", ""), settings=settings,
        status=found.attrs["status"],
    )  # fmt: skip


def _with_dims(name: str, value: Any, coords: Any, problem: Any) -> tuple[tuple[str, ...], Any]:
    """(dims, array) of a field, however it was given."""
    if isinstance(value, xr.DataArray):
        return tuple(map(str, value.dims)), value.values
    if isinstance(value, tuple) and len(value) == 2 and all(isinstance(d, str) for d in value[0]):
        return tuple(value[0]), value[1]
    if isinstance(value, np.ndarray) and isinstance(coords, Support):
        return (coords.dims if problem.steady else ("time", *coords.dims)), value
    raise InputError(
        f'fields: {name!r}: expected (dims, array), as in {name!r}: (("time", "y", "x"), array), '
        f"or an array beside a Support, got {type(value).__name__}"
    )


def _quantity(problem: Any, name: str, values: Any, time: np.ndarray | None) -> tuple[np.ndarray, dict[str, str]]:
    """Numbers over time and what they are called."""
    known = {spec.name: spec for spec in problem.quantities}
    if name not in known:
        raise InputError(f"quantities: {problem.name} has none that is called {name!r}{suggest(name, known)}")
    found = plain(f"quantities: {name!r}", values)
    if time is None or found.shape != time.shape or found.dtype.kind != "f":
        raise InputError(f"quantities: {name!r} has shape {found.shape}, expected one floating-point number a time")
    return found, {"units": known[name].unit, "long_name": known[name].description or name}


def _times(times: Any, problem: Any) -> np.ndarray | None:
    if times is None:
        if not problem.steady:
            raise InputError(f"times: {problem.name} is transient, expected an array of times, got None")
        return None
    if problem.steady:
        raise InputError(f"times: {problem.name} is steady, expected None, got {times!r:.80}")
    time = np.atleast_1d(clock("times", times, schema.units_in_time(problem)))
    if time.ndim != 1 or not np.isfinite(time).all() or np.any(np.diff(time) <= 0):
        raise InputError(f"times: expected finite, increasing numbers, got {np.array2string(time, threshold=8)}")
    return time


def _counts(node_count: Any, time: np.ndarray | None, nodal: bool) -> np.ndarray | None:
    """Nodes of each frame."""
    if node_count is None:
        return None
    count = plain("node_count", node_count)
    if time is None or not nodal:
        raise InputError("node_count: expected None, as the fields are not over ('time', 'node')")
    if count.dtype.kind not in "iu" or count.shape != time.shape or count.min(initial=0) < 0:
        raise InputError(f"node_count: expected {time.size} integers, one a frame, got {count.dtype} {count.shape}")
    return count.astype(np.int64)


def _inside(array: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Where (T, N) is no padding."""
    return np.arange(array.shape[1]) < count[:, None]


def _padded(array: np.ndarray, count: np.ndarray) -> np.ndarray:
    return np.where(_inside(array, count), array, np.asarray(np.nan, array.dtype))


def _positions(
    coords: Mapping[str, Any], sizes: dict[str, int], case: Case, nodal: bool, count: np.ndarray | None
) -> dict[str, Any]:
    """Coordinate variables; enters the sizes of their dimensions into `sizes`."""
    unit = schema.units_in_space(case.problem)
    found: dict[str, Any] = {}
    arrays = {name: plain(f"coords: {name!r}", array).astype(np.float64) for name, array in coords.items()}
    domain = case.geometry
    ends = dict(zip("xyz", zip(domain.extents, schema.periodic_axes(domain), strict=True), strict=False))
    for name, array in arrays.items():
        axis = schema.axis_of(name)
        if axis is None:
            raise InputError(f"coords: {name!r} is not an axis{suggest(name, ['x', 'y', 'z', 'x_face', 'y_face'])}")
        if count is not None:
            if array.ndim != 2 or len(array) != len(count) or array.shape[1] < count.max(initial=0):
                got = f"(T, N) for the {len(count)} frames of node_count, N at least {count.max(initial=0)}"
                raise InputError(f"coords: {name!r} has shape {array.shape}, expected {got}")
            array = _padded(array, count)
        if not np.isfinite(array if count is None else array[_inside(array, count)]).all():
            raise InputError(f"coords: {name!r} is not finite")
        note = {"units": unit, "long_name": f"{axis} coordinate", "axis": axis.upper()}
        if nodal:
            if array.ndim not in (1, 2) or array.shape[-1] != sizes.setdefault("node", array.shape[-1]):
                raise InputError(f"coords: {name!r} has shape {array.shape}, expected {sizes.get('node')} nodes")
            found[name] = (("time", "node")[-array.ndim :], array, note)
        else:
            if array.ndim != 1 or array.size < 1 or np.any(np.diff(array) <= 0):
                raise InputError(f"coords: {name!r} must be 1-D and strictly increasing, got shape {array.shape}")
            if axis not in ends:
                raise InputError(f"coords: {name!r} is not an axis of {case.problem.name}, which has {''.join(ends)}")
            (low, high), periodic = ends[axis]
            schema.require_cover(f"coords: {name!r}", name, array, low, high, periodic)
            sizes[name] = array.size
            found[name] = ((name,), array, note)
    return found


def _cells(kind: str, connectivity: Any, nodes: int, dimensions: int) -> dict[str, Any]:
    """The variable that holds the cells of one kind; of the only one where `kind` is empty."""
    name = f"connectivity_{kind}" if kind else "connectivity"
    if kind and kind not in schema.KINDS:
        raise InputError(f"connectivity: {kind!r} is not a kind of cells{suggest(kind, schema.KINDS)}")
    cells = plain(name, connectivity)
    fits = cells.ndim == 2 and cells.dtype.kind in "iu" and cells.min(initial=0) >= 0
    if not fits or cells.max(initial=-1) >= nodes:
        got = f"{cells.dtype} of shape {cells.shape}"
        got += f" from {cells.min()} to {cells.max()}" if cells.size and cells.dtype.kind in "iu" else ""
        raise InputError(f"{name}: expected (cell, vertex) integers from 0 to {nodes - 1}, got {got}")
    if kind and cells.shape[1] != schema.KINDS[kind]:
        raise InputError(f"{name}: expected {schema.KINDS[kind]} vertices a cell, got {cells.shape[1]}")
    of = kind or kind_of(cells.shape[1], dimensions)
    role = {"line": "edge", "triangle": "face", "quadrilateral": "face"}.get(of, "volume")
    note = {"long_name": "nodes of each cell", "cf_role": f"{role}_node_connectivity", "start_index": 0}
    dims = (f"cell_{kind}", f"vertex_{kind}") if kind else ("cell", "vertex")
    return {name: (dims, cells.astype(np.int32), note)}


def _attribute(name: str, array: Any, nodes: int) -> dict[str, Any]:
    """The variable that holds what nodes have for good."""
    if not schema.NAME.match(str(name)) or name in ("row_size", "count"):
        raise InputError(f"node_attributes: {name!r:.60} is not a name for an attribute of nodes")
    values = plain(f"node_attributes: {name!r}", array)
    if values.dtype.kind == "b":
        values = values.astype(np.uint8)
    if values.dtype.kind not in "fiu" or values.shape != (nodes,):
        got = f"{values.dtype} of shape {values.shape}"
        raise InputError(f"node_attributes: {name!r} is {got}, expected ({nodes},) numbers, one a node")
    values = cast(f"node_attributes: {name!r}", values, storable(values.dtype))
    return {f"node_{name}": (("node",), values, {"units": "1", "long_name": str(name).replace("_", " ")})}


def _inputs(case: Case) -> dict[str, Any]:
    specs = {spec.name: spec for spec in case.problem.inputs}
    found = {}
    for name, (dims, array) in case.input_variables().items():
        base = name.removeprefix("input_")
        series = base.endswith("_times") and base not in specs
        spec = specs.get(base) or specs.get(base.rsplit("_", 1)[0])
        unit = schema.units_in_time(case.problem) if series else (spec.unit if spec else "1")
        found[name] = (dims, np.asarray(array), {"units": unit, "long_name": (spec and spec.description) or base})
    return found


def _plain(key: str, value: Any) -> Any:
    """An attribute value that NetCDF can hold: text, a number, a 1-D array; anything else as JSON."""
    if isinstance(value, str | int | float | np.integer | np.floating) and not isinstance(value, bool):
        return value
    if isinstance(value, np.ndarray) and value.ndim == 1 and value.dtype.kind in "fiu":
        return value
    try:
        return json.dumps(value, sort_keys=True)
    except TypeError:
        raise InputError(f"attrs: {key!r} is a {type(value).__name__}, expected text, a number or JSON") from None
