"""Balances in torch: on tensors as in `sciml.derivatives.numpy`, and on functions by automatic differentiation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from jaxtyping import Float

from sciml.derivatives._backend import Backend
from sciml.derivatives._lattice import Lattice
from sciml.derivatives._pointwise import Pointwise
from sciml.expressions import Balance
from sciml.support import Grid


def _asarray(values: Any, like: torch.Tensor) -> torch.Tensor:
    return torch.as_tensor(values, dtype=like.dtype, device=like.device)


def _take(values: torch.Tensor, indices: Any, axis: int) -> torch.Tensor:
    return torch.index_select(values, axis, torch.as_tensor(indices, device=values.device))


def _unit(point: torch.Tensor, axis: int) -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.tensor(axis, device=point.device), point.shape[-1]).to(point.dtype)


backend = Backend(
    asarray=_asarray,
    take=_take,
    concatenate=lambda arrays, axis: torch.cat(arrays, dim=axis),
    stack=lambda arrays, axis: torch.stack(arrays, dim=axis),
    broadcast=torch.broadcast_to,
    rfft=lambda values, axis: torch.fft.rfft(values, dim=axis),
    irfft=lambda values, n, axis: torch.fft.irfft(values, n, dim=axis),
    functions={
        "sin": torch.sin, "cos": torch.cos, "exp": torch.exp, "log": torch.log, "sqrt": torch.sqrt, "tanh": torch.tanh,
    },
)  # fmt: skip
_pointwise = Pointwise(
    functions=backend.functions,
    derivative=lambda f, point, direction: torch.func.jvp(f, (point,), (direction,))[1],
    unit=_unit,
    vmap=torch.func.vmap,
)


def lattice(grid: Grid, fields: Mapping[str, Float[torch.Tensor, "*batch_shape"]], **given: Any) -> Lattice:
    """The evaluator for fields on `grid`; for the arguments see `Lattice`. Differentiable."""
    return Lattice(backend, grid, fields, **given)


def strong(
    balance: Balance, grid: Grid, fields: Mapping[str, Float[torch.Tensor, "*batch_shape"]], **given: Any
) -> Float[torch.Tensor, "*component_batch_shape"]:
    """∂t storage + ∇·flux − source at cell centres: tensor like a field, or (C, ...) for C components."""
    return _joined(lattice(grid, fields, **given).strong(balance))


def finite_volume(
    balance: Balance, grid: Grid, fields: Mapping[str, Float[torch.Tensor, "*batch_shape"]], **given: Any
) -> Float[torch.Tensor, "*component_batch_shape"]:
    """The balance of every cell divided by its volume: tensor like a field, or (C, ...) for C components."""
    return _joined(lattice(grid, fields, **given).finite_volume(balance))


def fluxes(
    balance: Balance, grid: Grid, fields: Mapping[str, Float[torch.Tensor, "*batch_shape"]], **given: Any
) -> list[list[Float[torch.Tensor, "*_batch_faces"]]]:
    """Face fluxes per area: [component][axis]."""
    return lattice(grid, fields, **given).fluxes(balance)


def residual(
    balance: Balance,
    functions: Mapping[str, Callable[[Any], Any]],
    points: Float[torch.Tensor, "point coordinate"],
    parameters: Mapping[str, Any] | None = None,
    inputs: Mapping[str, Callable[[Any], Any]] | None = None,
) -> Float[torch.Tensor, "*component point"]:
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
