"""From a data set of solutions to the cases and frames that a learned solver sees."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from sciml import arrays
from sciml import data as _data
from sciml.data import schema
from sciml.errors import InputError, suggest
from sciml.problem import Case, Problem
from sciml.support import Grid, Support

BLOCK = 32 << 20  # bytes of frames, as float64, that are read at once

_SIZES = ("size_x", "size_y", "size_z")


@dataclass(frozen=True)
class TimeStep:
    """The step of a model: `value` in units of the case's time scale, or in the problem's time unit.

    Args:
        kind: "nondimensional" (Δt = value · T(case)) or "physical" (Δt = value for every case).
    """

    kind: str
    value: float

    def of(self, case: Case) -> float:
        return self.value * (case.scales.time if self.kind == "nondimensional" else 1.0)

    def index(self, case: Case, times: np.ndarray, start: float = 0.0) -> np.ndarray:
        """Number of steps from `start` to each time.

        Raises:
            InputError: times that whole steps do not reach; the message names the nearest that they do.
        """
        dt = self.of(case)
        steps = np.rint((times - start) / dt)
        off = np.abs(times - start - steps * dt) > 1e-4 * dt
        if off.any():
            t = float(times[np.argmax(off)])
            below = start + math.floor((t - start) / dt) * dt
            unit = case.problem.time_unit
            raise InputError(
                f"times: {t:g} {unit} cannot be reached with the step of {dt:g} {unit} that this model was trained on; "
                f"the nearest times are {below:g} and {below + dt:g} {unit}"
            )
        return steps.astype(int)


@dataclass
class CaseTable:
    """The cases of one split: which rows of the data set are theirs, and what each one is.

    Args:
        dataset: packed data set, lazy or in memory.
        number: (C,) case numbers in it.
        start, length: (C,) first frame and number of frames.
        times: for each case (T,), or None when steady.
    """

    dataset: xr.Dataset
    problem: Problem
    number: np.ndarray
    cases: list[Case]
    start: np.ndarray
    length: np.ndarray
    times: list[np.ndarray] | None
    fields: tuple[str, ...]

    @property
    def nodal(self) -> bool:
        """Whether values live on nodes rather than on a grid."""
        return "node_row_size" in self.dataset.variables

    @property
    def moving(self) -> bool:
        """Whether nodes move from frame to frame."""
        return self.nodal and self.dataset["x"].dims == ("obs",)

    @property
    def subsets(self) -> np.ndarray:
        if "subset" in self.dataset.variables:
            return schema.flag_names(self.dataset["subset"])[self.number]
        return np.full(len(self.number), "all")

    def support(self, i: int, frame: int = 0) -> Support:
        """Where the values of the i-th case of this table live."""
        known = self.cases[i].support
        if known is not None and (frame == 0 or not self.moving):
            return known
        return _data.support(self.dataset, int(self.number[i]), self.cases[i].geometry, frame)

    @cached_property
    def shapes(self) -> list[tuple[int, ...]]:
        return [self.support(i).shape for i in range(len(self.cases))]

    @cached_property
    def _node_starts(self) -> np.ndarray:
        rows = np.asarray(self.dataset["row_size"].values, dtype=np.int64)
        counts = np.asarray(self.dataset["node_row_size"].values, dtype=np.int64)
        if len(counts) != len(rows) or self.dataset["node_row_size"].dims != ("case",):
            raise InputError("data: the number of nodes changes from frame to frame; expected one number a case")
        return schema.starts(rows * counts)

    def scales(self, i: int) -> np.ndarray:
        """(field,) the problem's scale of each field."""
        found = self.cases[i].scales.fields
        return np.array([found.get(name, 1.0) for name in self.fields])

    def frames(self, i: int, rows: slice | None = None) -> np.ndarray:
        """(T, field, *shape) of the i-th case, float64, in the problem's scales; zero outside of the mask."""
        first, count = int(self.start[i]), int(self.length[i])
        a, b, _ = (rows or slice(None)).indices(count)
        if self.nodal:
            n = self.shapes[i][0]
            at = int(self._node_starts[self.number[i]])
            parts = [
                np.asarray(self.dataset[name].variable[at + a * n : at + b * n].values).reshape(b - a, n)
                for name in self.fields
            ]
        else:
            parts = [np.asarray(self.dataset[name].variable[first + a : first + b].values) for name in self.fields]
        return self._scaled(i, parts, a)

    def _scaled(self, i: int, parts: Sequence[np.ndarray], first: int) -> np.ndarray:
        """(T, field, *shape) of the i-th case in the problem's scales, from values of each field from a frame on."""
        values = np.empty((len(parts[0]), len(parts), *parts[0].shape[1:]))
        for c, (part, scale) in enumerate(zip(parts, self.scales(i).tolist(), strict=True)):
            np.divide(part, scale, out=values[:, c], dtype=np.float64)
        inside = self.support(i).inside
        if inside is not None:
            values = np.where(inside, values, 0.0)
        if not np.isfinite(values).all():
            k = int(np.argwhere(~np.isfinite(values))[0][0])
            raise InputError(
                f"data: case {self.number[i]} holds values that are not finite, first in frame {first + k}"
            )
        return values

    def bytes(self) -> int:
        """What all frames take as float32."""
        each = [int(n) * int(np.prod(s)) for n, s in zip(self.length, self.shapes, strict=True)]
        return sum(each) * len(self.fields) * 4

    def chunks(self) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
        """(frames, quadrature weights) of every case. Cases that lie one after another in the file are read together:
        each read by itself costs more than what it reads."""
        for block in self._blocks():
            if len(block) == 1:
                yield self.frames(block[0]), self.support(block[0]).weights()
                continue
            first, end = int(self.start[block[0]]), int(self.start[block[-1]] + self.length[block[-1]])
            several = [np.asarray(self.dataset[name].variable[first:end].values) for name in self.fields]
            for i in block:
                a = int(self.start[i]) - first
                yield self._scaled(i, [p[a : a + int(self.length[i])] for p in several], 0), self.support(i).weights()

    def _blocks(self) -> list[list[int]]:
        """The cases in turn, those together that are neighbours in the file and take at most `BLOCK` bytes."""
        found: list[list[int]] = []
        size = 0
        for i in range(len(self.cases)):
            mine = int(self.length[i]) * int(np.prod(self.shapes[i])) * len(self.fields) * 8
            joins = bool(found) and not self.nodal and self.shapes[i] == self.shapes[found[-1][-1]]
            if joins and self.start[i] == self.start[i - 1] + self.length[i - 1] and size + mine <= BLOCK:
                found[-1].append(i)
                size += mine
            else:
                found.append([i])
                size = mine
        return found

    def keep(self, rows: np.ndarray) -> CaseTable:
        """The cases of these rows of the table."""
        times = None if self.times is None else [self.times[i] for i in rows]
        return replace(
            self, number=self.number[rows], cases=[self.cases[i] for i in rows], start=self.start[rows],
            length=self.length[rows], times=times,
        )  # fmt: skip

    def select(self, subset: Sequence[str] | str | None) -> CaseTable:
        """The cases of these subsets."""
        if subset is None:
            return self
        wanted = [subset] if isinstance(subset, str) else list(subset)
        known = sorted({str(n) for n in self.subsets})
        for name in wanted:
            if name not in known:
                raise InputError(f"subset: no subset is called {name!r}; known: {', '.join(known) or 'none'}")
        return self.keep(np.flatnonzero(np.isin(self.subsets, wanted)))

    def thin(self, limit: float = 6.4e7) -> CaseTable:
        """At most `limit` bytes of cases, evenly chosen."""
        share = self.bytes() / limit
        if share <= 1:
            return self
        count = max(1, int(len(self.cases) / share))
        return self.keep(np.unique(np.linspace(0, len(self.cases) - 1, count).astype(int)))


