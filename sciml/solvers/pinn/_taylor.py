"""Arithmetic of truncated Taylor polynomials of several variables, and functions evaluated in it.

A value is the polynomial Σ_α c_α (z − z₀)^α over a set of multi-indices that holds with α all β ≤ α. Products are
convolutions; what obeys a differential equation, y' = w(x, y) x', has the recursion

    α_i y_α = Σ_{0 < β ≤ α} β_i x_β w_{α−β},    any i with α_i > 0.

No derivative is computed twice; maps that are linear act on each coefficient alone.

Source: A. Griewank, A. Walther, Evaluating Derivatives, 2nd ed. (2008), chapter 13.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.extend.core
import jax.numpy as jnp
import numpy as np

Alpha = tuple[int, ...]
Series = dict[Alpha, Any]  # coefficients; what is left out is zero


class UnknownPrimitive(Exception):
    """A function uses what has no rule here."""


def closure(alphas: Iterable[Alpha]) -> tuple[Alpha, ...]:
    """All β ≤ α of any α, lowest order first."""
    found = set()
    for alpha in alphas:
        found |= {tuple(map(int, beta)) for beta in np.ndindex(*(n + 1 for n in alpha))}
    return tuple(sorted(found, key=lambda a: (sum(a), a)))


class Algebra:
    """Operations on series over a closed set of multi-indices.

    Args:
        alphas: what `closure` gives.
    """

    def __init__(self, alphas: Sequence[Alpha]):
        self.alphas = tuple(alphas)
        self.zero: Alpha = (0,) * len(self.alphas[0])
        known = set(self.alphas)
        assert self.zero in known
        #: for each α all (β, α − β)
        self.pairs = {
            alpha: [
                (beta, tuple(a - b for a, b in zip(alpha, beta, strict=True)))
                for beta in self.alphas
                if all(b <= a for a, b in zip(alpha, beta, strict=True))
            ]
            for alpha in self.alphas
        }
        #: for each α > 0 an axis along which it is not zero
        self.axis = {a: next(i for i, n in enumerate(a) if n) for a in self.alphas if any(a)}

    def variables(self, z: Any) -> Series:
        """The coordinates of a point (n,) as a series."""
        found: Series = {self.zero: z}
        for k in range(z.shape[0]):
            unit = tuple(int(i == k) for i in range(z.shape[0]))
            if unit in self.axis:
                found[unit] = jnp.zeros_like(z).at[k].set(1)
        return found

    # -- arithmetic ---------------------------------------------------------------------------------------------

    def product(self, a: Series, b: Series) -> Series:
        found = {}
        for alpha in self.alphas:
            terms = [a[beta] * b[rest] for beta, rest in self.pairs[alpha] if beta in a and rest in b]
            if terms:
                found[alpha] = _sum(terms)
        return found

    def quotient(self, a: Series, b: Series) -> Series:
        found: Series = {}
        for alpha in self.alphas:
            terms = [b[beta] * found[rest] for beta, rest in self.pairs[alpha] if any(beta) and beta in b]
            if alpha in a:
                found[alpha] = (a[alpha] - _sum(terms) if terms else a[alpha]) / b[self.zero]
            else:
                found[alpha] = -_sum(terms) / b[self.zero] if terms else jnp.zeros_like(b[self.zero])
        return found

    def whole_power(self, x: Series, n: int) -> Series:
        if n < 0:
            return self.quotient({self.zero: jnp.ones_like(x[self.zero])}, self.whole_power(x, -n))
        found: Series = {self.zero: jnp.ones_like(x[self.zero])}
        square, first = x, True
        while n:
            if n & 1:
                found, first = (square, False) if first else (self.product(found, square), False)
            n >>= 1
            square = self.product(square, square) if n else square
        return found

    def power(self, x: Series, r: Any) -> Series:
        """x^r with a constant r: x y' = r y x'."""
        y: Series = {self.zero: x[self.zero] ** r}
        for alpha, i in self.axis.items():
            terms = [
                (r * beta[i] - rest[i]) * x[beta] * y[rest]
                for beta, rest in self.pairs[alpha]
                if any(beta) and beta in x and rest in y
            ]
            if terms:
                y[alpha] = _sum(terms) / (alpha[i] * x[self.zero])
        return y

    def solution(self, x: Series, start: Any, slope: Callable[[Series, Alpha], Any]) -> Series:
        """y with y' = w x', from y(x₀).

        Args:
            slope: (y so far, α) -> w_α, or None where it is zero.
        """
        y: Series = {self.zero: start}
        w: Series = {self.zero: slope(y, self.zero)}
        for alpha, i in self.axis.items():
            value = self._recursion(x, w, alpha, i)
            if value is not None:
                y[alpha] = value
            rate = slope(y, alpha)
            if rate is not None:
                w[alpha] = rate
        return y

    def _recursion(self, x: Series, w: Series, alpha: Alpha, i: int) -> Any:
        terms = [
            _scaled(beta[i], x[beta] * w[rest])
            for beta, rest in self.pairs[alpha]
            if beta[i] and beta in x and rest in w
        ]
        if not terms:
            return None
        return _sum(terms) if alpha[i] == 1 else _sum(terms) / alpha[i]

    def _square_at(self, y: Series, alpha: Alpha) -> Any:
        """(y²)_α, each pair of terms once."""
        terms = []
        for beta, rest in self.pairs[alpha]:
            if beta in y and rest in y and beta <= rest:
                term = y[beta] * y[rest]
                terms.append(term if beta == rest else 2 * term)
        return _sum(terms) if terms else None

    # -- functions ----------------------------------------------------------------------------------------------

    def exp(self, x: Series) -> Series:
        return self.solution(x, jnp.exp(x[self.zero]), lambda y, a: y.get(a))

    def log(self, x: Series) -> Series:
        slope = self.quotient({self.zero: jnp.ones_like(x[self.zero])}, x)
        return self.solution(x, jnp.log(x[self.zero]), lambda _, a: slope.get(a))

    def tanh(self, x: Series) -> Series:
        def slope(y: Series, alpha: Alpha) -> Any:
            square = self._square_at(y, alpha)
            return 1 - square if not any(alpha) else None if square is None else -square

        return self.solution(x, jnp.tanh(x[self.zero]), slope)

    def logistic(self, x: Series) -> Series:
        def slope(y: Series, alpha: Alpha) -> Any:
            square = self._square_at(y, alpha)
            return None if square is None else y[alpha] - square if alpha in y else -square

        return self.solution(x, jax.nn.sigmoid(x[self.zero]), slope)

    def waves(self, x: Series) -> tuple[Series, Series]:
        """sin x and cos x."""
        sine: Series = {self.zero: jnp.sin(x[self.zero])}
        cosine: Series = {self.zero: jnp.cos(x[self.zero])}
        for alpha, i in self.axis.items():
            rise, fall = self._recursion(x, cosine, alpha, i), self._recursion(x, sine, alpha, i)
            if rise is not None:
                sine[alpha] = rise
            if fall is not None:
                cosine[alpha] = -fall
        return sine, cosine

    def erf(self, x: Series) -> Series:
        square = self.product(x, x)
        slope = self.exp({k: -v for k, v in square.items()})
        factor = 2 / math.sqrt(math.pi)
        start = jax.scipy.special.erf(x[self.zero])
        return self.solution(x, start, lambda _, a: factor * slope[a] if a in slope else None)

    def erfc(self, x: Series) -> Series:
        found = {k: -v for k, v in self.erf(x).items()}
        return found | {self.zero: jax.scipy.special.erfc(x[self.zero])}

    def atan(self, x: Series) -> Series:
        bottom = self.product(x, x)
        bottom[self.zero] = 1 + bottom[self.zero]
        slope = self.quotient({self.zero: jnp.ones_like(x[self.zero])}, bottom)
        return self.solution(x, jnp.arctan(x[self.zero]), lambda _, a: slope.get(a))

    # -- whole functions ----------------------------------------------------------------------------------------

    def evaluate(self, jaxpr: Any, constants: Sequence[Any], arguments: Sequence[Any]) -> list[Any]:
        """The outputs of a jaxpr, arguments and outputs being series or plain arrays.

        Raises:
            UnknownPrimitive: it holds an operation that has no rule.
        """
        values: dict[Any, Any] = {}

        def read(variable: Any) -> Any:
            return variable.val if isinstance(variable, jax.extend.core.Literal) else values[variable]

        for variables, given in ((jaxpr.constvars, constants), (jaxpr.invars, arguments)):
            values.update(zip(variables, given, strict=True))
        for equation in jaxpr.eqns:
            inputs = [read(v) for v in equation.invars]
            if any(isinstance(v, dict) for v in inputs):
                outputs = self._apply(equation, inputs)
            else:
                found = equation.primitive.bind(*inputs, **equation.params)
                outputs = found if equation.primitive.multiple_results else [found]
            values.update(zip(equation.outvars, outputs, strict=True))
        return [read(v) for v in jaxpr.outvars]

    def _apply(self, equation: Any, inputs: list[Any]) -> list[Any]:
        name, params = equation.primitive.name, equation.params
        for key in ("jaxpr", "call_jaxpr", "fun_jaxpr"):
            inner = params.get(key)
            if inner is not None and name in _CALLS:
                closed = getattr(inner, "jaxpr", inner)
                return self.evaluate(closed, getattr(inner, "consts", ()), inputs)
        shape = equation.outvars[0].aval.shape
        if name in _FLAT:  # piecewise constant: of the value alone
            plain = [v[self.zero] if isinstance(v, dict) else v for v in inputs]
            return [equation.primitive.bind(*plain, **params)]
        if name in _BINARY:
            found = _BINARY[name](self, *inputs)
        elif name in _UNARY:
            found = _UNARY[name](self, inputs[0])
        elif name == "integer_pow":
            found = self.whole_power(inputs[0], params["y"])
        elif name in _LINEAR:
            found = self._linear(equation, inputs)
        elif name == "select_n" and not isinstance(inputs[0], dict):
            found = self._linear(equation, inputs)
        else:
            raise UnknownPrimitive(name)
        return [{k: jnp.broadcast_to(v, shape) for k, v in found.items()}]

    def _linear(self, equation: Any, inputs: list[Any]) -> Series:
        """An operation that is linear in those of its arguments that are series, in all of them together; a plain
        argument beside them is a constant factor, or else a value of its own."""
        name, bind = equation.primitive.name, equation.primitive.bind
        if name == "dot_general" and isinstance(inputs[0], dict) and isinstance(inputs[1], dict):
            return self._bilinear(lambda a, b: bind(a, b, **equation.params), inputs[0], inputs[1])
        series = [k for k, v in enumerate(inputs) if isinstance(v, dict)]
        # of these operations plain arguments at such places are values, which the derivatives do not have
        valued = [
            k for k, v in enumerate(inputs)
            if not isinstance(v, dict)
            and (name in ("concatenate", "stack") or (name == "select_n" and k > 0) or (name == "pad" and k == 1)
                 or (name == "dynamic_update_slice" and k < 2))
        ]  # fmt: skip
        lanes = [a for a in self.alphas if any(a in inputs[k] for k in series) or (valued and a == self.zero)]
        found = {}
        for alpha in lanes:
            whole = list(inputs)
            for k in series:
                value = inputs[k].get(alpha)
                whole[k] = jnp.zeros_like(next(iter(inputs[k].values()))) if value is None else value
            if alpha != self.zero:
                for k in valued:
                    whole[k] = jnp.zeros_like(jnp.asarray(whole[k]))
            found[alpha] = bind(*whole, **equation.params)
        return found

    def _bilinear(self, times: Callable[[Any, Any], Any], a: Series, b: Series) -> Series:
        found = {}
        for alpha in self.alphas:
            terms = [times(a[beta], b[rest]) for beta, rest in self.pairs[alpha] if beta in a and rest in b]
            if terms:
                found[alpha] = _sum(terms)
        return found

    # -- rules of two arguments, either of which may be plain ---------------------------------------------------

    def _as_series(self, v: Any) -> Series:
        return v if isinstance(v, dict) else {self.zero: v}

    def add(self, a: Any, b: Any) -> Series:
        a, b = self._as_series(a), self._as_series(b)
        both = [k for k in self.alphas if k in a or k in b]
        return {k: a[k] + b[k] if k in a and k in b else a[k] if k in a else b[k] for k in both}

    def subtract(self, a: Any, b: Any) -> Series:
        return self.add(a, {k: -v for k, v in self._as_series(b).items()})

    def multiply(self, a: Any, b: Any) -> Series:
        if not isinstance(a, dict):
            return {k: a * v for k, v in b.items()}
        if not isinstance(b, dict):
            return {k: v * b for k, v in a.items()}
        return self.product(a, b)

    def divide(self, a: Any, b: Any) -> Series:
        return {k: v / b for k, v in a.items()} if not isinstance(b, dict) else self.quotient(self._as_series(a), b)

    def greater(self, a: Any, b: Any) -> Series:
        return self._either(a, b, lambda x, y: x >= y)

    def lesser(self, a: Any, b: Any) -> Series:
        return self._either(a, b, lambda x, y: x <= y)

    def _either(self, a: Any, b: Any, first: Callable[[Any, Any], Any]) -> Series:
        a, b = self._as_series(a), self._as_series(b)
        chosen = first(a[self.zero], b[self.zero])
        return {k: jnp.where(chosen, a.get(k, 0), b.get(k, 0)) for k in self.alphas if k in a or k in b}

    def raised(self, a: Any, b: Any) -> Series:
        if isinstance(b, dict):
            base = self.log(a) if isinstance(a, dict) else {self.zero: jnp.log(a)}
            return self.exp(self.multiply(base, b))
        return self.power(a, b)


def _sum(terms: list[Any]) -> Any:
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


def _scaled(n: int, v: Any) -> Any:
    return v if n == 1 else n * v


def _minus(algebra: Algebra, x: Series, by: float) -> Series:
    return {k: v + by if k == algebra.zero else v for k, v in x.items()}


_CALLS = {"jit", "pjit", "closed_call", "core_call", "custom_jvp_call", "custom_vjp_call", "remat", "checkpoint"}
_FLAT = {
    "eq", "ne", "lt", "le", "gt", "ge", "floor", "ceil", "round", "sign", "is_finite", "argmax", "argmin",
    "stop_gradient", "lt_to", "le_to", "and", "or", "not",
}  # fmt: skip
_LINEAR = {
    "dot_general", "reshape", "broadcast_in_dim", "squeeze", "expand_dims", "transpose", "slice", "concatenate",
    "reduce_sum", "neg", "copy", "copy_p", "rev", "cumsum", "convert_element_type", "pad", "dynamic_slice", "gather",
    "real", "imag", "dynamic_update_slice", "stack", "reduce_precision",
}  # fmt: skip
_BINARY: Mapping[str, Callable[..., Series]] = {
    "add": Algebra.add, "add_any": Algebra.add, "sub": Algebra.subtract, "mul": Algebra.multiply,
    "div": Algebra.divide, "max": Algebra.greater, "min": Algebra.lesser, "pow": Algebra.raised,
}  # fmt: skip
_UNARY: Mapping[str, Callable[[Algebra, Series], Series]] = {
    "exp": Algebra.exp,
    "exp2": lambda t, x: t.exp(t.multiply(math.log(2.0), x)),
    "expm1": lambda t, x: _minus(t, t.exp(x), -1.0),
    "log": Algebra.log,
    "log1p": lambda t, x: t.log(_minus(t, x, 1.0)),
    "tanh": Algebra.tanh,
    "logistic": Algebra.logistic,
    "sin": lambda t, x: t.waves(x)[0],
    "cos": lambda t, x: t.waves(x)[1],
    "tan": lambda t, x: t.quotient(*t.waves(x)),
    "erf": Algebra.erf,
    "erfc": Algebra.erfc,
    "atan": Algebra.atan,
    "square": lambda t, x: t.product(x, x),
    "sqrt": lambda t, x: t.power(x, 0.5),
    "rsqrt": lambda t, x: t.power(x, -0.5),
    "abs": lambda t, x: {k: jnp.sign(x[t.zero]) * v for k, v in x.items()},
}  # fmt: skip
