"""Structure of flows: vortices and Lagrangian coherent structures of solutions of any solver on grids.

`velocity_gradient` and `Differences` are derivatives on any grid; `vortices`, and one function a criterion, are made of
them; `ftle` and `ridges` follow particles through the velocity between frames (`Interpolant`).
"""

from sciml.structure.ftle import ftle
from sciml.structure.gradient import Differences, velocity_gradient
from sciml.structure.interpolation import Interpolant
from sciml.structure.ridges import ridges
from sciml.structure.vortices import lambda2, okubo_weiss, q_criterion, swirling_strength, vortices, vorticity

__all__ = [
    "Differences",
    "Interpolant",
    "ftle",
    "lambda2",
    "okubo_weiss",
    "q_criterion",
    "ridges",
    "swirling_strength",
    "velocity_gradient",
    "vortices",
    "vorticity",
]
