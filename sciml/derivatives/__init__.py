"""Providers: how a balance, written once, becomes numbers.

`numpy`, `jax` and `torch` evaluate the strong form and the finite-volume form on structured grids; `jax` and `torch`
also evaluate the strong form of functions by automatic differentiation.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sciml.derivatives import jax, numpy, torch

__all__ = ["jax", "numpy", "torch"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return importlib.import_module(f"sciml.derivatives.{name}")
    raise AttributeError(f"module 'sciml.derivatives' has no attribute {name!r}")
