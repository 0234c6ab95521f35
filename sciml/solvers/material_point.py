"""The material-point method: fluids, solids and grains that are followed by particles."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import jax
import jax.numpy as jnp
import numpy as np

from sciml.errors import InputError, is_number, is_whole
from sciml.geometry import AXES, Box
from sciml.materials import Material
from sciml.particle_problem import ParticleProblem
from sciml.problem import Case, Problem
from sciml.registry import solvers
from sciml.solver import Start
from sciml.solvers import _mpm_near, _mpm_setup, _mpm_stepper, _time
from sciml.solvers._flow_batches import cores
from sciml.solvers._mpm_gradients import Gradients
from sciml.solvers._mpm_walls import MARGIN, Scene
from sciml.solvers._numerical import Begin, NumericalSolver, checked, known_names, since
from sciml.solvers._promotion import standard
from sciml.solvers._titles import title
from sciml.support import Points, Support

if TYPE_CHECKING:
    import xarray

PORTION = 4096  # particles in three dimensions whose rows stay in the cache
ROUNDED = 0.02  # of a place, by which rounding in all steps together may move a particle before it is said
STEP = 1.5e-4  # s, of a step, whatever it moves
PARTICLE = {2: 1.3e-7, 3: 5e-7}  # s, of a particle in a step, in single precision
_RESTART = "restart_"  # of a solution: what goes on from its last frame exactly


@solvers.register("material_point", "mpm")
class MaterialPoint(NumericalSolver, Gradients):
    """MLS-MPM: particles carry matter, a grid that is made anew in each step carries forces.

    ρ Dv/Dt = ∇·σ + ρ g with σ from the problem's material. Affine transfers (APIC) with quadratic B-splines conserve
    mass, momentum and, in free flight, angular momentum to rounding; velocity and place leap over each other, second
    order in time. Sides of the box and bodies push and never pull unless they stick. Steps are explicit: as long as
    sound, matter, bodies and viscosity allow, requested times are met exactly. A solution holds, beside its fields,
    what an exact restart needs ("restart_..."), of its last frame.

    Args:
        resolution: cells of the grid along the longest side of the box; or, a float, about the edge of a cell in m.
        particles_per_cell: along each axis, at the start.
        dtype: "float32" or "float64".
        cfl: (speed of sound + velocity) Δt / cell of a step, at most 1.
        max_substeps: between two requested times.
        derivative: which derivatives of `simulate` can be taken: "reverse" (jax.grad, jax.vjp) or "forward" (jax.jvp).

    Source: Y. Hu, Y. Fang, Z. Ge, Z. Qu, Y. Zhu, A. Pradhana, C. Jiang, ACM Trans. Graph. 37, 150 (2018); C. Jiang, C.
    Schroeder, A. Selle, J. Teran, A. Stomakhin, ACM Trans. Graph. 34, 51 (2015).
    """

    name = "material_point"

    def __init__(
        self,
        resolution: int | float = 64,
        particles_per_cell: int = 2,
        dtype: str = "float32",
        cfl: float = 0.4,
        max_substeps: int = 1_000_000,
        derivative: str = "reverse",
    ):
        if not is_number(resolution) or not resolution > 0 or (is_whole(resolution) and resolution < _mpm_setup.LEAST):
            raise InputError(
                f"{self.name}: resolution is {resolution!r}, expected a whole number >= {_mpm_setup.LEAST} of cells, "
                "or the edge of a cell"
            )
        if not is_whole(particles_per_cell) or not 1 <= particles_per_cell <= 8:
            raise InputError(
                f"{self.name}: particles_per_cell is {particles_per_cell!r}, expected a whole number from 1 to 8"
            )
        if dtype not in ("float32", "float64"):
            raise InputError(f"{self.name}: dtype is {dtype!r}, expected 'float32' or 'float64'")
        if not is_number(cfl) or not 0 < cfl <= 1:
            raise InputError(f"{self.name}: cfl is {cfl!r}, expected a number in (0, 1]")
        if not is_whole(max_substeps) or max_substeps < 1:
            raise InputError(f"{self.name}: max_substeps is {max_substeps!r}, expected an integer from 1 on")
        if derivative not in ("reverse", "forward"):
            raise InputError(f"{self.name}: derivative is {derivative!r}, expected 'reverse' or 'forward'")
        self.resolution = int(resolution) if is_whole(resolution) else float(resolution)
        self.particles_per_cell, self.dtype, self.cfl = int(particles_per_cell), dtype, float(cfl)
        self.max_substeps, self.derivative = int(max_substeps), derivative

    @classmethod
    def on(cls, counts: tuple[int, ...], dtype: str = "float32", tendencies: bool = False, **options: Any) -> Self:
        if len(counts) not in (2, 3) or tendencies:
            what = "gives no rates of change" if tendencies else f"resolution is {counts}, expected two counts or three"
            raise InputError(f"{cls.name}: {what}")
        return cls(int(max(counts)), dtype=dtype, **options)

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "resolution": self.resolution, "particles_per_cell": self.particles_per_cell, "dtype": self.dtype,
            "cfl": self.cfl, "max_substeps": self.max_substeps,
        }  # fmt: skip

    def supports(self, problem: Problem) -> bool:
        return isinstance(problem, ParticleProblem)

    def require(self, case: Case) -> None:
        super().require(case)
        assert isinstance(case.problem, ParticleProblem)
        case.problem.require_sound(case)
        material = case.problem.material(case)
        if not isinstance(material, Material):
            raise InputError(f"{case.problem.name}: material gives {material!r:.60}, expected one of sciml.materials")
        if any(case.problem.geometry(case).periodic):
            raise InputError(f"{self.name}: {case.problem.name}: has a periodic box, expected walls on all sides")

    def answers(self, problem: Problem) -> tuple[str, ...]:
        return tuple(f.name for f in problem.fields)

    def grid(self, case: Case) -> Points:
        """The first positions of a case's particles, with their volumes."""
        self.require(case)
        state = _mpm_setup.beginning(case, self._edge(case))
        return Points(state["position"], state["volume"])

    def cells(self, case: Case) -> tuple[tuple[int, ...], np.ndarray]:
        """Cells of the background grid along x, y[, z], and their edges (D,), m."""
        box = case.geometry
        assert isinstance(box, Box)
        return _mpm_setup.spacing_of(box, self.resolution)

    def _edge(self, case: Case) -> float:
        """About how far particles are apart at the start, m."""
        return float(self.cells(case)[1].min()) / self.particles_per_cell

    def scene(self, case: Case) -> Scene:
        """What `simulate` has to know of a case when it is compiled."""
        self.require(case)
        return _mpm_setup.scene_of(case, self.cells(case)[0])

    def arrays(
        self, case: Case, times: Any = None, begin: Begin | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """The `parameters` and `inputs` of `simulate` for a case, in float64.

        Args:
            times: not needed here.
            begin: where to start from instead of the case's beginning.
        """
        self.require(case)
        state = _mpm_setup.beginning(case, self._edge(case)) if begin is None else begin.state
        start = 0.0 if begin is None else begin.time
        return _mpm_setup.arrays(case, self.cells(case)[1], state, start)

    def simulate(
        self, parameters: Mapping[str, Any], inputs: Mapping[str, Any], times: Any, scene: Scene
    ) -> dict[str, jax.Array]:
        """The solution as a pure function of arrays: under `jax.jit`, `jax.vmap` and `jax.grad`.

        Call it within `jax.enable_x64(True)` for float64. `arrays` makes the first two arguments from a case. Steps are
        chosen by what happens, but derivatives take their lengths as given.

        Args:
            parameters: the numbers of the material by name, and "gravity" (D,).
            inputs: "position", "velocity" (N, D), "volume" (N,) of the particles at the start, first volumes, m, m/s;
                "lower", "spacing" (D,) of the grid; "friction" (2 D,) of the sides x_min, x_max, y_min, ...; "bodies",
                a tuple of `Solid`. If known, "gradient" (N, D, D) ∂vᵢ/∂xⱼ, and what the material keeps, "kept_<name>"
                (N, ...); by default neither moves nor is deformed. "reference" (N, D) first positions.
            times: (T,) increasing times, counted from the start.
            scene: see the method `scene`; static.

        Returns:
            "position", "displacement", "velocity" (T, N, D) and "density" (T, N); "substeps" (T,) since the last time,
            and the time "reached" (T,). Where the march stopped, the remaining values are NaN.
        """
        return self.marched(parameters, inputs, times, scene, self.derivative)

    def marched(self, parameters: Any, inputs: Any, times: Any, scene: Scene, derivative: str) -> dict[str, jax.Array]:
        """`simulate` for derivatives of one kind."""
        found = self._simulate(parameters, inputs, times, scene, derivative)
        lower, spacing = (jnp.asarray(inputs[n]) for n in ("lower", "spacing"))
        place = lower + (found.pop("cells") - (MARGIN - 0.5)) * spacing
        first = jnp.asarray(inputs.get("reference", inputs["position"]))
        told = {n: found[n] for n in ("velocity", "density", "substeps", "reached")}
        return {"position": place, "displacement": place - first, **told}

    @standard
    def _simulate(self, parameters: Any, inputs: Any, times: Any, scene: Scene, derivative: str) -> dict[str, Any]:
        """As `simulate`, with positions in "cells" and what goes on from the last time, with an axis of one time."""
        numbers = dict(parameters)
        gravity = numbers.pop("gravity")
        kept_names = [n for n in inputs if n.startswith("kept_")]
        known_names("inputs", inputs, [
            "position", "cells", "velocity", "volume", "gradient", "reference", "lower", "spacing", "friction",
            "bodies", *kept_names,
        ])  # fmt: skip
        real = jnp.zeros(()).dtype
        given = jax.tree.map(lambda a: jnp.asarray(a, real), dict(inputs))
        material = scene.material(**{n: jnp.asarray(v, real) for n, v in numbers.items()})
        d, whole = len(scene.cells), given["volume"].shape[0]
        portion = PORTION if d == 3 and whole > PORTION else None
        if portion is not None:
            given = _mpm_setup.padded(given, -(-whole // portion) * portion, jnp)
        count = given["volume"].shape[0]
        stepper = _mpm_stepper.MaterialPointStepper(
            scene, material, given["volume"], given["lower"], given["spacing"], jnp.asarray(gravity, real),
            given["friction"], given["bodies"], self.cfl, portion,
        )  # fmt: skip
        cells = given.get("cells")
        if cells is None:
            cells = (given["position"] - given["lower"]) / given["spacing"] + (MARGIN - 0.5)
        gradient = given.get("gradient")
        gradient = jnp.zeros((d, d, count), real) if gradient is None else jnp.moveaxis(gradient, 0, -1)
        kept = {n.removeprefix("kept_"): jnp.moveaxis(given[n], 0, -1) for n in kept_names}
        kept = kept or material.begin(jnp, d, count, real)
        state = stepper.start(cells.T, given["velocity"].T, gradient, kept)
        controls = _time.Controls(self.max_substeps, 32, derivative)
        frames = _time.march(stepper, controls, state, checked(times, real))
        after = {"cells": frames.state["position"], "gradient": frames.state["gradient"]}
        after |= {f"kept_{n}": v for n, v in frames.state["kept"].items()}
        after = {n: jnp.asarray(v) for n, v in after.items()}  # of components
        values = {n: jnp.moveaxis(v, -1, 1)[:, :whole] for n, v in frames.values.items()}
        return {
            **values, **frames.told, "substeps": frames.substeps, "reached": frames.reached,
            "after": {n: jnp.moveaxis(v, -1, 0)[None, :whole] for n, v in after.items()},
        }  # fmt: skip

    @property
    def threads(self) -> int:
        return cores()

    def run(
        self, cases: Sequence[Case], times: Sequence[np.ndarray], begins: Sequence[Begin] | None = None
    ) -> list[dict[str, np.ndarray]]:
        """See `NumericalSolver.run`. One case after another: side by side in one loop each would take a tenth to two
        thirds longer."""
        starts = [None] * len(cases) if begins is None else begins
        return [self._one(*each) for each in zip(cases, times, starts, strict=True)]

    def _one(self, case: Case, times: np.ndarray, begin: Begin | None) -> dict[str, np.ndarray]:
        parameters, inputs = self.arrays(case, times, begin)
        late = 0.0 if begin is None else begin.time
        full = _mpm_setup.padded(inputs, _mpm_setup.bucket(len(inputs["volume"])))
        # in float64, so that rounding is of places alone
        full["cells"] = (full.pop("position") - full["lower"]) / full["spacing"] + (MARGIN - 0.5)
        full.pop("reference")
        with jax.enable_x64(self.dtype == "float64"):
            made = _compiled(self, parameters, full, since(late, times, self.dtype), self.scene(case))
            made = jax.tree.map(np.asarray, made)
        return self._named(made, inputs, late)

    def _named(self, made: dict[str, Any], inputs: Mapping[str, Any], late: float) -> dict[str, np.ndarray]:
        """What a march has made of one case, by the names of fields, without what filled the arrays."""
        count, d = inputs["position"].shape

        def place(cells: np.ndarray) -> np.ndarray:
            return inputs["lower"] + (cells[:, :count].astype(np.float64) - (MARGIN - 0.5)) * inputs["spacing"]

        position, velocity = place(made["cells"]), made["velocity"][:, :count]
        found = {"place": position, "density": made["density"][:, :count]}
        for k, a in zip(range(d), AXES, strict=False):
            found[f"displacement_{a}"] = (position[..., k] - inputs["reference"][:, k]).astype(self.dtype)
            found[f"velocity_{a}"] = velocity[..., k]
        after = made["after"]
        found |= {n: v[:, :count] for n, v in after.items() if n != "cells"}
        return found | {
            "position": place(after["cells"]), "velocity": velocity[-1:], "reference": inputs["reference"][None],
            "volume": inputs["volume"][None], "substeps": made["substeps"],
            "reached": made["reached"] + np.float64(late), "trouble": made["trouble"],
        }  # fmt: skip

    def carried(self, case: Case) -> tuple[str, ...]:
        assert isinstance(case.problem, ParticleProblem)
        kept = case.problem.material(case).begin(np, case.problem.dimensions, 1, np.float64)
        return ("position", "reference", "velocity", "volume", "gradient", *(f"kept_{n}" for n in kept))

    def seconds(self, cases: Sequence[Case], times: Sequence[np.ndarray | None]) -> list[float] | None:
        return [self._seconds(c, float(t[-1])) for c, t in zip(cases, times, strict=True) if t is not None]

    def _seconds(self, case: Case, last: float) -> float:
        """By the speeds of sound and of the case's scales."""
        assert isinstance(case.problem, ParticleProblem)
        d, spacing = case.problem.dimensions, self.cells(case)[1]
        material = case.problem.material(case)
        sound = float(material.speed(np, material.begin(np, d, 1, np.float64))[0])
        rate = (sound + case.scales.velocity) / spacing.min() / self.cfl
        rate += float(material.viscosity()) * (1 / spacing**2).sum() / _mpm_stepper.VISCOUS
        return last * rate * (STEP + PARTICLE[d] * self.grid(case).size)

    # -- labels -------------------------------------------------------------------------------------------------

    def needed(self, case: Case) -> tuple[str, ...]:
        return tuple(f.name for f in case.problem.fields if f.role != "diagnostic")

    def begin(self, start: Start) -> Begin:
        return _mpm_setup.from_frame(start.case, start, self._told(start), self._edge(start.case))

    def _told(self, start: Start) -> dict[str, np.ndarray]:
        """The fields of the last frame by name, density only where it is given."""
        names = start.fields or self.needed(start.case)
        return self.given(start) | dict(zip(names, start.frames[-1], strict=True))

    def back(self, start: Start, grid: Support) -> Callable[[np.ndarray], np.ndarray]:
        return lambda frames: frames  # of the same particles

    def exactly(self, frame: xarray.Dataset, start: Start) -> Begin | None:
        edge, volume = self._edge(start.case), frame.variables.get("node_volume")
        kept = self._kept(frame, start)
        if kept is not None:
            _mpm_setup.require_whole(start.case, kept["volume"], edge)
            return Begin(kept, start.time)
        if volume is None:
            return None
        given = self._told(start)
        if "density" in frame.variables:
            given["density"] = np.asarray(frame["density"].values).reshape(-1, len(volume))[-1]
        _mpm_setup.require_whole(start.case, volume.values, edge)
        return _mpm_setup.from_frame(start.case, start, given, edge, volume.values)

    def _kept(self, frame: xarray.Dataset, start: Start) -> dict[str, np.ndarray] | None:
        """What a frame holds for an exact restart, where that is of its last time and of this material, and says of
        places and velocities what its fields say; else None.

        Raises:
            InputError: values that are not finite.
        """
        names, time = self.carried(start.case), frame.variables.get(f"{_RESTART}time")
        if frame.attrs.get("restart_material") != type(start.case.problem.material(start.case)).__name__:  # type: ignore[attr-defined]
            return None
        known = all(f"{_RESTART}{n}" in frame.variables for n in names)
        if time is None or not known or float(time.values) != start.time:
            return None
        kept = {n: np.array(frame[f"{_RESTART}{n}"].values) for n in names}
        for name, values in kept.items():
            if not np.isfinite(values).all():
                raise InputError(f"frame: {_RESTART}{name}: expected finite values, got some that are not")
        if not (kept["volume"] > 0).all():
            raise InputError(f"frame: {_RESTART}volume: expected values > 0, got {kept['volume'].min():g}")
        given = self.given(start)
        speeds = np.stack([given[n] for n in start.case.problem.velocity], -1)  # type: ignore[attr-defined]
        for told, own in ((start.support.points(), kept["position"]), (speeds, kept["velocity"])):
            rounding = 8 * np.finfo(np.float32).eps * max(np.abs(own).max(), 1e-30)
            if told.shape != own.shape or np.abs(told - own).max() > rounding:
                return None
        return kept

    def label(self, case: Case, times: np.ndarray | None, found: Mapping[str, np.ndarray]) -> xarray.Dataset:
        from sciml.data import solution

        assert times is not None
        count, status = self.outcome(case, times, found, f"a cfl below {self.cfl:g} may help")
        steps = int(found["substeps"].sum())
        if steps * np.finfo(self.dtype).eps > ROUNDED:  # what is moved by less than rounding a step stands still
            warnings.warn(
                f"{self.name}: {title(case)}: {steps} steps in {self.dtype}: rounding adds up to as much as how matter "
                "moves; take dtype='float64', or matter that is less stiff", stacklevel=4,
            )  # fmt: skip
        names = [f.name for f in case.problem.fields]
        d = case.problem.dimensions
        made = solution(
            case, times[:count], {n: (("time", "node"), found[n][:count]) for n in names},
            {a: found["place"][:count, :, k] for k, a in zip(range(d), AXES, strict=False)},
            solver=self.name, settings=self.settings, status=status, node_attributes={"volume": found["volume"][0]},
            attrs={"substeps": steps},
        )  # fmt: skip
        if status != "ok":
            return made
        kept: dict[str, Any] = {f"{_RESTART}time": ((), np.float64(times[-1]))}
        for name in self.carried(case):
            values = found[name][-1]
            kept[f"{_RESTART}{name}"] = (("node", *(f"{name}_{k}" for k in range(values.ndim - 1))), values)
        material = type(case.problem.material(case)).__name__  # type: ignore[attr-defined]
        return made.assign(kept).assign_attrs(restart_material=material)

    def outcome(self, case: Case, times: np.ndarray, found: Mapping[str, np.ndarray], hint: str) -> tuple[int, str]:
        count, status = super().outcome(case, times, found, hint)
        trouble = int(np.max(found["trouble"]))
        if status == "ok" or not trouble:
            return count, status
        steps, at = int(found["substeps"][: count + 1].sum()), float(found["reached"][count])
        what = _mpm_stepper.TROUBLES[trouble]
        return count, f"{self.name}: {title(case)}: {what} at t = {at:.6g}, step {steps}; {hint}"

    # -- points -------------------------------------------------------------------------------------------------

    def _outside(self, case: Case, points: np.ndarray) -> np.ndarray:
        """Which points are not of the matter at t = 0."""
        assert isinstance(case.problem, ParticleProblem)
        distance = np.asarray(case.problem.matter(case).signed_distance(points))
        return distance < -1e-6 * max(b - a for a, b in case.geometry.extents)

    def _at(self, case: Case, times: np.ndarray | None, points: np.ndarray) -> xarray.Dataset:
        """What is at points of the matter at t = 0, as it moves: fits through the particles nearest to these then."""
        from sciml.data import solution

        whole = self._together([case], [times])[0]
        axes, names = AXES[: case.problem.dimensions], [f.name for f in case.problem.fields]
        frames = whole.sizes["time"]
        values = np.stack([np.asarray(whole[n].values, np.float64) for n in names], -1)  # (T, N, C)
        reference = np.stack([whole[a].values - whole[f"displacement_{a}"].values for a in axes], -1)
        reference = reference[0] if frames else np.zeros((1, len(axes)))
        flat = np.moveaxis(values, 0, 1).reshape(values.shape[1], -1)
        found, _ = _mpm_near.fitted(reference, flat, points) if frames else (np.zeros((len(points), 0)), None)
        found = np.moveaxis(found.reshape(len(points), frames, len(names)), 1, 0)
        fields = {n: (("time", "node"), found[..., k].astype(self.dtype)) for k, n in enumerate(names)}
        coords = {a: points[:, k] + found[..., names.index(f"displacement_{a}")] for k, a in enumerate(axes)}
        assert times is not None
        return solution(
            case, times[:frames], fields, coords, solver=self.name, settings=self.settings,
            status=whole.attrs["status"],
        )  # fmt: skip

    def __hash__(self) -> int:  # equal settings share one compiled function
        return hash(tuple(self.settings.values()))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MaterialPoint) and self.settings == other.settings


@partial(jax.jit, static_argnames=("solver", "scene"))
def _compiled(solver: MaterialPoint, parameters: Any, inputs: Any, times: Any, scene: Scene) -> Any:
    return solver._simulate(parameters, inputs, times, scene, "forward")
