"""The progress display of a training run: losses, learning rate, speed and time left."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

from sciml.training.callbacks import Callback

if TYPE_CHECKING:
    from sciml.training.trainer import Trainer


class ProgressDisplay(Callback):
    """A live line on a terminal; where output is not a terminal, one plain line every `seconds`."""

    def __init__(self, title: str = "training", seconds: float = 15.0):
        self.title, self.seconds = title, seconds
        self._progress: Any = None
        self._task: Any = None
        self._loss = math.nan
        self._validation = math.nan
        self._said = 0.0
        self._first: tuple[float, int] = (0.0, 0)

    def on_start(self, trainer: Trainer) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._first = (time.monotonic(), trainer.step)
        self._said = time.monotonic()
        self._loss = self._validation = math.nan
        console = Console(stderr=True)
        if not console.is_terminal:
            return
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]} · validation {task.fields[validation]} · {task.fields[rate]} steps/s"),
            TimeRemainingColumn(),
            console=console,
        )
        self._progress.start()
        self._task = self._progress.add_task(
            self.title, total=trainer.total_steps, completed=trainer.step, loss="–", validation="–", rate="–"
        )

    def _fields(self, step: int) -> dict[str, str]:
        began, first = self._first
        rate = (step - first) / max(time.monotonic() - began, 1e-9)
        validation = "–" if math.isnan(self._validation) else f"{self._validation:.3e}"
        return {"loss": f"{self._loss:.3e}", "validation": validation, "rate": f"{rate:.1f}"}

    def on_step(self, trainer: Trainer, record: dict[str, Any]) -> None:
        loss = record["loss"]
        self._loss = loss if math.isnan(self._loss) else 0.95 * self._loss + 0.05 * loss
        now = time.monotonic()
        if self._progress is not None:
            if now - self._said > 0.1:
                self._said = now
                self._progress.update(self._task, completed=record["step"], **self._fields(record["step"]))
        elif now - self._said > self.seconds:
            self._said = now
            self._line(trainer, record["step"])

    def _line(self, trainer: Trainer, step: int) -> None:
        import sys

        f = self._fields(step)
        began, first = self._first
        left = (time.monotonic() - began) / max(step - first, 1) * (trainer.total_steps - step)
        print(
            f"{self.title}: step {step}/{trainer.total_steps}, loss {f['loss']}, validation {f['validation']}, "
            f"{left:.0f} s left",
            file=sys.stderr,
            flush=True,
        )

    def on_validation(self, trainer: Trainer, record: dict[str, Any]) -> None:
        self._validation = record["validation"]

    def on_end(self, trainer: Trainer) -> None:
        if self._progress is not None:
            self._progress.update(self._task, completed=trainer.step, **self._fields(trainer.step))
            self._progress.stop()
            self._progress = None
