"""Inputs of a case at any points of its domain."""

from __future__ import annotations

import numpy as np

from sciml.errors import InputError
from sciml.geometry import AXES
from sciml.problem import Case
from sciml.support import Mesh


def given_at(case: Case, name: str, mesh: Mesh, points: np.ndarray) -> np.ndarray:
    """(M,) an input at points (M, D).

    Cell values over the box around the domain are those of the cell that a point lies in, which keeps jumps sharp;
    values at the nodes of the mesh are linear on its cells; a function given at points of its own is linear between
    them on their Delaunay triangles, and beyond these as `Samples`; what is left out is the problem's default.

    Raises:
        InputError: an input that is missing, or lives elsewhere.
    """
    spec = next(s for s in case.problem.inputs if s.name == name)
    if name not in case.inputs:
        if spec.default is None:
            raise InputError(f"{case.problem.name}: the case has no input {name!r}, and there is no default")
        found = spec.default(case.parameters, *points.T)
        return np.broadcast_to(np.asarray(found, dtype=np.float64), len(points))
    values = np.asarray(case.inputs[name], dtype=np.float64)
    axes = AXES[: case.problem.dimensions][::-1]
    if spec.dims == axes:
        place = []
        for (low, high), n, x in zip(case.geometry.extents[::-1], values.shape, points.T[::-1], strict=True):
            place.append(np.clip(((x - low) / (high - low) * n).astype(int), 0, n - 1))
        return values[tuple(place)]
    if spec.at:
        return case.input_between(name, points)
    if values.shape == (mesh.size,):
        return mesh.sample(values, points)
    raise InputError(
        f"{case.problem.name}: {name} has shape {values.shape} over {spec.dims}; expected values over {axes}, at "
        f"points of their own, or at the {mesh.size} nodes of the mesh"
    )
