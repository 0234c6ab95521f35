"""A system as solvers on the host take it: a matrix over its live unknowns, in concrete numbers."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import scipy.sparse

from sciml.errors import InputError
from sciml.solvers.linear._system import LinearSystem


class Concrete:
    """The matrix of a system over its live unknowns.

    Args:
        system: which one.

    Attributes:
        matrix: (n, n) over live unknowns.
        null: (n, k) its null space, orthonormal; None where there is none.
    """

    def __init__(self, system: LinearSystem):
        self.system = system
        self._live = np.flatnonzero(np.asarray(system.live(np)).ravel())
        matrix = system.matrix()
        null = system.null_space(matrix)
        self.whole = len(self._live) == system.size
        self.matrix: scipy.sparse.csr_array = matrix if self.whole else matrix[self._live][:, self._live]
        self.null = null if null is None or self.whole else null[self._live]

    @property
    def size(self) -> int:
        return len(self._live)

    @cached_property
    def diagonal(self) -> np.ndarray:
        return self.matrix.diagonal()

    def gather(self, name: str, values: object) -> np.ndarray:
        """(n,) of an array of the system's shape, or of one that is flat already.

        Raises:
            InputError: an array of another shape, or values that are not finite.
        """
        found = np.asarray(values)
        if found.shape != self.system.shape and found.shape != (self.system.size,):
            raise InputError(f"{name}: expected an array of shape {self.system.shape}, got {found.shape}")
        if found.dtype.kind not in "fciub":
            raise InputError(f"{name}: expected numbers, got {found.dtype}")
        if found.dtype.kind == "c" and self.matrix.dtype.kind != "c":
            raise InputError(f"{name}: expected real numbers, as the matrix is real, got {found.dtype}")
        flat = self.taken(found.ravel()).astype(self.matrix.dtype)
        if not np.isfinite(flat).all():
            raise InputError(f"{name}: {int((~np.isfinite(flat)).sum())} of {len(flat)} values are not finite")
        return flat

    def taken(self, values: np.ndarray) -> np.ndarray:
        """(n,) of a flat array over all unknowns."""
        return values if self.whole else values[self._live]

    def scatter(self, values: np.ndarray) -> np.ndarray:
        """An array of the system's shape, 0 where nothing is live."""
        if self.whole:
            return values.reshape(self.system.shape)
        found = np.zeros(self.system.size, values.dtype)
        found[self._live] = values
        return found.reshape(self.system.shape)

    def project(self, values: np.ndarray) -> np.ndarray:
        """Without what lies in the null space."""
        return values if self.null is None else values - self.null @ (self.null.conj().T @ values)