def open_data(data: Any) -> tuple[xr.Dataset, Path | None]:
    """(packed data set, its path if it has one) from a path, a packed data set, a solution or several of them.

    Raises:
        InputError: something else.
    """
    if isinstance(data, str | Path):
        return _data.open(data), Path(data).expanduser()
    if isinstance(data, xr.Dataset):
        return (data if schema.is_packed(data) else _data.pack([data], dtype=None)), None
    if isinstance(data, Sequence) and data and all(isinstance(d, xr.Dataset) for d in data):
        return _data.pack(data, dtype=None), None
    if isinstance(data, Sequence) and not data:
        raise InputError("data: expected at least one solution, got none")
    found = type(data).__name__
    if isinstance(data, Sequence):
        found = f"a {found} with {next(type(d).__name__ for d in data if not isinstance(d, xr.Dataset))} in it"
    raise InputError(f"data: expected a path, a data set or solutions (xarray.Dataset), got {found}")


def at_hand(dataset: xr.Dataset, limit: float = 5e8) -> xr.Dataset:
    """The data set, in memory where all of it takes at most `limit` bytes: many small reads are slow."""
    return dataset.load() if dataset.nbytes <= limit else dataset


def table(
    dataset: xr.Dataset, split: str | None, fields: Sequence[str] | None = None, problem: Problem | None = None
) -> CaseTable:
    """The cases of a split that were solved without failure.

    Args:
        split: a name stored in the data set ("train", or "fold_1/train" for the variable split_fold_1), or None for all
            cases. A data set without splits is all "train".
        fields: by default the problem's state fields (steady problems: all its fields).

    Raises:
        InputError: an unknown split or field.
    """
    count = dataset.sizes["case"]
    which, _, part = split.rpartition("/") if split is not None else ("", "", "")
    variable = f"split_{which}" if which else "split"
    if split is None:
        chosen = np.arange(count)
    elif which and variable not in dataset.variables:
        known = [str(v).removeprefix("split_") for v in dataset.variables if str(v).startswith("split_")]
        raise InputError(f"split: the data set has no split {which!r}{suggest(which, known)}")
    elif variable in dataset.variables:
        names = schema.flag_names(dataset[variable])
        if part not in schema.SPLITS:
            raise InputError(f"split: no split is called {split!r}{suggest(split, schema.SPLITS)}")
        chosen = np.flatnonzero(names == part)
    else:
        chosen = np.arange(count) if split == "train" else np.zeros(0, int)
    if "status" in dataset.variables:
        chosen = chosen[np.asarray(dataset["status"].values)[chosen] == 0]
    return cases_of(dataset, chosen, fields, problem)


