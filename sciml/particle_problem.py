"""Families of bodies of matter that are followed by particles."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sciml.errors import InputError, is_number
from sciml.geometry import AXES, Box, Geometry
from sciml.materials import Material
from sciml.particle_laws import (
    Tracks,
    crowding,
    displaced,
    distance_of_particles,
    gained_energy,
    outside,
    unexplained_force,
)
from sciml.problem import Case, FieldSpec, Problem
from sciml.support import Points
from sciml.walls import Body as Body
from sciml.walls import Friction as Friction
from sciml.walls import Slip as Slip
from sciml.walls import Stick as Stick
from sciml.walls import Wall as Wall

if TYPE_CHECKING:
    from jaxtyping import Float

#: cells of the lattice that matter has to span along each axis
LEAST = 2
#: cells of the lattice that are too many for any memory
MOST = 10**9
#: places along each axis of a cell at which is looked how much of it lies in the matter
PLACES = {2: 8, 3: 4}


@dataclass(frozen=True, eq=False)
class Particles:
    """Matter cut into particles.

    Args:
        position: (N, D), m.
        velocity: (N, D), m s⁻¹.
        volume: (N,), m³ (m² in the plane); their sum is that of the matter.
    """

    position: Float[np.ndarray, "node dimension"]
    velocity: Float[np.ndarray, "node dimension"]
    volume: Float[np.ndarray, " node"]

    @property
    def support(self) -> Points:
        return Points(self.position, self.volume)

    def __len__(self) -> int:
        return len(self.position)


def particle_fields(dimensions: int) -> tuple[FieldSpec, ...]:
    """Displacement, velocity and density of particles in so many dimensions."""
    axes = AXES[:dimensions]
    return (
        *(FieldSpec(f"displacement_{a}", "m", "node", description=f"{a} less its first value") for a in axes),
        *(FieldSpec(f"velocity_{a}", "m s-1", "node", description=f"velocity along {a}") for a in axes),
        FieldSpec("density", "kg m-3", "node", "diagnostic"),
    )


class ParticleProblem(Problem):
    """ρ Dv/Dt = ∇·σ + ρ g,    Dρ/Dt = −ρ ∇·v,

    with σ from a material, in a box whose sides hold the matter and among bodies that stand or move. No balance on a
    domain, but particles that are followed, and a defect of its own.

    Fields, one value a particle: displacement (its position less that at t = 0), velocity, density. A subclass says
    matter, material, sides and, where there are any, bodies.

    Args:
        dimensions: 2 (all per metre of depth, y up) or 3.
    """

    dimensions = 2
    fields = particle_fields(2)
    velocity = ("velocity_x", "velocity_y")

    def __init__(self, dimensions: int = 2):
        if dimensions not in (2, 3):
            raise InputError(f"{self.name}: dimensions is {dimensions!r}, expected 2 or 3")
        self.dimensions = int(dimensions)
        self.fields = particle_fields(self.dimensions)
        self.velocity = tuple(f"velocity_{a}" for a in AXES[: self.dimensions])

    @property
    def options(self) -> dict[str, Any]:
        return {} if self.dimensions == 2 else {"dimensions": self.dimensions}

    @abstractmethod
    def geometry(self, case: Case) -> Box:
        """The box that holds everything."""

    @abstractmethod
    def material(self, case: Case) -> Material:
        """What the matter is of."""

    @abstractmethod
    def matter(self, case: Case) -> Geometry:
        """Where the matter is at t = 0."""

    @abstractmethod
    def walls(self, case: Case) -> Mapping[str, Wall]:
        """How each side of the box ("x_min", "x_max", ...) touches matter."""

    def bodies(self, case: Case) -> tuple[Body, ...]:
        """Bodies in the way."""
        return ()

    def gravity(self, case: Case) -> Float[np.ndarray, " d"]:
        """(D,) acceleration, m s⁻²; by default 9.81 against y."""
        return np.array([0.0, -9.81, 0.0][: self.dimensions])

    def first_velocity(
        self, case: Case, points: Float[np.ndarray, "node dimension"]
    ) -> Float[np.ndarray, "node dimension"]:
        """(N, D) velocity at t = 0 of matter at points; by default it rests."""
        return np.zeros_like(points)

    def particles(self, case: Case, spacing: float, jitter: float = 0.0, seed: int = 0) -> Particles:
        """The matter at t = 0 as particles: the cells of a lattice whose centres lie in it, all of one volume.

        Args:
            spacing: edge of a cell, m; along each axis the nearest length of which a whole number fits the matter.
            jitter: share of half a cell by which particles are moved at random along each axis, from 0 up to below 1.
            seed: of what is random.

        Raises:
            InputError: matter beyond the box or in a body, bodies in each other, nothing of it, or a spacing that puts
                fewer than two particles across it.
        """
        if not (is_number(spacing) and spacing > 0):
            raise InputError(f"{self.name}: spacing is {spacing!r}, expected a length > 0")
        if not (is_number(jitter) and 0 <= jitter < 1):
            raise InputError(f"{self.name}: jitter is {jitter!r}, expected a share from 0 up to below 1")
        self.require_sound(case)
        matter = self.matter(case)
        self.require_room(case)
        position, volume = lattice(self.name, matter, float(spacing))
        if jitter:
            random = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, 0x9A27])))
            edge = (volume.sum() / len(volume)) ** (1 / self.dimensions)
            moved = position + jitter * edge / 2 * random.uniform(-1.0, 1.0, position.shape)
            inside = np.asarray(matter.contains(moved))
            position = np.where(inside[:, None], moved, position)
        return Particles(position, self.first_velocity(case, position), volume)

    def require_sound(self, case: Case) -> None:
        """Refuse answers of the methods above that are not what they promise; what the matter is of, solvers ask that
        have to know it.

        Raises:
            InputError: names the method.
        """
        d, box, walls = self.dimensions, self.geometry(case), self.walls(case)
        if not isinstance(box, Box) or box.dimensions != d:
            raise InputError(f"{self.name}: geometry gives {box!r:.60}, expected a Box of {d} dimensions")
        matter = self.matter(case)
        if not isinstance(matter, Geometry) or matter.dimensions != d:
            raise InputError(f"{self.name}: matter gives {matter!r:.60}, expected a region of {d} dimensions")
        if not isinstance(walls, Mapping) or set(walls) != set(box.boundaries):
            raise InputError(
                f"{self.name}: walls gives {_named(walls)}, expected a Wall for each of {', '.join(box.boundaries)}"
            )
        for side, wall in walls.items():
            if not isinstance(wall, Wall):
                raise InputError(f"{self.name}: walls: {side} is {wall!r:.60}, expected Slip(), Stick() or Friction(μ)")
        bodies = self.bodies(case)
        if not isinstance(bodies, tuple) or not all(isinstance(b, Body) for b in bodies):
            raise InputError(f"{self.name}: bodies gives {bodies!r:.60}, expected a tuple of Body")
        for k, body in enumerate(bodies):
            if body.shape.dimensions != d:
                raise InputError(f"{self.name}: body {k} has {body.shape.dimensions} dimensions, expected {d}")
        gravity = np.asarray(self.gravity(case))
        if gravity.shape != (d,) or gravity.dtype.kind not in "iuf" or not np.isfinite(gravity).all():
            raise InputError(f"{self.name}: gravity gives {gravity!r:.60}, expected {d} finite numbers")

    def require_room(self, case: Case) -> None:
        """Refuse matter that leaves the box or overlaps a body.

        Raises:
            InputError: says what overlaps what.
        """
        matter, box = self.matter(case), self.geometry(case)
        for axis, (a, b), (low, high) in zip("xyz", matter.extents, box.extents, strict=False):
            slack = 1e-9 * (high - low)
            if a < low - slack or b > high + slack:
                raise InputError(
                    f"{self.name}: the matter spans {axis} = {a:g} to {b:g}, expected within the box, "
                    f"{low:g} to {high:g}"
                )
        bodies = self.bodies(case)
        for k, body in enumerate(bodies):
            if overlap(matter, body.shape):
                raise InputError(f"{self.name}: body {k} overlaps the matter at t = 0, expected room between them")
            for j in range(k):
                if overlap(bodies[j].shape, body.shape):
                    raise InputError(f"{self.name}: bodies {j} and {k} overlap at t = 0")

    def initial_state(self, case: Case, grid: Any) -> dict[str, np.ndarray]:
        """State fields at t = 0 on first positions (`Points`).

        Raises:
            InputError: another support.
        """
        if not isinstance(grid, Points):
            raise InputError(f"{self.name}: begins at points, expected Points, got {grid!r}")
        points = grid.points()
        velocity = self.first_velocity(case, points)
        found = {f"displacement_{a}": np.zeros(len(points)) for a in AXES[: self.dimensions]}
        return found | {name: velocity[:, k] for k, name in enumerate(self.velocity)}

    def defect(self, case: Case, solution: Any) -> dict[str, np.ndarray]:
        """What a solution violates, by name: (time,) numbers for each law, 0 where it holds.

        - "displacement": positions are first positions and displacements;
        - "outside": the share of the mass that is beyond the box or in a body;
        - "momentum": force per mass that neither gravity nor a touch explains;
        - "energy": energy that was gained without a body that does work;
        - "volume": by how much matter lies in each other.

        See `sciml.particle_laws`.

        Raises:
            InputError: a solution without positions, displacements or velocities, or one that is not finite.
        """
        tracks = Tracks.of(solution, self.dimensions)
        moved = [np.asarray(solution[f"displacement_{a}"].values, np.float64) for a in AXES[: self.dimensions]]
        return {
            "displacement": displaced(tracks, np.stack(moved, -1), self.scales(case).length),
            "outside": outside(tracks, case),
            "momentum": unexplained_force(tracks, case),
            "energy": gained_energy(tracks, case),
            "volume": crowding(tracks, case),
        }

    def defect_floors(self, case: Case, solution: Any) -> dict[str, float]:
        """Rounding of positions; and of "volume" what it says of the first positions when each is moved at random
        within its cell of a lattice, as particles are that have flowed."""
        tracks = Tracks.of(solution, self.dimensions)
        low, high = np.array(case.geometry.extents).T
        rounding = float(np.finfo(solution["velocity_x"].dtype).eps * (high - low).max()) / self.scales(case).length
        rest = np.full((1, len(tracks.first)), float(self.material(case).density))
        edge = distance_of_particles(tracks, case)
        random = np.random.Generator(np.random.PCG64(0))
        moved = tracks.first + edge / 2 * random.uniform(-1.0, 1.0, tracks.first.shape)
        (crowded,) = crowding(tracks, case, moved[None], rest)
        known = {} if np.isnan(crowded) else {"volume": float(crowded)}
        return {"displacement": rounding, "outside": 0.0, **known}


def lattice(
    name: str, matter: Geometry, spacing: float
) -> tuple[Float[np.ndarray, "node dimension"], Float[np.ndarray, " node"]]:
    """(positions (N, D), volumes (N,)) of the cells of a lattice around a region whose centres lie in it, with x
    running fastest. All volumes are one, and their sum is that of the region, of whose cells it is counted how much
    lies inside.

    Raises:
        InputError: a spacing that puts fewer than two cells across it, or nothing of it.
    """
    low, high = np.array(matter.extents, dtype=np.float64).T
    count = np.rint((high - low) / spacing).astype(int)
    for axis, n in zip("xyz", count, strict=False):
        if n < LEAST:
            raise InputError(
                f"{name}: a spacing of {spacing:g} puts {n} particle(s) across the matter along {axis}, which is "
                f"{(high - low)['xyz'.index(axis)]:g} long; expected at most half of that"
            )
    if (cells := float(np.prod(count.astype(np.float64)))) > MOST:
        raise InputError(f"{name}: a spacing of {spacing:g} makes {cells:.3g} cells, expected at most {MOST:.0e}")
    edges = (high - low) / count
    d, parts = len(count), PLACES[len(count)]
    total = 0
    offsets = np.stack(np.meshgrid(*[(np.arange(parts) + 0.5) / parts - 0.5] * d, indexing="ij"), -1).reshape(-1, d)
    ranges = [low[a] + (np.arange(count[a]) + 0.5) * edges[a] for a in range(d)]
    centres = np.stack(np.meshgrid(*ranges[::-1], indexing="ij")[::-1], -1).reshape(-1, d)
    for offset in offsets:
        total += int(np.count_nonzero(matter.contains(centres + offset * edges)))
    position = centres[np.asarray(matter.contains(centres))]
    if not total or not len(position):
        raise InputError(f"{name}: found no matter between {low} and {high}; is there anything of it?")
    volume = total * float(np.prod(edges)) / len(offsets)
    return position, np.full(len(position), volume / len(position))


def overlap(one: Geometry, other: Geometry) -> bool:
    """Whether two regions have points in common, as seen on a lattice over what their boxes have in common."""
    low = np.maximum(*(np.array(g.extents)[:, 0] for g in (one, other)))
    high = np.minimum(*(np.array(g.extents)[:, 1] for g in (one, other)))
    if np.any(low >= high):
        return False
    count = 64 if len(low) == 2 else 24
    points = np.stack(np.meshgrid(*[a + (b - a) * (np.arange(count) + 0.5) / count
                                    for a, b in zip(low, high, strict=True)], indexing="ij"), -1)  # fmt: skip
    points = points.reshape(-1, len(low))
    deep = 1e-9 * max(b - a for a, b in one.extents)
    return bool(np.any(np.minimum(one.signed_distance(points), other.signed_distance(points)) > deep))


def _named(walls: Any) -> str:
    """Those of which sides, in words."""
    return f"those of {', '.join(map(str, walls))}" if isinstance(walls, Mapping) else f"{walls!r:.60}"
