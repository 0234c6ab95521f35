"""The parts of a Fourier neural operator, as plain torch operations."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from sciml.operators._grid import Modulation
from sciml.operators._spectral import SpectralConv


def pointwise(
    x: Float[Tensor, "batch *space channel_in"],
    weight: Float[Tensor, "batch channel_in channel_out"] | Float[Tensor, "channel_in channel_out"],
    bias: Float[Tensor, "batch channel_out"] | Float[Tensor, " channel_out"] | None = None,
) -> Float[Tensor, "batch *space channel_out"]:
    """x (batch, *space, channel in) times weight (channel in, channel out), plus bias (channel out).

    Weight and bias may also be given a sample each, (batch, channel in, channel out) and (batch, channel out). There is
    a product for each sample rather than one for all points: the gradient of the weight, a sum over points, is then
    taken by as many threads as there are samples, where one product with so small a result is left to a single thread.
    With one channel out, which is a product with a vector, it is the other way round.
    """
    if weight.ndim == 2 and weight.shape[1] == 1 and bias is not None:
        return F.linear(x, weight.T, bias)
    flat = x.reshape(x.shape[0], -1, x.shape[-1])
    weight = weight.expand(x.shape[0], *weight.shape[-2:])
    if bias is None:
        y = torch.bmm(flat, weight)
    else:
        y = torch.baddbmm(bias.expand(x.shape[0], bias.shape[-1])[:, None, :], flat, weight)
    return y.reshape(*x.shape[:-1], -1)


class Pointwise(nn.Module):
    """The same affine map at every point; weight stored (channel in, channel out)."""

    def __init__(self, channels_in: int, channels_out: int, bias: bool = True):
        super().__init__()
        bound = 1 / math.sqrt(channels_in)
        self.weight = nn.Parameter(torch.empty(channels_in, channels_out).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(channels_out).uniform_(-bound, bound)) if bias else None

    def forward(self, x: Float[Tensor, "batch *space channel_in"]) -> Float[Tensor, "batch *space channel_out"]:
        return pointwise(x, self.weight, self.bias)


class Perceptron(nn.Module):
    """Pointwise affine map, GELU, pointwise affine map."""

    def __init__(self, channels_in: int, hidden: int, channels_out: int):
        super().__init__()
        self.first = Pointwise(channels_in, hidden)
        self.second = Pointwise(hidden, channels_out)

    def forward(
        self, x: Float[Tensor, "batch *space channel_in"], shift: Float[Tensor, "batch hidden"] | None = None
    ) -> Float[Tensor, "batch *space channel_out"]:
        """x and the result are (batch, *space, channel); shift (batch, hidden) is added to the first bias."""
        bias = self.first.bias
        if shift is not None and bias is not None:
            bias = bias + shift
        return self.second(F.gelu(pointwise(x, self.first.weight, bias)))


class FourierLayer(nn.Module):
    """v = σ(K x + W x + b),  y = σ(MLP(v) + g ⊙ x); without the channel MLP y = v.

    K is the spectral convolution, W a pointwise map without bias, g a gain for each channel; σ = GELU, left out twice
    in the last layer. With an embedding, K x + W x is modulated: (1 + γ)(K x + W x) + b + β; γ enters the coefficients
    and W, so that conditioning costs no pass over the field. With a norm y = σ(N₂(MLP(v) + g ⊙ x)) and
    v = σ((1 + γ)(N₁(K x + b) + W x) + β).
    """

    def __init__(self, width: int, spectral: SpectralConv, *, mlp: float, norm: str, embedding: int, last: bool):
        super().__init__()
        self.width, self.last = width, last
        self.spectral = spectral
        self.skip = Pointwise(width, width, bias=False)
        self.bias = nn.Parameter(torch.zeros(width))
        hidden = round(width * mlp)
        self.mlp = Perceptron(width, hidden, width) if hidden else None
        self.gate = nn.Parameter(torch.ones(width)) if hidden else None
        self.norms = None
        if norm != "none":
            groups = 1 if norm == "group" else width
            affine = norm == "group"
            self.norms = nn.ModuleList(
                nn.GroupNorm(groups, width, affine=affine) for _ in range(2 if self.mlp is not None else 1)
            )
        self.modulation = Modulation(embedding, width) if embedding else None
        # no activation stands between K x + W x + b and the MLP's first map: that map is applied to coefficients and
        # weights, which are fewer than points, where it does not make channels more
        self.folds = last and norm == "none" and 0 < hidden <= width

    def normalise(self, x: Tensor, which: int) -> Tensor:
        return x if self.norms is None else self.norms[which](x.movedim(-1, 1)).movedim(1, -1)

    def forward(
        self, x: Float[Tensor, "batch *space {self.width}"], embedding: Float[Tensor, "batch embedding"] | None
    ) -> Float[Tensor, "batch *space {self.width}"]:
        """x and the result are (batch, *space, width)."""
        gain, shift = (None, None) if self.modulation is None else self.modulation(embedding)
        weight = self.skip.weight if gain is None else self.skip.weight * gain[:, None, :]
        if self.norms is not None:
            # b belongs to K and is normalised with it; the modulation comes after, or the norm would undo it
            k = self.normalise(self.spectral(x) + self.bias, 0)
            k = k if gain is None else k * gain.reshape(-1, *[1] * (x.ndim - 2), self.width)
            v = k + pointwise(x, weight, shift)
        else:
            bias = self.bias if shift is None else self.bias + shift
            first = self.mlp.first if self.folds and self.mlp is not None else None
            if first is not None:
                weight, bias = weight @ first.weight, F.linear(bias, first.weight.T, first.bias)
            skip = pointwise(x, weight, bias)
            v = self.spectral(x, add_to=skip, gain=gain, then=None if first is None else first.weight)
        v = v if self.last else F.gelu(v)
        if self.mlp is None or self.gate is None:
            return v
        hidden = v if self.folds else self.mlp.first(v)
        y = self.normalise(torch.addcmul(self.mlp.second(F.gelu(hidden)), x, self.gate), 1)
        return y if self.last else F.gelu(y)
