"""Newton's method with halved steps."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sciml.implicit._check import DENSE
from sciml.implicit.torch._krylov import gmres
from sciml.implicit.torch._members import Rows, jacobian, largest, tolerance

HALVINGS = 20


@dataclass(frozen=True)
class Newton:
    """x ← x − t J(x)⁻¹ f(x), with t = 1, or halved until ‖f‖ falls.

    A member is done where a full step is at most atol + rtol ‖x‖ in the maximum norm, or at most √rounding ‖x‖ where
    no part of it makes ‖f‖ smaller. Up to `sciml.implicit.DENSE` unknowns by LU of J, beyond by GMRES on products with
    J, for which f needs forward-mode derivatives.

    Args:
        rtol: relative to the solution; the rounding of the type to the power 3/4 by default.
        atol: in units of the solution; the same number by default.
        max_steps: after which it has failed.
    """

    rtol: float | None = None
    atol: float | None = None
    max_steps: int = 50

    def solve(self, f: Rows, x: Tensor) -> tuple[Tensor, Tensor]:
        """The solutions (B, n) found from the rows of x, and (B,) whether each is one; members done stand still."""
        value = f(x)
        done = largest(value) == 0
        stuck = ~torch.isfinite(value).all(-1)
        for _ in range(self.max_steps):
            if bool((done | stuck).all()):
                break
            step = _step(f, x, value)
            finite = torch.isfinite(step).all(-1)
            stuck = stuck | ~(finite | done)
            going = ~(done | stuck)
            small = going & (largest(step) <= tolerance(x, self.rtol, self.atol))
            x, done = torch.where(small[:, None], x + step, x), done | small
            x, value, moved = _search(f, x, value, step, going & ~small)
            still = going & ~small & ~moved
            floor = largest(step) <= torch.finfo(x.dtype).eps ** 0.5 * largest(x)
            done, stuck = done | (still & floor) | (moved & (largest(value) == 0)), stuck | (still & ~floor)
        return x, done


def _step(f: Rows, x: Tensor, value: Tensor) -> Tensor:
    if x.shape[1] <= DENSE:
        step, failed = torch.linalg.solve_ex(jacobian(f, x), -value)
        return torch.where((failed != 0)[:, None], torch.nan, step)
    return gmres(lambda v: torch.func.jvp(f, (x,), (v,))[1], -value, torch.finfo(x.dtype).eps ** 0.5)


def _search(f: Rows, x: Tensor, value: Tensor, step: Tensor, open_: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """x and f(x) after the longest of the halved steps that makes ‖f‖ smaller, and (B,) where there was one."""
    start, norm, moved, share = x, torch.linalg.vector_norm(value, dim=-1), torch.zeros_like(open_), 1.0
    for _ in range(HALVINGS):
        if not bool((open_ & ~moved).any()):
            break
        trial = torch.where((open_ & ~moved)[:, None], start + share * step, x)
        after = f(trial)
        take = open_ & ~moved & (torch.linalg.vector_norm(after, dim=-1) < norm)  # not where NaN
        x, value = torch.where(take[:, None], trial, x), torch.where(take[:, None], after, value)
        moved, share = moved | take, share / 2
    return x, value, moved
