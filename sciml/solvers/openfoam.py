"""OpenFOAM as a solver: a second source of data, and a referee."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from sciml.errors import FileFormatError, InputError, is_number, is_whole
from sciml.geometry import Box
from sciml.problem import Case, Problem, beginning
from sciml.problems._incompressible import face_velocities
from sciml.progress import Bar
from sciml.registry import solvers
from sciml.solver import Start
from sciml.solvers import _equations, _foam_case, _foam_march, _foam_mesh, _foam_run
from sciml.solvers._numerical import Begin, GridSolver, forces, plane_counts, two_counts
from sciml.solvers._side_values import BEYOND_START, shares_of
from sciml.solvers._titles import title
from sciml.support import Grid

if TYPE_CHECKING:
    import xarray

TICKS = 100  # of a progress bar
#: whether a bar is shown: where one case is solved for its own sake
_SHOWN: ContextVar[bool] = ContextVar("_SHOWN", default=False)


@solvers.register("openfoam")
class OpenFOAM(GridSolver):
    """icoFoam for one incompressible fluid and interFoam for two, of an OpenFOAM that is installed.

    ∇·u = 0, ∂t(ρu) + ∇·(ρ u⊗u + p I − μ(∇u + ∇uᵀ)) = 0 with constant ρ and μ as `IncompressibleFlow`, or with those of
    two fluids, ∂tα + ∇·(α u) = 0 and weight as `TwoPhaseFlow`; their conditions on sides hold here, too, and p is
    theirs: in Pa, of two fluids counted from that of air at rest, with zero mean where nothing is open.
    Case and mesh are written, the program runs, and its fields come back at the requested times on the uniform grid.
    Boxes, and bodies along grid lines, are solved on that grid itself; a box with one disc on cells that follow the
    disc, whose means over the cells of the uniform grid are given. Forces on bodies (N/m) are summed over the cells
    along them where the problem has the quantities "force_x" and "force_y". A start is made free of divergence, and
    gets its pressure, by a few steps of almost no time.

    icoFoam's steps have one length between two requested times (between many, where these lie at equal distances); a
    run that comes to 1.5 times the Courant number is begun again with shorter ones. interFoam's follow the Courant
    number. Both end at the requested times. Second order in space and, of one fluid, in time; of two, first order in
    time, and the interface is some cells wide.

    Args:
        resolution: cells along both axes, or (ny, nx).
        cfl: largest Courant number, τ (|u|/Δx + |v|/Δy).
        time_step: s, instead of what follows from `cfl`; it is shortened so that requested times are met.
        time_scheme: of OpenFOAM's ddtSchemes; None for "backward", of two fluids "Euler".
        convection: of OpenFOAM's divSchemes of the momentum, after "Gauss"; None for "linear", of two fluids
            "vanLeerV".
        correctors: corrections of the pressure in a step.
        tolerance: of the pressure, OpenFOAM's normalised residual; that of the velocity is a tenth of it.
        max_substeps: between two requested times.
        keep: a folder in which the case's files are kept, each case in a folder of its own; None for none.

    Source: R. I. Issa, J. Comput. Phys. 62, 40 (1986) for icoFoam's PISO; S. S. Deshpande, L. Anumolu, M. F. Trujillo,
    Comput. Sci. Discov. 5, 014016 (2012) for interFoam.
    """

    name = "openfoam"
    title = "OpenFOAM"

    def __init__(
        self,
        resolution: int | tuple[int, int] = 64,
        cfl: float = 0.3,
        time_step: float | None = None,
        time_scheme: str | None = None,
        convection: str | None = None,
        correctors: int = 3,
        tolerance: float = 1e-7,
        max_substeps: int = 1_000_000,
        keep: str | os.PathLike[str] | None = None,
    ):
        self.resolution = plane_counts(self.name, resolution)
        if not is_number(cfl) or not 0 < cfl <= 1:
            raise InputError(f"{self.name}: cfl is {cfl!r}, expected a number in (0, 1]")
        if time_step is not None and (not is_number(time_step) or time_step <= 0):
            raise InputError(f"{self.name}: time_step is {time_step!r}, expected a positive number of seconds")
        for what, scheme in (("time_scheme", time_scheme), ("convection", convection)):
            if scheme is not None and (not isinstance(scheme, str) or not re.fullmatch(r"[\w .()]+", scheme)):
                raise InputError(f"{self.name}: {what} is {scheme!r}, expected the name of a scheme of OpenFOAM")
        if not is_number(tolerance) or not 0 < tolerance < 1:
            raise InputError(f"{self.name}: tolerance is {tolerance!r}, expected a number in (0, 1)")
        for what, count in (("correctors", correctors), ("max_substeps", max_substeps)):
            if not is_whole(count) or count < 1:
                raise InputError(f"{self.name}: {what} is {count!r}, expected an integer from 1 on")
        if keep is not None and not isinstance(keep, str | os.PathLike):
            raise InputError(f"{self.name}: keep is {keep!r}, expected a folder")
        self.cfl, self.time_step = float(cfl), None if time_step is None else float(time_step)
        self.time_scheme, self.convection, self.correctors = time_scheme, convection, int(correctors)
        self.tolerance, self.max_substeps = float(tolerance), int(max_substeps)
        self.keep = None if keep is None else Path(os.fspath(keep)).expanduser()

    @classmethod
    def on(cls, counts: tuple[int, ...], dtype: str = "float32", tendencies: bool = False, **options: Any) -> Self:
        """It computes in double precision, whatever `dtype` is."""
        return cls(two_counts(cls.name, counts, tendencies), **options)

    def answers(self, problem: Problem) -> tuple[str, ...]:
        return tuple(f.name for f in problem.fields)

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "resolution": list(self.resolution),
            "cfl": self.cfl,
            "time_step": self.time_step,
            "time_scheme": self.time_scheme,
            "convection": self.convection,
            "correctors": self.correctors,
            "tolerance": self.tolerance,
            "max_substeps": self.max_substeps,
            "openfoam": _foam_run.version(),
        }

    @property
    def threads(self) -> int:
        """Cases that run at the same time, a process each."""
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

    def supports(self, problem: Problem) -> bool:
        """What `IncompressibleFlow` and `TwoPhaseFlow` support."""
        fields = {f.name for f in problem.fields}
        if problem.dimensions != 2 or problem.steady or fields not in ({"u", "v", "p"}, {"u", "v", "p", "alpha"}):
            return False
        return _equations.two_fluids(problem) if "alpha" in fields else _equations.one_fluid(problem)

    def grid(self, case: Case) -> Grid:
        return Grid.uniform(case.geometry, self.resolution, masked=True)

    def fit(self, case: Case) -> None:
        mesh = self._mesh(case)
        _foam_case.sides(case, mesh, self.resolution, np.zeros(1))

    def portions(self, cases: Sequence[Case], times: Sequence[np.ndarray | None]) -> list[tuple[int, ...]]:
        _foam_run.required(self.name)
        for case in cases:
            self.fit(case)
        return super().portions(cases, times)

    # -- with a bar where one case is asked for -------------------------------------------------------------------

    def solve(self, case: Case, times: Any = None, points: Any = None) -> xarray.Dataset:
        with _bar_wanted():
            return super().solve(case, times, points)

    def resume(self, case: Case, frame: Any, times: Any) -> xarray.Dataset:
        with _bar_wanted():
            return super().resume(case, frame, times)

    # -- cases --------------------------------------------------------------------------------------------------

    def run(
        self, cases: Sequence[Case], times: Sequence[np.ndarray], begins: Sequence[Begin] | None = None
    ) -> list[dict[str, np.ndarray]]:
        _foam_run.required(self.name)
        return [self._one(c, t, b) for c, t, b in zip(cases, times, begins or [None] * len(cases), strict=True)]

    def _one(self, case: Case, times: np.ndarray, begin: Begin | None) -> dict[str, np.ndarray]:
        times = np.asarray(times, dtype=np.float64)
        two, begun = "alpha" in {f.name for f in case.problem.fields}, 0.0 if begin is None else begin.time
        mesh = self._mesh(case)
        sides = _foam_case.sides(case, mesh, self.resolution, times, begun)
        state = self._start(case, mesh, two) if begin is None else self._state(case, mesh, begin)
        names = ["u", "v", "p", *(["alpha"] if two else [])]
        broken = state.get("restart", np.zeros((1, 1))).size == 0
        if broken or any(not np.isfinite(state[n]).all() for n in ("velocity", "alpha") if n in state):
            empty = {n: np.full((len(times), *self.resolution), np.nan) for n in names}
            counts = {"substeps": np.zeros(len(times), np.int64), "reached": np.full(len(times), begun)}
            return empty | counts | {"restart": np.zeros((1, 0), np.uint8), "failure": np.array("starts from no flow")}
        wanted = {q.name for q in case.problem.quantities}
        body = () if two or not {"force_x", "force_y"} & wanted else _bodies(case, mesh, sides)
        onto = _foam_mesh.onto_grid(mesh, case.geometry, self.resolution)
        with self._folder(case) as folder, _ticking(title(case)) as tick:
            march = _foam_march.March(
                case, folder, mesh, onto, sides, self._options(two), two, body, self.max_substeps, tick
            )  # fmt: skip
            try:
                found = march.solve(times, begun, state)
            except FileFormatError as error:  # what it wrote cannot be read
                found = march.nothing(times, str(error))
        return found | {n: found[n].reshape(len(times), *self.resolution) for n in names}

    def _mesh(self, case: Case) -> _foam_mesh.Mesh:
        return _foam_mesh.mesh_of(case.problem.name, case.geometry, self.resolution)

    def _options(self, two: bool) -> _foam_case.Options:
        return _foam_case.Options(
            self.cfl, self.time_step, self.time_scheme or ("Euler" if two else "backward"),
            self.convection or ("vanLeerV" if two else "linear"), self.correctors, self.tolerance,
        )  # fmt: skip

    def _start(self, case: Case, mesh: _foam_mesh.Mesh, two: bool) -> dict[str, np.ndarray]:
        """The beginning of a case on the cells of the mesh."""
        psi = None if two else case.problem.streamfunction(case, Grid.uniform(case.geometry, self.resolution))
        if psi is None:
            grid = self.grid(case)
            begun = beginning(case, grid, ("u", "v", "alpha") if two else ("u", "v"))
            alpha = shares_of(case.problem.name, begun["alpha"], BEYOND_START) if "alpha" in begun else None
            return _on_mesh(mesh, grid, begun["u"], begun["v"], alpha)
        grid = Grid.uniform(case.geometry, self.resolution)
        u, v = face_velocities(np.asarray(psi), grid)
        across, up = _centred(u, grid.periodic[0]), _centred(v.T, grid.periodic[1]).T
        return _on_mesh(mesh, grid, across, up, None)

    def _state(self, case: Case, mesh: _foam_mesh.Mesh, begin: Begin) -> dict[str, np.ndarray]:
        state = begin.state
        if "restart" in state:
            return {"restart": np.asarray(state["restart"])}
        return _on_mesh(mesh, self.grid(case), state["u"], state["v"], state.get("alpha"))

    @contextmanager
    def _folder(self, case: Case) -> Iterator[Path]:
        if self.keep is None:
            with tempfile.TemporaryDirectory(prefix="sciml-openfoam-") as name:
                yield Path(name)
            return
        label = re.sub(r"[^\w.-]+", "_", case.label) or case.problem.name
        k, folder = 1, self.keep / label
        while True:
            try:
                folder.mkdir(parents=True)
                break
            except FileExistsError:
                k += 1
                folder = self.keep / f"{label}-{k}"
            except OSError as error:
                raise InputError(f"{self.name}: keep: {folder} cannot be made ({error.strerror})") from None
        yield folder

    def carried(self, case: Case) -> tuple[str, ...]:
        return ("restart",)

    def begin(self, start: Start) -> Begin:
        given, grid = self.given(start), self.grid(start.case)
        onto = start.support.map_onto(grid)
        state = {name: np.asarray(onto(given[name]), dtype=np.float64) for name in self.needed(start.case)}
        if "alpha" in state:
            state["alpha"] = shares_of(start.case.problem.name, state["alpha"])
        return Begin(state, start.time)

    def label(self, case: Case, times: np.ndarray | None, found: Mapping[str, np.ndarray]) -> xarray.Dataset:
        from sciml.data import solution

        assert times is not None
        count, status = self.outcome(case, times, found, f"a cfl below {self.cfl:g} may help")
        if "failure" in found:
            at = f"at t = {float(found['reached'][min(count, len(times) - 1)]):.6g}"
            status = " ".join(f"{self.name}: {title(case)}: {found['failure']}, {at}".split())
        grid = self.grid(case)
        fields = {f.name: (("time", "y", "x"), found[f.name][:count]) for f in case.problem.fields}
        return solution(
            case, times[:count], fields, {"x": grid.centres[0], "y": grid.centres[1]}, solver=self.name,
            settings=self.settings, status=status, mask=grid.mask, quantities=forces(case, found, count),
            attrs={"substeps": int(found["substeps"].sum())},
        )  # fmt: skip


def _on_mesh(mesh: _foam_mesh.Mesh, grid: Grid, u: Any, v: Any, alpha: Any) -> dict[str, np.ndarray]:
    """Fields of the uniform grid on the cells of the mesh."""
    given = {"u": u, "v": v} | ({} if alpha is None else {"alpha": alpha})
    if mesh.places is not None:
        found = {name: np.asarray(values, dtype=np.float64).ravel()[mesh.places] for name, values in given.items()}
    else:
        found = {name: np.asarray(grid.sample(np.asarray(a), mesh.centroids)) for name, a in given.items()}
    velocity = {"velocity": np.stack([found["u"], found["v"]], axis=1)}
    return velocity | ({} if alpha is None else {"alpha": found["alpha"]})


def _centred(faces: np.ndarray, periodic: bool) -> np.ndarray:
    """Values at the middles between faces along the last axis, by −1, 9, 9, −1 sixteenths of four of them: their plain
    means would flatten a start as no scheme does later. Beside sides, of two."""
    found = (faces[:, 1:] + faces[:, :-1]) / 2
    if periodic:
        faces = np.concatenate([faces[:, -2:-1], faces, faces[:, 1:2]], axis=1)
    four = (9 * (faces[:, 1:-2] + faces[:, 2:-1]) - faces[:, :-3] - faces[:, 3:]) / 16
    if periodic:
        return four
    found[:, 1:-1] = four
    return found


def _bodies(case: Case, mesh: _foam_mesh.Mesh, sides: list[_foam_case.Side]) -> tuple[_foam_case.Side, ...]:
    """The patches within the bounding box."""
    if isinstance(case.geometry, Box):
        return ()
    low, high = np.array(case.geometry.extents).T
    found = []
    for side in sides:
        middles = mesh.middles[side.patch.edges]
        near = np.minimum(np.abs(middles - low), np.abs(middles - high)).min(1)
        if side.given and np.any(near > 1e-9 * (high - low).max()):
            found.append(side)
    return tuple(found)


@contextmanager
def _bar_wanted() -> Iterator[None]:
    token = _SHOWN.set(True)
    try:
        yield
    finally:
        _SHOWN.reset(token)


@contextmanager
def _ticking(name: str) -> Iterator[Callable[[float], None]]:
    """A bar, advanced by shares of the whole."""
    done = 0
    with Bar(f"openfoam, {name}"[:60], TICKS, _SHOWN.get()) as step:

        def tick(share: float) -> None:
            nonlocal done
            while done < min(int(TICKS * share), TICKS):
                done += 1
                step()

        yield tick
