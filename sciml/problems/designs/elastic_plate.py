"""Plates with a hole at a random place, pulled in a random direction."""

from __future__ import annotations

import math

import numpy as np

from sciml.geometry import Box
from sciml.problem import Case
from sciml.problems._holes import drawn
from sciml.problems.designs import RandomDesign


class ElasticPlateDesign(RandomDesign):
    """Plates of width 1 m and height 0.4 to 0.8 m, a hole of radius 0.05 to 0.12 m at least 0.05 m from their sides, ν
    in 0.2 to 0.45, E log-uniform in 70 to 210 GPa, and a traction of 10 to 100 MPa within 60° of x."""

    def draw(self, random: np.random.Generator, resolution: tuple[int, ...]) -> Case:
        height = float(random.uniform(0.4, 0.8))
        ((x, y, radius, _, _),) = drawn(random, Box((0.0, 0.0), (1.0, height)), 1, (0.05, 0.12), 0.05).tolist()
        pull, angle = random.uniform(1e7, 1e8), random.uniform(-math.pi / 3, math.pi / 3)
        return self.problem.case(
            height=height, hole_x=x, hole_y=y, hole_radius=radius, poisson_ratio=float(random.uniform(0.2, 0.45)),
            young_modulus=float(np.exp(random.uniform(np.log(7e10), np.log(2.1e11)))),
            traction_x=float(pull * math.cos(angle)), traction_y=float(pull * math.sin(angle)),
        )  # fmt: skip
