"""Materials: how stress follows from what matter has gone through. One a file."""

from sciml.materials._material import Material as Material
from sciml.materials.neo_hookean import NeoHookean as NeoHookean
from sciml.materials.newtonian_fluid import NewtonianFluid as NewtonianFluid

__all__ = ["Material", "NeoHookean", "NewtonianFluid"]
