"""The algebra of field expressions."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sciml import Balance
from sciml.errors import InputError
from sciml.expressions import (
    ZERO,
    Constant,
    Coordinates,
    Field,
    Input,
    Names,
    Operators,
    Parameter,
    Partial,
    Rate,
    evaluate,
    expression,
    leaves,
    time_derivative,
)

U, V = Field("u"), Field("v")
FUNCTIONS = {"sin": math.sin, "cos": math.cos, "exp": math.exp, "log": math.log, "sqrt": math.sqrt, "tanh": math.tanh}
values = st.floats(0.3, 3.0)


def number(e, **given):
    def leaf(node):
        return given[("d" if isinstance(node, Rate) else "") + node.name]

    return evaluate(expression(e), leaf, lambda p: 0.0, FUNCTIONS)


@given(values, values, values)
def test_operators_are_those_of_numbers(u, v, c):
    def f(a, b):
        return (c * a - b) / (1 + a * b) + a**2 - (-b) ** 3 + 2 / a - (1 - b) + a**1.5

    assert number(f(U, V), u=u, v=v) == pytest.approx(f(u, v), rel=1e-12)


@given(values, values, values, values)
def test_time_derivatives_follow_the_chain_rule(u, v, du, dv):
    d = Operators(1)

    def f(a, b, m):
        return m.sin(a) * m.exp(b) / m.sqrt(a * b) + m.tanh(a) ** 3 - m.log(b) + m.cos(a * b) - a / b

    h = 1e-6
    slope = (f(u + h * du, v + h * dv, math) - f(u - h * du, v - h * dv, math)) / (2 * h)
    found = number(time_derivative(f(U, V, d)), u=u, v=v, du=du, dv=dv)
    assert found == pytest.approx(slope, rel=1e-6, abs=1e-6)


def test_time_derivative_of_what_does_not_move():
    assert time_derivative(Parameter("a") * Input("b") + 3.0 * Coordinates(1)[0]) == ZERO
    assert time_derivative(Coordinates(1).time * Parameter("a")) == Parameter("a")
    assert time_derivative(Partial(U, 0)) == Partial(Rate("u"), 0)


def test_trivial_terms_vanish():
    assert U + 0.0 is U and 0.0 + U is U and U - 0.0 is U and U * 1.0 is U and 1.0 * U is U and U / 1.0 is U
    assert 0.0 * U == ZERO and U * 0 == ZERO


def test_vectors_and_tensors_are_arrays_of_expressions():
    d = Operators(2)
    velocity = d.vector(U, V)
    gradient = d.grad(velocity)
    assert gradient.shape == (2, 2) and gradient[0, 1] == Partial(U, 1) and d.transpose(gradient)[0, 1] == Partial(V, 0)
    assert d.div(velocity) == Partial(U, 0) + Partial(V, 1)
    assert d.div(gradient).shape == (2,)
    assert d.outer(velocity, velocity)[1, 0] == V * U
    assert d.identity()[0, 0] == Constant(1.0) and d.identity()[0, 1] == ZERO
    assert (2.0 * velocity + 1.0)[1] == 2.0 * V + 1.0
    assert leaves(d.div(2.0 * velocity * Parameter("c"))) == {Constant(2.0), U, V, Parameter("c")}


def test_balances_have_rows():
    d = Operators(2)
    scalar = Balance(storage=U, flux=d.grad(U), source=1.0).components()
    assert scalar == [(U, (Partial(U, 0), Partial(U, 1)), Constant(1.0))]
    vector = Balance(storage=d.vector(U, V), flux=d.grad(d.vector(U, V))).components()
    assert [row[0] for row in vector] == [U, V] and vector[1][1] == (Partial(V, 0), Partial(V, 1))
    constraint = Balance(flux=d.vector(U, V)).components()
    assert constraint == [(None, (U, V), ZERO)]
    with pytest.raises(InputError, match=r"storage has shape \(3,\), expected \(2,\)"):
        Balance(storage=d.vector(U, V, U), flux=d.grad(d.vector(U, V))).components()


def test_wrong_names_and_types_are_refused():
    q = Names("field or input", {"permeability": Input("permeability")})
    with pytest.raises(InputError, match="'permeabilty'; did you mean 'permeability'"):
        _ = q.permeabilty
    with pytest.raises(InputError, match="got str"):
        _ = U + "one"
    assert np.ndarray  # an array operand makes a vector of expressions instead
    assert isinstance(U * np.array([1.0, 2.0]), np.ndarray)
