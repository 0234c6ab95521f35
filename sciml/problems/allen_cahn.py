"""Phases that separate: the Allen-Cahn equation."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from sciml.boundary import Conditions, Periodic
from sciml.expressions import Balance, Operators
from sciml.geometry import Box
from sciml.problem import Case, FieldSpec, InputSpec, ParameterSpec, PDEProblem, Scales
from sciml.registry import problems
from sciml.support import Grid, Support

if TYPE_CHECKING:
    from sciml.problems.designs import Design


@problems.register("allen_cahn")
class AllenCahn(PDEProblem):
    """∂t u + ∂x(−κ ∂x u) = γ (u − u³) on the periodic interval [−1, 1], u(x, 0) = x² cos πx by default.

    Fronts of width √(8κ/γ) part the phases u = ±1 and stand almost still. The energy ∫ κ/2 (∂x u)² + γ/4 (u² − 1)² dx
    never grows. κ = 10⁻⁴ and γ = 5 is the usual test of physics-informed networks. There the initial state has a kink
    at x = ±1 (its slope jumps by 4), which diffusion rounds off at once but for spectral methods costs accuracy early
    on. No exact solution is known; the reference is a solver's of this package.

    Source: S. M. Allen, J. W. Cahn, Acta Metallurgica 27, 1085 (1979); M. Raissi, P. Perdikaris, G. E. Karniadakis,
    J. Comput. Phys. 378, 686 (2019), §3.2.
    """

    name = "allen_cahn"
    title = "Allen-Cahn equation"
    dimensions = 1
    fields = (FieldSpec("u", "1", description="phase"),)
    parameters = (
        ParameterSpec("diffusivity", "m2 s-1", 1e-4, 0.0, open_minimum=True, description="κ"),
        ParameterSpec("rate", "s-1", 5.0, 0.0, open_minimum=True, description="γ"),
    )
    inputs = (InputSpec("initial_phase", "1", "initial", ("x",), description="u(x, 0) on cells"),)

    def geometry(self, case: Case) -> Box:
        return Box((-1.0,), (1.0,), (True,))

    def boundary_conditions(self, case: Case) -> Conditions:
        return {b: {"u": Periodic()} for b in ("x_min", "x_max")}

    def equations(self, q: Any, d: Operators, theta: Any, x: Any) -> dict[str, Balance]:
        return {
            "phase": Balance(
                storage=q.u, flux=-theta.diffusivity * d.grad(q.u), source=theta.rate * (q.u - q.u**3), unit="s-1"
            )
        }

    @classmethod
    def design(cls) -> Design:
        from sciml.problems.designs.allen_cahn import AllenCahnDesign

        return AllenCahnDesign(cls())

    def scales(self, case: Case) -> Scales:
        return Scales(2.0, 1.0 / case.rate, {"u": 1.0})

    def features(self, case: Case, time: float, time_step: float) -> dict[str, float]:
        """log₁₀ of the width of a front, and of the step in units of 1/γ."""
        return {
            "log10_front": 0.5 * math.log10(8 * case.diffusivity / case.rate),
            "log10_step": math.log10(time_step * case.rate),
        }

    def energy(self, case: Case, u: np.ndarray) -> np.ndarray:
        """(...,) energies of (..., points) values, by the trapezoidal rule, with spectral slopes.

        Args:
            u: values at equally spaced points over the period.
        """
        n = u.shape[-1]
        k = 2 * math.pi * np.fft.rfftfreq(n, 2.0 / n)
        if n % 2 == 0:
            k[-1] = 0.0  # the slope of the shortest wave is not seen on the grid
        slope = np.fft.irfft(1j * k * np.fft.rfft(u), n)
        density = case.diffusivity / 2 * slope**2 + case.rate / 4 * (u**2 - 1) ** 2
        return 2.0 * density.mean(axis=-1)

    def initial_state(self, case: Case, grid: Support) -> dict[str, np.ndarray]:
        x = grid.points()[..., 0]
        if "initial_phase" not in case.inputs:
            return {"u": x**2 * np.cos(math.pi * x)}
        if isinstance(grid, Grid):
            return {"u": case.input_on("initial_phase", grid)}
        given = np.asarray(case.inputs["initial_phase"])
        return {"u": np.interp(x, -1.0 + 2.0 * (np.arange(len(given)) + 0.5) / len(given), given, period=2.0)}
