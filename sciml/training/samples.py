"""From a data set of solutions to the numbers that a learned solver sees: cases, frames, steps and scales."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from sciml import data as _data
from sciml.data import schema
from sciml.data._pack import positions
from sciml.errors import InputError, suggest
from sciml.geometry import Grid
from sciml.problem import Case, PDEProblem


@dataclass(frozen=True)
class TimeStep:
    """The step of an autoregressive model: `value` in units of the case's time scale, or in the problem's time unit.

    Args:
        kind: "nondimensional" (Δt = value · T(case)) or "physical" (Δt = value for every case).
    """

    kind: str
    value: float

    def of(self, case: Case) -> float:
        return self.value * (case.scales.time if self.kind == "nondimensional" else 1.0)

    def index(self, case: Case, times: np.ndarray) -> np.ndarray:
        """Step number of each time.

        Raises:
            InputError: times that whole steps from zero do not reach; the message names the nearest that they do.
        """
        dt = self.of(case)
        steps = np.rint(times / dt)
        off = np.abs(times - steps * dt) > 1e-4 * dt
        if off.any():
            t = float(times[np.argmax(off)])
            below = math.floor(t / dt) * dt
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
    problem: PDEProblem
    number: np.ndarray
    cases: list[Case]
    start: np.ndarray
    length: np.ndarray
    times: list[np.ndarray] | None
    fields: tuple[str, ...]

    @property
    def space(self) -> tuple[int, ...]:
        """Grid shape, in array order."""
        return tuple(self.dataset[self.fields[0]].shape[1:])

    @property
    def subsets(self) -> np.ndarray:
        if "subset" in self.dataset.variables:
            return schema.flag_names(self.dataset["subset"])[self.number]
        return np.full(len(self.number), "all")

    def grid(self, i: int) -> Grid:
        """The grid of the i-th case of this table."""
        dims = self.dataset[self.fields[0]].dims[1:]
        centres = [positions(self.dataset, int(self.number[i]), str(d)) for d in reversed(dims)]
        return Grid.from_centres(tuple(centres), self.cases[i].geometry)

    def scales(self, i: int) -> np.ndarray:
        """(field,) the problem's scale of each field."""
        found = self.cases[i].scales.fields
        return np.array([found.get(name, 1.0) for name in self.fields])

    def mask(self, i: int) -> np.ndarray | None:
        """(*space) 1 where fluid, or None where the data set knows no solids."""
        if "mask" not in self.dataset.variables:
            return None
        return np.asarray(self.dataset["mask"].values[self.number[i]])

    @property
    def uniform(self) -> bool:
        dims = self.dataset[self.fields[0]].dims[1:]
        return not any(f"{d}_coordinate" in self.dataset.variables for d in dims)

    def frames(self, i: int) -> np.ndarray:
        """(T, field, *space) of the i-th case, float64, in the problem's scales; zero in solid cells."""
        rows = slice(int(self.start[i]), int(self.start[i] + self.length[i]))
        parts = [np.asarray(self.dataset[name].variable[rows].values, dtype=np.float64) for name in self.fields]
        values = np.stack(parts, axis=1)
        values /= self.scales(i).reshape((1, -1) + (1,) * (values.ndim - 2))
        mask = self.mask(i)
        if mask is not None:
            values = np.where(mask != 0, values, 0.0)
        if not np.isfinite(values).all():
            k = int(np.argwhere(~np.isfinite(values))[0][0])
            raise InputError(f"data: case {self.number[i]} holds values that are not finite, first in frame {k}")
        return values

    def bytes(self) -> int:
        """What all frames take as float32."""
        return int(self.length.sum()) * len(self.fields) * math.prod(self.space) * 4

    def chunks(self) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
        for i in range(len(self.cases)):
            yield self.frames(i), self.mask(i)


def open_data(data: Any) -> tuple[xr.Dataset, Path | None]:
    """(packed data set, its path if it has one) from a path, a packed data set, a solution or several of them.

    Raises:
        InputError: something else.
    """
    if isinstance(data, str | Path):
        return _data.open(data), Path(data)
    if isinstance(data, xr.Dataset):
        return (data if schema.is_packed(data) else _data.pack([data], dtype=None)), None
    if isinstance(data, Sequence) and data and all(isinstance(d, xr.Dataset) for d in data):
        return _data.pack(data, dtype=None), None
    raise InputError(f"data: expected a path, a data set or solutions, got {type(data).__name__}")


