"""Three flows of which a number is asked, made of a few others: the drag of a cylinder, the water behind a barrier, a
velocity in a cavity.

Each number is an expression of frames that holds for arrays of NumPy, JAX and torch alike: the same one is asked of
solvers and of surrogates.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from sciml import metrics
from sciml.boundary import InSpace, Series
from sciml.problem import Case, ParameterSpec
from sciml.problems import CylinderFlow, DamFlow, LidDrivenCavity
from sciml.registry import problems
from sciml.solvers import IncompressibleFlow, TwoPhaseFlow
from sciml.support import Grid

MODES = 3  # of the inflow's profile


class Asked(ABC):
    """A flow, the numbers u that make a case of it, and the number J(u) that is asked.

    Args:
        resolution: cells (ny, nx); those of the benchmark by default.
    """

    name: str
    title: str  # of J
    unit: str
    #: u by name, with the least and the largest value; viscosities evenly in their logarithm
    spans: ClassVar[Mapping[str, tuple[float, float]]]
    #: of u, those that are one curve, such as a profile: their gradient has a direction of its own
    curve: tuple[str, ...] = ()
    resolution: tuple[int, int]
    times: np.ndarray
    fields: tuple[str, ...]

    def __init__(self, resolution: tuple[int, int] | None = None):
        if resolution is not None:
            self.resolution = resolution

    @abstractmethod
    def made(self, u: Any) -> Case:
        """The case of these numbers."""

    @abstractmethod
    def solver(self, derivative: str = "reverse") -> Any:
        """In double precision."""

    @abstractmethod
    def value(self, frames: Mapping[str, Any], parameters: Mapping[str, Any]) -> Any:
        """J of frames (time, y, x) at `times`."""

    def drawn(self, random: np.random.Generator) -> np.ndarray:
        found = []
        for name, (low, high) in self.spans.items():
            share = random.uniform()
            even = low + share * (high - low)
            found.append(low * (high / low) ** share if name == "viscosity" else even)
        return np.array(found)

    @property
    def sizes(self) -> np.ndarray:
        """Of changes of u that count as alike: half of each span."""
        return np.array([(high - low) / 2 for low, high in self.spans.values()])

    @property
    def grid(self) -> Grid:
        return Grid.uniform(self.made(self.middle).geometry, self.resolution)

    @property
    def middle(self) -> np.ndarray:
        return np.array([(low + high) / 2 for low, high in self.spans.values()])


@problems.register("profiled_cylinder")
class ProfiledCylinder(CylinderFlow):
    """`CylinderFlow` with u = inlet_velocity (1 + Σ_k a_k cos(kπη)) at the inlet, η being the share of its height.

    Frames hold the pressure, too; at the start, on which nothing depends, it is told as 0.
    """

    name = "profiled_cylinder"
    parameters = (
        *CylinderFlow.parameters,
        *(ParameterSpec(f"profile_{k}", "1", 0.0, description=f"a_{k}") for k in range(1, MODES + 1)),
    )
    symmetries = ()

    def _inlet(self, case: Case) -> Any:
        return InSpace(lambda points: _speed(case, points[..., 1]))

    def features(self, case: Case, time: float, time_step: float) -> dict[str, float]:
        found = super().features(case, time, time_step)
        return found | {f"profile_{k}": case.parameters[f"profile_{k}"] for k in range(1, MODES + 1)}

    def streamfunction(self, case: Case, grid: Grid) -> np.ndarray:
        height = case.y_max - case.y_min
        share = (grid.faces[1] - case.y_min) / height
        found = share + sum(
            case.parameters[f"profile_{k}"] * np.sin(k * np.pi * share) / (k * np.pi) for k in range(1, MODES + 1)
        )
        return np.repeat((case.inlet_velocity * height * found)[:, None], grid.shape[1] + 1, axis=1)

    def initial_state(self, case: Case, grid: Grid) -> dict[str, np.ndarray]:
        return super().initial_state(case, grid) | {"p": np.zeros(grid.shape)}


def _speed(case: Case, y: np.ndarray) -> np.ndarray:
    share = (y - case.y_min) / (case.y_max - case.y_min)
    waves = (case.parameters[f"profile_{k}"] * np.cos(k * np.pi * share) for k in range(1, MODES + 1))
    return case.inlet_velocity * (1 + sum(waves))


class Drag(Asked):
    """Mean drag from 5 to 10 D/U on, by the balance of momentum over a square of two diameters
    (`metrics.force_within`), by the flow at the inlet, the viscosity, the radius of the cylinder and its place across
    the channel."""

    name, title, unit = "cylinder", "mean drag", "N/m"
    spans: ClassVar = {
        "inlet_velocity": (0.8, 1.2), "viscosity": (2.5e-3, 1e-2), "profile_1": (-0.25, 0.25),
        "profile_2": (-0.25, 0.25), "profile_3": (-0.25, 0.25), "radius": (0.009, 0.011), "place": (-0.004, 0.004),
    }  # fmt: skip
    curve = ("profile_1", "profile_2", "profile_3")
    resolution = (32, 56)
    times = 0.02 * np.arange(11)
    fields = ("u", "v", "p")
    first, box, density = 5, 0.02, 10.0

    def made(self, u: Any) -> Case:
        speed, viscosity, *profile, radius, place = (float(v) for v in u)
        waves: dict[str, Any] = {f"profile_{k + 1}": a for k, a in enumerate(profile)}
        return ProfiledCylinder().case(
            inlet_velocity=speed, viscosity=viscosity, radius=radius, density=self.density, x_min=-0.04, x_max=0.10,
            y_min=-0.04 - place, y_max=0.04 - place, **waves,
        )  # fmt: skip

    def solver(self, derivative: str = "reverse") -> IncompressibleFlow:
        return IncompressibleFlow(self.resolution, dtype="float64", derivative=derivative)

    def value(self, frames: Mapping[str, Any], parameters: Mapping[str, Any]) -> Any:
        # the channel seen from its own middle: the same cells whatever the place of the cylinder
        faces = [np.linspace(a, b, n + 1) for (a, b), n in zip(
            ((-0.04, 0.10), (-0.04, 0.04)), self.resolution[::-1], strict=True)]  # fmt: skip
        u, v, p = (frames[n][self.first :] for n in self.fields)
        span = float(self.times[-1] - self.times[self.first])
        forces, _ = metrics.force_within(
            (u, v), p, faces, ((-self.box, self.box),) * 2, density=self.density, viscosity=parameters["viscosity"],
            rate=((u[-1] - u[0]) / span, (v[-1] - v[0]) / span),  # its mean over the time
        )  # fmt: skip
        return (forces[1:] + forces[:-1]).sum() / (2 * (len(self.times) - self.first - 1))


class Volume(Asked):
    """Water behind the barrier of a dam 1 s after it came in, by the speed of what comes in, water's density and
    viscosity, and gravity."""

    name, title, unit = "dam", "water behind the barrier", "m²"
    spans: ClassVar = {
        "velocity": (1.1, 1.6), "density": (60.0, 140.0), "viscosity": (0.05, 0.2), "gravity": (8.5, 11.0),
    }  # fmt: skip
    resolution = (16, 60)
    times = 0.1 * np.arange(11)
    fields = ("u", "v", "alpha")

    def made(self, u: Any) -> Case:
        given: dict[str, Any] = dict(zip(self.spans, map(float, u), strict=True))
        return DamFlow().case(**given)

    def solver(self, derivative: str = "reverse") -> TwoPhaseFlow:
        return TwoPhaseFlow(self.resolution, dtype="float64", derivative=derivative)

    def value(self, frames: Mapping[str, Any], parameters: Mapping[str, Any]) -> Any:
        ny, nx = self.resolution
        behind = round(0.55 / 1.5 * nx)
        return frames["alpha"][-1, :, behind:].sum() * (0.4 / ny * 1.5 / nx)


class Probe(Asked):
    """u in a cavity at (½, ¾) after 2 L/U, by the viscosity and the speed of the lid at five times, between which it is
    linear."""

    name, title, unit = "cavity", "velocity at a point", "m/s"
    spans: ClassVar = {"viscosity": (3e-3, 2e-2), **{f"lid_{k}": (0.5, 1.5) for k in range(5)}}
    curve = tuple(f"lid_{k}" for k in range(5))
    resolution = (32, 32)
    times = 0.25 * np.arange(9)
    fields = ("u", "v")

    def made(self, u: Any) -> Case:
        viscosity, *lid = (float(v) for v in u)
        motion = Series(np.linspace(0.0, float(self.times[-1]), len(lid)), np.array(lid))
        return LidDrivenCavity().case(viscosity=viscosity, lid_motion=motion)

    def solver(self, derivative: str = "reverse") -> IncompressibleFlow:
        return IncompressibleFlow(self.resolution, dtype="float64", derivative=derivative)

    def value(self, frames: Mapping[str, Any], parameters: Mapping[str, Any]) -> Any:
        ny, nx = self.resolution
        j, i = round(ny * 0.75), nx // 2  # a corner of four cells
        return frames["u"][-1, j - 1 : j + 1, i - 1 : i + 1].sum() / 4


EVERY: tuple[type[Asked], ...] = (Drag, Volume, Probe)


def reynolds(flow: Asked, u: np.ndarray) -> float:
    case = flow.made(u)
    found = case.problem.reynolds(case)  # type: ignore[attr-defined]
    return found if math.isfinite(found) else 0.0
