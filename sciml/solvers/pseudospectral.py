"""The pseudo-spectral solver for periodic problems."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np

from sciml.errors import InputError, is_number, is_whole
from sciml.geometry import AXES, Box
from sciml.problem import Case, PDEProblem, Problem, beginning
from sciml.registry import solvers
from sciml.solver import Start
from sciml.solvers import _fourier, _fourier_stepper, _time
from sciml.solvers._numerical import Alike, Begin, GridSolver, cell_counts, checked, known_names, since
from sciml.solvers._promotion import standard
from sciml.solvers._titles import title
from sciml.solvers.spectral_closure import SpectralEddyViscosity
from sciml.support import Grid

if TYPE_CHECKING:
    import xarray

_RESOLVED = 1e-2  # share of the shortest waves from which a warning is given


@solvers.register("pseudo_spectral")
class PseudoSpectral(GridSolver):
    """Fourier modes in space (2/3 rule), Runge-Kutta 4 with exact diffusion in time, for periodic problems.

    Any balances whose derivatives stand in fluxes, times constants, with at most the constraint ∇·u = 0 beside them;
    what is solved is read off them (`_fourier_stepper`). Smooth solutions converge faster than any power of the cell
    size; a constrained velocity is divergence-free mode by mode, and a mean flow is kept. Initial fields are taken as
    trigonometric polynomials through the given values; what they hold beyond `resolution`/3 waves across the period is
    left out. Solutions carry the attribute "spectrum_tail", the share of the shortest waves; a warning is given where
    it is large.

    Args:
        resolution: cells along each axis, or counts in array order (y, x). Answers are point values at cell centres.
        dtype: "float64" or "float32".
        cfl: (Σ |velocity| / cell size + |∂ source / ∂ field|) τ of a sub-step; Runge-Kutta 4 is stable up to 1.35.
        max_substeps: between two requested times.
        derivative: which derivatives of `simulate` can be taken: "reverse" (jax.grad, jax.vjp) or "forward" (jax.jvp).
        closure: what stands for the eddies that the grid does not hold, of a flow in three dimensions; None for none of
            it, as a direct simulation needs. The balances do not know of it, so an audit sees it as a defect.

    Source: C. Canuto, M. Y. Hussaini, A. Quarteroni, T. A. Zang, Spectral Methods in Fluid Dynamics (1988), chapter 3.
    """

    name = "pseudo_spectral"
    parts: ClassVar[Mapping[str, tuple[type, ...]]] = {"closure": (SpectralEddyViscosity,)}

    def __init__(
        self,
        resolution: int | tuple[int, ...] = 128,
        dtype: str = "float64",
        cfl: float = 0.25,
        max_substeps: int = 200_000,
        derivative: str = "reverse",
        closure: SpectralEddyViscosity | None = None,
    ):
        self.resolution = cell_counts(self.name, resolution, 8)
        if dtype not in ("float32", "float64"):
            raise InputError(f"{self.name}: dtype is {dtype!r}, expected 'float64' or 'float32'")
        if not is_number(cfl) or not 0 < cfl <= 1.35:
            raise InputError(f"{self.name}: cfl is {cfl!r}, expected a number in (0, 1.35]")
        if derivative not in ("reverse", "forward"):
            raise InputError(f"{self.name}: derivative is {derivative!r}, expected 'reverse' or 'forward'")
        if not is_whole(max_substeps) or max_substeps < 1:
            raise InputError(f"{self.name}: max_substeps is {max_substeps!r}, expected an integer from 1 on")
        if closure is not None and not isinstance(closure, SpectralEddyViscosity):
            raise InputError(f"{self.name}: closure is {closure!r:.60}, expected a SpectralEddyViscosity or None")
        self.dtype, self.cfl, self.max_substeps, self.derivative = dtype, float(cfl), int(max_substeps), derivative
        self.closure = closure

    @classmethod
    def on(cls, counts: tuple[int, ...], dtype: str = "float32", tendencies: bool = False, **options: Any) -> Self:
        return cls(counts, dtype=dtype, **options)

    @property
    def modelled(self) -> bool:
        return self.closure is not None

    @property
    def settings(self) -> dict[str, Any]:
        found = {"resolution": self.resolution, "dtype": self.dtype, "cfl": self.cfl, "max_substeps": self.max_substeps}
        return found if self.closure is None else found | {"closure": self.closure.settings}

    def supports(self, problem: Problem) -> bool:
        if not isinstance(problem, PDEProblem) or problem.steady:
            return False
        try:
            case = problem.case()
            system = _fourier_stepper.system(problem)
        except InputError:
            return False
        if self.closure is not None and (problem.dimensions != 3 or system.pressure is None):
            return False
        return isinstance(case.geometry, Box) and all(case.geometry.periodic)

    def grid(self, case: Case) -> Grid:
        d = case.problem.dimensions
        if not isinstance(self.resolution, int) and len(self.resolution) != d:
            raise InputError(
                f"{self.name}: resolution is {self.resolution}, expected {d} counts for {case.problem.name}"
            )
        return Grid.uniform(case.geometry, self.resolution)

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
        box, grid = case.geometry, self.grid(case)
        assert isinstance(box, Box)
        inputs: dict[str, Any] = {"lower": np.array(box.lower), "lengths": np.subtract(box.upper, box.lower)}
        if begin is not None:
            return dict(case.parameters), inputs | {**begin.state, "start": np.float64(begin.time)}
        psi = case.problem.streamfunction(case, grid)
        if psi is not None:
            _check_period(case, psi)
            names = _fourier_stepper.system(case.problem).fields  # type: ignore[arg-type]
            width, height = (float(v) for v in inputs["lengths"])
            u, v = _fourier.velocities(psi, (width, height), (grid.shape[0], grid.shape[1]))
            return dict(case.parameters), inputs | dict(zip(names, (u, v), strict=True))
        arrays = [v for v in case.inputs.values() if isinstance(v, np.ndarray)]
        given = [v.shape for v in arrays if v.ndim == grid.dimensions]
        own = Grid.uniform(box, given[0]) if given else grid
        state = beginning(case, own)
        with jax.enable_x64(True):
            for name, values in state.items():
                fitted = jnp.asarray(values)
                for axis, n in enumerate(grid.shape):
                    fitted = _fourier.refit(fitted, n, axis, 0.5, 0.5)
                inputs[name] = np.asarray(fitted)
        return dict(case.parameters), inputs

    def simulate(
        self, parameters: Mapping[str, Any], inputs: Mapping[str, Any], times: Any, problem: PDEProblem
    ) -> dict[str, jax.Array]:
        """The solution as a pure function of arrays: under `jax.jit`, `jax.vmap` and `jax.grad`.

        Call it within `jax.enable_x64(True)` for float64. `arrays` makes the first two arguments from a case.

        Args:
            parameters: scalars by name, all of the problem's.
            inputs: the fields that change in time, at cell centres; "lower" and "lengths" (D,) of the domain along x,
                y, ...; and "start", the time at which it starts, 0 by default.
            times: (T,) increasing times from the start on.
            problem: which equations.

        Returns:
            fields and their "<field>_tendency" over (T, *cells), "substeps" (T,) since the last time, and the time
            "reached" (T,). Where the march stopped, the remaining values are NaN.
        """
        return self._simulate(parameters, inputs, times, problem, self.derivative)

    @standard
    def _simulate(self, parameters: Any, inputs: Any, times: Any, problem: PDEProblem, derivative: str) -> Any:
        system = _fourier_stepper.system(problem)
        known_names("parameters", parameters, [p.name for p in problem.parameters])
        known_names("inputs", inputs, [*system.fields, "lower", "lengths", "start"])
        real = jnp.zeros(()).dtype
        given = {k: jnp.asarray(v, real) for k, v in parameters.items()}
        fields = {k: jnp.asarray(v, real) for k, v in inputs.items()}
        shape = fields[system.fields[0]].shape
        stepper = _fourier_stepper.FourierStepper(
            system, given, fields["lengths"], shape, fields["lower"], self.cfl, self.closure
        )
        controls = _time.Controls(self.max_substeps, 32, derivative)
        state, start = stepper.start(fields), fields.get("start", 0.0)
        frames = _time.march(stepper, controls, state, checked(times, real), start)
        return {**frames.values, "substeps": frames.substeps, "reached": frames.reached}

    def run(
        self, cases: Sequence[Case], times: Sequence[np.ndarray], begins: Sequence[Begin] | None = None
    ) -> list[dict[str, np.ndarray]]:
        found = []
        for i, (case, asked) in enumerate(zip(cases, times, strict=True)):
            parameters, inputs = self.arrays(case, asked, None if begins is None else begins[i])
            # an equation that names the time needs it as it is
            late = 0.0 if _fourier_stepper.names_time(case.problem) else float(inputs.pop("start", 0.0))
            elapsed = since(late, asked, self.dtype)
            with jax.enable_x64(self.dtype == "float64"):
                made = _compiled(self, parameters, inputs, elapsed, Alike(case.problem))
                made = {k: np.asarray(v) for k, v in made.items()}
            found.append(made | {"reached": made["reached"] + np.float64(late)})
        return found

    def begin(self, start: Start) -> Begin:
        grid, given = self.grid(start.case), self.given(start)
        names = _fourier_stepper.system(start.case.problem).fields  # type: ignore[arg-type]
        return Begin({n: start.support.onto(given[n], grid) for n in names}, start.time)

    def label(self, case: Case, times: np.ndarray | None, found: Mapping[str, np.ndarray]) -> xarray.Dataset:
        from sciml.data import solution

        assert times is not None
        hint = f"a cfl below {self.cfl:g} or a finer resolution may help"
        count, status = self.outcome(case, times, found, hint)
        grid = self.grid(case)
        dims = ("time", *AXES[: grid.dimensions][::-1])
        fields = {k: (dims, v[:count]) for k, v in found.items() if k not in ("substeps", "reached")}
        coords = dict(zip(AXES, grid.centres, strict=False))
        system = _fourier_stepper.system(case.problem)  # type: ignore[arg-type]
        names = system.fields if system.pressure else system.fields[:1]  # of a velocity one component may be at rest
        tail = _tail([found[n][:count] for n in names])
        notes = {"substeps": int(found["substeps"].sum()), "spectrum_tail": tail}
        if status == "ok" and tail > _RESOLVED and self.closure is None:
            warnings.warn(
                f"{self.name}: {title(case)}: the shortest waves hold {tail:.1%} of {', '.join(names)}; "
                "the solution is under-resolved, a finer resolution is needed",
                stacklevel=2,
            )
        return solution(
            case, times[:count], fields, coords, solver=self.name, settings=self.settings, status=status, attrs=notes
        )

    def __hash__(self) -> int:  # equal settings share one compiled function
        return hash((self.resolution, self.dtype, self.cfl, self.max_substeps))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PseudoSpectral) and self.settings == other.settings


@partial(jax.jit, static_argnames=("solver", "problem"))
def _compiled(solver: PseudoSpectral, parameters: Any, inputs: Any, times: Any, problem: Alike) -> Any:
    return solver._simulate(parameters, inputs, times, problem.problem, "forward")


def _tail(fields: Sequence[np.ndarray]) -> float:
    """The largest share, over the frames, of the rms of some fields (T, *shape) together that lies in the last quarter
    of the modes that the 2/3 rule keeps along some axis."""
    share, shape = 0.0, fields[0].shape[1:]
    half = np.arange(shape[-1] // 2 + 1)
    twice = np.where((half > 0) & (2 * half < shape[-1]), 2.0, 1.0)  # such a mode stands for its conjugate, too
    for frame in zip(*fields, strict=True):
        power = sum(np.abs(np.fft.rfftn(values)) ** 2 for values in frame) * twice
        power[(0,) * len(shape)] = 0.0
        total = float(power.sum())
        for axis, n in enumerate(shape):
            m = half if axis == len(shape) - 1 else np.abs(np.fft.fftfreq(n, 1 / n))
            if total > 0:
                share = max(share, math.sqrt(float(np.compress(m > n / 4, power, axis=axis).sum()) / total))
    return share


def _check_period(case: Case, psi: np.ndarray) -> None:
    """A stream function may gain a constant across the period (a mean flow), and nothing else."""
    size = float(np.ptp(psi))
    for axis, letter in ((0, "y"), (1, "x")):
        rise = np.take(psi, -1, axis=axis) - np.take(psi, 0, axis=axis)
        if np.ptp(rise) > 1e-5 * size:
            raise InputError(
                f"{case.problem.name}: initial_streamfunction is not periodic along {letter}: last minus first value "
                f"varies by {float(np.ptp(rise)):.3g} of {size:.3g}, expected a constant"
            )
