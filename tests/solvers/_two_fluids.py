"""Two fluids in boxes, as arrays, for tests."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from sciml.solvers import TwoPhaseFlow
from sciml.solvers.linear import End

AIR = {"air_density": 1.2, "air_viscosity": 1.8e-5}
WATER = {"density": 1000.0, "viscosity": 1e-3}
PERIODIC = ((End.PERIODIC, End.PERIODIC), (End.WALL, End.WALL))


def run(
    alpha: np.ndarray, size: tuple[float, float], times: Any, *, gravity: float = 9.81, ends: Any = None,
    dtype: str = "float64", speed: Any = None, solver: TwoPhaseFlow | None = None, **fluids: float,
) -> dict[str, np.ndarray]:  # fmt: skip
    """The frames of a box of (width, height) with fluids at rest, or with the velocities on all faces."""
    ny, nx = alpha.shape
    parameters = WATER | AIR | fluids | {"gravity": gravity, "width": size[0], "height": size[1]}
    u, v = (np.zeros((ny, nx + 1)), np.zeros((ny + 1, nx))) if speed is None else speed
    solver = TwoPhaseFlow((ny, nx), dtype=dtype, derivative="forward") if solver is None else solver
    with jax.enable_x64(dtype == "float64"):
        found = jax.jit(lambda p, i, t: solver.simulate(p, i, t, ends))(
            parameters, {"alpha": alpha, "u_face": u, "v_face": v}, np.asarray(times, float)
        )
        return {k: np.asarray(a) for k, a in found.items()}


def shares(inside: Any, shape: tuple[int, int], size: tuple[float, float], parts: int = 16) -> np.ndarray:
    """Of each cell the share in which inside(x, y), by `parts`² points."""
    (ny, nx), (width, height) = shape, size
    y, x = (np.arange(n * parts) + 0.5 for n in (ny, nx))
    found = inside(x[None] * width / (nx * parts), y[:, None] * height / (ny * parts))
    return np.broadcast_to(found, (ny * parts, nx * parts)).reshape(ny, parts, nx, parts).mean((1, 3))
