"""Networks that solve equations by themselves: the solver, architectures, residuals, and minimisers that train them.

Each is imported when first named.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sciml.solvers.pinn._adam import Adam, Cosine, Decay, Exponential
    from sciml.solvers.pinn._broyden import SelfScaledBroyden
    from sciml.solvers.pinn._case_residuals import residuals
    from sciml.solvers.pinn._levenberg import LevenbergMarquardt
    from sciml.solvers.pinn._residuals import General, Pointwise, Residuals
    from sciml.solvers.pinn.flow_network import LagrangianFlowNetwork
    from sciml.solvers.pinn.lagrangian import LagrangianPINN
    from sciml.solvers.pinn.minimisers import Minimiser
    from sciml.solvers.pinn.networks import Architecture, Factorised, Features, Fourier, Glorot, Network, Weights
    from sciml.solvers.pinn.recipe import Balancing, Causal, GradientNorms, PINNRecipe
    from sciml.solvers.pinn.sampling import ByResidual, Fresh, RandomPoints, Resampling, Sampling, SobolPoints
    from sciml.solvers.pinn.solver import PINN

_HOMES = {
    "Adam": "_adam",
    "Architecture": "networks",
    "Cosine": "_adam",
    "Decay": "_adam",
    "Exponential": "_adam",
    "Factorised": "networks",
    "Features": "networks",
    "Fourier": "networks",
    "General": "_residuals",
    "Glorot": "networks",
    "LagrangianFlowNetwork": "flow_network",
    "LagrangianPINN": "lagrangian",
    "LevenbergMarquardt": "_levenberg",
    "Minimiser": "minimisers",
    "Network": "networks",
    "Pointwise": "_residuals",
    "Residuals": "_residuals",
    "SelfScaledBroyden": "_broyden",
    "Weights": "networks",
    "Balancing": "recipe",
    "ByResidual": "sampling",
    "Causal": "recipe",
    "Fresh": "sampling",
    "GradientNorms": "recipe",
    "PINN": "solver",
    "PINNRecipe": "recipe",
    "RandomPoints": "sampling",
    "Resampling": "sampling",
    "Sampling": "sampling",
    "SobolPoints": "sampling",
    "residuals": "_case_residuals",
}

__all__ = [
    "PINN", "Adam", "Architecture", "Balancing", "ByResidual", "Causal", "Cosine", "Decay", "Exponential",
    "Factorised", "Features", "Fourier", "Fresh", "General", "Glorot", "GradientNorms", "LagrangianFlowNetwork",
    "LagrangianPINN", "LevenbergMarquardt", "Minimiser", "Network", "PINNRecipe", "Pointwise", "RandomPoints",
    "Resampling", "Residuals", "Sampling", "SelfScaledBroyden", "SobolPoints", "Weights", "residuals",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"sciml.solvers.pinn.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'sciml.solvers.pinn' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
