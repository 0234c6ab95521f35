"""Where an iteration begins: what a start has to say, offline and within a march."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax import lax
from jaxtyping import Float

from sciml.solvers.linear._solver import Info, LinearSolver
from sciml.solvers.linear.grid_system import GridSystem


class WarmStart(ABC):
    """Abstract: how the next solve of a march begins.

    Attributes:
        memory: of how many last solutions it makes use.
    """

    name: str
    memory: int = 0

    @abstractmethod
    def guess(
        self, past: Sequence[np.ndarray], system: GridSystem, rhs: np.ndarray, step: int
    ) -> Float[np.ndarray, "*shape"] | None:
        """x⁰ for the solve of number `step`; None for zero.

        Args:
            past: the last solutions, the newest first, as many as there are up to `memory`.
        """


class MarchStart(WarmStart):
    """Abstract: a start that a flow solver takes as `pressure_start=`: JAX from end to end, with what it knows of the
    past in arrays of real numbers that the march carries along. Its settings make it equal to another and are its hash.

    `same` says that the matrix is the same in all solves of a march; otherwise it changes from solve to solve.
    """

    def empty(self, system: GridSystem, kind: Any, same: bool) -> Any:
        """What it knows before the first solve, of numbers of the type `kind`."""
        return ()

    @abstractmethod
    def begin(self, past: Any, system: GridSystem, rhs: jax.Array, same: bool) -> jax.Array | None:
        """x⁰; None for zero."""

    def kept(self, past: Any, system: GridSystem, x: jax.Array, new: jax.Array) -> Any:
        """What it knows after a solve.

        Args:
            x: the solution.
            new: whether that is anything but the guess itself.
        """
        return past

    @property
    def from_zero(self) -> bool:
        """Whether iterations begin as without it."""
        return False

    def check(self, shape: tuple[int, ...]) -> None:
        """Refuse systems of a shape that it is not made for.

        Raises:
            InputError: says which it is made for.
        """

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self.name == other.name  # type: ignore[attr-defined]

    def __hash__(self) -> int:
        return hash(self.name)


def solved(
    solver: LinearSolver, start: MarchStart, past: Any, system: GridSystem, rhs: jax.Array, factor: Any = (),
    same: bool = True,
) -> tuple[jax.Array, Info, Any]:  # fmt: skip
    """φ, how it went, and what the start knows after it. The start is no part of derivatives: these are of the
    solution, wherever it was begun from."""
    still, right = lax.stop_gradient((system, rhs))
    guess = start.begin(past, still, right, same)
    phi, info = solver.solve(system, rhs, guess, factor)
    if start.from_zero:
        return phi, info, past
    return phi, info, start.kept(past, still, lax.stop_gradient(phi), lax.stop_gradient(info.iterations) > 0)
