"""Anybody's preconditioner."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse
import scipy.sparse.linalg

from sciml.errors import InputError
from sciml.solvers.linear._concrete import Concrete
from sciml.solvers.linear._preconditioner import Apply, Preconditioner
from sciml.solvers.linear._system import LinearSystem


class FromOperator(Preconditioner):
    """z = M(r) with an operator of SciPy's kind, a matrix, or a function.

    Args:
        operator: a `scipy.sparse.linalg.LinearOperator` (such as pyamg's `aspreconditioner()`), a sparse matrix or
            array, or a function of flat arrays over all unknowns, array order. A function counts as another one than
            each other function.
        linear: whether z is a fixed, symmetric and positive linear map of r.

    Raises:
        InputError: something else; on set-up an operator of another shape, on use a z of another shape.
    """

    name = "from_operator"

    def __init__(self, operator: Any, linear: bool = True):
        self.operator_given, self.linear = operator, bool(linear)
        if callable(operator) and not isinstance(operator, scipy.sparse.linalg.LinearOperator):
            self.apply: Callable[[np.ndarray], Any] = operator
            self.shape = None
            return
        try:
            taken = scipy.sparse.linalg.aslinearoperator(operator)
        except (TypeError, ValueError):
            raise InputError(
                f"{self.name}: expected a LinearOperator, a matrix or a function, got {type(operator).__name__}"
            ) from None
        self.apply, self.shape = taken.matvec, taken.shape

    def supports(self, system: LinearSystem) -> bool:
        return True

    def set_up(self, concrete: Concrete) -> tuple[Apply, int | None]:
        size = concrete.system.size
        if self.shape is not None and self.shape != (size, size):
            raise InputError(f"{self.name}: expected an operator of shape {(size, size)}, got {self.shape}")

        def apply(r: np.ndarray) -> np.ndarray:
            z = np.asarray(self.apply(concrete.scatter(r).ravel()))
            if z.size != size:
                raise InputError(f"{self.name}: expected the operator to give {size} values, got an array of {z.shape}")
            z = z.ravel()
            if z.dtype.kind == "c" and r.dtype.kind != "c":
                raise InputError(f"{self.name}: expected real numbers from the operator, got {z.dtype}")
            return concrete.taken(z).astype(r.dtype, copy=False)

        return apply, None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, FromOperator):
            return False
        return self.operator_given is other.operator_given and self.linear == other.linear

    def __hash__(self) -> int:
        return hash((self.name, id(self.operator_given), self.linear))
