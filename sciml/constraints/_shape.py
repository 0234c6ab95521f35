"""The most probable values under linear equations and inequalities: which of the inequalities bind."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.linalg import null_space, qr
from scipy.optimize import nnls

from sciml.errors import InputError


def binding(
    mean: Float[np.ndarray, " n"],
    covariance: Float[np.ndarray, "n n"],
    rows: Float[np.ndarray, "m n"],
    totals: Float[np.ndarray, " m"],
    sides: Float[np.ndarray, "k n"],
) -> np.ndarray:
    """The numbers of the inequalities that hold with equality at

        argmin (u − μ)ᵀ Σ⁻¹ (u − μ)   where G u = b and C u ≥ 0.

    Whitened by the Cholesky factor of Σ and put on the null space of G it is the problem of the least distance, which
    is one of least squares with non-negative unknowns, the multipliers: where they are positive the inequality binds.

    Raises:
        InputError: no values obey all of them.

    Source: C. L. Lawson, R. J. Hanson, Solving Least Squares Problems (1974), chapter 23.
    """
    factor = np.linalg.cholesky(covariance)
    whitened = rows @ factor  # u = μ + L z
    particular = np.linalg.lstsq(whitened, totals - rows @ mean, rcond=None)[0]
    free = null_space(whitened)
    start = mean + factor @ particular
    # N y with |y| the distance beyond the particular solution, which is orthogonal to it
    matrix, bound = sides @ factor @ free, -(sides @ start)
    sizes = np.linalg.norm(matrix, axis=1)
    scale = np.where(sizes > 1e-14 * max(sizes.max(initial=0.0), 1e-300), sizes, 1.0)
    matrix, bound = matrix / scale[:, None], bound / scale
    if (bound <= 0).all():
        return np.zeros(0, dtype=int)
    reach = np.abs(bound).max()
    system = np.concatenate([matrix.T, bound[None] / reach])
    wanted = np.zeros(len(system))
    wanted[-1] = 1.0
    multipliers, left = nnls(system, wanted, maxiter=30 * len(bound))
    if left < 1e-10:
        raise InputError("mass: no values of the asked shape have it (all not negative, or monotone)")
    found = np.flatnonzero(multipliers > 1e-12 * multipliers.max())
    parts: Any = qr(matrix[found].T, mode="economic", pivoting=True)
    _, triangle, order = parts
    sizes = np.abs(np.diagonal(triangle))
    return found[np.sort(order[: int((sizes > 1e-10 * sizes[0]).sum())])]  # those that say something of their own
