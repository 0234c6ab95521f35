"""What a recipe is made of: frozen dataclasses that check themselves, and go through JSON unchanged.

`Settings` checks every field against its annotation and takes NumPy's numbers and lists as Python's numbers and
tuples, so that equality is that of dataclasses and what is written reads back equal. A `Part` is one of several
choices for one purpose, a *family*: its class name stands in the file as "kind". Whoever writes

    @dataclass(frozen=True)
    class Huber(Loss):
        width: float = 1.0
        def __call__(self, prediction, target, on): ...

has entered `Huber` among the losses; a file can name it from then on, and can never cause an import.
"""

from __future__ import annotations

import functools
import inspect
import math
import sys
import types
import typing
from abc import ABC
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, ClassVar, Literal, Self, TypeVar

import numpy as np

from sciml.errors import InputError, is_number, is_whole, suggest

S = TypeVar("S", bound="Settings")


@dataclass(frozen=True)
class Call:
    """A part as it is written in text, `Rollout(steps=3)`, or a bare `Rollout` or word (`bare`)."""

    kind: str
    positional: tuple[Any, ...] = ()
    named: tuple[tuple[str, Any], ...] = ()
    bare: bool = False

    def __repr__(self) -> str:
        inner = [repr(v) for v in self.positional] + [f"{k}={v!r}" for k, v in self.named]
        return self.kind if self.bare else f"{self.kind}({', '.join(inner)})"


@dataclass(frozen=True)
class Settings(ABC):  # noqa: B024
    """A frozen dataclass whose fields are checked against their annotations.

    Annotations may be bool, int, float (finite), str, None, Literal, tuples of these, families and their parts, and
    unions. A subclass with ranges to check does so in `__post_init__`, after `super().__post_init__()`.
    """

    def __post_init__(self) -> None:
        for name, hint in hints(type(self)).items():
            object.__setattr__(self, name, conform(getattr(self, name), hint, name))

    def _range(
        self,
        name: str,
        least: float | None = None,
        most: float | None = None,
        *,
        above: float | None = None,
        below: float | None = None,
    ) -> None:
        """Check that field `name` is in a range; None is left alone."""
        value = getattr(self, name)
        if value is None:
            return
        bad = (
            (least is not None and value < least)
            or (most is not None and value > most)
            or (above is not None and value <= above)
            or (below is not None and value >= below)
        )
        if bad:
            kind = "a whole number" if isinstance(value, int) else "a number"
            limits = ((">=", least), (">", above), ("<=", most), ("<", below))
            wanted = " and ".join(f"{sign} {limit:.12g}" for sign, limit in limits if limit is not None)
            raise InputError(f"{name}: expected {kind} {wanted}, got {value!r}")

    def replace(self, **changes: Any) -> Self:
        """The same with some fields changed.

        Raises:
            InputError: an unknown field, or a value that does not fit.
        """
        return build(type(self), {f: getattr(self, f) for f in hints(type(self))} | changes, "")

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON values; parts within are objects with "kind"."""
        return {name: _json(getattr(self, name), name) for name in hints(type(self))}

    @classmethod
    def from_json(cls, content: Any, path: str = "") -> Self:
        """What `to_json` gave.

        Args:
            content: an object as `json` or `tomllib` reads it.
            path: what messages call it.

        Raises:
            InputError: an unknown kind or field, or a value that does not fit; names the path and the nearest name.
        """
        try:
            return build(cls, content, path)
        except RecursionError:
            raise InputError(f"{path or cls.__name__}: expected settings, got objects nested too deeply") from None


class Part(Settings):
    """One of the choices of a family.

    A family is declared by `class Loss(Part, family="loss")`; every further subclass is entered under its class name,
    except those whose name begins with an underscore.
    """

    family: ClassVar[str]
    _members: ClassVar[dict[str, type[Part]]]

    def __init_subclass__(cls, family: str | None = None, **options: Any) -> None:
        super().__init_subclass__(**options)
        if family is not None:
            cls.family, cls._members = family, {}
            return
        if not hasattr(cls, "_members"):
            raise InputError(f"{cls.__name__}: expected a family, as in class {cls.__name__}(Part, family=...)")
        if cls.__name__.startswith("_"):
            return
        known = cls._members.get(cls.__name__)
        if known is not None and (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
            raise InputError(f"{cls.family} {cls.__name__!r} is registered already, by {known.__module__}")
        cls._members[cls.__name__] = cls

    @classmethod
    def kinds(cls) -> dict[str, type[Part]]:
        """The choices that there are, by name."""
        return {
            name: member
            for name, member in sorted(cls._members.items())
            if issubclass(member, cls) and not inspect.isabstract(member)
        }

    def to_json(self) -> dict[str, Any]:
        return {"kind": type(self).__name__} | super().to_json()


# -- types ------------------------------------------------------------------------------------------------------


@functools.cache
def hints(cls: type[Settings]) -> dict[str, Any]:
    """The fields with their types; one that names what its module does not know may hold anything."""
    found = {}
    for f in fields(cls):
        if not f.init:
            continue
        hint = f.type
        if isinstance(hint, str):
            home = next(c for c in cls.__mro__ if f.name in inspect.get_annotations(c))
            space = vars(sys.modules.get(home.__module__, types.ModuleType("none")))
            try:
                # not only its own part of `home`: one hint that cannot be resolved must not lose the others
                hint = typing.get_type_hints(types.SimpleNamespace(__annotations__={"it": hint}), dict(space))["it"]
            except (NameError, TypeError, SyntaxError, AttributeError):
                hint = Any
        found[f.name] = hint
    return found


def alternatives(hint: Any) -> list[Any]:
    """The members of a union, or the hint alone."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return [a for inner in typing.get_args(hint) for a in alternatives(inner)]
    return [type(None) if hint is None else hint]


