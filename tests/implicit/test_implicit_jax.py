"""Implicit derivatives in JAX against closed forms, central differences and each other, eager, compiled and batched."""

import warnings
from functools import partial

import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import optimistix as optx
import pytest

from sciml.errors import InputError
from sciml.implicit import DENSE, Check
from sciml.implicit import jax as implicit

WARN = Check(on_failure="warn")


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


@pytest.fixture(autouse=True)
def double(request):
    with jax.enable_x64("single" not in request.keywords):
        yield


jit = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})  # half the time to compile


def ridge(x, data, targets, theta):
    return data.T @ (data @ x - targets) + theta * x


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("root", "float64"), ("root", "float32"), ("least_squares", "float64"), ("fixed_point", "float64"),
     ("linear_solve", "float64"), ("linear_solve", "float32")],
)  # fmt: skip
def test_ridge_has_its_closed_derivative(name, dtype):
    """dx/dθ = −(XᵀX + θ)⁻¹ x, in forward and in reverse mode."""
    data, targets = jnp.asarray(normal(12, 4), dtype), jnp.asarray(normal(12, seed=1), dtype)
    theta, guess, eye = jnp.asarray(0.7, dtype), jnp.zeros(4, dtype), np.eye(4, dtype=dtype)
    matrix = np.asarray(data.T @ data + theta * eye)
    exact = np.linalg.solve(matrix, np.asarray(data.T @ targets))
    solve = {
        "root": lambda p: implicit.root(ridge, guess, data, targets, p),
        "least_squares": lambda p: implicit.least_squares(lambda x, p: (data @ x - targets, jnp.sqrt(p) * x), guess, p),
        "fixed_point": lambda p: implicit.fixed_point(lambda x, p: x - 0.04 * ridge(x, data, targets, p), guess, p),
        "linear_solve": lambda p: implicit.linear_solve(data.T @ data + p * eye, data.T @ targets),
    }[name]

    @jit
    def all_of(p):  # one solve for all of them; reverse mode is the transpose of forward mode
        x, along = jax.linearize(solve, p)
        across = jax.linear_transpose(along, p)
        return x, along(jnp.ones_like(p)), jax.vmap(lambda v: across(v)[0])(jnp.eye(4, dtype=dtype))

    x, forward, reverse = all_of(theta)
    assert x.dtype == forward.dtype == reverse.dtype == dtype
    near = (1e5 if name == "fixed_point" else 2e3) * float(jnp.finfo(dtype).eps)
    np.testing.assert_allclose(x, exact, rtol=near, atol=near)
    for slope in (forward, reverse):
        np.testing.assert_allclose(slope, -np.linalg.solve(matrix, exact), rtol=near, atol=near)


def test_least_squares_takes_the_whole_hessian():
    """With a residual that is far from zero: central differences, and derivatives of second order."""
    t = jnp.linspace(0, 2, 9)

    def solved(theta):
        return implicit.least_squares(
            lambda x, p: x[0] * jnp.exp(-x[1] * t) - jnp.cos(p * t), jnp.array([1.0, 0.5]), theta
        )

    def central(f, at, h=1e-3):
        once, finer = (f(at + h) - f(at - h)) / (2 * h), (f(at + h / 2) - f(at - h / 2)) / h
        return (4 * finer - once) / 3

    def reverse(theta):
        x, pull = jax.vjp(solved, theta)
        return x, jax.vmap(lambda v: pull(v)[0])(jnp.eye(2))

    both = jit(lambda p: jax.jvp(reverse, (p,), (1.0,)))  # the solution and its slope, and the slopes of these
    (_, first), (forward, second) = both(2.2)
    np.testing.assert_allclose(first, central(lambda p: both(p)[0][0], 2.2), rtol=1e-6)
    np.testing.assert_allclose(forward, first, rtol=1e-9)
    np.testing.assert_allclose(second, central(lambda p: both(p)[0][1], 2.2), rtol=1e-6)


def cubic(x, a, b):
    return {"y": x["y"] ** 3 + a @ x["y"] - b}


