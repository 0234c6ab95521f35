"""The strong rows of a problem's balances: names, derivatives that they need, scales, and values at one point."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sciml._magnitudes import magnitude
from sciml.calculus import Derivative, expanded, owners, strong
from sciml.derivatives.jax import backend
from sciml.errors import InputError
from sciml.expressions import (
    Coordinate,
    Expression,
    Field,
    Input,
    Parameter,
    Time,
    evaluate,
    leaves,
)
from sciml.geometry import AXES
from sciml.problem import Case, Problem
from sciml.solvers.pinn._jets import jets

Alpha = tuple[int, ...]
Inputs = Mapping[str, Callable[[Any], Any]]


@dataclass(frozen=True)
class Row:
    """One scalar equation, residual = 0.

    Args:
        name: "momentum.x", or "energy" where a balance has one component.
        residual: over `Field`, `Input` and `Derivative` leaves.
        flux: by axis, outwards positive.
        storage: None for a constraint.
        scale: magnitude of its largest term.
    """

    name: str
    residual: Expression
    flux: tuple[Expression, ...]
    storage: Expression | None
    scale: float


def rows_of(case: Case) -> tuple[Row, ...]:
    """The rows of all balances of a case.

    Raises:
        InputError: a problem that states no equations.
    """
    problem, found = case.problem, []
    for name, balance in problem.balances().items():
        parts = balance.components()
        for k, ((storage, flux, _), residual) in enumerate(zip(parts, strong(balance), strict=True)):
            label = name
            if len(parts) > 1:
                label = f"{name}.{AXES[k] if len(parts) <= 3 else k}"
            fluxes = tuple(expanded(f, problem.dimensions) for f in flux)
            found.append(Row(label, residual, fluxes, storage, scale_of(case, residual)))
    if not found:
        raise InputError(f"{problem.name}: states no equations, expected a problem with balances")
    return tuple(found)


def row_of_field(problem: Problem, rows: Sequence[Row], field: str) -> Row:
    """The balance of a field: of which the normal flux through a `Flux` boundary is meant.

    Raises:
        InputError: none can be told, or several may be it.
    """
    own = owners(problem.balances().values(), [f.name for f in problem.fields])[field]
    if len(own) == 1:
        return rows[own[0]]
    which = f"may be that of {', '.join(rows[k].name for k in own)}" if own else "is that of no balance"
    raise InputError(f"{problem.name}: Flux of {field!r} {which}; say whose it is, as in Balance(..., of={field!r})")


# -- what is needed ---------------------------------------------------------------------------------------------


def base(leaf: Expression, dimensions: int) -> tuple[Expression, Alpha] | None:
    """The field or input of a leaf, and how it is differentiated."""
    match leaf:
        case Field() | Input():
            return leaf, (0,) * (dimensions + 1)
        case Derivative(of, alpha):
            return of, alpha
    return None


def needed(expressions: Iterable[Expression], dimensions: int) -> tuple[dict[str, set[Alpha]], dict[str, set[Alpha]]]:
    """The derivatives of fields and of inputs, by name, that expressions hold."""
    fields: dict[str, set[Alpha]] = {}
    inputs: dict[str, set[Alpha]] = {}
    for e in expressions:
        for leaf in leaves(e):
            found = base(leaf, dimensions)
            if found is not None:
                of, alpha = found
                table = fields if isinstance(of, Field) else inputs
                table.setdefault(of.name, set()).add(alpha)  # type: ignore[union-attr]
    return fields, inputs


def parameters_of(expressions: Iterable[Expression]) -> set[str]:
    """The names of the parameters that expressions hold."""
    return {leaf.name for e in expressions for leaf in leaves(e) if isinstance(leaf, Parameter)}


# -- values -----------------------------------------------------------------------------------------------------


class Evaluator:
    """Expressions at one point, all of them out of one pass through the fields.

    Args:
        names: of the fields, in the order in which a function gives them.
    """

    def __init__(self, names: Sequence[str], dimensions: int, expressions: Sequence[Expression]):
        self.names, self.dimensions, self.expressions = tuple(names), dimensions, tuple(expressions)
        fields, self.inputs = needed(expressions, dimensions)
        zero = (0,) * (dimensions + 1)
        self.alphas = tuple(sorted({a for each in fields.values() for a in each} | {zero}))

    def __call__(
        self, fields: Callable[[Any], Any], z: Any, parameters: Mapping[str, Any], inputs: Inputs
    ) -> tuple[list[Any], dict[Alpha, Any]]:
        """The values at a point, and the jets of the fields there.

        Args:
            fields: (x, y, .., t) -> (F,).
            z: (D + 1,), time last.
        """
        jet = jets(fields, z, self.alphas)
        given = {n: jets(_input(inputs, n), z, alphas) for n, alphas in self.inputs.items()}
        memory: dict[Expression, Any] = {}

        def leaf(node: Expression) -> Any:
            match node:
                case Parameter(name):
                    return parameters[name]
                case Coordinate(axis):
                    return z[axis]
                case Time():
                    return z[-1]
            found = base(node, self.dimensions)
            assert found is not None, node
            of, alpha = found
            if isinstance(of, Field):
                return jet[alpha][self.names.index(of.name)]
            return given[of.name][alpha]  # type: ignore[attr-defined]

        def partial(node: Any) -> Any:
            raise AssertionError(node)  # expanded expressions have none

        return [evaluate(e, leaf, partial, backend.functions, memory) for e in self.expressions], jet


def _input(inputs: Inputs, name: str) -> Callable[[Any], Any]:
    if name not in inputs:
        raise InputError(f"residuals: the equations need the input {name!r}, which was not given")
    return inputs[name]


# -- scales -----------------------------------------------------------------------------------------------------


def scale_of(case: Case, e: Expression) -> float:
    """The size of the largest term of an expression; 1 where that is nothing."""
    return magnitude(case, e) or 1.0
