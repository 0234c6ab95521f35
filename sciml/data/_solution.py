"""One solution as an `xarray.Dataset`: the form in which every solver answers."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from sciml.arrays import clock, plain
from sciml.data import schema
from sciml.errors import InputError, suggest
from sciml.problem import Case

VOLATILE = ("wall_time", "created", "host")  # root attributes that differ between equal runs: kept out of data files


def version() -> str:
    try:
        return importlib.metadata.version("sciml")
    except importlib.metadata.PackageNotFoundError:
        return "0"


def solution(
    case: Case,
    times: Any,
    fields: Mapping[str, tuple[tuple[str, ...], Any]],
    coords: Mapping[str, Any],
    *,
    solver: str = "",
    settings: Mapping[str, Any] | None = None,
    status: str = "ok",
    mask: Any = None,
    connectivity: Any = None,
    attrs: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Label the arrays of one solved case.

    Args:
        case: the case that was solved.
        times: (T,) strictly increasing times in the problem's time unit; None for steady problems.
        fields: name -> (dims, array). Grid fields have dims ("time", ["z", ["y",]] "x") with "x_face" and the like for
            face values; node or particle fields have ("time", "node"). Steady fields have no "time". Names are the
            problem's fields, or these with "_face", "_tendency" or "_std" appended.
        coords: axis name -> (n,) increasing positions ("x", "y", "x_face", ...) in m; for nodes "x", "y", "z" are (N,)
            node positions, or (T, N) where nodes move.
        solver, settings: what computed it; settings are stored as JSON.
        status: "ok", or one line that says what failed; the frames up to the failure are then given.
        mask: (y, x) 1 where fluid, 0 elsewhere; None where everything is fluid.
        connectivity: (cell, vertex) 0-based node numbers, for node fields.
        attrs: further root attributes (text, numbers, 1-D arrays).

    Returns:
        Dataset with the fields, coordinates, `input_<name>` variables, and attributes that rebuild the case.

    Raises:
        InputError: a name, shape or value that does not fit; the message names the argument.
    """
    problem = case.problem
    values: dict[str, Any] = {}
    time = _times(times, problem)
    known = [spec.name for spec in problem.fields]
    sizes = {} if time is None else {"time": time.size}
    positions = _positions(coords, sizes, problem, any("node" in dims for dims, _ in fields.values()))
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
        if status == "ok" and not np.isfinite(data).all():
            place = np.argwhere(~np.isfinite(data))[0]
            raise InputError(f"fields: {name!r} is not finite at index {tuple(int(i) for i in place)} of {dims}")
        unit, text = schema.units_of(problem, name)
        values[name] = (dims, data, {"units": unit, "long_name": text})
    values |= _inputs(case)
    if mask is not None:
        dims = tuple(d for d in schema.SPACE if d in sizes)
        data = plain("mask", mask).astype(np.uint8)
        if data.shape != tuple(sizes[d] for d in dims):
            raise InputError(f"mask: shape {data.shape}, expected {tuple(sizes[d] for d in dims)} over {dims}")
        values["mask"] = (dims, data, {"units": "1", **schema.flag_attrs(("solid", "fluid"), "cells that are fluid")})
    if connectivity is not None:
        cells = plain("connectivity", connectivity)
        nodes = sizes.get("node", 0)
        fits = cells.ndim == 2 and cells.dtype.kind in "iu" and cells.min(initial=0) >= 0
        if not fits or cells.max(initial=-1) >= nodes:
            raise InputError(f"connectivity: expected (cell, vertex) integers from 0 to {nodes - 1}, got {cells.shape}")
        note = {"long_name": "nodes of each cell", "cf_role": "face_node_connectivity", "start_index": 0}
        values["connectivity"] = (("cell", "vertex"), cells.astype(np.int32), note)
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


def _times(times: Any, problem: Any) -> np.ndarray | None:
    if times is None:
        if not problem.steady:
            raise InputError(f"times: {problem.name} is transient, expected an array of times, got None")
        return None
    time = np.atleast_1d(clock("times", times, schema.units_in_time(problem)))
    if time.ndim != 1 or not np.isfinite(time).all() or np.any(np.diff(time) <= 0):
        raise InputError(f"times: expected finite, increasing numbers, got {np.array2string(time, threshold=8)}")
    return time


def _positions(coords: Mapping[str, Any], sizes: dict[str, int], problem: Any, nodal: bool) -> dict[str, Any]:
    """Coordinate variables; enters the sizes of their dimensions into `sizes`."""
    unit = schema.units_in_space(problem)
    found: dict[str, Any] = {}
    arrays = {name: plain(f"coords: {name!r}", array).astype(np.float64) for name, array in coords.items()}
    for name, array in arrays.items():
        axis = schema.axis_of(name)
        if axis is None:
            raise InputError(f"coords: {name!r} is not an axis{suggest(name, ['x', 'y', 'z', 'x_face', 'y_face'])}")
        if not np.isfinite(array).all():
            raise InputError(f"coords: {name!r} is not finite")
        note = {"units": unit, "long_name": f"{axis} coordinate", "axis": axis.upper()}
        if nodal:
            if array.shape[-1] != sizes.setdefault("node", array.shape[-1]) or array.ndim > 2:
                raise InputError(f"coords: {name!r} has shape {array.shape}, expected {sizes['node']} nodes")
            found[name] = (("time", "node")[-array.ndim :], array, note)
        else:
            if array.ndim != 1 or array.size < 1 or np.any(np.diff(array) <= 0):
                raise InputError(f"coords: {name!r} must be 1-D and strictly increasing, got shape {array.shape}")
            sizes[name] = array.size
            found[name] = ((name,), array, note)
    return found


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
