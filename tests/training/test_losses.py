"""Losses against loops, derivatives on fields whose derivative is known, and gradients that stay finite."""

import itertools
import math

import numpy as np
import pytest
import torch

from sciml.errors import InputError
from sciml.training import norms
from sciml.training.losses import H1, Mse, Nmse, On, RelativeL2, SampleNmse

ALL = [Mse(), Nmse(), SampleNmse(), RelativeL2(), H1()]


def grid(shape, device=None):
    """Cell centres of the unit domain."""
    return tuple(((torch.arange(n, dtype=torch.float64) + 0.5) / n)[None] for n in shape)


def sample(seed=0, batch=3, shape=(5, 6)):
    rng = np.random.default_rng(seed)
    p, t = (torch.from_numpy(rng.normal(size=(batch, 2, *shape))) for _ in range(2))
    mask = torch.from_numpy((rng.random((batch, 1, *shape)) > 0.3).astype(float))
    area = torch.from_numpy(rng.uniform(0.5, 2, size=shape))
    return p, t, mask, area


def squares(p, t, mask, area):
    """‖p − t‖² and ‖t‖² of each sample, cell by cell."""
    found = []
    for b in range(p.shape[0]):
        error = label = total = 0.0
        for j in range(p.shape[2]):
            for i in range(p.shape[3]):
                w = float(mask[b, 0, j, i] * area[j, i])
                total += w
                for c in range(p.shape[1]):
                    error += w * float(p[b, c, j, i] - t[b, c, j, i]) ** 2
                    label += w * float(t[b, c, j, i]) ** 2
        found.append((error / total, label / total))
    return found


def test_against_loops():
    p, t, mask, area = sample()
    n = squares(p, t, mask, area)
    kw = {"mask": mask, "weights": area}
    assert float(norms.mse(p, t, **kw)) == pytest.approx(np.mean([e for e, _ in n]) / 2)
    assert float(norms.nmse(p, t, floor=0, **kw)) == pytest.approx(sum(e for e, _ in n) / sum(a for _, a in n))
    assert float(norms.sample_nmse(p, t, floor=0, **kw)) == pytest.approx(np.mean([e / a for e, a in n]))
    assert float(norms.relative_l2(p, t, floor=0, **kw)) == pytest.approx(np.mean([math.sqrt(e / a) for e, a in n]))
    assert float(norms.relative_l2(p, t, floor=0.5, **kw)) == pytest.approx(
        np.mean([math.sqrt(e / (a + 0.25)) for e, a in n])
    )


def on(shape, **given):
    return On(**{k: v if v.ndim > 2 else v[None, None] for k, v in given.items()}, axes=grid(shape))


@pytest.mark.parametrize("part", ALL)
def test_common_properties(part):
    p, t, mask, area = sample(1)

    def loss(p, t, **given):
        return part(p, t, on((5, 6), **given))

    assert float(loss(t, t, mask=mask)) < 1e-12
    value = float(loss(p, t, mask=mask, weights=area))
    assert float(loss(p, t, mask=mask, weights=7 * area)) == pytest.approx(value)
    dirty_p, dirty_t = (torch.where(mask > 0, a, torch.nan) for a in (p, t))
    dirty_p.requires_grad_()
    masked = loss(dirty_p, dirty_t, mask=mask, weights=area)
    masked.backward()
    assert float(masked.detach()) == pytest.approx(value)
    assert bool(torch.isfinite(dirty_p.grad).all()) and bool((dirty_p.grad[(mask == 0).expand_as(p)] == 0).all())
    order = torch.tensor([2, 0, 1])
    assert float(loss(p[order], t[order], mask=mask[order])) == pytest.approx(float(loss(p, t, mask=mask)))
    with pytest.raises(InputError, match="equal shapes"):
        loss(p, t[:, :1])
    with pytest.raises(InputError, match="at least one fluid cell"):
        loss(p, t, mask=mask * 0)


@pytest.mark.parametrize("part", ALL)
def test_gradients(part):
    p, t, mask, area = sample(2, batch=2, shape=(4, 4))

    def loss(p, t, **given):
        return part(p, t, on((4, 4), **given))

    p.requires_grad_()
    assert torch.autograd.gradcheck(lambda a: loss(a, t, mask=mask, weights=area), (p,))
    zero = torch.zeros_like(t, requires_grad=True)
    value = loss(zero, torch.zeros_like(t))  # rest, predicted exactly: nothing to learn, and nothing breaks
    value.backward()
    assert float(value.detach()) == pytest.approx(0, abs=1e-9) and bool((zero.grad == 0).all())


