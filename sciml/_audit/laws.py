"""Rows for what a problem without balances says itself that its solutions have to obey."""

from __future__ import annotations

from typing import Any

import numpy as np

from sciml._audit.rows import Defect
from sciml.problem import Case


def audit_laws(solution: Any, case: Case) -> tuple[list[Defect], list[str], int]:
    """A row for each law of `Problem.defect`; none where it states none.

    Returns:
        (rows, notes on what could not be checked, number of frames).
    """
    rows, notes, frames = [], [], 0
    floors = case.problem.defect_floors(case, solution)
    for name, values in case.problem.defect(case, solution).items():
        frames = len(values)
        known = values[np.isfinite(values)]
        if not len(known):
            notes.append(f"{name}: not checked, the solution does not tell all that it takes")
            continue
        rms = float(np.sqrt(np.mean(known**2)))
        rows.append(Defect("law", name, "1", rms, float(np.abs(known).max()), rms, floors.get(name)))
    return rows, notes, frames
