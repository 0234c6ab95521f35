"""A viscous, nearly incompressible fluid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

from sciml.materials._compressible import nearer, pressure, stiffness, stored
from sciml.materials._material import Material, State
from sciml.materials._tensors import Tensor, as_given, determinant, deviator, scaled, shifted, symmetric, trace, unpack


@final
@dataclass(frozen=True)
class NewtonianFluid(Material):
    """σ = −p I + 2 η dev D,    p = K/7 (J⁻⁷ − 1),    D = (L + Lᵀ)/2.

    Args:
        modulus: K, Pa; K = ρ₀ c² for an artificial sound speed c some ten times the speeds of the flow keeps changes
            of density near 1 %.
        dynamic_viscosity: η, Pa s.
        tension: 1 for a fluid that can be pulled, 0 for one that tears (p ≥ 0: spray at a free surface).

    State: "ratio" (N,), J.

    Source: J. J. Monaghan, J. Comput. Phys. 110, 399 (1994), for the equation of state of free-surface flows.
    """

    modulus: Any
    dynamic_viscosity: Any = 0.0
    tension: Any = 1.0

    crowds = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("modulus", above=0.0)
        self.require("dynamic_viscosity", least=0.0)
        self.require("tension", least=0.0, most=1.0)

    def begin(self, xp: Any, dimensions: int, count: int, dtype: Any) -> State:
        return {"ratio": xp.ones(count, dtype)}

    def deformed(self, xp: Any, deformation: Any) -> State:
        return {"ratio": determinant(unpack(xp, deformation))}

    def update(self, xp: Any, state: State, gradient: Any, step: Any) -> tuple[State, Any]:
        rate = unpack(xp, gradient)
        ratio = state["ratio"] * (1 + step * trace(rate))
        return {"ratio": ratio}, as_given(xp, self._stress(xp, ratio, rate), gradient)

    def stress(self, xp: Any, state: State, gradient: Any) -> Any:
        return as_given(xp, self._stress(xp, state["ratio"], unpack(xp, gradient)), gradient)

    def _stress(self, xp: Any, ratio: Any, rate: Tensor) -> Tensor:
        viscous = scaled(deviator(symmetric(rate)), 2 * self.dynamic_viscosity * ratio)
        return shifted(viscous, -ratio * pressure(xp, ratio, self.modulus, self.tension))

    def ratio(self, xp: Any, state: State) -> Any:
        return state["ratio"]

    def crowded(self, xp: Any, state: State, ratio: Any, share: Any) -> State:
        return {**state, "ratio": nearer(xp, state["ratio"], ratio, share)}

    def energy(self, xp: Any, state: State) -> Any:
        return stored(xp, state["ratio"], self.modulus, self.tension)

    def speed(self, xp: Any, state: State) -> Any:
        return xp.sqrt(stiffness(state["ratio"], self.modulus) / self.density)

    def viscosity(self) -> Any:
        return self.dynamic_viscosity / self.density
