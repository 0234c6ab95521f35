"""Linear systems of elliptic equations, and what solves them.

A `LinearSystem` says what is to be solved: a `GridSystem` on the cells of a box, with coefficients that vary, closed
faces and a null space, or a `MatrixSystem` with a sparse matrix of any origin. A `LinearSolver` solves it for one
right-hand side after the other. On grids any of them serves as `pressure_solver=` of a flow solver.

Each is imported when first named, so that flow solvers load no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sciml.solvers.linear import families
    from sciml.solvers.linear._dcdm_network import DirectionNetwork
    from sciml.solvers.linear._ends import End, Ends
    from sciml.solvers.linear._preconditioner import Preconditioner
    from sciml.solvers.linear._solver import Info, LinearSolver, Prepared
    from sciml.solvers.linear._system import LinearSystem
    from sciml.solvers.linear._warm_start import MarchStart, WarmStart
    from sciml.solvers.linear.algebraic_multigrid import RugeStuben, SmoothedAggregation
    from sciml.solvers.linear.conjugate_gradient import ConjugateGradient
    from sciml.solvers.linear.convergent_graph import ConvergentGraphSolver
    from sciml.solvers.linear.deep_conjugate_direction import DeepConjugateDirection
    from sciml.solvers.linear.deflation import Deflation
    from sciml.solvers.linear.direct import Direct
    from sciml.solvers.linear.discretisation import Discretisation, Given, system
    from sciml.solvers.linear.from_operator import FromOperator
    from sciml.solvers.linear.gmres import GMRES
    from sciml.solvers.linear.grid_system import GridSystem
    from sciml.solvers.linear.guesses import (
        Extrapolated,
        Predicted,
        Previous,
        Replay,
        Zero,
        replay,
    )
    from sciml.solvers.linear.incomplete_cholesky import IncompleteCholesky
    from sciml.solvers.linear.jacobi import Jacobi
    from sciml.solvers.linear.learned_multigrid import LearnedMultigrid
    from sciml.solvers.linear.matrix_system import MatrixSystem
    from sciml.solvers.linear.minres import MINRES
    from sciml.solvers.linear.multigrid import MultigridCG
    from sciml.solvers.linear.multigrid_preconditioner import Multigrid
    from sciml.solvers.linear.pore_system import PoreSystem
    from sciml.solvers.linear.projected import Projected
    from sciml.solvers.linear.recording import (
        Counting,
        Recording,
        count_iterations,
        load_recorded,
        record,
        save_recorded,
    )
    from sciml.solvers.linear.reduced_basis import ReducedBasis
    from sciml.solvers.linear.sparse_direct import SparseDirect
    from sciml.solvers.linear.steady import SteadyLinear

_HOMES = {
    "ConjugateGradient": "conjugate_gradient",
    "ConvergentGraphSolver": "convergent_graph",
    "Counting": "recording",
    "DeepConjugateDirection": "deep_conjugate_direction",
    "Deflation": "deflation",
    "Direct": "direct",
    "DirectionNetwork": "_dcdm_network",
    "Discretisation": "discretisation",
    "End": "_ends",
    "Ends": "_ends",
    "Extrapolated": "guesses",
    "FromOperator": "from_operator",
    "GMRES": "gmres",
    "Given": "discretisation",
    "GridSystem": "grid_system",
    "IncompleteCholesky": "incomplete_cholesky",
    "Info": "_solver",
    "Jacobi": "jacobi",
    "LearnedMultigrid": "learned_multigrid",
    "LinearSolver": "_solver",
    "LinearSystem": "_system",
    "MINRES": "minres",
    "MarchStart": "_warm_start",
    "MatrixSystem": "matrix_system",
    "Multigrid": "multigrid_preconditioner",
    "MultigridCG": "multigrid",
    "PoreSystem": "pore_system",
    "Preconditioner": "_preconditioner",
    "Predicted": "guesses",
    "Prepared": "_solver",
    "Previous": "guesses",
    "Projected": "projected",
    "Recording": "recording",
    "ReducedBasis": "reduced_basis",
    "Replay": "guesses",
    "RugeStuben": "algebraic_multigrid",
    "SmoothedAggregation": "algebraic_multigrid",
    "SparseDirect": "sparse_direct",
    "SteadyLinear": "steady",
    "WarmStart": "_warm_start",
    "Zero": "guesses",
    "count_iterations": "recording",
    "load_recorded": "recording",
    "record": "recording",
    "replay": "guesses",
    "save_recorded": "recording",
    "system": "discretisation",
}

__all__ = [
    "GMRES",
    "MINRES",
    "ConjugateGradient",
    "ConvergentGraphSolver",
    "Counting",
    "DeepConjugateDirection",
    "Deflation",
    "Direct",
    "DirectionNetwork",
    "Discretisation",
    "End",
    "Ends",
    "Extrapolated",
    "FromOperator",
    "Given",
    "GridSystem",
    "IncompleteCholesky",
    "Info",
    "Jacobi",
    "LearnedMultigrid",
    "LinearSolver",
    "LinearSystem",
    "MarchStart",
    "MatrixSystem",
    "Multigrid",
    "MultigridCG",
    "PoreSystem",
    "Preconditioner",
    "Predicted",
    "Prepared",
    "Previous",
    "Projected",
    "Recording",
    "ReducedBasis",
    "Replay",
    "RugeStuben",
    "SmoothedAggregation",
    "SparseDirect",
    "SteadyLinear",
    "WarmStart",
    "Zero",
    "count_iterations",
    "families",
    "load_recorded",
    "record",
    "replay",
    "save_recorded",
    "system",
]


def __getattr__(name: str) -> Any:
    if name == "families":
        return importlib.import_module("sciml.solvers.linear.families")
    if name in _HOMES:
        return getattr(importlib.import_module(f"sciml.solvers.linear.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'sciml.solvers.linear' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
