"""The projection of Leray on periodic boxes: û − k (k·û)/|k|².

Source: J. Leray, Acta Math. 63, 193 (1934); A. J. Chorin, Math. Comp. 22, 745 (1968).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sciml.errors import InputError, is_number


class PeriodicProjection(nn.Module, ABC):
    """Abstract: the nearest velocity on a periodic box whose divergence, in some measure of it, is zero.

    Linear, orthogonal in the mean square, and its own repetition; the mean velocity is kept. It has no parameters.

    Args:
        lengths: of the box along x, y (and z).
    """

    def __init__(self, lengths: Sequence[float]):
        super().__init__()
        self.lengths = tuple(lengths)
        if len(self.lengths) not in (2, 3) or not all(is_number(a) and a > 0 for a in self.lengths):
            raise InputError(f"lengths: expected two or three positive lengths, got {lengths!r}")

    @abstractmethod
    def symbol(self, n: int, length: float) -> Float[Tensor, " n"]:
        """What ∂/∂x multiplies the n modes of an axis with, over i, in the order of `torch.fft.fft`; float64."""

    @abstractmethod
    def kept(self, n: int) -> Float[Tensor, " n"]:
        """1 for the modes of an axis that stay, 0 for those that are left out."""

    def forward(self, velocity: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """The projected velocity.

        Args:
            velocity: (..., component, *grid), components x, y, z at nodes or cell centres of an equally spaced grid in
                array order (z, y, x).
        """
        d = len(self.lengths)
        if velocity.ndim < d + 1 or velocity.shape[-1 - d] != d:
            got = tuple(velocity.shape)
            raise InputError(f"velocity: expected (..., {d}, *grid) for a box with {d} axes, got {got}")
        axes = tuple(range(-d, 0))
        shape = velocity.shape[-d:]
        spectrum = torch.fft.rfftn(velocity, dim=axes)
        waves, kept, squares = [], 1.0, 0.0
        for a, length in enumerate(self.lengths):
            n = shape[-1 - a]
            stop = n // 2 + 1 if a == 0 else n
            place = (stop,) + (1,) * a
            k = self.symbol(n, length)[:stop].reshape(place).to(velocity)
            waves.append(k)
            kept = kept * self.kept(n)[:stop].reshape(place).to(velocity)
            squares = squares + k * k
        assert isinstance(squares, Tensor)
        inverse = torch.where(squares > 0, 1 / torch.where(squares > 0, squares, 1.0), 0.0)
        parts = spectrum.unbind(-1 - d)
        along = sum((k * p for k, p in zip(waves, parts, strict=True)), start=torch.zeros((), dtype=spectrum.dtype))
        found = torch.stack([(p - k * inverse * along) * kept for k, p in zip(waves, parts, strict=True)], -1 - d)
        return torch.fft.irfftn(found, s=shape, dim=axes)


class Leray(PeriodicProjection):
    """∇·u = 0 of the trigonometric polynomial through the values, everywhere and not at the nodes alone.

    The Nyquist mode of an even number of nodes is left out: its derivative is not representable.
    """

    def symbol(self, n: int, length: float) -> Float[Tensor, " n"]:
        return torch.fft.fftfreq(n, dtype=torch.float64) * (2 * math.pi * n / length)

    def kept(self, n: int) -> Float[Tensor, " n"]:
        found = torch.ones(n, dtype=torch.float64)
        if n % 2 == 0:
            found[n // 2] = 0.0
        return found


class CentralLeray(PeriodicProjection):
    """Σ (v(x + h) − v(x − h))/(2h) = 0, the central differences of audits: k is sin(kh)/h.

    On equal cells these are also the balances of cells with face velocities halfway between their neighbours'. What
    central differences do not see, checkerboards, is kept as it is.
    """

    def symbol(self, n: int, length: float) -> Float[Tensor, " n"]:
        found = torch.sin(2 * math.pi * torch.fft.fftfreq(n, dtype=torch.float64)) * (n / length)
        if n % 2 == 0:
            found[n // 2] = 0.0  # not the rounding of sin π
        return found

    def kept(self, n: int) -> Float[Tensor, " n"]:
        return torch.ones(n, dtype=torch.float64)
