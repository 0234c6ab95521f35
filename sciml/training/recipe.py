"""What is trained and how: a `Recipe` determines the result, a `Running` does not.

    recipe = Recipe(length=Minutes(2), objective=Rollout(steps=3, after=0.8), optimiser=AdamW(lr=8e-3, average=0.99))
    recipe.to_toml(), recipe.to_json(), recipe.with_settings(["optimiser.lr=1e-3"]), recipe.replace(seed=1)

Two recipes are equal if and only if they ask for the same training; that is the check on resuming a run, and runs
whose recipes differ in the seed alone are seeds of one model. Nothing here needs torch.
"""

from __future__ import annotations

import json
import time
import tomllib
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np

from sciml.errors import FileFormatError, InputError
from sciml.training.assignments import assign
from sciml.training.augmentations import Augmentation
from sciml.training.objectives import Objective
from sciml.training.optimisers import AdamW, Optimiser
from sciml.training.parts import Part, Settings, differences
from sciml.training.schedules import OneCycle, Schedule


class Length(Part, family="length"):
    """How long training lasts."""

    @abstractmethod
    def steps(self, steps_per_epoch: int) -> int | None:
        """The number of steps; None where the clock decides."""

    @property
    def seconds(self) -> float | None:
        """Seconds on the clock; None where they do not matter."""
        return None

    def now(self) -> float:
        """Seconds on that clock."""
        return time.monotonic()

    def extends(self, former: Length) -> bool:
        """Whether a run of the length `former` can go on to this one."""
        return False


@dataclass(frozen=True)
class Epochs(Length):
    """So many passes over the training samples; parts of one count."""

    value: float = 20.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._range("value", above=0)

    def steps(self, steps_per_epoch: int) -> int:
        return max(1, round(self.value * steps_per_epoch))

    def extends(self, former: Length) -> bool:
        return isinstance(former, Epochs) and self.value > former.value


@dataclass(frozen=True)
class Steps(Length):
    """So many steps of the optimiser."""

    value: int

    def __post_init__(self) -> None:
        super().__post_init__()
        self._range("value", 1)

    def steps(self, steps_per_epoch: int) -> int:
        return self.value

    def extends(self, former: Length) -> bool:
        return isinstance(former, Steps) and self.value > former.value


@dataclass(frozen=True)
class Minutes(Length):
    """So long on the clock.

    At the start a few steps are timed on a copy of the model, which gives the number of steps that fit; after every
    tenth of the run it is corrected by what they took, and stored. A resumed run keeps the number that its checkpoint
    holds, and so does not depend on the clock.
    """

    value: float

    def __post_init__(self) -> None:
        super().__post_init__()
        self._range("value", above=0)

    def steps(self, steps_per_epoch: int) -> None:
        return None

    @property
    def seconds(self) -> float:
        return 60 * self.value


@dataclass(frozen=True)
class ProcessorMinutes(Minutes):
    """So long on the processor, over all threads of this process: what else a machine does takes nothing from the run.

    With one thread that is the clock of a quiet machine. Work of an accelerator, and of processes that load data, does
    not count.
    """

    def now(self) -> float:
        return time.process_time()


class Sampler(Part, family="sampler"):
    """How often each sample comes in an epoch."""

    @abstractmethod
    def repeats(self, first: np.ndarray) -> np.ndarray:
        """How often each sample comes, (sample,) whole numbers; `first` (sample,) tells which begin their case."""


@dataclass(frozen=True)
class Uniform(Sampler):
    """Every sample once."""

    def repeats(self, first: np.ndarray) -> np.ndarray:
        return np.ones(len(first), dtype=np.int64)


@dataclass(frozen=True)
class Starts(Sampler):
    """The first sample of each case so many times, the others once.

    A case has one start, often the hardest step of all: a wall that begins to move is a jump.
    """

    times: int = 6

    def __post_init__(self) -> None:
        super().__post_init__()
        self._range("times", 1)

    def repeats(self, first: np.ndarray) -> np.ndarray:
        return np.where(first, self.times, 1)


