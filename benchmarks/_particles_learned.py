"""Operators that go from frame to frame of four materials, beside coarser simulations from the same frame."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from benchmarks._ledger import Ledger
from benchmarks._particles_rows import FOLDER, FRAMES, Entry, learned, made, trained
from benchmarks._turbulence_rows import costs
from sciml import load
from sciml.evaluation import ParticleErrors, ParticleHistory, Statistic, evaluate
from sciml.solvers import MaterialPoint

#: the most telling first
MATERIALS = {
    "water": "dam_break", "sand": "granular_collapse", "elastic solid": "elastic_drop",
    "Bingham fluid": "bingham_collapse",
}  # fmt: skip
#: cells along the box of the simulations that the data are: about 1,000 particles a case
RESOLUTION = {"dam_break": 48, "bingham_collapse": 48, "granular_collapse": 48, "elastic_drop": 80}
STEPS = FRAMES - 1  # of a rollout
NOISE = 0.05  # random walk that history is given, in units of how much velocities differ
FEW = 0.25  # of the particles

MAIN = {
    "GIOROM, a quarter of the particles": Entry("giorom", settings={"nodes": FEW}, noise=NOISE),
    "GNS": Entry("gns", noise=NOISE),
    "grid particle model": Entry("grid_particle", noise=NOISE),
    "GNS, a quarter of the particles": Entry("gns", settings={"nodes": FEW}, noise=NOISE),
    "grid particle model, a quarter of the particles": Entry("grid_particle", settings={"nodes": FEW}, noise=NOISE),
}
COARSER = (2, 3)  # times fewer cells
THINNED = 5  # steps between those of a course that are kept


def simulations(resolution: int) -> dict[str, MaterialPoint]:
    """What fewer cells can do without learning, with as many particles."""
    return {f"material points, {n} times coarser": MaterialPoint(resolution // n) for n in COARSER}


class Pictures(Statistic):
    """Positions of the first run of each row on the first test case, for pictures and films.

    Args:
        every: steps between those that are kept.
    """

    name = "pictures"

    def __init__(self, every: int = 1):
        self.every = every
        self.frames: dict[str, list[np.ndarray]] = {}

    def begin(self, fields: Any) -> None:
        self.fields = tuple(fields)

    def add(
        self, row: str, run: int, rollout: int, step: int, time: float, frame: np.ndarray, case: Any, support: Any
    ) -> None:
        if run == 0 and rollout == 0 and step % self.every == 0:
            d = case.problem.dimensions
            moved = np.stack([frame[self.fields.index(f"displacement_{a}")] for a in "xyz"[:d]], -1)
            if row == "truth" and "first" not in self.frames:
                self.frames["first"] = [(support.points() - moved).astype(np.float32)]
            self.frames.setdefault(row, []).append((self.frames["first"][0] + moved).astype(np.float32))

    def result(self) -> dict[str, int]:
        return {row: len(frames) for row, frames in self.frames.items()}


def measure(ledger: Ledger, work: Any) -> None:
    """Each material: one rollout of every test case from its beginning, judged as a whole and particle by particle."""
    ledger.seeds(*range(work.seeds))
    misplaced = {}
    for material in work.materials or MATERIALS:
        problem = MATERIALS[material]
        began = time.monotonic()
        path = made(problem, RESOLUTION[problem])
        folders = trained(problem, path, MAIN, work.minutes, work.seeds)
        models = {row: [load(run) for run in several] for row, several in folders.items()}
        numerical = simulations(RESOLUTION[problem])
        solvers = {**models, **numerical}
        pictures = Pictures()
        found = evaluate(
            solvers, path, steps=STEPS, starts=(0,), statistics=[ParticleErrors(), ParticleHistory(), pictures],
            examples=0, every_frame=False,
        ).summary  # fmt: skip
        cost = costs({row: several[0] for row, several in models.items()} | numerical, path, steps=20)
        kept: dict[str, Any] = {row: np.stack(f) for row, f in pictures.frames.items()}
        np.savez_compressed(FOLDER / f"{problem}-pictures.npz", **kept)
        misplaced[material] = _rows(ledger, material, found, models, folders, cost)
        print(f"{material}: {(time.monotonic() - began) / 60:.1f} min", flush=True)
    _check(ledger, misplaced)


def _rows(
    ledger: Ledger, material: str, found: dict[str, Any], models: dict[str, Any], folders: dict[str, Any],
    cost: dict[str, float],
) -> dict[str, float | None]:  # fmt: skip
    """Rows of one material; row -> the share of the mass that is misplaced at the end."""
    errors = found["statistics"]["particle_errors"]["entries"]
    histories = found["statistics"]["particle_history"]["entries"]
    true = {h["rollout"]: h for h in histories if h["row"] == "truth"}
    misplaced: dict[str, float | None] = {}
    for row in found["rows"]:
        name = row["name"]
        mine = [e for e in errors if e["row"] == name]
        runs = sorted({e["run"] for e in mine})
        figures = []
        for run in runs:
            these = [e for e in mine if e["run"] == run]
            own = [h for h in histories if h["row"] == name and h["run"] == run]
            figures.append({
                "position_error_last": _mean(e["position_error"][-1] for e in these),
                "position_error_mean": _mean(np.nanmean(_numbers(e["position_error"])) for e in these),
                "carried_last": _mean(e["carried"][-1] for e in these),
                "misplaced_last": _mean(e["misplaced"][-1] for e in these),
                "centre_error": _mean(_centre(h, true[h["rollout"]]) for h in own),
                "kinetic_energy_error": _mean(_energy(h, true[h["rollout"]]) for h in own),
                "rollouts_finite": sum(e["position_error"][-1] is not None for e in these),
            })  # fmt: skip
        told = {}
        for key in figures[0]:
            values = [f[key] for f in figures]
            known = [v for v in values if v is not None]
            told[key] = float(np.mean(known)) if known else None
            if len(runs) > 1 and known:
                told[f"{key}_range"] = [float(min(known)), float(max(known))]
        misplaced[name] = told["misplaced_last"]
        ledger.row(
            section="learned", material=material, row=name, kind=row["kind"], runs=row["runs"],
            weights=models[name][0].weights if name in models else None,
            **(learned(folders[name]) if name in folders else {}), rollout_steps=STEPS,
            rollouts=len(mine) // max(len(runs), 1), **told, core_seconds_per_step=cost.get(name),
        )  # fmt: skip
        first = next(e for e in mine if e["run"] == 0 and e["rollout"] == 0)
        ledger.row(
            section="learned_course", material=material, row=name, time=first["time"][::THINNED],
            position_error=first["position_error"][::THINNED], misplaced=first["misplaced"][::THINNED],
        )  # fmt: skip
    for name in ["truth", *(r["name"] for r in found["rows"])]:
        course = next(h for h in histories if h["row"] == name and h["run"] in (0, None) and h["rollout"] == 0)
        ledger.row(section="learned_history", material=material, row=name, time=course["time"][::THINNED],
                   kinetic_energy=course["kinetic_energy"][::THINNED], centre_y=course["centre_y"][::THINNED],
                   reach_x=course["reach_x"][::THINNED])  # fmt: skip
    return misplaced


def _numbers(values: Any) -> np.ndarray:
    return np.array([np.nan if v is None else v for v in values], dtype=np.float64)


def _mean(values: Any) -> float | None:
    """Of those that are known; None where one is not, as of a rollout that left the numbers."""
    found = _numbers(values)
    return float(found.mean()) if np.isfinite(found).all() else None


def _centre(own: dict[str, Any], true: dict[str, Any]) -> float:
    """Largest distance between both centres of mass, m."""
    apart = [np.subtract(_numbers(own[f"centre_{a}"]), _numbers(true[f"centre_{a}"])) for a in "xy"]
    return float(np.sqrt(np.square(apart).sum(0)).max())


def _energy(own: dict[str, Any], true: dict[str, Any]) -> float:
    """L1 norm over time of the difference of kinetic energies, over that of the true one."""
    a, b = (_numbers(h["kinetic_energy"]) for h in (own, true))
    return float(np.abs(a - b).sum() / np.abs(b).sum())


def _check(ledger: Ledger, misplaced: dict[str, dict[str, float | None]]) -> None:
    """Ratio of what GIOROM and the better grid model misplace at the end, geometric mean over materials."""
    ratios = {}
    for m, found in misplaced.items():
        grids = [v for row, v in found.items() if row.startswith("grid particle model") and v]
        if (mine := found.get(next(iter(MAIN)))) and grids:
            ratios[m] = mine / min(grids)
    whole = len(ratios) == len(MATERIALS)
    ledger.check(
        "giorom_error_over_grid_particle_model_at_equal_training",
        float(np.exp(np.mean(np.log(list(ratios.values()))))) if whole else None,
        reason=_reason(misplaced, whole), status=None if whole else "not_run" if len(misplaced) < len(MATERIALS)
        else "missed", note=", ".join(f"{m} {r:.2f}" for m, r in ratios.items()),
    )  # fmt: skip


def _reason(misplaced: dict[str, dict[str, float | None]], whole: bool) -> str:
    if whole:
        return "a ratio above one is a material that the grid model does better on"
    if len(misplaced) < len(MATERIALS):
        return f"measured on {', '.join(misplaced)} alone"
    return "a rollout did not stay finite"
