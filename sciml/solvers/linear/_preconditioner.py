"""What makes the iterations of a Krylov solver fewer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse.linalg

from sciml.errors import InputError
from sciml.solvers.linear._concrete import Concrete
from sciml.solvers.linear._system import LinearSystem

#: r -> z ≈ A⁻¹ r over live unknowns
Apply = Callable[[np.ndarray], np.ndarray]


class Starting(ABC):
    """Abstract: an `Apply` that also knows where iterations begin best."""

    @abstractmethod
    def __call__(self, r: np.ndarray) -> np.ndarray:
        """z ≈ A⁻¹ r."""

    @abstractmethod
    def start(self, b: np.ndarray) -> np.ndarray:
        """x for A x = b, from which to begin."""


class Preconditioner(ABC):
    """Abstract: z ≈ A⁻¹ r. Its settings make it equal to another and are its hash."""

    name: str
    #: whether z is a fixed, symmetric and positive linear map of r, so that plain conjugate gradients accept it
    linear: bool = True

    def supports(self, system: LinearSystem) -> bool:
        """Whether it is made for such a system."""
        return system.symmetric

    @abstractmethod
    def set_up(self, concrete: Concrete) -> tuple[Apply, int | None]:
        """What is applied, over live unknowns, and the bytes that it keeps."""

    def operator(self, system: LinearSystem) -> scipy.sparse.linalg.LinearOperator:
        """As SciPy takes it, `M=` of its Krylov solvers, for `system.operator()`; 0 where no unknown is live.

        Raises:
            InputError: a system that it is not made for.
        """
        if not self.supports(system):
            raise InputError(f"{self.name}: not made for this system, see `supports`")
        system.check()
        concrete = Concrete(system)
        apply, _ = self.set_up(concrete)

        def whole(r: np.ndarray) -> np.ndarray:
            return concrete.scatter(concrete.project(apply(concrete.project(concrete.gather("r", r.ravel()))))).ravel()

        shape = (system.size, system.size)
        made: Any = scipy.sparse.linalg.LinearOperator  # of which the stubs know no arguments
        return made(shape, whole, rmatvec=whole, dtype=concrete.matrix.dtype)
