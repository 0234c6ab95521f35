"""Checks of what is typed: paths, names, lists, and `--set key=value` against what a class accepts."""

from __future__ import annotations

import inspect
import json
import math
import tempfile
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sciml.errors import InputError, suggest


def readable_file(argument: str, path: str | Path) -> Path:
    """Return `path` if it names a file with content; `argument` is how the message calls it."""
    if not str(path):
        raise InputError(f"{argument}: expected the path of a file, got nothing")
    target = Path(path)
    if target.is_dir():
        raise InputError(f"{argument}: {target} is a folder, expected a file")
    if not target.exists():
        raise InputError(f"{argument}: {target} does not exist, expected a file{_neighbour(target)}")
    if not target.is_file():
        raise InputError(f"{argument}: {target} is not a regular file")
    if target.stat().st_size == 0:
        raise InputError(f"{argument}: {target} is empty, expected a file with content")
    return target


def readable_data(argument: str, path: str | Path) -> Path:
    """Return `path` if it may be a data set: a file with content, or a .zarr folder."""
    target = Path(path)
    return readable_folder(argument, target) if target.suffix == ".zarr" else readable_file(argument, target)


def readable_folder(argument: str, path: str | Path) -> Path:
    """Return `path` if it names a folder."""
    target = Path(path)
    if not target.exists():
        raise InputError(f"{argument}: {target} does not exist, expected a folder{_neighbour(target)}")
    if not target.is_dir():
        raise InputError(f"{argument}: {target} is a file, expected a folder")
    return target


def run_folder(argument: str, path: str | Path) -> Path:
    """Return `path` if it names the folder of a finished run."""
    target = readable_folder(argument, path)
    if not (target / "config.json").is_file():
        if (target / "checkpoints").is_dir():
            raise InputError(f"{argument}: {target} is a run cut short; go on with sciml train --resume")
        raise InputError(f"{argument}: {target} is no run, expected a folder with config.json")
    if not (target / "weights.safetensors").is_file():
        raise InputError(f"{argument}: {target} is incomplete, expected weights.safetensors in it")
    return target


def new_file(argument: str, path: str | Path, overwrite: bool = False) -> Path:
    """Return `path` if a file may be written there: checked before the work that makes its content."""
    target = Path(path)
    if target.is_dir():
        raise InputError(f"{argument}: {target} is a folder, expected a file to write")
    if target.exists() and not overwrite:
        raise InputError(f"{argument}: {target} exists; expected a new file, or --overwrite to replace it")
    _writable(argument, target.parent)
    return target


def new_folder(argument: str, path: str | Path, may_exist: bool = False) -> Path:
    """Return `path` if a folder may be made there."""
    if not str(path):
        raise InputError(f"{argument}: expected the path of a folder, got nothing")
    target = Path(path)
    if target.exists() and not target.is_dir():
        raise InputError(f"{argument}: {target} is a file, expected a folder to write")
    if target.is_dir() and any(target.iterdir()) and not may_exist:
        raise InputError(f"{argument}: {target} exists and is not empty; expected a new folder")
    _writable(argument, target.parent)
    return target


def _writable(argument: str, folder: Path) -> None:
    """Check the nearest existing folder above a file that is to be written, without creating anything."""
    for parent in (folder, *folder.parents):
        if parent.exists():
            if not parent.is_dir():
                raise InputError(f"{argument}: {parent} is a file, expected a folder to write in")
            try:  # permissions alone do not tell: read-only and virtual file systems, and the superuser
                tempfile.TemporaryFile(dir=parent).close()
            except OSError as error:
                reason = error.strerror or error
                raise InputError(
                    f"{argument}: cannot write in {parent} ({reason}), expected a writable folder"
                ) from None
            return


def _neighbour(target: Path) -> str:
    try:
        names = [p.name for p in target.parent.iterdir()] if target.parent.is_dir() else []
    except OSError:
        return ""
    import difflib

    near = difflib.get_close_matches(target.name, names, n=1, cutoff=0.6)
    return f"; did you mean {target.parent / near[0]}?" if near else ""


def choice(argument: str, value: str, options: Iterable[str]) -> str:
    """Return `value` if it is one of `options`."""
    known = list(options)
    if value not in known:
        raise InputError(f"{argument}: expected one of {', '.join(known)}, got {value!r}{_near(value, known)}")
    return value


def names(argument: str, value: str) -> list[str]:
    """Names separated by commas, each once."""
    found = [name.strip() for name in value.split(",")]
    if len(set(found)) < len(found) or "" in found:
        raise InputError(f"{argument}: expected names separated by commas, every name once, got {value!r}")
    return found


def choices(argument: str, value: str, options: Sequence[str]) -> list[str]:
    """Return the comma-separated `value` as names that are all among `options`."""
    found = names(argument, value)
    for name in found:
        choice(argument, name, options)
    return found


def at_least(argument: str, value: float | None, least: float) -> None:
    """Check a number where one was given."""
    if value is not None and not (math.isfinite(value) and value >= least):
        raise InputError(f"{argument}: expected a number >= {least:g}, got {value:g}")


def _near(name: str, options: Sequence[str]) -> str:
    tail = suggest(name, options)
    return tail if "did you mean" in tail else ""


