"""From trained runs and a data set to what the page needs besides errors: facts, samples, histories."""

from __future__ import annotations

import importlib.metadata
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sciml.errors import InputError
from sciml.particle_problem import ParticleProblem
from sciml.reporting.names import flattened
from sciml.reporting.stage import Followed, Stage
from sciml.reporting.study import Bars, Run, Sample
from sciml.support import Points, Support

COMMAND_FILE = "command.json"
_VERSIONS = ("sciml", "numpy", "torch", "jax", "xarray", "h5py", "matplotlib")


def seed_of(surrogate: Any) -> int | None:
    """Return the seed that a surrogate was trained with, where its record has one."""
    seed = (surrogate.training.get("recipe") or {}).get("seed")
    return int(seed) if isinstance(seed, int) else None


def run_of(surrogate: Any, model: str, path: str) -> Run:
    """Return a run's settings (the whole recipe among them) and history for the page."""
    chosen = surrogate.settings
    operator = str(chosen.get("operator", surrogate.name))
    settings: dict[str, Any] = {"operator": operator}
    settings |= flattened({k: chosen.get(k) for k in ("options", "stepping", "fields", "constraints", "subset")})
    settings |= flattened({"recipe": chosen.get("recipe") or {}})
    said = ("operator", "options", "recipe", "subset", "constraints")
    outcome = {k: v for k, v in surrogate.training.items() if k not in said}
    settings |= flattened({"training": outcome})
    settings |= {k: chosen[k] for k in ("parameters", "weights") if k in chosen}
    settings = {k: v for k, v in settings.items() if v not in (None, "", {}, [])}
    seed = seed_of(surrogate)
    name = model if seed is None else f"{model}, seed {seed}"
    return Run(name, model, path, operator, settings, list(surrogate.metrics), command_of(path))


def command_of(path: str) -> str:
    """Return the command that a run was trained with, as `sciml train` leaves it in the folder."""
    return str(command_record(path).get("command", ""))


def data_of(path: str | Path) -> list[str]:
    """Return the data sets that a run was trained on, as `sciml train` leaves them in the folder; mostly one."""
    found = command_record(path).get("data", [])
    return [str(one) for one in found] if isinstance(found, list) else [str(found)]


def own_data(path: str | Path, argument: str = "data") -> str:
    """Return the one data set that a run was trained on.

    Args:
        argument: what messages call it.

    Raises:
        InputError: the run names none, or several.
    """
    found = data_of(path)
    if len(found) != 1:
        what = (
            f"was trained on {', '.join(found)}, expected one of them"
            if found
            else ("does not say which data set it was trained on, expected the path of one")
        )
        raise InputError(f"{argument}: {path or 'the run'} {what}")
    return found[0]


def command_record(path: str | Path) -> dict[str, Any]:
    """Return what `sciml train` noted in the folder of a run; empty where it noted nothing."""
    if not path:
        return {}
    try:
        content = json.loads((Path(path) / COMMAND_FILE).read_text(encoding="utf-8"))
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
    nodes = np.asarray(dataset["node_row_size"].values) if "node_row_size" in dataset.variables else None
    if nodes is not None:
        least, most = (int(nodes.min()), int(nodes.max())) if nodes.size else (0, 0)
        cells = any(str(v).startswith("connectivity") for v in dataset.variables)
        count = f"{least}" if least == most else f"{least} to {most}"
        facts.append(("nodes", f"{count} a case, {'joined by cells' if cells else 'loose'}"))
    grid = [f"{dataset.sizes[d]}" for d in ("x", "y", "z") if d in dataset.sizes] if nodes is None else []
    if grid:
        stretched = any(f"{d}_coordinate" in dataset.variables for d in "xyz")
        masked = "mask" in dataset.variables
        more = [w for w, there in (("stretched", stretched), ("masked", masked)) if there]
        facts.append(("grid", ", ".join([" × ".join(grid), *more])))
    facts.append(("fields", ", ".join(
        f"{n} ({pretty_unit(dataset[n].attrs.get('units', ''))})".removesuffix(" (–)")
        for n in schema.field_names(dataset)
    )))  # fmt: skip
    for parameter in schema.parameter_names(dataset):
        values = np.asarray(dataset[parameter].values, float)
        if np.ptp(values) > 0:
            unit = pretty_unit(dataset[parameter].attrs.get("units", ""))
            unit = "" if unit == "–" else f" {unit}"
            facts.append((parameter.replace("_", " "), f"{values.min():.3g} to {values.max():.3g}{unit}"))
    for key in ("solver", "profile", "seed", "resolution"):
        if str(dataset.attrs.get(key, "")).strip():
            facts.append((key, str(dataset.attrs[key]).replace("_", " ")))
    return facts


