"""A numerical solver beside curves that others have published."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.interpolate import CubicSpline

from sciml.reporting.study import Benchmark
from sciml.support import Grid


def benchmarks(problem: Any, resolution: int = 64) -> list[Benchmark]:
    """The published curves of a problem's cases, each beside the profile of the solver that supports the problem.

    Args:
        resolution: cells along each axis.
    """
    from sciml.solvers.references import reference, sized

    curves = problem.published()
    counts = (resolution,) * problem.dimensions
    solver = reference(problem, counts) if curves else None
    if solver is None:
        return []
    found, solved = [], {}
    for curve in curves:
        key = (curve.case, curve.time)
        if key not in solved:
            solved[key] = solver.solve(curve.case, None if curve.time is None else [curve.time])
        solution = solved[key]
        where, values = profile(curve, solution)
        off = float(np.max(np.abs(CubicSpline(where, values)(curve.where) - curve.values)))
        upright = curve.axis > 0
        xlabel, ylabel = reversed(curve.labels) if upright else curve.labels
        name, points = f"reference {sized(counts)}", (curve.where, curve.values)
        found.append(Benchmark(curve.title, name, curve.source, xlabel, ylabel, where, values, points, off, upright))
    return found


def profile(curve: Any, solution: Any) -> tuple[np.ndarray, np.ndarray]:
    """(positions, values) of a solution at the cell centres along a published curve's line, and at its ends where the
    problem says what the field is there."""
    case = curve.case
    axes = "xyz"[: case.problem.dimensions]
    grid = Grid.from_centres(tuple(np.asarray(solution[a].values) for a in axes), case.geometry)
    values = solution[curve.field]
    values = np.asarray((values.isel(time=-1) if "time" in values.dims else values).transpose(*grid.dims).values, float)
    where = grid.centres[curve.axis]
    points = np.tile(np.asarray(curve.through, float), (len(where), 1))
    points[:, curve.axis] = where
    found = grid.sample(values, points)
    for end, at in zip(("min", "max"), grid.extents[curve.axis], strict=True):
        condition = case.boundary_conditions.get(f"{axes[curve.axis]}_{end}", {}).get(curve.field)
        if condition is None or not condition.given or condition.in_space:
            continue
        on_wall = float(condition.at(curve.time or 0.0))
        where, found = (
            (np.concatenate([[at], where]), np.concatenate([[on_wall], found]))
            if end == "min"
            else (np.concatenate([where, [at]]), np.concatenate([found, [on_wall]]))
        )
    return where, found
