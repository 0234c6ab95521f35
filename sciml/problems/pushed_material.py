"""A heap that a plate pushes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from sciml.boundary import Series
from sciml.errors import InputError, suggest
from sciml.geometry import AXES, Box
from sciml.materials import DruckerPrager, NewtonianFluid
from sciml.particle_problem import Body, Friction, Slip, Wall
from sciml.problem import Case, InputSpec
from sciml.problems._block import BlockProblem, length
from sciml.problems._matter import FLUID, SAND, fluid, sand
from sciml.registry import problems

if TYPE_CHECKING:
    from sciml.problems.designs import Design

MATERIALS = {"sand": SAND, "fluid": FLUID}
SPEED = 1.0  # m s⁻¹: what a plate is expected not to exceed where nothing says its velocity


PLATE = (
    length("plate_width", 0.05, "along x", zero=False),
    length("plate_height", 0.3, "along y", zero=False),
    length("plate_left", 0.2, "where it is at the start"),
    length("plate_bottom", 0.0, "where it is at the start"),
)


@problems.register("pushed_material")
class PushedMaterial(BlockProblem):
    """ρ Dv/Dt = ∇·σ + ρ g of a heap of sand, or of a fluid, and a plate that moves through it: its velocity along each
    axis is a `Series`, an input ("plate_velocity_x", ...; it rests along axes without one). In space the plate reaches
    from side to side, and does not move along z.

    Args:
        material: "sand" (`sciml.materials.DruckerPrager`) or "fluid" (`sciml.materials.NewtonianFluid`).
    """

    name = "pushed_material"
    title = "Plate that pushes a heap"
    matter_parameters = SAND
    more_places = PLATE
    usual: ClassVar[Mapping[str, float]] = {"width": 0.3, "height": 0.15, "left": 0.3, "obstacle_x": 0.8}
    inputs = tuple(
        InputSpec(f"plate_velocity_{a}", "m s-1", "boundary", ("time",), description=f"of the plate, along {a}")
        for a in AXES[:2]
    )

    def __init__(self, dimensions: int = 2, material: str = "sand"):
        if material not in MATERIALS:
            raise InputError(f"{self.name}: material is {material!r}{suggest(str(material), MATERIALS)}")
        self.of = material
        self.matter_parameters = MATERIALS[material]
        super().__init__(dimensions)

    @property
    def options(self) -> dict[str, Any]:
        return super().options | ({} if self.of == "sand" else {"material": self.of})

    def material(self, case: Case) -> DruckerPrager | NewtonianFluid:
        return sand(case) if self.of == "sand" else fluid(case, self.fall(case))

    def fall(self, case: Case) -> float:
        """Of what falls, or of the plate, whichever is faster."""
        speeds = [np.abs(s.values).max() for s in case.inputs.values() if isinstance(s, Series)]
        return max(super().fall(case), float(max(speeds, default=SPEED)))

    def touch(self, case: Case) -> Wall:
        return Friction(case.wall_friction) if self.of == "sand" else Slip()

    def plate(self, case: Case) -> Body:
        """The plate, where it is at the start."""
        z = (0.0,) if self.dimensions == 3 else ()
        low = (case.plate_left, case.plate_bottom, *z)
        size = (case.plate_width, case.plate_height, *((case.box_depth,) if z else ()))
        still = Series([0.0], [0.0])
        given = [case.inputs.get(f"plate_velocity_{a}", still) for a in AXES[:2]] + [still] * len(z)
        motion = tuple(s for s in given if isinstance(s, Series))
        return Body(Box(low, tuple(a + b for a, b in zip(low, size, strict=True))), self.touch(case), motion)

    def bodies(self, case: Case) -> tuple[Body, ...]:
        return (self.plate(case), *super().bodies(case))

    @classmethod
    def design(cls) -> Design:
        """Heaps of 0.2 to 0.4 m by 0.1 to 0.2 m, and plates that go to and fro through them and are lifted at times, at
        up to 0.8 m/s; 2 s."""
        from sciml.problems.designs.pushed_material import Pushes

        return Pushes(cls(), {"width": (0.2, 0.4), "height": (0.1, 0.2), "left": (0.27, 0.5)}, last=2.0)
