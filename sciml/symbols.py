"""The equations of a case as symbols: words and numbers in prefix order, for models that read what they solve.

    ∂t u + ∇·(a u − κ ∇u) = 0, a = (1, 0), κ = 0.1   →   row field:u add multiply ... number(0.1) partial_x field:u ...

Every balance is written out row by row, storage, flux along each axis, source, with the parameters of the case as the
numbers that they are; then the box, what bounds it from inside, and what is known on its boundaries. Each operator has
a fixed number of arguments, so that no brackets are needed and `expressions_of` reads the very same trees again.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from sciml.boundary import Condition, Flux, Periodic, Robin, Series
from sciml.errors import InputError, suggest
from sciml.expressions import (
    Choice,
    Constant,
    Coordinate,
    Expression,
    Field,
    Function,
    Input,
    Operation,
    Parameter,
    Partial,
    Rate,
    Time,
    rebuilt,
)
from sciml.geometry import AXES, Box, Geometry
from sciml.problem import Case, PDEProblem

PLACES = 8  # along a boundary at which values that vary there are told
VERTICES = 64  # of an outline that are told

#: words of a tree -> the number of arguments that follow
ARGUMENTS = {
    **dict.fromkeys(("add", "subtract", "multiply", "divide", "power", "minimum", "maximum"), 2),
    **dict.fromkeys(("sin", "cos", "exp", "log", "sqrt", "tanh", "erf", "abs", "sign"), 1),
    **{f"partial_{axis}": 1 for axis in AXES},
    **dict.fromkeys(("number", "time", *AXES), 0),
    "choice": 3,
}
_STRUCTURE = ("row", "none", "extent", "step", "in_time", "in_space", "body", "disc", "polygon", "shape", "on")
_SIDES = (*(f"{axis}_{end}" for axis in AXES for end in ("min", "max")), *(f"periodic_{axis}" for axis in AXES))
_CONDITIONS = ("dirichlet", "neumann", "robin", "flux", "outflow", "periodic")
#: all words but the names of fields and inputs
WORDS = (*ARGUMENTS, *_STRUCTURE, *_SIDES, *_CONDITIONS, "input")


class Symbol(NamedTuple):
    """A word; `value` is that of a "number", and 0 of any other word."""

    word: str
    value: float = 0.0

    def __str__(self) -> str:
        return f"{self.value:g}" if self.word == "number" else self.word


def number(value: float) -> Symbol:
    return Symbol("number", float(value))


def symbols(case: Case, step: float | None = None) -> tuple[Symbol, ...]:
    """The equations, the domain and the boundary conditions of a case.

    Args:
        step: a length of time that is told as well, in the problem's time unit.

    Raises:
        InputError: a problem that states no equations.
    """
    problem = case.problem
    if not isinstance(problem, PDEProblem) or not (balances := problem.balances()):
        raise InputError(f"{problem.name}: states no equations, so there is nothing to write out as symbols")
    found: list[Symbol] = []
    for balance in balances.values():
        for storage, fluxes, source in balance.components():
            found.append(Symbol("row"))
            for part in (storage, *fluxes, source):
                found += [Symbol("none")] if part is None else _tree(with_numbers(part, case))
    found += _domain(case.geometry)
    found += _boundaries(case)
    return (*found, *(() if step is None else (Symbol("step"), number(step))))


def parameters(case: Case, step: float | None = None) -> tuple[Symbol, ...]:
    """The values of a case's parameters, in the order of its problem, with no word of what they do: for comparison with
    models that read equations.

    Args:
        step: as of `symbols`.
    """
    values = [number(case.parameters[p.name]) for p in case.problem.parameters]
    return (*values, *(() if step is None else (Symbol("step"), number(step))))


def with_numbers(e: Expression, case: Case) -> Expression:
    """The tree with the case's values in place of parameters, and products and sums of numbers worked out."""

    def change(node: Expression) -> Expression:
        match node:
            case Parameter(name):
                return Constant(float(case.parameters[name]))
            case Partial(argument, axis):
                return Partial(rebuilt(argument, change), axis)
        return node

    return rebuilt(e, change)


def rows(case: Case) -> list[tuple[Expression | None, ...]]:
    """(storage, flux along each axis, source) of every row of the balances, with the case's numbers."""
    balances = case.problem.balances().values()
    return [
        tuple(None if part is None else with_numbers(part, case) for part in (storage, *fluxes, source))
        for balance in balances for storage, fluxes, source in balance.components()
    ]  # fmt: skip


def expressions_of(several: Sequence[Symbol], dimensions: int) -> list[tuple[Expression | None, ...]]:
    """`rows` again, out of symbols.

    Raises:
        InputError: symbols that are no rows of trees.
    """
    stream, found = iter(several), []
    for symbol in stream:
        if symbol.word != "row":
            break
        found.append(tuple(_read(stream) for _ in range(dimensions + 2)))
    return found


