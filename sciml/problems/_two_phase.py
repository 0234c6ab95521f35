"""What the problems with two fluids share."""

from __future__ import annotations

from typing import Any

from sciml.expressions import Balance, Operators
from sciml.problem import FieldSpec, ParameterSpec

#: the first fluid is called water and the second one air, whatever they are
FIELDS = (
    FieldSpec("u", "m s-1", description="velocity along x"),
    FieldSpec("v", "m s-1", description="velocity along y"),
    FieldSpec("alpha", "1", description="volume fraction of water", bounds=(0.0, 1.0)),
    FieldSpec(
        "p", "Pa", role="diagnostic", description="pressure above that of air at rest, zero where the domain is open"
    ),
)


def fluids(density: float, viscosity: float) -> tuple[ParameterSpec, ...]:
    """Densities and dynamic viscosities, with the defaults of water's."""
    return (
        ParameterSpec("density", "kg m-3", density, 0.0, open_minimum=True, description="of water"),
        ParameterSpec("viscosity", "Pa s", viscosity, 0.0, open_minimum=True, description="of water, dynamic"),
        ParameterSpec("air_density", "kg m-3", 1.225, 0.0, open_minimum=True),
        ParameterSpec("air_viscosity", "Pa s", 1.7894e-5, 0.0, open_minimum=True, description="dynamic"),
    )


def two_phase(q: Any, d: Operators, theta: Any, gravity: Any = None) -> dict[str, Balance]:
    """∇·u = 0, ∂tα + ∇·(α u) = 0 and ∂t(ρu) + ∇·(ρ u⊗u + p I − μ(∇u + ∇uᵀ)) = (ρ − ρ_air) g, with ρ and μ the means of
    water's and air's with weights α and 1 − α, and p counted from the hydrostatic pressure of air.

    Args:
        gravity: g along −y as an expression; None without.
    """
    velocity = d.vector(q.u, q.v)
    gradient = d.grad(velocity)
    lighter = theta.density - theta.air_density
    density = theta.air_density + lighter * q.alpha
    viscosity = theta.air_viscosity + (theta.viscosity - theta.air_viscosity) * q.alpha
    weight = 0.0 if gravity is None else d.vector(0.0, -(lighter * gravity * q.alpha))
    return {
        "continuity": Balance(flux=velocity, unit="s-1"),
        "fraction": Balance(storage=q.alpha, flux=q.alpha * velocity, unit="s-1"),
        "momentum": Balance(
            storage=density * velocity,
            flux=density * d.outer(velocity, velocity)
            + q.p * d.identity()
            - viscosity * (gradient + d.transpose(gradient)),
            source=weight,
            unit="N m-3",
        ),
    }
