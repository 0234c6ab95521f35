"""Turbulent flow between two walls, resolved or with a subgrid model."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np
import scipy.interpolate

from sciml.errors import InputError, is_number, is_whole
from sciml.problem import Case, Problem, beginning
from sciml.problems.turbulent_channel import TurbulentChannel
from sciml.registry import solvers
from sciml.solver import Start
from sciml.solvers import _chebyshev, _flow_batches, _fourier, _time
from sciml.solvers._channel_stepper import STABLE, ChannelStepper, Planes
from sciml.solvers._numerical import Begin, GridSolver, checked, known_names, since
from sciml.solvers._promotion import standard
from sciml.solvers._subgrid import Closure
from sciml.support import Grid, Support, support_of

if TYPE_CHECKING:
    import xarray

_GIVEN = ("u", "v", "w", "start", "lengths", "half_height")
_NEEDED = ("viscosity", "density", "friction_velocity", "bulk_velocity")
#: of one core, a cell and a step, without and with a closure, with which steps are somewhat shorter, too
SECONDS_A_CELL = {"float32": (1.6e-7, 3.3e-7), "float64": (2.7e-7, 5.4e-7)}


@solvers.register("channel_flow")
class ChannelFlow(GridSolver):
    """Fourier modes along x and z (2/3 rule), Chebyshev points from wall to wall, for `TurbulentChannel`.

    Wall-normal velocity and vorticity are marched by Runge-Kutta 3 with implicit viscosity (`_channel_stepper`); the
    divergence is zero to rounding. Without a closure it is a direct numerical simulation, with one (`WALE`,
    `DynamicSmagorinsky`) a large-eddy simulation; quantities are the wall's shear and the driving force. The cells of
    an answer are uniform along x and z; from wall to wall their centres are the inner Chebyshev points.

    Args:
        resolution: cells in array order (z, y, x); a third of those along x and z are waves that are kept.
        closure: a subgrid model, or None.
        dtype: "float64" or "float32", which takes six tenths of the time.
        cfl: Σ |velocity| · largest wave number · τ of a sub-step, in the frame that moves with the flow; stable up to
            √3. Errors in time go with its square.
        max_substeps: between two requested times.
        derivative: which derivatives of `simulate` can be taken: "reverse" (jax.grad, jax.vjp) or "forward" (jax.jvp).

    Sources: J. Kim, P. Moin, R. Moser, J. Fluid Mech. 177, 133 (1987); P. R. Spalart, R. D. Moser, M. M. Rogers, J.
    Comput. Phys. 96, 297 (1991).
    """

    name = "channel_flow"
    parts: ClassVar[Mapping[str, tuple[type, ...]]] = {"closure": (Closure,)}

    def __init__(
        self,
        resolution: tuple[int, int, int] = (36, 83, 48),
        closure: Closure | None = None,
        dtype: str = "float64",
        cfl: float = 1.0,
        max_substeps: int = 1_000_000,
        derivative: str = "reverse",
    ):
        whole = isinstance(resolution, tuple | list) and len(resolution) == 3 and all(map(is_whole, resolution))
        if not whole or min(resolution[0], resolution[2]) < 4 or resolution[1] < 7:
            raise InputError(
                f"{self.name}: resolution is {resolution!r}, expected cells (z, y, x): at least 4 along z and x, 7 "
                "along y"
            )
        if closure is not None and not isinstance(closure, Closure):
            raise InputError(f"{self.name}: closure is {closure!r}, expected WALE(), DynamicSmagorinsky() or None")
        if dtype not in ("float32", "float64"):
            raise InputError(f"{self.name}: dtype is {dtype!r}, expected 'float64' or 'float32'")
        if not is_number(cfl) or not 0 < cfl <= STABLE:
            raise InputError(f"{self.name}: cfl is {cfl!r}, expected a number in (0, {STABLE:.3f}]")
        if derivative not in ("reverse", "forward"):
            raise InputError(f"{self.name}: derivative is {derivative!r}, expected 'reverse' or 'forward'")
        if not is_whole(max_substeps) or max_substeps < 1:
            raise InputError(f"{self.name}: max_substeps is {max_substeps!r}, expected an integer from 1 on")
        self.resolution = tuple(int(n) for n in resolution)
        self.closure, self.dtype, self.cfl = closure, dtype, float(cfl)
        self.max_substeps, self.derivative = int(max_substeps), derivative

    @classmethod
    def on(cls, counts: tuple[int, ...], dtype: str = "float32", tendencies: bool = False, **options: Any) -> Self:
        if len(counts) != 3 or tendencies:
            raise InputError(f"{cls.name}: resolution is {counts}, expected three counts, and no rates of change")
        return cls((counts[0], counts[1], counts[2]), dtype=dtype, **options)

    @property
    def title(self) -> str:  # type: ignore[override]
        return "channel flow, resolved" if self.closure is None else f"channel flow, {self.closure.title}"

    @property
    def modelled(self) -> bool:
        return self.closure is not None

    @property
    def settings(self) -> dict[str, Any]:
        own = {"resolution": list(self.resolution), "dtype": self.dtype, "cfl": self.cfl}
        own["max_substeps"] = self.max_substeps
        return own if self.closure is None else {**own, "closure": self.closure.settings}

    @property
    def threads(self) -> int:
        """Cases that run at the same time: one uses little more than a core."""
        return _flow_batches.cores()

    def supports(self, problem: Problem) -> bool:
        return isinstance(problem, TurbulentChannel)

    def answers(self, problem: Problem) -> tuple[str, ...]:
        return tuple(f.name for f in problem.fields)

    def grid(self, case: Case) -> Grid:
        return stretched(case, self.resolution)

    def seconds(self, cases: Sequence[Case], times: Sequence[np.ndarray | None]) -> list[float]:
        """From what turbulent channels took, within a factor of two: velocities relative to the moving frame are half
        of the fastest mean and a friction velocity more, 1.5 and 3 friction velocities across."""
        found, planes = [], Planes(self.resolution[0], self.resolution[2])
        widest = float(np.diff(_chebyshev.faces(self.resolution[1])).max())
        for case, asked in zip(cases, times, strict=True):
            last, count = (0.0, 0) if asked is None else (float(asked[-1]), len(asked))
            along = float(np.max(case.problem.mean_profile(case, [0.0]))) / 2  # type: ignore[attr-defined]
            unsteady = case.friction_velocity if case.disturbance else 0.0
            rate = (along + unsteady) * planes.mx * 2 * np.pi / case.length_x
            rate += unsteady * (1.5 * np.pi / (widest * case.half_height) + 3 * planes.mz * 2 * np.pi / case.length_z)
            steps = max(last * rate / self.cfl, count)
            found.append(steps * SECONDS_A_CELL[self.dtype][self.closure is not None] * math.prod(self.resolution))
        return found

    @standard
    def arrays(
        self, case: Case, times: Any = None, begin: Begin | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """The `parameters` and `inputs` of `simulate` for a case, in float64.

        Args:
            times: not needed here.
            begin: where to start from instead of the case's beginning.
        """
        self.require(case)
        parameters = {n: case.parameters[n] for n in _NEEDED}
        inputs: dict[str, Any] = {
            "lengths": np.array([case.length_x, case.length_z]), "half_height": np.float64(case.half_height),
        }  # fmt: skip
        if begin is None:
            return parameters, inputs | self._beginning(case)
        return parameters, inputs | {**begin.state, "start": np.float64(begin.time)}

    def _beginning(self, case: Case) -> dict[str, np.ndarray]:
        """How a case begins; with the flow rate that is asked for as this grid integrates it, where that is kept: what
        is missing by the grid's error would come all at once, by the force of the first step."""
        found = beginning(case, self.grid(case), ("u", "v", "w"))
        if case.problem.drive == "flow_rate":  # type: ignore[attr-defined]
            mean = found["u"].mean((0, 2), keepdims=True)
            bulk = float(_chebyshev.weights(self.resolution[1])[1:-1] @ mean[0, :, 0]) / 2
            found["u"] += (case.bulk_velocity / bulk - 1) * mean
        return found

    def simulate(
        self, parameters: Mapping[str, Any], inputs: Mapping[str, Any], times: Any, problem: TurbulentChannel
    ) -> dict[str, jax.Array]:
        """The solution as a pure function of arrays: under `jax.jit`, `jax.vmap` and `jax.grad`.

        Call it within `jax.enable_x64(True)` for float64. `arrays` makes the first two arguments from a case.

        Args:
            parameters: "viscosity", "density", "friction_velocity", "bulk_velocity".
            inputs: "u", "v", "w" (z, y, x) at the centres of cells; "lengths" (2,) of the periods along x and z;
                "half_height"; "start", the time at which it starts, 0 by default.
            times: (T,) increasing times from the start on.
            problem: with which drive.

        Returns:
            u, v, w, p over (T, z, y, x); "wall_shear" and "driving_force" (T,); "substeps" (T,) since the last time,
            and the time "reached" (T,). Where the march stopped, the remaining values are NaN.
        """
        return self._simulate(parameters, inputs, times, problem.drive, self.derivative)

    @standard
    def _simulate(self, parameters: Any, inputs: Any, times: Any, drive: str, derivative: str) -> Any:
        known_names("parameters", parameters, _NEEDED)
        known_names("inputs", inputs, _GIVEN)
        real = jnp.zeros(()).dtype
        given = {k: jnp.asarray(v, real) for k, v in {**parameters, **inputs}.items()}
        density, force = given["density"], given["friction_velocity"] ** 2 / given["half_height"]
        steady = drive == "pressure_gradient"
        stepper = ChannelStepper(
            self.resolution,  # type: ignore[arg-type]
            (given["lengths"][0], given["lengths"][1]),
            given["half_height"],
            given["viscosity"] / density,
            force if steady else None,
            None if steady else given["bulk_velocity"],
            self.cfl,
            self.closure,
        )
        state = stepper.start(given)
        # what keeps the flow rate is what the walls take
        state["force"] = force if steady else stepper.wall_shear(state) / given["half_height"]
        controls = _time.Controls(self.max_substeps, 32, derivative)
        frames = _time.march(stepper, controls, state, checked(times, real), given.get("start", 0.0))
        scaled = {n: density * frames.values[n] for n in ("p", "wall_shear", "driving_force")}
        return {**frames.values, **scaled, "substeps": frames.substeps, "reached": frames.reached}

    def run(
        self, cases: Sequence[Case], times: Sequence[np.ndarray], begins: Sequence[Begin] | None = None
    ) -> list[dict[str, np.ndarray]]:
        found = []
        for i, (case, asked) in enumerate(zip(cases, times, strict=True)):
            parameters, inputs = self.arrays(case, asked, None if begins is None else begins[i])
            late = float(inputs.pop("start", 0.0))
            elapsed = since(late, asked, self.dtype)
            drive = case.problem.drive  # type: ignore[attr-defined]
            with jax.enable_x64(self.dtype == "float64"):
                made = {k: np.asarray(v) for k, v in _compiled(self, parameters, inputs, elapsed, drive).items()}
            found.append(made | {"reached": made["reached"] + np.float64(late)})
        return found

    def begin(self, start: Start) -> Begin:
        """Velocities on any grid of the channel, as trigonometric and cubic polynomials through its values, without the
        gradient part: what a model has learned is not free of divergence, and all of that would go into u and w."""
        grid, support = self.grid(start.case), start.support
        given = {n: v for n, v in self.given(start).items() if n in self.needed(start.case)}
        if isinstance(support, Grid) and support.shape == grid.shape and support.same(grid):
            return Begin(_solenoidal(given, start.case, grid), start.time)
        if not isinstance(support, Grid):
            raise InputError(f"{self.name}: the frame lives on {support!r}, expected a grid")
        fitted = {n: _onto(np.asarray(v, np.float64), support, grid) for n, v in given.items()}
        return Begin(_solenoidal(fitted, start.case, grid), start.time)

    def back(self, start: Start, grid: Any) -> Callable[[np.ndarray], np.ndarray]:
        """As `filtered` makes data, where frames are asked for on a coarser grid of its kind."""
        shape = start.support.shape
        same = len(shape) == 3 and start.support.same(stretched(start.case, shape))
        if not same or shape == grid.shape or any(n > m for n, m in zip(shape, grid.shape, strict=True)):
            return super().back(start, grid)
        rests = [n in start.case.problem.velocity for n in start.fields or self.names(start.case)]
        return lambda frames: np.stack([_coarse(f, shape, r) for f, r in zip(frames, rests, strict=True)])

    def label(self, case: Case, times: np.ndarray | None, found: Mapping[str, np.ndarray]) -> xarray.Dataset:
        from sciml.data import solution

        assert times is not None
        count, status = self.outcome(case, times, found, f"a cfl below {self.cfl:g} or a finer resolution may help")
        fields = {n: found[n][:count] for n in ("u", "v", "w", "p")}
        quantities = {q.name: found[q.name][:count] for q in case.problem.quantities}
        return solution(
            case, times[:count], fields, self.grid(case), solver=self.name, settings=self.settings, status=status,
            quantities=quantities, attrs={"substeps": int(found["substeps"].sum())},
        )  # fmt: skip

    def modelled_shear(self, velocity: Any, support: Support) -> np.ndarray:
        """(z, y, x) the shear stress −τ_xy over density, m²/s², that the closure carries in a frame; 0 without one.

        What `sciml.evaluation.Profiles(modelled=solver.modelled_shear)` needs for the balance of stresses.

        Args:
            velocity: (3, z, y, x) u, v, w on this solver's own grid of a channel.
            support: that grid.

        Raises:
            InputError: another grid, on which waves that the closure has seen are missing or not all there is.
        """
        values = np.asarray(velocity, np.float64)
        grid = support if isinstance(support, Grid) and support.shape == self.resolution else None
        ends = grid.extents if grid is not None else ((0.0, 1.0),) * 3
        half = (ends[1][1] - ends[1][0]) / 2
        faces = ends[1][0] + half * (1 + _chebyshev.faces(self.resolution[1]))
        if grid is None or not np.allclose(grid.faces[1], faces, rtol=0, atol=1e-6 * half):
            raise InputError(f"{self.name}: modelled_shear: expected a frame on this solver's grid, got {support!r}")
        if values.shape != (3, *self.resolution):
            raise InputError(
                f"{self.name}: modelled_shear: expected velocities {(3, *self.resolution)}, got {values.shape}"
            )
        if self.closure is None:
            return np.zeros(self.resolution)
        lengths = np.array([ends[0][1] - ends[0][0], ends[2][1] - ends[2][0]])
        with jax.enable_x64(self.dtype == "float64"):
            return np.asarray(_modelled(self, values, lengths, half))

    def stored(self, case: Case, solution: xarray.Dataset, resolution: tuple[int, ...], names: Sequence[str]) -> Any:
        return filtered(case, solution, resolution, names)

    def __hash__(self) -> int:  # equal settings share one compiled function
        return hash((self.resolution, self.closure, self.dtype, self.cfl, self.max_substeps))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ChannelFlow) and self.settings == other.settings


