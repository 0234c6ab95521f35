"""What is trained on turbulent flows, and how: the same budget and the same trials for every row."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from benchmarks._ledger import WORK
from benchmarks._runs import Runs, digest, recipe, records
from sciml import data
from sciml.evaluation import evaluate
from sciml.evaluation._held import Held
from sciml.solvers._numerical import NumericalSolver
from sciml.studies._plan import Plan, surrogate_settings
from sciml.training.augmentations import Noise
from sciml.training.losses import Nmse
from sciml.training.objectives import Rollout, Supervised
from sciml.training.optimisers import AdamW
from sciml.training.recipe import ProcessorMinutes, Recipe
from sciml.training.samples import table
from sciml.training.schedules import OneCycle
from sciml.training.stepping import Autoregressive

BATCH = 2
STARTS = 24  # of single steps, spread over a flow
TUNING = 0.25  # of the length, each trial of a row


class Trial(NamedTuple):
    """Learning rate, and whether increments or the next frame are predicted."""

    rate: float
    increments: bool

    def __str__(self) -> str:
        return f"rate {self.rate:g}, {'increments' if self.increments else 'next frame'}"


TRIALS = (Trial(1e-3, True), Trial(3e-3, True), Trial(1e-3, False))


@dataclass(frozen=True)
class Entry:
    """A row: an operator with its options, and what its training adds to one step with the loss."""

    operator: str
    options: Mapping[str, Any] = field(default_factory=dict)
    noise: float = 0.0
    rollout: int = 1

    def plan(self, minutes: float, trial: Trial, seed: int, keep: Literal["last", "best"] = "last") -> Plan:
        """What is trained: rollouts in the second half, so that the last weights count and not those that are best
        after one step."""
        objective = Supervised(Nmse()) if self.rollout == 1 else Rollout(Nmse(), steps=self.rollout, after=0.5)
        recipe = Recipe(
            length=ProcessorMinutes(minutes), batch=BATCH, objective=objective,
            optimiser=AdamW(lr=trial.rate, average=0.99), schedule=OneCycle(), seed=seed, validate_every=100,
            validation_items=32, keep=keep, augmentations=(Noise(self.noise),) if self.noise else (),
        )  # fmt: skip
        settings: Any = surrogate_settings()
        return Plan(self.operator, self.options, recipe, settings(stepping=Autoregressive(increments=trial.increments)))


def trained(
    task: str, path: Path, main: Mapping[str, Entry], more: Mapping[str, Entry], minutes: float, seeds: int
) -> dict[str, list[Path]]:
    """Row -> its runs, the best two of `main` with several seeds; what diverged in training is left out.

    Args:
        minutes: of a training, on one core.
    """

    def plan(entry: Entry, share: float, trial: Trial, seed: int) -> Plan:
        return entry.plan(share * minutes, trial, seed, "last" if share == 1 else "best")

    known = data.open(path)
    content = digest(str(known["sha256"].values.tolist()), str(known["split"].values.tolist()))
    each = Runs(task, path, content, WORK / "turbulence" / "runs" / task, plan, TRIALS, str, TUNING)
    found = {row: [run] for row, run in each.trained({**main, **more}).items()}
    best = sorted((r for r in main if r in found), key=lambda row: last_validation(found[row][0]))[:2]
    for seed in range(1, seeds):
        for row, run in each.trained({r: main[r] for r in best}, seed).items():
            found[row].append(run)
    return found


def one_step(solvers: Mapping[str, Any], path: Path) -> dict[str, dict[str, float]]:
    """Row -> NMSE after one step from `STARTS` frames of each test flow, with its deviation over runs."""
    starts = [k / STARTS for k in range(STARTS)]
    found = evaluate(solvers, path, steps=1, starts=starts, examples=0, every_frame=False).summary
    return {row["name"]: row["one_step"]["all"]["joint"]["nmse"] for row in found["rows"]}


def costs(solvers: Mapping[str, Any], path: Path, steps: int = 50, repeats: int = 3) -> dict[str, float]:
    """Row -> core seconds a step of one rollout by itself, the least of several, nothing compiled in them.

    Numerical solvers march over all steps in one call, as their users let them.
    """
    held = Held(table(data.open(path), "test"), 1)
    assert held.table.times is not None
    times = held.table.times[0][1 : steps + 1]

    def march(solver: Any) -> float:
        (start,) = held.starts([(0, 0)], solver)
        began = time.process_time()
        if isinstance(solver, NumericalSolver):
            solver.run([start.case], [times], [solver.begin(start)])
        else:
            for _ in solver.rollout([start], times[None]):
                pass
        return (time.process_time() - began) / len(times)

    for solver in solvers.values():
        march(solver)
    rounds = [{row: march(solver) for row, solver in solvers.items()} for _ in range(repeats)]  # in turns
    return {row: min(r[row] for r in rounds) for row in solvers}


def last_validation(run: Path) -> float:
    """The loss after one step on the validation split at the end of a training."""
    return float([r["validation"] for r in records(run) if r.get("validation") is not None][-1])


def learned(runs: Sequence[Path]) -> dict[str, Any]:
    """How a row was trained: the trial that won, and how far its runs came in their time."""
    config = json.loads((runs[0] / "config.json").read_text())
    trial = Trial(float(recipe(runs[0])["rate"]), bool(config["encoding"]["stepping"]["increments"]))
    last = [records(run)[-1] for run in runs]
    return {"training": str(trial), "updates": round(sum(r["step"] for r in last) / len(runs)),
            "epochs": sum(r["epoch"] for r in last) / len(runs)}  # fmt: skip


def bounded(course: Mapping[str, Any], steps: int) -> int:
    """Steps before a rollout leaves its bound, or all."""
    return steps if course.get("diverged") is None else int(course["diverged"]["step"]) - 1
