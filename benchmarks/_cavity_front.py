"""Error against cost of both codes on the cavity: fronts over resolutions and time steps, and their ratio."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import _cavity_runs, _openfoam
from benchmarks._cavity_runs import END, FRAME, Runs
from benchmarks._ledger import Ledger, quantiles
from benchmarks._openfoam import Cavity

ID = "cavity_vs_icofoam_smallest_ratio_on_the_work_precision_front"
RESOLUTIONS = (8, 12, 16, 24, 32, 48, 64, 96, 128, 192)
COURANT = (2.0, 1.0)
STEPS_A_FRAME = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
EVERY_SETTING_UP_TO = 48  # cells; beyond, those on the front of the resolution before, with the faster solver
FLAT = 0.98  # a step that takes no more than this off the error is the last: finer cells take off more
LOW, HIGH = 0.01, 0.10
TIMED = (0.005, 0.25)  # errors of points that are timed again
REPEATS = 5
SHORT = 0.1  # seconds; what takes less is run three times in a turn

Point = dict[str, Any]


def settings(cells: int) -> list[Cavity]:
    """icoFoam's: time schemes, corrections and tolerances of the pressure, and its solvers where either may be faster.

    Crank-Nicolson and backward differences cost the same and are equally accurate at the steps of the front.
    """
    base = Cavity(0, 0, 0.0, END, FRAME, "backward", correctors=1, tolerance=1e-3)
    varied = [base, *(replace(base, correctors=n) for n in (2, 3)), replace(base, correctors=2, tolerance=1e-4)]
    varied += [replace(base, time_scheme="Euler", correctors=n) for n in (1, 2)]
    solvers = [name for name, fits in (("PCG", cells <= 48), ("GAMG", cells >= 32)) if fits]
    return [replace(c, pressure=name) for c in varied for name in solvers]


def their_points(runs: Runs, reynolds: int, resolutions: Sequence[int]) -> list[Point]:
    points: list[Point] = []
    tried: list[Cavity] = []
    for cells in resolutions:
        here: list[Point] = []
        for setting in settings(cells) if cells <= EVERY_SETTING_UP_TO else tried:
            last = math.inf
            for steps in STEPS_A_FRAME:
                case = replace(setting, cells=cells, reynolds=reynolds, time_step=FRAME / steps)
                found = runs.theirs(case)
                if found["error"] is None:
                    continue
                here.append({"cells": cells, "case": case, **found})
                if found["error"] > FLAT * last:
                    break
                last = found["error"]
        points += here
        tried = list(dict.fromkeys(replace(p["case"], cells=0, reynolds=0, time_step=0.0) for p in front(here)))
    return points


def our_points(runs: Runs, reynolds: int, resolutions: Sequence[int]) -> list[Point]:
    return [{"cells": cells, "cfl": cfl, **runs.ours(cells, cfl, reynolds)} for cells in resolutions for cfl in COURANT]


def front(points: Sequence[Point]) -> list[Point]:
    """The lower left edge of the convex hull in logarithms of error and cost, by rising error."""
    edge: list[Point] = []
    for p in sorted(points, key=lambda p: (p["error"], p["seconds"])):
        if edge and p["seconds"] >= edge[-1]["seconds"]:
            continue
        while len(edge) > 1 and _slope(edge[-2], edge[-1]) >= _slope(edge[-2], p):
            edge.pop()
        edge.append(p)
    return edge


def _slope(a: Point, b: Point) -> float:
    return math.log(b["seconds"] / a["seconds"]) / math.log(b["error"] / a["error"])


def cost(points: Sequence[Point], seconds: Sequence[float], at: np.ndarray) -> np.ndarray:
    """Seconds over errors, straight between the points in logarithms; to the right of them the last, which is better
    than what is asked for, to their left NaN."""
    errors = np.log([p["error"] for p in points])
    return np.exp(np.interp(np.log(at), errors, np.log(seconds), left=math.nan))


def compare(ledger: Ledger, runs: Runs, numbers: Sequence[int], resolutions: Sequence[int], out: Path) -> None:
    """Rows of all points, the curve of ratios and the smallest of each Reynolds number; the check; the picture."""
    at = np.geomspace(LOW, HIGH, 41)
    smallest: dict[int, tuple[float, float, list[float]]] = {}  # Re -> ratio, error where, of each repeat
    reached, drawn = [], {}
    for reynolds in numbers:
        points = {
            "icoFoam": their_points(runs, reynolds, resolutions),
            "sciml": our_points(runs, reynolds, resolutions),
        }
        edges = {code: [p for p in front(some) if TIMED[0] <= p["error"] <= TIMED[1]] for code, some in points.items()}
        times = clocked(runs, reynolds, edges)
        middle = {code: [statistics.median(t) for t in zip(*times[code], strict=True)] for code in times}
        for code, some in points.items():
            rows(ledger, reynolds, code, some, edges[code], times[code])
        theirs, ours = (cost(edges[c], middle[c], at) for c in ("icoFoam", "sciml"))
        ratio = theirs / ours
        for e, a, b, r in zip(at, theirs, ours, ratio, strict=True):
            if math.isfinite(r):
                ledger.row(
                    section="ratio over error", reynolds=reynolds, relative_error=e, icofoam_seconds=a,
                    sciml_seconds=b, ratio=r,
                )  # fmt: skip
        worst = int(np.nanargmin(ratio))
        each = [
            float(np.nanmin(cost(edges["icoFoam"], a, at) / cost(edges["sciml"], b, at)))
            for a, b in zip(times["icoFoam"], times["sciml"], strict=True)
        ]
        smallest[reynolds] = (float(ratio[worst]), float(at[worst]), each)
        both = at[np.isfinite(ratio)]
        reached.append(f"Re {reynolds}: {ratio[worst]:.1f} at {at[worst]:.1%}, of {both[0]:.1%} to {both[-1]:.1%}")
        print(reached[-1], flush=True)
        drawn[reynolds] = {code: (points[code], edges[code], middle[code]) for code in points}
    value, _, each = min(smallest.values())
    note = "; ".join(reached)
    ledger.check(ID, value, note, spread=quantiles(each, f"{REPEATS} repeats of the fronts"), note=note)
    picture(drawn, out)


def clocked(runs: Runs, reynolds: int, edges: dict[str, list[Point]]) -> dict[str, list[list[float]]]:
    """Seconds of each repeat and each point of both fronts, the two codes' taken in turn."""

    def seconds(p: Point) -> float:
        def once() -> float:
            if "case" in p:
                return _cavity_runs.their_seconds([p["case"]])[0]
            return _cavity_runs.our_seconds(p["cells"], p["cfl"], [reynolds])

        return statistics.median(once() for _ in range(3 if p["seconds"] < SHORT else 1))

    def make() -> dict[str, list[float]]:
        found: dict[str, list[float]] = {code: [] for code in edges}
        for turn in zip_longest(*edges.values()):
            for code, p in zip(edges, turn, strict=True):
                if p is not None:
                    found[code].append(seconds(p))
        return found

    for p in edges["sciml"]:  # compile
        _cavity_runs.our_seconds(p["cells"], p["cfl"], [reynolds])
    what = {"version": _openfoam.version(), "reynolds": reynolds}
    what |= {code: [label(p) for p in edge] for code, edge in edges.items()}
    repeats = [runs.kept(make, piece="front", repeat=r, **what) for r in range(REPEATS)]
    return {code: [found[code] for found in repeats] for code in edges}


