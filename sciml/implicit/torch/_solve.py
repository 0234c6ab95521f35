"""The four kinds of equation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.errors import InputError
from sciml.implicit._check import Check
from sciml.implicit.torch._anderson import Anderson
from sciml.implicit.torch._attach import Equation, attach, checked_matrix, krylov
from sciml.implicit.torch._levenberg_marquardt import LevenbergMarquardt
from sciml.implicit.torch._members import Rows, largest, members, report, rows
from sciml.implicit.torch._newton import Newton

Solver = Newton | Anderson
_CHECK, _NEWTON, _ANDERSON, _LM = Check(), Newton(), Anderson(), LevenbergMarquardt()


def root(
    f: Callable[..., Tensor],
    guess: Float[Tensor, "*shape"],
    *args: Any,
    solver: Newton = _NEWTON,
    check: Check = _CHECK,
    batched: bool = False,
) -> Float[Tensor, "*shape"]:
    """x with f(x, *args) = 0;  dx/dθ = −(∂f/∂x)⁻¹ ∂f/∂θ.

    Args:
        f: gives a tensor of the shape and type of `guess`.
        guess: float32 or float64 of any shape; gets no gradient.
        args: handed to f: tensors, or containers of tensors. Gradients go to them, and to what f closes over, such as
            the weights of a module.
        solver: how x is found.
        check: what is done where x is not found, or its derivative is not to be believed.
        batched: whether the first axis of guess and of f holds independent systems.

    Returns:
        x, of the shape of `guess`.

    Raises:
        ConvergenceError: no solution was found; in the backward pass, ∂f/∂x is singular, or the linear solve failed.
        InputError: a guess or an f of another type or shape.
    """
    start = members("guess", guess, batched)
    equation = Equation(lambda a: rows(f, a, guess, batched, True), args, check, "root")
    return _solved(equation, solver.solve, start).reshape(guess.shape)


def fixed_point(
    f: Callable[..., Tensor],
    guess: Float[Tensor, "*shape"],
    *args: Any,
    solver: Solver = _ANDERSON,
    check: Check = _CHECK,
    batched: bool = False,
) -> Float[Tensor, "*shape"]:
    """x = f(x, *args);  dx/dθ = (1 − ∂f/∂x)⁻¹ ∂f/∂θ.

    Args:
        f: gives a tensor of the shape and type of `guess`.
        guess: float32 or float64 of any shape; gets no gradient.
        args: handed to f, as in `root`.
        solver: `Anderson`, with memory 0 for Picard's iteration, or `Newton` on f(x) − x.
        check: what is done where x is not found, or its derivative is not to be believed.
        batched: whether the first axis of guess and of f holds independent systems.

    Returns:
        x, of the shape of `guess`.

    Raises:
        ConvergenceError: no solution was found; in the backward pass, 1 − ∂f/∂x is singular, or the solve failed.
        InputError: a guess or an f of another type or shape.
    """
    start = members("guess", guess, batched)

    def bind(a: tuple[Any, ...]) -> Rows:
        g = rows(f, a, guess, batched, True)
        return lambda x: g(x) - x

    equation = Equation(bind, args, check, "fixed_point")
    return _solved(equation, solver.solve, start).reshape(guess.shape)


def least_squares(
    residual: Callable[..., Tensor],
    guess: Float[Tensor, "*shape"],
    *args: Any,
    solver: LevenbergMarquardt = _LM,
    check: Check = _CHECK,
    batched: bool = False,
) -> Float[Tensor, "*shape"]:
    """x = argmin ½‖r(x, *args)‖²;  dx/dθ = −H⁻¹ ∂(Jᵀr)/∂θ, H = ∂(Jᵀr)/∂x = JᵀJ + Σ rᵢ ∂²rᵢ/∂x².

    The whole of H, not JᵀJ alone, which is another derivative wherever r is not zero.

    Args:
        residual: gives a tensor of the type of `guess`, twice differentiable.
        guess: float32 or float64 of any shape; gets no gradient.
        args: handed to `residual`, as in `root`.
        solver: how x is found.
        check: what is done where x is not found, or its derivative is not to be believed.
        batched: whether the first axis of guess and of residual holds independent systems.

    Returns:
        x, of the shape of `guess`.

    Raises:
        ConvergenceError: no minimum was found; in the backward pass, H is singular, or the linear solve failed.
        InputError: a guess or a residual of another type, or too many unknowns for the solver.
    """
    start = members("guess", guess, batched)

    def bind(a: tuple[Any, ...]) -> Rows:
        r = rows(residual, a, guess, batched, False)

        def slope(x: Tensor) -> Tensor:
            value, pull = torch.func.vjp(r, x)  # pyright: ignore[reportAssignmentType]
            return pull(value)[0]

        return slope

    equation = Equation(bind, args, check, "least_squares", symmetric=True)
    with torch.no_grad():
        x, done = solver.solve(rows(residual, args, guess, batched, False), start)
    return _reported(equation, x, done).reshape(guess.shape)


def linear_solve(
    operator: Tensor | Callable[..., Tensor],
    rhs: Float[Tensor, "*shape"],
    *args: Any,
    symmetric: bool = False,
    check: Check = _CHECK,
    batched: bool = False,
) -> Float[Tensor, "*shape"]:
    """x with A x = b;  dx = A⁻¹ (db − dA x).

    Args:
        operator: a matrix (n, n), or (B, n, n) with `batched`, solved by LU; or a function x ↦ A(*args) x on tensors of
            the shape of `rhs`, solved by GMRES.
        rhs: b, float32 or float64.
        args: handed to a function.
        symmetric: whether A is, and positive: conjugate gradients instead of GMRES.
        check: what is done where A is singular, or an iterative solve fails.
        batched: whether the first axis of rhs holds independent systems.

    Returns:
        x, of the shape of `rhs`.

    Raises:
        ConvergenceError: A is singular, or a solve failed, forward or backward.
        InputError: shapes or types that do not go together.
    """
    b = members("rhs", rhs, batched)
    if isinstance(operator, Tensor):
        return _by_matrix(operator, rhs, len(b), b.shape[1], check, batched)

    def bind(a: tuple[Any, ...]) -> Rows:
        right, *rest = a
        product = rows(operator, tuple(rest), rhs, batched, True)
        return lambda x: product(x) - right.reshape(b.shape)

    equation = Equation(bind, (rhs, *args), check, "linear_solve", symmetric, linear=True)
    with torch.no_grad():
        x = krylov(rows(operator, args, rhs, batched, True), b, check, "linear_solve", "forward", symmetric)
    return attach(equation, x, torch.isfinite(x).all(-1)).reshape(rhs.shape)


def _by_matrix(operator: Tensor, rhs: Tensor, count: int, n: int, check: Check, batched: bool) -> Tensor:
    """By LU, whose derivatives torch has itself."""
    shapes = [(n, n), (count, n, n)] if batched else [(n, n)]
    if operator.layout != torch.strided or operator.shape not in shapes or rhs.ndim != 1 + batched:
        raise InputError(
            f"operator: expected a full matrix of shape {' or '.join(map(str, shapes))} for a right-hand side "
            f"{tuple(rhs.shape)}, got {tuple(operator.shape)}, {operator.layout}; for others hand in x ↦ A x"
        )
    if operator.dtype != rhs.dtype:
        raise InputError(f"operator: expected {rhs.dtype} as the right-hand side has, got {operator.dtype}")
    matrix = operator.expand(count, n, n)
    with torch.no_grad():
        good = checked_matrix(check, "linear_solve", matrix, None)[1]
    x = torch.linalg.solve_ex(matrix, rhs.reshape(count, n, 1))[0].reshape(count, n)
    return (x * torch.where(good, 1.0, torch.nan).to(x.dtype)[:, None]).reshape(rhs.shape)  # NaN in derivatives too


def _solved(equation: Equation, solve: Any, start: Tensor) -> Tensor:
    with torch.no_grad():
        x, done = solve(equation.bind(equation.args), start)
    return _reported(equation, x, done)


def _reported(equation: Equation, x: Tensor, done: Tensor) -> Tensor:
    if not bool(done.all()):
        with torch.no_grad():
            left = float(largest(equation.bind(equation.args)(x)).max())
        report(equation.check, ~done, f"{equation.name}: no solution was found; the equation is left with {left:.2e}")
    return attach(equation, x, done)
