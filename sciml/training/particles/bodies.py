"""Bodies among particles: how far away, in which direction, how fast; differentiable by where they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sciml.geometry import Geometry
from sciml.particle_problem import ParticleProblem
from sciml.problem import Case

STEP = 1e-3  # of the radius: of the differences that give directions and how these turn


@dataclass(frozen=True, eq=False)
class Bodies:
    """The bodies of one case, and where they are at the beginning and at the end of every step.

    Args:
        shapes: where they are at t = 0; signed distances are positive in the body.
        path: (steps + 1, body, D) how far each has come; gradients may be asked for by it.
    """

    shapes: tuple[Geometry, ...]
    path: Float[Tensor, "time body dimension"]

    @classmethod
    def of(cls, case: Case, times: np.ndarray) -> Bodies | None:
        """Those of a case at times (steps + 1,); None where there are none."""
        problem = case.problem
        found: Sequence[Any] = problem.bodies(case) if isinstance(problem, ParticleProblem) else ()  # type: ignore
        if not found:
            return None
        path = np.stack([np.asarray(body.displacement(times), dtype=np.float64) for body in found], axis=1)
        return cls(tuple(body.shape for body in found), torch.from_numpy(path))

    def moved(self, velocity: Float[Tensor, "time body dimension"], dt: float) -> Bodies:
        """The same bodies on another way: with mean velocities of their own in every step."""
        start = self.path[:1].expand(1, *velocity.shape[1:])
        return Bodies(self.shapes, torch.cat([start, start + torch.cumsum(velocity.to(start) * dt, 0)]))

    def seen(
        self, place: Float[Tensor, "node dimension"], step: int, radius: float
    ) -> tuple[Float[Tensor, " node"], Float[Tensor, "node dimension"], Float[Tensor, "node dimension"]]:
        """Distance of particles from the nearest body, the direction away from it, and how far that body moves in the
        step."""
        best: tuple[Tensor, Tensor, Tensor] | None = None
        for k, shape in enumerate(self.shapes):
            shift = self.path[step, k].to(place)
            move = (self.path[step + 1, k] - self.path[step, k]).to(place).expand_as(place)
            distance, normal = _distance(shape, place - shift, STEP * radius)
            if best is None:
                best = distance, normal, move
                continue
            nearer = distance.detach() < best[0].detach()
            best = (
                torch.where(nearer, distance, best[0]),
                torch.where(nearer[:, None], normal, best[1]),
                torch.where(nearer[:, None], move, best[2]),
            )
        assert best is not None
        return best


def _distance(shape: Geometry, away: Tensor, step: float) -> tuple[Tensor, Tensor]:
    """Distance from a shape and its gradient at points relative to it. Shapes are NumPy's: their values are continued
    by Taylor's formula, of the distance to second order and of the gradient to first, so that gradients by `away` are
    those of central differences."""
    points = away.detach().cpu().numpy().astype(np.float64)

    def distance(at: np.ndarray) -> np.ndarray:
        return -np.asarray(shape.signed_distance(at), dtype=np.float64)

    def gradient(at: np.ndarray) -> np.ndarray:
        return np.stack(_differences(distance, at, step), axis=-1)

    value = torch.from_numpy(distance(points)).to(away)
    normal = torch.from_numpy(gradient(points)).to(away)
    if not away.requires_grad:
        return value, normal
    turn = torch.from_numpy(np.stack(_differences(gradient, points, step), axis=-1)).to(away)
    by = away - away.detach()
    return value + (normal * by).sum(1), normal + (turn * by[:, None]).sum(2)


def _differences(function: Callable[[np.ndarray], np.ndarray], at: np.ndarray, step: float) -> list[np.ndarray]:
    """Central differences along every axis."""
    found = []
    for axis in range(at.shape[1]):
        by = np.zeros(at.shape[1])
        by[axis] = step
        found.append((function(at + by) - function(at - by)) / (2 * step))
    return found
