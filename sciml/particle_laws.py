"""What any solution of matter followed by particles has to obey, whatever the matter is of.

Each law is a number a frame, without a unit, 0 where it holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sciml.errors import InputError
from sciml.geometry import AXES, SIDES

if TYPE_CHECKING:
    from jaxtyping import Float

#: share of the largest extent of the box by which a particle may be beyond a wall: rounding of float32
SLACK = 1e-6
#: distances of particles within which they are taken to touch a wall
REACH = 2.0
#: radius over which density is measured, in distances of particles
RADIUS = 2.5
#: particles at which it is measured, at most
PLACES = 4000


@dataclass(frozen=True, eq=False)
class Tracks:
    """Particles over time, as a solution tells.

    Args:
        times: (T,).
        first: (N, D) positions at t = 0.
        position, velocity: (T, N, D).
        density: (T, N), or None where the solution does not tell.
        volume: (N,) at t = 0; None where the solution does not tell.
    """

    times: Float[np.ndarray, " time"]
    first: Float[np.ndarray, "node dimension"]
    position: Float[np.ndarray, "time node dimension"]
    velocity: Float[np.ndarray, "time node dimension"]
    density: Float[np.ndarray, "time node"] | None
    volume: Float[np.ndarray, " node"] | None

    @staticmethod
    def of(solution: Any, dimensions: int) -> Tracks:
        """The tracks in a solution (xarray.Dataset) whose nodes are particles.

        Raises:
            InputError: positions, displacements or velocities are missing or not finite, or particles come and go.
        """
        axes = AXES[:dimensions]

        def values(name: str) -> np.ndarray:
            if name not in solution.variables:
                raise InputError(f"particles: the solution does not hold {name!r}")
            if solution[name].dims != ("time", "node"):
                raise InputError(f"particles: {name!r} has dims {solution[name].dims}, expected ('time', 'node')")
            found = np.asarray(solution[name].values, np.float64)
            if not np.isfinite(found).all():
                k = int(np.argmin(np.isfinite(found).all(1)))
                raise InputError(f"particles: {name!r} holds values that are not finite, first in frame {k}")
            return found

        position = np.stack([values(a) for a in axes], -1)
        moved = np.stack([values(f"displacement_{a}") for a in axes], -1)
        velocity = np.stack([values(f"velocity_{a}") for a in axes], -1)
        density = values("density") if "density" in solution.variables else None
        volume = None
        if "node_volume" in solution.variables:
            volume = np.asarray(solution["node_volume"].values, np.float64)
        times = np.asarray(solution["time"].values, np.float64)
        return Tracks(times, position[0] - moved[0], position, velocity, density, volume)

    @property
    def share(self) -> Float[np.ndarray, " node"]:
        """(N,) of the mass; equal shares where volumes are not known."""
        volume = np.ones(len(self.first)) if self.volume is None else self.volume
        return volume / volume.sum()


def displaced(tracks: Tracks, displacement: Float[np.ndarray, "time node dimension"], length: float) -> np.ndarray:
    """(T,) root mean square of position − displacement less what it is at first, over a length."""
    away = tracks.position - displacement - tracks.first
    return np.sqrt((away**2).sum(-1) @ tracks.share) / length


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
    """(T,) by how much kinetic and potential energy exceed those at t = 0, when nothing is stored, per mass and square
    of the velocity scale: never, unless a body that moves does work on the matter; NaN where one does."""
    if any(body.motion for body in case.problem.bodies(case)):
        return np.full(len(tracks.times), np.nan)
    start = case.problem.first_velocity(case, tracks.first)
    before = _energy(tracks.first[None], start[None], tracks, case)
    return np.maximum(_energy(tracks.position, tracks.velocity, tracks, case) - before, 0.0) / case.scales.velocity**2


def _energy(position: np.ndarray, velocity: np.ndarray, tracks: Tracks, case: Any) -> np.ndarray:
    """(T,) kinetic and potential energy per mass."""
    return ((velocity**2).sum(-1) / 2 - position @ case.problem.gravity(case)) @ tracks.share


def unexplained_force(tracks: Tracks, case: Any) -> Float[np.ndarray, " time"]:
    """(T,) force per mass, from the frame before to this one, that neither gravity nor a touch explains, over the scale
    of accelerations: the mean velocity V obeys dV/dt = g while nothing touches the matter; a side pushes away from
    itself, and along itself where there is friction; a body may push anywhere.

    What may have touched since the frame before is taken to have touched.
    """
    problem, scales = case.problem, case.scales
    gravity = problem.gravity(case)
    mean = np.einsum("tnd,n->td", tracks.velocity, tracks.share)
    edge = distance_of_particles(tracks, case)
    bodies, extents, d = problem.bodies(case), case.geometry.extents, len(gravity)
    found = np.zeros(len(tracks.times))
    for k in range(1, len(found)):
        step = tracks.times[k] - tracks.times[k - 1]
        reach = REACH * edge + step * np.linalg.norm(tracks.velocity[k - 1 : k + 1], axis=-1)
        both = tracks.position[k - 1 : k + 1]
        push = np.zeros((d, 2), bool)  # along each axis: forwards, backwards
        for side, wall in problem.walls(case).items():
            axis, end = SIDES[side]
            if np.any(np.abs(both[..., axis] - extents[axis][end]) < reach):
                push[axis, end] = True
                push[axis] |= not wall.separates
                push[np.arange(d) != axis] |= wall.friction > 0
        for body in bodies:
            when = tracks.times[k - 1 : k + 1]
            near = np.stack([body.distance(p, float(t)) for p, t in zip(both, when, strict=True)])
            push |= bool(np.any(near < reach + step * np.linalg.norm(body.velocity(when), axis=-1)[:, None]))
        force = (mean[k] - mean[k - 1]) / step - gravity
        left = np.where(push[:, 0], 0.0, np.maximum(force, 0.0)) + np.where(push[:, 1], 0.0, np.maximum(-force, 0.0))
        found[k] = np.linalg.norm(left)
    return found / max(float(np.linalg.norm(gravity)), scales.velocity / scales.time)


def distance_of_particles(tracks: Tracks, case: Any) -> float:
    """From one particle to the next, in what is not deformed."""
    d = tracks.first.shape[1]
    if tracks.volume is not None:
        return float(tracks.volume.mean()) ** (1 / d)
    box = np.ptp(tracks.first, axis=0).prod() or case.scales.length**d
    return float(box / len(tracks.first)) ** (1 / d)


def crowding(tracks: Tracks, case: Any, position: Any = None, density: Any = None) -> Float[np.ndarray, " time"]:
    """(T,) mean by which the density of particles, as their places tell, exceeds the density that they are said to
    have, as a share of it: matter that lies in each other. Lower is no defect: surfaces are free.

    Density is Σ m W(r)/∫W dV with W = (1 − r²/R²)³, R being two and a half distances of particles; NaN where no volumes
    are known. Of many particles every so manieth is looked at.

    Args:
        position, density: (T, N, D) and (T, N); by default those of the tracks, with the material's density where they
            do not tell.
    """
    from scipy.spatial import KDTree

    position = tracks.position if position is None else position
    density = tracks.density if density is None else density
    found = np.full(len(position), np.nan)
    if tracks.volume is None:
        return found
    rest = float(case.problem.material(case).density)
    mass, d = rest * tracks.volume, position.shape[-1]
    radius = RADIUS * distance_of_particles(tracks, case)
    whole = radius**d * (np.pi / 4 if d == 2 else 64 * np.pi / 315)  # ∫W dV
    every = slice(None, None, -(-len(mass) // PLACES))
    for k, places in enumerate(position):
        pairs = KDTree(places[every]).sparse_distance_matrix(KDTree(places), radius, output_type="coo_matrix")
        weight = mass[pairs.col] * (1 - (pairs.data / radius) ** 2) ** 3
        there = np.bincount(pairs.row, weight, len(places[every])) / whole
        said = rest if density is None else density[k][every]
        found[k] = float(np.average(np.maximum(there / said - 1, 0.0), weights=mass[every]))
    return found
