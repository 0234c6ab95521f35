"""Cases of arrays whose roles are known, one after another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

import numpy as np

from sciml.data.importers import _names
from sciml.data.importers._array_roles import Roles
from sciml.data.importers._beside import Beside
from sciml.data.importers._bundles import Found
from sciml.data.importers._gridded import axis, even, flags, grid, note, told_axis, told_times
from sciml.data.importers._layout import Raw, Reading
from sciml.data.importers._mapping import Along, Plan
from sciml.data.importers._placed import SPACE, Placed, connectivity, positions
from sciml.data.importers._source import Source
from sciml.data.importers._stored import Stored
from sciml.data.importers._told import Part, all_parts, expanded, resolved
from sciml.errors import FileFormatError, InputError
from sciml.problem import FieldSpec, InputSpec, ParameterSpec
from sciml.problems.own_data import DataProblem
from sciml.support import Grid, Mesh, Points, kind_of


class Read:
    """A source of arrays that is being read.

    Args:
        found: its bundles.
        near: parameters beside them.
        roles, part: of the first part.
    """

    def __init__(self, source: Source, plan: Plan, found: Found, near: Beside, roles: Roles, part: Part):
        self.source, self.plan, self.found, self.near = source, plan, found, near
        self.notes = list(dict.fromkeys([*found.notes, *near.notes, *roles.notes]))
        roles.notes = []
        self.first = expanded(roles)
        self.notes += [n for n in roles.notes if n not in self.notes]
        self.part = part
        self.timed = any("time" in p.axes for p in self.first.fields)
        self.nodal = "node" in self.first.lengths
        for p in self.first.fields:
            if self.timed and "time" not in p.axes:
                raise InputError(f"fields.{p.name}: has no axis of time, though others have; list it under [inputs]")
            if not any(a in SPACE for a in p.axes):
                raise InputError(
                    f'fields.{p.name}: axes {list(p.axes)}, expected those of space, or "node", among them'
                )
        self._kept: dict[int, np.ndarray] = {}
        self._shape: dict[str, Any] = {}

    def reading(self, layout: str) -> Reading:
        parts = list(all_parts(self.found.bundles, self.plan, []))
        single = all(p.single for p in parts)
        count = len(parts) if single else sum(_count(r) for _, r in self._resolved(parts))
        if not self.plan.parameters:
            labels = [*(p.label for p in parts), *map(str, range(count))]
            self.near, lost = self.near.fitting(labels, count)
            for text in lost:
                note(self.notes, text)
        self.paths = {} if self.plan.parameters or not single else _names.told_by_sign([p.path for p in parts])
        self.parameters = self._parameters(self.first, count)
        problem = self._problem()
        cases = chain.from_iterable(
            self._cases(part, roles, number, count)
            for number, (part, roles) in _numbered(self._resolved(parts))
        )  # fmt: skip
        return Reading(problem, count, cases, self.notes)

    def _resolved(self, parts: list[Part]) -> Iterator[tuple[Part, Roles]]:
        for k, part in enumerate(parts):
            if k == 0:
                yield part, self.first
                continue
            try:
                roles = expanded(resolved(part, self.plan, self.near.rows))
            except InputError as error:
                raise FileFormatError(f"{part.label}: {error}") from None
            names, first = [p.name for p in roles.fields], [p.name for p in self.first.fields]
            if roles.needs or names != first or [p.name for p in roles.inputs] != [p.name for p in self.first.inputs]:
                what = roles.needs or f"fields {', '.join(names)}, inputs {', '.join(p.name for p in roles.inputs)}"
                raise FileFormatError(
                    f"{part.label}: {what}; but {self.part.label or 'the first'} has fields {', '.join(first)}, inputs "
                    f"{', '.join(p.name for p in self.first.inputs) or 'none'}"
                )
            for text in roles.notes:
                note(self.notes, text)
            yield part, roles

    # -- what all cases are of ------------------------------------------------------------------------------------

    def _problem(self) -> DataProblem:
        plan, first = self.plan, self.first
        d = first.dimensions
        where = "node" if self.nodal else "cell"
        axes = ("node",) if self.nodal else ("z", "y", "x")[-d:]
        length = next((c.unit for c in plan.coordinates.values() if c.unit), "") or "1"
        problem = plan.problem or _names.problem(self.source)
        dated = first.times is not None and first.times.dtype.kind in "Mm"
        if dated:
            assert first.times is not None
            note(
                self.notes, f"times of {first.times.name!r} are turned into seconds, dates from the first of a case on"
            )
        specs: list[ParameterSpec] = []
        for name, unit in self.parameters:
            specs.append(ParameterSpec(name, unit, 0.0))
        periodic = (False,) * d
        if plan.periodic:
            if self.nodal:
                raise InputError("periodic: nodes are not; expected a grid")
            periodic = flags(plan, "xyz"[:d], periodic)
        return DataProblem(
            problem, [FieldSpec(p.name, p.unit or "1", where) for p in first.fields], specs, d,
            steady=not self.timed, title=plan.title, time_unit=plan.time.unit or ("s" if dated else "1"),
            length_unit=length,
            inputs=[InputSpec(p.name, p.unit or "1", p.kind, axes) for p in first.inputs], periodic=periodic,
        )  # fmt: skip

    def _parameters(self, roles: Roles, count: int) -> list[tuple[str, str]]:
        """Names and units, in order."""
        plan = self.plan
        if plan.parameters:
            return [(n, t.unit or "1") for n, t in plan.parameters.items()]
        names: list[str] = []
        if roles.matrix is not None:
            columns = _columns(roles, self.part)
            told = plan.option("parameters", list, list(roles.names) if len(roles.names) == columns else [])
            if told and len(told) != columns:
                raise InputError(
                    f"options.parameters: {len(told)} names, but {roles.matrix.name} has {columns} columns"
                )
            names += [str(t) for t in told] or [f"p{k + 1}" for k in range(columns)]
        names += [*roles.vectors, *roles.scalars]
        self._made = [_names.name(n, names[:k]) for k, n in enumerate(names)]
        near = [n for n in self.near.names(count) if _names.name(n) not in self._made]
        self._near = {_names.name(n): n for n in near}
        self.paths = {w: n for w in self.paths if (n := _names.name(w)) not in self._made and n not in self._near}
        if self.paths:
            note(self.notes, f"numbers in the names of files are parameters: {', '.join(self.paths)}")
        return [(n, "1") for n in (*self._made, *self._near, *self.paths.values())]

    def _of_case(self, part: Part, roles: Roles, i: int, number: int, count: int, label: str) -> dict[str, float]:
        near = self.near.of(label, number, count) | (self.near.of(part.label, number, count) if part.label else {})
        if not self.plan.parameters:
            found: list[float] = []
            if roles.matrix is not None:
                values = self._values(roles.matrix).reshape(-1, _columns(roles, part))
                if len(values) not in (1, _count(roles)):
                    raise FileFormatError(
                        f"{roles.matrix.name}: {len(values)} rows of parameters, but there are {_count(roles)} cases"
                    )
                found += [float(v) for v in values[i if len(values) > 1 else 0]]
            found += [float(self._values(s).reshape(-1)[i]) for s in roles.vectors.values()]
            found += [float(self._values(s).reshape(-1)[0]) for s in roles.scalars.values()]
            made = dict(zip(self._made, found, strict=True))
            for name, key in self._near.items():
                if key not in near:
                    raise FileFormatError(f"{label}: no value of {key!r} beside the arrays")
                made[name] = near[key]
            numbers = _names.told_in(part.path) if self.paths else {}
            return made | {name: numbers[word] for word, name in self.paths.items()}
        return {n: self._told(n, roles, part, i, near, label) for n in self.plan.parameters}

    def _told(self, name: str, roles: Roles, part: Part, i: int, near: Mapping[str, float], label: str) -> float:
        t = self.plan.parameters[name]
        if t.values:
            tail = part.path.rpartition("/")[2]
            for key in (label, part.path, tail, tail.rpartition(".")[0], str(i)):
                if key in t.values:
                    return float(t.values[key])
            raise InputError(f"parameters.{name}.values: none for {label!r}")
        if t.value is not None:
            return t.value
        kind, _, word = t.source.partition(":")
        if kind == "path":
            numbers = _names.told_in(part.path)
            if word not in numbers:
                raise InputError(f"parameters.{name}: no number follows {word!r} in {part.path!r}")
            return numbers[word] * t.scale + t.offset
        if kind == "beside" or kind.rpartition(".")[2].lower() in ("csv", "tsv", "json", "toml"):
            if (word or name) not in near:
                raise InputError(f"parameters.{name}: no value of {word or name!r} beside the arrays for {label!r}")
            return near[word or name] * t.scale + t.offset
        stored, column = roles.told[name]
        values = self._values(stored)
        cases = _count(roles)
        flat = values.reshape(-1) if column is None else values.reshape(-1, values.shape[-1])
        if column is not None:
            if not 0 <= column < values.shape[-1]:
                raise InputError(f"parameters.{name}: component {column}, but {stored.name} has shape {stored.shape}")
            flat = flat[:, column]
        if len(flat) not in (1, cases):
            raise InputError(
                f"parameters.{name}: {stored.name} has shape {stored.shape}, expected one for each of {cases} cases"
                + ("; give component = 0 for its first column" if values.ndim > 1 else "")
            )
        return float(flat[i if len(flat) > 1 else 0]) * t.scale + t.offset

    # -- cases ----------------------------------------------------------------------------------------------------

    def _values(self, stored: Stored) -> np.ndarray:
        key = id(stored)
        if key not in self._kept:
            self._kept[key] = stored.load()
        return self._kept[key]

    def _cases(self, part: Part, roles: Roles, start: int, count: int) -> Iterator[Raw]:
        self._kept = {}
        n = _count(roles)
        for p in (*roles.fields, *roles.inputs):
            if "case" in p.axes and p.length("case") != n:
                raise FileFormatError(
                    f"{p.stored.file}: {p.stored.name} has {p.length('case')} cases {p.stored.shape}, others {n}"
                )
        support, turned = self._place(roles, part)
        times = self._times(roles, part)
        dims = ("node",) if self.nodal else ("z", "y", "x")[-roles.dimensions :]
        for i in range(n):
            label = f"{part.label} {i}".strip() if n > 1 else part.label or "the case"
            where = support(i)
            fields, inputs = {}, {}
            for made, these in ((fields, roles.fields), (inputs, roles.inputs)):
                for p in these:
                    wanted = ("time", *dims) if made is fields and self.timed else dims
                    values = p.of_case(self._values(p.stored), i, wanted)
                    made[p.name] = np.flip(values, tuple(wanted.index(a) for a in turned)) if turned else values
            where, fields, inputs = self._inside(roles, i, where, fields, inputs, turned, dims)
            parameters = self._of_case(part, roles, i, start + i, count, label)
            yield Raw(
                fields, where, times, parameters, inputs, f"case {i}" if label == str(i) else label, "", part.split
            )

    def _times(self, roles: Roles, part: Part) -> np.ndarray | None:
        if not self.timed:
            return None
        n = max(p.length("time") for p in roles.fields)
        for p in roles.fields:
            if p.length("time") != n:
                raise FileFormatError(f"{p.stored.name}: {p.length('time')} frames, others {n}")
        if roles.times is not None:
            values = self._values(roles.times).reshape(-1)
            if values.dtype.kind == "M":
                values = (values - values[0]) / np.timedelta64(1, "s")
            elif values.dtype.kind == "m":
                values = values / np.timedelta64(1, "s")
            if len(values) != n:
                raise FileFormatError(f"{part.label or self.source.root}: {len(values)} times, but {n} frames")
            return even(values.astype(np.float64))
        told = told_times(self.plan, n)
        if told is not None:
            return told
        if roles.step is not None:
            return float(self._values(roles.step).reshape(-1)[0]) * np.arange(n)
        for clock in self.found.times.values():
            if len(clock) == n:
                note(self.notes, "times are the numbers in the names of files")
                return clock
        note(self.notes, "no times are told: frames are counted 0, 1, 2, ...; give [time] step = ... in a plan")
        return np.arange(n, dtype=np.float64)

    def _place(self, roles: Roles, part: Part) -> tuple[Any, list[str]]:
        """What gives the support of a case, and the axes that run backwards."""
        if self.nodal:
            return self._nodes(roles, part), []
        axes = [a for a in "xyz" if a in roles.lengths]
        centres, turned = [], []
        for a in axes:
            n, along = roles.lengths[a], self.plan.coordinates.get(a, Along())
            told = told_axis(self.plan, a, n) if not along.source else None
            if told is not None:
                centres.append(told)
            elif a in roles.coordinates:
                values = roles.meshgrid[a] if a in roles.meshgrid else self._values(roles.coordinates[a]).reshape(-1)
                line, back = axis(values, n, f"{roles.coordinates[a].file}: {roles.coordinates[a].name}")
                centres.append(line)
                turned += [a] if back else []
            else:
                note(
                    self.notes,
                    f"no positions along {a} are told: cells of length 1; give [coordinates.{a}] low and high",
                )
                centres.append(np.arange(n) + 0.5)
        if turned:
            note(self.notes, f"positions along {', '.join(turned)} run backwards: turned round, with all values")
        shape = tuple(len(c) for c in centres)
        if self._shape.setdefault("grid", shape) != shape:
            raise FileFormatError(
                f"{part.label}: a grid of {shape} places, but {self.part.label or 'the first'} has "
                f"{self._shape['grid']}; one data set needs the same, import them one by one"
            )
        made = _grid(centres, flags(self.plan, axes, (False,) * len(axes)), self.plan, axes)
        return (lambda i: made), turned

    def _nodes(self, roles: Roles, part: Part) -> Any:
        if roles.points is not None:
            place = positions(roles.points, self._values(roles.points))
        else:
            place = np.stack([self._values(s).reshape(-1) for _, s in sorted(roles.coordinates.items())], axis=-1)
            place = place.astype(np.float64)
        if place.shape[-1] != self.first.dimensions:
            if roles.points is not None and place.shape[-1] == 2:
                note(self.notes, "the third coordinate is the same everywhere: left out")
        bad = ~np.isfinite(place)
        if bad.any():
            raise FileFormatError(
                f"{part.label or self.source.root}: positions hold {int(bad.sum())} numbers that are not finite"
            )
        cells = []
        for stored in roles.cells:
            these, counted = connectivity(stored, self._values(stored), place.shape[-2])
            if counted:
                note(self.notes, f"{stored.name} counts nodes from 1: changed to from 0")
            cells.append(these)
        fixed: dict[str, Any] = {}

        def support(i: int) -> Any:
            p = place[i] if place.ndim == 3 else place
            if place.ndim == 2 and all(c.ndim == 2 for c in cells) and "" in fixed:
                return fixed[""]
            if not cells:
                made: Any = Points(p)
            else:
                kinds: dict[str, list[np.ndarray]] = {}
                for c in cells:
                    these = c[i] if c.ndim == 3 else c
                    kinds.setdefault(kind_of(these.shape[1], p.shape[1]), []).append(these)
                made = Mesh(p, {k: np.concatenate(v) for k, v in kinds.items()})
            fixed[""] = made
            return made

        return support

    def _inside(
        self, roles: Roles, i: int, where: Any, fields: dict[str, Any], inputs: dict[str, Any], turned: list[str],
        dims: tuple[str, ...],
    ) -> tuple[Any, dict[str, Any], dict[str, Any]]:  # fmt: skip
        """Without what the mask leaves out."""
        p = roles.mask
        if p is None:
            return where, fields, inputs
        values = p.of_case(self._values(p.stored), i, dims) != 0
        values = np.flip(values, tuple(dims.index(a) for a in turned)) if turned else values
        if roles.inside is None:
            roles.inside = _which(p, values, next(iter(fields.values())))
            side = "inside" if roles.inside else "outside"
            if not values.all():
                note(
                    self.notes,
                    f"{p.stored.name} is not zero {side} of the domain, as fields are 0 or nothing elsewhere",
                )
        kept = values if roles.inside else ~values
        if isinstance(where, Grid):
            return Grid(where.faces, where.periodic, kept.astype(np.uint8), where.at), {
                n: np.where(kept, v, np.zeros((), v.dtype)) for n, v in fields.items()
            }, inputs  # fmt: skip
        if kept.all():
            return where, fields, inputs
        number = np.cumsum(kept) - 1
        support: Any = Points(where.position[kept])
        if isinstance(where, Mesh):
            support = Mesh(where.position[kept], {
                k: number[c[kept[c].all(axis=1)]] for k, c in where.cells.items()
            })  # fmt: skip
        return support, {n: v[..., kept] for n, v in fields.items()}, {n: v[..., kept] for n, v in inputs.items()}


def _which(p: Placed, mask: np.ndarray, field: np.ndarray) -> bool:
    if mask.all():
        return True
    nothing = ~np.isfinite(field) | (field == 0)
    while nothing.ndim > mask.ndim:
        nothing = nothing.all(axis=0)
    inside, outside = bool(nothing[~mask].all()), bool(nothing[mask].all())
    if inside == outside:
        raise FileFormatError(
            f"{p.stored.name}: whether it is 1 inside or outside of the domain does not follow from the fields; give "
            f'[options] mask = "{p.stored.name}" or solid = "{p.stored.name}", or list it as an input'
        )
    return inside


def _grid(centres: list[np.ndarray], periodic: tuple[bool, ...], plan: Plan, axes: list[str]) -> Grid:
    """A grid by its centres; one place along an axis has a cell of its own around it."""
    if all(len(c) > 1 for c in centres):
        return grid(centres, periodic)
    faces = []
    for a, c in zip(axes, centres, strict=True):
        along = plan.coordinates.get(a, Along())
        if len(c) == 1:
            low = along.low if along.low is not None else c[0] - 0.5
            high = along.high if along.high is not None else c[0] + 0.5
            faces.append(np.array([low, high]))
        else:
            faces.append(Grid.from_centres((c,)).faces[0])
    return Grid(tuple(faces), periodic)


def _columns(roles: Roles, part: Part) -> int:
    assert roles.matrix is not None
    shape = roles.matrix.shape or (1,)
    if len(shape) > 1:
        return shape[1] if not (part.single and shape[1] == 1) else shape[0]
    return roles.matrix.size if part.single or "case" not in roles.lengths else 1


def _count(roles: Roles) -> int:
    """How many cases a part has."""
    return max([p.length("case") for p in (*roles.fields, *roles.inputs)], default=1)


def _numbered(parts: Iterator[tuple[Part, Roles]]) -> Iterator[tuple[int, tuple[Part, Roles]]]:
    at = 0
    for part, roles in parts:
        yield at, (part, roles)
        at += _count(roles)
