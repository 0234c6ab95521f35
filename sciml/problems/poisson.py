"""The Poisson equation on the unit square."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from sciml.boundary import Conditions, Dirichlet
from sciml.errors import InputError
from sciml.expressions import Balance, Operators
from sciml.geometry import Box
from sciml.problem import Case, FieldSpec, InputSpec, ParameterSpec, PDEProblem, Scales
from sciml.registry import problems

if TYPE_CHECKING:
    from sciml.problems.designs import Design


def _sine_source(parameters: Any, x: Any, y: Any) -> Any:
    k = math.pi * parameters["wavenumber"]
    return 2 * k**2 * parameters["amplitude"] * np.sin(k * x) * np.sin(k * y)


@problems.register("poisson")
class Poisson(PDEProblem):
    """−∇·∇p = source on [0, 1]², p = 0 on the boundary.

    The default source 2k²A sin kx sin ky, k = π·wavenumber, has the exact solution p = A sin kx sin ky for a whole
    wavenumber.
    """

    name = "poisson"
    title = "Poisson equation"
    dimensions = 2
    steady = True
    fields = (FieldSpec("p", "1", description="potential"),)
    parameters = (
        ParameterSpec("amplitude", "1", 1.0, description="A"),
        ParameterSpec("wavenumber", "1", 1.0, 0.0, open_minimum=True, description="half waves across the square"),
    )
    inputs = (InputSpec("source", "m-2", "source", ("y", "x"), default=_sine_source, description="right-hand side"),)

    def geometry(self, case: Case) -> Box:
        return Box((0.0, 0.0), (1.0, 1.0))

    def boundary_conditions(self, case: Case) -> Conditions:
        return {b: {"p": Dirichlet(0.0)} for b in ("x_min", "x_max", "y_min", "y_max")}

    def equations(self, q: Any, d: Operators, theta: Any, x: Any) -> dict[str, Balance]:
        return {"potential": Balance(flux=-1.0 * d.grad(q.p), source=q.source, unit="m-2")}

    @classmethod
    def design(cls) -> Design:
        from sciml.problems.designs.poisson import PoissonDesign

        return PoissonDesign(cls())

    def scales(self, case: Case) -> Scales:
        return Scales(1.0, 1.0, {"p": abs(case.amplitude) or 1.0})

    def exact(self, case: Case, times: Any, coords: tuple[np.ndarray, ...]) -> dict[str, np.ndarray]:
        if case.inputs or not float(case.wavenumber).is_integer():
            raise InputError(f"{self.name}: an exact solution is known for the default source and a whole wavenumber")
        k = math.pi * case.wavenumber
        x, y = np.asarray(coords[0])[None, :], np.asarray(coords[1])[:, None]
        return {"p": case.amplitude * np.sin(k * x) * np.sin(k * y)}
