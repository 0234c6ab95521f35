"""Systems around obstacles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, final

import numpy as np
from jaxtyping import Bool
from scipy.sparse.csgraph import connected_components

from sciml.errors import InputError, is_number, is_whole
from sciml.geometry import Boundary, Geometry
from sciml.solvers.linear._ends import End, Ends
from sciml.solvers.linear._family import (
    EndsChoice,
    Family,
    check_ends,
    counts,
    ends_of,
    generator,
    spacing_of,
)
from sciml.solvers.linear.grid_system import GridSystem
from sciml.support import Apertures, Grid

CLOSED = 0.02  # faces that are less open than this are closed
LEAST = 0.3  # of all cells, that are left
TRIES = 100


class Bodies(NamedTuple):
    """Balls and boxes, one a row.

    Args:
        centre, half: (n, D) along x, y, ...
        turn: (n, D, D) whose rows are the axes of a box.
        round: (n,) whether it is a ball, of radius half[:, 0].
    """

    centre: np.ndarray
    half: np.ndarray
    turn: np.ndarray
    round: np.ndarray

    def distance(self, points: np.ndarray, around: tuple[float, ...]) -> np.ndarray:
        """(...) to the nearest, negative inside, of points (..., D).

        Args:
            around: the period of each axis, 0 where it has none.
        """
        found = np.full(points.shape[:-1], np.inf)
        for centre, half, turn, is_round in zip(*self, strict=True):
            away = points - centre
            for k, period in enumerate(around):
                if period:
                    away[..., k] -= period * np.round(away[..., k] / period)
            if is_round:
                here = np.sqrt((away**2).sum(-1)) - half[0]
            else:
                out = np.abs(away @ turn.T) - half
                here = np.sqrt((np.maximum(out, 0) ** 2).sum(-1)) + np.minimum(out.max(-1), 0)
            found = np.minimum(found, here)
        return found


@dataclass(frozen=True)
class _Around(Geometry):
    """A box without bodies; its own sides bound nothing."""

    bodies: Bodies
    sides: tuple[float, ...]  # of the box
    around: tuple[float, ...]

    @property
    def dimensions(self) -> int:  # type: ignore[override]
        return len(self.sides)

    @property
    def extents(self) -> tuple[tuple[float, float], ...]:
        return tuple((0.0, s) for s in self.sides)

    @property
    def boundaries(self) -> Mapping[str, Boundary]:
        return {}

    def signed_distance(self, points: Any) -> Any:
        return self.bodies.distance(np.asarray(points), self.around)


@final
@dataclass(frozen=True)
class Obstacles(Family):
    """Boxes with obstacles through which nothing goes: balls and turned boxes at random places.

    In two dimensions faces that an obstacle cuts have their open share as a factor (`sciml.support.Apertures`), or,
    as always in three dimensions, cells are whole: the faces of those whose middle is covered are closed. What the
    obstacles cut off is closed as well, so that the live cells are one region; where no open end is beside it, its
    constants are the null space.

    Args:
        count: fewest and most obstacles.
        ends: of all axes, of each, or None for any mix of walls, open and periodic ones.
        coefficients: what c is drawn from between the obstacles, by its coefficients alone; None for 1.
        cut: whether obstacles cut cells, in two dimensions.
        size: smallest and largest half sides and radii, in sides of the box.
    """

    count: tuple[int, int] = (1, 8)
    ends: EndsChoice = None
    coefficients: Family | None = None
    cut: bool = True
    size: tuple[float, float] = (0.04, 0.15)

    def __post_init__(self) -> None:
        check_ends("obstacles", self.ends)
        whole = isinstance(self.count, tuple) and len(self.count) == 2 and all(is_whole(n) for n in self.count)
        if not whole or not 0 <= self.count[0] <= self.count[1]:
            raise InputError(f"obstacles: count: expected (fewest, most), got {self.count!r}")
        pair = isinstance(self.size, tuple) and len(self.size) == 2 and all(is_number(s) for s in self.size)
        if not pair or not 0 < self.size[0] <= self.size[1] < 0.5:
            raise InputError(f"obstacles: size: expected (smallest, largest) in (0, 0.5), got {self.size!r}")

    def draw(self, rng: np.random.Generator | int, shape: tuple[int, ...]) -> GridSystem:
        return self.moving(rng, shape, 1)[0]

    def moving(
        self, rng: np.random.Generator | int, shape: tuple[int, ...], steps: int, pace: float = 1.0, changes: int = 0
    ) -> list[GridSystem]:
        """Systems whose obstacles move on straight lines, thrown back by the sides of the box, and turn.

        Args:
            steps: how many.
            pace: the fastest one's way in a step, in cells.
            changes: after how many steps ends are drawn anew; 0 for never.
        """
        rng, shape = generator(rng), counts(shape, (2, 3))
        if not is_whole(steps) or steps < 1:
            raise InputError(f"steps: expected a whole number from 1 on, got {steps!r}")
        if not is_whole(changes) or changes < 0:
            raise InputError(f"changes: expected a whole number from 0 on, got {changes!r}")
        for _ in range(TRIES):
            found = self._sequence(rng, shape, int(steps), pace, int(changes))
            if found is not None:
                return found
        raise InputError(f"obstacles: in {TRIES} draws the obstacles left too little; expected fewer or smaller ones")

    def _sequence(
        self, rng: np.random.Generator, shape: tuple[int, ...], steps: int, pace: float, changes: int
    ) -> list[GridSystem] | None:
        dimensions, h = len(shape), spacing_of(shape)[0]
        sides = np.array(shape[::-1]) * h
        ends = ends_of(self.ends, rng, dimensions)
        inner = self.coefficients.draw(rng, shape).coefficients if self.coefficients is not None else None
        bodies = self._bodies(rng, sides)
        speed = rng.normal(size=bodies.centre.shape)
        length = np.maximum(np.linalg.norm(speed, axis=1), 1e-30)[:, None]
        speed *= pace * h * rng.uniform(0.3, 1, (len(speed), 1)) / length
        spin = rng.uniform(-1, 1, len(speed)) * pace * h / self.size[1]
        found = []
        for step in range(steps):
            if changes and step and step % changes == 0:
                ends = ends_of(self.ends, rng, dimensions)
            system = self._system(bodies, shape, ends, inner)
            if system is None:
                return None
            found.append(system)
            bodies, speed = _moved(bodies, speed, spin, sides, ends)
        return found

    def _bodies(self, rng: np.random.Generator, sides: np.ndarray) -> Bodies:
        n, d = int(rng.integers(self.count[0], self.count[1] + 1)), len(sides)
        axes = np.linalg.qr(rng.normal(size=(n, d, d)))[0] if n else np.zeros((0, d, d))
        half = rng.uniform(*self.size, (n, d))
        return Bodies(rng.uniform(0, sides, (n, d)), half, axes, rng.uniform(size=n) < 0.5)

    def _system(
        self, bodies: Bodies, shape: tuple[int, ...], ends: tuple[Ends, ...], inner: tuple[Any, ...] | None
    ) -> GridSystem | None:
        """The system around bodies; None where they leave too little."""
        spacing = spacing_of(shape)
        sides = tuple(n * spacing[0] for n in shape[::-1])
        around = tuple(s if pair[0] is End.PERIODIC else 0.0 for s, pair in zip(sides, ends, strict=True))
        geometry = _Around(bodies, sides, around)
        faces = tuple(np.linspace(0, s, n + 1) for s, n in zip(sides, shape[::-1], strict=True))
        grid = Grid(faces)
        if self.cut and len(shape) == 2:
            shares = [np.array(c) for c in Apertures.of(geometry, grid, CLOSED).faces]
        else:
            open_cells = np.asarray(geometry.signed_distance(grid.points())) > 0
            shares = _between(open_cells, ends)
        for k, pair in enumerate(ends):
            if pair[0] is End.PERIODIC:  # what meets itself there is one face
                line = np.moveaxis(shares[k], len(shape) - 1 - k, 0)
                line[0] = line[-1] = np.minimum(line[0], line[-1])
        if inner is not None:
            shares = [s * c for s, c in zip(shares, _periodic(inner, ends), strict=True)]
        system = GridSystem(shape, ends, spacing, tuple(shares))
        return _one_region(system)


def _between(open_cells: Bool[np.ndarray, "*shape"], ends: tuple[Ends, ...]) -> list[np.ndarray]:
    """1 on faces between two open cells, or between one and the end of the box."""
    found = []
    for k, (low, _) in enumerate(ends):
        axis = open_cells.ndim - 1 - k
        width = [(int(a == axis),) * 2 for a in range(open_cells.ndim)]
        line = np.moveaxis(np.pad(open_cells, width, mode="wrap" if low is End.PERIODIC else "edge"), axis, -1)
        found.append(np.moveaxis(line[..., 1:] & line[..., :-1], -1, axis).astype(np.float64))
    return found


def _periodic(coefficients: tuple[Any, ...], ends: tuple[Ends, ...]) -> list[np.ndarray]:
    """Coefficients drawn for other ends, equal at both ends of periodic axes."""
    found = []
    for k, pair in enumerate(ends):
        c = np.array(coefficients[k])
        if pair[0] is End.PERIODIC:
            line = np.moveaxis(c, c.ndim - 1 - k, 0)
            line[0] = line[-1] = 2 * line[0] * line[-1] / (line[0] + line[-1])
        found.append(c)
    return found


def _one_region(system: GridSystem) -> GridSystem | None:
    """The same with all closed but the largest region, of those that an open end is beside where there is one."""
    matrix = system.matrix()
    matrix.eliminate_zeros()
    _, region = connected_components(matrix, directed=False)
    region = np.where(system.live(np), region.reshape(system.shape), -1)
    may = region
    if not system.closed:
        beside = np.zeros(system.shape, bool)
        for k, (pair, c) in enumerate(zip(system.ends, system.conductances(np), strict=True)):
            axis = system.dimensions - 1 - k
            line, cells = np.moveaxis(c, axis, 0), np.moveaxis(beside, axis, 0)
            for place, end in zip((0, -1), pair, strict=True):
                if end is End.OPEN:
                    cells[place] |= line[place] > 0
        may = np.where(np.isin(region, np.unique(region[beside])), region, -1)
    numbers, sizes = np.unique(may[may >= 0], return_counts=True)
    if not len(numbers) or sizes.max() < LEAST * system.size:
        return None
    kept, found = region == numbers[sizes.argmax()], []
    assert system.coefficients is not None
    for c, both in zip(system.coefficients, _between(kept, system.ends), strict=True):
        found.append(np.where(both > 0, c, 0.0))
    return GridSystem(system.shape, system.ends, system.spacing, tuple(found))


def _moved(
    bodies: Bodies, speed: np.ndarray, spin: np.ndarray, sides: np.ndarray, ends: tuple[Ends, ...]
) -> tuple[Bodies, np.ndarray]:
    """After a step: centres that would leave the box come back, or in again at the other side."""
    centre, speed = bodies.centre + speed, speed.copy()
    for k, pair in enumerate(ends):
        if pair[0] is End.PERIODIC:
            centre[:, k] %= sides[k]
            continue
        for over in (centre[:, k] < 0, centre[:, k] > sides[k]):
            speed[over, k] *= -1
        centre[:, k] = np.abs(centre[:, k])
        centre[:, k] = sides[k] - np.abs(sides[k] - centre[:, k])
    cos, sin = np.cos(spin)[:, None], np.sin(spin)[:, None]
    turn = bodies.turn.copy()
    first, second = bodies.turn[:, 0], bodies.turn[:, 1]
    turn[:, 0], turn[:, 1] = cos * first + sin * second, cos * second - sin * first
    return bodies._replace(centre=centre, turn=turn), speed
