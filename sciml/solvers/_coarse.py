"""Solutions of finer grids as means over the cells of a coarser one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from sciml.geometry import Box
from sciml.problem import Case
from sciml.support import Apertures, Grid, support_of


def coarsened(case: Case, solution: Any, parts: tuple[int, ...], names: Sequence[str]) -> Any:
    """The same solution, its fields `names` alone, on cells that are each made of `parts` of its own (array order).

    Values at cells are means over the shares of the parts that are inside the domain, 0 where the middle of the whole
    is outside. Values on faces are what goes through the faces that a coarse one is made of, over its size, so that no
    fluid is lost. The settings say on how many cells the case was solved.
    """
    from sciml import data

    if all(p == 1 for p in parts):
        return solution
    fine = support_of(case, solution)
    assert isinstance(fine, Grid)
    grid = Grid.uniform(case.geometry, tuple(n // p for n, p in zip(fine.shape, parts, strict=True)), masked=True)
    axes = ("z", "y", "x")[-len(parts) :]
    cut = None if isinstance(case.geometry, Box) or len(parts) != 2 else Apertures.of(case.geometry, fine)
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
        for k, (dim, part) in enumerate(zip(space, parts, strict=True)):
            axis = k - len(axes)
            if str(dim).endswith("_face"):
                values, weights = (np.take(a, range(0, a.shape[axis], part), axis=axis) for a in (values, weights))
            else:
                values, weights = _sums(values, part, axis), _sums(weights, part, axis)
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


def _sums(values: np.ndarray, part: int, axis: int) -> np.ndarray:
    """Sums over `part` neighbours along an axis."""
    axis %= values.ndim
    shape = values.shape
    return values.reshape(*shape[:axis], shape[axis] // part, part, *shape[axis + 1 :]).sum(axis + 1)
