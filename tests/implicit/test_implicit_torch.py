"""Implicit derivatives in torch against closed forms, central differences and unrolled iterations."""

import warnings

import pytest
import torch

from sciml.errors import ConvergenceError, InputError
from sciml.implicit import DENSE, Check
from sciml.implicit import torch as implicit

WARN = Check(on_failure="warn")


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def ridge(x, data, targets, theta):
    return data.T @ (data @ x - targets) + theta * x


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_ridge_has_its_closed_derivative(dtype):
    """dx/dθ = −(XᵀX + θ)⁻¹ x."""
    data, targets = normal(12, 4, dtype=dtype), normal(12, seed=1, dtype=dtype)
    theta = torch.tensor(0.7, dtype=dtype, requires_grad=True)
    matrix = data.T @ data + theta.detach() * torch.eye(4, dtype=dtype)
    exact = torch.linalg.solve(matrix, data.T @ targets)
    wanted = -torch.linalg.solve(matrix, exact)
    guess, near = torch.zeros(4, dtype=dtype), 100 * torch.finfo(dtype).eps

    def stacked(x, theta):
        return torch.cat([data @ x - targets, theta.sqrt() * x])

    def step(x, theta):
        return x - 0.04 * ridge(x, data, targets, theta)

    found = {
        "root": implicit.root(ridge, guess, data, targets, theta),
        "least_squares": implicit.least_squares(stacked, guess, theta),
        "fixed_point": implicit.fixed_point(step, guess, theta),
        "linear_solve": implicit.linear_solve(data.T @ data + theta * torch.eye(4, dtype=dtype), data.T @ targets),
    }
    for name, x in found.items():
        assert x.dtype == dtype
        slow = 1e3 if name == "fixed_point" else 10  # which ends at its tolerance, the others at rounding
        torch.testing.assert_close(x, exact, rtol=slow * near, atol=slow * near, msg=name)
        slopes = [torch.autograd.grad(x[i], theta, retain_graph=True)[0] for i in range(4)]
        torch.testing.assert_close(torch.stack(slopes), wanted, rtol=slow * near, atol=slow * near)


def test_least_squares_takes_the_whole_hessian():
    """With a residual that is far from zero, where JᵀJ alone is off by tens of per cent."""
    t = torch.linspace(0, 2, 9, dtype=torch.float64)

    def residual(x, theta):
        return x[0] * torch.exp(-x[1] * t) - torch.cos(theta * t)

    def solved(theta):
        return implicit.least_squares(residual, torch.tensor([1.0, 0.5], dtype=torch.float64), theta)

    theta = torch.tensor(2.2, dtype=torch.float64, requires_grad=True)
    x = solved(theta)
    assert torch.linalg.vector_norm(residual(x, theta)) > 0.3
    h = 1e-4
    central = (solved(theta.detach() + h) - solved(theta.detach() - h)) / (2 * h)
    finer = (solved(theta.detach() + h / 2) - solved(theta.detach() - h / 2)) / h
    central = (4 * finer - central) / 3
    slopes = torch.stack([torch.autograd.grad(x[i], theta, retain_graph=True)[0] for i in range(2)])
    assert float((slopes / central - 1).abs().max()) < 1e-6
    j = torch.autograd.functional.jacobian(lambda x: residual(x, theta.detach()), x.detach())
    change = torch.autograd.functional.jacobian(lambda p: residual(x.detach(), p), theta.detach())
    shortcut = -torch.linalg.solve(j.T @ j, j.T @ change)
    assert float((shortcut / central - 1).abs().max()) > 0.05


def cubic(x, a, b):
    return x**3 + torch.einsum("...ij,...j->...i", a, x) - b


def test_gradcheck():
    a = (torch.eye(3, dtype=torch.float64) * 2 + 0.3 * normal(3, 3)).requires_grad_()
    b = normal(3, seed=1).requires_grad_()
    guess = torch.zeros(3, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda a, b: implicit.root(cubic, guess, a, b), (a, b))
    assert torch.autograd.gradcheck(
        lambda a, b: implicit.fixed_point(lambda x, a, b: torch.tanh(0.3 * a @ x + b), guess, a, b), (a, b)
    )
    assert torch.autograd.gradcheck(lambda a, b: implicit.linear_solve(a, b), (a, b))
    assert torch.autograd.gradcheck(lambda a, b: implicit.linear_solve(lambda x, a: a @ x, b, a), (a, b))


