"""The nearest point in sets of equations, inequalities and bounds."""

import itertools

import numpy as np
import pytest
import scipy.optimize
import scipy.sparse
import torch

from sciml.constraints import Projection
from sciml.errors import InputError


def random(seed=0):
    return np.random.default_rng(seed)


def problem(n, m, p, seed, bounds=True):
    """Constraints that a point between the bounds meets."""
    r = random(seed)
    a, c, inside = r.standard_normal((m, n)), r.standard_normal((p, n)), r.uniform(-0.8, 0.8, n)
    low, high = (np.full(n, -1.0), np.full(n, 1.0)) if bounds else (np.full(n, -np.inf), np.full(n, np.inf))
    return a, a @ inside, c, c @ inside + r.uniform(0, 0.3, p), low, high


def enumerated(z, a, b, c, d, low, high):
    """The nearest of the candidates of all active sets that meets all constraints."""
    n = len(z)
    rows, right = np.concatenate([c, -np.eye(n), np.eye(n)]), np.concatenate([d, -low, high])
    best, nearest = None, np.inf
    for k in range(n - len(a) + 1):
        for chosen in itertools.combinations(range(len(rows)), k):
            m, r = np.concatenate([a, rows[list(chosen)]]), np.concatenate([b, right[list(chosen)]])
            x = z - np.linalg.pinv(m) @ (m @ z - r)
            met = np.all(rows @ x <= right + 1e-9) and np.allclose(a @ x, b, atol=1e-9)
            if met and (x - z) @ (x - z) < nearest:
                best, nearest = x, (x - z) @ (x - z)
    return best


@pytest.mark.parametrize(("m", "p"), [(1, 1), (2, 0), (0, 2)])
def test_against_all_active_sets(m, p):
    a, b, c, d, low, high = problem(4, m, p, seed=m + 2 * p)
    z = 2 * random(9).standard_normal((6, 4))
    project = Projection(4, (a, b) if m else None, (c, d) if p else None, low, high)
    expected = np.stack([enumerated(row, a, b, c, d, low, high) for row in z])
    np.testing.assert_allclose(project(torch.from_numpy(z)), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("n", "m", "p"), [(8, 3, 4), (12, 1, 0), (10, 0, 6), (10, 4, 0)])
@pytest.mark.parametrize("bounds", [True, False])
def test_against_slsqp(n, m, p, bounds):
    a, b, c, d, low, high = problem(n, m, p, seed=n + m, bounds=bounds)
    z = 2 * random(1).standard_normal((3, n))
    project = Projection(n, (a, b) if m else None, (c, d) if p else None, low, high)
    found = project(torch.from_numpy(z)).numpy()
    for row, got in zip(z, found, strict=True):
        kinds = [{"type": "eq", "fun": lambda x: a @ x - b, "jac": lambda x: a}] * bool(m)
        kinds += [{"type": "ineq", "fun": lambda x: d - c @ x, "jac": lambda x: -c}] * bool(p)
        best = scipy.optimize.minimize(
            lambda x, z=row: 0.5 * np.sum((x - z) ** 2), np.zeros(n), jac=lambda x, z=row: x - z, method="SLSQP",
            bounds=list(zip(low, high, strict=True)), constraints=kinds, options={"ftol": 1e-15, "maxiter": 500},
        )  # fmt: skip
        np.testing.assert_allclose(got, best.x, atol=2e-6)
        assert np.sum((got - row) ** 2) <= np.sum((best.x - row) ** 2) + 1e-9
    assert np.abs(found @ a.T - b).max(initial=0.0) < 1e-12 and (found @ c.T - d).max(initial=0.0) < 1e-12
    assert (found >= low).all() and (found <= high).all()
    again = project(torch.from_numpy(found)).numpy()
    np.testing.assert_allclose(again, found, rtol=0, atol=1e-12)


def test_one_equation_and_bounds_exactly():
    """The simplex: against sorting, and the root against Newton's method."""
    z = torch.from_numpy(3 * random(2).standard_normal((50, 20)))
    found = Projection(20, (np.ones((1, 20)), [1.0]), low=0.0)(z)
    u = z.sort(descending=True).values
    excess = (u.cumsum(-1) - 1) / torch.arange(1, 21)
    last = (u > excess).sum(-1, keepdim=True) - 1
    torch.testing.assert_close(found, (z - excess.gather(1, last)).clamp(min=0), rtol=0, atol=1e-14)
    assert (found.sum(-1) - 1).abs().max() < 1e-14 and bool((found >= 0).all())
    a = random(3).standard_normal((1, 20))
    a[0, :3] = 0.0
    by_root = Projection(20, (a, [0.7]), low=-0.3, high=0.4)(z)
    by_newton = Projection(20, (a, [0.7]), (np.ones((1, 20)), [1e3]), -0.3, 0.4)(z)
    torch.testing.assert_close(by_root, by_newton, rtol=0, atol=1e-13)
    # corners of the box, where nothing is free, and bounds on one side
    most = Projection(3, (np.array([[1.0, -2.0, 0.5]]), [3.5]), low=-1.0, high=1.0)
    torch.testing.assert_close(most(z[:, :3]), torch.tensor([1.0, -1.0, 1.0]).expand(50, 3), rtol=0, atol=1e-15)


