"""NetCDF-3, NetCDF-4, other HDF5 files, and Zarr stores of fields over named dimensions.

What dimensions are is told by CF attributes (axis, standard_name, units, positive), by names, or by a plan; see
`sciml.data.importers._roles`. Several files of a folder hold cases, or one case whose times go on, or one field each.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from sciml.data.importers._clocks import is_clock
from sciml.data.importers._gridded import every, flags, free, note, told_parameters, told_times
from sciml.data.importers._hdf5 import is_tree, open_tree
from sciml.data.importers._labelled import Labelled
from sciml.data.importers._layout import Cases, Raw, Reading, Recognised
from sciml.data.importers._looks import Entry, Look, look, values, word
from sciml.data.importers._mapping import Along, Plan, Taken
from sciml.data.importers._opened import open_labelled
from sciml.data.importers._parts import Part, file_names, joined_in_time, opened, parts_of
from sciml.data.importers._places import axes_of, support_of
from sciml.data.importers._roles import of_name
from sciml.data.importers._source import Source
from sciml.errors import FileFormatError, InputError

if TYPE_CHECKING:
    from sciml.problems.own_data import DataProblem

MOST_GROUPS, MOST_NUMBERED = 50, 1000
SPLITS = {"train": "train", "valid": "validation", "val": "validation", "validation": "validation", "test": "test"}


class NetCDF(Cases):
    """Files with named dimensions: NetCDF, HDF5, Zarr."""

    name = "netcdf"
    title = "NetCDF, HDF5 or Zarr"
    options: ClassVar[Mapping[str, str]] = {
        "dimensions": "dimension -> what it is: case, time, z, y, x, node or component",
        "join": "whether files whose times go on are one case; found out by default",
        "every": "keep each so many-th frame",
        "pieces": "cut every case into so many, of frames that follow one another",
    }

    def recognise(self, source: Source) -> Recognised | None:
        names = file_names(source)
        if not names:
            return None
        try:
            if _many_groups(source, names[0]):
                return None
            with open_labelled(source, names[0]) as whole:
                file = whole.within(whole.cases[0]) if whole.cases else whole
                if "schema_version" in file.attrs and "problem" in file.attrs:
                    needs = "this is a data set of this package already; use it as it is"
                    return Recognised(self.name, "a data set of this package", {}, 2, needs)
                named = sum(not d.startswith("?") for v in file.variables.values() for d in v.dims)
                facts = {"files": len(names), "kind": file.kind, "variables": list(file.variables)[:30]}
                found = Recognised(self.name, file.kind.replace("HDF5", "NetCDF-4 or HDF5"), facts, 2 if named else 1)
                try:
                    look(file, Plan())
                except FileFormatError as error:
                    found = replace(found, needs=str(error).removeprefix(f"{file.label}: "), certainty=1)
                return found
        except InputError:
            return Recognised(self.name, self.title, {"files": len(names)}, 1)

    def draft(self, source: Source) -> tuple[Plan, Mapping[str, str]]:
        names = file_names(source)
        with open_labelled(source, names[0]) as whole:
            file = whole.within(whole.cases[0]) if whole.cases else whole
            try:
                found = look(file, Plan())
            except FileFormatError as error:
                held = {v.name: " x ".join(map(str, v.shape)) for v in file.variables.values() if v.is_number}
                dims = {d: "" for v in file.variables.values() for d in v.dims if not d.startswith("?")}
                fields = {word(n): Taken(n) for n in list(held)[:20]}
                remarks = {f"fields.{word(n)}": shape for n, shape in held.items()}
                remarks["options"] = f"{error}"[:300]
                plan = Plan(layout=self.name, order=("case", "time", "y", "x"), fields=fields,
                            options={"dimensions": dims} if dims else {})  # fmt: skip
                return plan, remarks
            return _drafted(self.name, file, found)

    def read(self, source: Source, plan: Plan) -> Reading:
        notes: list[str] = []
        parts = parts_of(source, plan, notes)
        joined = joined_in_time(parts, plan, notes)
        first = parts[0]
        if any(p.look.timed for p in parts) and not joined and all(p.look.lengths.get("time") == 1 for p in parts):
            notes.append("there is one time in each case: taken as steady")
            for p in parts:
                p.look.timed = False
        step = every(plan)
        problem, varying = _problem(parts, plan, notes, joined)
        groups = [parts] if joined else [[p] for p in parts]
        if plan.steady and first.look.lengths.get("time", 1) > 1:
            count = first.look.lengths["time"]
            raise InputError(f"steady: {first.look.label} has fields at {count} times; leave it out, or cut the file")
        pieces = plan.option("pieces", int, 1)
        if pieces < 1 or (pieces > 1 and not first.look.timed):
            raise InputError(f"options.pieces: expected a whole number ≥ 1, of cases in time, got {pieces}")
        count = pieces * sum(g[0].look.cases for g in groups)
        if count == 1 and first.look.timed:
            notes.append("there is one case, and none to test on: options.pieces = 5 cuts it into five in time")
        told = plan.order or plan.option("dimensions", dict, {})
        for dim in [d for d, a in first.look.axes.items() if a == "case" and not of_name(d) and not told]:
            notes.append(f"dimension {dim.lstrip('?')!r} comes first, neither space nor time: taken as that of cases")
        for p in parts:
            for name, why in p.look.left.items():
                note(notes, f"left out {name!r}: {why}")
        cases = self._cases(source, plan, groups, problem, varying, step, notes)
        return Reading(problem, count, cases, notes)

    def _cases(
        self, source: Source, plan: Plan, groups: Sequence[Sequence[Part]], problem: DataProblem,
        varying: Sequence[str], step: int, notes: list[str],
    ) -> Iterator[Raw]:  # fmt: skip
        for group in groups:
            part = group[0]
            for n in range(part.look.cases):
                label = part.stem if part.look.cases == 1 else f"{part.stem}: {part.labels[n] if part.labels else n}"
                label = label if len(groups) > 1 or part.look.cases > 1 else part.stem
                raws = []
                for p in group:
                    with opened(source, p.names, p.group) as file:
                        raws.append(_raw(file, p, n, plan, problem, step, notes))
                raw = raws[0]
                if len(raws) > 1:
                    fields = {f: np.concatenate([r.fields[f] for r in raws]) for f in raw.fields}
                    raw = replace(raw, fields=fields, times=np.concatenate([np.asarray(r.times) for r in raws]))
                if raw.times is not None and part.clock is not None and is_clock(part.clock.unit):
                    raw.times = raw.times - raw.times[0]
                told = told_parameters(plan, label, part.name, part.stem, part.labels[n] if part.labels else str(n))
                files = {k: {**part.numbers, **part.scalars}[k] for k in varying}
                raw.parameters = {**files, **raw.parameters, **told}
                raw.label = label
                raw.split = next((SPLITS[w] for w in part.name.lower().split("/")[:-1] if w in SPLITS), "")
                yield from _cut(raw, plan.option("pieces", int, 1))


def _many_groups(source: Source, name: str) -> bool:
    """Whether a file holds a group a case: other layouts do, and to look through all of them takes long."""
    if source.path(name).is_dir() or not is_tree(source, name):
        return False
    with open_tree(source, name) as tree:
        groups = tree.root.groups
        numbered = len({g.rstrip("0123456789") for g in groups}) == 1 and groups[0][:1].isalpha() if groups else False
        return len(groups) > (MOST_NUMBERED if numbered else MOST_GROUPS)


def _problem(parts: Sequence[Part], plan: Plan, notes: list[str], joined: bool) -> tuple[DataProblem, list[str]]:
    """What all cases are of, and the numbers of files that are parameters."""
    from sciml.problem import FieldSpec, InputSpec, ParameterSpec
    from sciml.problems.own_data import DataProblem

    found = parts[0].look
    nodal = found.space == ("node",) or bool(found.curved)
    axes = axes_of(found)
    numbers = [{**p.numbers, **p.scalars} for p in parts]
    common = set(numbers[0]).intersection(*numbers[1:])
    varying = [] if joined else [k for k in numbers[0] if k in common and len({n[k] for n in numbers}) > 1]
    varying = [k for k in varying if k not in found.parameters]
    same = {k: v for k, v in numbers[0].items() if k in common and k not in varying and k in parts[0].scalars}
    if same:
        notes.append("numbers that all cases share are no parameters: " + ", ".join(
            f"{k} = {v:g}" for k, v in list(same.items())[:12]))  # fmt: skip
    from_attributes = [k for k in varying if k in parts[0].numbers]
    if from_attributes:
        notes.append(f"attributes of files that differ are parameters: {', '.join(from_attributes)}")
    units = {k: e.unit for k, e in found.parameters.items()}
    told = [n for n, t in plan.parameters.items() if t.value is not None or t.values]
    names = dict.fromkeys([*varying, *found.parameters, *told])
    clash = [n for n in names if n in found.fields or n in found.inputs]
    if clash:
        raise InputError(f"parameters: {clash[0]!r} is a field as well; choose fields in the plan")
    around = flags(plan, axes, [False] * len(axes))
    space = ("node",) if nodal else tuple(reversed(axes))
    where = "node" if nodal else "cell"
    length, time_unit = _units(parts, plan, axes, notes)
    problem = DataProblem(
        plan.problem or free(word(parts[0].stem) if len(parts) == 1 else "own_data"),
        [FieldSpec(n, e.unit, where, description=e.text) for n, e in found.fields.items()],
        [ParameterSpec(n, plan.parameters[n].unit if n in told else units.get(n, "1"), 0.0) for n in names],
        len(axes), steady=not found.timed,
        inputs=[InputSpec(n, e.unit, e.taken.kind, space) for n, e in found.inputs.items()], periodic=around,
        title=plan.title, length_unit=length, time_unit=time_unit,
    )  # fmt: skip
    return problem, varying


def _units(parts: Sequence[Part], plan: Plan, axes: str, notes: list[str]) -> tuple[str, str]:
    """Of length and time."""
    first = parts[0]
    told = {p.unit for p in plan.coordinates.values() if p.unit}
    length = told.pop() if len(told) == 1 else first.look.length_unit
    if length.startswith("degree"):
        notes.append("longitudes and latitudes are taken as plain coordinates, in degrees")
    units = first.look.position_units
    if not told and len(units) > 1:
        notes.append(f"positions are in different units ({', '.join(units)}): taken as numbers without one")
    said: dict[str, str] = {}  # by unit: epochs may differ from file to file
    for p in parts:
        if p.clock is not None and p.clock.said:
            said.setdefault(p.clock.unit.split(" since ")[0], p.clock.said)
    notes.extend(said.values())
    unit = plan.time.unit or "s"
    if first.clock is not None and not said:
        unit = plan.time.unit or first.clock.unit or "1"
    return length or "1", unit


def _raw(file: Labelled, part: Part, n: int, plan: Plan, problem: DataProblem, step: int, notes: list[str]) -> Raw:
    found = part.look
    frames = slice(None, None, step)
    got = {k: values(file, found, e, n, frames, found.timed) for k, e in found.fields.items()}
    given = {k: values(file, found, e, n, frames, False) for k, e in found.inputs.items()}
    numbers = {k: float(values(file, found, e, n, frames, False)) for k, e in found.parameters.items()}
    times = None
    if found.timed:
        count = found.lengths["time"]
        times = told_times(plan, count)
        if times is None and part.clock is not None:
            times = part.clock.seconds[n] if part.clock.seconds.ndim == 2 else part.clock.seconds
            if times.shape != (count,):
                name = found.coordinates["time"]
                raise FileFormatError(f"{file.label}: variable {name!r} has {times.size} times for {count} frames")
        if times is None:
            times = np.arange(count, dtype=np.float64)
            note(notes, "there are no times: frames are numbered from 0 on (or tell time.first and time.step)")
        times = times[::step]
    support, turned, picked = support_of(file, found, n, plan, problem, notes)
    first = 1 if found.timed else 0
    for table, lead in ((got, first), (given, 0)):
        for k, v in table.items():
            if v.ndim != lead + len(found.space):
                raise FileFormatError(f"{file.label}: {k} has {v.ndim} axes, expected {lead + len(found.space)}")
            for axis in turned:
                v = np.flip(v, lead + found.space.index(axis))
            table[k] = v.reshape(*v.shape[:lead], -1) if found.curved and picked else np.ascontiguousarray(v)
    return Raw(got, support, times, numbers, given)


def _cut(raw: Raw, pieces: int) -> Iterator[Raw]:
    """A case, or parts of its time."""
    if pieces == 1 or raw.times is None:
        yield raw
        return
    if len(raw.times) < pieces:
        raise InputError(f"options.pieces: {pieces}, but {raw.label} has {len(raw.times)} frames")
    for k, frames in enumerate(np.array_split(np.arange(len(raw.times)), pieces)):
        part = slice(frames[0], frames[-1] + 1)
        support: Any = raw.support
        if isinstance(support, Mapping):  # nodes that move
            support = {a: p[part] if np.ndim(p) == 2 else p for a, p in support.items()}
        fields = {n: v[part] for n, v in raw.fields.items()}
        yield replace(raw, fields=fields, times=raw.times[part], support=support, label=f"{raw.label}, part {k}")


def _drafted(layout: str, file: Labelled, found: Look) -> tuple[Plan, Mapping[str, str]]:
    """A plan with what was found."""
    remarks = {}
    along = {a: Along(found.coordinates[a]) for a in "xyz" if a in found.coordinates and a in found.space}
    for a, part in along.items():
        v = file.variables[part.source]
        remarks[f"coordinates.{a}"] = f"{v.shape[0]} positions" + (f", in {v.unit}" if v.unit else "")
    for n, e in {**found.fields, **found.inputs, **found.parameters}.items():
        kind = "fields" if n in found.fields else "inputs" if n in found.inputs else "parameters"
        v = file.variables[e.variable]
        remarks[f"{kind}.{n}"] = ", ".join(f"{d.lstrip('?')} {k}" for d, k in zip(v.dims, v.shape, strict=True))
    if found.left:
        left = "; ".join(f"{n}: {why}" for n, why in list(found.left.items())[:10])
        remarks["options"] = f"left out: {left}"
    dims = {d: a for d, a in found.axes.items() if a in ("case", "time", *found.space) and not d.startswith("?")}
    plan = Plan(
        layout=layout, problem=free(word(file.label.rsplit("/", 1)[-1].rsplit(".", 1)[0])),
        steady=not found.timed, time=Along(found.coordinates.get("time", "")) if found.timed else Along(),
        coordinates=along, fields=_taken(found.fields), parameters=_taken(found.parameters),
        inputs=_taken(found.inputs), options={"dimensions": dims},
    )  # fmt: skip
    return plan, remarks


def _taken(entries: Mapping[str, Entry]) -> dict[str, Any]:
    return {n: Taken(e.variable, e.unit, e.component) for n, e in entries.items()}
