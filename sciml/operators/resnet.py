"""Residual network of wide convolutions, at the resolution of the grid throughout."""

from __future__ import annotations

import itertools
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from sciml import registry
from sciml.errors import InputError, is_number, positive
from sciml.operators._convolution import ConvolutionalOperator, convolution


class Block(nn.Module):
    """y = S h + drop(conv(σ(conv h))), σ = GELU; S the identity, or a 1 × 1 convolution where channels change."""

    def __init__(self, d: int, channels_in: int, middle: int, channels_out: int, size: int, boundary: str, drop: float):
        super().__init__()
        self.first = convolution(d, channels_in, middle, size, boundary)
        self.second = convolution(d, middle, channels_out, size, boundary)
        self.drop = nn.Dropout(drop)
        same = channels_in == channels_out
        self.shortcut = nn.Identity() if same else convolution(d, channels_in, channels_out, 1, boundary)

    def forward(self, h: Tensor) -> Tensor:
        return self.shortcut(h) + self.drop(self.second(F.gelu(self.first(h))))


@registry.operators.register("resnet")
class ResNet(ConvolutionalOperator):
    """Residual network: blocks of two convolutions with wide kernels, on the grid itself.

    Args:
        in_channels, out_channels: channels of input and output.
        width: channels between blocks.
        middle: channels within a block.
        blocks: how many; at least 2.
        kernel: odd size of the convolutions.
        dropout: share of a block's values that is left out in training.
        n_params: scalar parameters a sample, constant channels.
        boundary: what the convolutions see outside: "zeros", "replicate" or "circular" (periodic domains).
        dimensions, coordinates, masked, sampling: see `GridOperator`.

    Sizes are those of CFDBench's network: 533,764 numbers for u, v, mask and five parameters, 543,220 for eight, and
    932 more in each with the norms that the published code makes and does not use (published: 535 and 544 thousand).

    Raises:
        InputError: an argument out of range, or tensors whose shapes do not fit.

    Source: Luo, Chen, Zhang, "CFDBench: a large-scale benchmark for machine learning methods in fluid dynamics",
    arXiv:2310.05963 (2023); residual blocks: He, Zhang, Ren, Sun, CVPR 2016.
    """

    name, title = "resnet", "ResNet"

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        width: int = 16,
        middle: int = 64,
        blocks: int = 6,
        kernel: int = 7,
        dropout: float = 0.2,
        n_params: int = 0,
        *,
        boundary: str = "replicate",
        dimensions: int = 2,
        coordinates: bool = False,
        masked: bool = False,
        sampling: str = "centre",
    ):
        super().__init__(in_channels, out_channels, n_params, boundary, dimensions, coordinates, masked, sampling)
        self.width, self.middle, self.blocks = (
            positive("width", width),
            positive("middle", middle),
            positive("blocks", blocks, 2),
        )
        self.kernel, self.dropout = positive("kernel", kernel), dropout
        if kernel % 2 == 0:
            raise InputError(f"kernel: expected an odd number, got {kernel}")
        if not is_number(dropout) or not 0 <= dropout < 1:
            raise InputError(f"dropout: expected a number in [0, 1), got {dropout!r}")
        sizes = [self.first_channels, *[width] * (blocks - 1), out_channels]
        self.layers = nn.Sequential(
            *(Block(dimensions, a, middle, b, kernel, boundary, dropout) for a, b in itertools.pairwise(sizes))
        )

    def config(self) -> dict[str, Any]:
        return super().config() | {
            "width": self.width,
            "middle": self.middle,
            "blocks": self.blocks,
            "kernel": self.kernel,
            "dropout": self.dropout,
        }

    def convolved(self, h: Tensor) -> Tensor:
        return self.layers(h)
