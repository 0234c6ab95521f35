"""The update to a known mass: Bayes' rule, its exact limit, and what it refuses."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from sciml.constraints import (
    ConservationUpdate,
    Normal,
    Smoothness,
    integrals,
    log_likelihood,
    mean_squared_error,
    trapezoid,
)
from sciml.errors import InputError

RANDOM = torch.Generator().manual_seed(1)


def normal(*shape):
    return torch.randn(*shape, generator=RANDOM, dtype=torch.float64)


def uneven(n):
    return np.sort(np.random.default_rng(n).uniform(0, 1, n))


def spread(n, *batch):
    """A well-conditioned covariance."""
    a = normal(*batch, n, n)
    return a @ a.mT / n + 0.1 * torch.eye(n, dtype=torch.float64)


def conditioned(mean, covariance, rows, noise, mass):
    """Of the joint distribution of u and G u + ε, through precisions: Λ = Σ⁻¹ + Gᵀ G/σ²."""
    precision = torch.linalg.inv(covariance) + rows.T @ rows / noise**2
    posterior = torch.linalg.inv(precision)
    seen = torch.linalg.solve(covariance, mean[..., None]) + rows.T @ mass[..., None] / noise**2
    return (posterior @ seen)[..., 0], posterior


@pytest.mark.parametrize("diagonal", [True, False])
def test_it_is_bayes_rule(diagonal):
    n, batch = 13, 4
    rows = torch.cat([trapezoid(uneven(n))[None], normal(2, n)])
    mean, mass = normal(batch, n), normal(batch, 3)
    covariance = torch.diag_embed(normal(batch, n).exp()) if diagonal else spread(n, batch)
    prior = Normal(mean, covariance.diagonal(dim1=-2, dim2=-1)) if diagonal else Normal(mean, matrix=covariance)
    found = ConservationUpdate(rows, noise=0.3)(prior, mass)
    expected, posterior = conditioned(mean, covariance, rows, 0.3, mass)
    torch.testing.assert_close(found.mean, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(found.covariance, posterior, rtol=0, atol=1e-12)
    torch.testing.assert_close(found.variance, posterior.diagonal(dim1=-2, dim2=-1), rtol=0, atol=1e-12)
    # the limits: a mass that is not known says nothing, one that is known nearly all is the exact update
    far = ConservationUpdate(rows, noise=1e8)(prior, mass)
    torch.testing.assert_close(far.mean, mean, rtol=0, atol=1e-12)
    torch.testing.assert_close(far.covariance, covariance, rtol=0, atol=1e-12)
    near, exact = (ConservationUpdate(rows, noise=s)(prior, mass) for s in (1e-6, 0.0))
    torch.testing.assert_close(near.mean, exact.mean, rtol=0, atol=1e-9)


@pytest.mark.parametrize("diagonal", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_without_noise_the_mass_is_exact(diagonal, dtype):
    n, batch = 201, 7
    x = np.linspace(0, 1, n) ** 1.5
    mean = (10 * normal(batch, n)).to(dtype)
    variance = (4 * normal(batch, n)).exp().to(dtype)  # over ten decades
    prior = Normal(mean, variance) if diagonal else Normal(mean, matrix=spread(n, batch).to(dtype))
    update, mass = ConservationUpdate(trapezoid(x)), 3.0 + normal(batch, 1)
    found = update(prior, mass)
    assert found.mean.dtype == torch.float64
    assert float((update.error(found.mean, mass) / mass).abs().max()) < 1e-12
    left = update.rows @ found.covariance
    assert float(left.abs().max()) < 1e-12 * float((update.rows @ prior.covariance.double()).abs().max())
    again = update(Normal(found.mean, torch.ones_like(found.mean)), mass)  # nothing is left to correct
    torch.testing.assert_close(again.mean, found.mean, rtol=0, atol=1e-11)


def test_what_is_uncertain_is_corrected_and_it_is_the_nearest():
    n = 9
    mean, variance = normal(n), normal(n).exp()
    update, mass = ConservationUpdate(trapezoid(uneven(n))), torch.tensor([2.0], dtype=torch.float64)
    found = update(Normal(mean, variance), mass).mean
    # Σ⁻¹ (μ̃ − μ) is a multiple of G: no direction that keeps the mass brings it nearer
    multiplier = (found - mean) / variance / update.rows[0]
    torch.testing.assert_close(multiplier, multiplier.mean().expand(n), rtol=1e-10, atol=0)


def test_equal_variances_are_the_hard_constraint():
    n, batch = 20, 3
    update = ConservationUpdate(integrals(uneven(10), 2))
    mean, mass = normal(batch, n), normal(batch, 2)
    hard = update.hard(mean, mass)
    torch.testing.assert_close(update(Normal(mean, torch.full((batch, n), 0.37)), mass).mean, hard, rtol=0, atol=1e-13)
    g = update.rows.numpy()
    expected = mean.numpy() - (mean.numpy() @ g.T - mass.numpy()) @ np.linalg.pinv(g).T
    np.testing.assert_allclose(hard.numpy(), expected, rtol=0, atol=1e-12)


def test_times_as_rows_and_as_a_batch_axis_are_the_same():
    x, times = uneven(8), 5
    mean, variance, mass = normal(times, 8), normal(times, 8).exp(), normal(times, 1)
    one = ConservationUpdate(trapezoid(x))(Normal(mean, variance), mass)
    all_ = ConservationUpdate(integrals(x, times))(Normal(mean.flatten(), variance.flatten()), mass[:, 0])
    torch.testing.assert_close(all_.mean, one.mean.flatten(), rtol=0, atol=1e-13)
    torch.testing.assert_close(all_.variance, one.variance.flatten(), rtol=0, atol=1e-13)


def test_trapezoid_is_exact_for_lines_and_second_order():
    x = uneven(30)
    weights = trapezoid(x).numpy()
    np.testing.assert_allclose(weights @ (2 * x + 3), x[-1] ** 2 - x[0] ** 2 + 3 * (x[-1] - x[0]), rtol=1e-14)
    errors = []
    for n in (33, 65):
        s = np.linspace(0, 1, n) ** 1.5
        errors.append(abs(trapezoid(s).numpy() @ np.exp(s) - (np.e - 1)))
    assert 1.9 < np.log2(errors[0] / errors[1]) < 2.1


def test_smoothness_is_a_condition_on_second_differences():
    n = 12
    x = np.linspace(0, 1, n)
    mean, variance = normal(2, n), normal(2, n).exp()
    smooth = Smoothness(x, 0.9)
    s = variance.sqrt()
    a, b, c = s[:, :-2], s[:, 1:-1], s[:, 2:]
    expected = a**2 + 4 * b**2 + c**2 - 3.6 * a * b + 1.62 * a * c - 3.6 * b * c
    torch.testing.assert_close(smooth.variance(s), expected, rtol=1e-12, atol=0)
    np.testing.assert_allclose(smooth.rows.numpy() @ (3 * x - 1), 0.0, atol=1e-12)
    np.testing.assert_allclose(Smoothness(uneven(n)).rows.numpy() @ uneven(n), 0.0, atol=1e-14)  # lines are smooth
    update, mass = ConservationUpdate(trapezoid(x), smoothness=smooth), normal(2, 1)
    found = update(Normal(mean, variance), mass)
    precision = torch.diag_embed(1 / variance) + smooth.rows.T @ (smooth.rows / expected[..., None])
    middle = torch.linalg.solve(precision, (mean / variance)[..., None])[..., 0]
    then = ConservationUpdate(trapezoid(x))(Normal(middle, matrix=torch.linalg.inv(precision)), mass)
    torch.testing.assert_close(found.mean, then.mean, rtol=0, atol=1e-11)
    torch.testing.assert_close(found.covariance, then.covariance, rtol=0, atol=1e-11)
    assert float((smooth.rows @ found.mean[0]).square().sum()) < float((smooth.rows @ mean[0]).square().sum())


@pytest.mark.parametrize("shape", [{"nonnegative": True}, {"monotone": -1}, {"nonnegative": True, "monotone": -1}])
def test_shapes_are_the_most_probable_with_the_mass(shape):
    n = 8
    mean, covariance = 0.4 * normal(2, n), spread(n, 2)
    rows, mass = trapezoid(uneven(n)), torch.tensor([[0.3], [0.05]], dtype=torch.float64)
    update = ConservationUpdate(rows, **shape)
    found = update(Normal(mean, matrix=covariance), mass).mean
    assert float(update.error(found, mass).abs().max()) < 1e-14
    sides = update.sides
    assert (sides @ found.numpy().T).min() > -1e-12
    assert (np.abs(sides @ found.numpy().T) < 1e-12).any()  # something binds, or nothing is tested
    for k in range(2):
        precision = np.linalg.inv(covariance[k].numpy())

        def distance(u, k=k, precision=precision):
            return (u - mean[k].numpy()) @ precision @ (u - mean[k].numpy())

        limits = [{"type": "ineq", "fun": lambda u: sides @ u},
                  {"type": "eq", "fun": lambda u, k=k: rows.numpy() @ u - mass[k].numpy()}]  # fmt: skip
        start = np.full(n, float(mass[k, 0] / rows.sum()))
        other = minimize(distance, start, constraints=limits, method="SLSQP", options={"ftol": 1e-14, "maxiter": 500})
        assert distance(found[k].numpy()) <= other.fun + 1e-9
        np.testing.assert_allclose(found[k].numpy(), other.x, atol=1e-5)
    free = ConservationUpdate(rows)(Normal(found, matrix=covariance), mass).mean
    torch.testing.assert_close(update(Normal(free, matrix=covariance), mass).mean, free, rtol=0, atol=1e-12)


@pytest.mark.parametrize("options", [{}, {"noise": 0.2}, {"smoothness": Smoothness(uneven(6))}, {"nonnegative": True}])
def test_gradients_pass_through(options):
    rows = torch.stack([trapezoid(uneven(6)), torch.linspace(1, 2, 6, dtype=torch.float64)])
    update = ConservationUpdate(rows, **options)
    mean, variance = normal(2, 6).requires_grad_(), (normal(2, 6) / 2).exp().requires_grad_()
    mass = (normal(2, 6).square() @ rows.T).requires_grad_()  # that values which are not negative have

    def answer(mean, variance, mass):
        found = update(Normal(mean, variance), mass)
        return found.mean, found.variance

    assert torch.autograd.gradcheck(answer, (mean, variance, mass))


def test_the_likelihood_given_the_mass_is_that_of_the_posterior():
    n = 7
    mean, covariance, rows, mass = normal(3, n), spread(n, 3), normal(2, n), normal(3, 2)
    update, truth = ConservationUpdate(rows, noise=0.5), normal(3, n)
    posterior = update(Normal(mean, matrix=covariance), mass)
    expected = torch.distributions.MultivariateNormal(posterior.mean, posterior.covariance).log_prob(truth)
    found = update.log_likelihood(Normal(mean, matrix=covariance), mass, truth)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=0)
    variance = normal(3, n).exp()
    one = update.log_likelihood(Normal(mean, variance), mass, truth)
    torch.testing.assert_close(
        one, update.log_likelihood(Normal(mean, matrix=torch.diag_embed(variance)), mass, truth), rtol=1e-10, atol=0
    )


def test_scores():
    mean, truth = normal(3, 5), normal(3, 5)
    given = Normal(mean, normal(3, 5).exp())
    expected = torch.distributions.Normal(mean, given.variance.sqrt()).log_prob(truth).mean(-1)
    torch.testing.assert_close(log_likelihood(given, truth), expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(mean_squared_error(mean, truth), ((mean - truth) ** 2).mean(-1))
    sure = Normal(torch.zeros(2), torch.zeros(2), floor=1e-4)
    assert float(log_likelihood(sure, torch.zeros(2))) == pytest.approx(-0.5 * np.log(2 * np.pi * 1e-4))


LINE = trapezoid(np.linspace(0, 1, 4))
EVEN = Normal(torch.zeros(2, 4), torch.ones(2, 4))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: trapezoid([0.0, 0.5, 0.4]), "points: expected finite coordinates that increase strictly"),
        (lambda: trapezoid([0.0]), r"points: have shape \(1,\), expected at least two"),
        (lambda: ConservationUpdate([[1.0, 1, 1], [2, 2, 2]]), "rows: only 1 of 2 are independent"),
        (lambda: ConservationUpdate([[0.0, 0.0]]), "rows: a row is zero"),
        (lambda: ConservationUpdate(LINE, noise=-1.0), "noise is -1.0, expected a number >= 0"),
        (lambda: ConservationUpdate(LINE, floor=0.0), "floor is 0.0, expected a number > 0"),
        (lambda: ConservationUpdate(LINE, monotone=2), "monotone is 2, expected -1, 0 or 1"),
        (lambda: ConservationUpdate(LINE, noise=0.1, nonnegative=True), "expected 0 with a shape"),
        (lambda: ConservationUpdate(LINE, smoothness=Smoothness(uneven(5))), "smoothness: is of 5 points, expected 4"),
        (lambda: Smoothness([0.0, 1.0]), "points: 2 of them, expected at least three"),
        (lambda: Smoothness(uneven(5), 1.0), r"correlation is 1.0, expected a number in \[0, 1\)"),
        (lambda: Normal(torch.zeros(4), torch.tensor([1.0, -0.5, 1, 1])), "variance has a negative variance, -0.5"),
        (lambda: Normal(torch.zeros(4), torch.ones(3)), r"variance has shape \(3,\), expected \(\*batch, 4"),
        (lambda: Normal(torch.zeros(4), matrix=torch.ones(4, 3)), r"covariance has shape \(4, 3\)"),
        (lambda: Normal(torch.full((4,), torch.nan), torch.ones(4)), "mean holds values that are not finite"),
        (lambda: Normal(torch.zeros(4)), "expected a diagonal"),
        (lambda: ConservationUpdate(LINE)(EVEN, torch.zeros(2, 3)), r"mass: has shape \(2, 3\), expected \(\*batch, 1"),
        (lambda: ConservationUpdate(LINE)(EVEN, torch.zeros(3, 1)), r"mass: has shape \(3, 1\), expected \(2, 1\)"),
        (lambda: ConservationUpdate(LINE)(EVEN, torch.nan), "mass: holds values that are not finite"),
        (lambda: ConservationUpdate([1.0, 1.0])(EVEN, 1.0), r"the mean has shape \(2, 4\), expected \(\*batch, 2\)"),
        (lambda: ConservationUpdate(LINE, nonnegative=True)(EVEN, -1.0), "mass: no values of the asked shape have it"),
        (lambda: ConservationUpdate(LINE).log_likelihood(EVEN, 1.0, EVEN.mean), "noise is 0, expected > 0"),
        (lambda: log_likelihood(EVEN, torch.zeros(3)), r"truth: has shape \(3,\), expected \(2, 4\)"),
    ],
)
def test_what_cannot_be_used_is_said_in_one_line(make, message):
    with pytest.raises(InputError, match=message) as found:
        make()
    assert "\n" not in str(found.value)
