"""What a solution violates, computed from the problem alone.

Every balance is integrated over control volumes of growing size, from one cell to the whole domain:

    defect(V) = (d/dt ∫_V storage + ∮_∂V flux·n − ∫_V source) / |V|

with the fluxes of the finite-volume form, so that what is inside V telescopes away. Beside each defect stands its
floor: what the audit's own second-order fluxes would see if the solution were exact, the larger of two estimates: the
same integral on a grid of half the resolution, |D(2h) − D(h)| / 3, and the same with fourth-order fluxes,
|D₄(h) − D(h)|; to both is added what storage and source lose by being sampled at cell centres. A defect near its floor
says no more than "as right as this grid can tell".

Where a mask, or a body in the geometry, makes some cells solid, control volumes whose defect reads a value of a solid
cell are left out, and with them every larger one that contains them; invariants are integrals over the fluid.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sciml._audit_data import audit_data
from sciml.arrays import clock
from sciml.derivatives import numpy as provider
from sciml.errors import InputError
from sciml.expressions import Balance, Field, Input, leaves, time_derivative
from sciml.geometry import AXES
from sciml.problem import Case
from sciml.support import Grid

if TYPE_CHECKING:
    import xarray

_STEP_TOLERANCE = 0.1  # relative change of ∂/∂t when the difference is taken over two steps instead of one


@dataclass(frozen=True)
class Defect:
    """One line of an audit.

    Args:
        check: "balance", "boundary" or "invariant"; "bounds" and "divergence" where no equation is known.
        name: of the balance, boundary condition or invariant.
        size: edge of the control volumes in cells (0: the whole domain), None where it has no meaning.
        length: the same as a length, in the unit of the coordinates.
        rms, largest: of the defect, in `unit`.
        relative: rms over the natural magnitude (balances: rms face flux over the problem's length scale).
        floor: what the audit's discretisation would see of an exact solution, in `unit`; None where not estimated.
    """

    check: str
    name: str
    unit: str
    rms: float
    largest: float
    relative: float
    floor: float | None = None
    size: int | None = None
    length: float | None = None


@dataclass(frozen=True)
class Audit:
    """The defects of one solution; prints as a table."""

    problem: str
    case: str
    rows: tuple[Defect, ...]
    notes: tuple[str, ...] = ()
    frames: int = 0

    def to_dict(self) -> dict[str, Any]:
        """JSON values: problem, case, frames, notes and the rows."""
        rows = [{k: v for k, v in vars(r).items()} for r in self.rows]
        return {
            "problem": self.problem, "case": self.case, "frames": self.frames, "notes": list(self.notes), "rows": rows,
        }  # fmt: skip

    def select(self, name: str, size: int | None = None) -> list[Defect]:
        """The lines of one balance, boundary condition or invariant (and control-volume size)."""
        return [r for r in self.rows if r.name == name and (size is None or r.size == size)]

    def __str__(self) -> str:
        head = ("check", "name", "volume", "rms", "largest", "floor", "unit", "relative")
        lines = [head, *(self._cells(r) for r in self.rows)]
        widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
        text = [f"audit of {self.problem}, {self.case}, {self.frames} frame(s)"]
        text += ["  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in lines]
        return "\n".join([*text, *(f"note: {n}" for n in self.notes)])

    __repr__ = __str__

    @staticmethod
    def _cells(r: Defect) -> tuple[str, ...]:
        volume = "-" if r.size is None else "domain" if r.size == 0 else f"{r.size} cell" + "s" * (r.size > 1)
        floor = "-" if r.floor is None else f"{r.floor:.1e}"
        return (r.check, r.name, volume, f"{r.rms:.1e}", f"{r.largest:.1e}", floor, r.unit, f"{r.relative:.1e}")

    def _repr_html_(self) -> str:
        from sciml._repr_html import audit_html

        return audit_html(self)


def audit(solution: xarray.Dataset, frames: int | None = 20) -> Audit:
    """Audit one solution.

    Args:
        solution: what any solver's `solve` returned, or `sciml.data.case(ds, i)[1]`.
        frames: at most so many frames, evenly chosen; None for all.

    Axes whose coordinates do not increase are brought in order first. A solution to a problem that states no equations
    is held against what its training data keep, on nodes too; see `sciml._audit_data`.

    Raises:
        InputError: not a solution on a grid, or one without its case.
    """
    if not hasattr(solution, "variables"):
        raise InputError(f"audit: expected a solution (xarray.Dataset), got {type(solution).__name__}")
    if "row_size" in solution.variables:
        raise InputError("audit: got a data set of many cases, expected one solution; take sciml.data.case(ds, i)[1]")
    if "time" in solution.coords and "time" not in solution.dims:  # cut down to a single time
        solution = solution.expand_dims("time")
    solution = _in_order(solution)
    case = Case.from_parts(solution.attrs, {str(k): v.values for k, v in solution.variables.items()})
    if not case.problem.balances():
        found, remarks, count = audit_data(_some(solution, frames), case, Defect)
        return Audit(case.problem.name, case.label or repr(case), tuple(found), tuple(remarks), count)
    missing = [f.name for f in case.problem.fields if f.name not in solution]
    dims = AXES[: case.problem.dimensions][::-1]
    if any(d not in solution.dims for d in dims):
        raise InputError(f"audit: the solution has dimensions {tuple(solution.dims)}, expected a grid over {dims}")
    for d, (low, high) in zip(AXES, case.geometry.extents, strict=False):
        c = np.asarray(solution[d].values, dtype=np.float64)
        gap = np.diff(c).max(initial=0.0) or high - low
        if c[0] - low > 2 * gap or high - c[-1] > 2 * gap or solution.sizes.get(f"{d}_face", len(c) + 1) != len(c) + 1:
            raise InputError(f"audit: the solution is cut along {d}; expected all of {low:g} to {high:g}")
    grid = Grid.from_centres(tuple(solution[a].values for a in dims[::-1]), case.geometry)
    fluid = _fluid(solution, case, grid)
    for name in case.problem.fields:
        found = solution.get(name.name)
        if found is not None and not np.isfinite(np.where(fluid, found.values, 0.0)).all():
            raise InputError(f"audit: {name.name} holds values that are not finite; audit the frames before them")
    view = _View(solution, case, grid, fluid)
    chosen = view.choose(frames)
    rows: list[Defect] = []
    notes: list[str] = []
    if view.masked:
        notes.append(
            f"{fluid.size - int(fluid.sum())} of {fluid.size} cells are solid: control volumes that touch them are "
            "left out of the balances, and invariants are integrals over the fluid"
        )
    if case.problem.steady is False and view.rates_from is None:
        notes.append(view.why_no_rates)
    for name, balance in case.problem.balances().items():
        needed = _fields_of(balance)
        absent = sorted(needed & set(missing))
        if absent:
            notes.append(f"{name}: not computed, the solution does not hold {', '.join(absent)}")
        elif balance.storage is not None and view.rates_from is None:
            notes.append(f"{name}: not computed, it needs rates of change")
        else:
            found = _audit_balance(name, balance, view, chosen)
            rows += found
            if not found:
                notes.append(f"{name}: not computed, every control volume touches a solid cell")
    sides = [f"{a}_{end}" for a in AXES[: case.problem.dimensions] for end in ("min", "max")]
    for boundary in case.boundary_conditions:
        if boundary not in sides:
            notes.append(f"boundary values on {boundary}: not computed, it is no side of the grid")
    rows += _audit_boundaries(view, chosen)
    rows += _audit_invariants(view)
    return Audit(case.problem.name, case.label or repr(case), tuple(rows), tuple(notes), len(chosen))


def _some(solution: xarray.Dataset, frames: int | None) -> xarray.Dataset:
    """At most so many frames, evenly chosen, the first and the last among them."""
    count = solution.sizes.get("time", 1)
    if frames is None or count <= max(frames, 2):
        return solution
    chosen = np.unique(np.linspace(0, count - 1, max(frames, 2)).round().astype(int))
    return solution.isel(time=chosen)


def _in_order(solution: xarray.Dataset) -> xarray.Dataset:
    """Axes in the order time, z, y, x, each with increasing coordinates."""
    for name in (d for a in AXES for d in (a, f"{a}_face") if d in solution.dims):
        if name not in solution.coords:
            along = name.removesuffix("_face")
            if name != along and along in solution.coords and not np.all(np.diff(solution[along].values) > 0):
                raise InputError(
                    f"audit: {along} does not increase and {name} has no coordinates; sort both along {along}"
                )
            continue
        values = np.asarray(solution[name].values, dtype=np.float64)
        if not np.isfinite(values).all() or len(np.unique(values)) < len(values):
            raise InputError(f"audit: {name}: expected finite coordinates, each once, got {values}")
        if not np.all(np.diff(values) > 0):
            solution = solution.sortby(name)
    order = [d for a in reversed(AXES) for d in (a, f"{a}_face")]
    return solution.transpose("time", ..., *order, missing_dims="ignore")


def _fluid(solution: xarray.Dataset, case: Case, grid: Grid) -> np.ndarray:
    """True where a cell is fluid: by the mask of the solution, else by the geometry."""
    if "mask" not in solution:
        return case.geometry.mask(grid) != 0
    mask = np.asarray(solution["mask"].values)
    if mask.shape != grid.shape:
        raise InputError(f"audit: mask: expected shape {grid.shape}, got {mask.shape} over {solution['mask'].dims}")
    return mask != 0


def _times(solution: xarray.Dataset, case: Case) -> np.ndarray:
    return clock("solution: time", solution["time"].values, case.problem.time_unit)


class _View:
    """A solution as plain arrays, frame by frame, at full and at half resolution."""

    def __init__(self, solution: xarray.Dataset, case: Case, grid: Grid, fluid: np.ndarray):
        self.case, self.grid, self.fluid = case, grid, fluid
        self.masked = not fluid.all()
        self.names = [f.name for f in case.problem.fields if f.name in solution]
        self.steady = case.problem.steady
        self.times = np.zeros(1) if self.steady else np.atleast_1d(_times(solution, case))
        # what solid cells hold is no value: NaN there marks whatever is computed from it
        self.fields = {n: self._frames(np.where(fluid, solution[n].values, np.nan)) for n in self.names}
        self.epsilon = max(float(np.finfo(v.dtype).eps) for v in solution[self.names].values() if v.dtype.kind == "f")
        self.faces = {
            (n, a): self._frames(np.where(_beside(fluid, a, grid.periodic[a]), solution[f"{n}_face"].values, np.nan))
            for n in self.names
            if f"{n}_face" in solution
            for a in range(grid.dimensions)
            if f"{AXES[a]}_face" in solution[f"{n}_face"].dims
        }
        self.tendencies = {
            n: self._frames(np.where(fluid, solution[f"{n}_tendency"].values, np.nan))
            for n in self.names
            if f"{n}_tendency" in solution
        }
        self.inputs = {
            s.name: case.input_on(s.name, grid)
            for s in case.problem.inputs
            if s.kind in ("coefficient", "source") and len(s.dims) == grid.dimensions
        }
        self.why_no_rates = ""
        self.rates_from = self._choose_rates()
        self.coarse_grid = None
        if all(n % 2 == 0 and n >= 8 for n in grid.shape):
            self.coarse_grid = Grid(tuple(f[::2] for f in grid.faces), grid.periodic)

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

    def lattice(self, k: int, order: int = 2, coarse: bool = False, width: int = 1) -> Any:
        cell = (lambda v: _halve(v, None, self.grid)) if coarse else (lambda v: v)
        face = (lambda v, a: _halve(v, a, self.grid)) if coarse else (lambda v, a: v)
        boundary: dict[str, Any] = {}
        for name, conditions in self.case.boundary_conditions.items():
            # values that vary along a boundary are left to extrapolation on the coarse grid
            boundary[name] = {f: c for f, c in conditions.items() if not (coarse and np.ndim(c.at(0.0)) > 0)}
        grid = self.coarse_grid if coarse and self.coarse_grid is not None else self.grid
        return provider.lattice(
            grid,
            {n: cell(v[k]) for n, v in self.fields.items()},
            parameters=self.case.parameters,
            inputs={n: cell(v) for n, v in self.inputs.items()},
            rates={n: cell(v) for n, v in self.rates(k, width).items()},
            time=float(self.times[k]),
            boundary=boundary,
            face_values={(n, a): face(v[k], a) for (n, a), v in self.faces.items()},
            order=order,
        )


def _beside(fluid: np.ndarray, axis: int, periodic: bool) -> np.ndarray:
    """True on the faces normal to an axis that bound a fluid cell."""
    along = np.moveaxis(fluid, -1 - axis, 0)
    before = np.concatenate([along[-1:] if periodic else along[:1], along])
    after = np.concatenate([along, along[:1] if periodic else along[-1:]])
    return np.moveaxis(before | after, 0, -1 - axis)


def _present(values: np.ndarray, view: _View) -> np.ndarray:
    """The values that no solid cell has entered."""
    values = np.asarray(values)
    return values[~np.isnan(values)] if view.masked else values.ravel()


def _mean_square(values: np.ndarray, view: _View) -> float:
    found = _present(values, view)
    return float(np.mean(found**2)) if found.size else 0.0


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


def _fields_of(balance: Balance) -> set[str]:
    found: set[str] = set()
    for storage, flux, source in balance.components():
        for e in (*flux, source, *(() if storage is None else (storage,))):
            found |= {leaf.name for leaf in leaves(e) if isinstance(leaf, Field)}
    return found


def _blocks(values: np.ndarray, volumes: np.ndarray, size: int) -> np.ndarray:
    """Volume-weighted means over blocks of size^D cells."""
    weighted, weight = values * volumes, volumes
    for axis in range(volumes.ndim):
        shape = weighted.shape
        split = (*shape[:axis], shape[axis] // size, size, *shape[axis + 1 :])
        weighted = weighted.reshape(split).sum(axis=axis + 1)
        weight = weight.reshape(split).sum(axis=axis + 1)
    return weighted / weight


def _audit_balance(name: str, balance: Balance, view: _View, chosen: list[int]) -> list[Defect]:
    grid = view.grid
    sizes = [s for s in (2**k for k in range(12)) if all(n % s == 0 and n // s >= 2 for n in grid.shape)] or [1]
    components = len(balance.components())
    names = [name] if components == 1 else [f"{name} {AXES[i]}" for i in range(components)]
    volumes = grid.volumes()
    squares = np.zeros((components, len(sizes) + 1))
    halved, refined, largest = np.zeros_like(squares), np.zeros_like(squares), np.zeros_like(squares)
    known = np.ones(squares.shape, dtype=bool)  # sizes of which some control volume touches no solid cell
    flux_squares = np.zeros(components)
    for k in chosen:
        lattice = view.lattice(k)
        fine = [np.where(view.fluid, f, np.nan) for f in lattice.finite_volume(balance)]
        better = view.lattice(k, order=4).finite_volume(balance) if min(grid.shape) >= 5 else fine
        later = view.lattice(k, width=2).finite_volume(balance) if view.rates_from == "frames" else fine
        coarse = view.lattice(k, coarse=True).finite_volume(balance) if view.coarse_grid is not None else None
        sampled = _sampling_errors(balance, lattice, view)
        for i, flux in enumerate(lattice.fluxes(balance)):
            flux_squares[i] += np.mean([_mean_square(f, view) for f in flux]) / len(chosen)
            for j, size in enumerate([*sizes, 0]):
                mean = (lambda a, s=size: _blocks(a, volumes, s)) if size else (lambda a: _whole(a, volumes))
                defect = mean(fine[i])
                known[i, j] = known[i, j] and _present(defect, view).size > 0
                squares[i, j] += _mean_square(defect, view) / len(chosen)
                largest[i, j] = max(largest[i, j], float(np.abs(_present(defect, view)).max(initial=0.0)))
                gap = _coarse_gap(defect, coarse[i], view, size) if coarse is not None else None
                rest = _mean_square(mean(later[i] - fine[i]) / 3, view) + _mean_square(mean(sampled[i]), view)
                halved[i, j] += ((0.0 if gap is None else _mean_square(gap, view)) + rest) / len(chosen)
                refined[i, j] += (_mean_square(mean(better[i] - fine[i]), view) + rest) / len(chosen)
    rows = []
    for i, label in enumerate(names):
        reference = math.sqrt(flux_squares[i])
        rounding = 4 * view.epsilon * reference / min(float(w.min()) for w in grid.widths)
        for j, size in enumerate([*sizes, 0]):
            if not known[i, j]:
                continue
            extents = [(b - a) for a, b in view.case.geometry.extents]
            length = max(extents) if size == 0 else size * max(float(w.mean()) for w in grid.widths)
            rms = math.sqrt(squares[i, j])
            floor = max(math.sqrt(halved[i, j]), math.sqrt(refined[i, j]), rounding / max(size, 1))
            relative = rms * view.case.scales.length / reference if reference > 0 else 0.0
            rows.append(
                Defect("balance", label, balance.unit, rms, largest[i, j], relative, floor, size, length)
            )  # fmt: skip
    return rows


def _sampling_errors(balance: Balance, lattice: Any, view: _View) -> list[np.ndarray]:
    """What storage and source lose where a cell's mean is taken from its centre: Σ h²/24 ∂²/∂x², for each component.

    Inputs that the case itself gives on cells are these means, and lose nothing.
    """
    rows = []
    for storage, _, source in balance.components():
        total = np.zeros(view.grid.shape)
        if storage is not None:
            total = total + lattice.cells(time_derivative(storage))
        if not any(isinstance(leaf, Input) and leaf.name in view.case.inputs for leaf in leaves(source)):
            total = total - lattice.cells(source)
        error = np.zeros_like(total)
        for axis, periodic in enumerate(view.grid.periodic):
            n = total.shape[-1 - axis]
            if n >= 3:
                k = np.arange(n) if periodic else np.clip(np.arange(n), 1, n - 2)  # at an end, its neighbour's value
                low, mid, high = (np.take(total, (k + s) % n, axis=-1 - axis) for s in (-1, 0, 1))
                error += (low - 2 * mid + high) / 24
        rows.append(error)
    return rows


def _whole(values: np.ndarray, volumes: np.ndarray) -> np.ndarray:
    return np.array([np.sum(values * volumes) / np.sum(volumes)])


def _coarse_gap(defect: np.ndarray, coarse: np.ndarray, view: _View, size: int) -> np.ndarray | None:
    """(D(2h) − D(h)) / 3 on the same control volumes; None where the coarse grid has no such volumes."""
    assert view.coarse_grid is not None
    if size == 1:
        return None
    volumes = view.coarse_grid.volumes()
    same = _whole(coarse, volumes) if size == 0 else _blocks(coarse, volumes, size // 2)
    return (same - defect) / 3


def _audit_boundaries(view: _View, chosen: list[int]) -> list[Defect]:
    """Given boundary values against those of the solution: stored on the face, else extrapolated from inside."""
    rows = []
    scales = view.case.scales.fields
    for boundary, conditions in view.case.boundary_conditions.items():
        axis, end = next(
            ((a, e) for a, x in enumerate(AXES) for e in ("min", "max") if boundary == f"{x}_{e}"), (0, "")
        )
        if not end:  # no side of the grid
            continue
        for name, condition in conditions.items():
            if condition.kind != "dirichlet" or name not in view.fields:
                continue
            gaps, floors = [], []
            for k in chosen:
                stored = {(n, a): v[k] for (n, a), v in view.faces.items()}
                found = []
                for order in (2, 4):
                    lattice = provider.lattice(view.grid, {name: view.fields[name][k]}, face_values=stored, order=order)
                    face = lattice.faces(Field(name), axis)
                    found.append(np.take(face, 0 if end == "min" else -1, axis=-1 - axis))
                gaps.append(found[0] - condition.at(float(view.times[k])))
                floors.append(found[1] - found[0])
            gaps, floors = (_present(np.array(g), view) for g in (gaps, floors))
            if not gaps.size:
                continue
            rms = math.sqrt(float(np.mean(np.square(gaps))))
            scale = scales.get(name, 1.0)
            floor = max(math.sqrt(_mean_square(floors, view)), view.epsilon * scale)
            unit = view.case.problem.field(name).unit
            label = f"{name} on {boundary}"
            rows.append(Defect("boundary", label, unit, rms, float(np.max(np.abs(gaps))), rms / scale, floor))
    return rows


def _audit_invariants(view: _View) -> list[Defect]:
    rows = []
    volumes = np.where(view.fluid, view.grid.volumes(), 0.0)
    for invariant in view.case.problem.invariants:
        if invariant.field not in view.fields:
            continue
        totals = (
            np.where(view.fluid, view.fields[invariant.field] * volumes, 0.0).reshape(len(view.times), -1).sum(axis=1)
        )
        drift = totals - totals[0] - invariant.rate * (view.times - view.times[0])
        scale = view.case.scales.fields.get(invariant.field, 1.0) * float(volumes.sum())
        floor = view.epsilon * scale
        rms = math.sqrt(float(np.mean(drift**2)))
        rows.append(
            Defect("invariant", invariant.name, invariant.unit, rms, float(np.abs(drift).max()), rms / scale, floor)
        )
    return rows
