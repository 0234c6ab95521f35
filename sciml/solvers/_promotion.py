"""Numerical solvers under whatever promotion modes the user has given JAX."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import jax

F = TypeVar("F", bound=Callable[..., Any])


def standard(function: F) -> F:
    """Run a function under JAX's standard promotion of types and ranks, and leave the user's modes as they are.

    Solvers mix Python numbers with arrays and broadcast over axes on purpose; what is traced within is meant too.
    Products of matrices keep all digits of their type: GPUs would round float32 to 10 bits by themselves.
    """

    @functools.wraps(function)
    def wrapped(*arguments: Any, **named: Any) -> Any:
        promotion = jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow")
        with promotion[0], promotion[1], jax.default_matmul_precision("highest"):
            return function(*arguments, **named)

    return wrapped  # pyright: ignore[reportReturnType]
