"""What problems with a block of matter in a box share."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from sciml.geometry import SIDES, Box, Disc
from sciml.particle_problem import Body, ParticleProblem, Slip, Stick, Wall
from sciml.problem import Case, ParameterSpec, Scales

if TYPE_CHECKING:
    from jaxtyping import Float

GRAVITY = 9.81  # m s⁻²


def _length(name: str, default: float, description: str, zero: bool = True) -> ParameterSpec:
    return ParameterSpec(name, "m", default, 0.0, description=description, open_minimum=not zero)


#: of the block, the box and a round obstacle
PLACE = (
    _length("width", 0.3, "of the block", zero=False),
    _length("height", 0.4, "of the block", zero=False),
    _length("left", 0.0, "from the left side of the box to the block"),
    _length("bottom", 0.0, "from the floor to the block"),
    ParameterSpec("speed_x", "m s-1", 0.0, description="of the block at the start, along x"),
    ParameterSpec("speed_y", "m s-1", 0.0, description="of the block at the start, along y"),
    _length("obstacle_radius", 0.0, "0 without an obstacle"),
    _length("obstacle_x", 0.6, "its centre"),
    _length("obstacle_y", 0.0, "its centre"),
    _length("box_width", 1.0, "along x", zero=False),
    _length("box_height", 1.0, "along y", zero=False),
)
#: in three dimensions
DEPTH = (
    _length("depth", 0.25, "of the block, along z", zero=False),
    _length("near", 0.0, "from the side z = 0 of the box to the block"),
    ParameterSpec("speed_z", "m s-1", 0.0, description="of the block at the start, along z"),
    _length("obstacle_z", 0.25, "its centre"),
    _length("box_depth", 0.5, "along z", zero=False),
)


class BlockProblem(ParticleProblem):
    """A block of matter in a box, which falls, flows or flies under gravity, with a round obstacle (in three dimensions
    a ball) in its way where `obstacle_radius` > 0. Subclasses say `matter_parameters`, `material`."""

    matter_parameters: tuple[ParameterSpec, ...] = ()

    def __init_subclass__(cls) -> None:
        cls.parameters = (*PLACE, *cls.matter_parameters)

    def __init__(self, dimensions: int = 2):
        super().__init__(dimensions)
        extra = DEPTH if self.dimensions == 3 else ()
        self.parameters = (*PLACE, *extra, *self.matter_parameters)

    def geometry(self, case: Case) -> Box:
        sizes = (case.box_width, case.box_height, *((case.box_depth,) if self.dimensions == 3 else ()))
        return Box((0.0,) * self.dimensions, sizes)

    def matter(self, case: Case) -> Box:
        low = (case.left, case.bottom, *((case.near,) if self.dimensions == 3 else ()))
        size = (case.width, case.height, *((case.depth,) if self.dimensions == 3 else ()))
        return Box(low, tuple(a + b for a, b in zip(low, size, strict=True)))

    def walls(self, case: Case) -> Mapping[str, Wall]:
        """Without friction on all sides."""
        return {side: Slip() for side, (axis, _) in SIDES.items() if axis < self.dimensions}

    def touch(self, case: Case) -> Wall:
        """How the obstacle touches matter; sticks by default."""
        return Stick()

    def bodies(self, case: Case) -> tuple[Body, ...]:
        if not case.obstacle_radius:
            return ()
        z = (case.obstacle_z,) if self.dimensions == 3 else ()
        return (Body(Disc((case.obstacle_x, case.obstacle_y, *z), case.obstacle_radius), self.touch(case)),)

    def first_velocity(
        self, case: Case, points: Float[np.ndarray, "node dimension"]
    ) -> Float[np.ndarray, "node dimension"]:
        z = (case.speed_z,) if self.dimensions == 3 else ()
        return np.broadcast_to(np.array([case.speed_x, case.speed_y, *z]), points.shape).copy()

    def fall(self, case: Case) -> float:
        """The largest speed to be expected, m/s: of what falls from the top of the block, and its first speed."""
        first = self.first_velocity(case, np.zeros((1, self.dimensions)))
        return math.sqrt(2 * GRAVITY * (case.bottom + case.height) + float((first**2).sum()))

    def scales(self, case: Case) -> Scales:
        """The height H of the block's top, √(gH) with what it is thrown at, and the density."""
        length = case.bottom + case.height
        velocity = self.fall(case) / math.sqrt(2)
        density = self.material(case).density
        fields = {f.name: {"displacement": length, "velocity": velocity}.get(f.name[:-2], density) for f in self.fields}
        return Scales(length, length / velocity, fields, velocity, density * velocity**2)
