"""What a training step minimises: one application of the model, or several in a row.

An objective knows neither operators nor encodings. It drives a `Predictor`, which knows how a model is applied, over a
`Batch`, which holds what was to come out.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from sciml.training.losses import Loss, On
from sciml.training.parts import Part

if TYPE_CHECKING:
    from torch import Tensor

State = Any  # what a predictor steps: private to it


class Batch(Protocol):
    """Samples with what is to come out of them."""

    @property
    def target(self) -> Tensor:
        """(batch, horizon, channel, *space): what the model is to give in each of `horizon` applications."""
        ...

    @property
    def on(self) -> On:
        """Where the values live."""
        ...


class Predictor(Protocol):
    """A model together with how it treats time."""

    @property
    def default_loss(self) -> Loss:
        """The loss of an objective that names none."""
        ...

    def start(self, batch: Any) -> State:
        """The state before the first application."""
        ...

    def __call__(self, state: State, batch: Any, k: int) -> tuple[Tensor, State]:
        """Application number `k`: (prediction (batch, channel, *space), the state after it)."""
        ...

    def compare(self, prediction: Tensor, state: State, target: Tensor, loss: Loss, on: On) -> Tensor:
        """The loss of a prediction that was made from `state`.

        Of a residual model, loss(prediction − truth before, target − truth before) in units of increments: the error
        is the state's, the label is what really happened in this step, although the state may be the model's own.
        """
        ...

    def feed(self, state: State, target: Tensor) -> State:
        """The state, told what really happened: the truth from which the next increment counts. What the model is
        applied to stays its own prediction."""
        ...


class Objective(Part, family="objective"):
    """A scalar to minimise."""

    @property
    @abstractmethod
    def horizon(self) -> int:
        """Applications of the model that a sample must have targets for."""

    @abstractmethod
    def __call__(self, predict: Predictor, batch: Batch, share: float) -> Tensor:
        """The loss of a batch at the share 0 ≤ share < 1 of training that is done."""


@dataclass(frozen=True)
class Supervised(Objective):
    """The loss of one application.

    Args:
        loss: None for the one that suits the data and the model.
    """

    loss: Loss | None = None

    @property
    def horizon(self) -> int:
        return 1

    def __call__(self, predict: Predictor, batch: Batch, share: float) -> Tensor:
        return _unrolled(predict, batch, self.loss, 1, "all")


@dataclass(frozen=True)
class Rollout(Objective):
    """The loss of `steps` applications in a row, each to what the one before gave.

    Args:
        loss: None for the one that suits the data and the model.
        steps: number of applications from the share `after` of training on; one before.
        after: share of training in [0, 1].
        gradient: "all": through the whole trajectory, mean of the losses of all steps. "last": push-forward, the
            steps before the last one run without gradient and the loss is on the last (Brandstetter, Worrall and
            Welling 2022).
    """

    loss: Loss | None = None
    steps: int = 3
    after: float = 0.6
    gradient: Literal["all", "last"] = "all"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._range("steps", 1)
        self._range("after", 0, 1)

    @property
    def horizon(self) -> int:
        return self.steps

    def __call__(self, predict: Predictor, batch: Batch, share: float) -> Tensor:
        steps = self.steps if share >= self.after else 1
        return _unrolled(predict, batch, self.loss, steps, self.gradient)


def _unrolled(predict: Predictor, batch: Batch, loss: Loss | None, steps: int, gradient: str) -> Tensor:
    import torch

    loss = predict.default_loss if loss is None else loss
    state, found = predict.start(batch), []
    for k in range(steps):
        target = batch.target[:, k]
        graded = gradient == "all" or k == steps - 1
        with torch.set_grad_enabled(graded and torch.is_grad_enabled()):
            prediction, after = predict(state, batch, k)
            if graded:
                found.append(predict.compare(prediction, state, target, loss, batch.on))
            if k < steps - 1:
                state = predict.feed(after, target)
    return found[0] if len(found) == 1 else torch.stack(found).mean()
