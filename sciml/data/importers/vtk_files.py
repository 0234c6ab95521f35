"""Files of VTK: legacy .vtk, .vti, .vtr, .vts, .vtu, .vtp, and what .pvd, .vtk.series, .pvtu, .vtm list.

Files numbered one after another are frames of one case, sub-folders are cases, and so are files without numbers.
"""

from __future__ import annotations

import json
import math
import posixpath
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from sciml.data.importers import _series, _vtk_legacy, _vtk_xml
from sciml.data.importers._layout import Cases, Reading, Recognised
from sciml.data.importers._mapping import Plan
from sciml.data.importers._published import _nothing_but
from sciml.data.importers._series import Series
from sciml.data.importers._snapshot import Nodes, Snapshot
from sciml.data.importers._source import Source
from sciml.errors import FileFormatError, InputError

PLAIN = ("*.vtk", "*.vti", "*.vtr", "*.vts", "*.vtu", "*.vtp")
LISTS = ("*.pvti", "*.pvtr", "*.pvts", "*.pvtu", "*.pvtp", "*.vtm")
TIMES = ("*.pvd", "*.series")
CASES = re.compile(
    r"(?:.*[^A-Za-z])?(?:case|sample|sim|simulation|run|design|parameter|config)s?[^A-Za-z]*\*\.\w+\Z", re.I
)
MOST = 1 << 34


class VTK(Cases):
    """VTK's files, alone, numbered, in folders, or listed by a .pvd."""

    name = "vtk"
    title = "VTK"
    options: ClassVar[Mapping[str, str]] = _series.OPTIONS

    def recognise(self, source: Source) -> Recognised | None:
        names = source.matching(*PLAIN, *LISTS, *TIMES)
        genuine = [n for n in names[:20] if _kind(source, n)]
        if not genuine:
            if names and any(source.signature(n) or not source.size(n) for n in names[:20]):
                return Recognised(self.name, self.title, {"files": len(names)}, 2)  # reading says what they are
            return None
        return Recognised(self.name, self.title, {"files": len(names), "first": genuine[0]}, 3)

    def draft(self, source: Source) -> tuple[Plan, Mapping[str, str]]:
        return _series.draft(self.name, self._series(source, Plan(), []))

    def read(self, source: Source, plan: Plan) -> Reading:
        _nothing_but(plan, self.name, "problem", "steady", "periodic", "time", "coordinates", "fields", "parameters",
                     "inputs")  # fmt: skip
        notes: list[str] = []
        known = {*source.matching(*PLAIN, *LISTS, *TIMES)}
        _series.left_out(source, lambda n: n in known or (n.lower().endswith(".csv") and "/" not in n), notes)
        return _series.reading(self._series(source, plan, notes), plan, source, notes)

    def _series(self, source: Source, plan: Plan, notes: list[str]) -> list[Series]:
        found, used = [], set[str]()
        for name in source.matching(*TIMES):
            if name.lower().endswith(".series") and not name.lower().rsplit(".", 2)[-2].startswith("v"):
                continue
            entries = _instants(source, name)
            frames = []
            for time, files in entries:
                files = [f for file in files for f in _leaves(source, file, used)]
                frames.append((time, files[0], _reader(source, files)))
            label = _label(source, name, len(source.matching(*TIMES)) == 1)
            found.append(Series(label, frames, subset=name.rpartition("/")[0].split("/")[0]))
            used.add(name)
        lists = [n for n in source.matching(*LISTS) if n not in used]
        groups: dict[str, list[tuple[int, str]]] = {}
        readers: dict[str, Callable[[], Snapshot]] = {}
        for name in lists:
            if name in used:
                continue
            files = _leaves(source, name, used)
            readers[name] = _reader(source, files)
        groups |= _series.numbered([n for n in lists if n in readers])
        loose = [n for n in source.matching(*PLAIN) if n not in used]
        if found and loose:
            notes.append(f"left out {len(loose)} files that no list of times names: {', '.join(loose[:3])}")
            loose = []
        for folder, names in source.groups(loose).items():
            if len(names) > 1 and (plan.option("pieces", bool, False) or _pieces(source, names, plan)):
                key = f"{folder}/pieces"
                groups[key], readers[key] = [(-1, key)], _reader(source, names)
                notes.append(f"{len(names)} files of {folder or source.root.name} are taken as pieces of one mesh")
            else:
                groups |= _series.numbered(names)
        found += self._grouped(source, plan, groups, readers, notes)
        if not found:
            raise FileFormatError(f"{source.root}: holds no file of VTK that is not part of another")
        return found

    @staticmethod
    def _grouped(
        source: Source, plan: Plan, groups: Mapping[str, list[tuple[int, str]]],
        readers: Mapping[str, Callable[[], Snapshot]], notes: list[str],
    ) -> list[Series]:  # fmt: skip
        told = plan.option("frames", str, "")
        if told not in ("", "times", "cases"):
            raise InputError(f"options.frames: expected times or cases, got {told!r:.40}")
        found = []
        per: dict[str, int] = {}
        for key in groups:
            folder = key.rpartition("/")[0]
            per[folder] = per.get(folder, 0) + 1
        for key, members in groups.items():
            cases = told == "cases" or (not told and plan.steady is True)
            if len(members) > 1 and not told and plan.steady is None and CASES.match(key):
                cases = True
                notes.append(
                    f'{len(members)} files {key} are taken as a case each; frames = "times" takes them as frames'
                )
            elif len(members) > 1 and not told and not cases:
                text = f"{len(members)} files {key.lstrip('/')} are taken as frames of one case; "
                text += '[options] frames = "cases" in a plan takes a case each'
                notes.extend([text] * (len(found) < 5))
            folder = key.rpartition("/")[0]
            subset = folder.split("/")[0]
            if cases or len(members) == 1:
                for _, name in members:
                    reader = readers.get(name) or _reader(source, [name])
                    found.append(Series(_label(source, name, per[folder] == 1 and len(members) == 1),
                                        [(None, name, reader)], subset=subset))  # fmt: skip
                continue
            frames = [(None, name, readers.get(name) or _reader(source, [name])) for _, name in members]
            found.append(Series(_label(source, key, per[folder] == 1), frames, subset=subset))
        return found


