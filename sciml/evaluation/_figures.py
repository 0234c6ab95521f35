"""From errors of single rollouts to the figures of a row: `Sums` are pooled, and divided at the end."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from sciml.metrics import Sums
from sciml.metrics._array import ratio


@dataclass(frozen=True, eq=False)
class Errors:
    """Mean squares over the support, NaN where a rollout does not get to.

    Args:
        square, absolute: (rollout, step, field) of the error, in the problem's scales.
        label: (rollout, step, field) of the truth.
        scale: (rollout, field).
    """

    square: np.ndarray
    absolute: np.ndarray
    label: np.ndarray
    scale: np.ndarray

    def __getitem__(self, rows: Any) -> Errors:
        return Errors(self.square[rows], self.absolute[rows], self.label[rows], self.scale[rows])

    def field(self, cut: slice) -> Errors:
        return Errors(self.square[..., cut], self.absolute[..., cut], self.label[..., cut], self.scale[..., cut])

    def figures(self) -> dict[str, np.ndarray]:
        """Arrays over (step,); NaN where no rollout gets to."""
        there = np.isfinite(self.label)
        parts = [np.where(there, values, 0.0) for values in (self.square, self.absolute, self.label)]
        # of a step that no rollout gets to the count is made one: there is nothing to divide
        reached = np.asarray(there.any(axis=(0, 2)))
        sums = Sums(parts[0], parts[1], parts[2], np.where(reached[:, None], there, True).astype(float))
        factor = self.scale[:, None]
        physical = Sums(sums.error * factor**2, sums.absolute * factor, sums.label * factor**2, sums.count)
        joint, whole = sums.pool((0, 2)), physical.pool((0, 2))
        arrives = there.all(axis=2)
        each = sums.pool(2)
        frames = Sums(each.error, each.absolute, each.label, np.where(arrives, each.count, 1.0)).nmse
        found = {
            "nmse": joint.nmse,
            "nmse_per_frame": np.where(arrives, frames, 0.0).sum(0) / np.maximum(arrives.sum(0), 1),
            "relative_l2": joint.relative_l2,
            "mse": whole.mse,
            "mae": whole.mae,
        }
        return {name: np.where(reached, values, np.nan) for name, values in found.items()}


def every(found: list[tuple[np.ndarray, np.ndarray]], cut: slice) -> dict[str, np.ndarray]:
    """One-step figures from (square, label) of each case, both (frame, field)."""
    s, t = (np.concatenate([pair[k][:, cut] for pair in found]) for k in (0, 1))
    if not len(s):
        return {"nmse": np.array(np.nan), "nmse_per_frame": np.array(np.nan)}
    sums = Sums(s, np.zeros_like(s), t, np.ones_like(s))
    return {"nmse": np.asarray(sums.pool().nmse), "nmse_per_frame": np.asarray(np.mean(sums.pool(1).nmse))}


def over(still: dict[str, Any], mine: dict[str, Any], subset: str) -> dict[str, float]:
    """How many times lower a row's figures are than those of the reference."""
    found = {}
    for f in mine[subset]:
        for k in ("nmse", "nmse_per_frame"):
            a, b = (np.asarray(row[subset][f][k]["mean"], dtype=float) for row in (still, mine))
            found[f if k == "nmse" else f"{f} per frame"] = float(ratio(np, a, b))
    return found


def over_runs(values: list[Any]) -> dict[str, Any]:
    """Mean and standard deviation over runs, as plain numbers or lists."""
    stack = np.stack([np.asarray(v, dtype=float) for v in values])
    with np.errstate(invalid="ignore"):  # ∞ − ∞ of a row that has diverged
        return {"mean": stack.mean(0).tolist(), "std": stack.std(0).tolist()}


def over_rollouts(values: np.ndarray) -> np.ndarray:
    """(rollout, step) -> (step,), over rollouts that reach the step; NaN where none does."""
    there = np.isfinite(values)
    return np.where(there, values, 0.0).sum(0) / np.where(there.any(0), there.sum(0), np.nan)


def times_until(values: list[np.ndarray]) -> dict[str, float]:
    """Median over rollouts (∞ where more than half never lost it), and the share that never did."""
    every = np.concatenate(values)
    every = every[~np.isnan(every)]
    if not every.size:
        return {"median": math.nan, "never": math.nan}
    middle = np.sort(every)[(every.size - 1) // 2]
    return {"median": float(middle), "never": float(np.isinf(every).mean())}
