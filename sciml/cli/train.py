"""`sciml train`: a surrogate, or another solver that learns, from data set files to the folder of a run."""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sciml.errors import InputError

if TYPE_CHECKING:
    from sciml.studies._plan import Plan, SolverPlan

NO_CHECKPOINTS = "keeps no checkpoints, expected --overwrite to begin anew"


def train(
    files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILE",
            help="Data set file; several, one a problem, for an operator that learns many problems, such as prosefd. "
            "With --resume those of the run if left out.",
        ),
    ] = None,
    operator: str | None = typer.Option(None, "--operator", metavar="NAME", help="Operator: fno, unet, ..."),
    solver: str | None = typer.Option(
        None,
        "--solver",
        metavar="NAME",
        help="A solver that learns without an operator: neural_ode, dynamic_modes, ...",
    ),
    out: str | None = typer.Option(None, "--out", metavar="RUN", help="Folder of the run."),
    recipe_file: str | None = typer.Option(None, "--recipe", metavar="FILE.toml", help="Recipe to start from."),
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="PATH=VALUE",
            help="A setting, such as optimiser.lr=1e-3, or modes=16 of --solver neural_ode; may be repeated.",
        ),
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
    """Train a surrogate, or with --solver what learns without an operator, on a data set file."""
    from sciml.cli import _arguments, _plan, _show
    from sciml.reporting.gather import COMMAND_FILE, data_of
    from sciml.studies._stages import remove_run
    from sciml.training.recipe import Recipe, Running

    if resume and overwrite:
        raise InputError("--resume and --overwrite: expected at most one of them")
    if operator is not None and solver is not None:
        raise InputError("--operator and --solver: expected at most one of them")
    if fresh and former is None:
        raise InputError("--fresh: expected --from RUN beside it; without --from, weights are new anyway")
    processes = _processes()
    typed = list(set_ or [])
    typed += _flags(typed, epochs=epochs, steps=steps, minutes=minutes, seed=seed)
    begun = _begun(_arguments.place("--out", out)) if resume and out is not None else None
    if not files and begun is None and not show_settings:
        raise InputError("train: FILE is missing; see sciml train --help")
    if operator is None and solver is None and former is None and begun is None:
        raise InputError("train: --operator is missing, or --solver; see sciml train --help")
    start = None
    if solver is not None:
        lengths = {"--epochs": epochs, "--steps": steps, "--minutes": minutes, "--seed": seed, "--recipe": recipe_file}
        others = {"--resume": resume or None, "--from": former, "--device": None if device == "auto" else device}
        base: Plan | SolverPlan = _alone(solver, lengths, others)
    else:
        start = None if former is None else _former(former)
        base = _with_operator(operator, start, begun)
    if recipe_file is not None:
        base = dataclasses.replace(base, recipe=Recipe.from_toml(_arguments.readable_file("--recipe", recipe_file)))
    if show_settings:
        _list_settings(_plan.everything_of(base), as_json)
        return
    if out is None:
        raise InputError("train: --out is missing; see sciml train --help")
    folder = _arguments.place("--out", out)
    data = [_arguments.readable_data("FILE", file) for file in files or data_of(folder)]
    if begun is not None and len(data) != len(known := data_of(folder)):
        raise InputError(f"--resume: {folder} was begun with {', '.join(known)}, expected these, "
                         f"got {', '.join(map(str, data))}")  # fmt: skip
    if len(data) > 1 and not base.kind.several:
        raise InputError(f"FILE: {base.name} is trained on one data set, got {len(data)} files")

    def look() -> None:
        try:
            _arguments.new_folder("--out", out, may_exist=resume or overwrite)
        except InputError as error:
            more = ", or --resume to go on with this run" if (folder / "checkpoints").is_dir() else ""
            raise InputError(f"{error}{more}") from None

    processes.by_first(look)
    plan, running = _plan.read_any(base, Running(out=folder, resume=resume, device=device), typed)
    if device != "auto":
        from sciml.training.devices import device as available

        available(device)
    if resume and not (folder / "checkpoints").is_dir() and not (folder / "config.json").exists():
        raise InputError(f"--resume: {folder} holds no run to go on with")
    if processes.several and solver is not None:
        raise InputError(f"--solver: {solver} trains in one process, got {processes.count}")

    def claim() -> bool:
        if overwrite and folder.is_dir():
            remove_run(folder)
        new = not folder.exists()
        _note_command(folder, data, plan)
        return new

    noted = folder / COMMAND_FILE
    before = noted.read_bytes() if noted.is_file() and resume else None
    new = processes.by_first(claim) and processes.first
    try:
        trained = plan.train(data if base.kind.several else data[0], running, start, fresh)
    except InputError as error:
        _forget(folder, new)
        if before is not None and processes.first:
            noted.write_bytes(before)  # what is refused does not change how the run is set up
        raise _explained(error, plan, data) from None
    except OSError as error:
        error.filename = error.filename or str(folder)
        _forget(folder, new)
        raise
    last: dict[str, Any] = {}
    for record in trained.metrics:
        last.update(record)
    what, seed = "operator" if solver is None else "solver", None if plan.recipe is None else plan.recipe.seed
    content = {"run": str(folder), what: plan.name, "weights": trained.weights, "seed": seed, "last": last}
    if as_json and processes.first:
        _show.print_json(content)
    elif processes.first:
        record, validation = trained.training, last.get("validation")
        tail = f", validation loss {validation:.3g}" if isinstance(validation, float) else ""
        if "steps" in record:
            _show.note(f"{folder}: {plan.name} with {trained.weights:,} weights, {record['steps']} steps{tail}")
        else:
            _show.note(f"{folder}: {plan.name} of {record['cases']} cases")


