"""Ice that melts: diffusion with a moving boundary at which the solution jumps."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from sciml.boundary import Conditions, Dirichlet, InTime
from sciml.expressions import Balance, Operators
from sciml.geometry import Box
from sciml.problem import Case, FieldSpec, ParameterSpec, Scales
from sciml.problems._conservation import ConservationLaw
from sciml.registry import problems

if TYPE_CHECKING:
    from sciml.problems.designs import Design


@problems.register("stefan")
class Stefan(ConservationLaw):
    """∂t u + ∂x(−k(u) ∂x u) = 0 on [0, 1] from u = 0, k = 1 where u ≥ u* and 0 elsewhere, with u(0, t) = 1.

    Exact: u = 1 − c₁ erf(x/2√t) up to the front at x = α√t, where u jumps from u* to 0; c₁ = (1 − u*)/erf z, α = 2z and
    u* z erf(z) e^(z²) = (1 − u*)/√π. The mass is 2c₁ √(t/π). The value on the right is the exact one, 0 until the
    front is there.

    The flux is stated as −∂x max(u − u*, 0), an enthalpy formulation: of all balances of this name it is the one whose
    weak solution has this front.

    Source: J. Stefan, Ann. Phys. 278, 269 (1891); D. Hansen et al., ICML (2023), §4.
    """

    name = "stefan"
    title = "Stefan problem"
    fields = (FieldSpec("u", "1", description="enthalpy", bounds=(0.0, 1.0)),)
    parameters = (
        ParameterSpec("threshold", "1", 0.6, 0.01, 0.99, description="u*, at the warm side of the front"),
        ParameterSpec("diffusivity", "m2 s-1", 1.0, 0.0, open_minimum=True, description="of what has melted"),
    )

    def geometry(self, case: Case) -> Box:
        return Box((0.0,), (1.0,))

    def boundary_conditions(self, case: Case) -> Conditions:
        right = InTime(lambda t: float(self._solution(case, np.asarray(t), np.asarray(1.0))))
        return {"x_min": {"u": Dirichlet(1.0)}, "x_max": {"u": Dirichlet(right)}}

    def equations(self, q: Any, d: Operators, theta: Any, x: Any) -> dict[str, Balance]:
        warm = d.max(q.u - theta.threshold, 0.0)
        return {"mass": Balance(storage=q.u, flux=-theta.diffusivity * d.grad(warm), unit="s-1")}

    @classmethod
    def design(cls) -> Design:
        """u* in [0.55, 0.7], times up to 0.1 s."""
        from sciml.problems.designs.ranges import Ranges

        return Ranges(cls(), {"threshold": (0.55, 0.7)}, last=0.1)

    def scales(self, case: Case) -> Scales:
        return Scales(1.0, 0.1 / case.diffusivity, {"u": 1.0})

    def front(self, case: Case) -> tuple[float, float]:
        """(α, c₁): the front is at α √(κt), and the solution behind it 1 − c₁ erf(x/2√(κt))."""
        from scipy.optimize import brentq

        threshold = case.threshold

        def gap(z: float) -> float:
            return threshold * z * math.erf(z) * math.exp(z * z) - (1 - threshold) / math.sqrt(math.pi)

        z = float(brentq(gap, 1e-6, 5.0, xtol=1e-15, rtol=1e-15))  # pyright: ignore[reportArgumentType]
        return 2 * z, (1 - threshold) / math.erf(z)

    def initial_mass(self, case: Case) -> float:
        return 0.0

    def breaks(self, case: Case) -> tuple[float, ...]:
        return (1.0 / (self.front(case)[0] ** 2 * case.diffusivity),)  # the front gets to the right end

    def ends(self, case: Case, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        _, c = self.front(case)
        x, t = np.array([[0.0], [1.0]]), case.diffusivity * times[None, :]
        values = self._solution(case, times[None, :], x)
        slopes = np.where(values > 0, -c / np.sqrt(np.pi * t) * np.exp(-(x**2) / (4 * t)), 0.0)
        return values, slopes

    def _solution(self, case: Case, t: np.ndarray, x: np.ndarray) -> np.ndarray:
        from scipy.special import erf

        alpha, c = self.front(case)
        root = np.sqrt(case.diffusivity * t)
        with np.errstate(divide="ignore", invalid="ignore"):
            inside = 1.0 - c * erf(np.where(root > 0, x / (2 * root), np.where(x > 0, np.inf, 0.0)))
        return np.where((x <= alpha * root), inside, 0.0)
