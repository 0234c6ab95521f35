"""Settings from text: `optimiser.lr=1e-3`, `length=Minutes(2)`, `augmentations=Noise(level=0.02),Mirror()`.

Text is parsed, never evaluated: literals, and calls of parts that are registered in the family that is asked for.
"""

from __future__ import annotations

import ast
import re
import typing
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from sciml.errors import InputError, suggest
from sciml.training.parts import Call, Part, Settings, build, conform, describe, families, hints, join

S = TypeVar("S", bound=Settings)

LONGEST = 10_000  # characters of a value: more is no setting
_PATH = re.compile(r"[A-Za-z_]\w*(\.\w+)*")


def pairs(texts: Sequence[str], argument: str = "settings") -> dict[str, str]:
    """`path=value` texts, each path once, as a mapping.

    Raises:
        InputError: no such text, or a path that is given twice.
    """
    found: dict[str, str] = {}
    for text in [texts] if isinstance(texts, str) else texts:
        path, equals, value = str(text).partition("=")
        path = path.strip()
        if not equals or not _PATH.fullmatch(path):
            raise InputError(f"{argument}: expected PATH=VALUE such as optimiser.lr=1e-3, got {text!r:.80}")
        if path in found:
            raise InputError(f"{argument}: {path!r} is given twice")
        found[path] = value.strip()
    return found


def assign(settings: S, texts: Sequence[str]) -> S:
    """The settings with those of `path=value` texts in their place, one after the other.

    Raises:
        InputError: a path that leads nowhere, with the nearest that does, or a value that does not fit.
    """
    for path, text in pairs(texts).items():
        settings = _set(settings, path.split("."), text, "", settings)
    return settings


def _set(settings: Any, names: list[str], text: str, path: str, root: Settings) -> Any:
    here, *further = names
    if isinstance(settings, tuple):
        if not here.isdigit() or int(here) >= len(settings):
            raise InputError(f"{path}: expected the number of one of its {len(settings)} entries, got {here!r}")
        if not further:
            raise InputError(f"{join(path, here)}: expected a field of it, or {path}=... for all entries")
        at = int(here)
        return (*settings[:at], _set(settings[at], further, text, join(path, here), root), *settings[at + 1 :])
    full = join(path, here)
    known = hints(type(settings))
    if here not in known:
        tail = _nearest(path, here, known, root) + _otherwise(path, here, root)
        raise InputError(f"{full}: {type(settings).__name__} has no field {here!r}{tail}")
    if further:
        child = getattr(settings, here)
        if not isinstance(child, Settings | tuple):
            fit = [
                f"{full}={name}({further[0]}=...)"
                for home in families(known[here])
                for name, kind in home.kinds().items()
                if further[0] in hints(kind)
            ]
            tail = f"; set {' or '.join(fit)}" if fit else ""
            raise InputError(f"{join(full, further[0])}: {full} is {child!r:.40}, which has no fields{tail}")
        value = _set(child, further, text, full, root)
    else:
        value = conform(parse(text, full), known[here], full)
    return build(type(settings), {n: getattr(settings, n) for n in known} | {here: value}, path)


def _nearest(path: str, name: str, known: Any, root: Settings) -> str:
    elsewhere = [p for p, _, _ in listing(root) if p.rpartition(".")[2] == name]
    return f"; did you mean {elsewhere[0]!r}?" if elsewhere and not path else suggest(name, known)


def _otherwise(path: str, name: str, root: Settings) -> str:
    """How to choose another kind of part, where the missing field is called as that kind is or is one of its fields:
    `length=Minutes(...)` where `length.minutes` was asked for."""
    holder: Any = root
    *parents, last = path.split(".") if path else [""]
    for step in parents:
        holder = holder[int(step)] if isinstance(holder, tuple) else getattr(holder, step)
    if not last or not isinstance(holder, Settings):
        return ""
    kinds = {n: k for home in families(hints(type(holder))[last]) for n, k in home.kinds().items()}
    fit = [f"{path}={n}(...)" for n in kinds if n.lower() == name.lower()]
    fit = fit or [f"{path}={n}({name}=...)" for n, k in kinds.items() if name in hints(k)]
    return f"; for another kind set {' or '.join(fit)}" if fit else ""


