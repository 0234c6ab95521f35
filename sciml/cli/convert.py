"""`sciml import` and `sciml export`: between published layouts and our files, and from runs to programs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import typer

from sciml.errors import InputError

PROGRAMS = ("onnx", "pt2")


def import_(
    words: list[str] = typer.Argument(  # noqa: B008
        ..., metavar="[FORMAT] SOURCE", help="File or folder to read, and how (cfdbench, arrays, table, ...) if told."
    ),
    out: str = typer.Option(None, "--out", metavar="FILE", help="Data set file to write."),
    mapping: str = typer.Option(None, "--map", metavar="FILE.toml", help="What the source does not tell itself."),
    explain: bool = typer.Option(
        False, "--explain", help="Write nothing; print what SOURCE is, and a draft for --map, as TOML."
    ),
    problem: str = typer.Option(
        None, "--problem", metavar="NAME", help="What the problem is called, or which one of the source is read."
    ),
    time_step: float = typer.Option(None, "--time-step", metavar="SECONDS", help="Time between frames, if not told."),
    first_time: float = typer.Option(None, "--first-time", metavar="SECONDS", help="Time of the first frame."),
    seed: int = typer.Option(0, "--seed", help="Seed of the split into training, validation and test cases."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace FILE if it exists."),
    as_json: bool = typer.Option(False, "--json", help="Print what was imported as JSON."),
) -> None:
    """Read files of any known layout into one data set file: sciml import SOURCE --out FILE.

    Where SOURCE does not tell enough, `sciml import --explain SOURCE > map.toml` drafts what is to be told with --map.
    """
    from sciml.cli import _arguments, _show
    from sciml.cli.generate import summary
    from sciml.data import importers

    layout, name = _words(words)
    if layout is not None:
        _arguments.choice("FORMAT", layout, importers.FORMATS)
    if seed < 0:
        raise InputError(f"--seed: expected a whole number >= 0, got {seed}")
    source = _arguments.readable("SOURCE", name)
    if explain:
        if out is not None:
            raise InputError("--explain: writes nothing, so it takes no --out; its TOML goes to standard output")
        found, toml = importers.draft(source, layout)
        if as_json:
            _show.print_json(asdict(found) | {"toml": toml})
        else:
            print(_remarks(found) + toml, end="")
        return
    if out is None:
        raise InputError("--out is missing: the data set file to write; or --explain, to print what SOURCE is")
    target = _arguments.new_file("--out", out, overwrite)
    plan = _plan(mapping, problem, time_step, first_time)
    with _Reading() as tell:
        imported = importers.import_data(
            source, target, layout=layout, plan=plan, seed=seed, overwrite=overwrite, tell=tell
        )
    made = summary(target)
    if as_json:
        _show.print_json(made | {"layout": imported.layout, "title": imported.title, "notes": list(imported.notes)})
        return
    _show.note(
        f"{target}: {made['cases']} cases, {made['frames']} frames, {_show.size(made['bytes'])}, from {imported.title}"
    )
    for text in imported.notes:
        _show.note(f"  {text}")


def _words(words: list[str]) -> tuple[str | None, str]:
    """FORMAT, None where it is to be found out, and SOURCE."""
    from sciml.cli import _arguments
    from sciml.data import importers

    if len(words) > 2:
        raise InputError(f"SOURCE: expected one file or folder, got {len(words)} words: {' '.join(words)!r:.80}")
    if len(words) == 2:
        return words[0], words[1]
    if words[0] in importers.FORMATS and not _arguments.place("SOURCE", words[0]).exists():
        raise InputError(f"SOURCE is missing: expected a file or folder to read behind {words[0]}")
    return None, words[0]


def _plan(mapping: str | None, problem: str | None, time_step: float | None, first_time: float | None) -> Any:
    """What is told in a file, and beside it on the command line."""
    from sciml.cli import _arguments
    from sciml.data.importers import Plan

    plan = Plan() if mapping is None else Plan.read(_arguments.readable_file("--map", mapping))
    if problem is not None:
        plan = replace(plan, problem=problem)
    for option, key, value in (("--time-step", "step", time_step), ("--first-time", "first", first_time)):
        if value is not None:
            if not math.isfinite(value) or (key == "step" and value <= 0):
                raise InputError(f"{option}: expected a number of seconds{' > 0' * (key == 'step')}, got {value}")
            plan = replace(plan, time=replace(plan.time, **{key: value}))
    return plan


def _remarks(found: Any) -> str:
    """What was recognised, as comments of TOML."""
    lines = [f"{found.title} (layout {found.layout})"]
    lines += [f"{name}: {_show_fact(value)}" for name, value in found.facts.items()]
    if found.needs:
        lines.append(f"to be told: {found.needs}")
    return "".join("# " + line.replace("\n", " ") + "\n" for line in lines)


def _show_fact(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k} {v}" for k, v in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


class _Reading:
    """A bar over the cases that are read, once it is known how many there are."""

    def __init__(self) -> None:
        self.bar: Any = None

    def __enter__(self) -> Callable[[int, int], None]:
        return self._tell

    def _tell(self, done: int, of: int) -> None:
        from sciml.progress import Bar

        if self.bar is None:
            self.bar = Bar("reading", of, True)
            self.step = self.bar.__enter__()
        self.step()

    def __exit__(self, *error: Any) -> None:
        if self.bar is not None:
            self.bar.__exit__(*error)


def export_(
    layout: str = typer.Argument(
        ...,
        metavar="FORMAT",
        help="cfdbench, lagrangebench, vtu or vtr (ParaView) from a data set; onnx or pt2 from a run.",
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
