"""Perceptrons of which every point takes some, by where it is."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from sciml.errors import InputError, positive


class Experts(nn.Module):
    """Σ_e g_e(s) perceptron_e(x), over all experts, or over the `top` ones of every point with gates that sum to 1.

    Args:
        width: of x and of the answer.
        hidden: of each expert.
        experts: their number.
        top: how many a point takes; None for all.

    Raises:
        InputError: more than there are.
    """

    def __init__(self, width: int, hidden: int, experts: int, top: int | None = None):
        super().__init__()
        self.top = positive("top", experts if top is None else top)
        if self.top > positive("experts", experts):
            raise InputError(f"top: expected at most experts = {experts}, got {top}")
        self.first, self.second = nn.Linear(width, experts * hidden), nn.Linear(hidden, experts * width)

    @property
    def parts(self) -> list[tuple[Tensor, Tensor, Tensor, Tensor]]:
        """Weight and bias of the first and of the second map of every expert."""
        count = self.first.out_features // self.second.in_features
        maps = (part.chunk(count) for layer in (self.first, self.second) for part in (layer.weight, layer.bias))
        return list(zip(*maps, strict=True))

    def forward(
        self, x: Float[Tensor, "batch point width"], gates: Float[Tensor, "batch point expert"] | None
    ) -> Float[Tensor, "batch point width"]:
        """Apply them; `gates` sum to 1 over the experts, and are None where there is one expert."""
        if gates is None:
            return self.second(F.gelu(self.first(x)))
        kept = largest(gates, self.top)
        if self.top == gates.shape[-1] or torch.compiler.is_compiling():  # a program has no form for what follows
            h = F.gelu(self.first(x)).unflatten(-1, (gates.shape[-1], -1)) * kept[..., None]
            _, _, weights, biases = zip(*self.parts, strict=True)
            return torch.addmm(  # all experts, and the sum over them, by one product
                (kept @ torch.stack(biases)).flatten(0, -2), h.flatten(-2).flatten(0, -2), torch.cat(weights, 1).T
            ).reshape(x.shape)
        flat, kept = x.flatten(0, -2), kept.flatten(0, -2)
        found = torch.zeros_like(flat)
        for e, (w1, b1, w2, b2) in enumerate(self.parts):  # each on its own points alone
            rows = kept[:, e].nonzero()[:, 0]
            y = F.linear(F.gelu(F.linear(flat[rows], w1, b1)), w2, b2)
            found = found.index_add(0, rows, kept[rows, e, None] * y)
        return found.reshape(x.shape)


def largest(gates: Float[Tensor, "*batch expert"], count: int) -> Float[Tensor, "*batch expert"]:
    """The largest so many of the gates, over their sum; the others 0."""
    if count == gates.shape[-1]:
        return gates
    values, index = gates.topk(count, -1)
    return torch.zeros_like(gates).scatter(-1, index, values / values.sum(-1, keepdim=True))
