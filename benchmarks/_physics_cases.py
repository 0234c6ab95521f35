"""Flows that COMSOL has solved, as problems: their conditions and coefficients, read off the files (`_physics_proof`).

    ν Δu − ∇p = (u·∇)u,   ∇·u = 0,   steady, ρ = 1

Momentum stands here as ∇·(p I − ν(∇u + ∇uᵀ)) = −(u·∇)u, so that `Flux(0.0)` on an outlet says that no force acts there.
Files: PINNacle (Z. Hao et al., arXiv 2306.08827), MIT licence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from sciml import (
    Balance,
    Box,
    Case,
    Dirichlet,
    FieldSpec,
    Flux,
    InSpace,
    Neumann,
    ParameterSpec,
    PDEProblem,
    Samples,
    Scales,
)
from sciml.boundary import Conditions
from sciml.data.importers import comsol
from sciml.geometry import Disc, Geometry
from sciml.problems import Burgers
from sciml.registry import problems

WALL = "step_wall"  # the boundary of what the step takes away


class SteadyFlow(PDEProblem):
    """∇·u = 0, ∇·(p I − ν(∇u + ∇uᵀ)) = −(u·∇)u."""

    dimensions = 2
    steady = True
    fields = (
        FieldSpec("u", "m s-1", description="velocity along x"),
        FieldSpec("v", "m s-1", description="velocity along y"),
        FieldSpec("p", "Pa", role="diagnostic", description="pressure"),
    )
    parameters = (ParameterSpec("viscosity", "m2 s-1", 1e-2, 0.0, open_minimum=True, description="ν"),)
    velocity = ("u", "v")
    sizes: ClassVar[tuple[float, float, float]]  # of length, velocity and pressure

    def equations(self, q: Any, d: Any, theta: Any, x: Any) -> dict[str, Balance]:
        velocity = d.vector(q.u, q.v)
        gradient = d.grad(velocity)
        carried = d.vector(*(g[0] * q.u + g[1] * q.v for g in gradient))
        stress = theta.viscosity * (gradient + d.transpose(gradient))
        return {  # in the order of the fields: each has the normal flux of its own row
            "momentum": Balance(flux=q.p * d.identity() - stress, source=-1.0 * carried, unit="m s-2"),
            "continuity": Balance(flux=velocity, unit="s-1"),
        }

    def scales(self, case: Case) -> Scales:
        length, speed, pressure = self.sizes
        fields = {"u": speed, "v": speed, "p": pressure}
        return Scales(length, length / speed, fields, velocity=speed, pressure=pressure)

    def initial_state(self, case: Case, grid: Any) -> dict[str, np.ndarray]:
        return {name: np.zeros(grid.shape) for name in ("u", "v")}


@problems.register("two_coefficients")
class TwoCoefficients(Burgers):
    """∂t u + ∂x(λ u²/2 − ν ∂x u) = 0: Burgers' equation with both of its coefficients to be found."""

    name = "two_coefficients"
    parameters = (*Burgers.parameters, ParameterSpec("convection", "1", 1.0, description="λ"))

    def equations(self, q: Any, d: Any, theta: Any, x: Any) -> dict[str, Balance]:
        flux = theta.convection * q.u**2 / 2 - theta.viscosity * d.grad(q.u)
        return {"momentum": Balance(storage=q.u, flux=flux, unit="m s-2")}


def _still() -> dict[str, Any]:
    return {"u": Dirichlet(0.0), "v": Dirichlet(0.0)}


@problems.register("lid_profile")
class LidProfile(SteadyFlow):
    """The unit cavity whose lid moves at a x(1 − x); p = 0 in the corner (0, 0)."""

    name, title = "lid_profile", "Cavity with a lid profile"
    parameters = (*SteadyFlow.parameters, ParameterSpec("lid", "m-1 s-1", 8.0, description="a"))
    sizes = (1.0, 1.0, 1.0)

    def geometry(self, case: Case) -> Geometry:
        return Box((0.0, 0.0), (1.0, 1.0))

    def boundary_conditions(self, case: Case) -> Conditions:
        lid = InSpace(lambda points: case.lid * points[:, 0] * (1 - points[:, 0]))
        walls = {b: _still() for b in ("x_min", "x_max", "y_min")}
        return {**walls, "y_max": {"u": Dirichlet(lid), "v": Dirichlet(0.0)}}

    def scales(self, case: Case) -> Scales:
        speed = case.lid / 4
        pressure = max(speed**2, case.viscosity * speed)
        return Scales(1.0, 1.0 / speed, {"u": speed, "v": speed, "p": pressure}, velocity=speed, pressure=pressure)


