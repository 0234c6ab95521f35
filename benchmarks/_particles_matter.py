"""Some matter in a box, for identities that `MaterialPoint` is held against: all that one needs, said in one place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from sciml.geometry import SIDES, Box, Geometry
from sciml.materials import Material, NeoHookean
from sciml.particle_problem import Body, ParticleProblem, Slip, Wall
from sciml.problem import Case, ParameterSpec, Scales


class Matter(ParticleProblem):
    """Some matter in a box, as told."""

    name = "matter"
    title = "Some matter"
    parameters = (ParameterSpec("number", "1", 0.0),)

    def __init__(
        self,
        matter: Geometry,
        box: Box,
        material: Material | Callable[[Case], Material],
        velocity: Callable[[np.ndarray], Any] | None = None,
        gravity: tuple[float, ...] | None = None,
        walls: Mapping[str, Wall] | None = None,
        bodies: Callable[[Case], tuple[Body, ...]] | tuple[Body, ...] = (),
    ):
        super().__init__(box.dimensions)
        self._matter, self._box, self._material, self._bodies = matter, box, material, bodies
        self._velocity, self._walls = velocity, dict(walls or {})
        self._gravity = np.zeros(box.dimensions) if gravity is None else np.array(gravity, np.float64)

    def geometry(self, case: Case) -> Box:
        return self._box

    def material(self, case: Case) -> Material:
        return self._material if isinstance(self._material, Material) else self._material(case)

    def matter(self, case: Case) -> Geometry:
        return self._matter

    def walls(self, case: Case) -> dict[str, Wall]:
        sides = {side: Slip() for side, (axis, _) in SIDES.items() if axis < self.dimensions}
        return {**sides, **self._walls}

    def bodies(self, case: Case) -> tuple[Body, ...]:
        return self._bodies(case) if callable(self._bodies) else self._bodies

    def gravity(self, case: Case) -> np.ndarray:
        return self._gravity

    def first_velocity(self, case: Case, points: np.ndarray) -> np.ndarray:
        if self._velocity is None:
            return np.zeros_like(points)
        return np.broadcast_to(np.asarray(self._velocity(points), np.float64), points.shape).copy()

    def scales(self, case: Case) -> Scales:
        return Scales(1.0, 1.0, {f.name: 1.0 for f in self.fields}, 1.0, 1.0)


def solid(young: float = 1e4, poisson: float = 0.3, density: float = 1000.0) -> NeoHookean:
    """Of Young's modulus and Poisson's number."""
    shear = young / (2 * (1 + poisson))
    return NeoHookean(density, shear, young * poisson / ((1 + poisson) * (1 - 2 * poisson)))
