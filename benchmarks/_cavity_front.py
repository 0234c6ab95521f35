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
from benchmarks._front import DOUBT, HIGH, LOW, REPEATS, Point, cost, front, near, picture, useful
from benchmarks._ledger import Ledger, quantiles
from benchmarks._openfoam import Cavity

ID = "cavity_vs_icofoam_smallest_ratio_on_the_work_precision_front"
RESOLUTIONS = (8, 16, 32, 48, 64, 128)  # none of those that make the reference
COURANT = (2.0, 1.0)
STEPS_A_FRAME = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
EVERY_SETTING_UP_TO = 32  # cells; beyond, those on the front of the resolution before, each with both pressure solvers
FLAT = 0.98  # after two steps in a row that leave more than this of the error come no more: finer cells take off more
LEFT = 2.0  # a setting's other pressure solver is left at the first step where it takes this many times as long
SHORT = 0.1  # seconds; what takes less is run three times in a turn


def settings(cells: int) -> list[Cavity]:
    """icoFoam's to begin with: time schemes, corrections and tolerances of the pressure, and its solvers where either
    may be faster. `their_points` adds to them.

    Crank-Nicolson and backward differences cost the same and are equally accurate at the steps of the front.
    """
    base = Cavity(0, 0, 0.0, END, FRAME, "backward", correctors=1, tolerance=1e-3)
    varied = [base, *(replace(base, correctors=n) for n in (2, 3)), replace(base, correctors=2, tolerance=1e-4)]
    varied += [replace(base, time_scheme="Euler", correctors=n) for n in (1, 2)]
    solvers = [name for name, fits in (("PCG", cells <= 48), ("GAMG", cells >= 32)) if fits]
    return [replace(c, pressure=name) for c in varied for name in solvers]


def variants(case: Cavity) -> list[Cavity]:
    """The other tolerance (of the last correction too), never tighter than 1e-3, and without the momentum predictor, or
    with it."""
    return [
        replace(case, tolerance=1e-3 if case.tolerance > 1e-3 else 1e-2),
        replace(case, predictor=not case.predictor),
    ]


def their_points(runs: Runs, reynolds: int, resolutions: Sequence[int]) -> list[Point]:
    """Of every resolution: its settings, see `EVERY_SETTING_UP_TO`, then the variants of the points of their front."""
    points: list[Point] = []
    carried: list[Cavity] = []
    for cells in resolutions:
        here: list[Point] = []
        if cells <= EVERY_SETTING_UP_TO:
            for setting in settings(cells):
                here += refined(runs, reynolds, cells, setting)
        else:
            for setting in carried:
                here += (mine := refined(runs, reynolds, cells, setting))
                twin = replace(setting, pressure="PCG" if setting.pressure == "GAMG" else "GAMG")
                if twin not in carried:
                    here += refined(runs, reynolds, cells, twin, mine)
        for case in {v: None for p in useful(here) for v in variants(p["case"])}:
            found = runs.theirs(case)
            if found["error"] is not None and all(case != p["case"] for p in here):
                here.append({"cells": cells, "case": case, **found})
        points += here
        carried = list(dict.fromkeys(replace(p["case"], cells=0, reynolds=0, time_step=0.0) for p in useful(here)))
    return points


def refined(runs: Runs, reynolds: int, cells: int, setting: Cavity, other: Sequence[Point] = ()) -> list[Point]:
    """One setting at smaller and smaller steps, until two in a row were flat, or see `LEFT`.

    Args:
        other: the same setting with the other pressure solver: at the same step the errors are all but the same.
    """
    limits = {p["case"].time_step: LEFT * p["seconds"] for p in other}
    points: list[Point] = []
    least, flat = math.inf, 0
    for steps in STEPS_A_FRAME:
        case = replace(setting, cells=cells, reynolds=reynolds, time_step=FRAME / steps)
        found = runs.theirs(case)
        if found["error"] is None:
            continue
        points.append({"cells": cells, "case": case, **found})
        flat = flat + 1 if found["error"] > FLAT * least else 0
        if flat == 2 or found["seconds"] > limits.get(case.time_step, math.inf):
            break
        least = min(least, found["error"])
    return points


