"""All flows by OpenFOAM and by the solvers of this package on the same cells: how far apart they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from sciml.problem import Case
from sciml.problems import CylinderFlow, DamFlow, LidDrivenCavity, TubeFlow
from sciml.solvers import IncompressibleFlow, OpenFOAM, TwoPhaseFlow

#: flow -> its case, cells (ny, nx) and times, s
FLOWS: dict[str, tuple[Callable[[], Case], tuple[int, int], tuple[float, ...]]] = {
    "cavity, Re 100": (lambda: LidDrivenCavity().case(viscosity=0.01), (64, 64), (0.5, 1.0, 2.0)),
    "cylinder, Re 40": (lambda: CylinderFlow().case(viscosity=5e-3), (64, 64), (0.02, 0.04)),
    "cylinder, Re 40, square cells": (lambda: CylinderFlow().case(viscosity=5e-3), (48, 88), (0.02, 0.04)),
    "tube": (lambda: TubeFlow().case(), (64, 64), (0.2, 0.4, 0.6)),
    "dam": (lambda: DamFlow().case(width=1.6), (64, 64), (0.1, 0.2, 0.3)),
}


def agreement(flow: str, half: bool = False) -> dict[str, Any]:
    """Relative differences of OpenFOAM's answer from ours, the largest of all times: L2 of velocity (of two fluids also
    of α times it) and pressure, L1 of α, of forces their own.

    Args:
        half: on half as many cells along both axes.
    """
    make, shape, times = FLOWS[flow]
    case, cells = make(), (shape[0] // (1 + half), shape[1] // (1 + half))
    two = bool(case.problem.phase)
    ours = (TwoPhaseFlow(cells) if two else IncompressibleFlow(cells)).solve(case, times)
    theirs = OpenFOAM(cells).solve(case, times)
    inside = ours.mask.values if "mask" in ours else np.ones(cells)
    values = [{n: s[n].values.astype("f8") * inside for n in ("u", "v", "p", *(["alpha"] if two else []))}
              for s in (theirs, ours)]  # fmt: skip

    def apart(*names: str, weighted: bool = False) -> float:
        a, b = ([v[n] * (v["alpha"] if weighted else 1) for n in names] for v in values)
        above = sum(((x - y) ** 2).sum((1, 2)) for x, y in zip(a, b, strict=True))
        return float(np.sqrt(above / sum((y**2).sum((1, 2)) for y in b)).max())

    found: dict[str, Any] = {"cells": list(cells), "velocity": apart("u", "v"), "pressure": apart("p")}
    if two:
        found["alpha_times_velocity"] = apart("u", "v", weighted=True)
        a, b = (v["alpha"] for v in values)
        found["alpha"] = float((np.abs(a - b).sum((1, 2)) / b.sum((1, 2))).max())
    if "force_x" in ours and "force_x" in theirs:
        found["drag"] = float(np.abs(theirs.force_x.values / ours.force_x.values - 1).max())
    return found
