"""Fast transport in the frame that moves with it, beside the frame that stands still; and with diffusion."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks._ledger import Ledger, extremes
from benchmarks._physics_forward import FIRST_SEED, advection, recipe, transported
from benchmarks._physics_runs import Setting, Truth
from sciml import Case
from sciml.problems import Burgers
from sciml.solvers import pinn
from sciml.solvers.pinn import Adam, Architecture, LevenbergMarquardt

# -- settings ---------------------------------------------------------------------------------------------------

SEEDS = 3
SPEEDS = (30.0, 50.0)
VISCOSITIES = (0.1, 0.01)
#: the published kind of training: small descent of the first order on random points that stay
PLAIN = Setting(Architecture(width=50, depth=4), recipe(Adam(4000), points=1000, resampling=None))
MOVING = Setting(
    Architecture(width=16, depth=2), recipe(Adam(500), LevenbergMarquardt(20), points=1000, resampling=None)
)
LAGRANGIAN, WINDOWS = "Lagrangian PINN", "PINN, in windows of time"


def rows(speed: float | None) -> Mapping[str, tuple[Any, Setting]]:
    """Row -> (solver, setting); None for Burgers' equation."""
    found = {LAGRANGIAN: (pinn.LagrangianPINN, MOVING)}
    if speed is None:
        return found
    return {
        "PINN, Adam alone": (pinn.PINN, PLAIN),
        "Lagrangian PINN, Adam alone": (pinn.LagrangianPINN, PLAIN),
        WINDOWS: (pinn.PINN, transported(speed)),
        **found,
    }


def burgers(viscosity: float) -> tuple[Case, Truth]:
    """u₀ = sin x on a period of 2π."""
    case = Burgers().case(viscosity=viscosity, length=2 * np.pi)
    x, t = np.linspace(0.0, 2 * np.pi, 129), np.linspace(0.0, 1.0, 51)
    return case, Truth(x[:, None], case.exact(t, (x,)), t)


def label_frame_gap(viscosity: float, truth: Truth) -> float:
    """How far from the truth that is which diffuses along labels, w_t = ν w_ξξ, X_t = w: what a network that takes the
    wrong term can come to at best. There w = e^(−νt) sin ξ and
    X = ξ + (1 − e^(−νt))/ν sin ξ exactly."""
    assert truth.times is not None
    label = np.linspace(-np.pi, 3 * np.pi, 20_000)
    found = []
    for t in truth.times:
        decay = np.exp(-viscosity * t)
        place = label + (1 - decay) / viscosity * np.sin(label)
        found.append(np.interp(truth.points[:, 0], place, decay * np.sin(label)))
    return truth.errors({"u": np.array(found)}, {"u": ["u"]})["u"]


def measure(ledger: Ledger, work: Any) -> None:
    seeds = range(FIRST_SEED, FIRST_SEED + work.seeds(SEEDS))
    ledger.seeds(*seeds)
    for speed in SPEEDS:
        found = _rows(ledger, work, f"advection, c = {speed:g}", *advection(speed), rows(speed), seeds)
        if speed == 50:
            errors = found[LAGRANGIAN]
            spread = extremes(errors, f"{len(errors)} seeds")
            ledger.check("lpinn_convection_c50_relative_l2", statistics.median(errors), LAGRANGIAN, spread=spread)
    for viscosity in VISCOSITIES:
        case, truth = burgers(viscosity)
        title = f"Burgers, ν = {viscosity:g}"
        _rows(ledger, work, title, case, truth, rows(None), seeds)
        gap = label_frame_gap(viscosity, truth)
        ledger.row(section="lagrangian", case=title, row="diffusion along labels, exactly", relative_l2=gap)


def _rows(
    ledger: Ledger, work: Any, title: str, case: Case, truth: Truth, chosen: Mapping[str, tuple[Any, Setting]],
    seeds: range,
) -> dict[str, list[float]]:  # fmt: skip
    every = {}
    for row, (solver, setting) in chosen.items():
        # in windows it is a run of the part `advection`, and not trained again
        name = "advection" if row == WINDOWS else "lagrangian"
        runs = [work.runs(name, case, work.setting(setting), truth, seed, solver=solver) for seed in seeds]
        every[row] = errors = [r["relative_l2"] for r in runs]
        ledger.row(
            section="lagrangian", case=title, row=row, relative_l2=statistics.median(errors), least=min(errors),
            most=max(errors), seeds=len(errors), weights=runs[0]["weights"],
            seconds=statistics.median(r["seconds"] for r in runs),
        )  # fmt: skip
    return every
