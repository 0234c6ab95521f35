"""Velocities that are free of divergence by construction: v = (∂ψ/∂y, −∂ψ/∂x) in the plane, v = ∇×A in space.

Differences along different axes commute, so that the same differences of v cancel to rounding whatever ψ or A is. On
staggered grids ψ lives at corners and A on edges of cells; where velocities are wanted at cell centres, both live there
as well and differences are central. An impermeable wall is a line of constant ψ. On a torus the potential has no part
in the mean velocity, which is added.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy import ndimage
from torch import Tensor

from sciml.errors import InputError

Widths = Sequence[float] | Tensor | float


def _difference(values: Tensor, axis: int, widths: Widths, periodic: bool) -> Tensor:
    """Over the widths of cells, along coordinate axis `axis`; n corners become n cells around a circle, else n − 1."""
    at = values.ndim - 1 - axis
    if periodic:
        found = values.roll(-1, at) - values
    else:
        found = values.diff(dim=at)
    h = torch.as_tensor(widths, dtype=values.dtype, device=values.device)
    if h.ndim and h.shape != (found.shape[at],):
        raise InputError(f"widths: expected one number, or {found.shape[at]} along axis {axis}, got {tuple(h.shape)}")
    return found / (h.reshape((-1,) + (1,) * axis) if h.ndim else h)


def _mean(velocity: tuple[Tensor, ...], mean: Tensor | Sequence[float] | None) -> tuple[Tensor, ...]:
    if mean is None:
        return velocity
    m = torch.as_tensor(mean, dtype=velocity[0].dtype, device=velocity[0].device)
    if m.shape[-1:] != (len(velocity),):
        raise InputError(f"mean: expected {len(velocity)} components, got shape {tuple(m.shape)}")
    d = len(velocity)
    return tuple(v + m[..., k].reshape(*m.shape[:-1], *(1,) * d) for k, v in enumerate(velocity))


def _closed(values: Tensor, axis: int) -> Tensor:
    """With the first layer of a circle once more at its end."""
    at = values.ndim - 1 - axis
    return torch.cat([values, values.narrow(at, 0, 1)], dim=at)


def face_velocity(
    psi: Float[Tensor, "*batch corner_y corner_x"],
    widths: tuple[Widths, Widths],
    periodic: tuple[bool, bool] = (False, False),
    mean: Tensor | Sequence[float] | None = None,
) -> tuple[Float[Tensor, "*batch y face_x"], Float[Tensor, "*batch face_y x"]]:
    """Face-normal velocities u (..., ny, nx + 1) and v (..., ny + 1, nx) of a stream function at the corners of cells.

    Args:
        psi: (..., ny + 1, nx + 1), a layer less along axes that are periodic.
        widths: of cells along x and y, a number or one for each cell.
        mean: (2,) or (..., 2) added, for periodic axes.
    """
    u = _difference(psi, 1, widths[1], periodic[1])
    v = -_difference(psi, 0, widths[0], periodic[0])
    u, v = _mean((u, v), mean)
    return (_closed(u, 0) if periodic[0] else u), (_closed(v, 1) if periodic[1] else v)


def hold_on_bodies(
    psi: Float[Tensor, "*batch corner_y corner_x"], solid: Bool[np.ndarray, "y x"]
) -> Float[Tensor, "*batch corner_y corner_x"]:
    """ψ made constant on each body, so that nothing passes the faces of its cells: the mean of what it is there.

    Args:
        psi: (..., ny + 1, nx + 1) at corners of cells.
        solid: (ny, nx) True in cells of bodies; those that touch at a corner are one body.
    """
    ny, nx = solid.shape
    if tuple(psi.shape[-2:]) != (ny + 1, nx + 1):
        raise InputError(f"psi: expected corners (..., {ny + 1}, {nx + 1}) of the cells, got {tuple(psi.shape)}")
    corners = np.zeros((ny + 1, nx + 1), bool)
    for j, i in ((0, 0), (0, 1), (1, 0), (1, 1)):
        corners[j : j + ny, i : i + nx] |= solid
    cells, count = cast(Any, ndimage.label(solid, np.ones((3, 3))))
    labels = np.zeros((ny + 1, nx + 1), int)
    for j, i in ((0, 0), (0, 1), (1, 0), (1, 1)):
        labels[j : j + ny, i : i + nx] = np.maximum(labels[j : j + ny, i : i + nx], cells)
    if not count:
        return psi
    flat, index = psi.flatten(-2), torch.as_tensor(labels.ravel(), device=psi.device)
    sums = torch.zeros(*flat.shape[:-1], count + 1, dtype=psi.dtype, device=psi.device).index_add(-1, index, flat)
    means = sums / torch.bincount(index, minlength=count + 1)
    return torch.where(index > 0, means[..., index], flat).reshape(psi.shape)


def cell_velocity(
    psi: Float[Tensor, "*batch y x"],
    spacing: tuple[float, float],
    walls: tuple[tuple[float, float] | None, tuple[float, float] | None] = (None, None),
    mean: Tensor | Sequence[float] | None = None,
) -> Float[Tensor, "*batch component y x"]:
    """Velocities at the centres of equal cells from a stream function at the same places, by central differences.

    An axis is periodic, or ends at walls on which ψ is constant: beyond one ψ is continued as 2ψ_wall − ψ, so that
    the mean of the velocity inside and the one beyond, the velocity through the wall, is zero. With it the divergence
    by balances of cells, face velocities being means of those beside them and zero on walls, is zero everywhere. ψ has
    to be the same on walls that meet.

    Args:
        spacing: Δx, Δy.
        walls: for x and y the values of ψ on the lower and the upper wall; None for a periodic axis.
    """
    (nx, ny), grid = (psi.shape[-1], psi.shape[-2]), psi
    if all(w is not None for w in walls) and len({v for w in walls if w is not None for v in w}) > 1:
        raise InputError(f"walls: expected one value on walls that meet, got {walls}")

    def central(axis: int) -> Tensor:
        at, n, ends = psi.ndim - 1 - axis, (nx, ny)[axis], walls[axis]
        first, last = grid.narrow(at, 0, 1), grid.narrow(at, n - 1, 1)
        before, after = (last, first) if ends is None else (2 * ends[0] - first, 2 * ends[1] - last)
        line = torch.cat([before, grid, after], dim=at)
        return (line.narrow(at, 2, n) - line.narrow(at, 0, n)) / (2 * spacing[axis])

    return torch.stack(_mean((central(1), -central(0)), mean), dim=-3)


def face_curl(
    potential: tuple[Tensor, Tensor, Tensor],
    widths: tuple[Widths, Widths, Widths],
    periodic: tuple[bool, bool, bool] = (False, False, False),
    mean: Tensor | Sequence[float] | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Face-normal velocities of a vector potential on the edges of cells, v = ∇×A.

    Args:
        potential: A_x on edges along x, (..., nz + 1, ny + 1, nx), A_y (..., nz + 1, ny, nx + 1) and A_z
            (..., nz, ny + 1, nx + 1); along periodic axes a layer less where it says n + 1.
        widths: of cells along x, y and z, a number or one for each cell.

    Returns:
        u (..., nz, ny, nx + 1), v (..., nz, ny + 1, nx), w (..., nz + 1, ny, nx).
    """
    found = []
    for k in range(3):
        i, j = (k + 1) % 3, (k + 2) % 3
        di = _difference(potential[j], i, widths[i], periodic[i])
        dj = _difference(potential[i], j, widths[j], periodic[j])
        if di.shape != dj.shape:
            shapes = [tuple(p.shape) for p in potential]
            raise InputError(f"potential: expected components on the edges of the same cells, got shapes {shapes}")
        found.append(di - dj)
    velocity = _mean(tuple(found), mean)
    u, v, w = (_closed(v, k) if periodic[k] else v for k, v in enumerate(velocity))
    return u, v, w


def cell_curl(
    potential: Float[Tensor, "*batch component z y x"],
    spacing: tuple[float, float, float],
    mean: Tensor | Sequence[float] | None = None,
) -> Float[Tensor, "*batch component z y x"]:
    """v = ∇×A at the centres of equal cells of a periodic box, by central differences; A at the same places."""
    if potential.ndim < 4 or potential.shape[-4] != 3:
        raise InputError(f"potential: expected (..., 3, z, y, x), got {tuple(potential.shape)}")
    parts = potential.unbind(-4)

    def central(k: int, axis: int) -> Tensor:
        return (parts[k].roll(-1, -1 - axis) - parts[k].roll(1, -1 - axis)) / (2 * spacing[axis])

    curl = [central((k + 2) % 3, (k + 1) % 3) - central((k + 1) % 3, (k + 2) % 3) for k in range(3)]
    return torch.stack(_mean(tuple(curl), mean), dim=-4)
