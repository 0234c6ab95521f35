"""How far training is: losses, speed and time left."""

from __future__ import annotations

import math
import sys
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sciml.training.callbacks import Callback

if TYPE_CHECKING:
    from sciml.training.trainer import Trainer


class ProgressDisplay(Callback):
    """One run or several: a bar for each on a terminal; elsewhere a plain line for each every `seconds`.

    As a callback it shows the run that it is given to. Around several runs it is a context, and told of each by `show`,
    from any thread.
    """

    def __init__(self, title: str = "training", seconds: float = 15.0):
        self.title, self.seconds = title, seconds
        self._lock = threading.Lock()
        self._runs: dict[str, _Run] = {}
        self._bars: Any = None

    def __enter__(self) -> ProgressDisplay:
        self._runs, self._bars = {}, _bars()
        if self._bars is not None:
            self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bars is not None:
            for run in self._runs.values():
                self._draw(run)
            self._bars.stop()
            self._bars = None

    def show(self, name: str, step: int, total: int, loss: float = math.nan, validation: float = math.nan) -> None:
        """Run `name` is at `step` of `total`; figures that are left out stay as they were."""
        with self._lock:
            now = time.monotonic()
            run = self._runs.setdefault(name, _Run(name, (now, step), now))
            run.step, run.total = step, total
            if not math.isnan(loss):
                run.loss = loss if math.isnan(run.loss) else 0.9 * run.loss + 0.1 * loss
            if not math.isnan(validation):
                run.validation = validation
            bars = self._bars is not None
            if now - run.said >= (0.1 if bars else self.seconds) or (bars and run.task is None):
                run.said = now
                self._draw(run)

    def _draw(self, run: _Run) -> None:
        loss, validation = ("–" if math.isnan(v) else f"{v:.3e}" for v in (run.loss, run.validation))
        began, first = run.first
        pace = (run.step - first) / max(time.monotonic() - began, 1e-9)
        if self._bars is None:
            # the first step compiles, and says nothing about the others
            left = f", {(run.total - run.step) / pace:.0f} s left" if pace and run.step - first > 1 else ""
            known = "" if math.isnan(run.validation) else f", validation {validation}"
            text = f"{run.name}: step {run.step}/{run.total}, loss {loss}{known}{left}"
            print(text, file=sys.stderr, flush=True)
            return
        now: dict[str, Any] = {"completed": run.step, "total": run.total}
        now |= {"loss": loss, "validation": validation, "rate": f"{pace:.1f}"}
        if run.task is None:
            run.task = self._bars.add_task(run.name, **now)
        self._bars.update(run.task, **now)

    def on_start(self, trainer: Trainer) -> None:
        self.__enter__()
        self.show(self.title, trainer.step, trainer.total_steps)

    def on_step(self, trainer: Trainer, record: dict[str, Any]) -> None:
        self.show(self.title, record["step"], trainer.total_steps, loss=record["loss"])

    def on_validation(self, trainer: Trainer, record: dict[str, Any]) -> None:
        self.show(self.title, record["step"], trainer.total_steps, validation=record["validation"])

    def on_end(self, trainer: Trainer) -> None:
        self.__exit__()


@dataclass
class _Run:
    name: str
    first: tuple[float, int]  # when, and at which step, it was first heard of
    said: float
    step: int = 0
    total: int = 0
    loss: float = math.nan
    validation: float = math.nan
    task: Any = None


def _bars() -> Any:
    """Bars on standard error, or None where that is not a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        return None
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]} · validation {task.fields[validation]} · {task.fields[rate]} steps/s"),
        TimeRemainingColumn(),
        console=console,
    )
