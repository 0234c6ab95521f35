"""The lid-driven cavity from an impulsive start to t = 5 L/U by both codes: errors and clocks.

Error: the root mean square of both velocities at cell centres over 20 frames, 0.25 L/U apart, less the averages of the
reference over the same cells, relative to the latter. Both codes have the same cells.

Reference: Richardson's extrapolation, of second order, of this package's solutions on 384 × 384 and 192 × 192 cells in
double precision (256 × 256 where 192 is no multiple), each averaged over the cells in question. `Runs.doubts` says how
far two such extrapolations are apart, and how icoFoam nears it.

Clocks are of the wall. icoFoam's holds its time loop alone: not its start, and no fields, for when it is timed it
writes none; but its log, which goes through a pipe that is read on the same core. Ours holds the whole call that takes
cases and returns arrays of all 20 frames; only compilation, once for each resolution, Courant number and number of
cases, is left out. Arithmetic is in double precision in both. While it is timed either code is held to as many cores as
it has cases, at most two: one case has one core, 16 have two.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import _openfoam
from benchmarks._ledger import Kept
from benchmarks._openfoam import Cavity
from sciml.problems import LidDrivenCavity
from sciml.solvers import IncompressibleFlow

END, FRAME = 5.0, 0.25
TIMES = FRAME * np.arange(1, 21)
REYNOLDS = (100, 400, 1000)
FINE = 384
SHORT = 0.5  # seconds; of what takes less, the median of three runs counts when points are selected


def solver(cells: int, cfl: float) -> IncompressibleFlow:
    return IncompressibleFlow(cells, cfl=cfl, dtype="float64")


def solve(cells: int, cfl: float, reynolds: Sequence[float]) -> np.ndarray:
    """(Re, T, 2, y, x) velocities of this package."""
    cases = [LidDrivenCavity().case(viscosity=1 / r) for r in reynolds]
    found = solver(cells, cfl).run(cases, [TIMES] * len(cases))
    return np.stack([np.stack([f["u"], f["v"]], axis=1) for f in found])


@contextmanager
def cores(cases: int) -> Iterator[None]:
    """Hold this process, and what it starts, to as many cores as there are cases, at most two.

    By affinity, of every thread: XLA has no option that keeps it to one thread (its pool is made once, as large as the
    machine, and parts of a program overlap on it even with `--xla_cpu_multi_thread_eigen=false`).
    """
    every = os.sched_getaffinity(0)

    def hold(these: set[int]) -> None:
        for thread in os.listdir("/proc/self/task"):
            with suppress(ProcessLookupError):  # it has ended since
                os.sched_setaffinity(int(thread), these)

    hold(set(sorted(every)[-min(cases, 2) :]))
    try:
        yield
    finally:
        hold(every)


def our_seconds(cells: int, cfl: float, reynolds: Sequence[float]) -> float:
    with cores(len(reynolds)):
        begun = time.perf_counter()
        solve(cells, cfl, reynolds)
        return time.perf_counter() - begun


def their_seconds(cases: Sequence[Cavity]) -> list[float]:
    """Of each of the cases' time loops, all at once."""
    with tempfile.TemporaryDirectory() as folder, cores(len(cases)), ThreadPoolExecutor(len(cases)) as pool:
        paths = [Path(folder) / str(k) for k in range(len(cases))]
        for path, case in zip(paths, cases, strict=True):
            _openfoam.write(path, replace(case, write_every=2 * END))
        return list(pool.map(_openfoam.run, paths))


def selecting(once: Callable[[], float]) -> float:
    """Seconds by which points are selected."""
    first = once()
    return first if first >= SHORT else statistics.median([first, once(), once()])


def averaged(values: np.ndarray, cells: int) -> np.ndarray:
    """(T, 2, y, x) averaged over the blocks that make one of `cells` × `cells` cells."""
    block = values.shape[-1] // cells
    return values.reshape(*values.shape[:2], cells, block, cells, block).mean(axis=(3, 5))