@pytest.mark.parametrize("memory", [0, 5])
def test_equals_the_unrolled_iteration_at_convergence(memory):
    weights = (0.25 * normal(5, 5)).requires_grad_()
    bias = normal(5, seed=2).requires_grad_()

    def g(x, weights, bias):
        return torch.tanh(weights @ x + bias)

    x = torch.zeros(5, dtype=torch.float64)
    unrolled = x
    for _ in range(200):
        unrolled = g(unrolled, weights, bias)
    wanted = torch.autograd.grad(unrolled.square().sum(), (weights, bias))
    found = implicit.fixed_point(g, x, weights, bias, solver=implicit.Anderson(memory=memory))
    for got, want in zip(torch.autograd.grad(found.square().sum(), (weights, bias)), wanted, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-11)


def test_a_batch_equals_its_members():
    a, b = torch.eye(3, dtype=torch.float64) * 2 + 0.3 * normal(6, 3, 3), 3 * normal(6, 3, seed=1)
    a.requires_grad_()
    guess = normal(6, 3, seed=2)
    for name in ("root", "fixed_point", "least_squares", "linear_solve"):
        solve = getattr(implicit, name)

        def f(x, a, b, name=name):
            return (
                torch.tanh(0.2 * torch.einsum("...ij,...j->...i", a, x) + b)
                if name == "fixed_point"
                else cubic(x, a, b)
            )

        if name == "linear_solve":
            together, alone = solve(a, b, batched=True), torch.stack([solve(a[i], b[i]) for i in range(6)])
        else:
            together = solve(f, guess, a, b, batched=True)
            alone = torch.stack([solve(f, guess[i], a[i], b[i]) for i in range(6)])
        torch.testing.assert_close(together, alone, rtol=1e-10, atol=1e-11)
        slopes = [torch.autograd.grad(x.sin().sum(), a)[0] for x in (together, alone)]
        torch.testing.assert_close(*slopes, rtol=1e-9, atol=1e-10)


def test_members_that_are_done_stand_still():
    """x = √b from 1: the member at its solution keeps it to the bit, while the other takes many steps."""
    b = torch.tensor([[1.0], [1e8]], dtype=torch.float64)
    x = implicit.root(lambda x: x**2 - b, torch.ones(2, 1, dtype=torch.float64), batched=True)
    assert x[0].item() == 1.0 and x[1].item() == pytest.approx(1e4, rel=1e-14)


def test_large_systems_need_no_matrix():
    """x³ + x − 0.2 x'' = θ: the backward pass by GMRES equals that by LU of the tridiagonal Jacobian."""
    n = DENSE + 22

    def f(x, theta):
        wide = torch.nn.functional.pad(x, (1, 1))
        return x**3 + 1.4 * x - 0.2 * (wide[2:] + wide[:-2]) - theta

    theta = (2 + normal(n)).requires_grad_()
    x = implicit.root(f, torch.zeros(n, dtype=torch.float64), theta)
    assert f(x, theta).detach().abs().max() < 1e-13
    (found,) = torch.autograd.grad(x.sum(), theta)
    side = 0.2 * torch.diag(torch.ones(n - 1, dtype=torch.float64), 1)
    matrix = torch.diag(1.4 + 3 * x.detach() ** 2) - side - side.T
    torch.testing.assert_close(found, torch.linalg.solve(matrix, torch.ones_like(x)), rtol=1e-7, atol=1e-9)
    laplacian = matrix.clone().requires_grad_()
    for symmetric in (True, False):
        y = implicit.linear_solve(lambda v, m: m @ v, theta, laplacian, symmetric=symmetric)
        torch.testing.assert_close(y, torch.linalg.solve(matrix, theta), rtol=1e-7, atol=1e-9)
        (slope,) = torch.autograd.grad(y[3], laplacian)
        wanted = -torch.outer(torch.linalg.inv(matrix)[3], y)
        torch.testing.assert_close(slope, wanted, rtol=1e-6, atol=1e-8)


