"""Attentive neural process: a distribution of functions from some of their values."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from sciml.errors import InputError, is_number, positive


class Predicted(NamedTuple):
    """Independent normal distributions.

    Args:
        mean, deviation: (batch, point, channel).
    """

    mean: Float[Tensor, "batch point channel"]
    deviation: Float[Tensor, "batch point channel"]


class _Dropout(nn.Module):
    """Dropout that can be told to stay when a network is asked.

    Args:
        p: share of numbers that are dropped.
    """

    def __init__(self, p: float):
        super().__init__()
        self.p, self.always = p, False

    @property
    def active(self) -> bool:
        return self.p > 0 and (self.training or self.always)

    def forward(self, x: Tensor) -> Tensor:
        return functional.dropout(x, self.p, training=self.active)


class Attention(nn.Module):
    """y = LayerNorm(q + drop(W [q, Σ_j softmax_j(Q q · K k_j/√d) V v_j] + b)), heads side by side.

    Args:
        width: of queries, keys and values.
        heads: divisors of `width`.
        dropout: of the weights and of what is added.
    """

    def __init__(self, width: int, heads: int, dropout: float):
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.joined = nn.Linear(2 * width, width)
        self.norm = nn.LayerNorm(width)
        self.dropped = _Dropout(dropout)
        self.added = _Dropout(dropout)

    def forward(
        self,
        queries: Float[Tensor, "batch point width"],
        keys: Float[Tensor, "batch given width"],
        values: Float[Tensor, "batch given width"],
    ) -> Float[Tensor, "batch point width"]:
        q, k, v = (
            layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer, x in ((self.query, queries), (self.key, keys), (self.value, values))
        )
        weights = torch.softmax(q @ k.mT / math.sqrt(q.shape[-1]), dim=-1)
        found = (self.dropped(weights) @ v).transpose(1, 2).flatten(-2)
        return self.norm(queries + self.added(self.joined(torch.cat([queries, found], dim=-1))))


class AttentiveNeuralProcess(nn.Module):
    """u(s) ~ N(μ(s), σ(s)²) at any points s, from values at context points (sᵢ, uᵢ), and a latent variable z:

        z ~ N(m, diag e^λ), (m, λ) = perceptron(mean over i of selfattention(sᵢ, uᵢ))       what it is as a whole
        r(s) = crossattention(s; sᵢ, selfattention(sᵢ, uᵢ))                                 what is near
        (μ, τ) = perceptron(r(s), z, s),   σ = softplus τ + least                           the answer

    Contexts are a set: their order and number do not matter. Points are answered one by one.

    With the defaults it has 989,826 numbers in 66 tensors, as the network of ProbConserv has.

    Args:
        coordinates: of a point, for instance 2 for (t, x).
        channels: of a value.
        width: of the hidden layers and of the latent variable; the answer's are three times as wide.
        heads: of attention, divisors of `width`.
        self_attentions, cross_attentions: how many of each, one after another (self-attention: on both paths).
        depth: hidden layers of the answer.
        dropout: share of attention weights, and of what attention adds, that is dropped in training.
        dropout_at_evaluation: whether it is dropped when the network is asked, too. No, unless published figures are to
            be made again whose code never left training mode: answers then scatter from call to call, and are others.
        least: of the standard deviation, > 0.

    Raises:
        InputError: an argument out of range, or tensors whose shapes do not fit.

    Source: H. Kim, A. Mnih, J. Schwarz, M. Garnelo, A. Eslami, D. Rosenbaum, O. Vinyals, Y. W. Teh, "Attentive neural
    processes", ICLR (2019); sizes: D. Hansen et al., ICML (2023), appendix.
    """

    def __init__(
        self,
        coordinates: int = 2,
        channels: int = 1,
        *,
        width: int = 128,
        heads: int = 4,
        self_attentions: int = 2,
        cross_attentions: int = 2,
        depth: int = 3,
        dropout: float = 0.1,
        dropout_at_evaluation: bool = False,
        least: float = 1e-3,
    ):
        super().__init__()
        self.coordinates, self.channels = positive("coordinates", coordinates), positive("channels", channels)
        self.width, self.heads = positive("width", width), positive("heads", heads)
        if self.width % self.heads:
            raise InputError(f"heads: expected a divisor of width = {width}, got {heads}")
        selves, crosses = positive("self_attentions", self_attentions), positive("cross_attentions", cross_attentions)
        self.depth = positive("depth", depth)
        if not is_number(dropout) or not 0 <= dropout < 1:
            raise InputError(f"dropout: expected a number in [0, 1), got {dropout!r}")
        if not is_number(least) or least <= 0:
            raise InputError(f"least: expected a number > 0, got {least!r}")
        self.dropout, self.least = float(dropout), float(least)

        def attentions(count: int) -> nn.ModuleList:
            return nn.ModuleList(Attention(width, heads, self.dropout) for _ in range(count))

        pair = self.coordinates + self.channels
        self.latent_input, self.near_input = nn.Linear(pair, width), nn.Linear(pair, width)
        self.latent_attentions, self.near_attentions = attentions(selves), attentions(selves)
        self.cross_attentions = attentions(crosses)
        self.latent_hidden = nn.Linear(width, width)
        self.latent_mean, self.latent_log_variance = nn.Linear(width, width), nn.Linear(width, width)
        self.key_input, self.query_input = nn.Linear(self.coordinates, width), nn.Linear(self.coordinates, width)
        self.answer_input = nn.Linear(self.coordinates, width)
        self.answer_hidden = nn.ModuleList(nn.Linear(3 * width, 3 * width) for _ in range(self.depth))
        self.answer = nn.Linear(3 * width, 2 * self.channels)
        self.dropout_at_evaluation = dropout_at_evaluation

    @property
    def dropout_at_evaluation(self) -> bool:
        return self._always

    @dropout_at_evaluation.setter
    def dropout_at_evaluation(self, value: bool) -> None:
        self._always = bool(value)
        for module in self.modules():
            if isinstance(module, _Dropout):
                module.always = self._always

    def config(self) -> dict[str, Any]:
        """Arguments from which the constructor builds this module anew."""
        return {
            "coordinates": self.coordinates, "channels": self.channels, "width": self.width, "heads": self.heads,
            "self_attentions": len(self.near_attentions), "cross_attentions": len(self.cross_attentions),
            "depth": self.depth, "dropout": self.dropout, "dropout_at_evaluation": self.dropout_at_evaluation,
            "least": self.least,
        }  # fmt: skip

    def latent(
        self, points: Float[Tensor, "batch given coordinate"], values: Float[Tensor, "batch given channel"]
    ) -> tuple[Float[Tensor, "batch width"], Float[Tensor, "batch width"]]:
        """Mean and log variance of the latent variable, given these values."""
        h = self.latent_input(torch.cat([points, values], dim=-1))
        for attention in self.latent_attentions:
            h = attention(h, h, h)
        h = torch.relu(self.latent_hidden(h.mean(dim=1)))
        return self.latent_mean(h), self.latent_log_variance(h)

    def near(
        self,
        context_points: Float[Tensor, "batch given coordinate"],
        context_values: Float[Tensor, "batch given channel"],
        points: Float[Tensor, "batch point coordinate"],
    ) -> Float[Tensor, "batch point width"]:
        """What points see of the contexts."""
        h = self.near_input(torch.cat([context_points, context_values], dim=-1))
        for attention in self.near_attentions:
            h = attention(h, h, h)
        keys, found = self.key_input(context_points), self.query_input(points)
        for attention in self.cross_attentions:
            found = attention(found, keys, h)
        return found

    def answered(
        self,
        near: Float[Tensor, "batch point width"],
        latent: Float[Tensor, "batch width"],
        points: Float[Tensor, "batch point coordinate"],
    ) -> Predicted:
        """The distribution at points, from both paths."""
        every = latent[:, None].expand(-1, points.shape[1], -1)
        h = torch.cat([near, every, self.answer_input(points)], dim=-1)
        for layer in self.answer_hidden:
            h = torch.relu(layer(h))
        mean, raw = self.answer(h).chunk(2, dim=-1)
        return Predicted(mean, functional.softplus(raw) + self.least)

    def forward(
        self,
        context_points: Float[Tensor, "batch given coordinate"],
        context_values: Float[Tensor, "batch given channel"],
        points: Float[Tensor, "batch point coordinate"],
        noise: Float[Tensor, "batch width"] | None = None,
    ) -> Predicted:
        """The distribution for one draw of the latent variable.

        Args:
            context_points, context_values: what is known.
            points: where the answer is wanted.
            noise: standard normal numbers that make the draw, z = m + e^(λ/2) noise; None for the mean of z.
        """
        self.check(context_points, context_values, points)
        mean, log_variance = self.latent(context_points, context_values)
        z = mean if noise is None else mean + (log_variance / 2).exp() * noise
        return self.answered(self.near(context_points, context_values, points), z, points)

    @torch.no_grad()
    def predict(
        self,
        context_points: Float[Tensor, "batch given coordinate"],
        context_values: Float[Tensor, "batch given channel"],
        points: Float[Tensor, "batch point coordinate"],
        draws: int = 100,
        generator: torch.Generator | None = None,
    ) -> Predicted:
        """Mean and standard deviation over draws of the latent variable: the mean of means, and the mean of variances
        plus the variance of means.

        Args:
            generator: of the draws; with `dropout_at_evaluation` torch's own comes in as well.
        """
        self.check(context_points, context_values, points)
        draws = positive("draws", draws)
        again = any(module.active for module in self.modules() if isinstance(module, _Dropout))
        near = None if again else self.near(context_points, context_values, points)
        known = None if again else self.latent(context_points, context_values)
        first = second = spread = torch.zeros((), dtype=points.dtype, device=points.device)
        for k in range(draws):
            mean, log_variance = self.latent(context_points, context_values) if known is None else known
            noise = torch.randn(mean.shape, generator=generator, dtype=mean.dtype).to(mean.device)
            z = mean + (log_variance / 2).exp() * noise
            here = self.near(context_points, context_values, points) if near is None else near
            one = self.answered(here, z, points)
            step = one.mean - first
            first = first + step / (k + 1)
            second = second + step * (one.mean - first)  # sums of squares about the running mean
            spread = spread + one.deviation.square()
        return Predicted(first, ((spread + second) / draws).sqrt())

    def elbo(
        self,
        context_points: Float[Tensor, "batch given coordinate"],
        context_values: Float[Tensor, "batch given channel"],
        points: Float[Tensor, "batch point coordinate"],
        values: Float[Tensor, "batch point channel"],
        noise: Float[Tensor, "batch width"] | None = None,
    ) -> Float[Tensor, " batch"]:
        """The bound of the log-likelihood for each point, which training raises:
        E_q Σ log N(u; μ, σ²)/P − KL(q(z | targets) ‖ q(z | contexts))/P, P points, by one draw of q(z | targets).

        Args:
            points, values: the targets.
            noise: that makes the draw; None for one of torch's.
        """
        self.check(context_points, context_values, points)
        prior, posterior = self.latent(context_points, context_values), self.latent(points, values)
        noise = torch.randn_like(posterior[0]) if noise is None else noise
        z = posterior[0] + (posterior[1] / 2).exp() * noise
        found = self.answered(self.near(context_points, context_values, points), z, points)
        left = (values - found.mean) / found.deviation
        density = -0.5 * left.square() - found.deviation.log() - 0.5 * math.log(2 * math.pi)
        return density.sum((-2, -1)) / points.shape[1] - divergence(posterior, prior) / points.shape[1]

    def check(self, context_points: Tensor, context_values: Tensor, points: Tensor) -> None:
        """Refuse shapes that do not fit."""
        for name, given, last in (
            ("context_points", context_points, self.coordinates), ("context_values", context_values, self.channels),
            ("points", points, self.coordinates),
        ):  # fmt: skip
            if given.ndim != 3 or given.shape[-1] != last or given.shape[0] != context_points.shape[0]:
                raise InputError(f"{name}: has shape {tuple(given.shape)}, expected (batch, count, {last})")
        if context_values.shape[1] != context_points.shape[1] or not context_points.shape[1]:
            raise InputError(
                f"context_values: {context_values.shape[1]} for {context_points.shape[1]} context points, expected one "
                "for each of at least one"
            )


def divergence(
    q: tuple[Float[Tensor, "batch width"], Float[Tensor, "batch width"]],
    p: tuple[Float[Tensor, "batch width"], Float[Tensor, "batch width"]],
) -> Float[Tensor, " batch"]:
    """KL(q ‖ p) of normal distributions, each given by mean and log variance."""
    gap = (q[0] - p[0]).square() / p[1].exp()
    return 0.5 * ((q[1] - p[1]).exp() + gap - 1 + p[1] - q[1]).sum(-1)
