"""What convolutional operators share."""

from __future__ import annotations

from typing import Any, Self

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from sciml.contracts import Signature
from sciml.errors import InputError, suggest
from sciml.operators._grid import GridOperator, crop, extend, grid_arguments

CONVOLUTIONS: dict[int, Any] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED: dict[int, Any] = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
POOLS: dict[int, Any] = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}
UNPOOLS: dict[int, Any] = {1: nn.MaxUnpool1d, 2: nn.MaxUnpool2d, 3: nn.MaxUnpool3d}
BOUNDARIES = ("zeros", "replicate", "circular")


def boundary_named(name: str) -> str:
    """The name, if it is what a convolution may see outside.

    Raises:
        InputError: it is not.
    """
    if name not in BOUNDARIES:
        raise InputError(f"boundary: expected one of {BOUNDARIES}, got {name!r}{suggest(str(name), BOUNDARIES)}")
    return name


def axes(dimensions: int) -> int:
    """The number of axes, if there are convolutions over so many.

    Raises:
        InputError: there are none.
    """
    if dimensions not in CONVOLUTIONS:
        raise InputError(f"dimensions: expected 1, 2 or 3, got {dimensions!r}")
    return dimensions


def convolved_arguments(name: str, signature: Signature) -> dict[str, Any]:
    """Of a signature, what convolutional operators take beside `grid_arguments`.

    "circular" convolutions where every axis is periodic, and else "zeros", also where some axes are: the convolutions
    have one boundary for all axes, and zeros are wrong on none of them.
    """
    d = signature.dimensions
    if d not in CONVOLUTIONS:
        raise InputError(f"{name}: dimensions: expected data on 1, 2 or 3 axes, got {d}")
    around = all(signature.is_periodic(axis) for axis in range(d))
    return {"dimensions": d, "masked": signature.masked, "boundary": "circular" if around else "zeros"}


def group_norm(channels: int) -> nn.GroupNorm:
    """Groups of about eight channels, whatever the width."""
    groups = next(g for g in (channels // 8, 4, 2, 1) if g >= 1 and channels % g == 0)
    return nn.GroupNorm(groups, channels)


def convolution(dimensions: int, channels_in: int, channels_out: int, size: int, boundary: str) -> nn.Module:
    kind = CONVOLUTIONS[dimensions]
    return kind(channels_in, channels_out, size, padding=size // 2, padding_mode=boundary)


def with_constants(h: Tensor, params: Tensor | None) -> Tensor:
    """Parameters as channels that are the same at every point, behind the others."""
    if params is None:
        return h
    ones = [1] * (h.ndim - 2)
    return torch.cat([h, params.to(h.dtype).reshape(*params.shape, *ones).expand(-1, -1, *h.shape[2:])], dim=1)


class ConvolutionalOperator(GridOperator):
    """Convolutions over fields, the mask, and parameters as constant channels; `forward` takes a `GridBatch`.

    Args:
        in_channels, out_channels: channels of input and output.
        n_params: scalar parameters a sample.
        boundary: what the convolutions see outside: "zeros", "replicate" or "circular" (periodic domains).
        dimensions, coordinates, masked, sampling: see `GridOperator`.
    """

    #: what `forward` continues the grid to a multiple of
    multiple: int = 1

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        n_params: int,
        boundary: str,
        dimensions: int,
        coordinates: bool,
        masked: bool,
        sampling: str,
    ):
        super().__init__(
            in_channels, out_channels, axes(dimensions), n_params=n_params, coordinates=coordinates, masked=masked,
            sampling=sampling,
        )  # fmt: skip
        self.boundary = boundary_named(boundary)

    @classmethod
    def for_signature(cls, signature: Signature, **options: Any) -> Self:
        """As the data are, see `convolved_arguments`."""
        return cls(**grid_arguments(signature), **convolved_arguments(cls.name, signature) | options)

    def config(self) -> dict[str, Any]:
        return {
            "in_channels": self.in_channels,
            "out_channels": self.out_channels,
            "n_params": self.n_params,
            "boundary": self.boundary,
            "dimensions": self.dimensions,
            "coordinates": self.coordinates,
            "masked": self.masked,
            "sampling": self.sampling,
        }

    @property
    def first_channels(self) -> int:
        """Channels that come into the first convolution."""
        return self.assembled_channels + self.n_params

    def convolved(self, h: Tensor) -> Tensor:
        """(batch, out_channels, *space) from (batch, first_channels, *space)."""
        raise NotImplementedError

    def forward(
        self,
        x: Float[Tensor, "batch channel *space"],
        params: Float[Tensor, "batch n_params"] | None = None,
        mask: Shaped[Tensor, "#batch 1 *space"] | None = None,
        coords: Float[Tensor, "#batch dimension *space"] | None = None,
    ) -> Float[Tensor, "batch channel_out *space"]:
        """Apply the operator; arguments and result as in `GridOperator.forward`."""
        self.check(x, params, mask, coords)
        h = with_constants(self.assemble(x, mask, coords), params)
        y = crop(self.convolved(extend(h, self.multiple, self.boundary == "circular")), x.shape[2:])
        return y if mask is None else y * mask.to(y.dtype)
