"""The pressure systems of a simulation, kept as they are solved."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from sciml.data._files import replacing
from sciml.errors import InputError
from sciml.solvers.linear._ends import End
from sciml.solvers.linear._hosted import bits, numbers
from sciml.solvers.linear._solver import Info, LinearSolver, Prepared
from sciml.solvers.linear._system import LinearSystem
from sciml.solvers.linear.grid_system import GridSystem

if TYPE_CHECKING:
    from sciml.problem import Case

Recorded = list[tuple[GridSystem, np.ndarray]]


class _Around(LinearSolver):
    """Abstract: what answers as another solver does."""

    inner: LinearSolver

    def supports(self, system: LinearSystem) -> bool:
        return self.inner.supports(system)

    @property
    def iterative(self) -> bool:
        return self.inner.iterative

    def factor(self, system: GridSystem) -> Any:
        return self.inner.factor(system)

    def prepare(self, system: LinearSystem) -> Prepared:
        return self.inner.prepare(system)


class Recording(_Around):
    """A solver that keeps what it is asked, in float64, in the order of the march, and answers as another does.

    Two recordings are never equal, so that no compiled march of one keeps for the other.

    Args:
        inner: which solves.
        kept: where systems and right-hand sides go; a list of its own by default.
    """

    name = "recording"

    def __init__(self, inner: LinearSolver, kept: Recorded | None = None):
        self.inner, self.kept = inner, [] if kept is None else kept
        self._lock = Lock()

    def fitted(self, spacing: Sequence[float]) -> Recording:
        return Recording(self.inner.fitted(spacing), self.kept)

    def solve(
        self, system: GridSystem, rhs: jax.Array, guess: jax.Array | None = None, factor: Any = ()
    ) -> tuple[jax.Array, Info]:
        rhs = jnp.asarray(rhs)
        leaves, kind = jax.tree.flatten(lax.stop_gradient(system))
        number = rhs.dtype

        def keep(parts: list[Any], right: Any) -> np.ndarray:
            plain = jax.tree.unflatten(kind, [numbers(a, number) for a in parts])
            with self._lock:
                self.kept.append((plain, numbers(right, number)))
            return np.zeros((), np.int32)

        given = [bits(jnp.asarray(a, number)) for a in leaves], bits(lax.stop_gradient(rhs))
        # What comes back is added, so that no solve begins before it is kept: the order is that of the march, and the
        # call is not left out. Loops over batches, as flow solvers have them of one case too, take no other callback.
        kind_of = jax.ShapeDtypeStruct((), np.dtype(np.int32))
        nothing = jax.pure_callback(keep, kind_of, *given, vmap_method="sequential").astype(number)
        return self.inner.solve(system, rhs + nothing, guess, factor)


@runtime_checkable
class _Flow(Protocol):
    def with_pressure_solver(self, wrap: Callable[[LinearSolver], LinearSolver]) -> Any: ...


def _solved_by(solver: Any, wrap: Callable[[LinearSolver], LinearSolver], case: Case, times: Any) -> None:
    if not isinstance(solver, _Flow):
        raise InputError(f"solver: expected one with a pressure equation, as IncompressibleFlow, got {solver!r:.60}")
    solver.with_pressure_solver(wrap).solve(case, times)


def record(solver: Any, case: Case, times: Any) -> Recorded:
    """The pressure systems and right-hand sides that a flow solver solves on the way, in its order.

    Args:
        solver: `IncompressibleFlow` or `TwoPhaseFlow`.
        case, times: what is solved.

    Raises:
        InputError: a solver without a pressure equation.
    """
    kept: Recorded = []
    _solved_by(solver, lambda inner: Recording(inner, kept), case, times)
    return kept


class Counting(_Around):
    """A solver that notes how many iterations each solve took, and answers as another does; none equals another.

    Args:
        inner: which solves.
        counts: where they go.
    """

    name = "counting"

    def __init__(self, inner: LinearSolver, counts: list[int]):
        self.inner, self.counts = inner, counts

    def fitted(self, spacing: Sequence[float]) -> Counting:
        return Counting(self.inner.fitted(spacing), self.counts)

    def solve(
        self, system: GridSystem, rhs: jax.Array, guess: jax.Array | None = None, factor: Any = ()
    ) -> tuple[jax.Array, Info]:
        x, info = self.inner.solve(system, rhs, guess, factor)
        jax.debug.callback(lambda count: self.counts.append(int(count)), lax.stop_gradient(info.iterations))
        return x, info


def count_iterations(solver: Any, case: Case, times: Any) -> np.ndarray:
    """How many iterations each pressure solve of a flow takes.

    Args:
        solver: `IncompressibleFlow` or `TwoPhaseFlow`.
        case, times: what is solved.

    Raises:
        InputError: a solver without a pressure equation.
    """
    counts: list[int] = []
    _solved_by(solver, lambda inner: Counting(inner, counts), case, times)
    jax.effects_barrier()
    return np.array(counts)


def save_recorded(path: str | Path, recorded: Sequence[tuple[GridSystem, np.ndarray]]) -> None:
    """Write systems and right-hand sides to an .npz file; coefficients that stay are written once.

    Raises:
        InputError: nothing to write.
    """
    if not len(recorded):
        raise InputError("recorded: expected at least one system, got none")
    arrays: dict[str, np.ndarray] = {"count": np.array(len(recorded))}
    last: tuple[Any, int] = (None, -1)
    for k, (system, rhs) in enumerate(recorded):
        arrays[f"rhs_{k}"] = np.asarray(rhs)
        arrays[f"ends_{k}"] = np.array([[end.value for end in pair] for pair in system.ends])
        arrays[f"spacing_{k}"] = np.array([float(h) for h in system.spacing])
        coefficients = system.coefficients
        if coefficients is None:
            arrays[f"of_{k}"] = np.array(-1)
            continue
        if last[0] is None or any(not np.array_equal(a, b) for a, b in zip(last[0], coefficients, strict=True)):
            last = coefficients, k
            arrays |= {f"c_{k}_{axis}": np.asarray(c) for axis, c in enumerate(coefficients)}
        arrays[f"of_{k}"] = np.array(last[1])
    with replacing(path) as part, part.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def load_recorded(path: str | Path) -> Recorded:
    """What `save_recorded` wrote.

    Raises:
        InputError: another file.
    """
    found: Recorded = []
    try:
        with np.load(path, allow_pickle=False) as file:
            for k in range(int(file["count"])):
                rhs, of = file[f"rhs_{k}"], int(file[f"of_{k}"])
                ends = tuple((End(int(low)), End(int(high))) for low, high in file[f"ends_{k}"])
                spacing = tuple(float(h) for h in file[f"spacing_{k}"])
                coefficients = None if of < 0 else tuple(file[f"c_{of}_{axis}"] for axis in range(rhs.ndim))
                found.append((GridSystem(rhs.shape, ends, spacing, coefficients), rhs))
    except (KeyError, ValueError, OSError, EOFError) as error:
        raise InputError(f"{path}: expected a file of save_recorded ({type(error).__name__}: {error})") from None
    return found
