"""Adam."""

from __future__ import annotations

import functools
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array

from sciml.solvers.pinn.minimisers import Minimiser, Objective, Record
from sciml.training.parts import Part


class Decay(Part, family="decay"):
    """What multiplies the learning rate at each step."""

    @abstractmethod
    def factors(self, steps: int) -> np.ndarray:
        """The factors of all steps."""


@dataclass(frozen=True)
class Exponential(Decay):
    """factor^(step/every)."""

    factor: float = 0.9
    every: int = 2000

    def __post_init__(self) -> None:
        super().__post_init__()
        self._range("factor", above=0, most=1)
        self._range("every", 1)

    def factors(self, steps: int) -> np.ndarray:
        return self.factor ** (np.arange(steps) / self.every)


@dataclass(frozen=True)
class Cosine(Decay):
    """From 1 to `final` by half a cosine over all steps."""

    final: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        self._range("final", 0, 1)

    def factors(self, steps: int) -> np.ndarray:
        share = (np.arange(steps) + 0.5) / max(steps, 1)
        return self.final + (1 - self.final) * (1 + np.cos(np.pi * share)) / 2


@dataclass(frozen=True)
class Adam(Minimiser):
    """x ← x − η m̂ / (√v̂ + 1e-8), with running means m of the gradient of the mean of r² and v of its square.

    "loss" is that before the step. The mean, so that `learning_rate` and the small number mean the same for any
    number of points.

    Args:
        steps: how many.
        learning_rate: η at its largest.
        decay: how η falls.
        warmup: steps over which η rises at first.

    Source: D. P. Kingma, J. Ba, ICLR 2015.
    """

    steps: int = 2000
    learning_rate: float = 3e-3
    decay: Decay = Cosine()
    warmup: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._range("learning_rate", above=0)
        self._range("warmup", 0)

    @functools.cached_property
    def _rates(self) -> np.ndarray:
        steps = np.arange(max(self.steps, 1))
        return self.learning_rate * self.decay.factors(len(steps)) * np.minimum(1, (steps + 1) / (self.warmup + 1))

    def _init(self, objective: Objective, x: Array) -> tuple[Any, Array]:
        return optax.scale_by_adam().init(x), jnp.zeros((), int)

    def _step(self, objective: Objective, x: Array, state: tuple[Any, Array]) -> tuple[Array, Any, Record]:
        moments, count = state
        rate = jnp.asarray(self._rates, x.dtype)[jnp.minimum(count, self.steps - 1)]

        def loss(x: Array) -> tuple[Array, Array]:
            r = objective.values(x)
            return 0.5 * jnp.vdot(r, r) / r.size, jnp.asarray(r.size, x.dtype)

        (mean, n), gradient = jax.value_and_grad(loss, has_aux=True)(x)
        direction: Any
        direction, moments = optax.scale_by_adam().update(gradient, moments)
        record = {
            "loss": mean * n,
            "gradient": jnp.linalg.norm(gradient) * n,
            "stopped": jnp.zeros((), bool),
            "rate": rate,
        }
        return x - rate * direction, (moments, count + 1), record
