"""The network of DeepCFD: an encoder that remembers where its maxima were, and a decoder for each field."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from sciml import registry
from sciml.errors import InputError, positive
from sciml.operators._convolution import POOLS, UNPOOLS, ConvolutionalOperator, convolution


@registry.operators.register("unetex")
class UNetEx(ConvolutionalOperator):
    """UNetEx: a U-Net whose decoders put values back where the maxima of the encoder were.

    Levels of `convolutions` convolutions with ReLU; on the way down the largest of 2 × 2 values goes on, on the way up
    it is put where that was, between zeros, and the encoder's values of that level are put beside it.

    Args:
        in_channels, out_channels: channels of input and output.
        filters: channels of each level.
        convolutions: how many a level, at least 2.
        kernel: their odd size.
        separate: a decoder for each channel of the output; else one for all.
        n_params: scalar parameters a sample, constant channels.
        boundary: what the convolutions see outside: "zeros", "replicate" or "circular" (periodic domains).
        dimensions, coordinates, masked, sampling: see `GridOperator`.

    With three channels in and out it has the 819,763 numbers of the published network, with two convolutions a level
    the 582,611 of its figure. Outside the mask the answer is zero.

    Raises:
        InputError: an argument out of range, a grid too small for its levels, or tensors whose shapes do not fit.

    Source: Ribeiro, Rehman, Ahmed, Dengel, "DeepCFD: efficient steady-state laminar flow approximation with deep
    convolutional neural networks", arXiv:2004.08826 (2020).
    """

    name, title = "unetex", "UNetEx"

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        filters: Sequence[int] = (8, 16, 32, 32),
        convolutions: int = 3,
        kernel: int = 5,
        separate: bool = True,
        n_params: int = 0,
        *,
        boundary: str = "zeros",
        dimensions: int = 2,
        coordinates: bool = False,
        masked: bool = False,
        sampling: str = "centre",
    ):
        super().__init__(in_channels, out_channels, n_params, boundary, dimensions, coordinates, masked, sampling)
        self.filters = tuple(positive("filters", n) for n in filters)
        if not self.filters:
            raise InputError("filters: expected at least one level, got none")
        self.convolutions, self.kernel = positive("convolutions", convolutions, 2), positive("kernel", kernel)
        if kernel % 2 == 0:
            raise InputError(f"kernel: expected an odd number, got {kernel}")
        self.separate = bool(separate)
        self.pool, self.unpool = POOLS[dimensions](2, return_indices=True), UNPOOLS[dimensions](2)
        sizes = [self.first_channels, *self.filters]
        self.encoder = nn.ModuleList(self._level(a, [b] * convolutions, True) for a, b in itertools.pairwise(sizes))
        self.decoders = nn.ModuleList(self._decoder() for _ in range(out_channels if separate else 1))

    def _level(self, channels: int, sizes: Sequence[int], active: bool) -> nn.Sequential:
        layers: list[nn.Module] = []
        for size in sizes:
            layers += [convolution(self.dimensions, channels, size, self.kernel, self.boundary), nn.ReLU()]
            channels = size
        return nn.Sequential(*layers if active else layers[:-1])

    def _decoder(self) -> nn.ModuleList:
        """Levels from the coarsest on; the last convolution of each makes the channels of the next."""
        out = 1 if self.separate else self.out_channels
        following = [out, *self.filters[:-1]]
        pairs = list(zip(self.filters, following, strict=True))
        return nn.ModuleList(
            self._level(2 * here, [here] * (self.convolutions - 1) + [after], k > 0)
            for k, (here, after) in reversed(list(enumerate(pairs)))
        )

    def config(self) -> dict[str, Any]:
        return super().config() | {
            "filters": list(self.filters),
            "convolutions": self.convolutions,
            "kernel": self.kernel,
            "separate": self.separate,
        }

    def convolved(self, h: Tensor) -> Tensor:
        if min(h.shape[2:]) < 2 ** len(self.filters):
            least, got = 2 ** len(self.filters), tuple(h.shape[2:])
            raise InputError(f"UNetEx: x: expected at least {least} points an axis for its levels, got {got}")
        skips, places = [], []
        for level in self.encoder:
            skips.append(level(h))
            h, place = self.pool(skips[-1])
            places.append(place)
        return torch.cat([self._decoded(cast(nn.ModuleList, d), h, skips, places) for d in self.decoders], dim=1)

    def _decoded(self, levels: nn.ModuleList, h: Tensor, skips: list[Tensor], places: list[Tensor]) -> Tensor:
        for level, skip, place in zip(levels, reversed(skips), reversed(places), strict=True):
            h = level(torch.cat([self.unpool(h, place, output_size=skip.shape), skip], dim=1))
        return h