@dataclass(frozen=True)
class Recipe(Settings):
    """All that determines a trained model beside the model and the data.

    Args:
        length: `Epochs`, `Steps`, `Minutes` or `ProcessorMinutes`.
        batch: samples in a batch.
        objective: what is minimised; None for what the operator brings, or else `Supervised` with the loss that suits
            the data.
        augmentations: applied to every batch, one after the other.
        optimiser, schedule: how weights are changed, and the learning rate over the run.
        sampler: how often each sample comes in an epoch.
        precision: "bfloat16" runs the model under autocast; weights, losses and Fourier transforms stay float32.
        keep: which weights the trained model gets, "last" or "best" by validation, whose error is that of rollouts as
            long as the objective's (`Rollout.steps`, else one step) from the first validation to the last.
        validate_every: steps between validations (0: about twenty times during the run).
        validation_items: applications of the model in a validation at most, to samples of the validation split that are
            evenly chosen (of rollouts of 4 steps a quarter as many, one at least): validation stays a small part of the
            run.
        patience: validations without improvement after which training stops (0: never).
        seed: of initial weights, order of batches and augmentation.

    Raises:
        InputError: a value of the wrong type or out of range.
    """

    length: Length = Epochs()
    batch: int = 8
    objective: Objective | None = None
    augmentations: tuple[Augmentation, ...] = ()
    optimiser: Optimiser = AdamW()  # noqa: RUF009
    schedule: Schedule = OneCycle()  # noqa: RUF009
    sampler: Sampler = Uniform()
    precision: Literal["float32", "float64", "bfloat16"] = "float32"
    keep: Literal["last", "best"] = "last"
    validate_every: int = 0
    validation_items: int = 256
    patience: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._range("batch", 1)
        self._range("validate_every", 0)
        self._range("validation_items", 1)
        self._range("patience", 0)
        self._range("seed", 0, 2**63 - 1)

    def without_seed(self) -> Self:
        """The same with seed 0: equal for the runs that are seeds of one model."""
        return self.replace(seed=0)

    def with_settings(self, settings: Sequence[str]) -> Self:
        """The recipe with settings from text, such as "optimiser.lr=1e-3" or "length=Minutes(2)".

        Raises:
            InputError: a path that leads nowhere, with the nearest that does, or a value that does not fit.
        """
        return assign(self, settings)

    def to_toml(self) -> str:
        """As TOML, one line a setting; what is None is left out. `from_toml` gives an equal recipe.

        Raises:
            InputError: a part with a field that is None although that is not its default: TOML has no word for it.
        """
        content = self.to_json()
        text = "".join(f"{name} = {_toml(value)}\n" for name, value in content.items() if value is not None)
        for path, _, mine in differences(type(self).from_toml(text), self):
            raise InputError(f"{path}: {mine!r:.80} cannot be written as TOML")
        return text

    @classmethod
    def from_toml(cls, source: str | Path) -> Self:
        """A recipe from a TOML file, or from TOML text; what is left out has its default.

        Args:
            source: a path (a `Path`, or a text in one line that ends in .toml), or the TOML itself.

        Raises:
            InputError: no such file, or settings that do not fit.
            FileFormatError: no TOML.
        """
        name = ""
        if isinstance(source, Path) or (source.strip().endswith(".toml") and "\n" not in source.strip()):
            name = f"{source}: "
            try:
                source = (
                    Path(source.strip() if isinstance(source, str) else source).expanduser().read_text(encoding="utf-8")
                )
            except (OSError, UnicodeDecodeError) as error:
                reason = error.strerror if isinstance(error, OSError) else "no UTF-8 text"
                raise InputError(f"{name}cannot be read ({reason})") from None
        try:
            content = tomllib.loads(source)
        except (ValueError, RecursionError) as error:
            raise FileFormatError(f"{name}expected TOML, got something else ({error})") from None
        try:
            return cls.from_json(content)
        except InputError as error:
            raise InputError(f"{name}{error}") from None


def _toml(value: Any) -> str:
    """A JSON value as TOML."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{k} = {_toml(v)}" for k, v in value.items() if v is not None) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(v) for v in value) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        raise InputError("recipe: none within a list cannot be written as TOML")
    return repr(value)


@dataclass(frozen=True)
class Running(Settings):
    """How training runs: changes no result.

    Args:
        out: run directory; None keeps nothing on disk.
        resume: continue the run in `out` if there is one.
        device: "auto" (CUDA where there is one), "cpu", "cuda", "cuda:1".
        memory_limit: bytes up to which the frames of the training split are held in memory; of a larger one they are
            read as they are needed.
        checkpoint_seconds: seconds between checkpoints.
        checkpoint_every: steps between checkpoints, in place of seconds (0: by `checkpoint_seconds`).
        callbacks: told of every step, validation and checkpoint.
        progress: whether to show how far training is.
        forget: whether an operator of blocks keeps nothing of what is inside of them, and computes it again on the way
            back: the same result, in less memory, in a third more time.
    """

    out: str | Path | None = None
    resume: bool = False
    device: str = "auto"
    memory_limit: float = 5e8
    checkpoint_seconds: float = 30.0
    checkpoint_every: int = 0
    callbacks: tuple[Any, ...] = ()
    progress: bool = True
    forget: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("memory_limit", "checkpoint_seconds", "checkpoint_every"):
            self._range(name, 0)

    @property
    def folder(self) -> Path | None:
        return None if self.out is None else Path(self.out).expanduser()
