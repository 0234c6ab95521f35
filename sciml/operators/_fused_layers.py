"""The autograd functions that `FNO` runs; the arithmetic is in `_fused`, whose docstring says what is gained."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from sciml.operators._fused import Plan, Workspace, samples_a_chunk, spectral_sum, spectral_sum_backward

_gelu = torch.ops.aten.gelu.out
_gelu_backward = torch.ops.aten.gelu_backward.grad_input


def _slices(batch: int, size: int) -> list[slice]:
    return [slice(i, min(i + size, batch)) for i in range(0, batch, size)]


def perceptron_chunk(x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, ws: Workspace, out: Tensor) -> None:
    """out = gelu(x w1 + b1) w2 + b2 for a few samples (batch, point, ·); b1 shared or a sample each."""
    hidden = _first_layer(x, w1, b1, ws)
    _gelu(hidden, out=hidden)
    torch.addmm(b2, hidden.view(-1, hidden.shape[-1]), w2, out=out.view(-1, out.shape[-1]))


def _first_layer(x: Tensor, w1: Tensor, b1: Tensor, ws: Workspace) -> Tensor:
    batch, points, channels = x.shape
    hidden = ws("hidden", batch, points, w1.shape[1])
    if b1.ndim == 1:
        torch.addmm(b1, x.reshape(-1, channels), w1, out=hidden.view(-1, w1.shape[1]))
    else:
        torch.baddbmm(b1[:, None], x, w1.expand(batch, *w1.shape), out=hidden)
    return hidden


class PerceptronFunction(torch.autograd.Function):
    """gelu(x w1 + b1) w2 + b2; keeps x alone and computes the hidden layer again on the way back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, ws: Workspace) -> Tensor:
        batch, points, _ = x.shape
        out = x.new_empty(batch, points, w2.shape[1])
        for s in _slices(batch, samples_a_chunk(points, w1.shape[1], x)):
            bias = b1 if b1.ndim == 1 else b1[s]
            perceptron_chunk(x[s], w1, bias, w2, b2, ws, out[s])
        ctx.save_for_backward(x, w1, b1, w2)
        ctx.ws = ws
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, w1, b1, w2 = ctx.saved_tensors
        ws, (batch, points, channels) = ctx.ws, x.shape
        grad = grad.contiguous()
        dx = x.new_empty(x.shape) if ctx.needs_input_grad[0] else None
        dw1, db1, dw2 = torch.zeros_like(w1), torch.zeros_like(b1), torch.zeros_like(w2)
        db2 = grad.sum((0, 1))
        for s in _slices(batch, samples_a_chunk(points, w1.shape[1], x)):
            z = _first_layer(x[s], w1, b1 if b1.ndim == 1 else b1[s], ws)
            h = _gelu(z, out=ws("activated", *z.shape))
            g = grad[s].view(-1, w2.shape[1])
            dw2.addmm_(h.view(-1, w1.shape[1]).t(), g)
            # the gradient of the hidden layer takes the place of its value, which is no longer needed
            dh = torch.mm(g, w2.t(), out=h.view(-1, w1.shape[1])).view(z.shape)
            _gelu_backward(dh, z, grad_input=dh)
            if b1.ndim == 1:
                db1 += dh.sum((0, 1))
            else:
                db1[s] = dh.sum(1)
            flat = dh.view(-1, w1.shape[1])
            dw1.addmm_(x[s].reshape(-1, channels).t(), flat)
            if dx is not None:
                torch.mm(flat, w1.t(), out=dx[s].view(-1, channels))
        return dx, dw1, db1, dw2, db2, None


