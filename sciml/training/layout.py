"""Where the balances of a case live: the grid, the conditions on its sides, and which cells are control volumes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from sciml._audit.bodies import cut_cells, embedded
from sciml._audit.view import parts_of, second_fluid
from sciml.boundary import Condition, Flux, Periodic
from sciml.derivatives import hold_on_part, upwind
from sciml.derivatives import numpy as on_arrays
from sciml.expressions import Balance
from sciml.geometry import SIDES
from sciml.problem import Case
from sciml.support import Grid


@dataclass(frozen=True)
class Told:
    """A condition that says a value: on a whole side of the grid, or on some faces of it.

    Args:
        boundary, field: whose it is.
        axis, end: the side.
        here: (face,) which of its faces; None for all.
    """

    boundary: str
    field: str
    axis: int
    end: int
    here: np.ndarray | None

    def values(self, case: Case, grid: Grid, time: float) -> np.ndarray:
        """(1, ..., 1) where it is the same along the boundary, else over one layer of faces."""
        condition = case.boundary_conditions[self.boundary][self.field]
        if self.here is None and not condition.in_space:
            return np.full((1,) * grid.dimensions, float(condition.at(time)))
        points, shape = grid.side_points(self.axis, self.end), list(grid.shape)
        shape[-1 - self.axis] = 1
        if self.here is None:
            return np.asarray(condition.at(time, points), dtype=np.float64).reshape(shape)
        found = np.zeros(self.here.shape)
        found[self.here] = condition.at(time, points[self.here])
        return found.reshape(shape)


@dataclass(frozen=True, eq=False)
class _Known(Condition):
    """A condition whose values are there already, for all cases of a batch and the time at hand."""

    of: Condition | None = None

    @property
    def law(self) -> tuple[float, float] | None:
        return None if self.of is None else self.of.law

    @property
    def in_space(self) -> bool:
        return self.of is not None and self.of.in_space

    def at(self, time: Any, points: np.ndarray | None = None) -> Any:
        return self.value


class Layout:
    """What the cases of a batch must have in common to go through one lattice.

    Args:
        case: one of them.
        grid: where its values live.
        fields: that are answered.

    Boxes of different size have one layout, which counts in units of their lengths (`stretch`).
    """

    def __init__(self, case: Case, grid: Grid, fields: Sequence[str]):
        self.fields, self.case = tuple(fields), case
        wet = np.ones(grid.shape, bool) if (mask := case.mask(grid)) is None else mask != 0
        bare = Grid(grid.faces, grid.periodic)
        self.fluid = wet & ~cut_cells(case, bare, embedded(case, bare))
        self.stretches = bool(self.fluid.all())
        self.grid = bare
        if self.stretches:
            lengths = self.lengths(grid)
            self.grid = Grid(tuple(f / n for f, n in zip(grid.faces, lengths, strict=True)), grid.periodic)
        parts = parts_of(case, bare)
        sides = {boundary: case.geometry.boundaries[boundary].side for boundary in parts}
        conditions = case.boundary_conditions
        self.told = [
            Told(boundary, name, axis, end, None if boundary in SIDES else here)
            for boundary, where in parts.items()
            for axis, end, here in where
            for name, condition in conditions[boundary].items()
            if name in self.fields and not isinstance(condition, Periodic)
            and (boundary in SIDES or (sides[boundary] is None and condition.given))
        ]  # fmt: skip
        self.open = [
            (phase, velocity[axis], axis, end, here)
            for boundary, where in parts.items()
            for phase, velocity in second_fluid(case, boundary)
            for axis, end, here in where
            if phase in self.fields and velocity[axis] in self.fields
        ]

    @staticmethod
    def lengths(grid: Grid) -> tuple[float, ...]:
        return tuple(float(b - a) for a, b in grid.extents)

    @cached_property
    def key(self) -> tuple[Any, ...]:
        """Equal for layouts that are the same."""
        conditions = self.case.boundary_conditions
        told = tuple(
            (t.boundary, t.field, t.axis, t.end, None if t.here is None else t.here.tobytes(), type(c).__name__, c.law,
             c.in_space)
            for t in self.told for c in [conditions[t.boundary][t.field]]
        )  # fmt: skip
        faces = tuple((np.round(f, 10) + 0.0).tobytes() for f in self.grid.faces)
        fluid = b"" if self.stretches else self.fluid.tobytes()
        return (self.grid.shape, faces, self.grid.periodic, fluid, told, len(self.open))

    def lattice(
        self, provider: Any, values: Mapping[str, Any], boundary: Sequence[Any], stretch: Sequence[Any] | None,
        **given: Any,
    ) -> Any:  # fmt: skip
        """The evaluator for a batch of cases at one time.

        Args:
            values: of the fields, (batch, *shape).
            boundary: for each of `told` its values, (batch, 1, ..., 1) or over a layer of faces.
            stretch: lengths by axis, (batch, 1, ..., 1).
            given: parameters, inputs, rates, time and so on, as of `Lattice`.
        """
        conditions = self.case.boundary_conditions
        known: dict[str, dict[str, Condition]] = {}
        for told, value in zip(self.told, boundary, strict=True):
            if told.here is None:
                original = conditions[told.boundary][told.field]
                new: Condition = Flux(value) if isinstance(original, Flux) else _Known(value, original)
                known.setdefault(told.boundary, {})[told.field] = new
        found = provider.lattice(self.grid, values, boundary=known, stretch=stretch, **given)
        for told, value in zip(self.told, boundary, strict=True):
            if told.here is not None:
                hold_on_part(found, told.field, told.axis, told.end, told.here, value.reshape(len(value), -1))
        for phase, across, axis, end, here in self.open:
            upwind(found, phase, across, axis, end, here)
        return found

    def volumes(self, balance: Balance, inputs: Mapping[str, np.ndarray], order: int) -> np.ndarray:
        """(component, *shape) shares of the control volumes in a mean, 0 for those that read a cell that is solid or
        cut by a boundary."""
        weights = self.grid.volumes() * np.ones(self.grid.shape)
        rows = []
        if self.stretches:
            rows = [weights] * len(balance.components())
        else:
            chance = np.random.default_rng(0)
            values = {n: np.where(self.fluid, chance.uniform(1, 2, self.grid.shape), np.nan)[None] for n in self.fields}
            boundary = [t.values(self.case, self.grid, 0.0)[None] for t in self.told]
            lattice = self.lattice(
                on_arrays, values, boundary, None, parameters=self.case.parameters,
                inputs={n: v[None] for n, v in inputs.items()}, rates=values, order=order,
            )  # fmt: skip
            rows = [np.where(np.isnan(r[0]), 0.0, weights) for r in lattice.finite_volume(balance)]
        return np.stack([r / max(r.sum(), 1e-300) for r in rows])
