"""Coarser grids: two cells along an axis become one.

A coarse face's conductance is half the sum of the fine ones that it is made of, for the distance has doubled. Residuals
are summed, corrections go back as they are: the coarse operator is PᵀAP but for its halved conductances, with which
corrections that are constant over coarse cells have their right size.

Source: D. Braess, Computing 55, 379 (1995).
"""

from __future__ import annotations

from typing import Any

from sciml.solvers.linear._arrays import Arrays, part
from sciml.solvers.linear._ends import End, Ends


def halved_axes(shape: tuple[int, ...], ends: tuple[Ends, ...], depth: int, waits: tuple[int, ...]) -> list[int]:
    """Which axes the next grid halves: not an odd number of cells around a periodic axis, nor axes that wait, unless
    there is nothing else to do."""
    may = [n > 2 and not (end[0] is End.PERIODIC and n % 2) for n, end in zip(shape, ends[::-1], strict=True)]
    now = [m and depth >= wait for m, wait in zip(may, waits[::-1] or (0,) * len(may), strict=True)]
    return [axis for axis, half in enumerate(now if any(now) else may) if half]


def sides(conductances: list[Any]) -> list[tuple[Any, Any]]:
    """For each axis (x, y, ...) the conductances of both faces of cells."""
    found = []
    for k, c in enumerate(conductances):
        axis = len(conductances) - 1 - k
        n = c.shape[axis] - 1
        found.append((part(c, axis, 0, n), part(c, axis, 1, n + 1)))
    return found


def total(conductances: list[Any]) -> Any:
    """Over all faces of cells."""
    return sum(side for pair in sides(conductances) for side in pair)


def halved(arrays: Arrays, conductances: list[Any], axis: int) -> list[Any]:
    """Conductances (x, y, ...) of the grid that is halved along one axis."""
    found = []
    for k, c in enumerate(conductances):
        if len(conductances) - 1 - k != axis:
            found.append(paired(arrays, c, axis))
            continue
        n = c.shape[axis] - 1
        faces = part(c, axis, 0, None, 2)
        if n % 2:  # the last coarse cell is the last fine one
            faces = arrays.xp.concatenate([faces, part(c, axis, n, n + 1)], axis)
        found.append(faces / 2)
    return found


def paired(arrays: Arrays, values: Any, axis: int) -> Any:
    """Sums of two neighbours, the last one alone where there is an odd number."""
    values = arrays.even(values, axis)
    return arrays.barrier(part(values, axis, 0, None, 2) + part(values, axis, 1, None, 2))


def repeated(arrays: Arrays, values: Any, axis: int, count: int) -> Any:
    """Each value twice along an axis, `count` in all."""
    shape = list(values.shape)
    shape[axis] *= 2
    return part(arrays.xp.stack([values, values], axis + 1).reshape(shape), axis, 0, count)
