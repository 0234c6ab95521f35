"""Any place, any time: the fields of a solution between cell centres and between frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.interpolate import BSpline, NdBSpline, make_interp_spline

from sciml.errors import InputError
from sciml.structure._flow import Flow, Walls, read
from sciml.structure.gradient import wall_values
from sciml.support import Grid

if TYPE_CHECKING:
    from jaxtyping import Float


class Interpolant:
    """Fields f(x, t) of a solution: tensor-product cubic splines in space and in time, of class C².

    Along periodic axes splines are periodic and points wrap; along others they end not-a-knot, and points beyond the
    domain take the value at its nearest place. On grids with a mask fields are multilinear between the cells inside
    (`Grid.stencil`), since no tensor product keeps away from a body. Fewer than four frames or cells lower the degree.
    A steady solution is the same at all times.

    Args:
        solution: on a grid, steady or over "time".
        fields: by itself the velocity.
        grid, velocity: as of `sciml.structure.vortices`.
        walls: velocities that are known at ends, see `velocity_gradient`; of use where fields are its components.
        span: the times that will be asked for; only frames around them are prepared.

    Raises:
        InputError: one frame of an unsteady solution where a span is asked, times outside of it, no velocity, values
            that are not finite.
    """

    def __init__(
        self,
        solution: Any,
        fields: Sequence[str] | None = None,
        *,
        grid: Grid | None = None,
        velocity: Sequence[str] | None = None,
        walls: Walls | None = None,
        span: tuple[float, float] | None = None,
    ):
        flow = read("interpolation", solution, grid, velocity, fields)
        self.grid, self.times = flow.grid, flow.times
        self.fields = flow.names
        first, stop = self._frames(flow, span)
        values = np.stack(
            [[flow.values(n, k) for n in self.fields] for k in range(first, stop)]
        )  # (time, field, *shape)
        inside = self.grid.inside
        sound = np.isfinite(values if inside is None else np.where(inside, values, 0.0))
        if not sound.all():  # one value would spoil the whole spline
            k, n = (int(i[0]) for i in np.nonzero(~sound)[:2])
            at = "" if self.times is None else f" at time {self.times[first + k]:g}"
            raise InputError(f"interpolation: {self.fields[n]}: expected finite values, got some that are not{at}")
        if inside is not None:
            self.knots: list[tuple[np.ndarray, int]] = []
            coefficients = np.where(inside, values, 0.0)
        else:
            coefficients = self._in_space(values, wall_values(self.grid, walls or {}), flow.names)
        self.clock: tuple[np.ndarray, int] | None = None
        if self.times is not None and stop - first > 1:
            times = self.times[first:stop]
            degree = min(3, len(times) - 1)
            spline = make_interp_spline(times, coefficients, degree)
            self.clock, coefficients = (spline.t, degree), spline.c
        self.coefficients = np.ascontiguousarray(coefficients)
        self._now: tuple[float, np.ndarray] | None = None

    @staticmethod
    def _frames(flow: Flow, span: tuple[float, float] | None) -> tuple[int, int]:
        if flow.times is None:
            return 0, 1
        low, high = (flow.times[0], flow.times[-1]) if span is None else (min(span), max(span))
        slack = 1e-9 * max(1.0, abs(low), abs(high))
        if high - low > slack and flow.frames == 1:
            raise InputError(f"times: expected a solution with frames over {low:g} to {high:g}, got one frame alone")
        if low < flow.times[0] - slack or high > flow.times[-1] + slack:
            raise InputError(
                f"times: expected times within those of the solution, {flow.times[0]:g} to {flow.times[-1]:g}, "
                f"got {low:g} to {high:g}"
            )
        first = max(0, int(np.searchsorted(flow.times, low, side="right")) - 4)
        return first, min(flow.frames, max(int(np.searchsorted(flow.times, high)) + 4, first + 1))

    def _in_space(self, values: np.ndarray, known: list[Any], components: tuple[str, ...]) -> np.ndarray:
        """Coefficients (time, x, y, (z), field) of the splines; their knots are kept."""
        d = self.grid.dimensions
        self.knots = []
        for axis in range(d):
            lines, c = np.moveaxis(values, -1 - axis, 0), self.grid.centres[axis]
            if self.grid.periodic[axis]:
                period = self.grid.faces[axis][-1] - self.grid.faces[axis][0]
                degree = 3 if len(c) > 3 else 1
                places = np.concatenate([c, c[:1] + period])
                closed = np.concatenate([lines, lines[:1]])
                spline = make_interp_spline(places, closed, degree, bc_type="periodic" if degree == 3 else None)
            else:
                places = c
                for end, wall in enumerate(known[axis]):
                    if wall is None or any(n not in components for n in self.fields):
                        continue
                    face = self.grid.faces[axis][[-end]]
                    at = np.array([wall[components.index(n)] for n in self.fields])
                    row = np.broadcast_to(at.reshape((1, -1) + (1,) * (d - 1)), lines.shape[1:])[None]
                    places = np.concatenate([places, face] if end else [face, places])
                    lines = np.concatenate([lines, row] if end else [row, lines])
                spline = make_interp_spline(places, lines, min(3, len(places) - 1))
            self.knots.append((spline.t, spline.k))
            values = np.moveaxis(spline.c, 0, -1 - axis)
        return np.moveaxis(values, 1, -1).transpose((0, *range(d, 0, -1), d + 1))

    def _at(self, time: float) -> np.ndarray:
        if self._now is None or self._now[0] != time:
            if self.clock is None:
                self._now = (time, self.coefficients[0])
            else:
                t, k = self.clock
                within = np.clip(time, t[k], t[-k - 1])
                row = BSpline.design_matrix(np.atleast_1d(within), t, k)
                self._now = (time, np.tensordot(row.data, self.coefficients[row.indices], 1))
        return self._now[1]

    def __call__(
        self, points: Float[np.ndarray, "point dimension"], time: float = 0.0
    ) -> Float[np.ndarray, "point field"]:
        """(N, fields) at (N, D) points, all at one time."""
        now = self._at(float(time))
        places = self.grid_places(np.asarray(points, dtype=np.float64))
        if not self.knots:
            return self.grid.stencil(places)(now.reshape(len(self.fields), -1)).T
        spline = NdBSpline(tuple(t for t, _ in self.knots), now, tuple(k for _, k in self.knots))
        return spline(places, extrapolate=True)

    def grid_places(self, points: np.ndarray) -> np.ndarray:
        """Points in the domain: wrapped along periodic axes (into what splines span), held at the ends of others."""
        places = np.empty_like(points)
        for a in range(self.grid.dimensions):
            f = self.grid.faces[a]
            if self.grid.periodic[a]:
                low = self.grid.centres[a][0]
                places[:, a] = low + np.mod(points[:, a] - low, f[-1] - f[0])
            else:
                places[:, a] = np.clip(points[:, a], f[0], f[-1])
        return places
