"""Lazy field expressions: an equation is written once, its derivatives are taken later.

A scalar expression is a tree of the nodes below. Vectors and tensors are NumPy object arrays of scalar expressions, so
NumPy's own broadcasting is their algebra: `q.u**2 / 2 - theta.viscosity * d.grad(q.u)` is a flux in one dimension as
well as in three. Nothing is evaluated here; `sciml.derivatives` turns a tree into numbers on a grid or on functions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sciml.errors import InputError, suggest


class Expression:
    """A scalar field expression; the usual operators build larger ones."""

    def __add__(self, other: Any) -> Any:
        return _binary("add", self, other)

    def __radd__(self, other: Any) -> Any:
        return _binary("add", other, self)

    def __sub__(self, other: Any) -> Any:
        return _binary("subtract", self, other)

    def __rsub__(self, other: Any) -> Any:
        return _binary("subtract", other, self)

    def __mul__(self, other: Any) -> Any:
        return _binary("multiply", self, other)

    def __rmul__(self, other: Any) -> Any:
        return _binary("multiply", other, self)

    def __truediv__(self, other: Any) -> Any:
        return _binary("divide", self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return _binary("divide", other, self)

    def __pow__(self, other: Any) -> Any:
        return _binary("power", self, other)

    def __rpow__(self, other: Any) -> Any:
        return _binary("power", other, self)

    def __neg__(self) -> Any:
        return _binary("multiply", -1.0, self)

    def __abs__(self) -> Any:
        return Function("abs", self)


@dataclass(frozen=True)
class Constant(Expression):
    value: float


@dataclass(frozen=True)
class Parameter(Expression):
    name: str


@dataclass(frozen=True)
class Field(Expression):
    """An unknown of the problem."""

    name: str


@dataclass(frozen=True)
class Rate(Expression):
    """∂/∂t of an unknown, where it is known on its own (a stored tendency)."""

    name: str


@dataclass(frozen=True)
class Input(Expression):
    """A given field: a coefficient or a source."""

    name: str


@dataclass(frozen=True)
class Coordinate(Expression):
    axis: int


@dataclass(frozen=True)
class Time(Expression):
    pass


@dataclass(frozen=True)
class Operation(Expression):
    name: str
    left: Expression
    right: Expression


@dataclass(frozen=True)
class Function(Expression):
    name: str
    argument: Expression


@dataclass(frozen=True)
class Choice(Expression):
    """`above` where `decision` > 0, else `below`."""

    decision: Expression
    above: Expression
    below: Expression


@dataclass(frozen=True)
class Partial(Expression):
    """∂/∂x_axis of an expression; axis 0 is x."""

    argument: Expression
    axis: int


ZERO = Constant(0.0)


def expression(value: Any) -> Expression:
    """A number or expression as a scalar expression."""
    if isinstance(value, Expression):
        return value
    if isinstance(value, int | float | np.number):
        return Constant(float(value))
    raise InputError(f"equation: expected a number or a field expression, got {type(value).__name__}")


def _binary(name: str, left: Any, right: Any) -> Any:
    # An array operand means a vector or tensor: let NumPy apply the operator to each component.
    if isinstance(left, np.ndarray) or isinstance(right, np.ndarray):
        return NotImplemented
    left, right = expression(left), expression(right)
    match name:
        case "add" if left == ZERO:
            return right
        case "add" | "subtract" if right == ZERO:
            return left
        case "multiply" if ZERO in (left, right):
            return ZERO
        case "multiply" if left == Constant(1.0):
            return right
        case "multiply" | "divide" | "power" if right == Constant(1.0):
            return left
        case "divide" if left == ZERO:
            return ZERO
        case "add" | "subtract" | "multiply" if isinstance(left, Constant) and isinstance(right, Constant):
            a, b = left.value, right.value
            return Constant({"add": a + b, "subtract": a - b, "multiply": a * b}[name])
    return Operation(name, left, right)


class Operators:
    """The differential operators and functions, `d` in `equations(q, d, theta, x)`.

    Args:
        dimensions: the number of space dimensions D.
    """

    def __init__(self, dimensions: int):
        self.dimensions = dimensions

    def grad(self, e: Any) -> np.ndarray:
        """(∇e)_j = ∂_j e of a scalar, (∇e)_ij = ∂_j e_i of a vector."""
        if isinstance(e, np.ndarray):
            return np.stack([self.grad(c) for c in e])
        return _objects([Partial(expression(e), a) for a in range(self.dimensions)])

    def div(self, e: np.ndarray) -> Any:
        """∇·e = Σ_j ∂_j e_j of a vector, (∇·e)_i = Σ_j ∂_j e_ij of a tensor."""
        if e.ndim == 2:
            return _objects([self.div(row) for row in e])
        total: Any = ZERO
        for axis, component in enumerate(e):
            total = total + Partial(expression(component), axis)
        return total

    def vector(self, *components: Any) -> np.ndarray:
        return _objects([expression(c) for c in components])

    def outer(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """(a ⊗ b)_ij = a_i b_j."""
        return np.stack([_objects([x * y for y in b]) for x in a])

    def identity(self) -> np.ndarray:
        n = self.dimensions
        return np.stack([_objects([Constant(float(i == j)) for j in range(n)]) for i in range(n)])

    def transpose(self, e: np.ndarray) -> np.ndarray:
        return e.T

    def sin(self, e: Any) -> Expression:
        return Function("sin", expression(e))

    def cos(self, e: Any) -> Expression:
        return Function("cos", expression(e))

    def exp(self, e: Any) -> Expression:
        return Function("exp", expression(e))

    def log(self, e: Any) -> Expression:
        return Function("log", expression(e))

    def sqrt(self, e: Any) -> Expression:
        return Function("sqrt", expression(e))

    def tanh(self, e: Any) -> Expression:
        return Function("tanh", expression(e))

    def erf(self, e: Any) -> Expression:
        return Function("erf", expression(e))

    def abs(self, e: Any) -> Expression:
        return Function("abs", expression(e))

    def sign(self, e: Any) -> Expression:
        return Function("sign", expression(e))

    def min(self, a: Any, b: Any) -> Expression:
        return Operation("minimum", expression(a), expression(b))

    def max(self, a: Any, b: Any) -> Expression:
        return Operation("maximum", expression(a), expression(b))

    def where(self, decision: Any, above: Any, below: Any) -> Expression:
        """`above` where `decision` > 0, else `below`."""
        return Choice(expression(decision), expression(above), expression(below))


def _objects(items: list[Expression]) -> np.ndarray:
    result = np.empty(len(items), dtype=object)
    result[:] = items
    return result


class Names:
    """Attribute access to named leaves: `q.u`, `theta.viscosity`."""

    def __init__(self, kind: str, leaves: Mapping[str, Expression]):
        self._kind, self._leaves = kind, dict(leaves)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self._leaves[name]
        except KeyError:
            raise InputError(f"equation: no {self._kind} is called {name!r}{suggest(name, self._leaves)}") from None


class Coordinates:
    """The independent variables: `x[0]`, `x[1]`, ... in space and `x.time`."""

    def __init__(self, dimensions: int):
        self._axes = tuple(Coordinate(a) for a in range(dimensions))
        self.time = Time()

    def __getitem__(self, axis: int) -> Expression:
        return self._axes[axis]


@dataclass(frozen=True)
class Balance:
    """∂t storage + ∇·flux = source, one row for each component.

    Args:
        flux: (D,) for a scalar balance, (C, D) for C components: flux[i, j] carries component i along axis j.
        storage: scalar or (C,); None for a constraint without time.
        source: scalar or (C,).
        face_rule: how an input or field is carried to a cell face, by name: "linear" (default) or "harmonic", the rule
            that keeps the flux continuous where a coefficient jumps.
        unit: of the balance per volume, e.g. "N/m3".
        parts: optional names of components, e.g. ("x", "y").
        of: the field whose balance it is, or one for each component; needed only where that cannot be seen
            (`sciml.calculus.owners`).
    """

    flux: Any
    storage: Any = None
    source: Any = 0.0
    face_rule: Mapping[str, str] = field(default_factory=dict)
    unit: str = ""
    of: str | tuple[str, ...] = ()

    def components(self) -> list[tuple[Expression | None, tuple[Expression, ...], Expression]]:
        """The rows (storage, fluxes by axis, source) as scalar expressions."""
        flux = np.asarray(self.flux, dtype=object)
        if flux.ndim == 0:
            flux = flux.reshape(1, 1)
        elif flux.ndim == 1:
            flux = flux.reshape(1, -1)
        rows = len(flux)
        storage = [None] * rows if self.storage is None else _rows(self.storage, rows, "storage")
        source = _rows(self.source, rows, "source")
        return [
            (
                None if storage[i] is None else expression(storage[i]),
                tuple(expression(f) for f in flux[i]),
                expression(source[i]),
            )
            for i in range(rows)
        ]


def _rows(value: Any, rows: int, what: str) -> list[Any]:
    if isinstance(value, np.ndarray):
        if value.shape != (rows,):
            raise InputError(f"balance: {what} has shape {value.shape}, expected ({rows},) like the flux rows")
        return list(value)
    return [value] * rows


def along(e: Expression, rule: Callable[[Expression], Expression], partial: Callable[[Partial], Any]) -> Any:
    """The derivative of a tree by sum, product, quotient and chain rule, where `rule` says that of a leaf and `partial`
    that of a ∂/∂x. Where a modulus, a choice, or the lesser or greater of two has a kink, the slope is one of its
    sides'."""

    def of(a: Expression) -> Any:
        return along(a, rule, partial)

    match e:
        case Operation("add", a, b):
            return of(a) + of(b)
        case Operation("subtract", a, b):
            return of(a) - of(b)
        case Operation("multiply", a, b):
            return of(a) * b + a * of(b)
        case Operation("divide", a, b):
            slope = of(b)
            return of(a) / b if slope == ZERO else of(a) / b - a * slope / (b * b)
        case Operation("power", a, b):
            slope = of(b)
            base = b * a ** (b - 1.0) * of(a)
            return base if slope == ZERO else base + Function("log", a) * e * slope
        case Operation("minimum", a, b):
            return _choice(b - a, of(a), of(b))
        case Operation("maximum", a, b):
            return _choice(a - b, of(a), of(b))
        case Choice(decision, a, b):
            return _choice(decision, of(a), of(b))
        case Function(name, a):
            inner = of(a)
            return ZERO if inner == ZERO else _SLOPES[name](a) * inner
        case Partial():
            return partial(e)
    return rule(e)


