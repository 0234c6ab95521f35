"""Turbulence in the plane, driven by a force in waves and slowed down by a drag."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from sciml.boundary import Conditions, Periodic
from sciml.expressions import Balance, Operators
from sciml.geometry import Box
from sciml.problem import Case, FieldSpec, InputSpec, ParameterSpec, PDEProblem, Scales
from sciml.problems._incompressible import navier_stokes, velocity_from_streamfunction
from sciml.problems._random_flow import peaked, solenoidal
from sciml.registry import problems
from sciml.support import Grid, Support

if TYPE_CHECKING:
    from sciml.problems.designs import Design


@problems.register("kolmogorov_flow")
class KolmogorovFlow(PDEProblem):
    """∇·u = 0 and ∂t(ρu) + ∇·(ρ u⊗u + p I − μ(∇u + ∇uᵀ)) = ρ(F sin ky e_x − α u) in the periodic square
    [0, length]², k = 2π·wavenumber/length.

    It begins with a random field without divergence, its energy in shells E_s ∝ s⁴ e^(−2(s/peak)²), ½⟨|u|²⟩ =
    velocity²/2, one field for each `seed` at any resolution; or with `initial_streamfunction`. The defaults are a case
    on which learned models are often compared: F = 1, α = 0.1, ν = 10⁻³ and 4 waves of the force in a square of side
    2π. The steady flow u = F/(νk² + α) sin ky e_x is unstable there.

    Source: L. D. Meshalkin, Ya. G. Sinai, J. Appl. Math. Mech. 25, 1700 (1961), for Kolmogorov's flow; D. Kochkov,
    J. A. Smith, A. Alieva, Q. Wang, M. P. Brenner, S. Hoyer, Proc. Natl. Acad. Sci. 118, e2101784118 (2021), for the
    case.
    """

    name = "kolmogorov_flow"
    title = "Kolmogorov flow"
    dimensions = 2
    fields = (
        FieldSpec("u", "m s-1", description="velocity along x"),
        FieldSpec("v", "m s-1", description="velocity along y"),
        FieldSpec("p", "Pa", role="diagnostic", description="pressure, zero mean"),
    )
    parameters = (
        ParameterSpec("force", "m s-2", 1.0, 0.0, description="amplitude F, per mass"),
        ParameterSpec("wavenumber", "1", 4.0, 1.0, description="waves of the force across the square, a whole number"),
        ParameterSpec("drag", "s-1", 0.1, 0.0, description="α"),
        ParameterSpec("density", "kg m-3", 1.0, 0.0, open_minimum=True),
        ParameterSpec("viscosity", "Pa s", 1e-3, 0.0, open_minimum=True, description="dynamic viscosity"),
        ParameterSpec("length", "m", 2 * math.pi, 0.0, open_minimum=True, description="side of the period"),
        ParameterSpec("velocity", "m s-1", 1.0, 0.0, open_minimum=True, description="rms of |u| at first"),
        ParameterSpec("peak", "1", 4.0, 1.0, description="shell with most energy at first, in waves across the square"),
        ParameterSpec("seed", "1", 0.0, 0.0, 2.0**32, description="of the initial field, a whole number"),
    )
    inputs = (
        InputSpec("initial_streamfunction", "m2 s-1", "initial", ("y_node", "x_node"), description="ψ on cell corners"),
    )
    velocity = ("u", "v")

    def geometry(self, case: Case) -> Box:
        return Box((0.0, 0.0), (case.length, case.length), (True, True))

    def boundary_conditions(self, case: Case) -> Conditions:
        return {b: {n: Periodic() for n in ("u", "v", "p")} for b in ("x_min", "x_max", "y_min", "y_max")}

    def equations(self, q: Any, d: Operators, theta: Any, x: Any) -> dict[str, Balance]:
        k = 2 * math.pi * theta.wavenumber / theta.length
        push = theta.density * theta.force * d.sin(k * x[1])
        drag = theta.density * theta.drag
        return navier_stokes(q, d, theta, d.vector(push - drag * q.u, -1.0 * drag * q.v))

    @classmethod
    def design(cls) -> Design:
        """Random initial fields, viscosities and drags."""
        from sciml.problems.designs.kolmogorov_flow import KolmogorovFlowDesign

        return KolmogorovFlowDesign(cls())

    def scales(self, case: Case) -> Scales:
        """L = 1/k of the force, U the larger of the velocity at first and √(F L)."""
        length = case.length / (2 * math.pi * case.wavenumber)
        u = max(case.velocity, math.sqrt(case.force * length))
        fields = {"u": u, "v": u, "p": case.density * u**2}
        return Scales(length, length / u, fields, velocity=u, pressure=case.density * u**2)

    def features(self, case: Case, time: float, time_step: float) -> dict[str, float]:
        """log₁₀ of ρUL/μ and of the step in units of L/U, F L/U², α L/U, and the waves of the force."""
        s = self.scales(case)
        return {
            "log10_reynolds": math.log10(case.density * s.velocity * s.length / case.viscosity),
            "log10_step": math.log10(time_step / s.time),
            "force": case.force * s.length / s.velocity**2,
            "drag": case.drag * s.time,
            "wavenumber": case.wavenumber,
        }

    def initial_state(self, case: Case, grid: Support) -> dict[str, np.ndarray]:
        psi = case.inputs.get("initial_streamfunction")
        if isinstance(psi, np.ndarray) and isinstance(grid, Grid):
            u, v = velocity_from_streamfunction(psi, grid)
        else:
            u, v = solenoidal(peaked(case.peak, case.velocity**2 / 2), case.seed, grid, self.name)
        return {"u": u, "v": v}

    def streamfunction(self, case: Case, grid: Grid) -> np.ndarray | None:
        psi = case.inputs.get("initial_streamfunction")
        return psi if isinstance(psi, np.ndarray) else None
