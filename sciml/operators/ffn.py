"""Feed-forward network: an answer at any points by one perceptron of the point and of all that is given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jaxtyping import Float, Shaped
from torch import Tensor, nn

from sciml import registry
from sciml.contracts import Function
from sciml.errors import positive
from sciml.operators._points import ACTIVATIONS, PointOperator, activation_named, only, perceptron


@registry.operators.register("ffn")
class FFN(PointOperator):
    """Feed-forward network: y(s) = perceptron(p, u, s).

    One perceptron of the parameters p, the values of all input functions u at their sensors, and the point s.

    Args:
        out_channels: channels of the answer.
        dimensions: coordinates of a point (space, and time where the network is asked for times).
        n_params: scalar parameters a sample.
        functions: (channels, sensors) of every input function.
        width: units of the hidden layers.
        depth: hidden layers.
        activation: "gelu", "silu" or "relu".

    The sizes are those of CFDBench's network, which answers one channel: with one, 71,701 numbers for five parameters
    and three coordinates, as published. There each ReLU stands between a normalisation over a sample's points and its
    inverse; here an answer at a point does not depend on where else one asks.

    Raises:
        InputError: an argument out of range, no inputs at all, or tensors whose shapes do not fit.

    Source: Luo, Chen, Zhang, "CFDBench: a large-scale benchmark for machine learning methods in fluid dynamics",
    arXiv:2310.05963 (2023).
    """

    name, title = "ffn", "FFN"

    def __init__(
        self,
        out_channels: int,
        dimensions: int,
        n_params: int = 0,
        functions: Sequence[Sequence[int]] = (),
        *,
        width: int = 100,
        depth: int = 8,
        activation: str = "gelu",
    ):
        super().__init__(out_channels, dimensions, n_params, functions)
        self.width, self.depth = positive("width", width), positive("depth", depth)
        self.activation = activation_named(activation)
        # the affine map of all that comes in, in two: what is given is the same at every point of a sample
        self.of_given = nn.Linear(self.given_count, width)
        self.of_point = nn.Linear(dimensions, width, bias=False)
        self.rest = nn.Sequential(
            ACTIVATIONS[activation](), perceptron([width] * depth + [out_channels], activation, last=False)
        )

    def config(self) -> dict[str, Any]:
        return super().config() | {"width": self.width, "depth": self.depth, "activation": self.activation}

    def forward(
        self,
        points: Float[Tensor, "batch point dimension"],
        params: Float[Tensor, "batch n_params"] | None = None,
        functions: tuple[Function, ...] = (),
        mask: Shaped[Tensor, "batch point"] | None = None,
    ) -> Float[Tensor, "batch point channel_out"]:
        """Apply the operator; arguments and result as those of `DeepONet`."""
        self.check(points, params, functions, mask)
        inside = None if mask is None else (mask > 0)[..., None]
        h = self.of_point(only(points.to(self.dtype), inside))
        return only(self.rest(h + self.of_given(self.given(params, functions))[:, None]), inside)
