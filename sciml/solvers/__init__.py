"""Solver objects: numerical, learned and unlearned ones, behind one interface.

Each is imported when first named, so that using one backend never loads the other.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sciml.solvers.baselines import MeanField, Persistence
    from sciml.solvers.finite_volume import FiniteVolume
    from sciml.solvers.generation import generate
    from sciml.solvers.incompressible import IncompressibleFlow
    from sciml.solvers.interpolation import ParameterInterpolation
    from sciml.solvers.openfoam import OpenFOAM
    from sciml.solvers.pseudospectral import PseudoSpectral
    from sciml.solvers.surrogate import Surrogate, load
    from sciml.solvers.two_phase import TwoPhaseFlow

_HOMES = {
    "FiniteVolume": "finite_volume",
    "IncompressibleFlow": "incompressible",
    "MeanField": "baselines",
    "OpenFOAM": "openfoam",
    "ParameterInterpolation": "interpolation",
    "Persistence": "baselines",
    "PseudoSpectral": "pseudospectral",
    "Surrogate": "surrogate",
    "TwoPhaseFlow": "two_phase",
    "generate": "generation",
    "load": "surrogate",
}

__all__ = [
    "FiniteVolume", "IncompressibleFlow", "MeanField", "OpenFOAM", "ParameterInterpolation", "Persistence",
    "PseudoSpectral", "Surrogate", "TwoPhaseFlow", "generate", "load",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"sciml.solvers.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'sciml.solvers' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
