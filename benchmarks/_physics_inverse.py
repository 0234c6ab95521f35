"""Both coefficients of Burgers' equation from noisy values at scattered places and times.

    ∂t u + λ u ∂x u = ν ∂xx u,   λ = 1, ν = 0.01/π

10,000 values of the exact solution at random places and times, each with Gaussian noise of 1 % of their standard
deviation. The network is told neither coefficient, but how u begins and that it is periodic; where training begins is
below.
"""

from __future__ import annotations

import statistics
from typing import Any

import numpy as np

from benchmarks._ledger import Ledger, extremes
from benchmarks._physics_cases import TwoCoefficients
from benchmarks._physics_forward import FIRST_SEED, SMALL, burgers, recipe
from benchmarks._physics_runs import Setting
from sciml import Case
from sciml.solvers.pinn import Adam, LevenbergMarquardt

# -- settings ---------------------------------------------------------------------------------------------------

NOISE_SEEDS = 5
VALUES = 10_000
NOISE = 0.01
FIRST: dict[str, Any] = {"convection": 2.0, "viscosity": 0.05 / np.pi}  # what training begins with
SETTING = Setting(
    SMALL, recipe(Adam(500), LevenbergMarquardt(60), points=2000), {"unknown": ("convection", "viscosity")}
)


def observed(case: Case, seed: int) -> dict[str, np.ndarray]:
    """Values at places and times that are drawn together, (N, 2)."""
    random = np.random.default_rng([seed, 0x0B5])
    points = random.uniform(0.0, [case.length, 1.0], (VALUES, 2))
    exact = np.concatenate([case.exact([t], (np.array([x]),))["u"][0] for x, t in points])
    return {"points": points, "u": exact + NOISE * exact.std() * random.standard_normal(VALUES)}


def measure(ledger: Ledger, work: Any) -> None:
    true, truth = burgers()
    wanted = {"convection": 1.0, "viscosity": true.viscosity}
    case = TwoCoefficients().case(length=true.length, **FIRST)
    worst = []
    seeds = range(FIRST_SEED, FIRST_SEED + work.seeds(NOISE_SEEDS))
    ledger.seeds(*seeds)
    for seed in seeds:
        observations = observed(true, seed)
        run = work.runs("inverse", case, work.setting(SETTING), truth, seed, observations=observations)
        gaps = {n: abs(run["found"][n] / v - 1.0) for n, v in wanted.items()}
        worst.append(max(gaps.values()))
        ledger.row(
            section="inverse", noise_seed=seed, noise=NOISE, values=VALUES, convection=run["found"]["convection"],
            viscosity=run["found"]["viscosity"], convection_error=gaps["convection"],
            viscosity_error=gaps["viscosity"], relative_l2=run["relative_l2"], seconds=run["seconds"],
        )  # fmt: skip
    note = f"the worse of both coefficients, median of {len(worst)} noise seeds"
    spread = extremes(worst, f"{len(worst)} noise seeds")
    ledger.check("inverse_burgers_coefficient_error", statistics.median(worst), note, spread=spread, note=note)
