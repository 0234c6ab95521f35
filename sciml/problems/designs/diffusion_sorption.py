"""Soils with a little solute in them from the start."""

from __future__ import annotations

import numpy as np

from sciml.problem import Case
from sciml.problems.designs import RandomDesign


class DiffusionSorptionDesign(RandomDesign):
    """u(x, 0) uniform in space, drawn from [0, 0.2]; frames are T/100 = 5 s apart, as published."""

    step = 0.01

    def draw(self, random: np.random.Generator, resolution: tuple[int, ...]) -> Case:
        return self.problem.case(initial=float(random.uniform(0.0, 0.2)))
