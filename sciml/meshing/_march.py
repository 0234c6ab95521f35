"""Steps in time on a mesh whose nodes move, and where they go."""

from __future__ import annotations

import math
import time as clock
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

from sciml.errors import InputError
from sciml.meshing._carried import Carried
from sciml.meshing._dual_cells import DualCells, Nodal, least_share
from sciml.meshing._simplices import Cells, Points, contents
from sciml.meshing._told import checked_density
from sciml.meshing._walk import Walk
from sciml.meshing.mover import MeshMover
from sciml.problem import Case, beginning
from sciml.solvers._titles import title
from sciml.support import Mesh

KEPT = 0.1  # of its content that every cell has at the least while nodes go to their new places


@dataclass
class Tally:
    """What a march took.

    Attributes:
        steps, moves: how many; inverted: cells that the mover would have turned over, of all moves.
        least_ratio: the least content of a cell over its content in the mesh as it was at first, of all moves.
        seconds, mover_seconds, monitor_seconds: in all, in the mover but for its monitor, in the monitor.
    """

    steps: int = 0
    moves: int = 0
    inverted: int = 0
    least_ratio: float = 1.0
    seconds: float = 0.0
    mover_seconds: float = 0.0
    monitor_seconds: float = 0.0


@dataclass(frozen=True)
class Motion:
    """A solution on a mesh that moves.

    Args:
        times: (T,) those that were asked for and reached.
        points: (T, N, D) of the nodes; cells: (C, D + 1), the same at all times; values: (T, N).
        mass: (T,) ∫ u, as the scheme counts it.
        failure: "" or why it went no further.
        tally: what it took.
    """

    times: Float[np.ndarray, " time"]
    points: Float[np.ndarray, "time node dimension"]
    cells: Cells
    values: Float[np.ndarray, "time node"]
    mass: Float[np.ndarray, " time"]
    failure: str
    tally: Tally


