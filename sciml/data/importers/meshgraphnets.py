"""The layout of MeshGraphNets' data as arrays: a trajectory a .npz file.

    mesh_pos (N, D), cells (M, 3 or 4), node_type (N, 1), velocity (T, N, D), pressure (T, N, 1) ...

All of them may have a leading axis of frames; what is fixed is then taken from the first. Kinds of nodes become inputs
that are 1 on the nodes of a kind, and the attribute "type" of nodes. Positions in the world become fields.

Source: T. Pfaff, M. Fortunato, A. Sanchez-Gonzalez, P. Battaglia: Learning mesh-based simulation with graph networks
(2021), whose own files are TFRecords; these are named, not read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from sciml.data.importers import _names
from sciml.data.importers._gridded import note, told_parameters, told_times
from sciml.data.importers._layout import Cases, Raw, Reading, Recognised
from sciml.data.importers._mapping import Along, Plan
from sciml.data.importers._placed import components, connectivity
from sciml.data.importers._source import Source
from sciml.data.importers._stored import Stored, arrays_of
from sciml.errors import FileFormatError, InputError, is_number
from sciml.problem import FieldSpec, InputSpec, ParameterSpec
from sciml.problems.own_data import DataProblem
from sciml.support import Mesh, Points, kind_of

FIXED = ("mesh_pos", "cells", "node_type")
TYPES = {1: "obstacle", 2: "airfoil", 3: "handle", 4: "inflow", 5: "outflow", 6: "wall"}
MOST_TYPES = 16
WAY_OUT = (
    "TFRecord files are not read; write each trajectory as arrays: with TensorFlow, parse the records by meta.json and "
    "np.savez(file, mesh_pos=..., cells=..., node_type=..., velocity=...)"
)


class MeshGraphNets(Cases):
    """MeshGraphNets, a trajectory a .npz file."""

    name = "meshgraphnets"
    title = "MeshGraphNets"

    def recognise(self, source: Source) -> Recognised | None:
        files = source.matching("*.npz")
        if not files:
            records = source.matching("*.tfrecord", "*.tfrecords")
            if not records:
                return None
            return Recognised(self.name, "TFRecords, as of MeshGraphNets", {"files": records[:20]}, 3, WAY_OUT)
        try:
            arrays = arrays_of(source, files[0])
        except (FileFormatError, InputError):
            return None
        if not all(k in arrays for k in FIXED[:2]) or not _fields(arrays):
            return None
        shown = [s.told() for s in arrays.values()][:20]
        return Recognised(self.name, self.title, {"trajectories": len(files), "arrays": shown}, 3)

    def draft(self, source: Source) -> tuple[Plan, Mapping[str, str]]:
        problem = _names.problem(source)
        told = _times(source, Plan(), {}, 2, [])
        if told is not None:
            return Plan(layout=self.name, problem=problem), {}
        return Plan(layout=self.name, problem=problem, time=Along(first=0.0, step=1.0)), {
            "time.step": 'not told: between frames; with unit = "s"'
        }

    def read(self, source: Source, plan: Plan) -> Reading:
        files = source.matching("*.npz")
        if not files:
            raise FileFormatError(f"{source.root}: {WAY_OUT}")
        for part in ("order", "coordinates", "inputs"):
            if getattr(plan, part):
                raise InputError(
                    f"{'axes' if part == 'order' else part}: {self.name} takes none, it finds it in the files"
                )
        notes: list[str] = []
        left = [n for n in source.names if n not in files and not n.endswith("meta.json")]
        if left:
            notes.append(f"{len(left)} files that hold no trajectory are left out: {', '.join(left[:4])}")
        first = arrays_of(source, files[0])
        d = min(first["mesh_pos"].shape[-1], 3) if first["mesh_pos"].shape else 0
        kinds = _kinds(source, files, notes)
        names = _named(first, d, plan)
        units = {n: t.unit for n, t in plan.fields.items()}
        parameters = [ParameterSpec(n, t.unit or "1", 0.0) for n, t in plan.parameters.items()]
        problem = DataProblem(
            plan.problem or _names.problem(source),
            [FieldSpec(n, units.get(n) or "1", "node") for n in names], parameters, d,
            title=plan.title, inputs=[InputSpec(n, "1", "coefficient", ("node",)) for n in kinds.values()],
            time_unit=plan.time.unit or "1", length_unit="1",
        )  # fmt: skip
        return Reading(problem, len(files), self._cases(source, plan, files, names, kinds, notes), notes)

    def _cases(
        self, source: Source, plan: Plan, files: Sequence[str], names: Mapping[str, tuple[str, int]],
        kinds: Mapping[int, str], notes: list[str],
    ) -> Iterator[Raw]:  # fmt: skip
        for file in files:
            arrays = arrays_of(source, file)
            where = str(source.path(file))
            for key in FIXED[:2]:
                if key not in arrays:
                    raise FileFormatError(f"{where}: holds no {key}, only {', '.join(arrays)}")
            place = _framed(arrays["mesh_pos"], 2, where)
            cells = _framed(arrays["cells"], 2, where)
            if len(cells) > 1 and (cells != cells[0]).any():
                raise FileFormatError(f"{where}: cells change from frame to frame, expected the same in all")
            these, counted = connectivity(arrays["cells"], cells[0], place.shape[1])
            if counted:
                note(notes, "cells count nodes from 1: changed to from 0")
            kind = kind_of(these.shape[1], place.shape[2])
            whole: dict[str, np.ndarray] = {}
            fields: dict[str, np.ndarray] = {}
            for name, (key, k) in names.items():
                if key not in arrays:
                    raise FileFormatError(f"{where}: holds no {key}, which {files[0]} has")
                if key not in whole:
                    whole[key] = _frames(arrays[key], place.shape[1], where)
                if k >= whole[key].shape[2]:
                    raise FileFormatError(f"{where}: {key} has {whole[key].shape[2]} components, more in {files[0]}")
                fields[name] = np.ascontiguousarray(whole[key][..., k])
            frames = {k: len(v) for k, v in whole.items()}
            if len(set(frames.values())) > 1:
                raise FileFormatError(f"{where}: frames differ: {frames}")
            count = next(iter(frames.values()))
            types = _types(arrays, place.shape[1], where)
            moving = len(place) > 1 and bool((place != place[0]).any())
            if moving and len(place) != count:
                raise FileFormatError(f"{where}: {len(place)} frames of mesh_pos, {count} of fields")
            more: dict[str, Any] = {} if moving or types is None else {"node_attributes": {"type": types}}
            support: Any = Mesh(place[0], {kind: these}) if len(these) else Points(place[0])
            if moving:
                support = {a: place[:, :, i] for i, a in enumerate("xyz"[: place.shape[2]])}
                more["connectivity"] = {kind: these}
            inputs = {n: (types == k).astype(np.float64) for k, n in kinds.items()} if types is not None else {}
            split = next((s for p in file.split("/") if (s := _names.split_of(p.rpartition(".")[0] or p)[0])), "")
            stem = file.rpartition(".")[0]
            yield Raw(
                fields, support, _times(source, plan, arrays, count, notes),
                told_parameters(plan, file, stem, stem.rpartition("/")[2]), inputs, file, "", split, more,
            )  # fmt: skip


def _fields(arrays: Mapping[str, Stored]) -> list[str]:
    known = (*FIXED, *_names.TIMES, *_names.STEPS, "target|world_pos")
    return [n for n, s in arrays.items() if n not in known and s.is_number and len(s.shape) > 1 and s.dtype.kind == "f"]


def _named(arrays: Mapping[str, Stored], dimensions: int, plan: Plan) -> dict[str, tuple[str, int]]:
    """Field -> array and component."""
    found: dict[str, tuple[str, int]] = {}
    for key in _fields(arrays):
        count = arrays[key].shape[-1] if len(arrays[key].shape) > 2 else 1
        names = components(key, count, dimensions, list(found))
        if key == "world_pos":
            names = [f"world_{a}" for a in "xyz"[:count]]
        for k, n in enumerate(names):
            found[_names.name(n, found)] = (key, k)
    if plan.fields:
        made = {}
        for n, t in plan.fields.items():
            key = t.source or n
            if n in found and not t.source:
                made[n] = found[n]
            elif key in arrays:
                made[n] = (key, t.component or 0)
            else:
                raise InputError(f"fields.{n}: no array is called {key!r}, only {', '.join(arrays)}")
        return made
    return found


def _framed(stored: Stored, rank: int, where: str) -> np.ndarray:
    """With a leading axis of frames."""
    values = stored.load()
    if values.ndim == rank:
        values = values[None]
    if values.ndim != rank + 1 or not values.size:
        raise FileFormatError(
            f"{where}: {stored.name} has shape {stored.shape}, expected {rank} axes, or frames of these"
        )
    return values


def _frames(stored: Stored, nodes: int, where: str) -> np.ndarray:
    """(T, N, C) values."""
    if not stored.is_number or stored.dtype.kind == "c":
        raise FileFormatError(f"{where}: {stored.name}: {stored.problem or f'values of type {stored.dtype}'}")
    values = stored.load()
    if values.ndim == 2:
        values = values[..., None]
    if values.ndim != 3 or values.shape[1] != nodes:
        raise FileFormatError(
            f"{where}: {stored.name} has shape {stored.shape}, expected (time, {nodes} nodes, component)"
        )
    return values if values.dtype.kind == "f" and values.dtype.itemsize >= 4 else values.astype(np.float32)


def _types(arrays: Mapping[str, Stored], nodes: int, where: str) -> np.ndarray | None:
    """(N,) kinds of nodes; columns of zeros and ones are one kind each."""
    stored = arrays.get("node_type")
    if stored is None:
        return None
    values = stored.load()
    if values.ndim == 3:
        if len(values) > 1 and (values != values[0]).any():
            raise FileFormatError(f"{where}: node_type changes from frame to frame, expected the same in all")
        values = values[0]
    if values.ndim == 2 and values.shape[0] == nodes:
        values = values[:, 0] if values.shape[1] == 1 else values.argmax(axis=1)
    if values.shape != (nodes,) or values.dtype.kind not in "biuf" or not np.isfinite(values.astype(float)).all():
        raise FileFormatError(
            f"{where}: node_type has shape {stored.shape}, expected a number for each of {nodes} nodes"
        )
    return values.astype(np.int32)


def _kinds(source: Source, files: Sequence[str], notes: list[str]) -> dict[int, str]:
    """Kinds of nodes other than 0 that any file has, and what they are called."""
    seen: set[int] = set()
    some = False
    for file in files[:2000]:
        arrays = arrays_of(source, file)
        if "node_type" not in arrays or "mesh_pos" not in arrays or len(arrays["mesh_pos"].shape) < 2:
            continue
        types = _types(arrays, arrays["mesh_pos"].shape[-2], str(source.path(file)))
        some = True
        seen |= set(np.unique(types).tolist()) if types is not None else set()
        if len(seen) > MOST_TYPES:
            raise FileFormatError(f"{source.path(file)}: node_type has more than {MOST_TYPES} kinds")
    found = {k: TYPES.get(k, f"type_{k}" if k > 0 else f"type_minus_{-k}") for k in sorted(seen - {0})}
    if some and found:
        told = ", ".join(f"{n} ({k})" for k, n in found.items())
        note(notes, f"node_type becomes inputs that are 1 on nodes of a kind: {told}; of kind 0 all are 0")
    return found


def _times(source: Source, plan: Plan, arrays: Mapping[str, Stored], count: int, notes: list[str]) -> np.ndarray | None:
    told = told_times(plan, count)
    if told is not None:
        return told
    for name, stored in arrays.items():
        if name in _names.TIMES and stored.is_number and stored.size == count:
            return stored.load().reshape(-1).astype(np.float64)
    step = next((float(s.load().reshape(-1)[0]) for n, s in arrays.items() if n in _names.STEPS and s.size == 1), None)
    metas = [n for n in source.names if n.rpartition("/")[2] == "meta.json"] if source.is_folder else []
    if step is None and metas:
        try:
            content = json.loads(source.text(metas[0], 1 << 24))
        except (ValueError, RecursionError) as error:
            raise FileFormatError(f"{source.path(metas[0])}: not JSON: {str(error)[:100]}") from None
        value = content.get("dt") if isinstance(content, dict) else None
        step = float(value) if value is not None and is_number(value) and value > 0 else None
    if step is not None and step > 0:
        return (plan.time.first or 0.0) + step * np.arange(count)
    if not arrays:
        return None
    note(notes, "no times are told: frames are counted 0, 1, 2, ...; give [time] step = ... in a plan")
    return np.arange(count, dtype=np.float64)