def test_equations_alone_and_bounds_alone():
    a, b, *_ = problem(9, 4, 0, seed=4)
    z = torch.from_numpy(random(5).standard_normal((2, 3, 9)))
    expected = z.numpy() - (z.numpy() @ a.T - b) @ np.linalg.inv(a @ a.T) @ a
    for matrix in (a, scipy.sparse.csr_array(a)):
        found = Projection(9, (matrix, b))(z)
        np.testing.assert_allclose(found, expected, atol=1e-13)
        assert np.abs(found.numpy() @ a.T - b).max() < 1e-13
    assert torch.equal(Projection(9, low=-0.5, high=0.25)(z), z.clamp(-0.5, 0.25))


@pytest.mark.parametrize(("m", "p"), [(2, 3), (1, 0), (3, 0), (0, 3)])
def test_derivatives(m, p):
    n = 7
    a, b, c, d, low, high = problem(n, m, p, seed=11 + m)
    project = Projection(n, (a, b) if m else None, (c, d) if p else None, low, high)
    z = torch.from_numpy(2 * random(6).standard_normal((2, n))).requires_grad_()
    given = [torch.from_numpy(t).requires_grad_() for t in (b, d, low, high)]

    def function(z, b, d, low, high):
        return project(z, b if m else None, d if p else None, low, high) ** 2

    found = project(z)
    assert int((found.abs() == 1).sum()) >= 2  # some bounds are active, some are not
    assert torch.autograd.gradcheck(function, (z, *given), fast_mode=True)
    assert torch.autograd.gradgradcheck(function, (z, *given), fast_mode=True)


def test_symmetric_derivative():
    """Of a projection onto a convex set it is symmetric, with eigenvalues between 0 and 1."""
    a, b, c, d, low, high = problem(8, 2, 3, seed=21)
    project = Projection(8, (a, b), (c, d), low, high)
    z = torch.from_numpy(2 * random(8).standard_normal(8))
    jacobian = torch.autograd.functional.jacobian(project, z)
    torch.testing.assert_close(jacobian, jacobian.T, rtol=0, atol=1e-13)
    values = torch.linalg.eigvalsh(jacobian)
    assert values.min() > -1e-12 and values.max() < 1 + 1e-12


def test_larger_batches_with_many_active_bounds():
    a, b, c, d, low, high = problem(100, 20, 30, seed=31)
    z = torch.from_numpy(3 * random(12).standard_normal((64, 100)))
    project = Projection(100, (a, b), (c, d), low, high)
    x = project(z)
    assert (x @ torch.from_numpy(a.T) - torch.from_numpy(b)).abs().max() < 1e-12 * np.abs(b).max() * 10
    assert (x @ torch.from_numpy(c.T) - torch.from_numpy(d)).max() < 1e-11 and x.abs().max() <= 1
    # (z − x)·(y − x) ≤ 0 for all y of the set
    y = project(torch.from_numpy(3 * random(13).standard_normal((64, 100))))
    assert ((z - x) @ y.T - ((z - x) * x).sum(-1, keepdim=True)).max() < 1e-9


def test_single_precision():
    a, b, c, d, low, high = problem(10, 3, 2, seed=41)
    x = Projection(10, (a, b), (c, d), low, high)(torch.from_numpy(random(4).standard_normal((5, 10))).float())
    assert x.dtype == torch.float32 and np.abs(x.numpy() @ a.T - b).max() < 1e-5


def test_bad_input():
    a = np.array([[1.0, 1.0, 0.0], [0.0, 1.0, 1.0], [1.0, 2.0, 1.0]])
    with pytest.raises(InputError, match="independent rows, got 2 of 3"):
        Projection(3, (a, [1.0, 1.0, 2.0]))
    with pytest.raises(InputError, match="contradicts the others"):
        Projection(3, (a, [1.0, 1.0, 3.0]))
    with pytest.raises(InputError, match="low: expected none above high"):
        Projection(3, low=[0.0, 2.0, 0.0], high=1.0)
    with pytest.raises(InputError, match=r"expected a matrix \(m, 3\)"):
        Projection(3, (np.ones((1, 2)), [1.0]))
    z = torch.zeros(2, 3)
    with pytest.raises(InputError, match=r"no point meets all of them; .* misses equation 0"):
        Projection(3, (np.ones((1, 3)), [5.0]), low=-1.0, high=1.0)(z)
    with pytest.raises(InputError, match="no point meets all of them"):
        Projection(3, None, (np.array([[1.0, 0, 0], [-1.0, 0, 0]]), [0.0, -1.0]))(z)
    with pytest.raises(InputError, match=r"values: expected \(..., 3\)"):
        Projection(3, low=0.0)(z[:, :2])
