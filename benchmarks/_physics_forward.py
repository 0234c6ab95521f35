"""Equations in one dimension: Burgers beside DeepXDE, Allen-Cahn, advection; and what each ingredient is worth."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks import _physics_peer
from benchmarks._ledger import Ledger, extremes
from benchmarks._physics_runs import Setting, Truth, seconds_to
from sciml import Case
from sciml.problems import Advection, AllenCahn, Burgers
from sciml.solvers import PseudoSpectral
from sciml.solvers.pinn import (
    Adam,
    Architecture,
    ByResidual,
    Factorised,
    Fourier,
    Fresh,
    LevenbergMarquardt,
    Minimiser,
    PINNRecipe,
    RandomPoints,
    Resampling,
    SelfScaledBroyden,
)

# -- settings ---------------------------------------------------------------------------------------------------

SEEDS = 3
FIRST_SEED = 1  # with seed 0 the settings below were found
SMALL, LARGER = Architecture(width=20, depth=3), Architecture(width=24, depth=3)
OFTEN, SELDOM = ByResidual(every=20), ByResidual(every=500)


def recipe(*phases: Minimiser, points: int = 3000, resampling: Resampling | None = OFTEN, **more: Any) -> Any:
    """Seed -> recipe, until time 1."""
    return lambda seed: PINNRecipe(
        until=1.0, phases=phases, points=points, resampling=resampling, seed=seed, **more
    )  # fmt: skip


BURGERS: Mapping[str, Setting] = {
    "Levenberg-Marquardt": Setting(SMALL, recipe(Adam(500), LevenbergMarquardt(300))),
    "Levenberg-Marquardt, larger": Setting(LARGER, recipe(Adam(500), LevenbergMarquardt(450), points=4000)),
    "self-scaled Broyden": Setting(SMALL, recipe(Adam(500), SelfScaledBroyden(5000), resampling=SELDOM)),
    "Adam alone": Setting(SMALL, recipe(Adam(20_000), resampling=SELDOM)),
}
ACCURATE = "Levenberg-Marquardt, larger"  # the row that counts for the goals of accuracy
ALLEN_CAHN = Setting(SMALL, recipe(Adam(500), LevenbergMarquardt(250)))
SPEEDS = (30.0, 50.0, 80.0)


def transported(speed: float) -> Setting:
    """Windows of time for fast transport: the waves that pass in one are few."""
    return Setting(SMALL, recipe(Adam(300), LevenbergMarquardt(60), points=2000, windows=round(speed / 10)))


def _recipe(setting: Setting, change: Callable[[PINNRecipe], PINNRecipe]) -> Setting:
    return replace(setting, recipe=lambda seed: change(setting.recipe(seed)))


#: what is changed of a setting of Burgers, one at a time
NETWORKS: Mapping[str, Callable[[Setting], Setting]] = {
    "gates": lambda s: replace(s, architecture=replace(s.architecture, gates=True)),
    "Fourier features": lambda s: replace(s, architecture=replace(s.architecture, features=Fourier())),
    "factorised weights": lambda s: replace(s, architecture=replace(s.architecture, weights=Factorised())),
    "sine activation": lambda s: replace(s, architecture=replace(s.architecture, activation="sin")),
}
TRAINING: Mapping[str, Callable[[Setting], Setting]] = {
    "half the width": lambda s: replace(s, architecture=replace(s.architecture, width=s.architecture.width // 2)),
    "points that stay": lambda s: _recipe(s, lambda r: replace(r, resampling=None)),
    "points drawn evenly, as often": lambda s: _recipe(s, lambda r: replace(r, resampling=Fresh(every=20))),
    "random points for Sobol's": lambda s: _recipe(s, lambda r: replace(r, sampling=RandomPoints())),
    "straight steps": lambda s: _recipe(
        s, lambda r: replace(r, phases=(r.phases[0], replace(r.phases[1], accelerated=False)))
    ),
    "no Adam before": lambda s: _recipe(s, lambda r: replace(r, phases=r.phases[1:])),
    "start as a penalty, balanced": lambda s: replace(s, options={"exact": False}),
    "start as a penalty, weights equal": lambda s: _recipe(
        replace(s, options={"exact": False}), lambda r: replace(r, balancing=None)
    ),
}
CHANGES: Mapping[str, tuple[str, Mapping[str, Callable[[Setting], Setting]]]] = {
    "Levenberg-Marquardt": ("Levenberg-Marquardt", {"as it is": lambda s: s, **NETWORKS, **TRAINING}),
    "Adam alone": ("Adam alone", {"as it is": lambda s: s, **NETWORKS}),
}
CELLS = (1024, 2048)  # of the solver that stands beside
THRESHOLDS = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)


def quick(setting: Setting) -> Setting:
    """The same, hardly trained."""

    def recipe(seed: int) -> Any:
        whole = setting.recipe(seed)
        return replace(whole, phases=tuple(replace(p, steps=3) for p in whole.phases), points=200)

    return replace(setting, recipe=recipe)


# -- cases ------------------------------------------------------------------------------------------------------


def burgers() -> tuple[Case, Truth]:
    """The usual benchmark, −sin πx on [-1, 1], one to the right."""
    case = Burgers().case(viscosity=0.01 / np.pi, length=2.0)
    x, t = np.linspace(0.0, 2.0, 257), np.linspace(0.0, 1.0, 101)
    return case, Truth(x[:, None], case.exact(t, (x,)), t)


def allen_cahn() -> tuple[Case, Truth]:
    """Against 2048 cells of the pseudo-spectral solver, every eighth of which is looked at."""
    case = AllenCahn().case()
    t = np.linspace(0.0, 1.0, 101)
    found = PseudoSpectral(2048).solve(case, t).isel(x=slice(4, None, 8))
    return case, Truth(found["x"].values[:, None], {"u": found["u"].values}, t)


def advection(speed: float) -> tuple[Case, Truth]:
    case = Advection().case(speed=speed, length=2 * np.pi)
    x, t = np.linspace(0.0, 2 * np.pi, 129), np.linspace(0.0, 1.0, 101)
    return case, Truth(x[:, None], case.exact(t, (x,)), t)


# -- parts ------------------------------------------------------------------------------------------------------


def measure_burgers(ledger: Ledger, work: Any) -> None:
    """Ours over seeds, DeepXDE's recipes, and seconds of one core to given errors."""
    case, truth = burgers()
    seeds = range(FIRST_SEED, FIRST_SEED + work.seeds(SEEDS))
    ledger.seeds(*seeds)
    ours = {
        row: [work.runs("burgers", case, work.setting(setting), truth, seed) for seed in seeds]
        for row, setting in BURGERS.items()
    }
    peers = _physics_peer.measured(work.folder, work.given.deepxde, truth, work.given.quick)
    for row, runs in ours.items():
        middle = statistics.median(r["relative_l2"] for r in runs)
        ledger.row(
            section="burgers", row=row, solver="PINN", relative_l2=middle,
            worst=max(r["relative_l2"] for r in runs), seeds=len(runs), weights=runs[0]["weights"],
            seconds=statistics.median(r["seconds"] for r in runs), **_thresholds([r["curve"] for r in runs]),
        )  # fmt: skip
    for peer in peers:
        curve = [(c["seconds"], c["relative_l2"]) for c in peer["curve"]]
        ledger.row(
            section="burgers", row=f"DeepXDE {peer['version']}, {peer['recipe']}", solver="DeepXDE",
            relative_l2=peer["best_relative_l2"], worst=None, seeds=1, weights=None, seconds=peer["seconds"],
            **_thresholds([curve]),
        )  # fmt: skip
    _classical(ledger, case, truth)
    errors = [r["relative_l2"] for r in ours[ACCURATE]]
    spread = extremes(errors, f"{len(errors)} seeds")
    for goal in ("pinn_burgers_relative_l2", "pinn_burgers_relative_l2_far"):
        note = f"{ACCURATE}, against Cole-Hopf, float64"
        ledger.check(goal, statistics.median(errors), ACCURATE, spread=spread, note=note)
    if not peers:
        ledger.check("pinn_burgers_time_vs_deepxde", None, "DeepXDE was not there, see --deepxde")
        return
    peer = min(peers, key=lambda p: p["best_relative_l2"])
    times = {row: [seconds_to(r["curve"], peer["best_relative_l2"]) for r in runs] for row, runs in ours.items()}
    able = {row: [t for t in found if t is not None] for row, found in times.items() if None not in found}
    if not able:
        ledger.check(
            "pinn_burgers_time_vs_deepxde", None, f"no row comes to {peer['best_relative_l2']:.1e} on all seeds"
        )
        return
    fast = min(able, key=lambda row: statistics.median(able[row]))
    ratios = [peer["seconds_to_best"] / t for t in able[fast]]
    note = (
        f"{fast} to {peer['best_relative_l2']:.1e}, the least error of DeepXDE {peer['version']} ({peer['recipe']}, "
        f"{peer['seconds_to_best']:.0f} s); one core each, ours with compilation"
    )
    spread = extremes(ratios, f"{len(ratios)} seeds")
    ledger.check("pinn_burgers_time_vs_deepxde", statistics.median(ratios), note, spread=spread, note=note)


