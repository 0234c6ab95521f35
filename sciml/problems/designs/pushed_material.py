"""Plates that go to and fro through a heap."""

from __future__ import annotations

import numpy as np

from sciml.boundary import Series
from sciml.errors import InputError
from sciml.particle_problem import ParticleProblem
from sciml.problem import Case
from sciml.problems.designs.blocks import TRIES, Blocks

KNOTS = 6  # of a plate's velocity
ALONG, UP = (-0.4, 0.8), (-0.3, 0.3)  # m s⁻¹, least and largest velocity


class Pushes(Blocks):
    """As `Blocks` without obstacles; velocities of the plate are drawn at `KNOTS` times, 0 at the first and the last,
    so that the plate stays in the box."""

    def draw(self, random: np.random.Generator, resolution: tuple[int, ...]) -> Case:
        self.obstacles = 0.0
        case = super().draw(random, resolution)
        assert self.last is not None and isinstance(case.problem, ParticleProblem)
        times = self.last * np.linspace(0.0, 1.0, KNOTS)
        (low_x, high_x), (low_y, high_y) = case.geometry.extents[:2]
        for _ in range(TRIES):
            x, y = (np.concatenate([[0.0], random.uniform(*span, KNOTS - 2), [0.0]]) for span in (ALONG, UP))
            inputs = {"plate_velocity_x": Series(times, x), "plate_velocity_y": Series(times, y)}
            moved = Case(case.problem, case.parameters, inputs)
            plate = case.problem.bodies(moved)[0]  # any other body comes after it
            ways = plate.displacement(np.linspace(0.0, self.last, 20 * KNOTS))[:, :2]
            corner = ways + np.array([case.plate_left, case.plate_bottom])
            size = np.array([case.plate_width, case.plate_height])
            if np.all(corner >= [low_x, low_y]) and np.all(corner + size <= [high_x, high_y]):
                return moved
        raise InputError(f"{self.problem.name}: found no way of the plate within the box in {TRIES} draws")
