"""Rollouts of particles: several starts at once, few particles that stand for many, and what becomes of gradients."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from sciml.errors import InputError, SolverError
from sciml.problem import Case
from sciml.solver import Start
from sciml.support.neighbours import moving_interpolation
from sciml.training.particles import Motion, ParticleEncoding, Scene
from sciml.training.particles.encoding import in_box
from sciml.training.particles.motion import advanced, applied, blown_up

GONE = "particles are not finite, or go further than the box is long"
TOGETHER = 1 << 14  # particles that are carried at once, of several starts


@dataclass(eq=False)
class Flight:
    """One rollout.

    Args:
        case: what is asked.
        time: at which it starts.
        first: (N, D) first positions of all particles.
        begun: (D, N) their displacements at the start.
        chosen: numbers of those that take part.
        state: of these.
        weights: (M, n) by which answers are interpolated at M places; None where all take part and none else is asked.
        places: (M, D) first positions of what is answered.
        shown: (D, M) displacements there at the start.
        failed: the step at which it blew up, and why.
    """

    case: Case
    time: float
    first: np.ndarray
    begun: np.ndarray
    chosen: np.ndarray
    state: Motion
    weights: Any = None
    places: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    shown: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    failed: tuple[int, str] | None = None

    @classmethod
    def of(cls, e: ParticleEncoding, start: Start, points: np.ndarray | None = None) -> Flight:
        """The rollout from a start, answered at its particles, or at those with first positions `points`."""
        d = e.dimensions
        frames = np.asarray(start.frames, dtype=np.float64)
        begun = frames[-1, :d]
        first = in_box(start.support.points() - begun.T, start.case)
        chosen = e.nodes.chosen(first, e.amount(first))
        state = e.motion(first[chosen], frames[..., chosen], e.real(start), start.case)
        found = cls(start.case, start.time, first, begun, chosen, state, None, first, begun)
        if points is not None:
            found.places, found.weights = points, interpolation(e, start.case, first[chosen], points)
            found.shown = np.zeros((d, len(points)))
            if begun.any():
                found.shown = (interpolation(e, start.case, first, points) @ begun.T).T
        elif len(chosen) < len(first):
            found.weights = interpolation(e, start.case, first[chosen], first)
        return found

    def decoded(self, e: ParticleEncoding) -> np.ndarray:
        """(field, M) displacements and velocities: those at the start, and what the particles that take part moved
        since, interpolated over first positions. NaN after it blew up."""
        d = e.dimensions
        if self.failed is not None:
            return np.full((2 * d, len(self.places)), np.nan)
        passed = (self.state.place.cpu().numpy() - self.first[self.chosen]) - self.begun[:, self.chosen].T
        values = np.concatenate([passed, e.velocities(self.state, self.case).cpu().numpy()], axis=1)
        if self.weights is not None:
            values = self.weights @ values
        moved = self.shown + values[:, :d].T
        low, high = np.array(self.case.geometry.extents, dtype=np.float64).T
        for axis in range(d):
            if not e.around[axis]:
                moved[axis] = np.clip(moved[axis], low[axis] - self.places[:, axis], high[axis] - self.places[:, axis])
        return np.concatenate([moved, values[:, d:].T])


def interpolation(e: ParticleEncoding, case: Case, nodes: np.ndarray, points: np.ndarray) -> Any:
    """Weights from first positions of particles that take part to those of places."""
    low, high = np.array(case.geometry.extents, dtype=np.float64).T
    return moving_interpolation(nodes - low, points - low, lengths=high - low, periodic=e.around)


def fly(operator: nn.Module, e: ParticleEncoding, flights: Sequence[Flight], steps: int, device: Any) -> Iterator[None]:
    """Moves all flights on by one step each time; one that blows up stops, the others go on."""
    dt = [e.step.of(f.case) for f in flights]
    scenes = [
        e.scene(f.case, len(f.chosen), f.time + h * np.arange(max(steps, 1))).to(device)
        for f, h in zip(flights, dt, strict=True)
    ]
    for f in flights:
        f.state = Motion(f.state.place.to(device), f.state.moved.to(device))
    for k in range(steps):
        alive = [i for i, f in enumerate(flights) if f.failed is None]
        for some in _portions(alive, [len(f.chosen) for f in flights]):
            _together(operator, e, [flights[i] for i in some], [scenes[i] for i in some], k)
        yield


def _portions(alive: Sequence[int], counts: Sequence[int]) -> Iterator[list[int]]:
    some: list[int] = []
    for i in alive:
        if some and sum(counts[j] for j in some) + counts[i] > TOGETHER:
            yield some
            some = []
        some.append(i)
    if some:
        yield some


def _together(operator: nn.Module, e: ParticleEncoding, flights: list[Flight], scenes: list[Scene], k: int) -> None:
    """One step of several; where they cannot be taken together, each by itself."""
    scene = Scene.together(scenes)
    state = Motion(torch.cat([f.state.place for f in flights]), torch.cat([f.state.moved for f in flights]))
    try:
        with torch.no_grad():
            state = advanced(e, state, scene, applied(operator, e, state, scene, k))
    except InputError as error:  # particles that have collapsed into each other
        if len(flights) > 1:
            for f, s in zip(flights, scenes, strict=True):
                _together(operator, e, [f], [s], k)
            return
        flights[0].failed = (k + 1, str(error))
        return
    wrong = blown_up(state, scene)
    places, moves = state.place.split(list(scene.counts)), state.moved.split(list(scene.counts))
    for f, place, moved, gone in zip(flights, places, moves, wrong, strict=True):
        f.state = Motion(place, moved)
        if gone:
            f.failed = (k + 1, GONE)


def unrolled(
    operator: nn.Module, e: ParticleEncoding, case: Case, scene: Scene, state: Motion, steps: int
) -> tuple[Tensor, Tensor]:
    """Positions and velocities (steps + 1, node, D) from a state on, with gradients; of every step but the state before
    it is kept nothing, and computed again on the way back.

    Raises:
        SolverError: names the step at which particles blow up or collapse into each other.
    """
    places, speeds = [state.place], [e.velocities(state, case)]

    def step(place: Tensor, moved: Tensor, k: int) -> tuple[Tensor, Tensor]:
        here = Motion(place, moved)
        found = advanced(e, here, scene, applied(operator, e, here, scene, k))
        return found.place, found.moved

    for k in range(steps):
        try:
            if torch.is_grad_enabled():
                place, moved = checkpoint(step, state.place, state.moved, k, use_reentrant=False)  # type: ignore
            else:
                place, moved = step(state.place, state.moved, k)
        except InputError as error:  # particles that have collapsed into each other
            raise SolverError(f"particle surrogate: stopped at step {k + 1}: {error}") from None
        state = Motion(place, moved)
        if blown_up(state, scene)[0]:
            raise SolverError(f"particle surrogate: stopped at step {k + 1}: {GONE}")
        places.append(state.place)
        speeds.append(e.velocities(state, case))
    return torch.stack(places), torch.stack(speeds)
