"""Networks of coordinates: fully connected, with gates, Fourier features and factorised weights as options.

A `Network` maps one point z of [-1, 1]ⁿ to values of order one. What an `Architecture` describes is built by
`Architecture.build`, in the type that JAX is set to: call it within `jax.enable_x64(True)` for float64.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Self

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from sciml.errors import InputError, positive
from sciml.solvers import _kept  # noqa: F401
from sciml.training.parts import Part, Settings

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "tanh": jnp.tanh,
    "sin": jnp.sin,
    "silu": jax.nn.silu,
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
}


class Layer(eqx.Module):
    """x ↦ W x + b."""

    bias: eqx.AbstractVar[Float[Array, " out"]]

    @abstractmethod
    def matrix(self) -> Float[Array, "out in"]:
        """W."""

    def __call__(self, x: Float[Array, " in"]) -> Float[Array, " out"]:
        return self.matrix() @ x + self.bias


class Dense(Layer):
    """W is what is trained."""

    weight: Float[Array, "out in"]
    bias: Float[Array, " out"]

    def matrix(self) -> Float[Array, "out in"]:
        return self.weight


class FactorisedDense(Layer):
    """W = diag(eˢ) V, where s and V are trained: every neuron has a scale, and a learning rate, of its own."""

    log_scale: Float[Array, " out"]
    direction: Float[Array, "out in"]
    bias: Float[Array, " out"]

    def matrix(self) -> Float[Array, "out in"]:
        return jnp.exp(self.log_scale)[:, None] * self.direction


class Weights(Part, family="weights"):
    """How the matrix of a layer is written, and drawn at first."""

    @abstractmethod
    def layer(self, n_in: int, n_out: int, key: Key[Array, ""]) -> Layer:
        """A layer of this kind; its matrix is a Glorot draw, its bias zero."""


def glorot(n_in: int, n_out: int, key: Key[Array, ""]) -> Float[Array, "{n_out} {n_in}"]:
    """Normal with variance 2/(n_in + n_out) (Glorot and Bengio, AISTATS 2010)."""
    return math.sqrt(2 / (n_in + n_out)) * jax.random.normal(key, (n_out, n_in), jnp.result_type(float))


@dataclass(frozen=True)
class Glorot(Weights):
    """The plain matrix."""

    def layer(self, n_in: int, n_out: int, key: Key[Array, ""]) -> Layer:
        weight = glorot(n_in, n_out, key)
        return Dense(weight=weight, bias=jnp.zeros(n_out, weight.dtype))


@dataclass(frozen=True)
class Factorised(Weights):
    """Random weight factorisation: W = diag(eˢ) V with s ~ N(mean, std²), and V such that W is the Glorot draw.

    Source: S. Wang, H. Wang, J. H. Seidman, P. Perdikaris, arXiv 2210.01274 (2022).
    """

    mean: float = 0.5
    std: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        self._range("std", 0)

    def layer(self, n_in: int, n_out: int, key: Key[Array, ""]) -> Layer:
        # the matrix is drawn with the layer's own key, so that it is that of the plain layer
        weight = glorot(n_in, n_out, key)
        s = self.mean + self.std * jax.random.normal(jax.random.fold_in(key, 1), (n_out,), weight.dtype)
        bias = jnp.zeros(n_out, weight.dtype)
        return FactorisedDense(log_scale=s, direction=weight / jnp.exp(s)[:, None], bias=bias)


class Features(Part, family="features"):
    """What the first layer sees in place of the coordinates."""

    @abstractmethod
    def build(self, n_in: int, key: Key[Array, ""]) -> FeatureMap:
        """The map, drawn for `n_in` coordinates."""


class FeatureMap(eqx.Module):
    """A map of one point to features."""

    @abstractmethod
    def __call__(self, x: Float[Array, " in"]) -> Float[Array, " out"]:
        """The features of a point."""

    @abstractmethod
    def width(self) -> int:
        """How many there are."""

    @abstractmethod
    def trainable(self) -> Self:
        """The same tree with True where a leaf is trained."""


class FourierMap(FeatureMap):
    """x ↦ (cos Bx, sin Bx)."""

    frequencies: Float[Array, "half in"]
    trained: bool = eqx.field(static=True)

    def __call__(self, x: Float[Array, " in"]) -> Float[Array, " out"]:
        phase = self.frequencies @ x
        return jnp.concatenate([jnp.cos(phase), jnp.sin(phase)])

    def width(self) -> int:
        return 2 * self.frequencies.shape[0]

    def trainable(self) -> Self:
        return eqx.tree_at(lambda m: m.frequencies, self, self.trained)


@dataclass(frozen=True)
class Fourier(Features):
    """Random Fourier features (cos Bx, sin Bx) with B ~ N(0, scale²), after the embedding of periodic coordinates.

    Args:
        features: how many, cosines and sines together; even.
        scale: standard deviation of the frequencies, for coordinates in [-1, 1].
        trained: whether B is trained with the rest.

    Source: M. Tancik et al., NeurIPS 2020; in PINNs S. Wang, H. Wang, P. Perdikaris, CMAME 384, 113938 (2021).
    """

    features: int = 64
    scale: float = 1.0
    trained: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self._range("features", 2)
        self._range("scale", above=0)
        if self.features % 2:
            raise InputError(f"features: expected an even number, cosines and sines together, got {self.features}")

    def build(self, n_in: int, key: Key[Array, ""]) -> FeatureMap:
        shape = (self.features // 2, n_in)
        return FourierMap(self.scale * jax.random.normal(key, shape, jnp.result_type(float)), self.trained)


class Gates(eqx.Module):
    """Two layers u, v that every hidden layer mixes: h ↦ h ⊙ u + (1 − h) ⊙ v.

    With u = 1 and v = 0 nothing is mixed; with u = v the hidden layers are forgotten.
    """

    u: Layer
    v: Layer


class Network(eqx.Module):
    """z ↦ W_out h_depth + b_out with h_k = σ(W_k h_{k−1} + b_k), and h_k ← h_k ⊙ U + (1 − h_k) ⊙ V if there are gates,
    U = σ(W_U h₀ + b_U), V = σ(W_V h₀ + b_V); h₀ are the features of z, where periodic coordinates stand as
    (cos πz, sin πz).

    `network(z)` is for one point; `jax.vmap(network)` for many. The type is that of the weights.

    Source: S. Wang, Y. Teng, P. Perdikaris, SIAM J. Sci. Comput. 43, A3055 (2021) for the gates.
    """

    layers: tuple[Layer, ...]
    out: Layer
    gates: Gates | None
    features: FeatureMap | None
    periodic: tuple[bool, ...] = eqx.field(static=True)
    activation: str = eqx.field(static=True)

    def embed(self, z: Float[Array, " n_in"]) -> Float[Array, " embedded"]:
        """The coordinates with (cos πz, sin πz) in place of each periodic one."""
        parts: list[Array] = []
        for i, periodic in enumerate(self.periodic):
            parts += [jnp.cos(math.pi * z[i]), jnp.sin(math.pi * z[i])] if periodic else [z[i]]
        return jnp.stack(parts)

    def __call__(self, z: Float[Array, " n_in"]) -> Float[Array, " n_out"]:
        """The values at a point of [-1, 1]ⁿ."""
        σ = ACTIVATIONS[self.activation]
        h = self.embed(z)
        if self.features is not None:
            h = self.features(h)
        if self.gates is None:
            for layer in self.layers:
                h = σ(layer(h))
        else:
            u, v = σ(self.gates.u(h)), σ(self.gates.v(h))
            for layer in self.layers:
                h = σ(layer(h))
                h = h * u + (1 - h) * v
        return self.out(h)

    def partition(self) -> tuple[Self, Self]:
        """What is trained and what is not, as two trees; `equinox.combine` joins them."""
        mask = jax.tree.map(eqx.is_inexact_array, self)
        if self.features is not None:
            mask = eqx.tree_at(lambda m: m.features, mask, self.features.trainable())
        return eqx.partition(self, mask)


@dataclass(frozen=True)
class Architecture(Settings):
    """What a network is made of.

    Args:
        width: neurons of a hidden layer.
        depth: number of hidden layers.
        activation: σ, smooth, since equations differentiate it.
        gates: mix every hidden layer with two gates (the "modified" network).
        features: random Fourier features in front, or None.
        weights: how matrices are written, `Glorot()` or `Factorised()`.
    """

    width: int = 30
    depth: int = 3
    activation: Literal["tanh", "sin", "silu", "gelu"] = "tanh"
    gates: bool = False
    features: Features | None = None
    weights: Weights = Glorot()

    def __post_init__(self) -> None:
        super().__post_init__()
        self._range("width", 1)
        self._range("depth", 1)

    def build(self, n_in: int, n_out: int, key: Key[Array, ""], periodic: tuple[bool, ...] | None = None) -> Network:
        """A network with fresh weights, in JAX's default type.

        Args:
            n_in: number of coordinates.
            n_out: number of values.
            key: of the random numbers.
            periodic: which coordinates are periodic, with period 2; none by default.

        Raises:
            InputError: a number below one, or `periodic` of another length than `n_in`.
        """
        n_in, n_out = positive("n_in", n_in), positive("n_out", n_out)
        periodic = (False,) * n_in if periodic is None else tuple(bool(p) for p in periodic)
        if len(periodic) != n_in:
            raise InputError(f"periodic: expected {n_in} values, one a coordinate, got {len(periodic)}")
        # one key a layer by its place, so that options leave each other's draws alone
        hidden, ends = jax.random.split(jax.random.fold_in(key, 0), self.depth), jax.random.split(key, 4)
        size = n_in + sum(periodic)
        features = None
        if self.features is not None:
            features = self.features.build(size, ends[0])
            size = features.width()
        sizes = [size] + [self.width] * self.depth
        layers = tuple(self.weights.layer(sizes[i], sizes[i + 1], hidden[i]) for i in range(self.depth))
        gates = None
        if self.gates:
            gates = Gates(*(self.weights.layer(size, self.width, k) for k in ends[1:3]))
        out = self.weights.layer(self.width, n_out, ends[3])
        return Network(layers, out, gates, features, periodic, self.activation)
