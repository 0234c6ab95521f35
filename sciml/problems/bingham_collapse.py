"""A column of yielding fluid that slumps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sciml.materials import BinghamFluid
from sciml.particle_problem import Stick, Wall
from sciml.problem import Case, ParameterSpec
from sciml.problems._block import BlockProblem
from sciml.problems._matter import MACH, TENSION, rest_density
from sciml.registry import problems

if TYPE_CHECKING:
    from sciml.problems.designs import Design

STIFFNESS = 1 / 3  # shear modulus over bulk modulus: strains below the yield stress stay small beside those of a slump


@problems.register("bingham_collapse")
class BinghamCollapse(BlockProblem):
    """ρ Dv/Dt = ∇·σ + ρ g of a fluid that yields at a shear stress τ_y, see `sciml.materials.BinghamFluid`: it flows
    until its weight no longer makes it yield, and keeps the shape that it then has. It sticks to floor and obstacle.

    Artificial are the sound speed, √(2gH)/`mach`, and the shear modulus, a third of the bulk modulus.

    Source: N. J. Balmforth et al., J. Non-Newtonian Fluid Mech. 142, 63 (2007), for viscoplastic dam breaks.
    """

    name = "bingham_collapse"
    title = "Slump of a yielding fluid"
    matter_parameters = (
        rest_density(1000.0),
        ParameterSpec("yield_stress", "Pa", 150.0, description="in shear", logarithmic=True),
        ParameterSpec("plastic_viscosity", "Pa s", 5.0, description="beyond the yield stress", logarithmic=True),
        MACH,
        TENSION,
    )

    def material(self, case: Case) -> BinghamFluid:
        modulus = case.rest_density * (self.fall(case) / case.mach) ** 2
        return BinghamFluid(
            case.rest_density, modulus, STIFFNESS * modulus, case.yield_stress, case.plastic_viscosity, case.tension
        )

    def touch(self, case: Case) -> Wall:
        return Stick()

    @classmethod
    def design(cls) -> Design:
        """Columns of 0.2 to 0.4 m by 0.2 to 0.6 m at 0 to 0.5 m, yield stresses of 30 to 600 Pa, viscosities of 1 to
        20 Pa s, half of them with an obstacle; 2 s."""
        from sciml.problems.designs.blocks import Blocks

        spans = {"width": (0.2, 0.4), "height": (0.2, 0.6), "left": (0.0, 0.5)}
        return Blocks(cls(), {**spans, "yield_stress": (30.0, 600.0), "plastic_viscosity": (1.0, 20.0)}, last=2.0)
