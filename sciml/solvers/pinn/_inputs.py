"""Inputs and initial values of a case as smooth functions in JAX."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from sciml.boundary import Series, scattered
from sciml.errors import InputError, suggest
from sciml.geometry import AXES
from sciml.problem import Case, beginning
from sciml.solvers.pinn._functions import Spline, on_nodes, spline, through
from sciml.support import Grid

#: nodes along an axis, by the number of dimensions
COUNTS = {1: 1025, 2: 193, 3: 49}
JUMP = 0.25  # of its spread, by which values of a function that jumps differ from the mean of their neighbours


class Exponential(eqx.Module):
    """exp s(x): what is positive stays so between its values."""

    exponent: Any

    def __call__(self, x: Any) -> Any:
        return jnp.exp(self.exponent(x))


class InTime(eqx.Module):
    """A series, linear between its knots."""

    times: Any
    values: Any

    def __call__(self, x: Any) -> Any:
        return jnp.interp(x[-1], jnp.asarray(self.times, x.dtype), jnp.asarray(self.values, x.dtype))


def given_inputs(case: Case, names: Iterable[str]) -> dict[str, Any]:
    """Inputs as functions of a point (D + 1,).

    Arrays over cells go through splines (of the logarithm, where an input is positive), values at points of their own
    are linear between these before that, defaults are sampled. A function that jumps has no strong form: what comes of
    it are the spline's slopes.

    Raises:
        InputError: an input that is missing, or lives elsewhere.
    """
    found = {}
    for name in names:
        spec = next((s for s in case.problem.inputs if s.name == name), None)
        if spec is None:
            options = [s.name for s in case.problem.inputs]
            raise InputError(f"{case.problem.name}: no input is called {name!r}{suggest(name, options)}")
        value = case.inputs.get(name)
        if isinstance(value, Series):
            found[name] = InTime(value.times, value.values)
            continue
        change, back = (np.log, Exponential) if spec.positive else (np.asarray, _same)
        found[name] = back(_in_space(case, spec, value, change))
    return found


def _same(function: Any) -> Any:
    return function


def _in_space(case: Case, spec: Any, value: Any, change: Any) -> Spline:
    d, box, periodic = case.problem.dimensions, case.geometry.extents, case.geometry.periodic
    counts, low, high = (COUNTS[d],) * d, [a for a, _ in box], [b for _, b in box]
    if value is None:
        if spec.default is None:
            raise InputError(f"{case.problem.name}: the case has no input {spec.name!r}, and there is no default")
        default = spec.default
        values = on_nodes(lambda p: np.broadcast_to(default(case.parameters, *p.T), len(p)), box, counts, periodic)
        return spline(change(values), low, high, range(d), periodic)
    values = np.asarray(value, np.float64)
    if spec.dims == AXES[:d][::-1]:
        return _over_cells(change(values.T), box, periodic)
    if spec.at:
        places = case.inputs.get(spec.at)
        if places is None:
            raise InputError(f"{case.problem.name}: {spec.name}: expected {spec.at} beside it")
        table = on_nodes(lambda p: scattered(np.asarray(places), values, p), box, counts, periodic)
        return spline(change(table), low, high, range(d), periodic, degree=3)
    raise InputError(
        f"{case.problem.name}: {spec.name} has shape {values.shape} over {spec.dims}; expected values over "
        f"{AXES[:d][::-1]}, or at points of their own"
    )


def _over_cells(values: np.ndarray, box: Any, periodic: Any, degree: int = 3) -> Spline:
    """The spline through values in the middles of equal cells, axes in the order x, y, z, continued to the ends."""
    low, high = [], []
    for (a, b), n, around in zip(box, values.shape, periodic, strict=True):
        h = (b - a) / n
        low.append(a + h / 2)
        high.append(b + h / 2 if around else b - h / 2)
    return spline(values, low, high, range(values.ndim), periodic, degree)


# -- initial values ---------------------------------------------------------------------------------------------


class Beginning:
    """How the fields of a case begin, as functions in space.

    The problem is asked on a fine grid (on that of an initial input, where it is given one): what is smooth goes
    through waves or splines of fifth degree, what jumps is linear in between.

    Raises:
        InputError: the problem does not say how a field begins.
    """

    def __init__(self, case: Case, names: Iterable[str]):
        self.case, self.names = case, tuple(names)
        box, periodic = case.geometry.extents, case.geometry.periodic
        self.grid = _grid(case)
        state = beginning(case, self.grid, self.names)
        self.values = {n: np.asarray(v, np.float64) for n, v in state.items()}
        self.smooth: dict[str, bool] = {}
        self.functions: dict[str, Any] = {}
        centres = self.grid.centres
        ends = [
            (float(c[0]), float(c[0]) + b - a if around else float(c[-1]))
            for c, (a, b), around in zip(centres, box, periodic, strict=True)
        ]
        for n, v in self.values.items():
            self.smooth[n] = not _jumps(v.T, periodic)
            if self.smooth[n]:
                self.functions[n] = through(v.T, ends, periodic)

    def at(self, name: str, points: np.ndarray) -> np.ndarray:
        """Values at points (N, D)."""
        if self.smooth[name]:
            import jax

            with jax.enable_x64(True):
                padded = np.concatenate([points, np.zeros((len(points), 1))], axis=1)
                return np.asarray(jax.vmap(self.functions[name])(jnp.asarray(padded)))
        return self.grid.sample(self.values[name], points)


def _grid(case: Case) -> Grid:
    """Where a case is asked how it begins: at nodes, or in the cells of an initial input."""
    d, geometry = case.problem.dimensions, case.geometry
    axes = AXES[:d][::-1]
    for spec in case.problem.inputs:
        value = case.inputs.get(spec.name)
        if spec.kind == "initial" and spec.dims == axes and isinstance(value, np.ndarray):
            return Grid.uniform(geometry, value.shape)
    faces, places = [], []
    for (low, high), around in zip(geometry.extents, geometry.periodic, strict=True):
        n = COUNTS[d] - 1 if around else COUNTS[d]
        at = np.linspace(low, high, n)
        if around:  # the middles of cells: whoever looks at faces only is right as well
            faces.append(np.linspace(low, high, n + 1))
            at = (faces[-1][1:] + faces[-1][:-1]) / 2
        else:
            faces.append(np.concatenate([[low], (at[1:] + at[:-1]) / 2, [high]]))
        places.append(at)
    return Grid.of(geometry, tuple(faces), False, None if all(geometry.periodic) else tuple(places))


def _jumps(table: np.ndarray, periodic: Any) -> bool:
    """Whether every other value says too little of the ones between: means of neighbours, over the spread."""
    spread = float(np.ptp(table))
    if spread == 0.0:
        return False
    for axis, around in enumerate(periodic):
        if table.shape[axis] < 5:
            continue
        moved = np.moveaxis(table, axis, 0)
        moved = np.concatenate([moved, moved[:2]]) if around else moved
        second = np.abs(moved[2:] - 2 * moved[1:-1] + moved[:-2]).max()
        if second > 2 * JUMP * spread:
            return True
    return False
