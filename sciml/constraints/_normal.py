"""Normal distributions of values at points, with covariances that are stored as cheaply as they can be."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.errors import InputError

FLOOR = 1e-8


@final
@dataclass(frozen=True, eq=False)
class Normal:
    """N(μ, Σ) for each of a batch, Σ = diag(v) − W Wᵀ or any matrix.

    Args:
        mean: (*batch, n), μ.
        diagonal: (*batch, n), v ≥ 0; None where `matrix` says all.
        removed: (*batch, n, rank), W, or None for 0.
        matrix: (*batch, n, n), Σ; None where `diagonal` says all.
        floor: the least that `variance` gives.

    Raises:
        InputError: neither or both of `diagonal` and `matrix`, shapes that do not fit, negative variances, values that
            are not finite.
    """

    mean: Float[Tensor, "*batch n"]
    diagonal: Float[Tensor, "*batch n"] | None = None
    removed: Float[Tensor, "*batch n rank"] | None = None
    matrix: Float[Tensor, "*batch n n"] | None = None
    floor: float = FLOOR

    def __post_init__(self) -> None:
        if (self.diagonal is None) == (self.matrix is None) or (self.matrix is not None and self.removed is not None):
            raise InputError("normal: expected a diagonal (and what is removed from it) or a matrix, one of the two")
        n = self.mean.shape[-1] if self.mean.ndim else 0
        if n < 1:
            raise InputError(f"normal: mean has shape {tuple(self.mean.shape)}, expected (*batch, n)")
        if self.diagonal is not None:
            name, given, shape, variance = "variance", self.diagonal, (n,), self.diagonal
        else:
            assert self.matrix is not None
            name, given, shape = "covariance", self.matrix, (n, n)
            variance = given.diagonal(dim1=-2, dim2=-1) if tuple(given.shape[-2:]) == shape else given
        if tuple(given.shape[-len(shape) :]) != shape:
            raise InputError(f"normal: {name} has shape {tuple(given.shape)}, expected (*batch, {str(shape)[1:]}")
        for what, values in (("mean", self.mean), (name, given)):
            if not bool(torch.isfinite(values).all()):
                raise InputError(f"normal: {what} holds values that are not finite")
        if bool((variance < 0).any()):
            raise InputError(f"normal: {name} has a negative variance, {float(variance.detach().min()):.3g}")

    @property
    def variance(self) -> Float[Tensor, "*batch n"]:
        """Of each value, at least the floor."""
        if self.matrix is not None:
            found = self.matrix.diagonal(dim1=-2, dim2=-1)
        else:
            assert self.diagonal is not None
            found = self.diagonal if self.removed is None else self.diagonal - self.removed.square().sum(-1)
        return found.clamp(min=self.floor)

    @property
    def covariance(self) -> Float[Tensor, "*batch n n"]:
        """Σ as a matrix."""
        if self.matrix is not None:
            return self.matrix
        assert self.diagonal is not None
        found = torch.diag_embed(self.diagonal)
        return found if self.removed is None else found - self.removed @ self.removed.mT


def log_likelihood(given: Normal, truth: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch"]:
    """The mean over points of log N(uᵢ; μᵢ, Σᵢᵢ): points one by one, as predictive distributions are scored.

    Raises:
        InputError: shapes that do not fit.
    """
    _fits(given.mean, truth)
    variance = given.variance
    return -0.5 * ((truth - given.mean).square() / variance + variance.log() + math.log(2 * math.pi)).mean(-1)


def mean_squared_error(mean: Float[Tensor, "*batch n"], truth: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch"]:
    """Over points.

    Raises:
        InputError: shapes that do not fit.
    """
    _fits(mean, truth)
    return (mean - truth).square().mean(-1)


def _fits(mean: Tensor, truth: Tensor) -> None:
    if mean.shape[-1:] != truth.shape[-1:]:
        raise InputError(f"truth: has shape {tuple(truth.shape)}, expected {tuple(mean.shape)} like the mean")
