"""The data-set schema, version 1.0: the variables of a packed data set, their dimensions, and how they are checked.

A packed data set holds C cases of one problem. Case i has row_size[i] frames, stored one after another (a CF
"contiguous ragged array"), so that

    frames of case i  =  start_i ... start_i + row_size[i] - 1,     start_i = Σ_{j<i} row_size[j].

Variables (dims in brackets):

    row_size (case), frame_case (frame), time (frame)       the ragged index; steady sets have no `time`, a frame a case
    <field> (frame, [z, [y,]] x)                            float; faces use x_face, y_face, z_face
    <field> (obs)                                           node, cell or particle values, frame after frame; then also
        node_row_size (case), x, y, z (node)                node count and positions of each case (moving: x (obs))
        cell_row_size (case), connectivity (cell, vertex)   0-based and local to the case
    <parameter> (case)                                      float64
    x_min, x_max, ... (case)                                extents
    <axis>_coordinate (case, <axis>)                        only where an axis is not uniform
    mask (case, [z, [y,]] x)                                uint8, 1 = fluid; absent where all is fluid
    input_<name> (case, ...)                                static inputs, NaN where a case has none
    boundary_<boundary>_<field> (frame)                     boundary values
    subset, split, split_<name>, status (case)              uint8 with flag_values and flag_meanings
    case_json, source_json, source_layout (case)            text: the case, what an importer read, how it was laid out
    status_message, case_attrs_json (case)                  text: what failed, attributes that differ between cases
    sha256 (case, digest)                                   uint8, see `sciml.data.digest`

Root attributes name the fields and parameters (`fields`, `parameters`: names separated by blanks), the problem and the
schema version. A reader accepts every 1.x; a major version that it does not know is refused.
"""

from __future__ import annotations

import re
from typing import Any, NoReturn

import numpy as np

from sciml.errors import FileFormatError

VERSION = "1.0"
CONVENTIONS = "CF-1.10"
SPACE = ("z", "y", "x")
SPLITS = ("train", "validation", "test", "unused")
STATUSES = ("ok", "failed")
DERIVED = ("_face", "_tendency", "_std")
TEXT = ("case_json", "source_json", "source_layout", "status_message", "case_attrs_json")
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,127}\Z")
AXIS = re.compile(r"([zyx])(_face|_node)?\Z")

_REQUIRED_ATTRS = ("schema_version", "problem", "fields", "parameters")


def axis_of(dim: str) -> str | None:
    """The axis ("x", "y" or "z") that a spatial dimension such as "x", "x_face" or "y_node" runs along, else None."""
    match = AXIS.match(dim)
    return match.group(1) if match else None


def units_of(problem: Any, name: str) -> tuple[str, str]:
    """(units, long_name) of a field or of a quantity derived from it: faces, tendencies, standard deviations."""
    specs = {spec.name: spec for spec in problem.fields}
    if name in specs:
        return specs[name].unit, specs[name].description or name
    for suffix, text in zip(DERIVED, ("normal to the faces", "rate of change", "standard deviation"), strict=True):
        base = name.removesuffix(suffix)
        if name.endswith(suffix) and base in specs:
            unit = specs[base].unit
            unit = unit if suffix != "_tendency" else ("s-1" if unit in ("1", "") else f"{unit} s-1")
            return unit, f"{specs[base].description or base}, {text}"
    return "1", name


def units_in_time(problem: Any) -> str:
    return getattr(problem, "time_unit", "s")


def units_in_space(problem: Any) -> str:
    return getattr(problem, "length_unit", "m")


def flag_attrs(meanings: tuple[str, ...] | list[str], long_name: str) -> dict[str, Any]:
    """CF attributes of a uint8 variable whose value k means meanings[k]."""
    return {
        "flag_values": np.arange(len(meanings), dtype=np.uint8),
        "flag_meanings": " ".join(meanings),
        "long_name": long_name,
    }


def flag_names(variable: Any) -> np.ndarray:
    """The meaning of every value of a flag variable, as an array of strings."""
    meanings = np.array(str(variable.attrs["flag_meanings"]).split())
    return meanings[np.asarray(variable.values, dtype=np.int64)]


def starts(row_size: np.ndarray) -> np.ndarray:
    """start_i for every case, and the total at the end: (C,) -> (C + 1,)."""
    return np.concatenate([[0], np.cumsum(np.asarray(row_size, dtype=np.int64))])


def is_packed(dataset: Any) -> bool:
    return "row_size" in dataset.variables


def field_names(dataset: Any) -> list[str]:
    return str(dataset.attrs.get("fields", "")).split()


def parameter_names(dataset: Any) -> list[str]:
    return str(dataset.attrs.get("parameters", "")).split()


