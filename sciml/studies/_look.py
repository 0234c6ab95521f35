"""What a data set holds, and what about it looks odd: read once, said in a few lines."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from sciml.data import schema
from sciml.errors import InputError
from sciml.support import Grid, Mesh
from sciml.training.samples import CaseTable, table

BYTES = 1e9  # of values up to which all of them are read
MOST = 48  # else: cases of which values are read, evenly chosen, and frames of each
DECADES = 30.0  # ratio of most to least from which a parameter may be one that is told by its logarithm
FAR = 1e3  # times the largest value of most cases, from which that of a case is said to be odd
STILL = 1e-6  # NMSE of one step below which frames hardly differ


@dataclass
class Look:
    """What there is.

    Args:
        problem, title: its name, and what people call it.
        steady: whether there is no time.
        cases, failed: how many, and how many of them hold no solution.
        frames: least and most of a case.
        places: where values live, in words.
        dimensions: of space.
        points: most points of a case.
        equal_steps: whether frames are equally far apart, within cases and between them.
        time: first, last, least and largest step, where there is time.
        fields: name -> unit, least, most, mean and spread, over the cases that were read.
        varying: parameter -> unit, least, most and number of different values; constant: parameter -> value.
        inputs: names of input fields and functions.
        splits: name -> number of cases, where the data bring them.
        changes: what share of the fields' size a step changes, √(Σ‖u(t + Δt) − u(t)‖² / Σ‖u‖²).
        unusable: numbers of cases that hold values that are not finite.
        logarithmic: parameters that are positive, span decades and are spread evenly by their logarithms, although the
            problem does not say so.
        imported: whether the data set was made by an import, which always has a split.
        split_source: "made" by the import, "brought" by what was imported, "brought for some" cases; "" if unknown.
        odd: what looks wrong or will limit what can be learned, a line each.
    """

    problem: str
    title: str
    steady: bool
    cases: int
    failed: int
    frames: tuple[int, int]
    places: str
    dimensions: int
    points: int
    length_unit: str
    time_unit: str
    equal_steps: bool = True
    time: tuple[float, float, float, float] | None = None
    fields: dict[str, dict[str, Any]] = field(default_factory=dict)
    varying: dict[str, dict[str, Any]] = field(default_factory=dict)
    constant: dict[str, float] = field(default_factory=dict)
    inputs: list[str] = field(default_factory=list)
    splits: dict[str, int] = field(default_factory=dict)
    changes: float | None = None
    logarithmic: list[str] = field(default_factory=list)
    imported: bool = False
    split_source: str = ""
    unusable: list[int] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Look:
        found = dict(content)
        found["frames"] = tuple(found["frames"])
        found["time"] = None if found["time"] is None else tuple(found["time"])
        return cls(**found)

    @property
    def facts(self) -> list[tuple[str, str]]:
        """(name, value) as text."""
        least, most = self.frames
        frames = "steady: one solution a case" if self.steady else f"{least} to {most} a case"
        if not self.steady and least == most:
            frames = f"{most} a case"
        cases = f"{self.cases}" + (f", {self.failed} of them failed" if self.failed else "")
        found = [("cases", cases), ("frames", frames)]
        if self.time is not None:
            first, last, low, high = self.time
            step = f"{low:.4g}" if high <= low * 1.001 else f"{low:.4g} to {high:.4g}"
            unit = _unit(self.time_unit)
            found.append(("time", f"{first:.4g} to {last:.4g}{unit}, step {step}{unit}"))
        found.append(("where values live", self.places))
        for name, f in self.fields.items():
            spread = f"{f['least']:.4g} to {f['most']:.4g}{_unit(f['unit'])}, mean {f['mean']:.3g} ± {f['spread']:.3g}"
            found.append((f"field {name}", spread))
        for name, p in self.varying.items():
            text = f"{p['least']:.4g} to {p['most']:.4g}{_unit(p['unit'])}, {p['different']} different values"
            found.append((f"parameter {name}", text))
        if self.constant:
            name = "the same in all cases" if self.cases > 1 else "parameters"
            found.append((name, ", ".join(f"{n} = {v:.4g}" for n, v in self.constant.items())))
        if self.inputs:
            found.append(("given with a case", ", ".join(self.inputs)))
        if self.changes is not None:
            found.append(("a step changes the fields by", f"{100 * self.changes:.2g} % of their size"))
        if self.splits and not self.imported:
            found.append(("split that the data bring", ", ".join(f"{k} {n}" for k, n in self.splits.items())))
        return found

    @property
    def lines(self) -> list[str]:
        """The same for a terminal, with what looks odd."""
        return [*(f"  {name}: {text}" for name, text in self.facts), *(f"  odd: {text}" for text in self.odd)]


def _unit(unit: str) -> str:
    return "" if unit in ("", "1") else f" {unit}"


def look(dataset: Any) -> Look:
    """Look at a packed data set: a part of its values is read, evenly chosen over its cases."""
    cases = table(dataset, None)
    if not cases.cases:
        raise InputError("data: no case of the data set holds a solution, so there is nothing to learn from")
    problem = cases.problem
    count = dataset.sizes["case"]
    found = Look(
        problem.name, problem.title, problem.steady, count, count - len(cases.cases),
        (int(cases.length.min()), int(cases.length.max())), _places(cases), problem.dimensions,
        max(int(np.prod(s)) for s in cases.shapes), problem.length_unit, problem.time_unit,
    )  # fmt: skip
    found.imported = "imported" in dataset.attrs
    found.split_source = str(dataset.attrs.get("split_source", ""))
    found.inputs = [s.name for s in problem.inputs if not s.name.endswith("_times")]
    if "split" in dataset.variables:
        names = schema.flag_names(dataset["split"])
        found.splits = {str(n): int((names == n).sum()) for n in dict.fromkeys(names.tolist())}
    _parameters(found, cases)
    _times(found, cases)
    _values(found, cases, None if "split" not in dataset.variables else schema.flag_names(dataset["split"]))
    _odd(found, cases)
    return found


def _places(cases: CaseTable) -> str:
    first = cases.support(0)
    if isinstance(first, Grid):
        alike = len({s for s in cases.shapes}) == 1
        grid = " × ".join(str(n) for n in reversed(first.shape))
        masked = ", of which a part is masked" if first.inside is not None else ""
        periodic = " and ".join(a for a, p in zip("xyz", first.periodic, strict=False) if p)
        around = f", periodic in {periodic}" if periodic else ""
        return f"a grid of {grid} cells{masked}{around}" + ("" if alike else " (in the first case; others differ)")
    sizes = [s[0] for s in cases.shapes]
    span = f"{sizes[0]:,}" if min(sizes) == max(sizes) else f"{min(sizes):,} to {max(sizes):,}"
    joined = "joined by cells" if isinstance(first, Mesh) else "loose"
    text = f"{span} nodes in {first.dimensions}-D, {joined}"
    if cases.moving:
        return f"{text}, moving in time"
    same = all(cases.support(i).same(first) for i in _some(len(cases.cases)))
    return text if len(cases.cases) == 1 else f"{text}, {'the same' if same else 'other ones'} in every case"


def _some(count: int, most: int = MOST) -> list[int]:
    return np.unique(np.linspace(0, count - 1, min(count, most)).astype(int)).tolist()


def _parameters(found: Look, cases: CaseTable) -> None:
    for spec in cases.problem.parameters:
        values = np.array([float(c.parameters[spec.name]) for c in cases.cases])
        if np.ptp(values) > 1e-12 * np.abs(values).max(initial=0.0):
            found.varying[spec.name] = {
                "unit": spec.unit, "least": float(values.min()), "most": float(values.max()),
                "different": int(np.unique(values).size),
            }  # fmt: skip
            if not spec.logarithmic and values.min() > 0 and values.max() > DECADES * values.min():
                logs = np.log(values)
                if abs(_skewness(logs)) < abs(_skewness(values)):
                    found.logarithmic.append(spec.name)
        else:
            found.constant[spec.name] = float(values[0])


def _skewness(values: np.ndarray) -> float:
    deviation = values - values.mean()
    return float((deviation**3).mean() / (deviation**2).mean() ** 1.5)


def _times(found: Look, cases: CaseTable) -> None:
    if cases.times is None:
        return
    steps = [np.diff(t) for t in cases.times if len(t) > 1]
    if not steps:
        return
    every = np.concatenate(steps)
    first, last = min(float(t[0]) for t in cases.times), max(float(t[-1]) for t in cases.times)
    found.time = (first, last, float(every.min()), float(every.max()))
    found.equal_steps = bool(np.ptp(every) <= 1e-3 * every.mean())


def _values(found: Look, cases: CaseTable, parts: np.ndarray | None) -> None:
    """Ranges, spreads and the change of a step, over some of the cases."""
    n = len(cases.fields)
    low, high, total, square, count = np.full(n, np.inf), np.full(n, -np.inf), np.zeros(n), np.zeros(n), 0
    moved = size = 0.0
    seen: dict[str, int] = {}
    twins: list[tuple[int, int]] = []
    still, reached = [], dict[int, np.ndarray]()
    all_of_it = cases.bytes() <= BYTES
    for i in _some(len(cases.cases), len(cases.cases) if all_of_it else MOST):
        number, length = int(cases.number[i]), int(cases.length[i])
        rows = None if all_of_it or length <= MOST else slice(0, MOST)
        try:
            values = cases.frames(i, rows)
        except InputError:
            found.unusable.append(number)
            continue
        scale = cases.scales(i).reshape(1, -1, *[1] * (values.ndim - 2))
        inside = cases.support(i).inside
        here = values * scale
        flat = np.moveaxis(here, 1, 0).reshape(n, -1) if inside is None else np.moveaxis(here[..., inside], 1, 0)
        flat = flat.reshape(n, -1)
        low, high = np.minimum(low, flat.min(axis=1)), np.maximum(high, flat.max(axis=1))
        reached[number] = np.abs(flat).max(axis=1)
        total, square, count = total + flat.sum(axis=1), square + (flat**2).sum(axis=1), count + flat.shape[1]
        if len(values) > 1:
            step = float((np.diff(values, axis=0) ** 2).sum())
            moved, size = moved + step, size + float((values[1:] ** 2).sum())
            if step == 0:
                still.append(number)
        known = hashlib.sha256(here.astype(np.float32).tobytes()).hexdigest()
        if known in seen:
            twins.append((seen[known], number))
        seen.setdefault(known, number)
    if not count:
        raise InputError("data: every case holds values that are not finite, so there is nothing to learn from")
    mean = total / count
    spread = np.sqrt(np.maximum(square / count - mean**2, 0.0))
    units = {f.name: f.unit for f in cases.problem.fields}
    for k, name in enumerate(cases.fields):
        found.fields[name] = {
            "unit": units.get(name, "1"), "least": float(low[k]), "most": float(high[k]), "mean": float(mean[k]),
            "spread": float(spread[k]),
        }  # fmt: skip
    for k, name in enumerate(cases.fields):
        usual = float(np.median([r[k] for r in reached.values()]))
        far = [number for number, r in reached.items() if r[k] > FAR * usual > 0]
        if far:
            most = max(float(reached[number][k]) for number in far)
            found.odd.append(f"{name} reaches {most:.3g} in {_numbers(far)}, where {usual:.3g} is usual")
    if size > 0:
        found.changes = float(np.sqrt(moved / size))
    if still:
        found.odd.append(f"nothing changes in time in {_numbers(still)}")
    if twins:
        found.odd += _twins(twins, parts)


def _twins(twins: list[tuple[int, int]], parts: np.ndarray | None) -> list[str]:
    """What is to be said of cases that hold the same values; first of those that lie on both sides of a split."""
    apart = [(a, b) for a, b in twins if parts is not None and parts[a] != parts[b]]

    def more(n: int) -> str:
        return "" if n == 1 else f", as {'does 1 more pair' if n == 2 else f'do {n - 1} more pairs'}"

    found = []
    if apart and parts is not None:
        (a, b), n = apart[0], len(apart)
        found.append(f"cases {a} ({parts[a]}) and {b} ({parts[b]}) hold the same values in two parts of the split, a "
                     f"fault of it: the test flatters what was trained on them{more(n)}")  # fmt: skip
    rest = [t for t in twins if t not in apart]
    if rest:
        (a, b), n = rest[0], len(rest)
        found.append(f"cases {a} and {b} hold the same values{more(n)}")
    return found


def _odd(found: Look, cases: CaseTable) -> None:
    odd = found.odd
    if found.unusable:
        odd.append(f"values that are not finite in {_numbers(found.unusable)}: left out")
    if found.failed:
        odd.append(f"{found.failed} of {found.cases} cases are marked as failed: left out")
    for name, f in found.fields.items():
        if f["most"] == f["least"]:
            odd.append(f"{name} is {f['most']:.4g} everywhere, at all times: there is nothing to learn about it")
    spreads = [f["spread"] for f in found.fields.values() if f["spread"] > 0]
    if len(spreads) > 1 and max(spreads) > 1e4 * min(spreads):
        odd.append("fields differ in size by more than 10,000 times; each is scaled by its own spread, but errors "
                   "over all of them together are those of the largest")  # fmt: skip
    if not found.steady:
        if found.frames[1] == 1:
            odd.append("every case has one frame, although the data have a time: no step can be learned")
        elif found.frames[0] == 1:
            odd.append("some cases have one frame only: they teach no step")
        if found.time is not None and not found.equal_steps:
            odd.append("frames are not equally far apart: only operators that are asked for times take them")
        if found.changes is not None and found.changes**2 < STILL:
            odd.append(f"a step changes the fields by {100 * found.changes:.2g} % only: repeating the last frame is "
                       "hard to beat over one step; longer steps would tell more")  # fmt: skip
    told = found.varying or found.inputs
    if len(cases.cases) > 1 and not told and found.steady:
        odd.append("the cases differ in nothing that is known of them (no parameter varies, no input is given): no "
                   "model can tell them apart")  # fmt: skip


def _numbers(cases: list[int]) -> str:
    shown = ", ".join(map(str, cases[:5])) + (", ..." if len(cases) > 5 else "")
    return f"case {shown}" if len(cases) == 1 else f"{len(cases)} of the cases that were read ({shown})"
