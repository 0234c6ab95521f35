"""What any solution of matter followed by particles has to obey, whatever the matter is of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sciml.errors import InputError
from sciml.geometry import AXES

if TYPE_CHECKING:
    from jaxtyping import Float

#: share of the largest extent of the box by which a particle may be beyond a wall: rounding of float32
SLACK = 1e-6


@dataclass(frozen=True, eq=False)
class Tracks:
    """Particles over time, as a solution tells.

    Args:
        times: (T,).
        position, velocity: (T, N, D).
        share: (N,) of the mass; sums to 1.
    """

    times: Float[np.ndarray, " time"]
    position: Float[np.ndarray, "time node dimension"]
    velocity: Float[np.ndarray, "time node dimension"]
    share: Float[np.ndarray, " node"]

    @staticmethod
    def of(solution: Any, dimensions: int) -> Tracks:
        """The tracks in a solution (xarray.Dataset) whose nodes are particles.

        Raises:
            InputError: positions or velocities are missing or not finite, or particles come and go.
        """
        axes = AXES[:dimensions]
        for name in [*axes, *(f"velocity_{a}" for a in axes)]:
            if name not in solution.variables:
                raise InputError(f"particles: the solution does not hold {name!r}")
            if solution[name].dims != ("time", "node"):
                raise InputError(f"particles: {name!r} has dims {solution[name].dims}, expected ('time', 'node')")
            if not np.isfinite(solution[name].values).all():
                raise InputError(f"particles: {name!r} holds values that are not finite")
        position = np.stack([np.asarray(solution[a].values, np.float64) for a in axes], -1)
        velocity = np.stack([np.asarray(solution[f"velocity_{a}"].values, np.float64) for a in axes], -1)
        count = position.shape[1]
        volume = solution["node_volume"].values if "node_volume" in solution.variables else np.ones(count)
        share = np.asarray(volume, np.float64) / np.sum(volume, dtype=np.float64)
        return Tracks(np.asarray(solution["time"].values, np.float64), position, velocity, share)


def outside(tracks: Tracks, case: Any) -> Float[np.ndarray, " time"]:
    """(T,) share of the mass beyond the sides of the box or in a body."""
    low, high = np.array(case.geometry.extents, dtype=np.float64).T
    slack = SLACK * float((high - low).max())
    out = np.any((tracks.position < low - slack) | (tracks.position > high + slack), axis=-1)
    for body in case.problem.bodies(case):
        for k, time in enumerate(tracks.times):
            out[k] |= body.distance(tracks.position[k], float(time)) < -slack
    return out @ tracks.share


def gained_energy(tracks: Tracks, case: Any) -> Float[np.ndarray, " time"]:
    """(T,) by how much kinetic and potential energy exceed those of t = 0 at which nothing is stored, over the scale
    of a specific energy: never, unless a moving body does work on the matter."""
    gravity, scale = case.problem.gravity(case), case.scales.velocity**2
    first = tracks.position[0] if tracks.times[0] == 0 else _first(tracks, case)
    start = case.problem.first_velocity(case, first)
    before = _energy(first[None], start[None], gravity, tracks.share)
    return np.maximum(_energy(tracks.position, tracks.velocity, gravity, tracks.share) - before, 0.0) / scale


def _first(tracks: Tracks, case: Any) -> np.ndarray:
    raise InputError("audit: expected the frame at t = 0 among those of the solution")


def _energy(position: np.ndarray, velocity: np.ndarray, gravity: np.ndarray, share: np.ndarray) -> np.ndarray:
    """(T,) kinetic and potential energy per mass."""
    return ((velocity**2).sum(-1) / 2 - position @ gravity) @ share
