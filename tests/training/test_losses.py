"""Losses against loops, derivatives on fields whose derivative is known, and gradients that stay finite."""

import math

import numpy as np
import pytest
import torch

from sciml.errors import InputError
from sciml.training import losses

ALL = sorted(losses.LOSSES)


def sample(seed=0, batch=3, shape=(5, 6)):
    rng = np.random.default_rng(seed)
    p, t = (torch.from_numpy(rng.normal(size=(batch, 2, *shape))) for _ in range(2))
    mask = torch.from_numpy((rng.random((batch, 1, *shape)) > 0.3).astype(float))
    area = torch.from_numpy(rng.uniform(0.5, 2, size=shape))
    return p, t, mask, area


def norms(p, t, mask, area):
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
    n = norms(p, t, mask, area)
    kw = {"mask": mask, "weights": area}
    assert float(losses.mse(p, t, **kw)) == pytest.approx(np.mean([e for e, _ in n]) / 2)
    assert float(losses.nmse(p, t, floor=0, **kw)) == pytest.approx(sum(e for e, _ in n) / sum(a for _, a in n))
    assert float(losses.sample_nmse(p, t, floor=0, **kw)) == pytest.approx(np.mean([e / a for e, a in n]))
    assert float(losses.relative_l2(p, t, floor=0, **kw)) == pytest.approx(np.mean([math.sqrt(e / a) for e, a in n]))
    assert float(losses.relative_l2(p, t, floor=0.5, **kw)) == pytest.approx(
        np.mean([math.sqrt(e / (a + 0.25)) for e, a in n])
    )


@pytest.mark.parametrize("name", ALL)
def test_common_properties(name):
    p, t, mask, area = sample(1)
    loss = losses.get(name)
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


@pytest.mark.parametrize("name", ALL)
def test_gradients(name):
    p, t, mask, area = sample(2, batch=2, shape=(4, 4))
    loss = losses.get(name)
    p.requires_grad_()
    assert torch.autograd.gradcheck(lambda a: loss(a, t, mask=mask, weights=area), (p,))
    zero = torch.zeros_like(t, requires_grad=True)
    value = loss(zero, torch.zeros_like(t))  # rest, predicted exactly: nothing to learn, and nothing breaks
    value.backward()
    assert float(value.detach()) == pytest.approx(0, abs=1e-9) and bool((zero.grad == 0).all())


def test_half_precision_is_summed_in_float32():
    p, t, _, _ = sample(3)
    low = losses.relative_l2(p.bfloat16(), t.bfloat16())
    assert low.dtype == torch.float32 and float(low) == pytest.approx(float(losses.relative_l2(p, t)), rel=2e-2)


def test_differences_on_a_ramp():
    """What a wrap-around difference gets wrong: its value at both ends of a ramp is that of a jump."""
    x = (torch.arange(8, dtype=torch.float64) + 0.5) / 8
    ramp = (3 * x).expand(1, 1, 5, 8)
    assert torch.allclose(losses.differences(ramp, 3, 1 / 8, False), torch.full_like(ramp, 3.0))
    assert torch.allclose(losses.differences(ramp, 2, 1 / 5, False), torch.zeros_like(ramp))
    assert float(losses.differences(ramp, 3, 1 / 8, True).min()) < -8
    parabola = (x**2).expand(1, 1, 5, 8)  # second order to the last cell
    assert torch.allclose(losses.differences(parabola, 3, 1 / 8, False), (2 * x).expand(1, 1, 5, 8))


def test_differences_are_of_second_order():
    for periodic in (True, False):
        errors = []
        for n in (64, 128):
            x = (torch.arange(n, dtype=torch.float64) + 0.5) / n
            d = losses.differences(torch.sin(2 * math.pi * x)[None, None], 2, 1 / n, periodic)
            errors.append(float((d - 2 * math.pi * torch.cos(2 * math.pi * x)).abs().max()))
        assert math.log2(errors[0] / errors[1]) == pytest.approx(2, abs=0.1)


def test_differences_beside_a_body():
    x = torch.arange(8, dtype=torch.float64)
    ramp = (2 * x).expand(1, 1, 3, 8).clone()
    mask = torch.ones(1, 1, 3, 8, dtype=torch.float64)
    mask[..., 1, 3:5] = 0
    ramp[mask == 0] = 1e6
    d = losses.differences(ramp, 3, 1.0, False, mask)
    assert torch.allclose(d[mask > 0], torch.full((22,), 2.0, dtype=torch.float64)) and bool((d[mask == 0] == 0).all())
    alone = torch.zeros(1, 1, 1, 5, dtype=torch.float64)
    alone[..., 2] = 1
    assert bool((losses.differences(ramp[..., :1, :5], 3, 1.0, False, alone) == 0).all())


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
    value = losses.h1(p, t, spacing=h, gradient_weight=gamma, floor=0)
    assert float(value) == pytest.approx(float(expected))
    assert float(losses.h1(p, t, gradient_weight=0, floor=0)) == pytest.approx(float(losses.relative_l2(p, t, floor=0)))
    with pytest.raises(InputError, match="2 entries"):
        losses.h1(p, t, spacing=(0.1,))


def test_h1_sees_wiggles_that_l2_does_not():
    x = (torch.arange(64, dtype=torch.float64) + 0.5) / 64
    t = torch.sin(math.pi * x)[None, None]
    smooth, wiggly = t + 0.01, t + 0.01 * math.sqrt(2) * torch.sin(40 * math.pi * x)
    assert float(losses.relative_l2(smooth, t)) == pytest.approx(float(losses.relative_l2(wiggly, t)), rel=0.02)
    assert float(losses.h1(wiggly, t)) > 20 * float(losses.h1(smooth, t))


def test_names():
    with pytest.raises(InputError, match="did you mean 'relative_l2'"):
        losses.get("relativ_l2")
