"""The autograd functions that `FNO` runs; the arithmetic is in `_fused`, whose docstring says what is gained."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import forward_ad

from sciml.errors import InputError
from sciml.operators._fused import Plan, Workspace, samples_a_chunk, spectral_sum, spectral_sum_backward
from sciml.operators._parallel import run, shares, single

_gelu = torch.ops.aten.gelu.out
_gelu_backward = torch.ops.aten.gelu_backward.grad_input


class PerceptronOperands(NamedTuple):
    """Weights (channel in, channel out) and biases; b1 shared or a sample each."""

    w1: Tensor
    b1: Tensor
    w2: Tensor
    b2: Tensor


class LayerOperands(NamedTuple):
    """What `FourierLayerFunction` takes after x. Skip and bias shared or a sample each; gain a sample each."""

    weight: Tensor
    skip: Tensor
    bias: Tensor
    gain: Tensor | None
    w1: Tensor | None
    b1: Tensor | None
    w2: Tensor | None
    b2: Tensor | None
    gate: Tensor | None


# what a function gives (or the gradient of what it was given), its work on one share of the samples, and what is left
# to do with the results of all shares
Prepared = tuple[Any, Callable[[int, slice, Workspace], Any], Callable[[list[Any]], Any]]


class _Refusal(torch.autograd.Function):
    """The identity, whose backward pass is an error."""

    @staticmethod
    def forward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        return tuple(g.view_as(g) for g in gradients)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        raise InputError(
            "FNO: second derivatives do not go through the hand-written layers; build the operator with fused=False"
        )


def first_order(backward: Callable[..., Any]) -> Callable[..., Any]:
    """A backward pass without one of its own: under `create_graph` its results, which autograd would otherwise take
    for constants, are refused as soon as somebody differentiates them."""

    @functools.wraps(backward)
    def wrapped(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        with torch.no_grad():
            found = backward(ctx, *gradients)
        if not torch.is_grad_enabled():
            return found
        marked = iter(_Refusal.apply(*(g.detach().requires_grad_() for g in found if g is not None)))
        return tuple(g if g is None else next(marked) for g in found)

    return wrapped


def needs_plain(*inputs: Tensor | None) -> bool:
    """Whether the caller may want more than first derivatives for the weights: inputs that are differentiated with
    respect to (leaves; what an earlier step gave is none), a `torch.func` transform, or forward-mode derivatives."""
    transformed = torch._C._functorch.peek_interpreter_stack() is not None  # pyright: ignore[reportAttributeAccessIssue]
    if transformed or forward_ad._current_level >= 0:
        return True
    return torch.is_grad_enabled() and any(t is not None and t.requires_grad and t.is_leaf for t in inputs)


class Arena:
    """What one call of an operator needs until its backward pass is over: how the batch is divided among threads, a
    workspace for each of them, and the fields that are kept."""

    def __init__(self, like: Tensor, threads: int):
        self.fields = Workspace(like)
        self.workspaces = [Workspace(like) for _ in range(threads)]
        self.parts: list[slice] = []
        self._pool: Pool | None = None

    def run(self, work: Callable[[int, slice, Workspace], Any]) -> list[Any]:
        return run(lambda i, part: work(i, part, self.workspaces[i]), self.parts)

    def quiet(self) -> contextlib.AbstractContextManager[None]:
        """Around everything that belongs to one pass: between its parts nothing may start threads again."""
        return single() if len(self.parts) > 1 else contextlib.nullcontext()

    def release(self) -> None:
        """Nothing of this call is needed any more: the next one may have the memory."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.free.append(self)


class Pool:
    """Arenas that are free. One is in use for each call whose backward pass is still to come."""

    def __init__(self) -> None:
        self.free: list[Arena] = []

    def __deepcopy__(self, memo: Any) -> Pool:
        return Pool()

    def __reduce__(self) -> tuple[type[Pool], tuple[()]]:
        return Pool, ()

    def take(self, batch: int, work: int, like: Tensor) -> Arena:
        """An arena for a batch; `work` is the number of values in one of its fields."""
        parts = shares(batch, work, like.device)
        arena = None
        while self.free and arena is None:
            arena = self.free.pop()
            if arena.fields.dtype != like.dtype or arena.fields.device != like.device:
                arena = None
        if arena is None or len(arena.workspaces) < len(parts):
            arena = Arena(like, len(parts))
        arena.parts, arena._pool = parts, self
        return arena


