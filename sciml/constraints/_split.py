"""Cells of a grid shared out among experts, and put together again."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Shaped
from torch import Tensor

from sciml.errors import InputError, positive
from sciml.geometry import AXES
from sciml.support import Grid


class Split:
    """Equal boxes of cells, one an expert, for all times; experts are counted with x running fastest.

    Args:
        experts: how many along x, or along x, y, ...
        grid: whose cells these are.

    Raises:
        InputError: counts that do not divide the cells.
    """

    def __init__(self, experts: int | Sequence[int], grid: Grid):
        along = (experts,) if isinstance(experts, int) else tuple(experts)
        if not 1 <= len(along) <= grid.dimensions:
            raise InputError(f"experts: expected at most {grid.dimensions} counts, one an axis, got {along}")
        counts = [positive("experts", k) for k in along] + [1] * (grid.dimensions - len(along))
        for axis, (k, n) in enumerate(zip(counts, reversed(grid.shape), strict=True)):
            if n % k:
                raise InputError(f"experts: {k} along {AXES[axis]} do not divide its {n} cells into equal parts")
        self.shape, self.counts = grid.shape, tuple(reversed(counts))  # in array order
        self.count = math.prod(counts)

    def __call__(
        self, values: Shaped[Tensor, "case channel time *space"]
    ) -> Shaped[Tensor, "case expert channel place"]:
        """The cells of each expert, at all times."""
        case, channel, time, *_ = values.shape
        if self.count == 1:
            return values.reshape(case, 1, channel, -1)
        d = len(self.counts)
        parts = [n for k, s in zip(self.counts, self.shape, strict=True) for n in (k, s // k)]
        order = [0, *range(3, 3 + 2 * d, 2), 1, 2, *range(4, 4 + 2 * d, 2)]
        return values.reshape(case, channel, time, *parts).permute(order).reshape(case, self.count, channel, -1)

    def merged(
        self, values: Shaped[Tensor, "case expert channel place"], time: int
    ) -> Shaped[Tensor, "case channel time *space"]:
        """The inverse."""
        case, _, channel, _ = values.shape
        d = len(self.counts)
        parts = [s // k for k, s in zip(self.counts, self.shape, strict=True)]
        values = values.reshape(case, *self.counts, channel, time, *parts)
        order = [0, 1 + d, 2 + d, *(a for i in range(d) for a in (1 + i, 3 + d + i))]
        return values.permute(order).reshape(case, channel, time, *self.shape)

    def places(self, frames: int) -> int:
        """How many cells and times each expert has."""
        return frames * math.prod(self.shape) // self.count

    def owners(self, face: tuple[int, int] | None, frames: int) -> np.ndarray:
        """(place,) the expert of each cell, or of each face of a side, at so many times."""
        experts = np.arange(self.count).reshape(self.counts)
        for axis, (k, s) in enumerate(zip(self.counts, self.shape, strict=True)):
            experts = np.repeat(experts, s // k, axis=axis)
        if face is not None:
            experts = np.take(experts, -face[1], axis=-1 - face[0])
        return np.tile(experts.ravel(), frames)
