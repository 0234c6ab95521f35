"""What a solution violates where no equation is known: held against what the training data keep.

- **bounds**: the share of values that lie beyond the least and the largest value of the training data (a column each:
  over all frames, in the worst frame, and how far beyond as a share of the range); the training data themselves have 0.
- **invariant**: the drift of ∫u dV from its first value, for fields whose integral the training data keep; its floor is
  twice the largest drift among them, as a share of the mean of ∫|u| dV.
- **divergence**: the root mean square of ∇·velocity by central differences; its floor is that of the training data at
  this solution's speed and length, for data are free of divergence only as well as their own grid says.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sciml._audit.rows import Defect
from sciml.derivatives import central
from sciml.errors import InputError
from sciml.problem import Case
from sciml.support import Grid, Support, support_of


def audit_data(solution: Any, case: Case) -> tuple[list[Defect], list[str], int]:
    """The audit of a solution to a problem without equations.

    Args:
        solution: xarray.Dataset of one case.

    Returns:
        (rows, notes on what could not be checked and why, number of frames).

    Raises:
        InputError: values that are not finite, or nodes that nothing says the places of.
    """
    problem, observed = case.problem, case.problem.observed
    if observed is None:
        return [], [f"{problem.name} states neither equations nor what its data keep: nothing to check"], 0
    support = support_of(case, solution, 0)
    steady = "time" not in solution.dims
    found = {f.name: _frames(solution, f.name, support, steady) for f in problem.fields if f.name in solution}
    frames = max((len(v) for v in found.values()), default=0)
    rows: list[Defect] = []
    notes = [f"{f.name}: not checked, the solution does not hold it" for f in problem.fields if f.name not in found]
    if not observed.bounds:
        notes.append("bounds: not checked, nothing is known of the training data; audit an answer of a trained model")
    for name, (low, high) in observed.bounds.items():
        if name in found:
            rows.append(bounds_of(name, found[name], low, high, support))
    if steady or frames < 2:
        if observed.conserved:
            notes.append("conserved integrals: not checked, the solution has one frame")
    elif not observed.conserved:
        if observed.bounds:
            notes.append("conserved integrals: the training data keep the integral of no field that changes")
    else:
        rows += [_integral(n, found[n], support, case, observed.tolerance) for n in observed.conserved
                 if n in found]  # fmt: skip
    velocity = [n for n in problem.velocity if n in found]
    if len(velocity) < 2:
        notes.append("divergence: not checked, no fields are known as a velocity")
    elif not isinstance(support, Grid) or len(velocity) != support.dimensions:
        notes.append("divergence: not checked, which needs all components of the velocity on a grid")
    else:
        line = _divergence([found[n] for n in velocity], support, case, observed.divergence)
        if line is None:
            notes.append("divergence: not checked, no cell has neighbours inside the domain along every axis")
        else:
            rows.append(line)
            if support.inside is not None:
                notes.append("divergence: masked cells and their neighbours are left out")
            if observed.divergence is None:
                notes.append("divergence: has no floor, nothing is known of that of the training data")
    return rows, notes, frames


def _frames(solution: Any, name: str, support: Support, steady: bool) -> np.ndarray:
    var = solution[name] if steady else solution[name].transpose("time", ...)
    values = np.asarray(var.transpose(..., *support.dims).values)
    values = values[None] if steady else values
    if values.shape[1:] != support.shape:
        raise InputError(f"audit: {name} has shape {values.shape[1:]}, expected {support.shape}")
    inside = support.inside
    if not np.isfinite(values if inside is None else values[:, inside]).all():
        raise InputError(f"audit: {name} holds values that are not finite; audit the frames before them")
    return values


def _inner(values: np.ndarray, support: Support) -> np.ndarray:
    """(T, N) values inside the domain."""
    flat = np.asarray(values, dtype=np.float64).reshape(len(values), -1)
    return flat if support.inside is None else flat[:, support.inside.reshape(-1)]


def bounds_of(
    name: str, values: np.ndarray, low: float, high: float, support: Support, roundings: float = 1.0
) -> Defect:
    """The share of values (T, *shape) that lie beyond, by more than so many roundings."""
    inner = _inner(values, support)
    rounding = roundings * float(np.finfo(values.dtype).eps) * max(abs(low), abs(high))
    beyond = np.maximum(np.maximum(low - inner, inner - high), 0.0)
    out = beyond > rounding
    span = (high - low) or max(abs(low), abs(high)) or 1.0
    excess = float(np.where(out, beyond, 0.0).max()) / span
    label = f"{name} within {low:.3g} to {high:.3g}"
    return Defect("bounds", label, "1", float(out.mean()), float(out.mean(axis=1).max()), excess, 0.0)


def _integral(name: str, values: np.ndarray, support: Support, case: Case, tolerance: float) -> Defect:
    weights = support.weights().reshape(-1)
    weights = weights if support.inside is None else weights[support.inside.reshape(-1)]
    inner = _inner(values, support)
    total, size = (inner * weights).sum(1), float((np.abs(inner) * weights).sum(1).mean())
    drift = total - total[0]
    rms = float(np.sqrt(np.mean(drift**2)))
    power = "" if support.dimensions == 1 else str(support.dimensions)
    parts = [case.problem.field(name).unit, case.problem.length_unit + power]
    unit = " ".join(p for p in parts if p not in ("", "1", f"1{power}")) or "1"
    floor = max(tolerance, float(np.finfo(values.dtype).eps)) * size
    return Defect(
        "invariant", f"total {name}", unit, rms, float(np.abs(drift).max()), rms / size if size else 0.0, floor
    )


def _divergence(velocity: list[np.ndarray], grid: Grid, case: Case, known: float | None) -> Defect | None:
    parts = np.stack([np.asarray(v, dtype=np.float64) for v in velocity])
    found = central.divergence(parts, grid)
    found = found[np.isfinite(found)]
    if not found.size:
        return None
    scale = central.rate(parts, grid)
    rms = float(np.sqrt(np.mean(found**2)))
    names = [n for n in case.problem.velocity][: len(velocity)]
    unit, length = case.problem.field(names[0]).unit, case.problem.length_unit
    unit = "s-1" if unit == f"{length} s-1" else f"{unit} {length}-1" if unit not in ("", "1") else f"{length}-1"
    label = f"∇·({', '.join(names)})"
    return Defect("divergence", label, unit, rms, float(np.abs(found).max()), rms / scale if scale > 0 else 0.0,
               None if known is None else known * scale)  # fmt: skip