def _slices(part: slice, size: int) -> list[slice]:
    return [slice(i, min(i + size, part.stop)) for i in range(part.start, part.stop, size)]


def _room(index: int, ws: Workspace, name: str, like: Tensor) -> Tensor:
    """Where to sum: memory of its own on the first thread, which becomes the gradient, and its workspace on others."""
    return torch.empty_like(like) if index == 0 else ws(name, *like.shape)


def _total(sums: list[Tensor | None]) -> Tensor | None:
    """The sum over threads, always in the same order, in the first of them."""
    first = sums[0]
    for other in sums[1:]:
        if first is not None and other is not None:
            first += other
    return first


def perceptron_chunk(
    x: Tensor, p: PerceptronOperands, ws: Workspace, out: Tensor, argument: Tensor | None = None
) -> None:
    """out = gelu(x w1 + b1) w2 + b2 for a few samples (batch, point, ·); b1 shared or a sample each. The argument of
    the activation is left in `argument`, if given."""
    batch, points, channels = x.shape
    w1, b1, width = p.w1, p.b1, p.w1.shape[1]
    hidden = ws("hidden", batch, points, width)
    z = hidden if argument is None else argument
    if b1.ndim == 1:
        torch.addmm(b1, x.reshape(-1, channels), w1, out=z.view(-1, width))
    else:
        torch.baddbmm(b1[:, None], x, w1.expand(batch, *w1.shape), out=z)
    _gelu(z, out=hidden)
    torch.addmm(p.b2, hidden.view(-1, width), p.w2, out=out.view(-1, out.shape[-1]))


class PerceptronFunction(torch.autograd.Function):
    """gelu(x w1 + b1) w2 + b2; keeps x and the argument of the activation.

    `index` is 0 for the lift, whose backward pass is the last, and one more than the last layer's for the projection.
    """

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        return _forward(PerceptronFunction, ctx, inputs)

    @staticmethod
    @first_order
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return _backward(PerceptronFunction, ctx, grad)

    @staticmethod
    def prepare_forward(
        ctx: Any, x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, arena: Arena, index: int
    ) -> Prepared:
        batch, points, _ = x.shape
        shape = (batch, points, w2.shape[1])
        out = x.new_empty(shape) if index else arena.fields("lifted", *shape)
        kept = arena.fields(f"argument{index}", batch, points, w1.shape[1])

        def work(_: int, part: slice, ws: Workspace) -> None:
            for s in _slices(part, samples_a_chunk(points, w1.shape[1], x)):
                bias = b1 if b1.ndim == 1 else b1[s]
                perceptron_chunk(x[s], PerceptronOperands(w1, bias, w2, b2), ws, out[s], kept[s])

        ctx.save_for_backward(x, w1, b1, w2, kept)
        ctx.arena, ctx.index = arena, index
        return out, work, lambda results: None

    @staticmethod
    def prepare_backward(ctx: Any, grad: Tensor) -> Prepared:
        x, w1, b1, w2, kept = ctx.saved_tensors
        _, points, channels = x.shape
        hidden = w1.shape[1]
        grad = grad.contiguous()
        dx = None
        if ctx.needs_input_grad[0]:
            dx = ctx.arena.fields(f"gradient{ctx.index % 2}", *x.shape) if ctx.index else x.new_empty(x.shape)
        own_bias = (
            b1.new_empty(b1.shape) if b1.ndim == 2 else None
        )  # the gradient of a bias that is given a sample each

        def work(_: int, part: slice, ws: Workspace) -> list[Tensor | None]:
            dw1, dw2, db2 = torch.zeros_like(w1), torch.zeros_like(w2), grad[part].sum((0, 1))
            db1 = torch.zeros_like(b1) if own_bias is None else None
            for s in _slices(part, samples_a_chunk(points, hidden, x)):
                z = kept[s]
                h = _gelu(z, out=ws("activated", *z.shape))
                g = grad[s].view(-1, w2.shape[1])
                dw2.addmm_(h.view(-1, hidden).t(), g)
                # the gradient of the hidden layer takes the place of its value, which is no longer needed
                dh = torch.mm(g, w2.t(), out=h.view(-1, hidden)).view(z.shape)
                _gelu_backward(dh, z, grad_input=dh)
                flat = dh.view(-1, hidden)
                if own_bias is not None:
                    own_bias[s] = dh.sum(1)
                elif db1 is not None:
                    db1 += flat.sum(0)
                dw1.addmm_(x[s].reshape(-1, channels).t(), flat)
                if dx is not None:
                    torch.mm(flat, w1.t(), out=dx[s].view(-1, channels))
            return [dw1, db1, dw2, db2]

        def finish(results: list[Any]) -> tuple[Tensor | None, ...]:
            dw1, db1, dw2, db2 = (_total(list(sums)) for sums in zip(*results, strict=True))
            if ctx.index == 0:
                ctx.arena.release()  # the lift is the last to run backwards
            return dx, dw1, db1 if own_bias is None else own_bias, dw2, db2, None, None

        return dx, work, finish


