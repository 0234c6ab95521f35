"""D^α of functions given on a grid in space and time, by differences of the declared order or by Fourier series."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sciml.derivatives._stencils import stencil
from sciml.errors import InputError
from sciml.geometry import AXES
from sciml.support import Grid

Face = tuple[int, int]  # axis and end


@dataclass(frozen=True)
class Band:
    """A linear map along one axis: a band in the middle, and denser rows at the two ends.

    Args:
        first: column of the first weight of the first row of the band.
        weights: (rows, width) of the band, or (1, width) where its rows are alike.
        rows: of the band.
        before, after: (rows, columns) of the first and of the last columns.
        around: how many values come before and after the ends, where these are identified.
    """

    first: int
    weights: np.ndarray
    rows: int
    before: np.ndarray | None = None
    after: np.ndarray | None = None
    around: int = 0

    def __call__(self, values: Tensor, axis: int) -> Tensor:
        """The map along `axis` (counted from the end) of values."""
        if self.around:
            n = values.shape[axis]
            left, right = values.narrow(axis, n - self.around, self.around), values.narrow(axis, 0, self.around)
            values = torch.cat([left, values, right], dim=axis)
        pieces = [] if self.before is None else [_dense(values, self.before, axis, 0)]
        if self.rows:
            pieces.append(self._middle(values, axis))
        if self.after is not None:
            pieces.append(_dense(values, self.after, axis, values.shape[axis] - self.after.shape[1]))
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim=axis)

    def _middle(self, values: Tensor, axis: int) -> Tensor:
        total: Tensor | None = None
        for k in range(self.weights.shape[1]):
            part = values.narrow(axis, self.first + k, self.rows)
            if len(self.weights) > 1:
                weights = values.new_tensor(self.weights[:, k]).reshape(-1, *[1] * (-1 - axis))
                total = part * weights if total is None else torch.addcmul(total, part, weights)
            else:
                weight = float(self.weights[0, k])
                total = part * weight if total is None else torch.add(total, part, alpha=weight)
        assert total is not None
        return total


def _dense(values: Tensor, matrix: np.ndarray, axis: int, first: int) -> Tensor:
    part = values.narrow(axis, first, matrix.shape[1]).movedim(axis, -1)
    return (part @ values.new_tensor(matrix).T).movedim(-1, axis)


@lru_cache(maxsize=256)
def _band(points: bytes, order: int, accuracy: int, period: float | None) -> Band:
    """The derivative of an order at the points themselves."""
    x = np.frombuffer(points)
    n, width = len(x), accuracy + 1 + 2 * ((order - 1) // 2)
    half = width // 2
    if period is not None:
        rule = stencil(x, x, width, order, period)
        # the columns of a stencil on a circle come in the order of the places
        return Band(0, _alike(rule.weights), n, around=half)
    inner = stencil(x, x[half : n - half], width, order)
    wide = min(accuracy + order, n)
    ends = [stencil(x, part, wide, order) for part in (x[:half], x[n - half :])]
    before, after = (np.zeros((half, wide)) for _ in range(2))
    for matrix, rule, first in ((before, ends[0], 0), (after, ends[1], n - wide)):
        for row in range(half):
            matrix[row, rule.indices[row] - first] = rule.weights[row]
    return Band(0, _alike(inner.weights), n - 2 * half, before, after)


def _alike(weights: np.ndarray) -> np.ndarray:
    same = np.allclose(weights, weights[:1], rtol=0.0, atol=1e-12 * np.abs(weights).max())
    return weights[:1] if same else weights


@lru_cache(maxsize=256)
def _at_end(points: bytes, end: float, order: int, accuracy: int) -> Band:
    """The derivative of an order, or the value, at one place before the first or after the last point."""
    x = np.frombuffer(points)
    rule = stencil(x, np.array([end]), accuracy + order, order)
    first = int(rule.indices[0, 0])
    return Band(first, rule.weights, 1)


class Differences:
    """D^α on the cells of a grid, or on one of its sides, at given times.

    Values are (..., time, *space), or (..., *space) of what is steady; α counts derivatives along x, y, ... and last
    along t.

    Args:
        order: of accuracy, also at walls: 2 or 4.
        spectral: whether derivatives along periodic axes are those of the Fourier series.

    Raises:
        InputError: too few cells or times for the derivatives of a balance, with the axis.
    """

    def __init__(self, grid: Grid, times: np.ndarray | None, order: int, spectral: bool):
        self.grid, self.times, self.order, self.spectral = grid, times, order, spectral
        self.points = [np.ascontiguousarray(c, np.float64) for c in grid.centres]
        if times is not None:
            self.points.append(np.ascontiguousarray(times, np.float64))

    def __call__(
        self, values: Float[Tensor, "*batch_shape"], alpha: tuple[int, ...], face: Face | None = None
    ) -> Float[Tensor, "*batch_place"]:
        """D^α of values; on a side its own axis is gone. Steady values take an α without its last entry."""
        if face is not None:
            values = self._end(values, alpha, face)
        for axis, count in enumerate(alpha):
            if count and (face is None or axis != face[0]):
                values = self._inside(values, count, axis, face)
        return values

    def _place(self, axis: int, face: Face | None) -> int:
        """The array axis of a coordinate, from the end; time is in front of space."""
        place = -1 - axis
        return place if face is None or axis < face[0] else place + 1

    def _inside(self, values: Tensor, count: int, axis: int, face: Face | None) -> Tensor:
        x, d = self.points[axis], self.grid.dimensions
        around = axis < d and bool(self.grid.periodic[axis])
        period = float(self.grid.faces[axis][-1] - self.grid.faces[axis][0]) if around else None
        place = self._place(axis, face)
        if around and self.spectral:
            return _fourier(values, count, place, x, period)
        needed = self.order + 1 + 2 * ((count - 1) // 2) if around else self.order + count
        if len(x) < needed:
            name = AXES[axis] if axis < d else "t"
            raise InputError(
                f"basis: has {len(x)} values along {name}, expected at least {needed} for its derivative of order "
                f"{count} there"
            )
        return _band(x.tobytes(), count, self.order, period)(values, place)

    def _end(self, values: Tensor, alpha: tuple[int, ...], face: Face) -> Tensor:
        axis, end = face
        x, count = self.points[axis], alpha[axis]
        if len(x) < self.order + count:
            raise InputError(
                f"basis: has {len(x)} values along {AXES[axis]}, expected at least {self.order + count} for what "
                "the conditions at its ends hold"
            )
        rule = _at_end(x.tobytes(), float(self.grid.faces[axis][-end]), count, self.order)
        return rule(values, -1 - axis).squeeze(-1 - axis)


def _fourier(values: Tensor, count: int, place: int, x: np.ndarray, period: float | None) -> Tensor:
    n = len(x)
    assert period is not None
    if np.ptp(np.diff(x)) > 1e-9 * period:
        raise InputError("spectral: expected equal cells along periodic axes")
    k = 2 * np.pi / period * np.arange(n // 2 + 1)
    factor = (1j * k) ** count
    if n % 2 == 0 and count % 2:
        factor[-1] = 0.0  # an odd derivative of the shortest wave is not seen on the grid
    dtype = torch.complex64 if values.dtype == torch.float32 else torch.complex128
    along = torch.as_tensor(factor, dtype=dtype, device=values.device).reshape(-1, *[1] * (-1 - place))
    return torch.fft.irfft(torch.fft.rfft(values, dim=place) * along, n, dim=place)
