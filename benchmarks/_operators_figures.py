"""Figures of the table of operators: errors of each row on the test cases of a set."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._cfdbench_figures import one_core
from benchmarks._ledger import Ledger, source
from benchmarks._operators_sets import SETS
from benchmarks._runs import recipe, records
from sciml import data, evaluate, load
from sciml.solvers import Ensemble
from sciml.training.checkpoint import replace_bytes

Rows = dict[str, dict[str, Any]]
STEPS = 99  # of a rollout at most


def figures(
    name: str, path: Path, folder: Path, runs: Mapping[str, list[Path]],
    floors: tuple[Mapping[str, Any], Mapping[str, Any]],
) -> Rows:  # fmt: skip
    """Of each row and of what needs no training, on one core; kept beside the runs. What chooses between rows is the
    same error on validation cases: losses of training are those of steps for some and of whole answers for others.

    Args:
        floors: what needs no training, as it is tested, and from the training cases alone, as it is chosen.
    """
    tested, alone = floors
    names = {n: [p.name for p in several] for n, several in runs.items()} | {n: [] for n in tested}
    key = {"runs": names, "source": source(), "here": hashlib.sha256(Path(__file__).read_bytes()).hexdigest()}
    place = folder / f"figures-{hashlib.sha256(json.dumps(names).encode()).hexdigest()[:10]}.json"
    if place.exists():
        kept = json.loads(place.read_text())
        if kept["key"] == key:
            return kept["rows"]
    solvers: dict[str, Any] = {n: [load(p) for p in several] for n, several in runs.items()}
    several = {together(n, len(s)): [Ensemble(s)] for n, s in solvers.items() if len(s) > 1}
    learned = {**solvers, **several}
    solvers = learned | {n: [solver] for n, solver in tested.items()}
    choice = learned | {n: [alone[n]] for n in tested}
    how: dict[str, Any] = {
        "steps": STEPS,
        "starts": (_start(name, path),),
        "baselines": False,
        "examples": 0,
        "progress": True,
    }
    with one_core():
        made = evaluate(solvers, path, **how)
        chosen = evaluate(choice, path, split="validation", **how)
    names_of = [str(f) for f in made.errors["field"].values]
    groups = [[names_of.index(f) for f in group] for group in SETS[name].groups]
    found = {}
    for entry in made.summary["rows"]:
        row = entry["name"]
        figure = _figures(made, entry, solvers.get(row), runs.get(row), groups)
        if row in several:
            figure["single"] = next(n for n in runs if together(n, len(runs[n])) == row)
            figure["weights"] = sum(_weights(m) for m in several[row][0].members)
        figure["members"] = len(several[row][0].members) if row in several else None
        figure["kind"] = "ensemble" if row in several else "learned" if row in runs else "untrained"
        figure["validation"] = float(_of_cases(chosen, row, entry["runs"], groups).mean())
        found[row] = figure
    replace_bytes(place, json.dumps({"key": key, "rows": found}).encode())
    return found


def _start(name: str, path: Path) -> str:
    """Where all rollouts start: at the first frame that has as many as rows are given, itself included."""
    history = SETS[name].history
    if history == 1:
        return "0"
    frames = set(np.bincount(data.open(path)["frame_case"].values).tolist())
    if len(frames) > 1:
        raise ValueError(f"{name}: cases have {min(frames)} to {max(frames)} frames, so that one share is no one frame")
    return f"{history - 1}/{frames.pop() - 1}"


def together(row: str, count: int) -> str:
    """The name of the row that is the mean of the answers of `count` trainings of another."""
    return f"{row}, mean of {count}"


def _weights(solver: Any) -> int:
    return sum(p.numel() for p in solver.operator.parameters())


def relative(square: np.ndarray, label: np.ndarray, groups: Sequence[Sequence[int]]) -> np.ndarray:
    """(...): the mean over groups of fields of ‖û − u‖/‖u‖, from squares (..., field)."""
    return np.mean([np.sqrt(square[..., g].sum(-1) / label[..., g].sum(-1)) for g in groups], axis=0)


def _squares(made: Any, row: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Squares (run, case, step, field) of errors and (case, step, field) of labels; an answer that is none is ∞ off."""
    errors = made.errors
    square, label = errors.sel(row=row).isel(run=slice(count))["error_square"].values, errors["label_square"].values
    return np.where(np.isnan(square) & np.isfinite(label), np.inf, square), label