def test_a_batch_equals_its_members_and_pytrees_go_through():
    a, b = 2 * np.eye(3) + 0.3 * normal(5, 3, 3), 3 * normal(5, 3, seed=1)

    def solved(a, b):
        return implicit.root(cubic, {"y": jnp.zeros(3)}, a, b)["y"]

    both = jit(lambda a, b: jax.value_and_grad(lambda a: jnp.sin(solved(a, b)).sum())(a))
    together = jit(lambda a: jax.value_and_grad(lambda a: jnp.sin(jax.vmap(solved)(a, b)).sum())(a))(a)
    alone = [both(a[i], b[i]) for i in range(5)]
    np.testing.assert_allclose(together[0], sum(v for v, _ in alone), rtol=1e-11)
    np.testing.assert_allclose(together[1], np.stack([s for _, s in alone]), rtol=1e-10, atol=1e-12)


def test_equals_the_unrolled_iteration_and_sees_what_f_closes_over():
    weights, bias = jnp.asarray(0.25 * normal(5, 5)), jnp.asarray(normal(5, seed=2))

    def unrolled(weights):
        x, _ = jax.lax.scan(lambda x, _: (jnp.tanh(weights @ x + bias), None), jnp.zeros(5), length=150)
        return (x**2).sum()

    def implied(weights):
        return (implicit.fixed_point(lambda x: jnp.tanh(weights @ x + bias), jnp.zeros(5)) ** 2).sum()

    np.testing.assert_allclose(jit(jax.grad(implied))(weights), jit(jax.grad(unrolled))(weights), rtol=1e-9, atol=1e-11)
    guess = jit(jax.grad(lambda g: implicit.root(lambda x: jnp.tanh(x) - 0.1, g).sum()))(jnp.zeros(2))
    assert not guess.any()


def test_large_systems_need_no_matrix():
    n = DENSE + 22

    def f(x, theta):
        wide = jnp.pad(x, 1)
        return x**3 + 1.4 * x - 0.2 * (wide[2:] + wide[:-2]) - theta

    theta = jnp.asarray(2 + normal(n))

    def solved_and_slope(p):
        x, pull = jax.vjp(lambda p: implicit.root(f, jnp.zeros(n), p), p)
        return x, pull(jnp.ones(n))[0]

    x, slope = jit(solved_and_slope)(theta)
    side = 0.2 * np.diag(np.ones(n - 1), 1)
    matrix = np.diag(1.4 + 3 * np.asarray(x) ** 2) - side - side.T
    np.testing.assert_allclose(slope, np.linalg.solve(matrix, np.ones(n)), rtol=1e-7, atol=1e-9)
    for symmetric in (True, False):

        def solved(m, symmetric=symmetric):
            return implicit.linear_solve(lambda v, m: m @ v, theta, m, symmetric=symmetric)

        def both(m, solved=solved):
            x, pull = jax.vjp(solved, m)
            return x, pull(jnp.zeros(n).at[3].set(1.0))[0]

        x, slope = jit(both)(jnp.asarray(matrix))
        np.testing.assert_allclose(x, np.linalg.solve(matrix, theta), rtol=1e-7, atol=1e-9)
        wanted = -np.outer(np.linalg.inv(matrix)[3], np.linalg.solve(matrix, theta))
        np.testing.assert_allclose(slope, wanted, rtol=1e-6, atol=1e-8)


def quadratic(theta, check=Check(), steps=60):  # noqa: B008
    return implicit.root(lambda x, p: (x - 0.3) ** 2 - p, jnp.ones(()), theta, check=check, max_steps=steps)


@pytest.mark.parametrize("wrap", [lambda f: f, jit], ids=["eager", "jit"])
def test_what_is_not_found_is_said(wrap):
    with pytest.raises(RuntimeError, match="no solution was found"):
        jax.block_until_ready(wrap(jax.vmap(quadratic))(jnp.array([1.0, -1.0])))
    with pytest.warns(RuntimeWarning, match="no solution was found; derivatives there are NaN"):
        slopes = jax.block_until_ready(wrap(jax.vmap(jax.grad(lambda p: quadratic(p, WARN))))(jnp.array([4.0, -1.0])))
    np.testing.assert_allclose(slopes[0], 0.25, rtol=1e-12)
    assert np.isnan(slopes[1])


