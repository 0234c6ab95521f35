"""Water that runs in over a dry bed and meets a barrier."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from sciml.boundary import Conditions, Dirichlet, Outflow
from sciml.errors import InputError
from sciml.expressions import Balance, Operators
from sciml.geometry import Box, Geometry
from sciml.problem import Case, FieldSpec, ParameterSpec, PDEProblem, Profile, Scales
from sciml.problems import _two_phase
from sciml.registry import problems
from sciml.support import Grid

if TYPE_CHECKING:
    from sciml.problems.designs import Design

POOL = 0.1  # m, length of the water behind the inlet at first; the paper does not say


@problems.register("dam_flow", "dam")
class DamFlow(PDEProblem):
    """Two incompressible fluids under gravity in [0, width] × [0, height], see `two_phase` for the equations, with a
    barrier on the bed, a box of barrier_width × barrier_height whose front is at x = 0.5 m.

    Boundaries: through `inlet`, x_min up to 0.1 m, water comes in, u = velocity, v = 0, α = 1; `vent`, x_min above it,
    and x_max are open, p = 0, and air comes in where anything does; no slip on y_min, y_max and `barrier`. At first
    there is air at rest, and behind the inlet 0.1 m of water that move in.
    Reynolds number Re = ρ velocity 0.1 m / μ, of water; Froude number velocity / √(g 0.1 m).

    Source: Y. Luo, Y. Chen, Z. Zhang, CFDBench, arXiv 2310.05963 (2023), for the default case.
    """

    name = "dam_flow"
    title = "Water over a barrier"
    dimensions = 2
    fields = _two_phase.FIELDS
    parameters = (
        ParameterSpec("velocity", "m s-1", 1.0, 0.0, open_minimum=True, description="of what comes in"),
        *_two_phase.fluids(100.0, 0.1),
        ParameterSpec("barrier_height", "m", 0.1, 0.0, open_minimum=True),
        ParameterSpec("barrier_width", "m", 0.05, 0.0, open_minimum=True),
        ParameterSpec("width", "m", 1.5, 0.0, open_minimum=True),
        ParameterSpec("height", "m", 0.4, 0.0, open_minimum=True),
        ParameterSpec("gravity", "m s-2", 9.81, 0.0),
    )
    quantities = (
        FieldSpec("force_x", "N m-1", description="force on the barrier along x, per length"),
        FieldSpec("force_y", "N m-1", description="force on the barrier along y, per length, from above"),
    )
    velocity, phase = ("u", "v"), "alpha"
    symmetries = ()
    inlet_height, front = 0.1, 0.5  # m, of what comes in, and where the barrier begins

    def case(self, label: str = "", subset: str = "", **values: Any) -> Case:
        """One member of the family.

        Raises:
            InputError: as `Problem.case`, or a barrier that leaves no way.
        """
        case = super().case(label, subset, **values)
        self.geometry(case)
        return case

    def geometry(self, case: Case) -> Geometry:
        top, back = case.barrier_height, self.front + case.barrier_width
        if not (case.height > max(top, self.inlet_height) and case.width > back):
            raise InputError(
                f"{self.name}: expected height above the inlet ({self.inlet_height:g}) and the barrier ({top:g}), "
                f"and width beyond the barrier ({back:g}), got {case.height:g} and {case.width:g}"
            )
        sections = {"x_min": {"inlet": (0.0, self.inlet_height), "vent": (self.inlet_height, case.height)}}
        box = Box((0.0, 0.0), (case.width, case.height), sections=sections)
        return box.without(Box((self.front, 0.0), (back, top)), "barrier")

    def boundary_conditions(self, case: Case) -> Conditions:
        rest = {"u": Dirichlet(0.0), "v": Dirichlet(0.0)}
        inlet = {"u": Dirichlet(case.velocity), "v": Dirichlet(0.0), "alpha": Dirichlet(1.0)}
        outside = {"u": Outflow(), "v": Outflow(), "alpha": Outflow(), "p": Dirichlet(0.0)}
        return {"inlet": inlet, "vent": outside, "x_max": outside, "y_min": rest, "y_max": rest, "barrier": rest}

    def equations(self, q: Any, d: Operators, theta: Any, x: Any) -> dict[str, Balance]:
        return _two_phase.two_phase(q, d, theta, theta.gravity)

    def reynolds(self, case: Case) -> float:
        """Re = ρ U h / μ, of water and the height of the inlet."""
        return case.density * case.velocity * self.inlet_height / case.viscosity

    def froude(self, case: Case) -> float:
        """U / √(g h), with the height of the inlet."""
        return case.velocity / math.sqrt(max(case.gravity, 1e-30) * self.inlet_height)

    def shown(self, case: Case) -> dict[str, float]:
        return {
            "Reynolds number": self.reynolds(case),
            "Froude number": self.froude(case),
            "barrier height / inlet height": case.barrier_height / self.inlet_height,
            "density of water / of air": case.density / case.air_density,
        }

    def profiles(self, case: Case) -> tuple[Profile, ...]:
        """How high water stands before, above and behind the barrier."""
        places = {
            "before the barrier": self.front - self.inlet_height,
            "above the barrier": self.front + case.barrier_width / 2,
            "behind the barrier": self.front + case.barrier_width + self.inlet_height,
        }
        return tuple(
            Profile(f"α, {words}", "alpha", 1, (x, case.height / 2)) for words, x in places.items() if x < case.width
        )

    @classmethod
    def design(cls) -> Design:
        from sciml.problems.designs.dam_flow import DamDesign

        return DamDesign()

    def scales(self, case: Case) -> Scales:
        speed = max(case.velocity, math.sqrt(case.gravity * self.inlet_height))
        pressure = case.density * speed**2
        fields = {"u": speed, "v": speed, "alpha": 1.0, "p": pressure}
        return Scales(self.inlet_height, self.inlet_height / speed, fields, velocity=speed, pressure=pressure)

    def features(self, case: Case, time: float, time_step: float) -> dict[str, float]:
        """log₁₀ of Re, of Fr, of the densities' and viscosities' ratios and of the step in units of h/U; the barrier
        over the height h of the inlet."""
        return {
            "log10_reynolds": math.log10(self.reynolds(case)),
            "log10_froude": math.log10(self.froude(case)),
            "log10_density_ratio": math.log10(case.density / case.air_density),
            "log10_viscosity_ratio": math.log10(case.viscosity / case.air_viscosity),
            "log10_step": math.log10(time_step / self.scales(case).time),
            "barrier_height_over_inlet": case.barrier_height / self.inlet_height,
            "barrier_width_over_inlet": case.barrier_width / self.inlet_height,
        }

    def initial_state(self, case: Case, grid: Grid) -> dict[str, np.ndarray]:
        """Shares of cells that the water behind the inlet fills."""
        over = [
            np.clip((end - faces[:-1]) / np.diff(faces), 0, 1)
            for faces, end in zip(grid.faces, (POOL, self.inlet_height), strict=True)
        ]
        alpha = over[1][:, None] * over[0][None, :]
        return {"u": case.velocity * alpha, "v": np.zeros(grid.shape), "alpha": alpha}
