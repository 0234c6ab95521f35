"""A column of sand that collapses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sciml.materials import DruckerPrager
from sciml.particle_problem import Friction, Wall
from sciml.problem import Case
from sciml.problems._block import BlockProblem
from sciml.problems._matter import SAND, sand
from sciml.registry import problems

if TYPE_CHECKING:
    from sciml.problems.designs import Design


@problems.register("granular_collapse")
class GranularCollapse(BlockProblem):
    """ρ Dv/Dt = ∇·σ + ρ g of dry grains, see `sciml.materials.DruckerPrager`: a column that runs out and comes to rest
    as a heap. Floor and obstacle have dry friction.

    In the plane a column of width w against a wall and height a w runs out by about 1.2 a w, and by 1.9 a^(2/3) w where
    a > 1.8.

    Source: G. Lube et al., Phys. Rev. E 72, 041301 (2005), for columns in the plane.
    """

    name = "granular_collapse"
    title = "Collapse of a column of sand"
    matter_parameters = SAND

    def material(self, case: Case) -> DruckerPrager:
        return sand(case)

    def touch(self, case: Case) -> Wall:
        return Friction(case.wall_friction)

    @classmethod
    def design(cls) -> Design:
        """Columns of 0.15 to 0.3 m by 0.15 to 0.6 m at 0 to 0.5 m, friction angles of 20 to 40 degrees, half of them
        with an obstacle; 1.5 s."""
        from sciml.problems.designs.blocks import Blocks

        spans = {"width": (0.15, 0.3), "height": (0.15, 0.6), "left": (0.0, 0.5), "friction_angle": (20.0, 40.0)}
        return Blocks(cls(), spans, last=1.5)
