"""How a learned solver sees a case: channels, features, scales and the time step; stored with its weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from sciml import registry
from sciml.errors import FileFormatError, InputError
from sciml.geometry import Grid
from sciml.problem import Case, PDEProblem
from sciml.solvers._physics import PhysicsChannels
from sciml.training.normalisation import FeatureScaler, FieldScaler
from sciml.training.samples import CaseTable, TimeStep, feature_names, feature_table, static_inputs, time_step


@dataclass(frozen=True)
class Encoding:
    """Everything between physical units and the operator's tensors.

    A field goes through the problem's scale for its case first, then through a scale of the training split. What an
    autoregressive model predicts is an increment, in units of the training split's increments.

    Args:
        step: None for steady problems.
        space: grid shape that the model was trained on.
        increment: (field,) root mean square of the increments of the normalised fields.
        frames: one more than the number of the last step that a training case reaches, from time zero.
        follows: whether the input fields of all training cases lay on the grid of their solutions; then answers to a
            case lie on the grid of its input fields, else on that of the training data.
    """

    problem: PDEProblem
    fields: tuple[str, ...]
    history: int
    residual: bool
    step: TimeStep | None
    space: tuple[int, ...]
    state: FieldScaler
    increment: np.ndarray
    static: FieldScaler
    features: FeatureScaler
    masked: bool
    frames: int
    physics: bool = False
    follows: bool = True

    @cached_property
    def channels(self) -> PhysicsChannels | None:
        """The equations' hints, if the surrogate takes them."""
        return PhysicsChannels(self.problem, self.fields) if self.physics else None

    @property
    def in_channels(self) -> int:
        state = 0 if self.step is None else self.history * len(self.fields)
        hints = 0 if self.channels is None else self.channels.count
        return max(state + len(self.static.names) + hints, 1)

    # -- from training data -------------------------------------------------------------------------------------

    @classmethod
    def fit(
        cls, table: CaseTable, history: int, residual: bool, odd: Sequence[str] = (), physics: bool = False
    ) -> Encoding:
        """From the training split alone, in two passes over its frames.

        Args:
            odd: features that change sign under a reflection used as augmentation; their mean stays zero.
        """
        problem = table.problem
        if not table.cases:
            raise InputError("data: the training split has no cases")
        step = None if problem.steady else time_step(table)
        state = FieldScaler.fit(table.fields, table.chunks(), centred=problem.steady)
        increment = np.ones(len(table.fields))
        if step is not None and residual:
            moves = ((np.diff(f, axis=0), m) for f, m in table.chunks() if len(f) > 1)
            increment = FieldScaler.fit(table.fields, moves).scale / state.scale
        names = static_inputs(problem)
        static = FieldScaler.fit(names, _statics(table, names), centred=True) if names else _nothing()
        feature = feature_names(table.cases[0], step)
        rows = [
            feature_table(case, _starts(table, i), step, feature) for i, case in enumerate(table.cases)
        ]  # fmt: skip
        features = (
            FeatureScaler.fit(feature, np.concatenate(rows)) if feature else FeatureScaler((), *[np.zeros(0)] * 4)
        )
        if odd:
            at = [feature.index(name) for name in odd if name in feature]
            square = np.sqrt((np.concatenate(rows)[:, at] ** 2).mean(0))
            features.mean[at], features.std[at] = 0.0, np.where(square > 1e-9, square, 0.0)
            furthest = np.maximum(np.abs(features.lower[at]), np.abs(features.upper[at]))
            features.lower[at], features.upper[at] = -furthest, furthest
        masked = "mask" in table.dataset.variables
        given = [value for c in table.cases for n in names if isinstance(value := c.inputs.get(n), np.ndarray)]
        follows = all(value.shape == tuple(table.space) for value in given)
        return cls(
            problem, table.fields, history, residual, step, table.space, state, increment, static, features, masked,
            _frames(table, step), physics, follows,
        )  # fmt: skip

    # -- one case -----------------------------------------------------------------------------------------------

    def scales(self, case: Case) -> np.ndarray:
        found = case.scales.fields
        return np.array([found.get(name, 1.0) for name in self.fields])

    def normalise(self, case: Case, values: np.ndarray) -> np.ndarray:
        """(..., field, *space) physical -> float32 normalised."""
        d = self.problem.dimensions
        scaled = np.asarray(values, dtype=np.float64) / self.scales(case).reshape((-1,) + (1,) * d)
        return self.state.normalise(scaled, d)

    def restore(self, case: Case, values: np.ndarray) -> np.ndarray:
        """(..., field, *space) normalised -> float32 physical."""
        d = self.problem.dimensions
        return (self.state.restore(values, d) * self.scales(case).reshape((-1,) + (1,) * d)).astype(np.float32)

    def params(self, case: Case, times: np.ndarray) -> np.ndarray:
        """(time, feature) for the steps that start at these times, and behind them what the physics channels need."""
        features = self.features.normalise(feature_table(case, np.atleast_1d(times), self.step, self.features.names))
        if self.channels is None or self.step is None:
            return features
        hints = self.channels.context(case, np.atleast_1d(times), self.step.of(case))
        return np.concatenate([features, hints.astype(np.float32)], axis=1)

    def doubts(self, case: Case, times: np.ndarray) -> list[str]:
        """Why an answer for the steps that start at these times is not to be relied on: what training never saw."""
        raw = feature_table(case, np.atleast_1d(times), self.step, self.features.names)
        found = []
        for name in self.features.constant_but_different(raw):
            i = self.features.names.index(name)
            value = raw[np.argmax(np.abs(raw[:, i] - self.features.mean[i])), i]
            found.append(
                f"{name} is {value:g}, but was {self.features.mean[i]:g} throughout the training data: "
                "the model knows nothing of its influence"
            )
        for name, value in self.features.beyond(raw):
            i = self.features.names.index(name)
            low, high = self.features.lower[i], self.features.upper[i]
            found.append(f"{name} is {value:.4g}, beyond the training data's {low:.4g} to {high:.4g}")
        if self.step is not None:
            last = round(float(np.max(times)) / self.step.of(case)) + 1
            if last > self.frames - 1:
                dt, unit = self.step.of(case), case.problem.time_unit
                found.append(
                    f"goes on to {last * dt:g} {unit}, but training cases end at {(self.frames - 1) * dt:g} {unit} "
                    f"({self.frames - 1} steps)"
                )
        return found

    def inputs(self, case: Case, grid: Grid) -> np.ndarray | None:
        """(channel, *space) static input fields, normalised."""
        if not self.static.names:
            return None
        values = np.stack([case.input_on(name, grid) for name in self.static.names])
        return self.static.normalise(values, self.problem.dimensions)

    def mask(self, case: Case, grid: Grid) -> np.ndarray | None:
        """(1, *space) 1 where fluid, for models trained with masks."""
        return case.geometry.mask(grid)[None].astype(np.float32) if self.masked else None

    def grid(self, case: Case) -> Grid:
        """The grid of the training data or, where the case brings input fields and `follows`, theirs."""
        shape = self.space
        for name in self.static.names if self.follows else ():
            value = case.inputs.get(name)
            if isinstance(value, np.ndarray) and value.ndim == len(shape):
                shape = value.shape
        return Grid.uniform(case.geometry, tuple(int(n) for n in shape))

    # -- files --------------------------------------------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        return {
            "problem": self.problem.name,
            "problem_options": self.problem.options,
            "fields": list(self.fields),
            "history": self.history,
            "residual": self.residual,
            "step": None if self.step is None else {"kind": self.step.kind, "value": self.step.value},
            "space": list(self.space),
            "state": self.state.to_json(),
            "increment": self.increment.tolist(),
            "static": self.static.to_json(),
            "features": self.features.to_json(),
            "masked": self.masked,
            "frames": self.frames,
            "physics": self.physics,
            "follows": self.follows,
        }

    @classmethod
    def from_json(cls, c: dict[str, Any], where: str) -> Encoding:
        try:
            return cls(
                registry.problems.get(c["problem"])(**c["problem_options"]),
                tuple(c["fields"]),
                int(c["history"]),
                bool(c["residual"]),
                None if c["step"] is None else TimeStep(str(c["step"]["kind"]), float(c["step"]["value"])),
                tuple(int(n) for n in c["space"]),
                FieldScaler.from_json(c["state"]),
                np.array(c["increment"], dtype=float),
                FieldScaler.from_json(c["static"]),
                FeatureScaler.from_json(c["features"]),
                bool(c["masked"]),
                int(c["frames"]),
                bool(c["physics"]),
                bool(c["follows"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise FileFormatError(f"{where}: entry {error} is missing or cannot be used") from None


def _nothing() -> FieldScaler:
    return FieldScaler((), np.zeros(0), np.zeros(0))


def _frames(table: CaseTable, step: TimeStep | None) -> int:
    if step is None or table.times is None:
        return 1
    return max(round(float(t[-1]) / step.of(c)) for c, t in zip(table.cases, table.times, strict=True)) + 1


def _starts(table: CaseTable, i: int) -> np.ndarray:
    return np.zeros(1) if table.times is None else table.times[i]


def _statics(table: CaseTable, names: Sequence[str]) -> Any:
    for i, case in enumerate(table.cases):
        grid = table.grid(i)
        yield np.stack([case.input_on(name, grid) for name in names])[None], table.mask(i)
