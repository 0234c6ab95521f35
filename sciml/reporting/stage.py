"""Where particles of a sample are: the box that holds them, how it is seen, and their places over time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from sciml.metrics import occupancy
from sciml.particle_problem import ParticleProblem
from sciml.problem import Case
from sciml.support import Grid, Support

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Shaped

AZIMUTH, ELEVATION = np.radians(35.0), np.radians(18.0)  # from where space is seen
SLAB = 0.1  # thickness of what is shown of space by itself, as a share of the box
CELL, MOST = 4.0, 48  # spacings of a cell in which matter is counted; cells along an axis

Body = Callable[[np.ndarray, float], np.ndarray]  # points (M, D) and a time -> (M,) True in a body


@dataclass(frozen=True, eq=False)
class Stage:
    """Where particles are and how large they are.

    Args:
        extents: (lower, upper) of the box, for x, y, z.
        spacing: between particles.
        up: axis that is drawn upright, 0 for x.
        body: whether points are in a body that is in the way; None where there is none.
        view: what is seen of a plane; None for all of it.
    """

    extents: tuple[tuple[float, float], ...]
    spacing: float
    up: int = 1
    body: Body | None = None
    view: tuple[tuple[float, float], tuple[float, float]] | None = None

    @staticmethod
    def of(case: Case, first: Shaped[np.ndarray, "node d"], support: Support) -> Stage:
        """Of a case whose particles begin at `first`; upright is against gravity, where that is known, else the last
        axis."""
        from sciml.evaluation import spacing_of

        problem, body, up = case.problem, None, first.shape[1] - 1
        if isinstance(problem, ParticleProblem):
            gravity = problem.gravity(case)
            up = int(np.argmin(gravity)) if gravity.any() else up
            if bodies := problem.bodies(case):
                body = lambda points, time: np.any([b.distance(points, time) < 0 for b in bodies], axis=0)  # noqa: E731
        ends = tuple((float(a), float(b)) for a, b in case.geometry.extents)
        return Stage(ends, spacing_of(first, support) or 1.0, up, body)

    def near(self, clouds: Iterable[Shaped[np.ndarray, "node d"]]) -> Stage:
        """Without the part of a plane that no particle comes to, but for some room; space as it is."""
        if self.dimensions != 2:
            return self
        low, high = np.full(2, np.inf), np.full(2, -np.inf)
        for cloud in clouds:
            some = cloud[np.isfinite(cloud).all(1)]
            if len(some):
                low, high = np.minimum(low, some.min(0)), np.maximum(high, some.max(0))
        if not np.isfinite([low, high]).all():
            return self
        view = []
        for (a, b), start, end in zip(self.extents, low, high, strict=True):
            room, enough = 0.08 * (b - a), 0.25 * (b - a)  # a view is cut where much of the box is empty alone
            view.append((start - room if start - a > enough else a, end + room if b - end > enough else b))
        return replace(self, view=tuple(view))

    @property
    def dimensions(self) -> int:
        return len(self.extents)

    @property
    def axes(self) -> tuple[int, int, int]:
        """Axes that run to the right, upright and to the eye (in the plane x, y and none)."""
        if self.dimensions < 3:
            return 0, 1, 2
        right, near = (a for a in range(3) if a != self.up)
        return right, self.up, near

    def seen(
        self, points: Shaped[np.ndarray, "node d"]
    ) -> tuple[Float[np.ndarray, "node 2"], Float[np.ndarray, " node"]]:
        """Where points are in the picture, and how near the eye they are."""
        where = np.asarray(points, np.float64)
        if self.dimensions < 3:
            return where, np.zeros(len(where))
        right, up, near = self.axes
        middle = np.mean(self.extents, axis=1)
        x, y, z = (where[:, a] - middle[a] for a in (right, up, near))
        # so that x, up and the eye make a right-handed set
        z = z if (right, up, near) in ((0, 1, 2), (1, 2, 0), (2, 0, 1)) else -z
        across, toward = np.cos(AZIMUTH) * x - np.sin(AZIMUTH) * z, np.sin(AZIMUTH) * x + np.cos(AZIMUTH) * z
        high = np.cos(ELEVATION) * y - np.sin(ELEVATION) * toward
        return np.stack([across, high], axis=1), np.sin(ELEVATION) * y + np.cos(ELEVATION) * toward

    def window(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Ends of the picture across and up."""
        if self.dimensions < 3:
            (a, b), (c, d) = self.view or self.extents
            return (a, b), (c, d)
        corners = self.seen(np.array(list(product(*self.extents))))[0]
        low, high = corners.min(0), corners.max(0)
        return (float(low[0]), float(high[0])), (float(low[1]), float(high[1]))

    def edges(self) -> list[Float[np.ndarray, "two 2"]]:
        """The edges of a box in space, as lines of the picture."""
        found = []
        for corner in product((0, 1), repeat=3):
            for a in range(3):
                if not corner[a]:
                    ends = [[self.extents[k][c] for k, c in enumerate(corner)] for _ in range(2)]
                    ends[1][a] = self.extents[a][1]
                    found.append(self.seen(np.array(ends))[0])
        return found

    def cut(self) -> Stage:
        """The plane of a slab in the middle, seen from the front."""
        right, up, near = self.axes
        middle = float(np.mean(self.extents[near]))

        def body(points: np.ndarray, time: float) -> np.ndarray:
            whole = np.full((len(points), 3), middle)
            whole[:, right], whole[:, up] = points.T
            assert self.body is not None
            return self.body(whole, time)

        return Stage((self.extents[right], self.extents[up]), self.spacing, 1, None if self.body is None else body)

    def slab(self, points: Shaped[np.ndarray, "node 3"]) -> Bool[np.ndarray, " node"]:
        """Which points lie in it: a tenth of the box thick, and two spacings at least."""
        near = self.axes[2]
        low, high = self.extents[near]
        half = max(SLAB / 2 * (high - low), self.spacing)
        return np.abs(points[:, near] - (low + high) / 2) <= half

    def flat(self, points: Shaped[np.ndarray, "node 3"]) -> Float[np.ndarray, "node 2"]:
        """Points of space on the plane of the slab."""
        right, up, _ = self.axes
        return np.asarray(points, np.float64)[:, [right, up]]


