"""Implicit Fourier neural operator: one Fourier layer, iterated in pseudo-time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sciml import registry
from sciml.errors import positive
from sciml.operators._fourier import FourierLayer
from sciml.operators.fno import FNO


@registry.operators.register("ifno")
class IFNO(FNO):
    """Implicit Fourier neural operator: L steps of size 1/L of one Fourier layer.

        v₀ = P(x),   v_{l+1} = v_l + σ(W v_l + K v_l + b)/L,   y = Q(v_L)

    with P and Q two-layer perceptrons, K the spectral convolution, W a pointwise map; σ = GELU. The number of weights
    does not depend on L, and those of one L are where to begin with another.

    Args:
        iterations: L.
        in_channels, out_channels, width, modes, n_params, padding, extension, padding_sides, lift, projection,
            coordinates, masked, sampling, spectral: see `FNO`. `n_params` shift the lift and modulate the layer.

    Raises:
        InputError: an argument out of range, or tensors whose shapes do not fit.

    Source: You, Zhang, Ross, Lee, Yu, "Learning deep implicit Fourier neural operators (IFNOs) with applications to
    heterogeneous material modeling", Computer Methods in Applied Mechanics and Engineering 398 (2022).
    """

    name, title = "ifno", "IFNO"

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        width: int = 32,
        modes: int | Sequence[int] = (12, 12),
        iterations: int = 10,
        n_params: int = 0,
        padding: float | Sequence[float] = 0.0,
        *,
        extension: str = "window",
        padding_sides: str = "end",
        lift: float = 2.0,
        projection: float = 2.0,
        coordinates: bool = True,
        masked: bool = False,
        sampling: str = "centre",
        spectral: str = "auto",
    ):
        super().__init__(
            in_channels, out_channels, width, modes, 1, n_params, padding, extension=extension,
            padding_sides=padding_sides, lift=lift, projection=projection, mlp=0.0, coordinates=coordinates,
            masked=masked, sampling=sampling, spectral=spectral,
        )  # fmt: skip
        self.iterations = positive("iterations", iterations)
        (layer,) = self.layers
        assert isinstance(layer, FourierLayer)
        layer.last = False  # σ after every step, the last one too

    def config(self) -> dict[str, Any]:
        fixed = ("layers", "mlp", "norm", "patch")
        return {k: v for k, v in super().config().items() if k not in fixed} | {"iterations": self.iterations}

    def evolve(self, v: Tensor, embedding: Tensor | None) -> Tensor:
        for _ in range(self.iterations):
            v = torch.add(v, self.through(self.layers[0], v, embedding), alpha=1 / self.iterations)
        return v
