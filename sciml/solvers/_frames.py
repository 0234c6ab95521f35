"""Between solutions and plain frames."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from sciml import data as _data
from sciml.arrays import clock
from sciml.errors import InputError, suggest
from sciml.problem import Case, Problem
from sciml.solver import Start
from sciml.solvers._titles import title
from sciml.support import Support, support_of

_PACKAGE = Path(__file__).parents[1]


def warn_of(name: str, case: Case, doubts: Sequence[str]) -> None:
    """One warning for a case, which names it and points at the line outside of the package that asked."""
    if doubts:
        depth, frame = 1, sys._getframe()
        while frame.f_back is not None and Path(frame.f_code.co_filename).is_relative_to(_PACKAGE):
            depth, frame = depth + 1, frame.f_back
        text = f"{name}: {title(case)}: {'; '.join(doubts)}; do not rely on this answer"
        warnings.warn(text, stacklevel=depth)


def start_of(case: Case, frame: Any, fields: Sequence[str]) -> Start:
    """A restart from the last time of a solution, with its earlier times as history.

    Raises:
        InputError: no solution, or one that lacks a field or its time.
    """
    if not isinstance(frame, xr.Dataset):
        raise InputError(f"frame: expected a solution (xarray.Dataset), got {type(frame).__name__}")
    for name in fields:
        if name not in frame.data_vars:
            known = [str(n) for n in frame.data_vars]
            raise InputError(f"frame: the solution has no field {name!r}{suggest(name, known)}")
    if "time" not in frame.variables:
        raise InputError("frame: the solution has no time")
    if "time" not in frame.dims:
        frame = frame.expand_dims("time")
    support = support_of(case, frame)
    for name in fields:
        if set(frame[name].dims) != {"time", *support.dims}:
            raise InputError(f"frame: {name!r} has dims {frame[name].dims}, expected {('time', *support.dims)}")
    values = np.stack([np.asarray(frame[name].transpose("time", *support.dims).values) for name in fields], axis=1)
    if support.inside is not None and values.shape[2:] == support.shape:
        values = np.where(support.inside, values, np.zeros((), values.dtype))
    if values.shape[2:] != support.shape:
        raise InputError(f"frame: fields have shape {values.shape[2:]}, expected {support.shape}")
    broken = [n for k, n in enumerate(fields) if not np.isfinite(values[:, k]).all()]
    if broken:
        raise InputError(f"frame: {', '.join(map(repr, broken))}: expected finite values, got some that are not")
    times = clock("frame: time", frame["time"].values, case.problem.time_unit)
    if not np.isfinite(times).all() or np.any(np.diff(times) <= 0):
        raise InputError(f"frame: time: expected increasing numbers, got {times}".replace("\n", " "))
    if case.problem.needs_extents and case.extents is None:
        case = replace(case, extents=support.extents, parameters=dict(case.parameters), inputs=dict(case.inputs))
    return Start(case, support, values, float(times[-1]))


def history_of(start: Start, frame: xr.Dataset, dt: float, past: int) -> Start:
    """The start with the `past` frames that are whole steps `dt` before its last one. Fewer where the solution does not
    go back as far.

    Raises:
        InputError: a time in between is missing.
    """
    moments = np.atleast_1d(clock("frame: time", frame["time"].values, start.case.problem.time_unit))
    wanted = start.time - dt * np.arange(past)
    found = np.abs(moments - wanted[:, None]).argmin(1)
    for t, i in zip(wanted, found, strict=True):
        if abs(moments[i] - t) > 1e-3 * dt and t > moments[0]:
            unit = start.case.problem.time_unit
            raise InputError(f"frame: has no time {t:g} {unit}, which the model sees; its step is {dt:g} {unit}")
    known = [i for t, i in zip(wanted, found, strict=True) if abs(moments[i] - t) <= 1e-3 * dt]
    return replace(start, frames=start.frames[known[::-1]])


def labelled(
    case: Case, times: np.ndarray | None, frames: np.ndarray, fields: Sequence[str], support: Support, *,
    solver: str, settings: Mapping[str, Any], problem: Problem | None = None,
) -> xr.Dataset:  # fmt: skip
    """The solution with these frames ([time,] field, *shape); its status says where it stops being finite.

    Args:
        problem: the case's problem as the solver knows it, with what it has seen of the data.
    """
    dims = support.dims if times is None else ("time", *support.dims)
    axis = frames.ndim - len(support.shape) - 1
    values = {n: (dims, np.ascontiguousarray(frames.take(i, axis))) for i, n in enumerate(fields)}
    status = "ok"
    if not np.isfinite(frames).all():
        status = "the prediction is not finite"
        if times is not None:
            bad = ~np.isfinite(frames).reshape(len(frames), -1).all(1)
            status += f" from time {times[np.argmax(bad)]:g} {case.problem.time_unit} on"
    if problem is not None and problem is not case.problem and problem.same(case.problem):
        case = replace(case, problem=problem, parameters=dict(case.parameters), inputs=dict(case.inputs))
    return _data.solution(case, times, values, support, solver=solver, settings=settings, status=status)
