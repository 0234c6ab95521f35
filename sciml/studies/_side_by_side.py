"""Training several surrogates at once, each in a process of its own with its share of the cores.

One step of a small operator hardly gains from a second core; two runs beside each other use both. A process is started
as a fresh interpreter, so nothing is forked; it tells of its steps as JSON lines on its standard output, and ends when
nobody reads them any more.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sciml.errors import TrainingError, in_words
from sciml.studies._plan import Plan
from sciml.training.callbacks import Callback
from sciml.training.progress import ProgressDisplay
from sciml.training.recipe import Running


@dataclass(frozen=True)
class Run:
    """What to train, on what, where to keep it, and on which device."""

    plan: Plan
    data: Path
    out: Path
    device: str = "auto"


class _Tell(Callback):
    """Progress as JSON lines, at most a few a second."""

    def __init__(self) -> None:
        self._last = 0.0

    def _say(self, **record: Any) -> None:
        print(json.dumps(record), flush=True)

    def on_start(self, trainer: Any) -> None:
        self._say(step=trainer.step, total=trainer.total_steps)

    def on_step(self, trainer: Any, record: dict[str, Any]) -> None:
        if time.monotonic() - self._last > 0.25 or record["step"] == trainer.total_steps:
            self._last = time.monotonic()
            self._say(step=record["step"], total=trainer.total_steps, loss=record["loss"])

    def on_validation(self, trainer: Any, record: dict[str, Any]) -> None:
        self._say(step=record["step"], total=trainer.total_steps, validation=record["validation"])


def train(
    runs: Mapping[str, Run], threads: int | None = None, failed: dict[str, str] | None = None
) -> dict[str, float]:
    """Train all, side by side; a run with checkpoints goes on from them.

    Args:
        threads: of each run; None shares the cores among them.
        failed: where runs that fail are entered, with their words, while the others go on; None stops all of them.

    Returns:
        seconds of each.

    Raises:
        TrainingError: in the words of the first run that failed; the others are stopped.
    """
    if not runs:
        return {}
    if threads is None:
        threads = max(1, len(os.sched_getaffinity(0)) // len(runs)) if hasattr(os, "sched_getaffinity") else 1
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    began = time.monotonic()
    seconds: dict[str, float] = {}
    failures: dict[str, str] = {}
    processes: dict[str, subprocess.Popen[str]] = {}
    with ProgressDisplay() as display:

        def follow(name: str, process: subprocess.Popen[str]) -> None:
            assert process.stdout is not None and process.stderr is not None
            said: list[str] = []
            listener = threading.Thread(target=lambda: said.extend(process.stderr or ()), daemon=True)
            listener.start()
            for line in process.stdout:
                try:
                    display.show(f"training {name}", **json.loads(line))
                except (ValueError, TypeError):
                    said.append(line)
            code = process.wait()
            listener.join()
            seconds[name] = time.monotonic() - began
            if code:
                failures[name] = said[-1].strip() if said else f"ended with status {code}"
                for other in processes.values() if failed is None else ():
                    other.terminate()

        try:
            for name, run in runs.items():
                spec = {"plan": run.plan.to_json(), "data": str(run.data), "out": str(run.out), "threads": threads}
                spec["device"] = run.device
                processes[name] = subprocess.Popen(
                    [sys.executable, "-m", __name__, json.dumps(spec)],
                    stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                    env=environment,
                )  # fmt: skip
            followers = [threading.Thread(target=follow, args=item, daemon=True) for item in processes.items()]
            for follower in followers:
                follower.start()
            for follower in followers:
                follower.join()
        finally:
            for process in processes.values():
                if process.poll() is None:
                    process.terminate()
    if failed is not None:
        failed.update(failures)
    elif failures:
        name, text = next(iter(failures.items()))
        raise TrainingError(f"{name}: {text}")
    return seconds


def _main() -> int:
    """One run, in its own process."""
    try:
        spec = json.loads(sys.argv[1])
        import torch

        torch.set_num_threads(spec["threads"])
        out = Path(spec["out"])
        resume = (out / "checkpoints").is_dir()
        running = Running(out=out, resume=resume, device=spec["device"], progress=False, callbacks=(_Tell(),))
        Plan.from_json(spec["plan"]).train(spec["data"], running)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt | BrokenPipeError):
            return 130
        status, line = in_words(error)
        print(line, file=sys.stderr)
        return status
    return 0


if __name__ == "__main__":
    sys.exit(_main())
