"""A learned vector field of a few coefficients, and its integral curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.interpolate import CubicSpline

MOST = 200_000  # steps of one curve
RIDGE = 1e-6  # of the first guess of A and b


class Dynamics(eqx.Module):
    """dz/dt = b + A z + f_θ(z, p): linear dynamics, and what a network adds to them.

    The last layer of f_θ is zero before training, so that training begins with linear dynamics.

    Args:
        matrix, constant: A (r, r) and b (r,).
        network: f_θ of (z, p).
    """

    matrix: Float[Array, "r r"]
    constant: Float[Array, " r"]
    network: eqx.nn.MLP

    @classmethod
    def begun(cls, matrix: Any, constant: Any, parameters: int, width: int, depth: int, seed: int) -> Dynamics:
        """From linear dynamics, with a network of so many parameters beside the coefficients."""
        r = len(constant)
        network = eqx.nn.MLP(r + parameters, r, width, depth, jnp.tanh, key=jax.random.key(seed))
        last = network.layers[-1]
        zeros = jnp.zeros((last.out_features, last.in_features)), jnp.zeros(r)
        network = eqx.tree_at(lambda n: (n.layers[-1].weight, n.layers[-1].bias), network, zeros)
        return cls(jnp.asarray(matrix, float), jnp.asarray(constant, float), network)

    def __call__(self, z: Float[Array, " r"], p: Float[Array, " parameter"]) -> Float[Array, " r"]:
        return self.constant + self.matrix @ z + self.network(jnp.concatenate([z, p]))


def curve(
    dynamics: Dynamics, z: Float[Array, " r"], p: Float[Array, " parameter"], times: Float[Array, " time"],
    tolerance: float,
) -> Float[Array, "time r"]:  # fmt: skip
    """z at increasing times from z at 0 on, by an embedded pair of order five and four whose steps keep to a tolerance,
    relative and absolute. Not finite from where `MOST` steps do not suffice.

    Source: C. Tsitouras, Comput. Math. Appl. 62, 770 (2011), for the pair.
    """
    solution = diffrax.diffeqsolve(
        _term(dynamics), diffrax.Tsit5(), 0.0, jnp.maximum(times[-1], 1e-9), None, z, p, throw=False, max_steps=MOST,
        saveat=diffrax.SaveAt(ts=times), stepsize_controller=diffrax.PIDController(rtol=tolerance, atol=tolerance),
    )  # fmt: skip
    assert solution.ys is not None
    return solution.ys


def piece(
    dynamics: Dynamics, z: Float[Array, " r"], p: Float[Array, " parameter"], times: Float[Array, " time"], steps: int
) -> Float[Array, "time r"]:
    """The same by so many equal steps from each time to the next, which compiles quickly where gradients go through."""
    term, pair = _term(dynamics), diffrax.Tsit5()
    ends = jnp.concatenate([jnp.zeros(1, times.dtype), times])
    rows = ends[:-1, None] + jnp.diff(ends)[:, None] * jnp.arange(steps + 1) / steps

    def step(carry: Any, span: Any) -> Any:
        y, state = carry
        y, _, _, state, _ = pair.step(term, span[0], span[1], y, p, state, made_jump=False)
        return (y, state), y

    spans = jnp.stack([rows[:, :-1].ravel(), rows[:, 1:].ravel()], axis=1)
    begun = pair.init(term, spans[0, 0], spans[0, 1], z, p)
    _, found = jax.lax.scan(step, (z, begun), spans)
    return found[steps - 1 :: steps]


def _term(dynamics: Dynamics) -> diffrax.ODETerm:
    return diffrax.ODETerm(lambda t, z, p: dynamics(z, p))


def linear_guess(courses: Sequence[np.ndarray], times: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """A and b by least squares from the slopes of cubic splines through courses (frame, r) at times (frame,)."""
    values = np.concatenate([c for c in courses if len(c) > 1])
    slopes = np.concatenate([slopes_of(c, t) for c, t in zip(courses, times, strict=True) if len(c) > 1])
    design = np.concatenate([values, np.ones((len(values), 1))], axis=1)
    gram = design.T @ design / len(design)
    both = np.linalg.solve(gram + RIDGE * np.eye(len(gram)), design.T @ slopes / len(design)).T
    return both[:, :-1], both[:, -1]


def slopes_of(course: Float[np.ndarray, "frame r"], times: Float[np.ndarray, " frame"]) -> np.ndarray:
    """(frame, r)"""
    if len(course) == 2:
        return np.repeat(np.diff(course, axis=0) / np.diff(times)[:, None], 2, axis=0)
    return CubicSpline(times, course)(times, 1)
