"""The decaying Taylor-Green vortices: an exact solution of the Navier-Stokes equations."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from sciml.boundary import Conditions, Periodic
from sciml.errors import InputError
from sciml.expressions import Balance, Operators
from sciml.geometry import Box
from sciml.problem import Case, FieldSpec, InputSpec, Invariant, ParameterSpec, PDEProblem, Scales
from sciml.problems._incompressible import navier_stokes, velocity_from_streamfunction
from sciml.registry import problems
from sciml.support import Grid

if TYPE_CHECKING:
    from sciml.problems.designs import Design


@problems.register("taylor_green")
class TaylorGreen(PDEProblem):
    """Incompressible flow in the periodic square [0, length]², k = 2π/length:

    u =  U cos kx sin ky e^(−2νk²t),  v = −U sin kx cos ky e^(−2νk²t),
    p = −ρU²/4 (cos 2kx + cos 2ky) e^(−4νk²t),  ν = μ/ρ.

    With `initial_streamfunction` the same equations start from any periodic field (no exact solution then).

    Source: G. I. Taylor, A. E. Green, Proc. R. Soc. A 158, 499 (1937), in its two-dimensional form.
    """

    name = "taylor_green"
    title = "Taylor-Green vortices"
    dimensions = 2
    fields = (
        FieldSpec("u", "m s-1", description="velocity along x"),
        FieldSpec("v", "m s-1", description="velocity along y"),
        FieldSpec("p", "Pa", role="diagnostic", description="pressure, zero mean"),
    )
    parameters = (
        ParameterSpec("velocity", "m s-1", 1.0, 0.0, open_minimum=True, description="amplitude U"),
        ParameterSpec("density", "kg m-3", 1.0, 0.0, open_minimum=True),
        ParameterSpec("viscosity", "Pa s", 1e-2, 0.0, open_minimum=True, description="dynamic viscosity"),
        ParameterSpec("length", "m", 2 * math.pi, 0.0, open_minimum=True, description="side of the period"),
    )
    inputs = (
        InputSpec("initial_streamfunction", "m2 s-1", "initial", ("y_node", "x_node"), description="ψ on cell corners"),
    )
    velocity = ("u", "v")
    invariants = (Invariant("momentum along x", "u", "m3 s-1"), Invariant("momentum along y", "v", "m3 s-1"))

    def geometry(self, case: Case) -> Box:
        return Box((0.0, 0.0), (case.length, case.length), (True, True))

    def boundary_conditions(self, case: Case) -> Conditions:
        periodic = {name: Periodic() for name in ("u", "v", "p")}
        return {b: dict(periodic) for b in ("x_min", "x_max", "y_min", "y_max")}

    def equations(self, q: Any, d: Operators, theta: Any, x: Any) -> dict[str, Balance]:
        return navier_stokes(q, d, theta)

    @classmethod
    def design(cls) -> Design:
        from sciml.problems.designs.taylor_green import TaylorGreenDesign

        return TaylorGreenDesign(cls())

    def scales(self, case: Case) -> Scales:
        u, length = case.velocity, case.length / (2 * math.pi)
        fields = {"u": u, "v": u, "p": case.density * u**2}
        return Scales(length, length / u, fields, velocity=u, pressure=case.density * u**2)

    def features(self, case: Case, time: float, time_step: float) -> dict[str, float]:
        """log₁₀ of ρUL/μ and of the step in units of L/U."""
        s = self.scales(case)
        reynolds = case.density * s.velocity * s.length / case.viscosity
        return {"log10_reynolds": math.log10(reynolds), "log10_step": math.log10(time_step / s.time)}

    def initial_state(self, case: Case, grid: Grid) -> dict[str, np.ndarray]:
        psi = case.inputs.get("initial_streamfunction")
        if isinstance(psi, np.ndarray):
            u, v = velocity_from_streamfunction(psi, grid)
            return {"u": u, "v": v}
        fields = self.exact(case, np.zeros(1), grid.centres)
        return {"u": fields["u"][0], "v": fields["v"][0]}

    def streamfunction(self, case: Case, grid: Grid) -> np.ndarray:
        """The initial stream function on the cell corners: as given, else ψ = −U/k cos kx cos ky."""
        psi = case.inputs.get("initial_streamfunction")
        if isinstance(psi, np.ndarray):
            return psi
        k = 2 * math.pi / case.length
        x, y = grid.faces
        return -case.velocity / k * np.cos(k * y)[:, None] * np.cos(k * x)[None, :]

    def exact(self, case: Case, times: Any, coords: tuple[np.ndarray, ...]) -> dict[str, np.ndarray]:
        if case.inputs:
            raise InputError(f"{self.name}: no exact solution is known for an initial field of one's own")
        k = 2 * math.pi / case.length
        t = np.asarray(times, dtype=np.float64)[:, None, None]
        x, y = k * np.asarray(coords[0])[None, None, :], k * np.asarray(coords[1])[None, :, None]
        decay = np.exp(-2 * case.viscosity / case.density * k**2 * t)
        return {
            "u": case.velocity * np.cos(x) * np.sin(y) * decay,
            "v": -case.velocity * np.sin(x) * np.cos(y) * decay,
            "p": -case.density * case.velocity**2 / 4 * (np.cos(2 * x) + np.cos(2 * y)) * decay**2,
        }
