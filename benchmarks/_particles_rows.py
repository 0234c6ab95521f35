"""What is trained on particles, and how: the same budget and the same trials for every row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from benchmarks._ledger import WORK
from benchmarks._runs import Runs, digest, recipe, records
from sciml import data
from sciml.solvers import generate
from sciml.studies._plan import Plan, surrogate_settings
from sciml.training.augmentations import Noise
from sciml.training.losses import Mse
from sciml.training.objectives import Supervised
from sciml.training.optimisers import AdamW
from sciml.training.recipe import ProcessorMinutes, Recipe
from sciml.training.schedules import OneCycle

FOLDER = WORK / "particles"
BATCH = 2
TUNING = 0.25  # of the length, each trial of a row
TRIALS = (1e-3, 3e-3)  # learning rates
CASES = 30  # of each material, split by the data set
FRAMES, STEP = 201, 0.006  # of a case; s between them, in which matter goes a particle or two at most


@dataclass(frozen=True)
class Entry:
    """A row: an operator with its options, and how its particles are chosen."""

    operator: str
    options: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    noise: float = 0.0

    def plan(self, minutes: float, rate: float, seed: int, keep: Literal["last", "best"] = "last") -> Plan:
        made = Recipe(
            length=ProcessorMinutes(minutes), batch=BATCH, objective=Supervised(Mse()),
            optimiser=AdamW(lr=rate, average=0.99), schedule=OneCycle(), seed=seed, validate_every=100,
            validation_items=32, keep=keep, augmentations=(Noise(self.noise),) if self.noise else (),
        )  # fmt: skip
        settings: Any = surrogate_settings()
        return Plan(self.operator, self.options, made, settings(**self.settings))


def made(problem: str, resolution: int, cases: int = CASES) -> Path:
    """A data set of one problem, made where it is not there yet."""
    path = FOLDER / f"{problem}-{resolution}.h5"
    if not path.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        generate(problem, path, cases=cases, frames=FRAMES, resolution=(resolution, resolution), start=0.0, step=STEP)
    return path


def trained(
    task: str, path: Path, entries: Mapping[str, Entry], minutes: float, seeds: int = 1
) -> dict[str, list[Path]]:
    """Row -> its runs, the best one with several seeds; what diverged in training is left out.

    Args:
        minutes: of a training, on one core.
    """

    def plan(entry: Entry, share: float, rate: float, seed: int) -> Plan:
        return entry.plan(share * minutes, rate, seed, "last" if share == 1 else "best")

    known = data.open(path)
    content = digest(str(known["sha256"].values.tolist()), str(known["split"].values.tolist()))
    each = Runs(task, path, content, FOLDER / "runs" / task, plan, TRIALS, lambda rate: f"rate {rate:g}", TUNING)
    found = {row: [run] for row, run in each.trained(entries).items()}
    best = sorted(found, key=lambda row: last_validation(found[row][0]))[:1]
    for seed in range(1, seeds):
        for row, run in each.trained({r: entries[r] for r in best}, seed).items():
            found[row].append(run)
    return found


def last_validation(run: Path) -> float:
    """The loss after one step on the validation split at the end of a training."""
    return float([r["validation"] for r in records(run) if r.get("validation") is not None][-1])


def learned(runs: Sequence[Path]) -> dict[str, Any]:
    """How a row was trained: the rate that won, and how far its runs came in their time."""
    last = [records(run)[-1] for run in runs]
    return {"learning_rate": recipe(runs[0])["rate"], "updates": round(sum(r["step"] for r in last) / len(runs)),
            "epochs": sum(r["epoch"] for r in last) / len(runs)}  # fmt: skip
