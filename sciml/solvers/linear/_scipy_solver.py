"""SciPy's iterations as solvers."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
import scipy.sparse.linalg

from sciml.errors import InputError
from sciml.solvers.linear._before import check_regular, helpful, in_range
from sciml.solvers.linear._concrete import Concrete
from sciml.solvers.linear._hosted import Answer, HostedSolver
from sciml.solvers.linear._preconditioner import Preconditioner
from sciml.solvers.linear._settings import check_counts, check_tolerance, told
from sciml.solvers.linear._solver import Info
from sciml.solvers.linear._system import LinearSystem

MOST = 20_000  # iterations, unless more are asked for


class Record:
    """What an iteration of SciPy has done so far."""

    def __init__(self, first: float):
        self.history, self.x = [first], None


class SciPySolver(HostedSolver):
    """Abstract: an iteration of SciPy, whose residual is computed from x itself.

    Args:
        preconditioner: z ≈ A⁻¹ r, linear; None for z = r.
        tolerance: of ‖b − A x‖ over ‖b‖.
        max_iterations: beyond, the solve is not converged; None for ten for each unknown, 20 000 at most.
    """

    def __init__(self, preconditioner: Preconditioner | None, tolerance: float, max_iterations: int | None):
        check_tolerance(self.name, tolerance)
        check_counts(self.name, **told(max_iterations=max_iterations))
        if preconditioner is not None and not isinstance(preconditioner, Preconditioner):
            raise InputError(
                f"{self.name}: preconditioner is {preconditioner!r}, expected a Preconditioner (FromOperator makes one)"
            )
        if preconditioner is not None and not preconditioner.linear:
            raise InputError(
                f"{self.name}: preconditioner {preconditioner.name} is not linear: use it in ConjugateGradient"
            )
        self.preconditioner, self.tolerance, self.max_iterations = preconditioner, float(tolerance), max_iterations

    def supports(self, system: LinearSystem) -> bool:
        return self.preconditioner is None or self.preconditioner.supports(system)

    def refusal(self, system: LinearSystem) -> str:
        if self.preconditioner is not None and not self.preconditioner.supports(system):
            return f"the preconditioner {self.preconditioner.name} is not made for this system, see its `supports`"
        return super().refusal(system)

    @abstractmethod
    def iterate(
        self, matrix: scipy.sparse.linalg.LinearOperator, b: np.ndarray, x0: np.ndarray,
        preconditioner: scipy.sparse.linalg.LinearOperator | None, limit: int, record: Record,
    ) -> np.ndarray:  # fmt: skip
        """x after at most so many iterations from x0, each in the record."""

    def set_up(self, concrete: Concrete) -> tuple[Answer, int | None]:
        check_regular(self.name, concrete)
        limit = min(10 * concrete.size, MOST) if self.max_iterations is None else self.max_iterations
        apply, kept = (None, 0) if self.preconditioner is None else self.preconditioner.set_up(concrete)
        matrix, project = concrete.matrix, concrete.project
        operator = scipy.sparse.linalg.aslinearoperator(matrix)
        given = None
        if apply is not None:
            made: Any = scipy.sparse.linalg.LinearOperator  # of which the stubs know no arguments
            given = made(operator.shape, lambda r: project(apply(project(r.ravel()))), dtype=matrix.dtype)

        def answer(b: np.ndarray, guess: np.ndarray | None) -> tuple[np.ndarray, Info]:
            b, size = in_range(concrete, b)
            if size == 0:
                return np.zeros_like(b), Info(0, 0.0, True, np.zeros(1))
            x = np.zeros_like(b) if guess is None else helpful(concrete, b, guess)
            residual = float(np.linalg.norm(b - matrix @ x)) / size
            record, last = Record(residual), np.inf
            while self.tolerance < residual <= 0.5 * last and len(record.history) <= limit:
                last = residual
                x = project(self.iterate(operator, b, x, given, limit + 1 - len(record.history), record))
                residual = float(np.linalg.norm(project(b - matrix @ x))) / size
            record.history[-1] = residual
            return x, Info(len(record.history) - 1, residual, residual <= self.tolerance, np.array(record.history))

        return answer, kept

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SciPySolver) and self.name == other.name and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((self.name, *vars(self).values()))
