"""Operators on trajectories, and answers refined by the residual of the equations."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._ledger import WORK, Kept, Ledger
from benchmarks._runs import digest, done, file_name
from sciml import data, load
from sciml.evaluation._held import Held
from sciml.problems import KolmogorovFlow
from sciml.solvers import PseudoSpectral, SpectralRefiner
from sciml.solvers._numerical import Begin
from sciml.solvers.refiner import constants
from sciml.studies._plan import Plan, surrogate_settings
from sciml.studies._side_by_side import Run, train
from sciml.support import Grid
from sciml.training.losses import Nmse
from sciml.training.objectives import Supervised
from sciml.training.optimisers import AdamW
from sciml.training.recipe import ProcessorMinutes, Recipe
from sciml.training.samples import table
from sciml.training.schedules import OneCycle
from sciml.training.stepping import Autoregressive, Window

CELLS, FINE = 64, 96  # along a side, of the data and of the simulations that they come from
FLOW: dict[str, Any] = {"viscosity": 1e-2, "drag": 0.1}  # which 64 cells along a side resolve
SETTLED, STEP = 8.0, 0.05  # s before the first frame, between frames
HISTORY, AHEAD = 4, 20  # frames that go into the operator on trajectories, and that come out at once
SEEDS = (0, 1, 2)
MINUTES = {"SpaceTimeFNO": 2.5, "FNO": 1.5}  # of one core
TRAINING, VALIDATION, TEST = (6, 321), (1, 161), (6, 85)  # flows, frames of each


def plans(minutes: float, seed: int) -> dict[str, Plan]:
    """The operator on trajectories, and a plain one that goes frame by frame."""

    def recipe(name: str, rate: float, batch: int) -> Recipe:
        return Recipe(
            length=ProcessorMinutes(minutes * MINUTES[name]), batch=batch, objective=Supervised(Nmse()),
            optimiser=AdamW(lr=rate, average=0.99), schedule=OneCycle(), seed=seed, validate_every=50,
            validation_items=16, keep="best",
        )  # fmt: skip

    settings: Any = surrogate_settings()
    space_time = {"width": 20, "modes": (8, 8), "time_modes": 4, "layers": 3, "steps": 6, "points": 24}
    return {
        "SpaceTimeFNO": Plan(
            "spacetime_fno", space_time, recipe("SpaceTimeFNO", 4e-3, 4),
            settings(stepping=Window(HISTORY, AHEAD)),
        ),
        "FNO": Plan(
            "fno", {"width": 16, "modes": (12, 12), "patch": 2}, recipe("FNO", 4e-3, 4),
            settings(stepping=Autoregressive(history=HISTORY)),
        ),
    }  # fmt: skip


def trained(path: Path, folder: Path, minutes: float, seed: int) -> dict[str, Path]:
    """A run of each row, kept by what it is trained on and how."""
    known, found = data.open(path), {}
    content = str(known["sha256"].values.tolist())
    for name, plan in plans(minutes, seed).items():
        found[name] = folder / f"{file_name(name)}-{digest(json.dumps(plan.to_json(), sort_keys=True), content)}"
    todo = {n: Run(plans(minutes, seed)[n], path, f) for n, f in found.items() if not done(f)}
    if todo:
        train(todo, threads=1)
    return found


def made(folder: Path, quick: bool = False) -> Path:
    """Forced turbulence in the plane, made where it is not there yet: point values of the waves of a simulation."""
    cells, fine, settled = (16, 24, 1.0) if quick else (CELLS, FINE, SETTLED)
    path = folder / f"flows-{fine}.h5"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    kept, parts = [], []
    for part, (count, frames) in (("train", TRAINING), ("validation", VALIDATION), ("test", TEST)):
        solver = PseudoSpectral(fine, dtype="float32", cfl=0.5)
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


# -- what is measured -------------------------------------------------------------------------------------------

FRAMES = (10, 40, 80)  # asked for
BEGINS = {"train": (3,), "validation": (3, 27, 51, 75), "test": (3,)}  # frames of a flow from which
EFFORT, SEVERAL = 20, 3  # frames and number of the trajectories that settings are compared on
EFFORTS: dict[str, dict[str, Any]] = {
    "2 steps of Newton, 3 of conjugate gradients in each": {"conjugate": 3},
    "2 and 6": {"conjugate": 6},
    "2 and 20": {},
    "3 and 40": {"newton": 3, "conjugate": 40},
    "2 and 20, windows of 5 frames": {"window": 5},
    "2 and 20, windows of 20 frames": {"window": 20},
    "2 and 20, velocity in H⁻¹": {"order": -1.0},
}
WHICH = ("before", "after")


def measure(ledger: Ledger, work: Any) -> None:
    folder = WORK / "seeds" / "refiner" / ("quick" if work.quick else "")
    path = made(folder, work.quick)
    kept = Kept("seeds/refiner/pieces", dry=work.quick, files=("_seeds_refiner.py",))
    seeds = (0,) if work.quick else SEEDS
    ledger.seeds(*seeds)
    counts = (10,) if work.quick else FRAMES
    begins = {part: (3,) for part in BEGINS} if work.quick else BEGINS
    held = {part: Held(table(data.open(path), part), 1) for part in begins}
    minutes = 0.02 if work.quick else 3.0 if work.full else 1.0
    runs = {seed: trained(path, folder / "runs", minutes, seed) for seed in seeds}
    reductions: list[float] = []
    inside: list[bool] = []
    widths: list[float] = []
    drawn: dict[str, Any] = {}
    for name in runs[0]:
        refiners = [SpectralRefiner(load(runs[seed][name])) for seed in seeds]
        found = [
            {
                part: [
                    kept(lambda i=i, k=k, h=h, r=refiner: compared(r, h, i, k, counts), run=runs[seed][name].name,
                         part=part, flow=i, frame=k, counts=counts, **refiner._options)
                    for i in range(len(h)) for k in begins[part]
                ]
                for part, h in held.items()
            }
            for seed, refiner in zip(seeds, refiners, strict=True)
        ]  # fmt: skip
        updates = float(np.mean([r.training["steps"] for r in refiners]))
        for place, count in enumerate(counts):
            several = [[pieces[place] for pieces in one["test"]] for one in found]
            tested = [one for each in several for one in each]
            each = [one["error_before"] / one["error_after"] for one in tested]
            by_seed = [mean(one, "error_before") / mean(one, "error_after") for one in several]
            reductions += by_seed
            ledger.row(
                section="refiner", row=name, weights=refiners[0].weights, updates=updates, frames=count,
                seconds_of_flow=count * STEP, seeds=len(seeds), trajectories=len(tested), **means(tested),
                error_reduction=mean(tested, "error_before") / mean(tested, "error_after"),
                error_reduction_least=min(each), error_reduction_most=max(each),
                error_reduction_least_seed=min(by_seed),
            )  # fmt: skip
            for which in WHICH:
                bounds, mine = [], []
                for one, test in zip(found, several, strict=True):
                    known = [pieces[place] for part in ("train", "validation") for pieces in one[part]]
                    low, high = (1e-9, 1e9) if work.quick else constants(ratios(known, which))
                    bounds.append((low, high))
                    mine += [low <= ratio <= high for ratio in ratios(test, which)]
                inside += mine
                low, high = np.exp(np.log(bounds).mean(axis=0)).tolist()
                widths += [high / low for low, high in bounds]
                ledger.row(
                    section="refiner_bounds", row=name, answers="refined" if which == "after" else "plain",
                    frames=count, known_trajectories=len(known), lower=low, upper=high, width=high / low,
                    test_trajectories=len(mine), share_within=sum(mine) / len(mine),
                )  # fmt: skip
        drawn[name] = {which: [one[-1][f"course_{which}"] for seed in found for one in seed["test"]] for which in WHICH}
        if name == "FNO":
            settings_compared(ledger, refiners[0].model, held["test"], kept, runs[0][name].name,
                              counts[0] if work.quick else EFFORT)  # fmt: skip
    for cells in (8, 16) if work.quick else (24, 32, 48, 64):
        for row in kept(lambda c=cells: simulated(held["test"], counts, c), cells=cells, counts=counts):
            ledger.row(**row)
    most = max(counts)
    maps = kept(lambda: pictured(runs[0], held["test"], most), runs=[str(r.name) for r in runs[0].values()], map=most)
    if not work.quick:
        from benchmarks._seeds_refiner_picture import picture

        picture(STEP, drawn, maps)
    note = "mean error over test flows of the answers over that of the refined ones, the least over operators, seeds "
    note += "and numbers of frames"
    for check in ("", "_far"):
        ledger.check(f"spectral_refiner_true_error_reduction{check}", min(reductions), note, note=note)
    note = f"of {len(inside)} answers, plain and refined: E/‖R‖ within three deviations of its mean over training "
    note += "and validation flows, in logarithms, for each operator and number of frames; the upper constants are "
    note += f"{min(widths):.2g} to {max(widths):.2g} times the lower"
    ledger.check("residual_bounds_error_both_sides", sum(inside) / len(inside), note, note=note)


def compared(refiner: SpectralRefiner, held: Held, i: int, k: int, counts: Sequence[int]) -> list[dict[str, float]]:
    """Errors, residuals and costs of one trajectory from frame k of a flow, before and after: of its first frames, so
    many of them."""
    most = max(counts)
    (start,), truth = held.starts([(i, k)], refiner), held.frames(i, k + 1, most) * held.scale(i)
    if (key := id(refiner)) not in _WARM:  # compiled by now
        refiner.refined(start, min(refiner.window, most))
        _WARM.add(key)
    times = [time.process_time()]
    raw = refiner._ahead(start, most)
    times.append(time.process_time())
    fine = refiner.refined(start, most).frames
    times.append(time.process_time())
    plain = refiner._trajectories(start).projected(raw)
    lines = []
    for n in counts:
        found = {"floor": refiner.residual(start, truth[:n]), "error_projected": relative(plain[:n], truth[:n])}
        for which, frames, seen, cost in zip(WHICH, (raw, fine), (plain, fine), np.diff(times), strict=True):
            found |= {
                f"error_{which}": relative(frames[:n], truth[:n]),
                f"last_{which}": relative(frames[n - 1], truth[n - 1]),
                f"residual_{which}": refiner.residual(start, seen[:n]),
                f"energy_{which}": refiner.energy_error(start, seen[:n], truth[:n]),
                f"cpu_milliseconds_a_frame_{which}": 1e3 * float(cost) / most,
            }
        found |= {f"course_{w}": course(f, truth, n) for w, f in zip(WHICH, (raw, fine), strict=True)}
        lines.append(found)
    return lines


def course(found: np.ndarray, truth: np.ndarray, count: int) -> list[float]:
    return [relative(a, b) for a, b in zip(found[:count], truth[:count], strict=True)]


_WARM: set[int] = set()


def settings_compared(ledger: Ledger, model: Any, held: Held, kept: Kept, run: str, count: int) -> None:
    """What more work buys, and other choices; and what the residual says of frames from different flows."""
    for name, options in EFFORTS.items():
        refiner = SpectralRefiner(model, **options)
        found = [
            kept(lambda r=refiner, i=i: compared(r, held, i, 3, (count,)), run=run, effort=i, frames=count,
                 **refiner._options)[0]
            for i in range(min(SEVERAL, len(held)))
        ]  # fmt: skip
        reduction = mean(found, "error_before") / mean(found, "error_after")
        ledger.row(section="refiner_effort", row=name, frames=count, trajectories=len(found),
                   error_reduction=reduction, **means(found))  # fmt: skip
    refiner = SpectralRefiner(model)
    (start,), truth = held.starts([(0, 3)], refiner), held.frames(0, 4, count) * held.scale(0)
    others = np.stack([(held.frames(j % len(held), 4 + j) * held.scale(0))[0] for j in range(count)])
    for name, frames in {"the simulation": truth, "frames of different flows in turns": others}.items():
        ledger.row(section="refiner_residuals", row=name, frames=count, residual=refiner.residual(start, frames))


def pictured(runs: Mapping[str, Path], held: Held, count: int) -> dict[str, Any]:
    """The vorticity of the last of `count` frames of the first test flow: row -> (y, x), rounded."""
    found: dict[str, Any] = {}
    for name, run in runs.items():
        refiner = SpectralRefiner(load(run))
        (start,), truth = held.starts([(0, 3)], refiner), held.frames(0, 4, count) * held.scale(0)
        found["simulation"] = vorticity(truth[-1], start.support)
        found[name] = vorticity(refiner._ahead(start, count)[-1], start.support)
        found[f"{name}, refined"] = vorticity(refiner.refined(start, count).frames[-1], start.support)
    return {name: np.round(values, 4).tolist() for name, values in found.items()}


def vorticity(frame: np.ndarray, grid: Any) -> np.ndarray:
    """∂v/∂x − ∂u/∂y of the waves."""
    modes = np.fft.fft2(np.asarray(frame, np.float64))
    ky, kx = (
        2j * np.pi * np.fft.fftfreq(n, (b - a) / n) for n, (a, b) in zip(grid.shape, grid.extents[::-1], strict=True)
    )
    return np.fft.ifft2(kx * modes[1] - ky[:, None] * modes[0]).real


def simulated(held: Held, counts: Sequence[int], cells: int) -> list[dict[str, Any]]:
    """The equations without learning from the same frames, on some cells along a side."""
    solver, clocks, most = PseudoSpectral(cells, dtype="float32", cfl=0.5), held.table.times, max(counts)
    assert clocks is not None
    answers = []
    for i in (0, *range(len(held))):  # the first compiles
        now, truth = (held.frames(i, 3 + a, n) * held.scale(i) for a, n in ((0, 1), (1, most)))
        begin = Begin(dict(zip(("u", "v"), waves(now[0], cells), strict=True)), float(clocks[i][3]))
        began = time.process_time()
        (found,) = solver.run([held.table.cases[i]], [clocks[i][4 : 4 + most]], [begin])
        cost = 1e3 * (time.process_time() - began) / most
        answers.append((waves(np.stack([found["u"], found["v"]], 1), truth.shape[-1]), truth, cost))
    return [
        {
            "section": "refiner_simulation", "row": f"simulation, {cells}²", "frames": n,
            "trajectories": len(held), "error": float(np.mean([relative(f[:n], t[:n]) for f, t, _ in answers[1:]])),
            "last": float(np.mean([relative(f[n - 1], t[n - 1]) for f, t, _ in answers[1:]])),
            "cpu_milliseconds_a_frame": float(np.mean([c for _, _, c in answers[1:]])),
        }
        for n in counts
    ]  # fmt: skip


def ratios(found: Sequence[Mapping[str, float]], which: str) -> list[float]:
    return [one[f"energy_{which}"] / one[f"residual_{which}"] for one in found]


def mean(found: Sequence[Mapping[str, float]], name: str) -> float:
    return float(np.mean([one[name] for one in found]))


def means(found: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: mean(found, name) for name, value in found[0].items() if not isinstance(value, list)}


def relative(found: np.ndarray, truth: np.ndarray) -> float:
    return float(np.linalg.norm(found - truth) / np.linalg.norm(truth))
