"""Deep operator network: an answer at any points, from parameters and input functions at fixed sensors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from sciml import registry
from sciml.contracts import Function
from sciml.errors import positive
from sciml.operators._points import PointOperator, activation_named, only, perceptron


@registry.operators.register("deeponet")
class DeepONet(PointOperator):
    """Deep operator network: a basis of functions of the point, and coefficients from what is given.

        y_c(s) = Σ_k b_ck(u, p) t_ck(s) + a_c,   k = 1 … basis

    The branch b is a perceptron of the parameters p and of the values of all input functions u at their sensors; the
    trunk t is a perceptron of the point s, with an activation after its last layer too; a is a bias. Every channel has
    a basis of its own. There is no norm over the batch: an answer does not depend on the sample's batch mates.

    Args:
        out_channels: channels of the answer.
        dimensions: coordinates of a point (space, and time where the network is asked for times).
        n_params: scalar parameters a sample.
        functions: (channels, sensors) of every input function.
        width: units of the hidden layers.
        basis: functions of the basis, for each channel.
        depth: affine maps in the branch and in the trunk, at least 2.
        activation: "gelu", "silu" or "relu".
        frequencies: the trunk also gets cos(πks) and sin(πks) of every coordinate s, k = 1 … frequencies: with points
            on the unit box, waves down to a length of 2/frequencies. 0 leaves the point as it is.

    With one channel, width and basis 100, depth 8 and "relu" it is the network of CFDBench, whose trunk takes point and
    time by an affine map each: 142,401 numbers for five parameters, in place of 142,501, for one bias does for both.

    Raises:
        InputError: an argument out of range, no inputs at all, or tensors whose shapes do not fit.

    Source: Lu, Jin, Pang, Zhang, Karniadakis, "Learning nonlinear operators via DeepONet based on the universal
    approximation theorem of operators", Nature Machine Intelligence 3, 218 (2021), equation (2), unstacked and with the
    bias that is added there.
    """

    name, title = "deeponet", "DeepONet"

    def __init__(
        self,
        out_channels: int,
        dimensions: int,
        n_params: int = 0,
        functions: Sequence[Sequence[int]] = (),
        *,
        width: int = 128,
        basis: int = 64,
        depth: int = 4,
        activation: str = "gelu",
        frequencies: int = 0,
    ):
        super().__init__(out_channels, dimensions, n_params, functions)
        self.width, self.basis, self.depth = (
            positive("width", width),
            positive("basis", basis),
            positive("depth", depth, 2),
        )
        self.activation = activation_named(activation)
        self.frequencies = positive("frequencies", frequencies, 0)
        hidden = [self.width] * (self.depth - 1)
        count = self.out_channels * self.basis
        self.branch = perceptron([self.given_count, *hidden, count], activation, last=False)
        self.trunk = perceptron([self.dimensions * (1 + 2 * self.frequencies), *hidden, count], activation, last=True)
        self.bias = nn.Parameter(torch.zeros(self.out_channels))

    def config(self) -> dict[str, Any]:
        return super().config() | {
            "width": self.width,
            "basis": self.basis,
            "depth": self.depth,
            "activation": self.activation,
            "frequencies": self.frequencies,
        }

    def forward(
        self,
        points: Float[Tensor, "batch point dimension"],
        params: Float[Tensor, "batch n_params"] | None = None,
        functions: tuple[Function, ...] = (),
        mask: Shaped[Tensor, "batch point"] | None = None,
    ) -> Float[Tensor, "batch point channel_out"]:
        """Apply the operator.

        Args:
            points: (batch, point, dimensions).
            params: (batch, n_params), or None where n_params = 0.
            functions: values (batch, sensors, channels) of every input function, always at the same sensors
                (where these lie does not go in).
            mask: (batch, point), 1 where a point is one. The others never matter, and the answer is 0 there.

        Returns:
            (batch, point, out_channels).
        """
        self.check(points, params, functions, mask)
        inside = None if mask is None else (mask > 0)[..., None]
        shape = (-1, self.out_channels, self.basis)
        coefficients = self.branch(self.given(params, functions)).reshape(shape)
        basis = self.trunk(self.features(only(points.to(self.bias.dtype), inside)))
        basis = basis.reshape(*points.shape[:2], *shape[1:])
        return only(torch.einsum("bck,bpck->bpc", coefficients, basis) + self.bias, inside)

    def features(self, points: Tensor) -> Tensor:
        """Coordinates and their waves, (batch, point, dimensions · (1 + 2 frequencies))."""
        if not self.frequencies:
            return points
        k = torch.arange(1, self.frequencies + 1, device=points.device, dtype=points.dtype)
        angle = (math.pi * points[..., None] * k).flatten(-2)
        return torch.cat((points, torch.cos(angle), torch.sin(angle)), dim=-1)
