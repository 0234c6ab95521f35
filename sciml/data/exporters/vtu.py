"""Export a data set for ParaView and other readers of VTK's files."""

from __future__ import annotations

import os
import secrets
import shutil
import warnings
from collections.abc import Callable, Sequence
from functools import singledispatch
from pathlib import Path
from typing import Any

import numpy as np

from sciml.data import _files, schema
from sciml.data import _pack as packing
from sciml.data._nodes import COUNT
from sciml.data._support import support
from sciml.data.exporters._vtk import write_pvd, write_vtu
from sciml.errors import InputError, suggest
from sciml.problem import Case
from sciml.support import Grid, Mesh, Points, Support, support_of


def export_tree(data: Any, folder: str | os.PathLike[str], *, subset: str | Sequence[str] | None = None) -> Path:
    """Write `<folder>/<problem>/caseNNNN.pvd` and `<folder>/<problem>/caseNNNN/frameNNNNN.vtu`.

    Values on nodes, of meshes and of loose points, are point data; values of the cells of a grid are cell data, and
    cells outside of its mask are left out. The components of a velocity are also written as one vector, "velocity".
    What nodes have for good and inputs of the same shape as a field stand beside the fields. Times are in the .pvd.

    Args:
        data: a data-set file, or an open data set.
        folder: where to put the problem's folder, which must not exist yet.
        subset: export these subsets only.

    Raises:
        InputError: no such subset, or a place that cannot be written; nothing is left behind then.
    """
    from sciml.data._open import open as open_data

    dataset = open_data(data) if isinstance(data, str | os.PathLike) else data
    root = Path(_files.given(folder, "folder"))
    target = root / "".join(c if c.isalnum() or c in "-_." else "_" for c in str(dataset.attrs.get("problem")))
    if target.exists():
        raise InputError(f"{target}: exists already")
    count = dataset.sizes["case"]
    subsets = schema.flag_names(dataset["subset"]) if "subset" in dataset.variables else np.full(count, "all")
    wanted = [subset] if isinstance(subset, str) else subset
    for word in wanted or ():
        if word not in subsets:
            raise InputError(f"subset: the data set has no subset {word!r}{suggest(word, set(subsets.tolist()))}")
    chosen = [i for i in range(count) if wanted is None or subsets[i] in wanted]
    part = root / f".{secrets.token_hex(8)}.part"
    made = [p for p in (root, *root.parents) if not p.exists()]
    try:
        part.mkdir(parents=True)
        for i in chosen:
            if int(dataset["row_size"].values[i]) == 0:
                warnings.warn(f"export: case {i} has no frames: left out", stacklevel=2)
                continue
            _write_case(dataset, i, part)
        _files.sync(part)
        part.rename(target)
    except OSError as error:
        raise InputError(f"{target}: cannot write: {_files.reason(error)}") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
        if not target.exists():
            for place in made:
                try:
                    place.rmdir()
                except OSError:
                    break
    return target


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
        _write_frames(solution, place, case.problem.velocity, lambda frame: support_of(case, solution, frame))
    except OSError as error:
        raise InputError(f"{place}: cannot write: {_files.reason(error)}") from None
    return index


def _write_case(dataset: Any, i: int, parent: Path) -> None:
    case, solution = packing.case(dataset, i)
    name = f"case{i:04d}"
    (parent / name).mkdir()
    geometry = case.geometry if case.extents is None else None
    _write_frames(solution, parent / name, case.problem.velocity, lambda frame: support(dataset, i, geometry, frame))


def _write_frames(solution: Any, place: Path, velocity: Sequence[str], where_at: Callable[[int], Support]) -> None:
    """The frames into a folder, and what lists them beside it."""
    framed = "time" in solution.dims
    times = np.asarray(solution["time"].values) if framed else np.zeros(1)
    moving = any(a in solution.variables and "time" in solution[a].dims for a in "xyz")
    files, where = [], where_at(0)
    for frame in range(len(times)):
        where = where_at(frame) if moving and frame else where
        values = _values(solution, where, frame if framed else None, velocity)
        files.append(f"{place.name}/frame{frame:05d}.vtu")
        _write_frame(where, place.parent / files[-1], values)
    write_pvd(place.with_name(place.name + ".pvd"), times.tolist(), files)


def _values(solution: Any, where: Support, frame: int | None, velocity: Sequence[str]) -> dict[str, np.ndarray]:
    """name -> (N,) numbers or (N, D) vectors of one frame."""
    found: dict[str, np.ndarray] = {}
    skipped = {"x", "y", "z", "time", "mask", COUNT}
    for name in map(str, solution.variables):
        var = solution.variables[name]
        if name in skipped or name.startswith("connectivity") or var.dtype.kind not in "fiu":
            continue
        if "time" in var.dims and frame is not None:
            var = var.isel(time=frame)
        array = np.asarray(var.values)
        if var.dims == ("node",):
            array = array[: where.size]
        axes = tuple(d.removeprefix("input_") for d in map(str, var.dims))
        if array.shape == where.shape and axes == where.dims:
            found[name] = array.reshape(-1)
    if velocity and all(name in found for name in velocity):
        kind = np.result_type(*(found[name] for name in velocity))
        found["velocity"] = np.stack([found[name].astype(kind) for name in velocity], axis=1)
    return found


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
