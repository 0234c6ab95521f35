"""Error against cost of both codes on flows past a cylinder and of two fluids: fronts over meshes, steps and settings.

Errors are of the velocity or of α in the frames that a data set would hold, means over the cells of one grid, the same
for both codes, and of the drag; each relative to a reference. Cells that a body cuts are left out, and the pressure.
Past the cylinder the reference is this package's solution on the finest cells, and `Runs.doubts` says how far others
are from it. Of two fluids each program has its own on its finest cells: where water runs over a dry wall without slip,
how it does is up to the cells, and they do not agree to a percent there.

Clocks are of the wall, on one core, in double precision. OpenFOAM's holds its time loop alone: not its start, no mesh
and no fields, for when it is timed it writes none, no means over the cells of the grid, and not who reads its log. Ours
holds the whole call that takes a case and returns arrays of all frames, on its own cells, and forces; only compilation
is left out, which each row tells.
"""

from __future__ import annotations

import os
import re
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import _openfoam
from benchmarks._cavity_runs import cores
from benchmarks._front import Point
from benchmarks._ledger import Kept
from sciml.errors import SolverError
from sciml.problem import Case
from sciml.problems import CylinderFlow, DamFlow, TubeFlow
from sciml.solvers import IncompressibleFlow, OpenFOAM, TwoPhaseFlow, _foam_mesh
from sciml.solvers._coarse import coarsened
from sciml.solvers._foam_case import Options
from sciml.solvers._foam_files import instants
from sciml.support import Apertures, Grid

SHORT = 0.5  # seconds; of what takes less, the median of three runs counts


@dataclass(frozen=True)
class Flow:
    """A case, and what it is solved on.

    Args:
        shape: cells (ny, nx) of the grid on which frames are compared.
        measures: what errors are taken of: "velocity", "drag", "alpha".
        ours: multiples of `shape` and Courant numbers.
        theirs: multiples of `shape` and paces, see `Setting`, from the cheapest on.
        fine: of the reference, a multiple of `shape`.
    """

    make: Callable[[], Case]
    times: tuple[float, ...]
    shape: tuple[int, int]
    measures: tuple[str, ...]
    ours: tuple[tuple[float, ...], tuple[float, ...]]
    theirs: tuple[tuple[float, ...], tuple[float, ...]]
    fine: int

    @property
    def two(self) -> bool:
        return "alpha" in self.measures

    def cells(self, multiple: float) -> tuple[int, int]:
        ny, nx = (round(multiple * n) for n in self.shape)
        return ny, nx


@dataclass(frozen=True)
class Setting:
    """How OpenFOAM solves a flow.

    Args:
        multiple: of the cells of `Flow.shape`; of graded meshes beside the body.
        pace: steps a frame, of two fluids the Courant number.
        growth: of cells away from the body along x and y; (1, 1) for a mesh of equal cells.
        program: icoFoam, of two fluids interFoam or interIsoFoam, which carries α by pieces of interface.
        implicit: interFoam's α, see `Options`.
        convection: of the momentum; "" for the solver's own.
    """

    multiple: float
    pace: float
    time_scheme: str
    correctors: int
    tolerance: float
    pressure: str = "GAMG"
    predictor: bool = True
    skewed: int = 1
    growth: tuple[float, float] = (1.0, 1.0)
    program: str = "interFoam"
    implicit: bool = True
    convection: str = ""


def _cylinder(reynolds: float) -> Callable[[], Case]:
    return lambda: CylinderFlow().case(viscosity=0.2 / reynolds)


def _upto(end: float, frames: int) -> tuple[float, ...]:
    return tuple(round(end * k / frames, 10) for k in range(1, frames + 1))