class FoldFunction(torch.autograd.Function):
    """w1 multiplied into all that comes before it: weight (mode, channel in, 2 · channel out), both parts of every
    coefficient, skip (channel in, channel out) and bias (channel out). Small products, of which the backward pass must
    leave no thread spinning beside those of the layers."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, skip: Tensor, bias: Tensor, w1: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        ctx.save_for_backward(weight, skip, bias, w1)
        folded = torch.mm(weight.reshape(-1, len(w1)), w1).view(*weight.shape[:2], -1)
        return folded, torch.mm(skip, w1), torch.mv(w1.t(), bias)

    @staticmethod
    @first_order
    def backward(ctx: Any, by_weight: Tensor, by_skip: Tensor, by_bias: Tensor) -> tuple[Tensor, ...]:
        weight, skip, bias, w1 = ctx.saved_tensors
        with single():
            flat, back = by_weight.reshape(-1, w1.shape[1]), w1.t()
            dw1 = torch.mm(weight.reshape(-1, len(w1)).t(), flat).addmm_(skip.t(), by_skip).addr_(bias, by_bias)
            return torch.mm(flat, back).view(weight.shape), torch.mm(by_skip, back), torch.mv(w1, by_bias), dw1


class FourierLayerFunction(torch.autograd.Function):
    """One Fourier layer on (batch, point, channel).

    With v = gain ⊙ K x + x W + b:

        channel MLP:       y = σ(gelu(σ(v) w1 + b1) w2 + b2 + gate ⊙ x)
        w1 already in v:   y = σ(gelu(v) w2 + b2 + gate ⊙ x)           (w1 = None; the last layer, where σ = 1)
        no channel MLP:    y = σ(v)                                      (w2 = None)

    Keeps x, its coefficients, the arguments of the activations and the input of the channel MLP.
    """

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        return _forward(FourierLayerFunction, ctx, inputs)

    @staticmethod
    @first_order
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return _backward(FourierLayerFunction, ctx, grad)

    @staticmethod
    def prepare_forward(
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
        arena: Arena,
        index: int,
        last: bool,
    ) -> Prepared:
        batch, points, channels = x.shape
        modes, width, field = weight.shape[0], skip.shape[-1], arena.fields
        v = field(f"v{index}", batch, points, width)
        hidden = field(f"hidden{index}", batch, points, w1.shape[1]) if w1 is not None else None
        activated = None if last or w1 is None else field(f"activated{index}", batch, points, width)
        pre = None if last or w2 is None else field(f"pre{index}", batch, points, channels)
        y = v if last and w2 is None else field(f"y{index}", batch, points, channels)
        size = samples_a_chunk(points, channels, x)
        all_rows = field(f"rows{index}", batch, modes * 2 * channels)
        all_unscaled = None if gain is None else field(f"unscaled{index}", batch, modes * 2 * width)

        def work(_: int, part: slice, ws: Workspace) -> list[tuple[Tensor, Tensor | None]]:
            kept = []
            for s in _slices(part, size):
                n = s.stop - s.start
                rows = all_rows[s].view(modes, 2, n, channels)
                unscaled = None if all_unscaled is None else all_unscaled[s].view(modes, 2, n, width)
                kept.append((rows, unscaled))
                spectral_sum(
                    x[s], weight, _at(skip, s, 2), _at(bias, s, 1), None if gain is None else gain[s],
                    plan, ws, v[s], rows, unscaled,
                )  # fmt: skip
                if w2 is None:
                    if not last:
                        _gelu(v[s], out=y[s])
                    continue
                assert b2 is not None and gate is not None
                if w1 is not None and b1 is not None and hidden is not None:
                    a = v[s] if activated is None else _gelu(v[s], out=activated[s])
                    torch.addmm(b1, a.view(-1, width), w1, out=hidden[s].view(-1, w1.shape[1]))
                    h = _gelu(hidden[s], out=ws("h", n, points, w1.shape[1]))
                else:
                    h = _gelu(v[s], out=ws("a", n, points, width))
                to = y[s] if pre is None else pre[s]
                torch.addcmul(b2, x[s], gate, out=to)
                to.view(-1, channels).addmm_(h.view(-1, h.shape[-1]), w2)
                if pre is not None:
                    _gelu(to, out=y[s])
            return kept

        def finish(results: list[Any]) -> None:
            rows, unscaled = zip(*(pair for part in results for pair in part), strict=True)
            ctx.save_for_backward(
                x, weight, skip, bias, gain, w1, b1, w2, gate, v, hidden, activated, pre, *rows, *unscaled
            )

        ctx.plan, ctx.arena, ctx.index, ctx.last, ctx.size = plan, arena, index, last, size
        return y, work, finish

    @staticmethod
    def prepare_backward(ctx: Any, grad: Tensor) -> Prepared:
        x, weight, skip, bias, gain, w1, b1, w2, gate, v, hidden, activated, pre, *kept = ctx.saved_tensors
        rows, unscaled = kept[: len(kept) // 2], kept[len(kept) // 2 :]
        arena, size, last = ctx.arena, ctx.size, ctx.last
        _, points, channels = x.shape
        width = skip.shape[-1]
        grad = grad.contiguous()
        # the gradient that arrives is in the other of the two buffers
        dx = arena.fields(f"gradient{ctx.index % 2}", *x.shape) if ctx.needs_input_grad[0] else None
        # gradients of what is given a sample each: every thread writes its own rows
        own = {
            name: t.new_empty(t.shape)
            for name, t, dims in (("skip", skip, 2), ("bias", bias, 1), ("gain", gain, 1))
            if t is not None and t.ndim > dims
        }
        first = [sum(len(_slices(p, size)) for p in arena.parts[:i]) for i in range(len(arena.parts))]

        def work(index: int, part: slice, ws: Workspace) -> list[Tensor | None]:
            sums = {"weight": _room(index, ws, f"weight{ctx.index}", weight)} | own
            for name, t in (("skip", skip), ("bias", bias)):
                if name not in own:
                    sums[name] = torch.zeros_like(t)
            dw1, db1, dw2, db2, dgate = (None if t is None else torch.zeros_like(t) for t in (w1, b1, w2, gate, gate))
            for i, s in enumerate(_slices(part, size), start=first[index]):
                n, g = s.stop - s.start, grad[s]
                if w2 is None or gate is None or dw2 is None or db2 is None or dgate is None:
                    dv = g if last else _gelu_backward(g, v[s], grad_input=ws("a", n, points, width))
                    if dx is not None:
                        dx[s].zero_()
                else:
                    if pre is not None:
                        g = _gelu_backward(g, pre[s], grad_input=ws("g", n, points, channels))
                    flat = g.view(-1, channels)
                    db2 += flat.sum(0)
                    dgate += torch.mul(g, x[s], out=ws("to_gate", n, points, channels)).view(-1, channels).sum(0)
                    inner = v[s] if hidden is None else hidden[s]
                    h = _gelu(inner, out=ws("h", *inner.shape))
                    dw2.addmm_(h.view(-1, h.shape[-1]).t(), flat)
                    dh = torch.mm(flat, w2.t(), out=h.view(-1, h.shape[-1])).view(inner.shape)
                    dv = _gelu_backward(dh, inner, grad_input=dh)
                    if w1 is not None and dw1 is not None and db1 is not None:
                        dm = dv.view(-1, inner.shape[-1])
                        db1 += dm.sum(0)
                        a = v[s] if activated is None else activated[s]
                        dw1.addmm_(a.view(-1, width).t(), dm)
                        dv = ws("a", n, points, width)
                        torch.mm(dm, w1.t(), out=dv.view(-1, width))
                        if not last:
                            _gelu_backward(dv, v[s], grad_input=dv)
                    if dx is not None:
                        torch.mul(g, gate, out=dx[s])
                spectral_sum_backward(
                    dv, x[s], rows[i], weight, _at(skip, s, 2), None if gain is None else gain[s], unscaled[i],
                    ctx.plan, ws, sums, s, None if dx is None else dx[s], i == first[index],
                )  # fmt: skip
            shared_sums = [None if name in own else sums[name] for name in ("weight", "skip", "bias")]
            return [*shared_sums, dw1, db1, dw2, db2, dgate]

        def finish(results: list[Any]) -> tuple[Tensor | None, ...]:
            totals = [_total(list(sums)) for sums in zip(*results, strict=True)]
            dweight, dskip, dbias = totals[0], own.get("skip", totals[1]), own.get("bias", totals[2])
            return dx, dweight, dskip, dbias, own.get("gain"), *totals[3:], None, None, None, None

        return dx, work, finish


class ChainFunction(torch.autograd.Function):
    """Functions of this module one after another, each on what the one before it gives.

    Samples do not know of each other, so every thread takes its share through the whole chain, and the threads meet
    once in each direction instead of once for every function: meeting costs half a millisecond and, on top of it, the
    wait for the slower one.
    """

    @staticmethod
    def forward(ctx: Any, arena: Arena, stages: list[tuple[Any, int]], x: Tensor, *inputs: Any) -> Tensor:
        """`stages` are functions and the number of their inputs beside x; `inputs` are those of all of them."""
        ctx.arena, ctx.contexts, ctx.stages = arena, [], stages
        works, ends, start = [], [], 0
        for function, count in stages:
            own = _Context(x.requires_grad or bool(works))
            x, work, finish = function.prepare_forward(own, x, *inputs[start : start + count])
            ctx.contexts.append(own)
            works.append(work)
            ends.append(finish)
            start += count
        for finish, results in zip(ends, _together(arena, works), strict=True):
            finish(results)
        # autograd keeps them, for it knows when they have been written over
        ctx.save_for_backward(*(t for own in ctx.contexts for t in own.saved_tensors))
        for own in ctx.contexts:
            own.count, own.saved_tensors = len(own.saved_tensors), ()
        return x

    @staticmethod
    @first_order
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        works, ends, saved = [], [], list(ctx.saved_tensors)
        for (function, _), own in zip(reversed(ctx.stages), reversed(ctx.contexts), strict=True):
            own.saved_tensors = tuple(saved[len(saved) - own.count :])
            del saved[len(saved) - own.count :]
            grad, work, finish = function.prepare_backward(own, grad)
            own.saved_tensors = ()
            works.append(work)
            ends.append(finish)
        with ctx.arena.quiet():
            found = [finish(results) for finish, results in zip(ends, _together(ctx.arena, works), strict=True)]
        found.reverse()
        return None, None, found[0][0], *(g for gradients in found for g in gradients[1:])


class _Context:
    """What stands in for autograd's context of one function within a chain."""

    def __init__(self, needs_input: bool):
        self.needs_input_grad = (needs_input,)
        self.saved_tensors: tuple[Any, ...] = ()
        self.count = 0

    def save_for_backward(self, *tensors: Any) -> None:
        self.saved_tensors = tensors


def _together(arena: Arena, works: list[Any]) -> list[list[Any]]:
    """The results of each work by share, when every thread does all works on its share, one after another."""
    by_share = arena.run(lambda i, part, ws: [work(i, part, ws) for work in works])
    return [list(results) for results in zip(*by_share, strict=True)]


def _forward(function: Any, ctx: Any, inputs: tuple[Any, ...]) -> Tensor:
    out, work, finish = function.prepare_forward(ctx, *inputs)
    finish(_together(ctx.arena, [work])[0])
    return out


def _backward(function: Any, ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    _, work, finish = function.prepare_backward(ctx, grad)
    with ctx.arena.quiet():
        return finish(_together(ctx.arena, [work])[0])


def _at(tensor: Tensor, sample: slice, dims: int) -> Tensor:
    """The tensor itself where it is shared, its rows where it is given a sample each."""
    return tensor if tensor.ndim == dims else tensor[sample]


def layer_in_place(x: Tensor, p: LayerOperands, plan: Plan, ws: Workspace, last: bool) -> None:
    """What `FourierLayerFunction` computes, for a few samples, written over x; keeps nothing."""
    batch, points, channels = x.shape
    weight, skip, bias, gain, w1, b1, w2, b2, gate = p
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
