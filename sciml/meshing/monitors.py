"""Monitors of a field that is known at the nodes: where cells should be small."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse.linalg
from jaxtyping import Float

from sciml.errors import InputError, is_number
from sciml.meshing._checked import checked_mesh, numbers_of
from sciml.meshing._settings import check_positive
from sciml.meshing._simplices import Cells, Points, contents, gathered, mass, slopes, stiffness

Nodal = Float[np.ndarray, " node"]


def gradient(points: Any, cells: Any, field: Any, strength: float = 10.0, smoothing: float = 0.0) -> Nodal:
    """m = 1 + strength |∇u|²/max |∇u|².

    Args:
        points, cells, field: a mesh of intervals or triangles, and u at its nodes.
        strength: how much denser nodes are where u is steepest.
        smoothing: K of `smoothed`.

    Raises:
        InputError: no such mesh or field, or settings out of range.
    """
    places, numbers, u = _checked(points, cells, field, strength=strength)
    square = (recovered(places, numbers, u) ** 2).sum(1)
    return smoothed(places, numbers, 1 + strength * _over(square, _noise(places, numbers, u, 1) ** 2), smoothing)


def hessian(points: Any, cells: Any, field: Any, strength: float = 5.0, smoothing: float = 0.0) -> Nodal:
    """m = 1 + strength ‖∇∇u‖/max ‖∇∇u‖, in Frobenius' norm; arguments as those of `gradient`."""
    places, numbers, u = _checked(points, cells, field, strength=strength)
    return smoothed(
        places, numbers, 1 + strength * _over(curvature(places, numbers, u), _noise(places, numbers, u, 2)), smoothing
    )


def arc_length(points: Any, cells: Any, field: Any, strength: float = 1.0, smoothing: float = 0.0) -> Nodal:
    """m = √(1 + strength |∇u|² L²/R²), in one dimension the length of the graph of u in a square: R is the range of u,
    L the longest extent of the mesh; arguments as those of `gradient`."""
    places, numbers, u = _checked(points, cells, field, strength=strength)
    reach, extent = float(np.ptp(u)), float(np.ptp(places, axis=0).max())
    square = (recovered(places, numbers, u) ** 2).sum(1)
    scale = strength * (extent / reach) ** 2 if reach > 0 else 0.0
    return smoothed(places, numbers, np.sqrt(1 + scale * square), smoothing)


def optimal(
    points: Any, cells: Any, field: Any, norm: float = 2.0, floor: float | None = None, smoothing: float = 0.0
) -> Nodal:
    """The density that is best for linear interpolation of u in L^q:

        m = (1 + ‖∇∇u‖/α)^(d q/(d + 2 q)),    α such that half of all nodes go where the second term rules.

    Args:
        points, cells, field: as those of `gradient`.
        norm: q.
        floor: α; None for the one with ∫ (1 + ‖∇∇u‖/α)^p = 2 ∫ 1, by bisection.
        smoothing: K of `smoothed`.

    Source: W. Huang, R. D. Russell, Adaptive Moving Mesh Methods, Springer (2011), sections 2.4 and 5.2.
    """
    places, numbers, u = _checked(points, cells, field, norm=norm)
    d, size = places.shape[1], curvature(places, numbers, u)
    power = d / 2 if norm == np.inf else d * norm / (d + 2 * norm)
    if floor is None:
        volume = contents(places, numbers)

        def share(alpha: float) -> float:
            m = (1 + size / alpha) ** power
            return float((m[numbers].mean(1) * volume).sum() / volume.sum())

        top = float(size.max())
        if top <= _noise(places, numbers, u, 2):
            return np.ones(len(places))
        low, high = 1e-12 * top, top
        for _ in range(60):
            middle = np.sqrt(low * high)
            low, high = (middle, high) if share(middle) > 2 else (low, middle)
        floor = float(np.sqrt(low * high))
    check_positive("optimal", floor=floor)
    return smoothed(places, numbers, (1 + size / floor) ** power, smoothing)


