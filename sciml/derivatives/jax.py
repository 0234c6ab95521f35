"""Balances in JAX: on arrays as in `sciml.derivatives.numpy`, and on functions by automatic differentiation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Float

from sciml.derivatives._backend import Backend
from sciml.derivatives._lattice import Lattice
from sciml.derivatives._pointwise import Pointwise
from sciml.expressions import Balance
from sciml.support import Grid

backend = Backend(
    asarray=lambda values, like: jnp.asarray(values, dtype=like.dtype),
    take=lambda values, indices, axis: jnp.take(values, indices, axis=axis),
    concatenate=lambda arrays, axis: jnp.concatenate(arrays, axis=axis),
    stack=lambda arrays, axis: jnp.stack(arrays, axis=axis),
    broadcast=jnp.broadcast_to,
    rfft=lambda values, axis: jnp.fft.rfft(values, axis=axis),
    irfft=lambda values, n, axis: jnp.fft.irfft(values, n, axis=axis),
    functions={"sin": jnp.sin, "cos": jnp.cos, "exp": jnp.exp, "log": jnp.log, "sqrt": jnp.sqrt, "tanh": jnp.tanh},
)
_pointwise = Pointwise(
    functions=backend.functions,
    derivative=lambda f, point, direction: jax.jvp(f, (point,), (direction,))[1],
    unit=lambda point, axis: jnp.zeros_like(point).at[axis].set(1.0),
    vmap=jax.vmap,
)


def lattice(grid: Grid, fields: Mapping[str, Float[jax.Array, "*batch_shape"]], **given: Any) -> Lattice:
    """The evaluator for fields on `grid`; for the arguments see `Lattice`. Traceable, differentiable, vmappable."""
    return Lattice(backend, grid, fields, **given)


def strong(
    balance: Balance, grid: Grid, fields: Mapping[str, Float[jax.Array, "*batch_shape"]], **given: Any
) -> Float[jax.Array, "*component_batch_shape"]:
    """∂t storage + ∇·flux − source at cell centres: array like a field, or (C, ...) for C components."""
    return _joined(lattice(grid, fields, **given).strong(balance))


def finite_volume(
    balance: Balance, grid: Grid, fields: Mapping[str, Float[jax.Array, "*batch_shape"]], **given: Any
) -> Float[jax.Array, "*component_batch_shape"]:
    """The balance of every cell divided by its volume: array like a field, or (C, ...) for C components."""
    return _joined(lattice(grid, fields, **given).finite_volume(balance))


def fluxes(
    balance: Balance, grid: Grid, fields: Mapping[str, Float[jax.Array, "*batch_shape"]], **given: Any
) -> list[list[Float[jax.Array, "*_batch_faces"]]]:
    """Face fluxes per area: [component][axis]."""
    return lattice(grid, fields, **given).fluxes(balance)


def residual(
    balance: Balance,
    functions: Mapping[str, Callable[[Any], Any]],
    points: Float[jax.Array, "point coordinate"],
    parameters: Mapping[str, Any] | None = None,
    inputs: Mapping[str, Callable[[Any], Any]] | None = None,
) -> Float[jax.Array, "*component point"]:
    """The strong form at points, exact up to rounding, by automatic differentiation of functions.

    Args:
        functions: field name -> f(z), z = (x, y, ..., t) of shape (D + 1,), returning a scalar.
        points: (N, D + 1) points, time last (also for steady problems, where it is ignored).
        parameters: scalars by name.
        inputs: input name -> f(z).

    Returns:
        (N,) or (C, N).
    """
    return _joined(_pointwise.residual(balance, functions, points, parameters or {}, inputs or {}))


def _joined(rows: list[Any]) -> Any:
    return rows[0] if len(rows) == 1 else backend.stack(rows, 0)
