"""A soft body that is thrown into a box."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from sciml.errors import InputError, suggest
from sciml.geometry import Disc, Geometry
from sciml.materials import NeoHookean, lame_constants
from sciml.particle_problem import Friction, Wall
from sciml.problem import Case
from sciml.problems._block import BlockProblem
from sciml.problems._matter import FRICTION, elastic, rest_density
from sciml.registry import problems

if TYPE_CHECKING:
    from sciml.problems.designs import Design

SHAPES = ("block", "disc")


@problems.register("elastic_drop")
class ElasticDrop(BlockProblem):
    """ρ Dv/Dt = ∇·σ + ρ g of a neo-Hookean body, see `sciml.materials.NeoHookean`, which is thrown, bounces and slides.
    Floor and obstacle have dry friction.

    Args:
        shape: "block", or "disc" (in space a ball) that fits the width of the block and stands where the block begins.
    """

    name = "elastic_drop"
    title = "Soft body thrown into a box"
    matter_parameters = (rest_density(1000.0), *elastic(1e5), FRICTION)
    usual: ClassVar[Mapping[str, float]] = {
        "width": 0.2, "height": 0.2, "left": 0.15, "bottom": 0.3, "speed_x": 1.0, "depth": 0.2, "near": 0.15,
    }  # fmt: skip

    def __init__(self, dimensions: int = 2, shape: str = "block"):
        super().__init__(dimensions)
        if shape not in SHAPES:
            raise InputError(f"{self.name}: shape is {shape!r}{suggest(str(shape), SHAPES)}")
        self.shape = shape

    @property
    def options(self) -> dict[str, Any]:
        return super().options | ({} if self.shape == "block" else {"shape": self.shape})

    def matter(self, case: Case) -> Geometry:
        block = super().matter(case)
        if self.shape == "block":
            return block
        radius = case.width / 2
        return Disc(tuple(a + radius for a in block.lower), radius)

    def material(self, case: Case) -> NeoHookean:
        return NeoHookean(case.rest_density, *lame_constants(case.young, case.poisson))

    def touch(self, case: Case) -> Wall:
        return Friction(case.wall_friction)

    @classmethod
    def design(cls) -> Design:
        """Blocks of 0.12 to 0.3 m an edge, thrown from anywhere at up to 2 m/s, with Young's moduli of 5e4 to 5e5 Pa,
        half of them with an obstacle; 1 s."""
        from sciml.problems.designs.blocks import Blocks

        places = {"width": (0.12, 0.3), "height": (0.12, 0.3), "left": (0.05, 0.65), "bottom": (0.05, 0.5)}
        speeds = {"speed_x": (-2.0, 2.0), "speed_y": (-2.0, 1.0)}
        return Blocks(cls(), {**places, **speeds, "young": (5e4, 5e5)}, last=1.0)
