"""A scalar balance on the cells of a grid, as the functions that an implicit solver needs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sciml.boundary import Condition, Periodic
from sciml.derivatives import jax as provider
from sciml.geometry import AXES
from sciml.problem import Case, Problem
from sciml.solvers._numerical import Alike
from sciml.support import Grid

Data = Mapping[str, Any]


class ControlVolumes:
    """m · storage(q) + c · (∮ flux·n − ∫ source)/volume − known = 0 for every cell, and its parts.

    All functions are pure and take what belongs to the case as `data`: "parameters", "inputs" (cell fields), "boundary"
    (values by boundary) and "time".

    Args:
        problem: with one field and one scalar balance.
        grid: cells.
        conditions: of the field by boundary, without their values.
    """

    def __init__(self, problem: Problem, grid: Grid, conditions: Mapping[str, Condition]):
        self.grid, self.conditions = grid, dict(conditions)
        self.field = problem.fields[0].name
        (self.balance,) = problem.balances().values()
        ((self._storage, _, _),) = self.balance.components()
        self._spatial = replace(self.balance, storage=None)
        self.residual: Callable[..., Any] = jax.jit(self._residual)
        self.storage: Callable[..., Any] = jax.jit(self._stored)
        self.rate: Callable[..., Any] = jax.jit(self._rate)
        self.along: Callable[..., Any] = jax.jit(
            lambda q, directions, *rest: jax.vmap(lambda d: jax.jvp(lambda a: self._residual(a, *rest), (q,), (d,))[1])(
                directions
            )
        )

    def _given(self, q: Any, data: Data) -> dict[str, Any]:
        boundary = {
            name: {self.field: condition.with_value(data["boundary"][name])}
            for name, condition in self.conditions.items()
        }
        return {
            "fields": {self.field: q},
            "parameters": data["parameters"],
            "inputs": data["inputs"],
            "time": data["time"],
            "boundary": boundary,
        }

    def _outflow(self, q: Any, data: Data) -> Any:
        """(∮ flux·n − ∫ source)/volume."""
        return provider.finite_volume(self._spatial, self.grid, **self._given(q, data))

    def _stored(self, q: Any, data: Data) -> Any:
        if self._storage is None:
            return jnp.zeros_like(q)
        return jnp.broadcast_to(provider.lattice(self.grid, **self._given(q, data)).cells(self._storage), q.shape)

    def _residual(self, q: Any, data: Data, mass: Any, factor: Any, known: Any) -> Any:
        return mass * self._stored(q, data) + factor * self._outflow(q, data) - known

    def _rate(self, q: Any, data: Data) -> Any:
        """∂q/∂t = −outflow / (d storage/dq)."""
        slope = jax.jvp(lambda a: self._stored(a, data), (q,), (jnp.ones_like(q),))[1]
        return -self._outflow(q, data) / slope


@lru_cache(maxsize=16)
def _assembled(problem: Alike, faces: tuple[bytes, ...], periodic: tuple[bool, ...], given: Any) -> ControlVolumes:
    return ControlVolumes(problem.problem, Grid(tuple(np.frombuffer(f) for f in faces), periodic), dict(given))


def assemble(case: Case, grid: Grid) -> ControlVolumes:
    """The control volumes of a case; cases that differ in values alone share them, compiled functions included."""
    faces = tuple(np.ascontiguousarray(f, dtype=np.float64).tobytes() for f in grid.faces)
    given = tuple(sorted(boundary_conditions(case, grid).items()))
    return _assembled(Alike(case.problem), faces, tuple(map(bool, grid.periodic)), given)


def boundary_conditions(case: Case, grid: Grid) -> dict[str, Condition]:
    """The conditions on the field without their values, for the axes that are not periodic."""
    field, found = case.problem.fields[0].name, {}
    sides = case.geometry.boundaries
    for name, conditions in case.boundary_conditions.items():
        if field in conditions and name in sides and not isinstance(conditions[field], Periodic):
            found[name] = conditions[field].with_value(0.0)
    return found


def boundary_values(case: Case, grid: Grid, names: Iterable[str], times: Any) -> dict[str, np.ndarray]:
    """Given values over (T,) or (T, along the boundary)."""
    field, sides = case.problem.fields[0].name, case.geometry.boundaries
    given = {n: case.boundary_conditions[n][field] for n in names}
    return {n: c.over(times, grid.side_points(*(sides[n].side or (0, 0)))) for n, c in given.items()}


def cell_inputs(case: Case, grid: Grid) -> dict[str, np.ndarray]:
    """Coefficients and sources on the cells."""
    return {
        s.name: np.asarray(case.input_on(s.name, grid), dtype=np.float64)
        for s in case.problem.inputs
        if s.kind in ("coefficient", "source") and s.dims == AXES[: grid.dimensions][::-1]
    }
