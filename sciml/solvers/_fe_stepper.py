"""Implicit steps in time of a weak form, d/dt S(u) + A(u, t) = 0 with the storage S and the outflow A.

theta:   S(uⁿ⁺¹) − S(uⁿ) + τ (θ Aⁿ⁺¹ + (1 − θ) Aⁿ) = 0, of order 2 for θ = ½, else 1;
bdf2:    (1 + 2ω)/(1 + ω) S(uⁿ⁺¹) − (1 + ω) S(uⁿ) + ω²/(1 + ω) S(uⁿ⁻¹) + τ Aⁿ⁺¹ = 0, ω = τⁿ/τⁿ⁻¹; the first step is one
         of sdirk2;
sdirk2:  S(u₁) = S(uⁿ) − γτ A₁, S(uⁿ⁺¹) = S(uⁿ) − (1 − γ)τ A₁ − γτ A₂, γ = 1 − 1/√2, L-stable.

Sources: C. F. Curtiss, J. O. Hirschfelder, PNAS 38, 235 (1952); R. Alexander, SIAM J. Numer. Anal. 14, 1006 (1977).
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any, NamedTuple, final

import numpy as np

from sciml.errors import SolverError
from sciml.solvers._newton import Newton
from sciml.solvers._time import Stepper

_GAMMA = 1 - 1 / math.sqrt(2)  # the L-stable choice


class Past(NamedTuple):
    """State of a march.

    Args:
        now, before: (F, N) at the end of the last step and of the one before.
        size: of the last step; 0 where there is none.
    """

    now: Any
    before: Any
    size: Any


class Steps(NamedTuple):
    """All steps of a march, one entry each: when it begins and how long it is."""

    starts: np.ndarray
    sizes: np.ndarray

    @staticmethod
    def of(start: float, times: np.ndarray, counts: np.ndarray) -> Steps:
        """`counts` equal ones before each of `times`."""
        befores = np.r_[start, times[:-1]]
        sizes = np.repeat((times - befores) / np.maximum(counts, 1), counts)
        place = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        return Steps(np.repeat(befores, counts) + sizes * place, sizes)


class WeakStepper(Stepper):
    """Abstract: one step of a method. The clock of the march counts steps: exact, whatever the times."""

    def __init__(self, newton: Newton, steps: Steps):
        self.newton, self.system, self.steps = newton, newton.system, steps
        self.failure = "values are not finite"  # until a solver that raises says more

    @abstractmethod
    def advance(self, past: Past, start: float, size: float) -> np.ndarray:
        """(F, N) at the end of a step."""

    def step(self, state: Any, time: Any, remaining: Any) -> Any:
        row = int(time)
        past = Past(*(np.asarray(a, dtype=np.float64) for a in state))
        start, size = float(self.steps.starts[row]), float(self.steps.sizes[row])
        try:
            now = self.advance(past, start, size)
        except SolverError as error:
            self.failure = f"{error} at t = {start:.6g}"
            return state, 0.0, math.nan
        return Past(now, past.now, np.asarray(size)), 1.0, remaining

    def frame(self, state: Any, time: Any) -> dict[str, Any]:
        return {"state": state.now}

    def stage(self, guess: np.ndarray, time: float, mass: float, factor: float, known: np.ndarray) -> np.ndarray:
        return self.newton(self.system.impose(guess, time), time, mass, factor, known)

    def sdirk2(self, past: Past, start: float, size: float) -> np.ndarray:
        factor = _GAMMA * size
        stored = self.system.storage(past.now, start)
        first = self.stage(past.now, start + factor, 1.0, factor, stored)
        slope = (self.system.storage(first, start + factor) - stored) / factor
        return self.stage(first, start + size, 1.0, factor, stored + (size - factor) * slope)


@final
class Sdirk2(WeakStepper):
    """Two stages with one matrix."""

    def advance(self, past: Past, start: float, size: float) -> np.ndarray:
        return self.sdirk2(past, start, size)


@final
class Theta(WeakStepper):
    """One stage; the outflow of a balance without storage is that of the new time alone."""

    theta = 0.5

    def advance(self, past: Past, start: float, size: float) -> np.ndarray:
        old = self.system.outflow(past.now, start) * self._stores[:, None]
        known = self.system.storage(past.now, start) - (1 - self.theta) * size * old
        return self.stage(past.now, start + size, 1.0, self.theta * size, known)

    @property
    def _stores(self) -> np.ndarray:
        return np.array([row.storage is not None for row in self.system.rows], float)


@final
class Bdf2(WeakStepper):
    """One stage, from two states."""

    def advance(self, past: Past, start: float, size: float) -> np.ndarray:
        if past.size == 0:
            return self.sdirk2(past, start, size)
        ratio = size / float(past.size)
        old, older = (self.system.storage(u, start) for u in (past.now, past.before))
        # divided by the leading coefficient, so that equal steps have one matrix
        lead = (1 + 2 * ratio) / (1 + ratio)
        known = ((1 + ratio) * old - ratio**2 / (1 + ratio) * older) / lead
        return self.stage(past.now, start + size, 1.0, size / lead, known)


METHODS = {"sdirk2": Sdirk2, "bdf2": Bdf2, "theta": Theta}
