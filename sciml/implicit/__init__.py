"""Solutions of equations as differentiable functions of what stands in the equations.

    f(x, θ) = 0   ⇒   dx/dθ = −(∂f/∂x)⁻¹ ∂f/∂θ,

whatever iteration found x, with memory that does not grow with its steps. `sciml.implicit.jax` and
`sciml.implicit.torch` each have `root`, `fixed_point`, `least_squares` and `linear_solve`; `sciml.implicit.bridge`
takes a function of JAX into torch and a function of torch into JAX, with derivatives. `Check` says what is done where a
solution or its derivative cannot be trusted. Importing this package loads neither JAX nor torch.

Source: A. Griewank, A. Walther, Evaluating Derivatives (2008), chapter 15; M. Blondel et al., Efficient and Modular
Implicit Differentiation (2022).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from sciml.errors import ConvergenceError
from sciml.implicit._check import DENSE, Check

if TYPE_CHECKING:
    from sciml.implicit import bridge, jax, torch

_MODULES = ("bridge", "jax", "torch")

__all__ = ["DENSE", "Check", "ConvergenceError", "bridge", "jax", "torch"]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"sciml.implicit.{name}")
    raise AttributeError(f"module 'sciml.implicit' has no attribute {name!r}")
