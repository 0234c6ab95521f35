"""Poisson's equation with random smooth sources."""

from __future__ import annotations

import numpy as np

from sciml.problem import Case
from sciml.problems.designs import RandomDesign, gaussian_field


class PoissonDesign(RandomDesign):
    """Sources sampled from N(0, (−Δ + 25)⁻²), with a root mean square of 10."""

    def draw(self, random: np.random.Generator, resolution: tuple[int, ...]) -> Case:
        field = gaussian_field(random, resolution, tau=5.0, power=2.0)
        return self.problem.case(source=10.0 * field / np.sqrt((field**2).mean()))
