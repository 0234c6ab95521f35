"""What each of several arrays is: positions, cells, times, parameters, fields, inputs; by names and lengths."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from sciml.data.importers import _names
from sciml.data.importers._dates import seconds
from sciml.data.importers._placed import SPACE, Placed, labellings, positions
from sciml.data.importers._stored import LITTLE, Stored, little

MOST_PARAMETERS = 256  # of a case


@dataclass
class Roles:
    """Of the arrays of a bundle.

    Args:
        points: positions (node, D), or for each case, or by axis where each is an array of its own.
        coordinates: axis -> positions along it.
        cells: arrays of numbers of nodes.
        times, step: of frames.
        matrix: (case, p) parameters; names: what these are called, as the source says.
        vectors: name -> one number a case; scalars: name -> one number for all.
        lengths: of axes that are known.
        fields, inputs: with their axes.
        mask, inside: an array, and whether what is not zero in it is inside of the domain; None where unknown.
        notes: what was assumed; needs: what is missing; unclear: array -> what it may be.
        told: parameter -> the array and the column that a plan takes it from.
    """

    arrays: Mapping[str, Stored]
    points: Stored | None = None
    coordinates: dict[str, Stored] = field(default_factory=dict)
    meshgrid: dict[str, np.ndarray] = field(default_factory=dict)
    cells: list[Stored] = field(default_factory=list)
    times: Stored | None = None
    step: Stored | None = None
    matrix: Stored | None = None
    names: tuple[str, ...] = ()
    vectors: dict[str, Stored] = field(default_factory=dict)
    scalars: dict[str, Stored] = field(default_factory=dict)
    lengths: dict[str, int] = field(default_factory=dict)
    fields: list[Placed] = field(default_factory=list)
    inputs: list[Placed] = field(default_factory=list)
    mask: Placed | None = None
    inside: bool | None = True
    notes: list[str] = field(default_factory=list)
    needs: str = ""
    unclear: dict[str, str] = field(default_factory=dict)
    told: dict[str, tuple[Stored, int | None]] = field(default_factory=dict)

    @property
    def dimensions(self) -> int:
        if self.points is not None:
            if "" not in self.meshgrid:
                self.meshgrid[""] = np.array(positions(self.points, self.points.load()).shape[-1])
            return int(self.meshgrid[""])
        if "node" in self.lengths:
            return len(self.coordinates)
        return len([a for a in SPACE if a in self.lengths])


def low(name: str) -> str:
    """A name by which arrays are known: without file or struct, in small letters."""
    return re.split(r"[:.]", name)[-1].strip("_ ").lower().replace(" ", "_").replace("-", "_")


def roles(
    arrays: Mapping[str, Stored],
    single: bool,
    pair: bool = False,
    told: Mapping[str, int] | None = None,
    ways: Mapping[str, tuple[str, ...]] | None = None,
) -> Roles:
    """What arrays are.

    Args:
        single: whether they are of one case for sure.
        pair: whether they are the inputs and outputs of a map for sure, by names such as x_train and y_train.
        told: lengths of axes that are known otherwise.
        ways: axes of arrays that are known.
    """
    found = Roles(arrays, lengths=dict(told or {}))
    left = {}
    for name, stored in arrays.items():
        if stored.problem or not stored.size:
            found.notes.append(f"{name} is left out: {stored.problem or 'it is empty'}")
        elif stored.dtype.kind in "US" and low(name) in _names.PARAMETER_NAMES and len(stored.shape) == 1:
            found.names = tuple(str(v) if isinstance(v, str) else v.decode("latin-1") for v in stored.load().tolist())
        elif stored.dtype.kind in "Mm" and low(name) in _names.TIMES:
            left[name] = stored
        elif low(name) in _names.TIMES and (made := _times_of_text(stored)) is not None:
            left[name] = made
            found.notes.append(f"{name} holds text: read as {'numbers' if made.dtype.kind == 'f' else 'dates'}")
        elif stored.dtype.kind not in "biufc":
            found.notes.append(f"{name} is left out: text, expected numbers")
        else:
            left[name] = stored
    if pair:
        left = _paired(found, left)
    longest = {n for s in left.values() if len(s.long) > 1 for n in s.long}
    if not longest and single:  # fields along a line
        longest = {n for s in left.values() for n in s.long}
    placed = {n: Placed(n, left.pop(n), way) for n, way in (ways or {}).items() if n in left}
    _of_time(found, left, longest)
    _of_mesh(found, left)
    _of_axes(found, left, longest)
    _of_cases(found, left, single)
    _of_space(found, left, placed, single, pair)
    return found


def _times_of_text(stored: Stored) -> Stored | None:
    """Numbers or dates that are written as text; None of other text."""
    if stored.dtype.kind not in "US" or len(stored.long) != 1 or stored.size > LITTLE:
        return None
    cells = [v if isinstance(v, str) else v.decode("latin-1") for v in stored.load().reshape(-1).tolist()]
    try:
        values = np.array(cells, dtype=np.float64)
    except ValueError:
        since = seconds(cells)
        if since is None or not np.isfinite(since).all():
            return None
        values = np.round(since * 1e6).astype(np.int64).view("M8[us]")
    return Stored(stored.name, stored.file, values.shape, values.dtype, lambda: values)


# -- inputs and outputs of a map ---------------------------------------------------------------------------------

GIVEN = ("x", "input", "inputs", "features", "a", "in", "xs", "branch", "params", "parameters", "mu", "coeff", "k")
WANTED = ("y", "output", "outputs", "target", "targets", "labels", "u", "out", "solution", "solutions", "ys", "sol")


def _paired(found: Roles, left: dict[str, Stored]) -> dict[str, Stored]:
    """Names that say nothing are those of functions a ↦ u."""
    by_low = {low(n): n for n in left}
    given = next((by_low[n] for n in GIVEN if n in by_low), None)
    wanted = next((by_low[n] for n in WANTED if n in by_low), None)
    if given is None or wanted is None or left[given].shape[:1] != left[wanted].shape[:1]:
        return left
    found.lengths["case"] = left[given].shape[0] if left[given].shape else 1
    renamed = {}
    for name, stored in left.items():
        to = {given: "a", wanted: "u"}.get(name, name)
        if to != name and low(name) in ("x", "y", *GIVEN[1:4], *WANTED[1:5]):
            vague = "parameters" if name == given and len(stored.long) <= 2 and stored.long != left[wanted].long else to
            if vague == "parameters":
                found.notes.append(f"{stored.name} is read as parameters, one row a case")
            else:
                found.notes.append(f"{stored.name} is read as the {'input' if name == given else 'field'} {to}")
            renamed[vague] = stored
        else:
            renamed[name] = stored
    return renamed


# -- times, meshes, axes -----------------------------------------------------------------------------------------


def _of_time(found: Roles, left: dict[str, Stored], lengths: set[int]) -> None:
    named = [n for n in left if low(n) in _names.TIMES and len(left[n].long) == 1 and left[n].long[0] in lengths]
    named.sort(key=lambda n: (not re.split(r"[:.]", n)[-1].islower(), _names.TIMES.index(low(n))))
    for name in named:
        values = little(left[name]) if left[name].dtype.kind not in "Mm" else np.zeros(2)
        rises = values is not None and (np.diff(values[np.isfinite(values)]) > 0).mean() > 0.5
        if values is not None and (rises or left[name].dtype.kind in "Mm"):
            found.times = left.pop(name)
            found.lengths["time"] = found.times.long[0]
            break
    for name in list(left):
        if low(name) in _names.STEPS and left[name].size == 1 and left[name].dtype.kind in "fiu":
            found.step = left.pop(name)


def _of_mesh(found: Roles, left: dict[str, Stored]) -> None:
    for name in list(left):
        s = left[name]
        whole = s.dtype.kind in "iu" or s.dtype.kind == "f"
        ends = s.long and (2 <= s.long[-1] <= 8 or (len(s.long) == 2 and s.long[0] <= 8))
        if low(name) in _names.CELLS and whole and len(s.long) in (2, 3) and ends and s.size >= 6:
            found.cells.append(left.pop(name))
    others = {n for k, s in left.items() if low(k) not in _names.POINTS for n in s.long}
    several = []
    for name in left:
        s = left[name]
        named = low(name) in _names.POINTS or (low(name) == "x" and len(s.long) > 1 and s.long[-1] in (2, 3))
        if named and s.dtype.kind in "fiu" and len(s.long) in (1, 2, 3):
            count = s.long[-2 if len(s.long) > 1 and s.long[-1] <= 3 else -1]
            if count in others and count > 3 and (len(s.long) > 1 or found.cells):
                several.append((len(s.long), name, count))
    if not several:
        return
    _, name, count = max(several)
    found.points = left.pop(name)
    found.lengths["node"] = count
    if len(found.points.long) == 3 and found.points.long[-1] <= 3:
        found.lengths["case"] = found.points.long[0]
    for _, other, n in several:
        if other != name:
            left.pop(other)
            found.notes.append(f"{other} is left out: positions are those of {name}" + (
                ", which are given case by case" if len(found.points.long) == 3 and n == count else ""
            ))  # fmt: skip


def _of_axes(found: Roles, left: dict[str, Stored], lengths: set[int]) -> None:
    if found.points is not None:
        return
    named: dict[str, str] = {}
    for axis, words in _names.AXES.items():
        candidates = [n for n in left if low(n) in words and left[n].dtype.kind in "fiu"]
        candidates.sort(key=lambda n: words.index(low(n)))
        if candidates:
            named[axis] = candidates[0]
    lines = {a: n for a, n in named.items() if len(left[n].long) == 1}
    fields = [s for n, s in left.items() if n not in named.values() and s.long]
    if lines and len(lines) == len(named):
        count = {left[n].long[0] for n in lines.values()}
        scattered = len(count) == 1 and len(lines) > 1 and not any(
            s.long.count(next(iter(count))) >= len(lines) for s in fields
        )  # fmt: skip
        if scattered and any(next(iter(count)) in s.long for s in fields):
            found.lengths["node"] = count.pop()
            found.coordinates = {a: left.pop(n) for a, n in sorted(lines.items())}
            return
        if not scattered:
            for a, n in lines.items():
                values = little(left[n])
                steps = np.diff(values.reshape(-1)) if values is not None else np.zeros(1)
                if found.lengths.get(a, left[n].long[0]) != left[n].long[0]:
                    found.notes.append(
                        f"{n} has {left[n].long[0]} numbers, but fields {found.lengths[a]} along {a}: left out"
                    )
                    left.pop(n)
                    continue
                if (left[n].long[0] in lengths or not fields) and ((steps > 0).all() or (steps < 0).all()):
                    found.coordinates[a] = left.pop(n)
                    found.lengths[a] = found.coordinates[a].long[0]
            return
    _meshgrid(found, left, named)


def _meshgrid(found: Roles, left: dict[str, Stored], named: Mapping[str, str]) -> None:
    """Positions over the whole grid: as many axes as they have, each constant along the others."""
    names = [n for a, n in named.items() if len(left[n].long) == len(named) and len(named) > 1]
    if len(names) < 2 or len({left[n].long for n in names}) > 1:
        return
    made: dict[str, np.ndarray] = {}
    where: dict[str, int] = {}
    for axis, n in named.items():
        values = little(left[n])
        if values is None:
            return
        values = values.reshape(left[n].long)
        slack = 1e-6 * float(np.ptp(values))
        along = [k for k in range(values.ndim) if np.ptp(values, axis=k).max() > slack]
        if len(along) != 1 or along[0] in where.values():
            return
        where[axis], made[axis] = along[0], np.moveaxis(values, along[0], 0).reshape(values.shape[along[0]], -1)[:, 0]
    for axis, n in named.items():
        stored = left.pop(n)
        found.coordinates[axis] = stored
        found.lengths[axis] = len(made[axis])
    found.meshgrid = made
    order = [a for a, _ in sorted(where.items(), key=lambda item: item[1])]
    if order != sorted(order, reverse=True):
        found.notes.append(f"axes run in the order {', '.join(order)}, as {' and '.join(named.values())} say")
        found.unclear["order"] = " ".join(order)


# -- cases -------------------------------------------------------------------------------------------------------


def _of_cases(found: Roles, left: dict[str, Stored], single: bool) -> None:
    for name in list(left):
        s = left[name]
        if not s.long and s.dtype.kind in "fiub":
            found.scalars[re.split(r"[:.]", name)[-1]] = left.pop(name)
        elif low(name) in _names.PARAMETERS and s.dtype.kind in "fiu" and len(s.shape) <= 2 and found.matrix is None:
            rows = s.shape[0] if s.shape else 1
            if len(s.shape) == 2 and s.shape[1] > MOST_PARAMETERS:
                continue
            if s.size > MOST_PARAMETERS and (single or len(s.shape) == 1) and rows not in {
                t.long[0] for n, t in left.items() if t.long and n != name
            }:  # fmt: skip
                continue
            found.matrix = left.pop(name)
            if not single and (len(s.shape) == 2 or rows in {t.long[0] for t in left.values() if t.long}):
                found.lengths.setdefault("case", rows)
    if single:
        return
    several = [t for t in left.values() if len(t.long) > 1]
    leading = {t.long[0] for t in [t for t in several if t.dtype.kind in "fc"] or several}
    known = {found.lengths[a] for a in ("time", *SPACE) if a in found.lengths}
    for name in list(left):
        s = left[name]
        if len(s.long) != 1 or s.dtype.kind not in "fiub" or s.long[0] not in leading:
            continue
        if s.long[0] in known and s.long[0] != found.lengths.get("case"):
            continue
        values = little(s)
        if values is None:
            continue
        rises = bool((np.diff(values.reshape(-1)) > 0).all())
        if found.lengths.get("case", s.long[0]) != s.long[0]:
            continue
        if rises and "case" not in found.lengths and "time" not in found.lengths:
            found.unclear[name] = f"{name} may be the times, or a parameter that rises from case to case"
            continue
        found.vectors[re.split(r"[:.]", name)[-1]] = left.pop(name)
        found.lengths["case"] = s.long[0]


# -- fields and inputs -------------------------------------------------------------------------------------------


def _of_space(found: Roles, left: dict[str, Stored], placed: dict[str, Placed], single: bool, pair: bool) -> None:
    if not any(a in found.lengths for a in SPACE):
        _space_of_a_map(found, left, pair)
    several: dict[str, list[tuple[str, ...]]] = {}
    waiting = {n: s for n, s in left.items() if s.long}
    progress = True
    while progress and waiting:
        progress = False
        for name, s in list(waiting.items()):
            ways = labellings(s.long, found.lengths, found.dimensions, not single)
            ways = [w for w in ways if any(a in SPACE for a in w)]
            ways = _ordered(ways, found)
            if len(ways) != 1:
                several[name] = ways
                continue
            placed[name] = Placed(name, s, ways[0])
            for a, n in zip(ways[0], s.long, strict=True):
                if a in ("case", "time") and a not in found.lengths:
                    found.lengths[a], progress = n, True
            del waiting[name]
            several.pop(name, None)
    for name, ways in several.items():
        s = waiting[name]
        if ways:
            told = " or ".join(f"({', '.join(w)})" for w in ways[:3])
            found.unclear[name] = f"{name}, {'×'.join(map(str, s.long))}, may run along {told}"
        elif len(s.long) > 1 and not any(a in SPACE for a in found.lengths):
            found.unclear.setdefault(name, f"along which axes {name}, {'×'.join(map(str, s.long))}, runs is not told")
        elif len(s.long) > 1 or not placed:
            found.unclear.setdefault(name, f"{name}, {'×'.join(map(str, s.long))}, fits no axes that are known")
        else:
            found.unclear.setdefault(name, f"{name}, {s.size} numbers, is not understood")
    _sorted_out(found, placed)
    if found.fields:
        blocking = [n for n, text in found.unclear.items() if "may run along" in text or "may be" in text]
        for name, text in found.unclear.items():
            if name not in blocking and name != "order":
                found.notes.append(f"{text}: left out")
    else:
        blocking = [n for n in found.unclear if n != "order"]
    if blocking:
        found.needs = "; ".join(found.unclear[n] for n in blocking[:2])
    elif not found.fields:
        found.needs = "holds no array that is a field over known positions"


def _ordered(ways: list[tuple[str, ...]], found: Roles) -> list[tuple[str, ...]]:
    """Of ways that differ by the order of axes of space, the one that positions say, or else the usual one."""
    told = found.unclear.get("order", "").split()
    if len(ways) > 1 and len({frozenset(w) for w in ways}) == 1:
        usual = told or [a for a in SPACE if a in found.lengths]
        fitting = [w for w in ways if [a for a in w if a in SPACE] == usual]
        return fitting[:1] or ways
    if told and len(ways) == 1:
        turned = iter(told)
        way = tuple(next(turned) if a in told else a for a in ways[0])
        return [way] if len({found.lengths[a] for a in told}) == 1 else ways
    return ways


def _space_of_a_map(found: Roles, left: Mapping[str, Stored], pair: bool) -> None:
    """Of an input a (case, *space) and an output u (case, *space[, time]) the axes of space are those of the input."""
    for name, a in left.items():
        if not (low(name) in _names.INPUTS or (pair and name == "a")) or not 2 <= len(a.long) <= 4:
            continue
        for other, u in left.items():
            if other == name or u.dtype.kind not in "fc" or low(other) in _names.INPUTS:
                continue
            if u.long[: len(a.long)] != a.long or len(u.long) - len(a.long) not in (0, 1):
                continue
            axes = ("z", "y", "x")[-(len(a.long) - 1) :]
            found.lengths["case"] = a.long[0]
            found.lengths |= dict(zip(axes, a.long[1:], strict=True))
            if len(u.long) > len(a.long):
                found.lengths.setdefault("time", u.long[-1])
            found.notes.append(f"{name} and {other} run along (case, {', '.join(axes)}), as input and output of a map")
            return


def _sorted_out(found: Roles, placed: Mapping[str, Placed]) -> None:
    """Which of the placed arrays are fields, inputs, and the mask."""
    moving = any("time" in p.axes for p in placed.values())
    rest = dict(placed)
    for words, inside in ((_names.MASKS, True), (_names.SOLIDS, False)):
        for name, p in list(rest.items()):
            if low(name) in words and "time" not in p.axes and "component" not in p.axes and found.mask is None:
                if p.stored.dtype.kind in "biuf":
                    found.mask, found.inside = rest.pop(name), (None if low(name) == "mask" else inside)

    def still(p: Placed) -> bool:
        return moving and "time" not in p.axes

    inputs = [
        n for n, p in rest.items()
        if still(p) or low(n) in _names.INPUTS or (n in found.arrays and p.stored.dtype.kind in "biu")
        or ("case" in found.lengths and "case" not in p.axes and "time" not in p.axes)
    ]  # fmt: skip
    if len(inputs) == len(rest):
        inputs = [n for n in inputs if still(rest[n])]
    for name, p in rest.items():
        kind = "initial" if low(name) in _names.INITIAL else "coefficient"
        (found.inputs if name in inputs else found.fields).append(
            Placed(name, p.stored, p.axes, kind=kind if name in inputs else "coefficient")
        )  # fmt: skip
