"""What may watch a training run, or stop it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sciml.errors import InputError

if TYPE_CHECKING:
    from sciml.training.trainer import Trainer


class Callback:
    """Override what you need. `record` holds plain numbers: step, epoch, loss, lr, and validation figures if any.

    A callback with state that must survive a resume returns it from `state` (JSON values) and takes it in `restore`.
    """

    def on_start(self, trainer: Trainer) -> None: ...
    def on_step(self, trainer: Trainer, record: dict[str, Any]) -> None: ...
    def on_validation(self, trainer: Trainer, record: dict[str, Any]) -> None: ...
    def on_checkpoint(self, trainer: Trainer, path: Path) -> None: ...
    def on_end(self, trainer: Trainer) -> None: ...

    def state(self) -> Any:
        return None

    def restore(self, state: Any) -> None: ...


class EarlyStopping(Callback):
    """Stop after `patience` validations that did not lower `monitor` by at least `least` (relative)."""

    def __init__(self, patience: int, monitor: str = "validation", least: float = 0.0):
        if patience < 1:
            raise InputError(f"patience: expected a whole number >= 1, got {patience}")
        self.patience, self.monitor, self.least = patience, monitor, least
        self.best, self.waited = math.inf, 0

    def on_validation(self, trainer: Trainer, record: dict[str, Any]) -> None:
        value = record[self.monitor]
        if value < self.best * (1 - self.least) or math.isinf(self.best):
            self.best, self.waited = value, 0
        else:
            self.waited += 1
            if self.waited >= self.patience:
                trainer.stop(f"{self.monitor} has not improved in {self.patience} validations")

    def state(self) -> Any:
        return {"best": self.best if math.isfinite(self.best) else None, "waited": self.waited}

    def restore(self, state: Any) -> None:
        self.best, self.waited = math.inf if state["best"] is None else state["best"], state["waited"]


class MetricsLog(Callback):
    """One JSON object a line in `metrics.jsonl`: every `every`-th step and every validation.

    The length of the file belongs to the checkpoint: a resumed run cuts off what was written after it, so that no
    step stands there twice.
    """

    def __init__(self, path: str | Path, every: int = 10):
        self.path, self.every = Path(path), every
        self._size: int | None = None
        self._file: Any = None

    @property
    def records(self) -> list[dict[str, Any]]:
        """What the file holds."""
        return read_metrics(self.path)

    def on_start(self, trainer: Trainer) -> None:
        if self._size is None or not self.path.exists():
            self._file = open(self.path, "w", encoding="utf-8")
        else:
            self._file = open(self.path, "r+", encoding="utf-8")
            self._file.truncate(min(self._size, self.path.stat().st_size))
            self._file.seek(0, 2)

    def _write(self, record: dict[str, Any]) -> None:
        if self._file is not None:
            self._file.write(json.dumps(record) + "\n")

    def on_step(self, trainer: Trainer, record: dict[str, Any]) -> None:
        if record["step"] % self.every == 0 or record["step"] == 1:
            self._write(record)

    def on_validation(self, trainer: Trainer, record: dict[str, Any]) -> None:
        self._write(record)
        self._file.flush()

    def on_end(self, trainer: Trainer) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def state(self) -> Any:
        if self._file is None:
            return self._size
        self._file.flush()
        return self._file.tell()

    def restore(self, state: Any) -> None:
        self._size = state


class MetricsList(Callback):
    """What `MetricsLog` writes, kept in memory: `records`."""

    def __init__(self, every: int = 10):
        self.every = every
        self.records: list[dict[str, Any]] = []

    def on_step(self, trainer: Trainer, record: dict[str, Any]) -> None:
        if record["step"] % self.every == 0 or record["step"] == 1:
            self.records.append(record)

    def on_validation(self, trainer: Trainer, record: dict[str, Any]) -> None:
        self.records.append(record)


def read_metrics(path: str | Path) -> list[dict[str, Any]]:
    """The records of a metrics.jsonl; lines that are no records, as a crash may leave one, are left out."""
    records = []
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
    for line in lines:
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict):
            records.append(record)
    return records


class TensorBoard(Callback):
    """Losses, learning rate and validation figures as TensorBoard scalars (needs the package `tensorboard`)."""

    def __init__(self, directory: str | Path, every: int = 10):
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise InputError("tensorboard: the package is not installed; pip install tensorboard") from None
        self._make = lambda: SummaryWriter(str(directory))
        self._writer: Any = None
        self.every = every

    def on_start(self, trainer: Trainer) -> None:
        self._writer = self._make()

    def on_step(self, trainer: Trainer, record: dict[str, Any]) -> None:
        if record["step"] % self.every == 0:
            for name in ("loss", "lr", "gradient_norm"):
                self._writer.add_scalar(f"training/{name}", record[name], record["step"])

    def on_validation(self, trainer: Trainer, record: dict[str, Any]) -> None:
        for name, value in record.items():
            if name.startswith("validation"):
                self._writer.add_scalar(name, value, record["step"])

    def on_end(self, trainer: Trainer) -> None:
        if self._writer is not None:
            self._writer.close()