class FourierLayerFunction(torch.autograd.Function):
    """One Fourier layer on (batch, point, channel).

    With v = gain ⊙ K x + x W + b:

        channel MLP:       y = σ(gelu(σ(v) w1 + b1) w2 + b2 + gate ⊙ x)
        w1 already in v:   y = σ(gelu(v) w2 + b2 + gate ⊙ x)           (w1 = None; the last layer, where σ = 1)
        no channel MLP:    y = σ(v)                                      (w2 = None)

    Keeps x, its coefficients and the arguments of the activations.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        skip: Tensor,
        bias: Tensor,
        gain: Tensor | None,
        w1: Tensor | None,
        b1: Tensor | None,
        w2: Tensor | None,
        b2: Tensor | None,
        gate: Tensor | None,
        plan: Plan,
        ws: Workspace,
        last: bool,
    ) -> Tensor:
        batch, points, channels = x.shape
        modes, width = weight.shape[0], skip.shape[-1]
        v = x.new_empty(batch, points, width)
        hidden = x.new_empty(batch, points, w1.shape[1]) if w1 is not None else None
        linear = last or w2 is None
        pre = None if linear else x.new_empty(batch, points, channels)
        y = v if linear and w2 is None and last else x.new_empty(batch, points, channels)
        rows, unscaled = [], []
        for s in _slices(batch, samples_a_chunk(points, channels, x)):
            n = s.stop - s.start
            rows.append(x.new_empty(modes, 2, n, channels))
            unscaled.append(None if gain is None else x.new_empty(modes, 2, n, width))
            spectral_sum(
                x[s], weight, _shared(skip, s, 2), _shared(bias, s, 1), None if gain is None else gain[s],
                plan, ws, v[s], rows[-1], unscaled[-1],
            )  # fmt: skip
            if w2 is None:
                if not last:
                    _gelu(v[s], out=y[s])
                continue
            assert b2 is not None and gate is not None
            if w1 is not None and b1 is not None and hidden is not None:
                a = v[s] if last else _gelu(v[s], out=ws("a", n, points, width))
                torch.addmm(b1, a.view(-1, width), w1, out=hidden[s].view(-1, w1.shape[1]))
                h = _gelu(hidden[s], out=ws("h", n, points, w1.shape[1]))
            else:
                h = _gelu(v[s], out=ws("a", n, points, width))
            to = y[s] if pre is None else pre[s]
            torch.addcmul(b2, x[s], gate, out=to)
            to.view(-1, channels).addmm_(h.view(-1, h.shape[-1]), w2)
            if pre is not None:
                _gelu(to, out=y[s])
        ctx.save_for_backward(x, weight, skip, bias, gain, w1, b1, w2, gate, v, hidden, pre, *rows, *unscaled)
        ctx.plan, ctx.ws, ctx.last = plan, ws, last
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, skip, bias, gain, w1, b1, w2, gate, v, hidden, pre, *kept = ctx.saved_tensors
        rows, unscaled = kept[: len(kept) // 2], kept[len(kept) // 2 :]
        ws, (batch, points, channels) = ctx.ws, x.shape
        width = skip.shape[-1]
        grad = grad.contiguous()
        dx = x.new_empty(x.shape) if ctx.needs_input_grad[0] else None
        sums = {"weight": torch.zeros_like(weight), "skip": torch.zeros_like(skip), "bias": torch.zeros_like(bias)}
        if gain is not None:
            sums["gain"] = torch.empty_like(gain)
        d = {n: None if t is None else torch.zeros_like(t) for n, t in (("w1", w1), ("b1", b1), ("w2", w2))}
        db2, dgate = (None, None) if gate is None else (torch.zeros_like(gate), torch.zeros_like(gate))
        for i, s in enumerate(_slices(batch, samples_a_chunk(points, channels, x))):
            n = s.stop - s.start
            g = grad[s]
            if w2 is None:
                dv = g if ctx.last else _gelu_backward(g, v[s], grad_input=ws("a", n, points, width))
            else:
                if pre is not None:
                    g = _gelu_backward(g, pre[s], grad_input=ws("g", n, points, channels))
                flat = g.view(-1, channels)
                db2 += flat.sum(0)
                dgate += torch.mul(g, x[s], out=ws("to_gate", n, points, channels)).view(-1, channels).sum(0)
                inner = v[s] if hidden is None else hidden[s]
                h = _gelu(inner, out=ws("h", *inner.shape))
                d["w2"].addmm_(h.view(-1, h.shape[-1]).t(), flat)
                dh = torch.mm(flat, w2.t(), out=h.view(-1, h.shape[-1])).view(inner.shape)
                dv = _gelu_backward(dh, inner, grad_input=dh)
                if hidden is not None:
                    dm = dv.view(-1, inner.shape[-1])
                    d["b1"] += dm.sum(0)
                    a = ws("a", n, points, width)
                    a = v[s] if ctx.last else _gelu(v[s], out=a)
                    d["w1"].addmm_(a.view(-1, width).t(), dm)
                    dv = ws("a", n, points, width)
                    torch.mm(dm, w1.t(), out=dv.view(-1, width))
                    if not ctx.last:
                        _gelu_backward(dv, v[s], grad_input=dv)
                if dx is not None:
                    torch.mul(g, gate, out=dx[s])
            if w2 is None and dx is not None:
                dx[s].zero_()
            spectral_sum_backward(
                dv, x[s], rows[i], weight, _shared(skip, s, 2), None if gain is None else gain[s], unscaled[i],
                ctx.plan, ws, sums, s, None if dx is None else dx[s],
            )  # fmt: skip
        return (
            dx, sums["weight"], sums["skip"], sums["bias"], sums.get("gain"), d["w1"], d["b1"], d["w2"], db2, dgate,
            None, None, None,
        )  # fmt: skip


def _shared(tensor: Tensor, sample: slice, dims: int) -> Tensor:
    """The tensor itself where it is shared, its rows where it is given a sample each."""
    return tensor if tensor.ndim == dims else tensor[sample]


def layer_in_place(
    x: Tensor,
    weight: Tensor,
    skip: Tensor,
    bias: Tensor,
    gain: Tensor | None,
    w1: Tensor | None,
    b1: Tensor | None,
    w2: Tensor | None,
    b2: Tensor | None,
    gate: Tensor | None,
    plan: Plan,
    ws: Workspace,
    last: bool,
) -> None:
    """What `FourierLayerFunction` computes, for a few samples, written over x; keeps nothing."""
    batch, points, channels = x.shape
    modes, width = weight.shape[0], skip.shape[-1]
    v = ws("v", batch, points, width)
    spectral_sum(x, weight, skip, bias, gain, plan, ws, v, ws("rows", modes, 2, batch, channels), None)
    if w2 is None:
        x.copy_(v) if last else _gelu(v, out=x)
        return
    assert b2 is not None and gate is not None
    h = v if last and w1 is not None else _gelu(v, out=v)
    if w1 is not None and b1 is not None:
        hidden = ws("h", batch, points, w1.shape[1])
        torch.addmm(b1, h.view(-1, width), w1, out=hidden.view(-1, w1.shape[1]))
        h = _gelu(hidden, out=hidden)
    torch.addcmul(b2, x, gate, out=x)
    x.view(-1, channels).addmm_(h.view(-1, h.shape[-1]), w2)
    if not last:
        _gelu(x, out=x)
