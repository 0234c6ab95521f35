"""Solver objects: numerical, learned and unlearned ones, behind one interface.

Each is imported when first named, so that using one backend never loads the other.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sciml.solvers._proper_modes import ProperModes
    from sciml.solvers._subgrid import WALE, DynamicSmagorinsky
    from sciml.solvers.baselines import MeanField, Persistence
    from sciml.solvers.channel import ChannelFlow
    from sciml.solvers.conformal import Conformal, Constant, Local, Scores, Spread
    from sciml.solvers.corrected import CorrectedFlow
    from sciml.solvers.dynamic_modes import DynamicModes
    from sciml.solvers.ensemble import Ensemble
    from sciml.solvers.finite_elements import FiniteElements
    from sciml.solvers.finite_volume import FiniteVolume
    from sciml.solvers.following import follow, history
    from sciml.solvers.foundation import FoundationModel
    from sciml.solvers.generation import generate
    from sciml.solvers.incompressible import IncompressibleFlow
    from sciml.solvers.interpolation import ParameterInterpolation
    from sciml.solvers.linear.steady import SteadyLinear
    from sciml.solvers.material_point import MaterialPoint
    from sciml.solvers.neural_ode import NeuralODE
    from sciml.solvers.openfoam import OpenFOAM
    from sciml.solvers.particle_surrogate import ParticleSurrogate
    from sciml.solvers.pinn import PINN, LagrangianFlowNetwork, LagrangianPINN, PINNRecipe
    from sciml.solvers.pseudospectral import PseudoSpectral
    from sciml.solvers.refiner import SpectralRefiner
    from sciml.solvers.regression import LinearRegression, NearestCase, PODRegression
    from sciml.solvers.sensor_surrogate import SensorSurrogate
    from sciml.solvers.shock_capturing import ShockCapturing
    from sciml.solvers.spectral_closure import SpectralEddyViscosity
    from sciml.solvers.surrogate import Surrogate, load
    from sciml.solvers.two_phase import TwoPhaseFlow

_HOMES = {
    "FiniteElements": "finite_elements",
    "FoundationModel": "foundation",
    "ChannelFlow": "channel",
    "Conformal": "conformal",
    "Constant": "conformal",
    "CorrectedFlow": "corrected",
    "DynamicModes": "dynamic_modes",
    "DynamicSmagorinsky": "_subgrid",
    "Ensemble": "ensemble",
    "FiniteVolume": "finite_volume",
    "IncompressibleFlow": "incompressible",
    "LinearRegression": "regression",
    "Local": "conformal",
    "MaterialPoint": "material_point",
    "MeanField": "baselines",
    "NearestCase": "regression",
    "NeuralODE": "neural_ode",
    "OpenFOAM": "openfoam",
    "LagrangianFlowNetwork": "pinn",
    "LagrangianPINN": "pinn",
    "PINN": "pinn",
    "PINNRecipe": "pinn",
    "PODRegression": "regression",
    "ParameterInterpolation": "interpolation",
    "ParticleSurrogate": "particle_surrogate",
    "Persistence": "baselines",
    "ProperModes": "_proper_modes",
    "PseudoSpectral": "pseudospectral",
    "Scores": "conformal",
    "SensorSurrogate": "sensor_surrogate",
    "ShockCapturing": "shock_capturing",
    "SpectralEddyViscosity": "spectral_closure",
    "SpectralRefiner": "refiner",
    "Spread": "conformal",
    "SteadyLinear": "linear.steady",
    "Surrogate": "surrogate",
    "TwoPhaseFlow": "two_phase",
    "WALE": "_subgrid",
    "follow": "following",
    "generate": "generation",
    "history": "following",
    "load": "surrogate",
}

__all__ = [
    "PINN",
    "WALE",
    "ChannelFlow",
    "Conformal",
    "Constant",
    "CorrectedFlow",
    "DynamicModes",
    "DynamicSmagorinsky",
    "Ensemble",
    "FiniteElements",
    "FiniteVolume",
    "FoundationModel",
    "IncompressibleFlow",
    "LagrangianFlowNetwork",
    "LagrangianPINN",
    "LinearRegression",
    "Local",
    "MaterialPoint",
    "MeanField",
    "NearestCase",
    "NeuralODE",
    "OpenFOAM",
    "PINNRecipe",
    "PODRegression",
    "ParameterInterpolation",
    "ParticleSurrogate",
    "Persistence",
    "ProperModes",
    "PseudoSpectral",
    "Scores",
    "SensorSurrogate",
    "ShockCapturing",
    "SpectralEddyViscosity",
    "SpectralRefiner",
    "Spread",
    "SteadyLinear",
    "Surrogate",
    "TwoPhaseFlow",
    "follow",
    "generate",
    "history",
    "load",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"sciml.solvers.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'sciml.solvers' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
