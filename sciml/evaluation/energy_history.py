"""Energy, enstrophy and dissipation over time, and when a rollout leaves what is possible."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from sciml.errors import InputError, is_number
from sciml.evaluation._layers import plain_grid
from sciml.evaluation._statistic import TRUTH, Statistic
from sciml.evaluation._streamed import above_zero, names_of, shown, told
from sciml.problem import Case
from sciml.support import Grid, Support

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclass
class _Course:
    """One rollout."""

    case: Case
    support: Support
    viscosity: float | None
    steps: list[int] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    values: list[tuple[float, float, float, float]] = field(default_factory=list)


class EnergyHistory(Statistic):
    """Means over the volume, for each rollout over time:

    k = ½⟨|u|²⟩,  k' = ½⟨|u − ū|²⟩,  Ω = ½⟨|∇ × u|²⟩,  ε = 2ν⟨S_ij S_ij⟩,  S_ij = ½(∂_j u_i + ∂_i u_j),

    with ū the mean of the frame along its periodic axes (k' is left out where there are none), and where a rollout
    diverges: the first step that is not finite, or whose energy is beyond `bound` times the largest energy of the truth
    of the same case (or `largest_energy`), or whose k' is beyond `bound` times the largest of the truth, or below its
    least over `bound`. Of a channel nearly all energy is the mean flow's: k' tells that its turbulence grew without end
    or died. Derivatives are those of the Fourier series along
    periodic axes of equal cells, with the Nyquist wave left out of them, and of second order along others, one-sided at
    their ends. ε needs ν; without it the entry is "dissipation_over_viscosity".

    Source: S. B. Pope, Turbulent Flows (2000), section 5.3.

    Args:
        bound: multiple of the largest energies of the truth, divisor of its least k'.
        largest_energy: what `bound` multiplies instead, in the unit of the velocity squared.
        viscosity: ν, kinematic; None for what the case knows (`Problem.wall_units`).
        gradients: whether to take enstrophy and dissipation, which cost most of the time.
        velocity, name: see `Profiles`.

    Raises:
        InputError: no velocity among the fields, nodes, a mask, fewer than three cells along an axis.
    """

    def __init__(
        self,
        *,
        bound: float = 4.0,
        largest_energy: float | None = None,
        viscosity: float | None = None,
        gradients: bool = True,
        velocity: Sequence[str] | None = None,
        name: str = "energy_history",
    ):
        if not is_number(bound) or bound <= 1:
            raise InputError(f"{name}: bound: expected a number > 1, got {bound!r}")
        self.name, self.velocity, self.bound, self.gradients = name, velocity, float(bound), gradients
        self.largest = above_zero(name, "largest_energy", largest_energy)
        self.viscosity = above_zero(name, "viscosity", viscosity)
        self.fields: tuple[str, ...] = ()
        self.courses: dict[tuple[str, int, int], _Course] = {}
        self._grids: dict[int, tuple[Support, Grid]] = {}
        self._most: dict[int, float] = {}  # of the truth, by case
        self._range: dict[int, tuple[float, float]] = {}  # least and largest k' of the truth, by case

    def begin(self, fields: Sequence[str]) -> None:
        self.fields = tuple(fields)

    def add(
        self, row: str, run: int, rollout: int, step: int, time: float, frame: np.ndarray, case: Case, support: Support
    ) -> None:
        names = names_of(self.name, self.velocity, self.fields, case)
        if id(support) not in self._grids:
            self._grids[id(support)] = (support, self._grid(support))
        velocity = np.asarray(frame, dtype=np.float64)[[self.fields.index(n) for n in names]]
        key = (row, run, rollout)
        if key not in self.courses:
            known = case.problem.wall_units(case)
            self.courses[key] = _Course(case, support, self.viscosity or (known[1] if known else None))
        with np.errstate(over="ignore", invalid="ignore"):
            values = measured(velocity, self._grids[id(support)][1], self.gradients)
        course = self.courses[key]
        course.steps.append(step)
        course.times.append(time)
        course.values.append(values)
        if row == TRUTH and np.isfinite(values[0]):
            self._most[id(case)] = max(self._most.get(id(case), 0.0), values[0])
            if np.isfinite(values[1]):
                low, high = self._range.get(id(case), (np.inf, 0.0))
                self._range[id(case)] = (min(low, values[1]), max(high, values[1]))

    def _grid(self, support: Support) -> Grid:
        grid = plain_grid(self.name, support)
        if self.gradients and min(grid.shape) < 3:
            raise InputError(f"{self.name}: expected three cells and more along each axis, got {grid.shape}")
        return grid

    def result(self) -> dict[str, Any]:
        """{"kind", "bound", "entries": one for each rollout}; steps count from 1, as those of a summary do."""
        order = sorted(self.courses, key=lambda k: k[0] != TRUTH)
        return told({"kind": type(self).__name__, "bound": self.bound, "entries": [self._entry(k) for k in order]})

    def _entry(self, key: tuple[str, int, int]) -> dict[str, Any]:
        course = self.courses[key]
        values = np.array(course.values, dtype=np.float64)
        most = self._most.get(id(course.case)) if self.largest is None else self.largest
        found: dict[str, Any] = {
            "row": key[0], "run": key[1], "rollout": key[2], "parameters": shown(course.case),
            "step": [k + 1 for k in course.steps], "time": course.times, "kinetic_energy": values[:, 0],
            "largest_energy": most, "diverged": self._diverged(course, values[:, 0], values[:, 1], most),
        }  # fmt: skip
        if any(self._grids[id(course.support)][1].periodic):
            found["fluctuation_energy"] = values[:, 1]
        if self.gradients:
            found["enstrophy"] = values[:, 2]
            if course.viscosity is None:
                found["dissipation_over_viscosity"] = values[:, 3]
            else:
                found["dissipation"] = values[:, 3] * course.viscosity
        return found

    def _diverged(
        self, course: _Course, energy: np.ndarray, fluctuations: np.ndarray, most: float | None
    ) -> dict[str, Any] | None:
        b, (low, high) = self.bound, self._range.get(id(course.case), (0.0, np.inf))
        # rounding of a flow without turbulence is none
        low = low if most is None or low > 1e-6 * most else 0.0
        reasons = {
            "not finite": ~np.isfinite(energy),
            f"energy beyond {b:g} times the largest of the truth": energy > b * (np.inf if most is None else most),
        }
        if low > 0:
            reasons[f"fluctuations beyond {b:g} times the largest of the truth"] = fluctuations > b * high
            reasons[f"fluctuations below 1/{b:g} of the least of the truth"] = fluctuations < low / b
        firsts = {why: int(np.argmax(wrong)) for why, wrong in reasons.items() if wrong.any()}
        if not firsts:
            return None
        why, k = min(firsts.items(), key=lambda item: item[1])
        return {"step": course.steps[k] + 1, "time": course.times[k], "why": why}


def measured(
    velocity: Float[np.ndarray, " component *shape"], grid: Grid, gradients: bool = True
) -> tuple[float, float, float, float]:
    """(½⟨|u|²⟩, ½⟨|u − ū|²⟩, ½⟨|∇ × u|²⟩, 2⟨S_ij S_ij⟩); NaN for the second without periodic axes, for the last two
    without gradients, or where a value is not finite."""
    w = grid.volumes()
    w = w / w.sum()
    energy, fluctuations = float(0.5 * (np.sum(velocity**2, axis=0) * w).sum()), float("nan")
    if around := tuple(-1 - a for a, periodic in enumerate(grid.periodic) if periodic):
        share = w / w.sum(axis=around, keepdims=True)
        mean = (velocity * share).sum(axis=around, keepdims=True)
        fluctuations = float(0.5 * (np.sum((velocity - mean) ** 2, axis=0) * w).sum())
    if not gradients or not np.isfinite(velocity).all():
        return energy, fluctuations, float("nan"), float("nan")
    d = grid.dimensions
    slope = [[_derivative(u, grid, a) for a in range(d)] for u in velocity]
    spin = sum((slope[i][j] - slope[j][i]) ** 2 for i in range(d) for j in range(i))
    strain = sum((slope[i][j] + slope[j][i]) ** 2 / 2 for i in range(d) for j in range(d))
    return energy, fluctuations, float(0.5 * (spin * w).sum()), float((strain * w).sum())


def _derivative(values: np.ndarray, grid: Grid, axis: int) -> np.ndarray:
    at, widths, c = -1 - axis, grid.widths[axis], grid.centres[axis]
    if not grid.periodic[axis]:
        return np.gradient(values, c, axis=at, edge_order=2)
    period = float(widths.sum())
    if np.ptp(widths) <= 1e-6 * widths.mean():
        n = len(widths)
        wave = 2j * np.pi / period * np.arange(n // 2 + 1)
        if n % 2 == 0:
            wave[-1] = 0.0  # what a real series does with the derivative of its highest cosine
        shape = (-1,) + (1,) * axis
        return np.fft.irfft(np.fft.rfft(values, axis=at) * wave.reshape(shape), n, axis=at)
    longer = np.concatenate([np.take(values, [-1], at), values, np.take(values, [0], at)], axis=at)
    c = np.concatenate([c[-1:] - period, c, c[:1] + period])
    return np.take(np.gradient(longer, c, axis=at), np.arange(1, len(c) - 1), axis=at)
