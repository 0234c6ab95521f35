"""A x = b with a sparse matrix."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse
from jaxtyping import Float

from sciml.errors import InputError
from sciml.solvers.linear._system import LinearSystem
from sciml.support import Support

SYMMETRIC = 1e-12  # |A − Aᴴ| over |A|, within which a matrix is symmetric but for rounding


class MatrixSystem(LinearSystem):
    """A x = b with a sparse matrix of any origin.

    Args:
        matrix: (n, n), real or complex; SciPy's sparse arrays and matrices, or a dense array.
        null_space: (n, k) columns, or (n,) one, that the matrix takes to zero; None where there is none.
        support: where the unknowns live, of as many places; None where that is not known.

    Raises:
        InputError: no square matrix, numbers that are not finite, or a null space that is none.
    """

    def __init__(self, matrix: Any, null_space: Any = None, support: Support | None = None):
        try:
            kept: Any = scipy.sparse.csr_array(matrix)
        except (TypeError, ValueError) as error:
            raise InputError(
                f"matrix: expected a sparse matrix or an array, got {type(matrix).__name__}: {error}"
            ) from None
        if kept.ndim != 2 or kept.shape[0] != kept.shape[1] or kept.shape[0] == 0:
            raise InputError(f"matrix: expected a square matrix, got {' × '.join(map(str, kept.shape))}")
        if kept.dtype.kind not in "fciub":
            raise InputError(f"matrix: expected numbers, got {kept.dtype}")
        kept = kept.astype(np.complex128 if kept.dtype.kind == "c" else np.float64)
        kept.sum_duplicates()
        bad = ~np.isfinite(kept.data)
        if bad.any():
            row = int(np.searchsorted(kept.indptr, np.flatnonzero(bad)[0], side="right")) - 1
            raise InputError(f"matrix: {int(bad.sum())} entries are not finite, the first in row {row}")
        self._matrix, self.support, self.shape = kept, support, (kept.shape[0],)
        if support is not None and len(support.points()) != kept.shape[0]:
            places = len(support.points())
            raise InputError(f"support: has {places} places, expected {kept.shape[0]}, one for each unknown")
        self._null = None if null_space is None else _orthonormal(null_space, kept)

    def matrix(self) -> Any:
        return self._matrix

    def null_space(self, matrix: Any = None) -> Float[np.ndarray, "n k"] | None:
        return self._null

    def live(self, xp: object = np) -> np.ndarray:
        return np.ones(self.shape, bool)

    @cached_property
    def symmetric(self) -> bool:
        size = abs(self._matrix).max()
        return bool(abs(self._matrix - self._matrix.conj().T).max() <= SYMMETRIC * size)


def _orthonormal(columns: Any, matrix: Any) -> np.ndarray:
    found = np.asarray(columns, matrix.dtype)
    found = found[:, None] if found.ndim == 1 else found
    if found.ndim != 2 or found.shape[0] != matrix.shape[0] or not 0 < found.shape[1] < matrix.shape[0]:
        raise InputError(f"null_space: expected ({matrix.shape[0]}, k) columns, got an array of shape {found.shape}")
    if not np.isfinite(found).all():
        raise InputError("null_space: expected finite numbers")
    basis, upper = np.linalg.qr(found)
    if np.abs(np.diag(upper)).min() <= 1e-10 * np.abs(np.diag(upper)).max():
        raise InputError("null_space: expected independent columns")
    left = np.abs(matrix @ basis).max() / max(abs(matrix).max(), 1e-300)
    if left > 1e-8:
        raise InputError(f"null_space: the matrix does not take it to zero, but to {left:.1e} of its largest entry")
    return basis
