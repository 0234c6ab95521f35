"""Incomplete Cholesky factors without fill."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import scipy.sparse
from scipy.sparse.linalg import splu

from sciml.errors import InputError
from sciml.solvers.linear._concrete import Concrete
from sciml.solvers.linear._preconditioner import Apply, Preconditioner
from sciml.solvers.linear._system import LinearSystem

FIRST = 1e-3  # the first shift of the diagonal, relative; the next are twice as large each
WEAK = 1e-10  # of the diagonal of A, below which a pivot has broken down
PAIRS = 50_000_000  # products of entries of one column, beyond which a matrix is not sparse enough


class IncompleteCholesky(Preconditioner):
    """z = (L Lᵀ)⁻¹ r with (L Lᵀ)_ij = A_ij wherever A_ij ≠ 0, L as sparse as A's lower triangle: IC(0).

        L_jj² = A_jj − Σ_k L_jk²,    L_ij L_jj = A_ij − Σ_k L_ik L_jk,    k < j, over the pattern of A

    Columns that do not depend on each other are worked out together. Where a pivot is not positive, A + σ diag(A) is
    factorised instead, with σ = 10⁻³, 2·10⁻³, 4·10⁻³, ..., and a warning says with which.

    Args:
        shift: σ to begin with.

    Raises:
        InputError: settings out of range; on set-up a complex matrix, one with a diagonal that is not positive, or one
            that is not sparse.

    Source: J. A. Meijerink, H. A. van der Vorst, Math. Comp. 31, 148 (1977); T. A. Manteuffel, Math. Comp. 34, 473
    (1980), on the shift.
    """

    name = "incomplete_cholesky"

    def __init__(self, shift: float = 0.0):
        if isinstance(shift, bool) or not isinstance(shift, int | float) or not 0 <= shift < np.inf:
            raise InputError(f"{self.name}: shift is {shift!r}, expected a number from 0 on")
        self.shift = float(shift)

    def set_up(self, concrete: Concrete) -> tuple[Apply, int | None]:
        lower, shift = self._factor(concrete)
        if shift > self.shift:
            warnings.warn(
                f"{self.name}: a pivot was not positive, the diagonal is enlarged by a share of {shift:g}",
                stacklevel=2,
            )
        # of a triangle SuperLU makes no fill, and solves in compiled code
        factors = splu(
            lower.tocsc(), permc_spec="NATURAL", diag_pivot_thresh=0.0, relax=1, panel_size=1, options={"Equil": False}
        )

        def apply(r: np.ndarray) -> np.ndarray:
            return factors.solve(factors.solve(r), "T")

        return apply, 12 * factors.nnz + 8 * len(concrete.diagonal)

    def lower(self, system: LinearSystem) -> scipy.sparse.csr_array:
        """L, over the live unknowns of a system."""
        return self._factor(Concrete(system))[0].tocsr()

    def _factor(self, concrete: Concrete) -> tuple[scipy.sparse.csc_array, float]:
        matrix = concrete.matrix
        if matrix.dtype.kind == "c":
            raise InputError(f"{self.name}: expected a real matrix, got a complex one")
        diagonal = concrete.diagonal
        if diagonal.size and not diagonal.min() > 0:
            row = int(np.argmin(diagonal))
            raise InputError(f"{self.name}: expected a positive diagonal, got {diagonal[row]:.3g} in row {row}")
        pattern = _Pattern(self.name, matrix)
        shift = self.shift
        while True:
            found = pattern.factor(diagonal, shift)
            if found is not None:
                return found, shift
            shift = max(2 * shift, FIRST)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, IncompleteCholesky) and self.shift == other.shift

    def __hash__(self) -> int:
        return hash((self.name, self.shift))


class _Pattern:
    """The lower triangle, and which products go where, level by level.

    Column j can be worked out once all columns k with L_jk in the pattern are; its level is one more than theirs.
    """

    def __init__(self, name: str, matrix: Any):
        n = matrix.shape[0]
        lower = scipy.sparse.csc_array(scipy.sparse.tril(matrix, -1))
        lower.eliminate_zeros()
        lower.sort_indices()
        self.n, self.lower = n, lower
        row, starts = lower.indices.astype(np.int64), lower.indptr.astype(np.int64)
        counts = np.diff(starts)
        column = np.repeat(np.arange(n), counts)
        if float(counts @ counts) > PAIRS:
            raise InputError(f"{name}: the matrix is not sparse enough, {int(counts.max())} entries in one column")
        level = _levels(n, row, starts, counts)
        # entries by the level of their column, for the scaling of columns
        order = np.argsort(level[column], kind="stable")
        self.entries, self.entry_column = order, column[order]
        self.entry_ends = np.searchsorted(level[column][order], np.arange(level.max(initial=0) + 2))
        by_level = np.argsort(level, kind="stable")
        self.columns = by_level
        self.column_ends = np.searchsorted(level[by_level], np.arange(level.max(initial=0) + 2))
        # all pairs of entries (first, second) of one column, the second in a row that is not above the first's
        first = np.repeat(np.arange(len(row)), counts[column])
        offset = np.arange(len(first)) - np.repeat(np.cumsum(counts[column]) - counts[column], counts[column])
        second = starts[column[first]] + offset
        keep = second > first
        first, second = first[keep], second[keep]
        # L_ik L_jk goes to A_ij, i > j; columns are sorted, so that keys are
        key = column * n + row
        wanted = row[first] * n + row[second]
        place = np.searchsorted(key, wanted)
        inside = place < len(key)
        inside[inside] = key[place[inside]] == wanted[inside]
        first, second, place = first[inside], second[inside], place[inside]
        order = np.argsort(level[column[first]], kind="stable")
        self.first, self.second, self.target = first[order], second[order], place[order]
        self.pair_ends = np.searchsorted(level[column[self.first]], np.arange(level.max(initial=0) + 2))
        self.row = row

    def factor(self, diagonal: np.ndarray, shift: float) -> scipy.sparse.csc_array | None:
        """L of A + shift · diag(A); None where a pivot breaks down."""
        pivot, values = diagonal * (1 + shift), self.lower.data.copy()
        weak = WEAK * diagonal
        for k in range(len(self.column_ends) - 1):
            mine = self.columns[self.column_ends[k] : self.column_ends[k + 1]]
            if not (pivot[mine] > weak[mine]).all():
                return None
            pivot[mine] = np.sqrt(pivot[mine])
            at = slice(self.entry_ends[k], self.entry_ends[k + 1])
            entries = self.entries[at]
            scaled = values[entries] / pivot[self.entry_column[at]]
            values[entries] = scaled
            np.subtract.at(pivot, self.row[entries], scaled**2)
            pairs = slice(self.pair_ends[k], self.pair_ends[k + 1])
            if pairs.stop > pairs.start:
                np.subtract.at(values, self.target[pairs], values[self.first[pairs]] * values[self.second[pairs]])
        strict = scipy.sparse.csc_array((values, self.lower.indices, self.lower.indptr), shape=(self.n, self.n))
        return scipy.sparse.csc_array(strict + scipy.sparse.diags_array(pivot))


def _levels(n: int, row: np.ndarray, starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """(n,) the levels of columns, a front at a time."""
    waiting = np.bincount(row, minlength=n)
    level, now = np.zeros(n, np.int64), np.flatnonzero(waiting == 0)
    number = 0
    while len(now):
        level[now] = number
        many = counts[now]
        at = np.arange(int(many.sum())) + np.repeat(starts[now] - (np.cumsum(many) - many), many)
        reached = row[at]
        np.subtract.at(waiting, reached, 1)
        now = np.unique(reached[waiting[reached] == 0])
        number += 1
    return level
