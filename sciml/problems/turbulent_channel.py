"""Incompressible flow between two walls, laminar or turbulent."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from sciml.boundary import Conditions, Dirichlet, Periodic
from sciml.errors import InputError
from sciml.expressions import Balance, Operators
from sciml.geometry import Box
from sciml.problem import Case, FieldSpec, ParameterSpec, PDEProblem, Profile, Scales
from sciml.problems._incompressible import navier_stokes
from sciml.registry import problems
from sciml.support import Grid
from sciml.symmetry import Symmetry

if TYPE_CHECKING:
    from sciml.problems.designs import Design

DRIVES = ("pressure_gradient", "flow_rate")
KAPPA = 0.41  # of Reichardt's profile
WAVES = 4  # of the disturbance along x and z


@problems.register("turbulent_channel", "channel")
class TurbulentChannel(PDEProblem):
    """∇·u = 0, ∂t(ρu) + ∇·(ρ u⊗u + p I − μ(∇u + ∇uᵀ)) = G e_x in [0, length_x] × [−h, h] × [0, length_z].

    Periodic along x (the stream) and z, no slip at the walls y = ∓h, h = `half_height`. p is what of the pressure is
    periodic, zero on average; G = ρ u_τ²/h drives the flow, u_τ = `friction_velocity`. The friction Reynolds number is
    Re_τ = ρ u_τ h/μ, lengths in wall units are y⁺ = ρ u_τ y/μ. The default is a minimal flow unit at Re_τ 180: a box
    of 565 × 192 wall units, which sustains turbulence and has the statistics of a wide channel up to about y⁺ 50.

    The flow begins with Reichardt's mean profile (or, where it is slower, with the parabola of the laminar flow) and a
    random disturbance without divergence, whose root mean square is `disturbance` friction velocities and whose waves
    `seed` draws: one field, whatever the grid. With a disturbance of 0 it begins with the parabola, and stays there.

    Args:
        drive: "pressure_gradient" (default), or "flow_rate": G is at every moment what keeps the mean velocity at
            `bulk_velocity`, and u_τ is the expected one, which the equations state.

    Sources: J. Kim, P. Moin, R. Moser, J. Fluid Mech. 177, 133 (1987); J. Jiménez, P. Moin, J. Fluid Mech. 225, 213
    (1991), for minimal flow units; H. Reichardt, Z. Angew. Math. Mech. 31, 208 (1951), for the profile.
    """

    name = "turbulent_channel"
    title = "Channel flow"
    dimensions = 3
    fields = (
        FieldSpec("u", "m s-1", description="velocity along x, the stream"),
        FieldSpec("v", "m s-1", description="velocity along y, between the walls"),
        FieldSpec("w", "m s-1", description="velocity along z, the span"),
        FieldSpec("p", "Pa", role="diagnostic", description="periodic part of the pressure, zero mean"),
    )
    parameters = (
        ParameterSpec(
            "friction_velocity", "m s-1", 1.0, 0.0, open_minimum=True, description="u_τ, of the mean wall shear"
        ),
        ParameterSpec("density", "kg m-3", 1.0, 0.0, open_minimum=True),
        ParameterSpec("viscosity", "Pa s", 1 / 180, 0.0, open_minimum=True, description="dynamic viscosity"),
        ParameterSpec("half_height", "m", 1.0, 0.0, open_minimum=True, description="h, half the distance of the walls"),
        ParameterSpec("length_x", "m", math.pi, 0.0, open_minimum=True, description="period along the stream"),
        ParameterSpec("length_z", "m", 0.34 * math.pi, 0.0, open_minimum=True, description="period along the span"),
        ParameterSpec(
            "bulk_velocity", "m s-1", 15.6, 0.0, open_minimum=True, description='mean velocity, with drive="flow_rate"'
        ),
        ParameterSpec("disturbance", "1", 2.0, 0.0, description="rms of what disturbs the beginning, over u_τ"),
        ParameterSpec("seed", "1", 0.0, 0.0, 2.0**32, description="whole number that draws the disturbance"),
    )
    quantities = (
        FieldSpec("wall_shear", "Pa", description="shear stress, mean over both walls"),
        FieldSpec("driving_force", "N m-3", description="G, of the last step before"),
    )
    velocity = ("u", "v", "w")
    # of the equations and of all statistics; the disturbance of the image is the image of the disturbance
    symmetries = (
        Symmetry("mirror between the walls", lambda case: case, flip=("y",), odd=("v",)),
        Symmetry("mirror along the span", lambda case: case, flip=("z",), odd=("w",)),
    )

    def __init__(self, drive: str = "pressure_gradient"):
        if drive not in DRIVES:
            raise InputError(f"turbulent_channel: drive is {drive!r}, expected one of {', '.join(DRIVES)}")
        self.drive = drive

    @property
    def options(self) -> dict[str, Any]:
        return {} if self.drive == DRIVES[0] else {"drive": self.drive}

    def case(self, label: str = "", subset: str = "", **values: Any) -> Case:
        """One member of the family.

        Raises:
            InputError: as `Problem.case`, or a seed that is no whole number.
        """
        case = super().case(label, subset, **values)
        if case.seed != int(case.seed):
            raise InputError(f"{self.name}: seed is {case.seed!r}, expected a whole number")
        return case

    def geometry(self, case: Case) -> Box:
        h = case.half_height
        return Box((0.0, -h, 0.0), (case.length_x, h, case.length_z), (True, False, True))

    def boundary_conditions(self, case: Case) -> Conditions:
        around = {name: Periodic() for name in ("u", "v", "w", "p")}
        rest = {name: Dirichlet(0.0) for name in self.velocity}
        ends = {f"{axis}_{end}": dict(around) for axis in "xz" for end in ("min", "max")}
        return {**ends, "y_min": dict(rest), "y_max": dict(rest)}

    def equations(self, q: Any, d: Operators, theta: Any, x: Any) -> dict[str, Balance]:
        drive = theta.density * theta.friction_velocity**2 / theta.half_height
        return navier_stokes(q, d, theta, d.vector(drive, 0.0, 0.0))

    def forcing(self, case: Case, quantities: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], str]:
        """The driving force that is stored, less the expected one, along x."""
        expected = case.density * case.friction_velocity**2 / case.half_height
        found = np.asarray(quantities.get("driving_force", np.nan), np.float64)
        known = np.isfinite(found)
        remark = ""
        if self.drive == "flow_rate" and not known.all():
            remark = (
                "momentum: the force that keeps the flow rate is not known, and taken to be the expected "
                f"{expected:.6g} N m-3"
            )
        if not known.any():
            return {}, remark
        beyond = np.where(known, found - expected, 0.0)
        return {"momentum": np.stack([beyond, np.zeros_like(beyond), np.zeros_like(beyond)])}, remark

    @classmethod
    def design(cls) -> Design:
        from sciml.problems.designs.turbulent_channel import TurbulentChannelDesign

        return TurbulentChannelDesign(cls())

    def reynolds(self, case: Case) -> float:
        """Re_τ = ρ u_τ h/μ."""
        return case.density * case.friction_velocity * case.half_height / case.viscosity

    def wall_units(self, case: Case) -> tuple[float | None, float]:
        """u_τ and ν; no u_τ where it is the flow rate that is given, and the wall's shear what comes out."""
        known = None if self.drive == "flow_rate" else case.friction_velocity
        return known, case.viscosity / case.density

    def shown(self, case: Case) -> dict[str, float]:
        h = case.half_height
        return {
            "friction Reynolds number": self.reynolds(case),
            "length / half height": case.length_x / h,
            "width / half height": case.length_z / h,
        }

    def profiles(self, case: Case) -> tuple[Profile, ...]:
        """u and v from wall to wall."""
        middle = (case.length_x / 2, 0.0, case.length_z / 2)
        return (Profile("u from wall to wall", "u", 1, middle), Profile("v from wall to wall", "v", 1, middle))

    def scales(self, case: Case) -> Scales:
        """Lengths of h; velocities of 15 u_τ along the stream, about the bulk velocity, and of u_τ across it; time of
        h/(15 u_τ)."""
        speed = 15 * case.friction_velocity
        pressure = case.density * case.friction_velocity**2
        fields = {"u": speed, "v": case.friction_velocity, "w": case.friction_velocity, "p": pressure}
        return Scales(case.half_height, case.half_height / speed, fields, velocity=speed, pressure=pressure)

    def features(self, case: Case, time: float, time_step: float) -> dict[str, float]:
        """log₁₀ of Re_τ and of the step in units of h/u_τ; the sides of the box over h."""
        h = case.half_height
        return {
            "log10_reynolds": math.log10(self.reynolds(case)),
            "log10_step": math.log10(time_step * case.friction_velocity / h),
            "length_over_height": case.length_x / h,
            "width_over_height": case.length_z / h,
        }

    def mean_profile(self, case: Case, y: Any) -> np.ndarray:
        """The profile that a case begins with, at places y in [−h, h]."""
        y = np.asarray(y, dtype=np.float64)
        u, h, kinematic = case.friction_velocity, case.half_height, case.viscosity / case.density
        laminar = u**2 / (2 * kinematic * h) * (h**2 - y**2)
        if self.drive == "flow_rate":
            laminar = 1.5 * case.bulk_velocity * (1 - (y / h) ** 2)
        if case.disturbance == 0:
            return laminar
        turbulent = _reichardt(self.reynolds(case) * (1 - np.abs(y) / h)) * u
        across = np.linspace(-1.0, 1.0, 2001)
        mean = float(np.trapezoid(_reichardt(self.reynolds(case) * (1 - np.abs(across)))) / 2000) * u
        if self.drive == "flow_rate":
            return turbulent * case.bulk_velocity / mean
        return turbulent if mean < u**2 * h / (3 * kinematic) else laminar

    def initial_state(self, case: Case, grid: Grid) -> dict[str, np.ndarray]:
        x, y, z = grid.centres
        mean = self.mean_profile(case, y)
        found = {n: np.zeros(grid.shape) for n in self.velocity}
        if case.disturbance:
            size = case.disturbance * case.friction_velocity
            for name, values in zip(self.velocity, _disturbance(case, x, y, z), strict=True):
                found[name] += size * values
        found["u"] += mean[None, :, None]
        return found

    def exact(self, case: Case, times: Any, coords: tuple[np.ndarray, ...]) -> dict[str, np.ndarray]:
        """The flow of Poiseuille, U = ρ u_τ² (h² − y²)/(2 μ h), where nothing disturbs it."""
        if case.disturbance != 0:
            raise InputError(f"{self.name}: an exact solution is known without a disturbance alone")
        x, y, z = coords
        shape = (len(np.atleast_1d(times)), len(z), len(y), len(x))
        rest = {n: np.zeros(shape) for n in ("v", "w", "p")}
        return {"u": np.broadcast_to(self.mean_profile(case, y)[:, None], shape).copy(), **rest}


