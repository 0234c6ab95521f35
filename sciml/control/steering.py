"""Finding what to do: methods with gradients and without, counted and timed alike."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sciml.control.gradients import value, value_and_gradient
from sciml.control.task import Task
from sciml.errors import InputError, SolverError, is_number, is_whole, suggest
from sciml.solver import Differentiable

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclass(frozen=True, eq=False)
class Evaluation:
    """One flow on the way.

    Args:
        u: (K,) what was tried.
        value: J(u); infinite where the solver failed.
        seconds: since the beginning, when it was known.
        with_gradient: whether its gradient was computed, too.
    """

    u: Float[np.ndarray, " number"]
    value: float
    seconds: float
    with_gradient: bool


@dataclass(frozen=True, eq=False)
class Steered:
    """What was found, and how.

    Args:
        u: (K,) the best that was tried.
        value: J(u).
        evaluations: all that were tried, in order.
        method: by what.
        reached: whether the goal that was asked for was reached.
    """

    u: Float[np.ndarray, " number"]
    value: float
    evaluations: tuple[Evaluation, ...]
    method: str
    reached: bool

    def evaluations_to(self, goal: float) -> int | None:
        """How many evaluations it took until J ≤ goal; None where it never was."""
        return next((i + 1 for i, e in enumerate(self.evaluations) if e.value <= goal), None)

    def seconds_to(self, goal: float) -> float | None:
        """How long it took until J ≤ goal; None where it never was."""
        return next((e.seconds for e in self.evaluations if e.value <= goal), None)


class _Enough(Exception):
    """The goal is reached, or no more evaluations are allowed."""


class _Counted:
    """J on the unit box, z = (u − lower)/(upper − lower), with all that was tried."""

    def __init__(self, task: Task, through: Differentiable, most: int, goal: float | None):
        self.task, self.through, self.most, self.goal = task, through, most, goal
        self.span = task.upper - task.lower
        self.tried: list[Evaluation] = []
        self.began = time.perf_counter()

    def place(self, z: Any) -> np.ndarray:
        return self.task.lower + np.clip(np.asarray(z, dtype=np.float64), 0.0, 1.0) * self.span

    def plain(self, z: Any) -> float:
        u = self.place(z)
        return self._kept(u, value(self.task, self.through, u), False)

    def sloped(self, z: Any) -> tuple[float, np.ndarray]:
        u = self.place(z)
        found, gradient = value_and_gradient(self.task, self.through, u)
        if not (np.isfinite(found) and np.isfinite(gradient).all()):
            found, gradient = np.inf, np.zeros_like(u)
        return self._kept(u, found, True), gradient * self.span

    def _kept(self, u: np.ndarray, found: float, sloped: bool) -> float:
        self.tried.append(Evaluation(u, found, time.perf_counter() - self.began, sloped))
        if len(self.tried) >= self.most or (self.goal is not None and found <= self.goal):
            raise _Enough
        return found


def _adam(counted: _Counted, z: np.ndarray, rate: float, seed: int) -> None:
    """Adam (Kingma and Ba 2015) with projection onto the box; the rate falls to a tenth along a cosine."""
    first, second = np.zeros_like(z), np.zeros_like(z)
    for k in range(counted.most):
        _, gradient = counted.sloped(z)
        first, second = 0.8 * first + 0.2 * gradient, 0.95 * second + 0.05 * gradient**2
        mean, square = first / (1 - 0.8 ** (k + 1)), second / (1 - 0.95 ** (k + 1))
        now = rate * (0.55 + 0.45 * np.cos(np.pi * k / counted.most))
        z = np.clip(z - now * mean / (np.sqrt(square) + 1e-12), 0.0, 1.0)


def _lbfgs(counted: _Counted, z: np.ndarray, rate: float, seed: int) -> None:
    from scipy.optimize import minimize

    bounds = [(0.0, 1.0)] * z.size
    minimize(counted.sloped, z, method="L-BFGS-B", jac=True, bounds=bounds, options={"maxfun": counted.most})


def _cobyqa(counted: _Counted, z: np.ndarray, rate: float, seed: int) -> None:
    from scipy.optimize import minimize

    options = {"maxfev": counted.most, "initial_tr_radius": rate, "final_tr_radius": 1e-6}
    minimize(counted.plain, z, method="COBYQA", bounds=[(0.0, 1.0)] * z.size, options=options)


def _nelder_mead(counted: _Counted, z: np.ndarray, rate: float, seed: int) -> None:
    from scipy.optimize import minimize

    corners = np.concatenate([z[None], z + rate * np.where(z > 0.5, -1.0, 1.0)[None] * np.eye(z.size)])
    options = {"maxfev": counted.most, "initial_simplex": corners, "xatol": 0.0, "fatol": 0.0, "adaptive": True}
    minimize(counted.plain, z, method="Nelder-Mead", bounds=[(0.0, 1.0)] * z.size, options=options)


def _cma(counted: _Counted, z: np.ndarray, rate: float, seed: int) -> None:
    try:
        cma = importlib.import_module("cma")
    except ImportError:
        raise InputError("method: 'cma' needs the package cma; install sciml[control], or take 'cobyqa'") from None
    options = {"bounds": [0.0, 1.0], "seed": seed + 1, "verbose": -9, "maxfevals": counted.most}
    search = cma.CMAEvolutionStrategy(z, rate, options)
    while not search.stop():
        several = search.ask()
        search.tell(several, [min(counted.plain(s), 1e30) for s in several])


METHODS: dict[str, Callable[[_Counted, np.ndarray, float, int], None]] = {
    "adam": _adam, "lbfgs": _lbfgs, "cobyqa": _cobyqa, "nelder_mead": _nelder_mead, "cma": _cma,
}  # fmt: skip


def steer(
    task: Task,
    through: Differentiable,
    method: str = "lbfgs",
    *,
    evaluations: int = 60,
    goal: float | None = None,
    rate: float = 0.1,
    seed: int = 0,
) -> Steered:
    """The best u that a method finds.

    Args:
        task: what is to be chosen.
        through: the solver that says what becomes of it, numerical or learned.
        method: "lbfgs" (L-BFGS-B) and "adam" use gradients; "cobyqa" (trust region, Ragonneau 2022), "nelder_mead" and
            "cma" (CMA-ES, Hansen 2016; needs the package cma) do not.
        evaluations: at most; one with its gradient counts as one and takes a few times as long.
        goal: J at which to stop; None to go on.
        rate: of the first steps, as a share of the span between the bounds.
        seed: of methods that draw.

    Raises:
        InputError: no such method, or a solver without gradients.
        SolverError: the solver failed at all that was tried.
    """
    if method not in METHODS:
        raise InputError(f"method: expected one of {', '.join(METHODS)}, got {method!r:.40}{suggest(method, METHODS)}")
    if not isinstance(through, Differentiable):
        raise InputError(f"through: expected a solver of particles such as MaterialPoint, got {type(through).__name__}")
    if not is_whole(evaluations) or evaluations < 1:
        raise InputError(f"evaluations: expected a whole number >= 1, got {evaluations!r:.40}")
    if not is_number(rate) or not 0 < rate <= 0.5:
        raise InputError(f"rate: expected a number in (0, 0.5], got {rate!r:.40}")
    if goal is not None and not is_number(goal):
        raise InputError(f"goal: expected a number or None, got {goal!r:.40}")
    counted = _Counted(task, through, int(evaluations), goal)
    try:
        METHODS[method](counted, (task.start - task.lower) / counted.span, float(rate), int(seed))
    except _Enough:
        pass
    best = min(counted.tried, key=lambda e: e.value)
    if not np.isfinite(best.value):
        raise SolverError(
            f"steer: {through.name} failed at all {len(counted.tried)} u that were tried, the first "
            f"{counted.tried[0].u}; solve the case of one to see why"
        )
    return Steered(best.u, best.value, tuple(counted.tried), method, goal is not None and best.value <= goal)
