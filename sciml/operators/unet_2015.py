"""U-Net as first published, with the sizes of CFDBench."""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import Tensor, nn

from sciml import registry
from sciml.errors import positive
from sciml.operators._convolution import POOLS, TRANSPOSED, ConvolutionalOperator, convolution, group_norm


def twice(d: int, channels_in: int, channels_out: int, boundary: str) -> nn.Sequential:
    """Two 3 × 3 convolutions, each with a norm and a ReLU after it."""
    layers: list[nn.Module] = []
    for channels in (channels_in, channels_out):
        layers += [convolution(d, channels, channels_out, 3, boundary), group_norm(channels_out), nn.ReLU()]
    return nn.Sequential(*layers)


@registry.operators.register("unet_2015")
class UNet2015(ConvolutionalOperator):
    """U-Net as first published: two convolutions a level, maxima on the way down, transposed convolutions up again.

    `UNet` is the one to use; this one is what benchmarks compare with.

    Args:
        in_channels, out_channels: channels of input and output.
        width: channels of the finest level; each further level has twice as many.
        levels: how often the grid is halved.
        n_params: scalar parameters a sample, constant channels.
        boundary: what the convolutions see outside: "zeros", "replicate" or "circular" (periodic domains).
        dimensions, coordinates, masked, sampling: see `GridOperator`.

    Sizes are those of CFDBench's network: 1,095,038 numbers for u, v, mask and five parameters (published: 1.095
    million). Its norms are over the batch; here they are over groups of channels, with as many numbers, so that an
    answer does not depend on the batch. Grids of any size work, as with `UNet`.

    Raises:
        InputError: an argument out of range, or tensors whose shapes do not fit.

    Source: Ronneberger, Fischer, Brox, MICCAI 2015.
    """

    name, title = "unet_2015", "U-Net (2015)"

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        width: int = 12,
        levels: int = 4,
        n_params: int = 0,
        *,
        boundary: str = "zeros",
        dimensions: int = 2,
        coordinates: bool = False,
        masked: bool = False,
        sampling: str = "centre",
    ):
        super().__init__(in_channels, out_channels, n_params, boundary, dimensions, coordinates, masked, sampling)
        self.width, self.levels = positive("width", width), positive("levels", levels)
        self.multiple = 2**levels
        sizes = [width * 2**k for k in range(levels + 1)]
        pairs = list(itertools.pairwise(sizes))
        self.first = twice(dimensions, self.first_channels, width, boundary)
        self.pool = POOLS[dimensions](2)
        self.down = nn.ModuleList(twice(dimensions, a, b, boundary) for a, b in pairs)
        self.grow = nn.ModuleList(TRANSPOSED[dimensions](b, a, 2, stride=2) for a, b in reversed(pairs))
        self.up = nn.ModuleList(twice(dimensions, 2 * a, a, boundary) for a, _ in reversed(pairs))
        self.last = convolution(dimensions, width, out_channels, 1, boundary)

    def config(self) -> dict[str, Any]:
        return super().config() | {"width": self.width, "levels": self.levels}

    def convolved(self, h: Tensor) -> Tensor:
        h = self.first(h)
        skips = []
        for block in self.down:
            skips.append(h)
            h = block(self.pool(h))
        for grow, block in zip(self.grow, self.up, strict=True):
            h = block(torch.cat([skips.pop(), grow(h)], dim=1))
        return self.last(h)
