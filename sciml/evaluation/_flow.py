"""What is measured of single frames beside their errors: spectra and divergence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sciml import metrics
from sciml.evaluation._held import Held, Rollout
from sciml.support import Grid


def spectrum_errors(
    held: Held, rollouts: Sequence[Rollout], predictions: Sequence[np.ndarray], truths: Sequence[np.ndarray]
) -> np.ndarray:
    """(rollout,) energy spectrum errors of one frame (field, *shape) each; NaN off uniform grids without a mask.

    Frames on boxes of one shape are taken together: the error depends on the ratios of the sides alone.
    """
    found = np.full(len(rollouts), np.nan)
    alike: dict[tuple[object, ...], list[int]] = {}
    for n, (r, p) in enumerate(zip(rollouts, predictions, strict=True)):
        support = held.support(r.case)
        if isinstance(support, Grid) and support.uniform_cells and support.inside is None and np.isfinite(p).all():
            sides = [b - a for a, b in reversed(support.extents)]
            ratios = tuple(round(side / sides[0], 12) for side in sides)
            alike.setdefault((support.shape, ratios, tuple(reversed(support.periodic))), []).append(n)
    for (_, ratios, periodic), members in alike.items():
        p, t = (np.stack([values[n] for n in members]) for values in (predictions, truths))
        found[members] = metrics.spectrum_error(p, t, ratios, periodic=periodic)  # type: ignore[arg-type]
    return found


def has_divergence(held: Held) -> bool:
    """Whether the problem names a velocity of which all components are among the fields, on 2-D or 3-D grids."""
    velocity = held.table.problem.velocity
    return (
        len(velocity) in (2, 3)
        and set(velocity) <= set(held.table.fields)
        and all(
            isinstance(s, Grid) and s.dimensions == len(velocity)
            for s in (held.support(i) for i in range(len(held)))
        )
    )  # fmt: skip


class Divergence:
    """Root mean square divergence of frames (field, *shape), over velocity scale and length; NaN where a frame is not
    finite."""

    def __init__(self, held: Held):
        self.held = held
        self.places: dict[int, tuple[Grid, dict[str, Any]] | None] = {}

    def __call__(self, i: int, frame: np.ndarray) -> float:
        if i not in self.places:
            self.places[i] = self._place(i)
        place = self.places[i]
        if place is None or not np.isfinite(frame).all():
            return np.nan
        grid, given = place
        physical, fields = frame * self.held.scale(i), self.held.table.fields
        parts = [physical[fields.index(n)] for n in self.held.table.problem.velocity]
        return float(metrics.divergence_error(parts, grid.faces, **given))

    def _place(self, i: int) -> tuple[Grid, dict[str, Any]] | None:
        """What is one for all frames of a case."""
        case, grid = self.held.table.cases[i], self.held.support(i)
        if not isinstance(grid, Grid) or min(grid.shape) < 2:
            return None
        known = case.problem.boundary_values(case, [0.0])
        walls = tuple(
            all(not np.any(known.get(f"{axis}_{end}_{n}", 1.0)) for end in ("min", "max"))
            for axis, n in zip("xyz", case.problem.velocity, strict=False)
        )
        return grid, {
            "length": case.scales.length, "speed": case.scales.velocity, "periodic": grid.periodic, "wall": walls,
            "mask": grid.inside, "weights": grid.volumes(),
        }  # fmt: skip
