"""The comparison, the growth of errors, and errors over parameter space."""

from __future__ import annotations

import numpy as np

from sciml.reporting import curves
from sciml.reporting._style import Look, looks, number
from sciml.reporting.blocks import Cell, Figures, Note, Table
from sciml.reporting.study import ALL, Study
from sciml.reporting.verdict import best_unlearned, gain, times

NMSE = "NMSE = Σ(prediction − truth)² / Σ truth²"


def styles(study: Study) -> dict[str, Look]:
    """Return every model's look, the same in all figures."""
    return looks([m for m, _ in study.models], [k for _, k in study.models])


def spread(values: np.ndarray) -> tuple[str, str]:
    """Return (mean, or mean ± standard deviation over seeds; a note with every seed's value)."""
    if values.size == 0:
        return "–", ""
    if values.size == 1:
        return number(float(values[0])), ""
    share = 100 * values.std(ddof=1) / values.mean() if values.mean() else 0.0
    return f"{number(float(values.mean()))} ± {share:.0f} %", "seeds: " + ", ".join(number(float(v)) for v in values)


def comparison(study: Study) -> list[object]:
    columns = [ALL, *study.subsets] if len(study.subsets) > 1 else [ALL]
    what = "prediction" if study.steady else "one step"
    several = any(len(study.members(m)) > 1 for m in study.surrogates)
    reference = any(kind == "reference" for _, kind in study.models)
    text = [f"{NMSE}, in the problem's scales of each case and over the held-out cases (split “{study.split}”)."]
    if study.steady:
        text.append(
            "Mean field is the mean of the training cases; interpolation is a smooth interpolant of them over their "
            "parameters, input fields and beginnings, the bar that a surrogate must beat to be worth its training."
        )
    else:
        text.append(
            "Persistence repeats the last state; mean field is the mean of the training cases at the same step; "
            "interpolation is a smooth interpolant of the training cases over what tells them apart (parameters, input "
            "fields, how they begin), the bar that a surrogate must beat to be worth its training."
        )
    if reference:
        text.append("The reference solver runs on coarser grids than the truth's.")
    elif study.equations and study.on_nodes:
        text.append(
            "There is no row of a reference solver: one is run for data on grids alone, and these live on nodes."
        )
    if several:
        text.append("Hover over a figure with ± for the value of every seed.")
    blocks: list[object] = [Note(" ".join(text))]
    if study.steps:
        head = ["row", "runs", f"{what}, all", *(c for c in columns[1:])]
        persistence = study.still
        if persistence:
            head.insert(3, "gain over persistence")
        rows = []
        best = _best({m: [study.one_step_of(m, c) for c in columns] for m, _ in study.models})
        for model, kind in study.models:
            cells = [Cell(model), Cell(str(len(study.members(model))) if kind == "surrogate" else "–")]
            for index, column in enumerate(columns):
                text, note = spread(study.one_step_of(model, column))
                cells.append(Cell(text, best[index] == model, note))
            if persistence:
                ratio = gain(study, model, persistence)
                cells.insert(3, Cell("1×" if model == persistence else times(ratio)))
            rows.append((kind, cells))
        blocks.append(Table(head, rows, f"NMSE of {what}. Lower is better; the best of each column is marked."))
    if study.steps > 1:
        marks = sorted({1, min(5, study.steps), min(10, study.steps), study.steps})
        head = ["row", "all, mean", *(f"all, step {m}" for m in marks), *(f"{c}, mean" for c in columns[1:])]
        rows = []
        values = {}
        for model, _ in study.models:
            whole = study.rollout_of(model)
            parts = [study.rollout_of(model, c) for c in columns[1:]]
            values[model] = [_mean(whole), *(whole[:, m - 1] for m in marks), *(_mean(p) for p in parts)]
        best = _best(values)
        for model, kind in study.models:
            cells = [Cell(model)]
            for index, found in enumerate(values[model]):
                text, note = spread(found[np.isfinite(found)])
                cells.append(Cell(text, best[index] == model, note))
            rows.append((kind, cells))
        starts = f" {study.starts}" if study.starts else ""
        caption = (
            f"NMSE of rollouts of {study.steps} steps.{starts} Lower is better; the best of each column is marked."
        )
        blocks.append(Table(head, rows, caption))
    if any(study.more.values()):
        blocks.append(_more(study))
    if study.steps:
        look = styles(study)
        items = [
            curves.dots([(m, study.one_step_of(m, c)) for m, _ in study.models], look,
                        f"{what.capitalize()}, {c if c != ALL else 'all subsets'}", "NMSE")
            for c in columns
        ]  # fmt: skip
        blocks.append(Figures(items, "Every seed is a dot, the number is their mean; best row on top."))
    return blocks