FLOWS = {
    f"cylinder, Re {re}": Flow(  # ten diameters at the speed of the inlet
        _cylinder(re), _upto(0.2, 20), (24, 44), ("velocity", "drag"), ((1, 2, 3, 4, 5), (2.0, 1.0)),
        ((0.75, 1, 1.5, 2, 3), (1, 2, 3, 4, 6, 8, 12)), 12,
    )
    for re in (40, 200)
} | {
    "tube": Flow(lambda: TubeFlow().case(length=0.4), _upto(0.3, 6), (8, 32), ("alpha",), ((1, 2, 3, 4), (0.5, 0.25)),
                 ((1, 2, 3, 4), (1.0, 0.7, 0.5, 0.35, 0.25, 0.15)), 8),
    "dam": Flow(lambda: DamFlow().case(width=0.8), _upto(0.3, 6), (16, 32), ("alpha",), ((1, 2, 3, 4), (0.5, 0.25)),
                ((1, 2, 3, 4), (1.0, 0.7, 0.5, 0.35, 0.25, 0.15)), 8),
}  # fmt: skip
QUICK = {
    "cylinder, Re 40": replace(FLOWS["cylinder, Re 40"], ours=((1, 2), (2.0,)), theirs=((1, 2), (2, 4)), fine=3),
    "dam": replace(FLOWS["dam"], ours=((1, 2), (0.4,)), theirs=((1, 2), (0.7, 0.35)), fine=3),
}
FINEST = {"time_scheme": "Euler", "correctors": 3, "tolerance": 1e-7, "pressure": "PCG", "predictor": False}


class Tuned(OpenFOAM):
    """With one setting, on its mesh; past the cylinder its frames are on the grid that is compared."""

    def __init__(self, flow: Flow, setting: Setting, keep: Path):
        step = None if flow.two else flow.times[0] / setting.pace
        super().__init__(
            flow.cells(setting.multiple) if flow.two else flow.shape, cfl=setting.pace if flow.two else 1.0,
            time_step=step, time_scheme=setting.time_scheme, correctors=setting.correctors,
            tolerance=setting.tolerance, keep=keep, convection=setting.convection or None,
        )  # fmt: skip
        self.flow, self.setting = flow, setting

    def _options(self, two: bool) -> Options:
        s = self.setting
        return replace(
            super()._options(two), pressure=s.pressure, predictor=s.predictor, skewed=s.skewed, program=s.program,
            implicit=s.implicit,
        )  # fmt: skip

    def _mesh(self, case: Case) -> _foam_mesh.Mesh:
        cells = self.flow.cells(self.setting.multiple)
        if self.setting.growth == (1.0, 1.0):
            return _foam_mesh.mesh_of(case.problem.name, case.geometry, cells)
        return graded(case, cells, self.setting.growth)


def graded(case: Case, cells: tuple[int, int], growth: tuple[float, float], most: float = 4.0) -> _foam_mesh.Mesh:
    """Rings around the cylinder in a rectangle, beyond which cells grow along both axes up to `most` times those of the
    uniform grid of `cells`; behind the cylinder half as fast."""
    disc = _foam_mesh._disc_in(case.geometry)
    assert disc is not None
    grid, lines, inner = Grid.uniform(case.geometry, cells), [], []
    for k in (0, 1):
        low, high = case.geometry.extents[k]
        reach, width = _foam_mesh.REACH * disc.radius, float(grid.widths[k][0])
        count = max(_foam_mesh.AROUND, round(2 * reach / width))
        middle = disc.centre[k] + np.linspace(-reach, reach, count + 1)
        before = middle[0] - _growing(middle[0] - low, width, growth[k], most)[::-1]
        after = middle[-1] + _growing(high - middle[-1], width, 1 + (growth[k] - 1) / (2 if k == 0 else 1), most)
        lines.append(np.concatenate([before, middle, after]))
        inner.append((len(before), len(before) + count))
    return _foam_mesh.joined(case.geometry, *_foam_mesh.rings(disc, lines, inner))