@dataclass(frozen=True, eq=False)
class Followed:
    """Particles that are followed, and how positions come from fields.

    Args:
        stage: where they are.
        first: (N, D) first positions.
        share: (N,) of the mass.
        periodic: for each axis, whether the ends of the box are one.
    """

    stage: Stage
    first: Float[np.ndarray, "node d"]
    share: Float[np.ndarray, " node"]
    periodic: tuple[bool, ...]

    def at(self, fields: Mapping[str, Any], k: int) -> Float[np.ndarray, "node d"]:
        """(N, D) where particles are in the k-th frame by these fields (T, N): first position and displacement, brought
        into the box where it is periodic."""
        where = self.first + np.stack([fields[f"displacement_{a}"][k] for a in "xyz"[: self.first.shape[1]]], axis=-1)
        low, high = np.array(self.stage.extents, dtype=np.float64).T
        with np.errstate(invalid="ignore"):
            return np.where(self.periodic, low + np.mod(where - low, high - low), where)

    def off(self, one: Mapping[str, Any], other: Mapping[str, Any], k: int) -> Float[np.ndarray, " node"]:
        """(N,) how far particles are from where others have them, in spacings."""
        names = [f"displacement_{a}" for a in "xyz"[: self.first.shape[1]]]
        return np.sqrt(sum(np.square(one[n][k] - other[n][k]) for n in names)) / self.stage.spacing

    def counted(self, where: Float[np.ndarray, "node d"]) -> tuple[Grid, Float[np.ndarray, "down across"]]:
        """Cells of the picture's plane, and the share of each that matter fills: of space, through which is looked."""
        stage = self.stage
        right, up, _ = stage.axes
        sides = np.ptp([stage.extents[a] for a in (right, up)], axis=1)
        cells = tuple(int(n) for n in np.clip(np.rint(sides / (CELL * stage.spacing)), 1, MOST))
        ends = tuple(stage.extents[a] for a in (right, up))
        grid = Grid(tuple(np.linspace(a, b, n + 1) for (a, b), n in zip(ends, cells, strict=True)))
        good = np.isfinite(where).all(1)
        around = tuple(self.periodic[a] for a in (right, up))
        held = occupancy(where[good][:, [right, up]], self.share[good], ends, cells, around)
        total = len(where) * stage.spacing**stage.dimensions
        depth = float(np.prod([b - a for k, (a, b) in enumerate(stage.extents) if k not in (right, up)]))
        return grid, held * total / (float(np.prod(sides / cells)) * depth)
