"""From trained runs and a data set to a `Study`: every row on the same rollouts."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sciml.errors import InputError
from sciml.reporting import gather
from sciml.reporting.names import model_names, unit_text
from sciml.reporting.study import Row, Study

Tell = Callable[[str], None]


def compare(
    runs: Any,
    data: Any = None,
    *,
    split: str = "test",
    steps: int = 20,
    reference: bool = True,
    details: bool = False,
    tell: Tell | None = None,
    progress: bool = False,
    device: str = "auto",
    statistics: Any = None,
) -> Study:
    """Hold trained runs against persistence (in time), mean field, interpolation and the reference solver on coarser
    grids.

    Args:
        runs: a folder or a trained `Surrogate`, or several. Those that differ in their seed alone make one row.
        data: path of a data set, or an open one; default the one that the first run was trained on.
        split, steps: which cases are held out, and the length of rollouts.
        reference: whether to run the reference solver where it supports the problem, here and (`details`) against a
            published table.
        details: whether to add sample fields, audits and the published benchmark, for a page.
        tell: called with one line before each longer part.
        progress: whether to show how far the evaluation is.
        device: where runs that are loaded from folders answer.
        statistics: what to gather from the frames of every row and of the truth: objects of
            `sciml.evaluation.Statistic`, or an `Evaluation` that has gathered them already. None for those that a flow
            in space has (`statistics_for`) on a page, else for none.

    Raises:
        InputError: runs or data that cannot be used.
    """
    from sciml.data import case as case_of
    from sciml.data import support
    from sciml.evaluation import Evaluation, statistics_for
    from sciml.solvers.references import references
    from sciml.support import Grid
    from sciml.training.samples import at_hand, open_data, table

    say = tell or (lambda text: None)
    say("loading runs and data")
    surrogates, paths = _load(runs, device)
    source = data if data is not None else gather.own_data(paths[0])
    dataset, path = open_data(source)
    dataset = at_hand(dataset)
    example = case_of(dataset, 0)[0]
    surrogates = [s.for_problem(example.problem) for s in surrogates]
    names = model_names(surrogates, paths)
    groups: dict[str, list[Any]] = {}
    for name, surrogate in zip(names, surrogates, strict=True):
        groups.setdefault(name, []).append(surrogate)
    problem = surrogates[0].problem or example.problem
    own = str(dataset.attrs.get("problem"))
    if problem.name != own:
        raise InputError(f"data: holds {own!r}, but the run was trained on {problem.name!r}")
    live = support(dataset, 0)
    held = table(dataset, split, surrogates[0].predicted)
    solvers = references(problem, live, [] if live.inside is None else held.cases) if reference else {}
    gathered = statistics.summary["statistics"] if isinstance(statistics, Evaluation) else {}
    if statistics is None:
        statistics = statistics_for(held.cases, held.fields) if details else ()
    asked = () if isinstance(statistics, Evaluation) else statistics
    parts = _compared(groups, solvers, dataset, split, steps, say, progress, asked)
    parts["statistics"] = gathered or parts["statistics"]
    every = parts.pop("every")
    predicted = surrogates[0].predicted
    fields = {f.name: f.unit for f in problem.fields if predicted is None or f.name in predicted}
    runs_ = [gather.run_of(s, n, p) for s, n, p in zip(surrogates, names, paths, strict=True)]
    name = path.name if path is not None else "a data set in memory"
    length = [("rollout steps", str(parts["square"].shape[-1]))]
    study = Study(
        title=f"{problem.title}: {_listed(list(groups))} against what needs no training",
        data_name=name, fields=fields, facts=gather.data_facts(dataset, name, split), runs=runs_,
        versions=gather.versions(), split=split, steady=problem.steady, time_unit=unit_text(problem.time_unit),
        length_unit=unit_text(problem.length_unit), velocity=problem.velocity, phase=problem.phase,
        equations=bool(problem.balances()), on_nodes=not isinstance(live, Grid),
        settings=[("held-out split", split), *([] if problem.steady else length)],
        command=_command(paths, path), threads=_threads(), **parts,
    )  # fmt: skip
    return _detailed(study, groups, dataset, problem, steps, every, reference, say) if details else study


def _load(runs: Any, device: str) -> tuple[list[Any], list[str]]:
    from sciml.solver import TrainableSolver
    from sciml.solvers.surrogate import load

    several = list(runs) if isinstance(runs, list | tuple) else [runs]
    if not several:
        raise InputError("runs: expected at least one trained run, got none")
    loaded, paths = [], []
    for run in several:
        paths.append(str(run) if isinstance(run, str | Path) else "")
        loaded.append(load(run, device=device) if isinstance(run, str | Path) else run)
        if not isinstance(loaded[-1], TrainableSolver) or not loaded[-1].fitted:
            trainable = isinstance(loaded[-1], TrainableSolver)
            what = f"an untrained {loaded[-1].name}" if trainable else type(run).__name__
            raise InputError(f"runs: expected folders of runs or trained surrogates, got {what}")
    first = loaded[0].problem
    for surrogate in loaded[1:]:
        other = surrogate.problem
        if first is not None and other is not None and not first.same(other):
            raise InputError(f"runs: expected runs on one problem, got {first.name} and {other.name}")
    return loaded, paths


def _compared(
    groups: Mapping[str, list[Any]], solvers: Mapping[str, Any], dataset: Any, split: str, steps: int, say: Tell,
    progress: bool, statistics: Any,
) -> dict[str, Any]:  # fmt: skip
    from sciml.evaluation import evaluate
    from sciml.solvers.baselines import Persistence
    from sciml.training.samples import table

    say("evaluating all rows on held-out cases")
    solved = {**{name: [solver] for name, solver in solvers.items()}, **groups}
    with contextlib.redirect_stdout(sys.stderr) if progress else contextlib.nullcontext():  # answers alone go to stdout
        found = evaluate(solved, dataset, split=split, steps=steps, examples=0, progress=progress, every_frame=False,
                         statistics=statistics)  # fmt: skip
    errors = found.errors
    any_surrogate = next(iter(groups.values()))[0]
    held = table(dataset, split, any_surrogate.predicted)
    rows, square, more = [], [], {}
    clock = "T" if held.problem.scaled else unit_text(held.problem.time_unit)
    for index, summary in enumerate(found.summary["rows"]):
        model = str(summary["name"])
        kind = "surrogate" if model in groups else "reference" if model in solvers else "baseline"
        cost = float(summary["seconds_per_step"]["alone"])
        for run in range(int(summary["runs"])):
            surrogate = groups[model][run] if kind == "surrogate" else None
            rows.append(_row(model, kind, surrogate, cost, int(summary["runs"])))
            square.append(errors["error_square"].values[index, run].sum(axis=-1))
        last = ", last step" if found.summary["starts"] else ""
        more[model] = _more(summary, found.summary["divergence_of_truth"], last, clock)
    position = {int(n): i for i, n in enumerate(held.number)}
    cases = [held.cases[position[int(n)]] for n in errors["case"].values]
    numbers = [c.problem.shown(c) for c in cases]
    subsets = [str(s) for s in errors["subset"].values]
    shares = ", ".join(str(s) for s in found.summary["starts"])
    starts = f"They start at these shares of each held-out case: {shares}; {len(held.cases)} cases."
    return {
        "rows": rows, "subsets": gather.subsets_in_order(dataset, subsets), "square": np.stack(square),
        "label": errors["label_square"].values.sum(axis=-1), "rollout_subset": subsets,
        "rollout_features": {k: np.array([n[k] for n in numbers]) for k in numbers[0]} if numbers else {},
        "rollout_case": [int(n) for n in errors["case"].values], "more": more,
        "still": next((r.model for r in rows if r.kind == "baseline" and r.model == Persistence.name), None),
        "every": int(found.summary.get("every") or 1), "statistics": found.summary["statistics"],
        "starts": starts if shares else f"{len(held.cases)} held-out cases.",
    }  # fmt: skip


def _row(model: str, kind: str, surrogate: Any, cost: float, runs: int) -> Row:
    if surrogate is None:
        return Row(model, model, kind, seconds_per_step=cost)
    seed = gather.seed_of(surrogate)
    name = model if runs == 1 or seed is None else f"{model}, seed {seed}"
    seconds = float(surrogate.training.get("seconds", np.nan))
    return Row(name, model, kind, seed, cost, seconds, surrogate.weights)


def _more(summary: Mapping[str, Any], of_truth: Mapping[str, Any], last: str, clock: str) -> dict[str, str]:
    from sciml.reporting._style import number

    found = {}
    lost = summary["correlation_time"]["all"]
    if lost["never"] == lost["never"]:
        never = 100 * lost["never"]
        middle = "never lost" if np.isinf(lost["median"]) else f"{lost['median']:.2g} {clock}".strip()
        found["correlation stays above 0.9 for (median)"] = middle
        found["rollouts that keep it"] = f"{never:.0f} %"
    spectrum = [v for v in summary["spectrum_error"]["all"]["mean"] if v is not None]
    if spectrum and np.isfinite(spectrum[-1]):
        found[f"spectrum error{last}"] = number(float(spectrum[-1]))
    divergence = [v for v in summary["divergence"]["all"]["mean"] if v is not None]
    if divergence and np.isfinite(divergence[-1]):
        true = [v for v in of_truth["mean"] if v is not None]
        name = f"divergence{last} (truth: {number(float(true[-1]))})" if true else f"divergence{last}"
        found[name] = number(float(divergence[-1]))
    return found


def _detailed(
    study: Study, groups: Mapping[str, list[Any]], dataset: Any, problem: Any, steps: int, every: int, reference: bool,
    say: Tell,
) -> Study:  # fmt: skip
    import dataclasses

    bars = {}
    for model, seeds in groups.items():
        if seeds[0].gives_intervals:
            say(f"error bars of {model}")
            bars[model] = gather.bars_of(seeds[0], dataset, study.split)
    say("sample cases and their audits")
    best = study.best or next(iter(groups))
    level = study.each_rollout(best)
    chosen = gather.representative(study.rollout_case, study.rollout_subset, list(level))
    order = {name: i for i, name in enumerate(study.subsets)}
    chosen.sort(key=lambda i: order.get(study.rollout_subset[i], 0))
    first = {model: seeds[0] for model, seeds in groups.items()}
    samples = [
        gather.sample_of(dataset, study.rollout_case[i], study.rollout_subset[i], first, steps, every) for i in chosen
    ]
    published = problem.published() if reference else ()
    benchmarks = []
    if published:
        from sciml.reporting.published import benchmarks as beside

        say(f"the reference solver against {published[0].source}")
        benchmarks = beside(problem)
    shown = [s for s in samples if s is not None]
    return dataclasses.replace(study, samples=shown, benchmarks=benchmarks, bars=bars)


def _threads() -> int:
    import torch

    return int(torch.get_num_threads())


def _command(paths: Sequence[str], data: Path | None) -> str:
    import shlex

    if not all(paths):
        return ""
    words = ["sciml", "report", *paths]
    return shlex.join([*words, "--data", str(data)] if data is not None else words)


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]
