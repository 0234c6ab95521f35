"""Operators on forced turbulence in the plane, for 25 times as long as any flow that they were trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._ledger import WORK, Ledger
from benchmarks._turbulence_rows import SEEDS, Entry, bounded, trained
from sciml import data, load
from sciml.data import schema
from sciml.evaluation import EnergyHistory, ShellSpectra, evaluate
from sciml.problems import KolmogorovFlow
from sciml.solvers import PseudoSpectral

CELLS, FINE = 64, 104  # of the data and of the simulations that they are made from, along each side
FLOW: dict[str, Any] = {"viscosity": 4e-3, "drag": 0.1}
SETTLED, STEP = 10.0, 0.2  # s before the first frame, between frames
HORIZON, TIMES = 20, 25  # steps of a training flow; horizons of a rollout
TRAINING, VALIDATION, TEST = 40, 4, 4  # flows

MAIN = {
    "FNO": Entry("fno", {"width": 24, "modes": (12, 12)}),
    "Transformer": Entry("transformer", {"width": 128, "depth": 4, "patch": 4}),
    "U-Net": Entry("unet"),
    "IFactFormer-m": Entry("ifactformer", {"parallel": True, "width": 32, "heads": 2, "iterations": 5}),
    "IFactFormer-o": Entry("ifactformer", {"parallel": False, "width": 32, "heads": 2, "iterations": 5}),
    "IFNO": Entry("ifno", {"width": 32}),
    "FactFormer": Entry("factformer", {"width": 48}),
}
#: what rollout training and noise buy the row that is least stable by itself
STABLE = {
    "FNO, noise 0.05": Entry("fno", {"width": 24, "modes": (12, 12)}, noise=0.05),
    "FNO, rollouts of 3": Entry("fno", {"width": 24, "modes": (12, 12)}, rollout=3),
}


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


def measure(ledger: Ledger, work: Any) -> None:
    """One rollout of each test flow: errors while there is something to be right about, then energy and spectrum."""
    path = made()
    ledger.seeds(*range(SEEDS))
    folders = trained("forced", path, MAIN, STABLE, work.minutes)
    models = {row: [load(run) for run in several] for row, several in folders.items()}
    history = EnergyHistory(gradients=False, viscosity=FLOW["viscosity"])
    found = evaluate(
        models, path, steps=HORIZON * TIMES, starts=(0,), statistics=[history, ShellSpectra()], examples=0,
        every_frame=False,
    )  # fmt: skip
    known = data.open(path)
    assert set(schema.flag_names(known["split"])) == {"train", "validation", "test"}
    courses = found.summary["statistics"]["energy_history"]["entries"]
    energies = {row: [c for c in courses if c["row"] == row] for row in {c["row"] for c in courses}}
    truth = np.array([c["kinetic_energy"] for c in energies["truth"]])
    for row in found.summary["rows"]:
        mine = energies.get(row["name"], [])
        late = slice(HORIZON * TIMES // 2, None)
        ratio = [np.nanmean(np.array(c["kinetic_energy"], float)[late]) / truth.mean() for c in mine]
        ledger.row(
            section="forced", row=row["name"], kind=row["kind"], seeds=len(models.get(row["name"], [1])),
            weights=models[row["name"]][0].weights if row["name"] in models else None, horizons=TIMES,
            steps=HORIZON * TIMES, steps_bounded=[bounded(c, HORIZON * TIMES) for c in mine],
            late_energy_over_true=[None if not np.isfinite(r) else float(r) for r in ratio],
        )  # fmt: skip
