"""What is done to samples before they are learned from, by random numbers that depend on (seed, epoch, index) alone."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from sciml.training.parts import Part


class Augmentable(Protocol):
    """What a batch offers to augmentations."""

    def __len__(self) -> int:
        """Samples in it."""
        ...

    def mirrored(self, which: np.ndarray, generator: np.random.Generator) -> Any:
        """The batch with the samples of which `which` (batch,) is true mapped by a symmetry of the problem, drawn for
        each of them.

        Raises:
            InputError: a problem that states none.
        """
        ...

    def disturbed(self, level: float, generator: np.random.Generator) -> Any:
        """The batch with Gaussian noise of standard deviation `level` on the latest normalised frame that the model
        sees, inside masks; targets as they were."""
        ...

    def subsampled(self, points: int, generator: np.random.Generator) -> Any:
        """The batch with so many of its points as those at which answers are wanted."""
        ...


class Augmentation(Part, family="augmentation"):
    """A random change of a batch that leaves it true, or true enough."""

    @abstractmethod
    def __call__(self, batch: Any, generator: np.random.Generator) -> Any:
        """The changed batch; `generator` is the only source of chance."""


@dataclass(frozen=True)
class Noise(Augmentation):
    """Gaussian noise on the input state, against the drift of rollouts (Sanchez-Gonzalez et al. 2020).

    Args:
        level: standard deviation in units of the normalised fields.
    """

    level: float = 0.02

    def __post_init__(self) -> None:
        super().__post_init__()
        self._range("level", 0)

    def __call__(self, batch: Augmentable, generator: np.random.Generator) -> Any:
        return batch.disturbed(self.level, generator) if self.level else batch


@dataclass(frozen=True)
class Mirror(Augmentation):
    """Samples mapped by a symmetry of the problem's equations, which makes new exact samples.

    Args:
        share: of samples that are mapped.
    """

    share: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        self._range("share", 0, 1)

    def __call__(self, batch: Augmentable, generator: np.random.Generator) -> Any:
        return batch.mirrored(generator.random(len(batch)) < self.share, generator)


@dataclass(frozen=True)
class Subsample(Augmentation):
    """Some of the points only, other ones in every batch: less to compute in a step. Operators that see functions at
    fixed sensors still see all of them.

    Args:
        points: how many.
    """

    points: int = 1024

    def __post_init__(self) -> None:
        super().__post_init__()
        self._range("points", 1)

    def __call__(self, batch: Augmentable, generator: np.random.Generator) -> Any:
        return batch.subsampled(self.points, generator)


class Augmented:
    """A source of batches with augmentations, one after the other.

    Args:
        batches: what to draw from; its order must depend on (epoch, index) alone.
        rank: of several processes, which have shares of a batch and draw for these alone.
    """

    def __init__(self, batches: Any, augmentations: tuple[Augmentation, ...], seed: int = 0, rank: int = 0):
        self.batches, self.augmentations, self.seed = batches, augmentations, seed
        self.rank = [rank] if rank else []

    def __len__(self) -> int:
        return len(self.batches)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Any]:
        for i, batch in enumerate(self.batches.epoch(epoch, start=start), start=start):
            for n, augmentation in enumerate(self.augmentations):
                batch = augmentation(batch, np.random.Generator(np.random.Philox(
                    np.random.SeedSequence([self.seed, 1, epoch, i, n, *self.rank]))))  # fmt: skip
            yield batch
