"""An operator in its units: applied to batches in training, and to its own answers in rollouts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sciml.training.batches import Batch
from sciml.training.encoding import Encoding, Given
from sciml.training.losses import Loss, Nmse, On, RelativeL2


@dataclass(frozen=True, eq=False)
class State:
    """Before an application.

    Args:
        frames: (batch, past, field, *) what the operator is applied to, or None.
        last: (batch, field, *) the frame from which the true increment counts, or None.
        undisturbed: (batch, field, *) the latest of `frames` as it was, where an augmentation changed it.
    """

    frames: Tensor | None
    last: Tensor | None
    undisturbed: Tensor | None = None


class Model:
    """operator and encoding as one map: a `Predictor` of `sciml.training.objectives`.

    Args:
        operator: on the device where it is used.
        encoding: what its tensors mean.
    """

    def __init__(self, operator: nn.Module, encoding: Encoding):
        self.operator, self.e = operator, encoding
        first = next(operator.parameters(), None)
        self.device = torch.device("cpu") if first is None else first.device
        s = encoding.stepping
        self._unit = encoding.unit.to(self.device).reshape(-1, *[1] * encoding.space)
        self.residual, self.ahead, self.past = s.residual, s.ahead, s.past

    @property
    def default_loss(self) -> Loss:
        """RelativeL2 for steady problems; Nmse in time: there increments die out towards a steady state, and an error
        relative to each of them would ask for digits that matter to nobody. Nor may a batch of nothing but such steps
        do so, hence the floor, which is that of values of spread one."""
        if self.past == 0:
            return RelativeL2()
        return Nmse(floor=0.1) if self.residual else Nmse()

    def answer(
        self, frames: Tensor | None, given: Given, params: Tensor, time: Tensor | None, before: Tensor | None = None
    ) -> Tensor:
        """(batch, ahead · field, *) normalised fields, as constraints have them.

        Args:
            before: (batch, field, *) the frame from which laws count; the latest of `frames` by default.
        """
        out = self.e.apply(self.operator, frames, given, params, time)
        if given.factor is not None:
            out = out * given.factor.repeat(1, self.ahead, *[1] * self.e.space)
        if self.residual and frames is not None:
            last = frames[:, -1]
            if self.ahead > 1:
                last = last.repeat(1, self.ahead, *[1] * self.e.space)
            out = last + out.to(last.dtype) * self._unit
            if given.factor is not None and given.extension is not None:  # on a boundary itself values are given
                on, value = (v.repeat(1, self.ahead, *[1] * self.e.space) for v in (given.factor, given.extension))
                out = torch.where(on == 0, value.to(out.dtype), out)
        elif given.extension is not None:
            out = out + given.extension.repeat(1, self.ahead, *[1] * self.e.space)
        if given.laws is None:
            return out
        if before is None and frames is not None:
            before = frames[:, -1]
        return given.laws(out, before)

    def _shifted(self, frames: Tensor | None, new: Tensor) -> Tensor | None:
        """The latest `past` frames, with the new ones."""
        if frames is None or self.e.stepping.queries:
            return frames
        new = new.unflatten(1, (self.ahead, -1)).to(frames.dtype)
        return new[:, -self.past :] if self.ahead >= self.past else torch.cat([frames[:, self.ahead :], new], dim=1)

    # -- a predictor, for objectives ----------------------------------------------------------------------------

    def start(self, batch: Batch) -> State:
        state = batch.state
        return State(state, None if state is None else state[:, -1] if batch.last is None else batch.last, batch.last)

    def __call__(self, state: State, batch: Batch, k: int) -> tuple[Tensor, State]:
        time = None if batch.time is None else batch.time[:, k]
        new = self.answer(state.frames, batch.given, batch.params[:, k], time, state.undisturbed)
        return new, State(self._shifted(state.frames, new), state.last)

    def compare(self, prediction: Tensor, state: State, target: Tensor, loss: Loss, on: On) -> Tensor:
        """Of residual models in units of increments: the error is the state's, the label what happened in the step."""
        if not self.residual or state.last is None:
            return loss(prediction, target, on)
        last = state.last if self.ahead == 1 else state.last.repeat(1, self.ahead, *[1] * self.e.space)
        return loss((prediction - last) / self._unit, (target - last) / self._unit, on)

    def frames(self, state: State, prediction: Tensor) -> tuple[Tensor | None, Tensor]:
        last = None if state.frames is None or self.e.stepping.queries else state.frames[:, -1]
        return last, prediction.unflatten(1, (self.ahead, -1))

    def feed(self, state: State, target: Tensor) -> State:
        return State(state.frames, target[:, -len(self.e.fields) :])

    # -- rollouts -----------------------------------------------------------------------------------------------

    def rollout(self, frames: Tensor | None, given: Given, params: Any, applications: int) -> Iterator[Tensor]:
        """Frames (batch, field, *) one after another, each application on what those before gave.

        Args:
            frames: (batch, past, field, *).
            params: function of the application's number -> (batch, feature).
        """
        for k in range(applications):
            new = self.answer(frames, given, params(k), None)
            frames = self._shifted(frames, new)
            yield from new.unflatten(1, (self.ahead, -1)).unbind(1)
