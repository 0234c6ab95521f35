"""A step that is carried along, with more coming in behind it."""

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

PLACE = 0.5  # of the step at the start, m


@problems.register("step_transport")
class StepTransport(ConservationLaw):
    """∂t u + ∂x(a u) = 0 on [0, 1], u = 1 on the left of x = ½ at the start and u(0, t) = 1; out on the right.

    Exact: u = 1 where x − at ≤ ½, else 0. The mass ½ + min(at, ½) grows until the step leaves.

    Source: D. Hansen et al., "Learning physical models that can respect conservation laws", ICML (2023), §4.
    """

    name = "step_transport"
    title = "Transport of a step"
    fields = (FieldSpec("u", "1", description="concentration", bounds=(0.0, 1.0)),)
    jumps = True
    parameters = (ParameterSpec("speed", "m s-1", 1.0, 0.0, open_minimum=True, description="a"),)

    def geometry(self, case: Case) -> Box:
        return Box((0.0,), (1.0,))

    def boundary_conditions(self, case: Case) -> Conditions:
        return {"x_min": {"u": Dirichlet(1.0)}, "x_max": {"u": Outflow()}}

    def equations(self, q: Any, d: Operators, theta: Any, x: Any) -> dict[str, Balance]:
        return {"mass": Balance(storage=q.u, flux=d.vector(theta.speed * q.u), unit="s-1")}

    @classmethod
    def design(cls) -> Design:
        """a in [1, 5], times up to 1 s."""
        from sciml.problems.designs.ranges import Ranges

        return Ranges(cls(), {"speed": (1.0, 5.0)}, last=1.0)

    def scales(self, case: Case) -> Scales:
        return Scales(1.0, 1.0 / case.speed, {"u": 1.0}, velocity=case.speed)

    def initial_mass(self, case: Case) -> float:
        return PLACE

    def breaks(self, case: Case) -> tuple[float, ...]:
        return ((1.0 - PLACE) / case.speed,)  # the step leaves

    def ends(self, case: Case, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values = self._solution(case, times[None, :], np.array([[0.0], [1.0]]))
        return values, np.zeros_like(values)

    def initial_state(self, case: Case, grid: Support) -> dict[str, np.ndarray]:
        """On the cells of a grid the means."""
        if not isinstance(grid, Grid):
            return super().initial_state(case, grid)
        (faces,), (widths,) = grid.faces, grid.widths
        return {"u": np.clip((PLACE - faces[:-1]) / widths, 0.0, 1.0)}

    def _solution(self, case: Case, t: np.ndarray, x: np.ndarray) -> np.ndarray:
        return np.where(x - case.speed * t <= PLACE, 1.0, 0.0)
