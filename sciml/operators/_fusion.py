"""What a transformer of several modalities is made of: norms, attention with masks, embeddings of real numbers."""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn
from torch.nn import functional

from sciml.errors import InputError


class Attention(nn.Module):
    """softmax(Q Kᵀ/√d + mask) V with several heads, Q of one sequence, K and V of another or of the same.

    Args:
        width: channels of both sequences.
        heads: which divide them.
    """

    def __init__(self, width: int, heads: int):
        super().__init__()
        if width % heads:
            raise InputError(f"heads: {heads} do not divide the width {width}")
        self.heads = heads
        self.query, self.pair, self.out = nn.Linear(width, width), nn.Linear(width, 2 * width), nn.Linear(width, width)

    def forward(
        self,
        x: Float[Tensor, "batch query channel"],
        given: Float[Tensor, "batch key channel"],
        mask: Bool[Tensor, "batch key"] | None = None,
    ) -> Float[Tensor, "batch query channel"]:
        """
        Args:
            mask: where a key is one; what is none has no part in any answer.
        """
        split = (self.heads, -1)
        q = self.query(x).unflatten(-1, split).transpose(1, 2)
        k, v = self.pair(given).unflatten(-1, (2, *split)).permute(2, 0, 3, 1, 4)
        seen = None if mask is None else mask[:, None, None]
        found = functional.scaled_dot_product_attention(q, k, v, attn_mask=seen)
        return self.out(found.transpose(1, 2).flatten(2))


class Layer(nn.Module):
    """x + attention(norm x), then x + W₂ GELU(W₁ norm x): among its own tokens, or, with `across`, towards given ones
    alone, so that no token of x depends on another.

    Args:
        width, heads: see `Attention`.
        hidden: channels between W₁ and W₂.
    """

    def __init__(self, width: int, heads: int, hidden: int, across: bool = False):
        super().__init__()
        self.before, self.after = nn.RMSNorm(width), nn.RMSNorm(width)
        self.beside = nn.RMSNorm(width) if across else None
        self.attention = Attention(width, heads)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def forward(self, x: Tensor, given: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        near = self.before(x)
        x = x + self.attention(near, near if self.beside is None else self.beside(given), mask)
        return x + self.mlp(self.after(x))


class Waves(nn.Module):
    """Real numbers by sines and cosines of them at frequencies 2^k · lowest, and themselves, then a linear map: any
    number has an embedding, and near ones have near embeddings.

    Args:
        numbers: that come together.
        width: channels.
        count: frequencies of each.
        lowest: the lowest, in cycles.
    """

    frequencies: Tensor

    def __init__(self, numbers: int, width: int, count: int = 6, lowest: float = 0.25):
        super().__init__()
        steps = 2 * math.pi * lowest * 2.0 ** torch.arange(count)
        self.register_buffer("frequencies", steps, persistent=False)
        self.linear = nn.Linear(numbers * (2 * count + 1), width)

    def forward(self, x: Float[Tensor, "*batch numbers"]) -> Float[Tensor, "*batch channel"]:
        angle = (x[..., None] * self.frequencies.to(x.dtype)).flatten(-2)
        return self.linear(torch.cat([x, angle.sin(), angle.cos()], -1))


class Numbers(nn.Module):
    """Numbers of any size: sign, log₁₀ of the modulus in waves, and 0 by itself.

    Args:
        width: channels.
        least: below which numbers count as 0.
    """

    def __init__(self, width: int, least: float = 1e-12):
        super().__init__()
        self.least = least
        self.size, self.rest = Waves(1, width, count=5, lowest=1 / 16), nn.Linear(3, width)

    def forward(self, x: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch channel"]:
        there = (x.abs() > self.least).to(x.dtype)
        size = x.abs().clamp_min(self.least).log10() * there
        return self.size(size[..., None]) + self.rest(torch.stack([x.sign() * there, there, x.tanh()], -1))


def places(count: int, width: int, like: Tensor) -> Float[Tensor, "place channel"]:
    """Sinusoidal embeddings of the places 0, 1, ... of a sequence."""
    half = torch.arange((width + 1) // 2, device=like.device, dtype=like.dtype)
    angle = torch.arange(count, device=like.device, dtype=like.dtype)[:, None] * 1e4 ** (-2 * half / width)
    return torch.stack([angle.sin(), angle.cos()], -1).flatten(1)[:, :width]


def middles(shape: tuple[int, int], like: Tensor) -> Float[Tensor, "patch 2"]:
    """Middles of the patches of a plane as shares of its sides."""
    along = [(torch.arange(n, device=like.device, dtype=like.dtype) + 0.5) / n for n in shape]
    return torch.stack(torch.meshgrid(*along, indexing="ij"), -1).flatten(0, 1)


def there(mask: Shaped[Tensor, "batch key"] | None, x: Tensor) -> Bool[Tensor, "batch key"]:
    return x.new_ones(x.shape[:2], dtype=torch.bool) if mask is None else mask > 0
