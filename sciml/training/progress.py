"""The progress display of a training run: losses, learning rate, speed and time left."""

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
        self._first = (time.monotonic(), trainer.step)
        self._said = time.monotonic()
        self._loss = self._validation = math.nan
        self._progress = _bars()
        if self._progress is None:
            return
        self._progress.start()
        self._task = self._progress.add_task(
            self.title, total=trainer.total_steps, completed=trainer.step, loss="–", validation="–", rate="–"
        )

    def _fields(self, step: int) -> dict[str, str]:
        began, first = self._first
        return _figures(self._loss, self._validation, (step - first) / max(time.monotonic() - began, 1e-9))

    def on_step(self, trainer: Trainer, record: dict[str, Any]) -> None:
        loss = record["loss"]
        self._loss = loss if math.isnan(self._loss) else 0.95 * self._loss + 0.05 * loss
        now = time.monotonic()
        if self._progress is not None:
            if now - self._said > 0.1:
                self._said = now
                self._progress.update(
                    self._task, total=trainer.total_steps, completed=record["step"], **self._fields(record["step"])
                )
        elif now - self._said > self.seconds:
            self._said = now
            self._line(trainer, record["step"])

    def _line(self, trainer: Trainer, step: int) -> None:
        began, first = self._first
        left = (time.monotonic() - began) / max(step - first, 1) * (trainer.total_steps - step)
        _line(self.title, step, trainer.total_steps, self._fields(step), left)

    def on_validation(self, trainer: Trainer, record: dict[str, Any]) -> None:
        self._validation = record["validation"]

    def on_end(self, trainer: Trainer) -> None:
        if self._progress is not None:
            self._progress.update(self._task, completed=trainer.step, **self._fields(trainer.step))
            self._progress.stop()
            self._progress = None


class Board:
    """Several runs on one display; `show` may be called from any thread. Plain lines where there is no terminal."""

    def __init__(self, seconds: float = 15.0):
        self.seconds = seconds
        self._lock = threading.Lock()
        self._runs: dict[str, _Line] = {}
        self._progress: Any = None

    def __enter__(self) -> Board:
        self._progress = _bars()
        if self._progress is not None:
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    def show(self, name: str, step: int, total: int, loss: float = math.nan, validation: float = math.nan) -> None:
        """Run `name` is at `step` of `total`; figures that are left out stay as they were."""
        with self._lock:
            now = time.monotonic()
            line = self._runs.setdefault(name, _Line((now, step), now))
            if not math.isnan(loss):
                line.loss = loss if math.isnan(line.loss) else 0.8 * line.loss + 0.2 * loss
            if not math.isnan(validation):
                line.validation = validation
            began, first = line.first
            pace = (step - first) / max(now - began, 1e-9)
            fields = _figures(line.loss, line.validation, pace)
            if self._progress is not None:
                if line.task is None:
                    line.task = self._progress.add_task(f"training {name}", total=total, **fields)
                self._progress.update(line.task, completed=step, total=total, **fields)
            elif now - line.said > self.seconds and pace > 0:
                line.said = now
                _line(f"training {name}", step, total, fields, (total - step) / pace)


@dataclass
class _Line:
    first: tuple[float, int]
    said: float
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


def _figures(loss: float, validation: float, pace: float) -> dict[str, str]:
    def shown(value: float) -> str:
        return "–" if math.isnan(value) else f"{value:.3e}"

    return {"loss": shown(loss), "validation": shown(validation), "rate": f"{pace:.1f}"}


def _line(title: str, step: int, total: int, figures: dict[str, str], left: float) -> None:
    print(
        f"{title}: step {step}/{total}, loss {figures['loss']}, validation {figures['validation']}, {left:.0f} s left",
        file=sys.stderr,
        flush=True,
    )
