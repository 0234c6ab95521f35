"""The method of Levenberg and Marquardt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.linalg import cho_solve
from jaxtyping import Array, Bool, Float

from sciml.solvers.pinn.minimisers import Minimiser, Objective, Record, half_square

ACCEPTED = 1e-4  # least share of the predicted reduction that must come true
BENT = 0.75  # 2‖a‖/‖v‖, above which the second order is not trusted


class LevenbergState(NamedTuple):
    """The damping λ, by what it grows when a trial fails, the scales of the parameters, and whether all is done."""

    damping: Float[Array, ""]
    growth: Float[Array, ""]
    scales: Float[Array, " p"]
    stopped: Bool[Array, ""]


class _Trial(NamedTuple):
    x: Float[Array, " p"]
    loss: Float[Array, ""]
    damping: Float[Array, ""]
    growth: Float[Array, ""]
    count: Array
    accepted: Array


@dataclass(frozen=True)
class LevenbergMarquardt(Minimiser):
    """(JᵀJ + λ D) s = −Jᵀr, with λ from the ratio ρ of the reduction of ½‖r‖² to the predicted ½ sᵀ(λ D s − Jᵀr).

    A step evaluates J once and raises λ until a trial is accepted. After that λ ← λ max(1/3, 1 − (2ρ − 1)³).
    "loss" is that after the step. Accelerated, the step bends along the valley floor, s = v + a/2, with the same matrix
    for v, from −Jᵀr, and for a, from −Jᵀ r″(v, v); where 2‖a‖ > ¾‖v‖, λ is raised as well.

    Args:
        steps: how many Jacobians at most.
        damping: the first λ, in units of the largest diagonal entry of JᵀJ / D.
        scaling: D = I, or D = the largest diagonal of JᵀJ so far, which takes scales of parameters out.
        trials: how many values of λ a step tries before the method stops.
        accelerated: whether steps bend (geodesic acceleration), for one more derivative of r along v.

    Source: K. Levenberg (1944); D. W. Marquardt (1963); the rule for λ is of H. B. Nielsen, IMM-REP-1999-05; the
    diagonal that only grows of J. J. Moré (1978); the acceleration of M. K. Transtrum, J. P. Sethna (2012).
    """

    steps: int = 200
    damping: float = 1e-3
    scaling: Literal["identity", "diagonal"] = "identity"
    trials: int = 12
    accelerated: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self._range("damping", above=0)
        self._range("trials", 1)

    def _init(self, objective: Objective, x: Array) -> LevenbergState:
        one = jnp.ones((), x.dtype)
        # a damping below zero says that no Jacobian has been seen
        return LevenbergState(-one, 2 * one, jnp.zeros_like(x), jnp.zeros((), bool))

    def _step(self, objective: Objective, x: Array, state: LevenbergState) -> tuple[Array, LevenbergState, Record]:
        def move(x: Array, state: LevenbergState) -> tuple[Array, LevenbergState, Record]:
            return self._move(objective, x, state)

        def rest(x: Array, state: LevenbergState) -> tuple[Array, LevenbergState, Record]:
            return x, state, self._record(objective.loss(x), jnp.zeros((), x.dtype), state, jnp.zeros((), int))

        return jax.lax.cond(state.stopped, rest, move, x, state)

    def _move(self, objective: Objective, x: Array, state: LevenbergState) -> tuple[Array, LevenbergState, Record]:
        r, jacobian = objective.linearise(x)
        loss, gradient, normal = half_square(r), r @ jacobian, jacobian.T @ jacobian
        diagonal = jnp.diagonal(normal)
        tiny = jnp.finfo(x.dtype).eps * jnp.max(diagonal)
        if self.scaling == "identity":
            scales = jnp.ones_like(x)
        else:
            scales = jnp.maximum(state.scales, jnp.maximum(diagonal, tiny))
        least = tiny / jnp.max(scales)
        damping = jnp.where(state.damping < 0, self.damping * jnp.max(diagonal / scales), state.damping)

        def attempt(trial: _Trial) -> _Trial:
            factor = jnp.linalg.cholesky(normal + jnp.diag(trial.damping * scales), symmetrize_input=False)
            v = -cho_solve((factor, True), gradient)
            predicted = 0.5 * jnp.vdot(v, trial.damping * scales * v - gradient)
            s, bent = v, jnp.zeros((), bool)
            if self.accelerated:
                a = -cho_solve((factor, True), _curvature(objective, x, v) @ jacobian)
                share = 2 * jnp.sqrt(jnp.vdot(a, scales * a) / jnp.vdot(v, scales * v))
                s, bent = v + 0.5 * a, ~(share <= BENT)
            found = objective.loss(x + s)
            ratio = (loss - found) / predicted
            # a failed factor gives NaN
            accepted = jnp.isfinite(found) & (predicted > 0) & (ratio > ACCEPTED) & ~bent
            eased = trial.damping * jnp.maximum(1 / 3, 1 - (2 * ratio - 1) ** 3)
            return _Trial(
                jnp.where(accepted, x + s, x),
                jnp.where(accepted, found, loss),
                jnp.maximum(jnp.where(accepted, eased, trial.damping * trial.growth), least),
                jnp.where(accepted, 2.0, 2 * trial.growth),
                trial.count + 1,
                accepted,
            )

        first = _Trial(x, loss, jnp.maximum(damping, least), state.growth, jnp.zeros((), int), jnp.zeros((), bool))
        last = jax.lax.while_loop(lambda t: ~t.accepted & (t.count < self.trials), attempt, first)
        state = LevenbergState(last.damping, last.growth, scales, ~last.accepted)
        return last.x, state, self._record(last.loss, jnp.linalg.norm(gradient), state, last.count)

    @staticmethod
    def _record(loss: Array, gradient: Array, state: LevenbergState, count: Array) -> Record:
        return {
            "loss": loss,
            "gradient": gradient,
            "stopped": state.stopped,
            "damping": state.damping,
            "trials": count,
        }


def _curvature(objective: Objective, x: Array, v: Array) -> Float[Array, " n"]:
    """r″(v, v) = d²/dε² r(x + εv)."""

    def slope(x: Array) -> Array:
        return jax.jvp(objective.values, (x,), (v,))[1]

    return jax.jvp(slope, (x,), (v,))[1]