@partial(jax.jit, static_argnames=("solver", "drive"))
def _compiled(solver: ChannelFlow, parameters: Any, inputs: Any, times: Any, drive: str) -> Any:
    return solver._simulate(parameters, inputs, times, drive, "forward")


@partial(jax.jit, static_argnames="solver")
def _modelled(solver: ChannelFlow, velocity: Any, lengths: Any, half_height: Any) -> jax.Array:
    real = jnp.zeros(()).dtype
    u, v, w = jnp.asarray(velocity, real)
    sides, h = jnp.asarray(lengths, real), jnp.asarray(half_height, real)
    shape: Any = solver.resolution
    stepper = ChannelStepper(shape, (sides[0], sides[1]), h, 0.0, 0.0, None, solver.cfl, solver.closure)
    return jnp.swapaxes(stepper.modelled_shear(stepper.start({"u": u, "v": v, "w": w})), 0, 1)


def stretched(case: Case, shape: Sequence[int]) -> Grid:
    """The grid of a channel with so many cells (z, y, x): uniform along x and z, about the inner Chebyshev points from
    wall to wall."""
    nz, ny, nx = shape
    x, z = (np.linspace(0.0, length, n + 1) for length, n in ((case.length_x, nx), (case.length_z, nz)))
    return Grid.of(case.geometry, (x, _chebyshev.faces(ny) * case.half_height, z))


