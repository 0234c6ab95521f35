"""Held-out errors of any solvers on one data set, by one protocol.

Protocol. From each held-out case rollouts start at the given shares of its frames (frame ⌊share·(T − 1)⌋ of T; by
default 0, a quarter and a half) with the true frame (and true history), and go `steps` steps or as far as the case has
frames. Predictions are asked for at the physical times of the data's frames; a step spans one frame, or as many as the
steps of all rows have as their least common multiple (`every`). With e the error and u the truth, both in the problem's
scales for the case, and ‖·‖² the mean square by the quadrature weights of the support (cell volumes, dual volumes of
nodes; 0 outside of a mask) and, for "joint", over fields:

- **nmse** of step k pools: Σ_rollouts ‖e_k‖² / Σ_rollouts ‖u_k‖², over the rollouts of a subset that reach step k.
- **nmse_per_frame** of step k is CFDBench's figure: the mean over those rollouts of ‖e_k‖² / ‖u_k‖².
- **one_step** is step 1 of these rollouts. **every_frame** are one-step errors from every frame of every case.
- **mse**, **mae** of step k are means in physical units (CFDBench's, over fluid cells), `relative_l2` is √nmse.
- **gain** is persistence's pooled nmse over the row's (steady problems: the mean field's).
- **correlation_time** is when the correlation with the truth, over the support and all fields, falls below 0.9.
- **seconds_per_step** is the time of prediction over steps: of all rollouts together (batched), and of one case by
  itself (alone; over at most 20 steps of its longest rollout, which solvers on grids of their own march in one go).

Every row starts from the same true frame, but for solvers that cannot be restarted (`restarts` is false): those are
solved once from the case's own beginning, and held against the truth at the same frames. An answer to a steady problem
counts as one step of a rollout: step 1 is the solution, and there are no starts.

Several trained runs of one model (all is equal but the seed) make one row: figures are means over runs, with their
standard deviation.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import xarray as xr

from sciml.data import schema
from sciml.errors import InputError, is_whole
from sciml.evaluation._blocking import sampling_error
from sciml.evaluation._fitting_statistics import particle_statistics, statistics_for
from sciml.evaluation._particles import followed, spacing_of
from sciml.evaluation._profile_error import profile_error
from sciml.evaluation._statistic import Statistic
from sciml.evaluation._statistics_of import statistics_of
from sciml.evaluation._summary import Row
from sciml.evaluation._work import Comparison, check_fields
from sciml.evaluation.certificate import Certificate, certificate
from sciml.evaluation.correlations import Correlations
from sciml.evaluation.coverage import Coverage, coverage, resplits
from sciml.evaluation.energy_history import EnergyHistory
from sciml.evaluation.particle_errors import ParticleErrors
from sciml.evaluation.particle_history import ParticleHistory
from sciml.evaluation.profiles import Profiles
from sciml.evaluation.shell_spectra import ShellSpectra
from sciml.evaluation.spectra import Spectra
from sciml.solver import Solver, TrainableSolver
from sciml.solvers.baselines import Baseline, MeanField, Persistence
from sciml.solvers.interpolation import ParameterInterpolation
from sciml.solvers.surrogate import load
from sciml.training.checkpoint import replace_bytes
from sciml.training.samples import CaseTable, open_data, table

PROTOCOL = " ".join((__doc__ or "").partition("Protocol. ")[2].partition("Several trained")[0].split())


@dataclass
class Evaluation:
    """What `evaluate` found.

    Args:
        summary: JSON-able: protocol, and for each row the figures by subset and field.
        errors: per row, run, rollout, step and field: `error_square`, `absolute_error` (in the problem's scales) and
            `label_square`, `scale`, from which every figure can be pooled anew; per row, run, held-out case and field
            `every_frame_square` and `every_frame_label` of one step from every frame.
        examples: for some rollouts truth and predictions (step, field, *shape) in physical units, by row, with their
            case, `support` and times.
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
    statistics: Sequence[Statistic] | None = None,
    every_frame: bool = True,
) -> Evaluation:
    """Compare solvers on held-out cases (see the module for the protocol).

    Args:
        solvers: a run directory, a solver, several of them, or a mapping from row names to one or several (seeds).
            Runs that differ in their seed alone make one row, called by the operator's title.
        data: path of a data set, data set or solutions.
        steps: length of the rollouts, or less if no held-out case is that long; problems in time alone.
        starts: shares of a case at which rollouts start, as numbers or fractions in words; problems in time alone.
        baselines: whether to add persistence (in time), mean field and interpolation, learnt from `train_split`
            (left out with a warning where that has no case); or such, fitted.
        examples: per subset, how many cases' rollouts from frame 0 to keep for pictures.
        statistics: what else to gather from the frames of every row and of the truth; see `Statistic`. None for
            `ParticleHistory` and `ParticleErrors` of particles, and for nothing else; a flow's cost more, and come from
            `statistics_for`.
        every_frame: whether to take one step from every frame, too; without it those figures are left out.

    Raises:
        InputError: no held-out case, a wrong argument, or a solver that does not fit the data.
    """
    if not is_whole(steps) or steps < 1:
        raise InputError(f"steps: expected a whole number >= 1, got {steps!r}")
    if not is_whole(examples) or examples < 0:
        raise InputError(f"examples: expected a whole number >= 0, got {examples!r}")
    if isinstance(starts, str) or not isinstance(starts, Iterable):
        raise InputError(f"starts: expected shares such as ('0', '1/4'), got {starts!r}")
    named = [(str(s), _share(s)) for s in starts]
    groups = _groups(solvers)
    dataset = open_data(data)[0]
    learned = [r for runs in groups.values() for r in runs if isinstance(r, TrainableSolver)]
    held = table(dataset, split, next((r.predicted for r in learned if r.predicted is not None), None))
    if "all" in held.subsets and len(set(held.subsets)) > 1:
        raise InputError("subset: one is called 'all', which stands for all of them; expected another name")
    held = held.select(subset)
    if not held.cases:
        there = sorted({str(s) for s in schema.flag_names(dataset["split"])}) if "split" in dataset else []
        raise InputError(
            f"split: no case of the data set is in split {split!r}" + (f"; it has cases in {there}" if there else "")
        )
    rows = _baselines(baselines, dataset, held, train_split)
    rows += [_row(name, runs) for name, runs in groups.items()]
    names = [row.name for row in rows]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"solvers: two rows are called {name!r}, expected names that differ")
    if not rows:
        raise InputError("solvers: expected at least one, got none")
    check_fields(rows, held.fields)
    statistics = particle_statistics(held.cases, held.fields) if statistics is None else statistics
    for statistic in statistics:
        if not isinstance(statistic, Statistic):
            raise InputError(f"statistics: expected objects of sciml.evaluation.Statistic, got {statistic!r:.60}")
        statistic.begin(held.fields)
    comparison = Comparison(held, rows, named, steps, examples, progress, statistics, every_frame)
    summary, errors, pictures = comparison.run()
    gathered = {s.name: s.result() for s in statistics}
    return Evaluation({"protocol": PROTOCOL, **summary, "statistics": gathered}, errors, pictures)


