"""What is to be trained, as it is typed: `--set PATH=VALUE`."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sciml import registry
from sciml.cli._arguments import choice
from sciml.errors import InputError, suggest
from sciml.solver import TrainableSolver
from sciml.solvers._choices import arguments
from sciml.studies._plan import Plan, SolverPlan, SolverSettings, surrogate_settings
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


def read_any(base: Plan | SolverPlan, running: Running, texts: Sequence[str]) -> tuple[Plan | SolverPlan, Running]:
    """As `read`, of a plan of either kind."""
    if isinstance(base, SolverPlan):
        return read_solver(base, texts), running
    return read(base, registry.operators.get(base.operator), running, texts)


def of_solver(name: str) -> SolverPlan:
    """The plan of a solver without an operator, nothing chosen yet.

    Raises:
        InputError: a solver that is none of these.
    """

    def alone(name: str) -> bool:
        kind = registry.solvers.get(name)
        return issubclass(kind, TrainableSolver) and kind.alone

    if name not in registry.solvers.names() or not alone(name):
        choice("--solver", name, filter(alone, registry.solvers.names()))
    plan = SolverPlan(name)
    return replace(plan, recipe=plan.kind.default_recipe())


def read_solver(base: SolverPlan, texts: Sequence[str]) -> SolverPlan:
    """A plan from another one and `PATH=VALUE` texts: `modes=16`, `fields=u,v`, `split=train`, and all paths of the
    recipe, where there is one.

    Raises:
        InputError: a path that leads nowhere, or a value that does not fit.
    """
    known, fitted = arguments(base.kind), _fitted(base)
    options, recipe, settings, given = dict(base.options), base.recipe, base.settings, pairs(texts, "--set")
    try:
        for path, text in given.items():
            head = path.partition(".")[0]
            if path in known:
                options[path] = _option(text, path, known[path])
            elif head in fitted:
                settings = assign(settings, [f"{path}={text}"])
            elif recipe is not None and head in hints(Recipe):
                recipe = assign(recipe, [f"{path}={text}"])
            else:
                every = [p for p, _, _ in everything_of(base)]
                same = [p for p in every if p.rpartition(".")[2] == path.rpartition(".")[2]]
                tail = f"; did you mean {same[0]!r}?" if same else suggest(path, [p for p in every if "." not in p])
                raise InputError(f"{path}: {base.solver} takes no {path!r}{tail}")
        plan = SolverPlan(base.solver, options, recipe, settings)
        plan.made()
    except InputError as error:
        raise InputError(f"--set {error}") from None
    return plan


def _fitted(plan: SolverPlan) -> list[str]:
    """What can be said of the data that a solver is fitted to."""
    return [n for n in hints(SolverSettings) if n != "validation" or plan.recipe is not None]


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
    yield from _listed("operator.", options_of(operator))
    for name, wanted, default in listing(Running(), "running"):
        if name.partition(".")[2] not in GIVEN_BY_OPTIONS:
            yield name, wanted, default


def everything_of(plan: Plan | SolverPlan) -> Iterator[tuple[str, str, str]]:
    """Every path that `read_any` takes: (path, what is expected, default)."""
    if isinstance(plan, Plan):
        yield from everything(registry.operators.get(plan.operator), plan.recipe)
        return
    yield from _listed("", arguments(plan.kind))
    if plan.recipe is not None:
        yield from listing(plan.recipe)
    yield from (row for row in listing(plan.settings) if row[0] in _fitted(plan))


def _listed(prefix: str, parameters: Mapping[str, inspect.Parameter]) -> Iterator[tuple[str, str, str]]:
    for name, parameter in parameters.items():
        default = "" if parameter.default is inspect.Parameter.empty else shown(parameter.default)
        annotation = parameter.annotation
        wanted = "anything" if annotation is inspect.Parameter.empty else getattr(annotation, "__name__", annotation)
        yield prefix + name, str(wanted), default
