"""Conjugate gradients with any preconditioner, safe with those that are learned."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from sciml.errors import InputError, SolverError
from sciml.solvers.linear._before import check_definite, check_regular, helpful, in_range
from sciml.solvers.linear._concrete import Concrete
from sciml.solvers.linear._descent import Flexible, Outcome, Plain, State
from sciml.solvers.linear._hosted import Answer, HostedSolver
from sciml.solvers.linear._preconditioner import Apply, Preconditioner, Starting
from sciml.solvers.linear._settings import check_counts, check_tolerance, told
from sciml.solvers.linear._solver import Info
from sciml.solvers.linear._system import LinearSystem
from sciml.solvers.linear.jacobi import Jacobi

MOST = 20_000  # iterations, unless more are asked for
HALVED = 0.5  # of the residual: preconditioners that reach less in `patience` iterations are compared with the fallback


class ConjugateGradient(HostedSolver):
    """min ½ x·A x − b·x along directions p_i with p_i·A p_j = 0.

        z = M(r),    p = z − Σ_j p_j (p_j·A z)/(p_j·A p_j),    x ← x + p (p·r)/(p·A p),    r ← r − A p (p·r)/(p·A p)

    The line search is exact, so that the A-norm of the error falls whatever M gives. With a linear preconditioner one
    previous direction is enough, and the recursion is the plain one; with others the last `directions` are kept. The
    residual is computed from x itself before a solve is called converged, and every 50 iterations.

    A preconditioner that is not linear is watched. Where `patience` iterations have not halved ‖r‖, as many are done by
    plain conjugate gradients with the fallback, from where it stands. If these lower the energy ½ x·A x − b·x by more,
    they go on to the end, and `Info.switched` says from which iteration; otherwise the preconditioner goes on, and
    `patience` doubles. One that gives zeros, numbers that are not finite, or (where it says that it is linear) a z
    with r·z ≤ 0 is left for the fallback at once.

    Of a singular system the part of b in the null space is left out: no x meets it. The residual is relative to the
    rest, and x has no part in the null space.

    Args:
        preconditioner: z ≈ A⁻¹ r; None for z = r.
        tolerance: of ‖b − A x‖ over ‖b‖.
        max_iterations: beyond, the solve is not converged; None for ten for each unknown, 20 000 at most.
        directions: how many previous directions each new one is made A-orthogonal to; None for 1 with a linear
            preconditioner and 2 with others.
        fallback: the linear preconditioner that takes the place of one that fails; None for `Jacobi()`.
        patience: iterations after which a preconditioner that is not linear is judged.

    Raises:
        InputError: settings out of range; on `prepare` a matrix that is not symmetric, whose diagonal is not positive,
            or that takes constants to zero and has no `null_space`.
        SolverError: on a solve, a matrix that turns out not to be positive definite, or to be singular.

    Source: M. R. Hestenes, E. Stiefel, J. Res. Natl. Bur. Stand. 49, 409 (1952); Y. Notay, SIAM J. Sci. Comput. 22,
    1444 (2000), on directions from preconditioners that vary.
    """

    name = "conjugate_gradient"

    def __init__(self, preconditioner: Preconditioner | None = None, tolerance: float = 1e-8,
        max_iterations: int | None = None, directions: int | None = None, fallback: Preconditioner | None = None,
        patience: int = 20,
    ):  # fmt: skip
        check_tolerance(self.name, tolerance)
        check_counts(self.name, patience=patience, **told(max_iterations=max_iterations, directions=directions))
        for key, value in (("preconditioner", preconditioner), ("fallback", fallback)):
            if value is not None and not isinstance(value, Preconditioner):
                raise InputError(f"{self.name}: {key} is {value!r}, expected a Preconditioner (FromOperator makes one)")
        fallback = Jacobi() if fallback is None else fallback
        if not fallback.linear:
            raise InputError(f"{self.name}: fallback is {fallback.name}, expected a linear preconditioner")
        linear = preconditioner is None or preconditioner.linear
        self.preconditioner, self.tolerance, self.max_iterations = preconditioner, float(tolerance), max_iterations
        self.directions = int(directions) if directions is not None else 1 if linear else 2
        self.fallback, self.patience = fallback, int(patience)
        self.plain = linear and self.directions == 1

    def supports(self, system: LinearSystem) -> bool:
        used = [self.fallback] if self.preconditioner is None else [self.preconditioner, self.fallback]
        return system.symmetric and all(p.supports(system) for p in used)

    def refusal(self, system: LinearSystem) -> str:
        for used in (self.preconditioner, self.fallback):
            if system.symmetric and used is not None and not used.supports(system):
                return f"the preconditioner {used.name} is not made for this system, see its `supports`"
        return super().refusal(system)

    def set_up(self, concrete: Concrete) -> tuple[Answer, int | None]:
        check_definite(self.name, concrete)
        check_regular(self.name, concrete)
        apply, kept = (None, 0) if self.preconditioner is None else self.preconditioner.set_up(concrete)
        fallback = cache(lambda: self.fallback.set_up(concrete)[0])  # where it is needed
        limit = min(10 * concrete.size, MOST) if self.max_iterations is None else self.max_iterations

        def answer(b: np.ndarray, guess: np.ndarray | None) -> tuple[np.ndarray, Info]:
            b, size = in_range(concrete, b)
            if size == 0:
                return np.zeros_like(b), Info(0, 0.0, True, np.zeros(1))
            state = State(concrete, b, self.tolerance, self.name)
            if guess is not None:
                state.begin(helpful(concrete, b, guess))
            if isinstance(apply, Starting):
                state.begin(state.x + apply.start(state.r))
            with np.errstate(all="ignore"):  # what a preconditioner gives is looked at
                switched = self._run(state, apply, fallback, limit)
            history = np.array(state.history)
            return state.x, Info(state.count, state.relative, state.relative <= self.tolerance, history, switched)

        return answer, kept

    def _run(self, state: State, apply: Apply | None, fallback: Callable[[], Apply], limit: int) -> int:
        """Until the true residual is within the tolerance, or nothing more can be done; when it switched."""
        linear = self.preconditioner is None or self.preconditioner.linear
        method = Plain(state, apply) if self.plain else Flexible(state, apply, self.directions)
        switched, patience, last = -1, self.patience, np.inf
        while True:
            watched = not linear and switched < 0
            before, gained = state.relative, state.gained
            outcome = method.advance(min(limit, state.count + patience) if watched else limit)
            if outcome is Outcome.REACHED:
                state.renew()
                state.history[-1] = state.relative
                if state.relative <= state.tolerance or state.relative > HALVED * last:
                    return switched  # converged, or as near as rounding lets it
                last = state.relative
                method.restart()
            elif outcome is Outcome.COUNTED:
                if state.count >= limit:
                    break
                if watched and state.relative > HALVED * before:
                    here, gained = state.count, state.gained - gained
                    trial, start = Plain(state, fallback()), state.gained
                    if trial.advance(min(limit, here + patience)) is not Outcome.SINGULAR:
                        if state.gained - start > gained:
                            method, switched = trial, here
                        else:
                            method.restart()
                            patience *= 2
            elif outcome is Outcome.EXHAUSTED:
                break
            elif switched < 0 and method.preconditioner is not None and not (linear and outcome is Outcome.SINGULAR):
                method, switched, state.singular = Plain(state, fallback()), state.count, False
            elif outcome is Outcome.BROKEN and method.preconditioner is not None:
                method = Plain(state, None)
            else:
                state.renew()
                if outcome is Outcome.BROKEN or state.relative <= state.tolerance:
                    break
                raise SolverError(f"{self.name}: the matrix is singular to rounding: pass null_space= to MatrixSystem")
        state.renew()
        return switched

    def _settings(self) -> tuple[object, ...]:
        return (self.preconditioner, self.tolerance, self.max_iterations, self.directions, self.fallback, self.patience)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ConjugateGradient) and self._settings() == other._settings()

    def __hash__(self) -> int:
        return hash((self.name, self._settings()))
