"""What solves linear systems."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from sciml.errors import InputError
from sciml.solvers.linear._system import LinearSystem
from sciml.solvers.linear.grid_system import GridSystem


class Info(NamedTuple):
    """How a solve went.

    Args:
        iterations: 0 for direct solvers.
        residual: ‖b − A x‖ over ‖b‖ on live unknowns, computed from x itself; of a singular system b counts without
            what lies in the null space, which no x meets.
        converged: whether it is within the solver's tolerance (of direct solvers: whether it is finite).
        history: relative residuals, the first before anything was done; None where a solver keeps none.
        switched: the iteration from which a classical method went on, since the learned one stagnated; −1 for never.
    """

    iterations: Any
    residual: Any
    converged: Any
    history: Any = None
    switched: Any = -1


@dataclass(frozen=True)
class Prepared:
    """A system whose set-up is done: (rhs, guess=None) -> (x, info).

    Args:
        system: which one.
        answer: what is called; arrays of the system's shape, or flat ones.
        seconds: that the set-up took.
        bytes: that it keeps, beside the matrix; None where that is not known.
    """

    system: LinearSystem
    answer: Callable[[Any, Any], tuple[Any, Info]]
    seconds: float = 0.0
    bytes: int | None = None

    def __call__(self, rhs: Any, guess: Any = None) -> tuple[Any, Info]:
        return self.answer(rhs, guess)


class LinearSolver(ABC):
    """Abstract: solves linear systems. Its settings make it equal to another and are its hash.

    `prepare(system)` does the set-up and returns what solves one right-hand side after the other; `solve` does the same
    on a grid within traced code, as `pressure_solver=` of a flow solver.
    """

    name: str

    @abstractmethod
    def supports(self, system: LinearSystem) -> bool:
        """Whether it solves such a system."""

    @property
    def iterative(self) -> bool:
        """Whether a guess saves it anything."""
        return True

    def fitted(self, spacing: Sequence[float]) -> LinearSolver:
        """The same solver as it does best on cells of such sides (x, y, ...); itself where it does not matter."""
        return self

    def factor(self, system: GridSystem) -> Any:
        """What can be worked out before, from concrete numbers: arrays that `solve` takes; () where nothing is."""
        return ()

    @abstractmethod
    def solve(
        self, system: GridSystem, rhs: jax.Array, guess: jax.Array | None = None, factor: Any = ()
    ) -> tuple[jax.Array, Info]:
        """φ (zero mean over live cells where the system is closed), and how it went; traceable and differentiable."""

    @abstractmethod
    def prepare(self, system: LinearSystem) -> Prepared:
        """The set-up for a system of concrete numbers.

        Raises:
            InputError: a system that it does not solve.
        """


@partial(jax.jit, static_argnums=0)
def _solved(solver: LinearSolver, system: GridSystem, rhs: jax.Array, guess: Any, factor: Any) -> tuple[Any, Info]:
    """Equal solvers share what is compiled, whatever systems of a shape they were prepared for."""
    return solver.solve(system, rhs, guess, factor)


class TracedSolver(LinearSolver):
    """Abstract: a solver whose `solve` is JAX from end to end."""

    def prepare(self, system: LinearSystem) -> Prepared:
        if not isinstance(system, GridSystem) or not self.supports(system):
            raise InputError(f"{self.name}: does not solve this system, see `supports`")
        began = time.perf_counter()
        system.check()
        solver: Any = self.fitted([float(h) for h in system.spacing])
        factor = solver.factor(system)
        kept = sum(a.nbytes for a in jax.tree.leaves(factor))

        def answer(rhs: Any, guess: Any) -> tuple[Any, Info]:
            right = _checked(self.name, "rhs", rhs, system)
            known = None if guess is None else _checked(self.name, "guess", guess, system)
            x, info = _solved(solver, system, right, known, factor)
            if not isinstance(x, Tracer) and not bool(info.converged):
                null = system.null_space()
                if null is not None and not (system.closed and null.shape[1] == 1):
                    x, info = _in_regions(solver, system, right, known, factor, null)
            return x.reshape(jnp.shape(rhs)), info

        return Prepared(system, answer, time.perf_counter() - began, kept)


def _checked(name: str, what: str, values: Any, system: GridSystem) -> jax.Array:
    """An array of the system's shape.

    Raises:
        InputError: other shapes, no real numbers, or, where they are concrete, some that are not finite.
    """
    shape, kind = np.shape(values), getattr(values, "dtype", None)
    kind = np.asarray(values).dtype if kind is None else kind
    if kind.kind not in "fiub" and kind != jnp.bfloat16:
        raise InputError(f"{name}: {what}: expected real numbers, got {kind}")
    if shape not in (system.shape, (system.size,)):
        raise InputError(f"{name}: {what}: expected an array of shape {system.shape}, got {shape}")
    if not isinstance(values, Tracer):
        wrong = int(np.sum(~np.isfinite(np.asarray(values))))
        if wrong:
            raise InputError(f"{name}: {what}: {wrong} of {system.size} values are not finite")
    found = jnp.asarray(values)
    return (found if jnp.issubdtype(found.dtype, jnp.floating) else found.astype(float)).reshape(system.shape)


def _in_regions(
    solver: TracedSolver, system: GridSystem, rhs: jax.Array, guess: Any, factor: Any, null: np.ndarray
) -> tuple[Any, Info]:
    """The same where closed faces cut off regions: neither the right-hand side nor the answer has a part in the null
    space of any."""

    def without(values: Any) -> np.ndarray:
        flat = np.asarray(values, np.float64).ravel()
        return (flat - null @ (null.T @ flat)).reshape(system.shape)

    known = None if guess is None else jnp.asarray(without(guess), rhs.dtype)
    x, info = _solved(solver, system, jnp.asarray(without(rhs), rhs.dtype), known, factor)
    return jnp.asarray(without(x), x.dtype), info
