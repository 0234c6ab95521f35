"""Balances on functions: the strong form at points, by forward-mode automatic differentiation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sciml.errors import InputError, suggest
from sciml.expressions import Balance, Coordinate, Expression, Field, Input, Parameter, Partial, Rate, Time, evaluate

Function = Callable[[Any], Any]


@dataclass(frozen=True)
class Pointwise:
    """Evaluates balances of functions of one point z = (x, y, ..., t).

    Args:
        functions: elementary functions by name.
        derivative: (f, z, direction) -> directional derivative of f at z.
        unit: (z, axis) -> the unit vector of an axis.
        vmap: maps a function of one point over many.
    """

    functions: Mapping[str, Callable[..., Any]]
    derivative: Callable[[Function, Any, Any], Any]
    unit: Callable[[Any, int], Any]
    vmap: Callable[[Function], Function]

    def residual(
        self,
        balance: Balance,
        fields: Mapping[str, Function],
        points: Any,
        parameters: Mapping[str, Any],
        inputs: Mapping[str, Function],
    ) -> list[Any]:
        rows = []
        for storage, flux, source in balance.components():

            def at(z: Any, storage=storage, flux=flux, source=source) -> Any:
                def value(e: Expression) -> Function:
                    return lambda point: self._evaluate(e, point, fields, parameters, inputs)

                time = z.shape[-1] - 1
                total = 0.0 * z[0] if storage is None else self.derivative(value(storage), z, self.unit(z, time))
                for axis, f in enumerate(flux):
                    total = total + self.derivative(value(f), z, self.unit(z, axis))
                return total - value(source)(z)

            rows.append(self.vmap(at)(points))
        return rows

    def _evaluate(
        self,
        e: Expression,
        z: Any,
        fields: Mapping[str, Function],
        parameters: Mapping[str, Any],
        inputs: Mapping[str, Function],
    ) -> Any:
        def leaf(node: Expression) -> Any:
            match node:
                case Field(name):
                    return _named(fields, name, "field")(z)
                case Input(name):
                    return _named(inputs, name, "input")(z)
                case Parameter(name):
                    return _named(parameters, name, "parameter")
                case Coordinate(axis):
                    return z[axis]
                case Time():
                    return z[-1]
                case Rate(name):
                    return self.derivative(_named(fields, name, "field"), z, self.unit(z, z.shape[-1] - 1))
            raise TypeError(f"unknown leaf {node!r}")

        def partial(node: Partial) -> Any:
            def inner(point: Any) -> Any:
                # a number has no derivative of its own: make it a function of the point
                return self._evaluate(node.argument, point, fields, parameters, inputs) + 0.0 * point[0]

            return self.derivative(inner, z, self.unit(z, node.axis))

        return evaluate(e, leaf, partial, self.functions) + 0.0 * z[0]


def _named(table: Mapping[str, Any], name: str, what: str) -> Any:
    if name not in table:
        raise InputError(f"the equation needs the {what} {name!r}, which was not given{suggest(name, table)}")
    return table[name]
