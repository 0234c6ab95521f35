"""The force of a flow on a body, from fields alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Shaped

from sciml.arrays import plain
from sciml.errors import InputError
from sciml.metrics._array import Line


def force_within(
    velocity: Sequence[Shaped[Any, "*batch y x"]],
    pressure: Shaped[Any, "*batch y x"],
    faces: Sequence[Line],
    box: Sequence[tuple[float, float]],
    *,
    density: Any,
    viscosity: Any,
    rate: Sequence[Shaped[Any, "*#batch y x"]] | None = None,
) -> tuple[Shaped[Any, "*batch"], Shaped[Any, "*batch"]]:
    """Force of an incompressible flow in the plane on what is at rest within a box, by the balance of momentum

        F = −∮ (ρ u (u·n) + p n − μ (∇u + ∇uᵀ)·n) dS − ∫ ρ ∂t u dV

    over the box, whose sides go through the fluid: nothing is asked of the cells at the body, which surrogates leave
    out or know least of. Values on a side are means of the two cells beside it, gradients central differences, of
    second order on equal cells. Arrays of NumPy, JAX and torch alike, with the derivatives of these.

    Args:
        velocity: u and v at cell centres, m/s.
        pressure: Pa; any constant may be added.
        faces: positions of the faces along x and y, at equal distances: one more than there are cells.
        box: (lower, upper) along x and along y; its sides are moved to the nearest faces, beyond which there have to be
            two cells on each side.
        density, viscosity: ρ in kg/m³ and μ in Pa s, of each or of all alike.
        rate: ∂u/∂t and ∂v/∂t, m/s², 0 within the body, of each or of all alike; None for a flow that has settled.

    Returns:
        the forces along x and y, N/m.

    Raises:
        InputError: shapes that do not fit each other, faces that are not at equal distances, or a box that reaches too
            far.
    """
    u, v = _fields("velocity", velocity)
    plane = tuple(u.shape[-2:])
    rates = {} if rate is None else {f"rate along {name}": a for name, a in zip("xy", rate, strict=True)}
    whole = {"v": v, "pressure": pressure}
    for name, a in (whole | rates).items():
        shape = tuple(getattr(a, "shape", ()))
        if shape[-2:] != plane or (name in whole and shape != tuple(u.shape)):
            raise InputError(f"{name}: expected the shape of u, {tuple(u.shape)}, got {shape}")
    density, viscosity = (_of_each(n, a, u) for n, a in (("density", density), ("viscosity", viscosity)))
    if len(box) != 2 or any(len(plain("box", ends)) != 2 for ends in box):
        raise InputError(f"box: expected ((lower, upper), (lower, upper)) along x and y, got {box!r:.80}")
    (left, right, dx), (lower, upper, dy) = (
        _sides(name, line, ends, cells)
        for name, line, ends, cells in zip("xy", faces, box, (u.shape[-1], u.shape[-2]), strict=True)
    )
    cells = (..., slice(lower, upper), slice(left, right))
    inertia_x, inertia_y = (0.0, 0.0) if rate is None else (r[cells].sum((-2, -1)) * (dx * dy) for r in rate)
    found_x, found_y = -density * inertia_x, -density * inertia_y
    for at, sign in ((left, -1), (right, 1)):
        normal, along = _side(u, v, pressure, at, (lower, upper), dx, dy, density, viscosity)
        found_x, found_y = found_x - sign * normal, found_y - sign * along
    u, v, pressure = (a.swapaxes(-2, -1) for a in (u, v, pressure))
    for at, sign in ((lower, -1), (upper, 1)):
        normal, along = _side(v, u, pressure, at, (left, right), dy, dx, density, viscosity)
        found_x, found_y = found_x - sign * along, found_y - sign * normal
    return found_x, found_y


def _fields(name: str, several: Any) -> tuple[Any, Any]:
    found = tuple(several)
    if len(found) != 2 or any(getattr(a, "ndim", 0) < 2 for a in found):
        raise InputError(f"{name}: expected two arrays (..., y, x), got {len(found)} of {type(found[0]).__name__}")
    return found[0], found[1]


def _of_each(name: str, value: Any, u: Any) -> Any:
    """A number, or one of each field of a batch."""
    shape = tuple(getattr(value, "shape", ()))
    if shape and shape != tuple(u.shape[:-2]):
        raise InputError(f"{name}: expected a number or the shape {tuple(u.shape[:-2])}, got {shape}")
    return value


def _side(
    through: Any, along: Any, p: Any, at: int, rows: tuple[int, int], across: float, width: float, rho: Any, mu: Any
) -> tuple[Any, Any]:
    """What goes through a side in the direction of its axis, the last one: momentum normal to it and along it.

    Args:
        through, along: velocities normal to the side and along it.
        at: number of the face; rows: of the cells beside it.
        across, width: of a cell.
    """
    first, last = rows
    rho, mu = (a[..., None] if getattr(a, "ndim", 0) else a for a in (rho, mu))
    wide = (..., slice(first - 1, last + 1))

    def mean(a: Any) -> Any:
        return ((a[..., at - 1] + a[..., at]) / 2)[wide]

    def slope(a: Any) -> Any:
        return ((a[..., at] - a[..., at - 1]) / across)[..., first:last]

    n, t, pressure = mean(through), mean(along), mean(p)[..., 1:-1]
    turned = (n[..., 2:] - n[..., :-2]) / (2 * width)
    n, t = n[..., 1:-1], t[..., 1:-1]
    normal = rho * n * n + pressure - 2 * mu * slope(through)
    sideways = rho * n * t - mu * (slope(along) + turned)
    return normal.sum(-1) * width, sideways.sum(-1) * width


def _sides(name: str, line: Any, ends: tuple[float, float], cells: int) -> tuple[int, int, float]:
    """Numbers of the faces at the ends of a box, and the width of a cell."""
    at = plain(f"faces along {name}", line).astype(float)
    if at.shape != (cells + 1,) or not np.allclose(np.diff(at), (at[-1] - at[0]) / cells, rtol=1e-4, atol=0):
        raise InputError(f"faces along {name}: expected {cells + 1} at equal distances, got shape {at.shape}")
    first, last = (int(np.abs(at - end).argmin()) for end in ends)
    if not 2 <= first < last <= cells - 2:
        raise InputError(
            f"box along {name}: expected sides at least two cells within {at[0]:g} to {at[-1]:g}, the lower one first, "
            f"got {ends[0]:g} and {ends[1]:g}"
        )
    return first, last, float((at[-1] - at[0]) / cells)
