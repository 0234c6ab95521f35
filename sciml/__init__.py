"""sciml: a PDE is described once, any solver, numerical or learned, solves it through the same call, and every answer
is the same labelled data set with its own audit.

Importing this package is cheap: sub-packages, and with them torch, JAX and xarray, are loaded when first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from sciml.boundary import Dirichlet, Flux, InSpace, InTime, Neumann, Outflow, Periodic, Robin, Samples, Series
from sciml.errors import ConvergenceError, FileFormatError, InputError, SolverError, TrainingError
from sciml.expressions import Balance
from sciml.geometry import Box, Difference, Disc, Intersection, Polygon, Union
from sciml.particle_problem import Body, Friction, ParticleProblem, Slip, Stick
from sciml.problem import (
    Case,
    FieldSpec,
    InputSpec,
    Invariant,
    ParameterSpec,
    PDEProblem,
    Problem,
    Scales,
)
from sciml.solver import Restartable, Solver, Start, TrainableSolver
from sciml.support import Grid, Mesh, Points, Support
from sciml.symmetry import Symmetry

if TYPE_CHECKING:
    from sciml import (
        cli,
        constraints,
        contracts,
        control,
        data,
        derivatives,
        evaluation,
        implicit,
        materials,
        meshes,
        meshing,
        metrics,
        operators,
        problems,
        processes,
        registry,
        reporting,
        solvers,
        structure,
        studies,
        training,
    )
    from sciml._audit import audit
    from sciml.evaluation import evaluate
    from sciml.problems import DataProblem
    from sciml.reporting import report
    from sciml.solvers import load
    from sciml.studies import study
    from sciml.training import Autoregressive, Epochs, Minutes, Query, Recipe, Running, Steady, Steps, Window

__version__ = "0.1.0"

_SUBPACKAGES = (
    "cli", "constraints", "contracts", "control", "data", "derivatives", "evaluation", "implicit", "materials",
    "meshes", "meshing", "metrics", "operators", "problems", "processes", "registry", "reporting", "solvers",
    "structure", "studies", "training",
)  # fmt: skip
_NAMES = {
    "audit": "sciml._audit",
    "evaluate": "sciml.evaluation",
    "report": "sciml.reporting",
    "load": "sciml.solvers",
    "study": "sciml.studies",
    "DataProblem": "sciml.problems",
} | dict.fromkeys(
    (
        "Autoregressive", "Epochs", "Minutes", "Query", "Recipe", "Running", "Steady", "Steps", "Window",
    ),
    "sciml.training",
)  # fmt: skip

__all__ = [
    "Autoregressive",
    "Balance",
    "Body",
    "Box",
    "Case",
    "ConvergenceError",
    "DataProblem",
    "Difference",
    "Dirichlet",
    "Disc",
    "Epochs",
    "FieldSpec",
    "FileFormatError",
    "Flux",
    "Friction",
    "Grid",
    "InSpace",
    "InTime",
    "InputError",
    "InputSpec",
    "Intersection",
    "Invariant",
    "Mesh",
    "Minutes",
    "Neumann",
    "Outflow",
    "PDEProblem",
    "ParameterSpec",
    "ParticleProblem",
    "Periodic",
    "Points",
    "Polygon",
    "Problem",
    "Query",
    "Recipe",
    "Restartable",
    "Robin",
    "Running",
    "Samples",
    "Scales",
    "Series",
    "Slip",
    "Solver",
    "SolverError",
    "Start",
    "Steady",
    "Steps",
    "Stick",
    "Support",
    "Symmetry",
    "TrainableSolver",
    "TrainingError",
    "Union",
    "Window",
    "audit",
    "cli",
    "constraints",
    "contracts",
    "control",
    "data",
    "derivatives",
    "evaluate",
    "evaluation",
    "implicit",
    "load",
    "materials",
    "meshes",
    "meshing",
    "metrics",
    "operators",
    "problems",
    "processes",
    "registry",
    "report",
    "reporting",
    "solvers",
    "structure",
    "studies",
    "study",
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
