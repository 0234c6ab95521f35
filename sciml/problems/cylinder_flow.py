"""Incompressible flow past a circular cylinder in a channel."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from sciml.boundary import Conditions, Dirichlet, InSpace, Outflow, Series
from sciml.errors import InputError
from sciml.expressions import Balance, Operators
from sciml.geometry import Box, Difference, Disc, resample_nodal
from sciml.problem import Case, FieldSpec, InputSpec, ParameterSpec, PDEProblem, Profile, Scales
from sciml.problems._incompressible import navier_stokes, velocity_from_streamfunction
from sciml.registry import problems
from sciml.support import Grid
from sciml.symmetry import Symmetry

if TYPE_CHECKING:
    from sciml.problems.designs import Design

PROFILES = ("uniform", "parabolic")


@problems.register("cylinder_flow", "cylinder")
class CylinderFlow(PDEProblem):
    """∇·u = 0, ∂t(ρu) + ∇·(ρ u⊗u + p I − μ(∇u + ∇uᵀ)) = 0 on [x_min, x_max] × [y_min, y_max] without a disc of `radius`
    at the origin.

    Boundaries: x_min is the inlet, u = inlet_velocity · inlet_motion(t) times the profile, v = 0; x_max the outlet,
    p = 0 and ∂u/∂n = 0 (what becomes of fluid that comes back is its solver's to say); no slip on y_min, y_max and the
    cylinder, whose boundary is called `cylinder`. The fluid starts as it comes in, plus u = ∂ψ/∂y, v = −∂ψ/∂x of
    `initial_streamfunction`, made free of divergence around the cylinder: the flow of an ideal fluid, as after a
    sudden start. Reynolds number Re = 2 ρ |inlet_velocity| radius / μ.

    Args:
        profile: of the inlet: "uniform" (default), or "parabolic" with `inlet_velocity` as its mean.

    Source: Y. Luo, Y. Chen, Z. Zhang, CFDBench, arXiv 2310.05963 (2023), for the default case; M. Schäfer, S. Turek, in
    Flow Simulation with High-Performance Computers II (1996), 547, for the parabolic inlet, see `channel_benchmark`.
    """

    name = "cylinder_flow"
    title = "Flow past a cylinder"
    dimensions = 2
    fields = (
        FieldSpec("u", "m s-1", description="velocity along x"),
        FieldSpec("v", "m s-1", description="velocity along y"),
        FieldSpec("p", "Pa", role="diagnostic", description="pressure, zero at the outlet"),
    )
    parameters = (
        ParameterSpec(
            "inlet_velocity", "m s-1", 1.0, 0.0, open_minimum=True, description="reference speed at the inlet"
        ),
        ParameterSpec("density", "kg m-3", 10.0, 0.0, open_minimum=True),
        ParameterSpec("viscosity", "Pa s", 1e-3, 0.0, open_minimum=True, description="dynamic viscosity"),
        ParameterSpec("radius", "m", 0.01, 0.0, open_minimum=True, description="of the cylinder"),
        ParameterSpec("x_min", "m", -0.06, description="the inlet"),
        ParameterSpec("x_max", "m", 0.16, description="the outlet"),
        ParameterSpec("y_min", "m", -0.06, description="the lower wall"),
        ParameterSpec("y_max", "m", 0.06, description="the upper wall"),
    )
    inputs = (
        InputSpec("inlet_motion", "1", "boundary", ("time",), description="speed at the inlet over inlet_velocity"),
        InputSpec("initial_streamfunction", "m2 s-1", "initial", ("y_node", "x_node"), description="ψ on cell corners"),
    )

    quantities = (
        FieldSpec("force_x", "N m-1", description="drag: force on the cylinder along x, per length"),
        FieldSpec("force_y", "N m-1", description="lift: force on the cylinder along y, per length"),
    )
    velocity = ("u", "v")
    symmetries = (Symmetry("mirror", lambda case: _mirrored(case), flip=("y",), odd=("v",)),)

    def __init__(self, profile: str = "uniform"):
        if profile not in PROFILES:
            raise InputError(f"cylinder_flow: profile is {profile!r}, expected one of {', '.join(PROFILES)}")
        self.profile = profile

    @property
    def options(self) -> dict[str, Any]:
        return {} if self.profile == "uniform" else {"profile": self.profile}

    def case(self, label: str = "", subset: str = "", **values: Any) -> Case:
        """One member of the family.

        Raises:
            InputError: as `Problem.case`, or a cylinder that is not within the channel.
        """
        case = super().case(label, subset, **values)
        self.geometry(case)
        return case

    def geometry(self, case: Case) -> Difference:
        for axis in "xy":
            low, high = case.parameters[f"{axis}_min"], case.parameters[f"{axis}_max"]
            if not low < -case.radius or not high > case.radius:
                raise InputError(
                    f"{self.name}: the cylinder (radius {case.radius:g} at the origin) is not within the channel: "
                    f"expected {axis}_min < {-case.radius:g} and {axis}_max > {case.radius:g}, got {low:g} and {high:g}"
                )
        box = Box((case.x_min, case.y_min), (case.x_max, case.y_max))
        return box.without(Disc((0.0, 0.0), case.radius), "cylinder")

    def boundary_conditions(self, case: Case) -> Conditions:
        rest = {"u": Dirichlet(0.0), "v": Dirichlet(0.0)}
        inlet = {"u": Dirichlet(self._inlet(case)), "v": Dirichlet(0.0)}
        outlet = {"u": Outflow(), "v": Outflow(), "p": Dirichlet(0.0)}
        return {"x_min": inlet, "x_max": outlet, "y_min": rest, "y_max": rest, "cylinder": rest}

    def _inlet(self, case: Case) -> Any:
        motion = case.inputs.get("inlet_motion")
        series = motion if isinstance(motion, Series) else None
        if self.profile == "parabolic":
            return InSpace(lambda points: _parabola(case, points[..., 1]), series)
        return case.inlet_velocity if series is None else Series(series.times, series.values * case.inlet_velocity)

    def equations(self, q: Any, d: Operators, theta: Any, x: Any) -> dict[str, Balance]:
        return navier_stokes(q, d, theta)

    def reynolds(self, case: Case) -> float:
        """Re = ρ U D / μ with D the diameter."""
        return 2 * case.density * case.inlet_velocity * case.radius / case.viscosity

    def shown(self, case: Case) -> dict[str, float]:
        return {
            "Reynolds number": self.reynolds(case),
            "blockage, diameter / height": 2 * case.radius / (case.y_max - case.y_min),
            "inlet speed (m s⁻¹)": case.inlet_velocity,
        }

    def profiles(self, case: Case) -> tuple[Profile, ...]:
        """The wake: u across it one and three diameters behind the cylinder's middle, and along its axis."""
        diameter = 2 * case.radius
        behind = ((1, "one diameter"), (3, "three diameters"))
        across = [
            Profile(f"u, {words} behind the cylinder", "u", 1, (n * diameter, 0.0))
            for n, words in behind
            if n * diameter < case.x_max
        ]
        return (*across, Profile("u on the axis", "u", 0, (0.0, 0.0)))

    @classmethod
    def design(cls) -> Design:
        from sciml.problems.designs.cylinder_flow import CylinderDesign

        return CylinderDesign()

    def scales(self, case: Case) -> Scales:
        speed, length = case.inlet_velocity, 2 * case.radius
        pressure = case.density * speed**2
        fields = {"u": speed, "v": speed, "p": pressure}
        return Scales(length, length / speed, fields, velocity=speed, pressure=pressure)

    def features(self, case: Case, time: float, time_step: float) -> dict[str, float]:
        """log₁₀ of Re and of the step in units of D/U; where the sides are, in diameters; the speed at the inlet over U
        now and next."""
        s = self.scales(case)
        motion = case.inputs.get("inlet_motion")
        now, then = (motion(time), motion(time + time_step)) if isinstance(motion, Series) else (1.0, 1.0)
        return {
            "log10_reynolds": math.log10(self.reynolds(case)),
            "log10_step": math.log10(time_step / s.time),
            **{
                f"{side}_over_diameter": case.parameters[side] / s.length
                for side in ("x_min", "x_max", "y_min", "y_max")
            },
            "inlet_now": now,
            "inlet_next": then,
        }

    def streamfunction(self, case: Case, grid: Grid) -> np.ndarray:
        y, motion = grid.faces[1], case.inputs.get("inlet_motion")
        height, up = case.y_max - case.y_min, y - case.y_min
        share = (3 - 2 * up / height) * (up / height) ** 2 if self.profile == "parabolic" else up / height
        below = case.inlet_velocity * height * share * (motion(0.0) if isinstance(motion, Series) else 1.0)
        found = np.repeat(below[:, None], grid.shape[1] + 1, axis=1)
        psi = case.inputs.get("initial_streamfunction")
        return found + resample_nodal(psi, found.shape) if isinstance(psi, np.ndarray) else found

    def initial_state(self, case: Case, grid: Grid) -> dict[str, np.ndarray]:
        u, v = velocity_from_streamfunction(self.streamfunction(case, grid), grid)
        inside = self.geometry(case).mask(grid)
        return {"u": u * inside, "v": v * inside}


def _parabola(case: Case, y: np.ndarray) -> np.ndarray:
    """6 U (y − y_min)(y_max − y)/H², whose mean over the inlet is U."""
    return 6 * case.inlet_velocity * (y - case.y_min) * (case.y_max - y) / (case.y_max - case.y_min) ** 2


def channel_benchmark(mean_velocity: float = 0.2, **values: Any) -> Case:
    """The channel of the DFG benchmark in metres: 2.2 × 0.41, a cylinder of diameter 0.1 at (0.2, 0.2) from the lower
    left corner, ρ = 1, μ = 10⁻³; test case 2D-1 (Re 20) by default, 2D-2 (Re 100) with a mean velocity of 1.

    Source: M. Schäfer, S. Turek (1996), section 2.
    """
    given: dict[str, Any] = {
        "inlet_velocity": mean_velocity, "density": 1.0, "viscosity": 1e-3, "radius": 0.05, "x_min": -0.2, "x_max": 2.0,
        "y_min": -0.2, "y_max": 0.21,
    }  # fmt: skip
    return CylinderFlow("parabolic").case(**(given | values))


def _mirrored(case: Case) -> Case:
    """The case seen in a mirror along y: walls change places, and ψ changes its sign."""
    inputs = dict(case.inputs)
    psi = inputs.get("initial_streamfunction")
    if isinstance(psi, np.ndarray):
        inputs["initial_streamfunction"] = -psi[::-1]
    parameters = dict(case.parameters) | {"y_min": -case.y_max, "y_max": -case.y_min}
    return replace(case, parameters=parameters, inputs=inputs)
