"""Conditions on numbers by name, as text: `"viscosity > 0.01 and 1 <= lid_velocity < 2"`.

Names, numbers, + - * / **, comparisons, `and`, `or`, `not` and brackets; nothing else is looked at, and nothing is run.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Mapping
from typing import Any

import numpy as np

from sciml.errors import InputError, suggest

_COMPARED = {
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge, ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}  # fmt: skip
_REACHED = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}  # fmt: skip


def holds(text: str, numbers: Mapping[str, np.ndarray]) -> np.ndarray:
    """For each of C cases, whether a condition holds: (C,) bool.

    Args:
        numbers: name -> (C,) values.

    Raises:
        InputError: what is no such condition, or names a number that there is not.
    """
    try:
        tree = ast.parse(text.strip(), mode="eval")
        with np.errstate(all="ignore"):
            found = _value(tree.body, text, {k: np.asarray(v, dtype=np.float64) for k, v in numbers.items()})
    except (SyntaxError, RecursionError, MemoryError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"where: {text!r:.80} cannot be read; expected a condition like 'a > 1 and b <= 2'") from None
    if np.asarray(found).dtype != bool:
        raise InputError(f"where: {text!r:.80} is a number; expected a condition like 'a > 1'")
    count = len(next(iter(numbers.values())))
    return np.broadcast_to(found, (count,))


def _value(node: ast.expr, text: str, numbers: Mapping[str, np.ndarray]) -> Any:
    match node:
        case ast.BoolOp(op, values):
            parts = [_condition(v, text, numbers) for v in values]
            return (np.logical_and if isinstance(op, ast.And) else np.logical_or).reduce(np.broadcast_arrays(*parts))
        case ast.UnaryOp(ast.Not(), value):
            return np.logical_not(_condition(value, text, numbers))
        case ast.UnaryOp(ast.USub() | ast.UAdd() as sign, value):
            number = _number(value, text, numbers)
            return -number if isinstance(sign, ast.USub) else number
        case ast.Compare(left, operators, others) if all(type(o) in _COMPARED for o in operators):
            sides = [_number(v, text, numbers) for v in (left, *others)]
            each = [_COMPARED[type(o)](a, b) for o, a, b in zip(operators, sides[:-1], sides[1:], strict=True)]
            return np.logical_and.reduce(np.broadcast_arrays(*each))
        case ast.BinOp(left, how, right) if type(how) in _REACHED:
            return _REACHED[type(how)](_number(left, text, numbers), _number(right, text, numbers))
        case ast.Constant(value) if isinstance(value, int | float) and not isinstance(value, bool):
            return np.float64(value)
        case ast.Name(name):
            if name not in numbers:
                raise InputError(f"where: no number is called {name!r}{suggest(name, numbers)}")
            return numbers[name]
    raise InputError(
        f"where: {ast.get_source_segment(text.strip(), node) or text!r:.80} is neither a name, a number nor a condition"
    )


def _number(node: ast.expr, text: str, numbers: Mapping[str, np.ndarray]) -> Any:
    found = _value(node, text, numbers)
    if np.asarray(found).dtype == bool:
        raise InputError(f"where: {text!r:.80} compares or adds conditions; expected numbers there")
    return found


def _condition(node: ast.expr, text: str, numbers: Mapping[str, np.ndarray]) -> Any:
    found = _value(node, text, numbers)
    if np.asarray(found).dtype != bool:
        raise InputError(f"where: {text!r:.80} joins numbers by and, or, not; expected conditions there")
    return found
