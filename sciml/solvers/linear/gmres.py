"""Generalised minimal residuals, for matrices of any kind."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse.linalg

from sciml.solvers.linear._preconditioner import Preconditioner
from sciml.solvers.linear._scipy_solver import Record, SciPySolver
from sciml.solvers.linear._settings import check_counts


class GMRES(SciPySolver):
    """min ‖b − A x‖ over Krylov spaces of any A, real or complex (SciPy's implementation).

    `Info.history` holds what the recursion estimates, of the preconditioned residual; its last entry and
    `Info.residual` are those of x itself.

    Args:
        preconditioner: z ≈ A⁻¹ r, linear; None for z = r.
        tolerance: of ‖b − A x‖ over ‖b‖.
        max_iterations: beyond, the solve is not converged; None for ten for each unknown, 20 000 at most.
        restart: iterations after which the basis is thrown away; memory is so many vectors.

    Raises:
        InputError: settings out of range; on `prepare` a matrix that takes constants to zero and has no `null_space`.

    Source: Y. Saad, M. H. Schultz, SIAM J. Sci. Stat. Comput. 7, 856 (1986).
    """

    name = "gmres"

    def __init__(self, preconditioner: Preconditioner | None = None, tolerance: float = 1e-8,
        max_iterations: int | None = None, restart: int = 50,
    ):  # fmt: skip
        super().__init__(preconditioner, tolerance, max_iterations)
        check_counts(self.name, restart=restart)
        self.restart = int(restart)

    def iterate(
        self, matrix: Any, b: np.ndarray, x0: np.ndarray, preconditioner: Any, limit: int, record: Record
    ) -> np.ndarray:
        restart = min(self.restart, len(b), limit)
        x, _ = scipy.sparse.linalg.gmres(
            matrix, b, x0, rtol=self.tolerance, restart=restart, maxiter=max(limit // restart, 1), M=preconditioner,
            callback=lambda r: record.history.append(float(r)), callback_type="pr_norm",
        )  # fmt: skip
        return x
