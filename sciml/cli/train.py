"""`sciml train`: a surrogate from a data set file to the folder of a run."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from sciml.errors import InputError

COMMAND_FILE = "command.json"


def train(
    file: str = typer.Argument(..., metavar="FILE", help="Data set file."),
    operator: str = typer.Option(..., "--operator", metavar="NAME", help="Operator: fno, unet, ..."),
    out: str = typer.Option(..., "--out", metavar="RUN", help="Folder of the run."),
    resume: bool = typer.Option(False, "--resume", help="Go on with a run that was cut short."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Remove what RUN holds, and start anew."),
    seed: int = typer.Option(0, "--seed", help="Seed of weights and of the order of batches."),
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A setting of the operator or of training; may be repeated."),
    ] = None,
    show_settings: bool = typer.Option(False, "--settings", help="List every KEY of --set, and stop."),
    as_json: bool = typer.Option(False, "--json", help="Print the outcome as JSON."),
) -> None:
    """Train a surrogate on a data set file."""
    from sciml.cli import _arguments, _show

    if seed < 0:
        raise InputError(f"--seed: expected a whole number >= 0, got {seed}")
    if resume and overwrite:
        raise InputError("--resume and --overwrite: expected at most one of them")
    if not show_settings:
        _arguments.readable_data("FILE", file)
        try:
            _arguments.new_folder("--out", out, may_exist=resume or overwrite)
        except InputError as error:
            run = Path(out) / "checkpoints"
            raise InputError(f"{error}, or --resume to go on with this run" if run.is_dir() else str(error)) from None
    from sciml import registry

    cls = registry.operators.get(operator)
    accepted = settable(cls)
    if show_settings:
        _list_settings(accepted, as_json)
        return
    chosen = _arguments.settings(set_ or [], accepted)
    _check_length(chosen["training"])
    if resume and not (Path(out) / "checkpoints").is_dir() and not (Path(out) / "config.json").exists():
        raise InputError(f"--resume: {out} holds no run to go on with")
    if overwrite and Path(out).is_dir():
        remove_run(Path(out))
    fresh = not Path(out).exists()
    try:
        surrogate = run_training(file, operator, out, chosen, seed, resume)
    except OSError as error:
        error.filename = error.filename or str(out)
        if fresh and Path(out).is_dir() and not (Path(out) / "checkpoints" / "last.safetensors").exists():
            shutil.rmtree(out)  # nothing to go on from
        raise
    weights = surrogate.settings.get("parameters", 0)
    last: dict[str, Any] = {}
    for record in surrogate.metrics:
        last.update(record)
    content = {"run": str(out), "operator": operator, "weights": weights, "seed": seed, "last": last}
    if as_json:
        _show.print_json(content)
    else:
        validation = last.get("validation")
        tail = f", validation loss {validation:.3g}" if isinstance(validation, float) else ""
        _show.note(f"{out}: {operator} with {weights:,} weights, {last.get('step', '?')} steps{tail}")


def run_training(
    file: str | Path, operator: str, out: str | Path, chosen: dict[str, dict[str, Any]], seed: int, resume: bool
) -> Any:
    """Train and save; `chosen` has the groups "operator", "surrogate" and "training"."""
    from sciml.solvers import Surrogate

    surrogate = Surrogate(operator, **chosen["surrogate"], **chosen["operator"])
    options = {"seed": seed} | chosen["training"]
    surrogate.fit(str(file), out=str(out), resume=resume, **options)
    surrogate.save(out)
    record = {"command": _command(), "data": os.path.abspath(file)}
    from sciml.reporting._files import write_text

    write_text(Path(out) / COMMAND_FILE, json.dumps(record, indent=1) + "\n")
    return surrogate


def settable(operator: type) -> dict[str, dict[str, Any]]:
    """Return what `--set` accepts, by group: arguments of the operator, of the surrogate, and of training."""
    import inspect

    from sciml.cli._arguments import keywords
    from sciml.solvers import Surrogate, _fitting
    from sciml.training.settings import TrainingSettings

    fixed = ("in_channels", "out_channels", "n_params", "masked", "dimensions")
    skip = ("surrogate", "data", "out", "resume", "callbacks", "progress", "solver", "times", "settings", "options")
    training = keywords(_fitting.fit, skip) | keywords(TrainingSettings, ("seed", "device"))
    taken = {"operator", "options"}
    return {
        "operator": {k: v for k, v in keywords(operator.__init__, fixed).items() if _named(operator, k, inspect)},
        "surrogate": {k: v for k, v in keywords(Surrogate.__init__).items() if k not in taken},
        "training": training,
    }


def _named(cls: type, name: str, inspect: Any) -> bool:
    kind = inspect.signature(cls).parameters[name].kind
    return kind not in (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)


def _check_length(training: dict[str, Any]) -> None:
    given = [n for n in ("epochs", "steps", "minutes") if training.get(n) is not None]
    if not given:
        training["epochs"] = 20.0  # enough to see whether it learns; a person then sets what is needed
    if len(given) > 1:
        raise InputError(f"--set: expected one of epochs, steps and minutes, got {' and '.join(given)}")


def remove_run(folder: Path) -> None:
    """Remove the files of a run, and nothing that no run writes: a mistyped folder must not cost its content."""
    ours = {"config.json", "weights.safetensors", "metrics.jsonl", "run.json", "checkpoints", COMMAND_FILE}
    foreign = sorted(p.name for p in folder.iterdir() if p.name not in ours and not p.name.startswith("."))
    if foreign:
        raise InputError(f"--overwrite: {folder} also holds {foreign[0]!r}, which no run writes; remove it yourself")
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _list_settings(accepted: dict[str, dict[str, Any]], as_json: bool) -> None:
    from sciml.cli import _show
    from sciml.cli._arguments import _alternatives, _describe

    rows = [
        (key, group, " or ".join(_describe(o) for o in _alternatives(hint)))
        for group, keys in accepted.items()
        for key, hint in keys.items()
    ]
    if as_json:
        _show.print_json([{"key": k, "group": g, "expects": e} for k, g, e in rows])
    else:
        _show.console().print(_show.table("", ("key", "group", "expects"), rows))


def _command() -> str:
    import shlex

    return shlex.join(["sciml", *sys.argv[1:]])
