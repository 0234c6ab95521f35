"""FactFormer: layers of axial attention, each with weights of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from sciml import registry
from sciml.errors import positive
from sciml.operators._axial import AxialOperator
from sciml.operators.layers.axial_attention import AxialAttention


@registry.operators.register("factformer")
class FactFormer(AxialOperator):
    """Factorised transformer: residual layers of axial attention.

        u₀ = P(x) + F(position),   u_{l+1} = u_l + A_l(u_l),   y = Q(u_L)

    A_l is that of `AxialAttention` with the kernels of the axes acting one upon the other, y = K_z K_y K_x v.

    Args:
        in_channels, out_channels: channels of input and output.
        width: channels of u.
        depth: L.
        heads, head_width: of the attention; head_width None for `width`.
        n_params: scalar parameters a sample; they modulate every layer.
        dimensions: 1 to 3 axes.
        expansion, gain, rotation, waves, features, scale, periodic: see `AxialOperator`.
        masked, sampling: see `GridOperator`.

    The published network is rolled out by a propagator in the space of u, decoded at every step, and trained with
    push-forward over rollouts that grow longer. Both are matters of training, not of this map from frames to a frame:
    here the state goes from answer to input in physical space, and rollouts are what a recipe asks for
    (`Rollout`). Sums over points are quadratures here, the features of the position are added once.

    Raises:
        InputError: an argument out of range, or tensors whose shapes do not fit.

    Source: Li, Shu, Barati Farimani, "Scalable transformer for PDE surrogate modeling", NeurIPS 2023.
    """

    name, title = "factformer", "FactFormer"

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        width: int = 64,
        depth: int = 4,
        heads: int = 4,
        head_width: int | None = None,
        n_params: int = 0,
        *,
        dimensions: int = 2,
        expansion: int = 2,
        gain: float = 1.0,
        rotation: float = 64.0,
        waves: int = 8,
        features: int | None = None,
        scale: float = 8.0,
        periodic: bool | Sequence[bool] = False,
        masked: bool = False,
        sampling: str = "centre",
    ):
        super().__init__(
            in_channels, out_channels, width, heads, head_width, n_params, dimensions, expansion, gain, rotation, waves,
            features, scale, periodic, masked, sampling,
        )  # fmt: skip
        self.depth = positive("depth", depth)
        self.layers = nn.ModuleList(self.block(parallel=False) for _ in range(self.depth))

    def config(self) -> dict[str, Any]:
        return super().config() | {"depth": self.depth}

    def steps(self) -> tuple[list[AxialAttention], float]:
        return [layer for layer in self.layers if isinstance(layer, AxialAttention)], 1.0
