"""A Fourier layer and a perceptron with hand-written backward passes.

They compute what `FourierLayer` and `Perceptron` describe and nothing else; `FNO(fused=False)` runs those as they stand
there. What is gained on a CPU:

* A batch is taken a few samples at a time, so that what one product writes is still in the cache for the next.
* Only what cannot be had again cheaply is kept for the backward pass; activations are recomputed from their arguments.
* Fields that the caller never sees live in buffers that are used again from layer to layer and from step to step:
  memory that the system has to map anew, page by page, costs more than the arithmetic on it.
* Biases enter as the k = 0 coefficient, sums are accumulated by the products themselves.
* Along all but the first axis the transform works with cosines and sines apart. For a complex T,

      X(±k) = Σ_j (cos - ±i sin) T_j  =  (C Tᵣ ± S Tᵢ) + i (C Tᵢ ∓ S Tᵣ),

  half the multiplications of the complex product. The adjoint of this is the inverse's own form, so that the same two
  routines, with transposed matrices, make forward and backward pass.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from sciml.operators._transform import Axis, trigonometric_matrices

_CHUNK_BYTES = 4 << 20


def samples_a_chunk(points: int, width: int, like: Tensor) -> int:
    """How many samples are taken together: fields of about four MiB."""
    return max(1, round(_CHUNK_BYTES / (points * width * like.element_size())))


class Workspace:
    """Buffers by name, for temporaries that no one outside keeps."""

    def __init__(self, like: Tensor):
        self.dtype, self.device = like.dtype, like.device
        self._buffers: dict[str, Tensor] = {}

    def __call__(self, name: str, *shape: int) -> Tensor:
        size = math.prod(shape)
        buffer = self._buffers.get(name)
        if buffer is None or buffer.numel() < size:
            with torch.inference_mode(False):  # or it could never serve a later backward pass
                buffer = self._buffers[name] = torch.empty(size, dtype=self.dtype, device=self.device)
        return buffer[:size].view(shape)


class Plan:
    """The matrices of the transforms on one grid, and of their adjoints.

    Args:
        axes: the grid; see `Axis`.
        like: a tensor with the dtype and device of the matrices.
    """

    def __init__(self, axes: Sequence[Axis], like: Tensor):
        self.points = tuple(a.points for a in axes)
        self.modes = tuple(a.modes for a in axes)
        self.counts = (axes[0].modes + 1, *(2 * a.modes + 1 for a in axes[1:]))
        pairs = [trigonometric_matrices(a, i == 0, like) for i, a in enumerate(axes)]
        self.analysis = [p[0] for p in pairs]
        self.synthesis = [p[1] for p in pairs]
        self.analysis_adjoint = [m.t() for m in self.analysis]
        self.synthesis_adjoint = [m.t() for m in self.synthesis]


def _multiply(matrix: Tensor, z: Tensor, out: Tensor) -> Tensor:
    return torch.bmm(matrix.expand(z.shape[0], *matrix.shape), z, out=out)


def to_modes(x: Tensor, plan: Plan, matrices: Sequence[Tensor], ws: Workspace, out: Tensor) -> Tensor:
    """Coefficients of x (batch, *space, channel) into `out` (mode, 2, batch, channel)."""
    batch, channels, d = x.shape[0], x.shape[-1], len(plan.points)
    counts, rows = plan.counts, batch
    z = x.reshape(batch, plan.points[0], -1)
    z = _multiply(matrices[0], z, ws("to0", batch, 2 * counts[0], z.shape[-1]))
    rows = batch * counts[0]
    for i in range(1, d):
        m, rest = plan.modes[i], math.prod(plan.points[i + 1 :]) * channels
        z = z.view(rows * 2, plan.points[i], rest)
        z = _multiply(matrices[i], z, ws(f"to{i}", rows * 2, 2 * m + 1, rest))
        if i == d - 1:
            z = z.view(batch, -1, 2, 2 * m + 1, channels)
            target = out.view(-1, counts[i], 2, batch, channels).permute(3, 0, 2, 1, 4)
        else:
            z = z.view(rows, 1, 2, 2 * m + 1, rest)
            buffer = ws(f"between{i}", rows, counts[i], 2, rest)
            target = buffer.view(rows, 1, counts[i], 2, rest).transpose(2, 3)
        # z: (., ., part, cosines then sines, .); target: (., ., part, k, .)
        c, s = z[..., : m + 1, :], z[..., m + 1 :, :]
        target[..., :1, :].copy_(c[..., :1, :])
        c = c[..., 1:, :]
        torch.add(c[:, :, 0], s[:, :, 1], out=target[:, :, 0, 1 : m + 1])
        torch.sub(c[:, :, 1], s[:, :, 0], out=target[:, :, 1, 1 : m + 1])
        torch.sub(c[:, :, 0], s[:, :, 1], out=target[:, :, 0, m + 1 :])
        torch.add(c[:, :, 1], s[:, :, 0], out=target[:, :, 1, m + 1 :])
        if i < d - 1:
            z = buffer
            rows *= counts[i]
    if d == 1:
        out.view(counts[0], 2, batch, channels).copy_(z.view(batch, counts[0], 2, channels).permute(1, 2, 0, 3))
    return out


def from_modes(y: Tensor, plan: Plan, matrices: Sequence[Tensor], ws: Workspace, add_to: Tensor) -> None:
    """Add the field with coefficients y (mode, 2, batch, channel) to `add_to` (batch, *space, channel), in place."""
    _, _, batch, channels = y.shape
    d, counts = len(plan.points), plan.counts
    if d == 1:
        z = ws("from1", batch, 2 * counts[0], channels)
        z.view(batch, counts[0], 2, channels).copy_(y.permute(2, 0, 1, 3))
    else:
        source = y.view(-1, counts[-1], 2, batch, channels).permute(3, 0, 2, 1, 4)
        for i in range(d - 1, 0, -1):
            m, rest = plan.modes[i], math.prod(plan.points[i + 1 :]) * channels
            rows = batch * math.prod(counts[:i])
            z = ws(f"pairs{i}", *source.shape[:2], 2, 2 * m + 1, source.shape[-1])
            plus, minus = source[..., 1 : m + 1, :], source[..., m + 1 :, :]
            z[..., :1, :].copy_(source[..., :1, :])
            torch.add(plus, minus, out=z[..., 1 : m + 1, :])
            torch.sub(minus[:, :, 1], plus[:, :, 1], out=z[:, :, 0, m + 1 :])
            torch.sub(plus[:, :, 0], minus[:, :, 0], out=z[:, :, 1, m + 1 :])
            z = z.view(rows * 2, 2 * m + 1, rest)
            z = _multiply(matrices[i], z, ws(f"from{i}", rows * 2, plan.points[i], rest))
            if i > 1:
                source = z.view(rows // counts[i - 1], 1, counts[i - 1], 2, plan.points[i] * rest).transpose(2, 3)
    base = add_to.view(batch, plan.points[0], -1)
    z = z.view(batch, 2 * counts[0], -1)
    torch.baddbmm(base, matrices[0].expand(batch, *matrices[0].shape), z, out=base)


def _affine(x: Tensor, weight: Tensor, out: Tensor, accumulate: bool = False) -> Tensor:
    """x (batch, point, ·) times weight, shared or a sample each, into or onto `out`."""
    if weight.ndim == 2:
        flat, to = x.view(-1, x.shape[-1]), out.view(-1, out.shape[-1])
        if accumulate:
            to.addmm_(flat, weight)
        else:
            torch.mm(flat, weight, out=to)
    elif accumulate:
        out.baddbmm_(x, weight)
    else:
        torch.bmm(x, weight, out=out)
    return out


def _gelu_(x: Tensor) -> Tensor:
    return torch.ops.aten.gelu.out(x, out=x)


def spectral_sum(
    x: Tensor,
    weight: Tensor,
    skip: Tensor,
    bias: Tensor,
    gain: Tensor | None,
    plan: Plan,
    ws: Workspace,
    out: Tensor,
    rows: Tensor,
    unscaled: Tensor | None,
) -> None:
    """out = gain ⊙ K x + x W + b for a few samples.

    Args:
        x: (batch, point, channel in); out: (batch, point, channel out).
        weight: (mode, channel in, 2 · channel out).
        skip: W, shared or a sample each; bias: (channel out) or a sample each; gain: (batch, channel out).
        rows: receives the coefficients of x, (mode, 2, batch, channel in).
        unscaled: receives the coefficients of K x, (mode, 2, batch, channel out), where the gain needs them later.
    """
    batch, _, channels = x.shape
    width, modes = out.shape[-1], weight.shape[0]
    to_modes(x.view(batch, *plan.points, channels), plan, plan.analysis, ws, rows)
    p = torch.bmm(rows.view(modes, 2 * batch, channels), weight, out=ws("product", modes, 2 * batch, 2 * width))
    p = p.view(modes, 2, batch, 2, width)
    y = ws("coefficients", modes, 2, batch, width) if unscaled is None else unscaled
    torch.sub(p[:, 0, :, 0], p[:, 1, :, 1], out=y[:, 0])
    torch.add(p[:, 0, :, 1], p[:, 1, :, 0], out=y[:, 1])
    if gain is not None:
        y = torch.mul(y, gain, out=ws("scaled", *y.shape))
    elif unscaled is not None:
        y = ws("scaled", *y.shape).copy_(y)
    y[0, 0] += bias
    _affine(x, skip, out)
    from_modes(y, plan, plan.synthesis, ws, out)


def spectral_sum_backward(
    grad: Tensor,
    x: Tensor,
    rows: Tensor,
    weight: Tensor,
    skip: Tensor,
    gain: Tensor | None,
    unscaled: Tensor | None,
    plan: Plan,
    ws: Workspace,
    sums: dict[str, Tensor],
    sample: slice,
    out: Tensor | None,
    fresh: bool,
) -> None:
    """The adjoint of `spectral_sum`: adds to the gradients in `sums` and to `out`, the gradient of x. With `fresh` the
    gradient of `weight` is still without values."""
    batch, _, channels = x.shape
    width, modes = grad.shape[-1], weight.shape[0]
    g = ws("coefficients", modes, 2, batch, width)
    to_modes(grad.view(batch, *plan.points, width), plan, plan.synthesis_adjoint, ws, g)
    if sums["bias"].ndim == 1:
        sums["bias"] += g[0, 0].sum(0)
    else:
        sums["bias"][sample] = g[0, 0]
    if gain is not None and unscaled is not None:
        torch.sum(torch.mul(g, unscaled, out=ws("to_gain", *g.shape)), dim=(0, 1), out=sums["gain"][sample])
        g *= gain
    if skip.ndim == 2:
        sums["skip"].addmm_(x.view(-1, channels).t(), grad.view(-1, width))
    else:
        torch.bmm(x.transpose(1, 2), grad, out=sums["skip"][sample])
    # the rows of real parts meet [gᵣ gᵢ], those of imaginary parts [gᵢ -gᵣ]
    pair = ws("product", modes, 2, batch, 2, width)
    pair[:, 0, :, 0].copy_(g[:, 0])
    pair[:, 0, :, 1].copy_(g[:, 1])
    pair[:, 1, :, 0].copy_(g[:, 1])
    torch.neg(g[:, 0], out=pair[:, 1, :, 1])
    pair = pair.view(modes, 2 * batch, 2 * width)
    mine = rows.view(modes, 2 * batch, channels).transpose(1, 2)
    if fresh:
        torch.bmm(mine, pair, out=sums["weight"])
    else:
        sums["weight"].baddbmm_(mine, pair)
    if out is None:
        return
    back = torch.bmm(pair, weight.transpose(1, 2), out=ws("back", modes, 2 * batch, channels))
    _affine(grad, skip.transpose(-1, -2), out, accumulate=True)
    from_modes(back.view(modes, 2, batch, channels), plan, plan.analysis_adjoint, ws, out)
