"""Where the values of a file with named dimensions are: grids, meshes, points."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from sciml.data.importers import _ugrid
from sciml.data.importers._gridded import axis as axis_of
from sciml.data.importers._gridded import grid, note, told_axis
from sciml.data.importers._labelled import Labelled
from sciml.data.importers._looks import Look
from sciml.data.importers._mapping import Plan
from sciml.data.importers._roles import SPACE
from sciml.errors import FileFormatError
from sciml.support import Mesh, Points

if TYPE_CHECKING:
    from sciml.problems.own_data import DataProblem
    from sciml.support import Support


def axes_of(found: Look) -> str:
    """x, y, z as far as there are."""
    if found.space == ("node",):
        axes = [a for a in "xyz" if a in (found.mesh.places if found.mesh else found.coordinates)]
        if not axes:
            raise FileFormatError(
                f"{found.label}: fields over nodes, but no variable says where these are; tell coordinates.x.from"
            )
        return "".join(axes)
    return "xyz"[: len(found.space)]


def support_of(
    file: Labelled, found: Look, n: int, plan: Plan, problem: DataProblem, notes: list[str]
) -> tuple[Support | Mapping[str, np.ndarray], list[str], bool]:
    """Where values are, axes that are turned round, and whether a grid is read as a mesh."""
    if found.space == ("node",):
        if found.mesh is not None:
            return _ugrid.mesh(file, found.mesh), [], False
        return _nodes(file, found, n), [], False
    if found.curved:
        x, y = (np.asarray(_whole(file, found, found.curved[a]), np.float64) for a in "xy")
        moving = " at the first time" if "time" in found.of(file.variables[found.curved["x"]]) else ""
        note(notes, f"positions are over two axes: the grid{moving} is read as a mesh of quadrilaterals")
        return _quadrilaterals(x, y), [], True
    centres, turned = [], []
    for ours, axis in zip("xyz", reversed(found.space), strict=False):
        if ours != axis:
            note(notes, f"the axis {axis} is called {ours}")
        count = found.lengths[axis]
        told = told_axis(plan, ours, count)
        if told is None and axis in found.coordinates:
            variable = file.variables[found.coordinates[axis]]
            told, back = axis_of(variable.read(), count, variable.where)
            if back:
                turned.append(axis)
                note(notes, f"{variable.name!r} decreases: turned round, with all fields")
        if told is None:
            told = np.arange(count) + 0.5
            note(notes, f"there are no positions along {ours}: cells are taken as 1 wide (or tell coordinates.{ours})")
        if count < 2:
            raise FileFormatError(f"{file.label}: one value along {axis}, expected two or more")
        own = file.variables[found.coordinates[axis]] if axis in found.coordinates else None
        if axis == "x" and own is not None and own.unit.startswith("degree") and not any(problem.box):
            if abs(float(np.ptp(told)) * count / (count - 1) - 360.0) < 1e-3:
                note(notes, f'{own.name!r} goes once around: tell periodic = ["{ours}"] if fields close')
        centres.append(told)
    return grid(centres, problem.box), turned, False


def _whole(file: Labelled, found: Look, name: str) -> np.ndarray:
    """A variable over (y, x)."""
    v = file.variables[name]
    at = {d: 0 for d, a in zip(v.dims, found.of(v), strict=True) if a not in SPACE}
    read = v.read(at)
    return read.T if [a for a in found.of(v) if a in SPACE] == ["x", "y"] else read


def _nodes(file: Labelled, found: Look, n: int) -> Support | Mapping[str, np.ndarray]:
    """Loose points; or positions over (time, node), where they move."""
    got = {}
    for a in axes_of(found):
        v = file.variables[found.coordinates[a]]
        axes = found.of(v)
        read = np.asarray(v.read({d: n for d, b in zip(v.dims, axes, strict=True) if b == "case"}), np.float64)
        axes = [b for b in axes if b != "case"]
        got[a] = read.T if axes == ["node", "time"] else read
    if any(p.ndim == 2 for p in got.values()):
        return got
    return Points(np.stack(list(got.values()), axis=-1))


def _quadrilaterals(x: np.ndarray, y: np.ndarray) -> Mesh:
    number = np.arange(x.size).reshape(x.shape)
    cells = [number[:-1, :-1], number[:-1, 1:], number[1:, 1:], number[1:, :-1]]
    return Mesh(np.stack([x.ravel(), y.ravel()], axis=-1), {"quadrilateral": np.stack(cells, -1).reshape(-1, 4)})