def subsets_in_order(dataset: Any, found: Sequence[str]) -> list[str]:
    """Return the subsets that occur, in the order of the data set's own flag meanings."""
    meanings = str(dataset["subset"].attrs.get("flag_meanings", "")).split() if "subset" in dataset.variables else []
    present = list(dict.fromkeys(found))
    return [m for m in meanings if m in present] + [p for p in present if p not in meanings]


def representative(number: Sequence[int], subset: Sequence[str], level: Sequence[float]) -> list[int]:
    """Return one position for each subset: the case whose level (of error) is the subset's median."""
    chosen = []
    for name in dict.fromkeys(subset):
        rows = [i for i, s in enumerate(subset) if s == name]
        rows.sort(key=lambda i: (np.inf if not np.isfinite(level[i]) else level[i], number[i]))
        chosen.append(rows[(len(rows) - 1) // 2])
    return chosen


def sample_of(
    dataset: Any, number: int, subset: str, surrogates: Mapping[str, Any], steps: int = 20, every: int = 1
) -> Sample | None:
    """Return a case's truth, each surrogate's rollout from its first frame on, and the audits of all.

    Args:
        every: frames of the data that one step of the rollout spans.
    """
    import sciml.data
    from sciml.data import schema

    case, solution = sciml.data.case(dataset, number)
    support = case.support
    if support is None:
        return None
    steady = "time" not in solution.dims
    names = [n for n in schema.field_names(dataset) if n in solution and set(support.dims) <= set(solution[n].dims)]
    times = np.zeros(1)
    if not steady:
        solution = solution.isel(time=slice(0, steps * every + 1, every))
        times = np.asarray(solution["time"].values, float)
    truth = {n: _array(solution[n], support, steady) for n in names}
    stored = np.result_type(*(solution[n].dtype for n in names))  # an audit's tolerances go by it
    moving = any("time" in solution[a].dims for a in "xyz" if a in solution.variables)
    if moving:
        support = sciml.data.support(dataset, number, None, (len(times) - 1) * every)
    followed = _followed(case, support, truth) if moving else None
    places = followed if isinstance(case.problem, ParticleProblem) else None
    predictions: dict[str, Any] = {}
    bands: dict[str, Any] = {}
    audits: dict[str, list[dict[str, Any]]] = {}
    notes: dict[str, None] = {}

    def note(who: str, solved: Any) -> None:
        rows, remarks = _audit(solved)
        if rows:
            audits[who] = rows
        notes.update(dict.fromkeys(remarks if not case.problem.balances() else ()))

    reference = _reference(case, support, times, steady)
    same = [p for s in surrogates.values() if (p := s.problem) is not None and p.same(case.problem)]
    # what the training data keep is a fact about them: whoever noted it, all answers are held to it
    known = next((p for p in same if p.observed is not None and p.observed.bounds), same[0] if same else None)
    if reference is not None:
        note(*reference)
    elif not moving or places is not None:
        note("truth", _labelled(case, known, truth, times, support, steady, stored, places))
    for model, surrogate in surrogates.items():
        made = _predict(surrogate, case, truth, times, steady)
        predictions[model] = made
        if surrogate.gives_intervals:
            bands[model] = _half_widths(surrogate, case, solution, made, times, steady)
        if not moving or places is not None:
            note(model, _labelled(case, known or surrogate.problem, made, times, support, steady, stored, places))
    quantities = {
        q.name: (q.description or q.name, q.unit, np.asarray(solution[q.name].values, float))
        for q in case.problem.quantities
        if q.name in solution
    }
    return Sample(
        case.label or f"case {number}", "" if subset == "all" else subset, times, support, truth, predictions,
        case.problem.shown(case), audits, list(notes), 0, moving, case.problem.profiles(case), quantities, bands,
        followed=followed,
    )  # fmt: skip


def _followed(case: Any, support: Support, truth: Mapping[str, np.ndarray]) -> Followed | None:
    """How places of particles follow from fields; None where nothing says so. `support` is that of the last frame."""
    from sciml.evaluation import followed

    if not followed(case, support, tuple(truth)) or not isinstance(support, Points):
        return None
    moved = np.stack([truth[f"displacement_{a}"] for a in "xyz"[: support.dimensions]], axis=-1)
    first = support.points() - moved[-1]
    weights = support.weights()
    around = tuple(bool(p) for p in case.geometry.periodic)
    return Followed(Stage.of(case, first + moved[0], support), first, weights / weights.sum(), around)


def _array(variable: Any, support: Support, steady: bool) -> np.ndarray:
    """(T, *shape) of a field, a steady one as a single frame."""
    dims = support.dims if steady else ("time", *support.dims)
    values = np.asarray(variable.transpose(*dims).values, float)
    return values[None] if steady else values


def _reference(case: Any, support: Support, times: np.ndarray, steady: bool) -> tuple[str, Any] | None:
    """Return the reference solver's own solution on the same grid, where one can solve this case in time: unlike a
    stored one it has face velocities and rates of change, so that the audit sees what the solver conserves."""
    from sciml.errors import SolverError
    from sciml.solvers.references import reference, sized
    from sciml.support import Grid

    if steady or not isinstance(support, Grid) or not support.uniform_cells or support.inside is not None:
        return None
    solver = reference(case.problem, support.shape, full=True)
    if solver is None:
        return None
    try:
        return f"reference {sized(support.shape)}", solver.solve(case, times[times >= 0])
    except (InputError, SolverError):
        return None


def _predict(surrogate: Any, case: Any, truth: Mapping[str, np.ndarray], times: np.ndarray, steady: bool) -> dict:
    """field -> (T, *shape), from the first true frame on."""
    from sciml.solver import Restartable, Start

    names = [n for n in (surrogate.predicted or truth) if n in truth]
    if steady or not isinstance(surrogate, Restartable):
        solved = surrogate.solve(case) if steady else surrogate.solve(case, times)
        return {n: _array(solved[n], case.support, steady) for n in names}
    first = np.stack([truth[n][0] for n in names])
    start = Start(case, case.support, first[None], float(times[0]))
    frames = [first, *(frame[0] for frame in surrogate.rollout([start], times[None, 1:]))]
    return {n: np.stack([np.asarray(f[i], float) for f in frames]) for i, n in enumerate(names)}


def _half_widths(
    surrogate: Any, case: Any, solution: Any, made: Mapping[str, np.ndarray], times: np.ndarray, steady: bool
) -> dict[str, np.ndarray]:
    """field -> (T, *shape) half widths of bands; none at the first true frame."""
    from sciml.solver import Restartable

    if steady:
        solved = surrogate.solve(case)
    elif isinstance(surrogate, Restartable):
        solved = surrogate.resume(case, solution.isel(time=[0]), times[1:])
    else:
        solved = surrogate.solve(case, times)
    found = {}
    for n, values in made.items():
        half = _array(0.5 * (solved[f"{n}_upper"] - solved[f"{n}_lower"]), case.support, steady)
        missing = len(values) - len(half)
        found[n] = np.concatenate([np.zeros((missing, *half.shape[1:])), half]) if missing else half
    return found


def bars_of(solver: Any, dataset: Any, split: str) -> Bars:
    """What the error bars of a solver come to on the held-out cases of a data set."""
    from sciml.evaluation import coverage
    from sciml.solvers.conformal import promise_in_words

    found = coverage(solver, dataset, split=split)
    levels, rows = [], []
    for level in (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95):
        widths = solver.relative_widths(level)
        if widths is not None:
            levels.append(level)
            rows.append(found.widened([widths[n] for n in found.fields]))
    observed = np.array(rows).reshape(len(levels), len(found.fields))
    calibrated = int(solver.training.get("calibration", {}).get("cases", 0))
    return Bars(
        found.nominal, promise_in_words(found.per, found.nominal, found.outside), found.per, len(found.number),
        calibrated, found.point, found.field, found.widths, found.relative_widths, np.array(levels),
        {n: observed[:, f] for f, n in enumerate(found.fields)},
    )  # fmt: skip


def _labelled(
    case: Any, problem: Any, made: Mapping[str, np.ndarray], times: np.ndarray, support: Support, steady: bool,
    dtype: Any, followed: Followed | None = None,
) -> Any:  # fmt: skip
    """The solution with these values, at the places that follow from them; `problem` knows what its training data
    keep."""
    import sciml.data

    if problem is not None and problem.same(case.problem):
        case = replace(case, problem=problem, parameters=dict(case.parameters), inputs=dict(case.inputs))
    dims = support.dims if steady else ("time", *support.dims)
    fields = {n: (dims, (v[0] if steady else v).astype(dtype)) for n, v in made.items()}
    inside = support.inside
    whole = all(np.isfinite(v if inside is None else v[..., inside]).all() for v in made.values())
    where: Any = support
    if followed is not None:
        points = np.stack([followed.at(made, k) for k in range(len(times))])
        where = dict(zip("xyz", np.moveaxis(points, -1, 0), strict=False))
    return sciml.data.solution(case, None if steady else times, fields, where, status="ok" if whole else "not finite")


def _audit(solution: Any) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the audit's rows and notes; none where the audit cannot be made of this solution."""
    from sciml._audit import audit

    try:
        found = audit(solution).to_dict()
    except InputError:
        return [], []
    return found["rows"], found["notes"]
