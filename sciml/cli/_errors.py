"""From an exception to an exit status and one line."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sciml.errors import in_words, suggest


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
    status, line = in_words(error)
    return status, f"sciml: {line}"


def _one_line(text: str) -> str:
    return " ".join(text.split())


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
