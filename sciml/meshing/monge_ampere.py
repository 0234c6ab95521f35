"""Equidistribution by optimal transport: the equation of Monge and Ampère, by relaxation."""

from __future__ import annotations

from typing import final

import numpy as np

from sciml.errors import InputError, is_whole
from sciml.meshing._settings import check_positive, check_steps
from sciml.meshing._transport import State, Transport
from sciml.meshing.mover import Domain, MeshMover, Proposal
from sciml.solvers._newton import check_factor

RISE, RISE_MIXED = 1.2, 2.0  # of the residual over its least, beyond which a step was too long, mixing no help
HALVINGS = 12


@final
class MongeAmpere(MeshMover):
    """Nodes x = ξ + ∇φ(ξ) with

        m(ξ + ∇φ) det(I + H) = θ,    H = ∇∇φ,    ∂φ/∂n = 0 on the boundary,

    θ being the mean of the left side. By relaxation: with linear elements on the mesh as it was,

        ∫ ∇δφ·∇v = dt ∫ (m det(I + H) − θ) v,    φ ← φ + δφ,

    then ∇φ by projection onto linear functions that have no normal part on the boundary, H weakly from ∇φ, and m anew
    at the moved nodes; until ‖∫ (m det(I + H) − θ) v‖ ≤ tolerance · ‖∫ θ v‖. The matrices of all three steps are
    factored once. Where the residual rises to 1.2 times its least, dt was too long for stability, which high ridges of
    m reduce: the iteration goes back there and halves dt. Meant for convex regions; of others the safeguard takes what
    can be had.

    Args:
        tolerance: see above.
        max_iterations: beyond, the move is not converged.
        step: dt, of pseudo-time, m being taken over its mean.
        memory: of how many earlier iterations a step is mixed, after Anderson; 0 for none. 5 take a fifth of the
            iterations for smooth monitors; where the residual rises to twice its least, all begins anew without.
        factor: "lu" or "cholesky", which needs the package cholespy.

    Raises:
        InputError: settings out of range.

    Source: A. T. T. McRae, C. J. Cotter, C. J. Budd, Optimal-transport-based mesh adaptivity on the plane and sphere
    using finite elements, SIAM J. Sci. Comput. 40 (2018), A1121; relaxation after G. Awanou, Quadratic mixed finite
    element approximations of the Monge-Ampère equation in 2D, Calcolo 52 (2015), 503; mixing after D. G. Anderson,
    J. ACM 12 (1965), 547.
    """

    name = "monge_ampere"

    def __init__(
        self, tolerance: float = 1e-3, max_iterations: int = 1000, step: float = 0.4, memory: int = 0,
        factor: str = "lu",
    ):  # fmt: skip
        check_positive(self.name, tolerance=tolerance, step=step)
        check_steps(self.name, max_iterations=max_iterations)
        if not is_whole(memory) or memory < 0:
            raise InputError(f"{self.name}: memory is {memory!r}, expected a whole number from 0 on")
        check_factor(self.name, factor)
        self.tolerance, self.max_iterations, self.step = float(tolerance), int(max_iterations), float(step)
        self.memory, self.factor = int(memory), factor

    def _propose(self, domain: Domain) -> Proposal:
        work = Transport(domain, self.factor)
        phi, step, count = np.zeros(len(domain.points)), self.step, 0
        mixing = _Mixing(self.memory) if self.memory else None
        now = first = best = State(domain, work, phi)
        while best.residual > self.tolerance and count < self.max_iterations and step > self.step / 2**HALVINGS:
            count += 1
            change = step * work.poisson(now.right)
            now = State(domain, work, now.phi + change if mixing is None else mixing(now.phi, change))
            if now.residual < best.residual:
                best = now
            elif mixing is None and not now.residual <= RISE * best.residual:
                now, step = best, step / 2
            elif mixing is not None and not now.residual <= RISE_MIXED * best.residual:
                now, best, mixing = first, first, None
        return Proposal(best.points, count, best.residual, best.residual <= self.tolerance)


class _Mixing:
    """Of φₖ and changes fₖ the next φ:

        φₖ + fₖ − Σᵢ γᵢ (Δφᵢ + Δfᵢ),    ‖fₖ − Σᵢ γᵢ Δfᵢ‖ least,

    Δ being differences of one iteration and the next, the last `memory` of them.
    """

    def __init__(self, memory: int):
        self.memory = memory
        self.places: list[np.ndarray] = []
        self.changes: list[np.ndarray] = []

    def __call__(self, phi: np.ndarray, change: np.ndarray) -> np.ndarray:
        change = change - change.mean()  # φ is known but for a constant
        self.places = [*self.places, phi][-self.memory - 1 :]
        self.changes = [*self.changes, change][-self.memory - 1 :]
        if len(self.changes) == 1:
            return phi + change
        moves, turns = np.diff(self.places, axis=0), np.diff(self.changes, axis=0)
        scale = 1 / np.maximum(np.linalg.norm(turns, axis=1), 1e-300)
        turns, moves = turns * scale[:, None], moves * scale[:, None]
        shares = np.linalg.lstsq(turns @ turns.T, turns @ change, rcond=1e-12)[0]
        return phi + change - shares @ (moves + turns)
