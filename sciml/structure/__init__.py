"""Structure of flows: vortices, Lagrangian coherent structures and interfaces in solutions of any solver on grids.

`velocity_gradient` and `Differences` are derivatives on any grid; `vortices`, and one function a criterion, are made of
them; `ftle` and `ridges` follow particles through the velocity between frames (`Interpolant`);
`interface` is where turbulent fluid ends; `interface_frame`, `across_interface` and `conditional_profiles` look at a
flow from there.
"""

from sciml.structure.ftle import ftle
from sciml.structure.gradient import Differences, velocity_gradient
from sciml.structure.interface import interface, turbulent_fraction
from sciml.structure.interpolation import Interpolant
from sciml.structure.moving_frame import across_interface, conditional_profiles, interface_frame
from sciml.structure.ridges import ridges
from sciml.structure.vortices import lambda2, okubo_weiss, q_criterion, swirling_strength, vortices, vorticity

__all__ = [
    "Differences",
    "Interpolant",
    "across_interface",
    "conditional_profiles",
    "ftle",
    "interface",
    "interface_frame",
    "lambda2",
    "okubo_weiss",
    "q_criterion",
    "ridges",
    "swirling_strength",
    "turbulent_fraction",
    "velocity_gradient",
    "vortices",
    "vorticity",
]
