"""Auto-FFN: the next frame at each point by one perceptron of the whole field and of the point."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jaxtyping import Float, Shaped
from torch import Tensor, nn

from sciml import registry
from sciml.errors import positive
from sciml.operators._flat import FlatOperator
from sciml.operators._points import ACTIVATIONS, activation_named, perceptron


@registry.operators.register("auto_ffn")
class AutoFFN(FlatOperator):
    """Auto-FFN: y(s) = perceptron(x, p, s), x all values of the field, p parameters, s each point of the grid.

    Args:
        in_channels, out_channels: channels of input and output.
        space: points of the grid an axis; it works on this grid alone.
        n_params: scalar parameters a sample.
        width: units of the hidden layers.
        depth: hidden layers.
        activation: "gelu", "silu" or "relu".
        masked, sampling: see `GridOperator`.

    Sizes are those of CFDBench's network, which sees and answers u alone: with one channel each, 1,102,401 numbers on
    64 × 64 points with five parameters, as published (1.10 million). Here it sees and answers all fields, and the mask.
    The published code pairs the points of a sample with fields of other samples of its batch; this one does not.

    Raises:
        InputError: an argument out of range, data on grids of several sizes, or tensors whose shapes do not fit.

    Source: Luo, Chen, Zhang, "CFDBench: a large-scale benchmark for machine learning methods in fluid dynamics",
    arXiv:2310.05963 (2023).
    """

    name, title = "auto_ffn", "Auto-FFN"

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        space: Sequence[int],
        n_params: int = 0,
        *,
        width: int = 200,
        depth: int = 8,
        activation: str = "gelu",
        masked: bool = False,
        sampling: str = "centre",
    ):
        super().__init__(in_channels, out_channels, space, n_params, masked, sampling)
        self.width, self.depth = positive("width", width), positive("depth", depth)
        self.activation = activation_named(activation)
        # the affine map of all that comes in, in two: the field is the same for every point of a sample
        self.of_field = nn.Linear(self.field_count + n_params, width)
        self.of_point = nn.Linear(self.dimensions, width, bias=False)
        self.rest = nn.Sequential(
            ACTIVATIONS[activation](), perceptron([width] * depth + [out_channels], activation, last=False)
        )

    def config(self) -> dict[str, Any]:
        return super().config() | {"width": self.width, "depth": self.depth, "activation": self.activation}

    def forward(
        self,
        x: Float[Tensor, "batch channel *space"],
        params: Float[Tensor, "batch n_params"] | None = None,
        mask: Shaped[Tensor, "#batch 1 *space"] | None = None,
        coords: Float[Tensor, "#batch dimension *space"] | None = None,
    ) -> Float[Tensor, "batch channel_out *space"]:
        """Apply the operator; arguments and result as in `GridOperator.forward`."""
        self.check(x, params, mask, coords)
        h = self.of_field(self.given(self.field(x, mask), params))
        return self.on_grid(self.rest(h[:, None] + self.of_point(self.points(coords))), mask)
