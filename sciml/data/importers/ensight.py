"""EnSight Gold: a .case file and what it names; each .case is a case."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping
from fnmatch import fnmatch
from typing import ClassVar

import numpy as np

from sciml.data.importers import _ensight, _series
from sciml.data.importers._layout import Cases, Reading, Recognised
from sciml.data.importers._mapping import Plan
from sciml.data.importers._published import _nothing_but
from sciml.data.importers._series import Series
from sciml.data.importers._snapshot import DIMENSION, Lattice, Nodes, Snapshot
from sciml.data.importers._source import Source
from sciml.errors import FileFormatError, suggest


class EnSight(Cases):
    """One part of a geometry, by default that of the most elements, over all times."""

    name = "ensight"
    title = "EnSight Gold"
    options: ClassVar[Mapping[str, str]] = {
        "part": "description or number of the part that is read; by default that of most elements",
        "location": _series.OPTIONS["location"], "velocity": _series.OPTIONS["velocity"],
        "displacement": _series.OPTIONS["displacement"],
    }  # fmt: skip

    def recognise(self, source: Source) -> Recognised | None:
        names = _names(source)
        return Recognised(self.name, self.title, {"cases": len(names)}, 3) if names else None

    def draft(self, source: Source) -> tuple[Plan, Mapping[str, str]]:
        names = _names(source)
        if not names or not source.is_folder:
            return super().draft(source)
        return _series.draft(self.name, [_one(source, names[0], len(names) == 1, Plan(), [])])

    def read(self, source: Source, plan: Plan) -> Reading:
        _nothing_but(plan, self.name, "problem", "steady", "periodic", "time", "coordinates", "fields", "parameters")
        if not source.is_folder:
            raise FileFormatError(f"{source.root}: names other files; give the folder that it is in")
        notes: list[str] = []
        names = _names(source)
        if not names:
            raise FileFormatError(f"{source.root}: no .case file of EnSight")
        patterns = [p for n in names for p in _patterns(source, n)]
        _series.left_out(source, lambda n: n in names or any(fnmatch(n, p) for p in patterns), notes)
        series = [_one(source, n, len(names) == 1, plan, notes) for n in names]
        return _series.reading(series, plan, source, notes)


def _names(source: Source) -> list[str]:
    return [n for n in source.matching("*.case", "*.encas") if b"ensight" in source.head(n, 2048).lower()]


def _patterns(source: Source, name: str) -> list[str]:
    """The files that a case names."""
    case = _ensight.case(source.text(name, 1 << 26), str(source.path(name)))
    folder = name.rpartition("/")[0]
    return [posixpath.normpath(posixpath.join(folder, f)) for f in (case.model, *(v.file for v in case.variables))]


def _one(source: Source, name: str, alone: bool, plan: Plan, notes: list[str]) -> Series:
    case = _ensight.case(source.text(name, 1 << 26), str(source.path(name)))
    notes += [n for n in case.notes if n not in notes]
    folder = name.rpartition("/")[0]
    clocks = {v.timeset for v in case.variables if "*" in v.file} | ({case.model_set} if "*" in case.model else set())
    used = [s for s in sorted(clocks) if s in case.times] or sorted(case.times)[:1]
    if len({tuple(case.times[s]) for s in used}) > 1:
        raise FileFormatError(f"{source.path(name)}: variables at different times, expected one set of times for all")
    times: list[float | None] = [None] if not used else [*case.times[used[0]]]
    kept: dict[str, list[_ensight.Part]] = {}

    def content(pattern: str, set_: int, step: int) -> tuple[bytes, str]:
        number = case.numbers[set_][step] if set_ in case.numbers else None
        given = _ensight.file_of(pattern, number)
        found = posixpath.normpath(posixpath.join(folder, given.strip('"')))
        if found not in source.names:
            raise FileFormatError(f"{source.path(name)}: names {given!r:.100}, which is not there")
        with source.open(found) as file:
            return file.read(), str(source.path(found))

    def reader(step: int) -> Callable[[], Snapshot]:
        def read() -> Snapshot:
            said: list[str] = []
            number = case.numbers[case.model_set][step] if case.model_set in case.numbers else None
            key = _ensight.file_of(case.model, number)
            if key not in kept:
                kept.clear()
                kept[key] = _ensight.geometry(*content(case.model, case.model_set, step), said)
            parts = kept[key]
            part = _chosen(parts, plan, said, str(source.path(name)))
            point: dict[str, np.ndarray] = {}
            cell: dict[str, np.ndarray] = {}
            scalars = {}
            for v in case.variables:
                if v.on == "case":
                    try:
                        scalars[v.name] = float(v.file)
                    except ValueError:
                        said.append(f"constant {v.name}: {v.file!r:.40} is no number")
                    continue
                data, where = content(v.file, v.timeset, step)
                values = _ensight.variable(data, where, v.kind, v.on, parts)
                if part.number not in values:
                    said.append(f"{v.name} has no values on the part that is read: left out")
                else:
                    (point if v.on == "node" else cell)[v.name] = values[part.number]
            return Snapshot(part.place, point, cell, scalars=scalars, notes=said)

        return read

    frames = [(t, name, reader(k)) for k, t in enumerate(times)]
    stem = name.rpartition("/")[2].rpartition(".")[0]
    label = (folder or stem) if alone else f"{folder}/{stem}".lstrip("/")
    return Series(label, frames, subset=folder.split("/")[0])


def _size(part: _ensight.Part) -> tuple[int, int]:
    """Dimensions of its cells, and how many."""
    if isinstance(part.place, Lattice):
        return sum(len(a) > 1 for a in part.place.axes), part.place.cells
    assert isinstance(part.place, Nodes)
    return max((DIMENSION[k] for k, c in part.place.cells.items() if len(c)), default=0), part.place.count


def _chosen(parts: list[_ensight.Part], plan: Plan, notes: list[str], name: str) -> _ensight.Part:
    told = plan.options.get("part")
    if told is not None:
        found = [p for p in parts if told in (p.title, p.number)]
        if not found:
            raise FileFormatError(f"{name}: no part is {told!r:.60}{suggest(str(told), [p.title for p in parts])}")
        return found[0]
    best = max(parts, key=_size)
    rest = [p.title for p in parts if p is not best]
    if rest:
        notes.append(f"of {len(parts)} parts {best.title!r} is read; left out {', '.join(rest)[:200]} (options.part)")
    return best