def table(
    dataset: xr.Dataset, split: str | None, fields: Sequence[str] | None = None, problem: PDEProblem | None = None
) -> CaseTable:
    """The cases of a split that were solved without failure.

    Args:
        split: a name stored in the data set, or None for all cases. A data set without splits is all "train".
        fields: by default the problem's state fields (steady problems: all its fields).

    Raises:
        InputError: an unknown split or field, or a data set that names no known problem.
    """
    count = dataset.sizes["case"]
    if split is None:
        chosen = np.arange(count)
    elif "split" in dataset.variables:
        names = schema.flag_names(dataset["split"])
        if split not in schema.SPLITS:
            raise InputError(f"split: no split is called {split!r}{suggest(split, schema.SPLITS)}")
        chosen = np.flatnonzero(names == split)
    else:
        chosen = np.arange(count) if split == "train" else np.zeros(0, int)
    if "status" in dataset.variables:
        chosen = chosen[np.asarray(dataset["status"].values)[chosen] == 0]
    return cases_of(dataset, chosen, fields, problem)


def cases_of(
    dataset: xr.Dataset,
    chosen: np.ndarray,
    fields: Sequence[str] | None = None,
    problem: PDEProblem | None = None,
) -> CaseTable:
    """The cases with these numbers, leaving out those without frames."""
    length = np.asarray(dataset["row_size"].values, dtype=np.int64)
    chosen = chosen[length[chosen] > 0]
    start = schema.starts(length)[:-1]
    cases = [_data.case(dataset, int(i))[0] for i in chosen]
    if problem is None:
        problem = cases[0].problem if cases else _data.case(dataset, 0)[0].problem
    if fields is None:
        stored = schema.field_names(dataset)
        wanted = tuple(f.name for f in problem.fields) if problem.steady else problem.state_fields
        fields = [name for name in wanted if name in stored]
    fields = tuple(fields)
    for name in fields:
        if name not in schema.field_names(dataset):
            known = schema.field_names(dataset)
            raise InputError(f"fields: the data set has no field {name!r}{suggest(name, known)}")
    if not fields:
        raise InputError("fields: the data set holds none of the problem's fields")
    if "node_row_size" in dataset.variables:
        raise InputError("data: expected fields on a grid, got values on nodes")
    times = None
    if "time" in dataset.variables and not problem.steady:
        clock = np.asarray(dataset["time"].values, dtype=np.float64)
        times = [clock[start[i] : start[i] + length[i]] for i in chosen]
    return CaseTable(dataset, problem, chosen, cases, start[chosen], length[chosen], times, fields)


def time_step(cases: CaseTable) -> TimeStep:
    """The one step that all cases share, in units of their time scale if possible, else in time units.

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
            raise InputError(f"data: case {number} has unequal time steps, expected equal ones")
        steps.append((dt, case.scales.time))
    if not steps:
        raise InputError("data: no case has two frames, so there is no step to learn")
    dt, scale = np.array(steps).T
    for kind, values in (("nondimensional", dt / scale), ("physical", dt)):
        if np.ptp(values) <= 1e-3 * values.mean():
            return TimeStep(kind, _round(float(np.median(values))))
    raise InputError(
        f"data: time steps differ between cases, {dt.min():g} to {dt.max():g} {cases.problem.time_unit} or "
        f"{(dt / scale).min():g} to {(dt / scale).max():g} time scales; expected one step for all"
    )


def _round(value: float) -> float:
    """The shortest decimal within 1e-6: what was meant, without the rounding of the stored times."""
    for digits in range(1, 16):
        short = float(f"{value:.{digits}g}")
        if abs(short - value) <= 1e-6 * abs(value):
            return short
    return value


def static_inputs(problem: PDEProblem) -> tuple[str, ...]:
    """Input fields on cells that act throughout: coefficients and sources, not initial or boundary values."""
    return tuple(
        s.name for s in problem.inputs if s.kind in ("coefficient", "source") and set(s.dims) <= {"x", "y", "z"}
    )


def feature_names(case: Case, step: TimeStep | None) -> tuple[str, ...]:
    return tuple(features(case, np.zeros(1), step)[0])


def features(case: Case, times: np.ndarray, step: TimeStep | None) -> list[dict[str, float]]:
    """The problem's dimensionless numbers for the step that starts at each time."""
    if step is None:
        return [case.problem.features(case, 0.0, 0.0)]
    return [case.problem.features(case, float(t), step.of(case)) for t in times]


def feature_table(case: Case, times: np.ndarray, step: TimeStep | None, names: Sequence[str]) -> np.ndarray:
    """(time, feature), in the order of `names`."""
    rows = features(case, times, step)
    for row in rows:
        for name in row.keys() ^ set(names):
            raise InputError(f"{case.problem.name}: feature {name!r} is not common to all cases")
    return np.array([[row[name] for name in names] for row in rows], dtype=np.float64).reshape(len(rows), len(names))
