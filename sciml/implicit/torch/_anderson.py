"""Anderson's acceleration of fixed-point iterations."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from sciml.implicit.torch._members import Rows, largest, tolerance


@dataclass(frozen=True)
class Anderson:
    """x ← g(x) − Σ γᵢ Δgᵢ, with γ = argmin ‖r − Σ γᵢ Δrᵢ‖, r = g(x) − x, over the last `memory` differences.

    With memory 0 it is Picard's iteration x ← x + damping r. A member is done where ‖r‖ ≤ atol + rtol ‖x‖ in the
    maximum norm.

    Args:
        rtol: relative to the solution; the rounding of the type to the power 3/4 by default.
        atol: in units of the solution; the same number by default.
        max_steps: after which it has failed.
        memory: differences kept.
        damping: share of r that is taken.

    Source: D. G. Anderson (1965), J. ACM 12, 547; H. F. Walker, P. Ni (2011), SIAM J. Numer. Anal. 49, 1715.
    """

    rtol: float | None = None
    atol: float | None = None
    max_steps: int = 500
    memory: int = 5
    damping: float = 1.0

    def solve(self, f: Rows, x: Tensor) -> tuple[Tensor, Tensor]:
        """The solutions (B, n) of f(x) = g(x) − x = 0 found from the rows of x, and (B,) whether each is one."""
        past: list[tuple[Tensor, Tensor]] = []
        done = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        for _ in range(self.max_steps):
            residual = f(x)
            done = done | (largest(residual) <= tolerance(x, self.rtol, self.atol))
            going = ~done & torch.isfinite(residual).all(-1)
            if not bool(going.any()):
                break
            past = [*past, (x, residual)][-self.memory - 1 :]
            x = torch.where(going[:, None], x + self._step(past), x)
        return x, done

    def _step(self, past: list[tuple[Tensor, Tensor]]) -> Tensor:
        residual = past[-1][1]
        step = self.damping * residual
        if len(past) == 1:
            return step
        moves = torch.stack([b[0] - a[0] for a, b in pairwise(past)], -1)
        changes = torch.stack([b[1] - a[1] for a, b in pairwise(past)], -1)
        sizes = torch.linalg.vector_norm(changes, dim=1, keepdim=True).clamp_min(torch.finfo(residual.dtype).tiny)
        moves, changes = moves / sizes, changes / sizes
        normal = changes.mT @ changes
        ridge = (
            10 * torch.finfo(residual.dtype).eps * torch.eye(normal.shape[1], dtype=normal.dtype, device=normal.device)
        )
        weights = torch.linalg.solve_ex(normal + ridge, changes.mT @ residual[:, :, None])[0]
        faster = step - ((moves + self.damping * changes) @ weights)[..., 0]
        return torch.where(torch.isfinite(faster).all(-1, keepdim=True), faster, step)
