"""Algebraic multigrid of the package pyamg as preconditioner."""

from __future__ import annotations

import importlib
from abc import abstractmethod
from typing import Any

import numpy as np
import scipy.sparse

from sciml.errors import InputError
from sciml.solvers.linear._concrete import Concrete
from sciml.solvers.linear._preconditioner import Apply, Preconditioner

#: of singular systems: what rounding leaves of a zero on the coarsest grid is none to divide by
COARSEST = ("pinv", {"rtol": 1e-10})


class _AlgebraicMultigrid(Preconditioner):
    """Abstract: one cycle of a hierarchy that pyamg makes of the matrix."""

    def __init__(self, cycle: str, options: dict[str, Any]):
        if cycle not in ("V", "W", "F"):
            raise InputError(f"{self.name}: cycle is {cycle!r}, expected one of V, W, F")
        self.cycle, self.options = cycle, options

    @abstractmethod
    def hierarchy(self, pyamg: Any, matrix: scipy.sparse.csr_matrix, null: np.ndarray | None) -> Any:
        """pyamg's multilevel solver."""

    def set_up(self, concrete: Concrete) -> tuple[Apply, int | None]:
        try:
            pyamg: Any = importlib.import_module("pyamg")
        except ImportError:
            raise InputError(f"{self.name}: needs the package pyamg; pip install 'sciml[amg]'") from None
        try:
            made = self.hierarchy(pyamg, scipy.sparse.csr_matrix(concrete.matrix), concrete.null)
        except TypeError as error:
            raise InputError(f"{self.name}: pyamg does not take these options: {error}") from None
        kept = 0
        for number, level in enumerate(made.levels):
            matrices = [level.A] if number else []  # the first is the system's own
            for matrix in matrices + ([level.P, level.R] if number < len(made.levels) - 1 else []):
                kept += matrix.data.nbytes + matrix.indices.nbytes + matrix.indptr.nbytes
        return made.aspreconditioner(cycle=self.cycle).matvec, kept

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self._settings() == other._settings()

    def __hash__(self) -> int:
        return hash((self.name, self._settings()))

    def _settings(self) -> tuple[str, str]:
        return self.cycle, repr(sorted(self.options.items()))


class RugeStuben(_AlgebraicMultigrid):
    """z = one cycle of classical algebraic multigrid: coarse unknowns are some of the fine ones.

    Args:
        cycle: "V", "W" or "F".
        options: of `pyamg.ruge_stuben_solver`, such as `strength=("classical", {"theta": 0.25})`.

    Raises:
        InputError: another cycle; on set-up without pyamg, or with options that it does not know.

    Source: J. W. Ruge, K. Stüben, in Multigrid Methods, ed. S. F. McCormick, SIAM (1987), 73.
    """

    name = "ruge_stuben"

    def __init__(self, cycle: str = "V", **options: Any):
        super().__init__(cycle, options)

    def hierarchy(self, pyamg: Any, matrix: scipy.sparse.csr_matrix, null: np.ndarray | None) -> Any:
        options = dict(self.options) if null is None else {"coarse_solver": COARSEST} | self.options
        return pyamg.ruge_stuben_solver(matrix, **options)


class SmoothedAggregation(_AlgebraicMultigrid):
    """z = one cycle of algebraic multigrid by smoothed aggregation: coarse unknowns are groups of fine ones.

    What the matrix takes nearly to zero is handed on to coarse levels: the null space of a singular system, else
    constants, unless `B=` says otherwise.

    Args:
        cycle: "V", "W" or "F".
        options: of `pyamg.smoothed_aggregation_solver`, such as `B=` rigid motions (n, k) of an elastic body.

    Raises:
        InputError: another cycle; on set-up without pyamg, or with options that it does not know.

    Source: P. Vaněk, J. Mandel, M. Brezina, Computing 56, 179 (1996).
    """

    name = "smoothed_aggregation"

    def __init__(self, cycle: str = "V", **options: Any):
        super().__init__(cycle, options)

    def hierarchy(self, pyamg: Any, matrix: scipy.sparse.csr_matrix, null: np.ndarray | None) -> Any:
        options = dict(self.options)
        if null is not None:
            options = {"coarse_solver": COARSEST} | options
        if null is not None and "B" not in options:
            ones = np.ones(len(null), null.dtype)
            constant = np.linalg.norm(ones - null @ (null.conj().T @ ones)) <= 1e-8 * np.linalg.norm(ones)
            options["B"] = ones[:, None] if constant else null
        return pyamg.smoothed_aggregation_solver(matrix, **options)
