"""A case solved by OpenFOAM: runs one after another, and their fields on the uniform grid."""

from __future__ import annotations

import io
import math
import shutil
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from sciml.problem import Case
from sciml.solvers import _foam_case, _foam_files, _foam_run
from sciml.solvers._foam_case import Options, Side
from sciml.solvers._foam_mesh import Mesh

SETTLING = 1e-3  # of a step: the steps by which the flow of a start becomes free of divergence
SETTLES, SETTLES_TWO = 6, 40  # of them, of one fluid and of two: at first the pressure is that of the change
LEAST = 4  # steps before the first frame, where none is asked for
DIFFUSED = 2.0  # largest ν τ (1/Δx² + 1/Δy²): corrections of the pressure converge slowly beyond
OVER = 1.5  # times the Courant number asked for, before a run is begun again with shorter steps
RETRIES = 8
SHORT, STUCK = 1e-9, 100  # after so many steps in a row of less than this share of the whole a run has come to a stop
STATE = ("U", "phi", "p", "p_rgh")  # what a start takes from that; the water stays where it was


@dataclass
class March:
    """One case in one folder.

    Args:
        onto: `onto_grid` of the mesh, a sparse matrix.
        body: the patches on which forces are summed, () for none.
        tick: called with the share of the whole that is done.
    """

    case: Case
    folder: Path
    mesh: Mesh
    onto: Any
    sides: list[Side]
    options: Options
    two: bool
    body: tuple[Side, ...]
    max_substeps: int
    tick: Callable[[float], None]
    courant: float = field(default=0.0, init=False)
    step: float = field(default=0.0, init=False)
    reached: float = field(default=0.0, init=False)

    @property
    def program(self) -> str:
        return self.options.program or ("interFoam" if self.two else "icoFoam")

    def solve(self, times: np.ndarray, begun: float, state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Arrays over `times`: fields over the cells of the uniform grid, "force", "substeps", "reached"; "restart",
        (1, bytes) the files to go on from, and, where it ended early, "failure", which says why.

        Args:
            state: "restart" of an earlier march; or "velocity" and "alpha" on the cells of the mesh.
        """
        frames: list[dict[str, np.ndarray]] = []
        steps = np.zeros(len(times), dtype=np.int64)
        self.reached, failure = begun, None
        _foam_case.write(self.folder, self.case, self.mesh, self.sides, self.options, self.two)
        self.step = self._first_step(state, times, begun)
        if "restart" in state:
            unpacked(state["restart"], self.folder / _foam_case.instant(begun))
        else:
            _foam_case.start(self.folder, begun, self.case, self.mesh, self.sides, state, self.two)
            failure = self._settle(begun)
        if failure is None and times[0] <= begun + 1e-12 * max(abs(begun), 1e-300):
            frames.append(self._frame(self._latest(), begun))
        for first, distance, count in _foam_case.groups(begun, times) if failure is None else ():
            asked = times[len(frames) : len(frames) + count]
            failure = self._group(first, distance, asked, frames, steps, begun, float(times[-1]))
            if failure is not None:
                break
        return self._arrays(times, frames, steps, failure)

    def nothing(self, times: np.ndarray, failure: str) -> dict[str, np.ndarray]:
        """What `solve` gives where nothing came back."""
        return self._arrays(times, [], np.zeros(len(times), dtype=np.int64), failure)

    # -- runs ---------------------------------------------------------------------------------------------------

    def _first_step(self, state: Mapping[str, np.ndarray], times: np.ndarray, begun: float) -> float:
        """By the Courant number of the fastest that is known, and by viscosity."""
        speeds = [self.case.scales.velocity or 0.0, *(float(np.abs(s.values).max(initial=0.0)) for s in self.sides)]
        if "velocity" in state:
            speeds.append(float(np.abs(state["velocity"]).max()))
        size = float(np.sqrt(np.median(self.mesh.areas)))
        rate = max(max(speeds) / size / self.options.cfl, self._diffusion(size) / DIFFUSED)
        longest = max(float(times[-1]) - begun, 1e-12 * max(begun, 1.0)) / LEAST
        return min(1 / max(rate, 1e-300), longest)

    def _diffusion(self, size: float) -> float:
        value = self.case.parameters
        nu = value["viscosity"] / value["density"]
        if self.two:
            nu = max(nu, value["air_viscosity"] / value["air_density"])
        return 2 * nu / size**2

    def _settle(self, begun: float) -> str | None:
        """Some steps of almost no time from the fields of the start, which become free of divergence, and get their
        pressure; they are put in the start's place."""
        tiny = SETTLING * (self.options.time_step or self.step)
        start = self._latest()
        span = tiny * (SETTLES_TWO if self.two else SETTLES)
        _foam_case.control(self.folder, self.program, start.name, begun + span, tiny, span, None)
        failure = _foam_run.run(self.program, self.folder, self._seen)
        if failure is not None:
            return failure
        made = self._latest()
        if made == start:
            return f"{self.program} wrote nothing"
        for name in STATE:
            if (made / name).exists():
                shutil.copy(made / name, start / name)
        shutil.rmtree(made)
        self.step = min(self.step, self.options.cfl * tiny / max(self.courant, 1e-300))
        return None

    def _seen(self, time: float | None, courant: float | None) -> str | None:
        if courant is not None:
            self.courant = courant
        return None

    def _group(
        self, first: float, distance: float, asked: np.ndarray, frames: list[dict[str, np.ndarray]], steps: np.ndarray,
        begun: float, last: float,
    ) -> str | None:  # fmt: skip
        """Times at equal distances, by one run, or by another one with shorter steps."""
        start, place = self._latest(), len(frames)
        for _ in range(RETRIES):
            wanted = self.options.time_step or self.step
            least = LEAST if first == begun and self.options.time_step is None else 1
            count = max(math.ceil(distance / wanted * (1 - 1e-9)), least)
            if count > self.max_substeps:
                return f"reached max_substeps = {self.max_substeps}; allow more, or ask for more times"
            step, adjustable = distance / count, None
            if self.two and self.options.time_step is None:
                size = float(np.sqrt(np.median(self.mesh.areas)))
                longest = min(distance, DIFFUSED / max(self._diffusion(size), 1e-300))
                adjustable = self.options.cfl, longest
            steps[place : place + len(asked)] = 0
            watch = _Watch(self, asked, steps[place : place + len(asked)], begun, last, adjustable is None)
            _foam_case.control(self.folder, self.program, start.name, float(asked[-1]), step, distance, adjustable)
            failure = _foam_run.run(self.program, self.folder, watch)
            if self._again(watch.over, failure, step):
                for time, folder in _foam_files.instants(self.folder):
                    if time > float(start.name):
                        shutil.rmtree(folder)
                continue
            written = [(t, f) for t, f in _foam_files.instants(self.folder) if t > float(start.name)]
            for time, folder in written[: len(asked)]:
                if abs(time - asked[len(frames) - place]) > 1e-3 * distance:
                    break  # a run that failed may leave a time that nobody asked for
                frames.append(self._frame(folder, float(asked[len(frames) - place])))
            if failure is None and len(frames) - place < len(asked):
                failure = f"{self.program} wrote {len(frames) - place} of {len(asked)} times"
            self.reached = watch.time if failure else float(asked[-1])
            return failure
        return f"the Courant number stays above {OVER * self.options.cfl:g} however short the steps are"

    def _again(self, over: float, failure: str | None, step: float) -> bool:
        """Whether a run that ended early is worth another one, with what is changed for it."""
        if over:
            self.step = 0.9 * step * self.options.cfl / over
        elif failure is not None and _foam_run.NOT_FINITE in failure and self.options.pressure == "GAMG":
            # it scales its corrections, and now and then divides by zero where nothing else is wrong
            self.options = replace(self.options, pressure="PCG")
            _foam_case.solvers(self.folder, self.mesh, self.options, self.two)
        else:
            return False
        return True

    def _latest(self) -> Path:
        return _foam_files.instants(self.folder)[-1][1]

    # -- fields -------------------------------------------------------------------------------------------------

    def _frame(self, folder: Path, time: float) -> dict[str, np.ndarray]:
        """A written time on the uniform grid."""
        cells, value = len(self.mesh.cells), self.case.parameters
        velocity = _foam_files.internal(folder / "U", cells)[:, :2]
        found = {"u": velocity[:, 0], "v": velocity[:, 1]}
        if self.two:
            found["alpha"] = _foam_files.internal(folder / "alpha.water", cells)
            heavier = float(value["density"] - value["air_density"]) * found["alpha"]
            above = _foam_files.internal(folder / "p_rgh", cells)
            # p_rgh = p − ρ g·x, so that p less that of air at rest is p_rgh − (ρ − ρ_air) g y
            pressure = above - heavier * float(value.get("gravity", 0.0)) * self.mesh.centroids[:, 1]
        else:
            pressure = float(value["density"]) * _foam_files.internal(folder / "p", cells)
        if all(side.given or side.patch.partner for side in self.sides):
            pressure = pressure - np.average(pressure, weights=self.mesh.areas)
        found["p"] = pressure
        on_grid = {name: self.onto @ values for name, values in found.items()}
        if self.body:
            on_grid["force"] = self._force(velocity, pressure, time)
        return on_grid

    def _force(self, velocity: np.ndarray, pressure: np.ndarray, time: float) -> np.ndarray:
        """(2,) on the bodies, N/m: pressure and shear on the edges along them.

        The pressure goes on to the edge as it changes in the cell. That of the cell's middle, which is what icoFoam
        itself takes there, makes the drag of a cylinder with 8 cells across 1 % lower.
        """
        slopes = [slope @ pressure for slope in self.mesh.gradients]
        total, viscosity = np.zeros(2), float(self.case.parameters["viscosity"])
        for side in self.body:
            place = side.patch.edges
            cells, out = self.mesh.owner[place], self.mesh.normals[place]
            length = np.linalg.norm(out, axis=1)
            unit = out / length[:, None]
            apart = self.mesh.middles[place] - self.mesh.centroids[cells]
            at_wall = pressure[cells] + slopes[0][cells] * apart[:, 0] + slopes[1][cells] * apart[:, 1]
            away = (apart * unit).sum(1)
            walls = np.stack(
                [[np.interp(time, side.knots, column) for column in side.values[:, :, k].T] for k in (0, 1)], axis=-1
            )
            slip = velocity[cells] - walls
            slip = slip - (slip * unit).sum(1)[:, None] * unit
            total += (at_wall[:, None] * out + viscosity * slip * (length / away)[:, None]).sum(0)
        return total

    def _arrays(
        self, times: np.ndarray, frames: list[dict[str, np.ndarray]], steps: np.ndarray, failure: str | None
    ) -> dict[str, np.ndarray]:
        names = ["u", "v", "p", *(["alpha"] if self.two else []), *(["force"] if self.body else [])]
        found: dict[str, np.ndarray] = {}
        for name in names:
            size = (2,) if name == "force" else (self.onto.shape[0],)
            found[name] = np.full((len(times), *size), np.nan)
            for k, frame in enumerate(frames):
                found[name][k] = frame[name]
        found["substeps"] = steps
        reached = np.full(len(times), self.reached)
        reached[: len(frames)] = times[: len(frames)]
        found["reached"] = reached
        done = failure is None and len(frames) == len(times)
        found["restart"] = packed(self._latest()) if done else np.zeros((1, 0), np.uint8)
        if not done:
            found["failure"] = np.array(failure or "ended early")
        return found


class _Watch:
    """Counts the steps of a run before each requested time, and ends one that is too fast or takes too many."""

    def __init__(self, march: March, asked: np.ndarray, steps: np.ndarray, begun: float, last: float, fixed: bool):
        self.march, self.asked, self.steps = march, asked, steps
        self.begun, self.span = begun, max(last - begun, 1e-300)
        self.limit = OVER * march.options.cfl if fixed and march.options.time_step is None else math.inf
        self.slack = 1e-6 * (asked[-1] - march.reached)
        self.time, self.over, self.place, self.stuck = march.reached, 0.0, 0, 0

    def __call__(self, time: float | None, courant: float | None) -> str | None:
        if courant is not None:
            if courant > self.limit:
                self.over = courant
                return "steps are too long"
            return None
        assert time is not None
        self.stuck = self.stuck + 1 if time - self.time < SHORT * self.span else 0
        self.time = time
        if self.stuck >= STUCK:
            return f"steps shrink to nothing to keep a Courant number of {self.march.options.cfl:g}: the flow runs away"
        while self.place < len(self.asked) - 1 and time > self.asked[self.place] + self.slack:
            self.place += 1
        self.steps[self.place] += 1
        self.march.tick((time - self.begun) / self.span)
        if self.steps[self.place] > self.march.max_substeps:
            return f"reached max_substeps = {self.march.max_substeps}; allow more, or ask for more times"
        return None


def packed(folder: Path) -> np.ndarray:
    """(1, bytes) the files of a written time."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            archive.writestr(zipfile.ZipInfo(str(path.relative_to(folder))), path.read_bytes())
    return np.frombuffer(content.getvalue(), dtype=np.uint8)[None]


def unpacked(content: np.ndarray, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(io.BytesIO(np.asarray(content, dtype=np.uint8).tobytes())) as archive:
        archive.extractall(folder)
