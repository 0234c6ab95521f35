"""Levenberg and Marquardt's method."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sciml.errors import InputError
from sciml.implicit._check import DENSE
from sciml.implicit.torch._members import Rows, jacobian, largest, tolerance
from sciml.implicit.torch._newton import Newton

LEAST, MOST = 1e-12, 1e12  # of the damping; beyond, no step makes the sum of squares smaller


@dataclass(frozen=True)
class LevenbergMarquardt:
    """x ← x + δ, (JᵀJ + μ D) δ = −Jᵀr, D = diag JᵀJ, with μ made smaller after steps that pay and larger otherwise.

    A member is done where r = 0; where r is at right angles to the columns of J, the largest cosine being at most
    `gtol`; or where a step with μ ≤ 1 is at most atol + rtol ‖x‖ in the maximum norm. Newton's method on Jᵀr = 0 then
    refines it. J is written out: for up to
    `sciml.implicit.DENSE` unknowns.

    Args:
        rtol: relative to the solution; the rounding of the type to the power 3/4 by default.
        atol: in units of the solution; the same number by default.
        gtol: a cosine; 10 √rounding of the type by default.
        max_steps: after which it has failed.
        damping: the first μ.

    Source: D. W. Marquardt (1963), J. Soc. Ind. Appl. Math. 11, 431; J. J. Moré (1978), Lecture Notes in Math. 630.
    """

    rtol: float | None = None
    atol: float | None = None
    gtol: float | None = None
    max_steps: int = 200
    damping: float = 1e-3

    def solve(self, r: Rows, x: Tensor) -> tuple[Tensor, Tensor]:
        """The minima (B, n) of ½‖r‖² found from the rows of x, and (B,) whether each is one.

        Raises:
            InputError: more than `DENSE` unknowns.
        """
        if x.shape[1] > DENSE:
            raise InputError(f"guess: LevenbergMarquardt writes J out, for up to {DENSE} unknowns; got {x.shape[1]}")
        rounding = torch.finfo(x.dtype).eps
        gtol = 10 * rounding**0.5 if self.gtol is None else self.gtol
        residual, mu = r(x), torch.full_like(x[:, :1], self.damping)
        done = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        for _ in range(self.max_steps):
            j = jacobian(r, x)
            sizes = torch.linalg.vector_norm(j, dim=1)  # (B, n)
            norm = torch.linalg.vector_norm(residual, dim=-1, keepdim=True)
            slope = (residual[:, None] @ j)[:, 0]
            done = done | (slope.abs() <= gtol * sizes * norm).all(-1)
            going = ~done & torch.isfinite(residual).all(-1) & torch.isfinite(j).all(-1).all(-1) & (mu[:, 0] < MOST)
            if not bool(going.any()):
                break
            step = _step(j, residual, slope, sizes, mu)
            trial = torch.where(going[:, None], x + step, x)
            after = r(trial)
            foreseen = (norm**2 - ((residual + (j @ step[..., None])[..., 0]) ** 2).sum(-1, keepdim=True)) / norm**2
            gained = (norm**2 - (after**2).sum(-1, keepdim=True)) / norm**2
            pays = (gained > 1e-3 * foreseen)[:, 0] & going
            small = (largest(step) <= tolerance(x, self.rtol, self.atol)) & (mu[:, 0] <= 1)
            x, residual = torch.where(pays[:, None], trial, x), torch.where(pays[:, None], after, residual)
            done = done | (going & small)
            mu = torch.where(pays[:, None], (mu / 5).clamp_min(LEAST), 4 * mu)
        return _refined(r, x, residual, done), done


def _refined(r: Rows, x: Tensor, residual: Tensor, done: Tensor) -> Tensor:
    """x after Newton's method on Jᵀr = 0, where that keeps the sum of squares, which alone tells x to √rounding,
    and errors of derivatives are as large as those of x."""

    def slope(x: Tensor) -> Tensor:
        value, pull = torch.func.vjp(r, x)  # pyright: ignore[reportAssignmentType]
        return pull(value)[0]

    better, found = Newton(max_steps=10).solve(slope, x)
    before, after = (residual**2).sum(-1), (r(better) ** 2).sum(-1)
    kept = after <= before * (1 + 100 * torch.finfo(x.dtype).eps)
    return torch.where((done & found & kept)[:, None], better, x)


def _step(j: Tensor, residual: Tensor, slope: Tensor, sizes: Tensor, mu: Tensor) -> Tensor:
    """δ by QR of J over √μ diag ‖Jᵢ‖, which does not square the condition of J."""
    scale = torch.where(sizes == 0, 1.0, sizes)
    q, triangle = torch.linalg.qr(torch.cat([j, torch.diag_embed(mu.sqrt() * scale)], dim=1))
    right = -(q[:, : j.shape[1]].mT @ residual[..., None])
    step = torch.linalg.solve_triangular(triangle, right, upper=True)[..., 0]
    return torch.nan_to_num(step, nan=0.0)
