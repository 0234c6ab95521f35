"""What is to be trained, as commands, studies and the processes that they start tell each other."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, make_dataclass
from pathlib import Path
from typing import Any, Literal

from sciml.errors import InputError
from sciml.training.parts import Settings
from sciml.training.recipe import Recipe, Running

#: settings of what moves particles
OF_PARTICLES = ("radius", "nodes", "choice", "features")
#: settings of what sees sensors
OF_SENSORS = ("share", "instants", "gap", "queries")
#: settings of what reads equations
OF_EQUATIONS = ("symbols",)
LATER = ("constraints", *OF_PARTICLES, *OF_SENSORS, *OF_EQUATIONS)  # plans that say nothing of them keep their digests


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
            ("radius", float | None, None),
            ("nodes", int | float | None, None),
            ("choice", str | None, None),
            ("features", words, None),
            ("share", tuple[float, ...] | None, None),
            ("instants", int | None, None),
            ("gap", int | None, None),
            ("queries", int | None, None),
            ("symbols", bool | Literal["parameters"] | None, None),
        ],
        bases=(Settings,),
        frozen=True,
    )


@dataclass(frozen=True)
class SolverSettings(Settings):
    """What a solver without an operator is fitted to."""

    split: str = "train"
    validation: str | None = "validation"
    fields: tuple[str, ...] | None = None


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

    @property
    def name(self) -> str:
        return self.operator

    @property
    def kind(self) -> Any:
        """The class of the solver that the operator is trained as."""
        from sciml import registry

        return registry.solvers.get(registry.operators.get(self.operator).solver)

    def to_json(self) -> dict[str, Any]:
        mine = None if self.surrogate is None else self.surrogate.to_json()
        for name in LATER:
            if mine is not None and mine[name] is None:
                del mine[name]
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

    def made(self, former: Any = None, fresh: bool = False, **more: Any) -> Any:
        """The untrained surrogate.

        Args:
            former: a trained surrogate, whose options and settings hold where the plan says nothing.
            more: further arguments, such as the device.

        Raises:
            InputError: settings that contradict those of `former`, or that the operator's solver does not have.
        """
        kind: Any = self.kind
        mine: Any = surrogate_settings()() if self.surrogate is None else self.surrogate
        options, given = dict(self.options), {n: getattr(mine, n) for n in ("stepping", *kind.planned)}
        given = {n: v for n, v in given.items() if v is not None}
        for name in ("fields", *LATER):
            if name not in kind.planned and getattr(mine, name) is not None:
                raise InputError(f"{name}: {self.operator} has no such setting")
        if former is not None:
            self._agrees(former, fresh)
            options, given = former.options | options, former.settled() | given
        return kind(operator=self.operator, **given, **more, **options)

    def train(
        self, data: str | Path | Sequence[str | Path], running: Running, former: Any = None, fresh: bool = False
    ) -> Any:
        """The trained surrogate, saved in `running.out`.

        Args:
            data: path of a data set; of several, where the operator's solver learns from several.
            former: a trained surrogate to go on from; its operator, options, stepping, fields and weights are kept.
            fresh: begin with new weights and scales, and keep of `former` only how it was set up.

        Raises:
            InputError: settings that contradict those of `former`.
        """
        mine: Any = surrogate_settings()() if self.surrogate is None else self.surrogate
        surrogate = self.made(former, fresh)
        if former is not None and not fresh:
            surrogate.fitted_as = former.fitted_as
        surrogate.fit(
            str(data) if isinstance(data, str | Path) else [str(one) for one in data], self.recipe, split=mine.split,
            validation=mine.validation, subset=mine.subset, running=running,
        )  # fmt: skip
        return surrogate

    def _agrees(self, former: Any, fresh: bool) -> None:
        """Refuse what the weights of another run do not fit."""
        if self.operator != former.operator_name:
            raise InputError(f"--operator: expected {former.operator_name}, which --from holds, got {self.operator}")
        mine: Any = self.surrogate
        given = {f"operator.{n}": (v, former.options.get(n)) for n, v in self.options.items()}
        if mine is not None:
            kept = former.settled()
            given |= {n: (getattr(mine, n), kept[n]) for n in kept if n != "constraints"}
        for name, (wanted, have) in given.items():
            if not fresh and wanted is not None and _tuples(wanted) != _tuples(have):
                raise InputError(f"--set {name}: the weights of --from were trained with {have!r}, got {wanted!r}; "
                                 "add --fresh to begin with new ones")  # fmt: skip


@dataclass(frozen=True)
class SolverPlan:
    """A solver that is `alone`, by name with its arguments, a recipe where it has one, and what it is fitted to."""

    solver: str
    options: Mapping[str, Any] = field(default_factory=dict)
    recipe: Recipe | None = None
    settings: SolverSettings = field(default_factory=SolverSettings)

    @property
    def name(self) -> str:
        return self.solver

    @property
    def kind(self) -> Any:
        from sciml import registry

        return registry.solvers.get(self.solver)

    def to_json(self) -> dict[str, Any]:
        recipe = None if self.recipe is None else self.recipe.to_json()
        settings = self.settings.to_json()
        return {"solver": self.solver, "options": dict(self.options), "recipe": recipe, "settings": settings}

    def made(self) -> Any:
        """The untrained solver."""
        return self.kind(**self.options)

    def train(self, data: Any, running: Running, former: Any = None, fresh: bool = False) -> Any:
        """The trained solver, saved in `running.out`; it begins anew each time, whatever `former` is."""
        s, own = self.settings, {} if self.settings.fields is None else {"fields": self.settings.fields}
        return self.made().fit(
            str(data), self.recipe, split=s.split, validation=s.validation, running=running, **own
        )  # fmt: skip


def _tuples(value: Any) -> Any:
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value