def _choice(decision: Expression, above: Expression, below: Expression) -> Expression:
    return above if above == below else Choice(decision, above, below)


def time_derivative(e: Expression) -> Expression:
    """∂e/∂t by the chain rule, in terms of `Rate` leaves; inputs and coordinates are taken as constant in time."""

    def rule(leaf: Expression) -> Expression:
        match leaf:
            case Field(name):
                return Rate(name)
            case Time():
                return Constant(1.0)
        return ZERO

    def partial(node: Partial) -> Expression:
        inner = time_derivative(node.argument)
        return ZERO if inner == ZERO else Partial(inner, node.axis)

    return along(e, rule, partial)


_SLOPES: dict[str, Callable[[Expression], Any]] = {
    "sin": lambda a: Function("cos", a),
    "cos": lambda a: -Function("sin", a),
    "exp": lambda a: Function("exp", a),
    "log": lambda a: 1.0 / a,
    "sqrt": lambda a: 0.5 / Function("sqrt", a),
    "tanh": lambda a: 1.0 - Function("tanh", a) ** 2,
    "erf": lambda a: 2 / math.sqrt(math.pi) * Function("exp", -1.0 * a * a),
    "abs": lambda a: Function("sign", a),
    "sign": lambda a: ZERO,
}


def rebuilt(e: Expression, change: Callable[[Expression], Expression]) -> Any:
    """The tree with every leaf and every ∂/∂x replaced by what `change` says, simplified on the way."""
    match e:
        case Operation(name, a, b):
            return _binary(name, rebuilt(a, change), rebuilt(b, change))
        case Function(name, a):
            return Function(name, rebuilt(a, change))
        case Choice(decision, a, b):
            return Choice(rebuilt(decision, change), rebuilt(a, change), rebuilt(b, change))
    return change(e)


