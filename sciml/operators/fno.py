"""Fourier neural operator on boxes in one, two and three dimensions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sciml import registry
from sciml.errors import InputError, suggest
from sciml.operators._grid import Embedding, GridOperator, Modulation, per_axis, positive
from sciml.operators._spectral import SpectralConv

NORMS = ("none", "group", "instance")
EXTENSIONS = ("window", "carry")


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

    def forward(self, x: Tensor, shift: Tensor | None = None) -> Tensor:
        bias = self.first.bias if shift is None else self.first.bias + shift
        return self.second(F.gelu(pointwise(x, self.first.weight, bias)))


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


@registry.operators.register("fno")
class FNO(GridOperator):
    """Fourier neural operator: pointwise lift, Fourier layers, pointwise projection.

        v₀ = P(x),   v_{l+1} = layer_l(v_l),   y = Q(v_L)

    with P and Q two-layer perceptrons and the layers of `FourierLayer`. Any grid size works with the same weights.

    Args:
        in_channels, out_channels: channels of input and output.
        width: channels between the layers.
        modes: highest wavenumber kept on each axis; its length is the number of axes (1 to 3). (12, 12) keeps
            |k| ≤ 12, which covers the "12 modes" of the original paper and n_modes = 24 of neuraloperator. On a grid
            with fewer than 2 m points an axis, the wavenumbers up to its Nyquist wavenumber act.
        layers: number of Fourier layers.
        n_params: scalar parameters a sample, (batch, n_params): they shift the lift and modulate every layer.
        padding: length added for non-periodic domains, as a fraction of the domain, a number or one for each axis.
        extension: what is in the added length. "window": zero, anew in every layer; costs nothing with matrix
            products. "carry": the features go on living there between lift and projection, as in neuraloperator.
        padding_sides: for "carry": "end" adds `padding` after the domain, "both" adds it before and after.
        lift, projection: hidden width of P and Q as a multiple of `width`.
        mlp: hidden width of the channel MLP as a multiple of `width`; 0 leaves it out.
        norm: "none", "group" (one group) or "instance", after K and after the channel MLP.
        coordinates, masked, sampling: see `GridOperator`.
        spectral: "auto", "matmul" or "fft": how the transforms are computed.

    Raises:
        InputError: an argument out of range, or tensors whose shapes do not fit.

    Source: Li, Kovachki, Azizzadenesheli, Liu, Bhattacharya, Stuart, Anandkumar, ICLR 2021; channel MLP and gate as in
    Kossaifi, Kovachki, Azizzadenesheli, Anandkumar, "Multi-grid tensorized Fourier neural operator", TMLR 2024.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        width: int = 32,
        modes: Sequence[int] = (12, 12),
        layers: int = 4,
        n_params: int = 0,
        padding: float | Sequence[float] = 0.0,
        *,
        extension: str = "window",
        padding_sides: str = "end",
        lift: float = 2.0,
        projection: float = 2.0,
        mlp: float = 0.5,
        norm: str = "none",
        coordinates: bool = True,
        masked: bool = False,
        sampling: str = "centre",
        spectral: str = "auto",
    ):
        modes = (modes,) if isinstance(modes, int) else tuple(modes)
        if not 1 <= len(modes) <= 3:
            raise InputError(f"modes: expected 1 to 3 numbers, one an axis, got {modes}")
        for m in modes:
            positive("modes", m)
        super().__init__(
            in_channels,
            out_channels,
            len(modes),
            n_params=n_params,
            coordinates=coordinates,
            masked=masked,
            sampling=sampling,
        )
        for name, value, options in (
            ("norm", norm, NORMS),
            ("extension", extension, EXTENSIONS),
            ("padding_sides", padding_sides, ("end", "both")),
        ):
            if value not in options:
                raise InputError(f"{name}: expected one of {options}, got {value!r}{suggest(str(value), options)}")
        for name, value, least in (("lift", lift, 0.0), ("projection", projection, 0.0), ("mlp", mlp, -1e-9)):
            if not isinstance(value, int | float) or not value > least:
                raise InputError(f"{name}: expected a number {'≥' if name == 'mlp' else '>'} 0, got {value!r}")
        self.width, self.modes, layers = positive("width", width), modes, positive("layers", layers)
        self.padding = per_axis("padding", padding, len(modes))
        if min(self.padding) < 0:
            raise InputError(f"padding: expected numbers ≥ 0, got {padding}")
        self.extension, self.padding_sides, self.norm = extension, padding_sides, norm
        self.lift_ratio, self.projection_ratio, self.mlp_ratio = float(lift), float(projection), float(mlp)
        self.spectral = spectral

        embedding = max(width, 32) if n_params else 0
        hidden = max(1, round(width * lift))
        self.lift = Perceptron(self.assembled_channels, hidden, width)
        self.embedding = Embedding(n_params, embedding) if n_params else None
        self.lift_shift = nn.Linear(embedding, hidden) if n_params else None
        period = tuple(1.0 + p for p in self.padding) if extension == "window" else 1.0
        self.layers = nn.ModuleList(
            FourierLayer(
                width,
                SpectralConv(width, width, modes, period=period, sampling=sampling, spectral=spectral),
                mlp=mlp,
                norm=norm,
                embedding=embedding,
                last=i == layers - 1,
            )
            for i in range(layers)
        )
        self.projection = Perceptron(width, max(1, round(width * projection)), out_channels)

    def config(self) -> dict[str, Any]:
        return {
            "in_channels": self.in_channels,
            "out_channels": self.out_channels,
            "width": self.width,
            "modes": list(self.modes),
            "layers": len(self.layers),
            "n_params": self.n_params,
            "padding": list(self.padding),
            "extension": self.extension,
            "padding_sides": self.padding_sides,
            "lift": self.lift_ratio,
            "projection": self.projection_ratio,
            "mlp": self.mlp_ratio,
            "norm": self.norm,
            "coordinates": self.coordinates,
            "masked": self.masked,
            "sampling": self.sampling,
            "spectral": self.spectral,
        }

    def forward(
        self, x: Tensor, params: Tensor | None = None, mask: Tensor | None = None, coords: Tensor | None = None
    ) -> Tensor:
        """Apply the operator.

        Args:
            x: (batch, in_channels, *space).
            params: (batch, n_params), or None where n_params = 0.
            mask: (batch or 1, 1, *space), 1 inside the domain. Values outside never matter, and the result is 0 there.
            coords: (batch or 1, d, *space) to take as coordinate channels.

        Returns:
            (batch, out_channels, *space).
        """
        self.check(x, params, mask, coords)
        return self._run(x, params, mask, coords)

    def _run(self, x: Tensor, params: Tensor | None, mask: Tensor | None, coords: Tensor | None) -> Tensor:
        batch, space = x.shape[0], tuple(x.shape[2:])
        h = self.assemble(x, mask, coords).movedim(1, -1).reshape(batch, -1, self.assembled_channels)
        embedding = shift = None
        if self.embedding is not None and self.lift_shift is not None and params is not None:
            embedding = self.embedding(params.to(h.dtype))
            shift = self.lift_shift(embedding)
        v = self.lift(h, shift).reshape(batch, *space, self.width)
        inside = None if mask is None else mask.to(x.dtype)
        if inside is not None:
            v = v * inside.movedim(1, -1)
        before, after = self.pads(space)
        if any(before) or any(after):
            widths = [0, 0]
            for p, q in zip(reversed(before), reversed(after), strict=True):
                widths += [p, q]
            v = F.pad(v, widths)
        for layer in self.layers:
            v = layer(v, embedding)
        if any(before) or any(after):
            v = v[(slice(None), *(slice(p, p + n) for p, n in zip(before, space, strict=True)))]
        y = self.projection(v.reshape(batch, -1, self.width))
        y = y.reshape(batch, *space, self.out_channels).movedim(-1, 1).contiguous()
        return y if inside is None else y * inside

    def pads(self, space: Sequence[int]) -> tuple[list[int], list[int]]:
        """Points added before and after each axis with extension="carry"."""
        if self.extension != "carry":
            return [0] * len(space), [0] * len(space)
        extra = [round(p * n) for p, n in zip(self.padding, space, strict=True)]
        return (extra if self.padding_sides == "both" else [0] * len(space)), extra

    def extra_repr(self) -> str:
        return f"{self.in_channels}, {self.out_channels}, width={self.width}, modes={self.modes}"
