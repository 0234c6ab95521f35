"""Split conformal calibration where the exchangeable things are cases, not points.

Points of one field are as dependent as can be; cases are exchangeable. Each calibration case i gives one function, the
share of its field (by quadrature) whose scaled residual r = |u − û| / s is beyond λ,

    M_i(λ) = Σ_x w_x [r_i(x) > λ],    Σ_x w_x = 1,

which never rises. From n of them λ is chosen so that the promise holds for case n + 1.

Sources: V. Vovk, A. Gammerman, G. Shafer, Algorithmic Learning in a Random World (2005); A. Angelopoulos, S. Bates, A.
Fisch, L. Lei, T. Schuster, Conformal Risk Control (2024), Theorem 1.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sciml.errors import InputError, is_number

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Integer

KEPT = 1024  # steps that are kept of each M_i
_TINY = 1e-9  # of a share, for sums of weights


@dataclass(frozen=True, eq=False)
class Scores:
    """M_i of every case and field, as steps.

    Args:
        values: (case, field, step) ascending residuals.
        beyond: (case, field, step) share of the weight with a residual above; 0 at the last step.
    """

    values: Float[np.ndarray, "case field step"]
    beyond: Float[np.ndarray, "case field step"]

    @staticmethod
    def of(residuals: Sequence[np.ndarray], weights: Sequence[np.ndarray], kept: int = KEPT) -> Scores:
        """From residuals (field, value) and weights (value,) of each case."""
        return Scores.joined([Scores.of_case(r, w, kept) for r, w in zip(residuals, weights, strict=True)])

    @staticmethod
    def of_case(
        residual: Float[np.ndarray, "field value"], weight: Float[np.ndarray, " value"], kept: int = KEPT
    ) -> Scores:
        """From the residuals and weights of one case.

        Of more than `kept` values neighbours are joined under the largest of them, so that M is never made too small.
        What is not a number counts as ∞.
        """
        counted = weight > 0
        w, r = weight[counted], residual[:, counted]
        r = np.where(np.isnan(r), np.inf, r)
        order = np.argsort(r, axis=1, kind="stable")
        ends = np.linspace(0, len(w), min(kept, len(w)) + 1).astype(int)[1:] - 1
        share = np.cumsum(w[order], axis=1)
        beyond = 1.0 - share[:, ends] / share[:, -1:]
        beyond[:, -1] = 0.0
        return Scores(np.take_along_axis(r, order, axis=1)[:, ends][None], beyond[None])

    @staticmethod
    def joined(parts: Sequence[Scores]) -> Scores:
        """Those of several, case after case."""
        size = max(part.values.shape[-1] for part in parts)

        def padded(array: np.ndarray) -> np.ndarray:  # by its last step again
            return np.pad(array, ((0, 0), (0, 0), (0, size - array.shape[-1])), mode="edge")

        return Scores(
            np.concatenate([padded(p.values) for p in parts]), np.concatenate([padded(p.beyond) for p in parts])
        )

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: Integer[np.ndarray, " row"] | Bool[np.ndarray, " case"]) -> Scores:
        return Scores(self.values[rows], self.beyond[rows])

    def missed(self, limit: float | Float[np.ndarray, " field"]) -> Float[np.ndarray, "case field"]:
        """M_i(λ) for λ = `limit`, one for all fields or one each."""
        bound = np.broadcast_to(np.asarray(limit, np.float64), self.values.shape[1:2])
        passed = (self.values <= bound[:, None]).sum(-1)
        padded = np.concatenate([np.ones((*self.values.shape[:2], 1)), self.beyond], axis=-1)
        return np.take_along_axis(padded, passed[..., None], axis=-1)[..., 0]

    def least(self, outside: float) -> Float[np.ndarray, "case field"]:
        """The least λ with M_i(λ) ≤ `outside`: the largest residual for 0."""
        first = np.argmax(self.beyond <= outside + _TINY, axis=-1)
        return np.take_along_axis(self.values, first[..., None], axis=-1)[..., 0]


@dataclass(frozen=True)
class Guarantee(ABC):
    """What is promised of a new case that is exchangeable with n calibration cases, for each field by itself.

    Args:
        coverage: 1 − α, between 0 and 1.
    """

    coverage: float

    @property
    @abstractmethod
    def fewest(self) -> int:
        """The least n with which it can be promised."""

    @abstractmethod
    def _quantile(self, scores: Scores) -> np.ndarray: ...

    @abstractmethod
    def covered(self, scores: Scores, limit: float | np.ndarray) -> Float[np.ndarray, "case field"]:
        """What is covered in each case; its expectation is what is promised."""

    @property
    @abstractmethod
    def words(self) -> str:
        """The promise, as a sentence."""

    def quantile(self, scores: Scores) -> Float[np.ndarray, " field"]:
        """λ of each field.

        Raises:
            InputError: fewer cases than the promise needs, or too many answers that are not finite.
        """
        if len(scores) < self.fewest:
            raise InputError(
                f"calibrate: a coverage of {self.coverage:g} needs at least {self.fewest} calibration cases, "
                f"got {len(scores)}"
            )
        found = self._quantile(scores)
        if not np.isfinite(found).all():
            raise InputError("calibrate: too many of the answers to the calibration cases are not finite")
        return found


@dataclass(frozen=True)
class PerPoint(Guarantee):
    """E[M_{n+1}(λ)] ≤ α: on average over new cases, a share of at least 1 − α of the field lies in its band.

    λ = min{λ : Σ_i M_i(λ) + 1 ≤ (n + 1) α}; the expectation is at least α − 2 / (n + 1) where residuals are continuous.
    """

    @property
    def fewest(self) -> int:
        return math.ceil(1.0 / (1.0 - self.coverage) - 1.0 - _TINY)

    @property
    def words(self) -> str:
        return f"over new cases, {100 * self.coverage:g} % of a field lies in its band on average"

    def _quantile(self, scores: Scores) -> np.ndarray:
        n, fields = scores.values.shape[:2]
        found = np.empty(fields)
        share = -np.diff(scores.beyond, axis=-1, prepend=1.0)
        for f in range(fields):
            order = np.argsort(scores.values[:, f], axis=None, kind="stable")
            missed = n - np.cumsum(share[:, f].ravel()[order])
            enough = missed + 1 <= (n + 1) * (1 - self.coverage) + _TINY * n
            found[f] = scores.values[:, f].ravel()[order][np.argmax(enough)] if enough.any() else np.inf
        return found

    def covered(self, scores: Scores, limit: float | np.ndarray) -> Float[np.ndarray, "case field"]:
        return 1.0 - scores.missed(limit)


@dataclass(frozen=True)
class PerField(Guarantee):
    """P(M_{n+1}(λ) ≤ outside) ≥ 1 − α: in such a share of new cases the whole field lies in its band at once, but for
    a share `outside` of its extent.

    λ is the ⌈(n + 1)(1 − α)⌉-th smallest of the scores λ_i = min{λ : M_i(λ) ≤ outside}; with `outside` 0 a score is the
    largest scaled residual. Where no scores are equal the probability is exactly ⌈(n + 1)(1 − α)⌉ / (n + 1).

    Args:
        outside: share of a field that may lie outside.
    """

    outside: float = 0.0

    @property
    def fewest(self) -> int:
        return math.ceil(self.coverage / (1.0 - self.coverage) - _TINY)

    def rank(self, n: int) -> int:
        """Which of n sorted scores λ is, counted from 1."""
        return math.ceil((n + 1) * self.coverage - _TINY)

    @property
    def words(self) -> str:
        but = f" but for at most {100 * self.outside:g} % of it" if self.outside else ""
        return f"in {100 * self.coverage:g} % of new cases the whole field lies in its band at once{but}"

    def _quantile(self, scores: Scores) -> np.ndarray:
        return np.sort(scores.least(self.outside), axis=0)[self.rank(len(scores)) - 1]

    def covered(self, scores: Scores, limit: float | np.ndarray) -> Float[np.ndarray, "case field"]:
        return (scores.missed(limit) <= self.outside + _TINY).astype(np.float64)


def guarantee(per: str, coverage: float, outside: float) -> Guarantee:
    """The promise that these words name.

    Raises:
        InputError: other words, or numbers out of range.
    """
    if not is_number(coverage) or not 0 < coverage < 1:
        raise InputError(f"coverage: expected a number between 0 and 1, got {coverage!r}")
    if not is_number(outside) or not 0 <= outside < 1:
        raise InputError(f"outside: expected a share in [0, 1), got {outside!r}")
    if per == "field":
        return PerField(float(coverage), float(outside))
    if per != "point":
        raise InputError(f"per: expected 'point' or 'field', got {per!r:.60}")
    if outside:
        raise InputError("outside: a share of the field that may lie outside goes with per='field'")
    return PerPoint(float(coverage))