def _baselines(
    wanted: bool | Sequence[Baseline] | Baseline, dataset: xr.Dataset, held: CaseTable, train_split: str
) -> list[Row]:
    """Rows of what needs no training; one that cannot do with the training data is left out with a warning."""
    if not isinstance(wanted, bool):
        several = list(wanted) if isinstance(wanted, Iterable) else [wanted]
        for b in several:
            if not isinstance(b, Baseline):
                raise InputError(f"baselines: expected True, False or fitted baselines, got {type(b).__name__}")
        return [_baseline(b) for b in several]
    if not wanted:
        return []
    if not table(dataset, train_split, held.fields).cases:
        warnings.warn(
            f"no case of the data set is in split {train_split!r}: nothing is held against baselines", stacklevel=3
        )
        return []
    rows = []
    kinds: list[type[Baseline]] = [MeanField, ParameterInterpolation]
    for kind in kinds if held.problem.steady else [Persistence, *kinds]:
        made = kind()
        try:
            made.fit(dataset, split=train_split, fields=held.fields)
        except InputError as error:
            warnings.warn(f"no row {made.name}: {error}", stacklevel=3)
            continue
        rows.append(_baseline(made))
    return rows


def _baseline(solver: Baseline) -> Row:
    return Row(solver.name, "baseline", [solver], fields_of=lambda b: b.fields or None)


def _row(name: str, runs: list[Any]) -> Row:
    if isinstance(runs[0], TrainableSolver):
        return Row(name, "learned", runs, lambda run: run.predicted, lambda run: run.training)
    return Row(name, "solver", runs)


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
            if not several:
                raise InputError(f"solvers: {name!r} has no run")
            found[str(name)] = [_solver(r) for r in several]
        return found
    several = list(solvers) if isinstance(solvers, list | tuple) else [solvers]
    found = {}
    kinds: dict[str, str] = {}
    for number, run in enumerate(map(_solver, several)):
        name = run.title or run.name
        kind = json.dumps(run.identity, sort_keys=True) if isinstance(run, TrainableSolver) else str(number)
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


def _finite(value: Any) -> Any:
    """JSON knows neither ∞ nor NaN: they become null."""
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


__all__ = [
    "Certificate", "Correlations", "Coverage", "EnergyHistory", "Evaluation", "ParticleErrors", "ParticleHistory",
    "Profiles", "ShellSpectra", "Spectra", "Statistic", "certificate", "coverage", "evaluate", "followed",
    "profile_error", "resplits", "sampling_error", "spacing_of", "statistics_for", "statistics_of",
]  # fmt: skip