def _classical(ledger: Ledger, case: Case, truth: Truth) -> None:
    """What solves it without any training, at the same times and places."""
    for cells in CELLS:
        began = time.process_time()
        found = PseudoSpectral(cells).solve(case, truth.times)
        seconds = time.process_time() - began
        exact = case.exact(truth.times, (found["x"].values,))["u"]
        error = float(np.linalg.norm(found["u"].values - exact) / np.linalg.norm(exact))
        ledger.row(
            section="burgers", row=f"pseudo-spectral solver, {cells} cells", solver="numerical", relative_l2=error,
            worst=None, seeds=1, weights=None, seconds=seconds,
        )  # fmt: skip


def _thresholds(curves: list[Any]) -> dict[str, float | None]:
    """Median seconds to errors, None where a run does not come there."""
    found = {}
    for error in THRESHOLDS:
        times = [seconds_to(curve, error) for curve in curves]
        reached = [t for t in times if t is not None]
        found[f"seconds_to_{error:.0e}"] = statistics.median(reached) if len(reached) == len(times) else None
    return found


def measure_allen_cahn(ledger: Ledger, work: Any) -> None:
    case, truth = allen_cahn()
    _simple(ledger, work, "allen_cahn", "Allen-Cahn", case, truth, ALLEN_CAHN, "pinn_allen_cahn_relative_l2")