def without_gradients(e: Any) -> Expression:
    """The expression with every derivative set to zero."""
    return rebuilt(expression(e), lambda node: ZERO if isinstance(node, Partial) else node)


def gradient_part(e: Any) -> dict[tuple[str, int], Expression] | None:
    """The coefficients c of e = without_gradients(e) + Σ c[f, j] ∂_j f over fields f and axes j, where they are
    constants of numbers and parameters; None where derivatives come in in any other way."""

    def fixed(c: Expression) -> bool:
        return all(isinstance(leaf, Constant | Parameter) for leaf in leaves(c))

    match expression(e):
        case Partial(Field(name), axis):
            return {(name, axis): Constant(1.0)}
        case Partial():
            return None
        case Operation("add" | "subtract" as name, a, b):
            left, right = gradient_part(a), gradient_part(b)
            if left is None or right is None:
                return None
            sign = 1.0 if name == "add" else -1.0
            return left | {k: left.get(k, ZERO) + sign * c for k, c in right.items()}
        case Operation("multiply" | "divide" as name, a, b):
            left, right = gradient_part(a), gradient_part(b)
            if left is None or right is None:
                return None
            if not left and not right:
                return {}
            if not right and fixed(b):
                return {k: c * b if name == "multiply" else c / b for k, c in left.items()}
            if name == "multiply" and not left and fixed(a):
                return {k: a * c for k, c in right.items()}
            return None
        case Operation(_, a, b):
            return {} if gradient_part(a) == gradient_part(b) == {} else None
        case Function(_, a):
            return {} if gradient_part(a) == {} else None
        case Choice(decision, a, b):
            return {} if all(gradient_part(c) == {} for c in (decision, a, b)) else None
    return {}


