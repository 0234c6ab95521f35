"""Linear solvers in use: whole simulations with each pressure solver, and what guesses save.

Seconds are those of a whole march, compiled before, of runs in turn; the least of them counts. Guesses are compared on
the pressure systems of a march as they were recorded: each solve begins from a guess that sees the answers before it,
and goes on to the same tolerance. The surrogate is trained on marches of other cases, at the very steps of the march,
and predicts from the true state before each step; what it costs to ask it is not counted in iterations.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks._ledger import Kept, Ledger
from sciml import Recipe
from sciml.operators import UNet
from sciml.problem import Case
from sciml.problems import CylinderFlow, DamFlow
from sciml.solvers import IncompressibleFlow, Surrogate, TwoPhaseFlow
from sciml.solvers.linear import (
    ConjugateGradient,
    Direct,
    Extrapolated,
    IncompleteCholesky,
    Jacobi,
    LearnedMultigrid,
    LinearSolver,
    MultigridCG,
    Predicted,
    Previous,
    Projected,
    RugeStuben,
    SparseDirect,
    WarmStart,
    Zero,
    record,
    replay,
)
from sciml.training import Autoregressive, Steps

TOLERANCE = 1e-5  # of the pressure in single precision, as the default's
REPLAYED = 1e-6  # of recorded solves, in double precision
VELOCITIES = (0.8, 0.9, 1.1, 1.2)  # m/s, of the marches that the surrogate learns from; the measured one is at 1
SKIPPED = 10  # solves at the beginning, in which guesses have no past


def solvers(default: LinearSolver) -> dict[str, LinearSolver]:
    """By name, the default first."""
    found: dict[str, LinearSolver] = {f"{default.name} (default)": default}
    others: dict[str, LinearSolver] = {
        "multigrid_cg": MultigridCG(),
        "learned_multigrid": LearnedMultigrid(),
        "conjugate gradients, Jacobi": ConjugateGradient(Jacobi(), tolerance=TOLERANCE),
        "conjugate gradients, incomplete Cholesky": ConjugateGradient(IncompleteCholesky(), tolerance=TOLERANCE),
        "sparse direct": SparseDirect(),
        "conjugate gradients, Ruge-Stuben": ConjugateGradient(RugeStuben(), tolerance=TOLERANCE),
    }
    return found | {n: s for n, s in others.items() if s != default}


def marches(flow: str, quick: bool) -> list[dict[str, Any]]:
    """Rows of one flow with each pressure solver."""
    if flow == "dam break":
        shape, last = ((8, 30), 0.02) if quick else ((32, 120), 0.3)
        case, make, default = DamFlow().case(), TwoPhaseFlow, MultigridCG()
    else:
        shape, last = ((24, 44), 0.002) if quick else ((72, 132), 0.02)
        case, make, default = CylinderFlow().case(viscosity=2e-3), IncompressibleFlow, Direct()
    times = np.linspace(0, last, 4)[1:]
    several: dict[str, Any] = {n: make(shape, pressure_solver=s) for n, s in solvers(default).items()}
    answers = {n: s.solve(case, times) for n, s in several.items()}
    seconds: dict[str, list[float]] = {n: [] for n in several}
    for _ in range(1 if quick else 3):
        for name, solver in several.items():
            began = time.perf_counter()
            solver.solve(case, times)
            seconds[name].append(time.perf_counter() - began)
    base = next(iter(answers.values()))
    first = min(next(iter(seconds.values())))
    return [
        {
            "flow": flow, "cells": list(shape), "pressure_solver": name, "seconds": min(seconds[name]),
            "seconds_most": max(seconds[name]), "times_the_default": min(seconds[name]) / first,
            "substeps": int(answers[name].attrs["substeps"]),
            "deviation_from_the_default": float(np.abs(answers[name].u - base.u).max() / np.abs(base.u).max()),
        }
        for name in several
    ]  # fmt: skip


def even_steps(make: Any, cases: Sequence[Case], last: float, step: float) -> tuple[np.ndarray, list[Any]]:
    """Times one sub-step apart for all cases, and the marches at them."""
    while True:
        times = step * np.arange(1, round(last / step) + 1)
        found = [make().solve(case, times) for case in cases]
        if all(int(f.attrs["substeps"]) == len(times) for f in found):
            return times, found
        step /= 1.5


def guesses_of(values: Predicted | None) -> dict[str, WarmStart]:
    found: dict[str, WarmStart] = {
        "zero": Zero(), "previous": Previous(), "extrapolated, order 1": Extrapolated(1),
        "extrapolated, order 2": Extrapolated(2), "projected, last 8": Projected(8),
        "projected, last 20": Projected(20),
    }  # fmt: skip
    if values is not None:
        found |= {"surrogate": values, "projected, last 8 and surrogate": Projected(8, values)}
    return found


def replayed(flow: str, kept: Any, predicted: Predicted | None) -> list[dict[str, Any]]:
    """Rows of one recorded march with each guess and two solvers."""
    found = []
    for solver in (MultigridCG(REPLAYED), ConjugateGradient(IncompleteCholesky(), tolerance=REPLAYED)):
        runs = {n: replay(kept, solver, g) for n, g in guesses_of(predicted).items()}
        usual = min(
            (runs[n] for n in runs if n == "previous" or n.startswith("extrapolated")),
            key=lambda r: r.iterations[SKIPPED:].sum(),
        )
        for name, run in runs.items():
            found.append({
                "flow": flow, "solver": solver.name, "guess": name, "solves": len(kept) - SKIPPED,
                "iterations": float(run.iterations[SKIPPED:].mean()),
                "residual_of_the_guess": float(np.exp(np.log(np.maximum(run.first[SKIPPED:], 1e-300)).mean())),
                "saved_against_zero": run.saved(runs["zero"], SKIPPED),
                "saved_against_previous_and_extrapolated": run.saved(usual, SKIPPED),
            })  # fmt: skip
    return found


def dam_guesses(quick: bool) -> dict[str, Any]:
    """Guesses on the dam break, a trained surrogate's among them."""
    shape, last, step, length = ((8, 30), 0.1, 0.004, 60) if quick else ((16, 60), 0.6, 0.002, 1500)

    def make() -> TwoPhaseFlow:
        return TwoPhaseFlow(shape, dtype="float64")

    cases = [DamFlow().case(velocity=v) for v in (1.0, *VELOCITIES)]
    times, solutions = even_steps(make, cases, last, step)
    began = time.perf_counter()
    surrogate = Surrogate(
        UNet, Autoregressive(history=2), fields=("u", "v", "p", "alpha"), width=16, multipliers=(1, 2)
    )
    surrogate.fit(solutions[1:], Recipe(Steps(length), batch=16, seed=0), split=None, validation=None)
    seconds = time.perf_counter() - began
    kept = record(make(), cases[0], times)
    first = len(kept) - len(times) + 1  # of the step to the second time
    predicted = Predicted(surrogate, cases[0], times[1:], solutions[0], first=first, otherwise=Previous())
    truth = solutions[0].p.values[1:]
    error = float(np.linalg.norm(predicted.values - truth) / np.linalg.norm(truth))
    last_known = float(np.linalg.norm(solutions[0].p.values[:-1] - truth) / np.linalg.norm(truth))
    rows = replayed("dam break", kept, predicted)
    return {
        "rows": rows, "training_seconds": seconds, "prediction_error": error, "previous_error": last_known,
        "step_s": float(times[0]), "cells": list(shape), "weights": surrogate.weights,
    }  # fmt: skip