def measure_advection(ledger: Ledger, work: Any) -> None:
    for speed in SPEEDS:
        case, truth = advection(speed)
        goal = "pinn_advection_c80_relative_l2" if speed == 80 else None
        _simple(ledger, work, "advection", f"advection, c = {speed:g}", case, truth, transported(speed), goal)


def _simple(
    ledger: Ledger, work: Any, section: str, title: str, case: Case, truth: Truth, setting: Setting, goal: str | None
) -> None:
    """One case over seeds."""
    seeds = range(FIRST_SEED, FIRST_SEED + work.seeds(SEEDS))
    ledger.seeds(*seeds)
    runs = [work.runs(section, case, work.setting(setting), truth, seed) for seed in seeds]
    errors = [r["relative_l2"] for r in runs]
    ledger.row(
        section=section, case=title, relative_l2=statistics.median(errors), least=min(errors), most=max(errors),
        seeds=len(runs), weights=runs[0]["weights"], seconds=statistics.median(r["seconds"] for r in runs),
    )  # fmt: skip
    if goal is not None:
        ledger.check(goal, statistics.median(errors), title, spread=extremes(errors, f"{len(errors)} seeds"))


def measure_ablation(ledger: Ledger, work: Any) -> None:
    """Burgers with one thing changed at a time."""
    case, truth = burgers()
    for minimiser, (base, changes) in CHANGES.items():
        for row, change in changes.items():
            # as it is, it is a run of the part `burgers`, and not trained again
            name = "burgers" if row == "as it is" else "ablation"
            run = work.runs(name, case, work.setting(change(BURGERS[base])), truth, FIRST_SEED)
            ledger.row(
                section="ablation", minimiser=minimiser, changed=row, relative_l2=run["relative_l2"],
                seconds=run["seconds"], weights=run["weights"], **_thresholds([run["curve"]]),
            )  # fmt: skip
            ledger.seeds(FIRST_SEED)
