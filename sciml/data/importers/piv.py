"""Measured velocity fields of particle image velocimetry: a file, or a folder of frames; sub-folders are cases."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

import numpy as np

from sciml.data.importers import _piv
from sciml.data.importers._layout import Cases, Raw, Reading, Recognised
from sciml.data.importers._mapping import Along, Plan
from sciml.data.importers._published import _nothing_but
from sciml.data.importers._source import Source
from sciml.errors import FileFormatError, InputError, is_number
from sciml.geometry import Box
from sciml.problem import FieldSpec
from sciml.problems.own_data import DataProblem
from sciml.support import Grid


class PIV(Cases):
    """Frames of vectors on a grid. Places with a bad vector in any frame are outside of the domain, unless told."""

    name = "piv"
    title = "Particle image velocimetry (Insight .vec, DaVis text)"
    options: ClassVar[Mapping[str, str]] = {
        "bad_share": "share of frames in which a place may have a bad vector: these are filled in time; by default 0",
        "frames": '"times" or "cases": what several files of a folder are; by default frames of one case',
    }

    def recognise(self, source: Source) -> Recognised | None:
        names = _names(source)
        return Recognised(self.name, self.title, {"files": len(names)}, 3) if names else None

    def draft(self, source: Source) -> tuple[Plan, Mapping[str, str]]:
        plan = Plan(layout=self.name, time=Along(unit="s", first=0.0, step=1.0), options={"bad_share": 0.0})
        return plan, {"time.step": "between frames", "options.bad_share": self.options["bad_share"]}

    def read(self, source: Source, plan: Plan) -> Reading:
        _nothing_but(plan, self.name, "problem", "steady", "time")
        share = plan.options.get("bad_share", 0.0)
        if not is_number(share) or not 0 <= share < 1:
            raise InputError(f"options.bad_share: expected a number from 0, below 1, got {share!r:.40}")
        frames = plan.option("frames", str, "times")
        if frames not in ("times", "cases"):
            raise InputError(f"options.frames: expected times or cases, got {frames!r:.40}")
        names, notes = _names(source), list[str]()
        if not names:
            raise FileFormatError(f"{source.root}: no frame of Insight (.vec) or DaVis (#DaVis)")
        rest = [n for n in source.names if n not in names]
        if rest:
            notes.append(f"left out {len(rest)} other files: {', '.join(rest[:5])}")
        groups: dict[str, list[str]] = {}
        for n in names:
            groups.setdefault(n if frames == "cases" or plan.steady else re.sub(r"\d+", "#", n), []).append(n)
        steady = plan.steady if plan.steady is not None else all(len(g) == 1 for g in groups.values())
        first = _frame(source, names[0])
        unit = first.units.get("x", "1")
        if not steady and plan.time.step is None:
            notes.append("times between frames are not in the files (the time in a head is that between two pulses): "
                         "frames are numbered from 0; time.step in a plan says how far apart they are")  # fmt: skip
        clock = plan.time.unit or ("s" if plan.time.step is not None else "1")
        problem = DataProblem(
            plan.problem or "piv", [FieldSpec(n, first.units.get(n, "1")) for n in first.values],
            dimensions=len(first.axes), steady=bool(steady), title=plan.title or source.root.stem, time_unit=clock,
            length_unit=unit, velocity=[n for n in ("u", "v", "w")[: len(first.axes)] if n in first.values],
        )  # fmt: skip
        if unit != "1" and first.units.get("u", "").split("/")[0] not in ("", unit):
            notes.append(f"places are in {unit}, velocities in {first.units['u']}: kept as they are")
        return Reading(problem, len(groups), _cases(source, groups, plan, float(share), bool(steady), notes), notes)


def _names(source: Source) -> list[str]:
    return [n for n in source.matching("*.vec", "*.txt", "*.dat") if _piv.is_one(source.head(n))]


def _frame(source: Source, name: str) -> _piv.Frame:
    return _piv.parse(source.text(name, 1 << 28), str(source.path(name)))


def _cases(
    source: Source, groups: Mapping[str, Sequence[str]], plan: Plan, share: float, steady: bool, notes: list[str]
) -> Iterator[Raw]:
    start = None
    for key, names in groups.items():
        frames = [_frame(source, n) for n in names]
        first = frames[0]
        alike = ({n: len(a) for n, a in zip("xyz", first.axes, strict=False)}, list(first.values), first.units)
        start = alike if start is None else start
        if alike != start:
            raise FileFormatError(f"{source.path(names[0])}: another grid, columns or units than the first file's; "
                                  "import them one by one")  # fmt: skip
        for n, f in zip(names, frames, strict=True):
            same = len(f.axes) == len(first.axes) and all(
                a.shape == b.shape and np.allclose(a, b, rtol=0, atol=1e-3 * abs(a[1] - a[0]) if len(a) > 1 else 1e-9)
                for a, b in zip(f.axes, first.axes, strict=True)
            )
            if not same or list(f.values) != list(first.values) or f.units != first.units:
                raise FileFormatError(f"{source.path(n)}: another grid, columns or units than those of {names[0]}")
        good = np.stack([f.good for f in frames])
        inside = (~good).mean(0) <= share
        label = names[0].rpartition(".")[0] if len(names) == 1 else key.replace("#", "").rpartition("/")[0] or (
            source.root.name
        )  # fmt: skip
        if not inside.any():
            raise FileFormatError(f"{label}: no place is good in enough of {len(frames)} frames; bad_share = 0.2 "
                                  "takes those that are bad in a fifth of them")  # fmt: skip
        bad, filled = int((~good).sum()), sum(f.filled for f in frames)
        text = f"{label}: {bad} of {good.size} vectors are bad ({bad / good.size:.1%}): "
        text += f"{int((~inside).sum())} of {inside.size} places are outside of the domain"
        if share:
            text += f", {int((~good & inside).sum())} vectors are filled in time"
        elif len(frames) > 1:
            text += ", since a vector of theirs is bad in some frame"
        notes.append(text)
        if filled:
            notes.append(f"{label}: {filled} vectors were put in by the program that measured, not by a measurement")
        values = {n: _filled(np.stack([f.values[n] for f in frames]), good, inside) for n in first.values}
        ends = [(1.5 * a[0] - 0.5 * a[1], 1.5 * a[-1] - 0.5 * a[-2]) if len(a) > 1 else (a[0] - 0.5, a[0] + 0.5)
                for a in first.axes]  # fmt: skip
        box = Box(tuple(float(a) for a, _ in ends), tuple(float(b) for _, b in ends), (False,) * len(ends))
        grid = Grid.from_centres(first.axes, box, inside.astype(np.uint8))
        times = None
        if steady:
            values = {n: v[0] for n, v in values.items()}
        else:
            times = (plan.time.first or 0.0) + (plan.time.step or 1.0) * np.arange(len(frames))
        yield Raw(values, grid, times, label=label)


def _filled(values: np.ndarray, good: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Zero outside; bad values between good ones in time by linear interpolation, beyond them as the nearest."""
    found = np.where(good & inside, values, 0.0)
    index = np.arange(len(values))
    for at in np.argwhere(inside & ~good.all(axis=0)):
        line = (slice(None), *at)
        known = good[line]
        found[line] = np.interp(index, index[known], values[line][known])
    return found
