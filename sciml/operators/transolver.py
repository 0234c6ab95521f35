"""Transolver: attention between a few slices of the points, which the points themselves choose."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from sciml import registry
from sciml.errors import positive
from sciml.operators._cloud import CloudOperator
from sciml.operators.layers.attention import Source, merge, split, weighed
from sciml.operators.layers.block import Block

COLDEST = 0.1  # a temperature; below, slices get hard and their gradients large
AT_FIRST = 0.5  # as in the source
LEAST = 1e-6  # of all points, in a slice: below it the slice fades, in place of a quotient of two roundings


class PhysicsAttention(nn.Module):
    """p_nm = softmax_m(a(x_n)/τ),   z_m = Σ_n s_n p_nm f(x_n) / Σ_n s_n p_nm,   y_n = Σ_m p_nm attention(z)_m

    in every head, with a temperature τ = 0.1 + softplus(·) of its own, that cannot reach 0.
    """

    def __init__(self, width: int, heads: int, slices: int):
        super().__init__()
        self.heads = heads
        channels = width // heads
        self.points = nn.Linear(width, 2 * width)
        self.slices = nn.Linear(channels, slices)
        nn.init.orthogonal_(self.slices.weight)
        self.warmth = nn.Parameter(torch.full((heads, 1, 1), math.log(math.expm1(AT_FIRST - COLDEST))))
        self.qkv = nn.Linear(channels, 3 * channels, bias=False)
        self.mix = nn.Linear(width, width)

    def forward(
        self, x: Float[Tensor, "batch point width"], share: Float[Tensor, "batch point"] | None
    ) -> Float[Tensor, "batch point width"]:
        where, what = (split(part, self.heads) for part in self.points(x).chunk(2, -1))
        p = (self.slices(where) / self.temperature).softmax(-1)
        weights = weighed(p, share)
        mass = weights.sum(2)[..., None]
        z = weights.transpose(-1, -2) @ what / mass.clamp_min(LEAST)
        z = F.scaled_dot_product_attention(*self.qkv(z).chunk(3, -1))
        return self.mix(merge(p @ z))

    @property
    def temperature(self) -> Float[Tensor, "head 1 1"]:
        """Of every head."""
        return COLDEST + F.softplus(self.warmth)


@registry.operators.register("transolver")
class Transolver(CloudOperator):
    """Physics attention: every point belongs to slices by shares, and the slices attend to one another.

    Time and memory go with the number of points times that of slices.

    Args:
        in_channels, out_channels: channels of the values and of the answer.
        dimensions: coordinates of a point (space, and time where the network is asked for times).
        n_params: scalar parameters a sample.
        functions: (channels, dimensions) of every input function.
        width: of a point's vector; a multiple of `heads`.
        depth: blocks.
        heads: of the attention.
        slices: in every head.
        expansion: width of a block's perceptron over `width`.
        frequencies: see `CloudOperator`.

    Raises:
        InputError: an argument out of range, or tensors whose shapes do not fit.

    Source: Wu et al., "Transolver: a fast transformer solver for PDEs on general geometries", ICML 2024, equations
    (1) to (4); there the temperature is free, which its authors clamp where training is not stable.
    """

    name, title = "transolver", "Transolver"

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
        slices: int = 32,
        expansion: int = 2,
        frequencies: int = 4,
    ):
        super().__init__(in_channels, out_channels, dimensions, n_params, functions, width, depth, heads, frequencies)
        self.slices, self.expansion = positive("slices", slices), positive("expansion", expansion)
        self.blocks = nn.ModuleList(
            Block(width, PhysicsAttention(width, heads, slices), expansion) for _ in range(depth)
        )

    def config(self) -> dict[str, Any]:
        return super().config() | {"slices": self.slices, "expansion": self.expansion}

    def beside(self, h: Tensor, points: Tensor, share: Tensor | None, sources: Sequence[Source]) -> tuple[Any, ...]:
        return (share,)
