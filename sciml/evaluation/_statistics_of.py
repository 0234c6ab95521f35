"""The statistics of an evaluation, of solutions by themselves."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from sciml import data
from sciml.data import schema
from sciml.errors import InputError
from sciml.evaluation._statistic import Statistic
from sciml.problem import Case
from sciml.support import Support, support_of


def statistics_of(
    solution: Any,
    statistics: Sequence[Statistic] | Statistic,
    *,
    name: str = "solution",
    case: Case | None = None,
    support: Support | None = None,
    fields: Sequence[str] = (),
) -> dict[str, Any]:
    """Feed solutions to statistics, frame by frame.

    Args:
        solution: a solution; a data set or its path, each case of which counts as one rollout; or an iterable that is
            gone through once: of solutions, of (number, solution) as `Solver.stream` yields them, or of (time, frame)
            with frames (field, *shape). A solution of the same case that begins after the last one's end goes on
            with its rollout; any other begins a new one.
        statistics: fresh ones, which are told everything and hold the result afterwards; or one.
        name: of the row under which the frames stand; "truth" for what others are to be held against.
        case, support, fields: of frames that are plain arrays.

    Returns:
        name of each statistic -> its result, as JSON values.

    Raises:
        InputError: none of these, or a support that a statistic does not take.
    """
    several = [statistics] if isinstance(statistics, Statistic) else list(statistics)
    for statistic in several:
        if not isinstance(statistic, Statistic):
            raise InputError(f"statistics: expected objects of sciml.evaluation.Statistic, got {statistic!r:.60}")
    names: tuple[str, ...] = ()
    rollout, step, last = -1, 0, -math.inf
    owner: Case | None = None
    where: Support | None = None
    for own_case, own_support, own_fields, parts in _solutions(solution, case, support, tuple(fields)):
        if own_fields != names:
            if names:
                raise InputError(f"solution: expected the fields {', '.join(names)} throughout, got {own_fields}")
            names = own_fields
            for statistic in several:
                statistic.begin(names)
        for k, (time, frame, place) in enumerate(parts):
            own_support = own_support if place is None else place
            if k == 0 and not (owner == own_case and time > last):
                rollout, step, owner, where = rollout + 1, 0, own_case, own_support
            elif place is not None or (k == 0 and (where is None or not where.same(own_support))):
                where = own_support
            assert owner is not None and where is not None  # set with the first frame
            for statistic in several:
                statistic.add(name, 0, rollout, step, time, frame, owner, where)
            step, last = step + 1, time
    if owner is None:
        raise InputError("solution: expected frames, got none")
    return {statistic.name: statistic.result() for statistic in several}


_Parts = Iterator[tuple[float, np.ndarray, Support | None]]  # time, frame, and where it lives if nodes move


def _solutions(
    given: Any, case: Case | None, support: Support | None, fields: tuple[str, ...]
) -> Iterator[tuple[Case, Support, tuple[str, ...], _Parts]]:
    """(case, support, fields, (time, frame) ...) of each solution."""
    if isinstance(given, str | Path):
        given = data.open(given)
    if isinstance(given, xr.Dataset):
        if not schema.is_packed(given):
            yield _solution(given)
            return
        for i in range(given.sizes["case"]):
            own, solution = data.case(given, i)
            yield _solution(solution, own)
        return
    if not isinstance(given, Iterable):
        raise InputError(f"solution: expected a data set, its path or an iterable, got {type(given).__name__}")
    items = iter(given)
    for item in items:
        inner = item[1] if isinstance(item, tuple) and len(item) == 2 else item
        if isinstance(inner, xr.Dataset):
            yield from _solutions(inner, case, support, fields)
        elif isinstance(item, tuple) and len(item) == 2:
            if case is None or support is None or not fields:
                raise InputError("case, support, fields: expected all three with frames that are plain arrays")
            yield case, support, fields, _plain(item, items, (len(fields), *support.shape))
        else:
            raise InputError(f"solution: expected solutions or (time, frame), got {type(item).__name__}")


def _plain(first: Any, rest: Iterator[Any], shape: tuple[int, ...]) -> _Parts:
    yield _frame(first, shape)
    for item in rest:
        yield _frame(item, shape)


def _frame(item: Any, shape: tuple[int, ...]) -> tuple[float, np.ndarray, None]:
    time, frame = item
    values = np.asarray(frame)
    if values.shape != shape:
        raise InputError(f"solution: expected frames of shape {shape}, got {values.shape}")
    return float(time), values, None


def _solution(found: xr.Dataset, case: Case | None = None) -> tuple[Case, Support, tuple[str, ...], _Parts]:
    if case is None:
        inputs = {str(k): v.values for k, v in found.variables.items() if str(k).startswith("input_")}
        case = Case.from_parts(found.attrs, inputs)
    support = support_of(case, found, 0)
    steady = "time" not in found.dims
    moving = any("time" in found[a].dims for a in "xyz" if a in found.variables)
    dims = support.dims if steady else ("time", *support.dims)
    names = tuple(f.name for f in case.problem.fields if f.name in found and set(found[f.name].dims) == set(dims))

    def parts() -> _Parts:
        for k in range(1 if steady else found.sizes["time"]):
            now = found if steady else found.isel(time=k)
            time = 0.0 if steady else float(found["time"].values[k])
            values = np.stack([np.asarray(now[n].transpose(*support.dims).values) for n in names])
            yield time, values, support_of(case, found, k) if moving else None

    return case, support, names, parts()
