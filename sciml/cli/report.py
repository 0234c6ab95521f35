"""`sciml report`: one self-contained HTML page about trained runs."""

from __future__ import annotations

from typing import Annotated

import typer


def report(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Folders of trained runs.")],
    out: str = typer.Option("report.html", "--out", metavar="FILE", help="Page to write."),
    data: str = typer.Option(None, "--data", metavar="FILE", help="Data set file; the runs' own if left out."),
    split: str = typer.Option("test", "--split", metavar="NAME", help="Which cases to hold out."),
    steps: int = typer.Option(20, "--steps", metavar="N", help="Steps of a rollout."),
    device: str = typer.Option("auto", "--device", metavar="NAME", help="Where runs answer: auto, cpu or cuda."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace FILE if it exists."),
    as_json: bool = typer.Option(False, "--json", help="Print where the page is and its verdict as JSON."),
) -> None:
    """Write a page about trained runs: the comparison, fields, errors, speed, audit, and how to make it again."""
    from sciml.cli import _arguments, _show

    _arguments.at_least("--steps", steps, 1)
    target = _arguments.new_file("--out", out, overwrite)
    folders = _arguments.run_folders("RUN", runs)
    from sciml.reporting import compare, write_page
    from sciml.reporting.gather import own_data
    from sciml.reporting.verdict import verdict

    source = str(_arguments.readable_data("--data", data or own_data(folders[0], "--data")))
    _arguments.device("--device", device)
    say = _show.teller()
    study = compare(
        [str(f) for f in folders], data=source, split=split, steps=steps, details=True, device=device, tell=say,
        progress=_show.watched(),
    )  # fmt: skip
    if say is not None:
        say("drawing the page")
    write_page(study, target)
    sentence, tone = verdict(study)
    if as_json:
        _show.print_json({"page": str(target), "bytes": target.stat().st_size, "verdict": sentence, "tone": tone})
    else:
        _show.note(f"{target}: {_show.size(target.stat().st_size)}. {sentence}")
