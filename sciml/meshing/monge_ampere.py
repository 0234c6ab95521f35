"""Equidistribution by optimal transport: the equation of Monge and Ampère, by relaxation."""

from __future__ import annotations

from typing import final

import numpy as np

from sciml.meshing._settings import check_positive, check_steps
from sciml.meshing._transport import Transport
from sciml.meshing.mover import Domain, MeshMover, Proposal


@final
class MongeAmpere(MeshMover):
    """Nodes x = ξ + ∇φ(ξ) with

        m(ξ + ∇φ) det(I + H) = θ,    H = ∇∇φ,    ∂φ/∂n = 0 on the boundary,

    θ being the mean of the left side. By relaxation: with linear elements on the mesh as it was,

        ∫ ∇δφ·∇v = dt ∫ (m det(I + H) − θ) v,    φ ← φ + δφ,

    then ∇φ by projection onto linear functions that have no normal part on the boundary, H weakly from ∇φ, and m anew
    at the moved nodes; until ‖∫ (m det(I + H) − θ) v‖ ≤ tolerance · ‖∫ θ v‖. The matrices of all three steps are
    factored once. Meant for convex regions; of others the safeguard takes what can be had.

    Args:
        tolerance: see above.
        max_iterations: beyond, the move is not converged.
        step: dt, of pseudo-time.

    Raises:
        InputError: settings out of range.

    Source: A. T. T. McRae, C. J. Cotter, C. J. Budd, Optimal-transport-based mesh adaptivity on the plane and sphere
    using finite elements, SIAM J. Sci. Comput. 40 (2018), A1121; relaxation after G. Awanou, Quadratic mixed finite
    element approximations of the Monge-Ampère equation in 2D, Calcolo 52 (2015), 503.
    """

    name = "monge_ampere"

    def __init__(self, tolerance: float = 1e-3, max_iterations: int = 1000, step: float = 0.1):
        check_positive(self.name, tolerance=tolerance, step=step)
        check_steps(self.name, max_iterations=max_iterations)
        self.tolerance, self.max_iterations, self.step = float(tolerance), int(max_iterations), float(step)

    def _propose(self, domain: Domain) -> Proposal:
        work = Transport(domain)
        phi, best = np.zeros(len(domain.points)), None
        gradient, hessian = work.derivatives(phi)
        first = np.inf
        for count in range(self.max_iterations + 1):
            x = domain.points + gradient
            right, size = work.excess(domain.monitor(x), hessian)
            rest = float(np.linalg.norm(right)) / size
            first = min(first, rest) if count else rest
            if best is None or rest < best.residual:
                best = Proposal(x, count, rest, rest <= self.tolerance)
            if rest <= self.tolerance or not np.isfinite(rest) or rest > 10 * max(first, 1.0):
                break
            phi = phi + work.poisson(self.step * right)
            gradient, hessian = work.derivatives(phi)
        assert best is not None
        return Proposal(best.points, count, best.residual, best.converged)
