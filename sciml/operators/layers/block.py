"""A block of a transformer, whatever its attention."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from sciml.operators._points import perceptron


class Block(nn.Module):
    """h + attention(norm h, beside), then h + perceptron(norm h).

    Args:
        width: of the vectors of points.
        attention: takes the vectors and what stands beside them, and gives vectors.
        expansion: width of the perceptron over `width`.
    """

    def __init__(self, width: int, attention: nn.Module, expansion: int):
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.attention = attention
        self.perceptron = perceptron([width, expansion * width, width], "gelu", last=False)

    def forward(self, h: Tensor, *beside: Any) -> Tensor:
        h = h + self.attention(self.norms[0](h), *beside)
        return h + self.perceptron(self.norms[1](h))
