"""`sciml import` and `sciml export`: between published layouts and our files."""

from __future__ import annotations

import typer

from sciml.errors import InputError

FORMATS = ("cfdbench",)


def import_(
    layout: str = typer.Argument(..., metavar="FORMAT", help="Layout of the source: cfdbench."),
    source: str = typer.Argument(..., metavar="SOURCE", help="Folder to read."),
    out: str = typer.Option(..., "--out", metavar="FILE", help="Data set file to write."),
    problem: str = typer.Option(None, "--problem", metavar="NAME", help="Only this problem of the source."),
    time_step: float = typer.Option(
        None, "--time-step", metavar="SECONDS", help="Time between frames, if unpublished."
    ),
    first_time: float = typer.Option(None, "--first-time", metavar="SECONDS", help="Time of the first frame."),
    seed: int = typer.Option(0, "--seed", help="Seed of the split into training, validation and test cases."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace FILE if it exists."),
    as_json: bool = typer.Option(False, "--json", help="Print what was imported as JSON."),
) -> None:
    """Read a published layout into one data set file."""
    from sciml.cli import _arguments, _show
    from sciml.cli.generate import summary

    _arguments.choice("FORMAT", layout, FORMATS)
    if seed < 0:
        raise InputError(f"--seed: expected a whole number >= 0, got {seed}")
    folder = _arguments.readable_folder("SOURCE", source)
    target = _arguments.new_file("--out", out, overwrite)
    from sciml.data.importers import cfdbench

    cfdbench.import_tree(folder, target, problem=problem, time_step=time_step, first_time=first_time, seed=seed)
    made = summary(target)
    if as_json:
        _show.print_json(made)
    else:
        _show.note(f"{target}: {made['cases']} cases, {made['frames']} frames, {_show.size(made['bytes'])}")


def export_(
    layout: str = typer.Argument(..., metavar="FORMAT", help="Layout to write: cfdbench."),
    file: str = typer.Argument(..., metavar="FILE", help="Data set file to read."),
    folder: str = typer.Argument(..., metavar="DIR", help="Folder to write."),
    subset: str = typer.Option(None, "--subset", metavar="NAMES", help="Only these subsets, separated by commas."),
    as_json: bool = typer.Option(False, "--json", help="Print what was exported as JSON."),
) -> None:
    """Write a data set file in a published layout."""
    from sciml.cli import _arguments, _show
    from sciml.cli.generate import summary

    _arguments.choice("FORMAT", layout, FORMATS)
    source = _arguments.readable_file("FILE", file)
    target = _arguments.new_folder("DIR", folder, may_exist=True)
    from sciml.data.exporters import cfdbench

    names = None if subset is None else _arguments.names("--subset", subset)
    cfdbench.export_tree(source, target, subset=names)
    made = summary(source, names) | {"path": str(target)}
    if as_json:
        _show.print_json(made)
    else:
        _show.note(f"{target}: {made['cases']} cases, {made['frames']} frames")
