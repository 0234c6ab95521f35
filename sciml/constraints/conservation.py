"""Predictions brought to a known mass, by what their uncertainty allows."""

from __future__ import annotations

import math
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sciml.arrays import real
from sciml.constraints._normal import FLOOR, Normal
from sciml.constraints._shape import binding
from sciml.errors import InputError, is_number


def trapezoid(points: Any) -> Float[Tensor, " n"]:
    """Weights of the trapezoidal rule on points that increase, evenly or not, float64.

    Raises:
        InputError: fewer than two points, or points that do not increase strictly.
    """
    x = np.asarray(real("points", points), dtype=np.float64)
    if x.ndim != 1 or len(x) < 2:
        raise InputError(f"points: have shape {x.shape}, expected at least two on a line")
    if not np.isfinite(x).all() or not (np.diff(x) > 0).all():
        raise InputError("points: expected finite coordinates that increase strictly; sort them, and the values alike")
    gaps = np.diff(x, prepend=x[0], append=x[-1])
    return torch.from_numpy((gaps[:-1] + gaps[1:]) / 2)


def integrals(points: Any, times: int = 1) -> Float[Tensor, "times n_values"]:
    """Rows that integrate over x at each of several times: values are ordered time by time, (times · n,).

    Where the prior knows no correlation between times, keep time as a batch axis instead, with one row: it is the same
    update, and cheaper.
    """
    return torch.kron(torch.eye(times, dtype=torch.float64), trapezoid(points)[None])


