"""What is to be trained, as it is typed: `--set PATH=VALUE`."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from sciml.errors import InputError, suggest
from sciml.studies._plan import Plan, surrogate_settings
from sciml.training.assignments import assign, listing, literal, pairs, shown
from sciml.training.parts import hints
from sciml.training.recipe import Recipe, Running

if TYPE_CHECKING:
    from sciml.contracts import Operator

GIVEN_BY_DATA = ("self", "in_channels", "out_channels", "n_params", "masked", "dimensions")
GIVEN_BY_OPTIONS = ("out", "resume", "device", "callbacks", "progress")  # of `Running`


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
