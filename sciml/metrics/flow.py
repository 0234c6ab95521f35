"""Divergence of velocity fields, from cell data or exactly from face fluxes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Shaped

from sciml.arrays import plain
from sciml.errors import InputError
from sciml.geometry import AXES
from sciml.metrics._array import Array, Kept, Labelled, Line, align, floating, mean, namespace

Component = Labelled | Shaped[Array, "*batch_space"]
OnSpace = Labelled | Shaped[Array, "*space"]


def divergence_faces(face_velocities: Sequence[Shaped[Any, "*_"]], faces: Sequence[Line]) -> Shaped[Any, "*space"]:
    """∇·u of each cell by the Gauss theorem, Σ_i (u_i at the far face − u_i at the near face) / h_i.

    Exact for the finite-volume balance that a staggered solver obeys: rounding, if it projects.

    Args:
        face_velocities: the normal component along x, y, (z), in that order; for two dimensions
            u (..., y, x_face) and v (..., y_face, x). Axes are stored (..., z, y, x).
        faces: coordinates of the faces along x, y, (z): one value more than there are cells.
    Returns: (..., *space) in velocity per length.
    """
    xp = namespace(*face_velocities)
    total = None
    for i, (u, face) in enumerate(zip(face_velocities, faces, strict=True)):
        u = floating(xp, u)
        widths = np.diff(plain(f"faces[{i}]", face).astype(float))
        if u.shape[-1 - i] != len(widths) + 1:
            raise InputError(
                f"face_velocities[{i}]: expected {len(widths) + 1} faces on axis {-1 - i}, got {u.shape[-1 - i]}"
            )
        u = xp.moveaxis(u, -1 - i, -1)
        part = xp.moveaxis((u[..., 1:] - u[..., :-1]) / xp.asarray(widths, dtype=u.dtype), -1, -1 - i)
        total = part if total is None else total + part
    if total is None:
        raise InputError("face_velocities: expected at least one component, got none")
    return total


def _plain(velocity: Sequence[Any], mask: Any) -> tuple[list[Any], Any]:
    """Components and mask without labels, their axes of space last, in the order (z, y, x)."""
    given = align({**{f"velocity[{i}]": v for i, v in enumerate(velocity)}, "mask": mask}, AXES[: len(velocity)][::-1])
    *components, mask = given.values()
    return components, mask


def divergence(
    velocity: Sequence[Component],
    coords: Sequence[Line],
    *,
    periodic: bool | Sequence[bool] = False,
    wall: bool | Sequence[bool] = False,
    mask: OnSpace | None = None,
) -> Shaped[Any, "*batch_space"]:
    """∇·u of cell-centred data: face values are linear between the two cells beside them, then the Gauss theorem.

    Inside this is, on equal cells, the second-order central difference. At the ends of an axis the face value is that
    across the seam (`periodic`), zero (`wall`: nothing flows through a wall at rest) or the linear extrapolation of the
    two nearest cells (default). A face between a fluid and a solid cell of `mask` is a wall. Interpolation to faces
    costs accuracy: data whose *face* fluxes are free of divergence to rounding show an O(h²) remainder here.

    Args:
        velocity: components along x, y, (z), each (..., *space) with axes stored (..., z, y, x).
        coords: along x, y, (z) the centres of equal cells, or the faces of any: one value more than there are cells.
        periodic, wall: for all axes or for each, in the order x, y, (z).
        mask: (*space), 1 = fluid.
    Returns: (..., *space) in velocity per length, zero outside the mask.
    """
    d = len(velocity)
    velocity, mask = _plain(velocity, mask)
    xp = namespace(*velocity)
    wraps = (periodic,) * d if isinstance(periodic, bool) else tuple(periodic)
    walls = (wall,) * d if isinstance(wall, bool) else tuple(wall)
    if len(coords) != d or len(wraps) != d or len(walls) != d:
        raise InputError(f"coords, periodic, wall: expected one entry for each of the {d} components of velocity")
    fluid = None if mask is None else floating(xp, mask)
    total = None
    for i in range(d):
        u = xp.moveaxis(floating(xp, velocity[i]), -1 - i, -1)
        x = plain(f"coords[{i}]", coords[i]).astype(float)
        h = xp.asarray(_widths(x, int(u.shape[-1]), i), dtype=u.dtype)
        inner = (h[:-1] * u[..., 1:] + h[1:] * u[..., :-1]) / (h[1:] + h[:-1])
        if wraps[i]:
            first = last = (h[-1] * u[..., :1] + h[0] * u[..., -1:]) / (h[0] + h[-1])
        elif walls[i]:
            first = last = xp.zeros_like(u[..., :1])
        else:
            first = u[..., :1] + (u[..., :1] - u[..., 1:2]) * (h[0] / (h[0] + h[1]))
            last = u[..., -1:] + (u[..., -1:] - u[..., -2:-1]) * (h[-1] / (h[-1] + h[-2]))
        if fluid is not None:
            m = xp.moveaxis(fluid, -1 - i, -1)
            inner = xp.where((m[..., 1:] * m[..., :-1]) != 0, inner, xp.zeros_like(inner))
            if wraps[i]:
                first = last = xp.where((m[..., :1] * m[..., -1:]) != 0, first, xp.zeros_like(first))
        face = xp.concat([first, inner, last], axis=-1)
        part = xp.moveaxis((face[..., 1:] - face[..., :-1]) / h, -1, -1 - i)
        total = part if total is None else total + part
    if total is None:
        raise InputError("velocity: expected at least one component, got none")
    return total if fluid is None else xp.where(xp.broadcast_to(fluid, total.shape) != 0, total, xp.zeros_like(total))


def _widths(x: np.ndarray, cells: int, axis: int) -> np.ndarray:
    """(cells,) from the centres of equal cells, or from faces."""
    if x.ndim != 1 or len(x) not in (cells, cells + 1) or cells < 2:
        raise InputError(f"coords[{axis}]: expected {cells} (at least 2) cell centres, or faces, got shape {x.shape}")
    steps = np.diff(x)
    if len(x) == cells + 1:
        if not np.all(steps > 0):
            raise InputError(f"coords[{axis}]: expected faces that increase")
        return steps
    h = (x[-1] - x[0]) / (cells - 1)
    if not np.allclose(steps, h, rtol=1e-4, atol=0):
        raise InputError(f"coords[{axis}]: expected uniform spacing, or the faces of the cells")
    return np.full(cells, h)


def divergence_error(
    velocity: Sequence[Component],
    coords: Sequence[Line],
    *,
    length: float = 1.0,
    speed: float = 1.0,
    periodic: bool | Sequence[bool] = False,
    wall: bool | Sequence[bool] = False,
    mask: OnSpace | None = None,
    weights: OnSpace | None = None,
) -> Kept:
    """Dimensionless size of the divergence, √⟨(∇·u)²⟩ · length / speed, over the space axes of cell data.

    Args as for `divergence`; `length` and `speed` are the problem's scales, `weights` (*space) cell volumes where cells
    differ. Leading axes are kept.
    """
    d = len(velocity)
    velocity, mask = _plain(velocity, mask)
    xp = namespace(*velocity)
    div = divergence(velocity, coords, periodic=periodic, wall=wall, mask=mask)
    w = xp.ones_like(div) if mask is None else xp.broadcast_to(floating(xp, mask), div.shape)
    if weights is not None:
        w = w * xp.broadcast_to(floating(xp, weights), div.shape)
    return xp.sqrt(mean(xp, div**2, w, tuple(range(-d, 0)))) * (length / speed)
