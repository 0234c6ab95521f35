"""Grains that hold by friction alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

from sciml.materials._material import Material, State
from sciml.materials._tensors import (
    Tensor,
    as_given,
    cauchy_green,
    congruence,
    determinant,
    half,
    hencky,
    identity,
    increment,
    norm,
    scaled,
    shifted,
    square,
    unpack,
)  # fmt: skip


@final
@dataclass(frozen=True)
class DruckerPrager(Material):
    """τ = 2μ ε + λ tr ε I,    ε = ½ ln b,    |dev τ| ≤ α d p,    p = −tr τ/d ≥ 0,

    with b the elastic left Cauchy-Green tensor and ε Hencky's strain. Without cohesion; shear changes no volume (no
    dilatancy). α follows from the friction angle φ:

    - d = 3: α = √(2/3) 2 sin φ/(3 − sin φ), the cone through the compressive corners of Mohr and Coulomb's pyramid;
    - d = 2: α = sin φ/√2, which is Mohr and Coulomb's law itself: the largest shear stress in the plane is p sin φ.

    A step takes what is beyond the cone away at constant volume, and all of it where grains have lost touch. By how
    much the volume then exceeds that of grains that touch is kept, and has to be made good before they bear a load
    again: without this, grains that part and meet gain volume.

    Args:
        shear_modulus: μ, Pa; lame: λ, Pa.
        friction_angle: φ, degrees, from 0 to 90.

    State: "b" (d, d, N); "excess" (N,) ≥ 0, ln of the volume over that at which grains touch; ln J = tr ε + excess.

    Source: G. Klár et al., ACM Trans. Graph. 35, 103 (2016), sections 4.2 f.; the correction of volume A. P. Tampubolon
    et al., ACM Trans. Graph. 36, 105 (2017), section 4.3.4.
    """

    shear_modulus: Any
    lame: Any
    friction_angle: Any

    crowds = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("shear_modulus", above=0.0)
        self.require("lame", least=0.0)
        self.require("friction_angle", least=0.0, most=90.0)

    def slope(self, xp: Any, dimensions: int) -> Any:
        """α."""
        sine = xp.sin(self.friction_angle * (xp.pi / 180))
        return sine / 2**0.5 if dimensions == 2 else (2 / 3) ** 0.5 * 2 * sine / (3 - sine)

    def begin(self, xp: Any, dimensions: int, count: int, dtype: Any) -> State:
        return {"b": identity(xp, dimensions, count, dtype), "excess": xp.zeros(count, dtype)}

    def deformed(self, xp: Any, deformation: Any) -> State:
        """The volume alone: how it was sheared is forgotten where grains have slid."""
        d, total = deformation.shape[0], xp.log(determinant(unpack(xp, deformation)))
        b = identity(xp, d, len(total), total.dtype) * xp.exp(2 * xp.minimum(total, 0.0) / d)
        return {"b": b, "excess": xp.maximum(total, 0.0)}

    def update(self, xp: Any, state: State, gradient: Any, step: Any) -> tuple[State, Any]:
        trial = congruence(increment(unpack(xp, gradient), step), half(xp, state["b"]))
        d, (volume, shear) = len(trial), hencky(xp, trial)
        total = volume + state["excess"]
        pressed, size = xp.minimum(total, 0.0), norm(xp, shear)
        limit = -self.slope(xp, d) * (d * self.lame / (2 * self.shear_modulus) + 1) * pressed
        slides = size > limit
        held = xp.where(pressed < 0, 1.0, 0.0)  # without pressure no shear is borne, be it infinitesimal
        shear = scaled(shear, xp.where(slides, limit / xp.where(slides, size, 1.0), held))
        b = as_given(xp, cauchy_green(xp, pressed, shear), gradient)
        return {"b": b, "excess": xp.maximum(total, 0.0)}, as_given(xp, self._stress(pressed, shear), gradient)

    def stress(self, xp: Any, state: State, gradient: Any) -> Any:
        return as_given(xp, self._stress(*hencky(xp, half(xp, state["b"]))), gradient)

    def _stress(self, volume: Any, shear: Tensor) -> Tensor:
        return shifted(scaled(shear, 2 * self.shear_modulus), self._bulk(len(shear)) * volume)

    def _bulk(self, dimensions: int) -> Any:
        return self.lame + 2 * self.shear_modulus / dimensions

    def ratio(self, xp: Any, state: State) -> Any:
        return xp.sqrt(determinant(unpack(xp, state["b"]))) * xp.exp(state["excess"])

    def crowded(self, xp: Any, state: State, ratio: Any, share: Any) -> State:
        """Of the excess alone: what is borne stays as it is."""
        borne = xp.log(determinant(unpack(xp, state["b"]))) / 2
        least = xp.maximum(xp.log(ratio) - borne, 0.0)
        return {**state, "excess": state["excess"] + share * xp.minimum(least - state["excess"], 0.0)}

    def energy(self, xp: Any, state: State) -> Any:
        """μ ε:ε + λ/2 (tr ε)²."""
        volume, shear = hencky(xp, unpack(xp, state["b"]))
        return self.shear_modulus * square(shear) + self._bulk(len(shear)) / 2 * volume**2

    def speed(self, xp: Any, state: State) -> Any:
        """An upper bound: ρ₀ c² = λ + 2μ − τₙₙ along n, and −τₙₙ ≤ p + |dev τ| ≤ (1 + α d) p."""
        b = unpack(xp, state["b"])
        d = len(b)
        pressure = -self._bulk(d) * xp.log(determinant(b)) / 2
        more = (1 + self.slope(xp, d) * d) * xp.maximum(pressure, 0.0)
        return xp.sqrt((self.lame + 2 * self.shear_modulus + more) / self.density)
