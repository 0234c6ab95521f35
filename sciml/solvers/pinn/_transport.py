"""A scalar balance in one dimension along its characteristics.

    ∂t u + ∂x f(u, x, t) − ... = 0   ⇔   dX/dt = a,   dw/dt = −rest   along X(ξ, t), w(ξ, t) = u(X(ξ, t), t)

where a is the coefficient of ∂x u in the strong form with the derivatives of u set to zero in it, and `rest` is all
that is left of the strong form. In the label ξ derivatives along x are

    ∂x = (1/X_ξ) ∂_ξ,   ∂x² u = (1/X_ξ) ∂_ξ (w_ξ / X_ξ),   ...

A second derivative along ξ in the place of ∂x² would be another equation wherever characteristics converge.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sciml.calculus import Derivative, slope, strong
from sciml.derivatives.jax import backend
from sciml.errors import InputError
from sciml.expressions import (
    ZERO,
    Constant,
    Coordinate,
    Expression,
    Field,
    Input,
    Parameter,
    Partial,
    Time,
    evaluate,
    leaves,
    rebuilt,
)
from sciml.problem import Case, Problem
from sciml.solvers.pinn._rows import scale_of
from sciml.solvers.pinn._terms import Term

Scalar = Callable[[Any], Any]


@dataclass(frozen=True)
class Transport:
    """∂t u + a ∂x u + rest = 0.

    Args:
        field: u.
        speed: a, over u, inputs, coordinates and parameters.
        rest: all else, over u and its derivatives along x.
    """

    field: str
    speed: Expression
    rest: Expression


def transport(problem: Problem) -> Transport:
    """The one balance of a problem, with its transport told from the rest.

    Raises:
        InputError: more than one field or balance, more than one dimension, a steady problem, or a storage other than
            the field times a number, further derivatives in time.
    """
    name = problem.name
    balances = list(problem.balances().values())
    if problem.dimensions != 1 or len(problem.fields) != 1 or len(balances) != 1 or problem.steady:
        raise InputError(
            f"lagrangian PINN: {name} has {problem.dimensions} dimensions and {len(problem.fields)} fields and is "
            f"{'steady' if problem.steady else 'in time'}, expected one field in one dimension and time"
        )
    field = problem.fields[0].name
    (row,) = strong(balances[0])
    rate, along_x = (Derivative(Field(field), alpha) for alpha in ((0, 1), (1, 0)))
    storage = slope(row, rate)
    if not isinstance(storage, Constant) or storage == ZERO:
        raise InputError(f"lagrangian PINN: {name} stores more than a number times {field}")
    mixed = [e for e in leaves(row) if isinstance(e, Derivative) and e.alpha[-1] and e != rate]
    if mixed:
        raise InputError(
            f"lagrangian PINN: {name} holds {mixed[0].alpha} derivatives, expected ∂t {field} alone in time"
        )
    row = row / storage

    def still(leaf: Expression) -> Expression:
        return ZERO if isinstance(leaf, Derivative) and leaf.field == Field(field) else leaf

    def without(*gone: Expression) -> Any:
        return rebuilt(row, lambda leaf: ZERO if leaf in gone else leaf)

    whole = slope(row, along_x)
    speed = rebuilt(whole, still)
    if whole == speed:  # nothing is added only to be taken away again where u is steep
        return Transport(field, speed, without(rate, along_x))
    return Transport(field, speed, without(rate) - speed * along_x)


def derivatives(rest: Expression, field: str) -> int:
    """The highest derivative of the field along x."""
    orders = [e.alpha[0] for e in leaves(rest) if isinstance(e, Derivative) and e.field == Field(field)]
    return max(orders, default=0)


def along_x(state: Scalar, place: Scalar, z: Any, order: int) -> list[Any]:
    """u, ∂x u, ..., ∂x^order u at a label and time z = (ξ, t), of w(z) and X(z)."""
    label = jnp.zeros_like(z).at[0].set(1)

    def in_label(f: Scalar) -> Scalar:
        return lambda p: jax.jvp(f, (p,), (label,))[1]

    stretch = in_label(place)
    functions = [state]
    for _ in range(order):
        former = in_label(functions[-1])
        functions.append(lambda p, former=former: former(p) / stretch(p))
    return [f(z) for f in functions]


class Along(Term):
    """What is left of dX/dt = a and dw/dt = −rest at labels and times (ξ, t), of a flow with X = `place`, w = `state`.

    Args:
        flow: `place` and `state` are functions of (ξ, t).
    """

    name = "interior"

    def __init__(self, case: Case, law: Transport):
        (name,) = case.problem.balances()
        self.law, self.rows = law, ("characteristic", name)
        self.order = derivatives(law.rest, law.field)
        scales = case.scales
        rate = scales.fields.get(law.field, 1.0) / scales.time
        self.speed = scale_of(case, law.speed) if law.speed != ZERO else scales.length / scales.time
        self.scales = np.array([self.speed, max(rate, scale_of(case, law.rest)) if law.rest != ZERO else rate])

    @property
    def inputs(self) -> set[str]:
        return {e.name for part in (self.law.speed, self.law.rest) for e in leaves(part) if isinstance(e, Input)}

    def values(self, fields: Any, point: Mapping[str, Any], parameters: Mapping[str, Any], inputs: Mapping) -> Any:
        z = point["z"]
        u = along_x(fields.state, fields.place, z, self.order)
        x, time = fields.place(z), jnp.zeros_like(z).at[1].set(1)

        def leaf(node: Expression) -> Any:
            match node:
                case Field():
                    return u[0]
                case Derivative(Field(), alpha):
                    return u[alpha[0]]
                case Input(name):
                    return inputs[name](jnp.stack([x, z[1]]))
                case Parameter(name):
                    return parameters[name]
                case Coordinate():
                    return x
                case Time():
                    return z[1]
            raise TypeError(f"unknown leaf {node!r}")

        def none(node: Partial) -> Any:
            raise AssertionError(node)

        speed, rest = (evaluate(e, leaf, none, backend.functions) for e in (self.law.speed, self.law.rest))
        moved = jax.jvp(fields.place, (z,), (time,))[1] - speed
        changed = jax.jvp(fields.state, (z,), (time,))[1] + rest
        return jnp.stack([moved, changed])
