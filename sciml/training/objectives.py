"""What a training step minimises: one application of the model, or several in a row.

An objective knows neither operators nor encodings. It drives a `Predictor`, which knows how a model is applied, over a
`Batch`, which holds what was to come out.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from sciml.errors import InputError
from sciml.training.losses import Loss, On
from sciml.training.parts import Part

if TYPE_CHECKING:
    from torch import Tensor

    from sciml.training.encoding import Encoding

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

    @property
    def equations(self) -> Any:
        """`Equations` of the batch, where the objective asked for them."""
        ...

    @property
    def unlabelled(self) -> Any:
        """A batch of cases without solutions, for the balances alone; or None."""
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

    def frames(self, state: State, prediction: Tensor) -> tuple[Tensor | None, Tensor]:
        """(the frame before an application (batch, field, *), or None where there is no time; the frames that it
        answers (batch, ahead, field, *)), all of them normalised."""
        ...

    def feed(self, state: State, target: Tensor) -> State:
        """The state, told what really happened: the truth from which the next increment counts. What the model is
        applied to stays its own prediction."""
        ...


class Equations(Protocol):
    """The balances of a batch."""

    def mean_square(self, before: Tensor | None, answers: Tensor, k: int) -> Tensor:
        """The mean square residual of application number `k`, (batch, ahead, field, *) from (batch, field, *), each
        balance in units of its own magnitude."""
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

    def equations(self, encoding: Encoding) -> Any:
        """What batches are to hold of the problem's balances; None for nothing.

        Raises:
            InputError: balances that an operator with this encoding cannot be held to.
        """
        return None


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


@dataclass(frozen=True)
class Growing(Objective):
    """The loss of rollouts that grow: of one application at first, of one more each `until`/`steps` of training, and of
    `steps` of them from the share `until` on. Gradients go through the whole trajectory; the loss is the mean over its
    steps.

    Args:
        loss: None for the one that suits the data and the model.
        steps: number of applications at the end.
        until: share of training in [0, 1].
    """

    loss: Loss | None = None
    steps: int = 4
    until: float = 0.6

    def __post_init__(self) -> None:
        super().__post_init__()
        self._range("steps", 1)
        self._range("until", 0, 1)

    @property
    def horizon(self) -> int:
        return self.steps

    def __call__(self, predict: Predictor, batch: Batch, share: float) -> Tensor:
        grown = self.steps if share >= self.until else 1 + int(share / self.until * self.steps)
        return _unrolled(predict, batch, self.loss, min(grown, self.steps), "all")


@dataclass(frozen=True)
class WithPhysics(Objective):
    """An objective, and `weight` times the mean square residual of the problem's own balances.

    The residual is that of the operator's answer in physical units, with the spacing, the periodicity, the mask and the
    boundary conditions of each case. Each balance is measured in its own size, |storage|/T + |flux|/L + |source| by the
    scales of the case. In time it is that of the step, from the frame that goes in to the answer,

        (S(u₁) − S(u₀))/Δt + θ (∇·flux − source)(u₁) + (1 − θ)(∇·flux − source)(u₀)

    which an exact solution meets to second order in Δt where θ = 1/2. Control volumes that touch a solid cell, or one
    that a body cuts, are left out, as in an audit: what happens there only data can teach.

    Args:
        objective: what the data say; None for the balances alone.
        weight: of the residual.
        balances: by name; () for all.
        method: "finite_volume", with the stencils of an audit, or "spectral" on boxes that are periodic on every axis.
        implicit: θ, the share of the answer in a step.
        order: 2 or 4, of finite volumes.
        norm: s of the norm Σ_k ((1 + L²|k|²) / (1 + L²|k₁|²))^s |r̂_k|² in which residuals are measured, L being the
            length scale of the case and k₁ the longest wave of its box (between walls, of odd functions); 0 for the
            mean square. A residual of second order weighs errors by |k|⁴: a few short waves, at the jumps of a
            coefficient say, are all that it sees. With s = −2 it counts errors of all lengths as they are, and steady
            balances can be learned without data.

    Source: Z. Li et al., Physics-informed neural operator for learning partial differential equations (2021).
    """

    objective: Objective | None = None
    weight: float = 0.1
    balances: tuple[str, ...] = ()
    method: Literal["finite_volume", "spectral"] = "finite_volume"
    implicit: float = 0.5
    order: Literal[2, 4] = 2
    norm: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._range("weight", above=0)
        self._range("implicit", 0, 1)
        self._range("norm", -4, 4)
        if isinstance(self.objective, WithPhysics):
            raise InputError("objective: holds answers to balances twice; expected one WithPhysics")

    @property
    def horizon(self) -> int:
        return 1 if self.objective is None else self.objective.horizon

    def equations(self, encoding: Encoding) -> Any:
        from sciml.training.physics import Equations

        if self.objective is None and encoding.masked:
            raise InputError("objective: balances beside a body do not say what happens on it; expected data as well")
        alone = self.objective is None
        return Equations(encoding, self.balances, self.method, self.implicit, self.order, self.norm, alone)

    def __call__(self, predict: Predictor, batch: Batch, share: float) -> Tensor:
        import torch

        watched = _Watched(predict)
        if self.objective is None:
            watched(watched.start(batch), batch, 0)
        data = 0.0 if self.objective is None else self.objective(watched, batch, share)
        graded = [seen for seen in watched.seen if seen[1].requires_grad] or watched.seen[-1:]
        squares = [batch.equations.mean_square(*predict.frames(s, p), k) for s, p, k in graded]
        if batch.unlabelled is not None:
            squares.append(_own_steps(predict, batch.unlabelled))
        return data + self.weight * torch.stack(squares).mean()


def _own_steps(predict: Predictor, batch: Any) -> Tensor:
    """The residual of the last of a number of steps; the others run without gradient."""
    import torch

    state, steps = predict.start(batch), batch.params.shape[1]
    with torch.no_grad():
        for k in range(steps - 1):
            state = predict(state, batch, k)[1]
    prediction, _ = predict(state, batch, steps - 1)
    return batch.equations.mean_square(*predict.frames(state, prediction), 0)


class _Watched:
    """A predictor that remembers what it was asked."""

    def __init__(self, predict: Predictor):
        self.predict, self.default_loss = predict, predict.default_loss
        self.start, self.compare, self.feed, self.frames = predict.start, predict.compare, predict.feed, predict.frames
        self.seen: list[tuple[State, Tensor, int]] = []

    def __call__(self, state: State, batch: Any, k: int) -> tuple[Tensor, State]:
        prediction, after = self.predict(state, batch, k)
        self.seen.append((state, prediction, k))
        return prediction, after


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
