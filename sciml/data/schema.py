"""The data-set schema, version 1.0: the variables of a packed data set, their dimensions, and how they are checked.

A packed data set holds C cases of one problem. Case i has row_size[i] frames, stored one after another (a CF
"contiguous ragged array"), so that

    frames of case i  =  start_i ... start_i + row_size[i] - 1,     start_i = Σ_{j<i} row_size[j].

Variables (dims in brackets):

    row_size (case), frame_case (frame), time (frame)       the ragged index; steady sets have no `time`, a frame a case
    <field> (frame, [z, [y,]] x)                            float; faces use x_face, y_face, z_face
    <field> (obs)                                           node, cell or particle values, frame after frame; then also
        node_row_size (case) or (frame)                     node count of each case, or of each frame where it changes
        x, y, z (node) or (obs)                             positions: fixed, or moving from frame to frame
        node_<name> (node)                                  what fixed nodes have for good: material, kind of node
        cell_row_size (case), connectivity (cell, vertex)   cells of fixed node counts, 0-based and local to the case
        cell_row_size_<kind>, connectivity_<kind>           the same for each of several kinds of cells, over
                                                            (cell_<kind>, vertex_<kind>), see KINDS
    <parameter> (case)                                      float64
    x_min, x_max, ... (case)                                extents
    <axis>_coordinate (case, <axis>)                        only where an axis is not uniform
    mask (case, [z, [y,]] x)                                uint8, 1 = fluid; absent where all is fluid
    input_<name> (case, ...)                                static inputs of one shape in all cases; else, flat:
        input_<name> (<name>_obs)                           values one case after another; its attribute `dims` names
        input_<name>_row_size (case)                        the axes that they have in a case; their number (0: none)
        input_<name>_shape (case, <name>_axis)              and, for several axes, the shape
    boundary_<boundary>_<field> (frame)                     boundary values; along a boundary also over its points
    subset, split, split_<name>, status (case)              uint8 with flag_values and flag_meanings; split_<name> are
                                                            further splits, for instance the folds of a cross-validation
    case_json, source_json, source_layout (case)            text: the case, what an importer read, how it was laid out
    status_message, case_attrs_json (case)                  text: what failed, attributes that differ between cases
    sha256 (case, digest)                                   uint8, see `sciml.data.digest`

Numbers are float32, float64 or integers: half precision is widened, long double narrowed. Root attributes name the
fields and parameters (`fields`, `parameters`: names separated by blanks), the problem and the schema version. A reader
accepts every 1.x; a major version that it does not know is refused.
"""

from __future__ import annotations

import re
from typing import Any, NoReturn

import numpy as np

from sciml.data._decoded import CODING
from sciml.errors import FileFormatError, InputError

VERSION = "1.0"
CONVENTIONS = "CF-1.10"
SPACE = ("z", "y", "x")
SPLITS = ("train", "validation", "test", "unused")
STATUSES = ("ok", "failed")
DERIVED = ("_face", "_tendency", "_std", "_lower", "_upper")
_DERIVED_TEXT = (
    "normal to the faces", "rate of change", "standard deviation", "lower end of the interval",
    "upper end of the interval",
)  # fmt: skip
TEXT = ("case_json", "source_json", "source_layout", "status_message", "case_attrs_json")
KINDS = {  # vertices of each cell
    "line": 2, "triangle": 3, "quadrilateral": 4, "tetrahedron": 4, "hexahedron": 8, "prism": 6, "pyramid": 5,
}  # fmt: skip
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
    for suffix, text in zip(DERIVED, _DERIVED_TEXT, strict=True):
        base = name.removesuffix(suffix)
        if name.endswith(suffix) and base in specs:
            unit = specs[base].unit
            unit = unit if suffix != "_tendency" else ("s-1" if unit in ("1", "") else f"{unit} s-1")
            return unit, f"{specs[base].description or base}, {text}"
    return "1", name


def describes(problem: Any, name: str) -> bool:
    """Whether `name` is a field of the problem or derived from one, so that its units are known."""
    known = [spec.name for spec in problem.fields]
    return name in known or any(name.endswith(s) and name.removesuffix(s) in known for s in DERIVED)


def units_in_time(problem: Any) -> str:
    return problem.time_unit


def units_in_space(problem: Any) -> str:
    return problem.length_unit


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


def node_counts(dataset: Any) -> np.ndarray:
    """The number of nodes in every frame: (F,)."""
    variable = dataset.variables["node_row_size"]
    count = np.asarray(variable.values, dtype=np.int64)
    if variable.dims == ("frame",):
        return count
    return np.repeat(count, np.asarray(dataset.variables["row_size"].values, dtype=np.int64))


