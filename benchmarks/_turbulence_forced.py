"""Operators on forced turbulence in the plane, for 25 times as long as any flow that they were trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._ledger import WORK, Ledger
from benchmarks._turbulence_rows import Entry, bounded, costs, learned, one_step, trained
from sciml import data, load
from sciml.evaluation import EnergyHistory, ShellSpectra, evaluate
from sciml.problems import KolmogorovFlow
from sciml.solvers import PseudoSpectral

CELLS, FINE = 64, 104  # of the data and of the simulations that they are made from, along each side
FLOW: dict[str, Any] = {"viscosity": 4e-3, "drag": 0.1}
SETTLED, STEP = 10.0, 0.2  # s before the first frame, between frames
HORIZON, TIMES = 20, 25  # steps of a training flow; horizons of a rollout
TRAINING, VALIDATION, TEST = 40, 4, 4  # flows

ROLLOUT = 3  # steps in a row that are trained, of every row alike
FOURIER: dict[str, Any] = {"width": 24, "modes": (12, 12)}
SMALL: dict[str, Any] = {"width": 32, "heads": 2, "iterations": 5}

MAIN = {
    "FNO": Entry("fno", FOURIER, rollout=ROLLOUT),
    "IFactFormer-m": Entry("ifactformer", SMALL | {"parallel": True}, rollout=ROLLOUT),
    "Transformer": Entry("transformer", {"width": 128, "depth": 4, "patch": 4}, rollout=ROLLOUT),
    "U-Net": Entry("unet", rollout=ROLLOUT),
    "IFactFormer-o": Entry("ifactformer", SMALL | {"parallel": False}, rollout=ROLLOUT),
    "IFNO": Entry("ifno", {"width": 32}, rollout=ROLLOUT),
    "FactFormer": Entry("factformer", {"width": 48}, rollout=ROLLOUT),
}
#: what rollouts buy, and noise in their place
STABLE = {
    "FNO, one step": Entry("fno", FOURIER),
    "FNO, one step, noise 0.05": Entry("fno", FOURIER, noise=0.05),
    "IFactFormer-m, one step": Entry("ifactformer", SMALL | {"parallel": True}),
}
THINNED = 5  # steps between those of a course that are kept
SHARE = 0.6  # of the minutes of a training on a channel


def made(folder: Path = WORK / "turbulence") -> Path:
    """The data set, made where it is not there yet."""
    path = folder / "forced.h5"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    solver = PseudoSpectral(FINE, dtype="float32")
    parts = ("train",) * TRAINING + ("validation",) * VALIDATION + ("test",) * TEST
    cases = [KolmogorovFlow().case(f"seed {k}", **FLOW, seed=k) for k in range(len(parts))]
    frames = [HORIZON * (TIMES if part == "test" else 1) + 1 for part in parts]
    times = [SETTLED + STEP * np.arange(n) for n in frames]
    kept = {
        i: solver.stored(cases[i], solution, (CELLS, CELLS), ("u", "v")) for i, solution in solver.stream(cases, times)
    }
    data.write(data.pack([kept[i] for i in range(len(cases))], splits=list(parts)), path)
    return path


def simulations() -> dict[str, PseudoSpectral]:
    """What the equations give without learning: on the cells of the data, and on fewer."""
    return {f"simulation, {n}²": PseudoSpectral(n, dtype="float32") for n in (CELLS, CELLS // 2)}


def measure(ledger: Ledger, work: Any) -> None:
    """One rollout of each test flow: errors while there is something to be right about, then energy and spectrum."""
    path = made()
    ledger.seeds(*range(work.seeds))
    folders = trained("forced", path, MAIN, STABLE, SHARE * work.minutes, work.seeds)
    models = {row: [load(run) for run in several] for row, several in folders.items()}
    history = EnergyHistory(gradients=False, viscosity=FLOW["viscosity"])
    numerical = simulations()
    solvers = {**models, **numerical}
    found = evaluate(
        solvers, path, steps=HORIZON * TIMES, starts=(0,), statistics=[history, ShellSpectra()], examples=0,
        every_frame=False,
    ).summary  # fmt: skip
    first = one_step(solvers, path)
    cost = costs({row: several[0] for row, several in models.items()} | numerical, path)
    courses = found["statistics"]["energy_history"]["entries"]
    shells = found["statistics"]["shell_spectra"]["entries"]
    late = slice(HORIZON * TIMES // 2, None)
    truth = np.mean([np.array(c["kinetic_energy"])[late] for c in courses if c["row"] == "truth"])
    for row in found["rows"]:
        name = row["name"]
        mine = [c for c in courses if c["row"] == name]
        ratios = [
            float(np.nanmean(np.array(c["kinetic_energy"], float)[late]) / truth) for c in mine if not c["diverged"]
        ]
        one = first[name]
        ledger.row(
            section="forced", row=name, kind=row["kind"], runs=row["runs"],
            weights=models[name][0].weights if name in models else None,
            **(learned(folders[name]) if name in folders else {}),
            one_step_nmse=one["mean"], one_step_nmse_std=one["std"],
            correlation_time=row["correlation_time"]["all"]["median"], horizons=TIMES, steps=HORIZON * TIMES,
            rollouts=len(mine), rollouts_bounded=sum(not c["diverged"] for c in mine),
            fewest_steps_bounded=min(bounded(c, HORIZON * TIMES) for c in mine),
            left_by=sorted({c["diverged"]["why"] for c in mine if c["diverged"]}),
            late_energy_over_true=float(np.mean(ratios)) if ratios else None,
            late_energy_over_true_range=[min(ratios), max(ratios)] if ratios else None,
            spectrum_error=_spectrum_error(shells, name), core_seconds_per_step=cost.get(name),
        )  # fmt: skip
    for row in ["truth", *solvers]:
        course = next(c for c in courses if c["row"] == row)
        ledger.row(section="forced_energy", row=row, time=course["time"][::THINNED],
                   kinetic_energy=course["kinetic_energy"][::THINNED])  # fmt: skip
        spectrum = next((s for s in shells if s["row"] == row and "energy" in s), None)
        if spectrum is not None:
            ledger.row(section="forced_spectra", row=row, wavenumber=spectrum["wavenumber"],
                       energy=spectrum["energy"])  # fmt: skip


def _spectrum_error(shells: list[dict[str, Any]], row: str) -> float | None:
    """Mean |log10 E / E_true| over the shells that the data's grid has whole, averages over whole rollouts."""
    truth = next(s for s in shells if s["row"] == "truth")
    mine = [s for s in shells if s["row"] == row]
    whole = slice(1, CELLS // 3)
    if not mine or any("energy" not in s for s in mine):
        return None
    true = np.array(truth["energy"], float)[whole]
    with np.errstate(divide="ignore", invalid="ignore"):
        errors = [np.abs(np.log10(np.array(s["energy"], float)[whole] / true)).mean() for s in mine]
    return float(np.mean(errors)) if np.isfinite(errors).all() else None
