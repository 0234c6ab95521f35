"""A plain vision transformer: patches, full softmax attention."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Self

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn import functional as F

from sciml import registry
from sciml.contracts import Signature
from sciml.errors import InputError, positive
from sciml.operators._grid import (
    Embedding,
    GridOperator,
    Modulation,
    crop,
    extend,
    flags,
    grid_arguments,
    overlap_add,
    overlap_channels,
    space_to_depth,
)


class Block(nn.Module):
    """h + attention(norm h), then h + perceptron(norm h); both norms are modulated by the embedding of parameters."""

    def __init__(self, width: int, heads: int, embedding: int):
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.modulations = nn.ModuleList(Modulation(embedding, width) for _ in range(2)) if embedding else None
        self.qkv, self.mix = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.perceptron = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, h: Float[Tensor, "batch token width"], embedding: Tensor | None) -> Tensor:
        q, k, v = self.qkv(self.normed(0, h, embedding)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        h = h + self.mix(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(-2))
        return h + self.perceptron(self.normed(1, h, embedding))

    def normed(self, which: int, h: Tensor, embedding: Tensor | None) -> Tensor:
        h = self.norms[which](h)
        if self.modulations is None or embedding is None:
            return h
        gain, shift = self.modulations[which](embedding)
        return torch.addcmul(shift[:, None], h, gain[:, None])


@registry.operators.register("transformer")
class Transformer(GridOperator):
    """A plain transformer: each patch of the grid is a token, and every token attends to every other one.

    Pre-norm blocks of softmax attention with several heads and a perceptron of four times the width; a token also gets
    the sines and cosines of where its patch lies. The last map writes patches of twice the side, which overlap and add
    up. The cost goes with the square of the number of patches.

    Args:
        in_channels, out_channels: channels of input and output.
        width: of a token; a multiple of `heads`.
        depth: blocks.
        heads: of the attention.
        patch: side of a patch.
        frequencies: waves of the position an axis, with lengths of 2, 1, ... 2/frequencies of the box.
        periodic: whether axes are periodic, in the order of the arrays' axes, or one answer for all: what patches write
            goes around there, and so do their shifts, and waves of the position are of whole periods.
        jitter: 0, or at how many shifts of the patches an answer is taken, whose mean it is; in training each batch
            sees one shift, drawn at random. A grid of patches that never moves leaves its outline in a rollout.
        n_params: scalar parameters a sample; they modulate every block.
        dimensions, masked, sampling: see `GridOperator`.

    Any grid size works: the field is continued to whole patches by its edge values (or periodically), and the answer
    cropped. Where patches do not divide a periodic axis, what goes around meets what the axis was continued by.

    Raises:
        InputError: an argument out of range, or tensors whose shapes do not fit.

    Source: Dosovitskiy et al., "An image is worth 16 × 16 words", ICLR 2021; shifts of patches: McCabe et al., "Walrus:
    a cross-domain foundation model for continuum dynamics", arXiv:2511.15684 (2025).
    """

    name, title = "transformer", "Transformer"

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        width: int = 128,
        depth: int = 6,
        heads: int = 4,
        patch: int = 4,
        frequencies: int = 8,
        jitter: int = 0,
        n_params: int = 0,
        *,
        dimensions: int = 2,
        periodic: bool | Sequence[bool] = False,
        masked: bool = False,
        sampling: str = "centre",
    ):
        super().__init__(
            in_channels, out_channels, dimensions, n_params=n_params, coordinates=True, masked=masked, sampling=sampling
        )
        self.width, self.depth, self.heads = (
            positive("width", width),
            positive("depth", depth),
            positive("heads", heads),
        )
        if width % heads:
            raise InputError(f"width: expected a multiple of heads = {heads}, got {width}")
        self.patch, self.frequencies = positive("patch", patch), positive("frequencies", frequencies)
        self.jitter = positive("jitter", jitter, 0)
        if jitter > patch:
            raise InputError(f"jitter: expected at most patch = {patch} shifts, got {jitter}")
        self.periodic = flags("periodic", periodic, dimensions)
        d, embedding = dimensions, max(width, 32) if n_params else 0
        self.embedding = Embedding(n_params, embedding) if n_params else None
        self.tokens = nn.Linear(self.assembled_channels * patch**d, width)
        self.position = nn.Linear(2 * d * frequencies, width)
        self.blocks = nn.ModuleList(Block(width, heads, embedding) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, overlap_channels(out_channels, patch, d))

    @classmethod
    def for_signature(cls, signature: Signature, **options: Any) -> Self:
        """As the data are; axes are taken as periodic where patches divide them."""
        side, space = options.get("patch", 4), signature.space or ()
        whole = [isinstance(side, int) and side > 0 and n % side == 0 for n in space] or [False] * signature.dimensions
        periodic = [bool(w and signature.is_periodic(axis)) for axis, w in enumerate(whole)]
        defaults = {"dimensions": signature.dimensions, "masked": signature.masked, "periodic": periodic}
        return cls(**grid_arguments(signature), **defaults | options)

    def config(self) -> dict[str, Any]:
        return {
            "in_channels": self.in_channels,
            "out_channels": self.out_channels,
            "width": self.width,
            "depth": self.depth,
            "heads": self.heads,
            "patch": self.patch,
            "frequencies": self.frequencies,
            "jitter": self.jitter,
            "n_params": self.n_params,
            "dimensions": self.dimensions,
            "periodic": list(self.periodic),
            "masked": self.masked,
            "sampling": self.sampling,
        }

    def forward(
        self,
        x: Float[Tensor, "batch channel *space"],
        params: Float[Tensor, "batch n_params"] | None = None,
        mask: Shaped[Tensor, "#batch 1 *space"] | None = None,
        coords: Float[Tensor, "#batch dimension *space"] | None = None,
    ) -> Float[Tensor, "batch channel_out *space"]:
        """Apply the operator; arguments and result as in `GridOperator.forward`."""
        self.check(x, params, mask, coords)
        h = self.assemble(x, mask, coords)
        embedding = self.embedding(params.to(h.dtype)) if self.embedding is not None and params is not None else None
        found = [self.shifted(h, embedding, shift) for shift in self.shifts()]
        y = found[0] if len(found) == 1 else torch.stack(found).mean(0)
        return y if mask is None else y * mask.to(y.dtype)

    def shifts(self) -> list[tuple[int, ...]]:
        """By how many points the patches begin before the grid, an axis."""
        if self.jitter and self.training:
            return [tuple(torch.randint(self.patch, (self.dimensions,)).tolist())]
        return [(k * self.patch // max(self.jitter, 1),) * self.dimensions for k in range(max(self.jitter, 1))]

    def shifted(self, h: Tensor, embedding: Tensor | None, shift: tuple[int, ...]) -> Tensor:
        """(batch, out_channels, *space) by patches that begin so many points before the grid."""
        space = h.shape[2:]
        around = self.periodic
        for axis, n in enumerate(shift, 2):  # as `extend` does behind the grid
            if n:
                edge = [h.narrow(axis, 0, 1)] * n
                h = torch.roll(h, n, axis) if around[axis - 2] else torch.cat([*edge, h], dim=axis)
        h = space_to_depth(extend(h, self.patch, around), self.patch)
        patches = h.shape[2:]
        tokens = self.tokens(h.flatten(2).transpose(1, 2)) + self.position(self.waves(h))
        for block in self.blocks:
            tokens = self.through(block, tokens, embedding)
        y = self.head(self.norm(tokens)).transpose(1, 2).unflatten(2, patches)
        y = overlap_add(y, self.patch, around)
        for axis, n in enumerate(shift, 2):
            y = y.narrow(axis, n, y.shape[axis] - n) if n and not around[axis - 2] else y
        y = crop(y, space)
        for axis, n in enumerate(shift, 2):
            y = torch.roll(y, -n, axis) if n and around[axis - 2] else y
        return y

    def waves(self, h: Tensor) -> Tensor:
        """(batch, token, 2 · dimensions · frequencies) sines and cosines of the mean coordinates of patches."""
        each = self.patch**self.dimensions
        at = h[:, self.in_channels * each : (self.in_channels + self.dimensions) * each].flatten(2)
        at = at.unflatten(1, (self.dimensions, each)).mean(2).transpose(1, 2)
        k = torch.arange(1, self.frequencies + 1, device=h.device, dtype=h.dtype)
        angle = torch.stack([(2 if p else 1) * math.pi * at[..., a, None] * k for a, p in enumerate(self.periodic)], -2)
        angle = angle.flatten(-2)
        return torch.cat([torch.cos(angle), torch.sin(angle)], dim=-1)
