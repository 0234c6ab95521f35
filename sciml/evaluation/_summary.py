"""The summary of an evaluation: every row's figures by subset and field."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sciml.evaluation import _figures
from sciml.evaluation._figures import Errors, over, over_rollouts, over_runs
from sciml.evaluation._held import Held, Rollout
from sciml.solver import Solver
from sciml.solvers.baselines import MeanField, Persistence


@dataclass
class Row:
    """One row of the comparison, and what is measured of it; one entry a run in every list.

    Args:
        kind: "baseline", "solver" or "learned".
        runs: solvers that differ in their seed.
        fields_of: the fields that one of them predicts; None where it may be any.
        training: the record of training of one of them; None where there is none.
        restarts: whether it starts from the true frames; None for steady problems.
        every_frame: for each case (square, label), both (frame, field).
        spectrum_error, divergence: (rollout, step).
        correlation_time: (rollout,).
        batched, alone: seconds a step.
    """

    name: str
    kind: str
    runs: list[Any]
    fields_of: Callable[[Any], Sequence[str] | None] = lambda solver: None
    training: Callable[[Any], dict[str, Any]] | None = None
    restarts: bool | None = None
    every_frame: list[list[tuple[np.ndarray, np.ndarray]]] = field(default_factory=list)
    spectrum_error: list[np.ndarray] = field(default_factory=list)
    divergence: list[np.ndarray] = field(default_factory=list)
    correlation_time: list[np.ndarray] = field(default_factory=list)
    batched: list[float] = field(default_factory=list)
    alone: list[float] = field(default_factory=list)

    @property
    def title(self) -> str:
        first: Solver = self.runs[0]
        return first.title or first.name


def summary(
    held: Held,
    rows: Sequence[Row],
    rollouts: Sequence[Rollout],
    square: np.ndarray,
    absolute: np.ndarray,
    label: np.ndarray,
    scale: np.ndarray,
    divergence_of_truth: np.ndarray | None,
    starts: list[str],
) -> dict[str, Any]:
    """JSON-able figures; arrays (row, run, rollout, step, field), `label` without row and run."""
    subsets = list(dict.fromkeys(["all", *sorted(set(held.subsets))]))
    members = {s: np.array([s in ("all", r.subset) for r in rollouts]) for s in subsets}
    cases = {s: [i for i, own in enumerate(held.subsets) if s in ("all", own)] for s in subsets}
    cuts = [("joint", slice(None)), *((n, slice(i, i + 1)) for i, n in enumerate(held.table.fields))]
    found = []
    for a, row in enumerate(rows):
        errors = [Errors(square[a, b], absolute[a, b], label, scale) for b in range(len(row.runs))]
        found.append(_row(row, errors, cuts, members, cases))
    still = MeanField.name if held.steady else Persistence.name
    reference = next((entry for entry in found if entry["kind"] == "baseline" and entry["name"] == still), None)
    for entry in found:
        for subset in subsets:
            if reference is None:
                continue
            entry["gain"][subset] = over(reference["one_step"], entry["one_step"], subset)
            if entry["every_frame"].get(subset) and reference["every_frame"].get(subset):
                entry["gain_every_frame"][subset] = over(reference["every_frame"], entry["every_frame"], subset)
    steps = label.shape[1]
    truth = np.full((len(rollouts), steps), np.nan) if divergence_of_truth is None else divergence_of_truth
    return {
        "problem": held.table.problem.name,
        "fields": list(held.table.fields),
        "support": held.described(),
        "subsets": subsets,
        "cases": {s: len(cases[s]) for s in subsets},
        "rollouts": {s: int(members[s].sum()) for s in subsets},
        "steps": steps,
        "every": held.every,
        "starts": starts,
        "divergence_of_truth": over_runs([over_rollouts(truth)]),
        "rows": found,
    }


def _row(
    row: Row, errors: list[Errors], cuts: list[tuple[str, slice]], members: dict[str, np.ndarray],
    cases: dict[str, list[int]],
) -> dict[str, Any]:  # fmt: skip
    entry: dict[str, Any] = {
        "name": row.name, "title": row.title, "kind": row.kind, "runs": len(row.runs),
        "settings": row.runs[0].settings, "restarts": row.restarts,
    }  # fmt: skip
    if row.training is not None:
        entry["training"] = [row.training(run) for run in row.runs]
    for part in ("rollout", "one_step", "every_frame", "gain", "gain_every_frame", "correlation_time",
                 "spectrum_error", "divergence"):  # fmt: skip
        entry[part] = {}
    for subset, rows_in in members.items():
        entry["rollout"][subset] = by_field = {}
        entry["one_step"][subset], entry["every_frame"][subset] = {}, {}
        for f, cut in cuts:
            each = [e[rows_in].field(cut).figures() for e in errors]
            by_field[f] = {k: over_runs([x[k] for x in each]) for k in each[0]}
            entry["one_step"][subset][f] = {
                k: {"mean": v["mean"][0], "std": v["std"][0]} for k, v in by_field[f].items()
            }
            if row.every_frame[0]:
                one = [_figures.every([run[i] for i in cases[subset]], cut) for run in row.every_frame]
                entry["every_frame"][subset][f] = {k: over_runs([x[k] for x in one]) for k in one[0]}
        entry["correlation_time"][subset] = _figures.times_until([x[rows_in] for x in row.correlation_time])
        entry["spectrum_error"][subset] = over_runs([over_rollouts(x[rows_in]) for x in row.spectrum_error])
        entry["divergence"][subset] = over_runs([over_rollouts(x[rows_in]) for x in row.divergence])
    entry["seconds_per_step"] = {"batched": float(np.mean(row.batched)), "alone": float(np.mean(row.alone))}
    return entry