def input_names(dataset: Any) -> list[str]:
    """Names of the inputs in a data set or a solution, without the variables that say how they are laid out."""
    names = [str(n).removeprefix("input_") for n in dataset.variables if str(n).startswith("input_")]
    helpers = {f"{n}_{part}" for n in names if is_flat(dataset, n) for part in ("row_size", "shape")}
    return [n for n in names if n not in helpers]


def is_flat(dataset: Any, name: str) -> bool:
    """Whether an input is stored flat, one case after another."""
    return tuple(dataset.variables[f"input_{name}"].dims) == (f"{name}_obs",)


def covers(dim: str, points: Any, low: Any, high: Any, periodic: bool | None = False) -> Any:
    """Whether positions along an axis cover the domain, low ... high: (..., n), (...), (...) -> (...).

    Cells must tile it: no cell is missing at an end, and equal cells stand in the middle. Points from end to end are
    taken, too, and on a periodic axis any shift, so points at i L / n. Faces and nodes ("x_face", "x_node") run from
    end to end. `periodic` is None where it is not known: then what is right for either is taken.
    """
    points, low, high = (np.asarray(a, dtype=np.float64) for a in (points, low, high))
    slack = 1e-5 * (high - low) + 1e-6 * np.maximum(np.abs(low), np.abs(high))  # positions may be float32
    first, last = points[..., 0] - low, high - points[..., -1]
    fits = (first >= -slack) & (last >= -slack)
    if points.shape[-1] == 1:
        return fits
    steps = np.diff(points, axis=-1)
    left, right = steps[..., 0], steps[..., -1]
    if dim not in SPACE:
        return fits & (first <= slack) & (last <= slack + (0.0 if periodic is False else 1.0) * right)
    seam = (first + last > slack) & (first + last <= 1.5 * np.maximum(left, right) + slack)
    if periodic:
        return fits & seam
    equal = np.ptp(steps, axis=-1) <= 1e-3 * left + slack
    centred = np.abs(first - last) <= 0.01 * left + 2 * slack
    tiled = (first < 0.999 * left + slack) & (last < 0.999 * right + slack)
    tiled &= centred | ~equal | (points.shape[-1] < 3)
    return fits & (tiled if periodic is False else tiled | seam)


def require_cover(what: str, dim: str, points: np.ndarray, low: float, high: float, periodic: bool) -> None:
    """Raise InputError where positions along an axis do not cover the domain, see `covers`."""
    if not covers(dim, points, low, high, periodic):
        kind = "cell centres that tile" if dim in SPACE else "positions from end to end of"
        reach = f"{len(points)} positions from {points[0]:g} to {points[-1]:g}"
        raise InputError(f"{what} has {reach}, expected {kind} the domain, {low:g} to {high:g}")


