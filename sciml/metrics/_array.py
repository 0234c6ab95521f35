"""Shared plumbing of the metrics: array namespaces, masked weights, safe ratios."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Shaped

from sciml.arrays import unmasked
from sciml.errors import InputError


def is_tensor(array: Any) -> bool:
    """Whether this is a torch tensor, found out without importing torch."""
    return type(array).__module__.partition(".")[0] == "torch"


@runtime_checkable
class Labelled(Protocol):
    """An `xarray.DataArray`, known without importing xarray; its dimensions go by their names, in any order."""

    @property
    def dims(self) -> Any: ...
    @property
    def coords(self) -> Any: ...
    @property
    def values(self) -> Any: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    def transpose(self, *dims: Any) -> Any: ...


@runtime_checkable
class Array(Protocol):
    """An array without labels, of NumPy or any library with the array API, or a tensor."""

    @property
    def dtype(self) -> Any: ...
    @property
    def device(self) -> Any: ...
    @property
    def shape(self) -> tuple[int, ...]: ...


Values = Labelled | Shaped[Array, "*shape"]
Factor = Labelled | Shaped[Array, "*#shape"] | float | None  # a mask, weights
Kept = Shaped[Any, "*kept"] | float  # what is left after a reduction
Line = Shaped[Any, " _line"] | Sequence[float]  # times, coordinates


def namespace(*arrays: Any) -> Any:
    """The array-API namespace of the first argument that is not NumPy's, else NumPy."""
    for array in arrays:
        if hasattr(array, "__array_namespace__") and not isinstance(array, np.ndarray | np.generic):
            return array.__array_namespace__()
    return np


def floating(xp: Any, array: Any) -> Any:
    """`array` in the namespace `xp`; NumPy sums are carried in float64 whatever the input's dtype."""
    array = unmasked("metrics: values", array)
    if is_tensor(array) and xp is not np:
        return array if array.is_floating_point() else array.to(xp.get_default_dtype())
    if xp is not np and xp is sys.modules.get("torch"):
        return xp.as_tensor(np.asarray(array, dtype=np.float64))
    if xp is np:
        if hasattr(array, "detach"):  # a torch tensor, taken without importing torch
            array = array.detach().cpu()
        return np.asarray(array, dtype=np.float64)
    array = xp.asarray(array)
    return array if xp.isdtype(array.dtype, "real floating") else xp.astype(array, xp.asarray(0.0).dtype)


def align(arrays: dict[str, Any], order: Sequence[str] = ()) -> dict[str, Any]:
    """The arrays without labels, by their labels in one order of dimensions: `order`, or else that of the last one.

    The first two, and whatever else is of full size, have the same dimensions; the others (mask and weights) may lack
    some. Arrays without labels are taken as they are.

    Raises:
        InputError: dimensions or coordinates that differ, named.
    """
    labelled = {name: a for name, a in arrays.items() if isinstance(a, Labelled)}
    if not labelled:
        return arrays
    full = [name for name in labelled if name not in ("mask", "weights")]
    found = dict(arrays)
    if not full:
        return found | {name: a.values for name, a in labelled.items()}
    reference = full[-1]
    dims = tuple(labelled[reference].dims)
    if order and set(order) <= set(dims):
        dims = (*(d for d in dims if d not in order), *order)
    for name, array in labelled.items():
        own = set(array.dims)
        if (name in full and own != set(dims)) or not own <= set(dims):
            raise InputError(f"{name}: expected the dimensions of {reference}, {dims}, got {tuple(array.dims)}")
        for d in array.dims:
            _same_labels(name, reference, str(d), array, labelled[reference])
        present = [d for d in dims if d in own]
        values = array.transpose(*present).values
        found[name] = values[tuple(slice(None) if d in own else None for d in dims)]
    return found


def _same_labels(name: str, reference: str, dim: str, array: Any, other: Any) -> None:
    if array.sizes[dim] != other.sizes[dim]:
        raise InputError(
            f"{name}: expected {other.sizes[dim]} values along {dim} as {reference} has, got {array.sizes[dim]}"
        )
    if dim not in array.coords or dim not in other.coords:
        return
    a, b = np.asarray(array.coords[dim].values), np.asarray(other.coords[dim].values)
    if a.dtype.kind in "fiu" and b.dtype.kind in "fiu":
        tolerance = 4 * float(np.finfo(np.float32).eps) * float(np.abs(b).max(initial=0.0))  # files may hold float32
        same = np.allclose(a, b, rtol=0.0, atol=tolerance)
        reordered = np.allclose(np.sort(a), np.sort(b), rtol=0.0, atol=tolerance)
    else:
        same, reordered = np.array_equal(a, b), set(a.tolist()) == set(b.tolist())
    if not same:
        how = "the same in another order; take reindex_like" if reordered else "others"
        raise InputError(f"{name}: expected the coordinates along {dim} that {reference} has, got {how}")


def prepare(prediction: Any, target: Any, mask: Any, weights: Any, tensors: bool = False) -> tuple[Any, Any, Any, Any]:
    """Returns (xp, prediction, target, weight): equal shapes, and zeros wherever the weight is zero.

    Values outside the mask are replaced, not multiplied, so that a NaN in a solid cell cannot spread. With `tensors`
    those of torch stay what they are, and can be differentiated; else they become arrays of NumPy.
    """
    given = align({"prediction": prediction, "target": target, "mask": mask, "weights": weights})
    prediction, target, mask, weights = given.values()
    prediction, target = unmasked("prediction", prediction), unmasked("target", target)
    xp = namespace(prediction, target)
    if tensors and (is_tensor(prediction) or is_tensor(target)):
        xp = sys.modules["torch"]
    p, t = floating(xp, prediction), floating(xp, target)
    if p.shape != t.shape:
        raise InputError(f"prediction and target: expected equal shapes, got {tuple(p.shape)} and {tuple(t.shape)}")
    w = xp.ones_like(p)
    for name, factor in (("mask", mask), ("weights", weights)):
        if factor is None:
            continue
        factor = floating(xp, unmasked(name, factor))
        try:
            w = w * xp.broadcast_to(factor, p.shape)
        except (ValueError, RuntimeError) as error:
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


def some(xp: Any, total: Any) -> None:
    """Refuse to average where the sum of the weights is zero."""
    if bool(xp.any(total == 0)):
        raise InputError("mask: expected at least one cell to average over, got none")


def mean(xp: Any, values: Any, weight: Any, axis: Any, keepdims: bool = False) -> Any:
    """Σ w a / Σ w over `axis`; a slice without a single weighted cell is an error."""
    total = xp.sum(weight, axis=axis, keepdims=keepdims)
    some(xp, total)
    return xp.sum(weight * values, axis=axis, keepdims=keepdims) / total


def ratio(xp: Any, numerator: Any, denominator: Any) -> Any:
    """a / b with the edge cases defined: 0 / 0 = 0 and a / 0 = ∞."""
    zero = denominator == 0
    safe = xp.where(zero, xp.ones_like(denominator), denominator)
    edge = xp.where(numerator == 0, xp.zeros_like(numerator), xp.full_like(numerator, float("inf")))
    return xp.where(zero, edge, numerator / safe)
