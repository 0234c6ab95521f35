"""Held-out errors of any solvers on one data set, by one protocol.

Protocol. From each held-out case rollouts start at the given shares of its frames (frame ⌊share·(T − 1)⌋ of T; by
default 0, a quarter and a half) with the true frame (and true history), and go `steps` steps or as far as the case has
frames. With e the error and u the truth, both in the problem's scales for the case, and ‖·‖² the mean square over fluid
cells and, for "joint", fields:

- **nmse** of step k pools: Σ_rollouts ‖e_k‖² / Σ_rollouts ‖u_k‖², over the rollouts of a subset that reach step k.
- **nmse_per_frame** of step k is CFDBench's figure: the mean over those rollouts of ‖e_k‖² / ‖u_k‖².
- **one_step** is step 1 of these rollouts. **every_frame** are one-step errors from every frame of every case.
- **mse**, **mae** of step k are means in physical units (CFDBench's, over fluid cells), `relative_l2` is √nmse.
- **gain** is persistence's pooled nmse over the row's.

Several trained runs of one kind (other seeds) make one row: figures are means over runs, with their standard deviation.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from sciml import metrics
from sciml.data._pack import positions
from sciml.errors import InputError
from sciml.problem import Case
from sciml.solver import Solver
from sciml.solvers.baselines import Baseline, MeanField, ParameterInterpolation, Persistence
from sciml.solvers.surrogate import Surrogate, load
from sciml.training.checkpoint import replace_bytes
from sciml.training.samples import CaseTable, open_data, table

BASELINES = ("persistence", "mean field", "interpolation")


@dataclass
class Rollout:
    """One start of one held-out case."""

    case: int
    subset: str
    start: str
    frame: int
    steps: int


@dataclass
class Evaluation:
    """What `evaluate` found.

    Args:
        summary: JSON-able: protocol, and for each row the figures by subset and field.
        errors: per row, run, rollout, step and field: `error_square`, `absolute_error` (in the problem's scales) and
            `label_square`, `scale`, from which every figure can be pooled anew.
        examples: for some rollouts truth and predictions (step, field, *space) in physical units, by row.
    """

    summary: dict[str, Any]
    errors: xr.Dataset
    examples: list[dict[str, Any]] = field(default_factory=list)

    def row(self, name: str) -> dict[str, Any]:
        for row in self.summary["rows"]:
            if row["name"] == name:
                return row
        raise InputError(f"evaluation: no row is called {name!r}; rows: {[r['name'] for r in self.summary['rows']]}")

    def to_json(self) -> str:
        return json.dumps(_finite(self.summary), indent=1)

    def save(self, path: str | Path) -> None:
        """The summary as JSON, atomically."""
        replace_bytes(path, (self.to_json() + "\n").encode())


def evaluate(
    solvers: Any,
    data: Any,
    *,
    split: str = "test",
    steps: int = 20,
    starts: Sequence[str | float] = ("0", "1/4", "1/2"),
    subset: Sequence[str] | str | None = None,
    baselines: bool | Sequence[Baseline] = True,
    train_split: str = "train",
    examples: int = 1,
    progress: bool = False,
) -> Evaluation:
    """Compare solvers on held-out cases (see the module for the protocol).

    Args:
        solvers: a run directory, a solver, several of them, or a mapping from row names to one or several (seeds).
            Runs of the same operator and options make one row.
        data: path of a data set, data set or solutions.
        steps: length of the rollouts.
        starts: shares of a case at which rollouts start, as numbers or fractions in words.
        baselines: whether to add persistence, mean field and interpolation, learnt from `train_split`; or such, fitted.
        examples: per subset, how many cases' rollouts from frame 0 to keep for pictures.

    Raises:
        InputError: no held-out case, a wrong argument, or a solver that does not fit the data.
    """
    if not isinstance(steps, int) or isinstance(steps, bool) or steps < 1:
        raise InputError(f"steps: expected a whole number >= 1, got {steps!r}")
    shares = [_share(s) for s in starts]
    groups = _groups(solvers)
    dataset = open_data(data)[0]
    first = next((r for runs in groups.values() for r in runs if isinstance(r, Surrogate)), None)
    fields = first.encoding.fields if first is not None and first.encoding is not None else None
    held = table(dataset, split, fields)
    if subset is not None:
        from sciml.solvers._fitting import select

        held = select(held, subset)
    if not held.cases:
        raise InputError(f"split: no case of the data set is in split {split!r}")
    if held.problem.steady:
        raise InputError(f"evaluate: {held.problem.name} is steady; compare solutions with sciml.metrics")
    rows: list[tuple[str, str, list[Any]]] = []
    if baselines is True:
        made: list[Baseline] = [Persistence(), MeanField(), ParameterInterpolation()]
        for b in made:
            b.fit(dataset, train_split, held.fields)
        rows += [(b.name, "baseline", [b]) for b in made]
    elif baselines:
        rows += [(b.name, "baseline", [b]) for b in baselines]
    rows += [(name, "learned" if isinstance(runs[0], Surrogate) else "solver", runs) for name, runs in groups.items()]
    return _Work(held, rows, shares, [str(s) for s in starts], steps, examples, progress).run()


def _share(value: str | float) -> float:
    try:
        number = float(Fraction(value)) if isinstance(value, str) else float(value)
    except (ValueError, ZeroDivisionError, TypeError):
        raise InputError(f"starts: expected shares such as 0, 1/4 or 0.5, got {value!r}") from None
    if not 0 <= number < 1:
        raise InputError(f"starts: expected shares in [0, 1), got {value!r}")
    return number


def _groups(solvers: Any) -> dict[str, list[Any]]:
    if isinstance(solvers, Mapping):
        found: dict[str, list[Any]] = {}
        for name, runs in solvers.items():
            several = runs if isinstance(runs, list | tuple) else [runs]
            found[str(name)] = [_solver(r) for r in several]
        return found
    several = list(solvers) if isinstance(solvers, list | tuple) else [solvers]
    found = {}
    kinds: dict[str, str] = {}
    for run in map(_solver, several):
        name, kind = run.name, f"{run.name} {id(run)}"
        if isinstance(run, Surrogate):
            name = run.operator_name
            kind = json.dumps([name, run.settings["options"], run.settings.get("parameters")], sort_keys=True)
        if kind not in kinds:
            taken, k = name, 2
            while taken in found:
                taken, k = f"{name} {k}", k + 1
            kinds[kind], found[taken] = taken, []
        found[kinds[kind]].append(run)
    return found


def _solver(run: Any) -> Any:
    if isinstance(run, str | Path):
        return load(run)
    if not isinstance(run, Solver):
        raise InputError(f"solvers: expected run directories or solvers, got {type(run).__name__}")
    return run


class _Work:
    def __init__(
        self,
        held: CaseTable,
        rows: list[tuple[str, str, list[Any]]],
        shares: list[float],
        names: list[str],
        steps: int,
        examples: int,
        progress: bool,
    ):
        self.held, self.rows, self.steps, self.examples, self.progress = held, rows, steps, examples, progress
        self.names, self.subsets = names, [str(s) for s in held.subsets]
        self.d = held.problem.dimensions
        self.truth = [held.frames(i) for i in range(len(held.cases))]
        self.mask = [held.mask(i) for i in range(len(held.cases))]
        self.rollouts: list[Rollout] = []
        for name, share in zip(names, shares, strict=True):
            for i, frames in enumerate(self.truth):
                frame = math.floor(share * (len(frames) - 1) + 1e-9)
                length = min(steps, len(frames) - 1 - frame)
                if length > 0:
                    self.rollouts.append(Rollout(i, self.subsets[i], name, frame, length))
        if not self.rollouts:
            raise InputError("data: no held-out case has two frames")

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
        if hasattr(solver, "rollout"):
            assert self.held.times is not None
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
        """Frames of one solution for each case, from its own beginning: a solver that cannot be restarted midway."""
        assert self.held.times is not None
        found = np.full((len(starts), steps, len(self.held.fields), *self.held.space), np.nan)
        for i in sorted({i for i, _ in starts}):
            case, times = self.held.cases[i], self.held.times[i]
            solution = solver.solve(case, times)
            values = np.stack([_onto(solution, name, self.held, i) for name in self.held.fields], axis=1)
            for k, (j, frame) in enumerate(starts):
                if j == i:
                    part = values[frame + 1 : frame + 1 + steps]
                    found[k, : len(part)] = part
        return found

    # -- errors -------------------------------------------------------------------------------------------------

    def run(self) -> Evaluation:
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
        return Evaluation(summary, errors, pictures)

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
        if not hasattr(solver, "rollout"):
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
        for _ in range(3 if hasattr(solver, "rollout") else 1):
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
            assert self.held.times is not None
            clock = self.held.times[rollout.case]
            passed = (clock[rollout.frame + 1 : rollout.frame + 1 + n] - clock[rollout.frame]) / case.scales.time
            if np.isfinite(p).all():
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
            if rollout.start == self.names[0] and seen[rollout.subset] < self.examples:
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
        subsets = ["all", *sorted(set(self.subsets))]
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
                    figures = [
                        _figures(square[a, b, rows_in][..., cut], absolute[a, b, rows_in][..., cut],
                                 label[rows_in][..., cut], scale[rows_in][:, cut])
                        for b in range(len(runs))
                    ]  # fmt: skip
                    by_field[f] = {k: _pooled([x[k] for x in figures]) for k in figures[0]}
                    row["one_step"][subset][f] = {
                        k: {"mean": v["mean"][0], "std": v["std"][0]} for k, v in by_field[f].items()
                    }
                    if every[a][0]:
                        one = [_every([run[i] for i in cases_in], [every_label[i] for i in cases_in], cut)
                               for run in every[a]]  # fmt: skip
                        row["every_frame"][subset][f] = {k: _pooled([x[k] for x in one]) for k in one[0]}
                row["correlation_time"][subset] = _times([x["correlation_time"][rows_in] for x in extra[a]])
                for part in ("spectrum_error", "divergence"):
                    row[part][subset] = _pooled([_nanmean(x[part][rows_in]) for x in extra[a]])
            row["seconds_per_step"] = {
                "batched": float(np.mean([s["batched"] for s in speed[a]])),
                "alone": float(np.mean([s["alone"] for s in speed[a]])),
            }
            rows.append(row)
        for row in rows:
            for subset in subsets:
                if reference is not None:
                    still = rows[reference]
                    row["gain"][subset] = _over(still["one_step"], row["one_step"], subset)
                    if row["every_frame"][subset]:
                        row["gain_every_frame"][subset] = _over(still["every_frame"], row["every_frame"], subset)
        truth = np.full((len(self.rollouts), self.steps), np.nan)
        if self.d == 2 and {"u", "v"} <= set(self.held.fields):
            for r, rollout in enumerate(self.rollouts):
                truth[r, : rollout.steps] = self._divergence(self._target(rollout), rollout.case)
        return {
            "protocol": " ".join((__doc__ or "").split("Protocol. ")[1].split("Several trained")[0].split()),
            "problem": self.held.problem.name,
            "fields": list(self.held.fields),
            "subsets": subsets,
            "cases": {s: sum(s in ("all", x) for x in self.subsets) for s in subsets},
            "rollouts": {s: sum(s in ("all", r.subset) for r in self.rollouts) for s in subsets},
            "steps": self.steps,
            "starts": self.names,
            "divergence_of_truth": _pooled([_nanmean(truth)]),
            "rows": rows,
        }

    def _cuts(self) -> list[tuple[str, slice]]:
        return [("joint", slice(None)), *((n, slice(i, i + 1)) for i, n in enumerate(self.held.fields))]

    def _reference(self) -> int | None:
        return next((a for a, (name, _, _) in enumerate(self.rows) if name == "persistence"), None)


def _figures(square: np.ndarray, absolute: np.ndarray, label: np.ndarray, scale: np.ndarray) -> dict[str, np.ndarray]:
    """Arrays (rollout, step, field), scale (rollout, field) -> figures over (step,)."""
    reached = np.asarray(np.isfinite(label).all(axis=-1))
    s = np.where(reached[..., None], square, 0.0)
    t = np.where(reached[..., None], label, 0.0)
    a = np.where(reached[..., None], absolute, 0.0)
    n = np.maximum(reached.sum(0), 1)
    pooled = _ratio(s.sum((0, 2)), t.sum((0, 2)))
    frames = _ratio(s.sum(2), t.sum(2))
    return {
        "nmse": pooled,
        "nmse_per_frame": np.where(reached, frames, 0.0).sum(0) / n,
        "relative_l2": np.sqrt(pooled),
        "mse": (s * scale[:, None] ** 2).mean(2).sum(0) / n,
        "mae": (a * scale[:, None]).mean(2).sum(0) / n,
    }


def _every(squares: list[np.ndarray], labels: list[np.ndarray], cut: slice) -> dict[str, np.ndarray]:
    s = np.concatenate([x[:, cut].sum(1) for x in squares])
    t = np.concatenate([x[:, cut].sum(1) for x in labels])
    return {"nmse": _ratio(s.sum(), t.sum()), "nmse_per_frame": _ratio(s, t).mean()}


def _ratio(a: Any, b: Any) -> np.ndarray:
    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    return np.asarray(np.where(b > 0, a / np.where(b > 0, b, 1.0), np.where(a > 0, np.inf, a * 0.0)))


def _over(still: dict[str, Any], mine: dict[str, Any], subset: str) -> dict[str, float]:
    found = {}
    for f in mine[subset]:
        for k in ("nmse", "nmse_per_frame"):
            found[f if k == "nmse" else f"{f} per frame"] = float(
                _ratio(still[subset][f][k]["mean"], mine[subset][f][k]["mean"])
            )
    return found


def _pooled(values: list[Any]) -> dict[str, Any]:
    """Mean and standard deviation over runs, as plain numbers or lists."""
    stack = np.stack([np.asarray(v, dtype=float) for v in values])
    return {"mean": stack.mean(0).tolist(), "std": stack.std(0).tolist()}


def _nanmean(values: np.ndarray) -> np.ndarray:
    """(rollout, step) -> (step,), over rollouts that reach the step; NaN where none does."""
    there = np.isfinite(values)
    return np.where(there, values, 0.0).sum(0) / np.where(there.any(0), there.sum(0), np.nan)


def _times(values: list[np.ndarray]) -> dict[str, float]:
    """Median over rollouts (∞ where more than half never lost it), and the share that never did."""
    every = np.concatenate(values)
    every = every[~np.isnan(every)]
    if not every.size:
        return {"median": math.nan, "never": math.nan}
    middle = np.sort(every)[(every.size - 1) // 2]
    return {"median": float(middle), "never": float(np.isinf(every).mean())}


def _onto(solution: xr.Dataset, name: str, held: CaseTable, i: int) -> np.ndarray:
    """A field of a solution on the grid of the data, by linear interpolation (linear beyond the outer cells)."""
    from scipy.interpolate import RegularGridInterpolator

    dims = [str(d) for d in held.dataset[held.fields[0]].dims[1:]]
    target = [positions(held.dataset, int(held.number[i]), d) for d in dims]
    values = np.asarray(solution[name].values, dtype=float)
    source = [np.asarray(solution[d].values, dtype=float) for d in dims]
    if all(len(a) == len(b) and np.allclose(a, b, rtol=1e-6) for a, b in zip(source, target, strict=True)):
        return values
    mesh = np.stack(np.meshgrid(*target, indexing="ij"), axis=-1)
    f = RegularGridInterpolator(tuple(source), np.moveaxis(values, 0, -1), bounds_error=False, fill_value=None)  # pyright: ignore[reportArgumentType]
    return np.moveaxis(f(mesh), -1, 0)


def _finite(value: Any) -> Any:
    """JSON knows neither ∞ nor NaN: they become null."""
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


__all__ = ["BASELINES", "Case", "Evaluation", "evaluate"]
