"""What the incompressible flow problems share."""

from __future__ import annotations

from typing import Any

import numpy as np

from sciml.expressions import Balance, Operators
from sciml.geometry import resample_nodal
from sciml.support import Grid


def navier_stokes(q: Any, d: Operators, theta: Any, force: Any = 0.0) -> dict[str, Balance]:
    """∇·u = 0 and ∂t(ρu) + ∇·(ρ u⊗u + p I − μ(∇u + ∇uᵀ)) = f in two or three dimensions.

    Args:
        theta: with `density` and `viscosity`, the dynamic viscosity μ.
        force: f per volume, a vector of expressions.
    """
    velocity = d.vector(*(getattr(q, name) for name in "uvw"[: d.dimensions]))
    gradient = d.grad(velocity)
    stress = theta.viscosity * (gradient + d.transpose(gradient))
    return {
        "continuity": Balance(flux=velocity, unit="s-1"),
        "momentum": Balance(
            storage=theta.density * velocity,
            flux=theta.density * d.outer(velocity, velocity) + q.p * d.identity() - stress,
            source=force,
            unit="N m-3",
        ),
    }


def face_velocities(streamfunction: np.ndarray, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Face-normal velocities u (ny, nx + 1) and v (ny + 1, nx) of a nodal stream function: u = δψ/δy, v = −δψ/δx.

    Their discrete divergence is zero to rounding, whatever ψ is.
    """
    ny, nx = grid.shape
    psi = resample_nodal(streamfunction, (ny + 1, nx + 1))
    dx, dy = grid.widths
    return np.diff(psi, axis=0) / dy[:, None], -np.diff(psi, axis=1) / dx[None, :]


def velocity_from_streamfunction(streamfunction: np.ndarray, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Cell-centre velocities (ny, nx): means of the face values."""
    u, v = face_velocities(streamfunction, grid)
    return (u[:, 1:] + u[:, :-1]) / 2, (v[1:] + v[:-1]) / 2
