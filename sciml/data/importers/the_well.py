"""The Well: HDF5 files of simulations with a common schema (B trajectories, T frames; axes of space run x, y, z).

    dimensions             time (T) or (B, T), and one variable an axis
    boundary_conditions    <name>: of type periodic, wall or open, for some axes
    scalars                numbers of the file, of a trajectory (B), or of frames (B, T)
    t0_fields, t1_fields, t2_fields    (B, T, x, y, z, components): scalars, vectors (D), tensors (D, D)

Axes B, T and those of space are absent where `sample_varying`, `time_varying` or `dim_varying` say so. Folders train,
valid and test are the split.

Source: R. Ohana et al., "The Well: a Large-Scale Collection of Diverse Physics Simulations for Machine Learning",
NeurIPS 2024.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from sciml.data.importers._gridded import axis, every, flags, free, grid, note, same_shape, told_axis, told_parameters
from sciml.data.importers._hdf5 import Stored, Tree, is_tree, open_tree
from sciml.data.importers._layout import Cases, Raw, Reading, Recognised
from sciml.data.importers._mapping import Plan
from sciml.data.importers._published import _nothing_but
from sciml.data.importers._source import Source
from sciml.errors import FileFormatError

SUFFIXES = ("*.h5", "*.hdf5")
SPLITS = {"train": "train", "valid": "validation", "validation": "validation", "val": "validation", "test": "test"}
GROUPS = ("t0_fields", "t1_fields", "t2_fields")


@dataclass(frozen=True)
class _Field:
    """A component of a field.

    Args:
        path: of its variable.
        component: indices behind the axes of space.
    """

    path: str
    component: tuple[int, ...]
    sampled: bool
    timed: bool
    along: tuple[bool, ...]


@dataclass
class _File:
    """What one file is; see the schema."""

    name: str
    count: int
    frames: int
    axes: tuple[str, ...]
    shape: tuple[int, ...]
    periodic: tuple[bool, ...]
    fields: dict[str, _Field] = field(default_factory=dict)
    inputs: dict[str, _Field] = field(default_factory=dict)
    parameters: dict[str, float] = field(default_factory=dict)
    each: dict[str, np.ndarray] = field(default_factory=dict)
    title: str = ""


class TheWell(Cases):
    """The Well: a file, or a folder with data/train, valid and test."""

    name = "the_well"
    title = "The Well"
    options: ClassVar[Mapping[str, str]] = {
        "cases": "read so many trajectories of each file, the first ones",
        "every": "keep each so many-th frame",
    }

    def recognise(self, source: Source) -> Recognised | None:
        names = source.matching(*SUFFIXES) if source.is_folder else source.names
        for name in names[:3]:
            if not is_tree(source, name):
                continue
            try:
                with open_tree(source, name) as tree:
                    if not {"dimensions", "t0_fields"} <= set(tree.root.groups):
                        continue
                    attrs = tree.attrs
                    facts = {k: attrs[k] for k in ("dataset_name", "grid_type", "n_spatial_dims") if k in attrs}
            except FileFormatError:
                continue
            return Recognised(self.name, self.title, {"files": len(names)} | facts, 3)
        return None

    def draft(self, source: Source) -> tuple[Plan, Mapping[str, str]]:
        files = self._files(source, [])
        plan = Plan(
            layout=self.name, problem=free(_word(files[0].title)),
            periodic=tuple(a for a, p in zip("xyz", files[0].periodic, strict=False) if p),
        )  # fmt: skip
        return plan, {"problem": f"fields: {', '.join(files[0].fields)}"}

    def read(self, source: Source, plan: Plan) -> Reading:
        from sciml.problem import FieldSpec, InputSpec, ParameterSpec
        from sciml.problems.own_data import DataProblem

        _nothing_but(plan, self.name, "problem", "periodic", "coordinates", "parameters")
        notes: list[str] = []
        files = self._files(source, notes)
        first = files[0]
        axes = "xyz"[: len(first.shape)]
        around = flags(plan, axes, first.periodic)
        if first.axes != tuple(axes):
            notes.append(f"axes {', '.join(first.axes)} are called {', '.join(axes)}")
        space = tuple(reversed(axes))
        names = list(dict.fromkeys([*first.parameters, *first.each, *plan.parameters]))
        velocity = [n for n in first.fields if n.startswith("velocity_")]
        problem = DataProblem(
            plan.problem or free(_word(first.title)), [FieldSpec(f, "1") for f in first.fields],
            [ParameterSpec(n, "1", 0.0) for n in names], len(axes), steady=not first.frames,
            inputs=[InputSpec(n, "1", "coefficient", space) for n in first.inputs], periodic=around,
            velocity=velocity if len(velocity) == len(axes) else (), title=plan.title or first.title, time_unit="1",
            length_unit="1",
        )  # fmt: skip
        most = plan.option("cases", int, 0)
        for file in files:
            file.count = min(file.count, most) if most > 0 else file.count
        return Reading(problem, sum(f.count for f in files), self._cases(source, plan, files, around, notes), notes)

    def _files(self, source: Source, notes: list[str]) -> list[_File]:
        names = source.matching(*SUFFIXES) if source.is_folder else list(source.names)
        found = []
        for name in names:
            with open_tree(source, name) as tree:
                found.append(_looked_at(tree, name, notes))
        if not found:
            raise FileFormatError(f"{source.root}: no .hdf5 file")
        rest = [n for n in source.names if n not in names]
        if any(n.endswith("stats.yaml") for n in rest):
            notes.append("stats.yaml is not read: statistics are taken from the training cases")
        rest = [n for n in rest if not n.endswith("stats.yaml")]
        if rest:
            notes.append(f"left out {len(rest)} other files: {', '.join(rest[:5])}")
        for what, words in (("shape", "the grid"), ("fields", "fields"), ("inputs", "fields constant in time"),
                            ("periodic", "periodic axes")):  # fmt: skip
            same_shape({f.name: tuple(v) if isinstance(v := getattr(f, what), dict) else v for f in found}, words)
        same_shape({f.name: sorted([*f.parameters, *f.each]) for f in found}, "parameters")
        return found

    def _cases(
        self, source: Source, plan: Plan, files: Sequence[_File], around: Sequence[bool], notes: list[str]
    ) -> Iterator[Raw]:
        step = every(plan)
        for file in files:
            above = file.name.split("/")[:-1]
            split = next((SPLITS[p] for p in reversed(above) if p in SPLITS), "")
            stem = file.name.rsplit("/", 1)[-1].rsplit(".", 1)[0]
            with open_tree(source, file.name) as tree:
                for n in range(file.count):
                    label = f"{stem}: {n}"
                    fields = {f: _values(tree, file, v, n, step) for f, v in file.fields.items()}
                    inputs = {f: _values(tree, file, v, n, 1) for f, v in file.inputs.items()}
                    told = told_parameters(plan, label, file.name, stem)
                    own = {k: float(v[n]) for k, v in file.each.items()}
                    yield Raw(
                        fields, grid(_centres(tree, file, n, plan), around), _times(tree, file, n, step),
                        {**file.parameters, **own, **told}, inputs, label, split=split,
                    )  # fmt: skip


def _looked_at(tree: Tree, name: str, notes: list[str]) -> _File:
    attrs = tree.attrs
    kind = attrs.get("grid_type", "cartesian")
    if kind != "cartesian":
        tree.fail(f"grid_type is {kind!r}; grids that are cartesian alone are read")
    dimensions = tree.group("dimensions")
    axes = dimensions.attrs.get("spatial_dims") or [v for v in dimensions.variables if v != "time"]
    axes = [axes] if isinstance(axes, str) else list(axes)
    if not 1 <= len(axes) <= 3 or any(a not in dimensions.variables for a in axes):
        tree.fail(f"spatial_dims are {axes}, expected 1 to 3 variables of 'dimensions', which has "
                  f"{', '.join(dimensions.variables)}")  # fmt: skip
    shape = tuple(tree[f"dimensions/{a}"].shape[-1] for a in axes)
    for a in axes:
        if _flag(tree[f"dimensions/{a}"], "time_varying", False):
            tree.fail("changes in time; grids that move are not read", f"dimensions/{a}")
    frames = tree["dimensions/time"].shape[-1] if "time" in dimensions.variables else 0
    title = str(attrs.get("dataset_name", "")) or name.rsplit("/", 1)[-1].rsplit(".", 1)[0]
    count = attrs.get("n_trajectories")
    found = _File(name, count if isinstance(count, int) and count > 0 else 0, frames, tuple(axes), shape,
                  _periodic(tree, axes, notes), title=title)  # fmt: skip
    static: dict[str, _Field] = {}
    for order, group in enumerate(GROUPS):
        if group in tree.root.groups:
            _look_for_fields(tree, group, order, found, static, notes)
    if not found.fields:
        found.fields, static, found.frames = static, {}, 0
    found.inputs = static
    if not found.fields:
        tree.fail(f"holds no field: {', '.join(GROUPS)} are empty or absent")
    found.count = found.count or 1
    _look_for_numbers(tree, found, notes)
    known = {"dimensions", "boundary_conditions", "scalars", *GROUPS}
    rest = [n for n in [*tree.root.groups, *tree.root.variables] if n not in known]
    if rest:
        note(notes, f"{name}: not understood and left out: {', '.join(rest[:10])}")
    return found


def _look_for_fields(
    tree: Tree, group: str, order: int, file: _File, static: dict[str, _Field], notes: list[str]
) -> None:
    here, d = tree.group(group), len(file.shape)
    declared = here.attrs.get("field_names", [])
    declared = [declared] if isinstance(declared, str) else list(declared)
    missing = [n for n in declared if n and n not in here.variables]
    if missing:
        tree.fail(f"{group} names the field {missing[0]!r}, which is not there; get the file again")
    for name in [*[n for n in declared if n], *[n for n in here.variables if n not in declared]]:
        stored = tree[f"{group}/{name}"]
        if not stored.is_number:
            note(notes, f"{stored.path} is no field of numbers: left out")
            continue
        sampled, timed = _flag(stored, "sample_varying", True), _flag(stored, "time_varying", True)
        along = stored.attrs.get("dim_varying", [True] * d)
        along = tuple(bool(v) for v in (along if isinstance(along, list) else [along] * d))
        if len(along) != d:
            tree.fail(f"dim_varying has {len(along)} entries, expected {d}", stored.path)
        lead = ([file.count or None] if sampled else []) + ([file.frames] if timed else [])
        wanted = (*lead, *(n for n, a in zip(file.shape, along, strict=True) if a), *[d] * order)
        if sampled and stored.shape and not file.count:
            file.count = stored.shape[0]
        if order == 2 and stored.shape[-1:] == (d * d,) and stored.ndim == len(wanted) - 1:
            wanted = (*wanted[:-2], d * d)  # components one after another
        fits = len(wanted) == stored.ndim and all(w in (None, n) for w, n in zip(wanted, stored.shape, strict=True))
        if not fits:
            turned = (*lead, *reversed(file.shape), *[d] * order)
            hint = "; its axes of space are swapped" if stored.shape == turned else ""
            shown = ", ".join("B" if w is None else str(w) for w in wanted)
            tree.fail(f"has shape {stored.shape}, expected ({shown}) by dimensions and attributes{hint}", stored.path)
        for label, component in _components(stored, order, file.axes):
            if len(wanted) == len(lead) + sum(along) + 1 and order == 2:
                component = (component[0] * d + component[1],)
            entry = _Field(stored.path, component, sampled, timed, along)
            (file.fields if timed else static)[_word(name + label)] = entry


def _components(stored: Stored, order: int, axes: Sequence[str]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Endings of names and indices; of symmetric tensors each once."""
    names = "xyz"[: len(axes)]
    for index in itertools.product(range(len(axes)), repeat=order):
        if order == 2 and _flag(stored, "symmetric", False) and index[1] < index[0]:
            continue
        if order == 2 and _flag(stored, "antisymmetric", False) and index[1] <= index[0]:
            continue
        yield ("_" + "".join(names[k] for k in index) if index else ""), index


