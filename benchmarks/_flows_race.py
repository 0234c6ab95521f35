"""Fronts of work and precision of both codes on the flows of `_flows_front`: search, ratio, rows and picture."""

from __future__ import annotations

import math
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import _openfoam
from benchmarks._flows_front import Flow, Runs, Setting
from benchmarks._front import DOUBT, HIGH, LOW, REPEATS, TIMED, Point, cost, front, near, picture, useful
from benchmarks._ledger import Kept, Ledger, quantiles

IDS = {False: "cylinder_generation_vs_openfoam", True: "two_phase_generation_vs_interfoam"}
EVERY_SETTING_UP_TO = 1  # multiples; beyond, those on the front of the one before
FLAT = 0.98  # after two paces in a row that leave more than this of every error come no more
CODES = ("OpenFOAM", "sciml")


def settings(flow: Flow) -> list[Setting]:
    """OpenFOAM's to begin with; `their_points` adds to them."""
    if flow.two:
        base = Setting(0, 0, "Euler", 1, 1e-3, "PCG", predictor=False)
        found = [base, *(replace(base, correctors=n) for n in (2, 3)), replace(base, correctors=2, tolerance=1e-5)]
        return [*found, *(replace(base, correctors=n, program="interIsoFoam") for n in (1, 2))]
    base = Setting(0, 0, "backward", 1, 1e-3, program="icoFoam")
    varied = [base, *(replace(base, correctors=n) for n in (2, 3)), replace(base, correctors=2, tolerance=1e-4)]
    varied += [replace(base, time_scheme="Euler", correctors=n) for n in (1, 2)]
    return [replace(s, growth=growth) for s in varied for growth in ((1.0, 1.0), (1.1, 1.0), (1.1, 1.1))]


def variants(flow: Flow, setting: Setting) -> list[Setting]:
    """The other pressure solver, the momentum predictor, a looser and a tighter tolerance, another correction; on cells
    that are not at right angles the pressure solved once; of two fluids another scheme in time, other convection, and
    interFoam's α by an explicit step."""
    found = [
        replace(setting, pressure="PCG" if setting.pressure == "GAMG" else "GAMG"),
        replace(setting, predictor=not setting.predictor),
        *(replace(setting, tolerance=f * setting.tolerance) for f in (10, 0.1) if f * setting.tolerance < 0.1),
        replace(setting, correctors=setting.correctors + 1),
    ]
    if not flow.two:
        return [*found, replace(setting, skewed=0)]
    found += [replace(setting, convection=name) for name in ("linear", "limitedLinearV 1")]
    found += [replace(setting, implicit=False)] if setting.program == "interFoam" else []
    return [*found, replace(setting, time_scheme="CrankNicolson 0.9")]


def measured(points: Sequence[Point], measure: str) -> list[Point]:
    """With the error of one measure."""
    return [{**p, "error": p["errors"][measure]} for p in points]


def best(flow: Flow, points: Sequence[Point]) -> list[Point]:
    """What is useful for any measure."""
    found = {p["setting"]: p for measure in flow.measures for p in useful(measured(points, measure))}
    return list(found.values())


def their_points(runs: Runs) -> list[Point]:
    flow = runs.flow
    points: list[Point] = []
    carried: list[Setting] = []
    for multiple in flow.theirs[0]:
        here: list[Point] = []
        for setting in settings(flow) if multiple <= EVERY_SETTING_UP_TO else carried:
            here += refined(runs, replace(setting, multiple=multiple))
        for setting in {v: None for p in best(flow, here) for v in variants(flow, p["setting"])}:
            found = runs.theirs(setting)
            if found is not None and all(setting != p["setting"] for p in here):
                here.append(found)
        points += here
        carried = list(dict.fromkeys(replace(p["setting"], multiple=0, pace=0) for p in best(flow, here)))
    return points


def refined(runs: Runs, setting: Setting) -> list[Point]:
    """One setting at slower and slower paces until two in a row were flat."""
    points: list[Point] = []
    least, flat = {m: math.inf for m in runs.flow.measures}, 0
    for pace in runs.flow.theirs[1]:
        found = runs.theirs(replace(setting, pace=pace))
        if found is None:
            continue
        points.append(found)
        errors = found["errors"]
        flat = flat + 1 if all(errors[m] > FLAT * least[m] for m in errors) else 0
        if flat == 2:
            break
        least = {m: min(least[m], errors[m]) for m in errors}
    return points


def our_points(runs: Runs) -> list[Point]:
    multiples, cfls = runs.flow.ours
    return [runs.ours(multiple, cfl) for multiple in multiples for cfl in cfls]


