"""Ritz vectors of a system by the Lanczos process, and right-hand sides made of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg
from jaxtyping import Float

from sciml.solvers.linear._concrete import Concrete

NONE_LEFT = 1e-10  # of the largest Ritz value: what a next vector must at least have to be one
NEARLY_ZERO = 1e-8  # of the largest Ritz value: smaller ones are the null space


@dataclass(frozen=True)
class Ritz:
    """The Ritz pairs of a Krylov space, Ritz values that are nearly zero left out.

    Args:
        values: (m,) ascending.
        vectors: (m, n) orthonormal rows, over live unknowns.
        steps: of the Lanczos process: as many as were asked for, fewer where the space was exhausted.
    """

    values: Float[np.ndarray, " m"]
    vectors: Float[np.ndarray, "m n"]
    steps: int


def ritz(concrete: Concrete, steps: int, random: np.random.Generator) -> Ritz:
    """Those of the space of A·noise, A²·noise, ..., each new vector made orthogonal to all before it, twice."""
    matrix, n = concrete.matrix, concrete.size
    steps = min(steps, n)
    basis = np.zeros((steps, n))
    middle, side = np.zeros(steps), np.zeros(steps)
    vector = concrete.project(matrix @ random.standard_normal(n))
    vector /= np.linalg.norm(vector)
    done = 0
    while done < steps:
        basis[done] = vector
        image = matrix @ vector
        middle[done] = vector @ image
        known = basis[: done + 1]
        for _ in range(2):  # once leaves what cancellation left
            image -= (known @ image) @ known
        image = concrete.project(image)
        side[done] = np.linalg.norm(image)
        done += 1
        if side[done - 1] <= NONE_LEFT * max(middle[:done].max(), side[:done].max()):
            break
        vector = image / side[done - 1]
    values, turned = scipy.linalg.eigh_tridiagonal(middle[:done], side[: done - 1])
    kept = values > NEARLY_ZERO * values[-1]
    return Ritz(values[kept], turned.T[kept] @ basis[:done], done)


def coefficients(
    found: Ritz, count: int, random: np.random.Generator, weight: float = 9.0, share: float = 0.05
) -> Float[np.ndarray, "count m"]:
    """Of random right-hand sides over Ritz vectors: normal, `weight` times as large for the lowest (1/2 + share) of the
    steps, whose errors last; of norm 1, as their combinations then are."""
    drawn = random.standard_normal((count, len(found.values)))
    drawn[:, : found.steps // 2 + round(share * found.steps)] *= weight
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
