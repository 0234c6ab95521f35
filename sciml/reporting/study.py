"""What a report is drawn from: rows compared on the same rollouts, samples, runs and facts, all plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

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
class Sample:
    """One held-out case with its truth and the predictions of some rows over the same frames.

    Args:
        times: (T,) in `time_unit`, the first one being the start of the rollout.
        coords: axis -> positions, in the order of the space axes, for instance {"y": ..., "x": ...}.
        extents: axis -> (low, high) of the domain.
        truth: field -> (T, *space).
        predictions: model -> field -> (T, *space).
        audits: model or "truth" -> rows of `sciml.audit(...).to_dict()`.
    """

    label: str
    subset: str
    times: np.ndarray
    coords: Mapping[str, np.ndarray]
    extents: Mapping[str, tuple[float, float]]
    truth: Mapping[str, np.ndarray]
    predictions: Mapping[str, Mapping[str, np.ndarray]]
    parameters: Mapping[str, float] = field(default_factory=dict)
    audits: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    mask: np.ndarray | None = None
    start: int = 0


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
        title: what is shown, for instance "u on the vertical centre line, Re = 100".
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
        subsets: names in the order to show; errors for `ALL` of them together come first in `one_step`.
        one_step: (row, 1 + subset) NMSE of one step over every pair of frames; NaN where a row has none.
        rollout: (row, rollout, step) NMSE of every rollout; NaN where it is missing.
        rollout_subset: (rollout,) subset of each.
        rollout_features: name -> (rollout,) numbers to draw the error over (Reynolds number, aspect ratio, ...).
        facts: about the data, (name, value) as text.
        settings, versions: as text; command: what makes this page again.
    """

    title: str
    data_name: str
    fields: Mapping[str, str]
    rows: Sequence[Row]
    subsets: Sequence[str]
    one_step: np.ndarray
    rollout: np.ndarray
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

    @property
    def models(self) -> list[tuple[str, str]]:
        """(model, kind) of all rows, each once, in their order."""
        return list(dict.fromkeys((row.model, row.kind) for row in self.rows))

    def members(self, model: str) -> list[int]:
        """Indices of the rows (seeds) of a model."""
        return [i for i, row in enumerate(self.rows) if row.model == model]

    def one_step_of(self, model: str, subset: str = ALL) -> np.ndarray:
        """One-step NMSE of every seed of a model, finite values only."""
        column = 0 if subset == ALL else 1 + list(self.subsets).index(subset)
        values = self.one_step[self.members(model), column]
        return values[np.isfinite(values)]

    def rollout_of(self, model: str, subset: str = ALL) -> np.ndarray:
        """(seed, step) NMSE, the mean over the rollouts of a subset. A step that any rollout lacks is NaN."""
        if self.rollout.size == 0:
            return np.full((len(self.members(model)), 0), np.nan)
        pick = np.array([subset in (ALL, s) for s in self.rollout_subset], dtype=bool)
        chosen = self.rollout[self.members(model)][:, pick]
        if chosen.shape[1] == 0:
            return np.full((chosen.shape[0], chosen.shape[2]), np.nan)
        return chosen.mean(axis=1)

    @property
    def steps(self) -> int:
        return self.rollout.shape[2] if self.rollout.ndim == 3 else 0

    @property
    def surrogates(self) -> list[str]:
        return [model for model, kind in self.models if kind == "surrogate"]

    @property
    def unlearned(self) -> list[str]:
        """Models that need neither training nor a solver."""
        return [model for model, kind in self.models if kind == "baseline"]

    @property
    def best(self) -> str | None:
        """The surrogate with the least error: over the rollouts, or of one step where there are none."""
        scores = {model: self.score(model) for model in self.surrogates}
        scores = {model: value for model, value in scores.items() if np.isfinite(value)}
        return min(scores, key=lambda model: scores[model]) if scores else next(iter(self.surrogates), None)

    def score(self, model: str, subset: str = ALL) -> float:
        """Mean NMSE over all steps of the rollouts and seeds; of one step where there are no rollouts."""
        values = self.rollout_of(model, subset)
        if values.size and np.isfinite(values).any():
            return float(np.nanmean(values))
        found = self.one_step_of(model, subset)
        return float(found.mean()) if found.size else float("nan")

    def cost(self, model: str) -> float:
        """Seconds a step and case, the mean over seeds."""
        values = [self.rows[i].seconds_per_step for i in self.members(model)]
        values = [v for v in values if np.isfinite(v)]
        return float(np.mean(values)) if values else float("nan")