def periodic_axes(geometry: Any) -> tuple[bool, ...]:
    """For each axis of a domain, whether its ends are identified."""
    return tuple(getattr(geometry, "periodic", ())) or (False,) * len(geometry.extents)


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
                low, high = (self.ds.variables[f"{axis_of(str(dim))}_{end}"].values for end in ("min", "max"))
                covered = covers(str(dim), points, low, high, None)
                if not np.all(covered):
                    i = int(np.argmin(covered))
                    reach = f"{points[i, 0]:g} to {points[i, -1]:g} for case {i}, expected all of"
                    self.fail(f"variable '{dim}_coordinate' covers {reach} {low[i]:g} to {high[i]:g}")

    def nodes(self) -> None:
        if "node_row_size" not in self.ds.variables:
            return
        fixed = self.ds.variables["node_row_size"].dims == ("case",)
        count = self.small("node_row_size", ("case",) if fixed else ("frame",), "iu").astype(np.int64)
        if count.size and (count.min() < 0 or count.max() > 2**40):
            self.fail(f"variable 'node_row_size' has {count.min()} to {count.max()}, expected 0 or more")
        if float(node_counts(self.ds).astype(np.float64).sum()) != self.ds.sizes.get("obs", 0):
            told = "times 'row_size' does" if fixed else "does"
            self.fail(f"variable 'node_row_size' {told} not add up to the length of 'obs'")
        if "node" in self.ds.sizes and (not fixed or count.sum() != self.ds.sizes["node"]):
            total = f"sums to {count.sum()}" if fixed else "changes from frame to frame"
            self.fail(f"variable 'node_row_size' {total}, expected {self.ds.sizes['node']} fixed nodes")
        for name, var in ((str(n), v) for n, v in self.ds.variables.items()):
            if name in SPACE:
                self.variable(name, ("obs",) if var.dims == ("obs",) else ("node",), "f")
            elif name.startswith("node_") and name != "node_row_size":
                self.variable(name, ("node",), "fiu")
            elif name.startswith("connectivity"):
                if not fixed:
                    self.fail(f"variable {name!r} needs node counts that do not change, over ('case',)")
                self.cells(name, count)

    def cells(self, name: str, nodes: np.ndarray) -> None:
        suffix = name.removeprefix("connectivity")
        if suffix and suffix[1:] not in KINDS:
            self.fail(f"variable {name!r} is of no kind of cells known here: {', '.join(KINDS)}")
        cells = self.small(f"cell_row_size{suffix}", ("case",), "iu").astype(np.int64)
        var = self.variable(name, (f"cell{suffix}", f"vertex{suffix}"), "iu")
        if suffix and var.shape[1] != KINDS[suffix[1:]]:
            self.fail(f"variable {name!r} has cells of {var.shape[1]} vertices, expected {KINDS[suffix[1:]]}")
        if cells.min() < 0 or float(cells.astype(np.float64).sum()) != var.shape[0]:
            self.fail(f"variable 'cell_row_size{suffix}' sums to {cells.sum()}, expected {var.shape[0]} cells")
        limit = np.repeat(nodes, cells)[:, None]
        values = np.asarray(var.values)
        if np.any(values < 0) or np.any(values >= limit):
            self.fail(f"variable {name!r} points to nodes that its case does not have")

    def inputs(self) -> None:
        for name in input_names(self.ds):
            var = self.ds.variables[f"input_{name}"]
            if var.dtype.kind not in "fiu":
                self.fail(f"variable 'input_{name}' has type {var.dtype}, expected numbers")
            if var.dims[:1] == ("case",):
                continue
            if not is_flat(self.ds, name):
                expected = f"'case' first, or ('{name}_obs',)"
                self.fail(f"variable 'input_{name}' has dimensions {tuple(var.dims)}, expected {expected}")
            axes = str(var.attrs.get("dims", "")).split()
            if not axes or len(set(axes)) < len(axes) or not all(NAME.match(axis) for axis in axes):
                self.fail(f"variable 'input_{name}' has dims {axes!r:.60}, expected the names of its axes")
            count = self.small(f"input_{name}_row_size", ("case",), "iu").astype(np.int64)
            if count.min() < 0 or float(count.astype(np.float64).sum()) != var.shape[0]:
                self.fail(f"variable 'input_{name}_row_size' sums to {count.sum()}, expected {var.shape[0]}")
            if len(axes) > 1:
                shape = self.small(f"input_{name}_shape", ("case", f"{name}_axis"), "iu")
                ok = shape.shape[1] == len(axes) and shape.min(initial=0) >= 0
                if not ok or np.any(np.prod(shape.astype(np.float64), axis=1) != count):
                    self.fail(f"variable 'input_{name}_shape' does not agree with 'input_{name}_row_size'")

    def cases(self) -> None:
        ragged = ["case", "frame", "obs", "node", "cell", *(f"cell_{kind}" for kind in KINDS)]
        flat = {f"input_{n}": (f"{n}_obs",) for n in input_names(self.ds) if is_flat(self.ds, n)}
        for name, var in self.ds.variables.items():
            first = tuple(var.dims[:1])
            if not NAME.match(str(name)) or (first not in [(dim,) for dim in ragged] and flat.get(str(name)) != first):
                self.fail(f"variable {str(name)[:60]!r} is over {tuple(var.dims)}, expected one of {ragged} first")
        for name in parameter_names(self.ds):
            values = self.small(name, ("case",), "f")
            if not np.all(np.isfinite(values)):
                self.fail(f"variable {name!r} is not finite for case {int(np.argmin(np.isfinite(values)))}")
        for name, var in self.ds.variables.items():
            coded = [key for key in CODING if key in var.attrs]
            if coded:
                self.fail(f"variable {name!r} has the attribute {coded[0]!r}, so its values are not decoded yet")
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
                self.variable(str(name), ("frame", f"{name}_point")[: max(var.ndim, 1)], "f")
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
        described = [name for name in field_names(self.ds) if describes(problem, name)]
        expected = {name: units_of(problem, name)[0] for name in described}
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
        texts = {name: units_of(problem, name)[1] for name in described}
        texts |= {spec.name: spec.description or spec.name for spec in problem.parameters if spec.name in expected}
        for name, text in texts.items():
            got = self.ds.variables[name].attrs.get("long_name", "")
            if got != text and got in texts.values():
                self.fail(f"variable {name!r} is described as {got!r}, expected {text!r}: swapped variables?")


_KINDS = {"iu": "integers", "u": "uint8", "f": "floating point", "fiu": "numbers", "USOT": "text"}


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
    test.inputs()
    test.cases()
    test.units()
