"""Where the nodes of a graph are to go, before anything looks after its cells."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sciml.operators.layers.potential_map import PotentialMap


class Mover(nn.Module, ABC):
    """Abstract: steps of nodes in the unit box.

    Args:
        dimensions: coordinates of a node.
    """

    #: whether steps follow the monitor, and a residual says how well
    learns = False

    def __init__(self, dimensions: int):
        super().__init__()
        self.dimensions = dimensions

    @abstractmethod
    def forward(
        self,
        places: Float[Tensor, "batch node dimension"],
        monitor: Float[Tensor, "batch node"],
        weights: Float[Tensor, "batch node"],
    ) -> Float[Tensor, "batch node dimension"]:
        """Steps.

        Args:
            places: of nodes, as shares of the extents of the domain.
            monitor: m > 0, the wanted density of nodes up to a factor.
            weights: of a quadrature over the domain, Σ = 1; 0 of what fills up a sample.
        """


class Still(Mover):
    """No steps."""

    def forward(self, places: Tensor, monitor: Tensor, weights: Tensor) -> Tensor:
        return torch.zeros_like(places)


class RandomWaves(Mover):
    """The same smooth steps for all samples, whatever the fields are: the gradient of a random sum of the waves Π cos(π
    k_d ξ_d), k_d < 4, with 1/|k|² as large amplitudes; `size` is their root mean square over the box.

    Args:
        dimensions: coordinates of a node.
        size: in units of the extents.
        seed: of the amplitudes.
    """

    waves = 4
    amplitudes: Tensor
    wave_numbers: Tensor

    def __init__(self, dimensions: int, size: float, seed: int):
        super().__init__(dimensions)
        k = torch.cartesian_prod(*[torch.arange(self.waves, dtype=torch.float64)] * dimensions)
        k = k.reshape(-1, dimensions)[1:]
        drawn = torch.randn(len(k), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        drawn = drawn / k.square().sum(1)
        share = torch.where(k > 0, 0.5, 1.0).prod(1)  # ∫ |∇C_k|² = π² |k|² · share
        whole = (drawn.square() * math.pi**2 * k.square().sum(1) * share).sum().sqrt()
        self.register_buffer("wave_numbers", k, persistent=False)
        self.register_buffer("amplitudes", drawn * (size / whole), persistent=False)

    def forward(self, places: Tensor, monitor: Tensor, weights: Tensor) -> Tensor:
        k = (math.pi * self.wave_numbers).to(places.dtype)
        phases = places[..., None, :] * k
        cosines, found = torch.cos(phases), []
        for axis in range(self.dimensions):
            others = [d for d in range(self.dimensions) if d != axis]
            wave = -k[:, axis] * torch.sin(phases[..., axis]) * cosines[..., others].prod(-1)
            found.append(wave @ self.amplitudes.to(places.dtype))
        return torch.stack(found, -1)


class Potential(Mover):
    """Steps ∇φ of a potential with

        ∇²φ = q + s(q),    q = θ/m − 1,    θ = 1/(mean of 1/m),

    where s is what a network makes of q. Without it this is the equation of Monge and Ampère, m det(I + ∇∇φ) = θ, for
    small steps: there a mover begins that has learned nothing.

    Args:
        dimensions: coordinates of a node.
        width, modes, layers: of `PotentialMap`.
    """

    learns = True

    def __init__(self, dimensions: int, width: int, modes: int, layers: int):
        super().__init__(dimensions)
        self.map = PotentialMap(1, dimensions, width, modes, layers)

    def forward(self, places: Tensor, monitor: Tensor, weights: Tensor) -> Tensor:
        inverse = 1 / monitor
        q = (inverse / (inverse * weights).sum(1, keepdim=True) - 1)[..., None]
        linear = self.map.moments(places, q, weights)[..., 0]
        k = math.pi * torch.arange(linear.shape[-1], dtype=linear.dtype, device=linear.device)
        square = torch.stack(torch.meshgrid(*[k.square()] * self.dimensions, indexing="ij")).sum(0)
        first = -torch.where(square > 0, linear / square.clamp(min=1), 0.0)
        return self.map.gradient(first + self.map.potential(places, q, weights), places)
