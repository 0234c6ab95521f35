"""The network that guesses directions, and A as torch applies it to a batch."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from sciml.errors import InputError, positive
from sciml.solvers.linear._ends import End
from sciml.solvers.linear.grid_system import GridSystem, diagonal

FEW = 2**20  # numbers
_LAST = {2: torch.channels_last, 3: torch.channels_last_3d}  # a fifth faster on CPUs


class DirectionNetwork(nn.Module):
    """A residual on a grid -> a direction on it, up to a factor; convolutions alone, so that it fits every size.

    One linear convolution; `fine` ones with ReLU on the grid, `coarse` ones on means over blocks of 2ᵈ cells, whose
    result is put back on the cells of each block and added to what came before; `fine` ones; one linear combination of
    the channels. Every second convolution's result is added to what the one before it was given. Blocks that a side
    cuts are means over the cells that they have.

    Args:
        dimensions: 2 or 3.
        width: channels.
        fine: convolutions before, and after, the coarse ones; even.
        coarse: convolutions on blocks; even.
        seed: of the weights, uniform as Glorot has it; biases are 0.

    Raises:
        InputError: settings out of range.
    """

    def __init__(self, dimensions: int, width: int = 16, fine: int = 4, coarse: int = 6, seed: int = 0):
        super().__init__()
        if dimensions not in (2, 3):
            raise InputError(f"dimensions: expected 2 or 3, got {dimensions!r}")
        for key, value in (("fine", fine), ("coarse", coarse)):
            if positive(key, value, 2) % 2:
                raise InputError(f"{key}: expected an even number, got {value}")
        kind = {2: nn.Conv2d, 3: nn.Conv3d}[dimensions]
        self.settings = {"dimensions": dimensions, "width": positive("width", width), "fine": fine, "coarse": coarse}

        def several(count: int) -> nn.ModuleList:
            return nn.ModuleList(kind(width, width, 3, padding=1) for _ in range(count))

        self.dimensions = dimensions
        self.first = kind(1, width, 3, padding=1)
        self.before, self.blocks, self.after = several(fine), several(coarse), several(fine)
        self.last = kind(width, 1, 1)
        random = torch.Generator().manual_seed(seed)
        for parameter in self.parameters():
            if parameter.ndim > 1:
                nn.init.xavier_uniform_(parameter, generator=random)
                parameter.data = parameter.data.contiguous(memory_format=_LAST[dimensions])
            else:
                nn.init.zeros_(parameter)

    def forward(self, residual: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch ..."]:
        h = self.first(residual.unsqueeze(1).contiguous(memory_format=_LAST[self.dimensions]))
        h = _fast(self._opening, h)
        pooled = {2: F.avg_pool2d, 3: F.avg_pool3d}[self.dimensions](h, 2, ceil_mode=True, count_include_pad=False)
        coarse = _fast(partial(_pairs, self.blocks), pooled)
        h = _fast(partial(_pairs, self.after), h + _spread(coarse, h.shape[2:]))
        return self.last(h).squeeze(1)

    def _opening(self, h: Tensor) -> Tensor:
        h = F.relu(self.before[0](h))
        return F.relu(self.before[-1](_pairs(self.before[1:-1], h)))


def _fast(layers: Callable[[Tensor], Tensor], h: Tensor) -> Tensor:
    """The layers of a batch; a single field of few cells goes with its copy, for on CPUs torch convolves such a one in
    space by a way that is fifteen times slower."""
    if h.ndim == 5 and len(h) == 1 and h.numel() < FEW and h.device.type == "cpu":
        return layers(torch.cat([h, h]))[:1]
    return layers(h)


def _pairs(layers: nn.ModuleList, h: Tensor) -> Tensor:
    """h + relu(second(relu(first(h)))), pair by pair."""
    for first, second in zip(layers[::2], layers[1::2], strict=True):
        h = h + F.relu(second(F.relu(first(h))))
    return h


def _spread(coarse: Tensor, shape: torch.Size) -> Tensor:
    """Each block's value on its cells."""
    wide = F.interpolate(coarse, scale_factor=2.0, mode="nearest")
    return wide[(..., *(slice(n) for n in shape))]


class Stencil:
    """A of a system on a grid, for batches of fields: row and column of cells that are not live are zero.

    Args:
        system: with concrete numbers.
        dtype: of the fields.
    """

    def __init__(self, system: GridSystem, dtype: torch.dtype = torch.float32):
        conductances = system.conductances(np)
        self.total = torch.as_tensor(diagonal(conductances, system.shape, np), dtype=dtype)
        self.neighbours: list[tuple[int, int, Tensor]] = []  # (shift, axis, weight)
        for k, c in enumerate(conductances):
            axis = system.dimensions - 1 - k
            n = system.shape[axis]
            for shift, start, edge in ((1, 0, 0), (-1, 1, n - 1)):
                weight = np.take(c, range(start, start + n), axis)
                if system.ends[k][0] is not End.PERIODIC:  # beyond is nothing, or the zero of an open end
                    weight[(slice(None),) * axis + (edge,)] = 0
                self.neighbours.append((shift, axis - system.dimensions, torch.as_tensor(weight, dtype=dtype)))

    def __call__(self, fields: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch ..."]:
        found = self.total * fields
        for shift, axis, weight in self.neighbours:
            found = found - weight * torch.roll(fields, shift, axis)
        return found


def left_over(system: Stencil, b: Float[Tensor, "batch ..."], q: Float[Tensor, "batch ..."]) -> Float[Tensor, ""]:
    """Mean over a batch of ‖b − α A q‖², α = (q·b)/(q·Aq) being the exact step along q; ‖b‖² where q·Aq is 0."""
    axes = tuple(range(1, b.ndim))
    image = system(q)
    curve = (q * image).sum(axes, keepdim=True)
    moving = curve > 0
    step = torch.where(moving, (q * b).sum(axes, keepdim=True) / torch.where(moving, curve, 1.0), 0.0)
    return (b - step * image).square().sum(axes).mean()
