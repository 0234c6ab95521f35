"""Equidistribution by optimal transport: the equation of Monge and Ampère, by Newton's method."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

import numpy as np
import scipy.sparse.linalg

from sciml.meshing._settings import check_positive, check_steps
from sciml.meshing._transport import State, Transport
from sciml.meshing.mover import Domain, MeshMover, Proposal
from sciml.solvers._newton import check_factor

DIFFERENCE = 1e-6  # of the mesh's extent, for slopes of the monitor
TRUSTED, EASY = 0.5, 0.2  # what R may differ from its linear part, over R, for a step to be taken, for a longer one
LONGER, SHORTER = 3.0, 0.25
SHORTEST = 1e-8
KRYLOV = 40

Map = Callable[[np.ndarray], np.ndarray]


@final
class NewtonMongeAmpere(MeshMover):
    """The mesh of `MongeAmpere`, R(φ) = ∫ (m(ξ + ∇φ) det(I + H) − θ) v = 0, by Newton's method with continuation in
    the pseudo-time t of the relaxation ∫ ∇∂φ/∂t·∇v = R:

        ∫ ∇δφ·∇v/dt − R'(φ) δφ = R(φ),    φ ← φ + δφ.

    This is the relaxation for short steps dt, but stable, and Newton's method for long ones. A step is taken if R then
    is what its linear part says, ∫ ∇δφ·∇v/dt, but for half of ‖R(φ)‖, and shortened if not; R may well rise. dt grows
    as the linear part becomes right, so that the last steps converge as Newton's do. Solves what relaxation with a
    given step oscillates on: monitors with high, narrow ridges.

    R' is that of the discrete equation, with ∇m by central differences of m at the moved nodes. Linear systems are
    solved by GMRES, loosely at first, preconditioned with linear elements for −∇·((1/dt + m cof(I + H)) ∇δφ), factored
    anew each step.

    Args:
        tolerance: of ‖R‖, over ‖∫ θ v‖.
        max_iterations: steps, those not taken included, beyond which the move is not converged.
        step: dt of the first.
        factor: "lu" or "cholesky", which needs the package cholespy.

    Raises:
        InputError: settings out of range.

    Source: the equation as in `MongeAmpere`; pseudo-transient continuation after C. T. Kelley, D. E. Keyes, SIAM J.
    Numer. Anal. 35 (1998), 508, but for the rule of steps; loose solves after S. C. Eisenstat, H. F. Walker, SIAM J.
    Sci. Comput. 17 (1996), 16.
    """

    name = "newton_monge_ampere"

    def __init__(self, tolerance: float = 1e-3, max_iterations: int = 200, step: float = 0.5, factor: str = "lu"):
        check_positive(self.name, tolerance=tolerance, step=step)
        check_steps(self.name, max_iterations=max_iterations)
        check_factor(self.name, factor)
        self.tolerance, self.max_iterations, self.step = float(tolerance), int(max_iterations), float(step)
        self.factor = factor

    def _propose(self, domain: Domain) -> Proposal:
        work = Transport(domain, self.factor)
        dt, count = self.step, 0
        now = best = State(domain, work, np.zeros(len(domain.points)))
        change = None
        while best.residual > self.tolerance and count < self.max_iterations and dt > SHORTEST:
            count += 1
            if change is None:
                change = work.linearised(now.monitor, _slope(domain, now.points), now.hessian)
            loose = min(0.1, now.residual / 2)
            step = _solved(work, change, work.elliptic(now.monitor, now.hessian, 1 / dt), now.right, 1 / dt, loose)
            then = State(domain, work, now.phi + step)
            off = np.linalg.norm(then.right - work.stiffness @ step / dt) / np.linalg.norm(now.right)
            if not off < TRUSTED:
                dt *= SHORTER
                continue
            now, change = then, None
            dt *= LONGER if off < EASY else 1.0
            best = min(best, now, key=lambda state: state.residual)
        return Proposal(best.points, count, best.residual, best.residual <= self.tolerance)


def _slope(domain: Domain, points: np.ndarray) -> np.ndarray:
    """∇m (N, D)."""
    step = DIFFERENCE * float(np.ptp(domain.points, axis=0).max())
    axes = step * np.eye(points.shape[1])
    return np.stack([domain.monitor(points + e) - domain.monitor(points - e) for e in axes], 1) / (2 * step)


def _solved(
    work: Transport, change: Map, precondition: Map, right: np.ndarray, rate: float, tolerance: float
) -> np.ndarray:
    """δφ with rate ∫ ∇δφ·∇v − R' δφ = right."""

    def image(given: np.ndarray) -> np.ndarray:
        phi = precondition(given)
        return rate * (work.stiffness @ phi) - change(phi)

    shape: Any = (len(right), len(right))
    whole: Any = scipy.sparse.linalg.LinearOperator(shape, matvec=image)  # pyright: ignore[reportCallIssue]
    found, _ = scipy.sparse.linalg.gmres(whole, right, rtol=tolerance, maxiter=1, restart=KRYLOV)
    return precondition(found)
