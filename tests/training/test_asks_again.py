"""Optimisers that ask for loss and gradient again get them."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from sciml.training import Recipe, Running, Steps, Trainer
from sciml.training.optimisers import Optimiser


class Halving(torch.optim.SGD):
    """A step of gradient descent, halved until the loss falls."""

    def step(self, closure=None):  # pyright: ignore
        assert closure is not None
        before, weights = closure(), [p.detach().clone() for g in self.param_groups for p in g["params"]]
        moves = [p.grad.detach().clone() for g in self.param_groups for p in g["params"]]
        size = self.param_groups[0]["lr"]
        while True:
            with torch.no_grad():
                for p, w, m in zip((p for g in self.param_groups for p in g["params"]), weights, moves, strict=True):
                    p.copy_(w - size * m)
            if closure() <= before or size < 1e-9:
                return before
            size /= 2


def test_line_search():
    try:

        @dataclass(frozen=True)
        class LineSearch(Optimiser):
            asks_again: ClassVar[bool] = True

            def _build(self, groups, fused):
                return Halving(groups, lr=self.lr)

        class Once:
            def __len__(self):
                return 1

            def epoch(self, epoch, start=0):
                yield torch.tensor([1.0, -2.0])

        class Model(nn.Module):
            def __init__(self):
                super().__init__()
                self.w = nn.Parameter(torch.zeros(2))

        model = Model()
        recipe = Recipe(length=Steps(12), optimiser=LineSearch(lr=100.0))
        loss = lambda m, batch, share: ((m.w - batch) ** 2).sum()  # noqa: E731
        Trainer(model, loss, recipe, Running(progress=False, device="cpu")).fit(Once())
        assert torch.allclose(model.w.detach(), torch.tensor([1.0, -2.0]), atol=1e-3)
    finally:
        Optimiser._members.pop("LineSearch", None)
