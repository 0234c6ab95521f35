"""Steady linear problems by a scheme of one solver and the linear solver of one's choice."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from sciml.errors import InputError, SolverError
from sciml.problem import Case, Problem
from sciml.registry import solvers
from sciml.solver import Solver
from sciml.solvers.linear._solver import LinearSolver
from sciml.solvers.linear.discretisation import scheme_of
from sciml.solvers.linear.sparse_direct import SparseDirect

if TYPE_CHECKING:
    import xarray


@solvers.register("steady_linear")
class SteadyLinear(Solver):
    """A x = b: the equations of a steady linear problem by a scheme, solved by any linear solver.

    Solutions are the scheme's own to the tolerance of the solver, labelled as it labels them, with the attributes
    "iterations", "residual_history" (relative ones, from before anything was done; of solvers that keep none the last
    alone), "setup_seconds", "solve_seconds", "converged" (1 or 0) and "switched" (the iteration from which a classical
    method went on; −1 for never).

    Args:
        scheme: a numerical solver that hands out linear systems, such as `FiniteElements(32)`; None for the problem's
            reference.
        solver: of `sciml.solvers.linear`; None for `SparseDirect()`.
        resolution: of the reference, where no scheme is given: a count of cells along each axis, or one for each.

    Raises:
        InputError: what is no such solver, or a resolution beside a scheme.
    """

    name = "steady_linear"

    def __init__(
        self, scheme: Any = None, solver: LinearSolver | None = None, resolution: int | tuple[int, ...] | None = None
    ):
        if solver is not None and not isinstance(solver, LinearSolver):
            raise InputError(f"{self.name}: solver is a {type(solver).__name__}, expected one of sciml.solvers.linear")
        if scheme is not None and not isinstance(scheme, Solver):
            raise InputError(f"{self.name}: scheme is {scheme!r:.60}, expected a solver such as FiniteElements(32)")
        if scheme is not None and resolution is not None:
            raise InputError(f"{self.name}: resolution is {resolution!r}, expected none beside a scheme, which has one")
        self.scheme, self.solver = scheme, SparseDirect() if solver is None else solver
        self.resolution = resolution

    @property
    def settings(self) -> dict[str, Any]:
        scheme = None if self.scheme is None else {"name": self.scheme.name, **self.scheme.settings}
        return {"scheme": scheme, "solver": self.solver.name, "resolution": self.resolution}

    def supports(self, problem: Problem) -> bool:
        if not problem.steady or not problem.balances():
            return False
        return self.scheme is None or self.scheme.supports(problem)

    def _solve(self, case: Case, times: np.ndarray | None) -> xarray.Dataset:
        scheme = scheme_of(case, self.resolution, self.scheme)
        scheme.require(case)
        found = scheme.linear(case)
        if not self.solver.supports(found.system):
            kind = "symmetric" if found.system.symmetric else "not symmetric"
            raise InputError(
                f"{self.name}: {self.solver.name} does not solve the system of {scheme.name} for {case.problem.name}, "
                f"{type(found.system).__name__}, {kind}; SparseDirect() does"
            )
        told: dict[str, Any] = {"iterations": 0, "residual_history": np.zeros(0), "converged": 0, "switched": -1}
        began = time.perf_counter()
        try:
            with jax.enable_x64(True):
                prepared = self.solver.prepare(found.system)
                ready = time.perf_counter()
                x, info = prepared(found.rhs)
                x = np.asarray(x)
            done = time.perf_counter()
            solution = found.solution(x, info)
            history = [info.residual] if info.history is None else info.history
            told = {
                "iterations": int(info.iterations), "residual_history": np.asarray(history, np.float64).reshape(-1),
                "converged": int(bool(info.converged)), "switched": int(info.switched),
            }  # fmt: skip
        except SolverError as error:
            ready = done = time.perf_counter()
            solution = found.answer(np.full(found.system.shape, np.nan), str(error))
        solution.attrs |= {"solver": self.name, "settings": json.dumps(self.settings)}
        solution.attrs |= told | {"setup_seconds": ready - began, "solve_seconds": done - ready}
        return solution
