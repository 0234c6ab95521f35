"""`sciml train`: a surrogate from a data set file to the folder of a run."""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sciml.errors import InputError

if TYPE_CHECKING:
    from sciml.studies._plan import Plan


def train(
    file: str = typer.Argument(..., metavar="FILE", help="Data set file."),
    operator: str | None = typer.Option(None, "--operator", metavar="NAME", help="Operator: fno, unet, ..."),
    out: str = typer.Option(..., "--out", metavar="RUN", help="Folder of the run."),
    recipe_file: str | None = typer.Option(None, "--recipe", metavar="FILE.toml", help="Recipe to start from."),
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=VALUE", help="A setting, such as optimiser.lr=1e-3; may be repeated."),
    ] = None,
    epochs: float | None = typer.Option(None, "--epochs", metavar="N", help="Train for so many epochs."),
    steps: int | None = typer.Option(None, "--steps", metavar="N", help="Train for so many steps."),
    minutes: float | None = typer.Option(None, "--minutes", metavar="N", help="Train for so many minutes."),
    seed: int | None = typer.Option(None, "--seed", help="Seed of weights and of the order of batches."),
    device: str = typer.Option("auto", "--device", metavar="NAME", help="auto, cpu or cuda."),
    former: str | None = typer.Option(None, "--from", metavar="RUN", help="Start from the weights of a trained run."),
    fresh: bool = typer.Option(False, "--fresh", help="Of --from, keep only how it is set up: new weights."),
    resume: bool = typer.Option(
        False, "--resume", help="Go on with the run in RUN, set as it was, or to a longer length."
    ),
    overwrite: bool = typer.Option(False, "--overwrite", help="Remove what RUN holds, and start anew."),
    show_settings: bool = typer.Option(False, "--settings", help="List every PATH of --set, and stop."),
    as_json: bool = typer.Option(False, "--json", help="Print the outcome as JSON."),
) -> None:
    """Train a surrogate on a data set file."""
    from sciml import registry
    from sciml.cli import _arguments, _plan, _show
    from sciml.studies._stages import remove_run
    from sciml.training.recipe import Recipe, Running

    if resume and overwrite:
        raise InputError("--resume and --overwrite: expected at most one of them")
    if fresh and former is None:
        raise InputError("--fresh: expected --from RUN beside it; without --from, weights are new anyway")
    processes = _processes()
    typed = list(set_ or [])
    typed += _flags(typed, epochs=epochs, steps=steps, minutes=minutes, seed=seed)
    begun = _begun(_arguments.place("--out", out)) if resume else None
    if operator is None and former is None and begun is None:
        raise InputError("train: --operator is missing; see sciml train --help")
    start = None if former is None else _former(former)
    if operator is None:
        operator = str(start.operator_name) if start is not None else begun.operator if begun is not None else ""
    if begun is not None:
        recipe = begun.recipe
    else:
        recipe = registry.solvers.get(registry.operators.get(operator).solver).default_recipe()  # type: ignore
    if recipe_file is not None:
        recipe = Recipe.from_toml(_arguments.readable_file("--recipe", recipe_file))
    if show_settings:
        _list_settings(_plan.everything(registry.operators.get(operator), recipe), as_json)
        return
    data = _arguments.readable_data("FILE", file)
    folder = _arguments.place("--out", out)

    def look() -> None:
        try:
            _arguments.new_folder("--out", out, may_exist=resume or overwrite)
        except InputError as error:
            more = ", or --resume to go on with this run" if (folder / "checkpoints").is_dir() else ""
            raise InputError(f"{error}{more}") from None

    processes.by_first(look)
    cls = registry.operators.get(operator)
    running = Running(out=folder, resume=resume, device=device)
    base = _plan.Plan(operator, {}, recipe)
    if begun is not None and begun.operator == operator:
        base = dataclasses.replace(begun, recipe=recipe)
    plan, running = _plan.read(base, cls, running, typed)
    if device != "auto":
        from sciml.training.devices import device as available

        available(device)
    if resume and not (folder / "checkpoints").is_dir() and not (folder / "config.json").exists():
        raise InputError(f"--resume: {folder} holds no run to go on with")

    def claim() -> bool:
        if overwrite and folder.is_dir():
            remove_run(folder)
        new = not folder.exists()
        _note_command(folder, data, plan)
        return new

    new = processes.by_first(claim) and processes.first
    try:
        surrogate = plan.train(data, running, start, fresh)
    except InputError as error:
        _forget(folder, new)
        from sciml.cli._fits import explained

        split: Any = None if plan.surrogate is None else plan.surrogate
        raise explained(error, operator, data, "train" if split is None else split.split, plan.options) from None
    except OSError as error:
        error.filename = error.filename or str(folder)
        _forget(folder, new)
        raise
    weights = surrogate.settings.get("parameters", 0)
    last: dict[str, Any] = {}
    for record in surrogate.metrics:
        last.update(record)
    content = {"run": str(folder), "operator": operator, "weights": weights, "seed": plan.recipe.seed, "last": last}
    if as_json and processes.first:
        _show.print_json(content)
    elif processes.first:
        validation = last.get("validation")
        tail = f", validation loss {validation:.3g}" if isinstance(validation, float) else ""
        _show.note(f"{folder}: {operator} with {weights:,} weights, {surrogate.training.get('steps', '?')} steps{tail}")


