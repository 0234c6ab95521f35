"""From an exception to an exit status and one line."""

from __future__ import annotations

import errno
import re
from collections.abc import Sequence

from sciml.errors import InputError, SolverError, TrainingError, suggest


def explain(error: BaseException, given: Sequence[str] = ()) -> tuple[int, str]:
    """Return (exit status, line for standard error) of whatever ended a command; `given` is what was typed."""
    if isinstance(error, BrokenPipeError):
        return 1, ""
    if isinstance(error, KeyboardInterrupt) or type(error).__name__ == "Abort":
        return 130, "sciml: interrupted"
    if type(error).__name__ == "Exit" and hasattr(error, "exit_code"):
        return int(error.exit_code), ""  # pyright: ignore[reportAttributeAccessIssue]
    if type(error).__name__ == "NoArgsIsHelpError":  # the help was asked for in the shortest way
        return 0, ""
    if hasattr(error, "format_message"):
        return 2, _one_line(_usage(error, given))
    if isinstance(error, InputError):
        return 2, _one_line(f"sciml: {error}")
    if isinstance(error, SolverError | TrainingError):
        return 1, _one_line(f"sciml: {error}")
    if isinstance(error, OSError):
        return 2, _one_line(f"sciml: {_system(error)}")
    if isinstance(error, MemoryError):
        return 1, "sciml: out of memory; try a smaller batch size, resolution or number of cases"
    return 1, _one_line(
        f"sciml: internal error, {type(error).__name__}: {error} (set SCIML_TRACEBACK=1 for where it happened)"
    )


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _system(error: OSError) -> str:
    name = error.filename if error.filename is not None else "a file"
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f"{name}: no space left to write it; expected room on the disk"
    if isinstance(error, FileNotFoundError):
        return f"{name}: expected a file or folder, got nothing of that name"
    if isinstance(error, PermissionError):
        return f"{name}: permission denied; expected a file or folder that this user may use"
    if isinstance(error, NotADirectoryError):
        return f"{name}: a part of this path is a file, expected a folder"
    return f"{name}: {error.strerror or error}"


def _usage(error: BaseException, given: Sequence[str]) -> str:
    """Return the one line for a complaint of the argument parser, with the nearest name where one was mistyped."""
    context = getattr(error, "ctx", None)
    where = getattr(context, "command_path", None) or "sciml"
    kind = type(error).__name__
    message = str(getattr(error, "message", "") or error)
    if kind == "NoSuchOption":
        name = str(getattr(error, "option_name", ""))
        if name == "--import":
            command = where.removeprefix("sciml ")
            return f"{where}: --import goes before the command: sciml --import FILE.py {command} ..."
        return f"{where}: no such option {name}{suggest(name, _options(context))}"
    unknown = re.search(r"No such command ['\"](.+?)['\"]", message)
    if unknown is not None:
        commands = list(getattr(getattr(context, "command", None), "commands", {}) or {})
        return f"{where}: no such command {unknown.group(1)!r}{suggest(unknown.group(1), commands)}"
    if kind == "MissingParameter":
        return f"{where}: {_hint(error)} is missing; see {where} --help"
    if kind == "BadParameter":
        hint = _hint(error)
        lowered = message.lower()
        wanted = (
            "a whole number"
            if "integer" in lowered
            else "a number"
            if "float" in lowered or "number" in lowered
            else ""
        )
        got = _value(hint, given)
        if wanted and got is not None:
            return f"{where}: {hint}: expected {wanted}, got {got!r}"
        return f"{where}: {hint}: {message.rstrip('.')}"
    return f"{where}: {message.rstrip('.')}; see {where} --help"


def _value(option: str, given: Sequence[str]) -> str | None:
    """Return what was typed for `option`."""
    for index, word in enumerate(given):
        if word == option and index + 1 < len(given):
            return given[index + 1]
        if word.startswith(f"{option}="):
            return word[len(option) + 1 :]
    return None


def _options(context: object) -> list[str]:
    found: list[str] = []
    for parameter in getattr(getattr(context, "command", None), "params", []):
        found += [name for name in (*parameter.opts, *parameter.secondary_opts) if name.startswith("--")]
    return [*found, "--help"]


def _hint(error: BaseException) -> str:
    parameter = getattr(error, "param", None)
    if parameter is None:
        return str(getattr(error, "param_hint", None) or "an argument")
    names = [name for name in parameter.opts if name.startswith("-")]
    return max(names, key=len) if names else (parameter.metavar or parameter.name or "an argument").upper()
