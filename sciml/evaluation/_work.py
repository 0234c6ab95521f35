"""The work of `sciml.evaluate`: predictions of all rows on the same rollouts, frame by frame, and their errors."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from sciml import metrics
from sciml.errors import InputError, SolverError
from sciml.evaluation import _flow
from sciml.evaluation._held import Held
from sciml.evaluation._statistic import TRUTH, Statistic
from sciml.evaluation._summary import Row, summary
from sciml.metrics import Sums
from sciml.metrics.pointwise import time_below
from sciml.solver import Restartable, Solver
from sciml.solvers._numerical import NumericalSolver
from sciml.support import support_of
from sciml.training.samples import CaseTable

Portion = tuple[list[int], int, list[np.ndarray]]
TIMED = 20  # steps of a rollout by itself that are timed


@dataclass
class Meter:
    """Seconds of prediction alone, and the steps that they bought."""

    seconds: float = 0.0
    steps: float = 0.0
    began: float = field(default=0.0, repr=False)

    def __enter__(self) -> None:
        self.began = time.perf_counter()

    def __exit__(self, *_: Any) -> None:
        self.seconds += time.perf_counter() - self.began

    @property
    def each(self) -> float:
        return self.seconds / self.steps if self.steps else np.nan


class Comparison:
    """All rows on the same rollouts; a steady answer counts as one step of a rollout that starts from nothing.

    Args:
        rows: name, kind and solvers (those of one row differ in their seed).
        starts: (name, share of a case's frames) of each start.
        every_frame: whether one step is taken from every frame, too.
    """

    def __init__(
        self,
        table: CaseTable,
        rows: list[Row],
        starts: list[tuple[str, float]],
        steps: int,
        examples: int,
        progress: bool,
        statistics: Sequence[Statistic] = (),
        every_frame: bool = True,
    ):
        self.statistics, self.every_frame = tuple(statistics), every_frame
        solvers = [s for row in rows for s in row.runs]
        every = int(np.lcm.reduce([s.every for s in solvers if isinstance(s, Restartable)] or [1]))
        self.held = Held(table, 1 if table.problem.steady else every)
        self.rows, self.examples, self.progress = rows, examples, progress
        self.starts = [] if self.held.steady else starts
        self.rollouts = self.held.rollouts(starts, steps)
        self.steps = max(r.steps for r in self.rollouts)
        self.fields = table.fields
        self.divergence = _flow.Divergence(self.held) if _flow.has_divergence(self.held) else None

    def restarts(self, solver: Solver) -> bool:
        """Whether a solver goes on from the true frames, rather than answering from a case's own beginning."""
        return not self.held.steady and isinstance(solver, Restartable)

    # -- predictions --------------------------------------------------------------------------------------------

    def predicted(self, solver: Solver, wanted: Sequence[int], meter: Meter) -> Iterator[Portion]:
        """(rollouts, number of a step, their frames (field, *shape) in the problem's scales), as they come."""
        if not self.restarts(solver):
            yield from self._solved(solver, wanted, meter)
            return
        assert isinstance(solver, Restartable)
        for members in self._portions(wanted):
            several = [self.rollouts[n] for n in members]
            starts = self.held.starts([(r.case, r.frame) for r in several], solver)
            times = np.stack([self.held.times(r) for r in several])
            scales = [self.held.scale(r.case) for r in several]
            stream = solver.rollout(starts, times)
            for k in range(times.shape[1]):
                with meter:
                    frames = next(stream)
                meter.steps += len(members)
                yield members, k, [np.asarray(f, np.float64) / s for f, s in zip(frames, scales, strict=True)]
                del frames

    def _portions(self, wanted: Sequence[int]) -> Iterator[list[int]]:
        """Rollouts of one length, as many as are carried at once."""
        by_length: dict[int, list[int]] = {}
        for n in wanted:
            by_length.setdefault(self.rollouts[n].steps, []).append(n)
        for members in by_length.values():
            most = self.held.portion([self.rollouts[n].case for n in members])
            for a in range(0, len(members), most):
                yield members[a : a + most]

    def _solved(self, solver: Solver, wanted: Sequence[int], meter: Meter) -> Iterator[Portion]:
        """Frames of one solution for each case, from its own beginning: a solver that cannot be restarted midway, or a
        steady problem. A case that cannot be solved has NaN."""
        held, table = self.held, self.held.table
        for i in sorted({self.rollouts[n].case for n in wanted}):
            case = table.cases[i]
            values, source = None, held.support(i)
            try:
                with meter:
                    solution = solver.solve(case, None if table.times is None else table.times[i])
                meter.steps += 1 if held.steady else max((held.length(i) - 1) // held.every, 1)
                values = np.stack([np.asarray(solution[n].values, dtype=np.float64) for n in self.fields])
                values = values[:, None] if held.steady else values
                source = support_of(case, solution)
            except SolverError as error:
                warnings.warn(f"case {table.number[i]} has no answer: {error}", stacklevel=2)
            for n in wanted:
                r = self.rollouts[n]
                for k in range(r.steps if r.case == i else 0):
                    frame, shape = held.at(r, k), (len(self.fields), *table.shapes[i])
                    if values is None or frame >= values.shape[1]:
                        yield [n], k, [np.full(shape, np.nan)]
                        continue
                    yield [n], k, [source.onto(values[:, frame], held.support(i, frame)) / held.scale(i)]

    # -- errors -------------------------------------------------------------------------------------------------

    def run(self) -> tuple[dict[str, Any], xr.Dataset, list[dict[str, Any]]]:
        """The summary, the errors and the examples of an `Evaluation`."""
        count, most = len(self.rollouts), max(len(row.runs) for row in self.rows)
        shape = (len(self.rows), most, count, self.steps, len(self.fields))
        self.square, self.absolute = np.full(shape, np.nan), np.full(shape, np.nan)
        self.label = np.full(shape[2:], np.nan)
        self.divergence_of_truth = np.full((count, self.steps), np.nan)
        pictures = self._pictures()
        with np.errstate(over="ignore", invalid="ignore"):  # rows that diverge
            for a, row in enumerate(self.rows):
                row.restarts = None if self.held.steady else all(self.restarts(s) for s in row.runs)
                for b, solver in enumerate(row.runs):
                    if self.progress:
                        print(f"evaluating {row.name} ({a + 1} of {len(self.rows)})", flush=True)
                    self._measure(a, b, solver, pictures if b == 0 else [])
        for picture in pictures:
            for name, frames in picture["predictions"].items():
                picture["predictions"][name] = np.stack(frames)
        scale = np.stack([self.held.table.scales(r.case) for r in self.rollouts])
        found = summary(
            self.held, self.rows, self.rollouts, self.square, self.absolute, self.label, scale,
            self.divergence_of_truth if self.divergence is not None else None, [name for name, _ in self.starts],
        )  # fmt: skip
        return found, self._dataset(scale), pictures

    def _measure(self, a: int, b: int, solver: Solver, pictures: list[dict[str, Any]]) -> None:
        """One pass of one solver over all rollouts."""
        held, row = self.held, self.rows[a]
        shape = (len(self.rollouts), self.steps)
        correlations, spectrum, div = (np.full(shape, np.nan) for _ in range(3))
        kept = {p["rollout"]: p["predictions"].setdefault(row.name, []) for p in pictures}
        meter = Meter()
        for members, k, frames in self.predicted(solver, range(len(self.rollouts)), meter):
            several = [self.rollouts[n] for n in members]
            truths = [held.truth(r, k) for r in several]
            weights = [held.weights(r.case, held.at(r, k)) for r in several]
            for some, p, t, w in _alike(frames, truths, weights):
                rows = [members[i] for i in some]
                sums = _sums(p, t, w)
                self.square[a, b, rows, k], self.absolute[a, b, rows, k] = sums.error, sums.absolute
                self.label[rows, k] = sums.label
                if not held.steady:
                    correlations[rows, k] = metrics.correlation(p, t, weights=w, axis=tuple(range(1, p.ndim)))
            for n, r, p, t in zip(members, several, frames, truths, strict=True):
                if self.divergence is not None:
                    div[n, k] = self.divergence(r.case, p)
                    if a == b == 0:
                        self.divergence_of_truth[n, k] = self.divergence(r.case, t)
                if n in kept:
                    kept[n].append(p * held.scale(r.case))
                if a == b == 0:  # what rows are held against comes first
                    self._gather(TRUTH, 0, n, k, t)
                self._gather(row.name, b, n, k, p)
            spectrum[members, k] = _flow.spectrum_errors(held, several, frames, truths)
        row.spectrum_error.append(spectrum)
        row.divergence.append(div)
        row.correlation_time.append(np.array([self._lost(n, course) for n, course in enumerate(correlations)]))
        row.batched.append(meter.each)
        row.alone.append(self._alone(solver))
        row.every_frame.append(self._every_frame(solver))

    def _gather(self, row: str, run: int, n: int, k: int, frame: np.ndarray) -> None:
        if not self.statistics:
            return
        r, held = self.rollouts[n], self.held
        time = 0.0 if held.steady else float(held.times(r)[k])
        support = held.support(r.case, held.at(r, k))
        for statistic in self.statistics:
            statistic.add(row, run, n, k, time, frame * held.scale(r.case), held.table.cases[r.case], support)

    def _lost(self, n: int, course: np.ndarray) -> float:
        """Time until the correlation falls below 0.9, in the case's time scales."""
        r, table = self.rollouts[n], self.held.table
        if table.times is None:
            return np.nan
        passed = (self.held.times(r) - table.times[r.case][r.frame]) / table.cases[r.case].scales.time
        return time_below(course[: r.steps], passed)

    def _every_frame(self, solver: Solver) -> list[tuple[np.ndarray, np.ndarray]]:
        """(frame, field) mean square one-step errors and labels of each case; empty where every one would cost a
        solve, or nobody asks."""
        if not self.every_frame or not self.restarts(solver):
            return []
        assert isinstance(solver, Restartable)
        held = self.held
        counts = [max(held.length(i) - held.every, 0) for i in range(len(held))]
        found = [(np.zeros((n, len(self.fields))), np.zeros((n, len(self.fields)))) for n in counts]
        # frames of all cases together: equal portions, so that a solver is compiled for one size
        wanted = [(i, f) for i, count in enumerate(counts) for f in range(count)]
        most = held.portion(range(len(held)))
        for part in (wanted[a : a + most] for a in range(0, len(wanted), most)):
            times = np.array([[held.table.times[i][f + held.every]] for i, f in part])  # type: ignore[index]
            frames = next(solver.rollout(held.starts(part, solver), times))
            after = [(i, f + held.every) for i, f in part]
            got = [np.asarray(p, np.float64) / held.scale(i) for (i, _), p in zip(part, frames, strict=True)]
            truths, weights = [held.frames(*at)[0] for at in after], [held.weights(*at) for at in after]
            for some, p, t, w in _alike(got, truths, weights):
                sums = _sums(p, t, w)
                for n, error, label in zip(some, np.asarray(sums.error), np.asarray(sums.label), strict=True):
                    i, f = part[n]
                    found[i][0][f], found[i][1][f] = error, label
        return found

    def _alone(self, solver: Solver) -> float:
        """Seconds a step for one case by itself, the best of three, over at most the first `TIMED` steps of the longest
        rollout, whose later ones cost about the same. Solvers on supports of their own march over them in one go, as
        their users would have it; what cannot start midway is solved as a whole."""
        longest = max(range(len(self.rollouts)), key=lambda n: self.rollouts[n].steps)
        found = []
        for _ in range(3 if self.held.steady or self.restarts(solver) else 1):
            meter = Meter()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # said already
                if isinstance(solver, NumericalSolver) and self.restarts(solver):
                    self._march(solver, longest, meter)
                else:
                    for _, k, _ in self.predicted(solver, [longest], meter):
                        if k + 1 == TIMED and self.restarts(solver):
                            break
            found.append(meter.each)
        return min(found)

    def _march(self, solver: NumericalSolver, n: int, meter: Meter) -> None:
        """The first steps of a rollout at once, on the solver's own support."""
        r, held = self.rollouts[n], self.held
        times = held.times(r)[:TIMED]
        begin = solver.begin(held.starts([(r.case, r.frame)], solver)[0])
        try:
            with meter:
                solver.run([held.table.cases[r.case]], [times], [begin])
            meter.steps += len(times)
        except SolverError:
            pass  # said already; no time of a step is known

    # -- results ------------------------------------------------------------------------------------------------

    def _pictures(self) -> list[dict[str, Any]]:
        """The rollouts to keep for pictures, with their truth."""
        held, found, seen = self.held, [], dict.fromkeys(self.held.subsets, 0)
        for n, r in enumerate(self.rollouts):
            if r.start != self.rollouts[0].start or seen[r.subset] >= self.examples:
                continue
            seen[r.subset] += 1
            truth = np.stack([held.truth(r, k) for k in range(r.steps)]) * held.scale(r.case)
            found.append({
                "rollout": n, "case": held.table.cases[r.case], "number": int(held.table.number[r.case]),
                "subset": r.subset, "support": held.support(r.case, held.at(r, r.steps - 1)),
                "times": np.zeros(0) if held.steady else held.times(r), "fields": self.fields,
                "truth": truth, "predictions": {},
            })  # fmt: skip
        return found

    def _dataset(self, scale: np.ndarray) -> xr.Dataset:
        rollouts = self.rollouts
        dims = ("row", "run", "rollout", "step", "field")
        words = "of the support over scale"
        every, labels = self._every_case()
        return xr.Dataset(
            {
                "every_frame_square": (
                    ("row", "run", "held", "field"),
                    every,
                    {"units": "1", "long_name": "one-step error_square summed over all frames of a case"},
                ),
                "every_frame_label": (
                    ("held", "field"),
                    labels,
                    {"units": "1", "long_name": "label_square summed over the same frames"},
                ),
                "error_square": (dims, self.square, {"units": "1", "long_name": f"mean square error {words} squared"}),
                "absolute_error": (dims, self.absolute, {"units": "1", "long_name": f"mean absolute error {words}"}),
                "label_square": (
                    dims[2:],
                    self.label,
                    {"units": "1", "long_name": f"mean square truth {words} squared"},
                ),
                "scale": (("rollout", "field"), scale, {"long_name": "the problem's scale"}),
            },
            {
                "row": [row.name for row in self.rows],
                "step": np.arange(1, self.steps + 1),
                "field": list(self.fields),
                "held_case": ("held", [int(n) for n in self.held.table.number]),
                "case": ("rollout", [int(self.held.table.number[r.case]) for r in rollouts]),
                "subset": ("rollout", [r.subset for r in rollouts]),
                "start": ("rollout", [r.start for r in rollouts]),
                "frame": ("rollout", [r.frame for r in rollouts]),
            },
        )

    def _every_case(self) -> tuple[np.ndarray, np.ndarray]:
        """(row, run, case, field) sums of one-step errors, NaN of rows that go on from no frame; and of labels."""
        rows, runs = self.square.shape[:2]
        every = np.full((rows, runs, len(self.held), len(self.fields)), np.nan)
        labels = np.full(every.shape[2:], np.nan)
        for r, row in enumerate(self.rows):
            for k, found in enumerate(row.every_frame):
                for i, (square, label) in enumerate(found):
                    every[r, k, i], labels[i] = square.sum(0), label.sum(0)
        return every, labels


def check_fields(rows: Sequence[Row], fields: Sequence[str]) -> None:
    """Refuse rows that predict something else than what is compared."""
    for row in rows:
        for solver in row.runs:
            own = row.fields_of(solver)
            if own is not None and tuple(own) != tuple(fields):
                raise InputError(f"solvers: {row.name} predicts {', '.join(own)}, expected {', '.join(fields)}")


def _alike(
    frames: Sequence[np.ndarray], truths: Sequence[np.ndarray], weights: Sequence[np.ndarray]
) -> Iterator[tuple[list[int], np.ndarray, np.ndarray, np.ndarray]]:
    """(numbers, frames, truths, weights (frame, 1, *shape)) of those of one shape together."""
    shapes: dict[tuple[int, ...], list[int]] = {}
    for n, frame in enumerate(frames):
        shapes.setdefault(frame.shape, []).append(n)
    for some in shapes.values():
        p, t, w = (np.stack([values[n] for n in some]) for values in (frames, truths, weights))
        yield some, p, t, w[:, None]


def _sums(prediction: np.ndarray, truth: np.ndarray, weights: np.ndarray) -> Sums:
    """(frame, field) of frames (frame, field, *shape)."""
    return Sums.of(prediction, truth, weights=weights, axis=tuple(range(2, truth.ndim)))
