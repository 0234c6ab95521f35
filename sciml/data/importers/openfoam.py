"""Case folders of OpenFOAM: constant/polyMesh and a folder a time, of one case or of many."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import ClassVar

import numpy as np

from sciml.data.importers import _foam, _series
from sciml.data.importers._layout import Cases, Reading, Recognised
from sciml.data.importers._mapping import Plan
from sciml.data.importers._published import _nothing_but
from sciml.data.importers._series import Series
from sciml.data.importers._snapshot import Nodes, Snapshot
from sciml.data.importers._source import Source
from sciml.errors import FileFormatError, InputError

_MESH = re.compile(r"(?:(.*)/)?constant/polyMesh/points(?:\.gz)?\Z")
_REGION = re.compile(r"(?:(.*)/)?constant/([^/]+)/polyMesh/points(?:\.gz)?\Z")
_PROCESSOR = re.compile(r"(?:.*/)?processors?\d+(?:/.*)?\Z")
CONSTANTS = ("transportProperties", "physicalProperties", "thermophysicalProperties", "turbulenceProperties")


class OpenFOAM(Cases):
    """Folders with constant/polyMesh; values in cells, at their centres, or on a grid where these lie on one."""

    name = "openfoam"
    title = "OpenFOAM case folders"
    options: ClassVar[Mapping[str, str]] = {
        "velocity": _series.OPTIONS["velocity"], "skip_start": "true to leave out the folder of the first time"
    }  # fmt: skip

    def recognise(self, source: Source) -> Recognised | None:
        if not source.is_folder:
            return None
        cases = _cases(source)
        if cases:
            return Recognised(self.name, self.title, {"cases": len(cases)}, 3)
        split = [n for n in source.names if _PROCESSOR.match(n) and _MESH.match(n)]
        regions = [n for n in source.names if _REGION.match(n)]
        if split or regions:
            return Recognised(self.name, self.title, {}, 3)
        return None

    def draft(self, source: Source) -> tuple[Plan, Mapping[str, str]]:
        folders = _cases(source)
        return _series.draft(self.name, [_one(source, folders[0], Plan(), [])]) if folders else super().draft(source)

    def read(self, source: Source, plan: Plan) -> Reading:
        _nothing_but(plan, self.name, "problem", "steady", "periodic", "time", "fields", "parameters")
        notes: list[str] = []
        folders = _cases(source)
        if not folders:
            if any(_PROCESSOR.match(n) and _MESH.match(n) for n in source.names):
                raise FileFormatError(f"{source.root}: decomposed among processors; run reconstructPar first")
            if any(_REGION.match(n) for n in source.names):
                raise FileFormatError(f"{source.root}: several regions (constant/<region>/polyMesh), expected one; "
                                      "copy a region's mesh and fields into a case of its own")  # fmt: skip
            raise FileFormatError(f"{source.root}: no constant/polyMesh/points; run blockMesh, or keep the mesh")
        if any(_PROCESSOR.match(n) for n in source.names):
            notes.append("folders of processors are left out; reconstructPar joins them")
        ours = tuple(f"{f}/" if f else "" for f in folders)
        _series.left_out(source, lambda n: n.startswith(ours) or (n.endswith(".csv") and "/" not in n), notes)
        beside = {
            part for f in ours for n in source.names if n.startswith(f)
            for part in [n[len(f) :].split("/")[0]] if "/" in n[len(f) :] and not _is_time(part)
        }  # fmt: skip
        rest = sorted(p for p in beside - {"constant", "system"} if not _PROCESSOR.match(p))
        rest = [] if "" in ours and len(ours) > 1 else rest
        if rest:
            notes.append(f"folders of cases that are not read: {', '.join(rest)[:200]}")
        series = [_one(source, f, plan, notes) for f in folders]
        return _series.reading(series, plan, source, notes, length="m", clock="s")


def _cases(source: Source) -> list[str]:
    found = [m[1] or "" for n in source.names if (m := _MESH.match(n)) and not _PROCESSOR.match(n)]
    return list(dict.fromkeys(found))


def _content(source: Source, name: str) -> bytes:
    with source.open(name) as file:
        return file.read()


def _named(source: Source, name: str) -> str | None:
    """The file, or the same compressed."""
    return next((n for n in (name, f"{name}.gz") if n in source.names), None)


def _one(source: Source, folder: str, plan: Plan, notes: list[str]) -> Series:
    prefix = f"{folder}/" if folder else ""
    times: dict[str, list[str]] = {}
    for name in source.names:
        if not name.startswith(prefix):
            continue
        parts = name[len(prefix) :].split("/")
        if len(parts) > 1 and _is_time(parts[0]):
            if parts[1:] == ["polyMesh", "points"] or parts[1:] == ["polyMesh", "points.gz"]:
                raise FileFormatError(
                    f"{source.path(name)}: the mesh moves; write the case with foamToVTK and import its folder VTK"
                )
            if len(parts) == 2:
                times.setdefault(parts[0], []).append(name)
            elif parts[1] not in ("uniform", "polyMesh"):
                text = f"folders beside fields are left out: {parts[1]}"
                notes.extend([text] * (text not in notes))
    names = sorted(times, key=float)
    if plan.option("skip_start", bool, False):
        names = names[1:]
    if not names:
        raise FileFormatError(f"{source.path(folder)}: no folder of a time with fields")
    if len({float(n) for n in names}) < len(names):
        raise FileFormatError(f"{source.path(folder)}: two folders of the same time among {', '.join(names)[:200]}")
    kept: dict[str, _foam.Mesh] = {}

    def mesh() -> _foam.Mesh:
        if not kept:
            kept["mesh"] = _mesh(source, prefix)
            if "wedge" in kept["mesh"].patches.values():
                notes.append("sides of type wedge: taken as a thin slice, without its symmetry about an axis")
        return kept["mesh"]

    places: dict[str, Nodes] = {}

    def reader(time: str) -> Callable[[], Snapshot]:
        def read() -> Snapshot:
            m = mesh()
            place = places.setdefault("", Nodes(m.points, count=len(m.centres), centres=m.centres))
            found = Snapshot(place)
            for name in times[time]:
                key = name.rpartition("/")[2].removesuffix(".gz")
                got = _foam.field(_content(source, name), str(source.path(name)), len(m.centres))
                if isinstance(got, str):
                    found.notes.append(f"{key} is {got}, not in cells: left out")
                else:
                    values, found.units[key] = got
                    found.cell[key] = np.asarray(values)
            if not found.cell:
                raise FileFormatError(f"{source.path(prefix + time)}: holds no field in cells")
            return found

        return read

    frames = [(float(t), f"{prefix}{t}", reader(t)) for t in names]
    numbers: dict[str, float] = {}
    for constant in CONSTANTS:
        name = _named(source, f"{prefix}constant/{constant}")
        if name is not None and source.size(name) < 1 << 20:
            numbers |= {_series.word(k)[0]: v for k, v in _foam.constants(_content(source, name)).items()}
    return Series(folder or source.root.name, frames, numbers, folder.rpartition("/")[0].split("/")[0])


def _is_time(name: str) -> bool:
    return re.fullmatch(r"\d+\.?\d*(?:[eE][-+]?\d+)?", name) is not None


def _mesh(source: Source, prefix: str) -> _foam.Mesh:
    files = {}
    for key in ("points", "faces", "owner", "neighbour", "boundary"):
        name = _named(source, f"{prefix}constant/polyMesh/{key}")
        if name is None and key != "boundary":
            raise FileFormatError(f"{source.path(f'{prefix}constant/polyMesh')}: has no file {key}")
        if name is not None:
            try:
                files[key] = _content(source, name)
            except InputError as error:
                raise FileFormatError(str(error)) from None
    return _foam.mesh(files, str(source.path(f"{prefix}constant/polyMesh")))
