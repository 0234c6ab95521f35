"""Water that enters a tube of air."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from sciml.boundary import Conditions, Dirichlet, Outflow
from sciml.expressions import Balance, Operators
from sciml.geometry import Box
from sciml.problem import Case, ParameterSpec, PDEProblem, Profile, Scales
from sciml.problems import _two_phase
from sciml.registry import problems
from sciml.support import Grid
from sciml.symmetry import Symmetry

if TYPE_CHECKING:
    from sciml.problems.designs import Design


@problems.register("tube_flow", "tube")
class TubeFlow(PDEProblem):
    """Two incompressible fluids in a plane channel [0, length] × [0, diameter], see `two_phase` for the equations;
    there is no gravity.

    Boundaries: through x_min water comes in, u = inlet_velocity, v = 0, α = 1; x_max is open, p = 0; no slip on y_min
    and y_max. At first there is air all over, which moves as what comes in: u = inlet_velocity.
    Reynolds number Re = ρ inlet_velocity diameter / μ, of water.

    Source: Y. Luo, Y. Chen, Z. Zhang, CFDBench, arXiv 2310.05963 (2023), for the default case.
    """

    name = "tube_flow"
    title = "Water entering a tube"
    dimensions = 2
    fields = _two_phase.FIELDS
    parameters = (
        ParameterSpec("inlet_velocity", "m s-1", 1.0, 0.0, open_minimum=True),
        *_two_phase.fluids(100.0, 0.1),
        ParameterSpec("length", "m", 1.0, 0.0, open_minimum=True),
        ParameterSpec("diameter", "m", 0.1, 0.0, open_minimum=True),
    )
    velocity, phase = ("u", "v"), "alpha"
    symmetries = (Symmetry("mirror", lambda case: case, flip=("y",), odd=("v",)),)

    def geometry(self, case: Case) -> Box:
        return Box((0.0, 0.0), (case.length, case.diameter))

    def boundary_conditions(self, case: Case) -> Conditions:
        rest = {"u": Dirichlet(0.0), "v": Dirichlet(0.0)}
        inlet = {"u": Dirichlet(case.inlet_velocity), "v": Dirichlet(0.0), "alpha": Dirichlet(1.0)}
        outlet = {"u": Outflow(), "v": Outflow(), "alpha": Outflow(), "p": Dirichlet(0.0)}
        return {"x_min": inlet, "x_max": outlet, "y_min": rest, "y_max": rest}

    def equations(self, q: Any, d: Operators, theta: Any, x: Any) -> dict[str, Balance]:
        return _two_phase.two_phase(q, d, theta)

    def reynolds(self, case: Case) -> float:
        """Re = ρ U d / μ, of water."""
        return case.density * case.inlet_velocity * case.diameter / case.viscosity

    def shown(self, case: Case) -> dict[str, float]:
        return {
            "Reynolds number": self.reynolds(case),
            "length / diameter": case.length / case.diameter,
            "density of water / of air": case.density / case.air_density,
        }

    def profiles(self, case: Case) -> tuple[Profile, ...]:
        """Across the tube a quarter, a half and all of the way along it, and along its axis."""
        middle = case.diameter / 2
        across = [
            Profile(f"u, {words}", "u", 1, (share * case.length, middle))
            for share, words in ((0.25, "a quarter along"), (0.5, "half-way along"), (1.0, "at the outlet"))
        ]
        return (*across, Profile("α on the axis", "alpha", 0, (0.0, middle)))

    @classmethod
    def design(cls) -> Design:
        from sciml.problems.designs.tube_flow import TubeDesign

        return TubeDesign()

    def scales(self, case: Case) -> Scales:
        speed, length = case.inlet_velocity, case.diameter
        pressure = max(case.density * speed**2, case.viscosity * speed / length)
        fields = {"u": speed, "v": speed, "alpha": 1.0, "p": pressure}
        return Scales(length, length / speed, fields, velocity=speed, pressure=pressure)

    def features(self, case: Case, time: float, time_step: float) -> dict[str, float]:
        """log₁₀ of Re, of the densities' and viscosities' ratios, of the step in units of L/U (the share of the tube
        that is crossed in it) and of the length L in diameters."""
        return {
            "log10_reynolds": math.log10(self.reynolds(case)),
            "log10_density_ratio": math.log10(case.density / case.air_density),
            "log10_viscosity_ratio": math.log10(case.viscosity / case.air_viscosity),
            "log10_step": math.log10(time_step * case.inlet_velocity / case.length),
            "log10_length_over_diameter": math.log10(case.length / case.diameter),
        }

    def initial_state(self, case: Case, grid: Grid) -> dict[str, np.ndarray]:
        zero = np.zeros(grid.shape)
        return {"u": zero + case.inlet_velocity, "v": zero, "alpha": zero.copy()}
