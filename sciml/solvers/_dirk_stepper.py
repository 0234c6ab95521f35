"""The implicit stepper of scalar balances on cells.

ds/dt = G(q, t) for the storage s(q), by the two-stage, second-order, L-stable singly diagonally implicit scheme

    s(q₁) = s(qⁿ) + γτ G₁,    s(qⁿ⁺¹) = s(qⁿ) + (1 − γ)τ G₁ + γτ G₂,    γ = 1 − 1/√2,

with G₁ = G(q₁, tⁿ + γτ) and G₂ = G(qⁿ⁺¹, tⁿ + τ).

Source: R. Alexander, SIAM J. Numer. Anal. 14, 1006 (1977).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sciml.errors import SolverError
from sciml.problem import Case
from sciml.solvers._control_volumes import ControlVolumes, boundary_values
from sciml.solvers._time import Stepper

_GAMMA = 1 - 1 / math.sqrt(2)  # the L-stable choice


def conditions(case: Case, volumes: ControlVolumes, times: np.ndarray) -> dict[str, Any]:
    """What of `ControlVolumes`' data changes in time, over `times`."""
    return {"boundary": boundary_values(case, volumes, times), "time": times}


def steps(case: Case, volumes: ControlVolumes, start: float, times: np.ndarray, counts: np.ndarray) -> tuple[Any, ...]:
    """Every step from `start` on, `counts` equal ones before each of `times`: (τ, conditions at stage 1, at stage 2),
    all over (steps + 1,), the last for the end, so that there is a row where nothing is to be done."""
    befores = np.r_[start, times[:-1]]
    sizes = np.repeat((times - befores) / np.maximum(counts, 1), counts)
    place = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    stages = [np.repeat(befores, counts) + sizes * (place + c) for c in (_GAMMA, 1.0)]
    return np.r_[sizes, 0.0], *(conditions(case, volumes, np.r_[t, times[-1]]) for t in stages)


class DirkStepper(Stepper):
    """States are the field q on the cells. The clock of the march counts steps: exact, whatever the times.

    Args:
        solve: (q, data, mass, factor, known) -> the root of `ControlVolumes.residual`, from the guess q.
        fixed: what of `ControlVolumes`' data does not change in time.
        table: see `steps`.
    """

    def __init__(self, volumes: ControlVolumes, solve: Callable[..., Any], fixed: Mapping[str, Any], table: Any):
        self.volumes, self.solve, self.fixed, self.table = volumes, solve, dict(fixed), table
        self.failure = "values are not finite"  # until a solver that raises says more

    def step(self, state: Any, time: Any, remaining: Any) -> Any:
        row = jnp.asarray(time, int)
        tau, first, second = jax.tree.map(lambda a: a[row], self.table)
        first, second, factor = self.fixed | first, self.fixed | second, _GAMMA * tau
        known = self.volumes.storage(state, first)
        try:
            q = self.solve(state, first, 1.0, factor, known)
            slope = (self.volumes.storage(q, first) - known) / factor
            q = self.solve(q, second, 1.0, factor, known + (1 - _GAMMA) * tau * slope)
        except SolverError as error:
            self.failure = f"{error} at t = {first['time'] - factor:.6g}"
            return state, 0.0, math.nan
        return q, 1.0, remaining + 0 * jnp.sum(state)

    def frame(self, state: Any, time: Any) -> dict[str, Any]:
        return {self.volumes.field: state}
