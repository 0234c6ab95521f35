"""Many flows at once: alike cases side by side in one compiled loop.

Arrays of one flow are too small to keep more than one core busy, so each thread runs its own batch. A batch steps
until its slowest case is done, so cases are sorted by their expected work first. Which cases share a batch depends on
the list of cases alone; equal requests therefore give equal bytes.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from sciml.geometry import Box
from sciml.solvers import _flow_setup, _stabilised
from sciml.solvers._cut_cells import Body
from sciml.solvers.linear import Ends

LARGEST = 16  # cases in a batch: beyond, speed gains nothing and caches are left
MEMORY = 1 << 30  # bytes that the frames of all running batches may take

# s, in single precision: for a cell in a stage, without a body and with one, and for each cell of its row and column
PASS, PASS_BODY, PRODUCT = 9e-9, 2.4e-8, 5e-11

Prepared = tuple[dict[str, Any], dict[str, Any]]  # parameters and inputs of one case


class Work(NamedTuple):
    """What a case is expected to take: stages of a step, steps."""

    stages: int
    steps: int


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def batches(
    prepared: Sequence[Prepared], times: Sequence[np.ndarray], ends: Sequence[tuple[Ends, Ends]],
    shape: tuple[int, int], cfl: float, bytes_of_a_number: int,
) -> list[tuple[int, ...]]:  # fmt: skip
    """The numbers of the cases that run together."""
    groups: dict[Any, list[tuple[Work, int]]] = {}
    for i, ((parameters, inputs), wanted) in enumerate(zip(prepared, times, strict=True)):
        shapes = tuple(sorted((k, _shapes(v)) for k, v in inputs.items()))
        work = expected(shape, cfl, parameters, inputs, wanted)
        groups.setdefault((ends[i], len(wanted), shapes), []).append((work, i))
    ny, nx = shape
    found: list[tuple[int, ...]] = []
    for (_, frames, _), members in groups.items():
        fitting = max(MEMORY // (frames * 10 * ny * nx * bytes_of_a_number * 3), 1)
        size = 2 ** min(math.ceil(math.log2(max(len(members) / 2, 1))), int(math.log2(min(fitting, LARGEST))))
        order = [i for _, i in sorted(members)]
        # of nearly one length, so that the same compiled function serves all
        found += [tuple(map(int, part)) for part in np.array_split(order, math.ceil(len(order) / size))]
    return found


def places(batch: Sequence[int], beside: Sequence[Sequence[int]] = ()) -> int:
    """How many cases the compiled function of a batch takes: a power of two, so that few are compiled.

    Args:
        beside: the batches that run with it; one that is half the size of the largest takes the same function.
    """
    own, most = (2 ** math.ceil(math.log2(n)) for n in (len(batch), max(map(len, beside), default=len(batch))))
    return most if 2 * own == most else own


def stacked(prepared: Sequence[Prepared], times: Sequence[np.ndarray], size: int) -> tuple[Any, Any, np.ndarray]:
    """Parameters, inputs and times of alike cases with a leading axis of length `size`; the last case stands in the
    places that are left."""
    places = [*range(len(prepared)), *[len(prepared) - 1] * (size - len(prepared))]
    rows = [(prepared[i][0], {k: _padded(v) for k, v in prepared[i][1].items()}, times[i]) for i in places]
    return jax.tree.map(lambda *leaves: np.stack(leaves), *rows)


def _knots(count: int) -> int:
    """Knots after padding: few different sizes, so that few functions are compiled."""
    return 1 if count == 1 else max(16, 2 ** math.ceil(math.log2(count)))


def alike(prepared: Sequence[Prepared]) -> list[Prepared]:
    """The same cases with as many knots for each wall, so that walls at a constant speed share a function with others:
    worth it for a few steps of a few cases, which take less time than to compile."""
    most: dict[str, int] = {}
    for _, inputs in prepared:
        for k, v in inputs.items():
            if _flow_setup.in_time(k, v):
                most[k] = max(most.get(k, 1), _knots(len(v[0])))
    return [(p, {k: _padded(v, most.get(k)) for k, v in inputs.items()}) for p, inputs in prepared]


def _padded(value: Any, count: int | None = None) -> Any:
    """A wall's (times, values) with a padded number of knots: the last value held on."""
    if not isinstance(value, tuple) or isinstance(value, Body):
        return value
    times, *values = value
    extra = (count or _knots(len(times))) - len(times)
    times = np.append(times, times[-1] + np.arange(1, extra + 1))
    return times, *(np.concatenate([v, np.repeat(v[-1:], extra, axis=0)]) for v in values)


