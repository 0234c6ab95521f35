"""Auto-DeepONetCNN: coefficients of a basis by convolutions of the field, and a perceptron of their product."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from jaxtyping import Float, Shaped
from torch import Tensor, nn

from sciml import registry
from sciml.errors import InputError, positive
from sciml.operators._convolution import CONVOLUTIONS, POOLS, convolution, with_constants
from sciml.operators._flat import FlatOperator
from sciml.operators._points import activation_named, perceptron

LEVELS, EACH = 4, 4


@registry.operators.register("auto_deeponetcnn")
class AutoDeepONetCNN(FlatOperator):
    """Auto-DeepONetCNN: y(s) = q(b(x, p) ⊙ t(s)), b convolutions of field and parameters, t and q perceptrons.

    Four convolutions at each of four levels with a maximum over 2 × 2 values after each level make the branch b; its
    values, all in one vector, are multiplied by as many of the trunk t at each point s of the grid, and q makes the
    fields of that.

    Args:
        in_channels, out_channels: channels of input and output.
        space: points of the grid an axis, at least 2^levels; it works on this grid alone.
        n_params: scalar parameters a sample, constant channels of the branch.
        channels: of the convolutions.
        width, depth: units and hidden layers of the trunk.
        activation: "gelu", "silu" or "relu".
        masked, sampling: see `GridOperator`.

    Of CFDBench's network (743 thousand numbers, 512 values of the branch on 64 × 64 points) kernel, channels, levels
    and perceptrons are known, the number of convolutions is not: with four a level this one has 736,906 for u, v, mask
    and five parameters. It answers all fields; the published one answers u and keeps v as it was at first.

    Raises:
        InputError: an argument out of range, data on grids of several sizes, or tensors whose shapes do not fit.

    Source: Luo, Chen, Zhang, "CFDBench: a large-scale benchmark for machine learning methods in fluid dynamics",
    arXiv:2310.05963 (2023).
    """

    name, title = "auto_deeponetcnn", "Auto-DeepONetCNN"

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        space: Sequence[int],
        n_params: int = 0,
        *,
        channels: int = 32,
        width: int = 100,
        depth: int = 4,
        activation: str = "gelu",
        masked: bool = False,
        sampling: str = "centre",
    ):
        super().__init__(in_channels, out_channels, space, n_params, masked, sampling)
        if self.dimensions not in CONVOLUTIONS:
            raise InputError(f"space: expected 1, 2 or 3 axes, got {len(self.space)}")
        if min(self.space) < 2**LEVELS:
            raise InputError(f"{self.name}: space: expected at least {2**LEVELS} points an axis, got {self.space}")
        self.channels, self.width, self.depth = (
            positive("channels", channels),
            positive("width", width),
            positive("depth", depth),
        )
        self.activation = activation_named(activation)
        layers: list[nn.Module] = []
        before = self.assembled_channels + n_params
        for _ in range(LEVELS):
            for _ in range(EACH):
                made: Any = convolution(self.dimensions, before, channels, 5, "zeros")
                nn.init.kaiming_normal_(made.weight, nonlinearity="relu")  # torch's own leave nothing after sixteen
                layers += [made, nn.ReLU()]
                before = channels
            layers.append(POOLS[self.dimensions](2))
        self.branch = nn.Sequential(*layers, nn.Flatten())
        count = channels * math.prod(n // 2**LEVELS for n in self.space)
        self.trunk = perceptron([self.dimensions, *[width] * depth, count], activation, last=True)
        self.last = perceptron([count, count, out_channels], activation, last=False)

    def config(self) -> dict[str, Any]:
        return super().config() | {
            "channels": self.channels,
            "width": self.width,
            "depth": self.depth,
            "activation": self.activation,
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
        coefficients = self.branch(with_constants(self.assemble(x, mask, None), params))
        return self.on_grid(self.last(coefficients[:, None] * self.trunk(self.points(coords))), mask)
