"""A small calculus of balances: derivatives along a direction, the strong form, the weak form and its tangent.

    δF(u)[w] = d/dε F(u + εw) at ε = 0                                      `differentiate`
    R = ∂t storage + ∇·flux − source over D^α u alone                       `strong`
    ∫ v ∂t storage − ∫ ∇v·flux + ∮ v (flux·n) = ∫ v source for all v        `weak`

All of them are trees again, so that a balance, written once, is what a finite-element solver assembles, what Newton's
method linearises exactly, and what a learned basis or a collocation point is put into.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sciml.errors import InputError, suggest
from sciml.expressions import (
    ZERO,
    Balance,
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
    along,
    expression,
    leaves,
    rebuilt,
    time_derivative,
)


@dataclass(frozen=True)
class Derivative(Expression):
    """D^α of a field or an input, as a leaf.

    Args:
        field: `Field` or `Input`; a name means a field.
        alpha: how often along x, y, ..., and last along t.
    """

    field: Expression
    alpha: tuple[int, ...]

    def __post_init__(self) -> None:
        if isinstance(self.field, str):
            object.__setattr__(self, "field", Field(self.field))
        if not isinstance(self.field, Field | Input) or min(self.alpha, default=-1) < 0:
            raise InputError(f"derivative: expected D^α of a field, α from 0 on, got {self.field!r} and {self.alpha!r}")

    @property
    def order(self) -> int:
        return sum(self.alpha)


def _raised(alpha: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return tuple(n + (k == axis) for k, n in enumerate(alpha))


def _each(e: Any, change: Callable[[Expression], Any]) -> Any:
    """`change` of a scalar, or of every component of a vector or tensor."""
    if not isinstance(e, np.ndarray):
        return change(expression(e))
    found = np.empty(e.shape, dtype=object)
    for place in np.ndindex(e.shape):
        found[place] = change(expression(e[place]))
    return found


def expanded(e: Any, dimensions: int) -> Any:
    """The expression with all derivatives carried down to the fields by product and chain rule: `Partial` and `Rate`
    give way to `Derivative`."""

    def nowhere(node: Partial) -> Expression:
        raise AssertionError(node)  # an expanded tree has none

    def change(node: Expression) -> Expression:
        match node:
            case Partial(argument, axis):
                return along(expanded(argument, dimensions), _in_space(axis, dimensions), nowhere)
            case Rate(name):
                return Derivative(Field(name), (0,) * dimensions + (1,))
        return node

    return _each(e, lambda a: rebuilt(a, change))


def _in_space(axis: int, dimensions: int) -> Callable[[Expression], Expression]:
    """∂/∂x_axis of a leaf."""

    def rule(leaf: Expression) -> Expression:
        match leaf:
            case Field() | Input():
                return Derivative(leaf, _raised((0,) * (dimensions + 1), axis))
            case Derivative(of, alpha):
                return Derivative(of, _raised(alpha, axis))
            case Coordinate(k):
                return Constant(float(k == axis))
        return ZERO

    return rule


def differentiate(e: Any, field: Field | str, direction: Any = None) -> Any:
    """δe(u)[w], the Gateaux derivative of an expression, or of every component of a vector, along w: linear in w.

    Args:
        field: u, an unknown.
        direction: w, an expression; by default an unknown called "δ" and the name of u.

    Raises:
        InputError: a `Rate` in a direction whose own rate is needed.
    """
    name = field.name if isinstance(field, Field) else field
    w: Any = Field(f"δ{name}") if direction is None else expression(direction)

    def rule(leaf: Expression) -> Expression:
        match leaf:
            case Field(n) if n == name:
                return w
            case Rate(n) if n == name:
                return _in_time(w)
            case Derivative(Field(n), alpha) if n == name:
                return _derived(w, alpha)
        return ZERO

    def partial(node: Partial) -> Expression:
        inner = along(node.argument, rule, partial)
        return ZERO if inner == ZERO else Partial(inner, node.axis)

    return _each(e, lambda a: along(a, rule, partial))


def _in_time(w: Expression) -> Any:
    """∂w/∂t; inputs are taken as constant in time."""

    def rule(leaf: Expression) -> Expression:
        match leaf:
            case Field(name):
                return Rate(name)
            case Derivative(Field() as of, alpha):
                return Derivative(of, _raised(alpha, len(alpha) - 1))
            case Time():
                return Constant(1.0)
            case Rate(name):
                raise InputError(f"differentiate: the direction holds the rate of {name!r}, expected a Derivative")
        return ZERO

    def partial(node: Partial) -> Expression:
        inner = _in_time(node.argument)
        return ZERO if inner == ZERO else Partial(inner, node.axis)

    return along(w, rule, partial)


def _derived(w: Expression, alpha: tuple[int, ...]) -> Expression:
    """D^α w."""
    if isinstance(w, Field):
        return Derivative(w, alpha)
    w = expanded(w, len(alpha) - 1)
    for _ in range(alpha[-1]):
        w = expanded(_in_time(w), len(alpha) - 1)
    for axis, count in enumerate(alpha[:-1]):
        for _ in range(count):
            w = Partial(w, axis)
    return expanded(w, len(alpha) - 1)


def slope(e: Any, leaf: Expression) -> Any:
    """∂e/∂leaf of an expanded expression: all other leaves are held, derivatives of a field being leaves of their own.

    Raises:
        InputError: the expression holds `Partial` nodes; `expanded` carries them down to the fields.
    """

    def partial(node: Partial) -> Expression:
        raise InputError("slope: expected an expanded expression, whose derivatives stand at the fields alone")

    def rule(node: Expression) -> Expression:
        return Constant(1.0) if node == leaf else ZERO

    return _each(e, lambda a: along(a, rule, partial))


def substituted(e: Any, values: Mapping[str, float]) -> Any:
    """The expression with numbers for parameters, simplified: a term with a factor 0 is gone."""

    def change(node: Expression) -> Expression:
        match node:
            case Parameter(name) if name in values:
                return Constant(float(values[name]))
            case Partial(argument, axis):
                inner = substituted(argument, values)
                return ZERO if isinstance(inner, Constant) else Partial(inner, axis)
        return node

    return _each(e, lambda a: rebuilt(a, change))


def strong(balance: Balance) -> tuple[Expression, ...]:
    """∂t storage + ∇·flux − source of each component, all derivatives being `Derivative` leaves of fields and inputs;
    inputs are taken as constant in time."""
    rows = []
    for storage, flux, source in balance.components():
        total: Any = ZERO if storage is None else time_derivative(storage)
        for axis, component in enumerate(flux):
            total = total + Partial(component, axis)
        rows.append(expanded(total - source, len(flux)))
    return tuple(rows)


def owners(balances: Iterable[Balance], fields: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """For each field the numbers of the rows, over the components of all balances, that may be its own balance: one
    where that can be told.

    It is the row that says so (`Balance.of`), else the one that stores the field and nothing else, else those that
    store it. Of what no row stores it is the row without storage whose flux along every axis holds the derivative of
    the field along that axis (in −ν(∇u + ∇uᵀ), row x for u), else the only row that is no other field's.

    Raises:
        InputError: `of` names what is no field, or not one field for each component.
    """
    said: list[str] = []
    parts: list[tuple[Expression | None, tuple[Expression, ...], Expression]] = []
    for balance in balances:
        rows = balance.components()
        named = [balance.of] if isinstance(balance.of, str) else list(balance.of)
        if named and (len(named) != len(rows) or not set(named) <= set(fields)):
            raise InputError(
                f"balance: of is {balance.of!r}, expected one of {', '.join(fields)} for each of {len(rows)} components"
            )
        said += named or [""] * len(rows)
        parts += rows
    found = {name: _own(name, parts, said) for name in fields}
    for name in fields:
        others = {numbers[0] for n, numbers in found.items() if n != name and len(numbers) == 1}
        left = tuple(k for k in range(len(parts)) if k not in others and said[k] in ("", name))
        if not found[name] and len(left) == 1:
            found[name] = left
    return found


def _own(
    name: str, parts: Sequence[tuple[Expression | None, tuple[Expression, ...], Expression]], said: Sequence[str]
) -> tuple[int, ...]:
    field, free = Field(name), [k for k, n in enumerate(said) if not n]
    if name in said:
        return tuple(k for k, n in enumerate(said) if n == name)
    storing = [k for k in free if parts[k][0] is not None and field in leaves(parts[k][0])]  # type: ignore[arg-type]
    if storing:
        return tuple([k for k in storing if parts[k][0] == field] or storing)

    def along_itself(flux: tuple[Expression, ...]) -> bool:
        d = len(flux)
        return all(
            Derivative(field, _raised((0,) * (d + 1), axis)) in leaves(expanded(f, d)) for axis, f in enumerate(flux)
        )

    return tuple(k for k in free if parts[k][0] is None and along_itself(parts[k][1]))


@dataclass(frozen=True)
class WeakRow:
    """One scalar balance under the integral: for every test function v

        ∫ v ∂t storage − ∫ ∇v·flux + ∮ v (flux·n) = ∫ v source.

    Args:
        field: the unknown whose conditions it is under, and whose test functions it has.
        storage: over fields, or None; flux: by axis; source: these over fields and their first derivatives.
    """

    field: str
    storage: Expression | None
    flux: tuple[Expression, ...]
    source: Expression


def weak(balances: Iterable[Balance], fields: Sequence[str]) -> tuple[WeakRow, ...]:
    """The weak form of balances, in the order of the fields. Where it cannot be seen which component is the balance of
    which field (`owners`), they belong to the fields in their order.

    Args:
        fields: names of the unknowns.

    Raises:
        InputError: another number of components than fields, a derivative of more than first order in a flux or a
            source, or one in a storage.
    """
    balances = list(balances)
    parts = [row for balance in balances for row in balance.components()]
    if len(parts) != len(fields):
        raise InputError(f"weak form: {len(parts)} balances for {len(fields)} fields ({', '.join(fields)})")
    found, own = [], owners(balances, fields)
    told = [own[name][0] for name in fields if len(own[name]) == 1]
    if sorted(told) == list(range(len(parts))):
        parts = [parts[k] for k in told]
    for name, (storage, flux, source) in zip(fields, parts, strict=True):
        d = len(flux)
        row = WeakRow(
            name, None if storage is None else expanded(storage, d), tuple(expanded(f, d) for f in flux),
            expanded(source, d),
        )  # fmt: skip
        for what, e, most in (*(("flux", f, 1) for f in row.flux), ("source", row.source, 1), ("storage", storage, 0)):
            for leaf in leaves(expanded(e, d)) if e is not None else ():
                if isinstance(leaf, Derivative) and (leaf.order > most or leaf.alpha[-1]):
                    raise InputError(f"weak form: the {what} of {name!r} holds D^{leaf.alpha} of {_called(leaf)!r}")
                if isinstance(leaf, Field) and leaf.name not in fields:
                    raise InputError(f"weak form: {leaf.name!r} is no unknown{suggest(leaf.name, fields)}")
        found.append(row)
    return tuple(found)


def _called(leaf: Derivative) -> str:
    return leaf.field.name if isinstance(leaf.field, Field | Input) else ""


def tangent(e: Expression, fields: Sequence[str], dimensions: int) -> dict[tuple[str, int], Expression]:
    """The coefficients c of δe = Σ c[f, 0] δf + Σ c[f, 1 + j] ∂_j δf over fields f and axes j, of an expanded
    expression of first derivatives; those that are zero are left out."""
    found = {}
    for name in fields:
        units = [_raised((0,) * (dimensions + 1), axis) for axis in range(dimensions)]
        for k, leaf in enumerate([Field(name), *(Derivative(Field(name), alpha) for alpha in units)]):
            c = slope(e, leaf)
            if c != ZERO:
                found[name, k] = c
    return found


def magnitude(e: Expression, leaf: Callable[[Expression], float], together: Callable[[float, float], float]) -> float:
    """How large an expression is where its parts have given sizes: products and powers are taken of sizes, the terms of
    a sum never cancel. Bounded functions count as 1.

    Args:
        leaf: the size of a leaf or of a `Partial`, at least 0.
        together: that of two terms: `max`, or their sum.
    """

    def of(node: Expression) -> float:
        match node:
            case Constant(value):
                return abs(value)
            case Operation("add" | "subtract", a, b):
                return together(of(a), of(b))
            case Operation("minimum" | "maximum", a, b) | Choice(_, a, b):
                return max(of(a), of(b))
            case Operation("multiply", a, b):
                return of(a) * of(b)
            case Operation("divide", a, b):
                return of(a) / (of(b) or 1.0)
            case Operation(_, a, b):  # a power
                base, exponent = of(a), b.value if isinstance(b, Constant) else of(b)
                return base**exponent if base else 0.0
            case Function("abs", a):
                return of(a)
            case Function("sqrt", a):
                return of(a) ** 0.5
            case Function("exp", a):
                return math.exp(min(of(a), 50.0))
            case Function():
                return 1.0
        return leaf(node)

    return of(e)
