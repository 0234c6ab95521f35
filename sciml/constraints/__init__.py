"""Laws that fields obey, put on the answers of any model.

Modules that map a field to the nearest one that obeys a law, or make one that does; the update of uncertain answers to
what is known of their integrals; answers that solve an equation over learned functions. What belongs to operators and
data is put around them elsewhere.
"""

from __future__ import annotations

from sciml.constraints._normal import Normal, log_likelihood, mean_squared_error
from sciml.constraints.ansatz import Ansatz
from sciml.constraints.cells import Equations, cell_divergence, central_divergence, linearise, target_of
from sciml.constraints.conservation import ConservationUpdate, Smoothness, integrals, trapezoid
from sciml.constraints.discrete import DiscreteProjection
from sciml.constraints.distances import Circle, Piece, Plane, Segment, joined, outline, shares
from sciml.constraints.leray import CentralLeray, Leray, PeriodicProjection
from sciml.constraints.pde import PDEConstraint, Solved
from sciml.constraints.potentials import cell_curl, cell_velocity, face_curl, face_velocity, hold_on_bodies
from sciml.constraints.projection import Projection
from sciml.constraints.staggered import StaggeredProjection

__all__ = [
    "Ansatz", "CentralLeray", "Circle", "ConservationUpdate", "DiscreteProjection", "Equations", "Leray", "Normal",
    "PDEConstraint", "PeriodicProjection", "Piece", "Plane", "Projection", "Segment", "Smoothness", "Solved",
    "StaggeredProjection",
    "cell_curl", "cell_divergence", "cell_velocity", "central_divergence", "face_curl", "face_velocity",
    "hold_on_bodies", "integrals", "joined", "linearise", "log_likelihood", "mean_squared_error", "outline", "shares",
    "target_of", "trapezoid",
]  # fmt: skip