@problems.register("two_discs")
class TwoDiscs(SteadyFlow):
    """Flow at ν = 1 past discs at (2, 1) and (6, 6) of radius 0.5 and 1 through [0, 8]²: in with u = y(8 − y)/16, out
    through x = 8 without force."""

    name, title = "two_discs", "Flow past two discs"
    parameters = (ParameterSpec("viscosity", "m2 s-1", 1.0, 0.0, open_minimum=True, description="ν"),)
    sizes = (8.0, 1.0, 3.0)

    def geometry(self, case: Case) -> Geometry:
        box = Box((0.0, 0.0), (8.0, 8.0))
        return box.without(Disc((2.0, 1.0), 0.5), "disc_small").without(Disc((6.0, 6.0), 1.0), "disc_large")

    def boundary_conditions(self, case: Case) -> Conditions:
        inflow = InSpace(lambda points: points[:, 1] * (8 - points[:, 1]) / 16)
        walls = {b: _still() for b in ("y_min", "y_max", "disc_small", "disc_large")}
        free = {"u": Flux(0.0), "v": Flux(0.0)}
        return {**walls, "x_min": {"u": Dirichlet(inflow), "v": Dirichlet(0.0)}, "x_max": free}


@problems.register("step_flow")
class Step(SteadyFlow):
    """Channel [0, 4] × [0, 2] without [0, 2] × [1, 2], ν = 0.01: in with u = 4y(1 − y), out through x = 4.

    There the file has v = 0 and p as on its boundary: nearly zero where fluid leaves, but down to −0.024 where it comes
    back (y > 1.5), for the program suppresses backflow. The pressure that belongs to it is hence a condition, along y.
    """

    name, title = "step_flow", "Flow over a step"
    sizes = (1.0, 1.0, 0.2)

    def __init__(self, outlet: Samples | float = 0.0):
        self.outlet = outlet

    def geometry(self, case: Case) -> Geometry:
        return Box((0.0, 0.0), (4.0, 2.0)).without(Box((-1.0, 1.0), (2.0, 3.0)), WALL)

    def boundary_conditions(self, case: Case) -> Conditions:
        inflow = InSpace(lambda points: 4 * points[:, 1] * (1 - points[:, 1]))
        found: dict[str, Any] = {b: _still() for b in case.geometry.boundaries}
        found["x_min"] = {"u": Dirichlet(inflow), "v": Dirichlet(0.0)}
        found["x_max"] = {"u": Neumann(0.0), "v": Dirichlet(0.0), "p": Dirichlet(self.outlet)}
        return found


@dataclass(frozen=True)
class Given:
    """A case, and what COMSOL found for it.

    Args:
        points: (N, D) in the coordinates of the case.
        fields: name -> (N,), or (T, N) over `times`.
        free: fields that the conditions determine up to a constant.
        goal: the goal that it counts for, "" for none.
    """

    title: str
    case: Case
    points: np.ndarray
    fields: Mapping[str, np.ndarray]
    times: np.ndarray | None = None
    free: tuple[str, ...] = ()
    goal: str = ""


def _lid(a: float) -> Callable[[Path], Given]:
    def make(folder: Path) -> Given:
        table = comsol.read(folder / f"lid_driven_a{a:g}.dat")
        case = LidProfile().case(viscosity=0.01, lid=a)
        fields = {n: table.field(n) for n in table.names}
        return Given(f"cavity, lid {a:g} x(1 - x)", case, table.points, fields, free=("p",))

    return make


def _two_discs(folder: Path) -> Given:
    table = comsol.read(folder / "ns2d.dat")
    fields = {n: table.field(n) for n in table.names}
    return Given("two discs (ns2d)", TwoDiscs().case(), table.points, fields, goal="pinn_ns2d_comsol_relative_l2")


def _step(folder: Path) -> Given:
    table = comsol.read(folder / "ns_0_obstacle.dat")
    fields = {n: table.field(n) for n in table.names}
    end = np.isclose(table.points[:, 0], 4.0)
    outlet = Samples(table.points[end], fields["p"][end])
    return Given("step (ns_0_obstacle)", Step(outlet).case(), table.points, fields)


def _burgers(folder: Path) -> Given:
    """u₀ = −sin πx on [-1, 1] is sin(2πx/2) on [0, 2], one to the right."""
    table = comsol.read(folder / "burgers1d.dat")
    case = Burgers().case(viscosity=0.01 / np.pi, length=2.0)
    return Given("Burgers", case, table.points + 1.0, {"u": table.field("u")}, table.times)


#: name -> how a case is made of the files in a folder
GIVEN: Mapping[str, Callable[[Path], Given]] = {
    "burgers": _burgers,
    "lid_2": _lid(2.0),
    "lid_8": _lid(8.0),
    "lid_32": _lid(32.0),
    "two_discs": _two_discs,
    "step": _step,
}
