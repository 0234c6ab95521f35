"""Training runs of a benchmark: kept by what determines them, tuned alike, two at a time on a core each."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from sciml.errors import TrainingError
from sciml.studies._plan import Plan
from sciml.studies._side_by_side import Run, train

TOGETHER = 2  # rows that learn at the same time, on a core each

Entry = TypeVar("Entry")
Trial = TypeVar("Trial")


@dataclass(frozen=True)
class Runs(Generic[Entry, Trial]):
    """The runs of the rows of one task.

    Args:
        task: what messages call it.
        source: data set.
        content: digest of what of it is used.
        folder: where runs are kept.
        plan: (row, share of the length, trial, seed) -> what is trained.
        trials: what every row tries, each for the share `tuning` of its length, before the best is trained.
        named: a trial in words.
        tuning: that share.
    """

    task: str
    source: Path
    content: str
    folder: Path
    plan: Callable[[Entry, float, Trial, int], Plan]
    trials: Sequence[Trial]
    named: Callable[[Trial], str]
    tuning: float

    def trained(self, chosen: Mapping[str, Entry], seed: int = 0) -> dict[str, Path]:
        """A run of each row that did not diverge."""
        tuned = self.tuned(chosen)
        return self._train({n: self.plan(e, 1.0, tuned[n], seed) for n, e in chosen.items()})

    def tuned(self, chosen: Mapping[str, Entry]) -> dict[str, Trial]:
        """The trial of each row that has the least validation loss after a short training."""

        def named(name: str, trial: Trial) -> str:
            return f"{name}, {self.named(trial)}"

        plans = {named(n, t): self.plan(entry, self.tuning, t, 1) for n, entry in chosen.items() for t in self.trials}
        found = {key: validation(run) for key, run in self._train(plans).items()}
        return {n: min(self.trials, key=lambda trial: found.get(named(n, trial), math.inf)) for n in chosen}

    def _train(self, plans: Mapping[str, Plan]) -> dict[str, Path]:
        """The folder of each plan, once it is carried out; without those that failed."""
        folders = {}
        for name, plan in plans.items():
            key = digest(json.dumps(plan.to_json(), sort_keys=True), self.content)
            folders[name] = self.folder / f"{file_name(name)}-{key}"
        todo = [n for n in plans if not (done(folders[n]) or failed(folders[n]).exists())]
        for name in todo:
            if not (folders[name] / "checkpoints").is_dir():  # stopped before there was anything to go on from
                shutil.rmtree(folders[name], ignore_errors=True)
        while todo:
            pair, todo = todo[:TOGETHER], todo[TOGETHER:]
            try:
                train({f"{self.task}: {n}": Run(plans[n], self.source, folders[n]) for n in pair}, threads=1)
            except TrainingError as error:
                name = next((n for n in pair if str(error).startswith(f"{self.task}: {n}: ")), None)
                if name is None or "training stopped at step" not in str(error):
                    raise  # not that it diverged
                print(f"failed: {error}", flush=True)
                folders[name].mkdir(parents=True, exist_ok=True)
                failed(folders[name]).write_text(f"{error}\n")
                todo = [n for n in pair if n != name and not done(folders[n])] + todo
        return {n: f for n, f in folders.items() if done(f)}


def digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:10]


def done(run: Path) -> bool:
    return (run / "config.json").exists()


def failed(run: Path) -> Path:
    return run / "failed.txt"


def file_name(name: str) -> str:
    return "-".join("".join(c if c.isalnum() else " " for c in name.lower()).split())


def records(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def validation(run: Path) -> float:
    """The least loss on the validation split: that of the weights that were kept."""
    losses = [float(r["validation"]) for r in records(run) if r.get("validation") is not None]
    return min((v for v in losses if math.isfinite(v)), default=math.inf)


def recipe(run: Path) -> dict[str, float]:
    """Batch and learning rate."""
    found = json.loads((run / "config.json").read_text())["training"]["recipe"]
    return {"batch": int(found["batch"]), "rate": float(found["optimiser"]["lr"])}
