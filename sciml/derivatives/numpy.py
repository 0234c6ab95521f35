"""Balances on NumPy arrays: finite differences, spectral derivatives and finite volumes on structured grids."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from sciml.derivatives._backend import Backend
from sciml.derivatives._lattice import Lattice
from sciml.expressions import Balance
from sciml.support import Grid

backend = Backend(
    asarray=lambda values, like: np.asarray(values, dtype=like.dtype),
    take=lambda values, indices, axis: np.take(values, indices, axis=axis),
    concatenate=lambda arrays, axis: np.concatenate(arrays, axis=axis),
    stack=lambda arrays, axis: np.stack(arrays, axis=axis),
    broadcast=np.broadcast_to,
    rfft=lambda values, axis: np.fft.rfft(values, axis=axis),
    irfft=lambda values, n, axis: np.fft.irfft(values, n, axis=axis),
    functions={"sin": np.sin, "cos": np.cos, "exp": np.exp, "log": np.log, "sqrt": np.sqrt, "tanh": np.tanh},
)


def lattice(grid: Grid, fields: Mapping[str, Float[np.ndarray, "*batch_shape"]], **given: Any) -> Lattice:
    """The evaluator for fields on `grid`; for the arguments see `Lattice`."""
    return Lattice(backend, grid, fields, **given)


def strong(
    balance: Balance, grid: Grid, fields: Mapping[str, Float[np.ndarray, "*batch_shape"]], **given: Any
) -> Float[np.ndarray, "*component_batch_shape"]:
    """∂t storage + ∇·flux − source at cell centres: array like a field, or (C, ...) for C components."""
    return _joined(lattice(grid, fields, **given).strong(balance))


def finite_volume(
    balance: Balance, grid: Grid, fields: Mapping[str, Float[np.ndarray, "*batch_shape"]], **given: Any
) -> Float[np.ndarray, "*component_batch_shape"]:
    """The balance of every cell divided by its volume: array like a field, or (C, ...) for C components."""
    return _joined(lattice(grid, fields, **given).finite_volume(balance))


def fluxes(
    balance: Balance, grid: Grid, fields: Mapping[str, Float[np.ndarray, "*batch_shape"]], **given: Any
) -> list[list[Float[np.ndarray, "*_batch_faces"]]]:
    """Face fluxes per area: [component][axis]."""
    return lattice(grid, fields, **given).fluxes(balance)


def _joined(rows: list[Any]) -> Any:
    return rows[0] if len(rows) == 1 else backend.stack(rows, 0)
