"""An operator on particles in its units: a `Predictor` of `sciml.training.objectives`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from torch import Tensor, nn

from sciml.errors import InputError
from sciml.training.losses import Loss, Mse, On
from sciml.training.particles.batches import ParticleBatches, ParticleSamples
from sciml.training.particles.encoding import ParticleEncoding
from sciml.training.particles.motion import Motion, advanced, applied
from sciml.training.processes import ALONE, Processes


class ParticleModel:
    """operator and encoding as one map."""

    def __init__(self, operator: nn.Module, encoding: ParticleEncoding):
        self.operator, self.e = operator, encoding

    @property
    def default_loss(self) -> Loss:
        """The mean square of accelerations in units of their spread, as in the published codes."""
        return Mse()

    def start(self, batch: ParticleSamples) -> Motion:
        return batch.state

    def __call__(self, state: Motion, batch: ParticleSamples, k: int) -> tuple[Tensor, Motion]:
        answer = applied(self.operator, self.e, state, batch.scene, k)
        return answer.T[None], advanced(self.e, state, batch.scene, answer)

    def compare(self, prediction: Tensor, state: Motion, target: Tensor, loss: Loss, on: On) -> Tensor:
        """The loss of accelerations against those that lead from the state's own velocity, disturbed or predicted, to
        the true one."""
        wanted = (target - state.moved[:, -1].T[None]) / self.e.acceleration
        return loss(prediction, wanted.to(prediction.dtype), on)

    def feed(self, state: Motion, target: Tensor) -> Motion:
        """As it is: what it counts from is its own."""
        return state

    def frames(self, state: Any, prediction: Tensor) -> tuple[Tensor | None, Tensor]:
        raise NotImplementedError("particles have no frames on a support")


class Validation:
    """Errors of rollouts as long as the objective's, pooled over held-out samples and the H steps of each, over those
    of free flight:

        Σ_k ‖Δ̂_k − Δ_k‖² / Σ_k ‖Δ_0 − Δ_k‖²,   k = 1 ... H,

    Δ_k being the difference of positions over step k: for H = 1 the NMSE of accelerations. "validation" is that
    (infinite where a rollout left all bounds), "validation_gain" its inverse; where H > 1, "validation_one_step" that
    of the first steps alone.

    Args:
        batches: held-out samples in a fixed order, with targets for the steps that are to be judged.
        processes: which share these batches.
    """

    def __init__(self, encoding: ParticleEncoding, batches: ParticleBatches, processes: Processes = ALONE):
        self.e, self.batches, self.processes = encoding, batches, processes

    def __call__(self, operator: nn.Module) -> dict[str, float]:
        model = ParticleModel(operator, self.e)
        first = next(operator.parameters(), None)
        sums = np.zeros((self.batches.horizon, 2))
        for i, raw in enumerate(self.batches.epoch(0)):
            if i % self.processes.count == self.processes.rank:
                sums += self._batch(model, raw if first is None else raw.to(first.device))
        sums = np.sum(self.processes.gathered(sums), axis=0)
        found = {"validation": _ratio(sums.sum(0))}
        if found["validation"] > 0:
            found["validation_gain"] = 1 / found["validation"]
        if self.batches.horizon > 1:
            found["validation_one_step"] = _ratio(sums[0])
        return found

    def _batch(self, model: ParticleModel, batch: ParticleSamples) -> np.ndarray:
        """(step, 2) squares of errors, of the model and of free flight; infinite where particles have collapsed, or are
        no numbers."""
        sums = np.zeros((self.batches.horizon, 2))
        state = model.start(batch)
        before = state.moved[:, -1].T
        for k in range(self.batches.horizon):
            truth = batch.target[0, k]
            try:
                _, state = model(state, batch, k)
            except InputError:
                return np.full_like(sums, math.inf)
            error, still = (state.moved[:, -1].T - truth).square().sum(), (before - truth).square().sum()
            sums[k] = float(error), float(still)
        return sums


def _ratio(sums: np.ndarray) -> float:
    error, label = sums
    if not math.isfinite(error):
        return math.inf
    return float(error / label) if label > 0 else math.inf if error > 0 else 0.0
