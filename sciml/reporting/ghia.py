"""The reference solver beside the tables of Ghia, Ghia and Shin, J. Comput. Phys. 48, 387 (1982)."""

from __future__ import annotations

import numpy as np
from scipy.interpolate import CubicSpline

from sciml.reporting.study import Benchmark

SOURCE = "Ghia et al. (1982)"
STEADY = {100: 20.0, 400: 40.0, 1000: 60.0}  # time in L/U after which the flow has settled


def benchmarks(resolution: int = 64, reynolds: tuple[int, ...] = (100, 400, 1000)) -> list[Benchmark]:
    """Return the centre-line profiles of the settled flow in the unit cavity, U = 1, beside the published points."""
    from sciml.problems import LidDrivenCavity, _ghia
    from sciml.solvers import IncompressibleFlow

    solver = IncompressibleFlow(resolution, tendencies=False)
    found = []
    for number in reynolds:
        case = LidDrivenCavity().case(viscosity=1.0 / number)
        flow = solver.solve(case, times=[STEADY[number]])
        name = f"reference {resolution} × {resolution}"
        x, y = np.asarray(flow["x"].values), np.asarray(flow["y"].values)
        u, v = (np.asarray(flow[n].values[-1], float) for n in ("u", "v"))
        half = resolution // 2
        profiles = (
            ("u, vertical centre line", "u/U", "y/L", y, u[:, half - 1 : half + 1].mean(axis=1), True),
            ("v, horizontal centre line", "x/L", "v/U", x, v[half - 1 : half + 1].mean(axis=0), False),
        )
        for (title, xlabel, ylabel, where, values, upright), points in zip(
            profiles, (_ghia.u(number), _ghia.v(number)), strict=True
        ):
            # the walls themselves, where the velocity is known
            where = np.concatenate([[0.0], where, [1.0]])
            values = np.concatenate([[0.0], values, [1.0 if upright else 0.0]])
            off = float(np.max(np.abs(CubicSpline(where, values)(points[0]) - points[1])))
            found.append(
                Benchmark(f"{title}, Re {number}", name, SOURCE, xlabel, ylabel, where, values, points, off, upright)
            )
    return found
