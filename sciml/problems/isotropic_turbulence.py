"""Isotropic turbulence in a periodic cube, decaying or kept up by a force."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from sciml.boundary import Conditions, Periodic
from sciml.expressions import Balance, Operators
from sciml.geometry import Box
from sciml.problem import Case, FieldSpec, InputSpec, Invariant, ParameterSpec, PDEProblem, Scales
from sciml.problems._incompressible import navier_stokes
from sciml.problems._random_flow import peaked, solenoidal
from sciml.registry import problems
from sciml.support import Support

if TYPE_CHECKING:
    from sciml.problems.designs import Design


@problems.register("isotropic_turbulence")
class IsotropicTurbulence(PDEProblem):
    """∇·u = 0 and ∂t(ρu) + ∇·(ρ u⊗u + p I − μ(∇u + ∇uᵀ)) = ρ A u in the periodic cube [0, length]³.

    It begins with a random field without divergence whose waves have random phases, and whose energy in each shell of
    wave numbers is given: `initial_spectrum`, else E_s ∝ s⁴ e^(−2(s/peak)²) with ½⟨|u|²⟩ = 3/2 velocity². A `seed` is
    one field at any resolution (`sciml.problems._random_flow`). Such a field has no transfer of energy between scales
    yet; that builds up within about one turn-over of the large eddies.

    The force ρ A u is the one that keeps turbulence up and can be stated as a balance in space: no shell of waves has
    to be singled out, no direction is preferred, as it would be by a force of few fixed waves, and an audit that knows
    the balance alone sees nothing else. It feeds 3 A u'² into the flow; once that is what the viscosity takes, the
    scale ⟨u'³⟩/ε of the eddies is about 0.19 of the length of the cube. With A = 0 the turbulence decays.

    Source: T. S. Lundgren, Annual Research Briefs, Center for Turbulence Research, 461 (2003), for the force;
    C. Rosales, C. Meneveau, Phys. Fluids 17, 095106 (2005), for what it leads to.
    """

    name = "isotropic_turbulence"
    title = "Isotropic turbulence"
    dimensions = 3
    fields = (
        FieldSpec("u", "m s-1", description="velocity along x"),
        FieldSpec("v", "m s-1", description="velocity along y"),
        FieldSpec("w", "m s-1", description="velocity along z"),
        FieldSpec("p", "Pa", role="diagnostic", description="pressure, zero mean"),
    )
    parameters = (
        ParameterSpec("velocity", "m s-1", 1.0, 0.0, open_minimum=True, description="rms u' of a component at first"),
        ParameterSpec("peak", "1", 3.0, 1.0, description="shell with most energy at first, in waves across the cube"),
        ParameterSpec("density", "kg m-3", 1.0, 0.0, open_minimum=True),
        ParameterSpec("viscosity", "Pa s", 1e-2, 0.0, open_minimum=True, description="dynamic viscosity"),
        ParameterSpec("length", "m", 2 * math.pi, 0.0, open_minimum=True, description="side of the period"),
        ParameterSpec("forcing", "s-1", 0.0, 0.0, description="A of the force ρ A u"),
        ParameterSpec("seed", "1", 0.0, 0.0, 2.0**32, description="of the initial field, a whole number"),
    )
    inputs = (
        InputSpec("initial_spectrum", "m2 s-2", "initial", ("shell",), description="energy of the shells 1, 2, ..."),
    )
    velocity = ("u", "v", "w")

    #: a force in proportion to a velocity without a mean has none
    invariants = tuple(Invariant(f"momentum along {a}", n, "m4 s-1") for a, n in zip("xyz", "uvw", strict=True))

    def geometry(self, case: Case) -> Box:
        return Box((0.0,) * 3, (case.length,) * 3, (True,) * 3)

    def boundary_conditions(self, case: Case) -> Conditions:
        return {f"{a}_{end}": {n: Periodic() for n in ("u", "v", "w", "p")} for a in "xyz" for end in ("min", "max")}

    def equations(self, q: Any, d: Operators, theta: Any, x: Any) -> dict[str, Balance]:
        force = theta.density * theta.forcing * d.vector(q.u, q.v, q.w)
        return navier_stokes(q, d, theta, force)

    @classmethod
    def design(cls) -> Design:
        """Decaying and forced fields of random seeds."""
        from sciml.problems.designs.isotropic_turbulence import IsotropicTurbulenceDesign

        return IsotropicTurbulenceDesign(cls())

    def spectrum(self, case: Case) -> np.ndarray:
        """(S,) energies of the shells 1, 2, ... at first."""
        given = case.inputs.get("initial_spectrum")
        if isinstance(given, np.ndarray):
            return given
        return peaked(case.peak, 1.5 * case.velocity**2)

    def scales(self, case: Case) -> Scales:
        """u' = √(⅔ Σ E) and the integral length L = π/(2u'²) Σ E/k of the initial spectrum."""
        energies = self.spectrum(case)
        k = 2 * math.pi / case.length * np.arange(1, len(energies) + 1)
        u = math.sqrt(2 / 3 * float(energies.sum())) or case.velocity
        length = math.pi / (2 * u**2) * float((energies / k).sum()) or case.length
        fields = {"u": u, "v": u, "w": u, "p": case.density * u**2}
        return Scales(length, length / u, fields, velocity=u, pressure=case.density * u**2)

    def features(self, case: Case, time: float, time_step: float) -> dict[str, float]:
        """log₁₀ of ρu'L/μ and of the step in units of L/u', and A L/u'."""
        s = self.scales(case)
        reynolds = case.density * s.velocity * s.length / case.viscosity
        return {
            "log10_reynolds": math.log10(reynolds),
            "log10_step": math.log10(time_step / s.time),
            "forcing": case.forcing * s.time,
        }

    def initial_state(self, case: Case, grid: Support) -> dict[str, np.ndarray]:
        fields = solenoidal(self.spectrum(case), case.seed, grid, self.name)
        return dict(zip(("u", "v", "w"), fields, strict=True))
