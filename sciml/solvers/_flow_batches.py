"""Many flows at once: alike cases side by side in one compiled loop, batches on threads.

Arrays of one flow are too small to keep more than one core busy, so each thread runs its own batch. A batch steps
until its slowest case is done, so cases are sorted by their expected work first. Which cases share a batch depends on
the list of cases alone; equal requests therefore give equal bytes.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np

from sciml.errors import InputError
from sciml.problem import Case
from sciml.solver import times_for
from sciml.solvers import _many, _stabilised

if TYPE_CHECKING:
    import xarray

    from sciml.solvers.incompressible import IncompressibleFlow

LARGEST = 16  # cases in a batch: beyond, speed gains nothing and caches are left
MEMORY = 1 << 30  # bytes that the frames of all running batches may take


class Batch(NamedTuple):
    """Cases that run together: their numbers, and how many places the compiled function has."""

    numbers: tuple[int, ...]
    size: int
    periodic: tuple[bool, bool]


class Work(NamedTuple):
    """What a case is expected to take: stages of a step, steps."""

    stages: int
    steps: int


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def plan(solver: IncompressibleFlow, cases: Sequence[Case], times: Sequence[np.ndarray]) -> list[Batch]:
    """Which cases run together.

    Raises:
        InputError: a case that cannot be solved; before anything is computed.
    """
    groups: dict[Any, list[tuple[Any, int]]] = {}
    for i, (case, wanted) in enumerate(zip(cases, times, strict=True)):
        parameters, inputs = solver.arrays(case, wanted)
        periodic = case.geometry.periodic  # type: ignore[attr-defined]
        work = expected(solver, parameters, inputs, wanted)
        shapes = tuple(sorted((k, _shapes(v)) for k, v in inputs.items()))
        groups.setdefault((periodic, len(wanted), shapes), []).append((work, i))
    ny, nx = solver.resolution
    batches = []
    for (periodic, frames, _), members in groups.items():
        frame_bytes = 10 * ny * nx * (8 if solver.dtype == "float64" else 4)
        fitting = max(MEMORY // (frames * frame_bytes * 3), 1)
        size = 2 ** min(math.ceil(math.log2(max(len(members) / 2, 1))), int(math.log2(min(fitting, LARGEST))))
        order = [i for _, i in sorted(members)]
        batches += [Batch(tuple(order[k : k + size]), size, periodic) for k in range(0, len(order), size)]
    return batches


def run(
    solver: IncompressibleFlow, cases: Sequence[Case], times: Sequence[np.ndarray], batches: Sequence[Batch]
) -> Iterator[list[tuple[int, xarray.Dataset]]]:
    """The solutions, batch by batch, in the order in which they are done."""
    with ThreadPoolExecutor(max(1, min(cores(), len(batches)))) as pool:
        jobs = [pool.submit(_solve, solver, cases, times, batch) for batch in batches]
        try:
            for job in as_completed(jobs):
                yield [(i, solver._label(cases[i], times[i], found)) for i, found in job.result()]
        finally:
            for job in jobs:
                job.cancel()


def compute(solver: IncompressibleFlow, cases: Sequence[Case], times: Any) -> list[dict[str, np.ndarray]]:
    """The arrays of every case, in order."""
    each = [t for t in times_for(cases, times) if t is not None]
    batches = plan(solver, cases, each)
    with ThreadPoolExecutor(max(1, min(cores(), len(batches)))) as pool:
        found = dict(item for done in pool.map(lambda b: _solve(solver, cases, each, b), batches) for item in done)
    return [found[i] for i in range(len(cases))]


def solve(
    solver: IncompressibleFlow, cases: Sequence[Case], times: Any, progress: bool
) -> Iterator[tuple[int, xarray.Dataset]]:
    """(number, solution) of every case; a case that fails says so in its `status` and stops no other."""
    if not cases:
        raise InputError("cases: expected at least one, got none")
    for case in cases:
        solver.require(case)
    each = [t for t in times_for(cases, times) if t is not None]
    batches = plan(solver, cases, each)
    with _many._bar(solver.name, len(cases), progress) as step:
        for done in run(solver, cases, each, batches):
            for item in done:
                step()
                yield item


def _solve(
    solver: IncompressibleFlow, cases: Sequence[Case], times: Sequence[np.ndarray], batch: Batch
) -> list[tuple[int, dict[str, np.ndarray]]]:
    from sciml.solvers.incompressible import _compiled_batch

    places = [*batch.numbers, *[batch.numbers[-1]] * (batch.size - len(batch.numbers))]  # one compiled size for all
    prepared = []
    for i in places:
        parameters, inputs = solver.arrays(cases[i], times[i])
        prepared.append((parameters, {k: _padded(v) for k, v in inputs.items()}, times[i]))
    parameters, inputs, wanted = jax.tree.map(lambda *leaves: np.stack(leaves), *prepared)
    with jax.enable_x64(solver.dtype == "float64"):
        found = _compiled_batch(solver, parameters, inputs, wanted, batch.periodic)
        found = {k: np.asarray(v) for k, v in found.items()}
    return [(i, {k: v[n] for k, v in found.items()}) for n, i in enumerate(batch.numbers)]


def _knots(count: int) -> int:
    """Knots after padding: few different sizes, so that few functions are compiled."""
    return 1 if count == 1 else max(16, 2 ** math.ceil(math.log2(count)))


def _padded(value: Any) -> Any:
    """A wall's (times, values) with a padded number of knots: the last value held on."""
    if not isinstance(value, tuple):
        return value
    times, *values = value
    extra = _knots(len(times)) - len(times)
    times = np.append(times, times[-1] + np.arange(1, extra + 1))
    return times, *(np.concatenate([v, np.repeat(v[-1:], extra, axis=0)]) for v in values)


def _shapes(value: Any) -> Any:
    if isinstance(value, tuple):
        return _knots(len(value[0])), *(np.shape(v)[1:] for v in value[1:])
    return np.shape(value)


def expected(solver: IncompressibleFlow, parameters: Any, inputs: Any, times: np.ndarray) -> Work:
    """The work that `_march.plan` will find with the speeds at the start."""
    ny, nx = solver.resolution
    dx, dy = parameters["width"] / nx, parameters["height"] / ny
    speeds = [np.max(np.abs(v[1])) for k, v in inputs.items() if isinstance(v, tuple) and k != "force"]
    rate = max([s / min(dx, dy) for s in speeds] + [_peak(inputs["u_face"]) / dx + _peak(inputs["v_face"]) / dy])
    rate = max(rate / solver.cfl, 1 / max(times[-1], 1e-30))
    stiffness = 4 * parameters["viscosity"] / parameters["density"] * (1 / dx**2 + 1 / dy**2)
    per_stage = stiffness / _stabilised.LIMIT_DIFFUSION_CHEBYSHEV
    stretch = _stabilised.LIMIT_ADVECTION / float(_stabilised.limit_advection_chebyshev(max(dx / dy, dy / dx)))
    most = _stabilised.MAX_STAGES
    pace = max(rate * stretch, per_stage / most**2)
    stages = min(max(5, math.ceil(math.sqrt(per_stage / pace))), most)
    return Work(stages, math.ceil(times[-1] * pace))


def _peak(values: np.ndarray) -> float:
    return float(np.max(np.abs(values)))
