"""What problems with a block of matter in a box share."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from sciml.geometry import SIDES, Box, Disc
from sciml.particle_problem import Body, ParticleProblem, Slip, Wall
from sciml.problem import Case, ParameterSpec, Scales

if TYPE_CHECKING:
    from jaxtyping import Float

GRAVITY = 9.81  # m s⁻²


def length(name: str, default: float, description: str, zero: bool = True) -> ParameterSpec:
    """A parameter that is a length, positive or, where `zero`, also 0."""
    return ParameterSpec(name, "m", default, 0.0, description=description, open_minimum=not zero)


#: of the block, the box and a round obstacle
PLACE = (
    length("width", 0.3, "of the block", zero=False),
    length("height", 0.4, "of the block", zero=False),
    length("left", 0.0, "from the left side of the box to the block"),
    length("bottom", 0.0, "from the floor to the block"),
    ParameterSpec("speed_x", "m s-1", 0.0, description="of the block at the start, along x"),
    ParameterSpec("speed_y", "m s-1", 0.0, description="of the block at the start, along y"),
    length("obstacle_radius", 0.0, "0 without an obstacle"),
    length("obstacle_x", 0.6, "its centre"),
    length("obstacle_y", 0.0, "its centre"),
    length("box_width", 1.0, "along x", zero=False),
    length("box_height", 1.0, "along y", zero=False),
)
#: in three dimensions
DEPTH = (
    length("depth", 0.25, "of the block, along z", zero=False),
    length("near", 0.0, "from the side z = 0 of the box to the block"),
    ParameterSpec("speed_z", "m s-1", 0.0, description="of the block at the start, along z"),
    length("obstacle_z", 0.25, "its centre"),
    length("box_depth", 0.5, "along z", zero=False),
)


class BlockProblem(ParticleProblem):
    """A block of matter in a box, which falls, flows or flies under gravity, with a round obstacle (in three dimensions
    a ball) in its way where `obstacle_radius` > 0.

    Subclasses say `material` and, as class variables, `matter_parameters`, its parameters; `more_places`, parameters
    that say where something is; and `usual`, defaults that differ from those here.
    """

    matter_parameters: tuple[ParameterSpec, ...] = ()
    more_places: ClassVar[tuple[ParameterSpec, ...]] = ()
    usual: ClassVar[Mapping[str, float]] = {}

    def __init_subclass__(cls) -> None:
        cls.parameters = _specs(cls, 2)

    def __init__(self, dimensions: int = 2):
        super().__init__(dimensions)
        self.parameters = _specs(self, self.dimensions)

    def shown(self, case: Case) -> dict[str, float]:
        """The numbers of the matter and its size, and what is not as usual."""
        always = {"width", "height", *(p.name for p in self.matter_parameters)}
        return {
            p.shown: case.parameters[p.name]
            for p in self.parameters
            if p.name in always or case.parameters[p.name] != p.default
        }

    def features(self, case: Case, time: float, time_step: float) -> dict[str, float]:
        """The numbers of the matter (the logarithm of those that span decades), and the step in units of the time
        scale. Where matter, sides and bodies are, particles see themselves."""
        matter = dict(p.feature(case.parameters[p.name]) for p in self.matter_parameters)
        return matter | {"step": time_step / self.scales(case).time}

    def geometry(self, case: Case) -> Box:
        sizes = (case.box_width, case.box_height, *((case.box_depth,) if self.dimensions == 3 else ()))
        return Box((0.0,) * self.dimensions, sizes)

    def matter(self, case: Case) -> Box:
        low = (case.left, case.bottom, *((case.near,) if self.dimensions == 3 else ()))
        size = (case.width, case.height, *((case.depth,) if self.dimensions == 3 else ()))
        return Box(low, tuple(a + b for a, b in zip(low, size, strict=True)))

    def walls(self, case: Case) -> Mapping[str, Wall]:
        """The floor as `touch` says, the other sides without friction."""
        found: dict[str, Wall] = {side: Slip() for side, (axis, _) in SIDES.items() if axis < self.dimensions}
        return found | {"y_min": self.touch(case)}

    def touch(self, case: Case) -> Wall:
        """How floor and obstacle touch matter; by default without friction."""
        return Slip()

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


def _specs(of: BlockProblem | type[BlockProblem], dimensions: int) -> tuple[ParameterSpec, ...]:
    """The parameters in so many dimensions."""
    places = (*PLACE, *(DEPTH if dimensions == 3 else ()), *of.more_places)
    return (*(replace(p, default=of.usual.get(p.name, p.default)) for p in places), *of.matter_parameters)
