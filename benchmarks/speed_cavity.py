"""The reference solver on the lid-driven cavity: order of accuracy, deviations, and speed against icoFoam.

`python -m benchmarks.speed_cavity` writes part "cavity" of the ledger `speed` and the picture docs/cavity_front.png;
`--quick` tries it on a small piece and writes neither. What errors and clocks are is said in `_cavity_runs`; each
run is kept in benchmarks/work, so that an interrupted measurement goes on.

Two comparisons. At one resolution: 64 × 64 cells, at the error that icoFoam has there at a step of 0.005 L/U (a
Courant number of 0.32, tight tolerances, the best of its time schemes) plus 2 %. icoFoam runs at the largest step that
meets it, found in steps of about 10 %, with those of its time schemes, corrections, tolerances and pressure solvers
that are then fastest, each option tried in turn until none helps; ours at the largest Courant number that meets it.
One case has one core in both, 16 have the same two: icoFoam runs two at a time, and after each pair ours runs its 16.

That margin lies where icoFoam's cost is steepest: the rows "icoFoam at the margin" show what more of it would buy.

Over resolutions and time steps (`_cavity_front`): error against cost of both, and the ratio of costs from 1 to 10 %, as
far as both reach. Compilation is a column of its own, and in no ratio.

Ratios are medians of repeats in which the codes take turns; those held against the goals are the smallest of the three
Reynolds numbers.
"""

from __future__ import annotations

import argparse
import math
import statistics
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import jax

from benchmarks import _cavity_front, _cavity_runs, _flows, _openfoam
from benchmarks._cavity_runs import END, FRAME, REYNOLDS, Runs
from benchmarks._ledger import HERE, WORK, Kept, Ledger, quantiles
from benchmarks._openfoam import Cavity

CELLS = 64
STEPS_A_FRAME = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 17, 19, 21, 23, 25, 28, 31, 34, 37, 41, 45, 50)
OPTIONS: dict[str, tuple] = {
    "time_scheme": ("backward", "CrankNicolson 0.9", "Euler"),
    "tolerance": (1e-2, 1e-3, 1e-4, 1e-5),
    "pressure": ("GAMG", "PCG"),
    "correctors": (1, 2, 3),
    "predictor": (True, False),
}
SMALL = 0.005  # L/U, the step of icoFoam's own error
MARGIN = 1.02
MANY = 16
REPEATS = 7
IDS = {1: "cavity_vs_icofoam_one_case", MANY: "cavity_vs_icofoam_16_cases"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--quick", action="store_true", help="one Reynolds number at small resolutions, nothing written"
    )
    quick = parser.parse_args().quick
    there = _openfoam.environment() is not None
    ledger = Ledger("speed", part="cavity", programs={"openfoam": _openfoam.version()} if there else None)
    if not quick:
        accuracy(ledger)
    if there:
        runs = Runs(Kept("cavity", files=("_openfoam.py", "_front.py")))
        if quick:
            margin(ledger, runs, REYNOLDS[:1], 16)
            _cavity_front.compare(ledger, runs, REYNOLDS[:1], (8, 12, 16, 24), WORK / "cavity_front.png")
        else:
            for reynolds in REYNOLDS:
                ledger.row(section="reference", reynolds=reynolds, cells=32, **runs.doubts(reynolds))
            margin(ledger, runs, REYNOLDS, CELLS)
            out = HERE.parent / "docs" / "cavity_front.png"
            _cavity_front.compare(ledger, runs, REYNOLDS, _cavity_front.RESOLUTIONS, out)
    else:
        for id in (*IDS.values(), _cavity_front.ID):
            ledger.check(id, None, "icoFoam is not installed (Debian package openfoam)")
    ledger.write(dry=quick)


def accuracy(ledger: Ledger) -> None:
    sizes = (16, 32, 64, 128)
    errors = [_flows.taylor_green(n) for n in sizes]
    wall = [_flows.manufactured(n, cfl=1.0)["errors"] for n in sizes]
    for flow, found in (("Taylor-Green", errors), ("manufactured, sliding walls", wall)):
        for n, e in zip(sizes, found, strict=True):
            ledger.row(section="order", flow=flow, cells=n, **{f"rms_error_{k}": v for k, v in e.items()})
    ledger.check("observed_order_taylor_green", min(_flows.orders(errors).values()))
    ledger.check("observed_order_wall_bounded", min(_flows.orders(wall).values()))
    for reynolds in REYNOLDS:
        found = _flows.cavity_deviations(reynolds)
        ledger.row(
            section="centre lines", cells=CELLS, reynolds=reynolds, **{f"deviation_{k}": v for k, v in found.items()}
        )
        ledger.check(f"cavity_re{reynolds}_deviation_from_own_extrapolation", found["own_extrapolation"])
        if reynolds == 100:
            ledger.check("cavity_re100_deviation_from_ghia", found["ghia"])