@dataclass
class March:
    """One case on its way.

    Args:
        case, points, cells: which, and the mesh as it is at first.
        mover, monitor, every, courant, first: as `MovingMesh` has them.
    """

    case: Case
    points: Points
    cells: Cells
    mover: MeshMover | None
    monitor: Callable[[Points, Cells, Nodal], Any]
    every: int
    courant: float
    first: int
    tally: Tally = field(default_factory=Tally)

    def __post_init__(self) -> None:
        began = clock.perf_counter()
        self.dual = DualCells(self.points, self.cells)
        self.balance = Carried(self.case, self.dual, self.points)
        self.x, self.time = self.points, 0.0
        self._begin()
        if self.mover is not None:
            for _ in range(self.first):
                self.x = self._target()
                self._begin()
        self.volumes = self.dual.volumes(self.x)
        self.velocity, self.until = np.zeros_like(self.x), 0.0 if self.mover is not None else math.inf
        self.aim = self.x
        self.faces: Any = None
        self.limit = float(self._growth(self.x, self.velocity, self.u, 0.0).limit.max())
        self.tally.seconds += clock.perf_counter() - began

    def _begin(self) -> None:
        kind = "line" if self.points.shape[1] == 1 else "triangle"
        name = self.balance.field
        self.u = beginning(self.case, Mesh(self.x, {kind: self.cells}), (name,))[name]
        self.u = self.balance.imposed(self.u, self.x, 0.0)

    def _growth(self, points: Points, velocity: Points, u: Nodal, time: float) -> Any:
        return self.balance.rate(u, self.dual.faces(points, velocity), self.dual.volumes(points), time)

    def _target(self) -> Points:
        """Where the mover wants the nodes for the solution as it is.

        Raises:
            InputError: what the monitor gives, or a mesh that the mover does not take.
        """
        assert self.mover is not None
        held = self.balance.held if len(self.balance.held) else None
        try:
            began = clock.perf_counter()
            m = checked_density(self.monitor(self.x, self.cells, self.u), len(self.x))
            spent = clock.perf_counter() - began
            found, info = self.mover.move(self.points, self.cells, held, monitor=self._linear(m))
        except InputError as error:
            raise InputError(f"moving_mesh: {title(self.case)}: {error}") from None
        self.tally.moves += 1
        self.tally.inverted += info.inverted
        self.tally.monitor_seconds += spent + info.monitor_seconds
        self.tally.mover_seconds += info.seconds - info.monitor_seconds
        self._least(found)
        return found

    def _linear(self, values: Nodal) -> Callable[[Points], Nodal]:
        """The function that is linear on the cells as they are."""
        if self.points.shape[1] == 1:
            order = np.argsort(self.x[:, 0])
            x, v = self.x[order, 0], values[order]
            return lambda places: np.interp(places[:, 0], x, v)
        walk = Walk(self.x, self.cells)
        return lambda places: walk.sample(values, places)

    def _least(self, points: Points) -> None:
        ratio = contents(points, self.cells) / contents(self.points, self.cells)
        self.tally.least_ratio = min(self.tally.least_ratio, float(ratio.min()))

    def _plan(self) -> None:
        """New places, and when to be there."""
        aim = self._target()
        limit = self._growth(self.x, np.zeros_like(self.x), self.u, self.time).limit  # of the flow alone
        step = self.courant / float(limit.max()) if limit.any() else math.inf
        while least_share(self.x, aim, self.cells) < KEPT:
            aim = (self.x + aim) / 2
        swept = np.abs(self.dual.faces((self.x + aim) / 2, aim - self.x).swept)
        crossed = (self.dual.total @ swept) / np.minimum(self.volumes, self.dual.volumes(aim))
        # steps are as short as the flow wants them, not shorter for the mesh
        span = step * max(self.every, float(crossed.max()) / self.courant)
        self.aim = aim
        self.velocity = (aim - self.x) / span if np.isfinite(span) else np.zeros_like(self.x)
        self.until = self.time + span
        self._least(aim)

    def to(self, goal: float, most: int) -> str:
        """On to a time; says what went wrong, if anything did.

        Args:
            most: steps.
        """
        began, before = clock.perf_counter(), self.tally.steps
        failure = ""
        while self.time < goal and not failure:
            failure = self._onward(goal, f"reached max_substeps = {most}" * (self.tally.steps - before >= most))
        self.tally.seconds += clock.perf_counter() - began
        return failure or ("" if np.isfinite(self.u).all() else "values are not finite")

    def _onward(self, goal: float, over: str) -> str:
        """One step, unless it is over; says what went wrong, if anything did."""
        if over or not np.isfinite(self.limit * goal) or not np.isfinite(self.u).all():
            return over or "values are not finite"
        if self.time >= self.until:
            self._plan()
        end = min(goal, self.until)
        left, least = end - self.time, 1e-14 * max(abs(end), 1e-300)
        tau = left / max(1, math.ceil(left * self.limit / self.courant * (1 - 1e-9)))
        while tau > least:
            shorter = self._step(tau, end if tau == left else self.time + tau)
            if not shorter:
                self.tally.steps += 1
                return ""
            tau = shorter
        return "steps became too short"

    def _step(self, tau: float, end: float) -> float:
        """One of Heun's, all faces taken halfway; where it would be too long, nothing but a shorter one to try."""
        dual, balance = self.dual, self.balance
        moving = self.mover is not None
        following = self.x + tau * self.velocity if moving else self.x
        if moving and end == self.until:
            following = self.aim
        volumes = dual.volumes(following) if moving else self.volumes
        # what is left for both stages to be means of values that there were, V growing or shrinking
        room = np.minimum(2 * volumes - self.volumes, (self.volumes + volumes) / 2) if moving else volumes
        if (room <= 0).any():
            return tau / 2
        middle = (self.x + following) / 2 if moving else self.x
        if moving or self.faces is None:
            self.faces = dual.faces(middle, (following - self.x) / tau), dual.volumes(middle)
        faces, halfway = self.faces
        time = self.time + tau / 2
        stored = self.volumes * self.u
        first = balance.rate(self.u, faces, halfway, time)
        limit = float(first.limit.max())
        if not np.isfinite(limit):
            self.limit = limit
            return 0.0
        load = tau * float((first.limit * (halfway / room)).max())
        if load > 1:
            self.limit = limit
            return tau * max(0.25, 0.95 / load)
        ahead = balance.imposed((stored + tau * first.change) / volumes, following, end)
        second = balance.rate(ahead, faces, halfway, time)
        self.u = balance.imposed((stored + tau / 2 * (first.change + second.change)) / volumes, following, end)
        self.x, self.volumes, self.time = following, volumes, end
        self.limit = float(second.limit.max())
        return 0.0

    @property
    def mass(self) -> float:
        return float(self.volumes @ self.u)
