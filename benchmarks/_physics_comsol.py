"""Flows that COMSOL has solved: what shows that the cases are the files', and errors of networks against them."""

from __future__ import annotations

from typing import Any

from benchmarks import _physics_proof
from benchmarks._ledger import Ledger
from benchmarks._physics_cases import GIVEN, Given
from benchmarks._physics_forward import BURGERS, FIRST_SEED
from benchmarks._physics_runs import Setting, Truth
from sciml.solvers.pinn import Adam, Architecture, ByResidual, LevenbergMarquardt, PINNRecipe

# -- settings ---------------------------------------------------------------------------------------------------

UNSTEADY = BURGERS["Levenberg-Marquardt"]
STEADY = Setting(
    Architecture(width=24, depth=3),
    lambda seed: PINNRecipe(
        phases=(Adam(1000), LevenbergMarquardt(200)), points=2500, resampling=ByResidual(every=20), seed=seed
    ),
)
FLOW = {"velocity": ("u", "v"), "pressure": ("p",)}


def measure(ledger: Ledger, work: Any) -> None:
    folder = work.given.comsol
    if folder is None or not folder.is_dir():
        ledger.check("pinn_ns2d_comsol_relative_l2", None, "the files were not there, see --comsol")
        return
    for name in work.given.case or GIVEN:
        given = GIVEN[name](folder)
        _proof(ledger, given)
        groups = FLOW if "p" in given.fields else None
        truth = Truth(given.points, given.fields, given.times, given.free)
        setting = work.setting(UNSTEADY if given.times is not None else STEADY)
        run = work.runs(f"comsol {name}", given.case, setting, truth, FIRST_SEED, groups)
        ledger.seeds(FIRST_SEED)
        errors = run["errors"]
        ledger.row(
            section="comsol", case=given.title, velocity_error=errors.get("velocity", errors.get("u")),
            pressure_error=errors.get("pressure"), seconds=run["seconds"], weights=run["weights"],
            points=len(given.points),
        )  # fmt: skip
        if given.goal:
            note = f"{given.title}, the worse of velocity and pressure: " + ", ".join(
                f"{k} {v:.2g}" for k, v in errors.items()
            )
            ledger.check(given.goal, run["relative_l2"], note, note=note)


def _proof(ledger: Ledger, given: Given) -> None:
    """How well the file meets the conditions and equations of the case."""
    if given.times is not None:
        gap = _physics_proof.against_exact(given)
        ledger.row(section="comsol data", case=given.title, exact_difference=gap)
        return
    gaps = _physics_proof.conditions(given)
    left = _physics_proof.equations(given)
    ledger.row(section="comsol data", case=given.title, condition=max(gaps.values()), **left)
