"""Auto-DeepONet: the next frame by a basis of functions of the point."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from sciml import registry
from sciml.errors import positive
from sciml.operators._flat import FlatOperator
from sciml.operators._points import activation_named, perceptron


@registry.operators.register("auto_deeponet")
class AutoDeepONet(FlatOperator):
    """Auto-DeepONet: y_c(s) = Σ_k b_ck(x, p) t_ck(s) + a_c, k = 1 … basis.

    The branch b is a perceptron of all values x of the field and of the parameters p, the trunk t one of each point s
    of the grid, with an activation after its last layer too; every channel has a basis of its own.

    Args:
        in_channels, out_channels: channels of input and output.
        space: points of the grid an axis; it works on this grid alone.
        n_params: scalar parameters a sample.
        width: units of the hidden layers.
        basis: functions of the basis, for each channel.
        depth: affine maps in each perceptron, at least 2.
        activation: "gelu", "silu" or "relu".
        masked, sampling: see `GridOperator`.

    Sizes are those of CFDBench's network, which sees and answers u alone: with one channel each, 551,901 numbers on
    64 × 64 points with five parameters, as published (552 thousand). Here it sees and answers all fields, and the mask.

    Raises:
        InputError: an argument out of range, data on grids of several sizes, or tensors whose shapes do not fit.

    Source: Luo, Chen, Zhang, "CFDBench: a large-scale benchmark for machine learning methods in fluid dynamics",
    arXiv:2310.05963 (2023).
    """

    name, title = "auto_deeponet", "Auto-DeepONet"

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        space: Sequence[int],
        n_params: int = 0,
        *,
        width: int = 100,
        basis: int = 100,
        depth: int = 8,
        activation: str = "gelu",
        masked: bool = False,
        sampling: str = "centre",
    ):
        super().__init__(in_channels, out_channels, space, n_params, masked, sampling)
        self.width, self.basis = positive("width", width), positive("basis", basis)
        self.depth, self.activation = positive("depth", depth, 2), activation_named(activation)
        hidden, count = [self.width] * (self.depth - 1), self.out_channels * self.basis
        self.branch = nn.ModuleList(perceptron([n, *hidden, count], activation, last=False) for n in self.branches())
        self.trunk = perceptron([self.dimensions, *hidden, count], activation, last=True)
        self.bias = nn.Parameter(torch.zeros(self.out_channels))

    def branches(self) -> list[int]:
        """Numbers that come into each branch."""
        return [self.field_count + self.n_params]

    def config(self) -> dict[str, Any]:
        return super().config() | {
            "width": self.width,
            "basis": self.basis,
            "depth": self.depth,
            "activation": self.activation,
        }

    def coefficients(self, field: Tensor, params: Tensor | None) -> Tensor:
        """(batch, out_channels · basis)."""
        return self.branch[0](self.given(field, params))

    def forward(
        self,
        x: Float[Tensor, "batch channel *space"],
        params: Float[Tensor, "batch n_params"] | None = None,
        mask: Shaped[Tensor, "#batch 1 *space"] | None = None,
        coords: Float[Tensor, "#batch dimension *space"] | None = None,
    ) -> Float[Tensor, "batch channel_out *space"]:
        """Apply the operator; arguments and result as in `GridOperator.forward`."""
        self.check(x, params, mask, coords)
        shape = (self.out_channels, self.basis)
        coefficients = self.coefficients(self.field(x, mask), params).unflatten(1, shape)
        basis = self.trunk(self.points(coords)).unflatten(2, shape).expand(x.shape[0], -1, -1, -1)
        return self.on_grid(torch.einsum("bck,bpck->bpc", coefficients, basis) + self.bias, mask)
