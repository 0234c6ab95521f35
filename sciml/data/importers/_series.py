"""From files of one instant each to cases: which of a file's arrays are fields, their names, frames and parameters."""

from __future__ import annotations

import csv
import io
import math
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from sciml.data.importers._layout import Raw, Reading
from sciml.data.importers._mapping import Along, Plan, Taken
from sciml.data.importers._snapshot import Nodes, Snapshot
from sciml.data.importers._snapshot_places import Placed, placed
from sciml.data.importers._source import Source, natural
from sciml.errors import FileFormatError, InputError, suggest
from sciml.problem import FieldSpec, InputSpec, ParameterSpec
from sciml.problems.own_data import _TAKEN, DataProblem
from sciml.support import Grid, Mesh, Support

OPTIONS: Mapping[str, str] = {
    "location": '"point" or "cell": which values are read where a file has both; by default those on points',
    "velocity": "name of the vector that is a velocity",
    "frames": '"times" or "cases": what numbered files of a folder are; by default frames of one case',
    "pieces": "true where all files of a folder are pieces of one mesh",
    "numbered_fields": '"times" or "fields": what fields u0, u1, u2, ... of one file are; by default frames',
    "displacement": "name of the vector by which nodes move; their places are then those of each frame",
}
VELOCITIES = ("u", "vel", "velocity", "velocities", "uvw", "flow", "velocity_field")
LEFT_OUT = re.compile(r"(?:.*(?:ids?|Ids?|IDs?|number)|vtkGhost.*|.*[Gg]host.*|vtkValidPointMask|.*[Nn]ormals?)\Z")
_UNIT = re.compile(r"\A(.*?)\s*[\[(]([^\])]*)[\])]\s*\Z")
_SETTING = re.compile(r"(?:\A|[_,;/ ])([A-Za-z][A-Za-z]*)=([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)")
COUNTERS = ("cycle", "timestep", "time_step", "iteration", "step")
_END = re.compile(r"\A(.*?\D)[_ ]?(\d+)\Z")


@dataclass
class Series:
    """One case.

    Args:
        label: for people.
        frames: (time or None, file, what reads it).
        parameters: numbers that belong to it.
        subset: the folder that it is of, where there are several.
    """

    label: str
    frames: Sequence[tuple[float | None, str, Callable[[], Snapshot]]]
    parameters: dict[str, float] = field(default_factory=dict)
    subset: str = ""


@dataclass(frozen=True)
class Column:
    """A scalar of the data set: which array of a file, and which of its components."""

    name: str
    source: str
    component: int | None
    unit: str
    scale: float = 1.0
    offset: float = 0.0
    kind: str = ""

    def of(self, values: Mapping[str, np.ndarray], file: str) -> np.ndarray:
        if self.source not in values:
            raise FileFormatError(
                f"{file}: has no {self.source!r}, which the first file has (it has {', '.join(values)[:90] or 'none'})"
                "; files of other fields are other data sets: import them one by one"
            )
        found = values[self.source]
        if found.ndim == 2:
            if self.component is None or not 0 <= self.component < found.shape[1]:
                raise FileFormatError(f"{file}: {self.source}: {found.shape[1]} components, of which none is "
                                      f"{self.component}")  # fmt: skip
            found = found[:, self.component]
        elif self.component not in (None, 0):
            raise FileFormatError(f"{file}: {self.source} has no components, expected number {self.component}")
        found = found.astype(np.float64) if found.dtype.kind in "iu" else found
        return found if self.scale == 1.0 and self.offset == 0.0 else found * self.scale + self.offset


def word(name: str) -> tuple[str, str]:
    """A name that files take, and the unit in brackets that stood behind it ("" for none)."""
    bracket = _UNIT.match(name)
    unit = bracket[2].strip() if bracket and bracket[1] else ""
    plain = bracket[1] if bracket and bracket[1] else name
    text = unicodedata.normalize("NFKD", plain).encode("ascii", "ignore").decode()
    text = re.sub(r"[^A-Za-z0-9_]+", "_", text).strip("_")[:100]
    text = text if text[:1].isalpha() else f"field_{text}".rstrip("_")
    return (f"{text}_" if text in _TAKEN else text), unit


