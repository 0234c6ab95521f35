"""Objectives against what they are by hand, on a model whose every application is known."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch

from sciml.training.losses import Mse, Nmse, On
from sciml.training.objectives import Rollout, Supervised


@dataclass
class Sample:
    first: torch.Tensor
    target: torch.Tensor
    on: On = On()  # noqa: RUF009


class Growth:
    """u ← u + a u, compared as increments: the state is (what it holds, the truth before)."""

    default_loss = Mse()

    def __init__(self, a):
        self.a = torch.tensor(a, dtype=torch.float64, requires_grad=True)
        self.calls = []

    def start(self, batch):
        return batch.first, batch.first

    def __call__(self, state, batch, k):
        self.calls.append((k, torch.is_grad_enabled()))
        new = state[0] * (1 + self.a)
        return new, (new, state[1])

    def compare(self, prediction, state, target, loss, on):
        return loss(prediction - state[1], target - state[1], on)

    def feed(self, state, target):
        return state[0], target


def sample(steps=3):
    first = torch.tensor([1.0, 2.0], dtype=torch.float64).reshape(2, 1, 1)
    return Sample(first, torch.stack([first * 1.5 ** (k + 1) for k in range(steps)], dim=1))


def error(a, k):
    """⟨(u₀((1+a)^k − 1.5^k))²⟩ over u₀ = 1, 2."""
    return 2.5 * ((1 + a) ** k - 1.5**k) ** 2


def slope(a, k):
    return 5 * ((1 + a) ** k - 1.5**k) * k * (1 + a) ** (k - 1)


def test_supervised():
    model = Growth(0.2)
    value = Supervised()(model, sample(1), 0.5)
    value.backward()
    assert float(value.detach()) == pytest.approx(error(0.2, 1)) and float(model.a.grad) == pytest.approx(slope(0.2, 1))
    assert Supervised().horizon == 1
    label = 2.5 * 0.5**2 * 2
    value = Supervised(Nmse(0))(model, sample(1), 0.0).detach()
    assert float(value) == pytest.approx(2 * error(0.2, 1) / label)


def test_rollout_through_all_steps():
    model = Growth(0.2)
    objective = Rollout(steps=3, after=0.6)
    assert objective.horizon == 3
    value = objective(model, sample(), 0.6)
    value.backward()
    assert float(value.detach()) == pytest.approx(sum(error(0.2, k) for k in (1, 2, 3)) / 3)
    assert float(model.a.grad) == pytest.approx(sum(slope(0.2, k) for k in (1, 2, 3)) / 3)
    assert model.calls == [(0, True), (1, True), (2, True)]


def test_push_forward():
    """The loss is on the last step; the steps before it run without gradient."""
    model = Growth(0.2)
    value = Rollout(steps=3, after=0.0, gradient="last")(model, sample(), 0.0)
    value.backward()
    assert float(value.detach()) == pytest.approx(error(0.2, 3))
    assert float(model.a.grad) == pytest.approx(5 * (1.2**3 - 1.5**3) * 1.2**2)
    assert model.calls == [(0, False), (1, False), (2, True)]


def test_one_step_before_the_rollout_begins():
    for gradient in ("all", "last"):
        model = Growth(0.2)
        value = Rollout(steps=3, after=0.6, gradient=gradient)(model, sample(), 0.59)
        assert float(value.detach()) == pytest.approx(error(0.2, 1)) and model.calls == [(0, True)]


def test_without_gradients():
    with torch.no_grad():
        assert not Rollout(after=0.0)(Growth(0.2), sample(), 0.5).requires_grad
