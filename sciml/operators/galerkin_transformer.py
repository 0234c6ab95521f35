"""Galerkin transformer: attention without a softmax, as a projection or as an integral with a kernel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sciml import registry
from sciml.errors import InputError, positive, suggest
from sciml.operators._cloud import CloudOperator
from sciml.operators._points import perceptron
from sciml.operators.layers.attention import Source, linear_attention, merge, split

ATTENTIONS = ("galerkin", "fourier")
GAIN = {"galerkin": 1e-2, "fourier": 1e-3}  # of the first weights of q, k and v, as in the source
DIAGONAL = 1e-2  # what is added on their diagonal


class SoftmaxFreeAttention(nn.Module):
    """mix(q·(Σ_n s_n k_n v_nᵀ)), every q, k, v with the coordinates of its point as further channels.

    Galerkin attention has k and v normalised in every head, Fourier attention q and k, and 1/√d. Neither has a softmax,
    so that the product of both is taken from the right, in linear time.
    """

    def __init__(self, width: int, heads: int, dimensions: int, attention: str):
        super().__init__()
        self.heads, self.attention, channels = heads, attention, width // heads
        maps = [nn.Linear(width, width) for _ in range(3)]
        for linear in maps:
            nn.init.xavier_uniform_(linear.weight, gain=GAIN[attention])
            nn.init.zeros_(linear.bias)
            with torch.no_grad():
                linear.weight.diagonal().add_(DIAGONAL)
        self.qkv = nn.ModuleList(maps)
        self.gains = nn.Parameter(torch.ones(2, heads, 1, channels))
        self.shifts = nn.Parameter(torch.zeros(2, heads, 1, channels))
        self.mix = nn.Linear(width + heads * dimensions, width)

    def forward(
        self,
        x: Float[Tensor, "batch point width"],
        points: Float[Tensor, "batch point dimension"],
        share: Float[Tensor, "batch point"] | None,
    ) -> Float[Tensor, "batch point width"]:
        q, k, v = (split(linear(x), self.heads) for linear in self.qkv)
        if self.attention == "galerkin":
            k, v = self.normed(0, k), self.normed(1, v)
        else:
            q, k = self.normed(0, q), self.normed(1, k)
        places = points[:, None].expand(-1, self.heads, -1, -1)
        q, k, v = (torch.cat([places, part], -1) for part in (q, k, v))
        if self.attention == "fourier":
            q = q / math.sqrt(q.shape[-1])
        return self.mix(merge(linear_attention(q, k, v, share)))

    def normed(self, which: int, x: Float[Tensor, "batch head point channel"]) -> Tensor:
        """Normalised over the channels of a head, with a gain and a shift that are the head's own."""
        x = nn.functional.layer_norm(x, x.shape[-1:], eps=1e-5)
        return torch.addcmul(self.shifts[which], x, self.gains[which])


class Block(nn.Module):
    """h + attention(h), then h + perceptron(h): the only norms are those in the attention."""

    def __init__(self, width: int, heads: int, dimensions: int, attention: str, expansion: int):
        super().__init__()
        self.attention = SoftmaxFreeAttention(width, heads, dimensions, attention)
        self.perceptron = perceptron([width, expansion * width, width], "gelu", last=False)

    def forward(self, h: Tensor, points: Tensor, share: Tensor | None) -> Tensor:
        h = h + self.attention(h, points, share)
        return h + self.perceptron(h)


@registry.operators.register("galerkin_transformer")
class GalerkinTransformer(CloudOperator):
    """Attention without a softmax: Galerkin's, a projection on learned functions, or Fourier's, an integral.

        galerkin: h_m + q_m·∫ k̂ v̂ᵀ dx        fourier: h_m + ∫ (q̂_m·k̂(x)/√d) v(x) dx        (^ normalised)

    Time and memory go with the number of points. There is no dropout.

    Args:
        in_channels, out_channels: channels of the values and of the answer.
        dimensions: coordinates of a point (space, and time where the network is asked for times).
        n_params: scalar parameters a sample.
        functions: (channels, dimensions) of every input function.
        attention: "galerkin" or "fourier".
        width: of a point's vector; a multiple of `heads`.
        depth: blocks.
        heads: of the attention.
        expansion: width of a block's perceptron over `width`.
        frequencies: see `CloudOperator`.

    Raises:
        InputError: an argument out of range, or tensors whose shapes do not fit.

    Source: Cao, "Choose a transformer: Fourier or Galerkin", NeurIPS 2021, equations (5) and (6).
    """

    name, title = "galerkin_transformer", "Galerkin transformer"

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        dimensions: int,
        n_params: int = 0,
        functions: Sequence[Sequence[int]] = (),
        *,
        attention: str = "galerkin",
        width: int = 64,
        depth: int = 6,
        heads: int = 4,
        expansion: int = 2,
        frequencies: int = 4,
    ):
        super().__init__(in_channels, out_channels, dimensions, n_params, functions, width, depth, heads, frequencies)
        if attention not in ATTENTIONS:
            hint = suggest(str(attention), ATTENTIONS)
            raise InputError(f"attention: expected one of {ATTENTIONS}, got {attention!r}{hint}")
        self.attention, self.expansion = attention, positive("expansion", expansion)
        self.blocks = nn.ModuleList(Block(width, heads, dimensions, attention, expansion) for _ in range(depth))

    def config(self) -> dict[str, Any]:
        return super().config() | {"attention": self.attention, "expansion": self.expansion}

    def beside(self, h: Tensor, points: Tensor, share: Tensor | None, sources: Sequence[Source]) -> tuple[Any, ...]:
        return 2 * points - 1, share
