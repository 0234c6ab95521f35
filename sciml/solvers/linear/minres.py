"""Minimal residuals, for symmetric matrices that are not definite."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse.linalg

from sciml.errors import InputError
from sciml.solvers.linear._preconditioner import Preconditioner
from sciml.solvers.linear._scipy_solver import Record, SciPySolver
from sciml.solvers.linear._system import LinearSystem


class _Reached(Exception):
    """The residual is within the tolerance."""


class MINRES(SciPySolver):
    """min ‖b − A x‖ over Krylov spaces of a real symmetric A, definite or not (SciPy's implementation).

    SciPy's own rule compares with ‖A‖ ‖x‖; here the residual is computed after each iteration, for one more product
    with A, and the iteration ends where that is within the tolerance.

    Args:
        preconditioner: z ≈ A⁻¹ r, linear, symmetric and positive; None for z = r.
        tolerance: of ‖b − A x‖ over ‖b‖.
        max_iterations: beyond, the solve is not converged; None for ten for each unknown, 20 000 at most.

    Raises:
        InputError: settings out of range; on `prepare` a matrix that is not real and symmetric, or that takes constants
            to zero and has no `null_space`.

    Source: C. C. Paige, M. A. Saunders, SIAM J. Numer. Anal. 12, 617 (1975).
    """

    name = "minres"

    def __init__(self, preconditioner: Preconditioner | None = None, tolerance: float = 1e-8,
        max_iterations: int | None = None,
    ):  # fmt: skip
        super().__init__(preconditioner, tolerance, max_iterations)

    def supports(self, system: LinearSystem) -> bool:
        return system.symmetric and super().supports(system)

    def iterate(
        self, matrix: Any, b: np.ndarray, x0: np.ndarray, preconditioner: Any, limit: int, record: Record
    ) -> np.ndarray:
        if np.iscomplexobj(b):
            raise InputError(f"{self.name}: expected a real matrix, got a complex one: use GMRES() or SparseDirect()")
        size = float(np.linalg.norm(b))
        best = x0

        def after(x: np.ndarray) -> None:
            nonlocal best
            best = x.copy()
            record.history.append(float(np.linalg.norm(b - matrix.matvec(x))) / size)
            if record.history[-1] <= self.tolerance:
                raise _Reached

        try:
            scipy.sparse.linalg.minres(
                matrix, b, x0.copy(), rtol=1e-15, maxiter=limit, M=preconditioner, callback=after
            )
        except _Reached:
            pass
        except ValueError as error:  # SciPy's word for a preconditioner that it finds to be indefinite
            raise InputError(f"{self.name}: the preconditioner cannot be used: {error}") from None
        return best
