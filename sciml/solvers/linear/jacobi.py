"""The diagonal as preconditioner."""

from __future__ import annotations

from typing import Any

import numpy as np

from sciml.errors import InputError
from sciml.solvers.linear._concrete import Concrete
from sciml.solvers.linear._preconditioner import Apply, Preconditioner
from sciml.solvers.linear._system import LinearSystem


class Jacobi(Preconditioner):
    """z = D⁻¹ r, D the diagonal of A.

    Raises:
        InputError: on set-up, a diagonal with an entry that is zero, or negative where the matrix is symmetric.

    Source: C. G. J. Jacobi, Astron. Nachr. 22, 297 (1845).
    """

    name = "jacobi"

    def supports(self, system: LinearSystem) -> bool:
        return True

    def set_up(self, concrete: Concrete) -> tuple[Apply, int | None]:
        diagonal: Any = concrete.diagonal
        symmetric = concrete.system.symmetric
        bad = np.flatnonzero(diagonal.real <= 0 if symmetric else diagonal == 0)
        if len(bad):
            wanted = "a positive" if symmetric else "no zero on the"
            raise InputError(f"{self.name}: expected {wanted} diagonal, got {diagonal[bad[0]]:.3g} in row {bad[0]}")
        inverse = 1 / (diagonal.real if symmetric else diagonal)

        def apply(r: np.ndarray) -> np.ndarray:
            return inverse * r

        return apply, inverse.nbytes

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Jacobi)

    def __hash__(self) -> int:
        return hash(self.name)
