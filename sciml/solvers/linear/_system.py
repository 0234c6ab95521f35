"""What is to be solved."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import scipy.sparse
import scipy.sparse.linalg
from jaxtyping import Float


class LinearSystem(ABC):
    """Abstract: A x = b, with a symmetric and positive (semi-)definite A unless `symmetric` says otherwise.

    Unknowns and right-hand sides are arrays of `shape`; matrices count them in array order.
    """

    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        return int(np.prod(self.shape))

    @property
    @abstractmethod
    def symmetric(self) -> bool:
        """Whether A = Aᵀ (of complex numbers: A = Aᴴ)."""

    @abstractmethod
    def matrix(self) -> scipy.sparse.csr_array:
        """A, with concrete numbers."""

    @abstractmethod
    def null_space(self, matrix: Any = None) -> Float[np.ndarray, "n k"] | None:
        """Orthonormal columns that A takes to zero; None where only 0 is.

        Args:
            matrix: A, where it has been made already.
        """

    @abstractmethod
    def live(self, xp: object = np) -> np.ndarray:
        """(shape) where there is an equation; elsewhere rows and columns of A are zero, and solvers give 0."""

    def check(self) -> None:  # noqa: B027
        """Refuse concrete numbers that are those of no such system.

        Raises:
            InputError: names what is wrong.
        """

    def operator(self) -> scipy.sparse.linalg.LinearOperator:
        """A as SciPy takes it."""
        return scipy.sparse.linalg.aslinearoperator(self.matrix())
