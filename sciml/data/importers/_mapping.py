"""What somebody tells about files that do not tell it themselves, as TOML.

layout = "arrays"
problem = "plume"
steady = false
periodic = ["x"]

[axes]
order = ["case", "time", "y", "x"]   # of all arrays; a field may have its own

[time]
unit = "s"
step = 0.1                           # or: from = "t"
first = 0.0

[coordinates.x]
unit = "m"
low = 0.0                            # ends of the domain, whose cells are equal; or: from = "x" (centres)
high = 1.0

[fields.u]
from = "velocity.npy"                # a file, a variable, "file:variable", a column
component = 0                        # along the axis "component", where there is one
unit = "m/s"

[parameters.viscosity]
from = "nu"                          # or: value = 0.01; or: values = {case_1 = 0.01, case_2 = 0.02}
unit = "m2/s"

[inputs.k]
from = "permeability.npy"
unit = "m2"

[options]                            # of the layout itself
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from sciml.errors import InputError, is_number, suggest


@dataclass(frozen=True)
class Taken:
    """Values from the source.

    Args:
        source: which file, variable or column; TOML: "from".
        unit: as it is written.
        component: along the axis "component".
        axes: of this array; () for those of all.
        scale, offset: number that values are multiplied by and number added then, for another unit.
        kind: of inputs: "coefficient", "source", "initial" or "boundary".
        value, values: of parameters: one number for all cases, or case -> number.
    """

    source: str = ""
    unit: str = ""
    component: int | None = None
    axes: tuple[str, ...] = ()
    scale: float = 1.0
    offset: float = 0.0
    kind: str = "coefficient"
    value: float | None = None
    values: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Along:
    """Positions along an axis: taken from the source, or ends of the domain, or first and step.

    Args:
        source: variable or column of positions; TOML: "from".
        unit: as it is written; low, high: ends of the domain, cut into equal cells.
        first, step: of times.
    """

    source: str = ""
    unit: str = ""
    low: float | None = None
    high: float | None = None
    first: float | None = None
    step: float | None = None


@dataclass(frozen=True)
class Plan:
    """What somebody told; all of it may be left out.

    Args:
        layout: how the files are to be read; "" to find out.
        problem, title: what the data set is called.
        steady: whether there is no time; None to find out.
        periodic: axes along which the domain closes.
        order: axes of arrays, of "case", "time", "z", "y", "x", "node", "component".
        time: times of frames.
        coordinates: axis -> positions.
        fields, parameters, inputs: by name.
        options: of the layout.
    """

    layout: str = ""
    problem: str = ""
    title: str = ""
    steady: bool | None = None
    periodic: tuple[str, ...] = ()
    order: tuple[str, ...] = ()
    time: Along = Along()
    coordinates: Mapping[str, Along] = field(default_factory=dict)
    fields: Mapping[str, Taken] = field(default_factory=dict)
    parameters: Mapping[str, Taken] = field(default_factory=dict)
    inputs: Mapping[str, Taken] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)

    @staticmethod
    def read(path: str | Path) -> Plan:
        """From a TOML file.

        Raises:
            InputError: it is not there, is no TOML, or has a key that is none; names file and key.
        """
        from sciml.data import _files

        name = _files.given(path, "mapping")
        try:
            content = tomllib.loads(Path(name).read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(f"{name}: cannot open: {_files.reason(error)}") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise InputError(f"{name}: not TOML: {error}") from None
        try:
            return Plan.from_json(content)
        except InputError as error:
            raise InputError(f"{name}: {error}") from None

    @staticmethod
    def from_json(content: Mapping[str, Any]) -> Plan:
        """From the content of such a file.

        Raises:
            InputError: an unknown key, or a value of the wrong kind.
        """
        content = dict(content)
        axes = _table(content.pop("axes", {}), "axes")
        _known(axes, ("order",), "axes")
        given: dict[str, Any] = {}
        if "order" in axes:
            given["order"] = _words(axes["order"], "axes.order")
        _known(content, [f.name for f in fields(Plan) if f.name != "order"] + ["axes"], "")
        for name in ("layout", "problem", "title"):
            if name in content:
                given[name] = _of(str, content[name], name)
        if content.get("steady") is not None:
            given["steady"] = _of(bool, content["steady"], "steady")
        if "periodic" in content:
            given["periodic"] = _words(content["periodic"], "periodic")
        if "time" in content:
            given["time"] = _part(Along, content["time"], "time")
        for name, kind in (("coordinates", Along), ("fields", Taken), ("parameters", Taken), ("inputs", Taken)):
            if name in content:
                table = _table(content[name], name)
                given[name] = {str(k): _part(kind, v, f"{name}.{k}") for k, v in table.items()}
        if "options" in content:
            given["options"] = dict(_table(content["options"], "options"))
        return Plan(**given)

    def to_json(self) -> dict[str, Any]:
        """What `from_json` takes, without what is as by default."""
        found: dict[str, Any] = {}
        for name in ("layout", "problem", "title"):
            if getattr(self, name):
                found[name] = getattr(self, name)
        if self.steady is not None:
            found["steady"] = self.steady
        if self.periodic:
            found["periodic"] = list(self.periodic)
        if self.order:
            found["axes"] = {"order": list(self.order)}
        if self.time != Along():
            found["time"] = _plain(self.time)
        for name in ("coordinates", "fields", "parameters", "inputs"):
            if getattr(self, name):
                found[name] = {k: _plain(v) for k, v in getattr(self, name).items()}
        if self.options:
            found["options"] = dict(self.options)
        return found

    def option(self, name: str, kind: type, default: Any = None) -> Any:
        """An option of the layout, checked.

        Raises:
            InputError: of another kind.
        """
        return _of(kind, self.options[name], f"options.{name}") if name in self.options else default


def toml(content: Mapping[str, Any], comments: Mapping[str, str] | None = None) -> str:
    """A plan's JSON as TOML.

    Args:
        comments: dotted key -> a remark behind its line, or, of a table, above it.
    """
    notes, lines = dict(comments or {}), []

    def put(key: str, value: Any, path: str) -> None:
        note = f"  # {notes[path]}" if path in notes else ""
        lines.append(f"{_key(key)} = {_value(value)}{note}")

    def table(content: Mapping[str, Any], path: str) -> None:
        simple = {k: v for k, v in content.items() if not isinstance(v, Mapping)}
        if path and (simple or not content):
            lines.extend(["", *([f"# {notes[path]}"] if path in notes else []), f"[{path}]"])
        for k, v in simple.items():
            put(k, v, f"{path}.{k}" if path else k)
        for k, v in content.items():
            if isinstance(v, Mapping):
                inner = f"{path}.{_key(k)}" if path else _key(k)
                table(v, inner)

    table(content, "")
    return "\n".join(lines).lstrip("\n") + "\n"


def _key(name: str) -> str:
    bare = name and all(c.isascii() and (c.isalnum() or c in "_-") for c in name)
    return name if bare else _value(name)


def _value(value: Any) -> str:
    import json

    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_value(v) for v in value) + "]"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


def _plain(part: Any) -> dict[str, Any]:
    default, found = type(part)(), {}
    for name, value in asdict(part).items():
        if value != getattr(default, name):
            found["from" if name == "source" else name] = list(value) if isinstance(value, tuple) else value
    return found


def _part(kind: type, content: Any, path: str) -> Any:
    content = dict(_table(content, path))
    names = [f.name for f in fields(kind) if f.name != "source"] + ["from"]  # type: ignore[arg-type]
    _known(content, names, path)
    given: dict[str, Any] = {}
    for key, value in content.items():
        where = f"{path}.{key}"
        if key in ("from", "unit", "kind"):
            given["source" if key == "from" else key] = _of(str, value, where)
        elif key == "axes":
            given[key] = _words(value, where)
        elif key == "component":
            given[key] = _of(int, value, where)
        elif key == "values":
            given[key] = {str(k): float(_of(float, v, f"{where}.{k}")) for k, v in _table(value, where).items()}
        else:
            given[key] = float(_of(float, value, where))
    return kind(**given)


def _known(content: Mapping[str, Any], names: Any, path: str) -> None:
    for key in content:
        if key not in names:
            at = f"{path}: " if path else ""
            raise InputError(f"{at}no key is called {key!r}{suggest(key, names)}")


def _table(value: Any, path: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InputError(f"{path}: expected a table, got {value!r:.60}")
    return value


def _words(value: Any, path: str) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(v, str) for v in value):
        raise InputError(f"{path}: expected a list of words, got {value!r:.60}")
    return tuple(value)


def _of(kind: type, value: Any, path: str) -> Any:
    good = is_number(value) if kind is float else isinstance(value, kind) and not (
        kind is int and isinstance(value, bool)
    )  # fmt: skip
    if not good:
        words = {str: "text", bool: "true or false", int: "a whole number", float: "a number"}
        raise InputError(f"{path}: expected {words.get(kind, kind.__name__)}, got {value!r:.60}")
    return value
