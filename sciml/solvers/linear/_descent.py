"""Conjugate directions with exact line searches, plain and flexible, and the solve that they share."""

from __future__ import annotations

from enum import Enum

import numpy as np
from scipy.linalg import get_blas_funcs

from sciml.errors import SolverError
from sciml.solvers.linear._concrete import Concrete
from sciml.solvers.linear._preconditioner import Apply

CHECKED = 50  # iterations after which the residual is computed anew
DRIFT = 1e-2  # of the residual, from which the one that is computed anew takes the place of the recursive one
ROUNDING = 16 * np.finfo(float).eps  # p·Ap over Σ a_ii p_i², below which it is rounding alone
FLOOR = 16 * np.finfo(float).eps  # ‖b − A x‖ over ‖|A| |x| + |b|‖, below which it may fall no more
SUSPECT = 1e-7  # p·Ap over p·M⁻¹p, relative to the largest so far, below which that is looked at


class Outcome(Enum):
    """Why an advance ended."""

    REACHED = 0  # the recursive residual is within the tolerance
    COUNTED = 1  # the iterations that were asked for are done
    BROKEN = 2  # the preconditioner gave nothing that can be used
    SINGULAR = 3  # along a direction the matrix is zero but for rounding
    EXHAUSTED = 4  # the residual is as small as rounding lets it be


class State:
    """A solve that is under way: x, its residual, and what the line searches have gained.

    Args:
        concrete: the system.
        b: right-hand side, within the range of the matrix.
        tolerance: of ‖r‖/‖b‖.
        name: of the solver, for messages.
    """

    def __init__(self, concrete: Concrete, b: np.ndarray, tolerance: float, name: str):
        self.concrete, self.matrix, self.b, self.tolerance, self.name = concrete, concrete.matrix, b, tolerance, name
        self.size = float(np.linalg.norm(b))
        self.x, self.r = np.zeros_like(b), b.copy()
        self.count, self.gained, self.relative, self.singular, self.exhausted = 0, 0.0, 1.0, False, False
        self.checked = np.inf  # ‖r‖ when it was last computed anew
        self.history = [1.0]
        (self.axpy,) = get_blas_funcs(("axpy",), (b,))

    def begin(self, x: np.ndarray) -> None:
        """Start from there."""
        self.x = self.concrete.project(x).copy()
        self.renew()
        self.history = [self.relative]

    def renew(self) -> None:
        """The residual from x itself."""
        self.x = self.concrete.project(self.x)
        self.r = self.concrete.project(self.b - self.matrix @ self.x)
        self.relative = float(np.linalg.norm(self.r)) / self.size

    def apply(self, preconditioner: Apply | None) -> np.ndarray:
        z = self.r if preconditioner is None else preconditioner(self.r)
        return z if self.concrete.null is None else self.concrete.project(z)

    def along(self, p: np.ndarray, q: np.ndarray, slope: float, curvature: float) -> None:
        """To the lowest place along p, with q = A p, slope = p·r and curvature = p·q.

        Where the matrix is singular and b not in its range, x grows along the null space until x·Ax is rounding alone.
        """
        share = slope / curvature
        self.axpy(p, self.x, a=share)
        self.axpy(q, self.r, a=-share)
        self.gained += slope * share
        self.count += 1
        self.relative = float(np.sqrt(np.vdot(self.r, self.r).real)) / self.size
        self.history.append(self.relative)
        if self.count % CHECKED == 0:
            self._check()

    def _check(self) -> None:
        """The residual of x itself in place of the recursive one, where that has drifted off."""
        self.x = self.concrete.project(self.x)
        image = self.matrix @ self.x
        true = self.concrete.project(self.b - image)
        self.singular = self.flat(self.x, abs(float(np.vdot(self.x, image).real)))
        size, drift = float(np.linalg.norm(true)), float(np.linalg.norm(true - self.r))
        if drift > DRIFT * size:
            self.r = true
            self.relative = self.history[-1] = size / self.size
        if size > self.checked / 2:
            bound = np.linalg.norm(abs(self.matrix) @ abs(self.x) + abs(self.b))
            self.exhausted = bool(size <= FLOOR * bound)
        self.checked = size

    def over(self, until: int) -> Outcome | None:
        """Why no iteration is to be made, of `until` in all; None where one is."""
        if self.relative <= self.tolerance:
            return Outcome.REACHED
        if self.exhausted:
            return Outcome.EXHAUSTED
        if self.singular:
            return Outcome.SINGULAR
        return Outcome.COUNTED if self.count >= until else None

    def flat(self, p: np.ndarray, curvature: float) -> bool:
        """Whether p·Ap is zero but for rounding.

        Raises:
            SolverError: it is negative.
        """
        scale = ROUNDING * float(np.vdot(p, np.real(self.concrete.diagonal) * p).real)
        if curvature < -scale:
            raise SolverError(f"{self.name}: the matrix is not positive definite: use MINRES()")
        return curvature <= scale


