"""The cylinder in a channel (test cases 2D-1 and 2D-2) and the impulsively started one, against published figures."""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from typing import Any

import numpy as np

from sciml.boundary import Conditions, Dirichlet
from sciml.problems import CylinderFlow
from sciml.problems.cylinder_flow import channel_benchmark
from sciml.solvers import IncompressibleFlow

# Schäfer and Turek (1996), table 4: intervals that the authors took from all computations sent in
DRAG, LIFT, PRESSURE = (5.57, 5.59), (0.0104, 0.0110), (0.1172, 0.1176)
# 2D-1 by a spectral method: G. Nabh, thesis, Heidelberg (1998)
CONVERGED = {"drag": 5.57953523384, "lift": 0.010618948146, "pressure_difference": 0.11752016697}
DRAG_MOST, LIFT_MOST, STROUHAL = (3.22, 3.24), (0.99, 1.01), (0.295, 0.305)


def off(value: float, interval: tuple[float, float]) -> float:
    """Relative deviation from the middle of an interval."""
    return abs(value / (sum(interval) / 2) - 1)


def _shape(across: int) -> tuple[int, int]:
    """Cells of the channel, 4.1 × 22 diameters, with so many across the cylinder."""
    return round(4.1 * across), 22 * across


def _coefficient(force: np.ndarray, case: Any) -> np.ndarray:
    return 2 * force / (case.density * case.inlet_velocity**2 * 2 * case.radius)


def steady(across: int) -> dict[str, Any]:
    """Test case 2D-1: coefficients once the flow has settled, and what they still change by in a second."""
    case, solver = channel_benchmark(), IncompressibleFlow(_shape(across), dtype="float64")
    began = time.perf_counter()
    found = solver.solve(case, times=[9.0, 10.0])
    seconds = time.perf_counter() - began
    drag, lift = (_coefficient(found[n].values, case) for n in ("force_x", "force_y"))
    row = found["p"].isel(time=-1).interp(y=0.0).values
    x, h = found["x"].values, 0.1 / across
    ends = []
    for side in (-0.05, 0.05):  # a parabola through the three nearest whole cells
        near = np.where(np.sign(x) == np.sign(side), np.abs(x) - 0.05, np.inf)
        at = np.argsort(np.where(near > 0.45 * h, near, np.inf))[:3]
        ends.append(float(np.polyval(np.polyfit(x[at] - side, row[at], 2), 0.0)))
    return {
        "cells_across": across, "cells": list(_shape(across)), "drag": float(drag[-1]), "lift": float(lift[-1]),
        "pressure_difference": ends[0] - ends[1], "drag_change_in_a_second": float(abs(drag[-1] - drag[-2])),
        "seconds": seconds,
    }  # fmt: skip


def shedding(across: int) -> dict[str, Any]:
    """Test case 2D-2: vortices shed, from 6 to 8 s; the period from where lift crosses zero upwards."""
    case, solver = channel_benchmark(1.0), IncompressibleFlow(_shape(across), dtype="float64")
    times = np.concatenate([[3.0], np.arange(6.0, 8.0 + 1e-9, 0.005)])
    began = time.perf_counter()
    found = solver.solve(case, times)
    seconds = time.perf_counter() - began
    drag, lift = (_coefficient(found[n].values[1:], case) for n in ("force_x", "force_y"))
    t = times[1:]
    up = np.flatnonzero((lift[:-1] < 0) & (lift[1:] >= 0))
    crossings = t[up] - lift[up] * (t[up + 1] - t[up]) / (lift[up + 1] - lift[up])
    periods = np.diff(crossings)
    peaks = [lift[(t >= a) & (t < b)].max() for a, b in itertools.pairwise(crossings)]
    return {
        "cells_across": across, "cells": list(_shape(across)), "strouhal": float(0.1 / periods.mean()),
        "strouhal_spread": float(np.ptp(0.1 / periods)), "periods": len(periods), "drag_most": float(drag.max()),
        "lift_most": float(lift.max()), "lift_peaks_spread": float(np.ptp(peaks) / max(peaks)),
        "steps": int(found.attrs["substeps"]), "seconds": seconds,
    }  # fmt: skip


class Towed(CylinderFlow):
    """A cylinder in a stream whose sides move along: what is nearest to an unbounded fluid."""

    def boundary_conditions(self, case: Any) -> Conditions:
        stream = {"u": Dirichlet(case.inlet_velocity), "v": Dirichlet(0.0)}
        return {**super().boundary_conditions(case), "y_min": stream, "y_max": stream}


def early_drag(time: float, reynolds: float) -> float:
    """The exact drag coefficient right after an impulsive start, from unsteady Stokes flow: 4 √(2π/(Re T)) + 4π/Re at
    T = U t/R; what is left out vanishes with T."""
    return float(4 * np.sqrt(2 * np.pi / (reynolds * time)) + 4 * np.pi / reynolds)


def impulsive(across: int, side: float, published: Path) -> dict[str, Any]:
    """Drag of the impulsively started cylinder at Re 40, over published times (in radii over U).

    Args:
        side: diameters from the middle of the cylinder to the inlet and to the sides; the outlet is 1.5 times as far.
        published: a text file of two columns, U t/R and drag coefficient.
    """
    table = np.loadtxt(published)
    values: dict[str, Any] = {"radius": 0.5, "density": 1.0}
    values |= {"x_min": -side, "x_max": 1.5 * side, "y_min": -side, "y_max": side}
    case = Towed().case(inlet_velocity=1.0, viscosity=1 / 40, **values)
    shape = (round(2 * side * across), round(2.5 * side * across))
    solver = IncompressibleFlow(shape, dtype="float64")
    began = time.perf_counter()
    found = solver.solve(case, table[:, 0] / 2)
    seconds = time.perf_counter() - began
    drag = _coefficient(found["force_x"].values, case)
    errors = np.abs(drag / table[:, 1] - 1)
    law = early_drag(float(table[0, 0]), 40.0)
    return {
        "cells_across": across, "sides_in_diameters": side, "cells": list(shape), "seconds": seconds,
        "mean_relative_error": float(errors.mean()), "largest": float(errors.max()),
        "at_radii_over_u": float(table[np.argmax(errors), 0]), "after_one": float(errors[table[:, 0] > 1].mean()),
        "first_over_law": float(drag[0] / law), "published_first_over_law": float(table[0, 1] / law),
        "times": table[:, 0].tolist(), "drag": drag.tolist(), "published": table[:, 1].tolist(),
    }  # fmt: skip
