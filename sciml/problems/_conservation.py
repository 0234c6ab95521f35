"""What conservation laws on an interval share: how much there is in all, from the balance and its ends."""

from __future__ import annotations

from abc import abstractmethod
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from sciml.calculus import Derivative, expanded
from sciml.errors import InputError
from sciml.expressions import Coordinate, Expression, Field, Parameter, Time, evaluate
from sciml.problem import Case, PDEProblem
from sciml.support import Support

if TYPE_CHECKING:
    from jaxtyping import Float


class ConservationLaw(PDEProblem):
    """Abstract: ∂t u + ∂x F(u, ∂x u) = 0 on an interval, with an exact solution.

    Its mass ∫ u dx = ∫ u₀ dx + ∫₀ᵗ (F_in − F_out) dt follows from the beginning and from what passes through the ends,
    whatever happens in between.
    """

    dimensions = 1

    @abstractmethod
    def initial_mass(self, case: Case) -> float:
        """∫ u dx at the start."""

    @abstractmethod
    def ends(self, case: Case, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Values and slopes of the exact solution at both ends, each (2, T), at times > 0."""

    def end_fluxes(self, case: Case, times: Any) -> Float[np.ndarray, "2 time"]:
        """F at x_min and at x_max, along x, at times > 0: the flux of the balance at what the ends are."""
        t = np.asarray(times, dtype=np.float64)
        values, slopes = self.ends(case, t)
        (balance,) = self.balances().values()
        ((_, (flux,), _),) = balance.components()
        places = np.array(case.geometry.extents[0])

        def leaf(e: Expression) -> Any:
            match e:
                case Field():
                    return values
                case Derivative(_, (1, 0)):
                    return slopes
                case Parameter(name):
                    return case.parameters[name]
                case Coordinate():
                    return places[:, None]
                case Time():
                    return t
            raise TypeError(f"unknown leaf {e!r}")

        from sciml.derivatives.numpy import backend

        found = evaluate(expanded(flux, 1), leaf, leaf, backend.functions, {})
        return np.broadcast_to(np.asarray(found, dtype=np.float64), values.shape)

    def mass(self, case: Case, times: Any) -> Float[np.ndarray, " time"]:
        """∫ u dx at `times`, from the balance: what was there, and what has come in less what has gone out.

        The integral over time is taken by double-exponential quadrature between the times at which the fluxes jump, so
        that fluxes may be singular at the start, as t^(−1/2) and t^(1/m) are; to about 1e-13 of what has passed.

        Raises:
            InputError: times before 0.
        """
        times = np.atleast_1d(np.asarray(times, dtype=np.float64))
        if times.size and not times.min() >= 0:
            raise InputError(f"{self.name}: times: expected times from 0 on, got {times.min():g}")
        knots = np.unique(
            np.concatenate([[0.0], times, [b for b in self.breaks(case) if 0 < b < times.max(initial=0)]])
        )
        passed = np.zeros(len(knots))
        for k, (start, end) in enumerate(pairwise(knots)):
            points, weights = _double_exponential(start, end)
            entering, leaving = self.end_fluxes(case, points)
            passed[k + 1] = weights @ (entering - leaving)
        return self.initial_mass(case) + np.cumsum(passed)[np.searchsorted(knots, times)]

    def initial_state(self, case: Case, grid: Support) -> dict[str, np.ndarray]:
        return {"u": self.exact(case, np.zeros(1), (grid.points()[..., 0],))["u"][0]}

    def exact(self, case: Case, times: Any, coords: tuple[np.ndarray, ...]) -> dict[str, np.ndarray]:
        t = np.atleast_1d(np.asarray(times, dtype=np.float64))
        if t.size and not t.min() >= 0:
            raise InputError(f"{self.name}: the exact solution is known from time 0 on, got {t.min():g} s")
        return {"u": self._solution(case, t[:, None], np.asarray(coords[0], dtype=np.float64)[None, :])}

    @abstractmethod
    def _solution(self, case: Case, t: np.ndarray, x: np.ndarray) -> np.ndarray:
        """u at times (T, 1) ≥ 0 and places (1, N)."""


def _double_exponential(start: float, end: float, step: float = 1 / 16) -> tuple[np.ndarray, np.ndarray]:
    """Points and weights of ∫ f dt with t = start + (end − start)/(1 + e^(−π sinh s)): f may be singular at `start`.

    Source: H. Takahasi, M. Mori, Publ. RIMS 9, 721 (1974).
    """
    s = np.arange(-4.6, 3.4 + step / 2, step)
    share = 1 / (1 + np.exp(-np.pi * np.sinh(s)))
    rest = 1 / (1 + np.exp(np.pi * np.sinh(s)))
    return start + (end - start) * share, (end - start) * step * np.pi * np.cosh(s) * share * rest