def settings(pairs: Sequence[str], accepted: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return `key=value` texts as typed values, sorted into the groups of `accepted`.

    Args:
        pairs: texts such as "width=48", "modes=16,16", "training.lr=2e-3".
        accepted: group -> key -> type annotation, for instance {"operator": {"width": int}, "training": {...}}.
    """
    found: dict[str, dict[str, Any]] = {group: {} for group in accepted}
    known = sorted({key for keys in accepted.values() for key in keys})
    for pair in pairs:
        name, equals, text = pair.partition("=")
        name = name.strip()
        if not equals or not name:
            raise InputError(f"--set: expected key=value, got {pair!r}")
        group, dot, key = name.rpartition(".")
        if dot and group not in accepted:
            raise InputError(f"--set: expected one of the groups {', '.join(accepted)}, got {group!r}")
        homes = [g for g, keys in accepted.items() if key in keys and (not dot or g == group)]
        if not homes:
            raise InputError(f"--set: no setting is called {name!r}{suggest(key, known)}")
        if len(homes) > 1:
            raise InputError(f"--set: {key!r} is ambiguous, expected {' or '.join(f'{g}.{key}' for g in homes)}")
        if key in found[homes[0]]:
            raise InputError(f"--set: {key!r} is given twice")
        found[homes[0]][key] = convert(f"--set {key}", text.strip(), accepted[homes[0]][key])
    return found


def keywords(function: Callable[..., Any], leave_out: Iterable[str] = ()) -> dict[str, Any]:
    """Return the keyword parameters of `function` with their types."""
    skip = {"self", *leave_out}
    return {
        name: _resolved(parameter.annotation, function)
        for name, parameter in inspect.signature(function).parameters.items()
        if name not in skip and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    }


def _resolved(annotation: Any, function: Callable[..., Any]) -> Any:
    """Return an annotation that is stored as text as the type that it names, where its module knows that name.

    One by one: `typing.get_type_hints` gives up on all of them where one is imported for type checkers only.
    """
    if not isinstance(annotation, str):
        return annotation
    target = function.__init__ if isinstance(function, type) else function
    try:
        return typing.get_type_hints(
            types.SimpleNamespace(__annotations__={"it": annotation}),
            dict(getattr(target, "__globals__", vars(typing))),
        )["it"]
    except (NameError, TypeError, SyntaxError):
        module = inspect.getmodule(function)
        try:
            return typing.get_type_hints(types.SimpleNamespace(__annotations__={"it": annotation}), vars(module))["it"]
        except (NameError, TypeError, SyntaxError, AttributeError):
            return annotation


def convert(argument: str, text: str, hint: Any) -> Any:
    """Return `text` as a value of the type `hint`.

    Numbers, true/false, none, words, lists as 12,12 or [12, 12], and JSON objects for mappings.
    """
    options = _alternatives(hint)
    for option in options:
        value, fits = _attempt(text, option)
        if fits:
            return value
    raise InputError(f"{argument}: expected {' or '.join(_describe(o) for o in options)}, got {text!r}")


def _alternatives(hint: Any) -> list[Any]:
    if hint is inspect.Parameter.empty or hint is Any:
        return [int, float, bool, type(None), tuple[float, ...], str]
    if isinstance(hint, str):  # an annotation that could not be resolved: accept what reads as a value
        return [int, float, bool, type(None), str]
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        parts = [p for inner in typing.get_args(hint) for p in _alternatives(inner)]
        return sorted(parts, key=lambda p: p is str)  # text fits everything, so it is tried last
    return [hint]


def _attempt(text: str, hint: Any) -> tuple[Any, bool]:
    lowered = text.lower()
    origin = typing.get_origin(hint)
    if hint is type(None):
        return None, lowered in ("none", "null")
    if hint is bool:
        return lowered in ("true", "yes", "on"), lowered in ("true", "false", "yes", "no", "on", "off")
    if hint is int:
        try:
            return int(text), True
        except ValueError:
            return None, False
    if hint is float:
        try:
            value = float(text)
        except ValueError:
            return None, False
        return value, math.isfinite(value)
    if hint is str:
        return text, True
    if origin is typing.Literal:
        return next(((a, True) for a in typing.get_args(hint) if str(a) == text), (None, False))
    if hint in (tuple, list) or origin in (tuple, list) or getattr(origin, "__name__", "") == "Sequence":
        return _sequence(text, hint)
    if hint is dict or origin in (dict, Mapping) or getattr(origin, "__name__", "") == "Mapping":
        try:
            value = json.loads(text)
        except ValueError:
            return None, False
        return value, isinstance(value, dict)
    return None, False


def _sequence(text: str, hint: Any) -> tuple[Any, bool]:
    parts = [part.strip() for part in text.strip("()[] ").split(",") if part.strip()]
    inner = [a for a in typing.get_args(hint) if a is not Ellipsis] or [Any]
    fixed = typing.get_origin(hint) is tuple and Ellipsis not in typing.get_args(hint) and typing.get_args(hint)
    if not parts or (fixed and len(parts) != len(inner)):
        return None, False
    values = []
    for index, part in enumerate(parts):
        wanted = inner[index] if fixed else inner[0]
        for option in _alternatives(wanted):
            value, fits = _attempt(part, option)
            if fits:
                values.append(value)
                break
        else:
            return None, False
    return (tuple(values) if typing.get_origin(hint) is not list and hint is not list else values), True


def _describe(hint: Any) -> str:
    simple = {int: "a whole number", float: "a number", bool: "true or false", str: "a word", type(None): "none"}
    if hint in simple:
        return simple[hint]
    if typing.get_origin(hint) is typing.Literal:
        return "one of " + ", ".join(map(str, typing.get_args(hint)))
    inner = [a for a in typing.get_args(hint) if a is not Ellipsis]
    if typing.get_origin(hint) is tuple and Ellipsis not in typing.get_args(hint):
        return f"{len(inner)} values such as {','.join('8' if i is int else '0.5' for i in inner)}"
    if hint in (dict,) or typing.get_origin(hint) in (dict,):
        return 'a JSON object such as {"name": 0.5}'
    if str in inner:
        return "words such as bc,ic"
    return "values such as 8,8" if int in inner else "values such as 0.5,0.5"
