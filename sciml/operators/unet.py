"""U-Net with residual blocks, for grids of any size in one, two and three dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self, cast

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn import functional as F

from sciml import registry
from sciml.contracts import Signature
from sciml.errors import InputError, positive
from sciml.operators._convolution import (
    CONVOLUTIONS,
    axes,
    boundary_named,
    convolution,
    convolved_arguments,
    group_norm,
)
from sciml.operators._grid import (
    Embedding,
    GridOperator,
    Modulation,
    crop,
    depth_to_space,
    extend,
    grid_arguments,
    overlap_add,
    overlap_channels,
    space_to_depth,
)


class ResidualBlock(nn.Module):
    """y = S x + conv(σ(norm(conv(σ(norm x))))), modulated by the embedding after the second norm; σ = GELU.

    S is the identity, or a 1×1 convolution where the number of channels changes. The second convolution starts at
    a tenth of its usual size, so that the untrained block is close to S.
    """

    def __init__(self, dimensions: int, channels_in: int, channels_out: int, embedding: int, boundary: str):
        super().__init__()
        self.first_norm = group_norm(channels_in)
        self.first = convolution(dimensions, channels_in, channels_out, 3, boundary)
        self.second_norm = group_norm(channels_out)
        self.second = convolution(dimensions, channels_out, channels_out, 3, boundary)
        with torch.no_grad():
            for p in self.second.parameters():
                p.mul_(0.1)
        self.modulation = Modulation(embedding, channels_out) if embedding else None
        same = channels_in == channels_out
        self.shortcut = nn.Identity() if same else convolution(dimensions, channels_in, channels_out, 1, boundary)

    def forward(self, x: Tensor, embedding: Tensor | None) -> Tensor:
        h = self.first(F.gelu(self.first_norm(x)))
        h = self.second_norm(h)
        if self.modulation is not None and embedding is not None:
            gain, shift = self.modulation(embedding)
            ones = [1] * (x.ndim - 2)
            h = torch.addcmul(shift.reshape(*shift.shape, *ones), h, gain.reshape(*gain.shape, *ones))
        return self.shortcut(x) + self.second(F.gelu(h))


@registry.operators.register("unet")
class UNet(GridOperator):
    """U-Net: residual blocks on a pyramid of grids, with skips across at every level.

    Args:
        in_channels, out_channels: channels of input and output.
        width: channels at the finest level.
        multipliers: channels at each level as multiples of `width`; their number is the number of levels.
        blocks: residual blocks at each level, on the way down and on the way up.
        patch: side of the patches that the first convolution takes; 2 works on a grid half as fine, at about a quarter
            of the cost. The last one writes patches of twice the side, which overlap and add up.
        n_params: scalar parameters a sample; they modulate every block.
        boundary: what the convolutions see outside: "zeros", "replicate" or "circular" (periodic domains).
        dimensions, coordinates, masked, sampling: see `GridOperator`.

    Any grid size works: the input is continued to a multiple of patch · 2^(levels - 1), by its edge values or
    periodically, and the output cropped. Group norm, not batch norm: a prediction does not depend on its batch mates.

    Raises:
        InputError: an argument out of range, or tensors whose shapes do not fit.

    Source: Ronneberger, Fischer, Brox, MICCAI 2015; pre-activation residual blocks: He, Zhang, Ren, Sun, ECCV 2016;
    as a PDE surrogate: Gupta, Brandstetter, "Towards multi-spatiotemporal-scale generalized PDE modeling", TMLR 2023.
    """

    name, title = "unet", "U-Net"

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        width: int = 24,
        multipliers: Sequence[int] = (1, 2, 4),
        blocks: int = 1,
        patch: int = 1,
        n_params: int = 0,
        *,
        boundary: str = "zeros",
        dimensions: int = 2,
        coordinates: bool = True,
        masked: bool = False,
        sampling: str = "centre",
    ):
        axes(dimensions)
        super().__init__(
            in_channels,
            out_channels,
            dimensions,
            n_params=n_params,
            coordinates=coordinates,
            masked=masked,
            sampling=sampling,
        )
        self.width, self.blocks, self.patch = (
            positive("width", width),
            positive("blocks", blocks),
            positive("patch", patch),
        )
        self.multipliers = tuple(positive("multipliers", m) for m in multipliers)
        if not self.multipliers:
            raise InputError("multipliers: expected at least one level, got none")
        self.boundary = boundary_named(boundary)
        d, sizes = dimensions, [width * m for m in self.multipliers]
        conv = CONVOLUTIONS[d]
        embedding = max(width, 32) if n_params else 0
        self.embedding = Embedding(n_params, embedding) if n_params else None

        stem = self.assembled_channels * patch**d
        self.stem = convolution(d, stem, sizes[0], 3, boundary)
        self.down = nn.ModuleList()
        self.shrink = nn.ModuleList()
        self.up = nn.ModuleList()
        self.grow = nn.ModuleList()
        for i, size in enumerate(sizes):
            here = [ResidualBlock(d, size, size, embedding, boundary) for _ in range(blocks)]
            self.down.append(nn.ModuleList(here))
            if i + 1 < len(sizes):
                self.shrink.append(conv(size, sizes[i + 1], 2, stride=2))
                self.grow.append(conv(sizes[i + 1], size * 2**d, 1))
                first = ResidualBlock(d, 2 * size, size, embedding, boundary)
                more = [ResidualBlock(d, size, size, embedding, boundary) for _ in range(blocks - 1)]
                self.up.append(nn.ModuleList([first, *more]))
        self.last_norm = group_norm(sizes[0])
        self.head = convolution(d, sizes[0], overlap_channels(out_channels, patch, d), 3, boundary)

    @classmethod
    def for_signature(cls, signature: Signature, **options: Any) -> Self:
        """As the data are, see `convolved_arguments`."""
        defaults = convolved_arguments(cls.name, signature)
        return cls(**grid_arguments(signature), **defaults | options)

    def config(self) -> dict[str, Any]:
        return {
            "in_channels": self.in_channels,
            "out_channels": self.out_channels,
            "width": self.width,
            "multipliers": list(self.multipliers),
            "blocks": self.blocks,
            "patch": self.patch,
            "n_params": self.n_params,
            "boundary": self.boundary,
            "dimensions": self.dimensions,
            "coordinates": self.coordinates,
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
        space = tuple(x.shape[2:])
        h = self.assemble(x, mask, coords)
        embedding = self.embedding(params.to(h.dtype)) if self.embedding is not None and params is not None else None
        multiple = self.patch * 2 ** (len(self.multipliers) - 1)
        h = space_to_depth(extend(h, multiple, self.boundary == "circular"), self.patch)
        if self.dimensions == 2:
            h = h.contiguous(memory_format=torch.channels_last)
        h = self.stem(h)
        skips = []
        for i, level in enumerate(self.down):
            for block in cast(nn.ModuleList, level):
                h = block(h, embedding)
            if i < len(self.shrink):
                skips.append(h)
                h = self.shrink[i](h)
        for i in reversed(range(len(self.up))):
            h = torch.cat((depth_to_space(self.grow[i](h), 2), skips[i]), dim=1)
            for block in cast(nn.ModuleList, self.up[i]):
                h = block(h, embedding)
        h = self.head(F.gelu(self.last_norm(h)))
        y = overlap_add(h, self.patch, [self.boundary == "circular"] * self.dimensions)
        y = crop(y, space)
        return y if mask is None else y * mask.to(y.dtype)
