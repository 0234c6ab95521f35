"""Materials: how stress follows from what matter has gone through. One a file."""

from sciml.materials._elastic import lame_constants as lame_constants
from sciml.materials._material import Material as Material
from sciml.materials.bingham_fluid import BinghamFluid as BinghamFluid
from sciml.materials.drucker_prager import DruckerPrager as DruckerPrager
from sciml.materials.neo_hookean import NeoHookean as NeoHookean
from sciml.materials.newtonian_fluid import NewtonianFluid as NewtonianFluid

__all__ = ["BinghamFluid", "DruckerPrager", "Material", "NeoHookean", "NewtonianFluid", "lame_constants"]
