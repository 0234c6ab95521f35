"""Wakes of a cylinder on their way to vortex shedding, from disturbances of several sizes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from sciml import data
from sciml.problem import Case
from sciml.problems import CylinderFlow
from sciml.solvers import IncompressibleFlow
from sciml.support import Grid

CELLS = (48, 88)  # of the solver, 8 across the cylinder
DIAMETER = 0.02
#: Reynolds number and size of the first disturbance, which way up it is
TRAINED = ((80, 0.3), (95, -0.1), (110, 0.03), (125, -0.3), (140, 0.1), (155, -0.03), (170, 0.3), (185, -0.1),
           (200, 0.03))  # fmt: skip
UNSEEN = ((88, -0.2), (103, 0.06), (132, -0.06), (163, 0.15), (192, -0.2))


def case_of(reynolds: float, size: float) -> Case:
    """A disturbance behind the cylinder, `size` U D of streamfunction, which vanishes at the sides."""
    y, x = np.meshgrid(np.linspace(-3, 3, 61), np.linspace(-3, 8, 111), indexing="ij")
    heap = np.exp(-((x - 1.5) ** 2 + y**2) / 0.7) * np.cos(np.pi * y / 6) ** 2
    return CylinderFlow().case(viscosity=10 * DIAMETER / reynolds, initial_streamfunction=size * DIAMETER * heap)


def solved(
    which: Sequence[tuple[float, float]], times: np.ndarray, folder: Path | None, name: str, *,
    cells: tuple[int, int] = CELLS, of_frames: Callable[[Case, np.ndarray], np.ndarray] | None = None,
) -> xr.Dataset:  # fmt: skip
    """Wakes as one data set; each is kept in a folder.

    Args:
        times: in D/U.
        name: of the file of a wake, for `format`.
        cells: where fields live.
        of_frames: what puts frames (time, field, y, x) of a case there.
    """
    found = []
    for reynolds, size in which:
        case = case_of(reynolds, size)
        clock = times * case.scales.time
        path = None if folder is None else folder / name.format(reynolds, size)
        if path is not None and path.exists():
            with np.load(path) as held:
                frames = held["frames"]
        else:
            flow = IncompressibleFlow(CELLS, tendencies=False).solve(case, clock)
            frames = np.stack([flow["u"].values, flow["v"].values], axis=1)
            frames = frames if of_frames is None else of_frames(case, frames)
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                np.savez(path, frames=frames)
        support = Grid.uniform(case.geometry, cells, masked=True)
        fields = {n: (("time", "y", "x"), frames[:, k]) for k, n in enumerate("uv")}
        found.append(data.solution(case.on(support), clock, fields, support))
    return data.pack(found, dtype=None)
