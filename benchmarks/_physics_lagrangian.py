"""Fast transport in the frame that moves with it, beside the frame that stands still."""

from __future__ import annotations

import statistics
from typing import Any

from benchmarks._ledger import Ledger, extremes
from benchmarks._physics_forward import advection
from benchmarks._physics_runs import Setting
from sciml.solvers import pinn
from sciml.solvers.pinn import Adam, Architecture, PINNRecipe

# -- settings ---------------------------------------------------------------------------------------------------

SEEDS = 3
SPEEDS = (30.0, 50.0)
#: the same short training for both: on its own, first-order descent is what forgets the initial state
SETTING = Setting(
    Architecture(width=50, depth=4), lambda seed: PINNRecipe(until=1.0, phases=(Adam(4000),), points=1000, seed=seed)
)


def measure(ledger: Ledger, work: Any) -> None:
    seeds = range(work.seeds(SEEDS))
    ledger.seeds(*seeds)
    for speed in SPEEDS:
        case, truth = advection(speed)
        for row, solver in (("PINN", pinn.PINN), ("Lagrangian PINN", pinn.LagrangianPINN)):
            setting = work.setting(SETTING)
            runs = [work.runs("lagrangian", case, setting, truth, seed, solver=solver) for seed in seeds]
            errors = [r["relative_l2"] for r in runs]
            ledger.row(
                section="lagrangian", speed=speed, row=row, relative_l2=statistics.median(errors), least=min(errors),
                most=max(errors), seeds=len(errors), weights=runs[0]["weights"],
                seconds=statistics.median(r["seconds"] for r in runs),
            )  # fmt: skip
            if speed == 50 and row == "Lagrangian PINN":
                spread = extremes(errors, f"{len(errors)} seeds")
                ledger.check("lpinn_convection_c50_relative_l2", statistics.median(errors), row, spread=spread)
