"""Text with columns of coordinates and values: CSV, TSV, columns between blanks.

    x [m]; y [m]; u [m/s]                 a file a case, or all cases in one file with a column that tells them apart;
    0,0;   0,0;   1,25                    a column of times makes frames; a file may be a frame
    ...

Delimiter, decimal sign, heading and units are found out. Where places fill a grid, it is one; else they are points.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from sciml.data.importers import _names
from sciml.data.importers._array_roles import low
from sciml.data.importers._bundles import FRAMES
from sciml.data.importers._column_roles import Use, is_time, rows_of, use_of
from sciml.data.importers._dates import seconds
from sciml.data.importers._gridded import flags, note
from sciml.data.importers._layout import Cases, Raw, Reading, Recognised
from sciml.data.importers._mapping import Along, Plan, Taken
from sciml.data.importers._source import Source
from sciml.data.importers._text import Columns, columns
from sciml.data.importers._units import agree
from sciml.errors import FileFormatError, InputError
from sciml.problem import FieldSpec, ParameterSpec
from sciml.problems.own_data import DataProblem
from sciml.support import Grid, Points

ENDINGS = ("*.csv", "*.tsv", "*.txt", "*.dat", "*.asc", "*.tab", "*.xy")
LOOK = 1 << 16  # bytes by which a file is recognised
FULL = 0.5  # share of the places of a grid that must have values for it to be one
MOST_COMPARED = 300  # files whose places are compared before any is read
SAME = 1e-6  # of the extent, within which positions are equal


class Tables(Cases):
    """Columns of numbers in text."""

    name = "table"
    title = "columns of numbers in text"
    options: ClassVar[Mapping[str, str]] = {
        "case": "column that tells cases apart",
        "files": "what files are: cases or times",
        "points": "true where places are loose points though they would fill a grid",
    }

    def recognise(self, source: Source) -> Recognised | None:
        files = _files(source)
        if not files:
            return None
        table = _head(source, files[0])
        if table is None:
            return None
        use = use_of(table, Plan(), _cut(source, files[0], table))
        facts: dict[str, Any] = {"files": len(files)} if len(files) > 1 else {}
        facts["columns"] = [f"{n} [{u}]" if u else n for n, u in zip(table.names, table.units, strict=True)][:40]
        if table.remarks:
            facts["remarks"] = list(table.remarks[:4])
        if table.notes:
            facts["notes"] = list(table.notes)
        if use.fields and not use.needs:
            facts["fields"], facts["positions"] = list(use.fields), list(use.axes)
        needs = f"{use.needs}; sciml import --explain {source.root} drafts a plan to be completed" if use.needs else ""
        return Recognised(self.name, self.title, facts, 1, needs)

    def draft(self, source: Source) -> tuple[Plan, Mapping[str, str]]:
        files = _files(source)
        table = _head(source, files[0]) if files else None
        if table is None:
            return Plan(layout=self.name), {}
        use, remarks = use_of(table, Plan(), _cut(source, files[0], table)), {}
        if use.needs:
            remarks["layout"] = f"missing: {use.needs}"
        units = dict(zip(table.names, table.units, strict=True))
        axes, rest = dict(use.axes), dict(use.fields)
        if not axes and rest:
            name = next(iter(rest))
            axes = {"x": rest.pop(name)}
            remarks["coordinates.x.from"] = "a guess: the column of positions"
        parameters = {n: Taken(source=c, unit=units[c]) for n, c in use.parameters.items()}
        for n in _names.told_in(files[0]):
            parameters[_names.name(n, parameters)] = Taken(source=f"path:{n}")
            remarks[f"parameters.{_names.name(n)}.from"] = "the number behind this word in the path of each file"
        return Plan(
            layout=self.name, problem=_names.problem(source),
            time=Along(source=use.time, unit=units.get(use.time, "")),
            coordinates={a: Along(source=c, unit=units[c]) for a, c in axes.items()},
            fields={n: Taken(source=c, unit=units[c]) for n, c in rest.items()}, parameters=parameters,
            options={"case": use.case} if use.case else {},
        ), remarks  # fmt: skip

    def read(self, source: Source, plan: Plan) -> Reading:
        files = _files(source)
        if not files:
            if not source.is_folder:
                _table(source, source.names[0])  # says what is wrong
            raise FileFormatError(f"{source.root}: holds no text with columns of numbers ({', '.join(ENDINGS)})")
        for name in ("order", "inputs"):
            if getattr(plan, name):
                raise InputError(f"{'axes' if name == 'order' else name}: {self.name} takes none")
        first = _table(source, files[0])
        use = use_of(first, plan, plan.option("files", str, "") == "times" or plan.option("points", bool, False))
        if use.needs:
            raise FileFormatError(f"{source.path(files[0])}: {use.needs}")
        notes: list[str] = []
        if not plan.fields and not plan.parameters and use.case:
            for n in _constant(first, use):
                if len(use.fields) > 1:
                    use.parameters[n] = use.fields.pop(n)
                    notes.append(f"column {use.parameters[n]!r} has one value a case: read as a parameter")
        if not plan.parameters and not use.case and plan.option("files", str, "") != "times":
            told = [n for n in _names.told_by_sign(files) if _names.name(n) not in use.fields]
            if told:
                notes.append(f"numbers in the names of files are parameters: {', '.join(told)}")
                plan = replace(plan, parameters={_names.name(n): Taken(source=f"path:{n}") for n in told})
        left = [n for n in source.names if n not in files]
        if left:
            shown = ", ".join(left[:4]) + (" ..." if len(left) > 4 else "")
            notes.append(f"{len(left)} files without columns of numbers are left out: {shown}")
        used = {*use.axes.values(), *use.fields.values(), *use.parameters.values(), use.time, use.case}
        if over := [n for n in first.names if n not in used]:
            notes.append(f"columns that are left out: {', '.join(over[:10])}")
        units = dict(zip(first.names, first.units, strict=True))
        for a, c in use.axes.items():
            if not plan.coordinates and low(c)[:1] != a and not low(c).startswith(("points", "pos", "coord")):
                notes.append(f"positions along {a} are those of column {c!r}")
        if use.time in first.dates:
            notes.append(f"dates of {use.time!r} are turned into seconds from the first of a case on")
        elif use.time and not plan.time.source and not is_time(use.time, units[use.time]):
            notes.append(f"times are those of column {use.time!r}, by its unit {units[use.time]}")
        if use.case and use.case in use.parameters.values() and not plan.option("case", str, ""):
            notes.append(f"cases are told apart by column {use.case!r}, which is read as a parameter, too")
        agree({f"{source.path(files[0])}: column {c!r}": {"the position": units[c]}
               for c in use.axes.values() if not any(a.unit for a in plan.coordinates.values())})  # fmt: skip
        remarks = [r for r in first.remarks if re.search(r"\w\s*[=:]\s*[-+.\d]", r)]
        if remarks:
            notes.append(f"comments are not read: {remarks[0]:.60}" + (" ..." if len(remarks) > 1 else ""))
        framed = _framed(files, plan, bool(use.time or use.case))
        if framed is not None and not plan.option("files", str, ""):
            notes.append("files are frames of one case, at times that are the numbers in their names: [options] "
                         'files = "cases" in a plan takes a case each')  # fmt: skip
        timed = bool(use.time) or framed is not None
        if plan.steady is not None and plan.steady == timed:
            raise InputError(f"steady: {str(plan.steady).lower()}, but there {'are' if timed else 'are no'} times")
        regular = not plan.option("points", bool, False) and _regular(first, use)
        if regular and 1 < len(files) <= MOST_COMPARED and not _alike(source, files, use):
            notes.append("places differ from file to file: read as points, not as a grid")
            regular = False
        d = len(use.axes)
        parameters = [
            ParameterSpec(n, _unit(plan.parameters.get(n), units.get(use.parameters.get(n, ""), "")), 0.0)
            for n in dict.fromkeys([*use.parameters, *plan.parameters])
        ]  # fmt: skip
        problem = DataProblem(
            plan.problem or _names.problem(source),
            [FieldSpec(n, _unit(plan.fields.get(n), units.get(c, "")), "cell" if regular else "node")
             for n, c in use.fields.items()],
            parameters, d, steady=not timed, title=plan.title,
            time_unit=plan.time.unit or units.get(use.time, "") or "1",
            length_unit=next((c.unit for c in plan.coordinates.values() if c.unit), "")
            or next((units[c] for c in use.axes.values() if units.get(c)), "1"),
            periodic=flags(plan, "xyz"[:d], (False,) * d) if plan.periodic else (),
        )  # fmt: skip
        count = 1 if framed is not None else len(files)
        if use.case and framed is None:
            count = sum(len(list(rows_of(_table(source, f), use, f))) for f in files)
        return Reading(problem, count, self._cases(source, plan, files, use, regular, framed, notes), notes)

    def _cases(
        self, source: Source, plan: Plan, files: list[str], use: Use, regular: bool, framed: np.ndarray | None,
        notes: list[str],
    ) -> Iterator[Raw]:  # fmt: skip
        builder = _Builder(plan, use, regular, notes)
        frames: list[Raw] = []
        written: dict[tuple[str, ...], str] = {}
        used = [c for c in (*use.axes.values(), *use.fields.values(), *use.parameters.values(), use.time) if c]
        for file in files:
            table = _table(source, file)
            by_name = dict(zip(table.names, table.units, strict=True))
            units = tuple(by_name.get(c, "") for c in used)
            if units not in written:
                written[units] = str(source.path(file))
                agree({f: {f"column {c!r}": unit for c, unit in zip(used, u, strict=True)} for u, f in written.items()})
            for text in table.notes:
                note(notes, text)
            lacking = [c for c in (*use.axes.values(), *use.fields.values(), use.time, use.case,
                                   *use.parameters.values()) if c and c not in table.names]  # fmt: skip
            if lacking:
                raise FileFormatError(
                    f"{source.path(file)}: no column {lacking[0]!r}, which {files[0]} has, only "
                    f"{', '.join(table.names[:12])}"
                )
            for label, rows in rows_of(table, use, file):
                raw = builder.case(table, rows, label, file)
                if framed is None:
                    yield raw
                else:
                    frames.append(raw)
        if framed is not None:
            yield _joined(frames, framed, source)


def _unit(taken: Taken | None, written: str) -> str:
    return (taken.unit if taken is not None else "") or written or "1"


# -- files -------------------------------------------------------------------------------------------------------


def _files(source: Source) -> list[str]:
    """Files with columns of numbers; none where the source holds files of arrays or meshes, which tables lie beside."""
    if source.is_folder and source.matching("*.npy", "*.npz", "*.mat", "*.h5", "*.hdf5", "*.nc", "*.vt?", "*.vtk",
                                            "*.msh", "controlDict"):  # fmt: skip
        return []
    names = source.matching(*ENDINGS) if source.is_folder else list(source.names)
    found = []
    for k, name in enumerate(names):
        if k >= 50 or _is_text(source, name):  # of many files the first ones tell
            found.append(name)
    return found


def _is_text(source: Source, name: str) -> bool:
    start = source.head(name, 4096)
    if not start or b"\0" in start or source.signature(name):
        return False
    text = start.lstrip(b"\xef\xbb\xbf \r\n")
    if text.startswith(b"#DaVis") or text[:6].upper() == b"TITLE=" or name.lower().endswith(".vec"):
        return False
    if text[:1] == b"%" and (b"% Model:" in text or b"% Nodes:" in text):
        return False
    if text[:1] in b"{<" or text.startswith((b"$MeshFormat", b"FoamFile", b"/*---", b"# vtk")):
        return False
    return _head(source, name) is not None


def _head(source: Source, name: str) -> Columns | None:
    """The table by the beginning of its file; None where that is none."""
    try:
        if source.size(name) <= LOOK:
            return _dated(columns(source.text(name), str(source.path(name)), 200))
        text = source.head(name, LOOK)
        lines = text.decode("utf-8-sig" if b"\xef\xbb\xbf" == text[:3] else "latin-1").splitlines()[:-1]
        return _dated(columns("\n".join(lines), str(source.path(name)), 200))
    except FileFormatError as error:
        line = re.search(r": line (\d+)", str(error))
        return None if line is None or _words(source.head(name, LOOK)) else _short(source, name, int(line[1]))


def _cut(source: Source, name: str, table: Columns) -> bool:
    """Whether a table that was read by its beginning goes on, so that places may come back."""
    return len(table.values) >= 200 or source.size(name) > LOOK


def _words(text: bytes) -> bool:
    """Whether most of a text are words: prose, programs."""
    cells = re.split(rb"[\s,;|]+", text)
    return sum(c[:1].isalpha() for c in cells) > 0.5 * len(cells)


def _short(source: Source, name: str, line: int) -> Columns | None:
    """A table without a line that does not fit, so that reading names the line."""
    lines = source.head(name, LOOK).decode("latin-1").splitlines()[:200]
    del lines[line - 1 : line]
    try:
        return columns("\n".join(lines), name, 200)
    except FileFormatError:
        return None


def _table(source: Source, name: str) -> Columns:
    return _dated(columns(source.text(name), str(source.path(name))))


def _dated(table: Columns) -> Columns:
    """Columns of dates as seconds."""
    made = {k: s for k, cells in table.texts.items() if (s := seconds(cells)) is not None}
    if not made:
        return table
    values = table.values.copy()
    for k, found in made.items():
        values[:, k] = found
    units = tuple("s" if k in made else u for k, u in enumerate(table.units))
    texts = {k: cells for k, cells in table.texts.items() if k not in made}
    dates = tuple(table.names[k] for k in made)
    return replace(table, values=values, units=units, texts=texts, dates=dates)


def _framed(files: list[str], plan: Plan, told_apart: bool) -> np.ndarray | None:
    """Times of files, where a file is a frame: as told, or where each is called one and has its own number."""
    told = str(plan.option("files", str, ""))
    if told not in ("", "cases", "times"):
        raise InputError(f'options.files: expected "cases" or "times", got {told!r:.40}')
    ends = [re.search(r"([A-Za-z]+)[_\-.=]?(\d+(?:\.\d+)?)\.\w+\Z", f) for f in files]
    called = len(files) > 1 and len({f.rpartition("/")[0] for f in files}) == 1 and all(
        e is not None and e[1].lower() in FRAMES for e in ends
    )  # fmt: skip
    numbers = [float(e[2]) for e in ends if e is not None]
    called = called and bool((np.diff(numbers) > 0).all())
    if told == "times" or (not told and called and not told_apart):
        if plan.time.step is not None:
            return (plan.time.first or 0.0) + plan.time.step * np.arange(len(files))
        return np.array(numbers) if called else np.arange(len(files), dtype=np.float64)
    return None


# -- places ------------------------------------------------------------------------------------------------------


def _levels(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions that occur, those equal but for rounding as one, and which of them each value is."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    new = np.ones(len(ordered), bool)
    new[1:] = np.diff(ordered) > SAME * max(float(np.ptp(values)), 1e-300)
    number = np.empty(len(values), np.int64)
    number[order] = np.cumsum(new) - 1
    return ordered[new], number


def _even(centres: np.ndarray) -> np.ndarray:
    """Positions that are equally spaced but for the digits that are written, exactly so."""
    equal = np.linspace(centres[0], centres[-1], len(centres))
    return equal if np.abs(centres - equal).max() <= 1e-2 * abs(float(np.diff(equal[:2]).sum())) else centres


def _constant(table: Columns, use: Use) -> list[str]:
    """Fields that have one value in each of several cases: parameters."""
    rows = [r for _, r in rows_of(table, use, "")]
    if len(rows) < 2:
        return []
    return [n for n, c in use.fields.items() if all(np.ptp(table.column(c)[r]) == 0 for r in rows)]


def _regular(table: Columns, use: Use) -> bool:
    """Whether the places of the first case and frame fill a grid."""
    rows = next(iter(rows_of(table, use, "")))[1]
    if use.time:
        t = table.column(use.time)[rows]
        rows = rows[t == t[0]]
    places = [table.column(c)[rows] for c in use.axes.values()]
    if not all(np.isfinite(p).all() for p in places):
        return False
    found = [_levels(p) for p in places]
    levels = [len(f[0]) for f in found]
    if min(levels) < 2:
        return False
    total = int(np.prod(levels))
    there = len(np.unique(np.ravel_multi_index([f[1] for f in found], levels)))  # places may occur twice
    return there >= FULL * total and len(rows) <= 2 * there


def _alike(source: Source, files: list[str], use: Use) -> bool:
    """Whether the grids of files have the same numbers of places."""
    shapes = set()
    for file in files:
        table = _table(source, file)
        if not all(c in table.names for c in use.axes.values()):
            return True  # said when it is read
        shapes.add(tuple(len(_levels(table.column(c)[np.isfinite(table.column(c))])[0]) for c in use.axes.values()))
    return len(shapes) == 1


class _Builder:
    """Makes cases of rows."""

    def __init__(self, plan: Plan, use: Use, regular: bool, notes: list[str]):
        self.plan, self.use, self.regular, self.notes = plan, use, regular, notes
        self.shape: tuple[int, ...] | None = None

    def case(self, table: Columns, rows: np.ndarray, label: str, file: str) -> Raw:
        use = self.use
        places = np.stack([table.column(c)[rows] for c in use.axes.values()], axis=1)
        lost = ~np.isfinite(places).all(axis=1)
        if lost.any():
            note(self.notes, f"rows without a position are left out: {int(lost.sum())} of {file}")
            rows, places = rows[~lost], places[~lost]
        times, frame = None, np.zeros(len(rows), np.int64)
        if use.time:
            t = table.column(use.time)[rows]
            if not np.isfinite(t).all():
                raise FileFormatError(f"{label}: {int((~np.isfinite(t)).sum())} rows have no time")
            times, frame = np.unique(t, return_inverse=True)
            times, frame = times - times[0] if use.time in table.dates else times, frame.reshape(-1)
        if not len(rows):
            raise FileFormatError(f"{label}: no rows with positions")
        values = {n: table.column(c)[rows] for n, c in use.fields.items()}
        for n, t in self.plan.fields.items():
            if t.scale != 1.0 or t.offset != 0.0:
                values[n] = values[n] * t.scale + t.offset
        count = 1 if times is None else len(times)
        support, fields = (self._grid if self.regular else self._points)(places, frame, count, values, label)
        if times is None:
            fields = {n: v[0] for n, v in fields.items()}
        split = next((s for p in file.split("/") if (s := _names.split_of(p.rpartition(".")[0] or p)[0])), "")
        return Raw(fields, support, times, self._parameters(table, rows, label, file), {}, label, "", split)

    def _grid(
        self, places: np.ndarray, frame: np.ndarray, count: int, values: Mapping[str, np.ndarray], label: str
    ) -> tuple[Any, dict[str, np.ndarray]]:
        d = places.shape[1]
        found = [_levels(places[:, k]) for k in range(d)]
        shape = tuple(len(found[k][0]) for k in reversed(range(d)))
        if self.shape is None:
            self.shape = shape
        if shape != self.shape:
            raise FileFormatError(
                f"{label}: a grid of {shape} places, but the first case has {self.shape}, expected the same; or "
                "[options] points = true in a plan, which takes places as loose points"
            )
        index = (frame, *(found[k][1] for k in reversed(range(d))))
        flat = np.ravel_multi_index(index, (count, *shape))
        if len(np.unique(flat)) < len(flat):
            order = np.argsort(flat, kind="stable")
            twice = np.flatnonzero(np.diff(flat[order]) == 0)
            differ = [k for k in twice if any(v[order[k]] != v[order[k + 1]] for v in values.values())]
            if differ:
                again = np.unravel_index(int(flat[order[differ[0]]]), (count, *shape))
                where = ", ".join(f"{found[d - 1 - k][0][i]:g}" for k, i in enumerate(again[1:]))
                raise FileFormatError(
                    f"{label}: a place occurs twice, with different values: ({where}) along {', '.join('zyx'[-d:])}"
                )
            note(self.notes, f"rows that repeat others: {len(twice)} of {label}")
        fields = {}
        for n, v in values.items():
            made = np.full((count, *shape), np.nan)
            made[index] = v
            fields[n] = made
        centres = tuple(_even(c) for c, _ in found)
        grid = Grid.from_centres(centres)
        periodic = flags(self.plan, "xyz"[:d], (False,) * d)
        return Grid(grid.faces, periodic, None, grid.at), fields

    def _points(
        self, places: np.ndarray, frame: np.ndarray, count: int, values: Mapping[str, np.ndarray], label: str
    ) -> tuple[Any, dict[str, np.ndarray]]:
        sizes = np.bincount(frame, minlength=count)
        if (sizes != sizes[0]).any():
            k = int(np.argmax(sizes != sizes[0]))
            raise FileFormatError(f"{label}: frame {k} has {sizes[k]} places, the first {sizes[0]}")
        order = np.argsort(frame, kind="stable").reshape(count, -1)
        where = places[order]
        if count > 1 and (where != where[0]).any():
            keys = np.lexsort((*np.moveaxis(where, -1, 0)[::-1],), axis=-1)
            order = np.take_along_axis(order, keys, 1)
            where = places[order]
            if (where != where[0]).any():
                raise FileFormatError(f"{label}: places differ from frame to frame, expected the same in all")
        if len(np.unique(where[0], axis=0)) < len(where[0]):
            note(self.notes, f"places that occur more than once: {label}")
        return Points(where[0]), {n: v[order] for n, v in values.items()}

    def _parameters(self, table: Columns, rows: np.ndarray, label: str, file: str) -> dict[str, float]:
        found = {}
        for n, c in self.use.parameters.items():
            v = table.column(c)[rows]
            if not len(v) or not np.isfinite(v[0]) or (v != v[0]).any():
                raise FileFormatError(
                    f"{label}: column {c!r} is not the same in all rows of the case, as a parameter is"
                )
            found[n] = float(v[0])
        stem = file.rpartition(".")[0]
        for n, t in self.plan.parameters.items():
            if n in found:
                continue
            if t.source.startswith("path:"):
                word = t.source.partition(":")[2]
                numbers = _names.told_in(file)
                if word not in numbers:
                    raise InputError(f"parameters.{n}: no number follows {word!r} in {file!r}")
                found[n] = numbers[word]
            elif t.values:
                key = next((k for k in (label, file, stem, stem.rpartition("/")[2]) if k in t.values), None)
                if key is None:
                    raise InputError(f"parameters.{n}.values: none for {label!r}")
                found[n] = float(t.values[key])
            elif t.value is not None:
                found[n] = t.value
        return found


def _joined(frames: list[Raw], times: np.ndarray, source: Source) -> Raw:
    """Files that are frames, as one case."""
    first = frames[0]
    for raw in frames[1:]:
        assert not isinstance(raw.support, Mapping) and not isinstance(first.support, Mapping)
        if not raw.support.same(first.support):
            raise FileFormatError(f"{raw.label}: other places than {first.label}, expected the same in all frames")
    fields = {n: np.stack([raw.fields[n] for raw in frames]) for n in first.fields}
    label = source.root.name
    return Raw(fields, first.support, times, first.parameters, {}, label, "", "")
