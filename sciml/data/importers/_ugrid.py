"""Meshes of the plane as UGRID writes them: a variable with cf_role = "mesh_topology" that names the others.

Source: UGRID conventions 1.0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from sciml.data.importers._labelled import Labelled, Variable
from sciml.errors import FileFormatError
from sciml.support import Mesh

CELLS = ("connectivity", "triangles", "cells", "faces", "elements", "face_node_connectivity", "face_nodes", "tri")


@dataclass(frozen=True)
class Topology:
    """Which variables make up a mesh.

    Args:
        dimension: of its nodes; others: of faces and edges.
        places: axis -> variable of node positions.
        cells: variable of the nodes of each cell.
        serves: variables that hold nothing else, name -> what they are.
    """

    dimension: str
    places: Mapping[str, str]
    cells: str
    others: tuple[str, ...] = ()
    serves: Mapping[str, str] = field(default_factory=dict)


def topology(file: Labelled) -> Topology | None:
    """The mesh of a file; None where there is none.

    Raises:
        FileFormatError: it names what is not there.
    """
    meshes = [v for v in file.variables.values() if str(v.attrs.get("cf_role", "")) == "mesh_topology"]
    if not meshes:
        return _plain(file)
    mesh = meshes[0]
    if mesh.attrs.get("topology_dimension") != 2:
        got = mesh.attrs.get("topology_dimension")
        raise FileFormatError(f"{mesh.where}: topology_dimension is {got!r:.20}, 2 alone is read")
    places = str(mesh.attrs.get("node_coordinates", "")).split()
    cells = str(mesh.attrs.get("face_node_connectivity", ""))
    for name in [*places, cells]:
        if name not in file.variables:
            raise FileFormatError(f"{mesh.where} names {name!r}, which is not there")
    if len(places) != 2 or len(file.variables[places[0]].dims) != 1:
        raise FileFormatError(f"{mesh.where}: node_coordinates are {places}, expected two variables, x and y")
    serves = {mesh.name: "a mesh", cells: "nodes of each face"}
    for key, value in mesh.attrs.items():
        if key.endswith(("_connectivity", "_coordinates")) and key != "node_coordinates" and isinstance(value, str):
            serves |= {w: "a mesh" for w in value.split() if w in file.variables and w != cells}
    inner = tuple({d for n in serves for d in file.variables[n].dims} - set(file.variables[places[0]].dims))
    return Topology(file.variables[places[0]].dims[0], {"x": places[0], "y": places[1]}, cells, inner, serves)


def _plain(file: Labelled) -> Topology | None:
    """Without the convention: integers (cell, 3 or 4) under a usual name, beside x and y over one dimension."""
    whole = [v for v in file.variables.values() if not v.problem and v.dtype.kind in "iu" and len(v.shape) == 2]
    cells = next((v for v in whole if v.name.lower() in CELLS and v.shape[1] in (3, 4)), None)
    x, y = (next((v for v in file.variables.values() if v.name.lower() == a and len(v.dims) == 1), None) for a in "xy")
    if cells is None or x is None or y is None or x.dims != y.dims or "z" in file.variables:
        return None
    return Topology(x.dims[0], {"x": x.name, "y": y.name}, cells.name, cells.dims, {cells.name: "nodes of each cell"})


def mesh(file: Labelled, found: Topology) -> Mesh:
    """The mesh.

    Raises:
        FileFormatError: nodes that are not there.
    """
    position = np.stack([np.asarray(file.variables[found.places[a]].read(), np.float64) for a in "xy"], axis=-1)
    variable = file.variables[found.cells]
    raw = _cells(variable, position)
    kinds = {3: "triangle", 4: "quadrilateral"}
    counts = (raw >= 0).sum(axis=1)
    if set(np.unique(counts).tolist()) - set(kinds):
        most = int(counts.max(initial=0))
        raise FileFormatError(f"{variable.where}: faces of {most} nodes, triangles and quadrilaterals alone are read")
    return Mesh(position, {kinds[n]: raw[counts == n][:, :n] for n in kinds if (counts == n).any()})


def _cells(variable: Variable, position: np.ndarray) -> np.ndarray:
    """(cell, vertex) from 0 on, -1 where a cell has fewer."""
    values = np.asarray(variable.read(), np.float64)
    if values.shape[1] not in (3, 4) and values.shape[0] in (3, 4):
        values = values.T
    fill = ~np.isfinite(values) | (values < 0)
    start = variable.attrs.get("start_index")
    if start is None:
        start = 1 if np.nanmax(np.where(fill, -1, values)) == len(position) else 0
    found = np.where(fill, -1, values - float(start)).astype(np.int64)
    if found.max(initial=-1) >= len(position) or (found[~fill] < 0).any():
        raise FileFormatError(
            f"{variable.where}: nodes up to {int(found.max(initial=-1))}, but there are {len(position)} (start_index "
            f"{start:g})"
        )
    return found
