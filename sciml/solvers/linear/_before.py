"""What is done before an iteration starts: what it cannot put right is said in one line, a guess is fitted."""

from __future__ import annotations

import numpy as np

from sciml.errors import InputError
from sciml.solvers.linear._concrete import Concrete

NOTHING = 1e-14  # of ‖b‖, below which what is left of it is rounding alone
CONSTANT = 1e-13  # of Σ|a_ij|, to which the sums of all rows cancel where constants are a null space


def check_definite(name: str, concrete: Concrete) -> None:
    """Refuse a matrix that cannot be positive definite for what its diagonal says.

    Raises:
        InputError: an entry of the diagonal that is not positive.
    """
    low = np.real(concrete.diagonal)
    if low.size and not low.min() > 0:
        row = int(np.argmin(low))
        raise InputError(
            f"{name}: the matrix is not positive definite, its diagonal is {low[row]:.3g} in row {row}: use MINRES()"
        )


def check_regular(name: str, concrete: Concrete) -> None:
    """Refuse a matrix that takes constants to zero and does not say so.

    Raises:
        InputError: a matrix without a null space whose rows all sum to zero.
    """
    if concrete.null is not None or concrete.size == 0:
        return
    ones = np.ones(concrete.size, concrete.matrix.dtype)
    left, whole = np.abs(concrete.matrix @ ones), abs(concrete.matrix) @ np.abs(ones)
    if (left <= CONSTANT * whole).all():
        raise InputError(
            f"{name}: the matrix is singular, it takes constants to zero: pass null_space=np.ones({concrete.size}) to "
            "MatrixSystem"
        )


def helpful(concrete: Concrete, b: np.ndarray, guess: np.ndarray) -> np.ndarray:
    """As much of a guess as lowers the residual."""
    guess = concrete.project(guess)
    image = concrete.matrix @ guess
    square = float(np.vdot(image, image).real)
    return guess * (np.vdot(image, b) / square) if square > 0 else np.zeros_like(b)


def in_range(concrete: Concrete, b: np.ndarray) -> tuple[np.ndarray, float]:
    """b without what lies in the null space, 0 where the rest is rounding alone; and its norm."""
    kept = concrete.project(b)
    size = float(np.linalg.norm(kept))
    if concrete.null is not None and size <= NOTHING * float(np.linalg.norm(b)):
        return np.zeros_like(b), 0.0
    return kept, size
