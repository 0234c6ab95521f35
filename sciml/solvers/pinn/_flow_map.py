"""Invertible maps of space that change in time, with exact determinants.

    z = Φ(x; t) = φ_n ∘ … ∘ φ_1 (x; t),    log |det ∂z/∂x| = Σ log |det ∂φ_k|

A layer `Turned` turns and stretches, a layer `Bent` bends one coordinate by what the others and the time say. All of
them are smooth, and each is invertible for whatever weights.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from sciml.solvers.pinn.networks import Architecture, Network

#: halvings of the interval in which a coordinate is looked for, and Newton steps from there on
HALVINGS, POLISHED = 30, 4
SOFT = 4.0  # largest |log| by which a layer stretches an axis
QUIET = 0.1  # of the values of a fresh network: a fresh map is nearly the identity


class Layer(eqx.Module):
    """One invertible map of a point at a time."""

    @abstractmethod
    def forward(self, x: Float[Array, " d"], t: Float[Array, ""]) -> tuple[Float[Array, " d"], Float[Array, ""]]:
        """(φ(x; t), log |det ∂φ/∂x|)."""

    @abstractmethod
    def backward(self, z: Float[Array, " d"], t: Float[Array, ""]) -> Float[Array, " d"]:
        """The x with φ(x; t) = z."""


class Turned(Layer):
    """z = R(β(t)) diag(e^s(t)) R(α(t)) x + b(t), R a product of turns in all planes of axes: any linear map that
    keeps the orientation."""

    network: Network

    def _parts(self, t: Any, d: int) -> tuple[Any, Any, Any, Any]:
        out = QUIET * self.network(t[None])
        planes = d * (d - 1) // 2
        return out[:planes], out[planes : 2 * planes], soft(out[2 * planes : 2 * planes + d]), out[2 * planes + d :]

    def forward(self, x: Any, t: Any) -> Any:
        first, last, stretch, shift = self._parts(t, len(x))
        return turned(jnp.exp(stretch) * turned(x, first), last) + shift, stretch.sum()

    def backward(self, z: Any, t: Any) -> Any:
        first, last, stretch, shift = self._parts(t, len(z))
        return turned(jnp.exp(-stretch) * turned(z - shift, last, back=True), first, back=True)


class Bent(Layer):
    """z_k = e^g (x_k + Σ_j a_j s(w_j (x_k − m_j))) + b with a_j, w_j > 0, s the logistic function, and all of them by a
    network of the other coordinates and the time; these stay as they are.

    Source: C.-W. Huang et al., Neural autoregressive flows, ICML (2018), for sums of logistic functions.
    """

    network: Network
    axis: int = eqx.field(static=True)
    bends: int = eqx.field(static=True)

    def _parts(self, x: Any, t: Any) -> tuple[Any, ...]:
        out = QUIET * self.network(jnp.stack([*(x[i] for i in range(len(x)) if i != self.axis), t]))
        height, slope, middle = out[2:].reshape(3, self.bends)
        spread = jnp.linspace(-2.0, 2.0, self.bends, dtype=x.dtype)
        return (
            soft(out[0]),
            out[1],
            jax.nn.softplus(height / QUIET - 2.0),
            jax.nn.softplus(slope + 1.0),
            middle + spread,
        )

    def forward(self, x: Any, t: Any) -> Any:
        grow, shift, height, slope, middle = self._parts(x, t)
        s = jax.nn.sigmoid(slope * (x[self.axis] - middle))
        steep = 1.0 + (height * slope * s * (1.0 - s)).sum()
        z = jnp.exp(grow) * (x[self.axis] + (height * s).sum()) + shift
        return _with(x, self.axis, z), grow + jnp.log(steep)

    def backward(self, z: Any, t: Any) -> Any:
        grow, shift, height, slope, middle = self._parts(z, t)
        wanted = jnp.exp(-grow) * (z[self.axis] - shift)

        def miss(x: Any) -> Any:
            return x + (height * jax.nn.sigmoid(slope * (x - middle))).sum() - wanted

        def halved(_: Any, ends: Any) -> Any:
            low, high = ends
            half = (low + high) / 2
            below = miss(half) < 0
            return jnp.where(below, half, low), jnp.where(below, high, half)

        # each logistic function lies between 0 and 1
        low, high = jax.lax.fori_loop(0, HALVINGS, halved, (wanted - height.sum(), wanted))
        x = (low + high) / 2
        for _ in range(POLISHED):
            s = jax.nn.sigmoid(slope * (x - middle))
            x = x - miss(x) / (1.0 + (height * slope * s * (1.0 - s)).sum())
        return _with(z, self.axis, x)


class FlowMap(eqx.Module):
    """Φ(x; t): several rounds of the same kinds of layers, and a last one.

    Args:
        rounds: the layers of a round, with a leading axis of rounds in all their weights: a program is compiled for one
            round, whatever their number.
    """

    rounds: tuple[Layer, ...]
    last: Layer

    def forward(self, x: Float[Array, " d"], t: Float[Array, ""]) -> tuple[Float[Array, " d"], Float[Array, ""]]:
        """(z, log |det ∂z/∂x|)."""
        arrays, rest = eqx.partition(self.rounds, eqx.is_array)

        def one(state: Any, weights: Any) -> Any:
            x, total = state
            for layer in eqx.combine(weights, rest):
                x, part = layer.forward(x, t)
                total = total + part
            return (x, total), None

        state = (x, jnp.zeros_like(t))
        if self.rounds:
            state, _ = jax.lax.scan(one, state, arrays)
        z, part = self.last.forward(state[0], t)
        return z, state[1] + part

    def backward(self, z: Float[Array, " d"], t: Float[Array, ""]) -> Float[Array, " d"]:
        """x."""
        arrays, rest = eqx.partition(self.rounds, eqx.is_array)

        def one(z: Any, weights: Any) -> Any:
            for layer in reversed(eqx.combine(weights, rest)):
                z = layer.backward(z, t)
            return z, None

        z = self.last.backward(z, t)
        return jax.lax.scan(one, z, arrays, reverse=True)[0] if self.rounds else z


def flow_map(dimensions: int, rounds: int, bends: int, architecture: Architecture, key: Key[Array, ""]) -> FlowMap:
    """A fresh map: in each round a turn, and after it all coordinates are bent, one after the other; at last a turn."""
    d = dimensions
    first, last = jax.random.split(key)

    def turn(key: Any) -> Turned:
        return Turned(architecture.build(1, d * (d - 1) + 2 * d, key))

    @eqx.filter_vmap
    def one(key: Any) -> tuple[Layer, ...]:
        keys = jax.random.split(key, d + 1)
        return turn(keys[0]), *(Bent(architecture.build(d, 2 + 3 * bends, keys[k + 1]), k, bends) for k in range(d))

    return FlowMap(one(jax.random.split(first, rounds)), turn(last))


def soft(x: Any) -> Any:
    """x, bounded by ± `SOFT`."""
    return SOFT * jnp.tanh(x / SOFT)


def turned(x: Float[Array, " d"], angles: Float[Array, " plane"], back: bool = False) -> Float[Array, " d"]:
    """x turned in all planes of two axes, one after the other."""
    parts = [x[k] for k in range(len(x))]
    planes: Sequence[tuple[int, tuple[int, int]]] = list(enumerate(combinations(range(len(x)), 2)))
    for k, (i, j) in reversed(planes) if back else planes:
        angle = -angles[k] if back else angles[k]
        c, s = jnp.cos(angle), jnp.sin(angle)
        parts[i], parts[j] = c * parts[i] - s * parts[j], s * parts[i] + c * parts[j]
    return jnp.stack(parts)


def _with(x: Any, axis: int, value: Any) -> Any:
    """x with another coordinate; stacked, which is much quicker to compile and to run than to scatter."""
    return jnp.stack([value if k == axis else x[k] for k in range(len(x))])