def _look_for_numbers(tree: Tree, file: _File, notes: list[str]) -> None:
    """Scalars, and attributes that are parameters."""
    if "scalars" in tree.root.groups:
        for name in tree.group("scalars").variables:
            stored = tree[f"scalars/{name}"]
            if not stored.is_number:
                note(notes, f"{stored.path} is no number: left out")
            elif _flag(stored, "time_varying", False):
                note(notes, f"{stored.path} changes in time and is no field: left out")
            elif _flag(stored, "sample_varying", False):
                if stored.shape not in ((file.count,), (file.count, 1)):
                    tree.fail(f"has shape {stored.shape}, expected ({file.count},), one a trajectory", stored.path)
                file.each[_word(name)] = stored[()].astype(np.float64).reshape(-1)
            elif stored.shape in ((), (1,)):
                file.parameters[_word(name)] = float(stored[()].reshape(-1)[0])
            else:
                note(notes, f"{stored.path} has shape {stored.shape}, expected one number: left out")
    named = tree.attrs.get("simulation_parameters", [])
    for name in [named] if isinstance(named, str) else named:
        value = tree.attrs.get(name)
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        key = _word(str(name))
        if isinstance(value, int | float) and not isinstance(value, bool):
            if key not in file.each:
                file.parameters.setdefault(key, float(value))
        elif key not in file.parameters and key not in file.each:
            note(notes, f"simulation parameter {name!r} is {value!r:.40}, no number: left out")
    clash = [k for k in [*file.parameters, *file.each] if k in file.fields or k in file.inputs]
    for key in clash:
        for table in (file.parameters, file.each):
            if key in table:
                table[f"{key}_value"] = table.pop(key)  # type: ignore[assignment]


