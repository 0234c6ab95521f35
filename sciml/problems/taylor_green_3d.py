"""The three-dimensional Taylor-Green vortices, which break down into turbulence."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from sciml.boundary import Conditions, Periodic
from sciml.errors import InputError
from sciml.expressions import Balance, Operators
from sciml.geometry import Box
from sciml.problem import Case, FieldSpec, Invariant, ParameterSpec, PDEProblem, Scales
from sciml.problems._incompressible import navier_stokes
from sciml.registry import problems
from sciml.support import Support
from sciml.symmetry import Symmetry

if TYPE_CHECKING:
    from sciml.problems.designs import Design


def _same(case: Case) -> Case:
    return case


@problems.register("taylor_green_3d")
class TaylorGreen3D(PDEProblem):
    """∇·u = 0 and ∂t(ρu) + ∇·(ρ u⊗u + p I − μ(∇u + ∇uᵀ)) = 0 in the periodic cube [0, length]³, k = 2π/length, from

    u = U sin kx cos ky cos kz,  v = −U cos kx sin ky cos kz,  w = 0.

    Re = ρU/(kμ). The initial energy ½⟨|u|²⟩ is U²/8 and the initial enstrophy ½⟨|ω|²⟩ is 3k²U²/8. From Re of some
    hundreds on the vortices stretch and tear into small scales; at Re 1600 the dissipation is greatest near t = 9/(kU).
    No exact solution is known after the start.

    Source: G. I. Taylor, A. E. Green, Proc. R. Soc. A 158, 499 (1937); M. E. Brachet, D. I. Meiron, S. A. Orszag, B. G.
    Nickel, R. H. Morf, U. Frisch, J. Fluid Mech. 130, 411 (1983), for what becomes of it.
    """

    name = "taylor_green_3d"
    title = "Taylor-Green vortices in three dimensions"
    dimensions = 3
    fields = (
        FieldSpec("u", "m s-1", description="velocity along x"),
        FieldSpec("v", "m s-1", description="velocity along y"),
        FieldSpec("w", "m s-1", description="velocity along z"),
        FieldSpec("p", "Pa", role="diagnostic", description="pressure, zero mean"),
    )
    parameters = (
        ParameterSpec("velocity", "m s-1", 1.0, 0.0, open_minimum=True, description="amplitude U"),
        ParameterSpec("density", "kg m-3", 1.0, 0.0, open_minimum=True),
        ParameterSpec("viscosity", "Pa s", 1 / 1600, 0.0, open_minimum=True, description="dynamic viscosity"),
        ParameterSpec("length", "m", 2 * math.pi, 0.0, open_minimum=True, description="side of the period"),
    )
    velocity = ("u", "v", "w")
    invariants = tuple(Invariant(f"momentum along {a}", n, "m4 s-1") for a, n in zip("xyz", "uvw", strict=True))
    symmetries = tuple(
        Symmetry(f"mirror along {a}", _same, flip=(a,), odd=(n,)) for a, n in zip("xyz", "uvw", strict=True)
    )

    def at_reynolds(self, reynolds: float, **values: Any) -> Case:
        """The case with this Re = ρU/(kμ) by its viscosity, 1600 in the usual benchmark.

        Args:
            values: what `case` takes, but for the viscosity.
        Raises:
            InputError: no number > 0, or a viscosity beside it.
        """
        if "viscosity" in values:
            raise InputError(f"{self.name}: at_reynolds: the viscosity follows from the Reynolds number, got both")
        try:
            number = float(reynolds)
        except (TypeError, ValueError):
            number = math.nan
        if not (math.isfinite(number) and number > 0):
            raise InputError(f"{self.name}: reynolds: expected a number > 0, got {reynolds!r}")
        case = self.case(**values)
        viscosity = case.density * case.velocity * case.length / (2 * math.pi * number)
        return self.case(**values, viscosity=viscosity)

    def geometry(self, case: Case) -> Box:
        return Box((0.0,) * 3, (case.length,) * 3, (True,) * 3)

    def boundary_conditions(self, case: Case) -> Conditions:
        return {f"{a}_{end}": {n: Periodic() for n in ("u", "v", "w", "p")} for a in "xyz" for end in ("min", "max")}

    def equations(self, q: Any, d: Operators, theta: Any, x: Any) -> dict[str, Balance]:
        return navier_stokes(q, d, theta)

    @classmethod
    def design(cls) -> Design:
        """Re between 50 and 400, frames to t = 10/(kU)."""
        from sciml.problems.designs.taylor_green_3d import TaylorGreen3DDesign

        return TaylorGreen3DDesign(cls())

    def scales(self, case: Case) -> Scales:
        u, length = case.velocity, case.length / (2 * math.pi)
        fields = {"u": u, "v": u, "w": u, "p": case.density * u**2}
        return Scales(length, length / u, fields, velocity=u, pressure=case.density * u**2)

    def reynolds(self, case: Case) -> float:
        """Re = ρUL/μ with L = length/2π."""
        return case.density * case.velocity * self.scales(case).length / case.viscosity

    def features(self, case: Case, time: float, time_step: float) -> dict[str, float]:
        """log₁₀ of ρUL/μ and of the step in units of L/U."""
        return {
            "log10_reynolds": math.log10(self.reynolds(case)),
            "log10_step": math.log10(time_step / self.scales(case).time),
        }

    def initial_state(self, case: Case, grid: Support) -> dict[str, np.ndarray]:
        k, points = 2 * math.pi / case.length, grid.points()
        sx, sy = (np.sin(k * points[..., a]) for a in range(2))
        cx, cy, cz = (np.cos(k * points[..., a]) for a in range(3))
        return {"u": case.velocity * sx * cy * cz, "v": -case.velocity * cx * sy * cz, "w": np.zeros(sx.shape)}