def leaves(e: Expression) -> set[Expression]:
    """All leaves of an expression."""
    match e:
        case Operation(_, a, b):
            return leaves(a) | leaves(b)
        case Function(_, a) | Partial(a, _):
            return leaves(a)
        case Choice(decision, a, b):
            return leaves(decision) | leaves(a) | leaves(b)
    return {e}


def evaluate(
    e: Expression,
    leaf: Callable[[Expression], Any],
    partial: Callable[[Partial], Any],
    functions: Mapping[str, Callable[..., Any]],
    memory: dict[Expression, Any] | None = None,
) -> Any:
    """Evaluate a tree: `leaf` gives the value of a leaf, `partial` that of a derivative, `functions` the functions.

    Equal subtrees are evaluated once (`memory`).
    """
    memory = {} if memory is None else memory
    if e in memory:
        return memory[e]
    match e:
        case Constant(value):
            result: Any = value
        case Operation(name, a, b):
            x, y = (evaluate(c, leaf, partial, functions, memory) for c in (a, b))
            match name:
                case "add":
                    result = x + y
                case "subtract":
                    result = x - y
                case "multiply":
                    result = x * y
                case "divide":
                    result = x / y
                case "minimum" | "maximum":
                    result = functions[name](x, y)
                case _:
                    # an integer exponent keeps negative bases and gradients at zero well defined
                    result = x ** (int(y) if isinstance(y, float) and y.is_integer() else y)
        case Function(name, a):
            result = functions[name](evaluate(a, leaf, partial, functions, memory))
        case Choice(decision, a, b):
            chosen: Any = functions["where"]
            above, below = (evaluate(c, leaf, partial, functions, memory) for c in (a, b))
            result = chosen(evaluate(decision, leaf, partial, functions, memory) > 0, above, below)
        case Partial():
            result = partial(e)
        case _:
            result = leaf(e)
    memory[e] = result
    return result
