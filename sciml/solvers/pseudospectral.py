"""The pseudo-spectral solver for periodic problems."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from sciml.errors import InputError, is_number, is_whole
from sciml.geometry import AXES
from sciml.problem import Case, PDEProblem
from sciml.registry import solvers
from sciml.solver import Solver
from sciml.solvers import _many, _spectral
from sciml.solvers._promotion import standard
from sciml.support import Grid

if TYPE_CHECKING:
    import xarray

# For each problem: its equation in Fourier space, and the input that holds the initial state.
_SYSTEMS: dict[str, tuple[Callable[..., _spectral.System], str]] = {
    "taylor_green": (_spectral.flow, "initial_streamfunction"),
    "burgers": (_spectral.burgers, "initial_velocity"),
}
_RESOLVED = 1e-2  # share of the shortest waves from which a warning is given


@solvers.register("pseudo_spectral")
class PseudoSpectral(Solver):
    """Fourier modes in space (2/3 rule), Runge-Kutta 4 with exact diffusion in time: `TaylorGreen` and `Burgers`.

    Smooth solutions converge faster than any power of the cell size. Flow is solved by its vorticity, so that velocity
    is divergence-free mode by mode; a mean flow is kept. Initial fields are taken as trigonometric polynomials through
    the given values; what they hold beyond `resolution`/3 waves across the period is left out. Solutions carry the
    attribute "spectrum_tail", the share of the shortest waves in the velocity; a warning is given where it is large.

    Args:
        resolution: cells along each axis, or counts in array order (y, x). Answers are point values at cell centres.
        dtype: "float64" or "float32".
        cfl: Σ |velocity| τ / cell size of a sub-step; Runge-Kutta 4 is stable up to 1.35.
        max_substeps: between two requested times.
        derivative: which derivatives of `simulate` can be taken: "reverse" (jax.grad, jax.vjp) or "forward" (jax.jvp).

    Source: C. Canuto, M. Y. Hussaini, A. Quarteroni, T. A. Zang, Spectral Methods in Fluid Dynamics (1988), chapter 3.
    """

    name = "pseudo_spectral"

    def __init__(
        self,
        resolution: int | tuple[int, ...] = 128,
        dtype: str = "float64",
        cfl: float = 0.25,
        max_substeps: int = 200_000,
        derivative: str = "reverse",
    ):
        self.resolution = _many.cell_counts(self.name, resolution, 8)
        if dtype not in ("float32", "float64"):
            raise InputError(f"{self.name}: dtype is {dtype!r}, expected 'float64' or 'float32'")
        if not is_number(cfl) or not 0 < cfl <= 1.35:
            raise InputError(f"{self.name}: cfl is {cfl!r}, expected a number in (0, 1.35]")
        if derivative not in ("reverse", "forward"):
            raise InputError(f"{self.name}: derivative is {derivative!r}, expected 'reverse' or 'forward'")
        if not is_whole(max_substeps) or max_substeps < 1:
            raise InputError(f"{self.name}: max_substeps is {max_substeps!r}, expected an integer from 1 on")
        self.dtype, self.cfl, self.max_substeps, self.derivative = dtype, float(cfl), int(max_substeps), derivative

    @property
    def settings(self) -> dict[str, Any]:
        return {"resolution": self.resolution, "dtype": self.dtype, "cfl": self.cfl, "max_substeps": self.max_substeps}

    def supports(self, problem: PDEProblem) -> bool:
        return problem.name in _SYSTEMS

    def simulate(
        self, parameters: Mapping[str, Any], inputs: Mapping[str, Any], times: Any, problem: PDEProblem | None = None
    ) -> dict[str, jax.Array]:
        """The solution as a pure function of arrays: under `jax.jit`, `jax.vmap` and `jax.grad`.

        Call it within `jax.enable_x64(True)` for float64.

        Args:
            parameters: scalars by name, all of the problem's.
            inputs: the initial field by the problem's name for it ("initial_streamfunction": (y_node, x_node) at any
                resolution, "initial_velocity": (x,)); empty for the problem's own.
            times: (T,) increasing times from 0 on.
            problem: which equation; `TaylorGreen` where it is not given.

        Returns:
            fields and their "<field>_tendency" over (T, y, x) or (T, x), "substeps" (T,) since the last time, and the
            time "reached" (T,). Where the march stopped, the remaining values are NaN.
        """
        return self._simulate(parameters, inputs, times, "taylor_green" if problem is None else problem.name)

    @standard
    def _simulate(self, parameters: Any, inputs: Any, times: Any, name: str, derivative: str = "") -> Any:
        system, initial = _SYSTEMS[name]
        dimensions = 1 if name == "burgers" else 2
        shape = (self.resolution,) * dimensions if isinstance(self.resolution, int) else self.resolution
        if len(shape) != dimensions:
            raise InputError(f"{self.name}: resolution is {self.resolution}, expected {dimensions} counts for {name}")
        real = jnp.zeros(()).dtype
        given = {k: jnp.asarray(v, real) for k, v in parameters.items()}
        start = inputs.get(initial)
        controls = _spectral.Controls(self.cfl, self.max_substeps, 32, derivative or self.derivative)
        start = None if start is None else jnp.asarray(start, real)
        return _spectral.march(system(given, start, shape), controls, jnp.asarray(times, real))

    def _solve(self, case: Case, times: np.ndarray | None, points: np.ndarray | None) -> xarray.Dataset:
        if points is not None:
            raise InputError(f"{self.name}: points are not available, expected None; the answer is on cell centres")
        return _many.checked(self._attempt(case, times))

    def solve_many(self, cases: Iterable[Case], times: Any = None, progress: bool = True) -> xarray.Dataset:
        return _many.solve_many(self, self._attempt, cases, times, progress)

    def _attempt(self, case: Case, times: np.ndarray | None) -> xarray.Dataset:
        from sciml.data import solution

        assert times is not None
        name = case.problem.name
        _, initial = _SYSTEMS[name]
        inputs = {initial: case.inputs[initial]} if initial in case.inputs else {}
        _check_period(case, inputs)
        with jax.enable_x64(self.dtype == "float64"):
            found = _compiled(self, dict(case.parameters), inputs, times, name)
            found = {k: np.asarray(v) for k, v in found.items()}
        count, status = self._outcome(case, times, found)
        shape = found["u"].shape[1:]
        grid = Grid.uniform(case.geometry, shape)
        dims = ("time", *AXES[: len(shape)][::-1])
        fields = {k: (dims, v[:count]) for k, v in found.items() if k not in ("substeps", "reached")}
        coords = dict(zip(AXES, grid.centres, strict=False))
        notes = {"substeps": int(found["substeps"].sum()), "spectrum_tail": _tail(found["u"][:count])}
        if status == "ok" and notes["spectrum_tail"] > _RESOLVED:
            warnings.warn(
                f"{self.name}: {_many.title(case)}: the shortest waves hold {notes['spectrum_tail']:.1%} of the "
                "velocity; the solution is under-resolved, a finer resolution is needed",
                stacklevel=2,
            )
        return solution(
            case, times[:count], fields, coords, solver=self.name, settings=self.settings, status=status, attrs=notes
        )

    def _outcome(self, case: Case, times: np.ndarray, found: dict[str, np.ndarray]) -> tuple[int, str]:
        """How many frames are whole, and the status."""
        whole = np.isfinite(found["u"].reshape(len(times), -1)).all(axis=1)
        if whole.all():
            return len(times), "ok"
        count = int(np.argmin(whole))
        if found["substeps"][count] >= self.max_substeps:
            what, hint = f"reached max_substeps = {self.max_substeps}", "allow more, or ask for more times"
        else:
            what, hint = "values are not finite", f"a cfl below {self.cfl:g} or a finer resolution may help"
        return count, f"{self.name}: {_many.title(case)}: {what} at t = {float(found['reached'][count]):.6g}; {hint}"

    def __hash__(self) -> int:  # equal settings share one compiled function
        return hash((self.resolution, self.dtype, self.cfl, self.max_substeps))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PseudoSpectral) and self.settings == other.settings


@partial(jax.jit, static_argnames=("solver", "name"))
def _compiled(solver: PseudoSpectral, parameters: Any, inputs: Any, times: Any, name: str) -> Any:
    return solver._simulate(parameters, inputs, times, name, "forward")


def _tail(values: np.ndarray) -> float:
    """The largest share, over the frames, of a field's rms that lies in the last quarter of the modes that the 2/3 rule
    keeps along some axis."""
    share = 0.0
    for frame in values:
        power = np.abs(np.fft.fftn(frame - frame.mean())) ** 2
        total = float(power.sum())
        for axis, n in enumerate(frame.shape):
            high = np.abs(np.fft.fftfreq(n, 1 / n)) > n / 4
            if total > 0:
                share = max(share, math.sqrt(float(np.compress(high, power, axis=axis).sum()) / total))
    return share


def _check_period(case: Case, inputs: Mapping[str, Any]) -> None:
    """A stream function may gain a constant across the period (a mean flow), and nothing else."""
    psi = inputs.get("initial_streamfunction")
    if psi is None:
        return
    size = float(np.ptp(psi))
    for axis, letter in ((0, "y"), (1, "x")):
        rise = np.take(psi, -1, axis=axis) - np.take(psi, 0, axis=axis)
        if np.ptp(rise) > 1e-5 * size:
            raise InputError(
                f"{case.problem.name}: initial_streamfunction is not periodic along {letter}: last minus first value "
                f"varies by {float(np.ptp(rise)):.3g} of {size:.3g}, expected a constant"
            )
