"""Constants of elastic solids."""

from __future__ import annotations

from typing import Any


def lame_constants(young: Any, poisson: Any) -> tuple[Any, Any]:
    """(μ, λ) in Pa: μ = E/(2(1 + ν)), λ = Eν/((1 + ν)(1 − 2ν)).

    Args:
        young: Young's modulus E, Pa.
        poisson: Poisson's ratio ν, below 1/2.
    """
    return young / (2 * (1 + poisson)), young * poisson / ((1 + poisson) * (1 - 2 * poisson))
