"""What operators share that take a field as one vector: they are made for one grid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from sciml.contracts import Signature
from sciml.errors import InputError, positive
from sciml.operators._grid import GridOperator, grid_arguments, grid_coordinates


class FlatOperator(GridOperator):
    """A learnable map from the values at all points of one grid; `forward` takes the fields of `GridBatch`.

    Args:
        in_channels, out_channels: channels of input and output.
        space: points of the grid an axis.
        n_params: scalar parameters a sample.
        masked, sampling: see `GridOperator`; the mask is one more channel of the field.
    """

    decided: ClassVar = {
        "in_channels": "channels_in",
        "out_channels": "channels_out",
        "n_params": "n_params",
        "space": "space",
    }

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        space: Sequence[int],
        n_params: int,
        masked: bool,
        sampling: str,
    ):
        self.space = tuple(positive("space", n) for n in space)
        super().__init__(
            in_channels, out_channels, len(self.space), n_params=n_params, coordinates=False, masked=masked,
            sampling=sampling,
        )  # fmt: skip

    @property
    def field_count(self) -> int:
        """Numbers of a sample's field, its mask among them."""
        return self.assembled_channels * math.prod(self.space)

    @classmethod
    def for_signature(cls, signature: Signature, **options: Any) -> Self:
        """As the data are, which all have to be on grids with the same number of points."""
        if signature.space is None:
            raise InputError(f"{cls.name}: space: expected data on one grid, got grids of several sizes")
        found = grid_arguments(signature) | {"space": signature.space, "masked": signature.masked}
        return cls(**found | options)

    def config(self) -> dict[str, Any]:
        return {
            "in_channels": self.in_channels,
            "out_channels": self.out_channels,
            "space": list(self.space),
            "n_params": self.n_params,
            "masked": self.masked,
            "sampling": self.sampling,
        }

    def check(self, x: Tensor, params: Tensor | None, mask: Tensor | None, coords: Tensor | None) -> None:
        super().check(x, params, mask, coords)
        if tuple(x.shape[2:]) != self.space:
            got = tuple(x.shape[2:])
            raise InputError(f"{type(self).__name__}: x: expected the grid {self.space} it was made for, got {got}")

    def field(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """(batch, field_count)."""
        return self.assemble(x, mask, None).flatten(1)

    def points(self, coords: Tensor | None) -> Tensor:
        """(batch or 1, point, dimension)."""
        like = next(self.parameters())
        if coords is None:
            coords = grid_coordinates(self.space, self.sampling, like)[None]
        return coords.to(like.dtype).flatten(2).transpose(1, 2)

    def on_grid(self, y: Tensor, mask: Tensor | None) -> Tensor:
        """(batch, out_channels, *space) from (batch, point, out_channels), zero outside the mask."""
        y = y.transpose(1, 2).reshape(y.shape[0], self.out_channels, *self.space)
        return y if mask is None else torch.where(mask > 0, y, torch.zeros((), dtype=y.dtype, device=y.device))

    def given(self, field: Tensor, params: Tensor | None) -> Tensor:
        """The field and the parameters behind one another."""
        return field if params is None else torch.cat([field, params.to(field.dtype)], dim=1)
