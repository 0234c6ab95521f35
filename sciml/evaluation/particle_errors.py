"""How far particles are from where they should be, one by one and as a whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sciml.errors import InputError, is_whole
from sciml.evaluation._particles import Course, Frame, OfParticles, spacing_of
from sciml.evaluation._statistic import TRUTH
from sciml.metrics.clouds import carried, misplaced, occupancy
from sciml.problem import Case
from sciml.support import Points, Support

CELLS = {1: 256, 2: 48, 3: 24}  # most cells along an axis


@dataclass(frozen=True, eq=False)
class _Box:
    """Where the matter of a case is counted.

    Args:
        spacing: between its particles.
        cells: along x, y, z.
        kept: which particles are followed one by one.
    """

    case: Case
    spacing: float
    extents: tuple[tuple[float, float], ...]
    periodic: tuple[bool, ...]
    cells: tuple[int, ...]
    kept: np.ndarray

    def count(self, frame: Frame) -> np.ndarray:
        return occupancy(frame.position, frame.share, self.extents, self.cells, self.periodic)


class ParticleErrors(OfParticles):
    """Of each rollout over time, against the truth at the same step, lengths in spacings h between particles:

    position_error = √(Σ w |x − x*|²)/h, particle by particle, which chaos makes large in the end whoever predicts;
    carried = how far matter would have to be carried to lie right, over h, whichever particle goes where
        (`sciml.metrics.carried`); not known in a periodic box;
    misplaced = the share of the mass in other cells than it should be (`sciml.metrics.misplaced` of the volume that
        particles put into cells of about `cell` spacings), from 0 to 1.

    h is the edge of the volume that a particle fills, where that is known, else the median distance between neighbours
    at the start. What is not finite has no error, and None stands in its place.

    Args:
        cell: edge of a cell in spacings; fewer and larger cells where a box has more than 48 by 48 (24 in space).
        most: particles that are followed one by one, spread evenly over them; all are counted in cells.
        name: under which the result stands in a summary.

    Raises:
        InputError: see `OfParticles`.
    """

    def __init__(self, *, cell: float = 4.0, most: int = 2048, name: str = "particle_errors"):
        super().__init__(name)
        if not cell > 0:
            raise InputError(f"{name}: cell: expected a number > 0, got {cell!r}")
        if not is_whole(most) or most < 1:
            raise InputError(f"{name}: most: expected a whole number >= 1, got {most!r}")
        self.cell, self.most = float(cell), int(most)
        self._boxes: dict[int, _Box] = {}
        self._truth: dict[tuple[int, int], tuple[np.ndarray, np.ndarray]] = {}

    def add(
        self, row: str, run: int, rollout: int, step: int, time: float, frame: np.ndarray, case: Case, support: Support
    ) -> None:
        if id(case) not in self._boxes and isinstance(support, Points):
            self._boxes[id(case)] = self._box(case, support)
        super().add(row, run, rollout, step, time, frame, case, support)

    def _box(self, case: Case, support: Points) -> _Box:
        spacing = spacing_of(support.points(), support) or 1.0
        extents = tuple((float(a), float(b)) for a, b in case.geometry.extents)
        sides, most = np.ptp(extents, axis=1), CELLS[len(extents)]
        cells = tuple(int(n) for n in np.clip(np.rint(sides / (self.cell * spacing)), 1, most))
        kept = np.unique(np.linspace(0, support.size - 1, min(self.most, support.size)).astype(np.int64))
        return _Box(case, spacing, extents, tuple(bool(p) for p in case.geometry.periodic), cells, kept)

    def measure(self, key: tuple[str, int, int], step: int, frame: Frame, case: Case) -> Any:
        row, _, rollout = key
        box = self._boxes[id(case)]
        if row == TRUTH:
            self._truth[rollout, step] = (frame.position[box.kept].astype(np.float32), box.count(frame))
            return [0.0, 0.0 if not any(box.periodic) else np.nan, 0.0]
        if (rollout, step) not in self._truth:
            raise InputError(f"{self.name}: expected the truth of rollout {rollout}, step {step + 1} before {row!r}")
        if not frame.finite:
            return [np.nan] * 3
        true, there = self._truth[rollout, step]
        position, share = frame.position[box.kept], frame.share[box.kept]
        off = np.sqrt(np.square(position - true).sum(1) @ share / share.sum())
        moved = np.nan if any(box.periodic) else carried(position, true, share, share)
        return [float(off) / box.spacing, moved / box.spacing, misplaced(box.count(frame), there)]

    def entry(self, course: Course) -> dict[str, Any]:
        box = self._boxes[id(course.case)]
        off, moved, elsewhere = np.array(course.values, dtype=np.float64).T
        return {
            "spacing": box.spacing, "cells": list(box.cells), "position_error": off, "carried": moved,
            "misplaced": elsewhere,
        }  # fmt: skip
