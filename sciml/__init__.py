"""sciml: a PDE is described once, any solver, numerical or learned, solves it through the same call, and every answer
is the same labelled data set with its own audit.

Importing this package is cheap: sub-packages, and with them torch, JAX and xarray, are loaded when first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from sciml.boundary import BoundaryCondition, Series
from sciml.errors import FileFormatError, InputError, SolverError, TrainingError
from sciml.expressions import Balance
from sciml.geometry import Box, Difference, Disc, Grid
from sciml.problem import Case, FieldSpec, InputSpec, Invariant, ParameterSpec, PDEProblem, Scales
from sciml.solver import Solver, TrainableSolver

if TYPE_CHECKING:
    from sciml import cli, data, derivatives, metrics, operators, problems, reporting, solvers, training
    from sciml._audit import audit
    from sciml.evaluation import evaluate
    from sciml.reporting import report
    from sciml.solvers import load
    from sciml.training import Epochs, Minutes, Recipe, Running, Steps

__version__ = "0.1.0"

_SUBPACKAGES = (
    "cli", "data", "derivatives", "metrics", "operators", "problems", "reporting", "solvers", "training",
)  # fmt: skip
_NAMES = {
    "audit": "sciml._audit",
    "evaluate": "sciml.evaluation",
    "report": "sciml.reporting",
    "load": "sciml.solvers",
    **dict.fromkeys(("Epochs", "Minutes", "Recipe", "Running", "Steps"), "sciml.training.recipe"),
}

__all__ = [
    "Balance", "BoundaryCondition", "Box", "Case", "Difference", "Disc", "Epochs", "FieldSpec", "FileFormatError",
    "Grid", "InputError", "InputSpec", "Invariant", "Minutes", "PDEProblem", "ParameterSpec", "Recipe", "Running",
    "Scales", "Series", "Solver", "SolverError", "Steps", "TrainableSolver", "TrainingError", "audit", "cli", "data",
    "derivatives", "evaluate", "load", "metrics", "operators", "problems", "report", "reporting", "solvers",
    "training",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _SUBPACKAGES:
        return importlib.import_module(f"sciml.{name}")
    if name in _NAMES:
        return getattr(importlib.import_module(_NAMES[name]), name)
    raise AttributeError(f"module 'sciml' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
