"""The sampling error of time averages, from blocks of frames that double in length."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sciml.arrays import plain
from sciml.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Float, Int

FEWEST = 4  # blocks that a variance is taken from


@dataclass(frozen=True, eq=False)
class SamplingError:
    """How far time averages may be off.

    Args:
        standard_error: of each mean; NaN where there are fewer than two frames.
        samples: how many independent frames each mean is worth, N s₁² / s_B².
        blocks: of how many blocks each error was taken; a t-distribution of `blocks` − 1 degrees of freedom goes by it.
        resolved: whether blocks are long against what frames remember; where they are not, the true error is larger.
    """

    standard_error: Float[np.ndarray, " place"]
    samples: Float[np.ndarray, " place"]
    blocks: Int[np.ndarray, " place"]
    resolved: np.ndarray


class Blocking:
    """Means of Q quantities at P places over correlated series, their covariance, and the sampling error of any
    combination of them, without keeping a frame.

    Frames are averaged in blocks of B = 1, 2, 4, ... within their series. With n_B whole blocks in all series, whose
    means have the sample variance v_B, the squared standard error is s_B² = v_B / n_B; it rises with B and settles
    where blocks have forgotten each other. Taken is the least B with

    B³ > 2 N (s_B² / s₁²)²,

    N frames in all, which trades the bias of short blocks (of order 1/B) for the spread of few (of order B/N); where no
    B of at least four blocks has it, the longest such, and `resolved` is false. Series of other runs count as blocks of
    their own: what differs between runs is in the error.

    Sources: H. Flyvbjerg, H. G. Petersen, J. Chem. Phys. 91, 461 (1989); the rule for B: R. M. Lee, G. J. Conduit,
    N. Nemec, P. López Ríos, N. D. Drummond, Phys. Rev. E 83, 066706 (2011).

    Args:
        quantities, places: Q and P; covariances are kept between quantities at one place.
    """

    def __init__(self, quantities: int, places: int):
        self.shape = (quantities, places)
        self.shift: np.ndarray | None = None  # the first frame: variances are sums of small numbers
        self.levels: list[tuple[int, np.ndarray, np.ndarray]] = []
        self.pending: dict[Hashable, list[np.ndarray | None]] = {}

    @property
    def frames(self) -> int:
        return self.levels[0][0] if self.levels else 0

    def add(self, series: Hashable, values: Float[np.ndarray, "quantity place"]) -> None:
        """Take in the next frame of a series, all of it finite."""
        if self.shift is None:
            self.shift = np.array(values, dtype=np.float64)
        block = values - self.shift
        waiting = self.pending.setdefault(series, [])
        for level in range(64):
            self._record(level, block)
            if level == len(waiting):
                waiting.append(None)
            first = waiting[level]
            if first is None:
                waiting[level] = block
                return
            block, waiting[level] = (first + block) / 2, None

    def end(self, series: Hashable) -> None:
        """What comes next under this name does not follow on what came before."""
        self.pending.pop(series, None)

    def _record(self, level: int, block: np.ndarray) -> None:
        if level == len(self.levels):
            q, p = self.shape
            self.levels.append((0, np.zeros((q, p)), np.zeros((q, q, p))))
        count, total, square = self.levels[level]
        total += block
        square += block[:, None] * block
        self.levels[level] = (count + 1, total, square)

    @property
    def mean(self) -> Float[np.ndarray, "quantity place"]:
        """Over all frames; NaN where there is none."""
        if self.shift is None:
            return np.full(self.shape, np.nan)
        count, total, _ = self.levels[0]
        return self.shift + total / count

    def _covariance(self, level: int) -> np.ndarray:
        """(Q, Q, P) sample covariance of the block means."""
        count, total, square = self.levels[level]
        mean = total / count
        return (square / count - mean[:, None] * mean) * (count / (count - 1))

    def error(self, weights: Any) -> SamplingError:
        """Of Σ_q w_q · (mean of q), or of a function of the means with these derivatives.

        Args:
            weights: (Q, P) or (Q, 1).
        """
        q, places = self.shape
        w = np.broadcast_to(np.asarray(weights, dtype=np.float64), (q, places))
        n = self.frames
        if n < 2:
            nothing = np.full(places, np.nan)
            return SamplingError(nothing, nothing, np.zeros(places, int), np.zeros(places, bool))
        first = error = np.zeros(places)
        blocks = np.zeros(places, int)
        resolved = np.zeros(places, bool)
        for level in range(len(self.levels)):
            count = self.levels[level][0]
            if level and count < FEWEST:
                break
            found = np.maximum(np.einsum("ip,ijp,jp->p", w, self._covariance(level), w), 0.0) / count
            first = found if level == 0 else first
            error, blocks = np.where(resolved, error, found), np.where(resolved, blocks, count)
            ratio = found / np.where(first > 0, first, 1.0)
            resolved |= float(2**level) ** 3 > 2.0 * n * ratio**2
        still = first <= 0  # what does not vary has no error
        worth = np.where(error > 0, n * first / np.where(error > 0, error, 1.0), float(n))
        return SamplingError(np.sqrt(error), np.minimum(worth, n), blocks, resolved | still)


def sampling_error(series: Any) -> dict[str, Any]:
    """The mean of correlated samples in time with its standard error (`Blocking`).

    Args:
        series: (T,) equally spaced in time, or (place, T).

    Returns:
        mean, standard_error, samples (how many independent ones the series is worth), integral_time (½ + Σ_{k≥1} ρ_k
        in steps of time, ρ the autocorrelation: N / (2 · samples)), blocks, resolved: numbers, or (place,).

    Raises:
        InputError: fewer than two samples, or values that are not finite.
    """
    values = plain("series", series)
    if values.ndim not in (1, 2) or values.shape[-1] < 2 or values.dtype.kind not in "fiu":
        raise InputError(
            f"series: expected numbers over (time,) or (place, time), two times and more, got {values.shape}"
        )
    if not np.isfinite(values).all():
        raise InputError("series: expected finite numbers, got NaN or infinity")
    table = np.atleast_2d(values.astype(np.float64))
    blocking = Blocking(1, len(table))
    for column in table.T:
        blocking.add(0, column[None])
    found = blocking.error(1.0)
    told = {
        "mean": blocking.mean[0], "standard_error": found.standard_error, "samples": found.samples,
        "integral_time": table.shape[1] / (2 * found.samples), "blocks": found.blocks, "resolved": found.resolved,
    }  # fmt: skip
    return {k: v[0] if values.ndim == 1 else v for k, v in told.items()}
