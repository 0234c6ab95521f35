"""`sciml evaluate`: hold trained runs against what needs no training."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer


def evaluate(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Folders of trained runs.")],
    data: str = typer.Option(..., "--data", metavar="FILE", help="Data set file with held-out cases."),
    out: str = typer.Option(None, "--out", metavar="FILE", help="JSON file for all results."),
    split: str = typer.Option("test", "--split", metavar="NAME", help="Which cases to hold out."),
    steps: int = typer.Option(20, "--steps", metavar="N", help="Steps of a rollout."),
    device: str = typer.Option("auto", "--device", metavar="NAME", help="Where runs answer: auto, cpu or cuda."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace FILE if it exists."),
    as_json: bool = typer.Option(False, "--json", help="Print all results as JSON."),
) -> None:
    """Evaluate runs on held-out cases, beside what needs no training and, for data on grids, the reference solver on
    coarser ones."""
    from sciml.cli import _arguments, _show

    _arguments.at_least("--steps", steps, 1)
    source = _arguments.readable_data("--data", data)
    target = None if out is None else _arguments.new_file("--out", out, overwrite)
    folders = _arguments.run_folders("RUN", runs)
    _arguments.device("--device", device)
    from sciml.reporting import compare
    from sciml.reporting.results import results

    study = compare(
        [str(f) for f in folders], data=str(source), split=split, steps=steps, device=device, tell=_show.teller(),
        progress=_show.watched(),
    )  # fmt: skip
    content = results(study)
    if target is not None:
        from sciml.reporting._files import write_text

        write_text(target, json.dumps(_show.plain(content), indent=1, allow_nan=False) + "\n")
    if as_json:
        _show.print_json(content)
    else:
        print_study(study)


def print_study(study: Any) -> None:
    """Print the comparison as tables."""
    from sciml.cli import _show
    from sciml.reporting._style import number
    from sciml.reporting.study import ALL
    from sciml.reporting.verdict import milliseconds, verdict

    def mean(values: Any) -> str:
        return number(float(values.mean())) if values.size else "–"

    columns = [ALL, *study.subsets] if len(study.subsets) > 1 else [ALL]
    head = ["row", *(f"{'prediction' if study.steady else 'one step'}, {c}" for c in columns)]
    if study.steps > 1:
        head += [f"{study.steps} steps, mean", f"step {study.steps}"]
    head.append("time of a case" if study.steady else "time of a step")
    rows = []
    for model, _ in study.models:
        cells = [model, *(mean(study.one_step_of(model, c)) for c in columns)]
        if study.steps > 1:
            whole = study.rollout_of(model)
            cells += [number(study.score(model)), mean(whole[:, -1])]
        rows.append([*cells, milliseconds(study.cost(model))])
    console = _show.console()
    console.print(_show.table("NMSE on held-out cases", head, rows))
    _show.note(verdict(study)[0])
