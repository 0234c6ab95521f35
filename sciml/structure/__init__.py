"""Structure of flows: vortices, Lagrangian coherent structures, interfaces; of solutions of any solver on grids.

velocity_gradient, Differences                                 ∂u_i/∂x_j on any grid
vortices; vorticity, q_criterion, okubo_weiss, lambda2,
swirling_strength                                              criteria made of it, as data sets
"""

from sciml.structure.gradient import Differences, velocity_gradient
from sciml.structure.vortices import lambda2, okubo_weiss, q_criterion, swirling_strength, vortices, vorticity

__all__ = [
    "Differences",
    "lambda2",
    "okubo_weiss",
    "q_criterion",
    "swirling_strength",
    "velocity_gradient",
    "vortices",
    "vorticity",
]
