"""Multipliers of rows no two of which hold the same value: of each row a root of its own,

    Σⱼ aⱼ clamp(zⱼ − y aⱼ, lⱼ, hⱼ) = r,    the left side being piecewise linear in y and never rising,

by Newton's steps between the nearest y known on either side, halving where these do not help; all rows together. An
inequality has y = 0 where the left side is below r there.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sciml.constraints._active import CONVERGED, STEPS, UNBOUNDED, Active, Constraints


def by_rows(z: Tensor, c: Constraints) -> Active:
    """Where no point meets a row its multiplier grows until it is given up."""
    size = torch.stack([z.abs().amax(-1), c.right.abs().amax(-1)]).amax(0).clamp(min=1e-300)[:, None]
    y = torch.zeros_like(c.right)
    below, above = torch.full_like(y, -torch.inf), torch.full_like(y, torch.inf)
    below[:, c.equations :] = 0.0
    before = torch.full_like(y, torch.inf)
    for _ in range(STEPS):
        x = c.point(z, y)
        slope = c.slope(x)
        going = ((y - c.signed(y + slope)).abs() > CONVERGED * size) & (y.abs() < UNBOUNDED * size)
        if not bool(going.any()):
            break
        below, above = torch.where(slope > 0, y, below), torch.where(slope < 0, y, above)
        bend = c.rows.diagonal((x > c.low) & (x < c.high))
        step = y + slope / bend  # infinite where the row is flat
        middle = (below + above) / 2
        far = y + slope.sign() * 2 * torch.maximum(y.abs(), size)
        between = torch.where(middle.isfinite(), middle, far)
        helps = step.isfinite() & (step >= below) & (step <= above) & (slope.abs() <= 0.5 * before)
        y, before = torch.where(going, torch.where(helps, step, between), y), slope.abs()
    return c.active(z, y)
