"""A scalar balance on the cells of a grid, as the functions that an implicit solver needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sciml.boundary import Condition, Periodic
from sciml.derivatives import jax as provider
from sciml.errors import InputError, suggest
from sciml.geometry import AXES, SIDES, Box, Geometry
from sciml.problem import Case, Problem
from sciml.solvers._numerical import Alike
from sciml.support import EmbeddedBoundary, Grid
from sciml.support.embedded import WITHIN

Data = Mapping[str, Any]


class ControlVolumes:
    """m · storage(q) + c · (∮ flux·n − ∫ source)/volume − known = 0 for every cell, and its parts.

    Of a cell that a body cuts, storage and what is known count by its open share; solid cells hold zero.

    All functions are pure and take what belongs to the case as `data`: "parameters", "inputs" (cell fields), "boundary"
    (values by boundary) and "time".

    Args:
        problem: with one field and one scalar balance.
        grid: cells.
        conditions: of the field by boundary, without their values.
        body: what bounds the domain within the grid.
    """

    def __init__(
        self, problem: Problem, grid: Grid, conditions: Mapping[str, Condition], body: EmbeddedBoundary | None = None
    ):
        self.grid, self.body = grid, body
        within = (
            {} if body is None else {n + WITHIN: conditions[n] for n in body.names if n in SIDES and n in conditions}
        )
        self.conditions = {**conditions, **within}
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
        return provider.finite_volume(self._spatial, self.grid, body=self.body, **self._given(q, data))

    def _stored(self, q: Any, data: Data) -> Any:
        if self._storage is None:
            return jnp.zeros_like(q)
        return jnp.broadcast_to(provider.lattice(self.grid, **self._given(q, data)).cells(self._storage), q.shape)

    def _residual(self, q: Any, data: Data, mass: Any, factor: Any, known: Any) -> Any:
        if self.body is None:
            return mass * self._stored(q, data) + factor * self._outflow(q, data) - known
        share = jnp.asarray(self.body.apertures.volumes, q.dtype)
        found = share * (mass * self._stored(q, data) - known) + factor * self._outflow(q, data)
        return jnp.where(self.body.alive, found, q)

    def _rate(self, q: Any, data: Data) -> Any:
        """∂q/∂t = −outflow / (d storage/dq)."""
        slope = jax.jvp(lambda a: self._stored(a, data), (q,), (jnp.ones_like(q),))[1]
        if self.body is None:
            return -self._outflow(q, data) / slope
        share = jnp.where(self.body.alive, self.body.apertures.volumes, 1.0)
        return jnp.where(self.body.alive, -self._outflow(q, data) / (share * slope), 0.0)


@lru_cache(maxsize=16)
def _assembled(
    problem: Alike, faces: tuple[bytes, ...], periodic: tuple[bool, ...], given: Any, geometry: Geometry | None
) -> ControlVolumes:
    grid = Grid(tuple(np.frombuffer(f) for f in faces), periodic)
    body = None if geometry is None else EmbeddedBoundary.of(geometry, grid)
    return ControlVolumes(problem.problem, grid, dict(given), body)


def assemble(case: Case, grid: Grid) -> ControlVolumes:
    """The control volumes of a case; cases that differ in values alone share them, compiled functions included.

    Raises:
        InputError: a body in the domain that the grid is too coarse for.
    """
    faces = tuple(np.ascontiguousarray(f, dtype=np.float64).tobytes() for f in grid.faces)
    given = tuple(sorted(boundary_conditions(case, grid).items()))
    body = None if isinstance(case.geometry, Box) else case.geometry
    try:
        return _assembled(Alike(case.problem), faces, tuple(map(bool, grid.periodic)), given, body)
    except InputError as error:
        raise InputError(f"{case.problem.name}: {error}") from None


def boundary_conditions(case: Case, grid: Grid) -> dict[str, Condition]:
    """The conditions on the field without their values, for the axes that are not periodic.

    Raises:
        InputError: a boundary without a condition, or a condition on none.
    """
    problem, found = case.problem.name, {}
    field, sides = case.problem.fields[0].name, case.geometry.boundaries
    for name, conditions in case.boundary_conditions.items():
        if name not in sides and name not in SIDES:
            raise InputError(f"{problem}: {name}: no boundary is called that{suggest(name, list(sides))}")
        if field in conditions and name in sides and not isinstance(conditions[field], Periodic):
            found[name] = conditions[field].with_value(0.0)
    for name in sides:
        if name not in found:
            raise InputError(f"{problem}: {name}: expected a condition on {field}")
    return found


def boundary_values(case: Case, volumes: ControlVolumes, times: Any) -> dict[str, np.ndarray]:
    """Given values over (T,) or (T, along the boundary); on what bounds the domain within the grid over (T, wall)."""
    field, found = case.problem.fields[0].name, {}
    for name in volumes.conditions:
        if name in SIDES:
            points = volumes.grid.side_points(*SIDES[name])
        else:
            points = np.zeros((0, 2)) if volumes.body is None else volumes.body.points
        given = case.boundary_conditions[name.removesuffix(WITHIN)][field]
        found[name] = given.over(times, points)
        if name not in SIDES and found[name].shape[1:] not in ((), (len(points),)):
            raise InputError(
                f"{case.problem.name}: {field} on {name.removesuffix(WITHIN)}: an array of shape "
                f"{found[name].shape[1:]} on a body; expected a function of points, or Samples"
            )
        if not np.isfinite(found[name]).all():
            raise InputError(f"{case.problem.name}: {field} on {name.removesuffix(WITHIN)}: values that are not finite")
    return found


def cell_inputs(case: Case, grid: Grid) -> dict[str, np.ndarray]:
    """Coefficients and sources on the cells."""
    return {
        s.name: np.asarray(case.input_on(s.name, grid), dtype=np.float64)
        for s in case.problem.inputs
        if s.kind in ("coefficient", "source") and s.dims == AXES[: grid.dimensions][::-1]
    }