def cases_of(
    dataset: xr.Dataset,
    chosen: np.ndarray,
    fields: Sequence[str] | None = None,
    problem: Problem | None = None,
) -> CaseTable:
    """The cases with these numbers, leaving out those without frames."""
    length = np.asarray(dataset["row_size"].values, dtype=np.int64)
    chosen = chosen[length[chosen] > 0]
    start = schema.starts(length)[:-1]
    cases = [_data.case(dataset, int(i))[0] for i in chosen]
    if problem is None:
        problem = cases[0].problem if cases else _data.case(dataset, 0)[0].problem
    stored = [n for n in schema.field_names(dataset) if not n.endswith(schema.DERIVED)]
    if fields is None:
        wanted = tuple(f.name for f in problem.fields) if problem.steady else problem.state_fields
        fields = [name for name in wanted if name in stored]
    fields = tuple(fields)
    for name in fields:
        if name not in schema.field_names(dataset):
            raise InputError(f"fields: the data set has no field {name!r}{suggest(name, stored)}")
    if not fields:
        raise InputError("fields: the data set holds none of the problem's fields")
    times = None
    if "time" in dataset.variables and not problem.steady:
        clock = arrays.clock("data: time", dataset["time"].values, problem.time_unit)
        times = [clock[start[i] : start[i] + length[i]] for i in chosen]
    return CaseTable(dataset, problem, chosen, cases, start[chosen], length[chosen], times, fields)


def time_step(cases: CaseTable, every: int = 1) -> TimeStep:
    """The one step that all cases share, in units of their time scale if possible, else in time units.

    Args:
        every: frames that one step spans.

    Raises:
        InputError: steps that differ within a case or have nothing in common between cases.
    """
    assert cases.times is not None
    steps = []
    for number, case, times in zip(cases.number, cases.cases, cases.times, strict=True):
        if len(times) < 2:
            continue
        dt = (times[-1] - times[0]) / (len(times) - 1)
        if np.abs(np.diff(times) - dt).max() > 1e-3 * dt:
            raise InputError(
                f"data: case {number} has unequal time steps, expected equal ones (or stepping Query, which takes any)"
            )
        steps.append((dt * every, case.scales.time))
    if not steps:
        raise InputError("data: no case has two frames, so there is no step to learn")
    dt, scale = np.array(steps).T
    scaled = cases.problem.scaled
    for kind, values in (("nondimensional", dt / scale), ("physical", dt)):
        if (scaled or kind == "physical") and np.ptp(values) <= 1e-3 * values.mean():
            return TimeStep(kind, _round(float(np.median(values))))
    relative = f" or {(dt / scale).min():g} to {(dt / scale).max():g} time scales" if scaled else ""
    raise InputError(
        f"data: time steps differ between cases, {dt.min():g} to {dt.max():g} {cases.problem.time_unit}{relative}; "
        "expected one step for all (stepping Query takes any)"
    )


