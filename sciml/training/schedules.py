"""Learning-rate schedules: pure functions of the share of training that is done.

Because a schedule has no state, a resumed run has the learning rate of an uninterrupted one by construction.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass

from sciml.training.parts import Part


class Schedule(Part, family="schedule"):
    """What multiplies the learning rate, as a function of the share of training that is done."""

    @abstractmethod
    def __call__(self, share: float) -> float:
        """The factor at `share`, 0 ≤ share ≤ 1."""

    def at(self, step: int, steps: int) -> float:
        """The factor of `step` (from 0) of `steps`, taken in the middle of the step, so that neither the first nor
        the last one is spent at a rate of zero; beyond the end it is that of the end."""
        return self(min((step + 0.5) / max(steps, 1), 1.0))


@dataclass(frozen=True)
class _Warm(Schedule):
    """A straight rise from `start` to 1 over the first share `warmup`, then `fall` from 1 to `final`."""

    warmup: float = 0.0
    start: float = 0.0
    final: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._range("warmup", 0, below=1)
        self._range("start", 0)
        self._range("final", 0)

    @abstractmethod
    def fall(self, x: float) -> float:
        """From 1 at x = 0 to 0 at x = 1."""

    def rise(self, x: float) -> float:
        """From 0 at x = 0 to 1 at x = 1."""
        return x

    def __call__(self, share: float) -> float:
        if share < self.warmup:
            return self.start + (1 - self.start) * self.rise(share / self.warmup)
        return self.final + (1 - self.final) * self.fall((share - self.warmup) / (1 - self.warmup))


@dataclass(frozen=True)
class OneCycle(_Warm):
    """Cosine rise from `start` to 1 over the first `warmup`, cosine fall to `final` (Smith and Topin 2018)."""

    warmup: float = 0.2
    start: float = 0.04
    final: float = 1e-3

    def rise(self, x: float) -> float:
        return (1 - math.cos(math.pi * x)) / 2

    def fall(self, x: float) -> float:
        return (1 + math.cos(math.pi * x)) / 2


@dataclass(frozen=True)
class Cosine(_Warm):
    """Straight rise over the first `warmup`, then ½(1 + cos π x) down to `final` (Loshchilov and Hutter 2017)."""

    warmup: float = 0.02

    def fall(self, x: float) -> float:
        return (1 + math.cos(math.pi * x)) / 2


@dataclass(frozen=True)
class Linear(_Warm):
    """Straight rise over the first `warmup`, then a straight line down to `final`."""

    warmup: float = 0.05

    def fall(self, x: float) -> float:
        return 1 - x


@dataclass(frozen=True)
class Constant(Schedule):
    """1 throughout, after a straight rise from `start` over the first `warmup`."""

    warmup: float = 0.0
    start: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._range("warmup", 0, below=1)
        self._range("start", 0)

    def __call__(self, share: float) -> float:
        return self.start + (1 - self.start) * share / self.warmup if share < self.warmup else 1.0
