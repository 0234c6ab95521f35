"""How large expressions are by the scales of a case."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from sciml import calculus
from sciml.boundary import Series
from sciml.calculus import Derivative
from sciml.expressions import Coordinate, Expression, Field, Input, Parameter, Partial, Time
from sciml.problem import Case


def magnitude(
    case: Case, e: Expression, together: Callable[[float, float], float] = max,
    inputs: Mapping[str, float] | None = None,
) -> float:  # fmt: skip
    """The size of an expression: a field is as large as its scale, an input as its root mean square, a coordinate as
    its largest value, and every derivative divides by the length or the time of the case. 0 where that is nothing, or
    not finite.

    Args:
        together: size of a sum of two terms, which never cancel: `max` for the larger one, `operator.add` for both.
        inputs: sizes of inputs, where they are known already.
    """
    scales = case.scales

    def leaf(node: Expression) -> float:
        match node:
            case Parameter(name):
                return abs(case.parameters[name])
            case Coordinate(axis):
                return max(map(abs, case.geometry.extents[axis]))
            case Time():
                return scales.time
            case Field(name):
                return scales.fields.get(name, 1.0)
            case Input(name):
                return _input_size(case, name) if inputs is None or name not in inputs else inputs[name]
            case Derivative(of, alpha):
                return leaf(of) / scales.length ** sum(alpha[:-1]) / scales.time ** alpha[-1]
            case Partial(argument, _):
                return magnitude(case, argument, together, inputs) / scales.length
        raise TypeError(f"unknown leaf {node!r}")

    with np.errstate(all="ignore"):
        found = float(calculus.magnitude(e, leaf, together))
    return found if np.isfinite(found) and found > 0 else 0.0


def _input_size(case: Case, name: str) -> float:
    values: Any = case.inputs.get(name)
    if values is None:
        spec = next(s for s in case.problem.inputs if s.name == name)
        if spec.default is None:
            return 1.0
        lines = [np.linspace(*ends, 9) for ends in case.geometry.extents]
        values = np.asarray(spec.default(case.parameters, *np.meshgrid(*lines, indexing="ij")), np.float64)
    values = values.values if isinstance(values, Series) else values
    return float(np.sqrt(np.mean(np.square(values))))
