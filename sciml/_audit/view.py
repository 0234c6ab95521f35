"""A solution as the audit sees it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from sciml.arrays import clock
from sciml.boundary import Outflow
from sciml.derivatives import hold_on_part, upwind
from sciml.derivatives import numpy as provider
from sciml.errors import InputError
from sciml.geometry import AXES
from sciml.problem import Case, PDEProblem
from sciml.support import Grid

if TYPE_CHECKING:
    import xarray

_STEP_TOLERANCE = 0.1  # relative change of ∂/∂t when the difference is taken over two steps instead of one


class View:
    """A solution as plain arrays, frame by frame, at full and at half resolution."""

    def __init__(self, solution: xarray.Dataset, case: Case, grid: Grid, wet: np.ndarray, cut: np.ndarray):
        """`wet` cells hold values; those of them that are `cut` by a boundary are no control volumes."""
        self.case, self.grid, self.wet, self.cut, self.fluid = case, grid, wet, cut, wet & ~cut
        self.masked = not self.fluid.all()
        self.names = [f.name for f in case.problem.fields if f.name in solution]
        self.steady = case.problem.steady
        self.times = (
            np.zeros(1)
            if self.steady
            else np.atleast_1d(clock("solution: time", solution["time"].values, case.problem.time_unit))
        )
        # what solid cells hold is no value: NaN there marks whatever is computed from it
        self.fields = {n: self._frames(np.where(wet, solution[n].values, np.nan)) for n in self.names}
        self._solution = solution
        self.epsilon = max(float(np.finfo(v.dtype).eps) for v in solution[self.names].values() if v.dtype.kind == "f")
        self.faces = {
            (n, a): self._frames(np.where(_beside(wet, a, grid.periodic[a]), solution[f"{n}_face"].values, np.nan))
            for n in self.names
            if f"{n}_face" in solution
            for a in range(grid.dimensions)
            if f"{AXES[a]}_face" in solution[f"{n}_face"].dims
        }
        self.tendencies = {
            n: self._frames(np.where(wet, solution[f"{n}_tendency"].values, np.nan))
            for n in self.names
            if f"{n}_tendency" in solution
        }
        self.inputs = {s.name: case.input_on(s.name, grid) for s in case.problem.inputs if s.covers(grid.dimensions)}
        self.quantities = {q.name: np.asarray(solution[q.name].values, dtype=np.float64)
                           for q in case.problem.quantities if q.name in solution}  # fmt: skip
        self.forcing, self.forcing_remark = self._forcing()
        self.parts = parts_of(case, grid)
        self.why_no_rates = ""
        self.rates_from = self._choose_rates()
        self.coarse_grid = None
        if all(n % 2 == 0 and n >= 8 for n in grid.shape):
            self.coarse_grid = Grid(tuple(f[::2] for f in grid.faces), grid.periodic)

    def _forcing(self) -> tuple[dict[str, np.ndarray], str]:
        """What sources are beyond what the equations state: name of a balance -> (component, time)."""
        problem = self.case.problem
        if self.steady or not isinstance(problem, PDEProblem):
            return {}, ""
        told = {n: v for n, v in self.quantities.items() if v.shape == self.times.shape}
        return problem.forcing(self.case, told)

    def beyond(self, name: str, components: int, k: int) -> np.ndarray:
        """(component,) what the sources of a balance are beyond what it states, in frame k."""
        found = self.forcing.get(name)
        return np.zeros(components) if found is None else found[:, k]

    def stored(self, name: str) -> np.ndarray:
        """The frames of a field as they are stored, in their own type."""
        values = self._solution[name].values
        return values[None] if self.steady else values

    def _frames(self, values: np.ndarray) -> np.ndarray:
        values = np.asarray(values, dtype=np.float64)
        return values[None] if self.steady and values.ndim == self.grid.dimensions else values

    def _choose_rates(self) -> str | None:
        states = [n for n in self.case.problem.state_fields if n in self.fields]
        if self.steady:
            return None
        if states and all(n in self.tendencies for n in states):
            return "tendencies"
        t = self.times
        if len(t) < 5 or np.ptp(np.diff(t)) > 1e-6 * (t[-1] - t[0]):
            self.why_no_rates = "rates of change: no tendencies stored, and no five equally spaced frames"
            return None
        change = scale = 0.0
        for n in states:
            f = self.fields[n]
            one, two = (f[3:-1] - f[1:-3]) / 2, (f[4:] - f[:-4]) / 4
            change, scale = change + float(np.nansum((one - two) ** 2)), scale + float(np.nansum(one**2))
        if change > _STEP_TOLERANCE**2 * scale:
            self.why_no_rates = (
                "rates of change: no tendencies are stored, and the frames are too far apart "
                f"(differences over one and two steps differ by {math.sqrt(change / max(scale, 1e-300)):.0%})"
            )
            return None
        return "frames"

    def choose(self, frames: int | None) -> list[int]:
        first, last = (2, len(self.times) - 3) if self.rates_from == "frames" else (0, len(self.times) - 1)
        count = last - first + 1
        count = count if frames is None else min(count, max(1, frames))
        return sorted(set(np.linspace(first, last, count).round().astype(int).tolist()))

    def rates(self, k: int, width: int = 1) -> dict[str, np.ndarray]:
        if self.rates_from == "tendencies":
            return {n: v[k] for n, v in self.tendencies.items()}
        if self.rates_from == "frames":
            span = self.times[k + width] - self.times[k - width]
            return {n: (v[k + width] - v[k - width]) / span for n, v in self.fields.items()}
        return {}

    def lattice(self, k: int, order: int = 2, coarse: bool = False, width: int = 1, filled: bool = False) -> Any:
        """Frame k as equations see it: NaN in cells that are no control volumes, or, `filled`, what cut cells hold and
        zero in solid ones."""

        def known(values: np.ndarray, fluid: np.ndarray) -> np.ndarray:
            return np.nan_to_num(values) if filled else np.where(fluid, values, np.nan)

        def cell(values: np.ndarray) -> np.ndarray:
            values = known(values, self.fluid)
            return _halve(values, None, self.grid) if coarse else values

        def face(values: np.ndarray, a: int) -> np.ndarray:
            values = known(values, _beside(self.fluid, a, self.grid.periodic[a]))
            return _halve(values, a, self.grid) if coarse else values

        halve = (lambda v: _halve(v, None, self.grid)) if coarse else (lambda v: v)
        boundary: dict[str, Any] = {}
        for name, conditions in self.case.boundary_conditions.items():
            # values that vary along a boundary are left to extrapolation on the coarse grid
            boundary[name] = {f: c for f, c in conditions.items() if not (coarse and c.in_space)}
        grid = self.coarse_grid if coarse and self.coarse_grid is not None else self.grid
        found = provider.lattice(
            grid,
            {n: cell(v[k]) for n, v in self.fields.items()},
            parameters=self.case.parameters,
            inputs={n: halve(v) for n, v in self.inputs.items()},
            rates={n: cell(v) for n, v in self.rates(k, width).items()},
            time=float(self.times[k]),
            boundary=boundary,
            face_values={(n, a): face(v[k], a) for (n, a), v in self.faces.items()},
            order=order,
        )
        if not coarse:
            for name, on_sides in self.parts.items():
                if self.case.geometry.boundaries[name].side is None:
                    self._hold(found, name, on_sides, float(self.times[k]))
                for phase, velocity in second_fluid(self.case, name):
                    for axis, end, here in on_sides:
                        if phase in self.fields and velocity[axis] in self.fields:
                            upwind(found, phase, velocity[axis], axis, end, here)
        return found

    def _hold(self, lattice: Any, part: str, on_sides: list[tuple[int, int, np.ndarray]], time: float) -> None:
        """Give a lattice the values on a part of a side, of which it knows whole ones."""
        for axis, end, here in on_sides:
            points = self.grid.side_points(axis, end)[here]
            for name, condition in self.case.boundary_conditions[part].items():
                if condition.given and name in self.fields and (name, axis) not in self.faces:
                    layer = np.zeros(here.shape)
                    layer[here] = condition.at(time, points)
                    hold_on_part(lattice, name, axis, end, here, layer)


def parts_of(case: Case, grid: Grid) -> dict[str, list[tuple[int, int, np.ndarray]]]:
    """Of each boundary with conditions the sides of the grid on which it lies: axis, end, and which of their faces."""
    found: dict[str, list[tuple[int, int, np.ndarray]]] = {}
    for name in case.boundary_conditions:
        part = case.geometry.boundaries.get(name)
        if part is None:
            continue
        for axis in (a for a in range(grid.dimensions) if not grid.periodic[a]):
            for end in (0, 1):
                if part.side in (None, (axis, end)):
                    here = np.atleast_1d(part.contains(grid.side_points(axis, end)))
                    if here.any():
                        found.setdefault(name, []).append((axis, end, here))
    return found


def second_fluid(case: Case, part: str) -> list[tuple[str, tuple[str, ...]]]:
    """Of two fluids, the phase and the velocity where they leave through a boundary: the second one comes in there."""
    problem = case.problem
    leaves = problem.phase and isinstance(case.boundary_conditions[part].get(problem.phase), Outflow)
    return [(problem.phase, problem.velocity)] if leaves else []


def fluid_cells(solution: xarray.Dataset, case: Case, grid: Grid) -> np.ndarray:
    """True where a cell is fluid: by the mask of the solution, else by the geometry."""
    if "mask" not in solution:
        return case.geometry.mask(grid) != 0
    mask = np.asarray(solution["mask"].values)
    if mask.shape != grid.shape:
        raise InputError(f"audit: mask: expected shape {grid.shape}, got {mask.shape} over {solution['mask'].dims}")
    return mask != 0


def _beside(fluid: np.ndarray, axis: int, periodic: bool) -> np.ndarray:
    """True on the faces normal to an axis that bound a fluid cell."""
    along = np.moveaxis(fluid, -1 - axis, 0)
    before = np.concatenate([along[-1:] if periodic else along[:1], along])
    after = np.concatenate([along, along[:1] if periodic else along[-1:]])
    return np.moveaxis(before | after, 0, -1 - axis)


def _halve(values: np.ndarray, face_axis: int | None, grid: Grid) -> np.ndarray:
    """Means by volume over pairs of cells on every axis; along `face_axis` every second face."""
    for axis in range(values.ndim):
        here = -1 - axis
        even = np.take(values, np.arange(0, values.shape[here], 2), axis=here)
        if axis == face_axis:
            values = even
        else:
            odd = np.take(values, np.arange(1, values.shape[here], 2), axis=here)
            widths = grid.widths[axis]
            share = (widths[::2] / (widths[::2] + widths[1::2])).reshape((-1,) + (1,) * axis)
            values = share * even + (1 - share) * odd
    return values


def present(values: np.ndarray, view: View) -> np.ndarray:
    """The values that no solid cell has entered."""
    values = np.asarray(values)
    return values[~np.isnan(values)] if view.masked else values.ravel()


def mean_square(values: np.ndarray, view: View) -> float:
    found = present(values, view)
    return float(np.mean(found**2)) if found.size else 0.0
