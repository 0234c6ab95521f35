"""What a solver that holds one trained operator tells of it."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Protocol

from torch import nn

from sciml.solver import TrainableSolver


class Outcome(Protocol):
    """Of a training."""

    record: dict[str, Any]
    metrics: list[dict[str, Any]]

    @property
    def operator(self) -> nn.Module: ...


class OneOperator(TrainableSolver):
    """A learned solver that is one operator, once it is trained."""

    @property
    @abstractmethod
    def _outcome(self) -> Outcome | None:
        """None before any training."""

    @property
    def fitted(self) -> bool:
        return self._outcome is not None

    @property
    def training(self) -> dict[str, Any]:
        """The record of training: recipe, data, how long it took."""
        return {} if self._outcome is None else self._outcome.record

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """Losses and validation figures on the way."""
        return [] if self._outcome is None else self._outcome.metrics

    @property
    def weights(self) -> int:
        return 0 if self._outcome is None else sum(p.numel() for p in self._outcome.operator.parameters())
