"""A solution as the functions of this package see it: a grid, a velocity, times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from sciml.arrays import clock
from sciml.errors import InputError
from sciml.geometry import AXES
from sciml.problem import Case
from sciml.support import Grid, support_of

_VELOCITIES = (("u", "v", "w"), ("u", "v"), ("vx", "vy", "vz"), ("vx", "vy"), ("ux", "uy", "uz"), ("ux", "uy"))

Walls = Mapping[str, Sequence[float] | float]


@dataclass(frozen=True)
class Flow:
    """One flow.

    Args:
        solution: with a dimension "time", or none where the flow is steady.
        grid: where values are.
        names: fields that are the velocity, along x, y, (z).
        times: (T,) or None.
    """

    solution: xr.Dataset
    grid: Grid
    names: tuple[str, ...]
    times: np.ndarray | None

    @property
    def frames(self) -> int:
        return 1 if self.times is None else len(self.times)

    def values(self, name: str, frame: int) -> np.ndarray:
        """(*shape) of any field, as float64."""
        field = self.solution[name]
        if self.times is not None and "time" in field.dims:
            field = field.isel(time=frame)
        if set(field.dims) != set(self.grid.dims):
            raise InputError(f"{name}: expected a field over {self.grid.dims}, got one over {tuple(field.dims)}")
        return np.asarray(field.transpose(*self.grid.dims).values, dtype=np.float64)

    def velocity(self, frame: int) -> np.ndarray:
        """(D, *shape).

        Raises:
            InputError: nothing of it is finite: a march that has failed, or a rollout that has left all bounds.
        """
        found = np.stack([self.values(n, frame) for n in self.names])
        if not np.isfinite(found).all(0).any():
            at = "" if self.times is None else f" at time {self.times[frame]:g}"
            raise InputError(f"velocity: expected finite values, got none in any cell{at}")
        return found

    def unit(self, power: int = 1) -> str:
        """Of a velocity gradient to some power."""
        given = str(self.solution[self.names[0]].attrs.get("units", "m s-1"))
        if given in ("1", ""):
            return "1"
        if given == "m s-1":
            return f"s-{power}"
        return f"({given} m-1){power}" if power > 1 else f"{given} m-1"

    def dataset(self, fields: Mapping[str, tuple[np.ndarray, str, str]]) -> xr.Dataset:
        """New fields, name -> (values, unit, description), on the axes, with the mask and the case of the solution."""
        dims = (() if self.times is None else ("time",)) + self.grid.dims
        found = {n: (dims, v, {"units": unit, "long_name": text}) for n, (v, unit, text) in fields.items()}
        kept = {n: self.solution[n] for n in ("mask",) if n in self.solution}
        kept |= {str(n): v for n, v in self.solution.data_vars.items() if str(n).startswith("input_")}
        coords = {c: self.solution[c] for c in dims if c in self.solution.coords}
        return xr.Dataset({**kept, **found}, coords, self.solution.attrs)


def read(
    what: str,
    solution: Any,
    grid: Grid | None = None,
    velocity: Sequence[str] | None = None,
    fields: Sequence[str] | None = None,
) -> Flow:
    """A solution, checked.

    Args:
        what: who asks, for messages.
        grid: where values are; by itself the grid of the case that the solution carries, or, where it carries none,
            cells around its coordinates, on a box that is not periodic.
        velocity: names of the components; by themselves those of the problem, or u, v, w and the like.
        fields: what is read instead of a velocity.
    """
    if not isinstance(solution, xr.Dataset):
        raise InputError(f"{what}: expected a solution (xarray.Dataset), got {type(solution).__name__}")
    if "row_size" in solution.variables:
        raise InputError(f"{what}: got a data set of many cases, expected one solution; take sciml.data.case(ds, i)[1]")
    case = None
    if "case_json" in solution.attrs:
        case = Case.from_parts(solution.attrs, {str(k): v.values for k, v in solution.variables.items()})
    grid = grid if grid is not None else _grid(what, solution, case)
    if fields is not None:
        unknown = [n for n in fields if n not in solution]
        if unknown or not fields:
            has = ", ".join(map(str, solution.data_vars))
            raise InputError(f"{what}: fields: expected some of {has}, got {', '.join(unknown) or 'none'}")
        return Flow(solution, grid, tuple(fields), _times(what, solution, case))
    names = tuple(velocity) if velocity is not None else _names(what, solution, case, grid)
    missing = [n for n in names if n not in solution]
    if missing or len(names) != grid.dimensions:
        raise InputError(
            f"{what}: velocity: expected {grid.dimensions} components that the solution has, got {', '.join(names)}"
            + f"; {', '.join(missing)} missing" * bool(missing)
        )
    flow = Flow(solution, grid, names, _times(what, solution, case))
    for n in names:
        shape = flow.values(n, 0).shape
        if shape != grid.shape:
            raise InputError(f"{what}: {n} has shape {shape}, expected that of the grid, {grid.shape}")
    return flow


def _times(what: str, solution: xr.Dataset, case: Case | None) -> np.ndarray | None:
    if "time" not in solution.dims:
        return None
    times = clock(f"{what}: time", solution["time"].values, case.problem.time_unit if case else "s")
    if len(times) > 1 and not np.all(np.diff(times) > 0):
        raise InputError(f"{what}: time: expected times that increase")
    return times


def _grid(what: str, solution: xr.Dataset, case: Case | None) -> Grid:
    if case is not None:
        support = support_of(case, solution)
        if not isinstance(support, Grid):
            raise InputError(f"{what}: expected a solution on a grid, got one on {support!r}")
        return support
    axes = [a for a in AXES if a in solution.dims]
    if not axes or any(a not in solution.coords for a in axes):
        raise InputError(f"{what}: expected coordinates x, y, (z) of a grid, got dimensions {tuple(solution.dims)}")
    mask = solution["mask"].values if "mask" in solution else None
    plain = Grid.from_centres(tuple(np.asarray(solution[a].values, dtype=np.float64) for a in axes), None, mask)
    periodic = np.atleast_1d(solution.attrs.get("periodic", np.zeros(len(axes))))  # as `ftle` says it
    return Grid(plain.faces, tuple(bool(p) for p in periodic), plain.mask, plain.at)


def _names(what: str, solution: xr.Dataset, case: Case | None, grid: Grid) -> tuple[str, ...]:
    if case is not None and case.problem.velocity:
        return case.problem.velocity
    d = grid.dimensions
    found = next((v for v in _VELOCITIES if len(v) == d and set(v) <= set(map(str, solution.data_vars))), None)
    if found is None:
        fields = ", ".join(map(str, solution.data_vars)) or "none"
        raise InputError(f"{what}: velocity: expected {d} components such as u, v among the fields, got {fields}")
    return found


def frame_at(what: str, flow: Flow, time: float | None) -> int:
    """The number of the frame at a time; the last one for None."""
    if time is None or flow.times is None:
        return flow.frames - 1
    k = int(np.abs(flow.times - time).argmin())
    span = float(np.ptp(flow.times)) or 1.0
    if abs(flow.times[k] - time) > 1e-9 * max(span, abs(time)):
        raise InputError(
            f"{what}: time: expected one of the {len(flow.times)} of the solution, {flow.times[0]:g} to "
            f"{flow.times[-1]:g}, got {time:g} (the nearest is {flow.times[k]:g})"
        )
    return k
