"""Functions over members: tensors (B, n), one row a system of its own."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from sciml.errors import ConvergenceError, InputError
from sciml.implicit._check import Check

Rows = Callable[[Tensor], Tensor]  # (B, n) -> (B, m)


def members(name: str, guess: Any, batched: bool) -> Tensor:
    """`guess` as rows (B, n), without its gradient.

    Raises:
        InputError: no tensor of float32 or float64, or an empty one, or no batch where one is expected.
    """
    if not isinstance(guess, Tensor) or guess.dtype not in (torch.float32, torch.float64):
        got = guess.dtype if isinstance(guess, Tensor) else type(guess).__name__
        raise InputError(f"{name}: expected a tensor of float32 or float64, got {got}")
    if guess.numel() == 0 or (batched and guess.ndim == 0):
        raise InputError(f"{name}: expected values{' with a leading batch' * batched}, got shape {tuple(guess.shape)}")
    return guess.detach().reshape(len(guess) if batched else 1, -1)


def rows(f: Callable[..., Any], args: tuple[Any, ...], guess: Tensor, batched: bool, same: bool) -> Rows:
    """x ↦ f(x, *args) over rows.

    Args:
        same: whether f must have the shape of its argument.
    """

    def function(x: Tensor) -> Tensor:
        value = f(x.reshape(guess.shape), *args)
        if not isinstance(value, Tensor) or value.dtype != guess.dtype or value.device != guess.device:
            got = f"{value.dtype} on {value.device}" if isinstance(value, Tensor) else type(value).__name__
            raise InputError(f"f: expected values of {guess.dtype} on {guess.device} as the guess has, got {got}")
        if same and value.shape != guess.shape:
            raise InputError(f"f: expected shape {tuple(guess.shape)} as the guess has, got {tuple(value.shape)}")
        if batched and (value.ndim == 0 or len(value) != len(guess)):
            raise InputError(f"f: expected a leading batch of {len(guess)}, got shape {tuple(value.shape)}")
        return value.reshape(len(x), -1)

    return function


def largest(x: Tensor) -> Tensor:
    """(B,) maximum norms; NaN where any value is."""
    return x.abs().amax(dim=-1)


def tolerance(x: Tensor, rtol: float | None, atol: float | None) -> Tensor:
    """(B,) atol + rtol ‖x‖; both are the rounding of the type to the power 3/4 by default."""
    default = torch.finfo(x.dtype).eps ** 0.75
    return (default if atol is None else atol) + (default if rtol is None else rtol) * largest(x)


def jacobian(function: Rows, x: Tensor) -> Tensor:
    """(B, m, n) ∂f/∂x of each member, a row (or, where those are fewer, a column) at a time."""
    value, pull = torch.func.vjp(function, x)  # pyright: ignore[reportAssignmentType]
    if value.shape[1] <= x.shape[1]:
        unit = torch.eye(value.shape[1], dtype=x.dtype, device=x.device)
        return torch.stack([pull(e.expand_as(value))[0] for e in unit], dim=1)
    unit = torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
    return torch.stack([torch.func.jvp(function, (x,), (e.expand_as(x).contiguous(),))[1] for e in unit], dim=2)


def report(check: Check, failed: Tensor, message: str) -> None:
    """Raise or warn where any member failed."""
    count = int(failed.sum())
    if count:
        where = f" ({count} of {len(failed)} members)" if len(failed) > 1 else ""
        if check.on_failure == "raise":
            raise ConvergenceError(message + where)
        warnings.warn(f"{message}{where}; derivatives there are NaN", RuntimeWarning, stacklevel=4)