def _more(study: Study) -> Table:
    names = list(dict.fromkeys(name for found in study.more.values() for name in found))
    rows = [
        (kind, [Cell(model), *(Cell(study.more[model].get(name, "–")) for name in names)])
        for model, kind in study.models
        if model in study.more
    ]
    words = ["Further figures, over all subsets."]
    if any(text.endswith(" T") for found in study.more.values() for text in found.values()):
        words.append("T is the problem's time scale, which for flows is length over velocity.")
    if any("divergence" in name for name in names):
        words.append(
            "Divergence is that of the velocities at cell centres by central differences, which is not zero for the "
            "truth either: the solver's face velocities are what is free of it."
        )
    return Table(["row", *names], rows, " ".join(words))


def _mean(values: np.ndarray) -> np.ndarray:
    return values.mean(axis=1) if values.size else np.full(values.shape[0], np.nan)


def _best(values: dict[str, list[np.ndarray]]) -> list[str | None]:
    """Return for each column the model with the least mean."""
    columns = max((len(v) for v in values.values()), default=0)
    found: list[str | None] = []
    for column in range(columns):
        means = {m: float(np.mean(v[column])) for m, v in values.items() if v[column].size}
        means = {m: value for m, value in means.items() if np.isfinite(value)}
        found.append(min(means, key=lambda m: means[m]) if means else None)
    return found


def growth(study: Study) -> list[object]:
    if study.steady:
        return []
    if study.steps < 2:
        return [Note("No rollouts of more than one step were evaluated.", quiet=True)]
    look = styles(study)
    items = []
    steps = np.arange(1, study.steps + 1)
    for subset in [ALL, *study.subsets] if len(study.subsets) > 1 else [ALL]:
        lines = []
        for model, _ in study.models:
            values = study.rollout_of(model, subset)
            if not np.isfinite(values).any():
                continue
            band = (values.min(axis=0), values.max(axis=0)) if values.shape[0] > 1 else (None, None)
            lines.append(curves.Line(model, steps, values.mean(axis=0), *band))
        if lines:
            items.append(curves.error_growth(lines, look, "all subsets" if subset == ALL else f"subset {subset}"))
    seeds = max((len(study.members(m)) for m in study.surrogates), default=1)
    band = " Bands run from the least to the greatest seed." if seeds > 1 else ""
    return [
        Figures(items, f"Mean NMSE of the rollouts at every step; rows without training are grey and dashed.{band}")
    ]


def parameters(study: Study) -> list[object]:
    if not study.rollout_features or study.best is None or study.steps == 0:
        return []
    look_at = study.best
    mine = study.each_rollout(look_at)
    rival = best_unlearned(study)
    other = None
    if rival is not None:
        other = study.each_rollout(rival)
    items = []
    scale = "NMSE" if study.steps == 1 else f"NMSE over {study.steps} steps"
    for name, values in study.rollout_features.items():
        values = np.asarray(values, float)
        if np.unique(values[np.isfinite(values)]).size < 3:
            continue
        items.append(
            curves.parameter_scatter(
                values, mine, list(study.rollout_subset), name, scale, f"Error over {_first(name)}", other
            )
        )
    if not items:
        return [Note("The held-out cases do not differ enough in any parameter to draw errors over it.", quiet=True)]
    return [Figures(items, f"One point a rollout of {look_at}; colour and shape are the subset"
                    + (f", grey dots are {rival} on the same rollouts." if rival else "."))]  # fmt: skip


def _first(name: str) -> str:
    return name.split(" (")[0].split(",")[0]
