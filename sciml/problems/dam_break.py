"""A column of water that collapses in a box."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sciml.materials import NewtonianFluid
from sciml.problem import Case
from sciml.problems._block import BlockProblem
from sciml.problems._matter import FLUID, fluid
from sciml.registry import problems

if TYPE_CHECKING:
    from sciml.problems.designs import Design


@problems.register("dam_break")
class DamBreak(BlockProblem):
    """ρ Dv/Dt = −∇p + ∇·(2η dev D) + ρ g of a nearly incompressible fluid, followed by particles, after a wall in front
    of it has gone; sides of the box without friction, air left out. See `sciml.materials.NewtonianFluid`.

    The artificial sound speed is √(2gH)/`mach`, H being the height of the column: density then changes by about mach².

    Source: J. C. Martin and W. J. Moyce, Phil. Trans. R. Soc. A 244, 312 (1952), for the experiment.
    """

    name = "dam_break"
    title = "Dam break, followed by particles"
    matter_parameters = FLUID

    def material(self, case: Case) -> NewtonianFluid:
        return fluid(case, self.fall(case))

    @classmethod
    def design(cls) -> Design:
        """Columns of 0.2 to 0.4 m by 0.2 to 0.6 m at 0 to 0.5 m, half of them with an obstacle; 2 s."""
        from sciml.problems.designs.blocks import Blocks

        return Blocks(cls(), {"width": (0.2, 0.4), "height": (0.2, 0.6), "left": (0.0, 0.5)}, last=2.0)
