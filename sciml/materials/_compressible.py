"""The pressure of nearly incompressible fluids."""

from __future__ import annotations

from typing import Any

#: of the equation of state: that of water (F. D. Murnaghan 1944; R. H. Cole, Underwater Explosions, 1948)
EXPONENT = 7


def pressure(xp: Any, ratio: Any, modulus: Any, tension: Any) -> Any:
    """p = K/γ (J^−γ − 1), γ = 7; where that is negative, `tension` times as much."""
    p = modulus / EXPONENT * (ratio**-EXPONENT - 1)
    return xp.where(p < 0, tension * p, p)


def stored(xp: Any, ratio: Any, modulus: Any, tension: Any) -> Any:
    """−∫ p dJ from J = 1 on: K/γ (J^(1−γ)/(γ−1) + J − γ/(γ−1)) per first volume."""
    w = modulus / EXPONENT * (ratio ** (1 - EXPONENT) / (EXPONENT - 1) + ratio - EXPONENT / (EXPONENT - 1))
    return xp.where(ratio > 1, tension * w, w)


def stiffness(ratio: Any, modulus: Any) -> Any:
    """ρ₀ c² = K J^(1−γ), c² = dp/dρ."""
    return modulus * ratio ** (1 - EXPONENT)


def nearer(xp: Any, ratio: Any, seen: Any, share: Any) -> Any:
    """J, nearer by `share` of the way to the smaller one of itself and of what is seen."""
    return ratio + share * xp.minimum(seen - ratio, 0.0)
