"""The linear system of a case: what a numerical solver would solve, handed out."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

from sciml.errors import InputError, is_whole
from sciml.solvers.linear._system import LinearSystem

if TYPE_CHECKING:
    import xarray

    from sciml.problem import Case
    from sciml.support import Support


@dataclass(frozen=True, eq=False)
class Given:
    """What is known of one field on one named part of the boundary.

    Args:
        boundary, field: their names.
        condition: its kind, such as "Dirichlet".
        points: (M, D) where it is given: nodes, or middles of faces.
        values: (M,) what is given there.
        numbers: (M,) which of all coefficients of the fields, one field after the other, have these values; None where
            a condition fixes none of them but acts through the equations.
    """

    boundary: str
    field: str
    condition: str
    points: Float[np.ndarray, "m d"]
    values: Float[np.ndarray, " m"]
    numbers: Int[np.ndarray, " m"] | None = None


@dataclass(frozen=True, eq=False)
class Discretisation:
    """A x = b as a numerical solver has it of a case, and what x says.

    Args:
        case: which case.
        system: A.
        rhs: b, of `system.shape`.
        support: where the scheme's answers live: all of its unknowns, and what is given.
        fields: of which x holds values, one after the other.
        given: what is known on the boundary.
        answer: (x, status) -> the solution.
    """

    case: Case
    system: LinearSystem
    rhs: Float[np.ndarray, "*shape"]
    support: Support
    fields: tuple[str, ...]
    given: tuple[Given, ...]
    answer: Callable[[np.ndarray, str], Any] = field(repr=False)

    def solution(self, x: Any, info: Any = None) -> xarray.Dataset:
        """The labelled solution that x is, as the scheme itself would label it.

        Args:
            x: of the system's shape, or flat.
            info: how the solve went; what did not converge says so in the solution's `status`.

        Raises:
            InputError: an array of another shape.
        """
        values = np.asarray(x)
        if values.shape not in (self.system.shape, (self.system.size,)):
            raise InputError(f"x: expected an array of shape {self.system.shape}, got {values.shape}")
        status = "ok"
        if info is not None and not bool(info.converged):
            status = f"not converged: residual {float(info.residual):.1e} after {int(info.iterations)} iterations"
        return self.answer(values.reshape(self.system.shape).astype(np.float64), status)


def system(
    case: Case, resolution: int | tuple[int, ...] | None = None, scheme: Any = None, time: float | None = None,
    state: xarray.Dataset | None = None,
) -> Discretisation:  # fmt: skip
    """The linear system that a scheme has of a case.

    Of a steady problem it is the problem itself. Of one in time it is that of the next implicit stage, (mass · storage
    + factor · A) x = b; of an incompressible flow the equation of its pressure: of one fluid that which belongs to the
    instant, of two fluids that of the next step.

    Args:
        case: of a problem whose equations are linear, or an incompressible flow.
        resolution: cells along each axis, or counts in array order (z, y, x); where `scheme` is no solver already.
        scheme: a solver such as `FiniteElements(32)`, or its class; by default the problem's reference.
        time: of a problem in time, when the step begins; by default that of the state.
        state: a solution whose last frame is the state; by default the case's beginning.

    Returns:
        The system with its right-hand side, and what labels a solution.

    Raises:
        InputError: a scheme that gives no linear system, a problem that is not linear, or arguments that do not fit.
    """
    solver = scheme_of(case, resolution, scheme)
    solver.require(case)
    if case.problem.steady and not (time is None and state is None):
        raise InputError(f"time: {case.problem.name} is steady, expected neither a time nor a state")
    return solver.linear(case, time, state)


def scheme_of(case: Case, resolution: Any, scheme: Any) -> Any:
    """The numerical solver that is meant; see `system`.

    Raises:
        InputError: none is.
    """
    base = importlib.import_module("sciml.solvers._numerical").NumericalSolver
    if isinstance(scheme, base):
        if resolution is not None:
            raise InputError(f"resolution: {scheme.name} has its own, expected none")
        return scheme
    d = case.problem.dimensions
    counts = (64,) * d if resolution is None else (resolution,) * d if is_whole(resolution) else resolution
    if not isinstance(counts, tuple | list) or len(counts) != d or any(not is_whole(n) or n < 1 for n in counts):
        raise InputError(f"resolution: expected a count of cells, or {d} of them, got {resolution!r}")
    if scheme is None:
        found = importlib.import_module("sciml.solvers.references").reference(case.problem, tuple(counts))
        if found is None:
            raise InputError(f"scheme: no solver is known for {case.problem.name}, expected one, as FiniteElements(32)")
        return found
    if isinstance(scheme, type) and issubclass(scheme, base):
        return scheme.on(tuple(counts), "float64")
    got = scheme.__name__ if isinstance(scheme, type) else type(scheme).__name__
    raise InputError(f"scheme: expected a numerical solver such as FiniteElements(32), or its class, got {got}")
