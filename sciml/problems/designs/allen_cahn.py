"""Random mixtures that part."""

from __future__ import annotations

import numpy as np

from sciml.problem import Case
from sciml.problems.designs import RandomDesign, waves


class AllenCahnDesign(RandomDesign):
    """u(x, 0) a sum of four waves with a largest value of 1; κ log-uniform in [10⁻³, 10⁻²] at γ = 5, such that fronts
    are at least two cells of 100 wide. Frames are 0.05/γ apart."""

    def draw(self, random: np.random.Generator, resolution: tuple[int, ...]) -> Case:
        diffusivity = float(np.exp(random.uniform(np.log(1e-3), np.log(1e-2))))
        x = (np.arange(resolution[0]) + 0.5) / resolution[0]
        return self.problem.case(diffusivity=diffusivity, initial_phase=waves(random, x))
