"""`sciml demo`: from nothing to a page, in stages that are skipped where they are done."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from sciml.errors import InputError

RECORD = "demo.json"


def demo(
    out: str = typer.Option("runs/demo", "--out", metavar="DIR", help="Folder for data, runs and page."),
    seed: int = typer.Option(0, "--seed", help="Seed of weights and of the order of batches; the data stay the same."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Do every stage anew."),
    as_json: bool = typer.Option(False, "--json", help="Print stages, times and the comparison as JSON."),
) -> None:
    """Make cavity flows, train two operators on them, hold them against what needs no training, write a page.

    Takes about six minutes on two cores. A stage that is complete with the same settings is skipped, so an interrupted
    demo goes on where it stopped.
    """
    from sciml.cli import _arguments, _show

    if seed < 0:
        raise InputError(f"--seed: expected a whole number >= 0, got {seed}")
    folder = _arguments.new_folder("--out", out, may_exist=True)
    record = run_demo(folder, seeded(seed), overwrite=overwrite)
    if as_json:
        _show.print_json(record)
        return
    rows = [(name, "done before" if s["skipped"] else f"{s['seconds']:.1f} s") for name, s in record["stages"].items()]
    rows.append(("all (models train at the same time)", f"{record['seconds']:.1f} s"))
    _show.console().print(_show.table("", ("stage", "time"), rows))
    _show.note(record["results"]["verdict"])
    _show.note(f"open {folder / 'report.html'}")


def seeded(seed: int) -> dict[str, Any]:
    """The recipe of the demo with another seed of its models."""
    import dataclasses

    from sciml.cli._demo_recipe import RECIPE

    models = {n: dataclasses.replace(m, recipe=m.recipe.replace(seed=seed)) for n, m in RECIPE["models"].items()}
    return RECIPE | {"models": models}


def run_demo(folder: Path, recipe: Mapping[str, Any] | None = None, overwrite: bool = False) -> dict[str, Any]:
    """Do all stages in `folder`; return their times and the comparison.

    Args:
        recipe: as `sciml.cli._demo_recipe.RECIPE`, which is the default.
        overwrite: whether to do what is done already.
    """
    from sciml.cli import _show
    from sciml.cli._demo_recipe import RECIPE
    from sciml.studies._side_by_side import Run, train
    from sciml.studies._stages import Stages, remove_run

    plan = dict(recipe or RECIPE)
    began = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    stages = Stages(folder / RECORD, overwrite, _show.note)
    data = folder / "cavity.h5"
    key: dict[str, Any] = {"data": plan["data"]}
    stages.run("data", key, [data], lambda: _generate(data, plan["data"]))
    runs = {name: folder / name for name in plan["models"]}
    todo: dict[str, Run] = {}
    for name, model in plan["models"].items():
        run = runs[name]
        needs = {"data": plan["data"], "model": model.to_json()}
        if stages.begin(f"train {name}", needs, [run / "config.json", run / "weights.safetensors"]):
            if stages.fresh and run.is_dir():
                remove_run(run)
            todo[name] = Run(model, data, run)
    seconds = train(todo)
    for name in todo:
        stages.end(f"train {name}", seconds[name])
    page, results = folder / "report.html", folder / "results.json"
    stages.run(
        "evaluate and report",
        plan | {"models": {name: model.to_json() for name, model in plan["models"].items()}},
        [page, results],
        lambda: _report(list(runs.values()), data, page, results, plan["evaluation"]),
    )
    content = json.loads(results.read_text(encoding="utf-8"))
    return {"folder": str(folder), "seconds": time.monotonic() - began, "stages": stages.times, "results": content}


def _generate(out: Path, settings: Mapping[str, Any]) -> None:
    from sciml.solvers.generation import generate

    made = generate("lid_driven_cavity", out, overwrite=True, **settings)
    if made.failed:
        label, why = next(iter(made.failed.items()))
        raise InputError(f"demo: case {label} failed: {why}")


def _report(runs: list[Path], data: Path, page: Path, results: Path, settings: Mapping[str, Any]) -> None:
    import dataclasses

    from sciml.cli import _show
    from sciml.reporting import compare, write_page
    from sciml.reporting._files import write_text
    from sciml.reporting.results import results as as_values

    study = compare([str(r) for r in runs], str(data), details=True, tell=_show.note, **settings)
    study = dataclasses.replace(study, command=f"sciml demo --out {page.parent}")
    write_page(study, page)
    write_text(results, json.dumps(_show.plain(as_values(study)), indent=1, allow_nan=False) + "\n")
