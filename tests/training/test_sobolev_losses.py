"""Sobolev norms against their textbook values, and what they take from the case."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from sciml import problems
from sciml.errors import InputError
from sciml.support import Grid
from sciml.training import H1, On, Recipe, Sobolev, Supervised
from sciml.training.norms import difference_square, spectral_square


def cells(n, length=2 * math.pi):
    return (torch.arange(n, dtype=torch.float64) + 0.5) * length / n


def on_torus(*shape, lengths):
    axes = tuple(cells(n, size)[None] for n, size in zip(shape, lengths, strict=True))
    return On(axes=axes, periodic=(True,) * len(shape), lengths=torch.tensor([lengths], dtype=torch.float64))


@pytest.mark.parametrize("order", [-1.5, -1, 0, 0.5, 1, 2, 3.25])
@pytest.mark.parametrize("n", [32, 33])
def test_sine(order, n):
    """‖sin kx‖²_s = (1 + k²)^s ‖sin kx‖² on [0, 2π], and by axis in two dimensions."""
    for k in (1, 2, 5):
        u = torch.sin(k * cells(n))[None, None]
        assert float(spectral_square(u, order, [2 * math.pi])) == pytest.approx((1 + k**2) ** order / 2, rel=1e-12)
    x, y = cells(n, 2.0), cells(24, 3.0)
    u = torch.sin(2 * math.pi * y / 3)[:, None] * torch.cos(2 * 2 * math.pi * x / 2)
    size = (2 * math.pi / 3) ** 2 + (2 * math.pi) ** 2
    found = spectral_square(u[None, None], order, [3.0, 2.0], length=0.3)
    assert float(found) == pytest.approx((1 + 0.09 * size) ** order / 4, rel=1e-12)


def test_order_nought_is_the_mean_square():
    a = torch.randn(3, 2, 9, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert torch.allclose(spectral_square(a, 0, [1.0, 2.0]), a.square().mean((2, 3)).sum(1), rtol=1e-12)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_differences_go_to_the_spectral_norm_at_second_order(order):
    def gap(n):
        u = (torch.sin(cells(n)) + 0.4 * torch.cos(2 * cells(n)))[None, None]
        one = torch.full((1, 1, 1), 1 / n, dtype=torch.float64)
        found = difference_square(u, order, [cells(n)], [torch.tensor(2 * math.pi)], one)
        return abs(float(found - spectral_square(u, order, [2 * math.pi])))

    assert math.log2(gap(64) / gap(128)) == pytest.approx(2, abs=0.1)


def test_walls_and_masks_go_by_differences():
    """A parabola on [0, 2]: its slope is exact inside and at the ends; orders that are no whole number are refused."""
    x = cells(40, 2.0)
    t, p = torch.zeros(1, 1, 40, dtype=torch.float64), (x**2)[None, None]
    on = On(axes=(x[None],))
    expected = (x**4).mean() + (4 * x**2).mean()
    assert float(Sobolev(1, relative=False)(p, t, on)) == pytest.approx(float(expected), rel=1e-9)
    assert float(Sobolev(2, relative=False)(p, t, on)) == pytest.approx(
        float(expected + (4 * x**2).mean() + 4), rel=1e-9
    )
    for order in (0.5, -1):
        with pytest.raises(InputError, match="Sobolev norm of order"):
            Sobolev(order)(p, t, on)
    mask = (torch.arange(40) < 20).double()[None, None]
    half = Sobolev(1, relative=False)(p + 1e9 * (1 - mask), t, On(mask=mask, axes=(x[None],)))
    assert float(half) == pytest.approx(float((x[:20] ** 4).mean() + (4 * x[:20] ** 2).mean()), rel=1e-9)
    with pytest.raises(InputError, match="needs values on a grid"):
        Sobolev()(p, t, On())


def test_relative_and_in_units_of_each_sample():
    """Samples on boxes of different size: the ratio for e = 0.1 sin kx over t = sin x is 0.1 ((1 + k²)/2)^(s/2)."""
    sizes = torch.tensor([[2 * math.pi], [1.0]], dtype=torch.float64)
    axes = (torch.stack([cells(32), cells(32, 1.0)]),)
    on = On(axes=axes, periodic=(True,), lengths=sizes)
    t = torch.sin(cells(32)).expand(2, 1, 32)
    p = t + 0.1 * torch.sin(3 * cells(32))
    waves = [2 * math.pi / float(s) for s in sizes[:, 0]]
    expected = np.mean([0.1 * ((1 + (3 * k) ** 2) / (1 + k**2)) ** 0.75 for k in waves])
    assert float(Sobolev(1.5, floor=0)(p, t, on)) == pytest.approx(float(expected), rel=1e-12)
    q = p.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(Sobolev(1.5)(q, t, on), q)
    assert torch.isfinite(gradient).all() and gradient.abs().max() > 0


def test_of_order_one_it_is_h1():
    """Where both go by differences: with walls, and with ℓ² for the weight of gradients."""
    a, b = (torch.randn(2, 2, 10, 12, generator=torch.Generator().manual_seed(i), dtype=torch.float64) for i in (1, 2))
    on = On(axes=(cells(10, 1.0)[None], cells(12, 2.0)[None]))
    assert float(Sobolev(1, length=0.5)(a, b, on)) == pytest.approx(float(H1(0.25)(a, b, on)), rel=1e-12)


@pytest.mark.parametrize("loss", [H1(), Sobolev()])
def test_periods_and_spacing_come_from_the_case(loss):
    """A shifted wave costs the same wherever the seam of its period lies: nothing is taken to be a wall."""
    from sciml.training import Autoregressive
    from tests.training.test_physics_losses import encoding

    case = problems.Burgers().case(length=2.5)
    grid = Grid.uniform(case.geometry, (32,))
    given = encoding(case, grid, Autoregressive()).given([case], [grid])
    on = On(given.mask, given.weights, given.axes, given.periodic, given.lengths)
    assert on.periodic == (True,) and float(on.periods[0]) == pytest.approx(2.5)
    t = torch.sin(2 * math.pi * cells(32, 1.0))[None, None]
    p = 1.1 * t + 0.05 * torch.cos(4 * math.pi * cells(32, 1.0))
    values = [float(loss(torch.roll(p, k, -1), torch.roll(t, k, -1), on)) for k in range(0, 32, 5)]
    assert np.ptp(values) < 1e-12
    k = 2 * math.pi / 2.5
    expected = math.sqrt((0.01 * (1 + k**2) + 0.0025 * (1 + 4 * k**2)) / (1 + k**2))
    assert values[0] == pytest.approx(expected, rel=2e-2)


def test_recipe_round_trip():
    recipe = Recipe(objective=Supervised(Sobolev(order=-0.5, length=0.1, relative=False)))
    assert Recipe.from_toml(recipe.to_toml()) == recipe and Recipe.from_json(recipe.to_json()) == recipe


@pytest.mark.parametrize("order", [1e6, -4.5])
def test_orders_that_no_number_holds_are_refused(order):
    with pytest.raises(InputError, match="order: expected a number"):
        Sobolev(order)
