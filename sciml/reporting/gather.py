"""From trained runs and a data set to what the page needs besides errors: facts, samples, histories."""

from __future__ import annotations

import importlib.metadata
import json
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sciml.reporting.study import Run, Sample

_TITLES = {"fno": "FNO", "unet": "U-Net", "identity": "identity"}
_VERSIONS = ("sciml", "numpy", "torch", "jax", "xarray", "h5py", "matplotlib")


def operator_title(name: str) -> str:
    """Return an operator's name as people write it."""
    return _TITLES.get(name, name)


def model_names(surrogates: Sequence[Any], paths: Sequence[str]) -> list[str]:
    """Return one name a surrogate, shared by those that differ in their seed alone.

    Where two different set-ups share an operator, the folder's name is added.
    """
    keys = [_set_up(s) for s in surrogates]
    titles = [operator_title(s.operator_name) for s in surrogates]
    names = []
    for key, title, path in zip(keys, titles, paths, strict=True):
        rivals = {k for k, t in zip(keys, titles, strict=True) if t == title}
        first = next(p for k, p in zip(keys, paths, strict=True) if k == key)
        names.append(title if len(rivals) == 1 else f"{title} ({Path(first or path).name or 'unsaved'})")
    return names


def _set_up(surrogate: Any) -> str:
    """Return everything that makes a run what it is, but for its seed and what came out of it."""
    outcome = ("seconds", "steps", "steps_planned", "stopped", "threads", "encoding")
    training = {k: v for k, v in dict(surrogate.training).items() if k not in outcome}
    settings = {k: v for k, v in dict(training.get("settings") or {}).items() if k != "seed"}
    whole = training | {"settings": settings, "operator": surrogate.operator_name, "options": surrogate.options}
    return json.dumps(whole, sort_keys=True, default=str)


def seed_of(surrogate: Any) -> int | None:
    """Return the seed that a surrogate was trained with, where its record has one."""
    seed = dict(dict(surrogate.training).get("settings") or {}).get("seed")
    return int(seed) if isinstance(seed, int) else None


def run_of(surrogate: Any, model: str, path: str) -> Run:
    """Return a run's settings and history for the page."""
    training = dict(surrogate.training)
    settings: dict[str, Any] = {"operator": surrogate.operator_name}
    settings |= {f"operator.{k}": v for k, v in surrogate.options.items()}
    details = training.pop("settings", None) or {}
    settings |= {k: v for k, v in training.items() if v not in (None, "", {}, [])}
    settings |= {f"training.{k}": v for k, v in details.items() if v is not None}
    seed = seed_of(surrogate)
    name = model if seed is None else f"{model}, seed {seed}"
    return Run(name, model, path, surrogate.operator_name, settings, list(surrogate.metrics), command_of(path))


def command_of(path: str) -> str:
    """Return the command that a run was trained with, as `sciml train` leaves it in the folder."""
    return str(_record(path).get("command", ""))


def data_of(path: str) -> str:
    """Return the data set that a run was trained on, as `sciml train` leaves it in the folder."""
    return str(_record(path).get("data", ""))