def recovered(points: Points, cells: Cells, u: Nodal) -> Float[np.ndarray, "node dimension"]:
    """∇u at the nodes, by projection onto linear functions."""
    volume, k = contents(points, cells), cells.shape[1]
    inside = np.einsum("cid,ci->cd", slopes(points, cells), u[cells])
    whole = mass(points, cells)
    right = [gathered(cells, np.repeat((g * volume / k)[:, None], k, 1), len(points)) for g in inside.T]
    return np.stack([_projected(whole, one) for one in right], 1)


def _projected(whole: Any, right: Nodal) -> Nodal:
    """M⁻¹ right by conjugate gradients: with its diagonal the mass matrix has a condition number of at most 4, whatever
    the mesh (A. J. Wathen, IMA J. Numer. Anal. 7, 449 (1987)), so that forty steps are enough for rounding."""
    inverse = 1 / whole.diagonal()
    x = inverse * right
    r = right - whole @ x
    p = z = inverse * r
    rz, least = float(r @ z), 1e-28 * float(right @ (inverse * right))
    for _ in range(100):
        if rz <= least:
            break
        q = whole @ p
        step = rz / float(p @ q)
        x, r = x + step * p, r - step * q
        z = inverse * r
        before, rz = rz, float(r @ z)
        p = z + rz / before * p
    return x


def curvature(points: Points, cells: Cells, u: Nodal) -> Nodal:
    """‖∇∇u‖ at the nodes, by recovery of ∇u and of its slopes, means over the cells around them."""
    volume, k = contents(points, cells), cells.shape[1]
    first, g = recovered(points, cells, u), slopes(points, cells)
    around = gathered(cells, np.repeat(volume[:, None], k, 1), len(points))
    second = np.einsum("cid,cij->cjd", g, first[cells])
    second = (second + np.swapaxes(second, 1, 2)) / 2
    square = 0.0
    for row in second.reshape(len(cells), -1).T:
        square = square + (gathered(cells, np.repeat((row * volume)[:, None], k, 1), len(points)) / around) ** 2
    return np.sqrt(square)


def smoothed(points: Points, cells: Cells, m: Nodal, amount: float) -> Nodal:
    """S with S − K ∇²S = m, K = amount · h²/4 and h² the mean content of a cell, ∂S/∂n = 0; m itself for 0."""
    if amount == 0:
        return m
    check_positive("smoothing", amount=amount)
    size = contents(points, cells)
    scale = amount * float(size.mean()) ** (2 / points.shape[1]) / 4
    whole = mass(points, cells)
    matrix: Any = (whole + scale * stiffness(points, cells)).tocsc()
    found: Any = scipy.sparse.linalg.spsolve(matrix, whole @ m)
    return np.clip(found, m.min(), m.max())


def _over(values: Nodal, least: float) -> Nodal:
    """Over the largest; 0 where that is no more than `least`."""
    top = float(values.max())
    return values / top if top > least else np.zeros_like(values)


def _noise(points: Points, cells: Cells, u: Nodal, order: int) -> float:
    """What derivatives of a field are that differ from 0 by rounding alone: ten thousand times ε max |u|/h^order."""
    h = float(contents(points, cells).min()) ** (1 / points.shape[1])
    return 1e4 * float(np.finfo(np.float64).eps) * float(np.abs(u).max()) / h**order


def _checked(points: Any, cells: Any, field: Any, **settings: Any) -> tuple[Points, Cells, Nodal]:
    places, numbers = checked_mesh(points, cells)
    u = numbers_of("field", field)
    if u.shape != (len(places),):
        raise InputError(f"field: expected a value for each of {len(places)} nodes, got the shape {u.shape}")
    if not np.isfinite(u).all():
        raise InputError(f"field: node {int(np.flatnonzero(~np.isfinite(u))[0])} is not finite")
    for key, value in settings.items():
        least = 1.0 if key == "norm" else 0.0
        if not (is_number(value) or (key == "norm" and value == np.inf)) or value < least:
            raise InputError(f"{key}: got {value!r}, expected a number from {least:g} on")
    return places, numbers, u
