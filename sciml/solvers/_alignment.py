"""Trajectories of different cases side by side: at the same times, and at the same places."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sciml.errors import InputError
from sciml.geometry import Box
from sciml.problem import Case
from sciml.support import Grid, Mesh, Points, Support
from sciml.training.samples import CaseTable

Map = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, eq=False)
class Clock:
    """The times at which trajectories are known.

    Args:
        nondimensional: whether they count in the case's time scale, or else in the problem's time unit.
        times: (K,) increasing.
    """

    nondimensional: bool
    times: np.ndarray

    @staticmethod
    def common(table: CaseTable, name: str) -> Clock:
        """The clock of the longest case: in time scales if all frames then agree, else in time units if they do, else
        in those of the two in which the cases end more alike.

        Raises:
            InputError: cases that do not begin together.
        """
        assert table.times is not None
        scales = [c.scales.time for c in table.cases]
        both = {True: [t / s for t, s in zip(table.times, scales, strict=True)], False: table.times}
        for unit, clocks in both.items():
            found = Clock(unit, max(clocks, key=len))
            if all(found._agrees(c) for c in clocks):
                return found
        ends = {k: [float(c[-1]) for c in clocks] for k, clocks in both.items()}
        spread = {k: np.ptp(e) / (max(e) or 1.0) for k, e in ends.items()}
        unit = bool(spread[True] <= spread[False])
        found = Clock(unit, max(both[unit], key=lambda c: c[-1]))
        begins = [float(c[0]) for c in both[unit]]
        if np.ptp(begins) > 0.5 * found.step:
            word = "time scales" if unit else table.problem.time_unit
            raise InputError(
                f"{name}: training cases begin at {min(begins):g} to {max(begins):g} {word}, expected one time"
            )
        return found

    @property
    def step(self) -> float:
        """The mean time between frames; 0 where there is one frame."""
        return float(self.times[-1] - self.times[0]) / max(len(self.times) - 1, 1)

    def _agrees(self, clock: np.ndarray) -> bool:
        smallest = float(np.diff(self.times).min(initial=np.inf))
        return float(np.abs(clock - self.times[: len(clock)]).max()) <= 1e-3 * smallest

    def unit(self, case: Case) -> float:
        return case.scales.time if self.nondimensional else 1.0

    def positions(self, case: Case, times: np.ndarray) -> np.ndarray:
        """Where times lie between the frames, as fractional numbers of frames: whole ones at frames; before the first
        and beyond the last frame in mean steps."""
        known, tau = self.times, np.asarray(times, dtype=np.float64) / self.unit(case)
        found = np.interp(tau, known, np.arange(len(known)))
        if self.step > 0:
            found = np.where(tau < known[0], (tau - known[0]) / self.step, found)
            found = np.where(tau > known[-1], len(known) - 1 + (tau - known[-1]) / self.step, found)
        whole = np.rint(found)
        return np.where(np.abs(found - whole) < 1e-3, whole, found)

    def sampled(self, case: Case, times: np.ndarray, frames: np.ndarray) -> np.ndarray:
        """(frame, ...) of a case at the times of this clock, as far as the case goes, linear between its frames."""
        own = np.asarray(times, dtype=np.float64) / self.unit(case)
        if len(own) <= len(self.times) and self._agrees(own):
            return frames
        wanted = self.times[self.times <= own[-1] + 1e-3 * self.step]  # at least the first
        return between(frames, np.interp(wanted, own, np.arange(len(own))))


def between(frames: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Frames (T, ...) at fractional numbers (K,): (K, ...)."""
    lower = np.clip(positions.astype(int), 0, max(len(frames) - 2, 0))
    share = (positions - lower).reshape(-1, *[1] * (frames.ndim - 1))
    return frames[lower] * (1 - share) + frames[np.minimum(lower + 1, len(frames) - 1)] * share


def transfer(source: Support, target: Support) -> Map:
    """The map of values (..., *source.shape) to (..., *target.shape), by linear interpolation."""
    stencil = source.stencil(target.points().reshape(-1, target.dimensions))
    axes, shape = len(source.shape), target.shape

    def map_values(values: np.ndarray) -> np.ndarray:
        lead = values.shape[: values.ndim - axes]
        return stencil(values.reshape(*lead, -1)).reshape(*lead, *shape)

    return map_values


@dataclass(frozen=True, eq=False)
class Layout:
    """The places at which trajectories of all cases are held: those of the first training case.

    Args:
        template: support of the first training case.
        shared: whether all training cases live on it.
        mixed: whether training cases differ in their number of points or in how cells join them, so that values go by
            position, as shares of the extents; else they go cell by cell and node by node, wherever the cells and nodes
            of a case are.
        masked: whether some training case leaves cells out.
    """

    template: Support
    shared: bool
    mixed: bool
    masked: bool

    @staticmethod
    def of(table: CaseTable) -> Layout:
        supports = [table.support(i) for i in range(len(table.cases))]
        first = supports[0]
        return Layout(
            first, not table.moving and all(s.same(first) for s in supports[1:]),
            not all(joined_alike(s, first) for s in supports), any(s.inside is not None for s in supports),
        )  # fmt: skip

    def support(self, case: Case, name: str) -> Support:
        """Where an answer to a case lives: where its data do, else as the training data did.

        Raises:
            InputError: nothing says where.
        """
        t = self.template
        if case.support is not None:
            return case.support
        if not isinstance(t, Grid):
            if self.shared:
                return t
            raise InputError(
                f"{name}: the training cases of {case.problem.name} live on different nodes, and this case does not "
                "say on which; give case.on(support)"
            )
        if case.problem.needs_extents and self.shared and (case.extents is None or case.extents == t.extents):
            return t
        grid = t.over(case.geometry, self.masked)
        keeps = grid.mask is None and self.shared and case.problem.needs_extents
        return Grid(grid.faces, grid.periodic, t.mask, grid.at) if keeps else grid

    def alike(self, support: Support) -> bool:
        """Whether values on `support` are taken point by point."""
        return support is self.template or (not self.mixed and self._fits(support)) or support.same(self.template)

    def _fits(self, support: Support) -> bool:
        return joined_alike(support, self.template)

    def place(self, support: Support) -> Support:
        """The template where the case on `support` lives, over its extents."""
        t = self.template
        if t.extents == support.extents:
            return t
        low, high = zip(*support.extents, strict=True)
        if not isinstance(t, Grid):
            position = np.array(low) + t.unit().reshape(-1, t.dimensions) * (np.array(high) - np.array(low))
            return Mesh(position, t.cells) if isinstance(t, Mesh) else Points(position)
        g = t.over(Box(tuple(low), tuple(high), t.periodic))
        return Grid(g.faces, g.periodic, t.mask, g.at)

    def into(self, support: Support) -> Map:
        """From values on `support` to those of this layout."""
        return _same if self.alike(support) else transfer(support, self.place(support))

    def back(self, support: Support) -> Map:
        """From values of this layout to those on `support`; zero outside of its mask."""
        move = _same if self.alike(support) else transfer(self.place(support), support)
        inside = support.inside
        return move if inside is None else lambda values: np.where(inside, move(values), 0.0)


def joined_alike(a: Support, b: Support) -> bool:
    """Whether values of the one can be taken for values of the other point by point: equal shapes and equal cells."""
    if type(a) is not type(b) or a.shape != b.shape:
        return False
    if not (isinstance(a, Mesh) and isinstance(b, Mesh)):
        return True
    return a.cells.keys() == b.cells.keys() and all(np.array_equal(a.cells[k], b.cells[k]) for k in a.cells)


def _same(values: np.ndarray) -> np.ndarray:
    return values