def _with_operator(operator: str | None, start: Any, begun: Plan | None) -> Plan:
    """The plan to begin with: that of the run that is gone on with, or the operator's own."""
    from sciml.studies._plan import Plan

    if operator is None:
        operator = str(start.operator_name) if start is not None else begun.operator if begun is not None else ""
    plan = Plan(operator)
    if begun is not None and begun.operator == operator:
        return begun
    return dataclasses.replace(plan, recipe=plan.kind.default_recipe() if begun is None else begun.recipe)


def _alone(solver: str, lengths: Mapping[str, Any], others: Mapping[str, Any]) -> SolverPlan:
    """The plan to begin with of a solver without an operator, if the options that are given mean something to it.

    Args:
        lengths: options that stand for settings of a recipe.
        others: options that only surrogates know.
    """
    from sciml.cli import _plan

    plan = _plan.of_solver(solver)
    why = {
        "--resume": NO_CHECKPOINTS,
        "--from": "begins anew each time, expected no run to start from",
        "--device": "computes where its libraries do, expected auto",
    }
    for option, value in others.items():
        if value is not None:
            raise InputError(f"{option}: {solver} {why[option]}")
    for option, value in lengths.items():
        if value is not None and plan.recipe is None:
            raise InputError(f"{option}: {solver} has no recipe; see sciml train --solver {solver} --settings")
    return plan


def _explained(error: InputError, plan: Plan | SolverPlan, data: Sequence[Path]) -> InputError:
    """What to say of an error in training."""
    from sciml.cli._fits import explained
    from sciml.studies._plan import Plan

    if not isinstance(plan, Plan):
        return error
    mine: Any = plan.surrogate
    return explained(error, plan.operator, data, "train" if mine is None else mine.split, plan.options)


def _processes() -> Any:
    """Those that train together, if `torchrun` has started several."""
    from sciml.training.processes import present

    return present()


def _former(path: str) -> Any:
    """The trained surrogate in a run's folder, to go on from."""
    from sciml.cli import _arguments
    from sciml.solvers import FoundationModel, ParticleSurrogate, SensorSurrogate, Surrogate, load

    folder = _arguments.run_folder("--from", path)
    found = load(folder)
    if not isinstance(found, Surrogate | ParticleSurrogate | SensorSurrogate | FoundationModel):
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


def _note_command(out: Path, files: Sequence[Path], plan: Plan | SolverPlan) -> None:
    """What was typed, on what data, and what it comes to, so that --resume need not be told again."""
    from sciml.reporting._files import write_text
    from sciml.reporting.gather import COMMAND_FILE, command_record

    out.mkdir(parents=True, exist_ok=True)
    former = command_record(out).get("command")
    typed = shlex.join(["sciml", *sys.argv[1:]])
    command = f"{former} && {typed}" if isinstance(former, str) and former != typed else typed
    data = [os.path.abspath(file) for file in files]
    record = {"command": command, "data": data[0] if len(data) == 1 else data, "plan": plan.to_json()}
    write_text(out / COMMAND_FILE, json.dumps(record, indent=1) + "\n")


def _begun(out: Path) -> Plan | None:
    """The plan of the run in a folder; None where it was not begun on the command line."""
    from sciml.reporting.gather import COMMAND_FILE, command_record
    from sciml.studies._plan import Plan

    content = command_record(out).get("plan")
    if isinstance(content, dict) and "solver" in content:
        raise InputError(f"--resume: {out}: {content['solver']} {NO_CHECKPOINTS}")
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
