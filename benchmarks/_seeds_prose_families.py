"""Balances of one field in a periodic square, as problems of one's own are written, and cases of them and of a flow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._seeds_refiner import waves
from sciml import data
from sciml.boundary import Conditions, Periodic
from sciml.expressions import Balance, Operators
from sciml.geometry import Box
from sciml.problem import Case, FieldSpec, InputSpec, ParameterSpec, PDEProblem, Problem, Scales
from sciml.problems import KolmogorovFlow
from sciml.registry import problems
from sciml.solvers import PseudoSpectral
from sciml.support import Grid

CELLS, FINE, FRAMES = 32, 96, 13  # of data, of the simulations that they are waves of, and frames of a case
WAVES = 3  # of initial fields, across the square


def rate(name: str, unit: str, text: str) -> ParameterSpec:
    return ParameterSpec(name, unit, 1e-2, 0.0, open_minimum=True, logarithmic=True, description=text)


SPEEDS = (ParameterSpec("speed_x", "m s-1", 0.3), ParameterSpec("speed_y", "m s-1", 0.0))
DIFFUSIVITY = rate("diffusivity", "m2 s-1", "κ")
REACTION = ParameterSpec("rate", "s-1", 3.0, 0.0, open_minimum=True, description="γ")


class Square(PDEProblem):
    """Abstract: one field u in the periodic unit square, from a given u(x, 0)."""

    dimensions = 2
    fields = (FieldSpec("u", "1"),)
    inputs = (InputSpec("initial", "1", "initial", ("y", "x"), description="u(x, 0) on cells"),)

    def geometry(self, case: Case) -> Box:
        return Box((0.0, 0.0), (1.0, 1.0), (True, True))

    def boundary_conditions(self, case: Case) -> Conditions:
        return {b: {"u": Periodic()} for b in ("x_min", "x_max", "y_min", "y_max")}

    def scales(self, case: Case) -> Scales:
        return Scales(1.0, 1.0, {"u": 1.0})

    def initial_state(self, case: Case, grid: Any) -> dict[str, np.ndarray]:
        given = case.inputs["initial"]
        assert isinstance(grid, Grid) and isinstance(given, np.ndarray)
        return {"u": waves(given, grid.shape[-1])}


@problems.register("plane_transport")
class PlaneTransport(Square):
    """∂t u + ∇·(a u − κ ∇u) = 0."""

    name, title = "plane_transport", "advection-diffusion"
    parameters = (*SPEEDS, DIFFUSIVITY)

    def equations(self, q: Any, d: Operators, theta: Any, x: Any) -> dict[str, Balance]:
        a = d.vector(theta.speed_x, theta.speed_y)
        return {"u": Balance(storage=q.u, flux=a * q.u - theta.diffusivity * d.grad(q.u))}


@problems.register("plane_burgers")
class PlaneBurgers(Square):
    """∂t u + ∇·(b u²/2 − κ ∇u) = 0."""

    name, title = "plane_burgers", "Burgers"
    parameters = (ParameterSpec("along_x", "m s-1", 0.5), ParameterSpec("along_y", "m s-1", 0.5), DIFFUSIVITY)

    def equations(self, q: Any, d: Operators, theta: Any, x: Any) -> dict[str, Balance]:
        b = d.vector(theta.along_x, theta.along_y)
        return {"u": Balance(storage=q.u, flux=b * q.u**2 / 2 - theta.diffusivity * d.grad(q.u))}


@problems.register("plane_phases")
class PlanePhases(Square):
    """∂t u − ∇·(κ ∇u) = γ (u − u³)."""

    name, title = "plane_phases", "Allen-Cahn"
    parameters = (DIFFUSIVITY, REACTION)

    def equations(self, q: Any, d: Operators, theta: Any, x: Any) -> dict[str, Balance]:
        return {"u": Balance(storage=q.u, flux=-theta.diffusivity * d.grad(q.u), source=theta.rate * (q.u - q.u**3))}


@problems.register("plane_carried_phases")
class PlaneCarriedPhases(Square):
    """∂t u + ∇·(a u − κ ∇u) = γ (u − u³): every term of it is in another problem, and never these together."""

    name, title = "plane_carried_phases", "advection with Allen-Cahn"
    parameters = (*SPEEDS, DIFFUSIVITY, REACTION)

    def equations(self, q: Any, d: Operators, theta: Any, x: Any) -> dict[str, Balance]:
        a = d.vector(theta.speed_x, theta.speed_y)
        flux = a * q.u - theta.diffusivity * d.grad(q.u)
        return {"u": Balance(storage=q.u, flux=flux, source=theta.rate * (q.u - q.u**3))}


@dataclass(frozen=True)
class Set:
    """Cases of one problem.

    Args:
        ranges: of its parameters: uniform, or uniform in the logarithm where parameters are logarithmic.
        last: time of the last frame.
        fixed: parameters that all cases have in common.
    """

    problem: type[Problem]
    ranges: Mapping[str, tuple[float, float]]
    last: float
    fixed: Mapping[str, float] | None = None

    @property
    def title(self) -> str:
        return self.problem.title

    @property
    def times(self) -> np.ndarray:
        return np.linspace(0.0, self.last, FRAMES)

    def cases(self, count: int, seed: int) -> list[Case]:
        random, problem = np.random.default_rng([11, seed]), self.problem()
        logarithmic = {p.name for p in problem.parameters if p.logarithmic}
        found = []
        for k in range(count):
            drawn = {
                n: float(np.exp(random.uniform(*np.log(ends))) if n in logarithmic else random.uniform(*ends))
                for n, ends in self.ranges.items()
            }
            more: dict[str, Any] = {"initial": field(random)} if problem.inputs[0].name == "initial" else {"seed": k}
            found.append(problem.case(f"case {k}", **drawn, **(self.fixed or {}), **more))
        return found


def field(random: np.random.Generator) -> np.ndarray:
    """A random field of a few waves, of spread 0.3 to 1."""
    k = np.fft.fftfreq(CELLS, 1 / CELLS)
    size = np.hypot(*np.meshgrid(k, k))
    waves = np.fft.fft2(random.standard_normal((CELLS, CELLS))) * (size <= WAVES) / (1 + size)
    values = np.fft.ifft2(waves).real
    return values / values.std() * random.uniform(0.3, 1.0)


SPREADS = {"speed_x": (-0.5, 0.5), "speed_y": (-0.5, 0.5)}
TRAINED = (
    Set(PlaneTransport, {**SPREADS, "diffusivity": (1e-3, 1e-2)}, 1.0),
    Set(PlaneBurgers, {"along_x": (-0.5, 0.5), "along_y": (-0.5, 0.5), "diffusivity": (6e-3, 2e-2)}, 1.0),
    Set(PlanePhases, {"diffusivity": (1e-3, 6e-3), "rate": (1.0, 4.0)}, 1.0),
    Set(KolmogorovFlow, {"force": (0.5, 1.5), "viscosity": (1e-2, 3e-2)}, 3.0, {"wavenumber": 2.0, "peak": 2.0}),
)
HELD_OUT = Set(PlaneCarriedPhases, {**SPREADS, "diffusivity": (1e-3, 6e-3), "rate": (1.0, 4.0)}, 1.0)


def made(some: Set, folder: Path, counts: tuple[int, int, int], number: int) -> Path:
    """The data set of a problem, made where it is not there yet.

    Args:
        counts: cases of training, validation and test.
        number: from which cases are drawn.
    """
    path = folder / f"{some.problem.name}_{'_'.join(map(str, counts))}.h5"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    parts = [p for p, n in zip(("train", "validation", "test"), counts, strict=True) for _ in range(n)]
    cases, solver = some.cases(len(parts), number), PseudoSpectral(FINE, dtype="float32", cfl=0.5)
    found = dict(solver.stream(cases, some.times))
    kept = [on_cells(c, found[i]) for i, c in enumerate(cases)]
    data.write(data.pack(kept, splits=parts), path)
    return path


def on_cells(case: Case, solution: Any) -> Any:
    """The waves of a simulation that the cells of the data hold, as point values."""
    grid, names = Grid.uniform(case.geometry, (CELLS, CELLS)), [f.name for f in case.problem.fields]
    fields = {n: (("time", "y", "x"), waves(solution[n].values, CELLS)) for n in names if n in solution}
    return data.solution(case, solution["time"].values, fields, grid, solver="pseudo_spectral", settings={})
