"""The pressure equation of a flow, overheard from the step that asks for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sciml.errors import InputError
from sciml.problem import Case
from sciml.solvers.linear import GridSystem, Info, LinearSolver, LinearSystem, Prepared
from sciml.solvers.linear.discretisation import Given

PLACES = 32  # on a part of the boundary


class Listener(LinearSolver):
    """Stands in for a pressure solver: keeps what it is asked, and answers what it is told.

    Args:
        told: the answer.
    """

    name = "listener"

    def __init__(self, told: jax.Array | None = None):
        self.told = told
        self.asked: list[tuple[GridSystem, jax.Array]] = []

    def supports(self, system: LinearSystem) -> bool:
        return True

    def solve(
        self, system: GridSystem, rhs: jax.Array, guess: jax.Array | None = None, factor: Any = ()
    ) -> tuple[jax.Array, Info]:
        self.asked.append((system, rhs))
        answer = jnp.zeros_like(rhs) if self.told is None else self.told
        return answer, Info(jnp.zeros((), int), jnp.zeros((), rhs.dtype), jnp.array(True))

    def prepare(self, system: LinearSystem) -> Prepared:
        raise InputError(f"{self.name}: solves nothing")


def overheard(
    step: Callable[[Listener], dict[str, Any]],
) -> tuple[tuple[GridSystem, np.ndarray], Callable[[np.ndarray], dict[str, Any]]]:
    """What a step asks its pressure solver for, in concrete numbers, and the step with a given answer.

    Args:
        step: which asks once.
    """

    def ask() -> tuple[GridSystem, jax.Array]:
        listener = Listener()
        step(listener)
        ((system, rhs),) = listener.asked
        return system, system.centred(rhs)

    system, rhs = jax.tree.map(np.asarray, jax.jit(ask)())
    again = jax.jit(lambda x: step(Listener(x)))
    return (system, rhs), lambda x: again(jnp.asarray(x))


def boundary_values(case: Case, time: float) -> tuple[Given, ...]:
    """What is given of each field on the parts of the boundary, at some of their places."""
    found = []
    for boundary, conditions in case.boundary_conditions.items():
        part = case.geometry.boundaries.get(boundary)
        points = np.zeros((0, case.problem.dimensions)) if part is None else np.asarray(part.places(PLACES))
        for name, condition in conditions.items():
            values = np.zeros(len(points))
            if len(points) and condition.given:
                values = np.broadcast_to(np.asarray(condition.at(time, points), np.float64), len(points))
            found.append(Given(boundary, name, type(condition).__name__, points, np.array(values)))
    return tuple(found)
