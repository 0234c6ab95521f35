"""A line search for the strong Wolfe conditions.

    φ(α) ≤ φ(0) + c₁ α φ'(0)   and   |φ'(α)| ≤ c₂ |φ'(0)|,   φ(α) = f(x + α p).

Source: J. Nocedal, S. J. Wright, Numerical Optimization, 2nd ed. (2006), section 3.5.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Integer

GROWTH = 3.0  # of the step while no bracket is known
MARGIN = 0.1  # of a bracket, that a trial keeps from its ends


class Found(NamedTuple):
    """The step, the value and gradient there, how many evaluations, and whether the value is sufficiently lower."""

    step: Float[Array, ""]
    value: Float[Array, ""]
    gradient: Float[Array, " p"]
    count: Integer[Array, ""]
    lower: Bool[Array, ""]


class _End(NamedTuple):
    at: Array
    value: Array
    slope: Array


class _Search(NamedTuple):
    trial: Array
    low: _End
    gradient: Array
    high: _End
    count: Array
    done: Array


def strong_wolfe(
    function: Callable[[Array], tuple[Array, Array]],
    x: Float[Array, " p"],
    value: Float[Array, ""],
    gradient: Float[Array, " p"],
    direction: Float[Array, " p"],
    first: Float[Array, ""],
    *,
    decrease: float = 1e-4,
    curvature: float = 0.9,
    most: int = 20,
) -> Found:
    """A step along a direction of descent.

    Args:
        function: x to value and gradient.
        x, value, gradient: where the search starts.
        direction: p, with φ'(0) = p · gradient < 0.
        first: the first trial; 0 for no search at all.
        decrease, curvature: c₁ and c₂.
        most: how many evaluations.

    Where no trial meets both conditions the best that meets the first is given; where none does, `lower` is false and
    the step is 0.
    """
    slope = jnp.vdot(gradient, direction)
    infinity = jnp.asarray(jnp.inf, x.dtype)

    def going(s: _Search) -> Array:
        wide = jnp.abs(s.high.at - s.low.at) > jnp.finfo(x.dtype).eps * jnp.abs(s.trial)
        return ~s.done & (s.count < most) & wide & (s.trial > 0)

    def body(s: _Search) -> _Search:
        f, g = function(x + s.trial * direction)
        here = _End(s.trial, f, jnp.vdot(g, direction))
        finite = jnp.isfinite(f) & jnp.isfinite(here.slope)
        high = ~finite | (f > value + decrease * s.trial * slope) | (f >= s.low.value)
        turned = here.slope * jnp.where(s.high.at >= s.low.at, 1.0, -1.0) >= 0  # the minimum is behind
        done = ~high & (jnp.abs(here.slope) <= -curvature * slope)
        far = _choose(high, here, _choose(turned, s.low, s.high))
        low = _choose(high, s.low, here)
        trial = jnp.where(jnp.isfinite(far.at), _inside(low, far), GROWTH * here.at)
        return _Search(trial, low, jnp.where(high, s.gradient, g), far, s.count + 1, done)

    start = _End(jnp.zeros_like(value), value, slope)
    search = _Search(
        first,
        start,
        gradient,
        _End(infinity, infinity, infinity),
        jnp.zeros((), int),
        ~(slope < 0) | ~jnp.isfinite(value),
    )
    end = jax.lax.while_loop(going, body, search)
    return Found(end.low.at, end.low.value, end.gradient, end.count, end.low.at > 0)


def _choose(which: Array, a: _End, b: _End) -> _End:
    return _End(*(jnp.where(which, u, v) for u, v in zip(a, b, strict=True)))


def _inside(low: _End, high: _End) -> Array:
    """The minimum of the cubic through values and slopes at both ends, or the middle, away from the ends."""
    width = high.at - low.at
    a = low.slope + high.slope + 3 * (low.value - high.value) / width
    root = jnp.sign(width) * jnp.sqrt(a**2 - low.slope * high.slope)
    share = 1 - (high.slope + root - a) / (high.slope - low.slope + 2 * root)
    share = jnp.where(jnp.isfinite(share), jnp.clip(share, MARGIN, 1 - MARGIN), 0.5)
    return low.at + share * width
