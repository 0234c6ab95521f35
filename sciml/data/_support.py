"""Where the values of a case live, from a packed data set."""

from __future__ import annotations

from typing import Any

import numpy as np

from sciml.data import schema
from sciml.data._axes import positions
from sciml.errors import InputError
from sciml.geometry import Geometry
from sciml.support import CELLS, Grid, Mesh, Points, Support, kind_of


def support(dataset: Any, i: int, geometry: Geometry | None = None, frame: int = 0) -> Support:
    """The support of case i, at one of its frames where nodes move.

    Args:
        geometry: the domain of the case; by default the box between its extents.
        frame: number of the frame within the case.
    """
    if "node_row_size" in dataset.variables:
        return _nodes(dataset, i, frame)
    from sciml.geometry import Box

    name = schema.field_names(dataset)[0]
    axes = [str(d) for d in reversed(dataset[name].dims[1:])]
    if any(a not in schema.SPACE for a in axes):
        axes = [str(schema.axis_of(a)) for a in axes]
    ends = [[float(dataset[f"{a}_{end}"].values[i]) for a in axes] for end in ("min", "max")]
    if geometry is None:
        geometry = Box(tuple(ends[0]), tuple(ends[1]))
    mask = None
    if "mask" in dataset.variables:
        mask = np.asarray(dataset["mask"].values[i])
    if not all(a in dataset.sizes for a in axes):
        raise InputError("data: no field lies on cell centres")
    if not any(f"{a}_coordinate" in dataset.variables for a in axes) and np.allclose(
        np.array(geometry.extents).T, ends, rtol=1e-9, atol=0.0
    ):
        faces = tuple(np.linspace(a, b, dataset.sizes[n] + 1) for n, a, b in zip(axes, *ends, strict=True))
        return Grid(faces, geometry.periodic, mask)
    centres = tuple(positions(dataset, i, a) for a in axes)
    return Grid.from_centres(centres, geometry, mask)


def _nodes(dataset: Any, i: int, frame: int) -> Support:
    rows = np.asarray(dataset["row_size"].values, dtype=np.int64)
    counts = np.asarray(dataset["node_row_size"].values, dtype=np.int64)
    by_frame = dataset["node_row_size"].dims == ("frame",)
    at = int(schema.starts(rows)[i]) + frame
    if by_frame:
        first, n = int(schema.starts(counts)[at]), int(counts[at])
    else:
        n = int(counts[i])
        first = int(schema.starts(rows * counts)[i]) + frame * n
    columns = []
    for axis in "xyz":
        if axis in dataset.variables:
            var = dataset[axis].variable
            if var.dims == ("obs",):
                columns.append(np.asarray(var[first : first + n].values, dtype=np.float64))
            else:
                a = int(schema.starts(counts)[i])
                columns.append(np.asarray(var[a : a + n].values, dtype=np.float64))
    position = np.stack(columns, axis=-1)
    cells = {}
    for kind in ("", *CELLS):
        tail = f"_{kind}" if kind else ""
        if f"connectivity{tail}" in dataset.variables:
            a, b = schema.starts(dataset[f"cell_row_size{tail}"].values)[i : i + 2]
            values = np.asarray(dataset[f"connectivity{tail}"].variable[int(a) : int(b)].values)
            if len(values):
                cells[kind or kind_of(values.shape[1], position.shape[1])] = values
    if cells:
        return Mesh(position, cells)
    volume = None
    if "node_volume" in dataset.variables:
        a = int(schema.starts(counts)[i])
        volume = np.asarray(dataset["node_volume"].variable[a : a + n].values)
    return Points(position, volume)
