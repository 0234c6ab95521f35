"""Providers: how a balance, written once, becomes numbers.

`numpy`, `jax` and `torch` evaluate the strong form and the finite-volume form on structured grids; `jax` and `torch`
also evaluate the strong form of functions by automatic differentiation. `hold_on_part` and `upwind` give a lattice
what a problem says on parts of its sides.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from sciml.derivatives._sides import hold_on_part, upwind

if TYPE_CHECKING:
    from sciml.derivatives import jax, numpy, torch

_MODULES = ("jax", "numpy", "torch")

__all__ = ["hold_on_part", "jax", "numpy", "torch", "upwind"]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"sciml.derivatives.{name}")
    raise AttributeError(f"module 'sciml.derivatives' has no attribute {name!r}")
