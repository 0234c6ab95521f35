"""Self-scaled quasi-Newton methods of Broyden's family, with a dense inverse Hessian."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from sciml.solvers.pinn._wolfe import strong_wolfe
from sciml.solvers.pinn.minimisers import Minimiser, Objective, Record


class BroydenState(NamedTuple):
    """H, the loss and its gradient at x, whether H is still the identity, and whether all is done."""

    inverse: Float[Array, "p p"]
    loss: Float[Array, ""]
    gradient: Float[Array, " p"]
    fresh: Bool[Array, ""]
    stopped: Bool[Array, ""]


class Coefficients(NamedTuple):
    """What an update of H is made of: H ← (H − Hy yᵀH/(yᵀHy) + φ v vᵀ)/τ + s sᵀ/(yᵀs)."""

    tau: Float[Array, ""]
    phi: Float[Array, ""]


def coefficients(
    ys: Float[Array, ""], sbs: Float[Array, ""], yhy: Float[Array, ""], n: int, broyden: bool
) -> Coefficients:
    """τ and φ of the self-scaled update from yᵀs, sᵀH⁻¹s and yᵀHy.

    Args:
        ys, sbs, yhy: the three products, positive.
        n: number of parameters.
        broyden: θ by Al-Baali and Khalfan; otherwise θ = 0, which is BFGS, scaled by min(1, yᵀs/sᵀH⁻¹s).
    """
    b, h = sbs / ys, yhy / ys
    first = jnp.minimum(1.0, 1 / b)
    if not broyden:
        return Coefficients(first, jnp.ones_like(first))
    eps = jnp.finfo(b.dtype).eps
    a = jnp.maximum(h * b - 1, eps)  # ≥ 0 by Cauchy and Schwarz, but for rounding
    c = jnp.sqrt(a / (a + 1))
    rho = jnp.minimum(1.0, h * (1 - c))
    theta = jnp.maximum((rho - 1) / a, jnp.minimum(1 / rho, (1 - b) / b))
    sigma = jnp.maximum(1 + a * theta, eps)
    spread = sigma ** (-1 / max(n - 1, 1))
    tau = jnp.where(
        theta <= 0, jnp.minimum(first * spread, sigma), first * jnp.minimum(spread, 1 / jnp.where(theta > 0, theta, 1))
    )
    return Coefficients(tau, (1 - theta) / sigma)


def update(
    inverse: Float[Array, "p p"],
    s: Float[Array, " p"],
    y: Float[Array, " p"],
    hy: Float[Array, " p"],
    sbs: Float[Array, ""],
    broyden: bool,
) -> Float[Array, "p p"]:
    """The new H, symmetric, with H y = s.

    Args:
        inverse: H.
        s, y: steps of the parameters and of the gradient, yᵀs > 0.
        hy: H y.
        sbs: sᵀH⁻¹s.
        broyden: as in `coefficients`.
    """
    ys, yhy = jnp.vdot(y, s), jnp.vdot(y, hy)
    tau, phi = coefficients(ys, sbs, yhy, s.size, broyden)
    v = jnp.sqrt(yhy) * (s / ys - hy / yhy)
    # one pass over the matrix: two rank-one terms in Hy and v, one in s
    return (inverse - jnp.outer(hy, hy / yhy) + jnp.outer(v, phi * v)) / tau + jnp.outer(s, s / ys)


@dataclass(frozen=True)
class SelfScaledBroyden(Minimiser):
    """x ← x − α H g, with H ← (H − Hy yᵀH/(yᵀHy) + φ v vᵀ)/τ + s sᵀ/(yᵀs), v = √(yᵀHy) (s/(yᵀs) − Hy/(yᵀHy)).

    α meets the strong Wolfe conditions. An update whose yᵀs is lost in rounding is left out; where no step along −Hg
    is lower, H is the identity again, and where none along −g is, the method stops. "loss" is that after the step.

    Args:
        steps: how many.
        member: "broyden" takes θ of the family and τ from the curvatures; "bfgs" θ = 0 and the scale alone.
        evaluations: of loss and gradient in one line search, at most.

    Source: M. Al-Baali, H. Khalfan, Optim. Methods Softw. 20, 393 (2005) for θ and τ; J. F. Urbán, P. Stefanou,
    J. A. Pons, J. Comput. Phys. 523, 113656 (2025) and E. Kiyani et al., arXiv 2501.16371 (2025) for PINNs.
    """

    steps: int = 5000
    member: Literal["broyden", "bfgs"] = "broyden"
    evaluations: int = 20

    def __post_init__(self) -> None:
        super().__post_init__()
        self._range("evaluations", 1)

    def _init(self, objective: Objective, x: Array) -> BroydenState:
        no = jnp.zeros((), bool)
        zero = jnp.zeros((), x.dtype)
        return BroydenState(jnp.eye(x.size, dtype=x.dtype), zero, jnp.zeros_like(x), ~no, no)

    def _refresh(self, objective: Objective, x: Array, state: BroydenState) -> BroydenState:
        loss, gradient = objective.value_and_gradient(x)
        return state._replace(loss=loss, gradient=gradient)

    def _step(self, objective: Objective, x: Array, state: BroydenState) -> tuple[Array, BroydenState, Record]:
        g, norm = state.gradient, jnp.linalg.norm(state.gradient)
        p = jnp.where(state.fresh, -g, -(state.inverse @ g))
        first = jnp.where(state.fresh, jnp.minimum(1.0, 1 / norm), 1.0)
        search = strong_wolfe(
            objective.value_and_gradient,
            x,
            state.loss,
            g,
            p,
            jnp.where(state.stopped, 0.0, first).astype(x.dtype),
            most=self.evaluations,
        )
        s, y = search.step * p, search.gradient - g
        ys, yy = jnp.vdot(y, s), jnp.vdot(y, y)
        sound = search.lower & (ys > jnp.finfo(x.dtype).eps * jnp.linalg.norm(s) * jnp.sqrt(yy))

        # the first update scales the identity by yᵀs/yᵀy; p = −Hg, so that H⁻¹s = −αg
        scale = jnp.where(sound & state.fresh, ys / yy, 1.0)
        hy = jnp.where(state.fresh, scale * y, state.inverse @ search.gradient + p)
        sbs = jnp.where(state.fresh, jnp.vdot(s, s) / scale, -search.step * jnp.vdot(s, g))
        again = ~search.lower & ~state.stopped  # begin anew; a second time in a row is the end
        inverse = jnp.where(
            sound, update(scale * state.inverse, s, y, hy, sbs, self.member == "broyden"), state.inverse
        )
        inverse = jnp.where(again, jnp.eye(x.size, dtype=x.dtype), inverse)
        stopped = state.stopped | (again & state.fresh)
        record = {
            "loss": search.value,
            "gradient": norm,
            "stopped": stopped,
            "step": search.step,
            "evaluations": search.count,
            "restarted": again,
        }
        fresh = jnp.where(search.lower, state.fresh & ~sound, state.fresh | again)
        return x + s, BroydenState(inverse, search.value, search.gradient, fresh, stopped), record
