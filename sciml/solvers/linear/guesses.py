"""Guesses for the next solve of a march, and what they save."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, final

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from sciml.errors import InputError, is_whole
from sciml.solvers.linear._solver import LinearSolver
from sciml.solvers.linear._warm_start import MarchStart, WarmStart
from sciml.solvers.linear.grid_system import GridSystem
from sciml.solvers.linear.projected import galerkin

if TYPE_CHECKING:
    import xarray

    from sciml.problem import Case

#: by order, what the last solutions count, the newest first
WEIGHTS = {0: (1.0,), 1: (2.0, -1.0), 2: (3.0, -3.0, 1.0)}


@final
class Zero(MarchStart):
    """x⁰ = 0."""

    name = "zero"

    def guess(
        self, past: Sequence[np.ndarray], system: GridSystem, rhs: np.ndarray, step: int
    ) -> Float[np.ndarray, "*shape"] | None:
        return None

    def begin(self, past: Any, system: GridSystem, rhs: jax.Array, same: bool) -> jax.Array | None:
        return None

    @property
    def from_zero(self) -> bool:
        return True


@final
class Previous(MarchStart):
    """x⁰ = xⁿ."""

    name, memory = "previous", 1

    def guess(
        self, past: Sequence[np.ndarray], system: GridSystem, rhs: np.ndarray, step: int
    ) -> Float[np.ndarray, "*shape"] | None:
        return past[0] if past else None

    def empty(self, system: GridSystem, kind: Any, same: bool) -> Any:
        return jnp.zeros(system.shape, kind)

    def begin(self, past: Any, system: GridSystem, rhs: jax.Array, same: bool) -> jax.Array | None:
        return past

    def kept(self, past: Any, system: GridSystem, x: jax.Array, new: jax.Array) -> Any:
        return x


@final
class Extrapolated(MarchStart):
    """x⁰ = 2xⁿ − xⁿ⁻¹ (order 1) or 3xⁿ − 3xⁿ⁻¹ + xⁿ⁻² (order 2), as of equal steps; of less where less is known.

    Args:
        order: of the polynomial in time.
    """

    def __init__(self, order: int = 1):
        if not is_whole(order) or order not in (1, 2):
            raise InputError(f"extrapolated: order is {order!r}, expected 1 or 2")
        self.order, self.memory, self.name = int(order), int(order) + 1, f"extrapolated_{int(order)}"

    def guess(
        self, past: Sequence[np.ndarray], system: GridSystem, rhs: np.ndarray, step: int
    ) -> Float[np.ndarray, "*shape"] | None:
        if not past:
            return None
        known = past[: self.memory]
        weights = WEIGHTS[len(known) - 1]
        return sum((w * x for w, x in zip(weights, known, strict=True)), np.zeros_like(known[0]))

    def empty(self, system: GridSystem, kind: Any, same: bool) -> Any:
        return jnp.zeros((self.memory, *system.shape), kind), jnp.zeros((), kind)

    def begin(self, past: Any, system: GridSystem, rhs: jax.Array, same: bool) -> jax.Array | None:
        solutions, count = past
        table = np.array([np.pad(WEIGHTS[k], (0, self.memory - k - 1)) for k in range(self.memory)])
        weights = jnp.asarray(table, rhs.dtype)[jnp.maximum(count, 1).astype(int) - 1]
        return jnp.tensordot(weights, solutions, 1, precision="highest")

    def kept(self, past: Any, system: GridSystem, x: jax.Array, new: jax.Array) -> Any:
        solutions, count = past
        return jnp.concatenate([x[None], solutions[:-1]]), jnp.minimum(count + 1, self.memory)


@final
class Predicted(WarmStart):
    """x⁰ = the pressure that a solver answers with, such as a trained surrogate.

    It is asked for all steps at once. With `frames` each prediction starts from the true state before it, as in a march
    that asks the surrogate at every step; without, from the beginning of the case.

    Args:
        solver: any solver that answers with the field; with `frames` a restartable one.
        case: which flow.
        times: (K,) of the solves that are guessed at, the first of number `first`; others begin from `otherwise`.
        frames: a solution at `times` and one time before them.
        first: the number of the first solve that is guessed at.
        field: the pressure's name.
        scale: by which it is multiplied, as 1/ρ where the unknown is the pressure over the density.
        scaled: whether x⁰ is what share of the prediction lowers the error most, rather than all of it.
        otherwise: a guess where there is no prediction; None for zero.

    Raises:
        InputError: a prediction that does not live on the cells of the systems.
    """

    name = "predicted"

    def __init__(
        self, solver: Any, case: Case, times: Any, frames: xarray.Dataset | None = None, first: int = 0,
        field: str = "p", scale: float = 1.0, scaled: bool = False, otherwise: WarmStart | None = None,
    ):  # fmt: skip
        times = np.asarray(times, np.float64)
        if frames is None:
            values = np.asarray(solver.solve(case, times)[field].values, np.float64)
        else:
            values = _one_step(solver, case, times, frames, field)
        self.values, self.first, self.scaled, self.otherwise = values * scale, int(first), bool(scaled), otherwise
        self.memory = 0 if otherwise is None else otherwise.memory

    def guess(
        self, past: Sequence[np.ndarray], system: GridSystem, rhs: np.ndarray, step: int
    ) -> Float[np.ndarray, "*shape"] | None:
        k = step - self.first
        if not 0 <= k < len(self.values):
            return None if self.otherwise is None else self.otherwise.guess(past, system, rhs, step)
        found = self.values[k]
        if found.shape != system.shape:
            raise InputError(f"predicted: the prediction has shape {found.shape}, expected {system.shape}")
        return galerkin([found], system, rhs) if self.scaled else found


def _one_step(solver: Any, case: Case, times: np.ndarray, frames: xarray.Dataset, field: str) -> np.ndarray:
    """(K, *shape) predictions, each from the frame before."""
    if frames.sizes["time"] != len(times) + 1:
        raise InputError(f"predicted: expected {len(times) + 1} frames, got {frames.sizes['time']}")
    found = []
    for k, time in enumerate(times):
        past = frames.isel(time=slice(max(0, k + 1 - solver.history), k + 1))
        answer = solver.resume(case, past, [float(time)])
        found.append(np.asarray(answer[field].values[-1], np.float64))
    return np.stack(found)


class Replay(NamedTuple):
    """Recorded solves with a guess.

    Args:
        iterations: (K,) of each.
        first: (K,) relative residuals of the guesses.
        residual: (K,) relative residuals of the answers.
    """

    iterations: np.ndarray
    first: np.ndarray
    residual: np.ndarray

    def saved(self, other: Replay, skip: int = 0) -> float:
        """Which share of the iterations that `other` takes is saved, of solves from number `skip` on."""
        total = other.iterations[skip:].sum()
        return float(1 - self.iterations[skip:].sum() / max(total, 1))


def replay(recorded: Sequence[tuple[GridSystem, np.ndarray]], solver: LinearSolver, start: WarmStart) -> Replay:
    """Solve recorded systems one after the other, each from a guess that sees the answers before it.

    Args:
        recorded: see `record`.
        solver: such as `MultigridCG(1e-8)`, in float64.
    """
    with jax.enable_x64(True):
        return _replayed(recorded, solver, start)


def _replayed(recorded: Sequence[tuple[GridSystem, np.ndarray]], solver: LinearSolver, start: WarmStart) -> Replay:
    solve, past, rows = jax.jit(solver.solve), [], []
    for step, (system, rhs) in enumerate(recorded):
        guess = start.guess(past, system, rhs, step)
        centred = np.asarray(system.centred(jax.numpy.asarray(rhs)))
        size = max(float(np.linalg.norm(centred)), 1e-300)
        left = centred if guess is None else centred - np.asarray(system.apply(jax.numpy.asarray(guess)))
        x, info = solve(system, rhs, None if guess is None else np.asarray(guess), solver.factor(system))
        past = [np.asarray(x), *past][: start.memory]
        rows.append((int(info.iterations), float(np.linalg.norm(left)) / size, float(info.residual)))
    iterations, first, residual = (np.array(column) for column in zip(*rows, strict=True))
    return Replay(iterations, first, residual)
