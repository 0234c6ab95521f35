"""Functions of JAX in torch and functions of torch in JAX, with their derivatives.

Functions must be pure. Values keep their types: float64 from torch is computed within a local `jax.enable_x64(True)`,
and float64 for JAX is refused where JAX is set to round it. A call costs some milliseconds of handing over, so that
batches are better made inside; each new shape is compiled anew.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from sciml.errors import InputError
from sciml.implicit.jax import refuse_rounding

_WIDE = (torch.float64, torch.int64, torch.complex128)


def to_torch(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of JAX as one of torch: y = f(x), with vᵀ ∂f/∂x by `jax.vjp` and ∂f/∂x v by `jax.jvp`.

    Args:
        function: from pytrees of JAX arrays to a pytree of JAX arrays; is compiled.

    Returns:
        a function of the same pytrees of tensors, differentiable any number of times, under `torch.func.grad`,
        `jvp` and `vmap` too. Leaves that are no tensors must be hashable, and are compiled in as they are.
        Tensors go over without a copy where they lie in one piece, and the answers are copies: a change in place of
        either, afterwards, changes nothing in JAX.

    Raises:
        InputError: when called with leaves that are neither tensors nor hashable.
    """
    calls: dict[Any, _Call] = {}

    def bridged(*args: Any) -> Any:
        leaves, tree = jax.tree.flatten(args)
        tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        fixed = tuple(None if isinstance(leaf, Tensor) else (type(leaf), leaf) for leaf in leaves)
        try:
            call = calls.get((tree, fixed))
        except TypeError:
            raise InputError(f"{_name(function)}: expected leaves that are tensors or hashable, got {fixed}") from None
        if call is None:

            def flat(*arrays: Any) -> Any:
                given = iter(arrays)
                return function(*jax.tree.unflatten(tree, [next(given) if f is None else f[1] for f in fixed]))

            call = calls[tree, fixed] = _Call(flat)
        found = _Bridged.apply(call, *tensors)
        return jax.tree.unflatten(call.tree[0], found)

    return bridged


class _Call:
    """A function from arrays to a pytree of arrays, compiled, and those made of it."""

    def __init__(self, function: Callable[..., Any], tree: list[Any] | None = None):
        self.function, self.run = function, jax.jit(function)
        self.tree: list[Any] = [None] if tree is None else tree  # of the last answer
        self.made: dict[Any, _Call] = {}

    def __call__(self, tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
        with jax.enable_x64(any(t.dtype in _WIDE for t in tensors)):
            arrays = [jax.dlpack.from_dlpack(t.detach().resolve_conj().contiguous()) for t in tensors]
            leaves, self.tree[0] = jax.tree.flatten(self.run(*arrays))
            return tuple(torch.from_dlpack(leaf).clone() for leaf in leaves)

    def _of(self, moved: tuple[bool, ...]) -> Callable[..., Any]:
        """From what stands still and what moves to the answers that are not whole numbers."""

        def floating(still: Sequence[Any], free: Sequence[Any]) -> list[Any]:
            a, b = iter(still), iter(free)
            leaves = jax.tree.leaves(self.function(*(next(b) if m else next(a) for m in moved)))
            return [leaf for leaf in leaves if jnp.issubdtype(leaf.dtype, jnp.inexact)]

        return floating

    def pull(self, moved: tuple[bool, ...]) -> _Call:
        """(x, v) ↦ vᵀ ∂f/∂x for the arguments that are `moved`."""

        def pulled(*arrays: Any) -> Any:
            still, free, v = _parted(arrays, moved)
            return jax.vjp(lambda p: self._of(moved)(still, p), free)[1](v)[0]

        return self.made.setdefault(("pull", moved), _Call(pulled))

    def push(self, moved: tuple[bool, ...]) -> _Call:
        """(x, v) ↦ ∂f/∂x v."""

        def pushed(*arrays: Any) -> Any:
            still, free, v = _parted(arrays, moved)
            return jax.jvp(lambda p: self._of(moved)(still, p), (free,), (v,))[1]

        return self.made.setdefault(("push", moved), _Call(pushed))

    def batched(self, axes: tuple[int | None, ...], size: int) -> _Call:
        mapped = jax.vmap(self.function, in_axes=axes, axis_size=size)
        return self.made.setdefault(("batched", axes, size), _Call(mapped, self.tree))


def _parted(arrays: Sequence[Any], moved: tuple[bool, ...]) -> tuple[list[Any], list[Any], list[Any]]:
    n = len(moved)
    still = [a for a, m in zip(arrays[:n], moved, strict=True) if not m]
    return still, [a for a, m in zip(arrays[:n], moved, strict=True) if m], list(arrays[n:])


class _Bridged(torch.autograd.Function):
    @staticmethod
    def forward(call, *tensors):  # type: ignore[no-untyped-def]
        return call(tensors)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.call, *tensors = inputs
        ctx.save_for_backward(*tensors)  # which notices where one of them was changed in place since
        ctx.save_for_forward(*tensors)
        ctx.smooth = tuple(_smooth(o) for o in output)
        ctx.mark_non_differentiable(*(o for o in output if not _smooth(o)))

    @staticmethod
    def backward(ctx: Any, *v: Any) -> Any:
        tensors = ctx.saved_tensors
        moved = tuple(bool(n) and _smooth(t) for n, t in zip(ctx.needs_input_grad[1:], tensors, strict=True))
        given = [g for g, smooth in zip(v, ctx.smooth, strict=True) if smooth]
        found = iter(_Bridged.apply(ctx.call.pull(moved), *tensors, *given))  # pyright: ignore[reportArgumentType]
        return None, *(next(found) if m else None for m in moved)

    @staticmethod
    def jvp(ctx: Any, *v: Any) -> Any:
        moved = tuple(t is not None for t in v[1:])
        given = [t for t in v[1:] if t is not None]
        found = iter(_Bridged.apply(ctx.call.push(moved), *ctx.saved_tensors, *given))  # pyright: ignore[reportArgumentType]
        return tuple(next(found) if smooth else None for smooth in ctx.smooth)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], call: Any, *tensors: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        found: Any = _Bridged.apply(call.batched(tuple(in_dims[1:]), info.batch_size), *tensors)
        return found, (0,) * len(found)


