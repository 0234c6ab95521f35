"""Random fields on cells: smooth Gaussian ones, and pieces of constant values."""

from __future__ import annotations

import math

import numpy as np
import scipy.fft
from jaxtyping import Float

from sciml.solvers.linear._ends import End, Ends
from sciml.solvers.linear._family import spacing_of


def gaussian(
    rng: np.random.Generator, shape: tuple[int, ...], ends: tuple[Ends, ...], length: float
) -> Float[np.ndarray, "*shape"]:
    """A stationary field of zero mean and unit variance with correlation exp(−r²/(2ℓ²)).

    White noise is filtered in Fourier space; the box is made larger along axes that are not periodic, so that what is
    near one of its ends is not correlated with what is near the other.

    Args:
        length: ℓ, in sides of the box.
    """
    spacing, wide = spacing_of(shape), []
    for axis, n in enumerate(shape):
        more = 0 if ends[len(shape) - 1 - axis][0] is End.PERIODIC else math.ceil(5 * length / spacing[0])
        wide.append(scipy.fft.next_fast_len(n + min(more, n)) if more else n)
    square = 0.0
    for axis, (n, h) in enumerate(zip(wide, spacing, strict=True)):
        k = 2 * np.pi * (np.fft.rfftfreq(n, h) if axis == len(shape) - 1 else np.fft.fftfreq(n, h))
        square = square + (k.reshape([-1 if a == axis else 1 for a in range(len(shape))]) * length) ** 2
    share = np.exp(-np.asarray(square) / 4)
    hat = np.fft.rfftn(rng.standard_normal(wide)) * share
    field = np.fft.irfftn(hat, wide, axes=tuple(range(len(shape))))
    # the variance of the filtered noise: the mean of share² over all modes, those left out by rfftn counted twice
    twice = np.full(share.shape[-1], 2.0)
    twice[0] = 1
    if wide[-1] % 2 == 0:
        twice[-1] = 1
    variance = float(np.sum(share**2 * twice)) / math.prod(wide)
    return field[tuple(slice(n) for n in shape)] / math.sqrt(variance)


def pieces(rng: np.random.Generator, shape: tuple[int, ...], round_ones: bool) -> Float[np.ndarray, "*shape"]:
    """Boxes or balls laid over each other, each with a value of its own in [0, 1]; 0 and 1 are among them where two
    are seen. Their sides are anywhere, not on the lines of coarser grids."""
    spacing = spacing_of(shape)
    sides = np.array(shape) * spacing[0]
    places = np.meshgrid(*((np.arange(n) + 0.5) * spacing[0] for n in shape), indexing="ij", sparse=True)
    values = np.full(shape, rng.uniform())
    for _ in range(int(rng.integers(3, 13))):
        centre, half = rng.uniform(0, sides), rng.uniform(0.05, 0.25, len(shape))
        away = [(x - c) / (half[0] if round_ones else h) for x, c, h in zip(places, centre, half, strict=True)]
        inside = np.ones(shape, bool)
        if round_ones:
            inside = np.asarray(sum(a**2 for a in away)) <= 1
        else:
            for a in away:
                inside = inside & (np.abs(a) <= 1)
        values[inside] = rng.uniform()
    low, high = values.min(), values.max()
    return (values - low) / (high - low) if high > low else values
