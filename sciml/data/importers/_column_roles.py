"""What each column of a table is: positions, times, cases, parameters, fields; as a plan says, or by its name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sciml.data.importers import _names
from sciml.data.importers._array_roles import low
from sciml.data.importers._clocks import factor
from sciml.data.importers._mapping import Plan
from sciml.data.importers._text import Columns
from sciml.errors import FileFormatError, InputError, suggest

CASES = ("case", "case_id", "caseid", "run", "sample", "sim", "simulation", "id", "trajectory", "experiment", "group")
COUNTERS = ("index", "id", "row", "row_id", "point_id", "pointid", "node_id", "cell_id", "nr", "no", "number")


@dataclass
class Use:
    """What columns are.

    Args:
        axes: axis -> column of positions; time, case: columns or "".
        fields: name -> column; parameters: name -> column.
        needs: what is missing.
    """

    axes: dict[str, str] = field(default_factory=dict)
    time: str = ""
    case: str = ""
    fields: dict[str, str] = field(default_factory=dict)
    parameters: dict[str, str] = field(default_factory=dict)
    needs: str = ""


def use_of(table: Columns, plan: Plan, timed: bool = False) -> Use:
    """What each column is, as a plan says or by its name.

    Args:
        timed: whether files are frames, or places may come back for another reason.
    """
    use = Use()
    free = [n for k, n in enumerate(table.names) if k not in table.texts]
    counters = _counters(table, free) if not plan.fields else []

    def take(reference: str, where: str) -> str:
        if reference not in table.names:
            raise InputError(f"{where}: no column is called {reference!r:.60}{suggest(reference, table.names)}")
        if reference in free:
            free.remove(reference)
        return reference

    for a, along in plan.coordinates.items():
        if a not in ("x", "y", "z"):
            raise InputError(f"coordinates: expected x, y or z, got {a!r:.40}")
        use.axes[a] = take(along.source or a, f"coordinates.{a}.from")
    if plan.time.source:
        use.time = take(plan.time.source, "time.from")
    told = str(plan.option("case", str, ""))
    if told:
        use.case = take(told, "options.case")
    for n, t in plan.parameters.items():
        if t.source and not t.source.startswith("path:"):
            use.parameters[n] = take(t.source, f"parameters.{n}.from")
    for n, t in plan.fields.items():
        use.fields[n] = take(t.source or n, f"fields.{n}.from")
    if not plan.coordinates:
        for a in "xyz":
            match = next((n for n in free if _is_axis(low(n.replace(":", "_")), a) or _is_axis(low(n), a)), None)
            if match is not None and table.headed:
                use.axes[a] = match
                free.remove(match)
        if len(use.axes) > 1:  # a plane in space
            for a in [a for a, c in use.axes.items() if np.ptp(table.column(c)) == 0]:
                use.axes.pop(a)
        if use.axes and "xyz"[: len(use.axes)] != "".join(sorted(use.axes)):
            use.axes = {a: use.axes[b] for a, b in zip("xyz", sorted(use.axes), strict=False)}
    if not use.time and table.headed:
        units = dict(zip(table.names, table.units, strict=True))
        use.time = next((n for n in free if is_time(n, units[n])), "")
        if use.time:
            free.remove(use.time)
        use.time = use.time or next((n for n in free if n in table.dates), "")
        if use.time in free:
            free.remove(use.time)
    texts = [table.names[k] for k in table.texts]
    free = [n for n in free if n not in counters]
    if not use.case and table.headed:
        use.case = next((n for n in (*free, *texts) if low(n) in CASES), "")
        if use.case in free:
            free.remove(use.case)
    if not plan.fields:
        for n in free:
            use.fields[_names.name(n, use.fields)] = n
    use.axes = dict(sorted(use.axes.items()))
    if not use.axes:
        what = "a series over time, without positions; it is no field" if use.time and table.headed else (
            "which columns are positions is not told" if table.headed else "columns without a heading"
        )  # fmt: skip
        use.needs = f"{what}: {', '.join(table.names[:10])}"
    elif not use.fields:
        use.needs = f"positions alone ({', '.join(use.axes.values())}), no column of values"
    if use.needs and table.texts:
        k, cells = next(iter(table.texts.items()))
        use.needs += f"; column {table.names[k]!r} holds text: {cells[0]!r:.40}"
    if not use.needs and not use.case and not timed:
        _over_time(table, use, plan)
    return use


def _counters(table: Columns, free: list[str]) -> list[str]:
    """Columns that count rows, as other programs write them beside the numbers."""
    found = []
    for n in free:
        k, values = table.names.index(n), table.column(n)
        if table.headed and (low(n) in COUNTERS or re.fullmatch(rf"c{k + 1}|unnamed:?_?\s*\d*", n.lower())):
            steps = np.diff(values)
            if len(steps) > 1 and (steps == 1).mean() > 0.5 and ((steps == 1) | (values[1:] == values[0])).all():
                found.append(n)
    return found


def _over_time(table: Columns, use: Use, plan: Plan) -> None:
    """Where places come back with other values at one time, something must tell times or cases: the one column in a
    unit of time, or the one number that each of them has its own of."""
    clock = [use.time] if use.time else []
    names = [*use.axes.values(), *clock, *use.fields.values(), *use.parameters.values()]
    rows, first = np.unique(np.stack([table.column(c) for c in names], axis=1), axis=0), len(use.axes) + len(clock)
    if not np.isfinite(rows[:, :first]).all():
        return
    _, counts = np.unique(rows[:, :first], axis=0, return_counts=True)
    if (counts > 1).mean() < 0.5:
        return
    units = dict(zip(table.names, table.units, strict=True))
    clocks = [n for n, c in use.fields.items() if factor(units[c]) is not None] if not clock and not plan.fields else []
    if len(clocks) == 1 and len(use.fields) > 1:
        use.time = use.fields.pop(clocks[0])
        return
    telling = [n for n, c in use.fields.items() if _tells(rows, first, names.index(c), int(counts.max()))]
    if use.time and len(telling) == 1 and len(use.fields) > 1 and not plan.fields:
        use.case = use.parameters[telling[0]] = use.fields.pop(telling[0])
        return
    others = [table.names[k] for k in table.texts]
    what = "cases" if use.time else "times or cases"
    use.needs = f"places come up to {counts.max()} times" + (" at one time" if use.time else "")
    use.needs += (
        f", and no column is known to tell {what}"
        + (f" ({', '.join(others[:4])} holds text: write numbers, or dates as 2024-01-31 12:00:00)" if others else "")
        + f"; name one by {'' if use.time else '[time] from = ... or '}[options] case = ... in a plan"
    )


def _tells(rows: np.ndarray, first: int, column: int, count: int) -> bool:
    """Whether a column has one of so many values for each of the rows at one place and time."""
    if len(np.unique(rows[:, column])) != count:
        return False
    apart = np.unique(rows[:, [*range(first), column]], axis=0)
    return len(apart) == len(rows)


def is_time(name: str, unit: str) -> bool:
    """T may be a temperature."""
    if name.strip() == "T" and unit.lower() not in ("s", "ms", "us", "µs", "ns", "min", "h", "sec", "seconds"):
        return False
    return low(name) in ("frame", *_names.TIMES)


def _is_axis(word: str, axis: str) -> bool:
    return word in _names.AXES[axis] or word in (f"{axis}_mm", f"{axis}_m", f"{axis}+",
                                                 f"{axis}_position", f"{axis}_pos",
                                                 f"points_{'xyz'.index(axis)}", f"pos_{axis}",
                                                 f"coord_{axis}", f"position_{axis}") or bool(
        re.fullmatch(rf"{axis}\s*/\s*\w+", word)
    )  # fmt: skip


def rows_of(table: Columns, use: Use, file: str) -> Iterator[tuple[str, np.ndarray]]:
    """The rows of each case of a file."""
    if not use.case:
        yield file, np.arange(len(table.values))
        return
    k = table.names.index(use.case)
    values: Any = np.array(table.texts[k]) if k in table.texts else table.values[:, k]
    if k not in table.texts and not np.isfinite(values).all():
        raise FileFormatError(f"{file}: column {use.case!r} is missing in row {int(np.argmin(np.isfinite(values)))}")
    names, first, which = np.unique(values, return_index=True, return_inverse=True)
    for place in np.argsort(first, kind="stable"):
        yield f"{use.case} {names[place]}", np.flatnonzero(which.reshape(-1) == place)
