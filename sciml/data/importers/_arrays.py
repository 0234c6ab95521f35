"""Arrays of numbers in .npy, .npz and .mat files, described by a plan or by themselves.

    flow.npz: x (128,), y (64,), t (51,), u (100, 51, 64, 128), params (100, 2)      a file for all cases
    train_x.npy (900, 64, 64), train_y.npy (900, 64, 64), test_x.npy ...             inputs and outputs of a map
    points.npy (N, 2), triangles.npy (M, 3), T.npy (100, N), params.csv              values on a mesh
    Re=100/u.npy, Re=200/u.npy ...; case_001.npz, case_002.npz ...                   a folder, or a file, a case

Where names and matching lengths say for sure what an array is, nothing more is needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from sciml.data.importers import _names
from sciml.data.importers._array_roles import Roles
from sciml.data.importers._beside import Beside, beside
from sciml.data.importers._bundles import Found, found, is_arrays
from sciml.data.importers._layout import Cases, Reading, Recognised
from sciml.data.importers._mapping import Along, Plan, Taken
from sciml.data.importers._one_by_one import Read
from sciml.data.importers._placed import Placed
from sciml.data.importers._source import Source
from sciml.data.importers._told import Part, groups_of, parts_of, resolved
from sciml.errors import FileFormatError, InputError

SHOWN = 20  # arrays that are named


class Arrays(Cases):
    """Arrays of numbers."""

    name = "arrays"
    title = "arrays of numbers (.npy, .npz, .mat)"
    options: ClassVar[Mapping[str, str]] = {
        "points": "array of positions (node, 1 to 3), or (case, node, 1 to 3)",
        "cells": "array of the nodes of cells, several separated by commas",
        "mask": "array that is not zero inside of the domain",
        "solid": "array that is not zero outside of the domain",
        "parameters": "names of the columns of the array of parameters",
        "group": "which of several groups of arrays, a number in their names",
        "files": "what numbered .npy files are: cases or times",
    }

    def recognise(self, source: Source) -> Recognised | None:
        if not any(is_arrays(n) for n in source.names):
            return None
        try:
            whole, parts, roles, needs, _ = _looked_at(source, Plan())
        except (FileFormatError, InputError) as error:  # reading says it again
            return Recognised(self.name, self.title, {"damaged": str(error)}, 1)
        facts: dict[str, Any] = {"bundles": len(whole.bundles)} if len(whole.bundles) > 1 else {}
        arrays = parts[0].arrays if parts else whole.bundles[0].arrays
        facts["arrays"] = [s.told() for s in list(arrays.values())[:SHOWN]]
        if roles is not None:
            facts |= _facts(roles)
        if needs:
            needs = f"{needs}; sciml import --explain {source.root} drafts a plan to be completed"
        return Recognised(self.name, self.title, facts, 1 if needs else 2, needs)

    def draft(self, source: Source) -> tuple[Plan, Mapping[str, str]]:
        whole, parts, roles, needs, near = _looked_at(source, Plan())
        remarks: dict[str, str] = {}
        if needs:
            remarks["layout"] = f"missing: {needs}"
        group = ""
        if roles is None:
            groups = groups_of(whole.bundles[0].arrays)
            if not groups:
                return Plan(layout=self.name), remarks
            group, remarks["options.group"] = groups[0], f"or: {', '.join(groups[1:])}"
            whole, parts, roles, _, near = _looked_at(source, Plan(options={"group": group}))
            if roles is None:
                return Plan(layout=self.name, options={"group": group}), remarks
        return _drafted(source, parts[0], roles, near, remarks, group)

    def read(self, source: Source, plan: Plan) -> Reading:
        whole, parts, roles, needs, near = _looked_at(source, plan)
        if needs or roles is None:
            text = needs or "no array is a field"
            raise FileFormatError(f"{source.root}: {text}; sciml import --explain {source.root} drafts a plan")
        return Read(source, plan, whole, near, roles, parts[0]).reading(self.name)


def _looked_at(source: Source, plan: Plan) -> tuple[Found, list[Part], Roles | None, str, Beside]:
    """Bundles, the parts of the first one, its roles, what is missing to read it, and parameters beside."""
    files = str(plan.option("files", str, ""))
    if files not in ("", "cases", "times"):
        raise InputError(f'options.files: expected "cases" or "times", got {files!r:.40}')
    whole = found(source, files)
    near = beside(source, whole.beside)
    parts, needs = parts_of(whole.bundles[0], str(plan.option("group", str, "")), whole.notes)
    if needs or not parts:
        return whole, [], None, needs or "holds no arrays", near
    if not any(s.is_number for s in parts[0].arrays.values()):
        wrong = next((f"{n}: {s.problem}" for n, s in parts[0].arrays.items() if s.problem), "holds text alone")
        raise FileFormatError(f"{source.path(next(iter(parts[0].arrays.values())).file)}: {wrong}")
    roles = resolved(parts[0], plan, near.rows)
    return whole, parts, roles, roles.needs, near


def _facts(roles: Roles) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    if roles.fields:
        facts["fields"] = [f"{p.name} over ({', '.join(p.axes)})" for p in roles.fields[:SHOWN]]
    if roles.inputs:
        facts["inputs"] = [f"{p.name} over ({', '.join(p.axes)})" for p in roles.inputs[:SHOWN]]
    if roles.lengths:
        facts["lengths"] = dict(roles.lengths)
    parameters = [*roles.vectors, *roles.scalars]
    if roles.matrix is not None:
        parameters.append(f"{roles.matrix.name} {'×'.join(map(str, roles.matrix.shape))}")
    if parameters:
        facts["parameters"] = parameters[:SHOWN]
    return facts


# -- drafts ------------------------------------------------------------------------------------------------------


def _drafted(
    source: Source, part: Part, roles: Roles, near: Beside, remarks: dict[str, str], group: str = ""
) -> tuple[Plan, Mapping[str, str]]:
    options: dict[str, Any] = {"group": group} if group else {}
    if roles.points is not None:
        options["points"] = _reference(part, roles.points)
    if roles.cells:
        options["cells"] = ", ".join(_reference(part, c) for c in roles.cells)
    if roles.mask is not None:
        if roles.inside is None:
            remarks["options.mask"] = "not zero inside of the domain; or: solid, where it is not zero outside"
        options["mask" if roles.inside is not False else "solid"] = _reference(part, roles.mask.stored)
    time, coordinates = Along(), {}
    if roles.times is not None:
        time = Along(source=_reference(part, roles.times))
        remarks["time.from"] = 'and: unit = "s"'
    elif "time" in roles.lengths or "time" in roles.needs:
        time = Along(first=0.0, step=1.0)
        remarks["time.step"] = f'not told: {roles.lengths.get("time", "how many")} frames; with unit = "s"'
    for axis in ("x", "y", "z"):
        if axis in roles.coordinates:
            coordinates[axis] = Along(source=_reference(part, roles.coordinates[axis]))
        elif axis in roles.lengths:
            coordinates[axis] = Along(low=0.0, high=float(roles.lengths[axis]))
            remarks[f"coordinates.{axis}.low"] = "not told: the ends of the domain"
    guessed = {n: _guess(roles, n, part.single) for n in roles.unclear if n in part.arrays}
    fields = {p.name: _taken(part, p) for p in roles.fields}
    for name, axes in guessed.items():
        if axes and name not in fields:
            fields[_names.name(name, fields)] = Taken(source=_reference(part, part.arrays[name]), axes=axes)
            remarks[f"fields.{_names.name(name)}.axes"] = f"a guess: {roles.unclear[name]}"
            for a in axes:
                if a in "xyz" and a not in coordinates and roles.points is None:
                    coordinates[a] = Along(low=0.0, high=1.0)
                    remarks[f"coordinates.{a}.low"] = "not told: the ends of the domain"
                if a == "time" and time == Along():
                    time = Along(first=0.0, step=1.0)
                    remarks["time.step"] = 'not told; with unit = "s"'
    inputs = {p.name: _taken(part, p, p.kind) for p in roles.inputs}
    parameters = {n: Taken(source=_reference(part, s)) for n, s in roles.vectors.items()}
    parameters |= {n: Taken(source=_reference(part, s)) for n, s in roles.scalars.items()}
    if roles.matrix is not None:
        several = len(roles.matrix.shape) > 1 or part.single
        count = ([1, *roles.matrix.shape])[-1] if several else 1
        names = roles.names if len(roles.names) == count else tuple(f"p{k + 1}" for k in range(count))
        for k, n in enumerate(names):
            parameters[_names.name(n, parameters)] = Taken(
                source=_reference(part, roles.matrix), component=k if count > 1 else None
            )  # fmt: skip
        remarks[f"parameters.{next(iter(parameters))}"] = "rename these, and add unit = ..."
    for n in near.names(roles.lengths.get("case", 1)):
        parameters.setdefault(_names.name(n), Taken(source=f"beside:{n}"))
    for n in _names.told_in(part.path):
        parameters[_names.name(n, parameters)] = Taken(source=f"path:{n}")
        remarks[f"parameters.{n}.from"] = "the number behind this word in the path of each case"
    for name in fields:
        remarks.setdefault(f"fields.{name}.from", 'and: unit = "m/s"')
    problem = _names.problem(source)
    plan = Plan(
        layout="arrays", problem=problem, time=time, coordinates=coordinates, fields=fields, parameters=parameters,
        inputs=inputs, options=options,
    )  # fmt: skip
    return plan, {k: v.replace("\n", " ") for k, v in remarks.items()}


def _guess(roles: Roles, name: str, single: bool) -> tuple[str, ...]:
    shape = roles.arrays[name].long if name in roles.arrays else ()
    text = roles.unclear[name]
    if "(" in text and "may run along" in text:
        return tuple(text.partition("(")[2].partition(")")[0].split(", "))
    if roles.fields or not 1 < len(shape) <= 5:
        return ()
    if single:
        few = next((k for k in range(len(shape)) if shape[k] <= 3), None)
        count = len(shape) - (few is not None)
        way = {1: ("x",), 2: ("y", "x"), 3: ("time", "y", "x"), 4: ("time", "z", "y", "x")}.get(count, ())
        return () if not way else way if few is None else (*way[:few], "component", *way[few:])
    few = next((k for k in range(1, len(shape)) if shape[k] <= 3), None)  # components of a vector
    count = len(shape) - (few is not None)
    way = {1: ("x",), 2: ("case", "x"), 3: ("case", "y", "x"), 4: ("case", "time", "y", "x"),
           5: ("case", "time", "z", "y", "x")}[count]  # fmt: skip
    return way if few is None else (*way[:few], "component", *way[few:])


def _reference(part: Part, stored: Any) -> str:
    return next((n for n, s in part.arrays.items() if s is stored), stored.name)


def _taken(part: Part, p: Placed, kind: str = "coefficient") -> Taken:
    return Taken(source=_reference(part, p.stored), component=p.component, axes=p.axes, kind=kind)
