"""What is to be trained, as the command line and the processes that it starts tell each other."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, make_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sciml.errors import InputError, suggest
from sciml.training.assignments import assign, listing, literal, pairs, shown
from sciml.training.parts import Settings, hints
from sciml.training.recipe import Recipe, Running

if TYPE_CHECKING:
    from sciml.contracts import Operator

GIVEN_BY_DATA = ("self", "in_channels", "out_channels", "n_params", "masked", "dimensions")
GIVEN_BY_OPTIONS = ("out", "resume", "device", "callbacks", "progress")  # of `Running`


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


def options_of(operator: type[Operator]) -> dict[str, inspect.Parameter]:
    """The arguments of an operator that do not follow from the data."""
    wanted = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    parameters = inspect.signature(operator).parameters
    decided = {*GIVEN_BY_DATA, *operator.decided}
    return {n: p for n, p in parameters.items() if n not in decided and p.kind in wanted}


def read(base: Plan, operator: type[Operator], running: Running, texts: Sequence[str]) -> tuple[Plan, Running]:
    """A plan from another one and `PATH=VALUE` texts: `operator.width=48`, `running.memory_limit=1e9`,
    `stepping=Query()`, `fields=u,v`, `constraints=DivergenceFree()`, `split=train`, and all paths of the recipe.

    Raises:
        InputError: a path that leads nowhere, or a value that does not fit.
    """
    name, recipe, mine = base.operator, base.recipe, base.surrogate
    known, options = options_of(operator), dict(base.options)
    changed = [n for n in hints(Running) if n not in GIVEN_BY_OPTIONS]
    for path, text in pairs(texts, "--set").items():
        head, _, rest = path.partition(".")
        try:
            if head == "operator":
                if rest not in known:
                    raise InputError(f"{path}: {name} takes no {rest!r}{suggest(rest, known)}")
                options[rest] = _option(text, path, known[rest])
            elif head == "running":
                if rest not in changed:
                    raise InputError(f"{path}: running has no {rest!r} to set{suggest(rest, changed)}")
                running = assign(running, [f"{rest}={text}"])
            elif head in hints(Recipe):
                recipe = assign(recipe, [f"{path}={text}"])
            elif path in known:
                raise InputError(f"{path}: no setting is called {path!r}; did you mean 'operator.{path}'?")
            elif head in hints(surrogate_settings()):
                mine = assign(surrogate_settings()() if mine is None else mine, [f"{path}={text}"])
            else:
                recipe = assign(recipe, [f"{path}={text}"])  # which says what is wrong with it
        except InputError as error:
            raise InputError(f"--set {error}") from None
    return Plan(name, options, recipe, mine), running


def _option(text: str, path: str, parameter: inspect.Parameter) -> Any:
    value, annotation = literal(text, path), str(parameter.annotation)
    if value is None:  # where there is no such thing, a word like others
        return None if "None" in annotation else text.strip()
    several = annotation.startswith(("Sequence", "tuple"))
    return (value,) if several and not isinstance(value, tuple) else value


def everything(operator: type[Operator], recipe: Recipe) -> Iterator[tuple[str, str, str]]:
    """Every path that `read` takes: (path, what is expected, default)."""
    yield from listing(recipe)
    yield from listing(surrogate_settings()())
    for name, parameter in options_of(operator).items():
        default = "" if parameter.default is inspect.Parameter.empty else shown(parameter.default)
        annotation = parameter.annotation
        wanted = "anything" if annotation is inspect.Parameter.empty else getattr(annotation, "__name__", annotation)
        yield f"operator.{name}", str(wanted), default
    for name, wanted, default in listing(Running(), "running"):
        if name.partition(".")[2] not in GIVEN_BY_OPTIONS:
            yield name, wanted, default
