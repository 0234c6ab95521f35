"""Networks of coordinates: what their options leave alone, and what they make exact."""

import json
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from sciml.errors import InputError
from sciml.solvers.pinn import Architecture, Factorised, Fourier

KEY = jax.random.key(3)
Z = np.random.default_rng(0).uniform(-1, 1, (7, 2))


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def test_a_plain_network_is_the_formula():
    net = Architecture(5, 2).build(2, 3, KEY)
    h = Z
    for layer in net.layers:
        h = np.tanh(h @ np.asarray(layer.matrix()).T + np.asarray(layer.bias))
    expected = h @ np.asarray(net.out.matrix()).T + np.asarray(net.out.bias)
    found = jax.vmap(net)(jnp.asarray(Z))
    assert found.dtype == jnp.float64
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-14)


def test_gates_that_mix_nothing_reproduce_the_plain_network():
    """u = 1 and v = 0 exactly: weights of zero and a bias at which tanh is 1 to the last digit, or 0."""
    plain, mixed = (Architecture(6, 3, gates=gates).build(2, 2, KEY) for gates in (False, True))
    zero = jnp.zeros((6, 2))
    where = lambda n: (n.gates.u.weight, n.gates.u.bias, n.gates.v.weight, n.gates.v.bias)  # noqa: E731
    opened = eqx.tree_at(where, mixed, (zero, jnp.full(6, 40.0), zero, jnp.zeros(6)))
    np.testing.assert_array_equal(jax.vmap(opened)(jnp.asarray(Z)), jax.vmap(plain)(jnp.asarray(Z)))
    assert np.abs(jax.vmap(mixed)(jnp.asarray(Z)) - jax.vmap(plain)(jnp.asarray(Z))).max() > 1e-2


def test_equal_gates_forget_the_hidden_layers():
    """With u = v every h ⊙ u + (1 − h) ⊙ v is v: the network is W_out σ(W_v z + b_v) + b_out."""
    mixed = Architecture(6, 3, gates=True).build(2, 2, KEY)
    same = eqx.tree_at(lambda n: n.gates.u, mixed, mixed.gates.v)
    gate = mixed.gates.v
    shallow = np.tanh(Z @ np.asarray(gate.weight).T + np.asarray(gate.bias))
    expected = shallow @ np.asarray(same.out.matrix()).T + np.asarray(same.out.bias)
    np.testing.assert_allclose(jax.vmap(same)(jnp.asarray(Z)), expected, rtol=0, atol=1e-14)


def test_factorised_weights_are_the_plain_draw_at_first():
    plain = Architecture(6, 3, gates=True).build(2, 2, KEY)
    factorised = Architecture(6, 3, gates=True, weights=Factorised(1.0, 0.2)).build(2, 2, KEY)
    for a, b in zip(
        (*plain.layers, plain.out, plain.gates.u),
        (*factorised.layers, factorised.out, factorised.gates.u),
        strict=True,
    ):
        np.testing.assert_allclose(b.matrix(), a.matrix(), rtol=1e-14)
        assert abs(float(b.log_scale.mean()) - 1) < 0.5
    np.testing.assert_allclose(jax.vmap(factorised)(jnp.asarray(Z)), jax.vmap(plain)(jnp.asarray(Z)), atol=1e-13)


def test_the_draw_is_glorots():
    net = Architecture(400, 2).build(3, 1, KEY)
    weight = np.asarray(net.layers[1].matrix())
    assert abs(weight.std() * math.sqrt(400) - 1) < 0.01  # sqrt(2 / 800), 160 000 draws
    assert all(np.all(np.asarray(layer.bias) == 0) for layer in (*net.layers, net.out))


@pytest.mark.parametrize("features", [None, Fourier(16, 2.0)])
@pytest.mark.parametrize("gates", [False, True])
def test_periodic_coordinates_are_periodic_with_all_derivatives(gates, features):
    net = Architecture(8, 2, gates=gates, features=features).build(2, 1, KEY, (True, False))
    left, right = (jnp.array([x, 0.3]) for x in (-1.0, 1.0))
    value = lambda z: net(z)[0]  # noqa: E731
    for function in (value, jax.grad(value), jax.hessian(value), jax.jacfwd(jax.hessian(value))):
        a, b = np.asarray(function(left)), np.asarray(function(right))
        scale = np.abs(a).max()
        assert np.abs(a - b).max() <= 1e-12 * max(scale, 1)
    assert abs(float(value(jnp.array([0.2, -1.0])) - value(jnp.array([0.2, 1.0])))) > 1e-3  # the other is not


def test_fourier_features_are_cosines_and_sines():
    net = Architecture(4, 1, features=Fourier(10, 3.0)).build(2, 1, KEY, (False, True))
    z = jnp.asarray(Z[0])
    embedded = np.array([Z[0, 0], np.cos(np.pi * Z[0, 1]), np.sin(np.pi * Z[0, 1])])
    phase = np.asarray(net.features.frequencies) @ embedded
    assert net.features.frequencies.shape == (5, 3)
    np.testing.assert_allclose(net.features(net.embed(z)), np.concatenate([np.cos(phase), np.sin(phase)]), atol=1e-14)


def test_what_is_not_trained_is_no_parameter():
    for trained in (False, True):
        net = Architecture(4, 1, features=Fourier(10, 3.0, trained)).build(2, 1, KEY)
        params, rest = net.partition()
        size = 10 * 4 + 4 + 4 + 1
        assert ravel_pytree(params)[0].size == size + trained * 10  # B is 5 by 2
        assert eqx.tree_equal(eqx.combine(params, rest), net)


def test_every_parameter_has_a_gradient():
    net = Architecture(5, 2, "sin", True, Fourier(6, 1.0, True), Factorised()).build(3, 2, KEY, (True, False, False))
    z = jnp.asarray(np.random.default_rng(1).uniform(-1, 1, (20, 3)))
    gradient = eqx.filter_grad(lambda n: jnp.sum(jax.vmap(n)(z) ** 2))(net)
    assert np.all(ravel_pytree(gradient)[0] != 0)


def test_single_precision_and_strict_modes():
    with jax.enable_x64(False), jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        net = Architecture(5, 2, gates=True, features=Fourier(4), weights=Factorised()).build(2, 2, KEY, (True, False))
        found = jax.jit(jax.vmap(net))(jnp.asarray(Z, jnp.float32))
    assert found.dtype == jnp.float32 and found.shape == (7, 2)


def test_architectures_go_through_json():
    for one in (Architecture(), Architecture(7, 2, "sin", True, Fourier(8, 2.5, True), Factorised(1.0, 0.2))):
        assert Architecture.from_json(json.loads(json.dumps(one.to_json()))) == one


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Architecture(width=0), "width: expected a whole number >= 1, got 0"),
        (lambda: Architecture(activation="relu"), "activation: expected 'tanh' or 'sin' or .*, got 'relu'"),
        (lambda: Architecture(features=Fourier(7)), "features: expected an even number"),
        (lambda: Architecture().build(2, 0, KEY), "n_out: expected a whole number"),
        (lambda: Architecture().build(2, 1, KEY, (True,)), "periodic: expected 2 values, one a coordinate, got 1"),
        (lambda: Architecture.from_json({"weights": {"kind": "Factorized"}}), "did you mean 'Factorised'"),
    ],
)
def test_errors_are_one_clear_line(make, message):
    with pytest.raises(InputError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)
