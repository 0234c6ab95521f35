"""Derivatives out of one pass: against closed forms, and one way against the other."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sciml.solvers.pinn._functions import nodes, restored, spline, stored, through
from sciml.solvers.pinn._jets import jets, nested_jets, taylor_jets
from sciml.solvers.pinn.networks import Architecture, Factorised, Fourier

POINT = np.array([0.3, 0.7, -0.4])
ALPHAS = tuple(a for a in itertools.product(range(5), repeat=3) if sum(a) <= 4)


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def test_closed_forms_of_all_orders():
    """D^α e^{ax} sin(by) cos(ct) has a closed form, mixed ones too."""
    a, b, c = 0.5, 2.0, 1.5
    found = jets(lambda z: jnp.exp(a * z[0]) * jnp.sin(b * z[1]) * jnp.cos(c * z[2]), jnp.asarray(POINT), ALPHAS)
    x, y, t = POINT
    for i, j, k in ALPHAS:
        exact = a**i * np.exp(a * x) * b**j * np.sin(b * y + j * np.pi / 2) * c**k * np.cos(c * t + k * np.pi / 2)
        assert abs(float(found[i, j, k]) - exact) < 1e-12 * max(1, abs(exact))


@pytest.mark.parametrize(
    "function",
    [
        lambda z: jnp.tanh(z[0] + z[1] * z[2]) / (2 + z[0] ** 2),
        lambda z: jnp.log(2 + z[0] * z[1]) ** 1.5 * jax.nn.silu(z[2]),
        lambda z: jax.nn.gelu(z[0], approximate=False) + jax.scipy.special.erf(z[1] * z[2]),
        lambda z: jnp.sqrt(3 + z[0]) * jax.nn.softplus(z[1]) + jnp.arctan(z[0] * z[2]),
        lambda z: (2 + z[0]) ** z[1] + jnp.maximum(z[0], z[1]) * jnp.abs(z[2]) + jnp.where(z[0] > 0, z[1], z[2]) ** 3,
        lambda z: jnp.concatenate([z[:2] ** 4, jnp.ones(1)]) @ jnp.stack([z[2], z[0], z[1]]) + 1 / z[0] ** 2,
        lambda z: jnp.sum(jnp.outer(z, z) ** 2) + jnp.expm1(z[0]) * jnp.log1p(z[1]) * jnp.tan(z[2]),
    ],
)
def test_rules_agree_with_forward_mode(function):
    fast = taylor_jets(function, jnp.asarray(POINT), ALPHAS)
    slow = nested_jets(function, jnp.asarray(POINT), ALPHAS)
    for alpha, value in slow.items():
        assert abs(float(fast[alpha] - value)) < 1e-11 * max(1.0, abs(float(value)))


@pytest.mark.parametrize("activation", ["tanh", "sin", "silu", "gelu"])
def test_networks_need_no_fallback(activation):
    net = Architecture(8, 2, activation, gates=True, features=Fourier(8), weights=Factorised()).build(
        2, 2, jax.random.key(0), (True, False)
    )
    alphas = ((0, 0), (4, 0), (3, 0), (1, 1), (2, 1), (0, 1))
    z = jnp.asarray(POINT[:2])
    fast, slow = taylor_jets(net, z, alphas), nested_jets(net, z, alphas)
    for alpha in alphas:
        np.testing.assert_allclose(fast[alpha], slow[alpha], rtol=1e-11, atol=1e-11)


def test_what_has_no_rule_goes_by_forward_mode():
    def function(z):
        return jnp.sinh(jax.lax.cumprod(z)[2])

    found = jets(function, jnp.asarray(POINT), ((1, 1, 0),))
    x, y, t = POINT
    p = x * y * t
    assert abs(float(found[1, 1, 0]) - (np.cosh(p) * t + np.sinh(p) * x * y * t * t)) < 1e-13


def test_gradients_go_through():
    net = eqx.nn.MLP(2, 1, 8, 1, jnp.tanh, key=jax.random.key(1))

    def loss(net, how):
        return how(net, jnp.asarray(POINT[:2]), ((2, 0), (0, 1)))[2, 0][0] ** 2

    one, other = (eqx.filter_grad(loss)(net, how) for how in (taylor_jets, nested_jets))
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-13)


def test_splines_are_exact_for_their_polynomials_and_of_sixth_order():
    x = nodes(-1.0, 2.0, 20, False)
    f = spline(x**5 - x**2, [-1.0], [2.0], [0])
    at = jnp.asarray([1.234, 0.0])
    found = jets(f, at, ((0, 0), (1, 0), (3, 0)))
    assert abs(float(found[0, 0]) - (1.234**5 - 1.234**2)) < 1e-12
    assert abs(float(found[3, 0]) - 60 * 1.234**2) < 1e-9
    errors = []
    for n in (24, 48):
        x = nodes(0.0, 1.0, n, True)
        f = spline(np.exp(np.sin(2 * np.pi * x)), [0.0], [1.0], [0], [True])
        places = jnp.linspace(-1.3, 2.1, 77)
        values = jax.vmap(f)(jnp.stack([places, 0 * places], axis=1))
        errors.append(float(jnp.abs(values - jnp.exp(jnp.sin(2 * jnp.pi * places))).max()))
    assert np.log2(errors[0] / errors[1]) > 5.5


def test_waves_are_exact_with_their_derivatives():
    x, y = np.meshgrid(nodes(0, 2, 16, True), nodes(1, 2, 12, True), indexing="ij")
    f = through(0.3 + np.cos(3 * np.pi * x) * np.sin(4 * np.pi * y), [(0.0, 2.0), (1.0, 2.0)], (True, True))
    again = restored(*stored(f))
    z = jnp.asarray([0.37, 1.61, 0.0])
    value = jets(again, z, ((1, 1, 0),))[1, 1, 0]
    exact = -3 * np.pi * np.sin(3 * np.pi * 0.37) * 4 * np.pi * np.cos(4 * np.pi * 1.61)
    assert abs(float(value) - exact) < 1e-11
