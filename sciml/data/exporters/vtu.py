"""Export a data set for ParaView and other readers of VTK's files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import singledispatch
from pathlib import Path
from typing import Any

import numpy as np

from sciml.data import _files, schema
from sciml.data.exporters._tree import write_frames, write_tree
from sciml.data.exporters._vtk import write_vtu
from sciml.errors import InputError
from sciml.problem import Case
from sciml.support import Grid, Mesh, Points, support_of


def export_tree(data: Any, folder: str | os.PathLike[str], *, subset: str | Sequence[str] | None = None) -> Path:
    """Write `<folder>/<problem>/caseNNNN.pvd` and `<folder>/<problem>/caseNNNN/frameNNNNN.vtu`.

    Values on nodes, of meshes and of loose points, are point data; values of the cells of a grid are cell data, and
    cells outside of its mask are left out; loose points, particles that move among them, are a vertex each. The
    components of a velocity are also written as one vector, "velocity", and so are fields that differ in the endings
    "_x", "_y" (and "_z") alone, as "displacement". What nodes have for good and inputs of the same shape as a field
    stand beside the fields. Times are in the .pvd.

    Args:
        data: a data-set file, or an open data set.
        folder: where to put the problem's folder, which must not exist yet.
        subset: export these subsets only.

    Raises:
        InputError: no such subset, or a place that cannot be written; nothing is left behind then.
    """
    return write_tree(data, folder, subset, _write_frame, "vtu")


def export_solution(solution: Any, path: str | os.PathLike[str]) -> Path:
    """Write one solution with whatever it holds, fields that were made of it among them: `<path>.pvd`, and
    `<path>/frameNNNNN.vtu` beside it.

    Args:
        solution: of any solver, or what `sciml.structure` made of one; it carries its case.
        path: a place without an ending, which must not exist yet.

    Returns:
        the .pvd.

    Raises:
        InputError: a data set of many cases, a solution without its case, or a place that cannot be written.
    """
    if schema.is_packed(solution):
        raise InputError("export: got a data set of many cases, expected one solution; take sciml.data.case(ds, i)[1]")
    case = Case.from_parts(solution.attrs, {str(k): v.values for k, v in solution.variables.items()})
    place = Path(_files.given(path, "path"))
    index = place.with_name(place.name + ".pvd")
    if place.exists() or index.exists():
        raise InputError(f"{place}: exists already")
    try:
        place.mkdir(parents=True)
        write_frames(
            solution, place, case.problem.velocity, lambda frame: support_of(case, solution, frame), _write_frame, "vtu"
        )
    except OSError as error:
        raise InputError(f"{place}: cannot write: {_files.reason(error)}") from None
    return index


@singledispatch
def _write_frame(where: Any, path: Path, values: dict[str, np.ndarray]) -> None:
    raise InputError(f"export: values on a {type(where).__name__} have no place in a VTK file")


@_write_frame.register
def _(where: Mesh, path: Path, values: dict[str, np.ndarray]) -> None:
    write_vtu(path, where.position, where.cells, point_data=values)


@_write_frame.register
def _(where: Points, path: Path, values: dict[str, np.ndarray]) -> None:
    write_vtu(path, where.position, {"vertex": np.arange(where.size)[:, None]}, point_data=values)


@_write_frame.register
def _(where: Grid, path: Path, values: dict[str, np.ndarray]) -> None:
    """Cells of a grid as lines, quadrilaterals or hexahedra between its faces."""
    d = where.dimensions
    sizes = [n + 1 for n in where.shape]
    corners = np.stack(np.meshgrid(*where.faces[::-1], indexing="ij")[::-1], axis=-1).reshape(-1, d)
    number = np.arange(len(corners)).reshape(sizes)
    low, high = slice(None, -1), slice(1, None)
    around = {1: [(low,), (high,)], 2: [(low, low), (low, high), (high, high), (high, low)]}
    places = around[d] if d < 3 else [(z, *p) for z in (low, high) for p in around[2]]
    cells = np.stack([number[place].ravel() for place in places], axis=1)
    if where.inside is not None:
        kept = np.asarray(where.inside).ravel()
        cells, values = cells[kept], {name: array[kept] for name, array in values.items()}
        used, cells = np.unique(cells, return_inverse=True)
        corners, cells = corners[used], cells.reshape(-1, len(places))
    kind = {1: "line", 2: "quadrilateral", 3: "hexahedron"}[d]
    write_vtu(path, corners, {kind: cells}, cell_data=values)