def _record(path: str) -> dict[str, Any]:
    if not path:
        return {}
    try:
        content = json.loads((Path(path) / "command.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def versions() -> list[tuple[str, str]]:
    """Return the versions of what the figures depend on."""
    found = [("python", platform.python_version())]
    for name in _VERSIONS:
        try:
            found.append((name, importlib.metadata.version(name)))
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def data_facts(dataset: Any, name: str, split: str) -> list[tuple[str, str]]:
    """Return what the data are, as text."""
    from sciml._repr_html import pretty_unit
    from sciml.data import schema

    rows = np.asarray(dataset["row_size"].values)
    facts = [
        ("data set", name),
        ("problem", str(dataset.attrs.get("problem", "")).replace("_", " ")),
        ("cases", str(rows.size)),
    ]
    if "split" in dataset:
        parts = schema.flag_names(dataset["split"])
        facts.append(("split by case", ", ".join(f"{p} {int(np.sum(parts == p))}" for p in dict.fromkeys(parts))))
    if "subset" in dataset:
        subsets = schema.flag_names(dataset["subset"])
        facts.append(("subsets", ", ".join(f"{s} {int(np.sum(subsets == s))}" for s in dict.fromkeys(subsets))))
    facts.append(
        ("frames", f"{int(rows.sum())}" + (f", {int(rows.max())} a case" if rows.min() == rows.max() > 1 else ""))
    )
    grid = [f"{dataset.sizes[d]}" for d in ("x", "y", "z") if d in dataset.sizes]
    if grid:
        facts.append(("grid", " × ".join(grid)))
    facts.append(("fields", ", ".join(
        f"{n} ({pretty_unit(dataset[n].attrs.get('units', ''))})" for n in schema.field_names(dataset)
    )))  # fmt: skip
    for parameter in schema.parameter_names(dataset):
        values = np.asarray(dataset[parameter].values, float)
        if np.ptp(values) > 0:
            unit = pretty_unit(dataset[parameter].attrs.get("units", ""))
            facts.append((parameter.replace("_", " "), f"{values.min():.3g} to {values.max():.3g} {unit}"))
    for key in ("solver", "profile", "seed", "resolution"):
        if key in dataset.attrs:
            facts.append((key, str(dataset.attrs[key]).replace("_", " ")))
    return facts


def shown_parameters(case: Any) -> dict[str, float]:
    """Return the numbers that say which case this is: those that differ from the defaults, and the Reynolds number."""
    from sciml._repr_html import pretty_unit

    specs = {p.name: p for p in case.problem.parameters}
    found = {
        f"{name.replace('_', ' ')} ({pretty_unit(specs[name].unit)})".replace(" (–)", ""): float(value)
        for name, value in case.parameters.items()
        if value != specs[name].default
    }
    reynolds: Any = getattr(case.problem, "reynolds", None)
    return {"Reynolds number": float(reynolds(case))} | found if reynolds is not None else found


def features(case: Any) -> dict[str, float]:
    """Return the numbers to draw errors over: those of the problem for a flow, else its parameters."""
    problem = case.problem
    found: dict[str, float] = {}
    reynolds: Any = getattr(problem, "reynolds", None)
    if reynolds is not None:
        found["Reynolds number"] = float(reynolds(case))
    names = [p.name for p in problem.parameters]
    if {"width", "height"} <= set(names):
        found["aspect ratio, height / width"] = case.parameters["height"] / case.parameters["width"]
    if "lid_velocity" in names:
        found["lid speed (m s⁻¹)"] = abs(case.parameters["lid_velocity"])
    if found:
        return found
    from sciml._repr_html import pretty_unit

    return {
        f"{p.name.replace('_', ' ')} ({pretty_unit(p.unit)})": float(case.parameters[p.name])
        for p in problem.parameters
    }


def representative(number: Sequence[int], subset: Sequence[str], level: Sequence[float]) -> list[int]:
    """Return one position for each subset: the case whose level (of error) is the subset's median."""
    chosen = []
    for name in dict.fromkeys(subset):
        rows = [i for i, s in enumerate(subset) if s == name]
        rows.sort(key=lambda i: (np.inf if not np.isfinite(level[i]) else level[i], number[i]))
        chosen.append(rows[(len(rows) - 1) // 2])
    return chosen


def sample_of(
    dataset: Any, number: int, subset: str, surrogates: Mapping[str, Any], steps: int = 20, start: int = 0
) -> Sample | None:
    """Return a case's truth, each surrogate's rollout from frame `start` on, and the audits of both."""
    import sciml.data
    from sciml.data import schema

    case, solution = sciml.data.case(dataset, number)
    steady = "time" not in solution.dims
    names = schema.field_names(dataset)
    axes = [d for d in ("z", "y", "x") if d in solution.dims]
    if not axes:
        return None
    if steady:
        frames, times = slice(None), np.zeros(1)
    else:
        frames = slice(start, min(start + steps + 1, solution.sizes["time"]))
        times = np.asarray(solution["time"].values, float)[frames]
        solution = solution.isel(time=frames)
    truth = {n: np.asarray(solution[n].values, float) for n in names if n in solution}
    if steady:
        truth = {n: v[None] for n, v in truth.items()}
    predictions, audits = {}, _reference_audit(case, solution, times, axes) or {"truth": _audit(solution)}
    for model, surrogate in surrogates.items():
        made = _predict(surrogate, case, truth, times, steady)
        predictions[model] = made
        audits[model] = _audit(_labelled(case, made, times, solution, axes, steady))
    box = dict(zip("xyz", case.geometry.extents, strict=False))
    extents = {a: (float(box[a][0]), float(box[a][1])) for a in axes}
    around = [a for a, p in zip("xyz", getattr(case.geometry, "periodic", ()), strict=False) if p]
    mask = np.asarray(solution["mask"].values) if "mask" in solution else None
    return Sample(
        case.label or f"case {number}", "" if subset == "all" else subset, times,
        {a: np.asarray(solution[a].values, float) for a in axes}, extents,
        truth, predictions, shown_parameters(case), {k: v for k, v in audits.items() if v}, mask, start, around,
    )  # fmt: skip


def _reference_audit(case: Any, solution: Any, times: np.ndarray, axes: list[str]) -> dict[str, list[dict[str, Any]]]:
    """Return the audit of the reference solver's own solution, where it can solve this case: unlike a stored one it
    has face velocities and rates of change, so that the audit sees what the solver conserves."""
    from sciml.errors import InputError, SolverError
    from sciml.solvers import IncompressibleFlow

    shape = tuple(solution.sizes[a] for a in axes)
    if len(shape) != 2 or min(shape) < 4 or "time" not in solution.dims:
        return {}
    solver = IncompressibleFlow((int(shape[0]), int(shape[1])), dtype="float64")
    if not solver.supports(case.problem):
        return {}
    try:
        solved = solver.solve(case, times[times >= 0])
    except (InputError, SolverError):
        return {}
    return {f"reference {shape[1]} × {shape[0]}": _audit(solved)}


def _predict(surrogate: Any, case: Any, truth: Mapping[str, np.ndarray], times: np.ndarray, steady: bool) -> dict:
    names = list(surrogate.encoding.fields)
    if steady:
        solved = surrogate.solve(case)
        return {n: np.asarray(solved[n].values, float)[None] for n in names}
    first = np.stack([truth[n][0] for n in names])
    made = surrogate.rollout(first[None], [case], float(times[0]), len(times) - 1)[0]
    return {n: np.concatenate([truth[n][:1], np.asarray(made[:, i], float)]) for i, n in enumerate(names)}


def _labelled(
    case: Any, made: Mapping[str, np.ndarray], times: np.ndarray, like: Any, axes: list[str], steady: bool
) -> Any:
    import sciml.data

    dims = tuple(axes) if steady else ("time", *axes)
    fields = {n: (dims, v[0] if steady else v) for n, v in made.items()}
    coords = {a: np.asarray(like[a].values) for a in axes}
    whole = all(np.isfinite(v).all() for v in made.values())
    return sciml.data.solution(case, None if steady else times, fields, coords, status="ok" if whole else "not finite")


def _audit(solution: Any) -> list[dict[str, Any]]:
    """Return the audit's rows; none where the audit cannot be made of this solution."""
    import sciml
    from sciml.errors import InputError

    try:
        return sciml.audit(solution).to_dict()["rows"]
    except InputError:
        return []