def _growing(length: float, width: float, growth: float, most: float) -> np.ndarray:
    """Ends of cells that fill a length, each longer than the one before up to `most` times `width`."""
    sizes: list[float] = []
    while sum(sizes) < length:
        sizes.append(width * min(growth ** (len(sizes) + 1), most))
    if len(sizes) > 1 and sum(sizes) - length > sizes[-1] / 2:
        sizes.pop()
    return np.cumsum(sizes) * (length / sum(sizes))


# -- runs -------------------------------------------------------------------------------------------------------


class Runs:
    """Errors and clocks of one flow; each run is kept."""

    def __init__(self, kept: Kept, name: str, flow: Flow):
        self.kept, self.name, self.flow = kept, name, flow
        self.case = self.flow.make()
        grid = Grid.uniform(self.case.geometry, self.flow.shape, masked=True)
        whole = Apertures.of(self.case.geometry, grid).volumes > 1 - 1e-9 if grid.inside is not None else None
        self.inside = np.ones(self.flow.shape, bool) if whole is None else whole
        self._references: dict[tuple[str, int], dict[str, np.ndarray]] = {}

    def solver(self, multiple: float, cfl: float) -> Any:
        cells = self.flow.cells(multiple)
        if self.flow.two:
            return TwoPhaseFlow(cells, cfl=cfl, dtype="float64")
        return IncompressibleFlow(cells, cfl=cfl, dtype="float64", tendencies=False)

    def compared(self, found: Any) -> dict[str, np.ndarray]:
        """Of a solution what errors are taken of."""
        names = ["u", "v", *(["alpha"] if self.flow.two else [])]
        frames = coarsened(self.case, found, self.flow.shape, names)
        values = {n: frames[n].values.astype("f8") * self.inside for n in names}
        out = {"velocity": np.stack([values["u"], values["v"]])}
        if self.flow.two:
            out = {"alpha": values["alpha"]}
        if "drag" in self.flow.measures:
            out["drag"] = found.force_x.values.astype("f8")
        return out

    def reference(self, code: str = "sciml", multiple: int | None = None) -> dict[str, np.ndarray]:
        """The solution on the finest cells, or on others: this package's in double precision, or of two fluids that of
        a program of OpenFOAM."""
        multiple, code = multiple or self.flow.fine, code if self.flow.two else "sciml"
        if (code, multiple) not in self._references:
            name = re.sub(r"[^a-z0-9]+", "-", f"{self.name}-{code}-{multiple}-{_openfoam.version()}".lower())
            path = self.kept.folder / f"{self.kept.code}-{name}.npz"
            if self.kept.dry or not path.exists():
                with tempfile.TemporaryDirectory() as folder:
                    solver = self.solver(multiple, 0.4 if self.flow.two else 2.0)
                    if code != "sciml":
                        solver = Tuned(self.flow, Setting(multiple, 0.15, **FINEST, program=code), Path(folder))
                    found = self.compared(solver.solve(self.case, self.flow.times))
                self._references[code, multiple] = found
                if self.kept.dry:
                    return found
                path.parent.mkdir(parents=True, exist_ok=True)
                temporary = path.with_suffix(".part.npz")
                np.savez(temporary, **found)  # pyright: ignore[reportArgumentType]
                temporary.replace(path)
            self._references[code, multiple] = dict(np.load(path))
        return self._references[code, multiple]

    def errors(self, found: dict[str, np.ndarray], exact: dict[str, np.ndarray]) -> dict[str, float]:
        out = {}
        for name in self.flow.measures:
            a, b = found[name], exact[name]
            if name == "alpha":  # volumes that differ over the volume
                out[name] = float(np.abs(a - b).sum() / np.abs(b).sum())
            else:
                out[name] = float(np.linalg.norm(a - b) / np.linalg.norm(b))
        return out

    def doubts(self) -> dict[str, dict[str, float]]:
        """How far references are from those on cells 1.5 times as large, and ours from OpenFOAM's on fine cells."""

        def make() -> dict[str, dict[str, float]]:
            coarser = round(self.flow.fine / 1.5)
            told = {"off_coarser": self.errors(self.reference("sciml", coarser), self.reference())}
            if self.flow.two:
                for code in ("interIsoFoam", "interFoam"):
                    theirs = self.reference(code)
                    told[f"of_{code}_off_coarser"] = self.errors(self.reference(code, coarser), theirs)
            else:
                with tempfile.TemporaryDirectory() as name:
                    fine = Setting(4, 16, "backward", 3, 1e-6, program="icoFoam")
                    theirs = self.compared(Tuned(self.flow, fine, Path(name)).solve(self.case, self.flow.times))
            return told | {"off_openfoam": self.errors(theirs, self.reference())}

        return self.kept(make, piece="doubts", flow=self.name, version=_openfoam.version())

    def theirs(self, setting: Setting) -> Point | None:
        """Errors and seconds; None where it fails."""

        def make() -> Point | None:
            with tempfile.TemporaryDirectory() as name:
                try:
                    found = Tuned(self.flow, setting, Path(name)).solve(self.case, self.flow.times)
                    folder = next(Path(name).iterdir())
                    return {"errors": self.errors(self.compared(found), self.reference(setting.program)),
                            "steps": int(found.attrs["substeps"]),
                            "seconds": _again(lambda: self._clocked(folder, setting))}  # fmt: skip
                except (SolverError, RuntimeError):  # it diverges
                    return None

        what = {"piece": "OpenFOAM", "flow": self.name, "version": _openfoam.version(), **asdict(setting)}
        found = self.kept(make, **what)
        return None if found is None else {"setting": setting, **found}

    def _clocked(self, folder: Path, setting: Setting) -> float:
        """Seconds of a run from its start on that writes nothing."""
        written = instants(folder)
        for at, place in written:
            if at > 0:
                shutil.rmtree(place)
        control = folder / "system" / "controlDict"
        text = re.sub(r"writeInterval [^;]+;", f"writeInterval {2 * self.flow.times[-1]!r};", control.read_text())
        control.write_text(text)
        return _openfoam.run(folder, setting.program, core=max(os.sched_getaffinity(0)))

    def prepared(self, setting: Setting, folder: Path) -> Callable[[], float]:
        """What times a setting, as often as wanted."""
        Tuned(self.flow, setting, folder).solve(self.case, self.flow.times)
        place = next(folder.iterdir())
        return lambda: self._clocked(place, setting)

    def ours(self, multiple: float, cfl: float) -> Point:
        def make() -> dict[str, Any]:
            solver = self.solver(multiple, cfl)
            begun = time.perf_counter()
            found = solver.solve(self.case, self.flow.times)
            first = time.perf_counter() - begun
            seconds = _again(self.our_clock(multiple, cfl))
            point = {"errors": self.errors(self.compared(found), self.reference()), "seconds": seconds,
                     "steps": int(found.attrs["substeps"]), "compile_seconds": max(first - seconds, 0.0)}  # fmt: skip
            if self.flow.two:
                alpha = found.alpha.values
                point["overshoot"] = max(float(-alpha.min()), float(alpha.max()) - 1, 0.0)
            return point

        found = self.kept(make, piece="ours", flow=self.name, multiple=multiple, cfl=cfl)
        return {"multiple": multiple, "cfl": cfl, **found}

    def our_clock(self, multiple: float, cfl: float) -> Callable[[], float]:
        solver, times = self.solver(multiple, cfl), np.asarray(self.flow.times)
        solver.run([self.case], [times])  # compile

        def once() -> float:
            with cores(1):
                begun = time.perf_counter()
                solver.run([self.case], [times])
                return time.perf_counter() - begun

        return once


def _again(once: Callable[[], float]) -> float:
    first = once()
    return first if first >= SHORT else statistics.median([first, once(), once()])
