"""From errors of single rollouts to the figures of a row."""

from __future__ import annotations

import math
from typing import Any

import numpy as np


def figures(square: np.ndarray, absolute: np.ndarray, label: np.ndarray, scale: np.ndarray) -> dict[str, np.ndarray]:
    """Arrays (rollout, step, field), scale (rollout, field) -> figures over (step,)."""
    reached = np.asarray(np.isfinite(label).all(axis=-1))
    s = np.where(reached[..., None], square, 0.0)
    t = np.where(reached[..., None], label, 0.0)
    a = np.where(reached[..., None], absolute, 0.0)
    n = np.maximum(reached.sum(0), 1)
    pooled = ratio(s.sum((0, 2)), t.sum((0, 2)))
    frames = ratio(s.sum(2), t.sum(2))
    return {
        "nmse": pooled,
        "nmse_per_frame": np.where(reached, frames, 0.0).sum(0) / n,
        "relative_l2": np.sqrt(pooled),
        "mse": (s * scale[:, None] ** 2).mean(2).sum(0) / n,
        "mae": (a * scale[:, None]).mean(2).sum(0) / n,
    }


def every(squares: list[np.ndarray], labels: list[np.ndarray], cut: slice) -> dict[str, np.ndarray]:
    s = np.concatenate([x[:, cut].sum(1) for x in squares])
    t = np.concatenate([x[:, cut].sum(1) for x in labels])
    return {"nmse": ratio(s.sum(), t.sum()), "nmse_per_frame": ratio(s, t).mean()}


def ratio(a: Any, b: Any) -> np.ndarray:
    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    found = np.where(b > 0, a / np.where(b > 0, b, 1.0), np.where(a > 0, np.inf, a * 0.0))
    return np.asarray(np.where(np.isnan(b), np.nan, found))


def over(still: dict[str, Any], mine: dict[str, Any], subset: str) -> dict[str, float]:
    found = {}
    for f in mine[subset]:
        for k in ("nmse", "nmse_per_frame"):
            found[f if k == "nmse" else f"{f} per frame"] = float(
                ratio(still[subset][f][k]["mean"], mine[subset][f][k]["mean"])
            )
    return found


def over_runs(values: list[Any]) -> dict[str, Any]:
    """Mean and standard deviation over runs, as plain numbers or lists."""
    stack = np.stack([np.asarray(v, dtype=float) for v in values])
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
