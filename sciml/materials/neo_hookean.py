"""An elastic solid that may be deformed as far as one likes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

from sciml.materials._material import Material, State
from sciml.materials._tensors import congruence, determinant, identity, increment, largest, shifted, trace


@final
@dataclass(frozen=True)
class NeoHookean(Material):
    """τ = μ (b − I) + λ ln J I,    W = μ/2 (tr b − d − 2 ln J) + λ/2 (ln J)²,    b = F Fᵀ,  J = det F.

    Small strains obey Hooke's law with Lamé's λ and μ.

    Args:
        shear_modulus: μ, Pa.
        lame: λ, Pa.

    State: "b" (d, d, N), the left Cauchy-Green tensor.

    Source: J. Bonet and R. D. Wood, Nonlinear Continuum Mechanics for Finite Element Analysis (2008), eq. 6.27 f.
    """

    shear_modulus: Any
    lame: Any

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("shear_modulus", above=0.0)
        self.require("lame", least=0.0)

    def begin(self, xp: Any, dimensions: int, count: int, dtype: Any) -> State:
        return {"b": identity(xp, xp.zeros((dimensions, dimensions, count), dtype))}

    def deformed(self, xp: Any, deformation: Any) -> State:
        return {"b": congruence(xp, deformation, identity(xp, deformation))}

    def update(self, xp: Any, state: State, gradient: Any, step: Any) -> tuple[State, Any]:
        state = {"b": congruence(xp, increment(xp, gradient, step), state["b"])}
        return state, self.stress(xp, state, gradient)

    def stress(self, xp: Any, state: State, gradient: Any) -> Any:
        by = self.lame * self._log_ratio(xp, state) - self.shear_modulus
        return shifted(xp, self.shear_modulus * state["b"], by)

    def _log_ratio(self, xp: Any, state: State) -> Any:
        return xp.log(determinant(state["b"])) / 2

    def ratio(self, xp: Any, state: State) -> Any:
        return xp.sqrt(determinant(state["b"]))

    def energy(self, xp: Any, state: State) -> Any:
        log, b = self._log_ratio(xp, state), state["b"]
        return self.shear_modulus / 2 * (trace(b) - b.shape[0] - 2 * log) + self.lame / 2 * log**2

    def speed(self, xp: Any, state: State) -> Any:
        """ρ₀ c² = dτ/d ln λ − τ along the longest axis, where the stretch is λ = √b."""
        stiffness = self.shear_modulus * (1 + largest(xp, state["b"])) + self.lame * (1 - self._log_ratio(xp, state))
        return xp.sqrt(xp.maximum(stiffness, self.shear_modulus) / self.density)
