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

from sciml.constraints._rows import Rows

STEPS = 200
HALVINGS = 40
CONVERGED = 1e-12  # of the size of what is given
NEAR = 1e-6  # of the size of what is given, from where on
ROUGH = 0.1  # of the right side, what may be left of a first step's equations
UNBOUNDED = 1e12  # multipliers of this size belong to constraints that no point meets


class Active(NamedTuple):
    """What holds with equality: rows (batch, m), and bounds (batch, n) below and above; and the multipliers y."""

    rows: Tensor
    low: Tensor
    high: Tensor
    multipliers: Tensor


class Constraints(NamedTuple):
    """Rows M (m, n) of length one, r (batch, m), l and h (batch, n); the first `equations` rows are equations."""

    rows: Rows
    right: Tensor
    low: Tensor
    high: Tensor
    equations: int

    def signed(self, y: Tensor) -> Tensor:
        """Multipliers of inequalities made not negative."""
        k = self.equations
        return y if k == y.shape[1] else torch.cat([y[:, :k], y[:, k:].clamp(min=0)], dim=1)

    def point(self, z: Tensor, y: Tensor) -> Tensor:
        return torch.clamp(z - self.rows.back(y), self.low, self.high)

    def slope(self, x: Tensor) -> Tensor:
        """M x − r, which is ∇g at y where x is its point."""
        return self.rows.along(x) - self.right

    def active(self, z: Tensor, y: Tensor) -> Active:
        free = z - self.rows.back(y)
        low = free <= self.low
        rows = torch.ones_like(y, dtype=torch.bool)
        rows[:, self.equations :] = y[:, self.equations :] > 0
        return Active(rows, low, (free >= self.high) & ~low, y)

    def of(self, samples: Tensor) -> Constraints:
        return self._replace(right=self.right[samples], low=self.low[samples], high=self.high[samples])


class At(NamedTuple):
    """Multipliers, their point, and ∇g there, of samples that still step."""

    y: Tensor
    x: Tensor
    slope: Tensor


def by_newton(z: Tensor, c: Constraints) -> Active:
    """For any rows and bounds; where no point meets them the answer does not either. Samples leave when they are done;
    steps are solved for as exactly as the last one was useful."""
    all_z, all_c, y = z, c, torch.zeros_like(c.right)
    found = y.clone()
    samples = torch.arange(len(z), device=z.device)
    size = torch.stack([z.abs().amax(-1), c.right.abs().amax(-1)]).amax(0).clamp(min=1e-300)[:, None]
    x = c.point(z, y)
    at, last = At(y, x, c.slope(x)), torch.full_like(size, torch.inf)
    for _ in range(STEPS):
        left = _left(at.y, at.slope, c)
        going = ((left > CONVERGED * size) & (at.y.abs().amax(-1, keepdim=True) < UNBOUNDED * size))[:, 0]
        if not bool(going.all()):
            found[samples[~going]] = at.y[~going]
            samples, z, size, left, last = (t[going] for t in (samples, z, size, left, last))
            c, at = c.of(going), At(*(t[going] for t in at))
            if not len(samples):
                break
        goal = torch.maximum((left / last) ** 2, 0.1 * CONVERGED * size / left).clamp(max=ROUGH)
        at, last = _searched(z, at, _step(at, left, size, goal, c), left, size, c), left
    if len(samples):
        found[samples] = at.y
    return all_c.active(all_z, found)


def _step(at: At, left: Tensor, size: Tensor, goal: Tensor, c: Constraints) -> Tensor:
    # inequalities that are at zero and stay there
    held = torch.zeros_like(at.y, dtype=torch.bool)
    near = (left / 1e3).clamp(max=1e-6 * size)
    held[:, c.equations :] = ((at.y <= near) & (at.slope <= 0))[:, c.equations :]
    moving = (~held).to(at.y.dtype)
    # of singular ones the step is long along what has no curvature, which is where the dual rises without end
    more = (1e-6 * (left / size).clamp(max=1.0)).clamp(min=1e-14)
    free = (at.x > c.low) & (at.x < c.high)
    return c.rows.solved(free, moving, more, at.slope, goal) + at.slope * (1 - moving)


def _left(y: Tensor, slope: Tensor, c: Constraints) -> Tensor:
    """(batch, 1) how far y is from the maximum: |y − signed(y + ∇g)|."""
    return (y - c.signed(y + slope)).abs().amax(-1, keepdim=True)


def _searched(z: Tensor, at: At, step: Tensor, left: Tensor, size: Tensor, c: Constraints) -> At:
    """The longest of step, step/2, step/4, ... by which the dual rises; near the maximum one that halves the rest is
    good as well, as the dual has no digits left there."""

    def value(at: At) -> Tensor:
        return 0.5 * ((at.x - z) ** 2).sum(-1, keepdim=True) + (at.y * at.slope).sum(-1, keepdim=True)

    before, share = value(at), torch.ones_like(left)
    rounding = 1e-15 * (before.abs() + (at.y * c.right).abs().sum(-1, keepdim=True))
    new = at
    for _ in range(HALVINGS):
        y = c.signed(at.y + share * step)
        x = c.point(z, y)
        new = At(y, x, c.slope(x))
        along = (at.slope * (y - at.y)).sum(-1, keepdim=True)
        # not so far beyond the maximum along the step that it falls half as steeply there: steps to and fro otherwise
        rises = (value(new) >= before + 1e-4 * along - rounding) & (
            (new.slope * (y - at.y)).sum(-1, keepdim=True) >= -0.5 * along - rounding
        )
        nearer = (_left(y, new.slope, c) <= 0.5 * left) & (left <= NEAR * size)
        good = rises | nearer
        if bool(good.all()):
            break
        share = torch.where(good, share, share / 2)
    return new
