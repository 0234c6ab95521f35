"""The derivative of a solution, whatever found it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from sciml.implicit._check import DENSE, Check
from sciml.implicit.torch._krylov import conjugate_gradients, gmres, relative_residual
from sciml.implicit.torch._members import Rows, jacobian, report


@dataclass(frozen=True, eq=False)
class Equation:
    """f(x, θ) = 0 over rows, with θ in the tensors of `args`.

    Args:
        bind: from args to x ↦ f(x, *args).
        args: any pytree.
        check: what is done where the derivative fails.
        name: of the public function, for messages.
        symmetric: whether ∂f/∂x is.
        linear: whether f is linear in x, so that its Jacobian is settled anywhere.
    """

    bind: Callable[[tuple[Any, ...]], Rows]
    args: tuple[Any, ...]
    check: Check
    name: str
    symmetric: bool = False
    linear: bool = False


def attach(equation: Equation, x: Tensor, converged: Tensor) -> Tensor:
    """x (B, n), with the derivative that f(x, θ) = 0 gives it with respect to every tensor that f depends on.

    f is evaluated once with its graph, at x held fixed, which gives ∂f/∂θ, of tensors that f closes over too; the
    backward pass hands −(∂f/∂x)⁻ᵀ v to that graph. Nothing is kept of the iterations.
    """
    if not torch.is_grad_enabled():
        return x
    value = equation.bind(equation.args)(x)
    leaves, tree = tree_flatten(equation.args)
    tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]

    def rebuilt(given: tuple[Tensor, ...]) -> Rows:
        found = iter(given)
        return equation.bind(tree_unflatten([next(found) if isinstance(v, Tensor) else v for v in leaves], tree))

    return _Solution.apply(equation, rebuilt, converged, x, value, *tensors)  # pyright: ignore[reportReturnType]


class _Solution(torch.autograd.Function):
    """(x, f(x, θ)) ↦ x, with −(∂f/∂x)⁻ᵀ as the derivative with respect to f(x, θ)."""

    @staticmethod
    def forward(equation, rebuilt, converged, x, value, *tensors):  # type: ignore[no-untyped-def]
        return x.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.equation, ctx.rebuilt, ctx.converged, x, value, *tensors = inputs
        ctx.save_for_backward(x, value, *tensors)  # which notices where one of them was changed in place since

    @staticmethod
    def backward(ctx: Any, v: Tensor) -> tuple[Any, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        x, value, *tensors = ctx.saved_tensors
        with torch.no_grad():
            solve = _dense if x.shape[1] <= DENSE else _iterative
            found = solve(ctx.equation, ctx.rebuilt(tuple(tensors)), x.detach(), value, v)
            found = torch.where(ctx.converged[:, None], found, torch.nan)
        if torch.is_grad_enabled():  # create_graph: what is found here has no derivative
            found = _Once.apply(ctx.equation.name, found, value, *tensors)
        return None, None, None, None, -found, *(None for _ in tensors)


class _Once(torch.autograd.Function):
    """Identity of its second argument, which refuses to be differentiated."""

    generate_vmap_rule = True

    @staticmethod
    def forward(name, found, value, *tensors):  # type: ignore[no-untyped-def]
        return found.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.name = inputs[0]

    @staticmethod
    def backward(ctx: Any, *v: Any) -> Any:
        raise RuntimeError(
            f"{ctx.name}: solutions are differentiable once in torch; a second derivative was asked for. "
            "sciml.implicit.jax has derivatives of every order"
        )


def checked_matrix(check: Check, name: str, matrix: Tensor, change: Tensor | None) -> tuple[Tensor, Tensor]:
    """J⁻¹ (B, n, n), and (B,) where J is to be believed.

    Args:
        matrix: (B, n, n) J.
        change: (B, n, n) J(x − δ) − J(x), or None where it is zero.
    """
    along = matrix.abs().amax(-1, keepdim=True)
    scaled = matrix / torch.where(along == 0, 1.0, along)
    down = scaled.abs().amax(-2, keepdim=True)
    scaled = scaled / torch.where(down == 0, 1.0, down)
    inverse, failed = torch.linalg.inv_ex(scaled)
    one = torch.linalg.matrix_norm
    rcond = 1 / (one(scaled, 1) * one(inverse, 1))
    good = (failed == 0) & (rcond > check.rcond(torch.finfo(matrix.dtype).eps))  # not where NaN
    report(check, ~good, f"{name}: the Jacobian is singular at the solution, or nearly so")
    inverse = inverse / down.mT / along.mT
    if change is not None:
        settled = one(inverse @ change, torch.inf) <= check.settled
        message = (
            f"{name}: the derivative is not settled: one more Newton step would change it by more than "
            f"{check.settled:.0%}; the solution is a multiple root, or needs a smaller tolerance"
        )
        report(check, good & ~settled, message)
        good = good & settled
    return inverse, good


def _dense(equation: Equation, f: Rows, x: Tensor, value: Tensor, v: Tensor) -> Tensor:
    matrix, change = jacobian(f, x), None
    if not equation.linear:
        step = torch.linalg.solve_ex(matrix, value)[0]
        moved = torch.where(torch.isfinite(step).all(-1, keepdim=True), x - step, x)
        change = jacobian(f, moved) - matrix
    inverse, good = checked_matrix(equation.check, equation.name, matrix, change)
    return torch.where(good[:, None], (v[:, None] @ inverse)[:, 0], torch.nan)


def _iterative(equation: Equation, f: Rows, x: Tensor, value: Tensor, v: Tensor) -> Tensor:
    pull = torch.func.vjp(f, x)[1]
    return krylov(lambda w: pull(w)[0], v, equation.check, equation.name, "backward", equation.symmetric)


def krylov(product: Rows, b: Tensor, check: Check, name: str, which: str, symmetric: bool) -> Tensor:
    """A⁻¹ b from products with A, NaN where the residual is too large."""
    rounding = torch.finfo(b.dtype).eps
    limit = check.residual(rounding)
    found = (conjugate_gradients if symmetric else gmres)(product, b, min(limit, rounding**0.75))
    good = relative_residual(product, found, b) <= limit
    report(check, ~good, f"{name}: the {which} linear solve left more than {limit:.1e} of its right-hand side")
    return torch.where(good[:, None], found, torch.nan)