def _reichardt(y: np.ndarray) -> np.ndarray:
    """U⁺(y⁺) from the wall to the logarithmic layer."""
    return np.log1p(KAPPA * y) / KAPPA + 7.8 * (1 - np.exp(-y / 11) - y / 11 * np.exp(-y / 3))


def _disturbance(case: Case, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> list[np.ndarray]:
    """Velocities (z, y, x) of root mean square 1: ∇ × A with A = (1 − (y/h)²)² times random waves along x and z."""
    random, h = np.random.default_rng(int(case.seed)), case.half_height
    s = y / h
    bump, slope = (1 - s**2) ** 2, -4 * s * (1 - s**2) / h
    found, power = [np.zeros((len(z), len(y), len(x))) for _ in range(3)], 0.0
    share = 128 / 315  # mean of bump²
    steep = 128 / 105 / h**2  # mean of slope²
    for m in range(WAVES + 1):
        for n in range(-WAVES, WAVES + 1):
            if m == n == 0 or (m == 0 and n < 0):
                continue
            kx, kz = 2 * np.pi * m / case.length_x, 2 * np.pi * n / case.length_z
            k = math.hypot(kx, kz, 1 / h)
            a = (random.standard_normal(3) + 1j * random.standard_normal(3)) / k**2
            shown = 2 * m < len(x) and 2 * abs(n) < len(z)  # other waves would look like ones that are not there
            wave = shown * np.exp(1j * (kx * x[None, None, :] + kz * z[:, None, None]))
            up, steps = wave * bump[None, :, None], wave * slope[None, :, None]
            parts = [a[2] * steps - 1j * kz * a[1] * up, 1j * (kz * a[0] - kx * a[2]) * up]
            parts.append(1j * kx * a[1] * up - a[0] * steps)
            for total, part in zip(found, parts, strict=True):
                total += part.real
            power += (abs(a[2]) ** 2 + abs(a[0]) ** 2) * steep / 2
            power += (kx**2 + kz**2) * abs(a[1]) ** 2 * share / 2 + abs(kz * a[0] - kx * a[2]) ** 2 * share / 2
    return [part / math.sqrt(power) for part in found]