def _periodic(tree: Tree, axes: Sequence[str], notes: list[str]) -> tuple[bool, ...]:
    """Which axes close, and what else is said of the boundary, in notes."""
    around = dict.fromkeys(axes, False)
    if "boundary_conditions" not in tree.root.groups:
        note(notes, "nothing is said of the boundary: taken as not periodic")
        return tuple(around.values())
    for name in tree.group("boundary_conditions").groups:
        path = f"boundary_conditions/{name}"
        about = tree.group(path)
        kind = str(about.attrs.get("bc_type", "")).lower()
        of = about.attrs.get("associated_dims", [])
        of = [of] if isinstance(of, str) else list(of)
        if kind == "periodic":
            around |= {a: True for a in of if a in around}
        else:
            kept = " (its values are not kept)" if "values" in about.variables else ""
            note(notes, f"boundary {name}: {kind or 'of no type'}, along {', '.join(of) or 'no axis'}{kept}")
    return tuple(around.values())


def _values(tree: Tree, file: _File, entry: _Field, n: int, step: int) -> np.ndarray:
    """(T, z, y, x) of one trajectory, or without time."""
    stored = tree[entry.path]
    key: tuple[Any, ...] = (n,) if entry.sampled else ()
    key += (slice(None, None, step),) if entry.timed else ()
    key += (slice(None),) * (stored.ndim - len(key) - len(entry.component)) + entry.component
    values = stored[key]
    first = 1 if entry.timed else 0
    for k, varies in enumerate(entry.along):
        if not varies:
            values = np.expand_dims(values, first + k)
    lead = (-(-file.frames // step),) if entry.timed else ()
    values = np.broadcast_to(values, (*lead, *file.shape))
    return np.ascontiguousarray(values.transpose(*range(first), *range(values.ndim - 1, first - 1, -1)))


def _times(tree: Tree, file: _File, n: int, step: int) -> np.ndarray | None:
    if not file.frames:
        return None
    stored = tree["dimensions/time"]
    values = stored[n] if stored.ndim == 2 else stored[()]
    return np.asarray(values, dtype=np.float64)[::step]


def _centres(tree: Tree, file: _File, n: int, plan: Plan) -> list[np.ndarray]:
    found = []
    for ours, a, count in zip("xyz", file.axes, file.shape, strict=False):
        told = told_axis(plan, ours, count)
        if told is None:
            stored = tree[f"dimensions/{a}"]
            told, turned = axis(
                stored[n] if stored.ndim == 2 else stored[()], count, f"{tree.label}: variable 'dimensions/{a}'"
            )
            if turned:
                tree.fail("decreases, expected increasing positions", f"dimensions/{a}")
        found.append(told)
    return found


def _flag(stored: Stored, name: str, otherwise: bool) -> bool:
    value = stored.attrs.get(name, otherwise)
    return bool(value[0] if isinstance(value, list) and value else value)


def _word(name: str) -> str:
    """A name that files take."""
    word = re.sub(r"\W", "_", name, flags=re.ASCII).strip("_")
    taken = ("time", "x", "y", "z", "mask", "node", "case", "obs", "frame", "row_size", "status", "split", "subset")
    return f"{word or 'value'}_" if word in taken else (word if word[:1].isalpha() else f"v_{word}")
