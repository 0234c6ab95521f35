"""Everything that determines a training run beside model and data."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from sciml.errors import InputError, is_number, is_whole, suggest
from sciml.training import schedules

OPTIMIZERS = ("adamw", "adam", "sgd")
PRECISIONS = ("float32", "bfloat16")


@dataclass(frozen=True)
class TrainingSettings:
    """Give the length of the run as exactly one of `epochs`, `steps` or `minutes`.

    Args:
        minutes: at the start a few steps are timed on a copy of the model, which gives the number of steps that fit;
            after every tenth of the run it is corrected by what they took, and stored. A resumed run keeps the number
            that its checkpoint holds, and so does not depend on the clock.
        lr: peak learning rate.  schedule: see `schedules`, with `schedule_options`.
        clip: largest gradient norm (0 = no clipping).
        ema: decay of the averaged weights, which are the ones kept (0 = none).
        precision: "bfloat16" runs the model under autocast; operators keep their Fourier transforms in float32.
        validate_every: steps between validations (0: about twenty times during the run).
        checkpoint_every: steps between checkpoints (0: by `checkpoint_seconds`).
        patience: validations without improvement after which training stops (0: never).
        keep: "last" or "best" (by validation): which weights the trained model gets.
        seed: of initial weights, order of batches and augmentation.
    """

    epochs: float | None = None
    steps: int | None = None
    minutes: float | None = None
    batch_size: int = 8
    optimizer: str = "adamw"
    lr: float = 4e-3
    weight_decay: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.99)
    schedule: str = "one_cycle"
    schedule_options: dict[str, float] = field(default_factory=dict)
    clip: float = 1.0
    ema: float = 0.0
    precision: str = "float32"
    device: str = "cpu"
    validate_every: int = 0
    checkpoint_every: int = 0
    checkpoint_seconds: float = 30.0
    patience: int = 0
    keep: str = "last"
    seed: int = 0

    def __post_init__(self) -> None:
        given = {n: getattr(self, n) for n in ("epochs", "steps", "minutes") if getattr(self, n) is not None}
        if len(given) != 1:
            raise InputError(
                f"training: expected exactly one of epochs, steps and minutes, got {', '.join(given) or 'none'}"
            )
        for name, value in given.items():
            if not is_number(value) or not value > 0:
                raise InputError(f"{name}: expected a number > 0, got {value!r}")
        for name in ("batch_size", "steps"):
            value = getattr(self, name)
            if value is not None and (not is_whole(value) or value < 1):
                raise InputError(f"{name}: expected a whole number >= 1, got {value!r}")
        for name in ("validate_every", "checkpoint_every", "patience", "seed"):
            value = getattr(self, name)
            if not is_whole(value) or value < 0:
                raise InputError(f"{name}: expected a whole number >= 0, got {value!r}")
        for name in ("clip", "weight_decay", "checkpoint_seconds"):
            if not is_number(getattr(self, name)) or getattr(self, name) < 0:
                raise InputError(f"{name}: expected a number >= 0, got {getattr(self, name)!r}")
        if not is_number(self.lr) or not self.lr > 0:
            raise InputError(f"lr: expected a number > 0, got {self.lr!r}")
        if not is_number(self.ema) or not 0 <= self.ema < 1:
            raise InputError(f"ema: expected a decay in [0, 1), got {self.ema!r}")
        betas = tuple(self.betas) if isinstance(self.betas, Sequence) else ()
        if len(betas) != 2 or not all(is_number(b) and 0 <= b < 1 for b in betas):
            raise InputError(f"betas: expected two numbers in [0, 1), got {self.betas!r}")
        object.__setattr__(self, "betas", (float(betas[0]), float(betas[1])))
        for name in ("batch_size", "steps", "validate_every", "checkpoint_every", "patience", "seed"):
            self._cast(name, int)
        for name in ("epochs", "minutes", "clip", "weight_decay", "checkpoint_seconds", "lr", "ema"):
            self._cast(name, float)
        for name, options in (("optimizer", OPTIMIZERS), ("precision", PRECISIONS), ("keep", ("last", "best"))):
            if getattr(self, name) not in options:
                raise InputError(f"{name}: expected one of {', '.join(options)}, got {getattr(self, name)!r}")
        try:
            torch.zeros(1, device=self.device)
        except (RuntimeError, AssertionError, TypeError):
            raise InputError(f"device: {self.device!r} is not available here; expected 'cpu' or such") from None
        try:
            schedules.factor(self.schedule, 0, 1, **self.schedule_options)
        except TypeError:
            raise InputError(
                f"schedule_options: {self.schedule_options!r} does not fit the schedule {self.schedule!r}"
            ) from None

    def _cast(self, name: str, kind: type[int] | type[float]) -> None:
        """NumPy's numbers to Python's, which go into JSON."""
        value = getattr(self, name)
        if value is not None and type(value) not in (int, float):
            object.__setattr__(self, name, kind(value))

    @classmethod
    def names(cls) -> tuple[str, ...]:
        return tuple(f.name for f in dataclasses.fields(cls))

    @classmethod
    def of(cls, **values: Any) -> TrainingSettings:
        """Settings by name; an unknown name is answered with the nearest.

        Raises:
            InputError: an unknown name or a value out of range.
        """
        for name in values:
            if name not in cls.names():
                raise InputError(f"training: no setting is called {name!r}{suggest(name, cls.names())}")
        return cls(**values)

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self) | {"betas": list(self.betas)}