def parse(text: str, path: str) -> Any:
    """A value in text: numbers, words, texts in quotes, `a, b` as a tuple, {…} as a dict, `Kind(...)` as a `Call`.

    Raises:
        InputError: anything else.
    """
    try:
        if len(text) > LONGEST:
            raise ValueError
        return _value(ast.parse(text.strip(), mode="eval").body)
    except (SyntaxError, ValueError, RecursionError, MemoryError, TypeError):
        wanted = "a number, a word, values such as 8,8, or a part such as Rollout(steps=3)"
        raise InputError(f"{path}: expected {wanted}, got {text!r:.80}") from None


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Constant):
        if not isinstance(node.value, bool | int | float | str | None):
            raise ValueError
        return node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.UAdd | ast.USub):
        value = _value(node.operand)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError
        return -value if isinstance(node.op, ast.USub) else value
    if isinstance(node, ast.Tuple | ast.List):
        return tuple(_value(n) for n in node.elts)
    if isinstance(node, ast.Dict):
        return {_value(k) if k is not None else None: _value(v) for k, v in zip(node.keys, node.values, strict=True)}
    if isinstance(node, ast.Name):
        return Call(node.id, bare=True)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        named = tuple((k.arg, _value(k.value)) for k in node.keywords if k.arg is not None)
        if len(named) < len(node.keywords):  # **something
            raise ValueError
        return Call(node.func.id, tuple(_value(n) for n in node.args), named)
    raise ValueError


def literal(text: str, path: str) -> Any:
    """A value of which no type is known: as `parse`, but words and whatever does not parse are text.

    Raises:
        InputError: a call.
    """
    try:
        return _literal(parse(text, path))
    except InputError:
        return text
    except TypeError as error:
        raise InputError(f"{path}: expected a number, a word or values such as 8,8, got {error}") from None


def _literal(value: Any) -> Any:
    words = {"none": None, "null": None, "true": True, "false": False}
    if isinstance(value, Call):
        if not value.bare:
            raise TypeError(repr(value)[:80])
        return words.get(value.kind.lower(), value.kind)
    if isinstance(value, tuple):
        return tuple(_literal(v) for v in value)
    return {_literal(k): _literal(v) for k, v in value.items()} if isinstance(value, dict) else value


def listing(settings: Settings, prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """Every path that `assign` can set: (path, what is expected, present value)."""
    for name, hint in hints(type(settings)).items():
        path, value = join(prefix, name), getattr(settings, name)
        yield path, _choices(hint), shown(value)
        if isinstance(value, Part):
            yield from listing(value, path)
        elif isinstance(value, tuple):
            for i, entry in enumerate(value):
                if isinstance(entry, Part):
                    yield from listing(entry, f"{path}.{i}")


def _choices(hint: Any) -> str:
    """A type in words; parts with the names of their fields."""
    inner = [hint, *(a for a in typing.get_args(hint) if a is not ...)]
    kinds = [k for h in inner for home in families(h) for k in home.kinds().values()]
    words = describe(hint)
    for kind in {k.__name__: k for k in kinds}.values():
        words = re.sub(rf"\b{kind.__name__}\b", f"{kind.__name__}({', '.join(hints(kind))})", words)
    return words


def shown(value: Any) -> str:
    """A value as `parse` reads it."""
    if isinstance(value, Part):
        inner = ", ".join(f"{n}={shown(getattr(value, n))}" for n in hints(type(value)))
        return f"{type(value).__name__}({inner})"
    if isinstance(value, tuple):
        return f"({', '.join(shown(v) for v in value)}{',' if len(value) == 1 else ''})"
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)
