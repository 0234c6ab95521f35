"""An operator on particles in its units: a `Predictor` of `sciml.training.objectives`."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from sciml.training.losses import Loss, Mse, On
from sciml.training.particles.batches import ParticleSamples
from sciml.training.particles.encoding import ParticleEncoding
from sciml.training.particles.motion import Motion, advanced, applied


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
    """One-step errors on held-out cases, pooled: "validation" is Σ‖error‖² / Σ‖acceleration‖², and "validation_gain"
    how many times lower that is than of free flight: its inverse."""

    def __init__(self, encoding: ParticleEncoding, batches: Any):
        self.e, self.batches = encoding, batches

    def __call__(self, operator: nn.Module) -> dict[str, float]:
        model, error, label = ParticleModel(operator, self.e), 0.0, 0.0
        first = next(operator.parameters(), None)
        for raw in self.batches.epoch(0):
            batch = raw if first is None else raw.to(first.device)
            state = model.start(batch)
            answer, _ = model(state, batch, 0)
            wanted = (batch.target[:, 0] - state.moved[:, -1].T[None]) / self.e.acceleration
            error += float((answer.double() - wanted).square().sum())
            label += float(wanted.square().sum())
        found = error / label if label > 0 else float("inf") if error > 0 else 0.0
        return {"validation": found} | ({"validation_gain": 1 / found} if found > 0 else {})


def rollout(operator: nn.Module, e: ParticleEncoding, state: Motion, scene: Any, steps: int) -> Any:
    """States after 1, 2, ... `steps` steps."""
    for k in range(steps):
        state = advanced(e, state, scene, applied(operator, e, state, scene, k))
        yield state
