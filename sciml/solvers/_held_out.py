"""What a solver says of the cases of a table, whose truth is known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import xarray as xr

from sciml import data as _data
from sciml.errors import InputError
from sciml.solver import Restartable, Solver, Start
from sciml.solvers._scales import Answer
from sciml.support import Support, support_of
from sciml.training.samples import CaseTable

AT_ONCE = 32


def solutions(solver: Solver, table: CaseTable) -> Iterator[tuple[int, xr.Dataset]]:
    """(row of the table, solution at the times of its data) of all cases.

    In time, a solver that can be restarted goes on from the first true frame, which is not among what it answers; one
    that cannot begins where the case does.
    """
    if table.times is None:
        yield from solver.stream(table.cases)
    elif isinstance(solver, Restartable):
        for i, times in enumerate(table.times):
            if len(times) > 1:
                frame = _data.case(table.dataset, int(table.number[i]))[1].isel(time=[0])
                yield i, solver.resume(table.cases[i], frame, times[1:])
    else:
        yield from solver.stream(table.cases, [t[1:] if len(t) > 1 else t for t in table.times])


def answers(solver: Solver, table: CaseTable) -> Iterator[tuple[int, Answer, np.ndarray]]:
    """(row of the table, answer, truth (T, field, *shape) in physical units) of all cases."""
    if table.times is None or solver.gives_std or not isinstance(solver, Restartable):
        for i, found in solutions(solver, table):
            yield i, *_paired(table, i, found)
        return
    groups: dict[tuple[int, ...], list[int]] = {}
    for i, times in enumerate(table.times):
        if len(times) > 1:
            groups.setdefault((len(times), *table.shapes[i]), []).append(i)
    for members in groups.values():
        for part in (members[a : a + AT_ONCE] for a in range(0, len(members), AT_ONCE)):
            starts, times = [_start(table, i) for i in part], np.stack([table.times[i][1:] for i in part])
            stream = solver.rollout(starts, times)
            rolled = [[np.asarray(frame, np.float64) for frame in frames] for frames in stream]
            for k, i in enumerate(part):
                mean = np.stack([frames[k] for frames in rolled])
                yield i, answer_of(table, i, starts[k].support, mean, None, times[k]), _truth(table, i)[1:]


def answer_of(
    table: CaseTable, i: int, support: Support, mean: np.ndarray, std: np.ndarray | None, times: np.ndarray | None
) -> Answer:
    """The answer to a case of a table."""
    case = table.cases[i]
    leads = np.zeros(1)
    if times is not None and table.times is not None:
        leads = (times - table.times[i][0]) / case.scales.time
    return Answer(case, support, leads, mean, std, table.scales(i))


def stacked(solution: xr.Dataset, names: Sequence[str], support: Support) -> np.ndarray:
    """(T, name, *shape) of a solution, float64; a steady one as a single frame."""
    steady = "time" not in solution.dims
    dims = support.dims if steady else ("time", *support.dims)
    found = np.stack([np.asarray(solution[n].transpose(*dims).values, np.float64) for n in names])
    return found[None] if steady else np.moveaxis(found, 0, 1)


def _paired(table: CaseTable, i: int, found: xr.Dataset) -> tuple[Answer, np.ndarray]:
    """A solution as an answer, on the support of the data."""
    own = support_of(table.cases[i], found, 0)
    support = table.support(i)
    onto = own.map_onto(support)
    names = table.fields
    mean = onto(stacked(found, names, own))
    spread = [f"{n}_std" for n in names]
    std = onto(stacked(found, spread, own)) if all(n in found for n in spread) else None
    times = None if table.times is None else np.asarray(found["time"].values, np.float64)
    return answer_of(table, i, support, mean, std, times), true_frames(table, i, found)


def true_frames(table: CaseTable, i: int, found: xr.Dataset) -> np.ndarray:
    """(T, field, *shape) the truth at the times of a solution, physical.

    Raises:
        InputError: times at which the data have no frame.
    """
    if table.times is None:
        return _truth(table, i)
    known, asked = np.asarray(table.times[i], np.float64), np.atleast_1d(np.asarray(found["time"].values, np.float64))
    near = np.abs(asked[:, None] - known)
    missing = near.min(axis=1) > 1e-6 * max(float(np.ptp(known)), float(np.abs(known).max()))
    if missing.any():
        what = f"t = {asked[missing][0]:g}"
        raise InputError(f"solver: case {int(table.number[i])} is answered at {what}, where the data have no frame")
    return _truth(table, i)[near.argmin(axis=1)]


def _truth(table: CaseTable, i: int) -> np.ndarray:
    """(T, field, *shape), physical."""
    return table.frames(i) * table.scales(i).reshape(1, -1, *[1] * len(table.shapes[i]))


def _start(table: CaseTable, i: int) -> Start:
    assert table.times is not None
    first = table.frames(i, slice(0, 1)) * table.scales(i).reshape(1, -1, *[1] * len(table.shapes[i]))
    return Start(table.cases[i], table.support(i), first, float(table.times[i][0]), fields=table.fields)
