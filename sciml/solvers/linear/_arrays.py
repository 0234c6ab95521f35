"""What one text needs of NumPy, torch and JAX, so that it is written once for all three."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from sciml.solvers.linear._ends import End, Ends


def part(values: Any, axis: int, start: int | None, stop: int | None, step: int | None = None) -> Any:
    """A slice along one axis."""
    index = [slice(None)] * values.ndim
    index[axis] = slice(start, stop, step)
    return values[tuple(index)]


def joined(xp: Any, values: Any, around: dict[int, bool]) -> Any:
    """With one more value on both ends of some axes: from around where it says so, else 0."""
    for axis, periodic in around.items():
        n = values.shape[axis]
        first, last = part(values, axis, 0, 1), part(values, axis, n - 1, n)
        if not periodic:
            first, last = xp.zeros_like(first), xp.zeros_like(last)
        values = xp.concatenate([last, values, first], axis)
    return values


@dataclass(frozen=True)
class Arrays:
    """One of NumPy, torch and JAX.

    Args:
        xp: the module, of which only what all three have in common is called.
        constant: (NumPy array, like) -> the same numbers in the type, and on the device, of another array.
        matmul: to full precision.
        barrier: makes what it is given be written to memory, where a compiler would compute it anew in each use.
        ring: as `joined`.
        single: to single precision, where that is worth it.
    """

    xp: Any
    constant: Callable[[np.ndarray, Any], Any]
    matmul: Callable[[Any, Any], Any]
    barrier: Callable[[Any], Any] = lambda values: values
    ring: Callable[[Any, Any, dict[int, bool]], Any] = joined
    single: Callable[[Any], Any] = lambda values: values

    def padded(self, values: Any, ends: tuple[Ends, ...]) -> Any:
        """With one more value on all sides.

        What follows takes these from memory: XLA would compute a sweep anew in each use of its result.
        """
        around = {values.ndim - 1 - k: low is End.PERIODIC for k, (low, _) in enumerate(ends)}
        return self.barrier(self.ring(self.xp, self.barrier(values), around))

    def even(self, values: Any, axis: int) -> Any:
        """With a zero behind along an axis whose number is odd."""
        if values.shape[axis] % 2 == 0:
            return values
        return self.xp.concatenate([values, self.xp.zeros_like(part(values, axis, 0, 1))], axis)


NUMPY = Arrays(np, lambda values, like: values.astype(like.dtype), np.matmul)