@pytest.mark.parametrize("wrap", [jit])
def test_multiple_roots_and_singular_jacobians_have_no_derivative(wrap):
    """Where a finite slope of some 10⁷ would come back."""
    for mode in (jax.grad, jax.jacfwd):
        with pytest.raises(RuntimeError, match=r"not settled|singular"):
            jax.block_until_ready(wrap(mode(quadratic))(0.0))
    with pytest.warns(RuntimeWarning, match="NaN"):
        assert np.isnan(wrap(jax.grad(lambda p: quadratic(p, WARN)))(0.0))

    def flat(p, check=Check()):  # noqa: B008
        g = implicit.fixed_point(lambda x, p: jnp.stack([p, x[1]]), jnp.array([1.0, 0.0]), p, check=check)
        return g.sum()

    with pytest.raises(RuntimeError, match="singular"):
        jax.block_until_ready(wrap(jax.grad(flat))(1.0))
    with pytest.raises(RuntimeError, match="singular"):
        jax.block_until_ready(wrap(implicit.linear_solve)(jnp.ones((2, 2)), jnp.ones(2)))
    with pytest.warns(RuntimeWarning, match="singular"):
        assert np.isnan(wrap(jax.grad(lambda p: flat(p, WARN)))(1.0))
    scales = jnp.array([1e12, 1e-12])
    slope = wrap(jax.grad(lambda p: implicit.root(lambda x, p: scales * (x**2 - p), 2 * jnp.ones(2), p).sum()))(1.0)
    np.testing.assert_allclose(slope, 1.0, rtol=1e-9)


@pytest.mark.parametrize("symmetric", [True, False])
def test_failed_backward_solves_are_no_zero_gradients(symmetric):
    """A has the right-hand side in its range; the cotangent is not in that of Aᵀ."""
    n = DENSE + 2
    diagonal = rhs = jnp.asarray((np.arange(n) < n - 1).astype("float64"))

    def total(d, check):
        return implicit.linear_solve(lambda v, d: d * v, rhs, d, symmetric=symmetric, check=check).sum()

    with pytest.raises(RuntimeError, match="a linear solve left more than"):
        jax.block_until_ready(jit(jax.grad(lambda d: total(d, Check())))(diagonal))
    with pytest.warns(RuntimeWarning, match="a linear solve left more than"):
        value, slope = jax.block_until_ready(jit(jax.value_and_grad(lambda d: total(d, WARN)))(diagonal))
    assert float(value) == pytest.approx(n - 1)
    assert np.isnan(slope[:-1]).all()


def test_solvers_of_optimistix_and_operators_of_lineax():
    a, b = 2 * np.eye(3) + 0.3 * normal(3, 3), normal(3, seed=1)
    solver = optx.Dogleg(1e-12, 1e-12)

    @jit
    def both(a, b):
        x = implicit.root(lambda x: a @ x - b, jnp.zeros(3), solver=solver)
        return x, implicit.linear_solve(lx.MatrixLinearOperator(a), b)

    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        x, y = jax.block_until_ready(both(a, b))
    np.testing.assert_allclose(x, np.linalg.solve(a, b), rtol=1e-9)
    np.testing.assert_allclose(y, np.linalg.solve(a, b), rtol=1e-12)


def test_types_and_shapes_are_kept():
    one = np.ones(2)
    with jax.enable_x64(False):
        with pytest.raises(InputError, match="JAX is set to round float64"):
            implicit.root(lambda x: x, one)
        with pytest.raises(InputError, match="JAX is set to round float64"):
            implicit.root(lambda x, p: x - p, one.astype("float32"), one)
    with pytest.raises(InputError, match=r"f: expected .*float32"):
        implicit.root(lambda x: x.astype("float64"), jnp.ones(2, "float32"))
    with pytest.raises(InputError, match="f: expected"):
        implicit.root(lambda x: x[:1], jnp.ones(2))
    with pytest.raises(InputError, match=r"guess: expected arrays of one type.*int64"):
        implicit.root(lambda x: x, jnp.arange(3))
    with pytest.raises(InputError, match="operator: expected"):
        implicit.linear_solve(jnp.ones((3, 3)), jnp.ones(2))