def reading(
    series: Sequence[Series], plan: Plan, source: Source, notes: list[str], length: str = "", clock: str = ""
) -> Reading:
    """All cases.

    Args:
        notes: to which what is found while reading is added.
        length, clock: units of space and time where files tell them.

    Raises:
        FileFormatError, InputError: the first file cannot be read, or the plan does not fit it.
    """
    first = _snapshots(series[0], plan, notes)
    on = _location(first[0][2], plan, first[0][1], notes)
    place = placed(first[0][2], on, plan.periodic, first[0][1])
    d = len(place.axes)
    for a in plan.periodic:
        if a not in "xyz"[:d]:
            raise InputError(f"periodic: {a!r}, expected some of {', '.join('xyz'[:d])}")
    columns, inputs, velocity = _columns(first, on, place, plan, notes)
    transient = _transient(series, first, plan)
    length = plan.coordinates["x"].unit if "x" in plan.coordinates and plan.coordinates["x"].unit else length
    told_in = _scalars(first)  # numbers beside the fields of a file, read with each case
    for one in series:
        one.parameters |= {n: math.nan for n in told_in if n not in one.parameters}
    parameters, units = _parameters(series, plan, source, notes)
    taken = {c.name for c in (*columns, *inputs)} & set(parameters)
    for n in sorted(taken):
        notes.append(f"the number {n} is called {n}_number, since a field has its name")
    called = {n: f"{n}_number" if n in taken else n for n in parameters}
    title = plan.title or source.root.stem
    unknown = [c.name for c in columns if not c.unit]
    told = (["fields"] if unknown else []) + (["lengths"] if not length else []) + (
        ["times"] if transient and not (plan.time.unit or clock) else []
    )  # fmt: skip
    if told:
        notes.append(f"units of {', '.join(told)} are not in the files and taken as 1; a plan can name them")
    problem = DataProblem(
        plan.problem or word(source.root.stem)[0] + "_data",
        [FieldSpec(c.name, c.unit or "1", _where(place)) for c in columns],
        [ParameterSpec(called[n], units.get(n) or "1", 0.0) for n in parameters], d, steady=not transient,
        inputs=[InputSpec(c.name, c.unit or "1", c.kind, place.support.dims) for c in inputs],
        periodic=tuple(a in plan.periodic for a in "xyz"[:d]), velocity=velocity, title=title,
        time_unit=plan.time.unit or clock or "1", length_unit=length or "1",
    )  # fmt: skip
    cases = _cases(series, first, plan, on, d, columns, inputs, called, transient, notes)
    return Reading(problem, len(series), cases, notes)


def draft(layout: str, series: Sequence[Series]) -> tuple[Plan, Mapping[str, str]]:
    """A plan with what is read by default, and remarks."""
    plan, notes = Plan(layout=layout), list[str]()
    first = _snapshots(series[0], plan, notes)
    on = _location(first[0][2], plan, first[0][1], notes)
    place = placed(first[0][2], on, (), first[0][1])
    columns, _, _ = _columns(first, on, place, plan, notes)
    fields = {c.name: Taken(c.source, c.unit, c.component) for c in columns}
    remarks = {"layout": "; ".join(notes + place.notes)[:400].replace("\n", " ")} if notes + place.notes else {}
    first_name = columns[0].name
    remarks[f"fields.{first_name}"] = "unit = ..., scale = ..., offset = ... may be given"
    if len(first) > 1 and any(t is None for t, _, _ in first):
        plan = replace(plan, time=Along(unit="1", first=0.0, step=1.0))
        remarks["time.step"] = "between frames; the files do not tell it"
    return replace(plan, fields=fields), remarks