def filtered(case: Case, solution: xarray.Dataset, shape: Sequence[int], names: Sequence[str]) -> xarray.Dataset:
    """What a coarser grid shows of a solution of `ChannelFlow`, as filtered data of a direct simulation are made.

    Along x and z waves that the coarse grid cannot carry are left out (a sharp filter); from wall to wall values are
    means over the coarse cells of the polynomial through the fine ones.

    Args:
        shape: cells (z, y, x) of the coarse grid, which is stretched as `ChannelFlow`'s are.
        names: the fields to keep.

    Raises:
        InputError: more cells than there are.
    """
    from sciml import data

    fine = support_of(case, solution)
    assert isinstance(fine, Grid)
    if fine.shape == tuple(shape):
        return solution[[n for n in solution.data_vars if n in names or n not in {f.name for f in case.problem.fields}]]
    if any(n > m for n, m in zip(shape, fine.shape, strict=True)):
        raise InputError(
            f"resolution: {tuple(shape)}: expected at most as many cells as the solution has, {fine.shape}"
        )
    grid, fields = stretched(case, shape), {}
    for name in names:
        values = np.asarray(solution[name].values, np.float64)
        fields[name] = _coarse(values, shape, name in case.problem.velocity).astype(solution[name].dtype)
    settings = json.loads(solution.attrs.get("settings", "{}")) | {"stored_cells": list(grid.shape)}
    return data.solution(
        case, solution["time"].values, fields, grid, solver=solution.attrs.get("solver", ""), settings=settings,
        status=solution.attrs["status"],
        quantities={q.name: solution[q.name].values for q in case.problem.quantities if q.name in solution},
        attrs={k: v for k, v in solution.attrs.items() if k == "substeps"},
    )  # fmt: skip


