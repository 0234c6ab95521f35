"""An elastic solid that may be deformed as far as one likes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

from sciml.materials._material import Material, State
from sciml.materials._tensors import (
    Tensor,
    as_given,
    congruence,
    determinant,
    half,
    identity,
    increment,
    largest,
    made,
    pack,
    scaled,
    shifted,
    trace,
    unpack,
)  # fmt: skip


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
        return {"b": identity(xp, dimensions, count, dtype)}

    def deformed(self, xp: Any, deformation: Any) -> State:
        f = unpack(xp, deformation)
        d = len(f)
        return {"b": pack(xp, congruence(f, made(d, lambda i, j: 1.0 * (i == j))))}

    def update(self, xp: Any, state: State, gradient: Any, step: Any) -> tuple[State, Any]:
        b = congruence(increment(unpack(xp, gradient), step), half(xp, state["b"]))
        return {"b": as_given(xp, b, gradient)}, as_given(xp, self._stress(xp, b), gradient)

    def stress(self, xp: Any, state: State, gradient: Any) -> Any:
        return as_given(xp, self._stress(xp, half(xp, state["b"])), gradient)

    def _stress(self, xp: Any, b: Tensor) -> Tensor:
        by = self.lame / 2 * xp.log(determinant(b)) - self.shear_modulus
        return shifted(scaled(b, self.shear_modulus), by)

    def ratio(self, xp: Any, state: State) -> Any:
        return xp.sqrt(determinant(unpack(xp, state["b"])))

    def energy(self, xp: Any, state: State) -> Any:
        b = unpack(xp, state["b"])
        log = xp.log(determinant(b)) / 2
        return self.shear_modulus / 2 * (trace(b) - len(b) - 2 * log) + self.lame / 2 * log**2

    def speed(self, xp: Any, state: State) -> Any:
        """ρ₀ c² = dτ/d ln λ − τ along the longest axis, where the stretch is λ = √b; in space an upper bound."""
        b = unpack(xp, state["b"])
        log = xp.log(determinant(b)) / 2
        stiffness = self.shear_modulus * (1 + largest(xp, b)) + self.lame * (1 - log)
        return xp.sqrt(xp.maximum(stiffness, self.shear_modulus) / self.density)
