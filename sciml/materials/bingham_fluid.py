"""A fluid that yields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

from sciml.materials._compressible import nearer, pressure, stiffness, stored
from sciml.materials._material import Material, State
from sciml.materials._tensors import (
    Tensor,
    as_given,
    congruence,
    determinant,
    deviator,
    half,
    identity,
    increment,
    norm,
    scaled,
    shifted,
    trace,
    unpack,
)  # fmt: skip


@final
@dataclass(frozen=True)
class BinghamFluid(Material):
    """τ = s − J p I,    s = μ dev b̄,    p = K/7 (J⁻⁷ − 1),

    with b̄ (det b̄ = 1) the part of the left Cauchy-Green tensor that is elastic and keeps volume. Up to the yield
    stress, |s| ≤ √2 τ_y, it is an elastic solid, so that nothing creeps; beyond it flows at the rate

        Dᵖ = (1 − √2 τ_y/|s|) s/(2η),

    in simple shear at a rate γ̇: τ = τ_y + η γ̇, but for terms of the order (τ/μ)². A step takes this rate at its end:
    |s| − √2 τ_y = (|s_trial| − √2 τ_y)/(1 + μ Δt tr b̄/(d η)), for which no step is too long.

    Args:
        modulus: K, Pa, as of `NewtonianFluid`.
        shear_modulus: μ, Pa, of what does not yield.
        yield_stress: τ_y, Pa, in shear.
        plastic_viscosity: η, Pa s; 0 for a plastic solid without a rate.
        tension: 1 for a fluid that can be pulled apart against its pressure, 0 for one that tears.

    State: "b" (d, d, N), b̄; "ratio" (N,), J.

    Source: E. C. Bingham, Fluidity and Plasticity (1922); the step is that of J. C. Simo and T. J. R. Hughes,
    Computational Inelasticity (1998), box 9.1, with Perzyna's rate; so used for foams by Y. Yue et al., ACM Trans.
    Graph. 34, 160 (2015).
    """

    modulus: Any
    shear_modulus: Any
    yield_stress: Any
    plastic_viscosity: Any = 0.0
    tension: Any = 1.0

    crowds = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("modulus", above=0.0)
        self.require("shear_modulus", above=0.0)
        for name in ("yield_stress", "plastic_viscosity"):
            self.require(name, least=0.0)
        self.require("tension", least=0.0, most=1.0)

    def begin(self, xp: Any, dimensions: int, count: int, dtype: Any) -> State:
        return {"b": identity(xp, dimensions, count, dtype), "ratio": xp.ones(count, dtype)}

    def deformed(self, xp: Any, deformation: Any) -> State:
        """The volume alone: how it was sheared is forgotten where it has yielded."""
        ratio = determinant(unpack(xp, deformation))
        return {"b": identity(xp, deformation.shape[0], len(ratio), ratio.dtype), "ratio": ratio}

    def update(self, xp: Any, state: State, gradient: Any, step: Any) -> tuple[State, Any]:
        grown = increment(unpack(xp, gradient), step)
        ratio = state["ratio"] * determinant(grown)
        trial = _isochoric(congruence(grown, half(xp, state["b"])))
        mean = trace(trial) / len(trial)
        shear = shifted(trial, -mean)
        size = self.shear_modulus * norm(xp, shear)
        limit = 2**0.5 * self.yield_stress
        kept = self.plastic_viscosity / (self.plastic_viscosity + self.shear_modulus * step * mean)
        yields = size > limit
        share = xp.where(yields, (limit + (size - limit) * kept) / xp.where(yields, size, 1.0), 1.0)
        b = _isochoric(shifted(scaled(shear, share), mean))  # its determinant was at least 1: this lessens the shear
        state = {"b": as_given(xp, b, gradient), "ratio": ratio}
        return state, as_given(xp, self._stress(xp, b, ratio), gradient)

    def stress(self, xp: Any, state: State, gradient: Any) -> Any:
        return as_given(xp, self._stress(xp, half(xp, state["b"]), state["ratio"]), gradient)

    def _stress(self, xp: Any, b: Tensor, ratio: Any) -> Tensor:
        shear = scaled(deviator(b), self.shear_modulus)
        return shifted(shear, -ratio * pressure(xp, ratio, self.modulus, self.tension))

    def ratio(self, xp: Any, state: State) -> Any:
        return state["ratio"]

    def crowded(self, xp: Any, state: State, ratio: Any, share: Any) -> State:
        return {**state, "ratio": nearer(xp, state["ratio"], ratio, share)}

    def energy(self, xp: Any, state: State) -> Any:
        """μ/2 (tr b̄ − d) and what compresses it."""
        b = unpack(xp, state["b"])
        sheared = self.shear_modulus / 2 * (trace(b) - len(b))
        return sheared + stored(xp, state["ratio"], self.modulus, self.tension)

    def speed(self, xp: Any, state: State) -> Any:
        """An upper bound: ρ₀ c² = K J⁻⁶ + μ ((1/d + 2/d²) tr b̄ − (4/d − 1) b̄ₙₙ) along n, less its last term."""
        b = unpack(xp, state["b"])
        sheared = self.shear_modulus * (1 / len(b) + 2 / len(b) ** 2) * trace(b)
        return xp.sqrt((stiffness(state["ratio"], self.modulus) + sheared) / self.density)


def _isochoric(b: Tensor) -> Tensor:
    return scaled(b, determinant(b) ** (-1 / len(b)))
