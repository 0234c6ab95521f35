"""Minimisers of sums of squares: their equations, their orders, and what they reach."""

import json

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from sciml.errors import InputError
from sciml.solvers.pinn import (
    Adam,
    Architecture,
    Cosine,
    Exponential,
    General,
    LevenbergMarquardt,
    Minimiser,
    Pointwise,
    SelfScaledBroyden,
)
from sciml.solvers.pinn._broyden import coefficients, update
from sciml.solvers.pinn._wolfe import strong_wolfe

METHODS = (LevenbergMarquardt(40), SelfScaledBroyden(80), SelfScaledBroyden(80, member="bfgs"))


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def rosenbrock(params, data):
    """Least squares in n unknowns; the minimum 0 is at 1."""
    x = params["x"]
    return jnp.concatenate([10 * (x[1:] - x[:-1] ** 2), 1 - x[:-1]])


def run(method, residuals, params, data=None, steps=None):
    state = method.init(residuals, params, data)
    return method.advance(residuals, params, state, data, steps or method.steps)


@pytest.mark.parametrize("method", METHODS, ids=repr)
@pytest.mark.parametrize("n", [2, 6])
def test_rosenbrock(method, n):
    start = {"x": jnp.asarray([-1.2, 1.0] * (n // 2))}
    params, _, records = run(method, rosenbrock, start)
    assert np.abs(params["x"] - 1).max() < 1e-10
    losses = np.asarray(records["loss"])
    assert np.all(np.diff(losses) <= 0) and losses[-1] < 1e-24


def misra(params, data):
    """NIST's Misra1a, y = b₁ (1 − exp(−b₂ x)), with residuals that stay."""
    return params["b"][0] * 1e2 * (1 - jnp.exp(-params["b"][1] * 1e-4 * data["x"])) - data["y"]


MISRA = {
    "x": np.array([77.6, 114.9, 141.1, 190.8, 239.9, 289.0, 332.8, 378.4, 434.8, 477.3, 536.8, 593.1, 689.1, 760.0]),
    "y": np.array([10.07, 14.73, 17.94, 23.93, 29.61, 35.18, 40.02, 44.82, 50.76, 55.05, 61.01, 66.40, 75.47, 81.78]),
}


@pytest.mark.parametrize("method", METHODS, ids=repr)
@pytest.mark.parametrize("start", [(5.0, 1.0), (2.5, 5.0)])
def test_a_fit_with_certified_answer(method, start):
    """The two starts and the certified values are of the NIST Statistical Reference Datasets."""
    params, _, records = run(method, misra, {"b": jnp.asarray(start)}, MISRA)
    np.testing.assert_allclose(params["b"], [2.3894212918, 5.5015643181], rtol=1e-7)
    np.testing.assert_allclose(2 * records["loss"][-1], 1.2455138894e-01, rtol=1e-10)


@pytest.mark.parametrize("scaling", ["identity", "diagonal"])
@pytest.mark.parametrize("accelerated", [False, True])
@pytest.mark.parametrize("damping", [1e-6, 1e-3, 1.0])
def test_a_step_of_levenberg_is_damped_least_squares(scaling, damping, accelerated):
    """min ‖J v + r‖² + λ ‖D^½ v‖² by the tall system that QR solves; accelerated v + a/2, a from r″(v, v)."""
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=4))
    a = jnp.asarray(rng.normal(size=(9, 4)))
    residuals = lambda x, data: jnp.tanh(a @ x) + jnp.sin(x).sum() - data  # noqa: E731
    data = jnp.asarray(rng.normal(size=9))
    method = LevenbergMarquardt(damping=damping, scaling=scaling, accelerated=accelerated)
    new, _, record = method.step(residuals, x, method.init(residuals, x, data), data)
    jacobian, r = np.asarray(jax.jacfwd(residuals)(x, data)), np.asarray(residuals(x, data))
    diagonal = np.sum(jacobian**2, axis=0)
    scales = np.ones(4) if scaling == "identity" else diagonal
    # the first damping, doubled for a first refused trial, then by 4, 8 ...
    used = damping * (diagonal / scales).max() * 2.0 ** (n := int(record["trials"]) - 1) * 2.0 ** (n * (n - 1) // 2)
    tall = np.vstack([jacobian, np.diag(np.sqrt(used * scales))])
    step = np.linalg.lstsq(tall, np.concatenate([-r, np.zeros(4)]), rcond=None)[0]
    if accelerated:
        second = np.einsum("nij,i,j->n", np.asarray(jax.hessian(residuals)(x, data)), step, step)
        step = step + np.linalg.lstsq(tall, np.concatenate([-second, np.zeros(4)]), rcond=None)[0] / 2
    np.testing.assert_allclose(new - x, step, rtol=1e-9, atol=1e-12)


def test_levenberg_converges_quadratically_where_residuals_vanish():
    x = {"x": jnp.asarray([0.9, 0.9, 0.9])}
    method = LevenbergMarquardt(12, damping=1e-9, accelerated=False)
    state = method.init(rosenbrock, x, None)
    errors = []
    for _ in range(12):
        errors.append(float(jnp.linalg.norm(x["x"] - 1)))
        x, state, _ = method.step(rosenbrock, x, state, None)
    e = [v for v in errors if 1e-9 < v < 0.3]
    orders = [np.log(e[i + 2] / e[i + 1]) / np.log(e[i + 1] / e[i]) for i in range(len(e) - 2)]
    assert max(orders) > 1.7, (errors, orders)


def test_quasi_newton_converges_faster_than_any_rate():
    """On a smooth convex function, ‖x_{k+1} − x*‖/‖x_k − x*‖ falls towards 0."""
    rng = np.random.default_rng(2)
    a = jnp.asarray(rng.normal(size=(12, 5)))
    residuals = lambda x, data: a @ x + 0.1 * jnp.sum(x**2)  # noqa: E731
    method = SelfScaledBroyden(60)
    x = jnp.asarray(rng.normal(size=5))
    state = method.init(residuals, x, None)
    errors = []
    for _ in range(60):
        errors.append(float(jnp.linalg.norm(x)))
        x, state, _ = method.step(residuals, x, state, None)
    e = np.array([v for v in errors if v > 1e-13])
    rates = e[1:] / e[:-1]
    assert e[-1] < 1e-10 and rates[-2:].min() < 0.02, rates


@pytest.mark.parametrize("broyden", [False, True])
def test_updates_meet_the_secant_equation(broyden):
    """H₊ y = s, H₊ symmetric and positive definite, for steps with yᵀs > 0; s = −αHg is not assumed."""
    rng = np.random.default_rng(5)
    for n in (2, 7, 30):
        root = rng.normal(size=(n, n))
        inverse = root @ root.T + 0.1 * np.eye(n)
        s, y = rng.normal(size=(2, n))
        y = y * np.sign(y @ s)
        new = np.asarray(
            update(*map(jnp.asarray, (inverse, s, y, inverse @ y, s @ np.linalg.solve(inverse, s))), broyden)
        )
        np.testing.assert_allclose(new @ y, s, atol=1e-10 * np.abs(new).max() * np.abs(y).max())
        np.testing.assert_allclose(new, new.T, atol=1e-12 * np.abs(new).max())
        assert np.linalg.eigvalsh(new).min() > 0


def test_the_update_is_bfgs_where_nothing_is_scaled():
    """b = sᵀBs/yᵀs ≤ 1 leaves τ = 1 in the scaled BFGS: (I − ρ s yᵀ) H (I − ρ y sᵀ) + ρ s sᵀ, ρ = 1/yᵀs."""
    rng = np.random.default_rng(6)
    s = rng.normal(size=4)
    y = 3 * s + 0.1 * rng.normal(size=4)  # curvature above that of H = I
    rho = 1 / (y @ s)
    left = np.eye(4) - rho * np.outer(s, y)
    new = update(jnp.eye(4), jnp.asarray(s), jnp.asarray(y), jnp.asarray(y), jnp.asarray(s @ s), False)
    np.testing.assert_allclose(new, left @ left.T + rho * np.outer(s, s), atol=1e-13)


def test_the_exact_curvature_changes_nothing():
    """y = H⁻¹ s: a = 0, b = h = 1, so that τ = 1 and H stays."""
    found = coefficients(*(jnp.ones(()) for _ in range(3)), 5, True)
    np.testing.assert_allclose(found.tau, 1, atol=1e-7)  # √eps, as c = √(a/(a+1))
    inverse = jnp.diag(jnp.asarray([1.0, 2.0, 3.0]))
    s = jnp.asarray([0.3, -0.2, 0.5])
    y = s / jnp.diagonal(inverse)
    np.testing.assert_allclose(update(inverse, s, y, s, y @ s, True), inverse, atol=1e-6)


@pytest.mark.parametrize("first", [1e-4, 1.0, 1e3])
@pytest.mark.parametrize("curvature", [0.9, 0.1])
def test_line_searches_meet_the_strong_wolfe_conditions(first, curvature):
    """On −α/(α² + 2) and on a function that is infinite beyond a wall."""
    functions = {
        "basin": lambda x: jnp.sum(-x / (x**2 + 2)),
        "wall": lambda x: jnp.sum(jnp.where(x < 3, -jnp.log(3 - x) - x, jnp.inf)),
    }
    for name, function in functions.items():
        grad = jax.value_and_grad(function)
        x, p = jnp.zeros(1), jnp.ones(1)
        value, gradient = grad(x)
        found = strong_wolfe(grad, x, value, gradient, p, jnp.asarray(first), curvature=curvature, most=40)
        slope = float(gradient[0])
        assert bool(found.lower), name
        assert float(found.value) <= float(value) + 1e-4 * float(found.step) * slope
        assert abs(float(found.gradient[0])) <= curvature * abs(slope)
        np.testing.assert_allclose(found.value, function(x + found.step * p))


def test_no_step_against_the_slope():
    grad = jax.value_and_grad(lambda x: jnp.sum(x**2))
    x = jnp.ones(2)
    found = strong_wolfe(grad, x, *grad(x), x, jnp.asarray(1.0))
    assert not found.lower and found.step == 0 and found.count == 0


@pytest.mark.parametrize("method", [*METHODS, Adam(3000, 0.05)], ids=repr)
def test_the_end_is_quiet(method):
    """At the minimum nothing moves, and nothing becomes NaN."""
    params, _, records = run(method, rosenbrock, {"x": jnp.ones(4)}, steps=5)
    np.testing.assert_allclose(params["x"], 1, atol=1e-12)
    assert all(np.isfinite(np.asarray(v, float)).all() for v in records.values())
    if not isinstance(method, Adam):
        assert bool(records["stopped"][-1])


def test_adam_is_its_formula():
    residuals = lambda x, data: data * x  # noqa: E731
    data = jnp.asarray([1.0, 3.0])
    method = Adam(5, 0.1, Exponential(0.5, 2))
    params, _, records = run(method, residuals, jnp.asarray([2.0, -1.0]), data)
    x, m, v = np.array([2.0, -1.0]), 0, 0
    for k in range(5):
        assert np.isclose(records["loss"][k], 0.5 * np.sum((np.asarray(data) * x) ** 2))
        g = np.asarray(data) ** 2 * x / 2  # of the mean over two residuals
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        hat = (m / (1 - 0.9 ** (k + 1))) / (np.sqrt(v / (1 - 0.999 ** (k + 1))) + 1e-8)
        x = x - 0.1 * 0.5 ** (k / 2) * hat
    np.testing.assert_allclose(params, x, rtol=1e-12)


def sine(arch=None):
    """Fit sin 6πx on [-1, 1]."""
    net = (arch or Architecture(20, 2)).build(1, 1, jax.random.key(0))
    params, rest = net.partition()
    z = np.linspace(-1, 1, 200)
    data = {"sine": (jnp.asarray(z[:, None]), jnp.sin(6 * jnp.pi * z))}

    def term(params, point):
        z, wanted = point
        return (eqx.combine(params, rest)(z)[0] - wanted) / np.sqrt(100.0)  # mean of sin² is ½

    return Pointwise({"sine": term}), params, data


@pytest.mark.parametrize("method", [LevenbergMarquardt(600), SelfScaledBroyden(6000)], ids=repr)
def test_a_small_network_learns_a_fast_sine(method):
    residuals, params, data = sine()
    _, _, records = run(method, residuals, params, data)
    assert np.sqrt(2 * records["loss"][-1]) < 1e-6  # relative error


def test_jacobians_by_rows_and_columns_agree():
    net = Architecture(4, 2, gates=True).build(2, 2, jax.random.key(1))
    params, rest = net.partition()
    rng = np.random.default_rng(0)
    data = {"a": jnp.asarray(rng.uniform(-1, 1, (11, 2))), "b": {"z": jnp.asarray(rng.uniform(-1, 1, (3, 2)))}}
    terms = {
        "b": lambda params, point: eqx.combine(params, rest)(point["z"])[0],
        "a": lambda params, point: jax.jacfwd(eqx.combine(params, rest))(point),
    }
    rows = Pointwise(terms, rows=4)
    columns = General(rows, columns=7)
    x, unravel = ravel_pytree(params)
    expected = jax.jacrev(lambda x: rows(unravel(x), data))(x)
    for way in (rows, columns):
        r, jacobian = way.linearise(params, data)
        np.testing.assert_allclose(r, rows(params, data), atol=1e-15)
        np.testing.assert_allclose(jacobian, expected, atol=1e-13)
    assert rows(params, data).shape == (11 * 4 + 3,)


@pytest.mark.parametrize("method", [Adam(50), LevenbergMarquardt(50), SelfScaledBroyden(50)], ids=repr)
def test_nothing_is_traced_twice(method):
    traces = []
    inner, params, _ = sine()

    def residuals(params, data):
        traces.append(1)
        return inner(params, {"sine": data})

    rng = np.random.default_rng(0)
    draw = lambda *n: (jnp.asarray(rng.uniform(-1, 1, (*n, 30, 1))), jnp.asarray(rng.uniform(-1, 1, (*n, 30))))  # noqa: E731
    data = draw()
    state = method.init(residuals, params, data)
    p, state, _ = method.step(residuals, params, state, data)
    p, state, _ = method.advance(residuals, p, state, data, 3)
    p, state, records = method.sweep(residuals, p, state, draw(4))
    assert records["loss"].shape == (4,)
    seen = len(traces)
    for _ in range(3):
        p, state, _ = method.step(residuals, p, state, draw())
        p, state, _ = method.advance(residuals, p, state, draw(), 3)
        p, state, _ = method.sweep(residuals, p, state, draw(4))
    assert len(traces) == seen


@pytest.mark.parametrize("method", [Adam(50), LevenbergMarquardt(50), SelfScaledBroyden(50)], ids=repr)
def test_many_steps_in_one_call_are_the_steps(method):
    x = {"x": jnp.asarray([-1.2, 1.0, 0.3])}
    together, _, records = run(method, rosenbrock, x, steps=6)
    state = method.init(rosenbrock, x, None)
    for k in range(6):
        x, state, record = method.step(rosenbrock, x, state, None)
        np.testing.assert_allclose(record["loss"], records["loss"][k], rtol=1e-9)
    np.testing.assert_allclose(together["x"], x["x"], rtol=1e-9)


def test_settings_go_through_json():
    for one in (*METHODS, Adam(10, 1e-2, Exponential(0.8, 5), 3), Adam(10, decay=Cosine(0.1))):
        assert Minimiser.from_json(json.loads(json.dumps(one.to_json()))) == one


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Adam(learning_rate=0), "learning_rate: expected a number > 0, got 0"),
        (lambda: Adam(steps=-1), "steps: expected a whole number >= 0, got -1"),
        (lambda: LevenbergMarquardt(scaling="none"), "scaling: expected 'identity' or 'diagonal', got 'none'"),
        (lambda: SelfScaledBroyden(member="dfp"), "member: expected 'broyden' or 'bfgs', got 'dfp'"),
        (lambda: Minimiser.from_json({"kind": "LBFGS"}), "no minimiser is called 'LBFGS'"),
        (lambda: Pointwise({}), "terms: expected at least one function"),
        (
            lambda: Pointwise({"a": rosenbrock})({}, {"b": 0}),
            r"data: expected blocks of points for \['a'\], got \['b'\]",
        ),
        (lambda: run(Adam(1), rosenbrock, {"x": jnp.ones(2)}, steps=-3), "count: expected a whole number"),
    ],
)
def test_errors_are_one_clear_line(make, message):
    with pytest.raises(InputError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)