def _snapshots(one: Series, plan: Plan, notes: list[str]) -> list[tuple[float | None, str, Snapshot]]:
    """All frames of a case; a file of numbered fields is several."""
    found = []
    for time, name, read in one.frames:
        snapshot = read()
        for text in snapshot.notes:
            if text not in notes:
                notes.append(text)
        found.append((snapshot.time if time is None else time, name, snapshot))
    if len(found) == 1 and plan.option("numbered_fields", str, "times") != "fields":
        several = _numbered(found[0][2])
        told = {t.source or n for n, t in plan.fields.items()}
        if several and told & {n for n in found[0][2].point if n not in next(iter(several.values())).point}:
            several = None  # somebody asks for one of them by its number
        if several:
            stems = ", ".join(sorted({k for s in several.values() for k in s.point if k not in found[0][2].point}))
            text = f"numbered fields are taken as {len(several)} frames of {stems or 'a field'}"
            notes.extend([text] * (text not in notes))
            return [(float(k), found[0][1], s) for k, s in several.items()]
    return found


def _numbered(snapshot: Snapshot) -> dict[int, Snapshot] | None:
    """Frames of a file whose fields are u0, u1, u2, ...; None where they are not."""
    stems: dict[str, dict[int, str]] = {}
    for name in snapshot.point:
        end = _END.match(name)
        if end:
            stems.setdefault(end[1].rstrip("_ "), {})[int(end[2])] = name
    stems = {k: v for k, v in stems.items() if len(v) > 2 and sorted(v) == list(range(min(v), min(v) + len(v)))}
    if not stems or len({tuple(sorted(v)) for v in stems.values()}) != 1:
        return None
    taken = {n for v in stems.values() for n in v.values()}
    rest = {k: v for k, v in snapshot.point.items() if k not in taken}
    numbers = sorted(next(iter(stems.values())))
    return {k: replace(snapshot, point={s: snapshot.point[v[k]] for s, v in stems.items()} | rest) for k in numbers}


def _location(snapshot: Snapshot, plan: Plan, name: str, notes: list[str]) -> str:
    told = plan.option("location", str, "")
    if told not in ("", "point", "cell"):
        raise InputError(f"options.location: expected point or cell, got {told!r:.40}")
    both = {"point": _kept(snapshot.point), "cell": _kept(snapshot.cell)}
    if not any(both.values()):
        raise FileFormatError(f"{name}: holds no values, neither on points nor on cells")
    on = told or ("point" if both["point"] else "cell")
    if not both[on]:
        raise InputError(f"options.location: {name} has no values on {on}s")
    other = "cell" if on == "point" else "point"
    if both[other]:
        notes.append(
            f'left out {", ".join(both[other])[:200]}, which are on {other}s: location = "{other}" reads these'
        )
    return on


def _kept(values: Mapping[str, np.ndarray]) -> list[str]:
    """Arrays that are fields: not numbers of nodes and the like, and no integers beside real numbers."""
    found = [k for k in values if not LEFT_OUT.match(k) and (values[k].ndim == 1 or values[k].shape[1])]
    real = [k for k in found if values[k].dtype.kind == "f"]
    return real or found


