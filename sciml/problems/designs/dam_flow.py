"""The cases of the dam benchmark: published axes.

Published (CFDBench, Luo et al. 2023): a baseline ρ = 100 kg/m³, μ = 0.1 Pa s, water that comes in with U = 1 m/s
towards a barrier 0.1 m high and 0.05 m wide, and three subsets that each vary one thing,

    bc     U = 0.05, 0.1, ..., 1 and 1.02, 1.04, ..., 2
    prop   ρ = 10, 120, ..., 1000 and μ = 0.01, 0.12, ..., 1, all pairs
    geo    heights 0.11, 0.12, ..., 0.15 m with widths 0.01, 0.02, ..., 0.1 m

Grid lines go along the sides of the barrier, with at least 10 cells in x and 16 in y to the height of what comes in, as
few as are stored, and frames are means over the cells that are asked for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from sciml import registry
from sciml.problem import Case
from sciml.problems.designs import Design, Request, check
from sciml.problems.designs._published import Table, tabled, under_resolved
from sciml.problems.designs.tube_flow import DENSITIES, VISCOSITIES

SUBSETS = ("bc", "prop", "geo")
PROFILES = ("resolved", "published")
PUBLISHED_STEP = 0.1  # s
ALONG, ACROSS = 10, 16  # least cells to the height of the inlet
GRAIN = 1e-4  # m, of which sizes are whole numbers
_BASE = {"velocity": 1.0, "density": 100.0, "viscosity": 0.1, "barrier_height": 0.1, "barrier_width": 0.05}


def published(subset: str) -> Table:
    """Parameters of all cases of a subset."""
    if subset == "bc":
        speeds = [k / 20 for k in range(1, 21)] + [1 + k / 50 for k in range(1, 51)]
        return [_BASE | {"velocity": speed} for speed in speeds]
    if subset == "prop":
        return [_BASE | {"density": rho, "viscosity": mu} for rho in DENSITIES for mu in VISCOSITIES]
    sizes = [(h / 100, w / 100) for h in range(11, 16) for w in range(1, 11)]
    return [_BASE | {"barrier_height": h, "barrier_width": w} for h, w in sizes]


def lines(lengths: Sequence[float], whole: float, least: int) -> int:
    """The fewest cells, at least `least`, of a length with lines of the grid at all of `lengths`."""
    grains = [round(each / GRAIN) for each in (*lengths, whole)]
    coarsest = grains[-1] // math.gcd(*grains)
    return coarsest * math.ceil(least / coarsest)


class DamDesign(Design):
    """See the module. Frames are half of 0.1 m over the larger of U and √(g 0.1 m) apart from t = 0 in profile
    "resolved", 0.1 s apart from t = 0.1 s in profile "published"."""

    subsets, profiles = SUBSETS, PROFILES

    def cases(self, request: Request) -> list[Case]:
        check(request.subsets, SUBSETS, request.profile, PROFILES)
        return tabled(dam(), {s: published(s) for s in request.subsets}, request.subsets, request.count)

    def times(self, case: Case, request: Request) -> np.ndarray:
        if request.profile == "published":
            return PUBLISHED_STEP * np.arange(1, request.frames + 1)
        return 0.5 * case.scales.time * np.arange(request.frames)

    def cells(self, case: Case, resolution: tuple[int, ...]) -> tuple[int, ...]:
        ny, nx = resolution
        inlet, front = dam().inlet_height, dam().front
        along, across = (math.ceil(n * size / inlet - 1e-9) for n, size in ((ALONG, case.width), (ACROSS, case.height)))
        return (
            lines((inlet, case.barrier_height), case.height, max(ny, across)),
            lines((front, front + case.barrier_width), case.width, max(nx, along)),
        )

    def under_resolved(self, cases: Sequence[Case], resolution: tuple[int, ...]) -> dict[str, float]:
        """Cells over the thickness h Re^(−1/2) of layers, h = 0.1 m, of cases with fewer than one across them."""
        heights = [c.height / self.cells(c, resolution)[0] for c in cases]
        layers = [dam().inlet_height / math.sqrt(dam().reynolds(c)) for c in cases]
        return under_resolved(cases, heights, layers)


def dam() -> Any:
    """Its problem, which has what is the same in all cases."""
    return registry.problems.get("dam_flow")()
