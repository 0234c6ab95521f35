"""Export a data set on whole grids for ParaView, as rectilinear grids."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sciml.data.exporters._tree import write_tree
from sciml.data.exporters._vtk import write_vtr
from sciml.errors import InputError
from sciml.support import Grid


def export_tree(data: Any, folder: str | os.PathLike[str], *, subset: str | Sequence[str] | None = None) -> Path:
    """Write `<folder>/<problem>/caseNNNN.pvd` and `<folder>/<problem>/caseNNNN/frameNNNNN.vtr`.

    Values are cell data between the faces of the grid, stretched or not, which a file holds along each axis alone: of
    flows in space this is what takes least room, and what ParaView slices and draws as a volume soonest. The components
    of a velocity are also written as one vector, "velocity", as in `vtu`; inputs of the same shape as a field stand
    beside the fields. Times are in the .pvd.

    Args:
        data: a data-set file, or an open data set.
        folder: where to put the problem's folder, which must not exist yet.
        subset: export these subsets only.

    Raises:
        InputError: values on nodes, a grid with cells outside of its mask, no such subset, or a place that cannot be
            written; nothing is left behind then.
    """
    return write_tree(data, folder, subset, _write_frame, "vtr")


def _write_frame(where: Any, path: Path, values: dict[str, np.ndarray]) -> None:
    if not isinstance(where, Grid) or where.inside is not None:
        what = f"a {type(where).__name__}" if not isinstance(where, Grid) else "a grid with a mask"
        raise InputError(f"export: vtr: expected values of all cells of a grid, got {what}; use vtu")
    write_vtr(path, where.faces, values)
