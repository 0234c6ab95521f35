"""What a study does, as one TOML file: everything that was used, to be edited and run again."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sciml.errors import FileFormatError, InputError, suggest
from sciml.studies._candidates import Fitted, Model, Trained
from sciml.studies._plan import Plan, surrogate_settings
from sciml.studies._split import Split
from sciml.training.parts import Settings
from sciml.training.recipe import Length, Recipe

_KEYS = {"operator": ("operator", "options", "stepping", "fields", "constraints", "validation", "recipe"),
         "solver": ("solver",)}  # fmt: skip


@dataclass(frozen=True)
class Config(Settings):
    """Settings of a study, but for its models.

    Args:
        source: what is studied: a data set file, or whatever can be imported.
        layout, plan: what importing is told, the latter in a TOML file; None for what is recognised.
        minutes: for choosing and training, in all.
        length: of the training of each model, in place of minutes.
        operators: names of what is trained; () for what the data call for.
        split: how; None for what suits the data.
        logarithmic: parameters that are told by their logarithms; None for those that look it.
        steps: of the rollouts that are compared.
        seed: of splits, weights and the order of batches.
        device: "auto", "cpu", "cuda".
    """

    source: str = ""
    layout: str | None = None
    plan: str | None = None
    minutes: float = 10.0
    length: Length | None = None
    operators: tuple[str, ...] = ()
    split: Split | None = None
    logarithmic: tuple[str, ...] | None = None
    steps: int = 20
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._range("minutes", above=0)
        self._range("steps", 1)
        self._range("seed", 0)
        if len(set(self.operators)) < len(self.operators):
            raise InputError(f"operators: expected every name once, got {', '.join(self.operators)}")


def read(path: Path) -> tuple[Config, dict[str, Model]]:
    """The settings and models in a file.

    Raises:
        InputError: a key that is none, with the nearest that is, or a value that does not fit.
        FileFormatError: no TOML.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"config: {path} cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise FileFormatError(f"{path}: expected TOML, got something else ({error})") from None
    try:
        models = content.pop("models", {})
        return Config.from_json(content), _models(models)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _models(content: Any) -> dict[str, Model]:
    if not isinstance(content, Mapping):
        raise InputError(f"models: expected a table for each model, got {content!r:.60}")
    found: dict[str, Model] = {}
    for name, table in content.items():
        where = f"models.{name}"
        if not name.replace("_", "").replace("-", "").isalnum():
            raise InputError(f"{where}: names are folders; expected letters, digits, - and _")
        if not isinstance(table, Mapping):
            raise InputError(f"{where}: expected a table, got {table!r:.60}")
        kind = "solver" if "solver" in table else "operator"
        for key in table:
            if key not in _KEYS[kind]:
                raise InputError(f"{where}: no setting is called {key!r}{suggest(str(key), _KEYS[kind])}")
        if not isinstance(table.get(kind), str):
            raise InputError(f"{where}.{kind}: expected a name, got {table.get(kind)!r:.60}")
        found[name] = Fitted(table["solver"]) if kind == "solver" else _trained(where, table)
    return found


def _trained(where: str, table: Mapping[str, Any]) -> Trained:
    settings: Any = surrogate_settings()
    mine = {k: v for k, v in table.items() if k not in ("operator", "options", "recipe")}
    if mine.get("validation") == "":
        mine["validation"] = None
    options = table.get("options", {})
    if not isinstance(options, Mapping):
        raise InputError(f"{where}.options: expected a table, got {options!r:.60}")
    plan = {
        "operator": table["operator"], "options": options,
        "recipe": Recipe.from_json(table.get("recipe", {}), f"{where}.recipe").to_json(),
        "surrogate": settings.from_json(mine, where).to_json() if mine else None,
    }  # fmt: skip
    return Trained(Plan.from_json(plan))


def to_toml(config: Config, models: Mapping[str, Model]) -> str:
    """As TOML; `read` gives the same again."""
    from sciml.training.recipe import _toml  # pyright: ignore[reportPrivateUsage]

    lines = [
        "# Everything that this study used. Change what you like, and run it again:",
        "#     sciml study --config study.toml",
        "# Stages whose settings are as they were are not done again.",
        "",
    ]
    for name, value in config.to_json().items():
        if value is None:
            lines.append(f"# {name} is left to what suits the data")
        else:
            lines.append(f"{name} = {_toml(value)}")
    for name, model in models.items():
        content = json.loads(json.dumps(model.to_json()))
        lines += ["", f"[models.{_key(name)}]"]
        if "solver" in content:
            lines.append(f"solver = {json.dumps(content['solver'])}")
            continue
        lines.append(f"operator = {json.dumps(content['operator'])}")
        if content["options"]:
            lines.append(f"options = {_toml(content['options'])}")
        mine = content["surrogate"] or {}
        for key in ("stepping", "fields", "constraints"):
            if mine.get(key) is not None:
                lines.append(f"{key} = {_toml(mine[key])}")
        if mine and mine.get("validation") is None:
            lines.append('validation = ""')
        lines += ["", f"[models.{_key(name)}.recipe]"]
        lines += [f"{k} = {_toml(v)}" for k, v in content["recipe"].items() if v is not None]
    return "\n".join(lines) + "\n"


def _key(name: str) -> str:
    return name if name.replace("_", "").replace("-", "").isalnum() and name.isascii() else json.dumps(name)