class _Check:
    """The checks of one data set; `where` (a file name, or "data set") opens every message."""

    def __init__(self, dataset: Any, where: str) -> None:
        self.ds, self.where = dataset, where

    def fail(self, text: str) -> NoReturn:
        raise FileFormatError(f"{self.where}: {text}")

    def variable(self, name: str, dims: tuple[str, ...], kinds: str) -> Any:
        if name not in self.ds.variables:
            self.fail(f"variable {name!r} is missing")
        var = self.ds.variables[name]
        if tuple(var.dims) != dims:
            self.fail(f"variable {name!r} has dimensions {tuple(var.dims)}, expected {dims}")
        if var.dtype.kind not in kinds:
            self.fail(f"variable {name!r} has type {var.dtype}, expected {_KINDS[kinds]}")
        return var

    def small(self, name: str, dims: tuple[str, ...], kinds: str) -> np.ndarray:
        return np.asarray(self.variable(name, dims, kinds).values)

    def root(self) -> None:
        for key in _REQUIRED_ATTRS:
            if not isinstance(self.ds.attrs.get(key), str):
                self.fail(f"root attribute {key!r} is missing or not text; is this a sciml data set?")
        version = self.ds.attrs["schema_version"]
        match = re.match(r"(\d{1,4})\.(\d{1,4})\Z", version)
        if not match:
            self.fail(f"schema_version is {version[:40]!r}, expected {VERSION!r}")
        elif int(match.group(1)) != int(VERSION.split(".")[0]):
            newer = int(match.group(1)) > int(VERSION.split(".")[0])
            hint = "install a newer sciml" if newer else "generate or import the data set again"
            self.fail(f"schema_version is {version}, this sciml reads {VERSION.split('.')[0]}.x; {hint}")
        if not field_names(self.ds):
            self.fail("root attribute 'fields' names no field")
        for name in field_names(self.ds) + parameter_names(self.ds):
            if not NAME.match(name):
                self.fail(f"{name[:60]!r} is not a name for a field or parameter")

    def index(self) -> None:
        rows = self.small("row_size", ("case",), "iu").astype(np.int64)
        if rows.size == 0:
            self.fail("there is no case (dimension 'case' is 0)")
        if rows.min() < 0:
            self.fail(f"variable 'row_size' has {rows.min()} for case {int(rows.argmin())}, expected 0 or more")
        frames = self.small("frame_case", ("frame",), "iu").astype(np.int64)
        if float(rows.astype(np.float64).sum()) != frames.size:
            self.fail(f"variable 'row_size' sums to {rows.sum()}, expected the {frames.size} frames of 'frame_case'")
        if not np.array_equal(frames, np.repeat(np.arange(rows.size), rows)):
            self.fail("variable 'frame_case' does not number the cases as 'row_size' lays them out")
        if "time" in self.ds.variables:
            time = self.small("time", ("frame",), "f")
            if not np.all(np.isfinite(time)):
                self.fail(f"variable 'time' is not finite at frame {int(np.argmin(np.isfinite(time)))}")
            falls = np.flatnonzero((np.diff(time) <= 0) & (np.diff(frames) == 0))
            if falls.size:
                self.fail(f"variable 'time' does not increase after frame {falls[0]} (case {frames[falls[0]]})")
        elif rows.max() > 1:
            self.fail("variable 'time' is missing, and row_size is above 1, so this is no steady set")

    def fields(self) -> None:
        nodes = "node_row_size" in self.ds.variables
        spatial = set()
        for name in field_names(self.ds):
            if name not in self.ds.variables:
                self.fail(f"variable {name!r} is missing, although attribute 'fields' names it")
            var = self.ds.variables[name]
            if var.dtype.kind != "f":
                self.fail(f"variable {name!r} has type {var.dtype}, expected floating point")
            ok = tuple(var.dims) == ("obs",) if nodes else _grid_dims(tuple(var.dims))
            if not ok:
                expected = "('obs',)" if nodes else "('frame', ..., 'x')"
                self.fail(f"variable {name!r} has dimensions {tuple(var.dims)}, expected {expected}")
            if not isinstance(var.attrs.get("units"), str):
                self.fail(f"variable {name!r} has no units")
            spatial.update(var.dims[1:])
        if nodes:
            self.nodes()
            return
        for axis in sorted({str(axis_of(dim)) for dim in spatial}):
            low = self.small(f"{axis}_min", ("case",), "f")
            high = self.small(f"{axis}_max", ("case",), "f")
            if not (np.all(np.isfinite(low)) and np.all(np.isfinite(high)) and np.all(low < high)):
                self.fail(f"variables '{axis}_min' and '{axis}_max' must be finite with min < max for every case")
        for dim in sorted(spatial):
            if f"{dim}_coordinate" in self.ds.variables:
                points = self.small(f"{dim}_coordinate", ("case", dim), "f")
                if not (np.all(np.isfinite(points)) and np.all(np.diff(points, axis=1) > 0)):
                    self.fail(f"variable '{dim}_coordinate' must be finite and increasing")

    def nodes(self) -> None:
        rows = np.asarray(self.ds.variables["row_size"].values, dtype=np.int64)
        count = self.small("node_row_size", ("case",), "iu").astype(np.int64)
        if count.min() < 0 or count.max() > 2**40 or float(count @ rows.astype(np.float64)) != self.ds.sizes["obs"]:
            self.fail("variable 'node_row_size' times 'row_size' does not add up to the length of 'obs'")
        if "node" in self.ds.sizes and count.sum() != self.ds.sizes["node"]:
            self.fail(f"variable 'node_row_size' sums to {count.sum()}, expected {self.ds.sizes['node']} nodes")
        if "connectivity" in self.ds.variables:
            cells = self.small("cell_row_size", ("case",), "iu").astype(np.int64)
            var = self.variable("connectivity", ("cell", "vertex"), "iu")
            if cells.min() < 0 or cells.sum() != var.shape[0]:
                self.fail(f"variable 'cell_row_size' sums to {cells.sum()}, expected {var.shape[0]} cells")
            limit = np.repeat(count, cells)[:, None]
            values = np.asarray(var.values)
            if np.any(values < 0) or np.any(values >= limit):
                self.fail("variable 'connectivity' points to nodes that its case does not have")

    def cases(self) -> None:
        ragged = ("case", "frame", "obs", "node", "cell")
        for name, var in self.ds.variables.items():
            if not NAME.match(str(name)) or var.dims[:1] not in [(dim,) for dim in ragged]:
                self.fail(f"variable {str(name)[:60]!r} is over {tuple(var.dims)}, expected one of {ragged} first")
        for name in parameter_names(self.ds):
            values = self.small(name, ("case",), "f")
            if not np.all(np.isfinite(values)):
                self.fail(f"variable {name!r} is not finite for case {int(np.argmin(np.isfinite(values)))}")
        for name, var in self.ds.variables.items():
            if name in ("subset", "split", "status") or str(name).startswith("split_"):
                codes = self.small(str(name), ("case",), "u")
                if not isinstance(var.attrs.get("flag_meanings"), str):
                    self.fail(f"variable {name!r} has no flag_meanings")
                known = len(str(var.attrs["flag_meanings"]).split())
                if codes.size and codes.max() >= known:
                    self.fail(f"variable {name!r} has value {codes.max()}, expected below {known} (flag_meanings)")
            elif name in TEXT:
                self.small(str(name), ("case",), "USOT")
            elif str(name).startswith("boundary_"):
                self.variable(str(name), ("frame",), "f")
            elif str(name).startswith("input_") and var.dims[:1] != ("case",):
                self.fail(f"variable {name!r} has dimensions {tuple(var.dims)}, expected 'case' first")
        if "sha256" in self.ds.variables:
            self.variable("sha256", ("case", "digest"), "u")
        if "mask" in self.ds.variables:
            var = self.ds.variables["mask"]
            if var.dtype.kind != "u" or var.dims[:1] != ("case",):
                self.fail(f"variable 'mask' is {var.dtype} over {tuple(var.dims)}, expected uint8 over ('case', ...)")
            if var.size and np.asarray(var.values).max() > 1:
                self.fail("variable 'mask' has values other than 0 and 1")

    def units(self) -> None:
        problem = known_problem(self.ds.attrs["problem"])
        if problem is None:
            return
        expected = {name: units_of(problem, name)[0] for name in field_names(self.ds)}
        expected |= {spec.name: spec.unit for spec in problem.parameters if spec.name in self.ds.variables}
        if "time" in self.ds.variables:
            expected["time"] = units_in_time(problem)
        for spec in problem.fields:
            if spec.role == "state" and spec.name not in expected and "imported" not in self.ds.attrs:
                self.fail(f"variable {spec.name!r} is missing, a field of problem {self.ds.attrs['problem']!r}")
        for name, unit in expected.items():
            got = self.ds.variables[name].attrs.get("units")
            if got != unit:
                self.fail(f"variable {name!r} has units {got!r}, expected {unit!r}")
        texts = {name: units_of(problem, name)[1] for name in field_names(self.ds)}
        texts |= {spec.name: spec.description or spec.name for spec in problem.parameters if spec.name in expected}
        for name, text in texts.items():
            got = self.ds.variables[name].attrs.get("long_name", "")
            if got != text and got in texts.values():
                self.fail(f"variable {name!r} is described as {got!r}, expected {text!r}: swapped variables?")


_KINDS = {"iu": "integers", "u": "uint8", "f": "floating point", "USOT": "text"}


def _grid_dims(dims: tuple[str, ...]) -> bool:
    axes = [axis_of(dim) for dim in dims[1:]]
    return dims[:1] == ("frame",) and 1 <= len(axes) <= 3 and axes == list(SPACE[-len(axes) :])


def known_problem(name: str) -> Any:
    """The registered problem of that name (with default settings), or None where this package has no such class."""
    from sciml import registry

    try:
        import sciml.problems  # noqa: F401  (registers the problems)

        found = registry.problems.get(name)
    except (ValueError, ImportError):
        return None
    return found() if isinstance(found, type) else found


def check(dataset: Any, where: str = "data set") -> None:
    """Raise FileFormatError where a packed data set breaks the schema. Field values themselves are not read."""
    test = _Check(dataset, where)
    test.root()
    test.index()
    test.fields()
    test.cases()
    test.units()