class Plain:
    """Three-term conjugate gradients, for a preconditioner that is a fixed, symmetric and positive linear map."""

    def __init__(self, state: State, preconditioner: Apply | None):
        self.state, self.preconditioner = state, preconditioner
        self.restart()

    def restart(self) -> None:
        self.p: np.ndarray | None = None
        self.slope = self.steepest = 0.0

    def advance(self, until: int) -> Outcome:
        """Iterate until the count of iterations is that."""
        state, identity = self.state, self.preconditioner is None and self.state.concrete.null is None
        matrix = state.matrix
        while (ended := state.over(until)) is None:
            z = state.apply(self.preconditioner)
            slope = (state.relative * state.size) ** 2 if identity else float(np.vdot(state.r, z).real)
            if not 0 < slope < np.inf:
                return Outcome.BROKEN
            if self.p is None:
                self.p = z.copy()
            else:
                self.p *= slope / self.slope
                self.p += z
            self.slope = slope
            q = matrix @ self.p
            curvature = float(np.vdot(self.p, q).real)
            if not np.isfinite(curvature):
                return Outcome.BROKEN
            steep = curvature / slope
            if steep <= SUSPECT * self.steepest or self.steepest == 0:
                if state.flat(self.p, curvature):
                    return Outcome.SINGULAR
            self.steepest = max(self.steepest, steep)
            state.along(self.p, q, slope, curvature)
        return ended


class Flexible:
    """Directions from anything at all, each made A-orthogonal to those before it.

        p = z − Σ_j p_j (p_j·A z)/(p_j·A p_j),    x ← x + p (p·r)/(p·A p)

    Args:
        directions: how many are kept.
    """

    def __init__(self, state: State, preconditioner: Apply | None, directions: int):
        self.state, self.preconditioner = state, preconditioner
        self.ps = np.zeros((directions, len(state.b)), state.b.dtype)
        self.qs = np.zeros_like(self.ps)
        self.curvatures = np.ones(directions)
        self.restart()

    def restart(self) -> None:
        self.ps[:], self.qs[:], self.curvatures[:], self.made = 0, 0, 1, 0

    def advance(self, until: int) -> Outcome:
        state, kept = self.state, len(self.ps)
        while (ended := state.over(until)) is None:
            z = state.apply(self.preconditioner)
            size = float(np.linalg.norm(z))
            if not 0 < size < np.inf:
                return Outcome.BROKEN
            at, used = self.made % kept, min(self.made, kept)
            p = z / size
            for _ in range(2):  # twice, for the first time cancels digits where p is nearly one of them
                p -= ((self.qs[:used].conj() @ p) / self.curvatures[:used]) @ self.ps[:used]
            q = state.matrix @ p
            curvature = float(np.vdot(p, q).real)
            slope = np.vdot(p, state.r)
            if not (np.isfinite(curvature) and np.isfinite(slope)):
                return Outcome.BROKEN
            if state.flat(p, curvature):
                return Outcome.SINGULAR
            self.ps[at], self.qs[at], self.curvatures[at] = p, q, curvature
            self.made += 1
            if slope.imag:  # of complex numbers the line is turned so that it falls
                turn = slope / abs(slope)
                p, q, slope = p * turn, q * turn, abs(slope)
            state.along(p, q, float(slope.real), curvature)
        return ended
