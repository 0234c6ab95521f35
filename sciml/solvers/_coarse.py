"""Solutions of finer grids as means over the cells of a coarser one, whatever the two numbers of cells."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np
import scipy.sparse

from sciml.geometry import Box
from sciml.problem import Case
from sciml.support import Apertures, Grid, support_of


def coarsened(case: Case, solution: Any, shape: tuple[int, ...], names: Sequence[str]) -> Any:
    """The same solution, its fields `names` alone, on a uniform grid of fewer cells, `shape` in array order.

    Values at cells are means over the parts of fine cells that overlap with the coarse one and are inside the domain, 0
    where the middle of the whole is outside. Values on faces are what goes through them, over their size: the sum over
    the fine faces that a coarse one overlaps with, and along its normal linear between two of them, which is what a
    velocity without divergence has there, so that no fluid is lost. The settings say on how many cells the case was
    solved.
    """
    from sciml import data

    fine = support_of(case, solution)
    assert isinstance(fine, Grid)
    if fine.shape == tuple(shape):
        return solution
    grid = Grid.uniform(case.geometry, tuple(shape), masked=True)
    axes = ("z", "y", "x")[-len(shape) :]
    cut = None if isinstance(case.geometry, Box) or len(shape) != 2 else Apertures.of(case.geometry, fine)
    counts = {axis: (n, m) for axis, n, m in zip(axes, fine.shape, shape, strict=True)}
    fields, used = {}, set()
    for name in names:
        variable = solution[name]
        values = np.asarray(variable.values, dtype=np.float64)
        space = variable.dims[variable.ndim - len(axes) :]
        used |= set(space)
        at_cells = not any(str(d).endswith("_face") for d in space)
        weights = np.ones(values.shape[variable.ndim - len(axes) :])
        if at_cells and cut is not None:
            weights = cut.volumes
        elif at_cells and fine.inside is not None:
            weights = fine.inside.astype(float)
        elif cut is not None:  # what a face carries is for its open share
            values = values * cut.faces[next(k for k, a in enumerate("xy") if f"{a}_face" in space)]
        values = values * weights
        for k, dim in enumerate(space):
            matrix = _lines if str(dim).endswith("_face") else _overlaps
            to = matrix(*counts[str(dim).removesuffix("_face")])
            values, weights = (_along(to, a, k - len(axes)) for a in (values, weights))
        values = np.where(weights > 0, values / np.where(weights > 0, weights, 1), 0)
        if at_cells and grid.inside is not None:
            values = np.where(grid.inside, values, 0)
        fields[name] = (variable.dims, values.astype(variable.dtype))
    coords = {a: c for a, c in zip("xyz", grid.centres, strict=False)}
    coords |= {f"{a}_face": c for a, c in zip("xyz", grid.faces, strict=False)}
    settings = json.loads(solution.attrs.get("settings", "{}")) | {"stored_cells": list(grid.shape)}
    return data.solution(
        case, None if case.problem.steady else solution["time"].values, fields,
        {k: v for k, v in coords.items() if k in used}, solver=solution.attrs.get("solver", ""), settings=settings,
        status=solution.attrs["status"], mask=grid.mask,
        quantities={q.name: solution[q.name].values for q in case.problem.quantities if q.name in solution},
        attrs={k: v for k, v in solution.attrs.items() if k == "substeps"},
    )  # fmt: skip


def joined(solutions: Sequence[Any]) -> Any:
    """Solutions of one case over times that follow each other, as one."""
    import xarray

    return xarray.concat(
        solutions, "time", data_vars="minimal", coords="minimal", compat="override", join="override",
        combine_attrs="override",
    )  # fmt: skip


@cache
def _overlaps(n: int, m: int) -> scipy.sparse.csr_array:
    """(m, n): how much of each of n cells lies in each of m that fill the same length."""
    rows = []
    for k in range(m):
        low, high = Fraction(k * n, m), Fraction((k + 1) * n, m)
        rows += [(k, j, float(min(high, j + 1) - max(low, j))) for j in range(int(low), math.ceil(high))]
    return _sparse(rows, (m, n))


@cache
def _lines(n: int, m: int) -> scipy.sparse.csr_array:
    """(m + 1, n + 1): from values at the ends of n cells to those of m, linear between two."""
    rows = []
    for k in range(m + 1):
        j, rest = divmod(Fraction(k * n, m), 1)
        rows.append((k, int(j), float(1 - rest)))
        if rest:
            rows.append((k, int(j) + 1, float(rest)))
    return _sparse(rows, (m + 1, n + 1))


def _sparse(rows: list[tuple[int, int, float]], shape: tuple[int, int]) -> scipy.sparse.csr_array:
    i, j, value = zip(*rows, strict=True)
    return scipy.sparse.coo_array((value, (i, j)), shape=shape).tocsr()


def _along(matrix: scipy.sparse.csr_array, values: np.ndarray, axis: int) -> np.ndarray:
    """A matrix applied along an axis; sums run in one order, whatever the machine."""
    moved = np.moveaxis(values, axis, 0)
    rest = moved.shape[1:]  # may be of no frames
    found = np.asarray(matrix @ moved.reshape(moved.shape[0], math.prod(rest)))
    return np.moveaxis(found.reshape(len(found), *rest), 0, axis)
