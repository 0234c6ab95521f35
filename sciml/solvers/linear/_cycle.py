"""One V cycle on grids that halve, the same in NumPy, torch and JAX.

Red and black Gauss-Seidel sweeps, in reversed order on the way up, keep it symmetric. The coarsest system is solved by
its pseudo-inverse. What coarse grids are made of are rules that can be changed (`Rules`): with any that keep
conductances positive the cycle is symmetric and positive.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from sciml.solvers.linear import _coarse_grids
from sciml.solvers.linear._arrays import Arrays, joined, part
from sciml.solvers.linear._coarse_grids import halved, halved_axes, paired, repeated
from sciml.solvers.linear._ends import End, Ends

COARSEST = 48  # cells


@runtime_checkable
class Rules(Protocol):
    """How coarse grids are made."""

    def halved(self, arrays: Arrays, conductances: list[Any], axis: int, ends: tuple[Ends, ...]) -> list[Any]:
        """Conductances (x, y, ...) of the grid that is halved along one axis."""
        ...


@dataclass(frozen=True)
class Plain:
    """The rules of `_coarse_grids`."""

    def halved(self, arrays: Arrays, conductances: list[Any], axis: int, ends: tuple[Ends, ...]) -> list[Any]:
        return halved(arrays, conductances, axis)


class Level(NamedTuple):
    """One grid: for each axis (x, y, ...) the conductances of both faces of cells over `total`, which is the sum over
    all faces of a cell; 1 on red cells."""

    weights: list[tuple[Any, Any]]
    total: Any
    inverse: Any
    red: Any


def levels(
    arrays: Arrays, conductances: list[Any], ends: tuple[Ends, ...], shape: tuple[int, ...], waits: tuple[int, ...],
    rules: Rules,
) -> tuple[list[Level], Any]:  # fmt: skip
    """From the grid itself to the last but one, and the pseudo-inverse of the coarsest."""
    found: list[Level] = []
    xp = arrays.xp
    while True:
        axes = halved_axes(shape, ends, len(found), waits)
        if int(np.prod(shape)) <= COARSEST or not axes:
            return found, _pseudo_inverse(arrays, conductances, ends, shape)
        total = arrays.barrier(_coarse_grids.total(conductances))
        one = xp.ones_like(total)
        inverse = arrays.barrier(xp.where(total > 0, one / xp.where(total > 0, total, one), 0 * one))
        weights = [(low * inverse, high * inverse) for low, high in _coarse_grids.sides(conductances)]
        red = arrays.constant(np.indices(shape).sum(0) % 2 == 0, one)
        found.append(Level(weights, total, inverse, red))
        for axis in axes:
            conductances = rules.halved(arrays, conductances, axis, ends)
        shape = tuple((n + 1) // 2 if axis in axes else n for axis, n in enumerate(shape))


def cycle(
    arrays: Arrays, grids: list[Level], bottom: Any, ends: tuple[Ends, ...], residual: Any, sweeps: int,
    waits: tuple[int, ...], depth: int = 0,
) -> Any:  # fmt: skip
    """One V cycle from nothing."""
    if depth == len(grids):
        return arrays.matmul(bottom, residual.reshape(-1)).reshape(residual.shape)
    level, shape = grids[depth], tuple(residual.shape)
    red, black = level.red, 1 - level.red
    right = arrays.barrier(level.inverse * residual)

    def relax(e: Any, mine: Any, others: Any) -> Any:
        return arrays.padded(mine * (right + _neighbours(level, e)) + others * _inner(e), ends)

    e = relax(arrays.padded(red * right, ends), black, red)
    for _ in range(sweeps - 1):
        e = relax(relax(e, red, black), black, red)
    rest = residual - level.total * (_inner(e) - _neighbours(level, e))
    axes = halved_axes(shape, ends, depth, waits)
    for axis in axes:
        rest = paired(arrays, rest, axis)
    change = cycle(arrays, grids, bottom, ends, rest, sweeps, waits, depth + 1)
    for axis in axes:
        change = repeated(arrays, change, axis, shape[axis])
    e = arrays.padded(_inner(e) + change, ends)
    for _ in range(sweeps):
        e = relax(relax(e, black, red), red, black)
    return _inner(e)


def _inner(e: Any) -> Any:
    return e[(slice(1, -1),) * e.ndim]


def _neighbours(level: Level, e: Any) -> Any:
    """The mean of the neighbours with the faces' weights, of a padded array."""
    found: Any = 0.0
    for k, pair in enumerate(level.weights):
        axis = e.ndim - 1 - k
        for weight, start in zip(pair, (0, 2), strict=True):
            cut = [slice(1, -1)] * e.ndim
            cut[axis] = slice(start, start + weight.shape[axis])
            found = found + weight * e[tuple(cut)]
    return found


def _pseudo_inverse(arrays: Arrays, conductances: list[Any], ends: tuple[Ends, ...], shape: tuple[int, ...]) -> Any:
    """Of all columns at once: the identity's rows are a further, last axis."""
    xp, size = arrays.xp, int(np.prod(shape))
    unit = arrays.constant(np.eye(size).reshape(*shape, size), conductances[0])
    image = 0 * unit
    for k, c in enumerate(conductances):
        axis, n = len(shape) - 1 - k, shape[-1 - k]
        line = joined(xp, unit, {axis: ends[k][0] is End.PERIODIC})
        flux = c[..., None] * (part(line, axis, 1, None) - part(line, axis, 0, n + 1))
        image = image + part(flux, axis, 0, n) - part(flux, axis, 1, n + 1)
    dense = image.reshape(size, size)
    return xp.linalg.pinv((dense + dense.T) / 2, rtol=size * xp.finfo(dense.dtype).eps, hermitian=True)
