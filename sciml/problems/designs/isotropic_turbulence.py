"""Turbulence in a cube from random fields, half of it decaying and half of it kept up."""

from __future__ import annotations

import math

import numpy as np

from sciml.problem import Case
from sciml.problems.designs import RandomDesign


class IsotropicTurbulenceDesign(RandomDesign):
    """Fields of random seeds with u' = 1 and most energy in waves 2 to 4 across a cube of side 2π, ν log-uniform in
    [0.01, 0.04]; one in two is forced, with A in [0.1, 0.3]. Frames are 0.2 L/u' apart.

    Solved on at least 48³ cells, and on more in proportion to ν^(−3/4) below ν = 0.02.
    """

    usual = 20
    step = 0.2

    def draw(self, random: np.random.Generator, resolution: tuple[int, ...]) -> Case:
        return self.problem.case(
            viscosity=float(np.exp(random.uniform(math.log(0.01), math.log(0.04)))),
            peak=float(random.uniform(2.0, 4.0)),
            forcing=float(random.choice([0.0, 1.0]) * random.uniform(0.1, 0.3)),
            seed=int(random.integers(2**31)),
        )

    def cells(self, case: Case, resolution: tuple[int, ...]) -> tuple[int, ...]:
        wanted = 48 * max(1.0, (0.02 / case.viscosity) ** 0.75)
        return tuple(max(n, 2 * math.ceil(wanted / 2)) for n in resolution)