def _of_cases(made: Any, row: str, count: int, groups: list[list[int]]) -> np.ndarray:
    """(run, case) relative errors, over all steps together."""
    square, label = _squares(made, row, count)
    return relative(square.sum(2), label.sum(1), groups)


def _figures(made: Any, entry: dict[str, Any], solvers: Any, runs: list[Path] | None, groups: list[list[int]]) -> dict:
    count = entry["runs"]
    square, label = _squares(made, entry["name"], count)
    of_cases = _of_cases(made, entry["name"], count, groups)
    first, last = (relative(square[:, :, k], label[:, k], groups) for k in (0, -1))
    deviation = float(of_cases.mean(1).std(ddof=1)) if count > 1 else 0.0
    return {
        "runs": count, "cases": of_cases.mean(0).tolist(), "relative_l2": float(of_cases.mean()),
        "relative_l2_std": deviation, "each_run": of_cases.mean(1).tolist(),
        "median": float(np.median(of_cases.mean(0))), "worst": float(of_cases.max()),
        "first_step": float(first.mean()), "last_step": float(last.mean()), "steps_ahead": int(label.shape[1]),
        "milliseconds": 1e3 * entry["seconds_per_step"]["alone"],
        "weights": None if runs is None else _weights(solvers[0]),
        "steps": None if runs is None else float(np.mean([records(p)[-1]["step"] for p in runs])),
        "memory": None if runs is None else float(np.max([_memory(p) for p in runs])),
        "recipe": None if runs is None else recipe(runs[0]) | {"points": _points(runs[0])},
    }  # fmt: skip


def _memory(run: Path) -> float:
    return float(json.loads((run / "config.json").read_text())["training"]["peak_memory_bytes"])


def _points(run: Path) -> str:
    """At how many points of a sample answers were asked for."""
    found = json.loads((run / "config.json").read_text())["training"]["recipe"]["augmentations"]
    return next((str(a["points"]) for a in found if a["kind"] == "Subsample"), "all")


def best(found: Rows, count: int) -> list[str]:
    """The trained rows with the least errors on validation cases."""
    learned = [n for n, r in found.items() if r["kind"] == "learned"]
    return sorted(learned, key=lambda n: found[n]["validation"])[:count]


def rows(ledger: Ledger, name: str, found: Rows) -> None:
    """The rows of one set, from the best on."""
    floor = min((r["relative_l2"] for r in found.values() if r["kind"] == "untrained"), default=math.nan)
    for row in sorted(found, key=lambda n: found[n]["relative_l2"]):
        r = found[row]
        columns: dict[str, Any] = dict(
            section="comparison", set=name, title=SETS[name].title, row=row, kind=r["kind"],
            seeds=r["runs"] if r["members"] is None else r["members"],
            relative_l2=r["relative_l2"], relative_l2_std=r["relative_l2_std"] if r["runs"] > 1 else None,
            median=r["median"], worst=r["worst"], over_best_untrained=r["relative_l2"] / floor,
            steps_ahead=r["steps_ahead"], first_step=r["first_step"], last_step=r["last_step"], weights=r["weights"],
            steps=r["steps"], validation=r["validation"], milliseconds_an_answer=r["milliseconds"],
            training_memory_gigabytes=None if r["memory"] is None else r["memory"] / 1e9, **(r["recipe"] or {}),
        )  # fmt: skip
        ledger.row(**{k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in columns.items()})