def _round(value: float) -> float:
    """The shortest decimal within 1e-6: what was meant, without the rounding of the stored times."""
    for digits in range(1, 16):
        short = float(f"{value:.{digits}g}")
        if abs(short - value) <= 1e-6 * abs(value):
            return short
    return value


def static_inputs(problem: Problem) -> tuple[str, ...]:
    """Input fields that act throughout: coefficients and sources, not initial or boundary values."""
    return tuple(
        s.name for s in problem.inputs if s.kind in ("coefficient", "source") and set(s.dims) <= {"x", "y", "z", "node"}
    )


def sizes(supports: Sequence[Support], problem: Problem) -> tuple[str, ...]:
    """Names of features for the lengths of the domain, where a problem does not know them and they differ between
    cases: positions reach operators as shares of these lengths. The box around nodes is not that sharp a size."""
    if not problem.needs_extents:
        return ()
    lengths = np.array([[b - a for a, b in s.extents] for s in supports])
    enough = 1e-3 if all(isinstance(s, Grid) for s in supports) else 0.25
    return _SIZES[: lengths.shape[1]] if (np.ptp(lengths, axis=0) > enough * lengths.max(0)).any() else ()


def function_inputs(problem: Problem) -> dict[str, str]:
    """Inputs that are functions at points of their own, with the inputs that hold the points."""
    return {s.name: s.at for s in problem.inputs if s.at}


def function_of(case: Case, name: str, at: str) -> tuple[np.ndarray, np.ndarray]:
    """Values (N,) and points (N, D) of an input function of a case.

    Raises:
        InputError: the case lacks one of them, or they do not fit each other.
    """
    for needed in (name, at):
        if needed not in case.inputs:
            raise InputError(f"{case.problem.name}: the case has no input {needed!r}, which the model sees")
    values, points = np.asarray(case.inputs[name]), np.asarray(case.inputs[at])
    if values.ndim != 1 or points.shape != (len(values), case.problem.dimensions):
        expected = f"(N,) values and (N, {case.problem.dimensions}) points"
        raise InputError(f"{name}: expected {expected}, got {values.shape} and {points.shape}")
    return values, points


def features(case: Case, times: np.ndarray, dt: float) -> list[dict[str, float]]:
    """The problem's dimensionless numbers for the step of length `dt` that starts at each time."""
    return [case.problem.features(case, float(t), dt) for t in times]


def feature_table(case: Case, times: np.ndarray, dt: float, names: Sequence[str]) -> np.ndarray:
    """(time, feature), in the order of `names`."""
    times = np.asarray(times, dtype=np.float64)
    columns = _at_once(case, times, dt)
    if columns is None:
        rows = features(case, times, dt)
        for row in rows[1:]:
            _common(case, row, rows[0])
        columns = {n: np.array([row[n] for row in rows], dtype=np.float64) for n in (rows[0] if rows else names)}
    if any(n in _SIZES for n in names):
        columns |= dict(zip(_SIZES, (np.full(len(times), b - a) for a, b in case.geometry.extents), strict=False))
    _common(case, columns, names)
    return np.stack([columns[n] for n in names], axis=1) if names else np.zeros((len(times), 0))


def _common(case: Case, found: Collection[str], names: Collection[str]) -> None:
    for name in set(found) ^ set(names):
        raise InputError(f"{case.problem.name}: feature {name!r} is not common to all cases")


def _at_once(case: Case, times: np.ndarray, dt: float) -> dict[str, np.ndarray] | None:
    """(time,) of each feature from one call with all times, for they are asked for tens of thousands of times; None
    where the problem does not take arrays or gives other numbers for them than one by one."""
    if len(times) < 4:
        return None
    try:
        found = {
            name: np.array(np.broadcast_to(np.asarray(value, np.float64), times.shape))
            for name, value in case.problem.features(case, times, dt).items()  # type: ignore[arg-type]
        }
    except Exception:  # of whatever code that expects one number
        return None
    for k in (0, len(times) // 2, -1):
        (one,) = features(case, times[[k]], dt)
        if one.keys() != found.keys() or any(found[n][k] != v for n, v in one.items()):
            return None
    return found
