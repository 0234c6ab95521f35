"""What problems are of: parameters of matter, and the materials that follow from them."""

from __future__ import annotations

from sciml.materials import DruckerPrager, NewtonianFluid, lame_constants
from sciml.problem import Case, ParameterSpec


def rest_density(default: float) -> ParameterSpec:
    return ParameterSpec("rest_density", "kg m-3", default, 0.0, description="without pressure", open_minimum=True)


MACH = ParameterSpec("mach", "1", 0.1, 0.0, 1.0, "largest speed over the artificial sound speed", open_minimum=True)
TENSION = ParameterSpec("tension", "1", 0.0, 0.0, 1.0, "share of a pull that it bears; 0 for a fluid that tears")
FLUID = (
    rest_density(1000.0),
    ParameterSpec("viscosity", "Pa s", 0.1, 0.0, description="dynamic; water's is 1e-3"),
    MACH,
    TENSION,
)


def elastic(young: float) -> tuple[ParameterSpec, ...]:
    """Young's modulus, with a default, and Poisson's ratio."""
    return (
        ParameterSpec("young", "Pa", young, description="Young's modulus", logarithmic=True),
        ParameterSpec("poisson", "1", 0.3, 0.0, 0.49, "Poisson's ratio"),
    )


FRICTION = ParameterSpec("wall_friction", "1", 0.5, 0.0, description="Coulomb's coefficient of floor and obstacle")
SAND = (
    rest_density(1600.0),
    ParameterSpec("friction_angle", "degree", 30.0, 0.0, 60.0, "of grains among each other"),
    *elastic(4e5),
    FRICTION,
)


def fluid(case: Case, speed: float) -> NewtonianFluid:
    """A fluid with a sound speed of `speed`/mach."""
    return NewtonianFluid(case.rest_density, case.rest_density * (speed / case.mach) ** 2, case.viscosity, case.tension)


def sand(case: Case) -> DruckerPrager:
    return DruckerPrager(case.rest_density, *lame_constants(case.young, case.poisson), case.friction_angle)
