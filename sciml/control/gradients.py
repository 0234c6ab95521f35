"""The gradient of a goal with respect to the numbers that make a case.

J depends on u through a few arrays a(u) that a solver computes from, dJ/du_k = Σ ∂J/∂a · ∂a/∂u_k. The first factor is
the solver's, exact, in one pass back through the flow. The second is of arithmetic that takes no time, and is
differenced (central, in float64; exact where u enters linearly): no flow is computed for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sciml.control.task import Task
from sciml.errors import InputError, SolverError, is_number
from sciml.solver import Differentiable

if TYPE_CHECKING:
    from jaxtyping import Float

STEP = 1e-5  # of the span between the bounds, of differences of a(u)


def value(task: Task, through: Differentiable, u: Float[np.ndarray, " number"]) -> float:
    """J(u); infinite where the solver fails."""
    case = task.made(u)
    found = through.value(case, task.times, task.goal, through.setup(case))
    return float(found) + task.penalty(u)[0] if np.isfinite(found) else np.inf


def value_and_gradient(
    task: Task, through: Differentiable, u: Float[np.ndarray, " number"]
) -> tuple[float, Float[np.ndarray, " number"]]:
    """J(u) and dJ/du (K,); both not finite where the solver fails."""
    case = task.made(u)
    setup = through.setup(case)
    found, slopes = through.value_and_gradient(case, task.times, task.goal, setup)
    penalty, gradient = task.penalty(u)
    gradient = gradient.copy()
    for k in range(u.size):
        step = STEP * (task.upper[k] - task.lower[k])
        up, down = min(u[k] + step, task.upper[k]), max(u[k] - step, task.lower[k])
        ends = [through.setup(task.made(np.where(np.arange(u.size) == k, end, u))) for end in (up, down)]
        for name, slope in slopes.items():
            a, b = (np.asarray(end[name], dtype=np.float64) for end in ends)
            if a.shape != b.shape or a.shape != np.shape(slope):
                raise InputError(
                    f"case: entry {k} of u changes how many numbers {name!r} are, from {a.shape} to {b.shape}; "
                    "expected u to change values alone"
                )
            gradient[k] += float(np.sum(slope * (a - b))) / (up - down)
    return float(found) + penalty, gradient


@dataclass(frozen=True, eq=False)
class Compared:
    """A gradient beside differences.

    Args:
        gradient: (K,) the solver's.
        differences: (K,) central differences of J.
    """

    gradient: Float[np.ndarray, " number"]
    differences: Float[np.ndarray, " number"]

    @property
    def cosine(self) -> float:
        """Of the angle between the two; NaN where one is 0."""
        lengths = np.linalg.norm(self.gradient) * np.linalg.norm(self.differences)
        return float(self.gradient @ self.differences / lengths) if lengths > 0 else float("nan")

    @property
    def relative_error(self) -> float:
        """|gradient − differences| / |differences|."""
        size = float(np.linalg.norm(self.differences))
        return float(np.linalg.norm(self.gradient - self.differences)) / size if size > 0 else float("nan")


def compare_gradient(
    task: Task, through: Differentiable, at: Float[np.ndarray, " number"] | None = None, step: float = 1e-4
) -> Compared:
    """The gradient at u beside central differences of J, 2 K flows.

    Args:
        at: (K,) u; the start by default.
        step: of the differences, as a share of the span between the bounds.

    Raises:
        InputError: another shape of u, values that are not finite, or no step.
        SolverError: the solver failed beside u.
    """
    u = np.asarray(task.start if at is None else at, dtype=np.float64)
    if u.shape != task.start.shape:
        raise InputError(f"at: expected shape {task.start.shape}, got {u.shape}")
    if not np.isfinite(u).all():
        raise InputError(f"at: expected finite numbers, got {u}")
    if not is_number(step) or not step > 0:
        raise InputError(f"step: expected a number > 0, got {step!r:.40}")
    _, gradient = value_and_gradient(task, through, u)
    found = np.zeros(u.size)
    for k, span in enumerate(task.upper - task.lower):
        shift = np.where(np.arange(u.size) == k, step * span, 0.0)
        found[k] = (value(task, through, u + shift) - value(task, through, u - shift)) / (2 * step * span)
    if not (np.isfinite(gradient).all() and np.isfinite(found).all()):
        raise SolverError(f"compare_gradient: {through.name} failed at u = {u} or beside it; solve its case to see why")
    return Compared(gradient, found)
