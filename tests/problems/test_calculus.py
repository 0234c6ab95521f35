"""Derivatives of expressions against differences, automatic differentiation, and the rules of calculus."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sciml import Balance
from sciml.calculus import Derivative, differentiate, expanded, owners, slope, strong, substituted, tangent, weak
from sciml.derivatives import jax as jax_provider
from sciml.derivatives import numpy as numpy_provider
from sciml.derivatives import torch as torch_provider
from sciml.errors import InputError
from sciml.expressions import (
    ZERO,
    Constant,
    Coordinate,
    Coordinates,
    Field,
    Input,
    Operators,
    Parameter,
    Partial,
    Rate,
    Time,
    evaluate,
    leaves,
    time_derivative,
)

U, V, W = Field("u"), Field("v"), Field("w")
values = st.floats(0.3, 3.0)
FUNCTIONS = numpy_provider.backend.functions


def number(e, **given):
    return float(evaluate(e, lambda n: given[n.name], lambda p: 0.0, FUNCTIONS))


def everything(a, b, d):
    """One of each operation; smooth at the values tried but for kinks that are never met."""
    smooth = d.sin(a) * d.exp(b) / d.sqrt(a * b) + d.tanh(a) ** 3 - d.log(b) + d.cos(a * b) - a / b + d.erf(a - b)
    return smooth + a**b + 2.0**a + b**-1.5


@given(values, values, values, values)
def test_a_derivative_along_a_direction_is_the_limit_of_differences(u, v, du, dv):
    e, h = everything(U, V, Operators(2)), 1e-6
    found = number(differentiate(e, "u", Field("x")), u=u, v=v, x=du)
    found += number(differentiate(e, "v", Field("x")), u=u, v=v, x=dv)
    ends = [number(e, u=u + s * h * du, v=v + s * h * dv) for s in (1, -1)]
    assert found == pytest.approx((ends[0] - ends[1]) / (2 * h), rel=1e-5, abs=1e-5)


def test_rates_of_a_direction_that_is_an_expression():
    """D^α w of w = 2 v, v², ∂v/∂x and t v."""
    rate = Rate("u")
    assert differentiate(rate, "u", Derivative("v", (1, 0))) == Derivative("v", (1, 1))
    assert differentiate(Derivative("u", (0, 2)), "u", 2.0 * V) == 2.0 * Derivative("v", (0, 2))
    assert differentiate(Derivative("u", (1, 1)), "u", Derivative("v", (1, 0))) == Derivative("v", (2, 1))
    v, vt, vtt = 0.7, -1.3, 0.4
    leaf = {V: v, Derivative("v", (0, 1)): vt, Derivative("v", (0, 2)): vtt, Time(): 3.0}
    for w, expected in ((V * V, 2 * vt * vt + 2 * v * vtt), (Time() * V, 2 * vt + 3.0 * vtt)):
        e = differentiate(Derivative("u", (0, 2)), "u", w)
        assert float(evaluate(e, lambda n: leaf[n], lambda p: 0.0, FUNCTIONS)) == pytest.approx(expected, rel=1e-12)
    with pytest.raises(InputError, match="holds the rate of 'v'"):
        differentiate(rate, "u", Rate("v"))


@pytest.mark.parametrize(("u", "v"), [(1.0, 2.0), (2.0, 1.0), (-1.0, 0.5)])
def test_kinks_have_the_slope_of_their_side(u, v):
    d = Operators(1)
    e = abs(U) + 3.0 * d.min(U, V) + 5.0 * d.max(2.0 * U, V) + d.where(U - V, U * U, V) + d.sign(U) * V
    expected = math.copysign(1, u) + 3.0 * (u < v) + 10.0 * (2 * u > v) + (2 * u if u > v else 0.0)
    assert number(slope(e, U), u=u, v=v) == pytest.approx(expected, rel=1e-12)
    expected = abs(u) + 3 * min(u, v) + 5 * max(2 * u, v) + (u * u if u > v else v) + math.copysign(1, u) * v
    assert number(e, u=u, v=v) == pytest.approx(expected, rel=1e-12)


def test_a_choice_looks_at_the_chosen_side_alone_in_the_derivative():
    d = Operators(1)
    assert slope(d.where(U, V, V), U) == ZERO
    assert slope(d.where(U, Constant(1.0), Constant(2.0)), U) == ZERO


def test_providers_agree_on_all_functions():
    d = Operators(1)
    e = everything(U, V, d) + abs(U - V) + d.min(U, 1.0) + d.max(0.7, V) + d.where(U - V, U, V) + d.sign(U - V)
    u, v = np.random.default_rng(0).uniform(0.3, 3.0, (2, 20))
    tables = [
        (numpy_provider, np.asarray), (jax_provider, jnp.asarray), (torch_provider, torch.as_tensor),
    ]  # fmt: skip
    with jax.enable_x64(True):
        found = [
            np.asarray(evaluate(e, lambda n, a=a: a({"u": u, "v": v}[n.name]), None, p.backend.functions))
            for p, a in tables
        ]
    assert np.allclose(found[0], found[1], rtol=1e-13) and np.allclose(found[0], found[2], rtol=1e-13)


def test_powers_by_a_parameter_may_be_stored():
    rate = time_derivative(U ** Parameter("n"))
    assert evaluate(rate, lambda e: {"u": 2.0, "n": 1.5}.get(e.name) if not isinstance(e, Rate) else 3.0, None, {}) == (
        pytest.approx(1.5 * 2.0**0.5 * 3.0)
    )


@given(values, values)
def test_a_derivative_is_linear_in_its_direction(a, b):
    e = everything(U, V, Operators(2))
    parts = [number(differentiate(e, U, Field("x")), u=1.3, v=0.7, x=s) for s in (a, b, a + b)]
    assert parts[0] + parts[1] == pytest.approx(parts[2], rel=1e-12)


def test_derivatives_of_a_flux_keep_their_gradients():
    d = Operators(2)
    found = differentiate(U * d.grad(U), "u", W)
    assert [expanded(f, 2) for f in found] == [
        W * Derivative("u", _unit(a)) + U * Derivative("w", _unit(a)) for a in range(2)
    ]
    assert differentiate(Rate("u"), "u", W) == Rate("w")
    assert differentiate(Derivative("u", (1, 0, 0)), "u", V * W) == (
        Derivative("v", (1, 0, 0)) * W + V * Derivative("w", (1, 0, 0))
    )


def _unit(axis, n=3):
    return tuple(int(k == axis) for k in range(n))


def test_the_product_rule_reaches_inputs_and_coordinates():
    a = Input("a")
    x = Coordinates(1)[0]
    assert expanded(Partial(a * Partial(U, 0), 0), 1) == (
        Derivative(a, (1, 0)) * Derivative("u", (1, 0)) + a * Derivative("u", (2, 0))
    )
    assert expanded(Partial(x * Parameter("k"), 0), 1) == Parameter("k")


def fields(z):
    x, y, t = z
    return {"u": jnp.sin(x + 2 * y) * jnp.exp(-t), "v": x * y**2 + t * x}


def test_the_strong_form_is_that_of_automatic_differentiation():
    d = Operators(2)
    q = {n: Field(n) for n in "uv"}
    a = Input("a")
    flux = np.stack([
        a * (1.0 + q["u"] ** 2) * d.grad(q["u"]) + d.vector(q["u"] * q["v"], q["v"]),
        d.exp(q["u"]) * d.grad(q["v"]) * Coordinates(2)[1],
    ])  # fmt: skip
    source = np.array([d.tanh(q["v"]), Partial(q["u"], 0) * Coordinates(2).time], dtype=object)
    storage = np.array([q["u"] ** 2 * q["v"], q["v"]], dtype=object)
    balance = Balance(flux=flux, storage=storage, source=source)
    rows = strong(balance)
    assert not any(isinstance(leaf, Partial | Rate) for r in rows for leaf in leaves(r))
    points = np.random.default_rng(1).uniform(0.1, 1.0, (7, 3))
    with jax.enable_x64(True):
        functions = {n: lambda z, n=n: fields(z)[n] for n in "uv"}
        inputs = {"a": lambda z: 1.0 + z[0] * z[1]}
        wanted = jax_provider.residual(balance, functions, jnp.asarray(points), {}, inputs)

        def of(f, alpha):
            for axis, count in enumerate(alpha):
                for _ in range(count):
                    f = _along(f, axis)
            return f

        for row, expected in zip(rows, wanted, strict=True):

            def leaf(node, z):
                match node:
                    case Field(name):
                        return functions[name](z)
                    case Input(name):
                        return inputs[name](z)
                    case Derivative(Field(name), alpha):
                        return of(functions[name], alpha)(z)
                    case Derivative(Input(name), alpha):
                        return of(inputs[name], alpha)(z)
                    case Coordinate(axis):
                        return z[axis]
                    case Time():
                        return z[-1]

            found = [
                evaluate(row, lambda n, z=z: leaf(n, z), None, jax_provider.backend.functions)
                for z in jnp.asarray(points)
            ]
            assert np.allclose(found, expected, rtol=1e-12, atol=1e-12)


def _along(f, axis):
    return lambda z: jax.jvp(f, (z,), (jnp.zeros(3).at[axis].set(1.0),))[1]


def test_the_tangent_of_a_flux_names_values_and_derivatives():
    d = Operators(2)
    flux = expanded((1.0 + U**2) * d.grad(U) + V * d.grad(V), 2)
    found = tangent(flux[1], ("u", "v"), 2)
    assert set(found) == {("u", 0), ("u", 2), ("v", 0), ("v", 2)}
    assert found["v", 0] == Derivative("v", (0, 1, 0)) and found["v", 2] == V
    numbers = {"u": 3.0}
    assert evaluate(found["u", 2], lambda n: numbers[n.name], None, {}) == 10.0


def test_parameters_become_numbers_and_terms_vanish():
    k, slope_ = Parameter("k"), Parameter("s")
    e = k * (1.0 + slope_ * U) * Partial(U, 0)
    assert substituted(e, {"s": 0.0}) == k * Partial(U, 0)
    assert substituted(e, {"k": 2.0, "s": 0.0}) == 2.0 * Partial(U, 0)


def test_what_has_no_weak_form_is_refused():
    d = Operators(2)
    with pytest.raises(InputError, match="the flux of 'u' holds D"):
        weak([Balance(flux=d.grad(Partial(U, 0)))], ["u"])
    with pytest.raises(InputError, match="1 balances for 2 fields"):
        weak([Balance(flux=d.grad(U))], ["u", "v"])
    with pytest.raises(InputError, match="'v' is no unknown"):
        weak([Balance(flux=d.grad(U), source=V)], ["u"])
    with pytest.raises(InputError, match="the storage of 'u'"):
        weak([Balance(flux=d.grad(U), storage=Partial(U, 0))], ["u"])
    with pytest.raises(InputError, match="expected an expanded expression"):
        slope(Partial(U, 0), U)
    with pytest.raises(InputError, match="expected D"):
        Derivative(Parameter("k"), (1, 0))


def test_which_balance_is_whose():
    """Continuity holds u, but it is no balance of it: in any order of the balances."""
    d, p, b = Operators(2), Field("p"), {}
    gradient = d.grad(d.vector(U, V))
    b["momentum"] = Balance(flux=p * d.identity() - 0.1 * (gradient + d.transpose(gradient)))
    b["continuity"] = Balance(flux=d.vector(U, V))
    names = ("u", "v", "p")
    assert owners([b["momentum"], b["continuity"]], names) == {"u": (0,), "v": (1,), "p": (2,)}
    assert owners([b["continuity"], b["momentum"]], names) == {"u": (1,), "v": (2,), "p": (0,)}
    rows = weak([b["continuity"], b["momentum"]], names)
    assert [r.field for r in rows] == list(names) and rows[2].flux == tuple(b["continuity"].flux)
    stored = [Balance(storage=2.0 * U * V, flux=d.grad(V)), Balance(storage=U, flux=d.grad(U))]
    assert owners(stored, ("u", "v")) == {"u": (1,), "v": (0,)}
    crossed = d.grad(U + 2.0 * V), d.grad(3.0 * U + V)
    assert owners([Balance(flux=f) for f in crossed], ("u", "v")) == {"u": (0, 1), "v": (0, 1)}
    assert owners([Balance(flux=f, of=n) for f, n in zip(crossed, "vu", strict=True)], ("u", "v")) == {
        "u": (1,), "v": (0,)
    }  # fmt: skip
    assert owners([Balance(flux=d.vector(U, U))], ("u",)) == {"u": (0,)}
    with pytest.raises(InputError, match="of is 'w', expected one of u, v for each of 1 components"):
        owners([Balance(flux=d.grad(U), of="w")], ("u", "v"))
