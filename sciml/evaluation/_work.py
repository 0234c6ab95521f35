"""The work of `sciml.evaluate`: predictions of all rows on the same rollouts, and their errors."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from sciml import metrics
from sciml.data._pack import positions
from sciml.errors import InputError, SolverError
from sciml.evaluation import _figures
from sciml.evaluation._figures import over, over_rollouts, over_runs
from sciml.solver import Solver
from sciml.solvers.baselines import Baseline
from sciml.solvers.surrogate import Surrogate
from sciml.training.samples import CaseTable


@dataclass
class Rollout:
    """One start of one held-out case: step 1 is frame `frame` + 1 (steady: frame 0, so that `frame` is -1)."""

    case: int
    subset: str
    start: str
    frame: int
    steps: int


class Comparison:
    """All rows on the same rollouts; a steady answer counts as one step of a rollout that starts from nothing.

    Args:
        rows: (name, kind, solvers that differ in their seed).
        starts: (name, share of a case's frames) of each start.
    """

    def __init__(
        self,
        held: CaseTable,
        rows: list[tuple[str, str, list[Any]]],
        starts: list[tuple[str, float]],
        steps: int,
        examples: int,
        progress: bool,
    ):
        self.held, self.rows, self.examples, self.progress = held, rows, examples, progress
        self.steady = held.problem.steady
        self.steps, self.starts = (1, []) if self.steady else (steps, starts)
        self.subsets = [str(s) for s in held.subsets]
        self.d = held.problem.dimensions
        self.truth = [held.frames(i) for i in range(len(held.cases))]
        self.mask = [held.mask(i) for i in range(len(held.cases))]
        self.rollouts: list[Rollout] = []
        if self.steady:
            self.rollouts = [Rollout(i, subset, "", -1, 1) for i, subset in enumerate(self.subsets)]
        for name, share in self.starts:
            for i, frames in enumerate(self.truth):
                frame = math.floor(share * (len(frames) - 1) + 1e-9)
                length = min(steps, len(frames) - 1 - frame)
                if length > 0:
                    self.rollouts.append(Rollout(i, self.subsets[i], name, frame, length))
        if not self.rollouts:
            raise InputError("data: no held-out case has two frames")
        self.steps = min(self.steps, max(r.steps for r in self.rollouts))

    # -- predictions --------------------------------------------------------------------------------------------

    def _frames(self, i: int, frame: int, history: int) -> np.ndarray:
        """(history, field, *space) up to `frame`, physical; the first frame stands in for what was before it."""
        at = np.maximum(np.arange(frame - history + 1, frame + 1), 0)
        return self.truth[i][at] * self._scale(i)

    def _scale(self, i: int) -> np.ndarray:
        return self.held.scales(i).reshape(-1, *[1] * self.d)

    def _predict(self, solver: Any, starts: Sequence[tuple[int, int]], steps: int) -> np.ndarray:
        """(rollout, step, field, *space) in the problem's scales; `starts` are (case, frame)."""
        cases = [self.held.cases[i] for i, _ in starts]
        if self.held.times is not None and hasattr(solver, "rollout"):
            history = int(getattr(solver, "history", 1))
            initial = np.stack([self._frames(i, f, history) for i, f in starts])
            clock = np.array([self.held.times[i][f] for i, f in starts])
            found = np.asarray(solver.rollout(initial, cases, clock, steps), dtype=np.float64)
        else:
            found = self._solved(solver, starts, steps)
        for k, (i, _) in enumerate(starts):
            found[k] /= self._scale(i)
        return found

    def _solved(self, solver: Solver, starts: Sequence[tuple[int, int]], steps: int) -> np.ndarray:
        """Frames of one solution for each case, from its own beginning: a solver that cannot be restarted midway, or a
        steady problem. A case that cannot be solved has NaN."""
        found = np.full((len(starts), steps, len(self.held.fields), *self.held.space), np.nan)
        for i in sorted({i for i, _ in starts}):
            try:
                solution = solver.solve(self.held.cases[i], None if self.held.times is None else self.held.times[i])
            except SolverError as error:
                warnings.warn(f"case {self.held.number[i]} has no answer: {error}", stacklevel=2)
                continue
            learned = isinstance(solver, Baseline | Surrogate)
            values = np.stack([_onto(solution, name, self.held, i, learned) for name in self.held.fields], axis=1)
            for k, (j, frame) in enumerate(starts):
                if j == i:
                    part = values[frame + 1 : frame + 1 + steps]
                    found[k, : len(part)] = part
        return found

    # -- errors -------------------------------------------------------------------------------------------------

    def run(self) -> tuple[dict[str, Any], xr.Dataset, list[dict[str, Any]]]:
        """The summary, the errors and the examples of an `Evaluation`."""
        count, most = len(self.rollouts), max(len(runs) for _, _, runs in self.rows)
        shape = (len(self.rows), most, count, self.steps, len(self.held.fields))
        square, absolute = np.full(shape, np.nan), np.full(shape, np.nan)
        label = np.full(shape[2:], np.nan)
        for r, rollout in enumerate(self.rollouts):
            t = self._target(rollout)
            label[r, : rollout.steps] = self._mean(t**2, rollout.case)
        every_label = [self._mean(f[1:] ** 2, i) for i, f in enumerate(self.truth)]
        every: list[list[list[np.ndarray]]] = []
        speed: list[list[dict[str, float]]] = []
        extra: list[list[dict[str, np.ndarray]]] = []
        kept = self._kept()
        pictures = [{"rollout": r, "truth": self._target(self.rollouts[r]) * self._scale(self.rollouts[r].case),
                     "predictions": {}} for r in kept]  # fmt: skip
        for a, (name, _, runs) in enumerate(self.rows):
            every.append([])
            speed.append([])
            extra.append([])
            for b, solver in enumerate(runs):
                if self.progress:
                    print(f"evaluating {name}", flush=True)
                began = time.perf_counter()
                found = self._predict(solver, [(r.case, r.frame) for r in self.rollouts], self.steps)
                seconds = time.perf_counter() - began
                for r, rollout in enumerate(self.rollouts):
                    e = found[r, : rollout.steps] - self._target(rollout)
                    square[a, b, r, : rollout.steps] = self._mean(e**2, rollout.case)
                    absolute[a, b, r, : rollout.steps] = self._mean(np.abs(e), rollout.case)
                extra[a].append(self._more(found))
                speed[a].append({"batched": seconds / (count * self.steps), "alone": self._alone(solver)})
                every[a].append(self._every_frame(solver))
                if b == 0:
                    for picture in pictures:
                        rollout = self.rollouts[picture["rollout"]]
                        picture["predictions"][name] = found[picture["rollout"], : rollout.steps] * self._scale(
                            rollout.case
                        )
        errors = self._dataset(square, absolute, label)
        summary = self._summary(square, absolute, label, every, every_label, speed, extra)
        for picture in pictures:
            rollout = self.rollouts[picture.pop("rollout")]
            times = self.held.times[rollout.case] if self.held.times is not None else np.zeros(0)
            picture |= {
                "case": self.held.cases[rollout.case], "number": int(self.held.number[rollout.case]),
                "subset": rollout.subset, "times": times[rollout.frame + 1 : rollout.frame + 1 + rollout.steps],
                "fields": self.held.fields,
            }  # fmt: skip
        return summary, errors, pictures

    def _target(self, r: Rollout) -> np.ndarray:
        return self.truth[r.case][r.frame + 1 : r.frame + 1 + r.steps]

    def _mean(self, values: np.ndarray, i: int) -> np.ndarray:
        """(..., field, *space) -> (..., field): the mean over fluid cells."""
        axes = tuple(range(-self.d, 0))
        mask = self.mask[i]
        if mask is None:
            return values.mean(axis=axes)
        inside = np.where(mask != 0, values, 0.0)
        return inside.sum(axis=axes) / (mask != 0).sum()

    def _every_frame(self, solver: Any) -> list[np.ndarray]:
        """(frame, field) mean square one-step errors of each case; empty where every one would cost a solve."""
        if self.steady or not hasattr(solver, "rollout"):
            return []
        found = []
        for i, frames in enumerate(self.truth):
            if len(frames) < 2:
                found.append(np.zeros((0, len(self.held.fields))))
                continue
            new = self._predict(solver, [(i, f) for f in range(len(frames) - 1)], 1)[:, 0]
            found.append(self._mean((new - frames[1:]) ** 2, i))
        return found

    def _alone(self, solver: Any) -> float:
        """Seconds a step for one case by itself: the best of three."""
        rollout = max(self.rollouts, key=lambda r: r.steps)
        times = []
        for _ in range(3 if self.steady or hasattr(solver, "rollout") else 1):
            began = time.perf_counter()
            self._predict(solver, [(rollout.case, rollout.frame)], rollout.steps)
            times.append((time.perf_counter() - began) / rollout.steps)
        return min(times)

    def _more(self, found: np.ndarray) -> dict[str, np.ndarray]:
        """Per rollout: time until the correlation falls below 0.9 (in time scales), spectrum error, divergence."""
        count, fields = len(self.rollouts), self.held.fields
        lost = np.full(count, np.nan)
        spectrum = np.full((count, self.steps), np.nan)
        div = np.full((count, self.steps), np.nan)
        flow = self.d == 2 and {"u", "v"} <= set(fields)
        for r, rollout in enumerate(self.rollouts):
            case, n = self.held.cases[rollout.case], rollout.steps
            p, t, mask = found[r, :n], self._target(rollout), self.mask[rollout.case]
            if np.isfinite(p).all():
                if self.held.times is not None:
                    clock = self.held.times[rollout.case]
                    passed = (clock[rollout.frame + 1 :][:n] - clock[rollout.frame]) / case.scales.time
                    lost[r] = metrics.correlation_time(p, t, passed, mask=mask)
                extents = [b - a for a, b in reversed(case.geometry.extents)]
                periodic = tuple(reversed(getattr(case.geometry, "periodic", (False,) * self.d)))
                spectrum[r, :n] = metrics.spectrum_error(p, t, extents, periodic=periodic, mask=mask)
                if flow:
                    div[r, :n] = self._divergence(p, rollout.case)
        return {"correlation_time": lost, "spectrum_error": spectrum, "divergence": div}

    def _divergence(self, frames: np.ndarray, i: int) -> np.ndarray:
        case = self.held.cases[i]
        axes = [positions(self.held.dataset, int(self.held.number[i]), a) / case.scales.length for a in ("x", "y")]
        parts = [frames[:, self.held.fields.index(n)] for n in ("u", "v")]
        periodic = getattr(case.geometry, "periodic", (False, False))
        known = case.problem.boundary_values(case, [0.0])
        walls = tuple(
            all(not np.any(known.get(f"{a}_{end}_{n}", 1.0)) for end in ("min", "max"))
            for a, n in (("x", "u"), ("y", "v"))
        )
        return metrics.divergence_error(parts, axes, periodic=periodic, wall=walls, mask=self.mask[i])

    def _kept(self) -> list[int]:
        found, seen = [], dict.fromkeys(self.subsets, 0)
        for r, rollout in enumerate(self.rollouts):
            if rollout.start == self.rollouts[0].start and seen[rollout.subset] < self.examples:
                seen[rollout.subset] += 1
                found.append(r)
        return found

    # -- results ------------------------------------------------------------------------------------------------

    def _dataset(self, square: np.ndarray, absolute: np.ndarray, label: np.ndarray) -> xr.Dataset:
        rollouts = self.rollouts
        dims = ("row", "run", "rollout", "step", "field")
        scale = np.stack([self.held.scales(r.case) for r in rollouts])
        return xr.Dataset(
            {
                "error_square": (dims, square, {"units": "1", "long_name": "mean square error over scale squared"}),
                "absolute_error": (dims, absolute, {"units": "1", "long_name": "mean absolute error over scale"}),
                "label_square": (dims[2:], label, {"units": "1", "long_name": "mean square truth over scale squared"}),
                "scale": (("rollout", "field"), scale, {"long_name": "the problem's scale"}),
            },
            {
                "row": [name for name, _, _ in self.rows],
                "step": np.arange(1, self.steps + 1),
                "field": list(self.held.fields),
                "case": ("rollout", [int(self.held.number[r.case]) for r in rollouts]),
                "subset": ("rollout", [r.subset for r in rollouts]),
                "start": ("rollout", [r.start for r in rollouts]),
                "frame": ("rollout", [r.frame for r in rollouts]),
            },
        )

    def _summary(
        self,
        square: np.ndarray,
        absolute: np.ndarray,
        label: np.ndarray,
        every: list[list[list[np.ndarray]]],
        every_label: list[np.ndarray],
        speed: list[list[dict[str, float]]],
        extra: list[list[dict[str, np.ndarray]]],
    ) -> dict[str, Any]:
        subsets = list(dict.fromkeys(["all", *sorted(set(self.subsets))]))
        scale = np.stack([self.held.scales(r.case) for r in self.rollouts])
        rows = []
        reference = self._reference()
        for a, (name, kind, runs) in enumerate(self.rows):
            row: dict[str, Any] = {"name": name, "kind": kind, "runs": len(runs), "settings": runs[0].settings}
            if kind == "learned":
                row["training"] = [r.training for r in runs]
            for part in ("rollout", "one_step", "every_frame", "gain", "gain_every_frame", "correlation_time",
                         "spectrum_error", "divergence"):  # fmt: skip
                row[part] = {}
            for subset in subsets:
                rows_in: np.ndarray = np.array([subset in ("all", r.subset) for r in self.rollouts])
                cases_in = [i for i, s in enumerate(self.subsets) if subset in ("all", s)]
                row["rollout"][subset] = by_field = {}
                row["one_step"][subset], row["every_frame"][subset] = {}, {}
                for f, cut in self._cuts():
                    each = [
                        _figures.figures(square[a, b, rows_in][..., cut], absolute[a, b, rows_in][..., cut],
                                 label[rows_in][..., cut], scale[rows_in][:, cut])
                        for b in range(len(runs))
                    ]  # fmt: skip
                    by_field[f] = {k: over_runs([x[k] for x in each]) for k in each[0]}
                    row["one_step"][subset][f] = {
                        k: {"mean": v["mean"][0], "std": v["std"][0]} for k, v in by_field[f].items()
                    }
                    if every[a][0]:
                        one = [_figures.every([run[i] for i in cases_in], [every_label[i] for i in cases_in], cut)
                               for run in every[a]]  # fmt: skip
                        row["every_frame"][subset][f] = {k: over_runs([x[k] for x in one]) for k in one[0]}
                row["correlation_time"][subset] = _figures.times_until(
                    [x["correlation_time"][rows_in] for x in extra[a]]
                )
                for part in ("spectrum_error", "divergence"):
                    row[part][subset] = over_runs([over_rollouts(x[part][rows_in]) for x in extra[a]])
            row["seconds_per_step"] = {
                "batched": float(np.mean([s["batched"] for s in speed[a]])),
                "alone": float(np.mean([s["alone"] for s in speed[a]])),
            }
            rows.append(row)
        for row in rows:
            for subset in subsets:
                if reference is not None:
                    still = rows[reference]
                    row["gain"][subset] = over(still["one_step"], row["one_step"], subset)
                    if row["every_frame"][subset]:
                        row["gain_every_frame"][subset] = over(still["every_frame"], row["every_frame"], subset)
        truth = np.full((len(self.rollouts), self.steps), np.nan)
        if self.d == 2 and {"u", "v"} <= set(self.held.fields):
            for r, rollout in enumerate(self.rollouts):
                truth[r, : rollout.steps] = self._divergence(self._target(rollout), rollout.case)
        return {
            "problem": self.held.problem.name,
            "fields": list(self.held.fields),
            "subsets": subsets,
            "cases": {s: sum(s in ("all", x) for x in self.subsets) for s in subsets},
            "rollouts": {s: sum(s in ("all", r.subset) for r in self.rollouts) for s in subsets},
            "steps": self.steps,
            "starts": [name for name, _ in self.starts],
            "divergence_of_truth": over_runs([over_rollouts(truth)]),
            "rows": rows,
        }

    def _cuts(self) -> list[tuple[str, slice]]:
        return [("joint", slice(None)), *((n, slice(i, i + 1)) for i, n in enumerate(self.held.fields))]

    def _reference(self) -> int | None:
        wanted = "mean field" if self.steady else "persistence"
        return next((a for a, (name, _, _) in enumerate(self.rows) if name == wanted), None)


def _onto(solution: xr.Dataset, name: str, held: CaseTable, i: int, by_cell: bool = False) -> np.ndarray:
    """(time, *space): a field of a solution on the grid of the data, by linear interpolation, linear beyond cells.

    Args:
        by_cell: take the values cell by cell where there are as many: what learned from the data answers on its cells.
    """
    from scipy.interpolate import RegularGridInterpolator

    dims = [str(d) for d in held.dataset[held.fields[0]].dims[1:]]
    target = [positions(held.dataset, int(held.number[i]), d) for d in dims]
    values = np.asarray(solution[name].values, dtype=float)
    values = values[None] if held.times is None else values
    source = [np.asarray(solution[d].values, dtype=float) for d in dims]
    if by_cell and values.shape[1:] == held.space:
        return values
    if all(len(a) == len(b) and np.allclose(a, b, rtol=1e-6) for a, b in zip(source, target, strict=True)):
        return values
    box = held.cases[i].geometry
    around = dict(zip("xyz", getattr(box, "periodic", ()), strict=False))
    lengths = dict(zip("xyz", box.extents, strict=False))
    for k, d in enumerate(dims):
        if around.get(d):  # across the seam the neighbour is the cell at the other end
            period = lengths[d][1] - lengths[d][0]
            source[k] = np.concatenate([source[k][-1:] - period, source[k], source[k][:1] + period])
            values = np.concatenate([values.take([-1], k + 1), values, values.take([0], k + 1)], axis=k + 1)
    mesh = np.stack(np.meshgrid(*target, indexing="ij"), axis=-1)
    f = RegularGridInterpolator(tuple(source), np.moveaxis(values, 0, -1), bounds_error=False, fill_value=None)  # pyright: ignore[reportArgumentType]
    return np.moveaxis(f(mesh), -1, 0)
