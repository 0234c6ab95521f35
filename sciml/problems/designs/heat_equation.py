"""Heat conduction from random beginnings."""

from __future__ import annotations

import numpy as np

from sciml.problem import Case
from sciml.problems.designs import RandomDesign, waves


class HeatDesign(RandomDesign):
    """T(x, 0) a sum of four waves with a largest value of 1 K; diffusivity log-uniform in [3·10⁻³, 10⁻¹] m²/s, sides as
    the problem's own. Frames are 0.05 of the time scale apart."""

    def draw(self, random: np.random.Generator, resolution: tuple[int, ...]) -> Case:
        diffusivity = float(np.exp(random.uniform(np.log(3e-3), np.log(1e-1))))
        x = (np.arange(resolution[0]) + 0.5) / resolution[0]
        return self.problem.case(diffusivity=diffusivity, initial_temperature=waves(random, x))