def _columns(
    frames: list[tuple[float | None, str, Snapshot]], on: str, place: Placed, plan: Plan, notes: list[str]
) -> tuple[list[Column], list[Column], tuple[str, ...] | None]:
    snapshot, file = frames[0][2], frames[0][1]
    values = getattr(snapshot, on)
    inputs = [_told(n, t, values, snapshot, file) for n, t in plan.inputs.items()]
    inputs = [replace(c, kind=plan.inputs[c.name].kind) for c in inputs]
    if plan.fields:
        told = [_told(n, t, values, snapshot, file) for n, t in plan.fields.items()]
        vector = plan.option("velocity", str, "") or next(
            (c.source for c in told if c.source.lower() in VELOCITIES), ""
        )
        by = {c.component: c.name for c in told if c.source == vector}
        whole = vector and all(a in by for a in place.axes)
        return told, inputs, tuple(by[a] for a in place.axes) if whole else None
    kept = [k for k in _kept(values) if all(k in getattr(s, on) for _, _, s in frames)]
    missing = [k for k in dict.fromkeys(k for _, _, s in frames for k in _kept(getattr(s, on))) if k not in kept]
    if missing:
        notes.append(f"left out {', '.join(missing)[:200]}: not in all frames")
    rest = [k for k in values if k not in kept and k not in missing]
    if rest:
        notes.append(f"left out {', '.join(rest)[:200]}: numbers of nodes and cells, marks or whole numbers")
    if not kept:
        raise FileFormatError(f"{file}: no field is in all of {len(frames)} frames")
    columns: list[Column] = []
    parts: dict[str, tuple[str, ...]] = {}
    for key in kept:
        name, unit = word(key)
        unit = snapshot.units.get(key, unit)
        array = values[key]
        if array.ndim == 1 or array.shape[1] == 1:
            columns.append(Column(_free(name, columns), key, None if array.ndim == 1 else 0, unit))
            continue
        k = array.shape[1]
        d = len(place.axes)
        ends = {3: "xyz", 2: "xy", 9: ("xx", "xy", "xz", "yx", "yy", "yz", "zx", "zy", "zz"),
                6: ("xx", "yy", "zz", "xy", "yz", "xz")}.get(k, tuple(map(str, range(k))))  # fmt: skip
        picked = list(range(k))
        if k == 3 and d < 3:
            gone = [i for i in range(3) if i not in place.axes and all(not np.any(getattr(s, on)[key][:, i])
                                                                        for _, _, s in frames)]  # fmt: skip
            if gone:
                notes.append(f"{key}: {', '.join('xyz'[i] for i in gone)} components are zero and left out")
            picked = [*[a for a in place.axes], *[i for i in range(3) if i not in place.axes and i not in gone]]
        names = []
        for i in picked:
            names.append(_free(f"{name}_{ends[i]}", columns))
            columns.append(Column(names[-1], key, i, unit))
        if k in (2, 3) and len(names) >= d:
            parts[key] = tuple(names[:d])
    asked = plan.option("velocity", str, "")
    if asked and asked not in parts:
        raise InputError(f"options.velocity: no vector is called {asked!r:.60}{suggest(asked, parts)}")
    found = asked or next((k for k in parts if k.lower() in VELOCITIES), "")
    moving = [k for k in parts if k.lower().lstrip("_").startswith("disp") or "displacement" in k.lower()]
    others = [k for k in parts if k not in moving]
    if moving and not plan.option("displacement", str, ""):
        notes.append(f"{moving[0]}: is a field like others; options.displacement moves the nodes by it")
    if others and not found:
        notes.append(f"{', '.join(others)[:100]}: if that is a velocity, say so with options.velocity")
    return columns, inputs, parts.get(found, ())


def _where(place: Placed) -> str:
    return "cell" if isinstance(place.support, Grid) else "node"


def _free(name: str, columns: Sequence[Column]) -> str:
    taken = {c.name for c in columns}
    found, k = name, 2
    while found in taken or found in _TAKEN:
        found, k = f"{name}_{k}", k + 1
    return found


def _told(name: str, taken: Taken, values: Mapping[str, np.ndarray], snapshot: Snapshot, file: str) -> Column:
    source = taken.source or name
    if source not in values:
        raise InputError(f"fields.{name}: {file} has no {source!r:.60}{suggest(source, values)}")
    column = Column(name, source, taken.component, taken.unit or snapshot.units.get(source, ""), taken.scale,
                    taken.offset, taken.kind)  # fmt: skip
    column.of(values, file)
    return column


def _transient(series: Sequence[Series], first: Sequence[object], plan: Plan) -> bool:
    if plan.steady is not None:
        if plan.steady and len(first) > 1:
            raise InputError('steady: the first case has several frames; say frames = "cases", or steady = false')
        return not plan.steady
    return len(first) > 1 or any(len(s.frames) > 1 for s in series)


