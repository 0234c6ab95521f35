"""The viscous Burgers equation in one dimension."""

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
from sciml.support import Grid

if TYPE_CHECKING:
    from sciml.problems.designs import Design


@problems.register("burgers")
class Burgers(PDEProblem):
    """∂t u + ∂x(u²/2 − ν ∂x u) = 0 on the periodic interval [0, length], u(x, 0) = U sin(2πx/length) by default.

    Exact by the Cole-Hopf transform, u = ∫ u₀(η) e^(−G/2ν) dη / ∫ e^(−G/2ν) dη with
    G(η; x, t) = ∫₀^η u₀ + (x − η)²/(2t).

    Source: E. Hopf, Comm. Pure Appl. Math. 3, 201 (1950); J. D. Cole, Quart. Appl. Math. 9, 225 (1951).
    """

    name = "burgers"
    title = "Burgers equation"
    dimensions = 1
    fields = (FieldSpec("u", "m s-1", description="velocity"),)
    parameters = (
        ParameterSpec("viscosity", "m2 s-1", 1e-2, 0.0, open_minimum=True, description="kinematic viscosity"),
        ParameterSpec("velocity", "m s-1", 1.0, 0.0, open_minimum=True, description="amplitude U"),
        ParameterSpec("length", "m", 1.0, 0.0, open_minimum=True, description="period"),
    )
    inputs = (InputSpec("initial_velocity", "m s-1", "initial", ("x",), description="u(x, 0) on cells"),)
    invariants = (Invariant("momentum", "u", "m2 s-1"),)

    def geometry(self, case: Case) -> Box:
        return Box((0.0,), (case.length,), (True,))

    def boundary_conditions(self, case: Case) -> Conditions:
        return {b: {"u": Periodic()} for b in ("x_min", "x_max")}

    def equations(self, q: Any, d: Operators, theta: Any, x: Any) -> dict[str, Balance]:
        return {"momentum": Balance(storage=q.u, flux=q.u**2 / 2 - theta.viscosity * d.grad(q.u), unit="m s-2")}

    @classmethod
    def design(cls) -> Design:
        from sciml.problems.designs.burgers import BurgersDesign

        return BurgersDesign(cls())

    def scales(self, case: Case) -> Scales:
        return Scales(case.length, case.length / case.velocity, {"u": case.velocity}, velocity=case.velocity)

    def features(self, case: Case, time: float, time_step: float) -> dict[str, float]:
        """log₁₀ of U·length/ν and of the step in units of length/U."""
        reynolds = case.velocity * case.length / case.viscosity
        return {
            "log10_reynolds": math.log10(reynolds),
            "log10_step": math.log10(time_step / self.scales(case).time),
        }

    def initial_state(self, case: Case, grid: Grid) -> dict[str, np.ndarray]:
        if "initial_velocity" in case.inputs:
            return {"u": case.input_on("initial_velocity", grid)}
        return {"u": case.velocity * np.sin(2 * math.pi * grid.centres[0] / case.length)}

    def exact(self, case: Case, times: Any, coords: tuple[np.ndarray, ...]) -> dict[str, np.ndarray]:
        if case.inputs:
            raise InputError(f"{self.name}: no exact solution is known for an initial field of one's own")
        if np.size(times) and np.min(times) < 0:
            raise InputError(f"{self.name}: the exact solution is known from time 0 on, got {np.min(times):g} s")
        x = np.asarray(coords[0], dtype=np.float64)
        return {"u": np.stack([self._cole_hopf(case, x, float(t)) for t in np.atleast_1d(times)])}

    @staticmethod
    def _cole_hopf(case: Case, x: np.ndarray, t: float) -> np.ndarray:
        """The integrand is analytic and decays like a Gaussian, so the trapezoidal rule converges exponentially; the
        exponent's maximum is taken out so that nothing under- or overflows however small ν is."""
        k = 2 * math.pi / case.length
        if t == 0:
            return case.velocity * np.sin(k * x)
        spread = math.sqrt(2 * case.viscosity * t)
        reach = case.velocity * t + 9 * spread
        # The narrowest feature of the weight is the smaller of the Gaussian and the curvature scale of ∫u₀.
        narrow = min(spread, math.sqrt(2 * case.viscosity / (case.velocity * k)))
        n = min(max(400, math.ceil(8 * 2 * reach / narrow)), 400_000)
        result = np.empty_like(x)
        block = max(1, 4_000_000 // n)
        offsets = np.linspace(-reach, reach, n + 1)[None, :]
        for start in range(0, len(x), block):
            here = x[start : start + block, None]
            eta = here + offsets
            exponent = -(case.velocity / k * (1 - np.cos(k * eta)) + offsets**2 / (2 * t)) / (2 * case.viscosity)
            weight = np.exp(exponent - exponent.max(axis=1, keepdims=True))
            start_value = case.velocity * np.sin(k * eta)
            result[start : start + block] = (start_value * weight).sum(axis=1) / weight.sum(axis=1)
        return result
