"""What generation costs: measured cases against their estimates, and the whole release on some workers."""

from __future__ import annotations

import heapq
import time
from typing import Any

import numpy as np

from benchmarks._cavity_runs import cores
from sciml.solvers.generation import Work, prepare

# frames of a case, about as many as were published
RELEASE = {"cylinder_flow": 1000, "lid_driven_cavity": 217, "tube_flow": 226, "dam_flow": 100}
WORKERS = (1, 16, 256)
MOST = 120.0  # s: longer cases are not measured, but estimated
SAMPLED, SAMPLED_FRAMES = 6, 21


def work(problem: str, frames: int, fraction: float | None = None) -> Work:
    return prepare(problem, None, None, frames, 64, "published", 0, None, None, "float32", fraction)


def sampled(problem: str, frames: int) -> list[int]:
    """Numbers of cases from the cheapest to the dearest of those that are measured."""
    estimates = np.array(work(problem, frames).seconds())
    order = [int(i) for i in np.argsort(estimates) if estimates[i] <= MOST]
    return [order[k] for k in np.linspace(0, len(order) - 1, SAMPLED).round().astype(int)]


def measured(problem: str, frames: int, number: int) -> dict[str, Any]:
    """One case on one core, compiled before."""
    todo = work(problem, frames)
    solver, numbers = next((s, n) for s, n in todo.solvers() if number in n)
    del numbers
    case, times = todo.cases[number], todo.times[number]
    solver._together([case], [np.asarray(times[:2])])
    solver._together([case], [np.asarray(times)])  # of this length
    with cores(1):
        began = time.perf_counter()
        found = solver._together([case], [np.asarray(times)])[0]
        seconds = time.perf_counter() - began
    (estimate,) = solver.seconds([case], [times]) or [float("nan")]
    return {
        "problem": problem, "case": case.label, "cells_solved": list(solver.settings["resolution"]),
        "frames": len(times), "steps": int(found.attrs["substeps"]), "status": str(found.attrs["status"]),
        "seconds": seconds, "estimated_seconds": estimate,
    }  # fmt: skip


def release(problem: str, factor: float) -> dict[str, Any]:
    """The whole published design: hours on workers of one core each, the longest cases first.

    Args:
        factor: seconds that were taken over those that were estimated.
    """
    todo = work(problem, RELEASE[problem])
    seconds = sorted((factor * s for s in todo.seconds() or []), reverse=True)
    rows = sum(len(t) for t in todo.times)
    estimates = np.array(work(problem, SAMPLED_FRAMES).seconds())
    found: dict[str, Any] = {
        "problem": problem, "cases": len(seconds), "frames": rows, "gigabytes": rows * 64 * 64 * 3 * 4 / 1e9,
        "worker_gigabytes": todo.plan().worker_bytes / 1e9, "longest_case_hours": seconds[0] / 3600,
        "dearer_than_any_measured": float(estimates[estimates > MOST].sum() / estimates.sum()),
        "under_resolved_cases": len(todo.design.under_resolved(todo.cases, todo.request.resolution)),
    }  # fmt: skip
    for count in WORKERS:
        busy = [0.0] * count
        for s in seconds:
            heapq.heapreplace(busy, busy[0] + s)
        found[f"hours_on_{count}_workers"] = max(busy) / 3600
    return found
