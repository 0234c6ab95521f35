"""The files of a source with named dimensions, what each was found to be, and whether they belong together."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from sciml.data.importers._clocks import Clock, clock, factor
from sciml.data.importers._gridded import same_shape
from sciml.data.importers._labelled import Labelled
from sciml.data.importers._looks import Look, look, values, word
from sciml.data.importers._mapping import Plan
from sciml.data.importers._opened import open_labelled
from sciml.data.importers._source import Source
from sciml.data.importers._stores import stores
from sciml.data.importers._units import agree
from sciml.errors import FileFormatError, InputError, is_number

ENDINGS = ("*.nc", "*.nc3", "*.nc4", "*.cdf", "*.netcdf", "*.h5", "*.hdf5", "*.he5", "*.hdf")


@dataclass
class Part:
    """A file, or files of one field each, and what it was found to be.

    Args:
        names: of files.
        group: within the file, which is the case; "" where all of it is.
        numbers: among the attributes of the file.
    """

    names: tuple[str, ...]
    look: Look
    clock: Clock | None = None
    numbers: dict[str, float] = field(default_factory=dict)
    scalars: dict[str, float] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    group: str = ""

    @property
    def name(self) -> str:
        return self.names[0]

    @property
    def stem(self) -> str:
        if self.group:
            return self.group
        return (self.name or self.look.label).rsplit("/", 1)[-1].rsplit(".", 1)[0]


def file_names(source: Source) -> list[str]:
    """Files and stores of a source, "" for itself."""
    if not source.is_folder:
        kinds = ("NetCDF-3", "HDF5")
        known = source.matching(*ENDINGS) or source.signature() in kinds
        return [source.names[0]] if known else []
    inner = stores(source)
    if inner == [""]:
        return inner
    return [n for n in source.matching(*ENDINGS) if not n.startswith(tuple(f"{s}/" for s in inner))] + inner


@contextmanager
def opened(source: Source, names: Sequence[str], group: str = "") -> Iterator[Labelled]:
    """One file, or a group of it, or several files as if they were one."""
    with ExitStack() as stack:
        files = [stack.enter_context(open_labelled(source, n)) for n in names]
        if len(files) == 1:
            yield files[0].within(group) if group else files[0]
            return
        variables = {k: v for f in reversed(files) for k, v in f.variables.items()}
        yield Labelled(files[0].label, files[0].kind, variables, files[0].attrs, files[0].left)


def parts_of(source: Source, plan: Plan, notes: list[str]) -> list[Part]:
    """What all files were found to be; they agree in fields and places."""
    names = file_names(source)
    if not names:
        raise FileFormatError(f"{source.root}: no NetCDF or HDF5 file and no Zarr store")
    inner = tuple(f"{n}/" for n in names)
    rest = [n for n in source.names if n not in names and not n.startswith(inner)] if names != [""] else []
    if rest:
        notes.append(f"left out {len(rest)} other files: {', '.join(rest[:5])}")
    groups = [(n,) for n in names]
    if len(names) > 1 and _one_field_each(source, names, plan):
        notes.append("files hold different variables over the same dimensions: read as one")
        groups = [tuple(names)]
    parts = []
    inside = [(g, case) for g in groups for case in _groups(source, g, plan, notes)]
    for group, case in inside:
        with opened(source, group, case) as file:
            part = Part(group, look(file, plan), group=case)
            part.clock = _clock(file, part.look, plan)
            part.numbers = {word(k): float(v) for k, v in file.attrs.items() if is_number(v)}
            for key, entry in list(part.look.parameters.items()):
                if "case" not in part.look.of(file.variables[entry.variable]):
                    number = float(np.asarray(values(file, part.look, entry, 0, slice(None), False)))
                    part.scalars[key] = number
                    del part.look.parameters[key]
            part.labels = _labels(file, part.look)
            parts.append(part)
    agreed = {
        "fields": lambda p: tuple(p.look.fields), "inputs": lambda p: tuple(p.look.inputs),
        "axes": lambda p: p.look.space, "parameters": lambda p: tuple(sorted(p.look.parameters)),
    }  # fmt: skip
    for what, of in agreed.items():
        same_shape({_where(p, source): of(p) for p in parts}, what)
    if parts[0].look.space != ("node",):
        same_shape({_where(p, source): {a: p.look.lengths[a] for a in p.look.space} for p in parts}, "the grid")
    turned = any(p.clock is not None and p.clock.said for p in parts)
    agree({_where(p, source): _units(p, plan, turned) for p in parts})
    return parts


def _where(part: Part, source: Source) -> str:
    return (part.name or str(source.root)) + (f": {part.group}" if part.group else "")


def _units(part: Part, plan: Plan, turned: bool) -> dict[str, str]:
    """What is measured -> unit; times in the unit that they are turned into, if those of any file are turned."""
    entries = {**part.look.fields, **part.look.inputs, **part.look.parameters}
    found = {n: e.unit for n, e in entries.items()}
    if not any(c.unit for c in plan.coordinates.values()):
        found["the position"] = part.look.length_unit
    if part.clock is not None:
        since = re.match(r"\s*(\w+)\s+since\s", part.clock.unit, re.IGNORECASE)
        known = factor(since[1] if since else part.clock.unit)
        found["the time"] = "s" if known is not None else part.clock.unit or ("no unit" if turned else "")
    return found


def _groups(source: Source, names: Sequence[str], plan: Plan, notes: list[str]) -> list[str]:
    """Groups of a file that are cases; "" for all of it. A plan that names variables in groups goes by these."""
    told = [t.source or n for p in (plan.fields, plan.inputs) for n, t in p.items()]
    if len(names) > 1 or any("/" in t for t in told):
        return [""]
    with opened(source, names) as file:
        cases = file.cases
    if cases:
        where = f" of {names[0]}" if names[0] else ""
        notes.append(f"{len(cases)} groups{where} are a case each: {cases[0]} to {cases[-1]}")
    return cases or [""]


def _one_field_each(source: Source, names: Sequence[str], plan: Plan) -> bool:
    """Whether files hold one field each of the same cases and times."""
    seen: set[str] = set()
    sizes: dict[str, int] = {}
    for n in names[:50]:
        with open_labelled(source, n) as file:
            here = {v.name for v in file.variables.values() if len(v.dims) > 1}
            if not here or seen & here:
                return False
            seen |= here
            for dim, length in file.sizes.items():
                if sizes.setdefault(dim, length) != length:
                    return False
    return True


def _clock(file: Labelled, found: Look, plan: Plan) -> Clock | None:
    if "time" not in found.coordinates or not found.timed or plan.time.step is not None:
        return None
    variable = file.variables[found.coordinates["time"]]
    dims = found.of(variable)
    read = np.asarray(variable.read())
    if dims == ["time", "case"]:
        read = read.T
    return clock(variable, read if read.ndim < 3 else read.reshape(-1))


def _labels(file: Labelled, found: Look) -> tuple[str, ...]:
    """Names of cases, where these have any."""
    name = found.coordinates.get("case")
    if name is None or found.cases > 100_000:
        return ()
    read = file.variables[name].read()
    return tuple(f"{v:g}" if isinstance(v, float) else str(v) for v in read.tolist())


def joined_in_time(parts: Sequence[Part], plan: Plan, notes: list[str]) -> bool:
    """Whether times go on from file to file; then files are put in order."""
    wanted = plan.option("join", bool, None)
    clocks = [p.clock for p in parts]
    able = len(parts) > 1 and all(p.look.timed and p.look.cases == 1 for p in parts)
    good = able and all(c is not None and c.seconds.ndim == 1 and c.seconds.size for c in clocks)
    if wanted is False or (not wanted and not good):
        return False
    if wanted and not good:
        raise InputError("options.join: files cannot be joined, not all have times of one case")
    same = len({c.unit for c in clocks if c}) == 1
    if not same and any(c is None or c.epoch is None for c in clocks):
        return False
    starts = []
    for p in parts:
        assert p.clock is not None
        shift = (p.clock.epoch or 0.0) if not same else 0.0
        starts.append((float(p.clock.seconds.min()) + shift, float(p.clock.seconds.max()) + shift))
    order = np.argsort([s[0] for s in starts], kind="stable")
    goes_on = all(starts[a][1] < starts[b][0] for a, b in pairwise(order.tolist()))
    if not goes_on:
        if wanted:
            raise InputError("options.join: times of files overlap")
        return False
    if not same:
        for p in parts:
            assert p.clock is not None
            p.clock = replace(p.clock, seconds=p.clock.seconds + (p.clock.epoch or 0.0))
    parts[:] = [parts[k] for k in order]  # type: ignore[index]
    notes.append(f"times go on from file to file: {len(parts)} files are one case (options.join = false if not)")
    return True
