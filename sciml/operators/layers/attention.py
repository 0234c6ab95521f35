"""Attention between points, whose sums are quadratures.

The share s_n of a point is its quadrature weight over the sum of those of its sample, Σ_n s_n = 1; 0 where it fills up
a batch, or only asks. Shares of None are all equal.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn

from sciml.errors import InputError
from sciml.operators._points import only

Source = tuple[Tensor, Tensor | None]


def split(x: Float[Tensor, "batch point width"], heads: int) -> Float[Tensor, "batch {heads} point channel"]:
    """Channels shared out to heads."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def merge(x: Float[Tensor, "batch head point channel"]) -> Float[Tensor, "batch point width"]:
    """The channels of all heads beside one another again."""
    return x.transpose(1, 2).flatten(-2)


def shares(
    weights: Shaped[Tensor, "batch point"] | None, inside: Bool[Tensor, "batch point"] | None, dtype: torch.dtype
) -> Float[Tensor, "batch point"] | None:
    """The share of every point; None where all are equal."""
    if weights is None and inside is None:
        return None
    share = inside.to(dtype) if weights is None and inside is not None else only(weights.to(dtype), inside)  # type: ignore[union-attr]
    return share / share.sum(1, keepdim=True)


def bias(share: Float[Tensor, "batch point"] | None) -> Float[Tensor, "batch 1 1 point"] | None:
    """log s_n, which makes a softmax over points a quadrature: Σ_n s_n exp(a_n) v_n / Σ_n s_n exp(a_n)."""
    return None if share is None else torch.log(share)[:, None, None]


def weighed(x: Float[Tensor, "batch head point channel"], share: Float[Tensor, "batch point"] | None) -> Tensor:
    """s_n x_n."""
    return x / x.shape[2] if share is None else x * share[:, None, :, None]


def linear_attention(
    q: Float[Tensor, "batch head query channel"],
    k: Float[Tensor, "batch head point channel"],
    v: Float[Tensor, "batch head point value"],
    share: Float[Tensor, "batch point"] | None = None,
) -> Float[Tensor, "batch head query value"]:
    """q·(Σ_n s_n k_n v_nᵀ): attention without a softmax, in time and memory that go with the number of points."""
    return q @ (weighed(k, share).transpose(-1, -2) @ v)


def normalised_attention(
    q: Float[Tensor, "batch head query channel"],
    k: Float[Tensor, "batch head point channel"],
    v: Float[Tensor, "batch head point value"],
    share: Float[Tensor, "batch point"] | None = None,
) -> Float[Tensor, "batch head query value"]:
    """Σ_n s_n (q·k_n) v_n / Σ_n s_n (q·k_n) for q, k ≥ 0: a mean of the v_n, in linear time."""
    k = weighed(k, share)
    mass = q @ k.sum(2)[..., None]
    return q @ (k.transpose(-1, -2) @ v) / mass.clamp_min(torch.finfo(q.dtype).tiny)


def check_heads(width: int, heads: int) -> None:
    """Refuse a width that heads cannot share.

    Raises:
        InputError: it is no multiple of their number.
    """
    if width % heads:
        raise InputError(f"width: expected a multiple of heads = {heads}, got {width}")


class HeterogeneousAttention(nn.Module):
    """mix(q̃ + mean_i Σ_n s_in (q̃·k̃_in) v_in / Σ_n s_in (q̃·k̃_in)) over sources i of any lengths.

    q̃ and k̃ are softmaxes over the channels of a head; every source has maps to k and v of its own.

    Args:
        width: of queries and sources.
        heads: that share it.
        sources: their number.

    Source: Hao et al., "GNOT: a general neural operator transformer for operator learning", ICML 2023, equation (8).
    """

    def __init__(self, width: int, heads: int, sources: int = 1):
        super().__init__()
        self.heads = heads
        self.query, self.mix = nn.Linear(width, width), nn.Linear(width, width)
        self.pairs = nn.ModuleList(nn.Linear(width, 2 * width) for _ in range(sources))

    def forward(
        self, x: Float[Tensor, "batch query width"], sources: Sequence[Source]
    ) -> Float[Tensor, "batch query width"]:
        q = split(self.query(x), self.heads).softmax(-1)
        found = torch.zeros_like(q)
        for pair, (z, share) in zip(self.pairs, sources, strict=True):
            k, v = (split(part, self.heads) for part in pair(z).chunk(2, -1))
            found = found + normalised_attention(q, k.softmax(-1), v, share)
        return self.mix(merge(q + found / len(self.pairs)))
