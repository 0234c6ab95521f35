"""Vortices of any solution: vorticity and criteria made of the velocity gradient A_ij = ∂u_i/∂x_j.

S = (A + Aᵀ)/2 is the rate of strain, Ω = (A − Aᵀ)/2 that of rotation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import xarray as xr

from sciml.errors import InputError, suggest
from sciml.structure._eigen import imaginary_part, middle_eigenvalue
from sciml.structure._flow import Walls, read
from sciml.structure.gradient import Differences, velocity_gradient
from sciml.support import Grid

Fields = dict[str, np.ndarray]


def vortices(
    solution: xr.Dataset,
    names: Sequence[str] | str = ("vorticity", "q_criterion", "lambda2", "swirling_strength"),
    *,
    grid: Grid | None = None,
    velocity: Sequence[str] | None = None,
    walls: Walls | None = None,
) -> xr.Dataset:
    """Several of the criteria of this module from one gradient a frame.

    Args:
        solution: of any solver, on a grid in 2 or 3 dimensions; steady or over "time".
        names: of "vorticity", "q_criterion", "okubo_weiss" (2-D), "lambda2", "swirling_strength"; or one of them.
        grid: where values are; by itself what the solution's case says, or else its coordinates.
        velocity: names of the components; by itself those of the problem, or u, v, w.
        walls: velocities that are known at ends, see `velocity_gradient`.

    Returns:
        a data set of the same axes, attributes, mask and inputs; NaN outside the mask.

    Raises:
        InputError: no velocity in 2 or 3 dimensions, no such criterion.
    """
    names = (names,) if isinstance(names, str) else names
    for name in names:
        if name not in _CRITERIA:
            raise InputError(f"names: there is no criterion {name!r}{suggest(name, _CRITERIA)}")
    flow = read("vortices" if len(names) != 1 else names[0], solution, grid, velocity)
    if flow.grid.dimensions not in (2, 3):
        raise InputError(f"{names[0]}: expected a velocity in 2 or 3 dimensions, got {flow.grid.dimensions}")
    rule = Differences(flow.grid)
    found: dict[str, tuple[Any, str, str]] = {}
    frames: dict[str, list[np.ndarray]] = {}
    for k in range(flow.frames):
        gradient = velocity_gradient(flow.velocity(k), flow.grid, walls, rule)
        for name in names:
            power, text, rule_of = _CRITERIA[name]
            for field, values in rule_of(gradient).items():
                frames.setdefault(field, []).append(values)
                found[field] = (None, flow.unit(power), text)
    for field, (_, unit, text) in found.items():
        values = frames[field][0] if flow.times is None else np.stack(frames[field])
        found[field] = (values, unit, text)
    return flow.dataset(found)


def vorticity(solution: xr.Dataset, **where: Any) -> xr.Dataset:
    """ω = ∇ × u in 1/s: "vorticity" in 2-D, "vorticity_x", "vorticity_y", "vorticity_z" in 3-D.

    Args and errors as of `vortices`.
    """
    return vortices(solution, ("vorticity",), **where)


def q_criterion(solution: xr.Dataset, **where: Any) -> xr.Dataset:
    """Q = ½ (|Ω|² − |S|²) in 1/s², positive in vortices; for ∇·u = 0 it is −½ tr(A²).

    Args and errors as of `vortices`.

    Source: J. C. R. Hunt, A. A. Wray, P. Moin, Center for Turbulence Research Report CTR-S88, 193 (1988).
    """
    return vortices(solution, ("q_criterion",), **where)


def okubo_weiss(solution: xr.Dataset, **where: Any) -> xr.Dataset:
    """W = (∂u/∂x − ∂v/∂y)² + (∂v/∂x + ∂u/∂y)² − ω² in 1/s², negative in vortices; −4Q for ∇·u = 0. In 2-D alone.

    Args and errors as of `vortices`.

    Source: A. Okubo, Deep-Sea Res. 17, 445 (1970); J. Weiss, Physica D 48, 273 (1991).
    """
    return vortices(solution, ("okubo_weiss",), **where)


def lambda2(solution: xr.Dataset, **where: Any) -> xr.Dataset:
    """λ₂, the middle eigenvalue of S² + Ω², in 1/s², negative in vortices. In 2-D the third eigenvalue is 0.

    Args and errors as of `vortices`.

    Source: J. Jeong, F. Hussain, J. Fluid Mech. 285, 69 (1995).
    """
    return vortices(solution, ("lambda2",), **where)


def swirling_strength(solution: xr.Dataset, **where: Any) -> xr.Dataset:
    """λ_ci, the imaginary part of the complex pair of eigenvalues of A, in 1/s; 0 where there is none.

    Args and errors as of `vortices`.

    Source: J. Zhou, R. J. Adrian, S. Balachandar, T. M. Kendall, J. Fluid Mech. 387, 353 (1999).
    """
    return vortices(solution, ("swirling_strength",), **where)


def curl(gradient: np.ndarray) -> Fields:
    """Components of the vorticity by name, of (D, D, *shape)."""
    a = gradient
    if len(a) == 2:
        return {"vorticity": a[1, 0] - a[0, 1]}
    return {
        "vorticity_x": a[2, 1] - a[1, 2],
        "vorticity_y": a[0, 2] - a[2, 0],
        "vorticity_z": a[1, 0] - a[0, 1],
    }


def _q(a: np.ndarray) -> Fields:
    # |Ω|² − |S|² = −Σ A_ij A_ji for any A
    d = len(a)
    found = -0.5 * np.sum([a[i, i] ** 2 for i in range(d)], axis=0)
    for i in range(d):
        for j in range(i):
            found = found - a[i, j] * a[j, i]
    return {"q_criterion": found}


def _okubo_weiss(a: np.ndarray) -> Fields:
    if len(a) != 2:
        raise InputError(f"okubo_weiss: expected a flow in 2 dimensions, got one in {len(a)}; q_criterion is for both")
    return {"okubo_weiss": (a[0, 0] - a[1, 1]) ** 2 + (a[1, 0] + a[0, 1]) ** 2 - (a[1, 0] - a[0, 1]) ** 2}


def _lambda2(a: np.ndarray) -> Fields:
    shape = a.shape[2:]
    # S² + Ω² is the symmetric part of A²
    square = [[np.einsum("k...,k...->...", a[i], a[:, j]) for j in range(len(a))] for i in range(len(a))]
    if len(a) == 2:
        x, y, xy = square[0][0], square[1][1], 0.5 * (square[0][1] + square[1][0])
        mean, root = 0.5 * (x + y), np.hypot(0.5 * (x - y), xy)
        low, high = mean - root, mean + root
        return {"lambda2": np.maximum(low, np.minimum(high, 0.0))}  # of low, high and 0 the middle one
    flat = [[entry.reshape(-1) for entry in row] for row in square]
    return {"lambda2": middle_eigenvalue(flat).reshape(shape)}


def _swirl(a: np.ndarray) -> Fields:
    if len(a) == 2:
        square = a[0, 1] * a[1, 0] + 0.25 * (a[0, 0] - a[1, 1]) ** 2
        return {"swirling_strength": np.sqrt(np.maximum(-square, 0.0))}
    return {"swirling_strength": imaginary_part(a)}


#: name -> power of the velocity gradient, description, how it is made
_CRITERIA: dict[str, tuple[int, str, Callable[[np.ndarray], Fields]]] = {
    "vorticity": (1, "vorticity", curl),
    "q_criterion": (2, "Q criterion", _q),
    "okubo_weiss": (2, "Okubo-Weiss parameter", _okubo_weiss),
    "lambda2": (2, "λ₂ criterion", _lambda2),
    "swirling_strength": (1, "swirling strength", _swirl),
}
