"""`sciml study`: from somebody's data to a page that says whether to believe a surrogate of them."""

from __future__ import annotations

from typing import Any

import typer

from sciml.errors import InputError


def study(
    path: str = typer.Argument(
        None, metavar="PATH", help="A data set file, or a file or folder of any layout that sciml import knows."
    ),
    out: str = typer.Option(
        None, "--out", metavar="DIR", help="Folder for data, runs and page; default runs/NAME-study."
    ),
    minutes: float = typer.Option(None, "--minutes", metavar="N", help="For all but the import; default 10."),
    operators: str = typer.Option(
        None, "--operators", metavar="A,B", help="What is trained, in place of what the data call for."
    ),
    config: str = typer.Option(None, "--config", metavar="FILE.toml", help="A study.toml, as it is or edited."),
    layout: str = typer.Option(None, "--layout", metavar="NAME", help="Layout of PATH; recognised if left out."),
    plan: str = typer.Option(None, "--plan", metavar="FILE.toml", help="What PATH does not tell about itself."),
    steps: int = typer.Option(None, "--steps", metavar="N", help="Steps of the rollouts compared; default 20."),
    seed: int = typer.Option(None, "--seed", help="Seed of splits, weights and the order of batches; default 0."),
    device: str = typer.Option(None, "--device", metavar="NAME", help="auto, cpu or cuda; default auto."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Do every stage anew."),
    as_json: bool = typer.Option(False, "--json", help="Print stages, table and verdict as JSON."),
) -> None:
    """Find out whether a surrogate of your data is worth its training, and write a page about it.

    Imports, looks, splits, chooses operators that suit the data, trains them within the budget and holds them against
    what needs no training. A stage that is complete with the same settings is skipped, so an interrupted study goes on
    where it stopped.
    """
    from sciml.cli import _arguments, _show

    if path is None and config is None:
        raise InputError("PATH: expected a file or folder to study, or --config FILE.toml")
    _arguments.at_least("--steps", steps, 1)
    if minutes is not None and not minutes > 0:
        raise InputError(f"--minutes: expected a number > 0, got {minutes:g}")
    if seed is not None and seed < 0:
        raise InputError(f"--seed: expected a whole number >= 0, got {seed}")
    if device is not None:
        _arguments.device("--device", device)
    for name, file in (("--config", config), ("--plan", plan)):
        if file is not None:
            _arguments.readable_file(name, file)
    if out is not None:
        _arguments.new_folder("--out", out, may_exist=True)
    from sciml.studies import study as run

    found = run(
        path, out, minutes, config=config, layout=layout, plan=plan, steps=steps, seed=seed, device=device,
        operators=None if operators is None else _arguments.names("--operators", operators), overwrite=overwrite,
        tell=_show.note,
    )  # fmt: skip
    if as_json:
        _show.print_json(_content(found))
    else:
        _print(found)


def _content(found: Any) -> dict[str, Any]:
    return {
        "folder": str(found.folder), "data": None if found.data is None else str(found.data),
        "runs": {n: str(p) for n, p in found.runs.items()}, "table": list(found.table), "verdict": found.verdict,
        "tone": found.tone, "notes": list(found.notes), "stages": dict(found.stages), "page": str(found.page),
        "look": found.look.to_json(),
    }  # fmt: skip


def _print(found: Any) -> None:
    from sciml.cli import _show

    if found.table:
        steady = found.look.steady
        head = ["row", "kind", "error", "time of a case"] if steady else [
            "row", "kind", "error", "at the last step", "time of a step",
        ]  # fmt: skip
        cells = []
        for r in found.table:
            errors = [("–" if r[k] is None else f"{r[k]:.3g}") for k in (("error",) if steady else ("error", "last"))]
            cost = "–" if r["seconds_per_step"] is None else f"{1000 * r['seconds_per_step']:.3g} ms"
            cells.append((r["row"], r["kind"], *errors, cost))
        _show.console().print(_show.table("NMSE on what was held out", head, cells))
    _show.note(found.verdict)
    _show.note(f"open {found.page}")
