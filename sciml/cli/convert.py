"""`sciml import` and `sciml export`: between published layouts and our files, and from runs to programs."""

from __future__ import annotations

import typer

from sciml.errors import InputError

PROGRAMS = ("onnx", "pt2")


def import_(
    layout: str = typer.Argument(..., metavar="FORMAT", help="Layout of the source: cfdbench, comsol or deepcfd."),
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
    from sciml.data import importers

    _arguments.choice("FORMAT", layout, importers.FORMATS)
    if seed < 0:
        raise InputError(f"--seed: expected a whole number >= 0, got {seed}")
    folder = _arguments.readable_folder("SOURCE", source)
    target = _arguments.new_file("--out", out, overwrite)
    given = {"problem": problem, "time_step": time_step, "first_time": first_time}
    if layout != "cfdbench":
        for name, value in given.items():
            if value is not None:
                raise InputError(f"--{name.replace('_', '-')}: {layout} takes none, got {value!r}")
        given = {}
    importers.get(layout).import_tree(folder, target, seed=seed, **given)
    made = summary(target)
    if as_json:
        _show.print_json(made)
    else:
        _show.note(f"{target}: {made['cases']} cases, {made['frames']} frames, {_show.size(made['bytes'])}")


def export_(
    layout: str = typer.Argument(
        ..., metavar="FORMAT", help="cfdbench or vtu (for ParaView) from a data set; onnx or pt2 from a run."
    ),
    file: str = typer.Argument(..., metavar="FILE_OR_RUN", help="Data set file, or folder of a trained run, to read."),
    folder: str = typer.Argument(..., metavar="DIR_OR_FILE", help="Folder, or file of the trained operator, to write."),
    subset: str = typer.Option(None, "--subset", metavar="NAMES", help="Only these subsets, separated by commas."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace the file of the operator if it exists."),
    as_json: bool = typer.Option(False, "--json", help="Print what was exported as JSON."),
) -> None:
    """Write a data set in a published layout, or a trained operator as one file: `sciml export onnx RUN FILE.onnx`."""
    from sciml.cli import _arguments, _show
    from sciml.cli.generate import summary
    from sciml.data import exporters

    _arguments.choice("FORMAT", layout, (*exporters.FORMATS, *PROGRAMS))
    if layout in PROGRAMS:
        run = _arguments.run_folder("FILE_OR_RUN", file)
        target = _arguments.new_file("DIR_OR_FILE", folder, overwrite)
        if target.suffix != f".{layout}":
            raise InputError(f"DIR_OR_FILE: expected a file that ends in .{layout}, got {target.name!r}")
        if subset is not None:
            raise InputError("--subset: chooses cases of a data set, which a run has none of")
        from sciml.solvers import Surrogate

        made = Surrogate.load(run, device="cpu").export(target)
        if as_json:
            _show.print_json(made | {"path": str(target)})
            return
        _show.note(f"{target}: {made['operator']}, {_show.size(target.stat().st_size)}")
        for name, port in made["inputs"].items():
            _show.note(f"  {name}: " + ", ".join(map(_axis, port["axes"], port["sizes"])))
        return
    source = _arguments.readable_file("FILE_OR_RUN", file)
    target = _arguments.new_folder("DIR_OR_FILE", folder, may_exist=True)
    names = None if subset is None else _arguments.names("--subset", subset)
    exporters.get(layout).export_tree(source, target, subset=names)
    made = summary(source, names) | {"path": str(target)}
    if as_json:
        _show.print_json(made)
    else:
        _show.note(f"{target}: {made['cases']} cases, {made['frames']} frames")


def _axis(name: str, size: int | list[int | None]) -> str:
    if isinstance(size, int):
        return f"{name} {size}"
    least, most = size
    return f"{name} {least} or more" if most is None else f"{name} {least} to {most}"
