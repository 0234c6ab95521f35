"""Solutions of equations in JAX, differentiable with respect to whatever stands in the equations.

The iterations are optimistix's and the linear solves lineax's; here their outcome is checked, and given derivatives of
every order, forward and reverse, under `jax.jit` and `jax.vmap`. Unknowns are pytrees of arrays of one type, float32 or
float64, in which all is computed: float64 within `jax.enable_x64(True)`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import optimistix as optx
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, PyTree

from sciml.errors import InputError
from sciml.implicit._check import DENSE, Check

_CHECK = Check()
_MEMORY, _CYCLES = 60, 40


class _How(eqx.Module):
    name: str = eqx.field(static=True)
    check: Check = eqx.field(static=True)
    symmetric: bool = eqx.field(static=True, default=False)


def root(
    f: Callable[..., PyTree],
    guess: PyTree[Array],
    *args: Any,
    solver: Any = None,
    max_steps: int = 256,
    check: Check = _CHECK,
) -> PyTree[Array]:
    """x with f(x, *args) = 0;  dx/dθ = −(∂f/∂x)⁻¹ ∂f/∂θ.

    Args:
        f: gives a pytree of the shapes and type of `guess`.
        guess: arrays of one type, float32 or float64; gets no derivative.
        args: handed to f, any pytrees. Derivatives are taken with respect to them, and to arrays that f closes over.
        solver: a root finder of optimistix; Newton's method by default, with the rounding of the type to the power 3/4
            as its tolerances.
        max_steps: after which it has failed.
        check: what is done where x is not found, or its derivative is not to be believed.

    Returns:
        x, as `guess`.

    Raises:
        InputError: a guess or an f of another type or shape, or a type that JAX is set to round.
        RuntimeError: no solution was found, or where a derivative is taken, ∂f/∂x is singular or its solve failed.
    """
    return _root(f, *_arrays("guess", guess, args), solver, max_steps, check)


@eqx.filter_jit
def _root(f: Any, guess: Any, args: Any, solver: Any, max_steps: int, check: Check) -> Any:
    x, unravel = _flat(guess)
    function = _closed(f, unravel, x, args, guess)
    tolerance = float(jnp.finfo(x.dtype).eps) ** 0.75
    solver = optx.Newton(tolerance, tolerance) if solver is None else solver
    found = optx.root_find(_stopped(function), solver, x, _stopped(args), max_steps=max_steps, throw=False)
    return unravel(_solution(function, args, found.value, _good(found), _How("root", check)))


def fixed_point(
    f: Callable[..., PyTree],
    guess: PyTree[Array],
    *args: Any,
    solver: Any = None,
    max_steps: int = 2000,
    check: Check = _CHECK,
) -> PyTree[Array]:
    """x = f(x, *args);  dx/dθ = (1 − ∂f/∂x)⁻¹ ∂f/∂θ.

    Args:
        f: gives a pytree of the shapes and type of `guess`.
        guess: arrays of one type, float32 or float64; gets no derivative.
        args: handed to f, as in `root`.
        solver: a fixed-point or root solver of optimistix; Picard's iteration by default.
        max_steps: after which it has failed.
        check: what is done where x is not found, or its derivative is not to be believed.

    Returns:
        x, as `guess`.

    Raises:
        InputError: a guess or an f of another type or shape, or a type that JAX is set to round.
        RuntimeError: no solution was found, or where a derivative is taken, 1 − ∂f/∂x is singular or its solve failed.
    """
    return _fixed_point(f, *_arrays("guess", guess, args), solver, max_steps, check)


@eqx.filter_jit
def _fixed_point(f: Any, guess: Any, args: Any, solver: Any, max_steps: int, check: Check) -> Any:
    x, unravel = _flat(guess)
    g = _closed(f, unravel, x, args, guess)
    tolerance = float(jnp.finfo(x.dtype).eps) ** 0.75
    solver = optx.FixedPointIteration(tolerance, tolerance) if solver is None else solver
    found = optx.fixed_point(_stopped(g), solver, x, _stopped(args), max_steps=max_steps, throw=False)
    return unravel(_solution(_Gap(g), args, found.value, _good(found), _How("fixed_point", check)))


def least_squares(
    residual: Callable[..., PyTree],
    guess: PyTree[Array],
    *args: Any,
    solver: Any = None,
    max_steps: int = 256,
    check: Check = _CHECK,
) -> PyTree[Array]:
    """x = argmin ½‖r(x, *args)‖²;  dx/dθ = −H⁻¹ ∂(Jᵀr)/∂θ, H = ∂(Jᵀr)/∂x = JᵀJ + Σ rᵢ ∂²rᵢ/∂x².

    The whole of H, not JᵀJ alone, which is another derivative wherever r is not zero. What the solver finds is refined
    by Newton's method on Jᵀr = 0, as sums of squares alone tell x to √rounding.

    Args:
        residual: gives a pytree of the type of `guess`, twice differentiable.
        guess: arrays of one type, float32 or float64; gets no derivative.
        args: handed to `residual`, as in `root`.
        solver: a least-squares solver of optimistix; Levenberg and Marquardt's by default, at √rounding.
        max_steps: after which it has failed.
        check: what is done where x is not found, or its derivative is not to be believed.

    Returns:
        x, as `guess`.

    Raises:
        InputError: a guess or a residual of another type, or a type that JAX is set to round.
        RuntimeError: no minimum was found, or where a derivative is taken, H is singular or its solve failed.
    """
    return _least_squares(residual, *_arrays("guess", guess, args), solver, max_steps, check)


@eqx.filter_jit
def _least_squares(residual: Any, guess: Any, args: Any, solver: Any, max_steps: int, check: Check) -> Any:
    x, unravel = _flat(guess)
    r = _closed(residual, unravel, x, args, None)
    rounding = float(jnp.finfo(x.dtype).eps)
    solver = optx.LevenbergMarquardt(rounding**0.5, rounding**0.5) if solver is None else solver
    fixed = _stopped(args)
    found = optx.least_squares(_stopped(r), solver, x, fixed, max_steps=max_steps, throw=False)
    newton, slope = optx.Newton(rounding**0.75, rounding**0.75), _Slope(r)
    better = optx.root_find(_stopped(slope), newton, found.value, fixed, max_steps=10, throw=False)
    before, after = (jnp.sum(_stopped(r)(v, fixed) ** 2) for v in (found.value, better.value))
    x = jnp.where(_good(better) & (after <= before * (1 + 100 * rounding)), better.value, found.value)
    return unravel(_solution(slope, args, x, _good(found), _How("least_squares", check, True)))


def linear_solve(
    operator: Any,
    rhs: PyTree[Array],
    *args: Any,
    symmetric: bool = False,
    check: Check = _CHECK,
) -> PyTree[Array]:
    """x with A x = b;  dx = A⁻¹ (db − dA x).

    Args:
        operator: a matrix (n, n); an operator of lineax; or a function x ↦ A(*args) x on pytrees such as `rhs`.
            Matrices, and functions of up to `sciml.implicit.DENSE` unknowns, are solved by LU, others by GMRES.
        rhs: b, arrays of one type, float32 or float64.
        args: handed to a function.
        symmetric: whether A is, and positive: conjugate gradients instead of GMRES.
        check: what is done where A is singular, or an iterative solve fails.

    Returns:
        x, as `rhs`.

    Raises:
        InputError: shapes or types that do not go together, or a type that JAX is set to round.
        RuntimeError: A is singular, or a solve failed, forward or backward.
    """
    if isinstance(operator, lx.AbstractLinearOperator):
        operator = operator.mv
    rhs, (operator, args) = _arrays("rhs", rhs, (operator, args))
    return _linear_solve(operator, rhs, args, _How("linear_solve", check, symmetric))


@eqx.filter_jit
def _linear_solve(operator: Any, rhs: Any, args: Any, how: _How) -> Any:
    b, unravel = ravel_pytree(rhs)
    if callable(operator):
        product = _closed(operator, unravel, b, args, rhs)
        matrix = jax.jacfwd(lambda v: product(v, args))(b) if b.size <= DENSE else None
        return unravel(_linear(lambda v: product(v, args), b, matrix, how))
    matrix = jnp.asarray(operator)
    if matrix.shape != (b.size, b.size) or matrix.dtype != b.dtype:
        raise InputError(f"operator: expected ({b.size}, {b.size}) of {b.dtype}, got {matrix.shape} of {matrix.dtype}")
    return unravel(_linear(lambda v: matrix @ v, b, matrix, how))


class _Gap(eqx.Module):
    """g(x) − x."""

    g: Any

    def __call__(self, x: Array, args: Any) -> Array:
        return self.g(x, args) - x


class _Slope(eqx.Module):
    """∂/∂x ½‖r‖² = Jᵀr."""

    r: Any

    def __call__(self, x: Array, args: Any) -> Array:
        value, pull = jax.vjp(lambda v: self.r(v, args), x)
        return pull(value)[0]


def _arrays(name: str, tree: Any, args: Any) -> tuple[Any, Any]:
    """Both, with numbers as arrays, and refused where JAX would round them."""
    kinds = {str(getattr(leaf, "dtype", type(leaf).__name__)) for leaf in jax.tree.leaves(tree)}
    if len(kinds) != 1 or not kinds <= {"float32", "float64"}:
        raise InputError(f"{name}: expected arrays of one type, float32 or float64, got {', '.join(sorted(kinds))}")
    refuse_rounding(name, (tree, args))
    return jax.tree.map(lambda v: jnp.asarray(v) if isinstance(v, float | np.ndarray) else v, (tree, args))


def refuse_rounding(name: str, tree: Any) -> None:
    """Raise an InputError where JAX is set to round an array of NumPy."""
    for leaf in jax.tree.leaves(tree):
        if not isinstance(leaf, np.ndarray | np.generic) or not np.issubdtype(leaf.dtype, np.inexact):
            continue
        if jax.dtypes.canonicalize_dtype(leaf.dtype) != leaf.dtype:
            raise InputError(f"{name}: JAX is set to round {leaf.dtype}; call this within jax.enable_x64(True)")


def _flat(guess: Any) -> tuple[Array, Callable[[Array], Any]]:
    """The values of a pytree in a row, without their derivatives, and the way back."""
    x, unravel = ravel_pytree(guess)
    return jax.lax.stop_gradient(x), unravel


def _closed(f: Callable[..., Any], unravel: Any, x: Array, args: Any, like: Any) -> Callable[[Array, Any], Array]:
    """f over rows, with what it closes over as leaves of its own, so that derivatives reach it."""

    def shape(leaf: Any) -> tuple[Any, ...]:
        return jnp.shape(leaf), str(leaf.dtype)

    made = eqx.filter_eval_shape(lambda: f(unravel(x), *args))
    if like is not None and jax.tree.map(shape, made) != jax.tree.map(shape, like):
        raise InputError(f"f: expected {jax.tree.map(shape, like)} as the guess is, got {jax.tree.map(shape, made)}")
    if any(leaf.dtype != x.dtype for leaf in jax.tree.leaves(made)):
        raise InputError(f"f: expected values of {x.dtype} as the guess has, got {jax.tree.map(shape, made)}")
    return eqx.filter_closure_convert(lambda v, a: ravel_pytree(f(unravel(v), *a))[0], x, args)


def _stopped(tree: Any) -> Any:
    return jax.tree.map(lambda v: jax.lax.stop_gradient(v) if eqx.is_inexact_array(v) else v, tree)


def _good(found: Any) -> Bool[Array, ""]:
    return (found.result == optx.RESULTS.successful) & jnp.isfinite(found.value).all()


def _guarded(values: Array, good: Bool[Array, ""], check: Check, message: str) -> tuple[Array, Bool[Array, ""]]:
    """Raise or warn where not `good`, also within compiled functions."""
    if check.on_failure == "raise":
        return eqx.error_if(values, ~good, message), good

    def say(good: Any) -> Any:
        if not np.all(good):
            warnings.warn(f"{message}; derivatives there are NaN", RuntimeWarning, stacklevel=2)
        return good

    return values, jax.pure_callback(say, jax.ShapeDtypeStruct((), bool), good, vmap_method="expand_dims")


def _solution(function: Any, args: Any, x: Array, good: Bool[Array, ""], how: _How) -> Array:
    message = f"{how.name}: no solution was found"
    x, good = _guarded(jax.lax.stop_gradient(x), good, how.check, message)
    return _held(x, (function, args), good, how)


@eqx.filter_custom_jvp
def _held(x: Array, theta: Any, good: Any, how: _How) -> Array:
    """x, as a function of θ through f(x, θ) = 0."""
    return x


@_held.def_jvp
def _held_jvp(primals: Any, tangents: Any) -> Any:
    x, theta, good, how = primals
    moved = tangents[1]
    x = _held(x, theta, good, how)  # so that derivatives of derivatives see it move
    unmoved = jax.tree.map(lambda t: t is None, moved, is_leaf=lambda t: t is None)
    still, free = eqx.partition(theta, unmoved, is_leaf=lambda t: t is None)

    def f(v: Array, free: Any) -> Array:
        function, args = eqx.combine(free, still)
        return function(v, args)

    value, change = jax.jvp(lambda p: f(x, p), (free,), (moved,))
    matrix = None
    if x.size <= DENSE:
        at = jax.lax.stop_gradient((x, free))
        matrix = jax.jacfwd(f)(*at)
        step = jnp.linalg.solve(matrix, jax.lax.stop_gradient(value))
        step = jnp.where(jnp.isfinite(step).all(), step, 0.0)
        gap = jnp.linalg.solve(matrix, jax.jacfwd(f)(at[0] - step, at[1]) - matrix)
        size = jnp.abs(gap).sum(1).max()
        settled = (size <= how.check.settled) | ~jnp.isfinite(
            size
        )  # what is not finite is singular, which is said next
        matrix, settled = _guarded(
            matrix,
            settled | ~good,
            how.check,
            f"{how.name}: the derivative is not settled: one more Newton step would change it by more than "
            f"{how.check.settled:.0%}; the solution is a multiple root, or needs a smaller tolerance",
        )
        good = good & settled
    out = _linear(lambda v: jax.jvp(lambda w: f(w, free), (x,), (v,))[1], -change, matrix, how)
    return x, out * jnp.where(good, 1.0, jnp.nan).astype(out.dtype)


def _linear(product: Callable[[Array], Array], b: Float[Array, " n"], matrix: Array | None, how: _How) -> Array:
    """A⁻¹ b: by LU of `matrix` where it is given, else by products alone; linear in b in forward and reverse mode."""
    rounding = float(jnp.finfo(b.dtype).eps)
    if matrix is not None:
        matrix = jax.lax.stop_gradient(matrix)
        rcond, limit = _rcond(matrix), how.check.rcond(rounding)
        message = f"{how.name}: the Jacobian is singular at the solution, or nearly so"
        matrix, good = _guarded(matrix, rcond > limit, how.check, message)
        matrix = jnp.where(good, matrix, jnp.nan)
        return jax.lax.custom_linear_solve(
            product, b, lambda _, v: jnp.linalg.solve(matrix, v), lambda _, v: jnp.linalg.solve(matrix.T, v)
        )
    limit = how.check.residual(rounding)
    goal = min(limit, rounding**0.75)

    def solve(forward: Callable[[Array], Array], v: Array) -> Array:
        tags = lx.positive_semidefinite_tag if how.symmetric else ()
        operator = lx.FunctionLinearOperator(forward, jax.ShapeDtypeStruct(v.shape, v.dtype), tags)
        method = lx.GMRES(0.0, goal, max_steps=_MEMORY * _CYCLES, restart=_MEMORY, stagnation_iters=_MEMORY)
        if how.symmetric:
            method = lx.CG(0.0, goal, max_steps=_MEMORY * _CYCLES)
        size = jnp.abs(v).max()  # tolerances of lineax are those of single values
        size = jnp.where(size == 0, 1.0, size).astype(v.dtype)
        found = size * lx.linear_solve(operator, v / size, method, throw=False).value
        good = jnp.linalg.norm(forward(found) - v) <= limit * jnp.linalg.norm(v)
        message = f"{how.name}: a linear solve left more than {limit:.1e} of its right-hand side"
        found, good = _guarded(found, good, how.check, message)
        return jnp.where(good, found, jnp.nan)

    return jax.lax.custom_linear_solve(product, b, solve, solve, symmetric=how.symmetric)


def _rcond(matrix: Float[Array, "n n"]) -> Float[Array, ""]:
    """1 / (‖A‖₁ ‖A⁻¹‖₁), rows and columns scaled to one; NaN or 0 where A is singular."""
    along = jnp.abs(matrix).max(1, keepdims=True)
    scaled = matrix / jnp.where(along == 0, 1, along)
    down = jnp.abs(scaled).max(0, keepdims=True)
    scaled = scaled / jnp.where(down == 0, 1, down)
    return 1 / (jnp.abs(scaled).sum(0).max() * jnp.abs(jnp.linalg.inv(scaled)).sum(0).max())
