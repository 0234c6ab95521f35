"""A running average of a model's weights."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from sciml.errors import InputError


class ExponentialMovingAverage:
    """θ̄ ← d θ̄ + (1 − d) θ after each step, d = min(decay, (1 + n) / (10 + n)) at the n-th update.

    The warm-up of d keeps the random initial weights from lingering in short runs. Buffers are copied, not averaged.

    Args:
        model: averaged from its present weights on.
        decay: 0 ≤ decay < 1.
    """

    def __init__(self, model: nn.Module, decay: float = 0.995):
        if not 0 <= decay < 1:
            raise InputError(f"average: expected a decay in [0, 1), got {decay!r}")
        self.decay = decay
        self.updates = 0
        self.model = copy.deepcopy(model).eval()
        self.model.requires_grad_(False)

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        self.updates += 1
        d = min(self.decay, (1 + self.updates) / (10 + self.updates))
        mine: list[Tensor] = list(self.model.parameters())
        theirs: list[Tensor] = list(model.parameters())
        if mine:
            # one kernel for all of them on a GPU
            torch._foreach_lerp_(mine, theirs, 1 - d)  # pyright: ignore[reportPrivateImportUsage]
        for kept, present in zip(self.model.buffers(), model.buffers(), strict=True):
            kept.copy_(present)
