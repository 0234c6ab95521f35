"""How large the terms of a balance are in a case: what its residual is measured in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sciml.expressions import (
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
    Time,
)
from sciml.problem import Case


def magnitudes(balance: Balance, case: Case, inputs: Mapping[str, float]) -> list[float]:
    """For each component |storage|/T + Σ_a |flux_a|/L + |source|, by the case's own scales: a field is as large as its
    scale, ∂/∂x divides by the length L, and the terms of a sum do not cancel.

    Args:
        inputs: root mean square of each input field.
    """
    scales, found = case.scales, []
    for storage, flux, source in balance.components():
        terms = [_size(f, case, inputs) / scales.length for f in flux] + [_size(source, case, inputs)]
        if storage is not None:
            terms.append(_size(storage, case, inputs) / scales.time)
        total = sum(terms)
        found.append(total if total > 0 else 1.0)
    return found


def _size(e: Expression, case: Case, inputs: Mapping[str, float]) -> float:
    scales = case.scales

    def of(a: Any) -> float:
        return _size(a, case, inputs)

    match e:
        case Constant(value):
            return abs(value)
        case Parameter(name):
            return abs(case.parameters[name])
        case Field(name):
            return scales.fields.get(name, 1.0)
        case Input(name):
            return inputs.get(name, 1.0)
        case Coordinate():
            return scales.length
        case Time():
            return scales.time
        case Partial(argument, _):
            return of(argument) / scales.length
        case Operation("add" | "subtract", a, b):
            return of(a) + of(b)
        case Operation("multiply", a, b):
            return of(a) * of(b)
        case Operation("divide", a, b):
            return of(a) / max(of(b), 1e-300)
        case Operation("minimum" | "maximum", a, b) | Choice(_, a, b):
            return max(of(a), of(b))
        case Operation(_, a, b):
            exponent = b.value if isinstance(b, Constant) else case.parameters.get(getattr(b, "name", ""), 1.0)
            return of(a) ** exponent
        case Function("abs" | "sqrt", a):
            return of(a) if e.name == "abs" else of(a) ** 0.5
        case Function("exp", a):
            return 2.718281828459045 ** min(of(a), 50.0)
    return 1.0  # sines, tanh, signs