def families(hint: Any) -> list[type[Part]]:
    """The families, or parts, that a value of this type may come from."""
    return [o for o in alternatives(hint) if isinstance(o, type) and issubclass(o, Part)]


def conform(value: Any, hint: Any, path: str) -> Any:
    """`value` as the type `hint`: NumPy's numbers become Python's, lists tuples, objects and calls parts.

    Raises:
        InputError: it does not fit; the message names `path`.
    """
    options = alternatives(hint)
    homes = families(hint)
    if type(None) in options and isinstance(value, Call) and value.bare and value.kind.lower() in ("none", "null"):
        return None
    if homes and isinstance(value, Mapping | Call) and not isinstance(value, Settings):
        return _part(homes, value, path)
    for option in options:
        found = _attempt(value, option, path)
        if found is not MISSING:
            return found
    raise InputError(f"{path}: expected {describe(hint)}, got {value!r:.80}")


def _word(value: Any) -> str | None:
    return value.kind if isinstance(value, Call) and value.bare else None


def _attempt(value: Any, hint: Any, path: str) -> Any:
    """`value` as one type, or MISSING."""
    word = _word(value)
    if hint is type(None):
        return None if value is None else MISSING
    if hint is bool:
        if word is not None and word.lower() in ("true", "false", "yes", "no", "on", "off"):
            return word.lower() in ("true", "yes", "on")
        return bool(value) if isinstance(value, bool | np.bool_) else MISSING
    if hint is int:
        return int(value) if is_whole(value) else MISSING
    if hint is float:
        return float(value) if is_number(value) else MISSING
    if hint is str:
        return word if word is not None else str(value) if isinstance(value, str) else MISSING
    origin = typing.get_origin(hint)
    if origin is Literal:
        wanted = value if word is None else word
        return next((a for a in typing.get_args(hint) if type(a) is type(wanted) and a == wanted), MISSING)
    if hint is tuple or origin is tuple:
        return _sequence(value, typing.get_args(hint) or (Any, ...), path)
    if isinstance(hint, type) and hint is not Any:
        return value if isinstance(value, hint) else MISSING
    return _plain(value)


def _sequence(value: Any, inner: tuple[Any, ...], path: str) -> Any:
    if isinstance(value, Part | Call):
        value = (value,)  # one part, or word, where several may stand
    if isinstance(value, np.ndarray) and value.ndim == 1:
        value = value.tolist()
    if not isinstance(value, list | tuple):
        return MISSING
    if inner == ((),):  # tuple[()]
        inner = ()
    if len(inner) == 2 and inner[1] is ...:
        inner = (inner[0],) * len(value)
    if len(inner) != len(value):
        return MISSING
    return tuple(conform(v, h, f"{path}[{i}]") for i, (v, h) in enumerate(zip(value, inner, strict=True)))


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    return tuple(_plain(v) for v in value) if isinstance(value, list | tuple) else value


