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
from sciml.support.apertures import Apertures
from sciml.support.base import Stencil, Support, Variable
from sciml.support.embedded import EmbeddedBoundary
from sciml.support.grid import Grid
from sciml.support.mesh import CELLS, Mesh, kind_of
from sciml.support.points import Points

__all__ = [
    "CELLS",
    "Apertures",
    "EmbeddedBoundary",
    "Grid",
    "Mesh",
    "Points",
    "Stencil",
    "Support",
    "Variable",
    "check_span",
    "kind_of",
    "read",
    "support_of",
]


def read(variables: Mapping[str, Any], geometry: Geometry | None) -> Support:
    """The support of one frame of a solution, from its variables (name -> array).

    Args:
        variables: cell centres "x", "y", "z" and "mask" of a grid; or node positions (N,) and connectivity, or their
            volumes "node_volume".
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
    return Mesh(position, cells) if cells else Points(position, variables.get("node_volume"))


def check_span(coordinates: Mapping[str, Any], geometry: Geometry) -> None:
    """Refuse cell centres by axis that do not fill a domain.

    Raises:
        InputError: they end more than a spacing before the domain does, or beyond it; or, where it is periodic, equal
            spacings do not add up to its length.
    """
    for axis, (low, high), around in zip("xyz", geometry.extents, geometry.periodic, strict=False):
        c = np.asarray(coordinates[axis], dtype=np.float64)
        gaps, slack = np.diff(c) if len(c) > 1 else np.array([high - low]), 1e-4 * (high - low)
        if around:  # unequal cells may begin anywhere, and say nothing of the length
            fits = np.ptp(gaps) > slack or abs(len(c) * gaps.mean() - (high - low)) <= slack
        else:
            fits = -slack <= c[0] - low <= gaps[0] + slack and -slack <= high - c[-1] <= gaps[-1] + slack
        if not fits:
            raise InputError(
                f"the solution is cut along {axis}, or of another domain; expected all of {low:g} to {high:g}, "
                f"got cells around {c[0]:g} to {c[-1]:g}"
            )


def support_of(case: Any, solution: Any, frame: int = -1) -> Support:
    """Where the values of a solution live.

    Args:
        case: whose solution it is; its geometry says where a grid ends.
        solution: xarray.Dataset.
        frame: which one, for nodes that move.

    Raises:
        InputError: the solution has no coordinates, or those of another domain.
    """
    variables = {}
    for name, var in solution.variables.items():
        if str(name) in ("x", "y", "z", "mask", "node_volume") or str(name).startswith("connectivity"):
            variables[str(name)] = np.asarray((var.isel(time=frame) if "time" in var.dims else var).values)
    if variables.keys().isdisjoint("xyz"):
        raise InputError("the solution does not say where its values live; expected coordinates x, y, z")
    if "node" in solution.sizes:
        return read(variables, None)
    check_span(variables, case.geometry)
    return read(variables, case.geometry)
