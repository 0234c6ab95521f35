"""Boundary values by construction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from sciml.boundary import Condition, Dirichlet, Samples
from sciml.constraints import joined, shares
from sciml.errors import InputError
from sciml.problem import Case
from sciml.support import Grid
from sciml.training.laws.base import Constraint, moments, named

if TYPE_CHECKING:
    from sciml.training.encoding import Encoding

ON = 1e-9  # of half the least extent: so near to a boundary a point is on it
HAIR = 1e-30  # φ where nothing may change and nothing is given


@dataclass(frozen=True)
class BoundaryValues(Constraint):
    """û = g + φ N, or of residual models û = u + φ N and g on the boundary: given values are met whatever N is.

    φ is a smooth distance from all boundaries of the case on which the field is given, over half the least extent of
    the domain; g has the given values there, means weighted by inverse distances in between. Values that vary along a
    boundary are continued by their own function. Of a field that no condition gives φ = 1 and g = 0.

    An operator that answers at points obeys at every point that it is asked for, on a boundary exactly; one on a grid
    at the centres of cells, none of which lies on a boundary: there the answer goes towards the value.

    Args:
        fields: which ones; () for all that a condition gives.
        order: of the joining of distances: derivatives along the normal up to it are those of the nearest boundary.

    Source: I. E. Lagaris, A. Likas, D. I. Fotiadis, IEEE Trans. Neural Networks 9, 987 (1998); N. Sukumar,
    A. Srivastava, Comput. Methods Appl. Mech. Eng. 389, 114333 (2022).
    """

    fields: tuple[str, ...] = ()
    order: int = 2

    pointwise: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self._range("order", 1)

    def changes(self, encoding: Encoding) -> tuple[str, ...]:
        for name in self.fields:
            named(name, encoding, "BoundaryValues")
        return self.fields or encoding.fields

    def ansatz(self, encoding: Encoding, case: Case, points: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        shape = points.shape[:-1]
        phi, g = np.ones((len(encoding.fields), *shape)), np.zeros((len(encoding.fields), *shape))
        flat, wanted = points.reshape(-1, points.shape[-1]), self.changes(encoding)
        lengths = [b - a for a, b in case.geometry.extents]
        size, diameter = 0.5 * min(lengths), float(np.linalg.norm(lengths))
        some = False
        for k, name in enumerate(encoding.fields):
            given = {
                b: conditions[name] for b, conditions in case.boundary_conditions.items()
                if name in wanted and name in conditions and conditions[name].given
            }  # fmt: skip
            if not given:
                if name in self.fields:
                    raise InputError(f"constraints: BoundaryValues: no condition of this case gives {name}")
                continue
            some = True
            # infinite beside what other regions have cut off
            every = [np.minimum(np.abs(case.geometry.boundaries[b].distance(flat)), diameter) for b in given]
            every = [np.where(d <= ON * size, 0.0, d) for d in every]
            values = [_values(encoding, case, b, name, c, flat) for b, c in given.items()]
            for c in encoding.constraints:
                low, high = c.limits().get(name, (-np.inf, np.inf))
                for b, d, v in zip(given, every, values, strict=True):
                    if np.any(beyond := (d == d.min(initial=np.inf)) & ((v < low) | (v > high))):
                        raise InputError(
                            f"constraints: BoundaryValues: {name} on {b} is given as {v[beyond][0]:.6g}, which "
                            f"{type(c).__name__} does not allow"
                        )
            factor = joined(every, self.order) / size
            g[k] = np.sum([w * v for w, v in zip(shares(every), values, strict=True)], axis=0).reshape(shape)
            if encoding.stepping.residual:  # where conditions that meet disagree, the frame before has the last word
                there = [np.where(d == 0, v, np.nan) for d, v in zip(every, values, strict=True)]
                apart = np.fmax.reduce(there) > np.fmin.reduce(there)
                factor = np.where(apart, HAIR, factor)
            phi[k] = factor.reshape(shape)
        if not some:
            raise InputError(
                f"constraints: BoundaryValues: no condition of {case.problem.name} gives the value of a field"
            )
        return phi, g


def _values(
    encoding: Encoding, case: Case, boundary: str, field: str, condition: Condition, points: np.ndarray
) -> np.ndarray:
    """(N,) of a condition that does not change in time."""
    if not callable(condition.value) and np.ndim(condition.value) > 0:
        side, grid = case.geometry.boundaries[boundary].side, case.support
        if side is None or not isinstance(grid, Grid):
            raise InputError(
                f"constraints: BoundaryValues: {field} on {boundary} is given as an array along a side, but the case "
                "does not live on a grid"
            )
        condition = Dirichlet(Samples(grid.side_points(*side), np.ravel(condition.value)))
    first, *others = (
        np.broadcast_to(np.asarray(condition.at(t, points), dtype=np.float64), (len(points),))
        for t in moments(encoding, case, [condition])
    )
    if any(not np.array_equal(first, other) for other in others):
        raise InputError(
            f"constraints: BoundaryValues: {field} on {boundary} changes in time, expected constant values"
        )
    return first
