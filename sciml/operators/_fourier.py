"""The parts of a Fourier neural operator, as plain torch operations."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sciml.operators._fused import Plan
from sciml.operators._fused_layers import FoldFunction, LayerOperands, PerceptronOperands
from sciml.operators._grid import Modulation
from sciml.operators._spectral import SpectralConv, crop_modes


def pointwise(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x (batch, point, channel in) times weight (channel in, channel out), as one product over all points.

    Weight and bias may also be given a sample each, (batch, channel in, channel out) and (batch, channel out).
    """
    batch, points, channels = x.shape
    if weight.ndim == 2 and (bias is None or bias.ndim == 1):
        flat = x.reshape(batch * points, channels)
        y = flat @ weight if bias is None else torch.addmm(bias, flat, weight)
        return y.reshape(batch, points, -1)
    weight = weight.expand(batch, *weight.shape[-2:])
    if bias is None:
        return torch.bmm(x, weight)
    return torch.baddbmm(bias.expand(batch, bias.shape[-1])[:, None, :], x, weight)


class Pointwise(nn.Module):
    """The same affine map at every point; weight stored (channel in, channel out)."""

    def __init__(self, channels_in: int, channels_out: int, bias: bool = True):
        super().__init__()
        bound = 1 / math.sqrt(channels_in)
        self.weight = nn.Parameter(torch.empty(channels_in, channels_out).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(channels_out).uniform_(-bound, bound)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        return pointwise(x, self.weight, self.bias)


class Perceptron(nn.Module):
    """Pointwise affine map, GELU, pointwise affine map."""

    def __init__(self, channels_in: int, hidden: int, channels_out: int):
        super().__init__()
        self.first = Pointwise(channels_in, hidden)
        self.second = Pointwise(hidden, channels_out)

    def operands(self, shift: Tensor | None) -> PerceptronOperands:
        """Weights and biases; the first bias a sample each where there is a shift."""
        b1, b2 = self.first.bias, self.second.bias
        assert b1 is not None and b2 is not None
        return PerceptronOperands(self.first.weight, b1 if shift is None else b1 + shift, self.second.weight, b2)

    def forward(self, x: Tensor, shift: Tensor | None = None) -> Tensor:
        w1, b1, w2, b2 = self.operands(shift)
        return pointwise(F.gelu(pointwise(x, w1, b1)), w2, b2)


class FourierLayer(nn.Module):
    """v = σ(K x + W x + b),  y = σ(MLP(v) + g ⊙ x); without the channel MLP y = v.

    K is the spectral convolution, W a pointwise map without bias, g a gain for each channel; σ = GELU, left out twice
    in the last layer. With an embedding, K x + W x is modulated: (1 + γ)(K x + W x) + b + β; both γ and β enter the
    weights, so that conditioning costs no pass over the field.
    """

    def __init__(self, width: int, spectral: SpectralConv, *, mlp: float, norm: str, embedding: int, last: bool):
        super().__init__()
        self.width, self.last, self.norm_kind = width, last, norm
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

    def normalise(self, x: Tensor, which: int) -> Tensor:
        assert self.norms is not None
        return self.norms[which](x.movedim(-1, 1)).movedim(1, -1)

    def operands(self, embedding: Tensor | None, plan: Plan) -> LayerOperands:
        """What the hand-written layer takes: weights with modulation and cropping to the grid's modes done.

        In the last layer no activation stands between K x + W x + b and the first layer of the channel MLP, so their
        product is formed here, on the weights: the transform back and the skip then have the MLP's few channels.
        """
        weight = crop_modes(self.spectral.weight, self.spectral.modes, plan.modes)
        weight = weight.reshape(-1, self.width, 2 * self.width)
        skip, bias, gain = self.skip.weight, self.bias, None
        if self.modulation is not None and embedding is not None:
            gain, shift = self.modulation(embedding)
            skip, bias = skip * gain[:, None, :], bias + shift
        if self.mlp is None or self.gate is None:
            return LayerOperands(weight, skip, bias, gain, None, None, None, None, None)
        w1, b1, w2, b2 = self.mlp.operands(None)
        if self.last and gain is None and w1.shape[1] < self.width:
            weight, skip, bias = FoldFunction.apply(weight, skip, bias, w1)
            return LayerOperands(weight, skip, bias + b1, None, None, None, w2, b2, self.gate)
        return LayerOperands(weight, skip, bias, gain, w1, b1, w2, b2, self.gate)

    def forward(self, x: Tensor, embedding: Tensor | None) -> Tensor:
        """x and the result are (batch, *space, width)."""
        batch, space, width = x.shape[0], x.shape[1:-1], self.width
        flat = x.reshape(batch, -1, width)
        weight, gain, shift = self.skip.weight, None, None
        if self.modulation is not None and embedding is not None:
            gain, shift = self.modulation(embedding)
            weight = weight * gain[:, None, :]
        if self.norms is None:
            skip = pointwise(flat, weight, self.bias if shift is None else self.bias + shift)
            v = self.spectral(x, add_to=skip.reshape(x.shape), gain=gain)
        else:
            # b belongs to K and is normalised with it; the modulation comes after, or the norm would undo it
            k = self.normalise(self.spectral(x) + self.bias, 0)
            if gain is not None:
                k = k * gain.reshape(batch, *[1] * len(space), width)
            v = k + pointwise(flat, weight, shift).reshape(x.shape)
        if not self.last:
            v = F.gelu(v)
        if self.mlp is None:
            return v
        assert self.gate is not None
        y = torch.addcmul(self.mlp(v.reshape(batch, -1, width)), flat, self.gate).reshape(x.shape)
        if self.norms is not None:
            y = self.normalise(y, 1)
        return y if self.last else F.gelu(y)