def test_half_precision_is_summed_in_float32():
    p, t, _, _ = sample(3)
    low = norms.relative_l2(p.bfloat16(), t.bfloat16())
    assert low.dtype == torch.float32 and float(low) == pytest.approx(float(norms.relative_l2(p, t)), rel=2e-2)


def test_differences_on_a_ramp():
    """What a wrap-around difference gets wrong: its value at both ends of a ramp is that of a jump."""
    y, x = (a[0] for a in grid((5, 8)))
    ramp = (3 * x).expand(1, 1, 5, 8)
    assert torch.allclose(norms.differences(ramp, 3, x), torch.full_like(ramp, 3.0))
    assert torch.allclose(norms.differences(ramp, 2, y), torch.zeros_like(ramp))
    assert float(norms.differences(ramp, 3, x, torch.tensor(1.0)).min()) < -8
    assert torch.allclose(norms.differences(ramp.flip(3), 3, x.flip(0)), torch.full_like(ramp, 3.0))


def stretched(n):
    """Cells that are four times as wide at one end as at the other."""
    s = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    return (0.4 * s + 0.6 * s**2)[None]


@pytest.mark.parametrize("ending", ["plain", "masked", "periodic"])
def test_differences_are_of_second_order_on_stretched_axes(ending):
    errors = []
    for n in (64, 128, 256):
        x = stretched(n)
        a = torch.sin(2 * math.pi * x)[None]
        mask = torch.ones(1, 1, n, dtype=torch.float64)
        mask[..., n // 3 : n // 2] = 0
        a = torch.where(mask > 0, a, 1e3) if ending == "masked" else a
        given = {"masked": {"mask": mask}, "periodic": {"period": torch.tensor(1.0)}, "plain": {}}[ending]
        wrong = norms.differences(a, 2, x, **given) - 2 * math.pi * torch.cos(2 * math.pi * x)
        errors.append(float((wrong * mask if ending == "masked" else wrong).abs().max()))
    orders = [math.log2(a / b) for a, b in itertools.pairwise(errors)]
    assert all(order > 1.9 for order in orders), orders


def test_differences_are_exact_on_parabolas():
    """To the last cell, with and without a mask that is open everywhere, and each sample on its own axis."""
    x = torch.cat([stretched(9), 3 * stretched(9), -stretched(9)])
    a = (x**2 - x)[:, None, None].expand(3, 2, 4, 9)
    exact = (2 * x - 1)[:, None, None].expand(3, 2, 4, 9)
    assert torch.allclose(norms.differences(a, 3, x), exact)
    assert torch.allclose(norms.differences(a, 3, x, mask=torch.ones(3, 1, 4, 9)), exact)


def test_differences_across_the_seam():
    """A uniform periodic axis: the usual central difference everywhere; lengths may differ by sample."""
    x = torch.arange(6, dtype=torch.float64) / 6
    axes = torch.stack([x, 2 * x])
    a = torch.randn(2, 1, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = norms.differences(a, 2, axes, torch.tensor([1.0, 2.0]))
    h = torch.tensor([1 / 6, 2 / 6], dtype=torch.float64).reshape(2, 1, 1)
    assert torch.allclose(found, (torch.roll(a, -1, 2) - torch.roll(a, 1, 2)) / (2 * h))
    for n in (1, 2):
        short = norms.differences(a[..., :n], 2, axes[:, :n], torch.tensor(2.0))
        assert bool(torch.isfinite(short).all())


def test_differences_beside_a_body():
    x = torch.arange(8, dtype=torch.float64)
    ramp = (2 * x).expand(1, 1, 3, 8).clone()
    mask = torch.ones(1, 1, 3, 8, dtype=torch.float64)
    mask[..., 1, 3:5] = 0
    ramp[mask == 0] = 1e6
    d = norms.differences(ramp, 3, x, None, mask)
    assert torch.allclose(d[mask > 0], torch.full((22,), 2.0, dtype=torch.float64)) and bool((d[mask == 0] == 0).all())
    alone = torch.zeros(1, 1, 1, 5, dtype=torch.float64)
    alone[..., 2] = 1
    assert bool((norms.differences(ramp[..., :1, :5], 3, x[:5], None, alone) == 0).all())


def test_h1_against_its_definition():
    p, t, _, _ = sample(4, shape=(6, 7))
    e = p - t
    h, gamma = (0.3, 0.2), 0.7

    def square(a):
        return (a**2).sum((1, 2, 3)) / (6 * 7)

    def full(a):
        dy = np.gradient(a.numpy(), h[0], axis=2, edge_order=2)
        dx = np.gradient(a.numpy(), h[1], axis=3, edge_order=2)
        return square(a) + gamma * (square(torch.from_numpy(dy)) + square(torch.from_numpy(dx)))

    expected = torch.sqrt(full(e) / full(t)).mean()
    axes = tuple(step * torch.arange(n, dtype=torch.float64)[None] for step, n in zip(h, (6, 7), strict=True))
    value = H1(gamma, 0)(p, t, On(axes=axes))
    assert float(value) == pytest.approx(float(expected))
    assert float(H1(0, 0)(p, t, On(axes=axes))) == pytest.approx(float(norms.relative_l2(p, t, floor=0)))
    assert float(norms.h1(p, t, axes=axes, gradient_weight=gamma, floor=0)) == pytest.approx(float(value))
    with pytest.raises(InputError, match="2 entries"):
        norms.h1(p, t, axes=axes[:1])
    with pytest.raises(InputError, match="6 positions along axis 0, got 7"):
        norms.h1(p, t, axes=axes[::-1])
    with pytest.raises(InputError, match="H1 needs values on a grid"):
        H1()(p, t, On())


def test_h1_on_a_stretched_periodic_grid():
    """∫ of known functions: the norm converges at second order where cells differ in width and the axis closes."""
    errors = []
    for n in (32, 64):
        edges = torch.linspace(0, 1, n + 1, dtype=torch.float64)
        edges = edges + 0.1 * torch.sin(2 * math.pi * edges) / (2 * math.pi)
        x, w = ((edges[1:] + edges[:-1]) / 2)[None], edges.diff()[None, None]
        t = torch.sin(2 * math.pi * x)[None]
        place = On(weights=w, axes=(x,), periodic=(True,), lengths=torch.ones(1, 1, dtype=torch.float64))
        # e = −½ t + ½ cos: ‖e‖² = ¼, ‖∇e‖² = π², ‖t‖² = ½, ‖∇t‖² = 2π²
        p = 0.5 * t + 0.5 * torch.cos(2 * math.pi * x)[None]
        exact = math.sqrt((0.25 + math.pi**2 * 1.0) / (0.5 + 2 * math.pi**2))
        errors.append(abs(float(H1(1.0, 0)(p, t, place)) - exact))
        flat = norms.relative_l2(p, t, weights=w, floor=0)
        assert float(flat) == pytest.approx(math.sqrt(0.5), rel=1e-2)
    assert max(errors) < 1e-2


def test_where_values_live_is_checked():
    axes = grid((4, 5))
    with pytest.raises(InputError, match="periodic: expected one entry for each of 2 axes, got 1"):
        On(axes=axes, periodic=(True,))
    with pytest.raises(InputError, match=r"lengths: expected \(batch or 1, 2\) for the periodic axes, got none"):
        On(axes=axes, periodic=(True, False))
    place = On(axes=axes, periodic=(True, False), lengths=torch.tensor([[1.0, 2.0]]), mask=torch.ones(1, 1, 4, 5))
    assert place.periods[1] is None and place.periods[0].tolist() == [1.0] and On().periods == ()
    moved = place.to(torch.device("cpu"), torch.float32)
    assert moved.axes[0].dtype == moved.mask.dtype == torch.float32 and moved.periodic == (True, False)


def test_h1_sees_wiggles_that_l2_does_not():
    x = (torch.arange(64, dtype=torch.float64) + 0.5) / 64
    t = torch.sin(math.pi * x)[None, None]
    smooth, wiggly = t + 0.01, t + 0.01 * math.sqrt(2) * torch.sin(40 * math.pi * x)
    assert float(norms.relative_l2(smooth, t)) == pytest.approx(float(norms.relative_l2(wiggly, t)), rel=0.02)
    place = On(axes=grid((64,)))
    assert float(H1()(wiggly, t, place)) > 20 * float(H1()(smooth, t, place))