def label(p: Point) -> dict[str, Any]:
    """What a point is, for its row."""
    if "cfl" in p:
        return {"cells": p["cells"], "cfl": p["cfl"]}
    case: Cavity = p["case"]
    return {
        "cells": case.cells, "step": case.time_step, "scheme": case.time_scheme, "correctors": case.correctors,
        "pressure_tolerance": case.tolerance, "pressure_solver": case.pressure,
    }  # fmt: skip


def rows(
    ledger: Ledger, reynolds: int, code: str, points: list[Point], edge: list[Point], times: list[list[float]]
) -> None:
    for p in points:
        spread = {}
        if p in edge:
            mine = [t[edge.index(p)] for t in times]
            of = quantiles(mine, "")
            spread = {
                "median_seconds": statistics.median(mine), "low_seconds": of["low"], "high_seconds": of["high"],
                "repeats": len(mine),
            }  # fmt: skip
        ledger.row(
            section="work and precision", reynolds=reynolds, code=code, **label(p), relative_error=p["error"],
            seconds_once=p["seconds"], on_front=p in edge, **spread,
        )  # fmt: skip


def picture(drawn: dict[int, Any], out: Path) -> None:
    from matplotlib.figure import Figure

    from sciml.reporting import _style

    with _style.style():
        figure = Figure(figsize=(10.4, 3.3), layout="constrained")
        panels = figure.subplots(1, len(drawn), sharey=True, squeeze=False)[0]
        for axes, (reynolds, codes) in zip(panels, drawn.items(), strict=True):
            axes.axvspan(100 * LOW, 100 * HIGH, color=_style.GRID, alpha=0.4, lw=0)
            for (code, (points, edge, middle)), colour, marker in zip(
                codes.items(), (_style.LEARNED[1], _style.LEARNED[0]), "os", strict=True
            ):
                every = [[100 * p["error"] for p in points], [p["seconds"] for p in points]]
                axes.loglog(*every, ".", color=colour, ms=4, alpha=0.35, mew=0)
                axes.loglog([100 * p["error"] for p in edge], middle, marker=marker, ms=4, color=colour, label=code)
            _style.caption(axes, f"Re {reynolds}", "error, %", "")
            axes.set_xlim(100 * TIMED[0], 100 * TIMED[1])
            axes.set_xticks([0.5, 1, 2, 5, 10, 20], ["0.5", "1", "2", "5", "10", "20"])
            axes.minorticks_off()
        panels[0].set_ylabel("seconds to t = 5 L/U")
        panels[0].legend(frameon=False)
        out.write_bytes(_style.png(figure))
