"""Operators on trajectories, and answers refined by the residual of the equations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._runs import digest, done, file_name
from sciml import data
from sciml.problems import KolmogorovFlow
from sciml.solvers import PseudoSpectral
from sciml.studies._plan import Plan, surrogate_settings
from sciml.studies._side_by_side import Run, train
from sciml.support import Grid
from sciml.training.losses import Nmse
from sciml.training.objectives import Supervised
from sciml.training.optimisers import AdamW
from sciml.training.recipe import ProcessorMinutes, Recipe
from sciml.training.schedules import OneCycle
from sciml.training.stepping import Autoregressive, Window

CELLS, FINE = 64, 96  # of the data and of what they are made with along a side; of the simulations of test flows
FLOW: dict[str, Any] = {"viscosity": 1e-2, "drag": 0.1}  # which 64 cells along a side resolve
SETTLED, STEP = 8.0, 0.05  # s before the first frame, between frames
HISTORY, WINDOW = 4, 20  # frames that go into the operator on trajectories, and that come out at once
MINUTES = {"SpaceTimeFNO": 2.5, "FNO": 1.5}  # of one core
TRAINING, VALIDATION, TEST = (6, 321), (1, 161), (6, 85)  # flows, frames of each


def plans(minutes: float) -> dict[str, Plan]:
    """The operator on trajectories, and a plain one that goes frame by frame."""

    def recipe(name: str, rate: float, batch: int) -> Recipe:
        return Recipe(
            length=ProcessorMinutes(minutes * MINUTES[name]), batch=batch, objective=Supervised(Nmse()),
            optimiser=AdamW(lr=rate, average=0.99), schedule=OneCycle(), seed=0, validate_every=50,
            validation_items=16, keep="best",
        )  # fmt: skip

    settings: Any = surrogate_settings()
    space_time = {"width": 20, "modes": (8, 8), "time_modes": 4, "layers": 3, "steps": 6, "points": 24}
    return {
        "SpaceTimeFNO": Plan(
            "spacetime_fno", space_time, recipe("SpaceTimeFNO", 4e-3, 4),
            settings(stepping=Window(HISTORY, WINDOW)),
        ),
        "FNO": Plan(
            "fno", {"width": 16, "modes": (12, 12), "patch": 2}, recipe("FNO", 4e-3, 4),
            settings(stepping=Autoregressive(history=HISTORY)),
        ),
    }  # fmt: skip


def trained(path: Path, folder: Path, minutes: float) -> dict[str, Path]:
    """A run of each row, kept by what it is trained on and how."""
    known, found = data.open(path), {}
    content = str(known["sha256"].values.tolist())
    for name, plan in plans(minutes).items():
        found[name] = folder / f"{file_name(name)}-{digest(json.dumps(plan.to_json(), sort_keys=True), content)}"
    todo = {n: Run(plans(minutes)[n], path, f) for n, f in found.items() if not done(f)}
    if todo:
        train(todo, threads=1)
    return found


def made(folder: Path, quick: bool = False) -> Path:
    """Forced turbulence in the plane, made where it is not there yet: point values of the waves of a simulation."""
    path = folder / "flows.h5"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    cells, fine, settled = (16, 24, 1.0) if quick else (CELLS, FINE, SETTLED)
    kept, parts = [], []
    for part, (count, frames) in (("train", TRAINING), ("validation", VALIDATION), ("test", TEST)):
        solver = PseudoSpectral(fine if part == "test" else cells, dtype="float32", cfl=0.5)
        for _ in range(1 if quick else count):
            parts.append(part)
            case = KolmogorovFlow().case(f"seed {len(parts)}", **FLOW, seed=len(parts))
            kept.append(on_cells(case, solver.solve(case, settled + STEP * np.arange(frames)), cells))
            print(f"made {len(parts)}", flush=True)
    data.write(data.pack(kept, splits=parts), path)
    return path


def on_cells(case: Any, solution: Any, cells: int) -> Any:
    """The waves of a solution as point values on other cells."""
    grid = Grid.uniform(case.geometry, (cells, cells))
    fields = {n: (("time", "y", "x"), waves(solution[n].values, cells)) for n in ("u", "v")}
    return data.solution(case, solution["time"].values, fields, grid, solver="pseudo_spectral", settings={})


def waves(values: np.ndarray, cells: int) -> np.ndarray:
    """(..., y, x) at the centres of cells, on other cells; the waves of both fit."""
    n = values.shape[-1]
    half = min(n, cells) // 2
    modes, found = np.fft.fft2(values), np.zeros((*values.shape[:-2], cells, cells), complex)
    k = np.arange(1 - half, half)
    shift = np.exp(1j * np.pi * k * (1 / cells - 1 / n))
    found[..., k[:, None], k] = modes[..., k[:, None], k] * shift[:, None] * shift * (cells / n) ** 2
    return np.fft.ifft2(found).real.astype(values.dtype)
