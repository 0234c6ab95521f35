"""FLARE: attention between points through a few learned latents, two calls of scaled dot products a block."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from sciml import registry
from sciml.errors import positive
from sciml.operators._cloud import CloudOperator
from sciml.operators.layers.attention import Source, bias, merge, split
from sciml.operators.layers.block import Block


class LatentAttention(nn.Module):
    """z_m = Σ_n s_n e^{q_m·k_n/√d} v_n / Σ_n s_n e^{q_m·k_n/√d},   y_n = Σ_m e^{k_n·q_m/√d} z_m / Σ_m e^{k_n·q_m/√d}

    with learned q_m in every head. As a matrix between points it is row-stochastic and of rank at most `latents`.
    """

    def __init__(self, width: int, heads: int, latents: int):
        super().__init__()
        self.heads = heads
        self.latents = nn.Parameter(torch.randn(heads, latents, width // heads))
        self.pair, self.mix = nn.Linear(width, 2 * width), nn.Linear(width, width)

    def forward(
        self, x: Float[Tensor, "batch point width"], bias: Float[Tensor, "batch 1 1 point"] | None
    ) -> Float[Tensor, "batch point width"]:
        k, v = (split(part, self.heads) for part in self.pair(x).chunk(2, -1))
        q = self.latents.expand(x.shape[0], -1, -1, -1)
        z = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        return self.mix(merge(F.scaled_dot_product_attention(k, q, z)))


@registry.operators.register("flare")
class FLARE(CloudOperator):
    """Fast low-rank attention routing engine: points write to a few learned latents, and read from them.

    Time and memory go with the number of points times that of latents.

    Args:
        in_channels, out_channels: channels of the values and of the answer.
        dimensions: coordinates of a point (space, and time where the network is asked for times).
        n_params: scalar parameters a sample.
        functions: (channels, dimensions) of every input function.
        width: of a point's vector; a multiple of `heads`.
        depth: blocks.
        heads: of the attention.
        latents: in every head.
        expansion: width of a block's perceptron over `width`.
        frequencies: see `CloudOperator`.

    Raises:
        InputError: an argument out of range, or tensors whose shapes do not fit.

    Source: Puri et al., "FLARE: fast low-rank attention routing engine", arXiv:2508.12594 (2025); there scores are not
    divided by √d, and keys and values come of residual perceptrons where here they are affine.
    """

    name, title = "flare", "FLARE"

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        dimensions: int,
        n_params: int = 0,
        functions: Sequence[Sequence[int]] = (),
        *,
        width: int = 64,
        depth: int = 6,
        heads: int = 4,
        latents: int = 64,
        expansion: int = 2,
        frequencies: int = 4,
    ):
        super().__init__(in_channels, out_channels, dimensions, n_params, functions, width, depth, heads, frequencies)
        self.latents, self.expansion = positive("latents", latents), positive("expansion", expansion)
        self.blocks = nn.ModuleList(
            Block(width, LatentAttention(width, heads, latents), expansion) for _ in range(depth)
        )

    def config(self) -> dict[str, Any]:
        return super().config() | {"latents": self.latents, "expansion": self.expansion}

    def beside(self, h: Tensor, points: Tensor, share: Tensor | None, sources: Sequence[Source]) -> tuple[Any, ...]:
        return (bias(share),)
