"""Explicit Runge-Kutta schemes whose number of stages follows the stiffness.

One step of y' = F(t, y) is a three-term recurrence,

    Y₀ = yⁿ,  Y₁ = Y₀ + μ̃₁ τ F₀,
    Yⱼ = (1 − μⱼ − νⱼ) Y₀ + μⱼ Yⱼ₋₁ + νⱼ Yⱼ₋₂ + μ̃ⱼ τ Fⱼ₋₁ + γ̃ⱼ τ F₀,   yⁿ⁺¹ = Y_s,

which holds two families: the second-order Runge-Kutta-Chebyshev schemes, stable for diffusion up to a step that grows
with s², and the four-stage scheme with the stability polynomial of classical Runge-Kutta 4, for advection. With τ the
step, I = τ max(|u|/Δx + |v|/Δy) and R = 4 τ ν (1/Δx² + 1/Δy²), the spectrum of central differences fills
{−R(β sin²θ/2 + (1−β) sin²φ/2) + i I(α sin θ + (1−α) sin φ)}; limits below are those for which no amplification
exceeds 1 there (tests recompute them).

Source: J. G. Verwer, B. P. Sommeijer, W. Hundsdorfer, J. Comput. Phys. 201, 61 (2004), equations 2.3-2.6 (damping ε
raised to 3, which buys stability for advection); A. Jameson, W. Schmidt, E. Turkel, AIAA 81-1259 (1981).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

MAX_STAGES = 96
DAMPING = 3.0
LIMIT_ADVECTION = 2.0  # largest I of either family ...
LIMIT_DIFFUSION_FOUR = 1.75  # ... and at that I the largest R of the four-stage scheme, whatever the cells' aspect,
LIMIT_DIFFUSION_CHEBYSHEV = 0.48  # ... and the largest R / s² of the Chebyshev schemes, s ≥ 5, for square cells


def limit_advection_chebyshev(aspect):
    """Largest I of the Chebyshev schemes for cells with longer over shorter side `aspect`, where R exceeds what the
    four-stage scheme takes: modes along long cells are hardly damped by diffusion."""
    return jnp.minimum(jnp.clip(2 / aspect, 1, 2), 5 / aspect)


def pace_chebyshev(rate, damping):
    """1/τ for the Chebyshev schemes where a few stiff cells ask for them, but modes elsewhere that move at I = τ `rate`
    are damped at no more than R = τ `damping`: I ≤ 1.68 R^0.27. Their stability regions close in on the imaginary axis
    at its origin, so that what diffusion hardly damps would slowly grow."""
    return (rate / (1.68 * damping**0.27)) ** (1 / 0.73)


def chebyshev(s: int) -> np.ndarray:
    """Rows (μ, ν, μ̃, γ̃, c) of stages 1 ... s; stage j is evaluated at time tⁿ + cⱼ₋₁ τ with c₀ = 0."""
    w0 = 1 + DAMPING / s**2
    t, d, dd = [1.0, w0], [0.0, 1.0], [0.0, 0.0]
    for j in range(2, s + 1):
        t.append(2 * w0 * t[j - 1] - t[j - 2])
        d.append(2 * t[j - 1] + 2 * w0 * d[j - 1] - d[j - 2])
        dd.append(4 * d[j - 1] + 2 * w0 * dd[j - 1] - dd[j - 2])
    w1 = d[s] / dd[s]
    b = [dd[j] / d[j] ** 2 if j >= 2 else dd[2] / d[2] ** 2 for j in range(s + 1)]
    a = [1 - b[j] * t[j] for j in range(s + 1)]
    rows = [[0.0, 0.0, b[1] * w1, 0.0, 0.0]]
    for j in range(2, s + 1):
        tilde = 2 * b[j] * w1 / b[j - 1]
        rows.append([2 * b[j] * w0 / b[j - 1], -b[j] / b[j - 2], tilde, -a[j - 1] * tilde, 0.0])
    c = [b[1] * w1] + [w1 * dd[j] / d[j] for j in range(2, s + 1)]
    for j in range(1, s + 1):
        rows[j - 1][4] = c[j - 1]
    return np.array(rows)


def four() -> np.ndarray:
    """The four-stage scheme: Yⱼ = Y₀ + αⱼ τ Fⱼ₋₁ with α = 1/4, 1/3, 1/2, 1."""
    alpha = np.array([1 / 4, 1 / 3, 1 / 2, 1.0])
    zero = np.zeros(4)
    return np.stack([zero, zero, alpha, zero, alpha], axis=1)


@cache
def table() -> np.ndarray:
    """(scheme, stage, coefficient) with scheme 0 the four-stage one, scheme k ≥ 1 Chebyshev with k + 3 stages."""
    found = np.zeros((MAX_STAGES - 2, MAX_STAGES, 5))
    found[0, :4] = four()
    for s in range(4, MAX_STAGES + 1):
        found[s - 3, :s] = chebyshev(s)
    return found


def stages_of(
    loop: Callable, rhs: Callable, u0: jax.Array, v0: jax.Array, tau: jax.Array, scheme: jax.Array, stages: jax.Array,
    past: Any = (),
) -> tuple[jax.Array, jax.Array, Any]:  # fmt: skip
    """(u, v) after one step of size τ, and what `rhs` has learned.

    Args:
        loop: `Controls.loop`.
        rhs: (u, v, share of the step, what it has learned so far) -> their rates, and what it has learned.
        scheme: of `table`.
        stages: how many it has.
        past: what `rhs` has learned before.
    """
    coefficients = jnp.asarray(table(), u0.dtype)[scheme]
    fu0, fv0, past = rhs(u0, v0, 0.0, past)
    first = tau * coefficients[0, 2]

    def body(carry: Any) -> Any:
        j, uj, vj, ui, vi, past = carry
        mu, nu, mu_t, gamma_t, _ = coefficients[j]
        fu, fv, past = rhs(uj, vj, coefficients[j - 1, 4], past)
        rest, mu_t, gamma_t = 1 - mu - nu, tau * mu_t, tau * gamma_t
        un = rest * u0 + mu * uj + nu * ui + mu_t * fu + gamma_t * fu0
        vn = rest * v0 + mu * vj + nu * vi + mu_t * fv + gamma_t * fv0
        return j + 1, un, vn, uj, vj, past

    init = (jnp.ones((), int), u0 + first * fu0, v0 + first * fv0, u0, v0, past)
    _, u, v, _, _, past = loop(lambda c: c[0] < stages, body, init, MAX_STAGES, MAX_STAGES)
    return u, v, past
