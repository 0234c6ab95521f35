"""Constants of elastic solids."""

from __future__ import annotations

from typing import Any

import numpy as np

from sciml.errors import InputError, is_number
from sciml.materials._material import is_array


def lame_constants(young: Any, poisson: Any) -> tuple[Any, Any]:
    """(μ, λ) in Pa: μ = E/(2(1 + ν)), λ = Eν/((1 + ν)(1 − 2ν)).

    Args:
        young: Young's modulus E, Pa.
        poisson: Poisson's ratio ν, above −1 and below 1/2.

    Raises:
        InputError: a plain number out of range, or no number at all.
    """
    ranges = (("young", young, 0.0, np.inf, "> 0"), ("poisson", poisson, -1.0, 0.5, "in (-1, 0.5)"))
    for name, value, low, high, bound in ranges:
        if not (is_array(value) or (is_number(value) and low < value < high)):
            raise InputError(f"lame_constants: {name} is {value!r:.60}, expected a number {bound}")
    return young / (2 * (1 + poisson)), young * poisson / ((1 + poisson) * (1 - 2 * poisson))
