"""The same training in one process and in two: how far losses are apart, and what the second process buys.

    python -m benchmarks._cfdbench_processes FILE OPERATOR STEPS OUT

is one training, alone or under `torchrun`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks._ledger import Ledger
from sciml.solvers import Surrogate, generate
from sciml.training import AdamW, Callback, Recipe, Running, Steps
from sciml.training.processes import present

OPERATORS = ("fno", "unet")
STEPS, BATCH, TURNS = 100, 16, 3
WAYS = {"one process, one thread": (1, 1), "one process, two threads": (1, 2), "two processes, one thread each": (2, 1)}


class Clock(Callback):
    """The loss of each step, and when it ended."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.ends: list[float] = []

    def on_step(self, trainer: Any, record: dict[str, Any]) -> None:
        self.losses.append(record["loss"])
        self.ends.append(time.perf_counter())


def one(file: str, operator: str, steps: int, out: str) -> None:
    """A training, whose losses and pace go into `out`."""
    clock = Clock()
    recipe = Recipe(length=Steps(steps), batch=BATCH, optimiser=AdamW(lr=1e-3), validate_every=steps)
    Surrogate(operator).fit(file, recipe, running=Running(progress=False, callbacks=(clock,)))
    if present().first:
        half = steps // 2  # the first ones are slower
        pace = BATCH * (steps - half) / (clock.ends[-1] - clock.ends[half - 1])
        Path(out).write_text(json.dumps({"losses": clock.losses, "samples_per_second": pace}))


def _ran(file: Path, operator: str, steps: int, out: Path, count: int, threads: int) -> dict[str, Any]:
    start = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)] if count > 1 else []
    own = ["-m", "benchmarks._cfdbench_processes", str(file), operator, str(steps), str(out)]
    subprocess.run([sys.executable, *start, *own], check=True, env=os.environ | {"OMP_NUM_THREADS": str(threads)})
    return json.loads(out.read_text())


def compare(ledger: Ledger, folder: Path, quick: bool = False) -> None:
    """Both operators, all ways by turns: losses of the first turn, the best pace of all."""
    folder.mkdir(parents=True, exist_ok=True)
    file, steps, turns = folder / ("quick.h5" if quick else "cavity.h5"), 10 if quick else STEPS, 1 if quick else TURNS
    if not file.exists():
        generate("lid_driven_cavity", file, cases=10, frames=11, resolution=(32, 32) if quick else (64, 64))
    worst = 0.0
    for operator in OPERATORS:
        found: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
        for turn in range(turns):
            for way, (count, threads) in WAYS.items():
                out = folder / f"{operator}-{count}-{threads}-{turn}.json"
                found[way].append(_ran(file, operator, steps, out, count, threads))
        alone = found["one process, one thread"][0]["losses"]
        for way, several in found.items():
            apart = max(abs(a - b) / abs(a) for a, b in zip(alone, several[0]["losses"], strict=True))
            paces = sorted(s["samples_per_second"] for s in several)
            ledger.row(section="processes", operator=operator, way=way, steps=steps, batch=BATCH, apart=apart,
                       last_loss=several[0]["losses"][-1], samples_per_second=paces[-1], slowest=paces[0])  # fmt: skip
            if way.startswith("two"):
                worst = max(worst, apart)
    ledger.check(
        "ddp_two_process_loss_difference", worst, reason="rounding in single precision, which training amplifies",
        note=f"relative, the largest of {steps} steps of {' and '.join(OPERATORS)}, gloo; in double precision the "
        "suite holds it below 1e-6",
    )  # fmt: skip


if __name__ == "__main__":
    one(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
