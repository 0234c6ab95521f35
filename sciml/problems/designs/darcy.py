"""Darcy flow through two materials at random."""

from __future__ import annotations

import numpy as np

from sciml.problem import Case
from sciml.problems.designs import RandomDesign, gaussian_field


class DarcyDesign(RandomDesign):
    """Permeability 12 where a sample of N(0, (−Δ + 9)⁻²) is positive and 3 elsewhere, a uniform source of 1, drained
    sides.

    Source: Li, Kovachki, Azizzadenesheli, Liu, Bhattacharya, Stuart, Anandkumar, ICLR 2021, appendix A.3.2.
    """

    def draw(self, random: np.random.Generator, resolution: tuple[int, ...]) -> Case:
        field = gaussian_field(random, resolution, tau=3.0, power=2.0)
        return self.problem.case(permeability=np.where(field > 0, 12.0, 3.0))
