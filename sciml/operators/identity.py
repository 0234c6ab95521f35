"""Persistence: the prediction that nothing changes."""

from __future__ import annotations

from typing import Any, Self

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from sciml import registry
from sciml.contracts import Signature
from sciml.errors import InputError
from sciml.operators._grid import GridOperator, grid_arguments


@registry.operators.register("identity")
class Identity(GridOperator):
    """y = x on the first `out_channels` channels; with `increment`, y = 0.

    The bar that every learned operator has to clear, with the same call. It has no parameters.

    Args:
        in_channels, out_channels: channels; the output is the first `out_channels` of the input.
        dimensions: number of spatial axes.
        increment: predict the change, which is zero, rather than the field (for a caller that adds it to the state).
        n_params: accepted and ignored, as are `params` and `coords` in the call.

    Raises:
        InputError: more output than input channels.
    """

    name, title = "identity", "identity"

    def __init__(
        self, in_channels: int, out_channels: int, dimensions: int = 2, *, increment: bool = False, n_params: int = 0
    ):
        super().__init__(in_channels, out_channels, dimensions, n_params=n_params, coordinates=False)
        if out_channels > in_channels:
            raise InputError(f"Identity: out_channels: expected at most {in_channels}, got {out_channels}")
        self.increment = bool(increment)

    @classmethod
    def for_signature(cls, signature: Signature, **options: Any) -> Self:
        """As the data are; where the answer is added to the state, `increment` is set, so that it stays as it was."""
        defaults = {"dimensions": signature.dimensions, "increment": signature.residual}
        return cls(**grid_arguments(signature), **defaults | options)

    def config(self) -> dict[str, Any]:
        return {
            "in_channels": self.in_channels,
            "out_channels": self.out_channels,
            "dimensions": self.dimensions,
            "increment": self.increment,
            "n_params": self.n_params,
        }

    def forward(
        self,
        x: Float[Tensor, "batch channel *space"],
        params: Float[Tensor, "batch n_params"] | None = None,
        mask: Shaped[Tensor, "#batch 1 *space"] | None = None,
        coords: Float[Tensor, "#batch dimension *space"] | None = None,
    ) -> Float[Tensor, "batch channel_out *space"]:
        self.check(x, params, mask, coords)
        y = x[:, : self.out_channels]
        if self.increment:
            return torch.zeros_like(y)
        return y.clone() if mask is None else torch.where(mask > 0, y, torch.zeros_like(y))