@final
class Smoothness:
    """Second differences that are zero within what neighbours that agree would leave of them:
    a u_{i−1} + b u_i + c u_{i+1} ~ N(0, variance), for a correlation α of neighbours and α² of second neighbours,
    a²s₀² + b²s₁² + c²s₂² + 2α (ab s₀s₁ + bc s₁s₂) + 2α² ac s₀s₂; on even points (a, b, c) = (1, −2, 1).

    Args:
        points: (n,) increasing.
        correlation: α, in [0, 1).

    Raises:
        InputError: fewer than three points, points out of order, α out of range.
    """

    def __init__(self, points: Any, correlation: float = 0.9):
        trapezoid(points)
        x = np.asarray(real("points", points), dtype=np.float64)
        if len(x) < 3:
            raise InputError(f"points: {len(x)} of them, expected at least three for second differences")
        if not is_number(correlation) or not 0 <= correlation < 1:
            raise InputError(f"smoothness: correlation is {correlation!r}, expected a number in [0, 1)")
        self.correlation = float(correlation)
        left, right = np.diff(x)[:-1], np.diff(x)[1:]
        self.weights = torch.from_numpy(
            np.stack([2 * right / (left + right), np.full(len(left), -2.0), 2 * left / (left + right)])
        )
        k = np.arange(len(left))
        rows = np.zeros((len(left), len(x)))
        for place, column in enumerate(self.weights.numpy()):
            rows[k, k + place] = column
        self.rows = torch.from_numpy(rows)

    def variance(self, deviation: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch m"]:
        """That of each second difference, from the standard deviations of the values."""
        a, b, c = self.weights.to(deviation.device)
        s0, s1, s2 = a * deviation[..., :-2], b * deviation[..., 1:-1], c * deviation[..., 2:]
        alpha = self.correlation
        return s0**2 + s1**2 + s2**2 + 2 * alpha * (s0 * s1 + s1 * s2) + 2 * alpha**2 * s0 * s2


@final
class ConservationUpdate:
    """A prediction N(μ, Σ) under linear invariants b = G u + ε, ε ~ N(0, σ²I): Bayes' rule,

        K = Σ Gᵀ (σ² I + G Σ Gᵀ)⁻¹,   μ̃ = μ − K (G μ − b),   Σ̃ = Σ − K G Σ.

    σ = 0 is the exact limit: G μ̃ = b to rounding and G Σ̃ = 0. Then μ̃ is the nearest to μ, by Σ⁻¹, of all that have
    the mass, so that values are corrected where they are uncertain, and not where the prediction is sure of them.

    All is computed and given in float64, differentiably, whatever the dtype of the prediction. With a diagonal Σ the
    cost is n · rows for each sample, and Σ̃ stays diagonal less a matrix of rank `rows`.

    Args:
        rows: (m, n), G, for instance the weights of a quadrature, `trapezoid` or `integrals`.
        noise: σ ≥ 0 of the masses.
        smoothness: applied first, in n³ operations, Σ being a matrix thereafter.
        nonnegative: whether u ≥ 0.
        monotone: 1 where u does not fall along the points, −1 where it does not rise, 0 where it may do both. With
            either, μ̃ is the most probable u of that shape with the exact mass; Σ̃ is that without the shape. It can be
            differentiated where what binds does not change.
        floor: the least variance that a prediction is taken to have, and that `Normal.variance` gives.

    Raises:
        InputError: rows that depend on one another, a noise below 0, a floor that is not positive, a shape and a noise.

    Source: D. Hansen, D. C. Maddix, S. Alizadeh, G. Gupta, M. W. Mahoney, "Learning physical models that can respect
    conservation laws", ICML (2023), equations (6) to (8).
    """

    def __init__(
        self,
        rows: Any,
        noise: float = 0.0,
        smoothness: Smoothness | None = None,
        nonnegative: bool = False,
        monotone: int = 0,
        floor: float = FLOOR,
    ):
        given = rows.detach().cpu().numpy() if isinstance(rows, Tensor) else rows
        matrix = np.atleast_2d(np.asarray(real("rows", given), dtype=np.float64))
        if matrix.ndim != 2 or not matrix.size or not np.isfinite(matrix).all():
            raise InputError(f"rows: have shape {matrix.shape}, expected finite weights (invariants, values)")
        if not is_number(noise) or noise < 0:
            raise InputError(f"conservation: noise is {noise!r}, expected a number >= 0")
        if not is_number(floor) or floor <= 0:
            raise InputError(f"conservation: floor is {floor!r}, expected a number > 0")
        if isinstance(monotone, bool) or monotone not in (-1, 0, 1):
            raise InputError(f"conservation: monotone is {monotone!r}, expected -1, 0 or 1")
        if noise and (nonnegative or monotone):
            raise InputError(f"conservation: noise is {noise!r}, expected 0 with a shape (nonnegative, monotone)")
        sizes = np.linalg.norm(matrix, axis=1)
        rank = np.linalg.matrix_rank(matrix / np.where(sizes > 0, sizes, 1.0)[:, None]) if sizes.all() else 0
        if rank < len(matrix) and (noise == 0 or not sizes.all()):
            kind = "a row is zero" if not sizes.all() else f"only {rank} of {len(matrix)} are independent"
            raise InputError(f"rows: {kind}; state each invariant once, or give the masses a noise")
        if smoothness is not None and smoothness.rows.shape[1] != matrix.shape[1]:
            raise InputError(
                f"smoothness: is of {smoothness.rows.shape[1]} points, expected {matrix.shape[1]} as the rows have"
            )
        self.rows, self.noise, self.floor = torch.from_numpy(matrix), float(noise), float(floor)
        self.smoothness = smoothness
        sides = [np.eye(matrix.shape[1])] if nonnegative else []
        if monotone:
            sides.append(monotone * np.diff(np.eye(matrix.shape[1]), axis=0))
        self.sides = np.concatenate(sides) if sides else None

    def __call__(self, prior: Normal, mass: Float[Tensor, "*batch m"]) -> Normal:
        """N(μ̃, Σ̃).

        Args:
            prior: N(μ, Σ), (*batch, n).
            mass: b, (*batch, m); one value for one row.

        Raises:
            InputError: shapes that do not fit, masses that are not finite or that no values of the asked shape have.
        """
        mean, mass = self._checked(prior.mean, mass)
        if self.smoothness is not None:
            prior = self._smoothed(prior)
            mean = prior.mean
        posterior = self._conditioned(mean, prior, mass)
        if self.sides is None:
            return posterior
        mean = self._shaped(mean, prior, mass)
        return Normal(mean, posterior.diagonal, posterior.removed, posterior.matrix, self.floor)

    def hard(self, mean: Float[Tensor, "*batch n"], mass: Float[Tensor, "*batch m"]) -> Float[Tensor, "*batch n"]:
        """The mean alone, as if all values were equally uncertain: the orthogonal projection on the exact mass."""
        mean, mass = self._checked(mean, mass)
        return _exactly(mean, self.rows.to(mean.device).expand(*mean.shape[:-1], -1, -1), self.rows, mass)[0]

    def error(self, mean: Float[Tensor, "*batch n"], mass: Float[Tensor, "*batch m"]) -> Float[Tensor, "*batch m"]:
        """G μ − b, the conservation error, with its sign."""
        mean, mass = self._checked(mean, mass)
        return mean @ self.rows.to(mean.device).T - mass

    def log_likelihood(
        self, prior: Normal, mass: Float[Tensor, "*batch m"], truth: Float[Tensor, "*batch n"]
    ) -> Float[Tensor, "*batch"]:
        """log p(u | b) = log N(u; μ, Σ) + log N(b; G u, σ²) − log N(b; G μ, σ² I + G Σ Gᵀ), of all values together:
        what a model is trained with so that the update is part of it.

        Raises:
            InputError: a noise of 0, with which values that have the mass have no density among all.
        """
        if not self.noise:
            raise InputError("conservation: noise is 0, expected > 0: a density of values needs it")
        mean, mass = self._checked(prior.mean, mass)
        truth = truth.double()
        rows = self.rows.to(mean.device)
        spread = self._spread(prior)
        if prior.diagonal is not None and prior.removed is None:
            v = prior.diagonal.double().clamp(min=self.floor)
            own = -0.5 * ((truth - mean).square() / v + v.log() + math.log(2 * math.pi)).sum(-1)
        else:
            own = _log_normal(truth - mean, _floored(prior.covariance.double(), self.floor))
        left = truth @ rows.T - mass
        seen = -0.5 * ((left / self.noise).square() + math.log(2 * math.pi * self.noise**2)).sum(-1)
        return own + seen - _log_normal(mean @ rows.T - mass, self._total(spread @ rows.T))

    # -- parts ---------------------------------------------------------------------------------------------------

    def _checked(self, mean: Tensor, mass: Any) -> tuple[Tensor, Tensor]:
        m, n = self.rows.shape
        if mean.shape[-1:] != (n,):
            raise InputError(f"prior: the mean has shape {tuple(mean.shape)}, expected (*batch, {n}) as the rows have")
        mass = torch.as_tensor(mass, dtype=torch.float64, device=mean.device)
        if mass.ndim == 0 and m == 1:
            mass = mass[None]
        if mass.shape[-1:] != (m,):
            raise InputError(f"mass: has shape {tuple(mass.shape)}, expected (*batch, {m}), one for each row")
        try:
            mass = mass.expand(*mean.shape[:-1], m)
        except RuntimeError:
            raise InputError(f"mass: has shape {tuple(mass.shape)}, expected {(*mean.shape[:-1], m)}") from None
        if not bool(torch.isfinite(mass).all()):
            raise InputError("mass: holds values that are not finite")
        return mean.double(), mass

    def _spread(self, prior: Normal) -> Tensor:
        """G Σ, (*batch, m, n)."""
        rows = self.rows.to(prior.mean.device)
        if prior.diagonal is None or prior.removed is not None:
            return rows @ _floored(prior.covariance.double(), self.floor)
        return rows * prior.diagonal.double().clamp(min=self.floor)[..., None, :]

    def _total(self, matrix: Tensor) -> Tensor:
        return matrix + self.noise**2 * torch.eye(len(self.rows), dtype=torch.float64, device=matrix.device)

    def _conditioned(self, mean: Tensor, prior: Normal, mass: Tensor) -> Normal:
        spread, rows = self._spread(prior), self.rows.to(mean.device)
        if self.noise:
            factor = _factor(self._total(spread @ rows.T))
            gain = torch.cholesky_solve((mean @ rows.T - mass)[..., None], factor)
            mean = mean - (gain.mT @ spread)[..., 0, :]
        else:
            mean, factor = _exactly(mean, spread, rows, mass)
        removed = torch.linalg.solve_triangular(factor, spread, upper=False).mT
        if prior.diagonal is None or prior.removed is not None:
            matrix = _floored(prior.covariance.double(), self.floor) - removed @ removed.mT
            return Normal(mean, matrix=_settled(matrix), floor=self.floor)
        return Normal(mean, prior.diagonal.double().clamp(min=self.floor), removed, floor=self.floor)

    def _smoothed(self, prior: Normal) -> Normal:
        assert self.smoothness is not None
        rows, mean = self.smoothness.rows.to(prior.mean.device), prior.mean.double()
        covariance = _floored(prior.covariance.double(), self.floor)
        deviation = covariance.diagonal(dim1=-2, dim2=-1).sqrt()
        spread = rows @ covariance
        factor = _factor(spread @ rows.T + torch.diag_embed(self.smoothness.variance(deviation)))
        gain = torch.cholesky_solve((mean @ rows.T)[..., None], factor)
        removed = torch.linalg.solve_triangular(factor, spread, upper=False).mT
        return Normal(mean - (gain.mT @ spread)[..., 0, :], matrix=_settled(covariance - removed @ removed.mT))

    def _shaped(self, mean: Tensor, prior: Normal, mass: Tensor) -> Tensor:
        """The most probable values of the asked shape: conditioned on the invariants and on what binds."""
        assert self.sides is not None
        covariance, rows = _floored(prior.covariance.double(), self.floor), self.rows.to(mean.device)
        batch, n = mean.shape[:-1], mean.shape[-1]
        every = zip(mean.reshape(-1, n), covariance.expand(*batch, n, n).reshape(-1, n, n),
                    mass.reshape(-1, len(rows)), strict=True)  # fmt: skip
        found = []
        for one, sigma, total in every:
            bare = [t.detach().cpu().numpy() for t in (one, sigma, rows, total)]
            active = torch.from_numpy(self.sides[binding(bare[0], bare[1], bare[2], bare[3], self.sides)])
            active = active.to(mean.device)
            both = torch.cat([rows, active])
            totals = torch.cat([total, total.new_zeros(len(active))])
            found.append(_exactly(one, both @ sigma, both, totals)[0])
        return torch.stack(found).reshape(*batch, n)


def _exactly(mean: Tensor, spread: Tensor, rows: Tensor, mass: Tensor) -> tuple[Tensor, Tensor]:
    """μ − Σ Gᵀ (G Σ Gᵀ)⁻¹ (G μ − b) and the Cholesky factor of G Σ Gᵀ, with one step of refinement: what is left of the
    first correction by rounding is taken away too."""
    rows = rows.to(mean.device)
    factor = _factor(spread @ rows.T)
    for _ in range(2):
        gain = torch.cholesky_solve((mean @ rows.T - mass)[..., None], factor)
        mean = mean - (gain.mT @ spread)[..., 0, :]
    return mean, factor


def _factor(matrix: Tensor) -> Tensor:
    factor, failed = torch.linalg.cholesky_ex(matrix)
    if bool(failed.any()):
        raise InputError("prior: its covariance leaves an invariant no variance, or is not positive definite")
    return factor


def _floored(covariance: Tensor, floor: float) -> Tensor:
    return covariance + torch.diag_embed((floor - covariance.diagonal(dim1=-2, dim2=-1)).clamp(min=0.0))


def _settled(covariance: Tensor) -> Tensor:
    """Symmetric, and without variances that rounding has made negative."""
    even = (covariance + covariance.mT) / 2
    variance = even.diagonal(dim1=-2, dim2=-1)
    return even - torch.diag_embed(variance.clamp(max=0.0))


def _log_normal(left: Tensor, covariance: Tensor) -> Tensor:
    factor = _factor(covariance)
    white = torch.linalg.solve_triangular(factor, left[..., None], upper=False)[..., 0]
    size = 2 * factor.diagonal(dim1=-2, dim2=-1).log().sum(-1) + left.shape[-1] * math.log(2 * math.pi)
    return -0.5 * (white.square().sum(-1) + size)
