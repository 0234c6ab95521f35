"""The figures behind a page, as JSON values."""

from __future__ import annotations

from typing import Any

from sciml.reporting.study import ALL, Study
from sciml.reporting.verdict import steps_won, verdict


def results(study: Study) -> dict[str, Any]:
    """Return a comparison as JSON values: the figures behind every table of the page."""
    rows = []
    for index, row in enumerate(study.rows):
        growth = {}
        for subset in [ALL, *study.subsets]:
            seeds = study.rollout_of(row.model, subset)
            if seeds.size:
                growth[subset] = seeds[study.members(row.model).index(index)].tolist()
        rows.append({
            "row": row.name, "model": row.model, "kind": row.kind, "seed": row.seed, "weights": row.weights or None,
            "training_seconds": row.training_seconds, "seconds_per_step": row.seconds_per_step,
            "one_step_nmse": {s: g[0] for s, g in growth.items()}, "rollout_nmse": growth,
        })  # fmt: skip
    sentence, tone = verdict(study)
    best = study.best
    won = {s: steps_won(study, best, s) for s in [ALL, *study.subsets]} if best else {}
    rollouts = list(zip(study.rollout_case, study.rollout_subset, strict=False))
    cases = {s: len({c for c, own in rollouts if s in (ALL, own)}) for s in [ALL, *study.subsets]}
    gathered = {"statistics": dict(study.statistics)} if study.statistics else {}
    return gathered | {
        "data": study.data_name, "split": study.split, "steps": study.steps, "verdict": sentence, "tone": tone,
        "best": best, "cases": cases, "steps_won": {k: {"won": a, "of": b} for k, (a, b) in won.items()}, "rows": rows,
    }  # fmt: skip
