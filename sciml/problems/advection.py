"""Transport at a constant speed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from sciml.boundary import Conditions, Periodic
from sciml.errors import InputError
from sciml.expressions import Balance, Operators
from sciml.geometry import Box
from sciml.problem import Case, FieldSpec, InputSpec, Invariant, ParameterSpec, PDEProblem, Scales
from sciml.registry import problems
from sciml.support import Grid, Support

if TYPE_CHECKING:
    from sciml.problems.designs import Design


@problems.register("advection")
class Advection(PDEProblem):
    """∂t u + ∂x(c u) = 0 on the periodic interval [0, length], u(x, 0) = A sin(2πx/length) by default.

    Exact: u(x, t) = u(x − ct, 0). With length = 2π and c = 30, 50 or 80 it is the usual test of physics-informed
    networks, which forget the initial state at large c.

    Source: A. S. Krishnapriyan et al., NeurIPS 34 (2021), §3.
    """

    name = "advection"
    title = "Advection equation"
    dimensions = 1
    fields = (FieldSpec("u", "1", description="concentration"),)
    parameters = (
        ParameterSpec("speed", "m s-1", 1.0, description="c"),
        ParameterSpec("amplitude", "1", 1.0, description="A"),
        ParameterSpec("length", "m", 1.0, 0.0, open_minimum=True, description="period"),
    )
    inputs = (InputSpec("initial_concentration", "1", "initial", ("x",), description="u(x, 0) on cells"),)
    invariants = (Invariant("mass", "u", "m"),)

    def geometry(self, case: Case) -> Box:
        return Box((0.0,), (case.length,), (True,))

    def boundary_conditions(self, case: Case) -> Conditions:
        return {b: {"u": Periodic()} for b in ("x_min", "x_max")}

    def equations(self, q: Any, d: Operators, theta: Any, x: Any) -> dict[str, Balance]:
        return {"mass": Balance(storage=q.u, flux=d.vector(theta.speed * q.u), unit="s-1")}

    @classmethod
    def design(cls) -> Design:
        from sciml.problems.designs.advection import AdvectionDesign

        return AdvectionDesign(cls())

    def scales(self, case: Case) -> Scales:
        """The time in which the waves cross the period once; at rest 1 s."""
        speed = abs(case.speed)
        return Scales(
            case.length, case.length / speed if speed else 1.0, {"u": abs(case.amplitude) or 1.0}, velocity=speed or 1.0
        )

    def features(self, case: Case, time: float, time_step: float) -> dict[str, float]:
        """Periods crossed within the step, and whether the waves go left or right."""
        return {"crossed": abs(case.speed) * time_step / case.length, "direction": float(np.sign(case.speed))}

    def initial_state(self, case: Case, grid: Support) -> dict[str, np.ndarray]:
        x = grid.points()[..., 0]
        if "initial_concentration" not in case.inputs:
            return {"u": case.amplitude * np.sin(2 * math.pi * x / case.length)}
        if isinstance(grid, Grid):
            return {"u": case.input_on("initial_concentration", grid)}
        given = np.asarray(case.inputs["initial_concentration"])
        centres = case.length * (np.arange(len(given)) + 0.5) / len(given)
        return {"u": np.interp(x, centres, given, period=case.length)}

    def exact(self, case: Case, times: Any, coords: tuple[np.ndarray, ...]) -> dict[str, np.ndarray]:
        if case.inputs:
            raise InputError(f"{self.name}: an exact solution is known for the default initial state")
        t = np.atleast_1d(np.asarray(times, dtype=np.float64))[:, None]
        x = np.asarray(coords[0], dtype=np.float64)[None, :]
        return {"u": case.amplitude * np.sin(2 * math.pi * (x - case.speed * t) / case.length)}
