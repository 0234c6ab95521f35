"""Blocks of matter in a box: of random sizes, at random places, some with an obstacle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from sciml.errors import InputError
from sciml.particle_problem import ParticleProblem
from sciml.problem import Case, Problem
from sciml.problems.designs.ranges import Ranges

TRIES = 1000  # draws of a case, before there is no room for it


class Blocks(Ranges):
    """As `Ranges`; with a probability of `obstacles` a round obstacle stands on the floor, where there is room.

    Args:
        problem: the family.
        spans: name of a parameter -> least and largest value.
        last: time of the last frame, s.
        obstacles: probability.
        radii: least and largest radius of an obstacle, m.
    """

    def __init__(
        self, problem: Problem, spans: Mapping[str, tuple[float, float]], last: float, obstacles: float = 0.5,
        radii: tuple[float, float] = (0.04, 0.1),
    ):  # fmt: skip
        super().__init__(problem, spans, last)
        self.obstacles, self.radii = obstacles, radii

    def draw(self, random: np.random.Generator, resolution: tuple[int, ...]) -> Case:
        with_obstacle = random.uniform() < self.obstacles
        for _ in range(TRIES):
            case = super().draw(random, resolution)
            if with_obstacle:
                width = case.parameters["box_width"]
                given = {"obstacle_radius": float(random.uniform(*self.radii)),
                         "obstacle_x": float(random.uniform(0.2, 0.8)) * width, "obstacle_y": 0.0}  # fmt: skip
                case = replace(case, parameters={**case.parameters, **given}, inputs=dict(case.inputs))
            try:
                assert isinstance(case.problem, ParticleProblem)
                case.problem.require_room(case)
            except InputError:
                continue
            return case
        raise InputError(f"{self.problem.name}: found no case in {TRIES} draws whose matter has room; narrow the spans")
