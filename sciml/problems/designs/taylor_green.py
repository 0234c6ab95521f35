"""Random decaying flows in a periodic square."""

from __future__ import annotations

import numpy as np

from sciml.problem import Case
from sciml.problems.designs import RandomDesign


class TaylorGreenDesign(RandomDesign):
    """ψ a random sum of waves k, l ≤ 4 with a largest speed of U = 1 in a square of side 2π; Re = ρUL/μ, L = 1,
    log-uniform in [20, 500]. Frames are 0.1 L/U apart."""

    step = 0.1

    def draw(self, random: np.random.Generator, resolution: tuple[int, ...]) -> Case:
        viscosity = float(np.exp(-random.uniform(np.log(20.0), np.log(500.0))))
        ny, nx = resolution
        y, x = (2 * np.pi * np.arange(n + 1) / n for n in (ny, nx))
        psi = np.zeros((ny + 1, nx + 1))
        slope_x, slope_y = np.zeros_like(psi), np.zeros_like(psi)
        for k in range(-4, 5):
            for m in range(5):
                size = random.standard_normal() / (1 + k * k + m * m)
                phase = k * x[None, :] + m * y[:, None] + random.uniform(0, 2 * np.pi)
                if k or m:
                    psi += size * np.cos(phase)
                    slope_x -= size * k * np.sin(phase)
                    slope_y -= size * m * np.sin(phase)
        psi /= np.sqrt(slope_x**2 + slope_y**2).max()
        return self.problem.case(viscosity=viscosity, initial_streamfunction=psi)
