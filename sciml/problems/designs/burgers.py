"""Random Burgers flows: waves that steepen into fronts and decay."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sciml.problem import Case
from sciml.problems.designs import RandomDesign, waves


class BurgersDesign(RandomDesign):
    """u(x, 0) a sum of four waves with a largest value of U = 1 on a period of 1; ν log-uniform in [3·10⁻³, 10⁻¹], such
    that fronts, of a width of about 4ν/U, are at least two cells of 160 wide. Frames are 0.05 period/U apart."""

    def draw(self, random: np.random.Generator, resolution: tuple[int, ...]) -> Case:
        viscosity = float(np.exp(random.uniform(np.log(3e-3), np.log(1e-1))))
        x = (np.arange(resolution[0]) + 0.5) / resolution[0]
        return self.problem.case(viscosity=viscosity, initial_velocity=waves(random, x))

    def under_resolved(self, cases: Sequence[Case], resolution: tuple[int, ...]) -> dict[str, float]:
        """Cell Péclet numbers U Δx/ν of the cases beyond 2, where a front has less than two cells."""
        found = {}
        for case in cases:
            speed = float(np.abs(case.initial_velocity).max())
            peclet = speed * case.length / resolution[0] / case.viscosity
            if peclet > 2:
                found[case.label] = round(peclet, 3)
        return found
