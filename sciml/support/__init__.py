"""Where values live: the cells of a grid, loose points, or the nodes of a mesh.

A support knows its points, its quadrature weights and how to interpolate. Losses, metrics and audits take their weights
from it; solutions take their coordinates from it. It may differ from case to case and, for nodes that move, from frame
to frame. Coordinates run x, y, z; arrays of a grid run z, y, x.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from sciml.errors import InputError
from sciml.geometry import Geometry
from sciml.support.base import Stencil, Support, Variable
from sciml.support.grid import Grid
from sciml.support.mesh import CELLS, Mesh, kind_of
from sciml.support.points import Points

__all__ = ["CELLS", "Grid", "Mesh", "Points", "Stencil", "Support", "Variable", "kind_of", "read", "support_of"]


def read(variables: Mapping[str, Any], geometry: Geometry | None) -> Support:
    """The support of one frame of a solution, from its variables (name -> array).

    Args:
        variables: cell centres "x", "y", "z" and "mask" of a grid; or node positions (N,) and connectivity.
        geometry: the domain, for the ends of a grid; None for nodes.
    """
    axes = [a for a in "xyz" if a in variables]
    arrays = [np.asarray(variables[a], dtype=np.float64) for a in axes]
    if geometry is not None:
        mask = variables.get("mask")
        return Grid.from_centres(tuple(arrays), geometry, None if mask is None else np.asarray(mask))
    position = np.stack(arrays, axis=-1)
    cells = {}
    for name, value in variables.items():
        if name == "connectivity":
            cells[kind_of(np.shape(value)[1], position.shape[1])] = np.asarray(value)
        elif name.startswith("connectivity_"):
            cells[name.removeprefix("connectivity_")] = np.asarray(value)
    return Mesh(position, cells) if cells else Points(position)


def support_of(case: Any, solution: Any, frame: int = -1) -> Support:
    """Where the values of a solution live.

    Args:
        case: whose solution it is; its geometry says where a grid ends.
        solution: xarray.Dataset.
        frame: which one, for nodes that move.

    Raises:
        InputError: the solution has no coordinates.
    """
    variables = {}
    for name, var in solution.variables.items():
        if str(name) in ("x", "y", "z", "mask") or str(name).startswith("connectivity"):
            variables[str(name)] = np.asarray((var.isel(time=frame) if "time" in var.dims else var).values)
    if variables.keys().isdisjoint("xyz"):
        raise InputError("the solution does not say where its values live; expected coordinates x, y, z")
    return read(variables, None if "node" in solution.sizes else case.geometry)
