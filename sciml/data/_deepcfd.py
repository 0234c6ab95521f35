"""The task of DeepCFD: steady flow in a channel past an obstacle, from distances and regions to velocity and pressure.

Published are two arrays (case, channel, x, y): of what is given the distance to the obstacle, the region, and the
distance to the walls; of what is wanted the velocity along x and y, and the pressure over the density.

Source: M. D. Ribeiro, A. Rehman, S. Ahmed, A. Dengel, DeepCFD, arXiv 2004.08826 (2020).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from sciml.problem import FieldSpec, InputSpec
from sciml.problems.own_data import DataProblem

GIVEN = ("obstacle_distance", "region", "wall_distance")
WANTED = ("u", "v", "p")
OBSTACLE = 0.0  # of the regions; then 1 fluid, 2 walls, 3 inlet, 4 outlet


def problem(length_unit: str = "m") -> DataProblem:
    """Fields u, v and p, and what is given."""
    notes = ("signed distance to the obstacle", "0 obstacle, 1 fluid, 2 walls, 3 inlet, 4 outlet",
             "signed distance to the walls")  # fmt: skip
    units = (length_unit, "1", length_unit)
    return DataProblem(
        "deepcfd",
        [
            FieldSpec("u", "m s-1", description="velocity along x"),
            FieldSpec("v", "m s-1", description="velocity along y"),
            FieldSpec("p", "m2 s-2", description="pressure over density"),
        ],
        steady=True,
        inputs=[
            InputSpec(n, u, "coefficient", ("y", "x"), description=t)
            for n, u, t in zip(GIVEN, units, notes, strict=True)
        ],
        title="Steady flow past an obstacle",
        length_unit=length_unit,
    )


def packed(
    cases: Iterable[tuple[str, np.ndarray, np.ndarray]], size: tuple[float, float] | None, split: Any, attrs: Any
) -> Any:
    """A data set.

    Args:
        cases: (label, given, wanted) with arrays (3, y, x) each.
        size: (length, height) of the channel in m; None for one cell as the unit of length.
        split: of the cases, see `sciml.data.pack`.
    """
    from sciml.data import pack, solution
    from sciml.support import Grid

    family = problem("m" if size is not None else "cell")
    found = []
    for label, given, wanted in cases:
        ny, nx = given.shape[1:]
        length, height = (float(nx), float(ny)) if size is None else size
        inside = given[GIVEN.index("region")] != OBSTACLE
        faces = (np.linspace(0.0, length, nx + 1), np.linspace(0.0, height, ny + 1))
        grid = Grid(faces, mask=inside.astype(np.uint8) if not inside.all() else None)
        case = family.case(label=label, **dict(zip(GIVEN, given, strict=True))).on(grid)
        fields = {n: np.where(inside, a, 0.0) for n, a in zip(WANTED, wanted, strict=True)}
        found.append(solution(case, None, fields, grid))
    return pack(found, split, attrs=attrs)
