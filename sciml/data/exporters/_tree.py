"""What exporters of one file a frame share: folders of cases, and what of a solution stands in a frame."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sciml.data import _pack as packing
from sciml.data._nodes import COUNT
from sciml.data._support import support
from sciml.data.exporters._folder import appearing, folder_of, opened, wanted
from sciml.data.exporters._vtk import write_pvd
from sciml.support import Support

Write = Callable[[Any, Path, dict[str, np.ndarray]], None]


def write_tree(
    data: Any, folder: str | os.PathLike[str], subset: str | Sequence[str] | None, write: Write, ending: str
) -> Path:
    """Write `<folder>/<problem>/caseNNNN.pvd` and `<folder>/<problem>/caseNNNN/frameNNNNN.<ending>`.

    Args:
        write: a frame: its support, the file, and name -> (N,) numbers or (N, D) vectors.

    Raises:
        InputError: no such subset, or a place that cannot be written; nothing is left behind then.
    """
    dataset = opened(data)
    target, chosen = folder_of(dataset, folder), wanted(dataset, subset)
    with appearing(target) as part:
        for i, *_ in chosen:
            _write_case(dataset, i, part, write, ending)
    return target


def _write_case(dataset: Any, i: int, parent: Path, write: Write, ending: str) -> None:
    case, solution = packing.case(dataset, i)
    name = f"case{i:04d}"
    (parent / name).mkdir()
    geometry = case.geometry if case.extents is None else None
    where_at = lambda frame: support(dataset, i, geometry, frame)  # noqa: E731
    write_frames(solution, parent / name, case.problem.velocity, where_at, write, ending)


def write_frames(
    solution: Any, place: Path, velocity: Sequence[str], where_at: Callable[[int], Support], write: Write, ending: str
) -> None:
    """The frames into a folder, and what lists them beside it."""
    framed = "time" in solution.dims
    times = np.asarray(solution["time"].values) if framed else np.zeros(1)
    moving = any(a in solution.variables and "time" in solution[a].dims for a in "xyz")
    files, where = [], where_at(0)
    for frame in range(len(times)):
        where = where_at(frame) if moving and frame else where
        values = _values(solution, where, frame if framed else None, velocity)
        files.append(f"{place.name}/frame{frame:05d}.{ending}")
        write(where, place.parent / files[-1], values)
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
    vectors = {"velocity": tuple(velocity)} if velocity else {}
    for name in [n.removesuffix("_x") for n in found if n.endswith("_x")]:
        vectors.setdefault(name, tuple(f"{name}_{a}" for a in "xyz"[: where.dimensions]))
    for name, components in vectors.items():
        if name not in found and all(c in found for c in components):
            kind = np.result_type(*(found[c] for c in components))
            found[name] = np.stack([found[c].astype(kind) for c in components], axis=1)
    return found