def cylinder_guesses(quick: bool) -> dict[str, Any]:
    """Guesses on all stages of a flow past a cylinder."""
    shape, last = ((24, 44), 0.02) if quick else ((48, 88), 0.12)
    case = CylinderFlow().case(viscosity=2e-3)
    kept = record(IncompressibleFlow(shape, dtype="float64"), case, [last])
    return {"rows": replayed("cylinder, every stage", kept[: 60 if quick else 400], None), "cells": list(shape)}


def measure(ledger: Ledger, work: Any) -> None:
    """Rows of both flows, and the check on what a surrogate's guess saves."""
    ledger.seeds(0)
    kept = Kept("linear", dry=work.quick)
    for flow in ("dam break", "cylinder"):
        for row in kept(lambda f=flow: marches(f, work.quick), part="use", piece=flow, quick=work.quick):
            ledger.row(section="pressure_solvers", **row)
    dam = kept(lambda: dam_guesses(work.quick), part="use", piece="dam guesses", quick=work.quick)
    cylinder = kept(lambda: cylinder_guesses(work.quick), part="use", piece="cylinder guesses", quick=work.quick)
    for found in (dam, cylinder):
        beside: Mapping[str, Any] = {k: v for k, v in found.items() if k != "rows"}
        for row in found["rows"]:
            ledger.row(section="guesses", **row, **beside)
    best = {r["guess"]: r for r in dam["rows"] if r["solver"] == "multigrid_cg"}
    asked, with_past = best["surrogate"], best["projected, last 8 and surrogate"]
    saved = asked["saved_against_previous_and_extrapolated"]
    ledger.check(
        "warm_start_iterations_saved", saved,
        f"the surrogate's pressure is off by {dam['prediction_error']:.1e}, the last step's by "
        f"{dam['previous_error']:.1e}: of steps this short the past says more",
        note=f"dam break, {asked['iterations']:.2f} iterations a solve from the surrogate's guess; "
        f"{best['previous']['iterations']:.2f} from the last solution, "
        f"{best['extrapolated, order 1']['iterations']:.2f} and {best['extrapolated, order 2']['iterations']:.2f} "
        f"extrapolated, {best['projected, last 8']['iterations']:.2f} projected on the last 8, "
        f"{with_past['iterations']:.2f} on these and the surrogate's, {best['zero']['iterations']:.2f} from zero",
    )  # fmt: skip
