"""What all providers offer, whatever their array library."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float

from sciml.derivatives._backend import Backend
from sciml.derivatives._lattice import Lattice
from sciml.derivatives._pointwise import Pointwise
from sciml.errors import InputError
from sciml.expressions import Balance
from sciml.support import Grid

Fields = Mapping[str, Float[Any, "*batch_shape"]]


@dataclass(frozen=True)
class Provider:
    """Turns balances into arrays of one library; on NumPy's as they are, on those of JAX and torch differentiably.

    Args:
        pointwise: for a library that differentiates functions.
    """

    backend: Backend
    pointwise: Pointwise | None = None

    def lattice(self, grid: Grid, fields: Fields, **given: Any) -> Lattice:
        """The evaluator for fields on `grid`; for the arguments see `Lattice`."""
        return Lattice(self.backend, grid, fields, **given)

    def strong(
        self, balance: Balance, grid: Grid, fields: Fields, **given: Any
    ) -> Float[Any, "*component_batch_shape"]:
        """∂t storage + ∇·flux − source at cell centres: array like a field, or (C, ...) for C components."""
        return self._joined(self.lattice(grid, fields, **given).strong(balance))

    def finite_volume(
        self, balance: Balance, grid: Grid, fields: Fields, **given: Any
    ) -> Float[Any, "*component_batch_shape"]:
        """The balance of every cell divided by its volume: array like a field, or (C, ...) for C components."""
        return self._joined(self.lattice(grid, fields, **given).finite_volume(balance))

    def fluxes(
        self, balance: Balance, grid: Grid, fields: Fields, **given: Any
    ) -> list[list[Float[Any, "*_batch_faces"]]]:
        """Face fluxes per area: [component][axis]."""
        return self.lattice(grid, fields, **given).fluxes(balance)

    def residual(
        self,
        balance: Balance,
        functions: Mapping[str, Callable[[Any], Any]],
        points: Float[Any, "point coordinate"],
        parameters: Mapping[str, Any] | None = None,
        inputs: Mapping[str, Callable[[Any], Any]] | None = None,
    ) -> Float[Any, "*component point"]:
        """The strong form at points, exact up to rounding, by automatic differentiation of functions.

        Args:
            functions: field name -> f(z), z = (x, y, ..., t) of shape (D + 1,), returning a scalar.
            points: (N, D + 1) points, time last (also for steady problems, where it is ignored).
            parameters: scalars by name.
            inputs: input name -> f(z).

        Returns:
            (N,) or (C, N).

        Raises:
            InputError: the library differentiates no functions.
        """
        if self.pointwise is None:
            raise InputError("residual: NumPy differentiates no functions; use sciml.derivatives.jax or .torch")
        return self._joined(self.pointwise.residual(balance, functions, points, parameters or {}, inputs or {}))

    def _joined(self, rows: list[Any]) -> Any:
        return rows[0] if len(rows) == 1 else self.backend.stack(rows, 0)
