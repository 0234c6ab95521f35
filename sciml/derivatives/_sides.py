"""Values on parts of the sides of a grid, where a lattice knows conditions on whole ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sciml.expressions import Field

if TYPE_CHECKING:
    from sciml.derivatives._lattice import Lattice


def hold_on_part(lattice: Lattice, name: str, axis: int, end: int, here: np.ndarray, values: Any) -> None:
    """Give a field its values on some faces of one end of an axis.

    Args:
        axis, end: which side, end 0 or 1.
        here: (face,) which of its faces, in the order of `Grid.side_points`.
        values: (..., face); those elsewhere have no effect.
    """
    shape = _layer(lattice, axis)
    given = lattice.backend.asarray(values, lattice.like)
    given = given.reshape((*given.shape[:-1], *shape))
    _replace(lattice, name, axis, end, here, given)


def upwind(lattice: Lattice, phase: str, across: str, axis: int, end: int, here: np.ndarray) -> None:
    """Of two fluids: through what is open goes what is beside it, and the second one comes in.

    Args:
        phase: the volume fraction of the first of them.
        across: the velocity along the axis.
        axis, end, here: as of `hold_on_part`.
    """
    take = lattice.backend.take
    through = take(lattice.faces(Field(across), axis), _last(lattice, axis, end, 1), -1 - axis)
    beside = take(lattice.cells(Field(phase)), _last(lattice, axis, end, 0), -1 - axis)
    none = lattice.backend.asarray(np.zeros(_layer(lattice, axis)), lattice.like)
    _replace(lattice, phase, axis, end, here, _where(lattice, through * (2 * end - 1) > 0, beside, none))


def _replace(lattice: Lattice, name: str, axis: int, end: int, here: np.ndarray, layer: Any) -> None:
    values = lattice.faces(Field(name), axis)
    n = values.shape[-1 - axis]
    take, at = lattice.backend.take, np.asarray(here, dtype=np.float64).reshape(_layer(lattice, axis))
    former = take(values, _last(lattice, axis, end, 1), -1 - axis)
    new = _where(lattice, lattice.backend.asarray(at, lattice.like) > 0, layer, former)
    rest = take(values, np.arange(n - 1) if end else np.arange(1, n), -1 - axis)
    lattice.hold(name, axis, lattice.backend.concatenate([rest, new] if end else [new, rest], -1 - axis))


def _layer(lattice: Lattice, axis: int) -> tuple[int, ...]:
    shape = list(lattice.grid.shape)
    shape[-1 - axis] = 1
    return tuple(shape)


def _last(lattice: Lattice, axis: int, end: int, more: int) -> np.ndarray:
    return np.array([end * (lattice.grid.shape[-1 - axis] - 1 + more)])


def _where(lattice: Lattice, condition: Any, a: Any, b: Any) -> Any:
    chosen: Any = lattice.backend.functions["where"]
    return chosen(condition, a, b)
