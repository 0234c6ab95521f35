"""What was trained on what, what it costs, and how to make the page again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from sciml.errors import is_number
from sciml.reporting import curves
from sciml.reporting.blocks import Cell, Code, Facts, Figures, Note, Table
from sciml.reporting.sections.accuracy import spread, styles
from sciml.reporting.study import Study
from sciml.reporting.verdict import cost_at_equal_error, milliseconds


def training(study: Study) -> list[object]:
    blocks: list[object] = []
    if study.facts:
        blocks.append(Facts(study.facts))
    if study.surrogates:
        head = [
            "surrogate",
            "random seed",
            "weights",
            "training",
            "one case" if study.steady else "one step of one case",
        ]
        rows = []
        for model in study.surrogates:
            members = [study.rows[i] for i in study.members(model)]
            seconds = [r.training_seconds for r in members if np.isfinite(r.training_seconds)]
            seeds = ", ".join(str(r.seed) for r in members if r.seed is not None) or "–"
            rows.append(("surrogate", [
                Cell(model), Cell(seeds), Cell(f"{members[0].weights:,}" if members[0].weights else "–"),
                Cell(milliseconds(float(np.mean(seconds))) if seconds else "–"), Cell(milliseconds(study.cost(model))),
            ]))  # fmt: skip
        blocks.append(Table(head, rows, "Surrogates. Training time is that of one seed."))
    lines, xlabel = _histories(study)
    if lines:
        item = curves.learning_curve(lines, styles(study), xlabel, "Learning curves")
        blocks.append(
            Figures(
                [item],
                "Thin: training loss; thick: validation, which is the NMSE of "
                f"{'the prediction' if study.steady else _judged(study)}. One pair of lines a run.",
            )
        )
    return blocks


def _judged(study: Study) -> str:
    """What validation is of, in words: rollouts also tell their first step."""
    rollouts = {any("validation_one_step" in r for r in run.history) for run in study.runs if run.history}
    if rollouts == {True}:
        return "rollouts as long as in training"
    return "one step, or of rollouts as long as in training where there are some" if True in rollouts else "one step"


def _histories(study: Study) -> tuple[list[curves.Line], str]:
    """Return the learning curves of all runs; records are those of metrics.jsonl."""
    lines = []
    for run in study.runs:
        for part, keys in (("training", ("loss", "training", "train")), ("validation", ("validation",))):
            points = [
                (r.get("step", i), r[key])
                for i, r in enumerate(run.history)
                for key in keys[:]
                if is_number(r.get(key))
            ]
            if len(points) > 1:
                x, y = np.array(points, float).T
                if part == "training":
                    x, y = _thin(x, y)
                lines.append(curves.Line(f"{run.model}|{part}", x, y))
    return lines, "training step"


def _thin(x: np.ndarray, y: np.ndarray, most: int = 150) -> tuple[np.ndarray, np.ndarray]:
    """Average a long curve in bins: a drawing has no use for thousands of points."""
    if len(x) <= most:
        return x, y
    parts = np.array_split(np.arange(len(x)), most)
    return np.array([x[p].mean() for p in parts]), np.array([y[p].mean() for p in parts])


def cost(study: Study) -> list[object]:
    points = [(m, study.cost(m), study.score(m), k) for m, k in study.models]
    usable = [p for p in points if np.isfinite(p[1]) and np.isfinite(p[2]) and p[1] > 0 and p[2] > 0]
    if len(usable) < 2:
        return [Note("No times were taken, so speed cannot be set against accuracy.", quiet=True)]
    what = "seconds for one problem" if study.steady else "seconds for one step of one case"
    error = "NMSE" if study.steps <= 1 else f"NMSE, mean of {study.steps} steps"
    drawing = curves.speed_accuracy(usable, styles(study), "Lower left is better", what, error)
    threads = f" on {study.threads} thread{'s' if study.threads > 1 else ''}" if study.threads else ""
    caption = f"Wall-clock time{threads}."
    reference = any(kind == "reference" for _, _, _, kind in usable)
    if reference:
        caption += (
            " The line joins the resolutions of the reference solver, its error taken against the truth's grid. A "
            "surrogate pays only below and to the left of that line."
        )
    blocks: list[object] = [Figures([drawing], caption)]
    rows = []
    for model, kind in study.models:
        if not np.isfinite(study.cost(model)):
            continue
        scores = study.rollout_of(model)
        scores = scores.mean(axis=1) if scores.size else study.one_step_of(model)
        text, note = spread(scores[np.isfinite(scores)])
        cells = [Cell(model), Cell(milliseconds(study.cost(model))), Cell(text, note=note)]
        if not reference:
            rows.append((kind, cells))
            continue
        other, how = cost_at_equal_error(study, model) if kind == "surrogate" else (float("nan"), "")
        ratio = other / study.cost(model)
        shown = (
            "–"
            if not how
            else f"{how} {milliseconds(other)}" + (f" ({ratio:.2g} of the surrogate's time)" if how == "about" else "")
        )
        cells.append(Cell(shown))
        rows.append((kind, cells))
    head, caption = ["row", "time", "error"], "Time and error of every row."
    if reference:
        head.append("reference solver at equal error")
        caption = "Time and error of every row; the last column interpolates between resolutions."
    blocks.append(Table(head, rows, caption))
    return blocks


def reproduce(study: Study) -> list[object]:
    blocks: list[object] = []
    if study.command:
        blocks.append(Code(study.command, "The same steps again:"))
    for run in study.runs:
        if run.command:
            blocks.append(Code(run.command, f"Training of {run.name}:"))
    if study.settings:
        blocks.append(Facts(study.settings))
    if study.versions:
        blocks.append(Facts(study.versions))
    for run in study.runs:
        if run.settings:
            blocks.append(
                Code(_compact(run.settings), f"Settings of {run.name}" + (f" ({run.path})" if run.path else ""))
            )
    return blocks


def _compact(settings: Mapping[str, Any]) -> str:
    """Return settings one a line; nested ones stay on theirs."""
    width = max((len(str(k)) for k in settings), default=0)
    return "\n".join(
        f"{str(k).ljust(width)}  {v if isinstance(v, str) else json.dumps(v, ensure_ascii=False, default=str)}"
        for k, v in settings.items()
    )