def numbered(several: Sequence[Symbol], fields: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """(symbol,) whole numbers of words and (symbol,) values: words of `vocabulary(fields)`, 0 being no word.

    Raises:
        InputError: a field that is not among them.
    """
    table = {word: i for i, word in enumerate(vocabulary(fields))}
    words = ["input" if s.word.startswith("input:") else s.word for s in several]
    for word in words:
        if word not in table:
            name = word.partition(":")[2] or word
            raise InputError(f"symbols: no field is called {name!r}{suggest(name, list(fields))}")
    return np.array([table[w] for w in words], np.int64), np.array([s.value for s in several])


def vocabulary(fields: Sequence[str]) -> tuple[str, ...]:
    """All words of equations of these fields; the first is none, for what fills up a batch."""
    return ("", *WORDS, *(f"{kind}:{name}" for name in fields for kind in ("field", "rate")))


# -- trees --------------------------------------------------------------------------------------------------------


def _tree(e: Expression) -> list[Symbol]:
    match e:
        case Constant(value):
            return [number(value)]
        case Field(name):
            return [Symbol(f"field:{name}")]
        case Rate(name):
            return [Symbol(f"rate:{name}")]
        case Input(name):
            return [Symbol(f"input:{name}")]
        case Coordinate(axis):
            return [Symbol(AXES[axis])]
        case Time():
            return [Symbol("time")]
        case Partial(argument, axis):
            return [Symbol(f"partial_{AXES[axis]}"), *_tree(argument)]
        case Operation(name, a, b):
            return [Symbol(name), *_tree(a), *_tree(b)]
        case Function(name, a):
            return [Symbol(name), *_tree(a)]
        case Choice(decision, above, below):
            return [Symbol("choice"), *_tree(decision), *_tree(above), *_tree(below)]
    raise InputError(f"symbols: no word is known for {type(e).__name__}")


def _read(stream: Iterator[Symbol]) -> Expression | None:
    symbol = next(stream, None)
    if symbol is None:
        raise InputError("symbols: end in the middle of a row")
    word, value = symbol
    kind, _, name = word.partition(":")
    if word == "none":
        return None
    if kind in (leaves := {"field": Field, "rate": Rate, "input": Input}):
        return leaves[kind](name)
    if word not in ARGUMENTS:
        raise InputError(f"symbols: {word!r} is no part of an equation")
    several: Any = [_read(stream) for _ in range(ARGUMENTS[word])]
    if word == "number":
        return Constant(value)
    if word in AXES:
        return Coordinate(AXES.index(word))
    if word == "time":
        return Time()
    if word == "choice":
        return Choice(*several)
    if word.startswith("partial_"):
        return Partial(several[0], AXES.index(word[-1]))
    return Operation(word, *several) if ARGUMENTS[word] == 2 else Function(word, *several)


# -- domain and boundaries ----------------------------------------------------------------------------------------


def _domain(geometry: Geometry) -> list[Symbol]:
    found = [Symbol("extent"), *(number(end) for ends in geometry.extents for end in ends)]
    found += [Symbol(f"periodic_{AXES[k]}") for k, around in enumerate(geometry.periodic) if around]
    return found if isinstance(geometry, Box) else found + _shapes(geometry)


def _shapes(geometry: Any) -> list[Symbol]:
    """What a region is made of, by its numbers."""
    kind, several = type(geometry).__name__.lower(), _numbers(geometry)
    found = [Symbol(kind if kind in ("disc", "polygon") else "shape"), *map(number, several[: 2 * VERTICES])]
    for part in _members(geometry):
        found += [Symbol("body"), *_shapes(part)]
    return found


def _values(geometry: Any) -> list[Any]:
    if dataclasses.is_dataclass(geometry):
        return [getattr(geometry, f.name) for f in dataclasses.fields(geometry)]
    return list(vars(geometry).values())


def _members(geometry: Any) -> list[Geometry]:
    several = []
    for value in _values(geometry):
        several += [v for v in (value if isinstance(value, tuple | list) else (value,)) if isinstance(v, Geometry)]
    return several


def _numbers(geometry: Any) -> list[float]:
    found: list[float] = []
    for value in _values(geometry):
        if isinstance(value, str | bool):
            continue
        try:
            array = np.asarray(value, np.float64)
        except (TypeError, ValueError):
            continue
        found += array.ravel().tolist()
    return found


def _boundaries(case: Case) -> list[Symbol]:
    found: list[Symbol] = []
    for boundary, conditions in case.boundary_conditions.items():
        told: list[Symbol] = []
        for name, condition in conditions.items():
            if not isinstance(condition, Periodic):  # the domain says so
                told += [Symbol(type(condition).__name__.lower()), Symbol(f"field:{name}")]
                told += _condition(case, boundary, condition)
        if told:
            found += [Symbol("on"), Symbol(boundary if boundary in _SIDES else "body"), *told]
    return found


def _condition(case: Case, boundary: str, condition: Condition) -> list[Symbol]:
    found = [number(condition.a), number(condition.b)] if isinstance(condition, Robin) else []
    value = condition.value
    if isinstance(value, Series):
        pairs = np.stack([value.times, value.values], axis=1)[:PLACES]
        return [*found, Symbol("in_time"), *map(number, pairs.ravel())]
    if condition.in_space or callable(value):
        if callable(value):
            values = condition.at(0.0, case.geometry.boundaries[boundary].places(PLACES))
        else:
            along = np.asarray(value, np.float64).ravel()
            values = np.interp(np.linspace(0, 1, PLACES), np.linspace(0, 1, len(along)), along)
        return [*found, Symbol("in_space"), *map(number, np.ravel(values))]
    if isinstance(condition, Flux) and not isinstance(value, int | float):
        return found
    return [*found, number(float(value))] if math.isfinite(float(value)) else found  # type: ignore[arg-type]


__all__ = ["Symbol", "expressions_of", "numbered", "rows", "symbols", "vocabulary", "with_numbers"]
