"""Arrays of one part of a source, with what a plan says about them laid over what they say themselves."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sciml.data.importers import _names
from sciml.data.importers._array_roles import GIVEN, WANTED, Roles, low, roles
from sciml.data.importers._bundles import Bundle
from sciml.data.importers._mapping import Plan, Taken
from sciml.data.importers._placed import Placed, labellings, parts, told_axes
from sciml.data.importers._stored import Stored
from sciml.errors import FileFormatError, InputError, suggest

NOISE = 1e-5  # of the largest real part: an imaginary part that spectral codes leave behind


@dataclass
class Part:
    """Arrays that share axes.

    Args:
        label: for people; "" where all is one part.
        split: what names say of the split, "" where nothing.
        single: whether it is one case for sure.
        pair: whether its arrays are inputs and outputs of a map for sure.
        path: what may name parameters.
    """

    label: str
    arrays: Mapping[str, Stored]
    split: str = ""
    single: bool = False
    pair: bool = False
    path: str = ""


def parts_of(bundle: Bundle, group: str, notes: list[str]) -> tuple[list[Part], str]:
    """The parts of a bundle by words such as "train" in the names of arrays, and what is missing.

    Args:
        group: which of several groups, told apart by a number in the names, such as resolutions.
    """
    by_split: dict[str, dict[str, Stored]] = {}
    common: dict[str, Stored] = {}
    for name, stored in bundle.arrays.items():
        split, rest = _names.split_of(name)
        if split and rest:
            by_split.setdefault(split, {})[rest] = stored
        else:
            common[name] = stored
    if not by_split:
        pair = bool(bundle.split) and _is_pair(bundle.arrays)
        return [Part(bundle.label, bundle.arrays, bundle.split, bundle.single, pair, bundle.label)], ""
    groups = _groups(by_split)
    if groups and len(groups) > 1 and group not in groups:
        told = ", ".join(f'"{g}"' for g in groups)
        return [], f"holds groups of arrays {told}, of which one is read: [options] group = {told.split(',')[0]}"
    chosen = group or next(iter(groups), "")
    if groups and len(groups) > 1:
        left = sorted({s.name for a in by_split.values() for n, s in a.items() if _number(n) not in (chosen, "")})
        notes.append(f"left out, as group {chosen} is read: {', '.join(left)}")
    found = []
    for split in [s for s in ("train", "validation", "test") if s in by_split]:
        arrays = {}
        for name, stored in by_split[split].items():
            if not groups or _number(name) in (chosen, ""):
                arrays[_without(name) if groups else name] = stored
        if not arrays:
            continue
        label = f"{bundle.label}/{split}" if bundle.label else split
        found.append(Part(label, arrays | common, split, False, _is_pair(arrays), bundle.label))
    return found, ""


def all_parts(bundles: Sequence[Bundle], plan: Plan, notes: list[str]) -> Iterator[Part]:
    """Of all bundles, one after another.

    Raises:
        FileFormatError: of one of them it is not known which arrays to read.
    """
    for bundle in bundles:
        parts, needs = parts_of(bundle, str(plan.option("group", str, "")), [] if bundle is not bundles[0] else notes)
        if needs:
            raise FileFormatError(f"{bundle.label}: {needs}")
        yield from parts


def _is_pair(arrays: Mapping[str, Stored]) -> bool:
    """Whether an array of inputs and one of outputs, a row a case each, are among them."""
    by_low = {low(n): s for n, s in arrays.items()}
    given = next((by_low[n] for n in GIVEN if n in by_low), None)
    wanted = next((by_low[n] for n in WANTED if n in by_low), None)
    return bool(given and wanted and len(given.shape) > 1 and given.shape[:1] == wanted.shape[:1])


def _number(name: str) -> str:
    found = re.search(r"(?:\A|(?<=[_\-.]))(\d+)(?=\Z|[_\-.])", name)
    return found[1] if found else ""


def _without(name: str) -> str:
    return re.sub(r"_{2,}", "_", re.sub(r"(?:\A|(?<=[_\-.]))\d+(?=\Z|[_\-.])", "", name, count=1)).strip("_-.") or name


def groups_of(arrays: Mapping[str, Stored]) -> list[str]:
    """Numbers in names of arrays that tell groups apart."""
    by_split: dict[str, dict[str, Stored]] = {}
    for name, s in arrays.items():
        split, rest = _names.split_of(name)
        if split and rest:
            by_split.setdefault(split, {})[rest] = s
    return _groups(by_split)


def _groups(by_split: Mapping[str, Mapping[str, Stored]]) -> list[str]:
    """Numbers that tell groups apart, those first that most splits have."""
    counts: dict[str, int] = {}
    for arrays in by_split.values():
        for number in {_number(n) for n in arrays} - {""}:
            counts[number] = counts.get(number, 0) + 1
    return sorted(counts, key=lambda n: (-counts[n], int(n)))


# -- a plan over roles -------------------------------------------------------------------------------------------


def find(arrays: Mapping[str, Stored], reference: str, where: str) -> str:
    """The name of the array that a plan points to: "u", "flow.npz:u", "u.npy".

    Raises:
        InputError: there is none.
    """
    if reference in arrays:
        return reference
    for name, s in arrays.items():
        file, tail = s.file, s.file.rpartition("/")[2]
        if reference in (f"{file}:{s.name}", f"{tail}:{s.name}", s.name):
            return name
        if reference in (file, tail) and tail.lower().endswith(".npy"):
            return name
    several = [n for n, s in arrays.items() if reference in (s.file, s.file.rpartition("/")[2])]
    if len(several) == 1:
        return several[0]
    if several:
        raise InputError(f'{where}: {reference} holds {", ".join(several[:8])}; expected "{reference}:{several[0]}"')
    raise InputError(f"{where}: no array is called {reference!r:.60}{suggest(reference, arrays)}")


def resolved(part: Part, plan: Plan, rows: int = 0) -> Roles:
    """The roles of arrays, those of a plan before those that are found.

    Args:
        rows: of parameters beside the arrays, 0 where there are none.

    Raises:
        InputError: the plan does not fit the arrays.
    """
    arrays = dict(part.arrays)
    own: dict[str, Stored] = {}  # what the plan gives a role
    lengths: dict[str, int] = {}

    def take(reference: str, where: str) -> Stored:
        name = find(part.arrays, reference, where)
        stored = part.arrays[name]
        if stored.problem or stored.dtype.kind not in "biufcMm":
            raise InputError(f"{where}: {name} cannot be read: {stored.problem or 'it holds text'}")
        own[name] = stored
        return stored

    time = take(plan.time.source, "time.from") if plan.time.source else None
    if time is not None:
        lengths["time"] = time.long[0] if time.long else 1
    along = {a: take(c.source, f"coordinates.{a}.from") for a, c in plan.coordinates.items() if c.source}
    for a in plan.coordinates:
        if a not in "xyz" or len(a) != 1:
            raise InputError(f"coordinates: expected x, y or z, got {a!r:.40}")
    options = {k: str(plan.option(k, str, "")) for k in ("points", "cells", "mask", "solid")}
    points = take(options["points"], "options.points") if options["points"] else None
    cells = [take(c.strip(), "options.cells") for c in options["cells"].split(",") if c.strip()]
    given = [(k, n, t) for k in ("fields", "inputs") for n, t in getattr(plan, k).items()]
    sources = {(k, n): take(t.source or n, f"{k}.{n}.from") for k, n, t in given}
    masks = {k: take(options[k], f"options.{k}") for k in ("mask", "solid") if options[k]}
    vectors, scalars = _parameters(plan, take)
    if points is not None:
        shape = points.long
        lengths["node"] = shape[-2 if len(shape) > 1 and shape[-1] <= 3 else -1]
    if rows > 1 and not part.single and any(s.long[:1] == (rows,) for s in arrays.values() if len(s.long) > 1):
        lengths["case"] = rows
    order = plan.order
    if points is None and along and _scattered(along, sources.values(), order):
        lengths["node"] = next(iter(along.values())).long[0]
    elif points is None:
        lengths |= {a: s.long[0] for a, s in along.items() if len(s.long) == 1}
    ways: dict[tuple[str, str], tuple[str, ...]] = {}
    for kind, name, t in sorted(given, key=lambda item: (not item[2].axes, -len(sources[item[0], item[1]].long))):
        s, where = sources[kind, name], f"{kind}.{name}.axes"
        if t.axes or order:
            ways[kind, name] = told_axes(s, t.axes or order, bool(t.axes), lengths, where if t.axes else "axes.order")
            for a, n in zip(ways[kind, name], s.long, strict=True):
                if a != "component":
                    lengths.setdefault(a, n)
    rest = {n: s for n, s in arrays.items() if n not in own}
    told_rest: dict[str, tuple[str, ...]] = {}
    if order:
        for name, s in sorted(rest.items(), key=lambda item: -len(item[1].long)):
            if s.is_number and len(s.long) > 1 and low(name) not in (*_names.CELLS, *_names.POINTS, *_names.PARAMETERS):
                try:
                    told_rest[name] = told_axes(s, order, False, lengths, "axes.order")
                except InputError:
                    continue
                for a, n in zip(told_rest[name], s.long, strict=True):
                    if a != "component":
                        lengths.setdefault(a, n)
    found = roles({n: s for n, s in rest.items()}, part.single, part.pair, lengths, told_rest)
    found.times = time or found.times
    if points is not None:
        found.points, found.coordinates = points, {}
    found.coordinates |= along
    found.cells = cells or found.cells
    _over(found, plan, sources, ways, vectors, scalars, not part.single)
    for kind, s in masks.items():
        way = labellings(s.long, found.lengths, found.dimensions, not part.single)
        if not way:
            raise InputError(f"options.{kind}: {s.name} has shape {s.shape}, which fits no axes {found.lengths}")
        found.mask, found.inside = Placed(kind, s, way[0]), kind == "mask"
    if plan.steady is not None:
        timed = any("time" in p.axes for p in found.fields)
        if found.fields and plan.steady == timed:
            raise InputError(
                f"steady: {str(plan.steady).lower()}, but fields have {'an' if timed else 'no'} axis of time"
            )
    if plan.fields and all(ways.get(("fields", n)) or True for n in plan.fields):
        found.needs = ""
    return found


def _scattered(along: Mapping[str, Stored], fields: object, order: tuple[str, ...]) -> bool:
    lengths = {s.long for s in along.values()}
    if len(along) < 2 or len(lengths) > 1 or ("node" not in order and order):
        return "node" in order
    n = next(iter(lengths))[0]
    return not any(s.long.count(n) >= len(along) for s in fields)  # type: ignore[attr-defined]


def _parameters(plan: Plan, take: object) -> tuple[dict[str, tuple[Stored, int | None]], dict[str, float]]:
    """Parameters that come from arrays: the array and its column; and those that are numbers."""
    vectors: dict[str, tuple[Stored, int | None]] = {}
    for name, t in plan.parameters.items():
        if t.source and not t.source.startswith(("path:", "beside:")) and t.value is None and not t.values:
            if t.source.rpartition(".")[2].partition(":")[0].lower() in ("csv", "tsv", "json", "toml"):
                continue
            vectors[name] = (take(t.source, f"parameters.{name}.from"), t.component)  # type: ignore[operator]
    return vectors, {n: t.value for n, t in plan.parameters.items() if t.value is not None}


def _over(
    found: Roles,
    plan: Plan,
    sources: Mapping[tuple[str, str], Stored],
    ways: Mapping[tuple[str, str], tuple[str, ...]],
    vectors: Mapping[str, tuple[Stored, int | None]],
    scalars: Mapping[str, float],
    cases: bool,
) -> None:
    """Fields, inputs and parameters of a plan replace those that were found."""
    for kind in ("fields", "inputs"):
        told: Mapping[str, Taken] = getattr(plan, kind)
        if not told:
            continue
        left = [p.name for p in getattr(found, kind)]
        if left:
            found.notes.append(f"left out, as [{kind}] names others: {', '.join(left)}")
        made = []
        for name, t in told.items():
            s = sources[kind, name]
            way = ways.get((kind, name))
            if way is None:
                several = labellings(s.long, found.lengths, found.dimensions, cases)
                if len(several) != 1:
                    might = " or ".join(str(list(w)) for w in several[:3]) or "no axes that are known"
                    raise InputError(
                        f"{kind}.{name}: {s.name} has shape {s.shape}, which fits {might}; give axes = [...] to tell"
                    )
                way = several[0]
            made.append(Placed(name, s, way, t.component, t.unit, t.scale, t.offset, t.kind))
            for a, n in zip(way, s.long, strict=True):
                if a in ("case", "time"):
                    found.lengths.setdefault(a, n)
        setattr(found, kind, made)
    if vectors or scalars or plan.parameters:
        left = [*found.vectors, *found.scalars, *([found.matrix.name] if found.matrix is not None else [])]
        used = {s.name for s, _ in vectors.values()}
        if left := [n for n in left if n not in used and n not in plan.parameters]:
            found.notes.append(f"left out, as [parameters] names others: {', '.join(left)}")
        found.matrix, found.vectors, found.scalars = None, {}, {}
    found.told = dict(vectors)


def expanded(found: Roles) -> Roles:
    """The same with a field for each component, and for real and imaginary parts."""
    taken = [p.name for p in (*found.fields, *found.inputs)]
    d = found.dimensions
    fields: list[Placed] = []
    for p in found.fields:
        fields += parts(_real(p, found), d, [t for t in taken if t != p.name])
    inputs = [q for p in found.inputs for q in parts(_real(p, found), d, taken)]
    names: list[str] = []

    def named(p: Placed) -> Placed:
        names.append(_names.name(p.name, names))
        return replace(p, name=names[-1])

    found.fields, found.inputs = [named(p) for p in fields], [named(p) for p in inputs]
    return found


def _real(p: Placed, found: Roles) -> Placed:
    """Complex values whose imaginary part is rounding, as real ones."""
    if p.stored.dtype.kind != "c":
        return p
    values = p.stored.load()
    most, beside = (float(np.abs(part(values)).max(initial=0)) for part in (np.real, np.imag))
    if beside > NOISE * most:
        found.notes.append(f"{p.stored.name} is complex: real and imaginary part are two fields")
        return p
    real = np.ascontiguousarray(np.real(values))
    found.notes.append(
        f"{p.stored.name} is stored as complex, its imaginary part is at most {beside:.1g} beside {most:.1g}: left out"
    )
    return replace(p, stored=replace(p.stored, dtype=real.dtype, load=lambda: real))
