"""Fluxes through the boundary that a body embeds in a grid."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from sciml.boundary import Condition, Flux
from sciml.errors import InputError
from sciml.expressions import Coordinate, Expression, Field, Input, Partial, evaluate, leaves
from sciml.support.embedded import WITHIN

if TYPE_CHECKING:
    from sciml.derivatives._lattice import Lattice
    from sciml.support import EmbeddedBoundary


class Walls:
    """Evaluates fluxes on the pieces of wall in the cells of a lattice; arrays (..., n), n pieces.

    A field has the value and the slope along the normal that its condition gives, see `sciml.support.embedded`; where
    there is none, those of the fluid beside it. What a field changes by along the wall is left out: no flux of an
    isotropic medium knows it.
    """

    def __init__(self, lattice: Lattice, body: EmbeddedBoundary):
        self.lattice, self.body = lattice, body
        self._known: dict[str, tuple[Any, Any]] = {}

    def outflow(self, storage: Expression | None, flux: tuple[Expression, ...]) -> Any:
        """What goes through the wall of each cell, over the volume of a whole cell: (..., y, x)."""
        body, lattice = self.body, self.lattice
        total: Any = 0.0
        memory: dict[Expression, Any] = {}
        for axis, component in enumerate(flux):
            found = evaluate(component, self._leaf, self._partial, lattice.backend.functions, memory)
            total = total + found * self._array(body.normals[:, axis])
        told = flux if storage is None else (storage,)
        fields = {leaf.name for e in told for leaf in leaves(e) if isinstance(leaf, Field)}
        for k, name in enumerate(body.names):
            given = self._conditions(name)
            condition = next((c for f, c in given.items() if f in fields and isinstance(c, Flux)), None)
            if condition is not None:
                here = self._array(body.part == k)
                total = total * (1 - here) + self._given(condition) * here
        shares = body.areas / body.grid.volumes().ravel()[body.cells]
        return self._spread(total * self._array(shares))

    def _leaf(self, e: Expression) -> Any:
        match e:
            case Field(name):
                return self._field(name)[0]
            case Input():
                return self._take(self.lattice._as_cells(self.lattice._cell_leaf(e)), self.body.cells)
            case Coordinate(axis):
                return self._array(self.body.points[:, axis])
        return self.lattice._cell_leaf(e)

    def _partial(self, e: Partial) -> Any:
        if not isinstance(e.argument, Field):
            raise InputError(f"a flux with the derivative of {e.argument}: expected those of fields alone at a body")
        return -1.0 * self._array(self.body.normals[:, e.axis]) * self._field(e.argument.name)[1]

    def _field(self, name: str) -> tuple[Any, Any]:
        """(value, slope inwards)."""
        if name in self._known:
            return self._known[name]
        body, stiffness = self.body, self._array(self.body.stiffness)
        near = self._take(self.lattice._as_cells(self.lattice._cell_leaf(Field(name))), body.index.ravel())
        near = near.reshape((*near.shape[:-1], *body.index.shape))
        rest = (near * self._array(body.slope)).sum(-1)
        value, slope = ((near * self._array(w)).sum(-1) for w in (body.value, body.free))
        for k, part in enumerate(body.names):
            condition = self._conditions(part).get(name)
            if condition is None or condition.law is None:
                continue
            (a, b), here = condition.law, self._array(body.part == k)
            found = (self._given(condition) + b * rest) / (a + b * stiffness)
            value = value * (1 - here) + found * here
            slope = slope * (1 - here) + (rest - stiffness * found) * here
        self._known[name] = (value, slope)
        return value, slope

    def _conditions(self, part: str) -> Mapping[str, Condition]:
        boundary = self.lattice.boundary
        return boundary.get(part + WITHIN) or boundary.get(part, {})

    def _given(self, condition: Condition) -> Any:
        points = self.body.points if condition.in_space else None
        value = condition.at(self.lattice.time, points)
        if getattr(value, "ndim", 0) and tuple(value.shape) != (len(self.body.cells),):
            raise InputError(
                f"boundary condition: an array of shape {tuple(value.shape)} on a body; expected a function of points, "
                "or Samples"
            )
        return self.lattice.backend.asarray(value, self.lattice.like)

    def _array(self, values: np.ndarray) -> Any:
        return self.lattice.backend.asarray(np.asarray(values, dtype=np.float64), self.lattice.like)

    def _take(self, values: Any, cells: np.ndarray) -> Any:
        flat = values.reshape((*values.shape[: -self.lattice.grid.dimensions], -1))
        return self.lattice.backend.take(flat, cells, -1)

    def _spread(self, values: Any) -> Any:
        """(..., n) on the cells; nothing where there is no wall."""
        place = self.body.place
        shape = tuple(self.lattice.like.shape)[: -self.lattice.grid.dimensions]
        values = self.lattice.backend.broadcast(values, (*shape, len(self.body.cells)))
        none = 0.0 * self._take(self.lattice.like, np.zeros(1, int))
        found = self.lattice.backend.take(self.lattice.backend.concatenate([values, none], -1), place.ravel(), -1)
        return found.reshape((*shape, *place.shape))
