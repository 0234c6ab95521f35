"""Gas that soaks into a porous medium: diffusion that vanishes where nothing is yet."""

from __future__ import annotations

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


@problems.register("porous_medium")
class PorousMedium(ConservationLaw):
    """∂t u + ∂x(−uᵐ ∂x u) = 0 on [0, 1] from u = 0, with u(0, t) = (mt)^(1/m).

    Exact: u = (m (t − x)₊)^(1/m), a front that runs in at speed 1 and is the steeper the larger m. The mass
    m^(1 + 1/m) t^(1 + 1/m)/(m + 1) has come in on the left. Until t = 1 there is nothing on the right, and then what
    the exact solution says.

    The flux is stated as −∂x u^(m + 1)/(m + 1): so written finite volumes are monotone, and their front does not stick
    in the first empty cell, as it does where uᵐ is taken between cells.

    Source: J. L. Vázquez, The Porous Medium Equation (2007), §4.3; D. C. Maddix, L. Sampaio, M. Gerritsen, J. Comput.
    Phys. 361, 280 (2018), for the artefacts of the other form.
    """

    name = "porous_medium"
    title = "Porous medium equation"
    fields = (FieldSpec("u", "1", description="density", bounds=(0.0, np.inf)),)
    parameters = (ParameterSpec("exponent", "1", 1.0, 1.0, description="m"),)

    def geometry(self, case: Case) -> Box:
        return Box((0.0,), (1.0,))

    def boundary_conditions(self, case: Case) -> Conditions:
        def end(x: float) -> Dirichlet:
            return Dirichlet(InTime(lambda t: float(self._solution(case, np.asarray(t), np.asarray(x)))))

        return {"x_min": {"u": end(0.0)}, "x_max": {"u": end(1.0)}}

    def equations(self, q: Any, d: Operators, theta: Any, x: Any) -> dict[str, Balance]:
        power = theta.exponent + 1.0
        return {"mass": Balance(storage=q.u, flux=-1.0 / power * d.grad(d.max(q.u, 0.0) ** power), unit="s-1")}

    @classmethod
    def design(cls) -> Design:
        """m in [1, 6], times up to 1 s."""
        from sciml.problems.designs.ranges import Ranges

        return Ranges(cls(), {"exponent": (1.0, 6.0)}, last=1.0)

    def scales(self, case: Case) -> Scales:
        return Scales(1.0, 1.0, {"u": case.exponent ** (1 / case.exponent)})

    def initial_mass(self, case: Case) -> float:
        return 0.0

    def breaks(self, case: Case) -> tuple[float, ...]:
        return (1.0,)  # the front gets to the right end

    def ends(self, case: Case, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        m = case.exponent
        values = self._solution(case, times[None, :], np.array([[0.0], [1.0]]))
        with np.errstate(divide="ignore"):
            slopes = np.where(values > 0, -(values ** (1 - m)), 0.0)
        return values, slopes

    def _solution(self, case: Case, t: np.ndarray, x: np.ndarray) -> np.ndarray:
        return (case.exponent * np.maximum(t - x, 0.0)) ** (1 / case.exponent)
