"""Laws that a surrogate's answers obey exactly, whatever the weights: `Surrogate(operator, constraints=(...))`.

`enforce` puts one on data themselves, measured ones for instance.
"""

from __future__ import annotations

from sciml.training.laws.base import Constraint, Law, Laws
from sciml.training.laws.boundary_values import BoundaryValues
from sciml.training.laws.bounds import Bounds
from sciml.training.laws.conserved import ConservedTotal
from sciml.training.laws.divergence_free import DivergenceFree
from sciml.training.laws.enforced import Change, Lawful, enforce

__all__ = [
    "BoundaryValues", "Bounds", "Change", "ConservedTotal", "Constraint", "DivergenceFree", "Law", "Lawful", "Laws",
    "enforce",
]  # fmt: skip
