"""Which constraints of min ½‖x − z‖², M x = r, l ≤ x ≤ h hold with equality at the solution.

The rows of M come first as equations, then as inequalities M x ≤ r. With multipliers y of the rows, of inequalities not
negative, x = clamp(z − Mᵀ y, l, h), and the dual

    g(y) = ½‖x − z‖² + y·(M x − r),   ∇g = M x − r,   ∇²g = −M F Mᵀ,   F: where x is between its bounds,

is concave and piecewise quadratic. Newton's method on it ends after finitely many steps; all samples of a batch step
together, and bounds hold at every step.

Source: D. P. Bertsekas, SIAM J. Control Optim. 20, 221 (1982), on Newton steps that keep signs.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

STEPS = 200
HALVINGS = 40
CONVERGED = 1e-12  # of the size of what is given
NEAR = 1e-6  # of the size of what is given, from where on
UNBOUNDED = 1e12  # multipliers of this size belong to constraints that no point meets


class Active(NamedTuple):
    """What holds with equality: rows (batch, m), and bounds (batch, n) below and above."""

    rows: Tensor
    low: Tensor
    high: Tensor


class Constraints(NamedTuple):
    """M (m, n) with rows of length one, r (batch, m), l and h (batch, n); the first `equations` rows are equations."""

    matrix: Tensor
    right: Tensor
    low: Tensor
    high: Tensor
    equations: int

    def signed(self, y: Tensor) -> Tensor:
        """Multipliers of inequalities made not negative."""
        k = self.equations
        return torch.cat([y[:, :k], y[:, k:].clamp(min=0)], dim=1)

    def point(self, z: Tensor, y: Tensor) -> Tensor:
        return torch.clamp(z - y @ self.matrix, self.low, self.high)

    def curvature(self, between: Tensor) -> Tensor:
        """(batch, m, m) M F Mᵀ, F (batch, n) being where values are between their bounds; one matrix for all samples
        where none is at a bound."""
        if bool(between.all()):
            return (self.matrix @ self.matrix.T).expand(len(between), -1, -1)
        return (self.matrix * between.to(self.matrix.dtype)[:, None]) @ self.matrix.T

    def active(self, z: Tensor, y: Tensor) -> Active:
        free = z - y @ self.matrix
        low = free <= self.low
        rows = torch.ones_like(y, dtype=torch.bool)
        rows[:, self.equations :] = y[:, self.equations :] > 0
        return Active(rows, low, (free >= self.high) & ~low)


def by_newton(z: Tensor, c: Constraints) -> Active:
    """For any rows and bounds; where no point meets them the answer does not either."""
    size = torch.stack([z.abs().amax(-1), c.right.abs().amax(-1)]).amax(0).clamp(min=1e-300)[:, None]
    y = torch.zeros_like(c.right)
    x = c.point(z, y)
    for _ in range(STEPS):
        slope = x @ c.matrix.T - c.right
        left = _left(y, slope, c)
        going = (left > CONVERGED * size) & (y.abs().amax(-1, keepdim=True) < UNBOUNDED * size)
        if not bool(going.any()):
            break
        # inequalities that are at zero and stay there
        held = torch.zeros_like(y, dtype=torch.bool)
        near = (left / 1e3).clamp(max=1e-6 * size)
        held[:, c.equations :] = (y <= near)[:, c.equations :] & (slope <= 0)[:, c.equations :]
        curvature = c.curvature((x > c.low) & (x < c.high))
        moving = (~held).to(z.dtype)
        curvature = curvature * moving[:, :, None] * moving[:, None, :]
        # of singular ones the step is long along what has no curvature, which is where the dual rises without end
        more = (1e-6 * (left / size).clamp(max=1.0)).clamp(min=1e-14)
        curvature = curvature + torch.diag_embed(more * moving + (1 - moving))
        step = torch.linalg.solve(curvature, (slope * moving)[..., None])[..., 0] + slope * (1 - moving)
        y, x = _searched(z, y, x, step, slope, left, size, going, c)
    return c.active(z, y)


def _left(y: Tensor, slope: Tensor, c: Constraints) -> Tensor:
    """(batch, 1) how far y is from the maximum: |y − signed(y + ∇g)|."""
    return (y - c.signed(y + slope)).abs().amax(-1, keepdim=True)


def _searched(
    z: Tensor, y: Tensor, x: Tensor, step: Tensor, slope: Tensor, left: Tensor, size: Tensor, going: Tensor,
    c: Constraints,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The longest of step, step/2, step/4, ... by which the dual rises; near the maximum one that halves the rest is
    good as well, as the dual has no digits left there."""

    def value(x: Tensor, y: Tensor) -> Tensor:
        return 0.5 * ((x - z) ** 2).sum(-1, keepdim=True) + (y * (x @ c.matrix.T - c.right)).sum(-1, keepdim=True)

    before, share = value(x, y), torch.ones_like(left)
    rounding = 1e-15 * (before.abs() + (y * c.right).abs().sum(-1, keepdim=True))
    for _ in range(HALVINGS):
        new_y = c.signed(y + share * step)
        new_x = c.point(z, new_y)
        new_slope = new_x @ c.matrix.T - c.right
        along = (slope * (new_y - y)).sum(-1, keepdim=True)
        # not so far beyond the maximum along the step that it falls half as steeply there: steps to and fro otherwise
        rises = (value(new_x, new_y) >= before + 1e-4 * along - rounding) & (
            (new_slope * (new_y - y)).sum(-1, keepdim=True) >= -0.5 * along - rounding
        )
        nearer = (_left(new_y, new_slope, c) <= 0.5 * left) & (left <= NEAR * size)
        good = rises | nearer | ~going
        if bool(good.all()):
            break
        share = torch.where(good, share, share / 2)
    return torch.where(going, new_y, y), torch.where(going, new_x, x)


def by_root(z: Tensor, c: Constraints) -> Active:
    """For one equation: the root of a·clamp(z − λa, l, h) = b, which falls with λ and is straight between the values of
    λ at which a variable reaches a bound; these are sorted and halved."""
    a = c.matrix[0]
    some = a != 0
    turns = torch.cat([((z - e) / a)[:, some] for e in (c.low, c.high)], dim=1)
    turns = torch.where(turns.isnan(), torch.inf, turns).sort(dim=1).values
    first = torch.zeros(len(z), 1, dtype=torch.int64, device=z.device)
    last = torch.full_like(first, turns.shape[1])
    while bool((first < last).any()):  # the first turn at which a·x ≤ b
        middle = (first + last) // 2
        here = turns.gather(1, middle.clamp(max=turns.shape[1] - 1))
        beyond = torch.where(here.isfinite(), here, 0.0)
        under = (c.point(z, beyond) @ a)[:, None] <= c.right
        under = torch.where(here.isfinite(), under, here > 0)
        going = first < last
        last = torch.where(going & under, middle, last)
        first = torch.where(going & ~under, middle + 1, first)
    n = turns.shape[1]
    below = torch.where(first > 0, turns.gather(1, (first - 1).clamp(min=0)), -torch.inf)
    above = torch.where(first < n, turns.gather(1, first.clamp(max=n - 1)), torch.inf)
    low, high = below.isfinite(), above.isfinite()
    beside = torch.where(low, below + below.abs() + 1, torch.where(high, above - above.abs() - 1, 0.0))
    y = torch.where(low & high, (below + above) / 2, beside)
    return c.active(z, y)