def _parameters(
    series: Sequence[Series], plan: Plan, source: Source, notes: list[str]
) -> tuple[list[str], dict[str, str]]:
    """Their names and units; puts their values into the series."""
    units = {n: t.unit for n, t in plan.parameters.items()}
    labels = [s.label for s in series]
    for name, table in _tables(source, labels).items():
        notes.append(f"parameters of cases are read from {name}: {', '.join(next(iter(table.values())))[:200]}")
        for s in series:
            s.parameters |= table[s.label]
    for s in series:
        for key, value in _SETTING.findall(s.label):
            s.parameters.setdefault(word(key)[0], float(value))
    for name, taken in plan.parameters.items():
        for s in series:
            if taken.value is not None:
                s.parameters[name] = taken.value
            elif taken.values:
                if s.label not in taken.values:
                    raise InputError(f"parameters.{name}: no value for {s.label!r:.60}{suggest(s.label, taken.values)}")
                s.parameters[name] = taken.values[s.label]
            elif (taken.source or name) in s.parameters:
                s.parameters[name] = s.parameters[taken.source or name] * taken.scale + taken.offset
            else:
                raise InputError(f"parameters.{name}: {s.label} has no {taken.source or name!r:.60}; give values")
    found = [n for n in series[0].parameters if all(n in s.parameters for s in series)]
    lost = sorted({n for s in series for n in s.parameters} - set(found))
    if lost:
        notes.append(f"numbers that not all cases have are no parameters: {', '.join(lost)[:200]}")
    if plan.parameters:
        found = [n for n in found if n in plan.parameters]
    return found, units


def _scalars(frames: Sequence[tuple[float | None, str, Snapshot]]) -> list[str]:
    """Names of numbers that all frames of a case have alike."""
    first = frames[0][2].scalars
    same = [k for k in first if all(s.scalars.get(k) == first[k] for _, _, s in frames)]
    return [word(k)[0] for k in same if k.lower() not in COUNTERS]


def _number(one: Series, name: str, frames: Sequence[tuple[float | None, str, Snapshot]], plan: Plan) -> float:
    """The value of a parameter of a case, from its first file where nothing else tells it."""
    if not math.isnan(one.parameters[name]):
        return one.parameters[name]
    taken = plan.parameters.get(name, Taken())
    scalars = {word(k)[0]: v for k, v in frames[0][2].scalars.items()}
    source = word(taken.source)[0] if taken.source else name
    if source not in scalars or not math.isfinite(scalars[source]):
        raise FileFormatError(f"{frames[0][1]}: has no finite number {source!r:.60}, which the first file has")
    return scalars[source] * taken.scale + taken.offset


def _tables(source: Source, labels: Sequence[str]) -> dict[str, dict[str, dict[str, float]]]:
    """Small tables beside the cases whose first column names all of them."""
    found = {}
    for name in source.names if source.is_folder else ():
        if "/" in name or not name.lower().endswith(".csv") or source.size(name) > 1 << 24:
            continue
        rows = [r for r in csv.reader(io.StringIO(source.text(name))) if r]
        if len(rows) < 2 or len(rows[0]) < 2:
            continue
        try:
            table = {
                r[0].strip(): {word(h.strip())[0]: float(v) for h, v in zip(rows[0][1:], r[1:], strict=True)}
                for r in rows[1:]
            }
        except ValueError:
            continue
        if set(labels) <= set(table) and all(math.isfinite(v) for row in table.values() for v in row.values()):
            found[name] = table
    return found


def _cases(
    series: Sequence[Series], first: list[tuple[float | None, str, Snapshot]], plan: Plan, on: str, d: int,
    columns: Sequence[Column], inputs: Sequence[Column], called: Mapping[str, str], transient: bool, notes: list[str],
) -> Iterator[Raw]:  # fmt: skip
    grid: Support | None = None
    for k, one in enumerate(series):
        frames = first if k == 0 else _snapshots(one, plan, notes)
        name = frames[0][1]
        place = placed(frames[0][2], on, plan.periodic, name)
        for text in place.notes:
            if text not in notes:
                notes.append(text)
        if len(place.axes) != d:
            raise FileFormatError(f"{name}: {len(place.axes)} dimensions, but the first case has {d}; import them one "
                                  "by one")  # fmt: skip
        if k == 0:
            grid = place.support
        elif isinstance(grid, Grid) != isinstance(place.support, Grid) or (
            isinstance(grid, Grid) and grid.shape != place.support.shape
        ):
            raise FileFormatError(f"{name}: {place.support!r}, but the first case has {grid!r}; import them one by one")
        places = [place]
        for _, other, snapshot in frames[1:]:
            same = snapshot.place is frames[0][2].place
            places.append(place if same else placed(snapshot, on, plan.periodic, other))
            if type(places[-1].support) is not type(place.support) or places[-1].support.shape != place.support.shape:
                raise FileFormatError(
                    f"{other}: {places[-1].support!r}, but {name} has {place.support!r}: the number of places changes "
                    'from frame to frame; [options] frames = "cases" in a plan takes each file as a case'
                )
        values = {
            c.name: np.stack([p.take(c.of(getattr(s, on), f)) for p, (_, f, s) in zip(places, frames, strict=True)])
            for c in columns
        }
        given = {c.name: place.take(c.of(getattr(frames[0][2], on), name)) for c in inputs}
        numbers = {called[n]: _number(one, n, frames, plan) for n in called}
        more: dict[str, object] = {}
        support: object = place.support
        moved = _moved(places, frames, on, plan)
        if moved is not None:
            support = {a: moved[..., i] for i, a in zip(range(d), "xyz", strict=False)}
            if isinstance(place.support, Mesh):
                more["connectivity"] = dict(place.support.cells)
            text = "nodes move: their places are those of each frame"
            notes.extend([text] * (text not in notes))
        times = None
        if transient:
            times = _times([t for t, _, _ in frames], plan, notes)
        else:
            values = {n: v[0] for n, v in values.items()}
        yield Raw(values, support, times, numbers, given, one.label, one.subset, more=more)  # type: ignore[arg-type]