def apart(found: np.ndarray, exact: np.ndarray) -> float:
    return float(np.linalg.norm(found - exact) / np.linalg.norm(exact))


class Runs:
    """Errors and clocks; each run is kept."""

    def __init__(self, kept: Kept):
        self.kept = kept
        self.reference = lru_cache(None)(self._reference)

    def fine(self, cells: int, reynolds: int) -> np.ndarray:
        path = self.kept.folder / f"{self.kept.code}-{cells}.npy"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.with_suffix(".part.npy")
            np.save(temporary, solve(cells, 2.0, REYNOLDS))
            os.replace(temporary, path)
        return np.load(path, mmap_mode="r")[REYNOLDS.index(reynolds)]

    def _reference(self, reynolds: int, cells: int, coarse: int | None = None) -> np.ndarray:
        coarse = coarse or (192 if 192 % cells == 0 else 256)
        fine, other = (averaged(self.fine(n, reynolds), cells) for n in (FINE, coarse))
        return fine + (fine - other) / ((FINE / coarse) ** 2 - 1)

    def doubts(self, reynolds: int, cells: int = 32) -> dict[str, float]:
        """How good the reference is, on `cells` × `cells` cells: how far an extrapolation from 256 × 256 cells is from
        that from 192 × 192; the order observed on 96, 192 and 384; and how far icoFoam is from it on finer and finer
        cells at a constant Courant number, and its extrapolation."""
        exact = self.reference(reynolds, cells)
        a, b, c = (averaged(self.fine(n, reynolds), cells) for n in (96, 192, FINE))
        theirs = {n: averaged(self._frames(Cavity(n, reynolds, 0.8 / n, END, FRAME)), cells) for n in (32, 64, 128)}
        return {
            "extrapolations_apart": self.doubt(reynolds, cells),
            "order": float(np.log2(apart(a, b) / apart(b, c))),
            **{f"icofoam_on_{n}_apart": apart(found, exact) for n, found in theirs.items()},
            "icofoam_extrapolated_apart": apart((4 * theirs[128] - theirs[64]) / 3, exact),
        }

    def doubt(self, reynolds: int, cells: int = 64) -> float:
        """How far the extrapolation from 256 × 256 cells is from that from 192 × 192 (64 divides all of them)."""
        return apart(self.reference(reynolds, cells, 256), self.reference(reynolds, cells, 192))

    def _frames(self, case: Cavity) -> np.ndarray:
        with tempfile.TemporaryDirectory() as folder:
            _openfoam.write(Path(folder), case)
            _openfoam.run(Path(folder))
            return np.stack([_openfoam.velocity(Path(folder), t, case.cells) for t in TIMES])

    def error(self, case: Cavity) -> float | None:
        """Of a run of icoFoam; None where it diverges."""

        def make() -> float | None:
            try:
                return apart(self._frames(case), self.reference(int(case.reynolds), case.cells))
            except RuntimeError:  # it stops at the first number that is not finite
                return None

        return self.kept(make, piece="icoFoam's error", version=_openfoam.version(), **asdict(case))

    def theirs(self, case: Cavity) -> dict[str, Any]:
        """The error of a run of icoFoam, and the seconds of others that write nothing; None where it diverges."""

        def make() -> float:
            return selecting(lambda: their_seconds([case])[0])

        error = self.error(case)
        if error is None:
            return {"error": None, "seconds": None}
        what = {"piece": "icoFoam's seconds", "version": _openfoam.version(), **asdict(case)}
        return {"error": error, "seconds": self.kept(make, **what)}

    def ours(self, cells: int, cfl: float, reynolds: int) -> dict[str, Any]:
        """The error and the seconds, once compiled."""

        def make() -> dict[str, Any]:
            error = apart(solve(cells, cfl, [reynolds])[0], self.reference(reynolds, cells))
            return {"error": error, "seconds": selecting(lambda: our_seconds(cells, cfl, [reynolds]))}

        return self.kept(make, piece="ours", cells=cells, cfl=cfl, reynolds=reynolds)
