"""What the variables of a file with named dimensions are: fields, inputs, parameters, coordinates."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from sciml.data.importers import _ugrid
from sciml.data.importers._labelled import Labelled, Variable
from sciml.data.importers._mapping import Plan, Taken
from sciml.data.importers._roles import SPACE, coordinate, not_fields, of_name, of_variable, roles
from sciml.data.importers._units import plain
from sciml.errors import FileFormatError, InputError, suggest

MOST_COMPONENTS = 32
TAKEN = ("time", "x", "y", "z", "mask", "node", "case", "obs", "frame", "row_size", "status", "split", "subset")
NOTHING = Taken()


@dataclass(frozen=True)
class Entry:
    """Something that is read.

    Args:
        variable: of the file.
        component: along the axis of components; None where there is none.
        taken: what was told of it.
        unit: of values.
    """

    variable: str
    component: int | None = None
    taken: Taken = NOTHING
    unit: str = "1"
    text: str = ""


@dataclass
class Look:
    """What a file was found to be.

    Args:
        axes: dimension -> axis, "" for what is not understood, "one" for those of length one.
        space: axes of fields in array order: (z, y, x) or less, or (node).
        lengths: axis -> length; "case" and "time" too.
        fields, inputs, parameters: by name.
        coordinates: axis -> variable; curved: axis -> variable over two axes.
        mesh: of the nodes.
        length_unit: of positions along all axes, "" where these differ or say nothing; position_units: all of them.
        left: variable -> why it is not read.
    """

    label: str
    axes: dict[str, str]
    space: tuple[str, ...] = ()
    lengths: dict[str, int] = field(default_factory=dict)
    fields: dict[str, Entry] = field(default_factory=dict)
    inputs: dict[str, Entry] = field(default_factory=dict)
    parameters: dict[str, Entry] = field(default_factory=dict)
    coordinates: dict[str, str] = field(default_factory=dict)
    curved: dict[str, str] = field(default_factory=dict)
    mesh: _ugrid.Topology | None = None
    timed: bool = False
    length_unit: str = ""
    position_units: list[str] = field(default_factory=list)
    left: dict[str, str] = field(default_factory=dict)

    @property
    def cases(self) -> int:
        return self.lengths.get("case", 1)

    def of(self, v: Variable) -> list[str]:
        """The axes of a variable."""
        return [self.axes[d] for d in v.dims]


def look(file: Labelled, plan: Plan) -> Look:
    """Find out what a file is.

    Raises:
        InputError: what was told does not fit.
        FileFormatError: it holds no field.
    """
    axes, sizes = roles(file, plan), file.sizes
    told = set(plan.option("dimensions", dict, {}))
    for dim, n in sizes.items():
        if n == 1 and dim not in told and axes[dim] not in ("case", "time"):
            axes[dim] = "one"
    found = Look(file.label, axes, left=dict(file.left))
    found.mesh = _ugrid.topology(file)
    for name, (label, _) in _given(plan).items():
        if name not in file.variables and name not in file.attrs:
            near = suggest(name, file.variables)
            raise InputError(f"parameters.{label}: {file.label} has no variable {name!r}{near}")
    aside = not_fields(file) | dict(found.mesh.serves if found.mesh else {})
    if found.mesh:
        axes[found.mesh.dimension] = "node"
        for v in file.variables.values():  # of values at faces the positions are those of faces: no grid
            axes |= {d: "" for d in v.dims if d in found.mesh.others and axes[d] == "node"}
    places = _coordinates(file, found, plan, aside)
    candidates: dict[str, Variable] = {}
    for v in file.variables.values():
        if v.name in aside:
            found.left[v.name] = aside[v.name]
        elif v.problem or not v.is_number:
            found.left[v.name] = v.problem or ("complex numbers" if v.dtype.kind in "cV" else "text")
        elif v.name not in places:
            candidates[v.name] = v
    _sort(file, found, plan, candidates)
    _positions(file, found, plan, places)
    straight = {a: n for a, n in found.coordinates.items() if a in SPACE}
    used = found.mesh.places if found.mesh else found.curved or straight
    units = {"degrees" if "degree" in (u := file.variables[n].unit) else u for n in used.values()}
    found.position_units = sorted({plain(u): u for u in units if u}.values())
    found.length_unit = units.pop() if len({plain(u) for u in units}) == 1 else ""
    for name in found.space:
        if name != "node" and name in found.coordinates:
            found.left.pop(found.coordinates[name], None)
    return found


def _coordinates(file: Labelled, found: Look, plan: Plan, aside: Mapping[str, str]) -> set[str]:
    """Names of variables that hold positions or times."""
    places = set()
    for dim, axis in found.axes.items():
        if axis in ("case", "time", *SPACE, "one"):
            own = coordinate(file, dim, axis, plan)
            if own is not None:
                places.add(own.name)
    listed = {w for v in file.variables.values() for w in str(v.attrs.get("coordinates", "")).split()}
    listed |= set(str(file.attrs.get("coordinates", "")).split())
    places |= {p.source for p in (plan.time, *plan.coordinates.values()) if p.source}
    for v in file.variables.values():
        axes = [a for a in found.of(v) if a != "one"]
        if v.name in aside or not v.is_number:
            continue
        said = of_variable(v) or (of_name(v.name) if v.name in listed or "node" in axes else "")
        still = set(axes) - {"case", "time"}  # positions over two axes may be repeated at all times
        if said in SPACE and still == {"y", "x"} and len(axes) <= 3 and (of_variable(v) or v.name in listed):
            places.add(v.name)
        elif said in (*SPACE, "time") and axes and set(axes) <= {"case", "time", "node"}:
            places.add(v.name)
        elif v.name in listed and not axes and said:
            places.add(v.name)
    return places


def _sort(file: Labelled, found: Look, plan: Plan, candidates: Mapping[str, Variable]) -> None:
    """Enter fields, inputs and parameters."""
    chosen = {t.source or n for n, t in plan.fields.items()}
    spaces: dict[str, tuple[tuple[str, str], ...]] = {}
    for name, v in candidates.items():
        axes = found.of(v)
        unknown = [d for d, a in zip(v.dims, axes, strict=True) if not a]
        twice = [a for a in axes if a != "one" and axes.count(a) > 1]
        if unknown or twice:
            why = f"dimension {unknown[0].lstrip('?')!r} is not understood" if unknown else ""
            found.left[name] = why or f"two of its dimensions are {twice[0]}"
        elif "component" in axes and v.shape[axes.index("component")] > MOST_COMPONENTS:
            found.left[name] = f"{v.shape[axes.index('component')]} components, more than {MOST_COMPONENTS}"
        else:
            spaces[name] = tuple(sorted(
                (a, f"?{a}{n}" if d.startswith("?") else d)
                for d, a, n in zip(v.dims, axes, v.shape, strict=True) if a in (*SPACE, "node")
            ))  # fmt: skip
    for name in chosen - set(file.variables):
        raise InputError(f"fields: {file.label} has no variable {name!r}{suggest(name, file.variables)}")
    for name in chosen - set(spaces):
        raise InputError(f"fields: {file.label}: variable {name!r}: {found.left.get(name, 'it holds positions')}")
    counts: Counter[tuple[tuple[str, str], ...]] = Counter()
    for name, key in spaces.items():
        if key and (not chosen or name in chosen):
            counts[key] += 100 if "time" in found.of(candidates[name]) else 1
    if not counts:
        held = ", ".join(f"{v.name} {tuple(d.lstrip('?') for d in v.dims)}" for v in list(file.variables.values())[:6])
        raise FileFormatError(
            f"{file.label}: no variable is understood as a field over space; it holds {held or 'nothing'}; tell what "
            '[axes] order = ["case", "time", "y", "x"] or [options.dimensions] are'
        )
    main = max(counts, key=lambda k: (counts[k], len(k)))
    of_main = [n for n, key in spaces.items() if key == main and (not chosen or n in chosen)]
    found.space = ("node",) if ("node", main[0][1]) == main[0] else tuple(a for a in SPACE if a in dict(main))
    if "node" in dict(main) and len(main) > 1:
        raise FileFormatError(f"{file.label}: fields over {' and '.join(dict(main))}: layers of nodes are not read")
    found.timed = any("time" in found.of(candidates[n]) for n in of_main) and plan.steady is not True
    for name in of_main:
        for axis, n in zip(found.of(candidates[name]), candidates[name].shape, strict=True):
            if axis in ("case", "time", *found.space) and found.lengths.setdefault(axis, n) != n:
                known = found.lengths[axis]
                raise FileFormatError(f"{candidates[name].where}: {n} values along {axis}, {known} elsewhere")
    _enter(found, plan, candidates, spaces, main, chosen)


def _enter(
    found: Look, plan: Plan, candidates: Mapping[str, Variable], spaces: Mapping[str, tuple[tuple[str, str], ...]],
    main: tuple[tuple[str, str], ...], chosen: set[str],
) -> None:  # fmt: skip
    given = _given(plan)
    given_inputs = {t.source or n for n, t in plan.inputs.items()}
    labels = _labels(candidates)
    for name, v in candidates.items():
        axes = set(found.of(v)) - {"one"}
        if name in chosen:
            continue
        if name in given:
            if name not in spaces or axes - {"case"}:
                raise InputError(f"parameters.{given[name][0]}: {v.where} is over {v.dims}, expected cases alone")
            found.parameters[given[name][0]] = Entry(name, None, given[name][1], given[name][1].unit or v.unit or "1")
        elif name in given_inputs:
            continue
        elif name not in spaces:
            continue
        elif not axes - {"case"} and "component" not in axes:
            if given:
                found.left[name] = "not chosen"
            else:
                found.parameters[labels[name]] = Entry(name, None, NOTHING, v.unit or "1", _long(v))
        elif chosen and (spaces[name] != main or "time" in axes or not found.timed):
            found.left[name] = "not chosen"
        elif plan.inputs and spaces[name] == main and "time" not in axes and found.timed:
            found.left[name] = "not chosen"
        elif spaces[name] == main and ("time" in axes or not found.timed):
            found.fields |= dict(_entries(found, v, labels[name], NOTHING))
        elif spaces[name] == main:
            found.inputs |= dict(_entries(found, v, labels[name], NOTHING))
        else:
            over = ", ".join(a for a in found.of(v) if a not in ("one", "case"))
            other = f"on other places, over {', '.join(v.dims)}"
            found.left[name] = other if spaces[name] else f"over {over} alone"
    for label, taken in plan.fields.items():
        found.fields |= dict(_entries(found, candidates[taken.source or label], label, taken))
    for label, taken in plan.inputs.items():
        name = taken.source or label
        if name not in candidates:
            raise InputError(f"inputs.{label}: {found.label} has no variable {name!r}{suggest(name, candidates)}")
        if spaces.get(name) != main or "time" in found.of(candidates[name]):
            dims = candidates[name].dims
            raise InputError(f"inputs.{label}: {candidates[name].where} is over {dims}, expected the axes of fields")
        found.inputs |= dict(_entries(found, candidates[name], label, taken))


def _given(plan: Plan) -> dict[str, tuple[str, Taken]]:
    """Parameters that are variables of files: variable -> name and what was told."""
    return {t.source or n: (n, t) for n, t in plan.parameters.items() if not t.values and t.value is None}


def _labels(names: Iterable[str]) -> dict[str, str]:
    """Names that files take: without groups, where that leaves all different."""
    short = {n: word(n) for n in names}
    counts = Counter(short.values())
    return {n: s if counts[s] == 1 else word(n.replace("/", "_")) for n, s in short.items()}


def _entries(found: Look, v: Variable, label: str, taken: Taken) -> Iterator[tuple[str, Entry]]:
    """One, or one a component."""
    axes = found.of(v)
    unit = taken.unit or v.unit or "1"
    if "component" not in axes:
        yield label, Entry(v.name, None, taken, unit, _long(v))
        return
    count = v.shape[axes.index("component")]
    if taken.component is not None:
        if not 0 <= taken.component < count:
            raise InputError(f"fields.{label}: component {taken.component}, but {v.where} has {count}, from 0 on")
        yield label, Entry(v.name, taken.component, taken, unit, _long(v))
        return
    d = len(found.space)
    names = "xyz"[:count] if count == d and d > 1 else [str(k) for k in range(count)]
    for k, n in enumerate(names):
        yield f"{label}_{n}", Entry(v.name, k, taken, unit, _long(v))


def _positions(file: Labelled, found: Look, plan: Plan, places: set[str]) -> None:
    """Enter the variables of positions and times."""
    given = _given(plan)
    for dim, axis in found.axes.items():
        if axis in ("case", "time", *found.space) and axis not in found.coordinates and axis != "node":
            own = coordinate(file, dim, axis, plan)
            if own is not None and own.shape == (found.lengths.get(axis),):
                found.coordinates[axis] = own.name
                if axis == "case" and of_name(own.name) != "case":  # what cases differ in, not their numbers
                    label, taken = given.get(own.name, (word(own.name), NOTHING))
                    if given and own.name not in given:
                        found.left[own.name] = "not chosen"
                    else:
                        unit = taken.unit or own.unit or "1"
                        found.parameters[label] = Entry(own.name, None, taken, unit, _long(own))
    told = {p.source: a for a, p in plan.coordinates.items() if p.source} | {plan.time.source: "time"}
    for name in sorted(places, key=lambda n: (n not in told, len(file.variables[n].dims))):
        v = file.variables[name]
        axes = {a for a in found.of(v) if a != "one"}
        said = told.get(name) or of_variable(v) or of_name(name)
        if said == "time" and axes and axes <= {"case", "time"}:
            found.coordinates.setdefault("time", name)
        elif found.space == ("node",) and "node" in axes and said in SPACE:
            found.coordinates.setdefault(said, name)
        elif axes - {"case", "time"} == {"y", "x"} == set(found.space) and said in SPACE:
            found.curved.setdefault(said, name)
    used = {*found.coordinates.values(), *found.curved.values()}
    for name in places - used:
        found.left[name] = "positions that no field needs"
    if set(found.curved) != {"x", "y"} or {"x", "y"} & set(found.coordinates):
        for name in found.curved.values():
            found.left[name] = "positions over two axes, beside those over one"
        found.curved = {}


def word(name: str) -> str:
    """A name that files take."""
    found = re.sub(r"\W", "_", name.rsplit("/", 1)[-1], flags=re.ASCII).strip("_")
    if found in TAKEN:
        return f"{found}_"
    return found if found[:1].isalpha() else f"v_{found}"


def _long(v: Variable) -> str:
    for key in ("long_name", "standard_name", "description"):
        value = v.attrs.get(key)
        if isinstance(value, str) and value:
            return value[:200]
    return ""


def values(file: Labelled, found: Look, entry: Entry, case: int, frames: slice, timed: bool) -> np.ndarray:
    """Values of an entry for a case, over (time, *space), or (*space), or a number.

    Raises:
        FileFormatError: damaged.
    """
    v = file.variables[entry.variable]
    at: dict[str, int | slice] = {}
    kept: list[str] = []
    for dim, axis in zip(v.dims, found.of(v), strict=True):
        if axis == "case":
            at[dim] = case
        elif axis == "one":
            at[dim] = 0
        elif axis == "component":
            at[dim] = entry.component or 0
        elif axis == "time" and timed:
            at[dim] = frames
            kept.append(axis)
        elif axis == "time":
            at[dim] = 0
        else:
            kept.append(axis)
    raw = v.read(at)
    order = [a for a in ("time", *found.space) if a in kept]
    raw = raw.transpose([kept.index(a) for a in order])
    raw = raw.astype(np.float32) if raw.dtype.kind == "b" else raw
    if entry.taken.scale != 1.0 or entry.taken.offset != 0.0:
        raw = raw * entry.taken.scale + entry.taken.offset
    return raw