def _moved(
    places: Sequence[Placed], frames: Sequence[tuple[float | None, str, Snapshot]], on: str, plan: Plan
) -> np.ndarray | None:
    """(T, N, D) places of nodes that move; None where all frames have the same."""
    told = plan.option("displacement", str, "")
    if told:
        found = []
        for p, (_, f, s) in zip(places, frames, strict=True):
            by = getattr(s, on).get(told)
            if by is None or by.ndim != 2 or by.shape[1] != 3 or not isinstance(s.place, Nodes):
                raise InputError(f"options.displacement: {f} has no vector {told!r:.60} on nodes")
            found.append(p.support.points() + np.stack([p.take(by[:, a]) for a in p.axes], axis=-1))
        return np.stack(found).reshape(len(found), -1, len(places[0].axes))
    if all(p is places[0] or p.support.same(places[0].support) for p in places):
        return None
    if places[0].support.dims != ("node",):
        raise FileFormatError(f"{frames[1][1]}: the grid is another than that of {frames[0][1]}")
    return np.stack([p.support.points() for p in places])


def _times(found: Sequence[float | None], plan: Plan, notes: list[str]) -> np.ndarray:
    first, step = plan.time.first, plan.time.step
    if step is not None:
        return (first or 0.0) + step * np.arange(len(found))
    if all(t is not None for t in found) and len({t for t in found}) == len(found):
        return np.array(found, dtype=np.float64)
    text = "times are not in the files: frames are numbered from 0; time.step in a plan says how far apart they are"
    notes.extend([text] * (text not in notes))
    return np.arange(len(found), dtype=np.float64)


def left_out(source: Source, used: Callable[[str], bool], notes: list[str]) -> None:
    """Say which files are not read, archives with what unpacks them."""
    rest = [n for n in source.names if not used(n)]
    archives = [n for n in rest if n.lower().endswith((".zip", ".tar", ".tgz", ".tar.gz", ".7z", ".xz", ".bz2"))]
    if archives:
        notes.append(f"{', '.join(archives[:3])}: archives are not looked into; unpack them (unzip, tar xf) first")
    rest = [n for n in rest if n not in archives]
    if rest:
        notes.append(f"left out {len(rest)} other files: {', '.join(rest[:5])}" + (" ..." if len(rest) > 5 else ""))


def numbered(names: Sequence[str]) -> dict[str, list[tuple[int, str]]]:
    """Files by what is left of their names without the last number in it, and that number; -1 for those without."""
    found: dict[str, list[tuple[int, str]]] = {}
    for name in sorted(names, key=natural):
        folder, _, last = name.rpartition("/")
        stem, _, suffix = last.rpartition(".")
        end = re.match(r"\A(.*?)(\d+)\Z", stem)
        key = f"{folder}/{end[1]}*.{suffix}" if end else name
        found.setdefault(key, []).append((int(end[2][-15:]) if end else -1, name))
    return found
