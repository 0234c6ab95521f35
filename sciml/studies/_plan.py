"""What is to be trained, as commands, studies and the processes that they start tell each other."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field, make_dataclass
from pathlib import Path
from typing import Any

from sciml.errors import InputError
from sciml.training.parts import Settings
from sciml.training.recipe import Recipe, Running


@functools.cache
def surrogate_settings() -> type[Settings]:
    """Fields: what `Surrogate` and its `fit` take beside operator, recipe and running."""
    from sciml.training.laws import Constraint  # pyright: ignore
    from sciml.training.stepping import Stepping  # pyright: ignore

    words = tuple[str, ...] | None
    return make_dataclass(
        "SurrogateSettings",
        [
            ("stepping", Stepping | None, None),
            ("fields", words, None),
            ("constraints", tuple[Constraint, ...] | None, None),
            ("split", str, "train"),
            ("validation", str | None, "validation"),
            ("subset", words, None),
        ],
        bases=(Settings,),
        frozen=True,
    )


@dataclass(frozen=True)
class Plan:
    """An operator by name with its options, a recipe, and how the surrogate treats time and data.

    Args:
        surrogate: values of `surrogate_settings`, None for its defaults.
    """

    operator: str
    options: Mapping[str, Any] = field(default_factory=dict)
    recipe: Recipe = field(default_factory=Recipe)
    surrogate: Settings | None = None

    def to_json(self) -> dict[str, Any]:
        mine = None if self.surrogate is None else self.surrogate.to_json()
        if mine is not None and mine["constraints"] is None:  # plans that say nothing keep their digests
            del mine["constraints"]
        return {
            "operator": self.operator,
            "options": dict(self.options),
            "recipe": self.recipe.to_json(),
            "surrogate": mine,
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Plan:
        surrogate = content["surrogate"]
        return cls(
            content["operator"],
            {k: _tuples(v) for k, v in content["options"].items()},
            Recipe.from_json(content["recipe"], "recipe"),
            None if surrogate is None else surrogate_settings().from_json(surrogate),
        )

    def train(self, data: str | Path, running: Running, former: Any = None, fresh: bool = False) -> Any:
        """The trained surrogate, saved in `running.out`.

        Args:
            former: a trained surrogate to go on from; its operator, options, stepping, fields and weights are kept.
            fresh: begin with new weights and scales, and keep of `former` only how it was set up.

        Raises:
            InputError: settings that contradict those of `former`.
        """
        from sciml.solvers import Surrogate

        mine: Any = surrogate_settings()() if self.surrogate is None else self.surrogate
        options, stepping, fields, constraints = dict(self.options), mine.stepping, mine.fields, mine.constraints
        if former is not None:
            self._agrees(former, fresh)
            options = former.options | options
            stepping, fields = stepping or former.encoding.stepping, fields or former.encoding.fields
            constraints = former.encoding.constraints if constraints is None else constraints
        surrogate: Any = Surrogate(
            self.operator, stepping=stepping, fields=fields, constraints=constraints or (), **options
        )  # fmt: skip
        if former is not None and not fresh:
            surrogate.fitted_as = former.fitted_as
        surrogate.fit(
            str(data), self.recipe, split=mine.split, validation=mine.validation, subset=mine.subset, running=running
        )
        surrogate.save(running.out)
        return surrogate

    def _agrees(self, former: Any, fresh: bool) -> None:
        """Refuse what the weights of another run do not fit."""
        if self.operator != former.operator_name:
            raise InputError(f"--operator: expected {former.operator_name}, which --from holds, got {self.operator}")
        mine: Any = self.surrogate
        given = {f"operator.{n}": (v, former.options.get(n)) for n, v in self.options.items()}
        if mine is not None:
            given["stepping"] = (mine.stepping, former.encoding.stepping)
            given["fields"] = (mine.fields, former.encoding.fields)
        for name, (wanted, have) in given.items():
            if not fresh and wanted is not None and _tuples(wanted) != _tuples(have):
                raise InputError(f"--set {name}: the weights of --from were trained with {have!r}, got {wanted!r}; "
                                 "add --fresh to begin with new ones")  # fmt: skip


def _tuples(value: Any) -> Any:
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value
