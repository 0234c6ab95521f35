"""A solute that diffuses through ground water and is held back by the grains of the soil."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from sciml.boundary import Conditions, Dirichlet, Robin
from sciml.expressions import Balance, Operators
from sciml.geometry import Box
from sciml.problem import Case, FieldSpec, InputSpec, ParameterSpec, PDEProblem, Scales
from sciml.registry import problems
from sciml.support import Grid, Support

if TYPE_CHECKING:
    from sciml.problems.designs import Design


@problems.register("diffusion_sorption")
class DiffusionSorption(PDEProblem):
    """∂t S(u) + ∂x(−D ∂x u) = 0 on [0, 1], S(u) = u + (1 − φ)/φ ρ k uⁿ: what is dissolved and what is sorbed.

    S′ is the retardation factor R(u) = 1 + (1 − φ)/φ ρ k n uⁿ⁻¹, so that this is u_t = D/R(u) u_xx, kept in the form
    that conserves. u = `inflow` on x_min and u + D ∂u/∂n = 0 on x_max; u(x, 0) is the parameter `initial`, or the input
    `initial_concentration`.

    R grows without bound as u → 0, and R′ faster still. uⁿ stands for u (u² + ε²)^((n − 1)/2), ε being `smoothing`: an
    odd and smooth function that differs from it by a share of (1 − n)/2 (ε/u)², so that values about 0, which a
    combination of functions may take, have a residual that can be minimised. The published data have
    R(u + 10⁻⁶) instead.

    The published text writes u = D ∂x u on x_max. With that sign a layer of thickness D would grow at the rate 1/(D R),
    e²⁰⁰⁰ᵗᐟᴿ; the published data are those of u = −D ∂x u, a solute that leaves, as is solved here.

    Source: M. Takamoto, T. Praditia, R. Leiteritz, D. MacKinlay, F. Alesiani, D. Pflüger, M. Niepert, PDEBench, NeurIPS
    2022, §D.4; the isotherm is that of H. Freundlich (1906).
    """

    name = "diffusion_sorption"
    title = "Diffusion and sorption"
    dimensions = 1
    fields = (FieldSpec("u", "mol m-3", description="dissolved concentration"),)
    parameters = (
        ParameterSpec("diffusivity", "m2 s-1", 5e-4, 0.0, open_minimum=True, description="effective, D"),
        ParameterSpec("porosity", "1", 0.29, 0.0, 1.0, open_minimum=True, description="φ"),
        ParameterSpec("density", "kg m-3", 2880.0, 0.0, description="of the grains, ρ"),
        ParameterSpec("sorption", "1", 3.5e-4, 0.0, description="Freundlich's coefficient, k"),
        ParameterSpec("exponent", "1", 0.874, 0.0, 1.0, open_minimum=True, description="Freundlich's exponent, n"),
        ParameterSpec("smoothing", "mol m-3", 1e-3, 0.0, open_minimum=True, description="of uⁿ at 0, ε"),
        ParameterSpec("inflow", "mol m-3", 1.0, 0.0, open_minimum=True, description="u on x_min"),
        ParameterSpec("initial", "mol m-3", 0.1, 0.0, description="u(x, 0)"),
    )
    inputs = (InputSpec("initial_concentration", "mol m-3", "initial", ("x",), description="u(x, 0) on cells"),)

    def geometry(self, case: Case) -> Box:
        return Box((0.0,), (1.0,))

    def boundary_conditions(self, case: Case) -> Conditions:
        return {"x_min": {"u": Dirichlet(case.inflow)}, "x_max": {"u": Robin(0.0, 1.0, case.diffusivity)}}

    def equations(self, q: Any, d: Operators, theta: Any, x: Any) -> dict[str, Balance]:
        sorbed = q.u * (q.u**2 + theta.smoothing**2) ** ((theta.exponent - 1.0) / 2.0)
        capacity = (1.0 - theta.porosity) / theta.porosity * theta.density * theta.sorption
        return {
            "solute": Balance(
                storage=q.u + capacity * sorbed, flux=-theta.diffusivity * d.grad(q.u), unit="mol m-3 s-1"
            )
        }

    @classmethod
    def design(cls) -> Design:
        from sciml.problems.designs.diffusion_sorption import DiffusionSorptionDesign

        return DiffusionSorptionDesign(cls())

    def retardation(self, case: Case, u: Any) -> Any:
        """R(u)."""
        capacity = (1 - case.porosity) / case.porosity * case.density * case.sorption
        n, square = case.exponent, np.square(u) + case.smoothing**2
        return 1 + capacity * square ** ((n - 3) / 2) * (n * np.square(u) + case.smoothing**2)

    def scales(self, case: Case) -> Scales:
        """The time is that in which the solute spreads a quarter of the length, 500 s with the usual parameters."""
        return Scales(1.0, 0.25 / case.diffusivity, {"u": case.inflow})

    def features(self, case: Case, time: float, time_step: float) -> dict[str, float]:
        """log₁₀ of D Δt, and the parameters of the isotherm."""
        return {
            "log10_fourier": math.log10(case.diffusivity * time_step),
            "retardation": float(self.retardation(case, case.inflow)),
            "exponent": case.exponent,
        }

    def initial_state(self, case: Case, grid: Support) -> dict[str, np.ndarray]:
        if "initial_concentration" not in case.inputs:
            return {"u": np.full(grid.shape, case.initial)}
        if isinstance(grid, Grid):
            return {"u": case.input_on("initial_concentration", grid)}
        given = np.asarray(case.inputs["initial_concentration"])
        return {"u": np.interp(grid.points()[..., 0], (np.arange(len(given)) + 0.5) / len(given), given)}
