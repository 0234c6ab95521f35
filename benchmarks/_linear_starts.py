"""Where pressure solves begin, within whole marches of the flow solvers.

All with `MultigridCG` at its usual tolerance, in single precision, but for the row of the direct solver. Iterations are
those of all solves of a march, the first ones, which have no past, among them. Seconds are those that the processor
spent on a march, compiled before, of runs in turn; the least of them counts. Deviations are from the direct solver's
answer at the end, of two fluids from that with iterations from the last pressure. Bases are of marches of two other
cases.
"""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import jax
import numpy as np

from benchmarks._ledger import Kept, Ledger
from sciml.problem import Case
from sciml.problems import CylinderFlow, DamFlow
from sciml.solvers import IncompressibleFlow, TwoPhaseFlow
from sciml.solvers.linear import (
    Counting,
    MarchStart,
    MultigridCG,
    Previous,
    Projected,
    ReducedBasis,
    Zero,
)


class March(NamedTuple):
    """One flow on one grid.

    Args:
        cases: name -> case and the time to which it is solved; compiled alike.
        others: cases that a basis is learned from, to the time of the first.
        starts: by name; "basis" stands for the learned one.
    """

    make: Any
    shape: tuple[int, int]
    cases: dict[str, tuple[Case, float]]
    others: list[Case]
    modes: int
    starts: tuple[str, ...]


STARTS: dict[str, MarchStart] = {
    "zero": Zero(), "previous": Previous(), "projected, last 4": Projected(4), "projected, last 8": Projected(8),
}  # fmt: skip


def past_a_cylinder(quick: bool) -> list[March]:
    cylinder, (early, late, short) = CylinderFlow(), (0.002, 0.004, 0.001) if quick else (0.06, 0.3, 0.015)
    sudden = cylinder.case(viscosity=2e-3)
    cases = {"cylinder, Re 100": (sudden, early), "cylinder, Re 200": (cylinder.case(viscosity=1e-3), late)}
    others = [cylinder.case(viscosity=v) for v in (1.5e-3, 3e-3)]
    small, large = ((12, 24), (16, 32)) if quick else ((48, 88), (144, 264))
    return [
        March(IncompressibleFlow, small, cases, others, 16, (*STARTS, "basis")),
        March(IncompressibleFlow, large, {"cylinder, Re 100": (sudden, short)}, [], 0, ("zero", "projected, last 4")),
    ]


def dam(quick: bool) -> March:
    shape, last = ((8, 30), 0.02) if quick else ((32, 120), 0.3)
    starts = ("zero", "previous", "projected, last 4")
    return March(TwoPhaseFlow, shape, {"dam break": (DamFlow().case(), last)}, [], 0, starts)


def starts_of(march: March) -> dict[str, MarchStart]:
    found = {n: s for n, s in STARTS.items() if n in march.starts}
    if "basis" in march.starts:
        last = next(iter(march.cases.values()))[1]
        basis = ReducedBasis.learned(march.make(march.shape), march.others, [last / 2, last], march.modes)
        found[f"basis, {march.modes} modes of others"] = basis
    return found


def marches(march: March, quick: bool) -> list[dict[str, Any]]:
    """Rows of one flow on one grid."""
    starts = starts_of(march)
    usual = march.make(march.shape, pressure_solver=MultigridCG()).pressure_start
    several = {n: march.make(march.shape, pressure_solver=MultigridCG(), pressure_start=s) for n, s in starts.items()}
    one_fluid = march.make is IncompressibleFlow
    if one_fluid:
        several["direct solver"] = march.make(march.shape)
    counts: dict[str, list[int]] = {n: [] for n in starts}
    counting = {n: several[n].with_pressure_solver(lambda inner, n=n: Counting(inner, counts[n])) for n in starts}
    found = []
    for flow, (case, last) in march.cases.items():
        times = np.array([last / 2, last])
        answers = {n: s.solve(case, times) for n, s in several.items()}
        seconds: dict[str, list[float]] = {n: [] for n in several}
        for _ in range(1 if quick else 5):
            for name, solver in several.items():
                began = time.process_time()
                solver.solve(case, times)
                seconds[name].append(time.process_time() - began)
        base = answers["direct solver" if one_fluid else "previous"].isel(time=-1)
        for name, solver in several.items():
            direct = name == "direct solver"
            if not direct:
                counts[name].clear()
                counting[name].solve(case, times)
                jax.effects_barrier()
            end = answers[name].isel(time=-1)
            found.append({
                "flow": flow, "cells": list(march.shape), "start": name, "default": solver.pressure_start == usual,
                "solves": None if direct else len(counts[name]),
                "iterations": None if direct else float(np.mean(counts[name])),
                "cpu_seconds": min(seconds[name]), "cpu_seconds_middle": float(np.median(seconds[name])),
                "cpu_seconds_most": max(seconds[name]),
                "times_zero": min(seconds[name]) / min(seconds["zero"]),
                "deviation": max(float(np.abs(end[f] - base[f]).max() / np.abs(base[f]).max()) for f in ("u", "v")),
                "substeps": int(answers[name].attrs["substeps"]),
            })  # fmt: skip
    return found


def of_one_fluid(ledger: Ledger, work: Any) -> None:
    """Rows of the cylinder."""
    _measure(ledger, work, "cylinder", past_a_cylinder(work.quick)[0])


def on_more_cells(ledger: Ledger, work: Any) -> None:
    """Rows of the cylinder on nine times as many cells."""
    _measure(ledger, work, "cylinder, more cells", past_a_cylinder(work.quick)[1])


def of_two_fluids(ledger: Ledger, work: Any) -> None:
    """Rows of the dam."""
    _measure(ledger, work, "dam", dam(work.quick))


def _measure(ledger: Ledger, work: Any, piece: str, march: March) -> None:
    kept = Kept("linear", dry=work.quick)
    for row in kept(lambda: marches(march, work.quick), part="starts", piece=piece, quick=work.quick):
        ledger.row(section="starts", **row)