def _shapes(value: Any) -> Any:
    if isinstance(value, Body):
        return tuple(np.shape(leaf) for leaf in jax.tree.leaves(value))
    if isinstance(value, tuple):
        return _knots(len(value[0])), *(np.shape(v)[1:] for v in value[1:])
    return np.shape(value)


def expected(shape: tuple[int, int], cfl: float, parameters: Any, inputs: Any, times: np.ndarray) -> Work:
    """The work that `_flow_stepper.plan` will find with the speeds at the start."""
    ny, nx = shape
    dx, dy = parameters["width"] / nx, parameters["height"] / ny
    speeds = [np.max(np.abs(v[1])) for k, v in inputs.items() if _flow_setup.in_time(k, v) and k != "force"]
    rate = max([s / min(dx, dy) for s in speeds] + [_peak(inputs["u_face"]) / dx + _peak(inputs["v_face"]) / dy])
    rest = float(inputs["body"].stiffness) if "body" in inputs else 0.0
    viscosity = parameters["viscosity"] / parameters["density"]
    stiffness = viscosity * max(4 * (1 / dx**2 + 1 / dy**2), rest)
    return _work((dx, dy), cfl, rate, stiffness, float(times[-1] - inputs.get("start", 0.0)), viscosity, bool(rest))


def guessed(case: Any, shape: tuple[int, int], cfl: float, length: float) -> Work:
    """The same from a case's scales alone. Around a body fluid is faster, and cut cells diffuse up to ten times as
    fast."""
    (x0, x1), (y0, y1) = case.geometry.extents
    dx, dy = (x1 - x0) / shape[1], (y1 - y0) / shape[0]
    speed, body = case.scales.velocity, not isinstance(case.geometry, Box)
    rate = speed * (1.6 / dx + 0.8 / dy if body else 1 / min(dx, dy))
    viscosity = case.viscosity / case.density
    stiffness = 4 * viscosity * (1 / dx**2 + 1 / dy**2) * (10 if body else 1)
    return _work((dx, dy), cfl, rate, stiffness, length, viscosity, body)


def _work(
    spacing: tuple[float, float], cfl: float, rate: float, stiffness: float, length: float, viscosity: float, body: bool
) -> Work:
    """The cheaper family of schemes, as `_flow_stepper.plan` finds it."""
    dx, dy = spacing
    slowest = 1 / max(length, 1e-30)
    four = max(rate / cfl, stiffness / _stabilised.LIMIT_DIFFUSION_FOUR, slowest)
    rate *= _stabilised.LIMIT_ADVECTION / cfl
    per_stage = stiffness / _stabilised.LIMIT_DIFFUSION_CHEBYSHEV
    many = rate / float(_stabilised.limit_advection_chebyshev(max(dx / dy, dy / dx)))
    if body:
        many = max(many, _stabilised.pace_chebyshev(rate, 8 * viscosity / max(dx, dy) ** 2))
    most = _stabilised.MAX_STAGES
    many = max(many, per_stage / most**2, slowest)
    stages = min(max(5, math.ceil(math.sqrt(per_stage / many))), most)
    stages, pace = (4, four) if 4 * four <= stages * many else (stages, many)
    return Work(stages, math.ceil(length * pace))


def seconds(case: Any, shape: tuple[int, int], cfl: float, times: np.ndarray, bytes_of_a_number: int) -> float:
    """About how long a case takes on one core: a stage passes over the cells, and multiplies them by the matrices of
    the transforms; no step goes beyond the next of the times."""
    ny, nx = shape
    work = guessed(case, shape, cfl, float(times[-1]))
    one = (PASS if isinstance(case.geometry, Box) else PASS_BODY) + PRODUCT * (ny + nx)
    return work.stages * max(work.steps, len(times)) * ny * nx * one * bytes_of_a_number / 4


def _peak(values: np.ndarray) -> float:
    return float(np.max(np.abs(values)))
