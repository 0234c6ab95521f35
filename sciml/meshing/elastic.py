"""Equidistribution by an elastic medium whose cells are blown up or let down."""

from __future__ import annotations

from typing import final

import numpy as np

from sciml.errors import InputError
from sciml.meshing._medium import Medium
from sciml.meshing._settings import check_positive, check_steps
from sciml.meshing._simplices import contents, gathered
from sciml.meshing.mover import Domain, MeshMover, Proposal


@final
class Elastic(MeshMover):
    """Nodes at which m |K| / |K₀| is the same in all cells, K₀ being a cell as it was, by steps δ with

        ∫ ∇δ : ∇w = −step ∫ log(m |K| / (θ |K₀|)) ∇·w    for all w,    x ← x + δ,

    linear elements on the mesh as it was, θ the mean of m |K| / |K₀|, m the mean of the corners. In a medium without
    boundary ∇·δ = −step log(...), so that one full step would do were m the same everywhere that a node gets to. The
    only matrix is factored once, and there are no derivatives to recover: areas are those of the cells. Unlike a
    potential, a displacement knows no bound to regions that are convex. Steps are halved where a cell would lose more
    than four fifths of its content.

    Args:
        tolerance: ends when ‖∫ (m |K| / (θ |K₀|) − 1) v‖ ≤ tolerance · ‖∫ v‖ over all nodes' v, ...
        stall: ... or has fallen by less than this share in a step: what is left then is due to the shape of the cells.
        max_iterations: beyond, the move is not converged.
        step: see above.

    Raises:
        InputError: settings out of range.

    Source: kin to the deformation method of G. Liao, D. Anderson, A new approach to grid generation, Appl. Anal. 44
    (1992), 285, which prescribes the divergence of a velocity of nodes.
    """

    name = "elastic"

    def __init__(self, tolerance: float = 1e-3, max_iterations: int = 100, step: float = 0.6, stall: float = 0.1):
        check_positive(self.name, tolerance=tolerance, step=step)
        check_steps(self.name, max_iterations=max_iterations)
        if not 0 <= stall < 1 or step > 1:
            raise InputError(f"{self.name}: expected 0 <= stall < 1 and step <= 1, got stall={stall}, step={step}")
        self.tolerance, self.max_iterations = float(tolerance), int(max_iterations)
        self.step, self.stall = float(step), float(stall)

    def _propose(self, domain: Domain) -> Proposal:
        medium = Medium(domain)
        x, found, before, share, done = domain.points, Proposal(domain.points), np.inf, 0.0, False
        for count in range(self.max_iterations + 1):
            ratio = ratios(medium, x, domain.monitor(x))
            rest = uneven(medium, ratio)
            stalls = share == 1 and rest > (1 - self.stall) * before
            done = rest <= self.tolerance or stalls
            if not count or rest < found.residual:
                found = Proposal(x, count, rest)
            move = medium.yielded(-self.step * np.log(ratio)[:, None, None] * np.eye(x.shape[1]))
            share = medium.safe(x, move)
            if done or share == 0:
                break
            x, before = x + share * move, rest
        return Proposal(found.points, count, found.residual, done)


def ratios(medium: Medium, points: np.ndarray, m: np.ndarray) -> np.ndarray:
    """m |K| / (θ |K₀|) of the cells."""
    found = m[medium.cells].mean(1) * contents(points, medium.cells) / medium.size
    return found / (float((found * medium.size).sum()) / float(medium.size.sum()))


def uneven(medium: Medium, ratio: np.ndarray) -> float:
    """‖∫ (ratio − 1) v‖ / ‖∫ v‖."""
    k, count = medium.cells.shape[1], len(medium.points)

    def at_nodes(values: np.ndarray) -> np.ndarray:
        return gathered(medium.cells, np.repeat(values[:, None], k, 1), count)

    whole = np.linalg.norm(at_nodes(medium.size))
    return float(np.linalg.norm(at_nodes((ratio - 1) * medium.size)) / whole)
