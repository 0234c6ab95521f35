"""Random waves that travel."""

from __future__ import annotations

import numpy as np

from sciml.problem import Case
from sciml.problems.designs import RandomDesign, waves


class AdvectionDesign(RandomDesign):
    """u(x, 0) a sum of four waves with a largest value of 1 on a period of 1; |c| log-uniform in [0.1, 1], to either
    side. Frames are 0.05 of a crossing apart."""

    def draw(self, random: np.random.Generator, resolution: tuple[int, ...]) -> Case:
        speed = float(np.exp(random.uniform(np.log(0.1), 0.0)) * random.choice([-1.0, 1.0]))
        x = (np.arange(resolution[0]) + 0.5) / resolution[0]
        return self.problem.case(speed=speed, initial_concentration=waves(random, x))
