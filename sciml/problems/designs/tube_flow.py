"""The cases of the tube benchmark: published axes.

Published (CFDBench, Luo et al. 2023): a baseline ρ = 100 kg/m³, μ = 0.1 Pa s, inflow U = 1 m/s into a tube of 1 m and
d = 0.1 m, and three subsets that each vary one thing,

    bc     U = 0.1, 0.2, ..., 5
    prop   ρ = 10, 120, ..., 1000 and μ = 0.01, 0.12, ..., 1, all pairs
    geo    d = 0.01, 0.05, 0.1, 0.3, 0.5 with five lengths each

The paper gives the lengths as from 0.1 to 10 m and does not list them: here they are 0.1, 0.3, 1, 3 and 10 m for
each d.

Reynolds numbers run from 1 to 10 000. Layers at the walls are about d Re^(−1/2) thick; cases are solved with two cells
across them as far as 128 cells across the tube give that, on cells at most four times as long as high as far as 1024
along the tube give that, and stored as means over the cells that are asked for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from sciml import registry
from sciml.problem import Case, Problem
from sciml.problems.designs import Design, Request, check
from sciml.problems.designs._published import Table, tabled, under_resolved

SUBSETS = ("bc", "prop", "geo")
PROFILES = ("resolved", "published")
PUBLISHED_STEP = 0.01  # s
MOST_ACROSS, MOST_ALONG, MOST_ASPECT = 128, 1024, 4
DENSITIES = tuple(10.0 + 110 * k for k in range(10))
VISCOSITIES = tuple(round(0.01 + 0.11 * k, 2) for k in range(10))
_BASE = {"inlet_velocity": 1.0, "density": 100.0, "viscosity": 0.1, "length": 1.0, "diameter": 0.1}


def published(subset: str) -> Table:
    """Parameters of all cases of a subset."""
    if subset == "bc":
        return [_BASE | {"inlet_velocity": k / 10} for k in range(1, 51)]
    if subset == "prop":
        return [_BASE | {"density": rho, "viscosity": mu} for rho in DENSITIES for mu in VISCOSITIES]
    diameters, lengths = (0.01, 0.05, 0.1, 0.3, 0.5), (0.1, 0.3, 1.0, 3.0, 10.0)
    return [_BASE | {"diameter": d, "length": length} for d in diameters for length in lengths]


def reynolds(case: Case) -> float:
    return case.density * case.inlet_velocity * case.diameter / case.viscosity


class TubeDesign(Design):
    """See the module. Frames are a twentieth of length/U apart from t = 0 in profile "resolved", 0.01 s apart from
    t = 0.01 s in profile "published"."""

    subsets, profiles = SUBSETS, PROFILES

    def cases(self, request: Request) -> list[Case]:
        check(request.subsets, SUBSETS, request.profile, PROFILES)
        return tabled(tube(), {s: published(s) for s in request.subsets}, request.subsets, request.count)

    def times(self, case: Case, request: Request) -> np.ndarray:
        if request.profile == "published":
            return PUBLISHED_STEP * np.arange(1, request.frames + 1)
        return 0.05 * case.length / case.inlet_velocity * np.arange(request.frames)

    def cells(self, case: Case, resolution: tuple[int, ...]) -> tuple[int, ...]:
        ny, nx = resolution
        ny *= math.ceil(min(2 * math.sqrt(reynolds(case)), MOST_ACROSS) / ny)
        along = case.length / case.diameter * ny / MOST_ASPECT
        return ny, nx * math.ceil(min(max(along, nx), max(MOST_ALONG, nx)) / nx)

    def under_resolved(self, cases: Sequence[Case], resolution: tuple[int, ...]) -> dict[str, float]:
        """Cells over the thickness d Re^(−1/2) of layers, of cases with fewer than one across them."""
        heights = [c.diameter / self.cells(c, resolution)[0] for c in cases]
        return under_resolved(cases, heights, [c.diameter / math.sqrt(reynolds(c)) for c in cases])


def tube() -> Problem:
    return registry.problems.get("tube_flow")()