def test_weights_that_f_closes_over_get_their_gradient():
    """A deep equilibrium layer, with the weights of a module and an argument within a container."""
    layer = torch.nn.Linear(4, 4, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.mul_(0.8)
    given = {"input": normal(3, 4).requires_grad_()}

    def g(x, given):
        return torch.tanh(layer(x) + given["input"])

    guess = torch.zeros(3, 4, dtype=torch.float64, requires_grad=True)
    x = implicit.fixed_point(g, guess, given, batched=True)
    x.square().sum().backward()
    unrolled = torch.zeros(3, 4, dtype=torch.float64)
    for _ in range(300):
        unrolled = g(unrolled, given)
    wanted = torch.autograd.grad(unrolled.square().sum(), (layer.weight, layer.bias, given["input"]))
    for got, want in zip((layer.weight.grad, layer.bias.grad, given["input"].grad), wanted, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-11)
    assert guess.grad is None


def test_memory_does_not_grow_with_the_iterations():
    """Values kept for the backward pass: as many after thousands of steps as after some."""
    theta = torch.tensor([1.0], dtype=torch.float64, requires_grad=True)
    counts = []
    for rate in (0.5, 0.01):
        kept = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t, kept=kept: (kept.append(t.numel()), t)[1], lambda t: t):
            solver = implicit.Anderson(memory=0, max_steps=5000)
            x = implicit.fixed_point(
                lambda x, p, r=rate: x - r * (x - p), torch.zeros(1, dtype=torch.float64), theta, solver=solver
            )
        counts.append(sum(kept))
        assert torch.autograd.grad(x.sum(), theta)[0].item() == pytest.approx(1.0, rel=1e-12)
    assert counts[0] == counts[1] <= 8


def test_what_is_not_found_is_said():
    theta = torch.tensor([[-1.0], [4.0]], dtype=torch.float64, requires_grad=True)
    guess = torch.ones(2, 1, dtype=torch.float64)

    def f(x, theta):
        return x**2 - theta

    with pytest.raises(ConvergenceError, match=r"root: no solution was found.*1 of 2 members"):
        implicit.root(f, guess, theta, batched=True)
    with pytest.warns(RuntimeWarning, match="no solution"):
        x = implicit.root(f, guess, theta, batched=True, check=WARN)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        x.sum().backward()
    assert x[1].item() == pytest.approx(2.0) and theta.grad[1].item() == pytest.approx(0.25)
    assert torch.isnan(theta.grad[0])
    for solve, short in ((implicit.fixed_point, implicit.Anderson(max_steps=3, memory=0)),
                         (implicit.least_squares, implicit.LevenbergMarquardt(max_steps=2))):  # fmt: skip
        with pytest.raises(ConvergenceError, match="no solution"):
            solve(lambda x: torch.cos(3 * x) + x.flip(0), 5 * torch.ones(2, dtype=torch.float64), solver=short)


@pytest.mark.parametrize("power", [2, 3])
def test_multiple_roots_have_no_derivative(power):
    """Where a finite slope of some 10⁷ would come back."""
    theta = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    x = implicit.root(
        lambda x, p: (x - 0.3) ** power - p,
        torch.ones(1, dtype=torch.float64),
        theta,
        solver=implicit.Newton(max_steps=100),
    )
    with pytest.raises(ConvergenceError, match=r"not settled|singular"):
        x.sum().backward()
    with pytest.warns(RuntimeWarning, match="derivatives there are NaN"):
        x = implicit.root(
            lambda x, p: (x - 0.3) ** power - p,
            torch.ones(1, dtype=torch.float64),
            theta,
            check=WARN,
            solver=implicit.Newton(max_steps=100),
        )
        x.sum().backward()
    assert torch.isnan(theta.grad).all()