def describe(hint: Any) -> str:
    """A type in words, for messages."""
    simple = {bool: "true or false", int: "a whole number", float: "a number", str: "text", type(None): "none"}
    found = []
    for option in alternatives(hint):
        origin, inner = typing.get_origin(option), typing.get_args(option)
        if option in simple:
            found.append(simple[option])
        elif origin is Literal:
            found += [repr(a) for a in inner]
        elif option is tuple or origin is tuple:
            fixed = inner and inner[-1] is not ...
            each = "values" if not inner or len({*inner} - {...}) > 1 else _plural(describe(inner[0]))
            found.append(f"{len(inner)} {each}" if fixed else each)
        elif isinstance(option, type) and issubclass(option, Part):
            names = ", ".join(option.kinds())
            found.append(f"one of {names}" if names else option.__name__)
        else:
            found.append(getattr(option, "__name__", str(option)))
    return " or ".join(found)


def _plural(words: str) -> str:
    if words.startswith("one of "):
        return f"some of {words.removeprefix('one of ')}"
    simple = words.removeprefix("a ")
    return f"{simple}s" if simple.replace(" ", "").isalpha() else f"values ({words})"


# -- from and to JSON -------------------------------------------------------------------------------------------


def _json(value: Any, path: str) -> Any:
    if isinstance(value, Settings):
        return value.to_json()
    if isinstance(value, tuple):
        return [_json(v, f"{path}[{i}]") for i, v in enumerate(value)]
    if value is None or isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise InputError(f"{path}: expected what goes into JSON, got {value!r:.80}")


def _part(homes: list[type[Part]], content: Mapping[Any, Any] | Call, path: str) -> Part:
    """The part that `content` describes, from whichever of the families knows its name."""
    kind = content.kind if isinstance(content, Call) else content.get("kind")
    known = {name: cls for home in homes for name, cls in home.kinds().items()}
    family = " or ".join(dict.fromkeys(home.family for home in homes))
    if not isinstance(kind, str):
        raise InputError(f"{path}: expected a {family} with its kind, one of {', '.join(known)}, got {content!r:.80}")
    if kind not in known:
        raise InputError(f"{path}: no {family} is called {kind!r:.80}{suggest(kind, known)}")
    cls = known[kind]
    if isinstance(content, Call):
        names = list(hints(cls))
        if len(content.positional) > len(names):
            raise InputError(f"{path}: {kind} takes {len(names)} values, got {len(content.positional)}")
        given = list(zip(names, content.positional, strict=False)) + list(content.named)
        twice = [n for i, (n, _) in enumerate(given) if n in [m for m, _ in given[:i]]]
        if twice:
            raise InputError(f"{path}.{twice[0]}: is given twice")
        content = {"kind": kind} | dict(given)
    return build(cls, content, path)


def build(cls: type[S], content: Any, path: str) -> S:
    """An object of `cls`, or of the kind in the family `cls`, from its fields.

    Raises:
        InputError: as `Settings.from_json`.
    """
    if not isinstance(content, Mapping):
        raise InputError(f"{path or cls.__name__}: expected an object with fields, got {content!r:.80}")
    if issubclass(cls, Part):
        if "kind" in content and (inspect.isabstract(cls) or content["kind"] != cls.__name__):
            return typing.cast(S, _part([cls], content, path or cls.family))
        if inspect.isabstract(cls):
            return typing.cast(S, _part([cls], content, path or cls.family))
        content = {k: v for k, v in content.items() if k != "kind"}
    if "__dataclass_params__" not in cls.__dict__:
        raise InputError(f"{path or cls.__name__}: {cls.__name__} is no dataclass; expected @dataclass(frozen=True)")
    known = hints(cls)
    for name in content:
        if name not in known:
            raise InputError(f"{path or 'fields'}: {cls.__name__} has no field {name!r:.80}{suggest(str(name), known)}")
    needed = [f.name for f in fields(cls) if f.init and f.default is MISSING and f.default_factory is MISSING]
    for name in needed:
        if name not in content:
            raise InputError(f"{join(path, name)}: expected {describe(known[name])}, got nothing")
    values = {name: conform(value, known[name], join(path, name)) for name, value in content.items()}
    try:
        return cls(**values)
    except InputError as error:  # a range: the message begins with the field's name
        raise InputError(join(path, str(error))) from None


def join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def differences(mine: Any, other: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Where two settings differ: (path, value of the first, value of the second)."""
    if type(mine) is type(other) and isinstance(mine, Settings):
        for name in hints(type(mine)):
            yield from differences(getattr(mine, name), getattr(other, name), join(path, name))
    elif mine != other:
        yield path, mine, other
