"""Sparse factorisation, kept from one right-hand side to the next."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.linalg
import scipy.sparse
from scipy.sparse.linalg import splu

from sciml.errors import InputError, SolverError
from sciml.solvers._newton import check_factor, cholesky
from sciml.solvers.linear._before import check_regular, in_range
from sciml.solvers.linear._concrete import Concrete
from sciml.solvers.linear._hosted import Answer, HostedSolver
from sciml.solvers.linear._solver import Info
from sciml.solvers.linear._system import LinearSystem

REFINED = 1e-13  # ‖b − A x‖ over ‖b‖, above which one more correction is made
PIVOT = 1e-14  # of the largest entry of its column, below which a pivot is rounding alone


class SparseDirect(HostedSolver):
    """x = A⁻¹ b by a sparse factorisation, with one correction where rounding is felt; real or complex A of any kind.

    Of a singular system whose null space is known as many unknowns are set to zero as it has dimensions, and their
    equations, which then hold of themselves, are left out; the part of x in the null space is taken off.

    Args:
        factor: "lu" (SuperLU) or "cholesky" (CHOLMOD, for real positive matrices; needs cholespy).

    Raises:
        InputError: another factor, or none of cholespy; on `prepare` a matrix that takes constants to zero and has no
            `null_space`, or a singular one that is not symmetric.
        SolverError: on `prepare`, a matrix that is singular to rounding.

    Source: X. S. Li, ACM Trans. Math. Softw. 31, 302 (2005); Y. Chen et al., ACM Trans. Math. Softw. 35, 22 (2008).
    """

    name = "sparse_direct"

    def __init__(self, factor: str = "lu"):
        check_factor(self.name, factor)
        self.factor_name = factor

    @property
    def iterative(self) -> bool:
        return False

    def supports(self, system: LinearSystem) -> bool:
        return system.symmetric or (self.factor_name == "lu" and system.null_space() is None)

    def refusal(self, system: LinearSystem) -> str:
        if self.factor_name != "lu":
            return "expected a symmetric matrix for factor 'cholesky': use factor 'lu'"
        return "expected a symmetric matrix where there is a null space: use GMRES()"

    def set_up(self, concrete: Concrete) -> tuple[Answer, int | None]:
        check_regular(self.name, concrete)
        matrix, project, n = concrete.matrix, concrete.project, concrete.size
        if concrete.null is None:
            rest, kept = matrix, np.arange(n)
        else:
            order: Any = scipy.linalg.qr(concrete.null.conj().T, mode="r", pivoting=True)[-1]
            kept = np.sort(order[concrete.null.shape[1] :])
            rest = matrix[kept][:, kept]
        solve, size = self._factorise(rest, concrete.system.symmetric) if len(kept) else (np.zeros_like, 0)

        def once(b: np.ndarray) -> np.ndarray:
            x = np.zeros_like(b)
            x[kept] = solve(b[kept])
            return project(x)

        def answer(b: np.ndarray, guess: np.ndarray | None) -> tuple[np.ndarray, Info]:
            b, norm = in_range(concrete, b)
            if norm == 0:
                return np.zeros_like(b), Info(0, 0.0, True)
            x = once(b)
            r = project(b - matrix @ x)
            if np.linalg.norm(r) > REFINED * norm:
                better = x + once(r)
                left = project(b - matrix @ better)
                if np.linalg.norm(left) < np.linalg.norm(r):
                    x, r = better, left
            return x, Info(0, float(np.linalg.norm(r)) / norm, bool(np.isfinite(x).all()))

        return answer, size

    def _factorise(self, matrix: Any, symmetric: bool) -> tuple[Callable[[np.ndarray], np.ndarray], int | None]:
        if self.factor_name == "cholesky":
            if matrix.dtype.kind == "c":
                raise InputError(f"{self.name}: factor 'cholesky' expects a real matrix: use factor 'lu'")
            return cholesky(matrix), None
        matrix = scipy.sparse.csc_array(matrix)
        # pivots on the diagonal keep the fill of a symmetric matrix small
        options: dict[str, Any] = {"permc_spec": "MMD_AT_PLUS_A", "diag_pivot_thresh": 0.01} if symmetric else {}
        message = f"{self.name}: the matrix is singular to rounding: pass null_space= to MatrixSystem"
        try:
            factors = splu(matrix, options={"SymmetricMode": True} if symmetric else {}, **options)
        except RuntimeError:
            raise SolverError(message) from None
        largest = np.maximum(abs(matrix).max(axis=0).toarray().ravel(), 1e-300)
        if (np.abs(factors.U.diagonal()) <= PIVOT * largest[np.argsort(factors.perm_c)]).any():
            raise SolverError(message)
        return factors.solve, (4 + matrix.dtype.itemsize) * factors.nnz

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SparseDirect) and self.factor_name == other.factor_name

    def __hash__(self) -> int:
        return hash((self.name, self.factor_name))
