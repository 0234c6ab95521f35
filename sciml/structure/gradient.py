"""Derivatives of point values on any grid: spectral along periodic axes of equal cells, finite differences elsewhere.

Values are taken as those at cell centres (`Grid.centres`), as spectral and nodal solvers answer; of finite-volume data,
whose values are means over cells, this differs by O(h²), the order of such data.

Source: B. Fornberg, Math. Comp. 51, 699 (1988), for weights on unequal points.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from sciml.derivatives._stencils import fornberg, stencil
from sciml.errors import InputError
from sciml.geometry import AXES, SIDES
from sciml.support import Grid

if TYPE_CHECKING:
    from jaxtyping import Float

    from sciml.structure._flow import Walls

WIDTH = 7  # points of a stencil


class Differences:
    """∂/∂x_a and ∂²/∂x_a² on one grid.

    Along a periodic axis of equal cells that no mask cuts derivatives are those of the trigonometric interpolant (the
    mode of two cells has no first derivative). Elsewhere they are those of the polynomial through the `width` = 7
    nearest values: order 6 for first derivatives, on stretched cells and up to the ends as well, one-sided there; order
    5 for second ones (6 in the middle of equal cells). Nothing is read across the edge of a mask: each unbroken line of
    cells has stencils of its own, of up to as many points as it has cells.

    Args:
        grid: where values are.
        width: points of a stencil.
        fourier: whether Fourier modes are taken where they can be; without them all is finite differences.
    """

    def __init__(self, grid: Grid, width: int = WIDTH, fourier: bool = True):
        self.grid, self.width, self.fourier = grid, width, fourier
        self._rules: dict[tuple[Any, ...], Any] = {}
        for axis, n in zip(AXES, reversed(grid.shape), strict=False):
            if n < 2 and not grid.periodic[AXES.index(axis)]:
                raise InputError(f"grid: expected at least 2 cells along {axis} to take derivatives, got {n}")

    def spectral(self, axis: int) -> bool:
        """Whether derivatives along this axis are those of Fourier modes."""
        w = self.grid.widths[axis]
        even = np.ptp(w) <= 1e-9 * w[0] and self.grid.at is None
        return self.fourier and self.grid.periodic[axis] and bool(even) and self.grid.mask is None

    def __call__(
        self, values: Float[np.ndarray, "*values"], axis: int, order: int = 1, ends: Any = (None, None)
    ) -> Any:
        """∂^order values / ∂x_axis^order.

        Args:
            values: (..., *shape).
            axis: 0 for x, 1 for y, 2 for z.
            order: 1 or 2.
            ends: what is known at the lower and at the upper end of the axis: numbers, or None.

        Returns:
            (..., *shape); NaN outside the mask, and where a line of the mask is one cell long.
        """
        if self.spectral(axis):
            return self._spectral(values, axis, order)
        ends = tuple(None if self.grid.periodic[axis] else e for e in ends)
        if self.grid.mask is not None:
            return self._masked(values, axis, order, ends)
        key = (axis, order, *(e is not None for e in ends))
        if key not in self._rules:
            self._rules[key] = self._matrix(*key)
        cells, fixed = self._rules[key]
        lines = np.moveaxis(values, -1 - axis, 0)
        found = (cells @ lines.reshape(len(lines), -1)).reshape(lines.shape)
        for column, end in zip(fixed, ends, strict=True):
            if end is not None:
                found += column.reshape((-1,) + (1,) * (lines.ndim - 1)) * end
        return np.moveaxis(found, 0, -1 - axis)

    def gradient(self, values: Float[np.ndarray, "*values"]) -> Float[np.ndarray, "axis ..."]:
        """∂ values/∂x_a over a leading axis a."""
        return np.stack([self(values, a) for a in range(self.grid.dimensions)])

    def laplacian(self, values: Float[np.ndarray, "*values"]) -> Float[np.ndarray, "*values"]:
        """Σ_a ∂² values/∂x_a²."""
        return sum(self(values, a, 2) for a in range(self.grid.dimensions))  # type: ignore[return-value]

    def _spectral(self, values: np.ndarray, axis: int, order: int) -> np.ndarray:
        faces = self.grid.faces[axis]
        n = len(faces) - 1
        k = 2j * np.pi / (faces[-1] - faces[0]) * np.arange(n // 2 + 1)
        if n % 2 == 0 and order == 1:
            k[-1] = 0.0
        modes = np.fft.rfft(values, axis=-1 - axis)
        return np.fft.irfft(modes * (k**order).reshape((-1,) + (1,) * axis), n, axis=-1 - axis)

    def _matrix(self, axis: int, order: int, low: bool, high: bool) -> tuple[Any, tuple[np.ndarray, np.ndarray]]:
        """A sparse matrix on cells, and what the values at the two ends are multiplied by."""
        faces, c = self.grid.faces[axis], self.grid.centres[axis]
        n = len(c)
        if n == 1:
            return sparse.csr_matrix((1, 1)), (np.zeros(1), np.zeros(1))
        points = np.concatenate([faces[:1]] * low + [c] + [faces[-1:]] * high)
        period = faces[-1] - faces[0] if self.grid.periodic[axis] else None
        rule = stencil(points, c, max(self.width, order + 1), order, period)
        rows = np.repeat(np.arange(n), rule.indices.shape[1])
        whole = sparse.csr_matrix((rule.weights.ravel(), (rows, rule.indices.ravel())), (n, len(points))).tocsc()
        first, last = (whole[:, k].toarray().ravel() for k in (0, len(points) - 1))
        return whole[:, low : low + n].tocsr(), (first, last)

    def _masked(self, values: np.ndarray, axis: int, order: int, ends: tuple[Any, Any]) -> np.ndarray:
        mask = self.grid.inside
        assert mask is not None
        faces, c, around = self.grid.faces[axis], self.grid.centres[axis], self.grid.periodic[axis]
        n, period = len(c), self.grid.faces[axis][-1] - self.grid.faces[axis][0]
        lines, wet = np.moveaxis(values, -1 - axis, -1), np.moveaxis(mask, -1 - axis, -1)
        wet = np.broadcast_to(wet, lines.shape[lines.ndim - wet.ndim :])
        if around:  # a stencil reaches over the seam
            turns = -(-self.width // n)
            points = np.concatenate([c + k * period for k in range(-turns, turns + 1)])
            lines, wet = (np.concatenate([a] * (2 * turns + 1), axis=-1) for a in (lines, wet))
            own = turns * n
        else:
            points, own = c, 0
            for end, value in ((0, ends[0]), (1, ends[1])):
                if value is None:
                    continue
                edge = np.broadcast_to(np.asarray(value, dtype=np.float64), (*lines.shape[:-1], 1))
                there, face = np.ones((*wet.shape[:-1], 1), bool), faces[-1:] if end else faces[:1]
                order_of = (lambda a, b: (a, b)) if end else (lambda a, b: (b, a))
                points = np.concatenate(order_of(points, face))
                lines = np.concatenate(order_of(lines, edge), axis=-1)
                wet = np.concatenate(order_of(wet, there), axis=-1)
                own += 1 - end
        place = np.arange(len(points))
        start = np.maximum.accumulate(np.where(wet, -1, place), axis=-1) + 1
        stop = np.minimum.accumulate(np.where(wet, len(points), place)[..., ::-1], axis=-1)[..., ::-1]
        chosen = slice(own, own + n)
        start, stop, at = (
            start[..., chosen],
            stop[..., chosen],
            np.broadcast_to(place[chosen], start[..., chosen].shape),
        )
        width = np.minimum(max(self.width, order + 1), stop - start)
        first = np.clip(at - width // 2, start, stop - width)
        good = wet[..., chosen] & (width > order)
        code = np.where(good, (at * len(points) + first) * (self.width + 1) + width, -1)
        kinds, which = np.unique(code, return_inverse=True)
        weights = np.full((len(kinds), self.width), np.nan)
        for row, kind in enumerate(kinds):
            if kind >= 0:
                (i, f), w = divmod(kind // (self.width + 1), len(points)), kind % (self.width + 1)
                weights[row] = 0.0
                weights[row, :w] = fornberg(points[f : f + w], float(points[i]), order)
        weights, found = weights[which.reshape(code.shape)], np.zeros((*lines.shape[:-1], n))
        for k in range(self.width):
            index = np.broadcast_to(np.clip(first + k, 0, len(points) - 1), found.shape)
            term = weights[..., k] * np.take_along_axis(lines, index, axis=-1)
            found += np.where(good & (weights[..., k] == 0.0), 0.0, term)  # what is not read may be NaN
        return np.moveaxis(found, -1, -1 - axis)


def velocity_gradient(
    velocity: Float[np.ndarray, "component ..."],
    grid: Grid,
    walls: Walls | None = None,
    differences: Differences | None = None,
) -> Float[np.ndarray, "component axis ..."]:
    """A_ij = ∂u_i/∂x_j of one frame; orders as of `Differences`.

    Args:
        velocity: (D, *shape), components along x, y, (z), in m/s.
        grid: of D dimensions, in m.
        walls: what is known at ends of axes, "y_min" -> (D,) velocity or one number for all components; such a value
            stands in the stencils at the face.
        differences: of the grid, where they are at hand.

    Returns:
        (D, D, *shape) in 1/s.

    Raises:
        InputError: another number of components than the grid has axes, another shape, or no such wall.
    """
    velocity = np.asarray(velocity, dtype=np.float64)
    d = grid.dimensions
    if d < 2 or velocity.shape != (d, *grid.shape):
        raise InputError(
            f"velocity: expected shape ({d}, {str(grid.shape)[1:]} in 2 or 3 dimensions, got {velocity.shape}"
        )
    ends = wall_values(grid, walls or {})
    rule = differences or Differences(grid)
    found = np.empty((d, d, *grid.shape))
    for i in range(d):
        for j in range(d):
            found[i, j] = rule(velocity[i], j, ends=[None if e is None else e[i] for e in ends[j]])
    return found


def wall_values(grid: Grid, walls: Mapping[str, Any]) -> list[tuple[np.ndarray | None, np.ndarray | None]]:
    """For each axis what is known at its lower and upper end, (D,) each."""
    d = grid.dimensions
    sides = list(SIDES)[: 2 * d]
    for name, value in walls.items():
        if name not in sides or grid.periodic[AXES.index(name[0])]:
            free = [s for s in sides if not grid.periodic[AXES.index(s[0])]]
            raise InputError(f"walls: expected ends that are not periodic ({', '.join(free) or 'none'}), got {name!r}")
        if np.shape(value) not in ((), (d,)):
            raise InputError(f"walls: {name}: expected {d} velocities or one number, got shape {np.shape(value)}")
    known = {n: np.broadcast_to(np.asarray(v, dtype=np.float64), (d,)) for n, v in walls.items()}
    return [(known.get(f"{a}_min"), known.get(f"{a}_max")) for a in AXES[:d]]
