"""Taylor-Green vortices in three dimensions at several Reynolds numbers."""

from __future__ import annotations

import math

import numpy as np

from sciml.problem import Case
from sciml.problems.designs import RandomDesign


class TaylorGreen3DDesign(RandomDesign):
    """Re = ρUL/μ log-uniform in [50, 400], U = ρ = 1 and L = length/2π = 1; frames 0.5 L/U apart.

    Solved on at least 32³ cells up to Re 100, and on more in proportion to Re^(3/4), so that the waves that the 2/3
    rule keeps reach the Kolmogorov length at the peak of the dissipation, ε ≈ 0.013 U³/L.
    """

    usual = 20
    step = 0.5

    def draw(self, random: np.random.Generator, resolution: tuple[int, ...]) -> Case:
        return self.problem.case(viscosity=float(np.exp(-random.uniform(math.log(50.0), math.log(400.0)))))

    def cells(self, case: Case, resolution: tuple[int, ...]) -> tuple[int, ...]:
        wanted = 32 * max(1.0, (1 / (100 * case.viscosity)) ** 0.75)
        return tuple(max(n, 2 * math.ceil(wanted / 2)) for n in resolution)
