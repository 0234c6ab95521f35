"""Conditions that hold by construction, points, and the balance of losses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sciml
from sciml.solvers.pinn import Architecture, ByResidual, Causal, GradientNorms, PINNRecipe, RandomPoints, SobolPoints
from sciml.solvers.pinn._terms import Terms
from sciml.solvers.pinn._window import window_of

RANDOM = np.random.default_rng(1)


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def window(case, until=0.7, exact=True, **recipe):
    terms = Terms(case)
    steady, d = case.problem.steady, case.problem.dimensions
    around = (*case.geometry.periodic, *(() if steady else (False,)))
    network = Architecture(8, 2).build(d + (not steady), len(terms.names), jax.random.key(3), around)
    start = {} if terms.beginning is None else terms.beginning.functions
    how = PINNRecipe(until=None if steady else until, **{"points": 64, "boundary_points": 16, **recipe})
    span = (0.0, 1.0 if steady else until)
    return window_of(case, terms, network, how, span, start, terms.beginning, {}, {}, (), exact, None)


def violated(case, w):
    """The greatest scaled residual of every condition at random weights."""
    fields, theta, _ = w.assembled(w.first)
    random, found = np.random.default_rng(2), {}
    for term in Terms(case).each()[1:]:
        points = SobolPoints().inside(case.geometry, w.span, 32, random)
        if term.name in case.geometry.boundaries:
            points = SobolPoints().on(case.geometry.boundaries[term.name], w.span, 32, random)
        if term.name == "initial":
            points[:, -1] = 0.0
        block = w.block_of(term, points)
        r = jax.vmap(lambda p, term=term: term.scaled(fields, p, theta, {}))(block)
        found |= dict(zip(term.rows, np.abs(np.asarray(r)).max(axis=0), strict=True))
    return found


@pytest.mark.parametrize(
    "case",
    [
        sciml.problems.Burgers().case(),
        sciml.problems.HeatEquation().case(),
        sciml.problems.TaylorGreen().case(),
        sciml.problems.Poisson().case(),
        sciml.problems.Darcy("closed").case(pressure_left=2.0, pressure_right=-1.0),
    ],
    ids=lambda c: c.problem.name,
)
def test_conditions_hold_at_random_weights(case):
    w = window(case)
    for row, value in violated(case, w).items():
        if case.problem.name == "darcy" and row.startswith("y_"):
            assert value > 1e-3  # Neumann: a penalty
        else:
            assert value < 1e-12, row
    kinds = {"darcy": {"interior", "y_min", "y_max"}, "taylor_green": {"interior", "mean"}}
    assert set(w.terms) == kinds.get(case.problem.name, {"interior"})


def test_values_that_disagree_at_a_corner_are_left_to_a_penalty():
    """The lid of a cavity moves past walls that do not, and starts at once."""
    case = sciml.problems.LidDrivenCavity().case()
    w = window(case)
    found = violated(case, w)
    assert found["y_max.u"] > 1e-3
    assert all(v < 1e-12 for row, v in found.items() if row != "y_max.u")
    assert w.terms["y_max"].rows == ("y_max.u",) and w.terms["mean"].rows == ("mean.p",)


def test_penalties_alone_on_demand():
    case = sciml.problems.HeatEquation().case()
    w = window(case, exact=False)
    assert set(w.terms) == {"interior", "x_min", "x_max", "initial"}


def test_balanced_gradients_are_equally_long():
    case = sciml.problems.HeatEquation().case()
    w = window(case, exact=False, balancing=GradientNorms(most=1e12))
    blocks = {n: w.block(n, p) for n, p in w.points(RANDOM).items()}
    w.rebalance(w.first, blocks, True)
    data = w.weigh(blocks)
    total = sum(b["weight"].size for b in data.values())
    lengths = []
    for name in w.terms:

        def loss(params, name=name):
            several = {n: {**b, "weight": b["weight"] * (n == name)} for n, b in data.items()}
            return 0.5 * (w.residuals(params, several) ** 2).sum() / total

        lengths.append(np.sqrt(sum(float((g**2).sum()) for g in jax.tree.leaves(jax.grad(loss)(w.first)))))
    np.testing.assert_allclose(lengths, lengths[0], rtol=1e-9)
    norms = w.gradient_norms(w.first, blocks)
    np.testing.assert_allclose(w.balance, norms.mean() / norms, rtol=1e-12)
    moving = GradientNorms(most=1e12).weights(2 * norms[::-1], w.balance)
    np.testing.assert_allclose(moving, 0.9 * w.balance + 0.1 * norms.mean() / norms[::-1])


def test_loss_is_the_weighted_sum_of_the_rows():
    case = sciml.problems.HeatEquation().case()
    w = window(case, exact=False)
    blocks = {n: w.block(n, p) for n, p in w.points(RANDOM).items()}
    w.balance = np.arange(1.0, 1 + len(w.rows))
    data = w.weigh(blocks)
    total = sum(b["weight"].size for b in data.values())
    whole = 0.5 * float((w.residuals(w.first, data) ** 2).sum()) / total
    assert abs(whole - float(w.balance @ w.loss_of_rows(w.first, blocks))) < 1e-12 * whole


@pytest.mark.parametrize("sampling", [SobolPoints(), RandomPoints()])
def test_points_lie_where_they_should(sampling):
    case = sciml.problems.CylinderFlow().case()
    random = np.random.default_rng(0)
    inside = sampling.inside(case.geometry, (1.0, 3.0), 500, random)
    assert inside.shape == (500, 3) and case.geometry.contains(inside[:, :2]).all()
    assert 1 <= inside[:, 2].min() < 1.1 and 2.9 < inside[:, 2].max() <= 3
    cylinder = case.geometry.boundaries["cylinder"]
    on = sampling.on(cylinder, (1.0, 3.0), 100, random)
    np.testing.assert_allclose(np.hypot(on[:, 0], on[:, 1]), case.radius, rtol=1e-12)
    # out of the fluid is into the cylinder
    np.testing.assert_allclose(cylinder.normal(on[:, :2]), -on[:, :2] / case.radius, atol=1e-9)


def test_sobol_points_are_more_even_than_random_ones():
    exact = 1.0
    errors = {}
    for how in (SobolPoints(), RandomPoints()):
        x = how.unit(1000, 2, np.random.default_rng(0))
        errors[type(how).__name__] = abs(float(np.prod(2 * x, axis=1).mean()) - exact)
    assert errors["SobolPoints"] < 1e-2 * errors["RandomPoints"] or errors["SobolPoints"] < 1e-3


def test_points_are_drawn_where_residuals_are_large():
    random = np.random.default_rng(0)
    r = np.where(np.arange(4000) < 400, 10.0, 0.1)
    chosen = ByResidual(power=1.0, floor=0.0).choose(r, 300, random)
    assert len(np.unique(chosen)) == 300 and (chosen < 400).mean() > 0.8
    even = ByResidual(power=0.0).choose(r, 1000, random)
    assert abs((even < 400).mean() - 0.1) < 0.04


def test_elliptic_rows_are_of_order_one():
    """Rows are over the size of their largest term, whatever the units."""
    case = sciml.problems.ElasticPlate().case()
    w = window(case)
    blocks = {n: w.block(n, p) for n, p in w.points(RANDOM).items()}
    losses = w.loss_of_rows(w.first, blocks)
    assert np.isfinite(losses).all() and losses.max() < 1e4
    assert jnp.isfinite(w.residuals(w.first, w.weigh(blocks))).all()


def test_causal_weights_are_those_of_a_loop():
    """w_k = exp(−ε Σ_{j<k} L_j), L the means of ½ r² over chunks of time, at random weights."""
    case = sciml.problems.Burgers().case()
    w = window(case, until=0.5, causal=Causal(tolerance=3.0, chunks=4))
    points = SobolPoints().inside(case.geometry, w.span, 200, np.random.default_rng(4))
    blocks = {"interior": w.block("interior", points)}
    found = w.causal(w.first, blocks)
    fields, theta, _ = w.assembled(w.first)
    r = jax.vmap(lambda p: w.terms["interior"].scaled(fields, p, theta, {}))(blocks["interior"])
    total, expected = 0.0, []
    for k in range(4):
        expected.append(np.exp(-3.0 * total))
        here = (points[:, 1] >= 0.125 * k) & (points[:, 1] < 0.125 * (k + 1))
        total += float(np.mean(0.5 * np.asarray(r)[here, 0] ** 2))
    np.testing.assert_allclose(found, expected, rtol=1e-10)