def our_points(runs: Runs, reynolds: int, resolutions: Sequence[int]) -> list[Point]:
    return [{"cells": cells, "cfl": cfl, **runs.ours(cells, cfl, reynolds)} for cells in resolutions for cfl in COURANT]


def compare(ledger: Ledger, runs: Runs, numbers: Sequence[int], resolutions: Sequence[int], out: Path) -> None:
    """Rows of all points, the curve of ratios and the smallest of each Reynolds number; the check; the picture."""
    smallest: dict[int, tuple[float, float, list[float]]] = {}  # Re -> ratio, error where, of each repeat
    reached, drawn = [], {}
    for reynolds in numbers:
        points = {
            "icoFoam": their_points(runs, reynolds, resolutions),
            "sciml": our_points(runs, reynolds, resolutions),
        }
        doubt = runs.doubt(reynolds)
        at = np.geomspace(max(LOW, doubt / DOUBT), HIGH, 41)
        again = {code: near(some) for code, some in points.items()}
        timed = clocked(runs, reynolds, again)
        edges, times = {}, {}
        for code, some in points.items():
            medians = [statistics.median(t) for t in zip(*timed[code], strict=True)]
            edges[code] = front([{**p, "seconds": m} for p, m in zip(again[code], medians, strict=True)])
            places = [[label(p) for p in again[code]].index(label(e)) for e in edges[code]]
            times[code] = [[repeat[k] for k in places] for repeat in timed[code]]
            rows(ledger, reynolds, code, some, edges[code], again[code], timed[code])
        theirs, ours = (cost(edges[c], [p["seconds"] for p in edges[c]], at) for c in ("icoFoam", "sciml"))
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
        ledger.row(
            section="range of the front", reynolds=reynolds, reference_doubt=doubt, from_relative_error=both[0],
            to_relative_error=both[-1], resolved_from=at[0], cores=1,
        )  # fmt: skip
        reached.append(f"Re {reynolds}: {ratio[worst]:.1f} at {at[worst]:.1%}, of {both[0]:.1%} to {both[-1]:.1%}")
        print(reached[-1], flush=True)
        drawn[f"Re {reynolds}"] = {code: (points[code], edges[code]) for code in points}
    value, _, each = min(smallest.values())
    note = "; ".join(reached)
    ledger.check(ID, value, note, spread=quantiles(each, f"{REPEATS} repeats of the fronts"), note=note)
    picture(drawn, "seconds to t = 5 L/U", out)


def clocked(runs: Runs, reynolds: int, edges: dict[str, list[Point]]) -> dict[str, list[list[float]]]:
    """Seconds of each repeat and each point of both codes, taken in turn."""

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
        "pressure_tolerance": case.tolerance, "pressure_solver": case.pressure, "momentum_predictor": case.predictor,
    }  # fmt: skip


def rows(
    ledger: Ledger, reynolds: int, code: str, points: list[Point], edge: list[Point], again: list[Point],
    times: list[list[float]],
) -> None:  # fmt: skip
    best = [label(p) for p in edge]
    for p in points:
        spread = {}
        if p in again:
            mine = [t[again.index(p)] for t in times]
            of = quantiles(mine, "")
            spread = {
                "median_seconds": statistics.median(mine), "low_seconds": of["low"], "high_seconds": of["high"],
                "repeats": len(mine),
            }  # fmt: skip
        ledger.row(
            section="work and precision", reynolds=reynolds, code=code, **label(p), cores=1, relative_error=p["error"],
            seconds_once=p["seconds"], on_front=label(p) in best, **spread,
        )  # fmt: skip