def margin(ledger: Ledger, runs: Runs, numbers: Sequence[int], cells: int) -> None:
    """One case and 16 on cells × cells cells, at icoFoam's own error and 2 %."""
    ratios: dict[int, list[tuple[float, list[float]]]] = {count: [] for count in IDS}
    for reynolds in numbers:
        tight = Cavity(cells, reynolds, SMALL, END, FRAME, correctors=2, tolerance=1e-6, pressure="GAMG")
        own = (runs.error(replace(tight, time_scheme=s)) for s in OPTIONS["time_scheme"])
        goal = MARGIN * min(e for e in own if e is not None)
        case, theirs = fastest(ledger, runs, replace(tight, tolerance=1e-4), goal)
        cfl = next(c for c in (2.0, 1.5, 1.0, 0.5, 0.25) if runs.ours(cells, c, reynolds)["error"] <= goal)
        for count in IDS:
            times = timed(runs, case, cfl, count)
            each = [a / b for a, b in times]
            ratio, spread = statistics.median(each), quantiles(each, "")
            ratios[count].append((ratio, each))
            ledger.row(
                section="speed", cells=cells, reynolds=reynolds, cases=count, cores=min(count, 2),
                error_to_meet=goal, sciml_cfl=cfl,
                sciml_error=runs.ours(cells, cfl, reynolds)["error"],
                sciml_compile_seconds=compile_seconds(runs, cells, cfl, reynolds, count),
                sciml_seconds_per_case=statistics.median(b for _, b in times), icofoam_error=theirs["error"],
                **{f"icofoam_{k}": v for k, v in _cavity_front.label({"case": case}).items()},
                icofoam_seconds_per_case=statistics.median(a for a, _ in times), ratio=ratio,
                ratio_low=spread["low"], ratio_high=spread["high"], repeats=len(each),
            )  # fmt: skip
            print(f"Re {reynolds}, {count} cases: {ratio:.1f}", case, flush=True)
    for count, id in IDS.items():
        value, each = min(ratios[count])
        note = "Re " + ", ".join(f"{r}: {v:.1f}" for r, (v, _) in zip(numbers, ratios[count], strict=True))
        ledger.check(id, value, note, spread=quantiles(each, f"{len(each)} pairs of runs"), note=note)


def fastest(ledger: Ledger, runs: Runs, start: Cavity, goal: float) -> tuple[Cavity, dict[str, Any]]:
    """The settings of icoFoam that take least, each at the largest step with which they meet the goal; rows of all."""
    tried: dict[Cavity, dict[str, Any]] = {}

    def meets(setting: Cavity, steps: int) -> bool:
        case = replace(setting, time_step=FRAME / steps)
        error = runs.error(case)
        tried.setdefault(case, {"error": error, "seconds": None})
        return error is not None and error <= goal

    def largest_step(setting: Cavity) -> tuple[Cavity, dict[str, Any]]:
        place = bisect_left(STEPS_A_FRAME, True, key=partial(meets, setting))
        # the error need not fall with the step: beyond the next larger one, which does not meet the goal, two are tried
        for steps in STEPS_A_FRAME[max(place - 3, 0) : place + 1]:
            if meets(setting, steps):
                case = replace(setting, time_step=FRAME / steps)
                tried[case] = runs.theirs(case)
                return case, tried[case]
        return setting, {"seconds": math.inf}

    best, before = largest_step(start), None
    while best != before:
        before = best
        for name, values in OPTIONS.items():
            found = [largest_step(replace(best[0], **{name: value})) for value in values]
            best = min([best, *found], key=lambda pair: pair[1]["seconds"])
    if not math.isfinite(best[1]["seconds"]):
        raise RuntimeError(f"no step of icoFoam meets the error {goal:g} at Re {start.reynolds:g}")
    for case, found in tried.items():
        ledger.row(section="icoFoam at the margin", reynolds=case.reynolds, **_cavity_front.label({"case": case}),
                   relative_error=found["error"], seconds_once=found["seconds"])  # fmt: skip
    return best


def family(reynolds: float, count: int) -> list[float]:
    return [reynolds * (1 + 0.002 * k) for k in range(count)]


def compile_seconds(runs: Runs, cells: int, cfl: float, reynolds: float, count: int) -> float:
    """What the first call takes more than the second."""

    def make() -> float:
        jax.clear_caches()
        first, second = (_cavity_runs.our_seconds(cells, cfl, family(reynolds, count)) for _ in range(2))
        return first - second

    return runs.kept(make, piece="compile", cells=cells, cases=count, reynolds=reynolds, cfl=cfl)


def timed(runs: Runs, case: Cavity, cfl: float, count: int) -> list[tuple[float, float]]:
    """Seconds per case of icoFoam and of ours, in turn: `REPEATS` times one case, or icoFoam's cases pair by pair.

    The runs of a pair slow each other; half their mean is what a case takes in a long row of pairs.
    """
    cases = [replace(case, reynolds=r) for r in family(case.reynolds, count)]
    groups = [cases] * REPEATS if count == 1 else [cases[k : k + 2] for k in range(0, count, 2)]
    ours = partial(_cavity_runs.our_seconds, case.cells, cfl, family(case.reynolds, count))
    ours()  # compiles

    def make(group: list[Cavity]) -> tuple[float, float]:
        return statistics.mean(_cavity_runs.their_seconds(group)) / len(group), ours() / count

    what = {"version": _openfoam.version(), "cases": count, "cfl": cfl, "setting": asdict(case)}
    return [runs.kept(partial(make, g), piece="turn", number=k, **what) for k, g in enumerate(groups)]


if __name__ == "__main__":
    main()