def test_singular_jacobians_are_refused_and_ill_scaled_ones_are_not():
    theta = torch.ones(2, dtype=torch.float64, requires_grad=True)
    guess = torch.tensor([1.0, 0.0], dtype=torch.float64)
    flat = implicit.fixed_point(lambda x, p: torch.stack([p[0], x[1]]), guess, theta)
    with pytest.raises(ConvergenceError, match="singular"):
        flat.sum().backward()
    scales = torch.tensor([1e12, 1e-12], dtype=torch.float64)
    x = implicit.root(lambda x, p: scales * (x**2 - p), torch.full((2,), 2.0, dtype=torch.float64), theta)
    torch.testing.assert_close(torch.autograd.grad(x.sum(), theta)[0], torch.full_like(theta, 0.5))
    with pytest.raises(ConvergenceError, match="singular"):
        implicit.linear_solve(torch.ones(2, 2, dtype=torch.float64), torch.ones(2, dtype=torch.float64))
    matrix = torch.ones(2, 2, dtype=torch.float64, requires_grad=True)
    with pytest.warns(RuntimeWarning, match="singular"):
        x = implicit.linear_solve(matrix, torch.ones(2, dtype=torch.float64), check=WARN)
    assert torch.isnan(torch.autograd.grad(x.sum(), matrix)[0]).all()


@pytest.mark.parametrize("symmetric", [True, False])
def test_failed_backward_solves_are_no_zero_gradients(symmetric):
    """A has the right-hand side in its range, the cotangent is not in that of Aᵀ."""
    n = DENSE + 2
    diagonal = torch.ones(n, dtype=torch.float64)
    diagonal[-1] = 0.0
    diagonal.requires_grad_()
    rhs = torch.cat([torch.ones(n - 1), torch.zeros(1)]).double()
    x = implicit.linear_solve(lambda v, d: d * v, rhs, diagonal, symmetric=symmetric)
    torch.testing.assert_close(x, rhs)
    with pytest.raises(ConvergenceError, match="backward linear solve"):
        x.sum().backward()
    with pytest.warns(RuntimeWarning, match="backward linear solve"):
        x = implicit.linear_solve(lambda v, d: d * v, rhs, diagonal, symmetric=symmetric, check=WARN)
        x.sum().backward()
    assert torch.isnan(diagonal.grad[:-1]).all()


def test_transforms_and_second_derivatives():
    theta = torch.tensor([2.0, 3.0], dtype=torch.float64, requires_grad=True)
    guess = torch.ones(2, dtype=torch.float64)

    def solved(theta):
        return implicit.root(lambda x, p: x**2 * p - 1, guess, theta)

    exact = -0.5 * theta.detach() ** -1.5
    torch.testing.assert_close(torch.func.grad(lambda p: solved(p).sum())(theta.detach()), exact)
    torch.testing.assert_close(torch.func.jacrev(solved)(theta.detach()), torch.diag(exact))
    (slope,) = torch.autograd.grad(solved(theta).sum(), theta, create_graph=True)
    torch.testing.assert_close(slope.detach(), exact)
    with pytest.raises(RuntimeError, match="differentiable once"):
        torch.autograd.grad(slope.sum(), theta)
    with pytest.raises(Exception, match=r"forward|jvp"):
        torch.func.jvp(solved, (theta.detach(),), (torch.ones_like(guess),))


def test_arguments_changed_before_the_backward_pass_are_noticed():
    theta = torch.tensor([2.0], dtype=torch.float64, requires_grad=True)
    x = implicit.root(lambda x, p: x**2 - p, torch.ones(1, dtype=torch.float64), theta)
    with torch.no_grad():
        theta.add_(1.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        x.sum().backward()


def test_types_and_shapes_are_kept():
    one = torch.ones(2)
    with pytest.raises(InputError, match=r"f: expected values of torch.float32.*got torch.float64"):
        implicit.root(lambda x: x - torch.ones(2, dtype=torch.float64), one)
    with pytest.raises(InputError, match="f: expected shape"):
        implicit.root(lambda x: x[:1], one)
    with pytest.raises(InputError, match=r"guess: expected a tensor of float32 or float64, got torch.int64"):
        implicit.root(lambda x: x, torch.ones(2, dtype=torch.int64))
    with pytest.raises(InputError, match="operator: expected"):
        implicit.linear_solve(torch.ones(3, 3), one)
    with pytest.raises(InputError, match="on_failure"):
        Check(on_failure="ignore")
