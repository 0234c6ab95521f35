"""The table of commands."""

from __future__ import annotations

from typing import Annotated

import typer

from sciml.cli.bench import bench
from sciml.cli.convert import export_, import_
from sciml.cli.data import app as data
from sciml.cli.demo import demo
from sciml.cli.evaluate import evaluate
from sciml.cli.generate import generate
from sciml.cli.info import info
from sciml.cli.report import report
from sciml.cli.study import study
from sciml.cli.train import train

app = typer.Typer(
    name="sciml",
    help="Surrogates and solvers for PDEs: generate data, train, evaluate, report.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(value: bool) -> None:
    if value:
        from importlib.metadata import PackageNotFoundError, version

        try:
            print(f"sciml {version('sciml')}")
        except PackageNotFoundError:
            print("sciml (run from a folder, not installed)")
        raise typer.Exit()


@app.callback()
def root(
    show: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version and stop."),
    own: Annotated[
        list[str] | None,
        typer.Option(
            "--import", metavar="FILE.py", help="File or module with problems or operators of one's own; repeatable."
        ),
    ] = None,
) -> None:
    """Surrogates and solvers for PDEs: generate data, train, evaluate, report."""
    from sciml.registry import plugins, want_entry_points

    want_entry_points()
    if own:
        import os

        several = [os.path.abspath(os.path.expanduser(p)) if p.endswith(".py") else p for p in own]
        os.environ["SCIML_PLUGINS"] = os.pathsep.join(filter(None, [os.environ.get("SCIML_PLUGINS"), *several]))
        plugins()


for _name, _command in (
    ("demo", demo), ("study", study), ("generate", generate), ("import", import_), ("export", export_), ("info", info),
    ("train", train), ("evaluate", evaluate), ("report", report), ("bench", bench),
):  # fmt: skip
    app.command(_name)(_command)
app.add_typer(data, name="data")
