"""Heat conduction in a rod whose ends change their temperature."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from sciml.boundary import Condition, Conditions, Dirichlet, InTime, Series
from sciml.errors import InputError
from sciml.expressions import Balance, Operators
from sciml.geometry import Box
from sciml.problem import Case, FieldSpec, InputSpec, ParameterSpec, PDEProblem, Scales
from sciml.registry import problems
from sciml.support import Grid, Support

if TYPE_CHECKING:
    from sciml.problems.designs import Design


@problems.register("heat_equation", "heat")
class HeatEquation(PDEProblem):
    """∂t T + ∂x(−κ ∂x T) = 0 on [0, length], T(x_min, t) and T(x_max, t) given in time.

    By default the damped wave under a surface whose temperature oscillates, which is exact:
    T = A e^(−kx) cos(ωt − kx), k = √(ω/2κ), ω = 2π·frequency. The inputs `temperature_left`, `temperature_right`
    (series) and `initial_temperature` (cells) replace its boundary and initial values.

    Source: H. S. Carslaw, J. C. Jaeger, Conduction of Heat in Solids, 2nd ed. (1959), §2.6.
    """

    name = "heat_equation"
    title = "Heat equation"
    dimensions = 1
    fields = (FieldSpec("T", "K", description="temperature above the mean"),)
    parameters = (
        ParameterSpec("diffusivity", "m2 s-1", 1e-2, 0.0, open_minimum=True, description="κ"),
        ParameterSpec("amplitude", "K", 1.0, description="A"),
        ParameterSpec("frequency", "s-1", 1.0, 0.0, open_minimum=True),
        ParameterSpec("length", "m", 1.0, 0.0, open_minimum=True),
    )
    inputs = (
        InputSpec("temperature_left", "K", "boundary", ("time",), description="T on x_min"),
        InputSpec("temperature_right", "K", "boundary", ("time",), description="T on x_max"),
        InputSpec("initial_temperature", "K", "initial", ("x",), description="T(x, 0) on cells"),
    )

    def geometry(self, case: Case) -> Box:
        return Box((0.0,), (case.length,))

    def _wave(self, case: Case, x: Any, t: Any) -> Any:
        omega = 2 * math.pi * case.frequency
        k = math.sqrt(omega / (2 * case.diffusivity))
        return case.amplitude * np.exp(-k * x) * np.cos(omega * t - k * x)

    def boundary_conditions(self, case: Case) -> Conditions:
        def end(name: str, x: float) -> dict[str, Condition]:
            series = case.inputs.get(name)
            value = series if isinstance(series, Series) else InTime(lambda t: self._wave(case, x, t))
            return {"T": Dirichlet(value)}

        return {"x_min": end("temperature_left", 0.0), "x_max": end("temperature_right", case.length)}

    def equations(self, q: Any, d: Operators, theta: Any, x: Any) -> dict[str, Balance]:
        return {"energy": Balance(storage=q.T, flux=-theta.diffusivity * d.grad(q.T), unit="K s-1")}

    @classmethod
    def design(cls) -> Design:
        from sciml.problems.designs.heat_equation import HeatDesign

        return HeatDesign(cls())

    def scales(self, case: Case) -> Scales:
        return Scales(case.length, 1.0 / case.frequency, {"T": abs(case.amplitude) or 1.0})

    def features(self, case: Case, time: float, time_step: float) -> dict[str, float]:
        """log₁₀ of the Fourier number of the step, and both end temperatures over A now and next."""
        scale = self.scales(case).fields["T"]
        found = {"log10_fourier": math.log10(case.diffusivity * time_step / case.length**2)}
        for name, values in self.boundary_values(case, np.append(time, np.add(time, time_step))).items():
            found[f"{name}_now"], found[f"{name}_next"] = values.reshape(2, *np.shape(time)) / scale
        return found

    def initial_state(self, case: Case, grid: Support) -> dict[str, np.ndarray]:
        x = grid.points()[..., 0]
        if "initial_temperature" not in case.inputs:
            return {"T": self._wave(case, x, 0.0)}
        if isinstance(grid, Grid):
            return {"T": case.input_on("initial_temperature", grid)}
        given = np.asarray(case.inputs["initial_temperature"])
        return {"T": np.interp(x, case.length * (np.arange(len(given)) + 0.5) / len(given), given)}

    def exact(self, case: Case, times: Any, coords: tuple[np.ndarray, ...]) -> dict[str, np.ndarray]:
        if case.inputs:
            raise InputError(f"{self.name}: an exact solution is known for the default boundary and initial values")
        t = np.asarray(times, dtype=np.float64)[:, None]
        return {"T": self._wave(case, np.asarray(coords[0])[None, :], t)}