def _processes() -> Any:
    """Those that train together, if `torchrun` has started several."""
    from sciml.training.processes import present

    return present()


def _former(path: str) -> Any:
    """The trained surrogate in a run's folder, to go on from."""
    from sciml.cli import _arguments
    from sciml.solvers import ParticleSurrogate, SensorSurrogate, Surrogate, load

    folder = _arguments.run_folder("--from", path)
    found = load(folder)
    if not isinstance(found, Surrogate | ParticleSurrogate | SensorSurrogate):
        raise InputError(f"--from: {folder} holds a {found.name}, expected a surrogate")
    return found


def _flags(typed: list[str], **flags: float | None) -> list[str]:
    """The flags that stand for settings, as `--set` takes them."""
    given = {name: value for name, value in flags.items() if value is not None}
    lengths = [name for name in ("epochs", "steps", "minutes") if name in given]
    if len(lengths) > 1:
        raise InputError(f"--{' and --'.join(lengths)}: expected at most one of --epochs, --steps and --minutes")
    known = {text.partition("=")[0].strip() for text in typed}
    for name in given:
        path = "length" if name in lengths else name
        if any(k.partition(".")[0] == path for k in known):
            raise InputError(f"--{name}: {path} is given by --set already")
        if not given[name] >= 0 or (name in lengths and not given[name] > 0):
            bound = "> 0" if name in lengths else ">= 0"
            raise InputError(f"--{name}: expected a number {bound}, got {given[name]}")
    return [f"length={n.capitalize()}({given[n]})" if n in lengths else f"{n}={given[n]}" for n in given]


def _note_command(out: Path, file: Path, plan: Plan) -> None:
    """What was typed, on what data, and what it comes to, so that --resume need not be told again."""
    from sciml.reporting._files import write_text
    from sciml.reporting.gather import COMMAND_FILE, command_record

    out.mkdir(parents=True, exist_ok=True)
    former = command_record(out).get("command")
    typed = shlex.join(["sciml", *sys.argv[1:]])
    command = f"{former} && {typed}" if isinstance(former, str) and former != typed else typed
    record = {"command": command, "data": os.path.abspath(file), "plan": plan.to_json()}
    write_text(out / COMMAND_FILE, json.dumps(record, indent=1) + "\n")


def _begun(out: Path) -> Plan | None:
    """The plan of the run in a folder; None where it was not begun on the command line."""
    from sciml.reporting.gather import COMMAND_FILE, command_record
    from sciml.studies._plan import Plan

    content = command_record(out).get("plan")
    try:
        return None if content is None else Plan.from_json(content)
    except (KeyError, TypeError, AttributeError, InputError) as error:
        raise InputError(f"--resume: {out / COMMAND_FILE}: cannot be read as the plan of a run: {error}") from None


def _forget(folder: Path, new: bool) -> None:
    """Remove the folder of a run that came to nothing: there is nothing to go on from."""
    if new and folder.is_dir() and not (folder / "checkpoints" / "last.safetensors").exists():
        shutil.rmtree(folder)


def _list_settings(rows: Iterator[tuple[str, str, str]], as_json: bool) -> None:
    from sciml.cli import _show

    if as_json:
        _show.print_json([{"path": p, "expects": e, "default": d} for p, e, d in rows])
    else:
        _show.console().print(_show.table("", ("path", "expects", "default"), list(rows)))