def _smooth(tensor: Tensor) -> bool:
    return tensor.is_floating_point() or tensor.is_complex()


def _name(function: Any) -> str:
    return getattr(function, "__name__", type(function).__name__)


def to_jax(function: Callable[..., Any], like: Any = None) -> Callable[..., Any]:
    """A function of torch as one of JAX: y = f(x), with vᵀ ∂f/∂x by torch's reverse mode.

    Args:
        function: from pytrees of tensors on the CPU to a pytree of tensors. What it closes over, such as the weights of
            a module, is constant to JAX: hand weights in as arguments, with `torch.func.functional_call`, where
            derivatives with respect to them are needed.
        like: the shapes and types of the answer, as a pytree of arrays or `jax.ShapeDtypeStruct`; found by running the
            function on tensors without values by default, which functions that look at values cannot do.

    Returns:
        a function of the same pytrees of arrays, under `jax.jit` and `jax.vmap` (one call a member), differentiable
        once and in reverse mode. It hands over copies.

    Raises:
        InputError: when called with float64 that JAX is set to round, or where the shape of the answer is not found.
    """

    def bridged(*args: Any) -> Any:
        refuse_rounding(_name(function), args)
        leaves, tree = jax.tree.flatten(args)
        arrays = [jnp.asarray(leaf) for leaf in leaves]
        smooth = [jnp.issubdtype(a.dtype, jnp.inexact) for a in arrays]
        shapes = _shapes(function, arrays, tree) if like is None else like
        shapes, out_tree = jax.tree.flatten(shapes)
        shapes = [jax.ShapeDtypeStruct(s.shape, s.dtype) for s in shapes]

        def run(tensors: Sequence[Tensor]) -> list[Tensor]:
            found, made = jax.tree.flatten(function(*jax.tree.unflatten(tree, tensors)))
            kinds = [(tuple(t.shape), str(t.dtype).removeprefix("torch.")) for t in found]
            if made != out_tree or kinds != [(s.shape, str(s.dtype)) for s in shapes]:
                raise InputError(f"{_name(function)}: expected answers like {shapes}, got {kinds}")
            return found

        def forward(*given: Any) -> Any:
            with torch.no_grad():
                return [_array(t) for t in run([_tensor(g) for g in given])]

        def backward(given: Any, v: Any) -> Any:
            tensors = [_tensor(g).requires_grad_(s) for g, s in zip(given, smooth, strict=True)]
            with torch.enable_grad():
                found = [t for t, s in zip(run(tensors), shapes, strict=True) if jnp.issubdtype(s.dtype, jnp.inexact)]
            pairs = [(t, _tensor(g)) for t, g in zip(found, v, strict=True) if t.requires_grad]
            wanted = [t for t in tensors if t.requires_grad]
            if not pairs or not wanted:
                return [np.zeros_like(_array(t)) for t in wanted]
            slopes = torch.autograd.grad([t for t, _ in pairs], wanted, [g for _, g in pairs], materialize_grads=True)
            return [_array(s) for s in slopes]

        @jax.custom_vjp
        def call(*given: Any) -> Any:
            return jax.pure_callback(forward, shapes, *given, vmap_method="sequential")

        def pull(given: Any, v: Any) -> Any:
            v = [g for g, s in zip(v, shapes, strict=True) if jnp.issubdtype(s.dtype, jnp.inexact)]
            kinds = [jax.ShapeDtypeStruct(g.shape, g.dtype) for g, s in zip(given, smooth, strict=True) if s]
            found = iter(jax.pure_callback(backward, kinds, given, v, vmap_method="sequential"))
            return tuple(
                next(found) if s else np.zeros(g.shape, jax.dtypes.float0) for g, s in zip(given, smooth, strict=True)
            )

        call.defvjp(lambda *given: (call(*given), given), pull)
        return jax.tree.unflatten(out_tree, call(*arrays))

    return bridged


def _tensor(values: Any) -> Tensor:
    return torch.from_numpy(np.array(values))


def _array(tensor: Tensor) -> np.ndarray:
    return np.array(tensor.numpy(force=True))


def _shapes(function: Callable[..., Any], arrays: Sequence[Any], tree: Any) -> Any:
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        given = [torch.empty(a.shape, dtype=getattr(torch, str(a.dtype))) for a in arrays]
        try:
            found = function(*jax.tree.unflatten(tree, given))
        except Exception as error:
            raise InputError(
                f"{_name(function)}: the shape of the answer was not found without values ({error}); give it as `like`"
            ) from error
    return jax.tree.map(lambda t: jax.ShapeDtypeStruct(tuple(t.shape), str(t.dtype).removeprefix("torch.")), found)