def _coarse(values: np.ndarray, shape: Sequence[int], rests: bool) -> np.ndarray:
    """Values (..., z, y, x) on a coarser grid, as `filtered` says.

    Args:
        rests: whether they vanish at the walls; else the last value before a wall is taken to be there, too.
    """
    cells = values.shape[-2]
    means = _chebyshev.means(cells, _chebyshev.faces(shape[1]))
    inner = means[:, 1:-1].copy()
    if not rests:
        inner[:, [0, -1]] += means[:, [0, -1]]
    found = np.einsum("ij,...zjx->...zix", inner, values)
    for axis, n in ((-3, shape[0]), (-1, shape[2])):
        found = _truncated(found, n, axis)
    return found


def _truncated(values: np.ndarray, n: int, axis: int) -> np.ndarray:
    """Periodic values at the centres of cells -> those at the centres of n cells, of the waves below n/2."""
    m = values.shape[axis]
    modes = np.moveaxis(np.fft.rfft(values, axis=axis), axis, -1)[..., : (n - 1) // 2 + 1]
    k = np.arange(modes.shape[-1])
    modes = modes * np.exp(1j * np.pi * k * (1 / n - 1 / m)) * (n / m)
    return np.moveaxis(np.fft.irfft(modes, n, axis=-1), -1, axis)


def _onto(values: np.ndarray, support: Grid, grid: Grid) -> np.ndarray:
    """Values (z, y, x) at other places of the same channel."""
    with jax.enable_x64(True):
        fitted = jnp.asarray(values)
        for axis, length in ((0, 2), (2, 0)):
            have = (support.centres[length][0] - grid.faces[length][0]) / support.widths[length][0]
            fitted = _fourier.refit(fitted, grid.shape[axis], axis, float(have), 0.5)
        values = np.asarray(fitted)
    y = np.concatenate([grid.faces[1][:1], support.centres[1], grid.faces[1][-1:]])
    wall = np.zeros((values.shape[0], 1, values.shape[2]))
    spline = scipy.interpolate.make_interp_spline(y, np.concatenate([wall, values, wall], axis=1), axis=1)
    return np.asarray(spline(grid.centres[1]))


def _solenoidal(fields: dict[str, np.ndarray], case: Case, grid: Grid) -> dict[str, np.ndarray]:
    """The same without the gradient of p where ∇²p = ∇·u, ∂p/∂y = 0 at the walls: the part of v that fits to the
    others, of which u and w follow."""
    modes, h = _chebyshev.modes(grid.shape[1]), case.half_height
    axes = (0, 2)
    u, v, w = (np.fft.fftn(np.asarray(fields[n], np.float64), axes=axes) for n in "uvw")
    kx = 2 * np.pi * np.fft.fftfreq(grid.shape[2], case.length_x / grid.shape[2])[None, None, :]
    kz = 2 * np.pi * np.fft.fftfreq(grid.shape[0], case.length_z / grid.shape[0])[:, None, None]
    inner = modes.first[1:-1, 1:-1] / h
    divergence = 1j * kx * u + 1j * kz * w + np.einsum("ij,zjx->zix", inner, v)
    rate = modes.neumann_rate[None, :, None] / h**2 - kx**2 - kz**2
    source = np.einsum("ij,zjx->zix", modes.neumann_to_modes, divergence)
    p = np.einsum("ij,zjx->zix", modes.neumann_to_values, np.where(rate == 0, 0, source / np.where(rate == 0, 1, rate)))
    ends = np.einsum("ij,zjx->zix", modes.ends_from_inner, p)
    slope = np.einsum("ij,zjx->zix", modes.first[1:-1, 1:-1], p)
    slope += np.einsum("ij,zjx->zix", modes.first[1:-1][:, [0, -1]], ends)
    return {**fields, "v": np.real(np.fft.ifftn(v - slope / h, axes=axes))}
