"""What a provider needs of its array library."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Backend:
    """Array functions of NumPy, JAX or torch under one set of names.

    Args:
        asarray: (values, like) -> array of the library, in the dtype and on the device of `like`.
        take: (array, integer indices, axis) -> array with the axis replaced by the index axis.
        concatenate: (arrays, axis) -> array.
        stack: (arrays, axis) -> array.
        broadcast: (array, shape) -> array.
        rfft, irfft: (array, axis), (array, n, axis).
        functions: elementary functions by name.
    """

    asarray: Callable[[Any, Any], Any]
    take: Callable[[Any, Any, int], Any]
    concatenate: Callable[[list[Any], int], Any]
    stack: Callable[[list[Any], int], Any]
    broadcast: Callable[[Any, tuple[int, ...]], Any]
    rfft: Callable[[Any, int], Any]
    irfft: Callable[[Any, int, int], Any]
    functions: Mapping[str, Callable[..., Any]]
