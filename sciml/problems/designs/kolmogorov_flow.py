"""Forced turbulence in the plane from random fields."""

from __future__ import annotations

import math

import numpy as np

from sciml.problem import Case
from sciml.problems.designs import RandomDesign


class KolmogorovFlowDesign(RandomDesign):
    """F = 1 in 4 waves across a square of side 2π, fields of random seeds with an rms speed of 1, α in [0.05, 0.2] and
    ν log-uniform in [10⁻³, 10⁻²]. Frames are 0.2 s apart.

    Solved on at least 64² cells at ν = 10⁻², and on more in proportion to ν^(−1/2), the scale at which viscosity ends
    the cascade of vorticity: on 202² at ν = 10⁻³.
    """

    step = 0.8  # of L/U = 1/4 s

    def draw(self, random: np.random.Generator, resolution: tuple[int, ...]) -> Case:
        return self.problem.case(
            viscosity=float(np.exp(random.uniform(math.log(1e-3), math.log(1e-2)))),
            drag=float(random.uniform(0.05, 0.2)),
            seed=int(random.integers(2**31)),
        )

    def cells(self, case: Case, resolution: tuple[int, ...]) -> tuple[int, ...]:
        wanted = 64 * max(1.0, math.sqrt(1e-2 / case.viscosity))
        return tuple(max(n, 2 * math.floor(wanted / 2)) for n in resolution)
