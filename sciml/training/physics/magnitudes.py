"""How large the terms of a balance are in a case: what its residual is measured in."""

from __future__ import annotations

import operator
from collections.abc import Mapping

from sciml.calculus import magnitude
from sciml.expressions import Balance, Coordinate, Expression, Field, Input, Parameter, Partial, Time
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

    def leaf(node: Expression) -> float:
        match node:
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
                return _size(argument, case, inputs) / scales.length
        raise TypeError(f"unknown leaf {node!r}")

    return magnitude(e, leaf, operator.add)
