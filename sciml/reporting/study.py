"""What a report is drawn from: rows compared on the same rollouts, samples, runs and facts, all plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sciml.problem import Profile
from sciml.reporting.stage import Followed
from sciml.support import Support

ALL = "all"


@dataclass(frozen=True)
class Row:
    """One thing that predicts.

    Args:
        name: unique, for instance "fno, seed 1".
        model: what seeds of one model share, for instance "fno"; figures and tables show models.
        kind: "baseline" (no training, no solver), "reference" (a numerical solver) or "surrogate".
        seconds_per_step: wall-clock time of one step of one case, NaN where it was not taken.
        training_seconds: wall-clock time of training, NaN without.
        weights: number of trained numbers, 0 without.
    """

    name: str
    model: str
    kind: str
    seed: int | None = None
    seconds_per_step: float = float("nan")
    training_seconds: float = float("nan")
    weights: int = 0


@dataclass(frozen=True)
class Bars:
    """What the error bars of a model came to on held-out cases.

    Args:
        nominal: the coverage that was promised; `promise` says of what, in words.
        per: "point" or "field", of which the promise is.
        cases: held-out cases; `calibrated` those that the bars were made from.
        per_point: field -> mean share of the field inside; per_field: field -> share of cases that are wholly inside.
        width: field -> mean width in its unit; relative: over the root mean square of the truth.
        levels: (L,) other coverages; observed: field -> (L,) what bands of these would have come to.
    """

    nominal: float
    promise: str
    per: str
    cases: int
    calibrated: int
    per_point: Mapping[str, float]
    per_field: Mapping[str, float]
    width: Mapping[str, float]
    relative: Mapping[str, float]
    levels: np.ndarray
    observed: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Sample:
    """One held-out case with its truth and the predictions of some rows over the same frames.

    Args:
        times: (T,) in `time_unit`, the first one being the start of the rollout.
        support: where the values live; of nodes that move, at the last of the times.
        truth: field -> (T, *support.shape).
        predictions: model -> field -> (T, *support.shape).
        plane: of a sample cut from one in space, where, as the end of a phrase.
        bands: model -> field -> (T, *support.shape) half widths of its error bars, where it has any.
        audits: model or "truth" -> rows of `sciml.audit(...).to_dict()`; `notes` what these could not check.
        moving: whether nodes move from frame to frame.
        followed: of particles whose displacements are among the fields, how their places follow from these.
        profiles: lines along which the problem wants fields drawn; none for the centre lines of a velocity.
        quantities: numbers over time that the truth tells beside its fields: name -> (description, unit, (T,) values).
    """

    label: str
    subset: str
    times: np.ndarray
    support: Support
    truth: Mapping[str, np.ndarray]
    predictions: Mapping[str, Mapping[str, np.ndarray]]
    parameters: Mapping[str, float] = field(default_factory=dict)
    audits: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    notes: Sequence[str] = ()
    start: int = 0
    moving: bool = False
    profiles: Sequence[Profile] = ()
    quantities: Mapping[str, tuple[str, str, np.ndarray]] = field(default_factory=dict)
    bands: Mapping[str, Mapping[str, np.ndarray]] = field(default_factory=dict)
    plane: str = ""
    followed: Followed | None = None


@dataclass(frozen=True)
class Run:
    """One training run: where it is, its settings, and the records of its training (`metrics.jsonl`)."""

    name: str
    model: str
    path: str = ""
    operator: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    history: Sequence[Mapping[str, Any]] = ()
    command: str = ""


@dataclass(frozen=True)
class Benchmark:
    """A numerical solution beside a published table, for instance Ghia, Ghia and Shin (1982).

    Args:
        title: what is shown, for instance "u, vertical centre line, Re 100".
        name, source: of the solver and of the table.
        x, y: the solver's profile; points: the table's (abscissa, ordinate).
        deviation: largest distance of the profile from the table, in the unit of y.
    """

    title: str
    name: str
    source: str
    xlabel: str
    ylabel: str
    x: np.ndarray
    y: np.ndarray
    points: tuple[np.ndarray, np.ndarray]
    deviation: float
    upright: bool = False


@dataclass(frozen=True)
class Study:
    """Everything on the page.

    Args:
        fields: name -> unit.
        subsets: names in the order to show; a steady problem has rollouts of one "step", the answer.
        square: (row, rollout, step) mean square error in the problem's scales, summed over fields; NaN where missing.
        label: (rollout, step) the same of the truth; NaN beyond the end of a rollout.
        rollout_subset: (rollout,) subset of each.
        rollout_features: name -> (rollout,) numbers to draw the error over (Reynolds number, aspect ratio, ...).
        facts: about the data, (name, value) as text.
        settings, versions: as text; command: what makes this page again.
        velocity: fields that are the components of a velocity, in the order x, y, z.
        phase: the field that is a volume fraction; "" where there is one fluid.
        still: the row that repeats the last state, where there is one.
        equations: whether the problem states any, so that an audit holds solutions against them.
        on_nodes: whether the data live on nodes, where no reference solver is run and no equation is audited.
        more: model -> name -> text: further figures for a table of their own.
        bars: model -> what its error bars came to, of those that have any.
        statistics: name -> result of each statistic of an evaluation.
    """

    title: str
    data_name: str
    fields: Mapping[str, str]
    rows: Sequence[Row]
    subsets: Sequence[str]
    square: np.ndarray
    label: np.ndarray
    rollout_subset: Sequence[str]
    rollout_features: Mapping[str, np.ndarray] = field(default_factory=dict)
    rollout_case: Sequence[int] = ()
    samples: Sequence[Sample] = ()
    runs: Sequence[Run] = ()
    benchmarks: Sequence[Benchmark] = ()
    facts: Sequence[tuple[str, str]] = ()
    settings: Sequence[tuple[str, str]] = ()
    versions: Sequence[tuple[str, str]] = ()
    command: str = ""
    time_unit: str = "s"
    length_unit: str = "m"
    steady: bool = False
    split: str = "test"
    starts: str = ""
    threads: int = 0
    more: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    velocity: Sequence[str] = ()
    phase: str = ""
    equations: bool = True
    still: str | None = None
    on_nodes: bool = False
    bars: Mapping[str, Bars] = field(default_factory=dict)
    statistics: Mapping[str, Any] = field(default_factory=dict)

    @property
    def models(self) -> list[tuple[str, str]]:
        """(model, kind) of all rows, each once, in their order."""
        return list(dict.fromkeys((row.model, row.kind) for row in self.rows))

    def members(self, model: str) -> list[int]:
        """Indices of the rows (seeds) of a model."""
        return [i for i, row in enumerate(self.rows) if row.model == model]

    def one_step_of(self, model: str, subset: str = ALL) -> np.ndarray:
        """One-step NMSE of every seed of a model, pooled over the rollouts of a subset; finite values only."""
        values = self.rollout_of(model, subset)
        values = values[:, 0] if values.shape[1] else np.zeros(0)
        return values[np.isfinite(values)]

    def rollout_of(self, model: str, subset: str = ALL) -> np.ndarray:
        """(seed, step) NMSE, pooled: Σ error² / Σ truth² over the rollouts of a subset that reach the step."""
        pick = np.array([subset in (ALL, s) for s in self.rollout_subset], dtype=bool)
        label = self.label[pick]
        reached = np.isfinite(label)
        square = np.where(reached, self.square[self.members(model)][:, pick], 0.0)
        total = np.where(reached, label, 0.0).sum(axis=0)
        return np.where(total > 0, square.sum(axis=1) / np.where(total > 0, total, 1.0), np.nan)

    def each_rollout(self, model: str) -> np.ndarray:
        """(rollout,) NMSE over all steps of each rollout, the mean over seeds."""
        reached = np.isfinite(self.label)
        square = np.where(reached, self.square[self.members(model)], 0.0).sum(axis=2)
        total = np.where(reached, self.label, 0.0).sum(axis=1)
        return np.where(total > 0, square.mean(axis=0) / np.where(total > 0, total, 1.0), np.nan)

    def each_case(self, model: str, subset: str = ALL) -> np.ndarray:
        """(case,) NMSE pooled over all rollouts of a case and their steps, the mean over seeds."""
        pick = np.array([subset in (ALL, s) for s in self.rollout_subset], dtype=bool)
        owner = np.asarray(self.rollout_case) if len(self.rollout_case) else np.arange(len(pick))
        _, owner = np.unique(owner[pick], return_inverse=True)
        reached = np.isfinite(self.label[pick])
        square = np.where(reached, self.square[self.members(model)][:, pick], 0.0).sum(axis=2).mean(axis=0)
        total = np.where(reached, self.label[pick], 0.0).sum(axis=1)
        square, total = np.bincount(owner, weights=square), np.bincount(owner, weights=total)
        return np.where(total > 0, square / np.where(total > 0, total, 1.0), np.nan)

    @property
    def steps(self) -> int:
        """Steps of the rollouts; 1 for a steady problem."""
        return self.label.shape[1]

    @property
    def surrogates(self) -> list[str]:
        return [model for model, kind in self.models if kind == "surrogate"]

    @property
    def unlearned(self) -> list[str]:
        """Models that need neither training nor a solver."""
        return [model for model, kind in self.models if kind == "baseline"]

    @property
    def references(self) -> list[str]:
        """Numerical solvers."""
        return [model for model, kind in self.models if kind == "reference"]

    @property
    def hardest(self) -> str:
        """The subset in which repeating the last state (else the first row without training) errs most."""
        bar = self.still or next(iter(self.unlearned), None)
        scores = {s: self.score(bar, s) for s in self.subsets} if bar is not None else {}
        scores = {s: v for s, v in scores.items() if np.isfinite(v)}
        return max(scores, key=lambda s: scores[s]) if scores else ALL

    @property
    def best(self) -> str | None:
        """The surrogate with the least error over the rollouts."""
        scores = {model: self.score(model) for model in self.surrogates}
        scores = {model: value for model, value in scores.items() if np.isfinite(value)}
        return min(scores, key=lambda model: scores[model]) if scores else next(iter(self.surrogates), None)

    def score(self, model: str, subset: str = ALL) -> float:
        """Mean NMSE over the steps of the rollouts, and over seeds."""
        values = self.rollout_of(model, subset)
        return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")

    def cost(self, model: str) -> float:
        """Seconds a step and case, the mean over seeds."""
        values = [self.rows[i].seconds_per_step for i in self.members(model)]
        values = [v for v in values if np.isfinite(v)]
        return float(np.mean(values)) if values else float("nan")
