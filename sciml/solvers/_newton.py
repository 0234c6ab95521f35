"""Newton's method with sparse direct factors.

    R(u) = 0,    u ← u − λ R'(u)⁻¹ R(u),

λ = 1 unless the residual grew, then halved. A factorisation is kept where the matrix is known to stay, and then one
step is all.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.sparse.linalg import splu

from sciml.errors import InputError, SolverError

FACTORS = ("lu", "cholesky")
STEPS, HALVINGS = 40, 10
SMALL, STALLED = 1e-12, 1e-8  # relative changes: done; done if it becomes no less
PIVOT = 1e-12  # of the largest entry of its column, below which a pivot is rounding alone


def check_factor(name: str, factor: str) -> None:
    """Refuse a factorisation that there is not.

    Raises:
        InputError: an unknown name, or "cholesky" without the package that it needs.
    """
    if factor not in FACTORS:
        raise InputError(f"{name}: factor is {factor!r}, expected one of {', '.join(FACTORS)}")
    if factor == "cholesky":
        try:
            importlib.import_module("cholespy")
        except ImportError:
            raise InputError(
                f"{name}: factor 'cholesky' needs the package cholespy; install sciml[cholesky], or use 'lu'"
            ) from None


def lu(matrix: Any) -> Callable[[np.ndarray], np.ndarray]:
    """A solver by SuperLU.

    Raises:
        SolverError: a singular matrix.
    """
    try:
        factors = splu(matrix)
    except RuntimeError:
        raise SolverError("the linear system is singular") from None
    largest = np.maximum(abs(matrix).max(axis=0).toarray().ravel(), 1e-300)
    pivots = np.abs(factors.U.diagonal())
    if (pivots <= PIVOT * largest[np.argsort(factors.perm_c)]).any():
        raise SolverError("the linear system is singular")
    return factors.solve


def cholesky(matrix: Any) -> Callable[[np.ndarray], np.ndarray]:
    """A solver by CHOLMOD.

    Raises:
        SolverError: a matrix that is not symmetric, or not positive.
    """
    cholespy: Any = importlib.import_module("cholespy")
    entries = matrix.tocoo()
    if abs(matrix - matrix.T).max() > 1e-10 * abs(matrix).max():
        raise SolverError("the matrix is not symmetric, which factor 'cholesky' needs; use factor 'lu'")
    message = "the matrix is singular, or not positive, which factor 'cholesky' needs; use factor 'lu'"
    if (matrix.diagonal() <= 0).any():
        raise SolverError(message)
    try:
        factors = cholespy.CholeskySolverD(
            matrix.shape[0], entries.row.astype(np.int32), entries.col.astype(np.int32),
            entries.data.astype(np.float64), cholespy.MatrixType.COO,
        )  # fmt: skip
    except ValueError:
        raise SolverError(message) from None

    def solve(right: np.ndarray) -> np.ndarray:
        found = np.zeros(np.shape(right))
        factors.solve(np.ascontiguousarray(right, dtype=np.float64), found)
        return found

    return solve


class Newton:
    """Roots of mass · storage + factor · A = known for a `System`.

    Args:
        system: see `sciml.solvers._weak_form`.
        factor: "lu" or "cholesky".
        scales: (F,) sizes of the fields, below which a change of 10⁻¹² of them is none.
    """

    def __init__(self, system: Any, factor: str, scales: np.ndarray):
        self.system, self.scales = system, scales
        self.factorise = lu if factor == "lu" else cholesky
        self.key: Any = None
        self.solve: Any = None
        self.factorisations = 0
        self.changes: list[float] = []  # relative, of the last call

    def __call__(self, state: np.ndarray, time: float, mass: float, factor: float, known: Any) -> np.ndarray:
        """The root near `state`, which holds the given values already.

        Raises:
            SolverError: none was found.
        """
        system, given = self.system, (time, mass, factor, known)
        state = np.array(state)
        if not system.free.any():
            return state
        residual, self.changes = self._residual(state, given), []
        for _ in range(STEPS):
            change = self._step(state, residual, time, mass, factor)
            share, norm, rounding = 1.0, np.linalg.norm(residual), np.finfo(float).eps
            for _ in range(HALVINGS):
                trial = state + share * change
                after = self._residual(trial, given)
                if np.isfinite(after).all() and np.linalg.norm(after) <= (1 + 1e3 * rounding) * norm + 1e-300:
                    break
                small = np.isfinite(after).all() and (np.abs(change) <= STALLED * self._size(state)).all()
                if small:
                    break
                share /= 2
            else:
                raise SolverError("Newton's iteration did not converge: no step makes the residual smaller")
            state, residual = trial, after
            self.changes.append(float(np.max(np.abs(change) / self._size(state))))
            if system.linear or self.changes[-1] <= SMALL:
                return state
            if len(self.changes) > 1 and self.changes[-1] <= STALLED and self.changes[-1] >= 0.2 * self.changes[-2]:
                return state
        raise SolverError(f"Newton's iteration did not converge (last relative change {self.changes[-1]:.1e})")

    def _size(self, state: np.ndarray) -> np.ndarray:
        return np.maximum(np.abs(state).max(axis=1), self.scales)[:, None]

    def _residual(self, state: np.ndarray, given: Any) -> np.ndarray:
        with np.errstate(all="ignore"):
            return self.system.residual(state, *given)

    def _step(self, state: np.ndarray, residual: np.ndarray, time: float, mass: float, factor: float) -> np.ndarray:
        if not np.isfinite(residual).all():
            raise SolverError("values are not finite; a smaller time_step or a finer resolution may help")
        # steps that are equal but for rounding have one matrix
        kept = self.system.constant and self.key is not None and np.allclose(self.key, (mass, factor), 1e-12, 0.0)
        if not kept:
            matrix = self.system.matrix(state, time, mass, factor)
            if not mass:
                self._check_level(matrix)
            self.solve, self.key = self.factorise(matrix), (mass, factor)
            self.factorisations += 1
        change = np.zeros(state.size)
        change[self.system.free] = self.solve(-residual)
        return change.reshape(state.shape)

    def _check_level(self, matrix: Any) -> None:
        """Refuse a field that could be shifted by a constant."""
        free = self.system.free.reshape(len(self.system.fields), -1)
        for i, name in enumerate(self.system.fields):
            if free[i].all():
                ones = np.zeros(free.shape)
                ones[i] = 1.0
                if np.abs(matrix @ ones[free]).max() <= 1e-11 * abs(matrix).max():
                    raise SolverError(
                        f"the system is singular: the level of {name!r} is open, as no Dirichlet or Robin condition "
                        "and no term of the equation fixes it"
                    )