def compare(ledger: Ledger, kept: Kept, flows: Mapping[str, Flow], out: Path | None) -> None:
    """Rows of all points, curves of ratios, the check, and the picture."""
    smallest: list[tuple[float, list[float]]] = []
    told, drawn = [], {}
    two = any(flow.two for flow in flows.values())
    for name, flow in flows.items():
        runs = Runs(kept, name, flow)
        points = {"OpenFOAM": their_points(runs), "sciml": our_points(runs)}
        doubts = runs.doubts()
        again = {
            code: [p for p in some if any(p["errors"] == q["errors"] and p["seconds"] == q["seconds"]
                                          for m in runs.flow.measures for q in near(measured(some, m)))]
            for code, some in points.items()
        }  # fmt: skip
        timed = clocked(runs, again)
        for measure in runs.flow.measures:
            doubt = max(d[measure] for told_of, d in doubts.items() if told_of.endswith("off_coarser"))
            at = np.geomspace(max(LOW, doubt / DOUBT), HIGH, 41)
            edges, each = {}, {}
            for code in CODES:
                medians = [statistics.median(t) for t in zip(*timed[code], strict=True)]
                again_here = zip(measured(again[code], measure), medians, strict=True)
                some = [{**p, "seconds": s, "place": k} for k, (p, s) in enumerate(again_here)]
                edges[code] = front([p for p in some if p["error"] <= TIMED[1]])
                each[code] = [[repeat[p["place"]] for p in edges[code]] for repeat in timed[code]]
            theirs, ours = (cost(edges[code], [p["seconds"] for p in edges[code]], at) for code in CODES)
            ratio = np.where(np.isfinite(theirs) & np.isnan(ours), 0.0, theirs / ours)  # 0: ours does not reach that
            rows(ledger, name, flow, measure, points, again, timed, edges)
            for e, a, b, r in zip(at, theirs, ours, ratio, strict=True):
                if math.isfinite(r):
                    ledger.row(section="ratio over error", flow=name, error_of=measure, relative_error=e,
                               openfoam_seconds=a, sciml_seconds=b if math.isfinite(b) else None, ratio=r)  # fmt: skip
            both = at[np.isfinite(ratio)]
            if not len(both):
                told.append(f"{name}, {measure}: no error that OpenFOAM reaches")
                continue
            worst = int(np.nanargmin(ratio))
            repeats = [
                float(np.nanmin(cost(edges["OpenFOAM"], a, at) / cost(edges["sciml"], b, at))) if ratio[worst] else 0.0
                for a, b in zip(each["OpenFOAM"], each["sciml"], strict=True)
            ]
            smallest.append((float(ratio[worst]), repeats))
            ledger.row(section="range of the front", flow=name, error_of=measure, from_relative_error=both[0],
                       to_relative_error=both[-1], smallest_ratio=ratio[worst], at_relative_error=at[worst],
                       **{f"reference_{k}": d[measure] for k, d in doubts.items()}, cores=1)  # fmt: skip
            told.append(f"{name}, {measure}: {ratio[worst]:.1f} at {at[worst]:.1%}, of {both[0]:.1%} to {both[-1]:.1%}")
            print(told[-1], flush=True)
            drawn[f"{name}, {measure}"] = {
                named: (measured(points[code], measure), edges[code])
                for named, code in (("interFoam, interIsoFoam" if two else "icoFoam", "OpenFOAM"), ("sciml", "sciml"))
            }
    note = "; ".join(told)
    if not smallest:
        ledger.check(IDS[two], None, note)
        return
    value, repeats = min(smallest)
    ledger.check(IDS[two], value, note, spread=quantiles(repeats, f"{REPEATS} repeats of the fronts"), note=note)
    if out is not None:
        picture(drawn, "seconds of one core", out)


def clocked(runs: Runs, again: dict[str, list[Point]]) -> dict[str, list[list[float]]]:
    """Seconds of each repeat and each point of both codes, taken in turn."""

    def make() -> list[dict[str, list[float]]]:
        with ExitStack() as stack:
            clocks: dict[str, list[Callable[[], float]]] = {
                "OpenFOAM": [
                    runs.prepared(p["setting"], Path(stack.enter_context(tempfile.TemporaryDirectory())))
                    for p in again["OpenFOAM"]
                ],
                "sciml": [runs.our_clock(p["multiple"], p["cfl"]) for p in again["sciml"]],
            }
            repeats = []
            for _ in range(REPEATS):
                found: dict[str, list[float]] = {code: [] for code in clocks}
                for turn in zip_longest(*clocks.values()):
                    for code, clock in zip(clocks, turn, strict=True):
                        if clock is not None:
                            found[code].append(clock())
                repeats.append(found)
            return repeats

    what = {code: [label(p) for p in some] for code, some in again.items()}
    found = runs.kept(make, piece="front", flow=runs.name, version=_openfoam.version(), **what)
    return {code: [repeat[code] for repeat in found] for code in again}


def label(p: Point) -> dict[str, Any]:
    """What a point is, for its row."""
    if "setting" not in p:
        return {"multiple": p["multiple"], "pace": p["cfl"]}
    return asdict(p["setting"]) | {"growth": list(p["setting"].growth)}


def rows(
    ledger: Ledger, name: str, flow: Flow, measure: str, points: dict[str, list[Point]],
    again: dict[str, list[Point]], timed: dict[str, list[list[float]]], edges: dict[str, list[Point]],
) -> None:  # fmt: skip
    for code, some in points.items():
        marked = [label(p) for p in edges[code]]
        known = [label(p) for p in again[code]]
        for p in measured(some, measure):
            this, spread = label(p), {}
            if this in known:
                mine = [repeat[known.index(this)] for repeat in timed[code]]
                of = quantiles(mine, "")
                spread = {"median_seconds": statistics.median(mine), "low_seconds": of["low"],
                          "high_seconds": of["high"], "repeats": len(mine)}  # fmt: skip
            ny, nx = flow.cells(p["setting"].multiple if "setting" in p else p["multiple"])
            ledger.row(
                section="work and precision", flow=name, error_of=measure, code=code, cells=f"{ny} × {nx}", **this,
                steps=p["steps"], cores=1, relative_error=p["error"], seconds_once=p["seconds"],
                on_front=this in marked, **spread, **{k: p[k] for k in ("compile_seconds", "overshoot") if k in p},
            )  # fmt: skip
