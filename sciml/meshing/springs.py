"""Smoothing by springs."""

from __future__ import annotations

from typing import Any, final

import numpy as np
import scipy.sparse
import scipy.sparse.linalg

from sciml.meshing._settings import check_steps
from sciml.meshing._sliding import Sliding
from sciml.meshing.mover import Domain, MeshMover, Proposal


@final
class Springs(MeshMover):
    """Nodes at rest between springs along the edges, whose stiffness grows with the monitor:

        Σ over edges ij at i of (mᵢ + mⱼ)/(2 m̄) (xᵢ − xⱼ)/ℓᵢⱼ = Σ (ξᵢ − ξⱼ)/ℓᵢⱼ,

    ℓᵢⱼ being the lengths of edges as they were and m̄ the mean of m over them, so that an even monitor moves nothing. In
    one dimension this is equidistribution; in two it draws nodes to where m is large, with no measure of areas.

    Args:
        rounds: how often stiffness is taken anew at the nodes as they have become.

    Raises:
        InputError: settings out of range.
    """

    name = "springs"

    def __init__(self, rounds: int = 5):
        check_steps(self.name, rounds=rounds)
        self.rounds = int(rounds)

    def _propose(self, domain: Domain) -> Proposal:
        cells, k = domain.cells, domain.cells.shape[1]
        pairs = np.concatenate([np.roll(cells, -i, 1)[:, :2] for i in range(k if k > 2 else 1)])
        edges = np.unique(np.sort(pairs, 1), axis=0)
        x, ends = domain.points, domain.points[edges]
        lengths = np.linalg.norm(ends[:, 0] - ends[:, 1], axis=1)
        for _ in range(self.rounds):
            m = domain.monitor(x)[edges].mean(1)
            x = rested(domain.points, edges, m / m.mean() / lengths, 1 / lengths, domain.sliding)
        return Proposal(x, self.rounds)


def rested(
    points: np.ndarray, edges: np.ndarray, stiffness: np.ndarray, before: np.ndarray, sliding: Sliding
) -> np.ndarray:
    """Where nodes come to rest that were so with the stiffness `before`; those on the boundary slide along it."""
    count, d = points.shape
    free: Any = sliding.freedoms()
    if not free.shape[1]:
        return points

    def laplace(weights: np.ndarray) -> Any:
        i, j = edges.T
        rows, columns = np.concatenate([i, j, i, j]), np.concatenate([i, j, j, i])
        values = np.concatenate([weights, weights, -weights, -weights])
        return scipy.sparse.kron(
            scipy.sparse.csc_array((values, (rows, columns)), shape=(count, count)), scipy.sparse.eye_array(d),
            format="csc",
        )  # fmt: skip

    now = laplace(stiffness)
    force = (laplace(before) - now) @ points.ravel()
    step = scipy.sparse.linalg.spsolve((free.T @ now @ free).tocsc(), free.T @ force)
    return points + (free @ step).reshape(count, d)
