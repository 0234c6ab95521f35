"""Attention along the axes of a grid: one kernel an axis, no softmax, sums that are quadratures.

    κ_a(ξ, ξ') = (R(ξ) q(φ(ξ)))·(R(ξ') k(φ(ξ'))),   (K_a v)(..., ξ, ...) = ∫₀¹ κ_a(ξ, ξ') v(..., ξ', ...) dξ'

in every head; φ is a function along the axis, made of the mean of the field over all other axes, and R a rotary
embedding of the position.

Source: Li, Shu, Barati Farimani, "Scalable transformer for PDE surrogate modeling", NeurIPS 2023; rotary embedding: Su,
Lu, Pan, Murtadha, Wen, Liu, "RoFormer", Neurocomputing 568 (2024).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn import functional as F

from sciml.operators._grid import Modulation


class Lattice(NamedTuple):
    """What is known of a grid before any field on it.

    Args:
        widths: for each axis (batch or 1, point), the length that a point stands for, Σ = 1.
        turns: for each axis (batch or 1, 1, point, pair), cosines and sines of the rotary angles.
        root: (batch or 1, point), the root of the share that a cell has of the whole volume; 0 outside the domain.
        inside: (batch or 1, point), 1 inside the domain and 0 outside; None where every point is inside.
    """

    widths: tuple[Float[Tensor, "#batch _"], ...]
    turns: tuple[tuple[Tensor, Tensor], ...]
    root: Float[Tensor, "#batch points"]
    inside: Float[Tensor, "#batch points"] | None


def axis_lines(coords: Float[Tensor, "#batch dimension *space"]) -> list[Float[Tensor, "#batch _"]]:
    """The coordinates along each axis of a grid whose points are all pairs (triples) of them."""
    d = coords.shape[1]
    return [coords[(slice(None), a, *(slice(None) if a == b else 0 for b in range(d)))] for a in range(d)]


def cell_widths(x: Float[Tensor, "#batch point"], periodic: bool) -> Float[Tensor, "#batch point"]:
    """The part of [0, 1] that is nearest to each of the points: the weights of a trapezoid rule, Σ = 1.

    A periodic axis is a circle of length 1; on others the first and the last point reach to the ends, wherever in
    their cells they lie. Points may follow each other in either direction.
    """
    sign = torch.where(x[:, -1:] < x[:, :1], -1, 1).to(x)
    if periodic:
        after, before = torch.roll(x, -1, 1), torch.roll(x, 1, 1)
        seam = torch.arange(x.shape[1], device=x.device)
        width = (sign * (after - before) + (seam == x.shape[1] - 1).to(x) + (seam == 0).to(x)) / 2
    else:
        begin = (1 - sign) / 2
        width = sign * torch.diff(torch.cat([begin, (x[:, 1:] + x[:, :-1]) / 2, 1 - begin], dim=1), dim=1)
    return width.clamp_min(1e-12)  # points that coincide: their roots are divided by


def rotary_angles(
    x: Float[Tensor, "#batch point"], pairs: int, rotation: float, waves: int, periodic: bool
) -> Float[Tensor, "#batch point {pairs}"]:
    """By how much each pair of channels of q and k is turned at x.

    rotation · 10000^(-i/pairs) · x, as published; on a periodic axis 2π k x with all whole k from 0 to `waves` equally
    often, so that q·k depends on the distance around the circle alone.
    """
    i = torch.arange(pairs, device=x.device)
    if periodic:
        rate = 2 * math.pi * torch.div(i * (waves + 1), pairs, rounding_mode="floor").to(x)
    else:
        rate = rotation * torch.pow(torch.full((), 1e4, dtype=x.dtype, device=x.device), -i.to(x) / pairs)
    return x[..., None] * rate


def lattice(
    lines: Sequence[Float[Tensor, "#batch _"]],
    angles: Sequence[Float[Tensor, "#batch _ pair"]],
    periodic: Sequence[bool],
    mask: Shaped[Tensor, "#batch 1 *space"] | None,
) -> Lattice:
    """Of the coordinates along the axes, and the rotary angles there."""
    widths = tuple(cell_widths(x, p) for x, p in zip(lines, periodic, strict=True))
    volume = widths[0]
    for w in widths[1:]:
        volume = (volume[:, :, None] * w[:, None]).flatten(1)
    inside = None if mask is None else mask.flatten(1).to(volume)
    if inside is not None:
        volume = volume * inside
        volume = volume / volume.sum(1, keepdim=True).clamp_min(torch.finfo(volume.dtype).tiny)
    turns = tuple((torch.cos(a)[:, None], torch.sin(a)[:, None]) for a in angles)
    return Lattice(widths, turns, volume.sqrt(), inside)


def along(
    kernel: Float[Tensor, "batch head point point"], v: Float[Tensor, "batch head channel *space"], axis: int
) -> Float[Tensor, "batch head channel *space"]:
    """Σ_j kernel_ij v(..., j, ...) in every head, j numbering the points of a spatial axis."""
    if axis == v.ndim - 4:
        return (v.flatten(2, -2) @ kernel.transpose(-1, -2)).view_as(v)
    return (kernel[:, :, None] @ v.flatten(4 + axis).flatten(2, 2 + axis)).view_as(v)


class AxisKernel(nn.Module):
    """κ of one axis on its points, from the means of the field over the other axes.

    Args:
        width: channels of the field.
        heads: kernels.
        size: channels of q and k in a head; even.
        gain: of the initial weights of q and k, over Xavier's.
    """

    def __init__(self, width: int, heads: int, size: int, gain: float):
        super().__init__()
        self.heads = heads
        self.reduce, self.norm = nn.Linear(width, width, bias=False), nn.LayerNorm(width)
        self.gated, self.latent = nn.Linear(width, 2 * width), nn.Linear(width, width)
        self.pair = nn.Linear(width, 2 * heads * size, bias=False)
        for part in self.pair.weight.chunk(2):
            nn.init.xavier_uniform_(part, gain)

    def forward(
        self, mean: Float[Tensor, "batch point width"], turn: tuple[Tensor, Tensor]
    ) -> Float[Tensor, "batch head point point"]:
        value, gate = self.gated(self.norm(self.reduce(mean))).chunk(2, -1)
        latent = self.latent(value * F.gelu(gate))
        q, k = self.pair(latent).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return rotated(q, turn) @ rotated(k, turn).transpose(-1, -2)


def unit(kernel: Float[Tensor, "batch head point point"]) -> Tensor:
    """Divided by the root of its sum of squares."""
    size = torch.linalg.matrix_norm(kernel, keepdim=True)
    return kernel / size.clamp_min(torch.finfo(kernel.dtype).tiny)


def rotated(x: Float[Tensor, "batch head point channel"], turn: tuple[Tensor, Tensor]) -> Tensor:
    """Each channel of the first half and its fellow of the second half turned as a pair."""
    (cosine, sine), (a, b) = turn, x.chunk(2, -1)
    return torch.cat([a * cosine - b * sine, a * sine + b * cosine], -1)


class AxialAttention(nn.Module):
    """A(u) = W₂ σ(W₁ N(y)) with û = LN(u), v = W_v û, and

        y = K_z K_y K_x v,   or in parallel   y = (K_z v, K_y v, K_x v), concatenated;

    N takes off the mean over the grid and divides by the root of the variance over it, in every sample and channel;
    σ = GELU. Means are over the volume.

    Args:
        dimensions: axes.
        width: channels of u.
        heads, head_width: of v.
        expansion: channels of q and k in a head over those of v.
        parallel: whether kernels act side by side, or one upon the other.
        gain: see `AxisKernel`.
        embedding: width of the embedding of parameters, which modulates û; 0 for none.
    """

    eps = 1e-5

    def __init__(
        self,
        dimensions: int,
        width: int,
        heads: int,
        head_width: int,
        expansion: int,
        parallel: bool,
        gain: float,
        embedding: int,
    ):
        super().__init__()
        self.heads, self.parallel, inner = heads, parallel, heads * head_width
        self.norm = nn.LayerNorm(width)
        self.modulation = Modulation(embedding, width) if embedding else None
        self.value = nn.Linear(width, inner, bias=False)
        self.kernels = nn.ModuleList(AxisKernel(width, heads, expansion * head_width, gain) for _ in range(dimensions))
        self.merge = nn.Linear(inner * (dimensions if parallel else 1), width, bias=False)
        self.mix = nn.Linear(width, width, bias=False)

    def forward(
        self, u: Float[Tensor, "batch *space width"], grid: Lattice, embedding: Float[Tensor, "batch embedding"] | None
    ) -> Float[Tensor, "batch *space width"]:
        # Fields are multiplied by the root of the volume of a cell: sums of their squares are integrals then, without
        # a further pass over tensors of heads · head_width channels, which are what this costs.
        space, root = u.shape[1:-1], grid.root[..., None]
        h = self.normed(u, embedding).flatten(1, -2) * root
        kernels = self.on_axes((h * root).unflatten(1, space), grid)
        v = (self.value.weight @ h.transpose(1, 2)).unflatten(1, (self.heads, -1)).unflatten(-1, space)
        if self.parallel:
            found = [along(kernel, v, axis) for axis, kernel in enumerate(kernels)]
        else:
            for axis in reversed(range(len(space))):
                v = along(kernels[axis], v, axis)
            found = [v]
        merged = None
        for y, weight in zip(found, self.merge.weight.T.chunk(len(found)), strict=True):
            y = self.centred(y.flatten(3).flatten(1, 2), grid)  # (batch, channel, point)
            scale = torch.rsqrt(torch.linalg.vector_norm(y, dim=-1).square() + self.eps)
            weight, y = scale[..., None] * weight, y.transpose(1, 2)
            merged = y @ weight if merged is None else torch.baddbmm(merged, y, weight)
        assert merged is not None
        merged = merged * torch.where(root > 0, 1 / root, 0.0)
        return self.mix(F.gelu(merged)).unflatten(1, space)

    def normed(self, u: Tensor, embedding: Tensor | None) -> Tensor:
        """û, modulated by the embedding of parameters."""
        h = self.norm(u)
        if self.modulation is None or embedding is None:
            return h
        gain, shift = (m.reshape(m.shape[0], *[1] * (u.ndim - 2), -1) for m in self.modulation(embedding))
        return torch.addcmul(shift, h, gain)

    def on_axes(self, share: Float[Tensor, "batch *space width"], grid: Lattice) -> list[Tensor]:
        """√w_i κ_ij √w_j for each axis, w its widths, from û times the share of every cell.

        Every κ is divided by its norm (Hilbert and Schmidt's), ∫∫ κ² = 1, which N undoes: its ε then means the same
        whatever the weights of q and k and the number of axes are.
        """
        volume, found = grid.root.square().unflatten(1, share.shape[1:-1]), []
        for axis, kernel in enumerate(self.kernels):
            others = [a for a in range(1, share.ndim - 1) if a != axis + 1]
            mean, part = (share.sum(others), volume.sum(others)) if others else (share, volume)
            mean = mean / part.clamp_min(torch.finfo(part.dtype).tiny)[..., None]
            side = grid.widths[axis].sqrt()[:, None]
            found.append(unit(kernel(mean, grid.turns[axis]) * side[..., None] * side[:, :, None]))
        return found

    def centred(self, y: Float[Tensor, "batch channel point"], grid: Lattice) -> Tensor:
        """√volume (v - mean of v), 0 outside the domain, from √volume v."""
        y = y if grid.inside is None else y * grid.inside[:, None]
        mean = (y * grid.root[:, None]).sum(-1) if grid.root.shape[0] > 1 else y @ grid.root[0]
        # not in place: what autograd copies where a view is written to costs more than a new tensor
        return torch.addcmul(y, mean[..., None], grid.root[:, None], value=-1)
