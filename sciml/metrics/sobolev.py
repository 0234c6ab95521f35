"""Sobolev norms of periodic fields."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Shaped

from sciml.errors import InputError, is_number


def sobolev_norm(
    values: Shaped[np.ndarray, "*_"], lengths: Sequence[float], order: float
) -> Shaped[np.ndarray, "*batch"]:
    """‖a‖_s = (Σ_{k ≠ 0} |k|^{2s} |â_k|²)^½ with a = Σ_k â_k e^{ik·x}, k = 2πn/L: by Parseval, for s = 0, the root of
    the mean square about the mean.

    One wave sin(kx) has the norm √½ |k|^s.

    Args:
        values: (..., *space) at equally spaced points of a periodic box.
        lengths: L along each axis of space, in the arrays' order.
        order: s, any number.

    Raises:
        InputError: lengths or an order that are no such numbers.
    """
    lengths = tuple(lengths)
    if not lengths or not all(is_number(v) and v > 0 for v in lengths):
        raise InputError(f"lengths: expected numbers > 0, one an axis, got {lengths}")
    if not is_number(order):
        raise InputError(f"order: expected a number, got {order!r}")
    d = len(lengths)
    if np.ndim(values) < d:
        raise InputError(f"values: expected (..., *space) with {d} axes of space, got shape {np.shape(values)}")
    values = np.asarray(values, np.float64)
    shape = values.shape[values.ndim - d :]
    square = np.zeros(())
    for n, length in zip(shape, lengths, strict=True):
        square = square[..., None] + (2 * math.pi * np.fft.fftfreq(n, 1 / n) / length) ** 2
    square[(0,) * d] = 1.0
    weight = square**order
    weight[(0,) * d] = 0.0
    power = np.abs(np.fft.fftn(values, axes=range(-d, 0)) / math.prod(shape)) ** 2
    return np.asarray(np.sqrt((weight * power).sum(tuple(range(-d, 0)))))
