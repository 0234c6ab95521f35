"""Incompressible flow in a box whose top wall slides."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from sciml.boundary import Conditions, Dirichlet, Series
from sciml.expressions import Balance, Operators
from sciml.geometry import Box
from sciml.problem import Case, FieldSpec, InputSpec, ParameterSpec, PDEProblem, Published, Scales
from sciml.problems import _ghia
from sciml.problems._incompressible import navier_stokes, velocity_from_streamfunction
from sciml.registry import problems
from sciml.support import Grid
from sciml.symmetry import Symmetry

if TYPE_CHECKING:
    from sciml.problems.designs import Design


@problems.register("lid_driven_cavity", "cavity")
class LidDrivenCavity(PDEProblem):
    """∇·u = 0, ∂t(ρu) + ∇·(ρ u⊗u + p I − μ(∇u + ∇uᵀ)) = 0 on [0, width] × [0, height].

    Boundaries: y_max is the lid, u = lid_velocity · lid_motion(t), v = 0; the other walls are at rest. The fluid starts
    at rest, or from u = ∂ψ/∂y, v = −∂ψ/∂x of `initial_streamfunction`. Pressure has zero mean.
    Reynolds number Re = ρ |lid_velocity| width / μ.

    Source: U. Ghia, K. N. Ghia, C. T. Shin, J. Comput. Phys. 48, 387 (1982), for the square cavity.
    """

    name = "lid_driven_cavity"
    title = "Lid-driven cavity"
    dimensions = 2
    fields = (
        FieldSpec("u", "m s-1", description="velocity along x"),
        FieldSpec("v", "m s-1", description="velocity along y"),
        FieldSpec("p", "Pa", role="diagnostic", description="pressure, zero mean"),
    )
    parameters = (
        ParameterSpec("lid_velocity", "m s-1", 1.0, description="reference speed of the lid; sign is its direction"),
        ParameterSpec("density", "kg m-3", 1.0, 0.0, open_minimum=True),
        ParameterSpec("viscosity", "Pa s", 1e-2, 0.0, open_minimum=True, description="dynamic viscosity"),
        ParameterSpec("width", "m", 1.0, 0.0, open_minimum=True),
        ParameterSpec("height", "m", 1.0, 0.0, open_minimum=True),
    )
    inputs = (
        InputSpec("lid_motion", "1", "boundary", ("time",), description="lid speed over lid_velocity"),
        InputSpec("initial_streamfunction", "m2 s-1", "initial", ("y_node", "x_node"), description="ψ on cell corners"),
    )

    velocity = ("u", "v")
    symmetries = (Symmetry("mirror", lambda case: _mirrored(case), flip=("x",), odd=("u",)),)

    def geometry(self, case: Case) -> Box:
        return Box((0.0, 0.0), (case.width, case.height))

    def boundary_conditions(self, case: Case) -> Conditions:
        rest = {"u": Dirichlet(0.0), "v": Dirichlet(0.0)}
        motion = case.inputs.get("lid_motion")
        lid: float | Series = case.lid_velocity
        if isinstance(motion, Series):
            lid = Series(motion.times, motion.values * case.lid_velocity)
        moving = {"u": Dirichlet(lid), "v": Dirichlet(0.0)}
        return {"x_min": rest, "x_max": rest, "y_min": rest, "y_max": moving}

    def equations(self, q: Any, d: Operators, theta: Any, x: Any) -> dict[str, Balance]:
        return navier_stokes(q, d, theta)

    def shown(self, case: Case) -> dict[str, float]:
        return {
            "Reynolds number": self.reynolds(case),
            "aspect ratio, height / width": case.height / case.width,
            "lid speed (m s⁻¹)": abs(case.lid_velocity),
        }

    def published(self) -> tuple[Published, ...]:
        """Centre lines of the square cavity at Re 100, 400 and 1000, once the flow has settled."""
        found = []
        for number, settled in ((100, 20.0), (400, 40.0), (1000, 60.0)):
            case, middle = self.case(viscosity=1.0 / number), (0.5, 0.5)
            found += [
                Published(f"u, vertical centre line, Re {number}", _ghia.SOURCE, case, settled, "u", 1, middle,
                          *_ghia.u(number), ("y/L", "u/U")),
                Published(f"v, horizontal centre line, Re {number}", _ghia.SOURCE, case, settled, "v", 0, middle,
                          *_ghia.v(number), ("x/L", "v/U")),
            ]  # fmt: skip
        return tuple(found)

    def reynolds(self, case: Case) -> float:
        """Re = ρ U L / μ with L the width and U the reference speed."""
        return case.density * self.scales(case).velocity * case.width / case.viscosity

    @classmethod
    def design(cls) -> Design:
        from sciml.problems.designs.lid_driven_cavity import CavityDesign

        return CavityDesign()

    def scales(self, case: Case) -> Scales:
        speed = abs(case.lid_velocity)
        if speed == 0:  # a cavity at rest, or one that only spins down: the speed of its initial field
            psi = case.inputs.get("initial_streamfunction")
            peak = 0.0
            if isinstance(psi, np.ndarray):
                u, v = velocity_from_streamfunction(psi, Grid.uniform(case.geometry, 64))
                peak = float(np.sqrt(np.max(u**2 + v**2)))
            speed = peak or case.viscosity / (case.density * case.width)
        pressure = case.density * speed**2
        fields = {"u": speed, "v": speed, "p": pressure}
        return Scales(case.width, case.width / speed, fields, velocity=speed, pressure=pressure)

    def features(self, case: Case, time: float, time_step: float) -> dict[str, float]:
        """log₁₀ of Re, of the aspect ratio and of the step in units of L/U; the lid speed over U now and next."""
        s = self.scales(case)
        lid = self.boundary_conditions(case)["y_max"]["u"]
        return {
            "log10_reynolds": math.log10(self.reynolds(case)),
            "log10_aspect_ratio": math.log10(case.height / case.width),
            "log10_step": math.log10(time_step / s.time),
            "lid_now": lid.at(time) / s.velocity,
            "lid_next": lid.at(time + time_step) / s.velocity,
        }

    def streamfunction(self, case: Case, grid: Grid) -> np.ndarray | None:
        psi = case.inputs.get("initial_streamfunction")
        return psi if isinstance(psi, np.ndarray) else None

    def initial_state(self, case: Case, grid: Grid) -> dict[str, np.ndarray]:
        psi = case.inputs.get("initial_streamfunction")
        if isinstance(psi, np.ndarray):
            u, v = velocity_from_streamfunction(psi, grid)
            return {"u": u, "v": v}
        return {"u": np.zeros(grid.shape), "v": np.zeros(grid.shape)}


def _mirrored(case: Case) -> Case:
    """The case seen in a mirror along x: the lid moves the other way, and ψ changes its sign."""
    inputs = dict(case.inputs)
    psi = inputs.get("initial_streamfunction")
    if isinstance(psi, np.ndarray):
        inputs["initial_streamfunction"] = -psi[:, ::-1]
    parameters = dict(case.parameters) | {"lid_velocity": -case.lid_velocity}
    return Case(case.problem, parameters, inputs, case.label, case.subset, support=case.support)
