"""Shared plumbing of the metrics: array namespaces, masked weights, safe ratios."""

from __future__ import annotations

from typing import Any

import numpy as np

from sciml.arrays import unmasked
from sciml.errors import InputError


def namespace(*arrays: Any) -> Any:
    """The array-API namespace of the first argument that is not NumPy's, else NumPy."""
    for array in arrays:
        if hasattr(array, "__array_namespace__") and not isinstance(array, np.ndarray | np.generic):
            return array.__array_namespace__()
    return np


def floating(xp: Any, array: Any) -> Any:
    """`array` in the namespace `xp`; NumPy sums are carried in float64 whatever the input's dtype."""
    array = unmasked("metrics: values", array)
    if xp is np:
        if hasattr(array, "detach"):  # a torch tensor, taken without importing torch
            array = array.detach().cpu()
        return np.asarray(array, dtype=np.float64)
    array = xp.asarray(array)
    return array if xp.isdtype(array.dtype, "real floating") else xp.astype(array, xp.asarray(0.0).dtype)


def prepare(prediction: Any, target: Any, mask: Any, weights: Any) -> tuple[Any, Any, Any, Any]:
    """Returns (xp, prediction, target, weight): equal shapes, and zeros wherever the weight is zero.

    Values outside the mask are replaced, not multiplied, so that a NaN in a solid cell cannot spread.
    """
    prediction, target = unmasked("prediction", prediction), unmasked("target", target)
    xp = namespace(prediction, target)
    p, t = floating(xp, prediction), floating(xp, target)
    if p.shape != t.shape:
        raise InputError(f"prediction and target: expected equal shapes, got {tuple(p.shape)} and {tuple(t.shape)}")
    w = xp.ones(p.shape, dtype=p.dtype)
    for name, factor in (("mask", mask), ("weights", weights)):
        if factor is None:
            continue
        factor = floating(xp, unmasked(name, factor))
        try:
            w = w * xp.broadcast_to(factor, p.shape)
        except ValueError as error:
            raise InputError(
                f"{name}: expected a shape that broadcasts to {tuple(p.shape)}, got {tuple(factor.shape)}"
            ) from error
    if bool(xp.any(w < 0)):
        raise InputError("mask and weights: expected values >= 0, got negative ones")
    if mask is not None or weights is not None:
        inside = w > 0
        p = xp.where(inside, p, xp.zeros_like(p))
        t = xp.where(inside, t, xp.zeros_like(t))
    return xp, p, t, w


def mean(xp: Any, values: Any, weight: Any, axis: Any, keepdims: bool = False) -> Any:
    """Σ w a / Σ w over `axis`; a slice without a single weighted cell is an error."""
    total = xp.sum(weight, axis=axis, keepdims=keepdims)
    if bool(xp.any(total == 0)):
        raise InputError("mask: expected at least one cell to average over, got none")
    return xp.sum(weight * values, axis=axis, keepdims=keepdims) / total


def ratio(xp: Any, numerator: Any, denominator: Any) -> Any:
    """a / b with the edge cases defined: 0 / 0 = 0 and a / 0 = ∞."""
    zero = denominator == 0
    safe = xp.where(zero, xp.ones_like(denominator), denominator)
    edge = xp.where(numerator == 0, xp.zeros_like(numerator), xp.full_like(numerator, float("inf")))
    return xp.where(zero, edge, numerator / safe)