def _label(source: Source, name: str, alone: bool) -> str:
    """What a case is called: its folder where it is alone there, else its file without number and ending."""
    folder, _, last = name.rpartition("/")
    if alone and folder:
        return folder
    stem = last.split(".series")[0].rpartition(".")[0] or last
    stem = stem.replace("*", "").rstrip("_-. ") or source.root.name
    return f"{folder}/{stem}" if folder else stem


def _kind(source: Source, name: str) -> str:
    """What a file is by its first bytes: "legacy", "xml", "series" or ""."""
    head = source.head(name, 2048).lstrip(b"\xef\xbb\xbf").lstrip()
    if head.startswith(b"# vtk DataFile"):
        return "legacy"
    if head.startswith(b"<VTKFile") or (head.startswith(b"<?xml") and b"<VTKFile" in head):
        return "xml"
    return "series" if name.lower().endswith(".series") and b"file-series-version" in head else ""


def _content(source: Source, name: str) -> bytes:
    if source.size(name) > MOST:
        raise FileFormatError(f"{source.path(name)}: {source.size(name)} bytes, expected at most {MOST}")
    with source.open(name) as file:
        return file.read()


def snapshot(source: Source, name: str) -> Snapshot:
    """One file that holds values itself.

    Raises:
        FileFormatError: damaged, or something else; says what.
    """
    path, kind = str(source.path(name)), _kind(source, name)
    if not source.size(name):
        raise FileFormatError(f"{path}: the file is empty")
    if kind == "legacy":
        return _vtk_legacy.parse(_content(source, name), path)
    if kind == "xml":
        return _vtk_xml.parse(_content(source, name).lstrip(b"\xef\xbb\xbf"), path)
    other = source.signature(name)
    what = f"is {other} by its first bytes" if other else f"begins with {source.head(name, 24)!r}"
    raise FileFormatError(f"{path}: {what}, expected a file of VTK (legacy or XML)")


def _reader(source: Source, names: Sequence[str]) -> Callable[[], Snapshot]:
    def read() -> Snapshot:
        if len(names) == 1:
            return snapshot(source, names[0])
        return _vtk_xml.joined([snapshot(source, n) for n in names], f"{source.path(names[0])} and others")

    return read


def _beside(source: Source, name: str, given: str) -> str:
    """A listed file, relative to the source."""
    if not source.is_folder:
        raise FileFormatError(f"{source.root}: lists other files; give the folder that it is in")
    found = posixpath.normpath(posixpath.join(name.rpartition("/")[0], given))
    if given.startswith("/") or found.startswith("../"):
        raise FileFormatError(f"{source.path(name)}: lists {given!r:.100}, which is not in the folder {source.root}")
    if found not in source.names:
        raise FileFormatError(f"{source.path(name)}: lists {given!r:.100}, which is not there")
    return found


def _leaves(source: Source, name: str, used: set[str], depth: int = 0) -> list[str]:
    """The files with values that a file is made of."""
    used.add(name)
    if depth > 4:
        raise FileFormatError(f"{source.path(name)}: lists that name each other")
    listed = None
    if _kind(source, name) == "xml" and not name.lower().endswith(tuple(p[1:] for p in PLAIN)):
        listed = _vtk_xml.listed(_content(source, name), str(source.path(name)))
    if listed is None:
        return [name]
    if not listed:
        raise FileFormatError(f"{source.path(name)}: lists no files")
    return [f for _, given in listed for f in _leaves(source, _beside(source, name, given), used, depth + 1)]


def _instants(source: Source, name: str) -> list[tuple[float | None, list[str]]]:
    """(time, files) of a .pvd or a .series."""
    path = str(source.path(name))
    if name.lower().endswith(".series"):
        try:
            content: Any = json.loads(source.text(name))
            pairs = [(float(f["time"]), str(f["name"])) for f in content["files"]]
        except (ValueError, KeyError, TypeError) as error:
            raise FileFormatError(f"{path}: expected files with name and time as JSON ({error})") from None
        listed: Sequence[tuple[float | None, str]] = pairs
    else:
        listed = _vtk_xml.listed(_content(source, name), path) or []
    if not listed or any(t is not None and not math.isfinite(t) for t, _ in listed):
        raise FileFormatError(f"{path}: lists no files, or times that are not finite")
    found: dict[float | None, list[str]] = {}
    for time, given in listed:
        found.setdefault(time, []).append(_beside(source, name, given))
    if None in found and len(found) == 1:  # without times: one after another
        return [(None, [f]) for f in found[None]]
    return list(found.items())


def _pieces(source: Source, names: Sequence[str], plan: Plan) -> bool:
    """Whether files of a folder are parts of one mesh: they number the nodes of a whole that is none of them."""
    if "pieces" in plan.options or not all(n.lower().endswith((".vtu", ".vtp", ".vtk")) for n in names):
        return False
    ids = []
    for name in (names[0], names[-1]):
        one = snapshot(source, name)
        number = next((one.point[k] for k in ("GlobalNodeId", "GlobalNodeID", "GlobalIds") if k in one.point), None)
        if number is None or not isinstance(one.place, Nodes):
            return False
        ids.append(np.sort(number))
    return not np.array_equal(ids[0], ids[1])
