"""A map that moves points along the gradient of a potential, which a network makes from a field."""

from __future__ import annotations

import itertools
import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sciml.errors import InputError, positive

LETTERS = "ijk"  # axes, in sums


class PotentialMap(nn.Module):
    """x = ξ + ∇φ(ξ; f) on the unit box, with

        φ = −Σ_k s_k C_k(ξ)/(π|k|)²,    C_k(ξ) = Π_d cos(π k_d ξ_d),    0 ≤ k_d < modes, k ≠ 0,

    so that ∂φ/∂n = 0 on every side of the box whatever the weights are, corners stay, ∇·(x − ξ) = Σ s_k C_k, and all
    derivatives are known exactly. The s_k are those of a function s that a network makes from f:

        moments     ĥ_k = Σ_n w_n g(f(ξ_n)) C_k(ξ_n), g(0) = 0; and those of 1: where the region is
        layers      h ← h + P(h, R h, G h),  (R h)_k = R_k ĥ_k,  G h = ∇(A h)·∇(B h),  P pointwise
        source      s = ‖f‖ · linear in h, ‖f‖ the root of the mean square: where f = 0 nothing moves

    Moments are quadratures: they depend neither on how points are numbered nor, but for the error of the quadrature, on
    where they are. In the layers functions are known at the midpoints of a lattice that has nothing to do with the
    points. No part of the network sees coordinates, R_k does not change with the order of the axes, and products of
    gradients do not depend on axes: swapping or mirroring axes of the points swaps or mirrors what comes out.

    Args:
        in_channels: C, of the field.
        dimensions: D, 1 to 3.
        width: channels of the layers.
        modes: along each axis, of moments and of the potential. Points should be closer than 1/modes on average.
        layers: their number.
        lifted: functions g of the field whose moments are taken.

    Raises:
        InputError: a number that is no whole one from 1 on, or more than three dimensions.

    Source: the potential as network, free of data, is that of P. Hu, Y. Wang, Z.-M. Ma, Better neural PDE solvers
    through data-free mesh movers, ICLR 2024; layers after Z. Li et al., Fourier neural operator for parametric partial
    differential equations, ICLR 2021, in cosines.
    """

    def __init__(
        self, in_channels: int, dimensions: int = 2, width: int = 24, modes: int = 16, layers: int = 4, lifted: int = 4
    ):
        super().__init__()
        self.in_channels, self.dimensions = positive("in_channels", in_channels), positive("dimensions", dimensions)
        self.width, self.modes = positive("width", width), positive("modes", modes)
        self.layers, self.lifted = positive("layers", layers), positive("lifted", lifted)
        if self.dimensions > len(LETTERS):
            raise InputError(f"dimensions: expected 1 to {len(LETTERS)}, got {dimensions}")
        self.lift = nn.Sequential(nn.Linear(in_channels, 16), nn.Tanh(), nn.Linear(16, lifted, bias=False))
        self.into = nn.Linear(in_channels + lifted + 1, width)
        self.blocks = nn.ModuleList(_Layer(width, self.modes, self.dimensions) for _ in range(layers))
        self.source = nn.Linear(width, 1, bias=False)
        nn.init.normal_(self.source.weight, std=0.1 / math.sqrt(width))

    def forward(
        self,
        position: Float[Tensor, "batch point dimension"],
        field: Float[Tensor, "batch point channel"],
        weight: Float[Tensor, "batch point"] | None = None,
        query: Float[Tensor, "batch query dimension"] | None = None,
    ) -> Float[Tensor, "batch asked dimension"]:
        """Where points move.

        Args:
            position: in the unit box, where the field is known.
            field: of order 1.
            weight: of a quadrature over the part of the box where the region is, 0 for points that fill up a batch;
                None for 1/N each.
            query: points of the unit box to be moved; None for `position`.

        Returns:
            Their new places.
        """
        query = position if query is None else query
        return query + self.gradient(self.potential(position, field, weight), query)

    def potential(
        self,
        position: Float[Tensor, "batch point dimension"],
        field: Float[Tensor, "batch point channel"],
        weight: Float[Tensor, "batch point"] | None = None,
    ) -> Float[Tensor, "batch mode *modes"]:
        """Coefficients of φ; arguments as those of `forward`."""
        found = self.moments(position, field, weight)
        side = -(-3 * self.modes // 2)
        lattice = (torch.arange(side, dtype=found.dtype, device=found.device) + 0.5) / side
        cosines, sines = _waves(lattice, self.modes, 0), _waves(lattice, self.modes, 1)
        h = self.into(_values(found, [cosines] * self.dimensions))
        for block in self.blocks:
            h = block(h, cosines, sines)
        source, k = _moments(self.source(h), cosines)[..., 0], math.pi * torch.arange(self.modes, device=h.device)
        source = source * _size(field, weight)[(...,) + (None,) * self.dimensions]
        square = torch.stack(torch.meshgrid(*[k.to(h) ** 2] * self.dimensions, indexing="ij")).sum(0)
        constant = square == 0  # φ is defined up to a constant
        return -torch.where(constant, 0.0, source) / torch.where(constant, 1.0, square)

    def moments(
        self,
        position: Float[Tensor, "batch point dimension"],
        field: Float[Tensor, "batch point channel"],
        weight: Float[Tensor, "batch point"] | None = None,
    ) -> Float[Tensor, "batch mode *modes function"]:
        """Of the field, of functions of it, and of 1."""
        lifted = self.lift(field) - self.lift(torch.zeros_like(field[:1, :1]))
        values = torch.cat([field, lifted, torch.ones_like(field[..., :1])], -1)
        values = values / field.shape[1] if weight is None else values * weight[..., None]
        waves = [_waves(position[..., d], self.modes, 0) * _norms(self.modes, values) for d in range(self.dimensions)]
        # all axes but the last spread what every point has, the last sums over points
        for wave in reversed(waves[:-1]):
            values = (wave[..., None] * values[:, :, None]).flatten(2)
        found = waves[-1].transpose(1, 2) @ values  # (B, last mode, other modes · channels)
        found = found.unflatten(2, (self.modes,) * (self.dimensions - 1) + (-1,))
        return found.movedim(1, self.dimensions)

    def gradient(
        self, potential: Float[Tensor, "batch mode *modes"], query: Float[Tensor, "batch query dimension"]
    ) -> Float[Tensor, "batch query dimension"]:
        """∇φ."""
        ones = torch.eye(self.dimensions, dtype=torch.int64).tolist()
        return torch.stack([self.derivative(potential, query, orders) for orders in ones], -1)

    def hessian(
        self, potential: Float[Tensor, "batch mode *modes"], query: Float[Tensor, "batch query dimension"]
    ) -> Float[Tensor, "batch query dimension dimension"]:
        """∇∇φ."""
        axes = range(self.dimensions)
        rows = [[[int(d == a) + int(d == b) for d in axes] for b in axes] for a in axes]
        found = {tuple(o): self.derivative(potential, query, o) for row in rows for o in row}
        return torch.stack([torch.stack([found[tuple(o)] for o in row], -1) for row in rows], -2)

    def derivative(
        self,
        potential: Float[Tensor, "batch mode *modes"],
        query: Float[Tensor, "batch query dimension"],
        orders: list[int],
    ) -> Float[Tensor, "batch query"]:
        """∂^Σorders φ/∂ξ₁^orders₁ ..., each order 0 to 2."""
        found = potential.flatten(1, -2) if self.dimensions > 1 else potential[:, None]
        waves = [_waves(query[..., d], self.modes, order) for d, order in enumerate(orders)]
        found = waves[-1] @ found.transpose(1, 2)  # (B, Q, modes of other axes)
        for d in reversed(range(self.dimensions - 1)):
            found = (found.unflatten(2, (-1, self.modes)) * waves[d][:, :, None]).sum(-1)
        return found.flatten(1)

    def extra_repr(self) -> str:
        return f"dimensions={self.dimensions}, width={self.width}, modes={self.modes}"


class _Layer(nn.Module):
    """h + P(h, R h, ∇(A h)·∇(B h))."""

    def __init__(self, width: int, modes: int, dimensions: int):
        super().__init__()
        self.dimensions, pairs = dimensions, max(1, width // 4)
        self.spectral = nn.Parameter(torch.randn(*(modes,) * dimensions, width, width) / width)
        self.slopes = nn.Linear(width, 2 * pairs, bias=False)
        self.perceptron = nn.Sequential(nn.Linear(2 * width + pairs, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, h: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
        orders = list(itertools.permutations(range(self.dimensions)))
        spectral = sum(self.spectral.permute(*o, -2, -1) for o in orders) / len(orders)
        moments, axes = _moments(h, cosines), range(self.dimensions)
        mixed = _values((moments.movedim(0, -2) @ spectral).movedim(-2, 0), [cosines] * self.dimensions)
        slopes = self.slopes(moments) / cosines.shape[1]  # gradients are as large as wave numbers
        product = torch.zeros(())
        for d in axes:
            one, other = _values(slopes, [sines if d == a else cosines for a in axes]).chunk(2, -1)
            product = product + one * other
        return h + self.perceptron(torch.cat([h, mixed, product], -1))


def _waves(x: Float[Tensor, "*point"], modes: int, order: int) -> Float[Tensor, "*point {modes}"]:
    """cos(π k x), or its first or second derivative in x."""
    k = math.pi * torch.arange(modes, dtype=x.dtype, device=x.device)
    if order == 1:
        return -k * torch.sin(k * x[..., None])
    return torch.cos(k * x[..., None]) * (1 if order == 0 else -(k**2))


def _size(field: Tensor, weight: Tensor | None) -> Float[Tensor, " batch"]:
    """Root of the mean square; with a slope where it is 0."""
    square = (field**2).mean(-1)
    mean = square.mean(1) if weight is None else (square * weight).sum(1) / weight.sum(1)
    return torch.sqrt(mean + 1e-12) - 1e-6


def _norms(modes: int, like: Tensor) -> Float[Tensor, " mode"]:
    """1/∫ cos²(π k x)."""
    return torch.where(torch.arange(modes, device=like.device) > 0, 2.0, 1.0).to(like)


def _moments(h: Tensor, cosines: Tensor) -> Tensor:
    """Coefficients (B, *modes, C) of values (B, *lattice, C)."""
    into = cosines * _norms(cosines.shape[1], h) / len(cosines)
    for axis in range(1, h.ndim - 1):
        h = nn.functional.linear(h.movedim(axis, -1), into.T).movedim(-1, axis)
    return h


def _values(moments: Tensor, waves: list[Tensor]) -> Tensor:
    """Values (B, *lattice, C) of coefficients (B, *modes, C)."""
    for axis, wave in enumerate(waves, 1):
        moments = nn.functional.linear(moments.movedim(axis, -1), wave).movedim(-1, axis)
    return moments
