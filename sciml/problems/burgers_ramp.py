"""A ramp that steepens into a shock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sciml.boundary import Conditions, Dirichlet, Outflow
from sciml.expressions import Balance, Operators
from sciml.geometry import Box
from sciml.problem import Case, FieldSpec, ParameterSpec, Scales
from sciml.problems._conservation import ConservationLaw
from sciml.registry import problems
from sciml.support import Grid, Support

if TYPE_CHECKING:
    from sciml.problems.designs import Design


@problems.register("burgers_ramp")
class BurgersRamp(ConservationLaw):
    """∂t u + ∂x(u²/2) = 0 on [−1, 1] without viscosity, u(x, 0) = −a x on the left of 0 and 0 beyond, u(−1, t) = a.

    Exact: until t = 1/a the ramp u = −a x/(1 − at) between x = at − 1 and 0, behind it a; then a shock of height a at
    x = (at − 1)/2. The mass (a/2)(1 + at) grows until the shock leaves, at t = 3/a.

    Source: D. Hansen et al., "Learning physical models that can respect conservation laws", ICML (2023), §4.
    """

    name = "burgers_ramp"
    title = "Burgers equation, ramp and shock"
    fields = (FieldSpec("u", "m s-1", description="velocity"),)
    jumps = True
    parameters = (ParameterSpec("height", "m s-1", 1.0, 0.0, open_minimum=True, description="a"),)

    def geometry(self, case: Case) -> Box:
        return Box((-1.0,), (1.0,))

    def boundary_conditions(self, case: Case) -> Conditions:
        return {"x_min": {"u": Dirichlet(case.height)}, "x_max": {"u": Outflow()}}

    def equations(self, q: Any, d: Operators, theta: Any, x: Any) -> dict[str, Balance]:
        return {"momentum": Balance(storage=q.u, flux=d.vector(q.u**2 / 2), unit="m s-2")}

    @classmethod
    def design(cls) -> Design:
        """a in [1, 4], times up to 1 s."""
        from sciml.problems.designs.ranges import Ranges

        return Ranges(cls(), {"height": (1.0, 4.0)}, last=1.0)

    def scales(self, case: Case) -> Scales:
        return Scales(2.0, 1.0 / case.height, {"u": case.height}, velocity=case.height)

    def initial_mass(self, case: Case) -> float:
        return case.height / 2

    def breaks(self, case: Case) -> tuple[float, ...]:
        return (3.0 / case.height,)  # the shock leaves

    def ends(self, case: Case, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values = self._solution(case, times[None, :], np.array([[-1.0], [1.0]]))
        return values, np.zeros_like(values)  # slopes do not pass anything here

    def initial_state(self, case: Case, grid: Support) -> dict[str, np.ndarray]:
        """On the cells of a grid the means."""
        if not isinstance(grid, Grid):
            return super().initial_state(case, grid)
        area = -case.height / 2 * np.minimum(grid.faces[0], 0.0) ** 2
        return {"u": np.diff(area) / grid.widths[0]}

    def _solution(self, case: Case, t: np.ndarray, x: np.ndarray) -> np.ndarray:
        a = case.height
        with np.errstate(divide="ignore", invalid="ignore"):
            ramp = np.clip(-a * x / (1 - a * t), 0.0, a)
        shock = np.where(x <= (a * t - 1) / 2, a, 0.0)
        return np.where(a * t < 1, ramp, shock)
