"""From what sensors measured, in physical units, to what operators take, and back."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import torch
from jaxtyping import Float

from sciml.contracts import SensorBatch, Signature
from sciml.errors import InputError, is_number, positive
from sciml.problem import Case, Problem, rebuild
from sciml.support import Support
from sciml.training.normalisation import FeatureScaler, FieldScaler
from sciml.training.samples import CaseTable, TimeStep, feature_table, features


@dataclass(frozen=True)
class Sensors:
    """What training draws for each of its samples.

    Args:
        share: least and largest share of a case's points at which sensors stand.
        instants: at which they measure, in one sample.
        gap: frames of the data from one instant to the next, 1, 2, ..., `gap` of them, drawn for each.
        queries: points of space and time at which answers are compared.

    Raises:
        InputError: an argument out of range.
    """

    share: tuple[float, float] = (0.05, 0.25)
    instants: int = 8
    gap: int = 6
    queries: int = 256

    def __post_init__(self) -> None:
        s = self.share
        if not (isinstance(s, tuple | list) and len(s) == 2 and all(is_number(a) for a in s) and 0 < s[0] <= s[1] <= 1):
            raise InputError(f"share: expected two numbers, 0 < least <= most <= 1, got {s!r}")
        object.__setattr__(self, "share", (float(s[0]), float(s[1])))
        for name in ("instants", "gap", "queries"):
            object.__setattr__(self, name, positive(name, getattr(self, name)))


@dataclass(frozen=True)
class SensorEncoding:
    """Everything between frames and an operator's tensors. Positions count from the lower corner of a case's domain, in
    units of its longest extent; times from the first instant, in units of the mean time between instants in training.

    Args:
        problem: whose cases these are.
        fields: that are measured, and answered.
        sensors: what training draws.
        unit: of time.
        state: scaler of the fields.
        scales: scaler of the problem's dimensionless numbers.
        dtype: of the operator's tensors.
    """

    problem: Problem
    fields: tuple[str, ...]
    sensors: Sensors
    unit: TimeStep
    state: FieldScaler
    scales: FeatureScaler
    dtype: str = "float32"

    @classmethod
    def fit(cls, table: CaseTable, sensors: Sensors, dtype: str = "float32") -> Self:
        """From the training split alone.

        Raises:
            InputError: data of a steady problem, or with fewer frames than instants.
        """
        problem = table.problem
        if problem.steady or table.times is None:
            raise InputError(f"data: {problem.name} is steady, expected fields that change in time")
        if table.moving:
            raise InputError("data: nodes move from frame to frame, expected points that stay")
        if min(table.length) < sensors.instants + 1:
            raise InputError(
                f"instants: expected fewer than the {min(table.length)} frames of the shortest case, got "
                f"{sensors.instants}"
            )
        steps = np.array([(t[-1] - t[0]) / (len(t) - 1) for t in table.times]) * (1 + sensors.gap) / 2
        scaled = steps / np.array([c.scales.time for c in table.cases])
        unit = TimeStep("nondimensional", float(scaled.mean())) if problem.scaled else TimeStep(
            "physical", float(steps.mean()))  # fmt: skip
        rows, names = [], ()
        for case, times in zip(table.cases, table.times, strict=True):
            dt = unit.of(case)
            names = tuple(features(case, times[:1], dt)[0])
            rows.append(feature_table(case, times[:1], dt, names))
        state = FieldScaler.fit(table.fields, table.chunks())
        return cls(problem, table.fields, sensors, unit, state, FeatureScaler.fit(names, np.concatenate(rows)), dtype)

    # -- what it is ---------------------------------------------------------------------------------------------

    @property
    def dimensions(self) -> int:
        return self.problem.dimensions

    @cached_property
    def torch_dtype(self) -> torch.dtype:
        return getattr(torch, self.dtype)

    def signature(self) -> Signature:
        n = len(self.fields)
        return Signature(n, n, self.dimensions, n_params=len(self.scales.names))

    def doubts(self, case: Case, start: float) -> list[str]:
        """Why an answer may be worthless."""
        raw = feature_table(case, np.array([start]), self.unit.of(case), self.scales.names)
        return self.scales.doubts(raw)

    # -- numbers ------------------------------------------------------------------------------------------------

    def places(self, case: Case, points: np.ndarray, support: Support | None = None) -> Float[np.ndarray, "point axis"]:
        """Positions (N, D) from the lower corner of the domain, in units of its longest extent."""
        known = support is None or not case.problem.needs_extents or case.extents is not None
        low, high = np.array(case.geometry.extents if known or support is None else support.extents, float).T
        return (np.asarray(points, float) - low) / (high - low).max()

    def params(self, case: Case, start: float) -> Float[np.ndarray, " feature"]:
        """The problem's dimensionless numbers, normalised."""
        return self.scales.normalise(
            feature_table(case, np.array([start]), self.unit.of(case), self.scales.names)
        )[0]  # fmt: skip

    def normalise(self, case: Case, values: np.ndarray) -> np.ndarray:
        """(..., field) in physical units."""
        return (values / self._sizes(case) - self.state.offset) / self.state.scale

    def restore(self, case: Case, values: np.ndarray) -> np.ndarray:
        """What `normalise` was given."""
        return (values * self.state.scale + self.state.offset) * self._sizes(case)

    def _sizes(self, case: Case) -> np.ndarray:
        return np.array([case.scales.fields.get(n, 1.0) for n in self.fields])

    def batch(
        self, values: np.ndarray, seen: np.ndarray, places: np.ndarray, instants: np.ndarray, queries: np.ndarray,
        params: np.ndarray,
    ) -> SensorBatch:  # fmt: skip
        """Arrays with a batch axis as tensors."""
        v, c, x, t, q, p = (
            torch.as_tensor(np.ascontiguousarray(a), dtype=self.torch_dtype)
            for a in (values, seen, places, instants, queries, params)
        )
        return SensorBatch(v, c, x, t, q, p if p.shape[1] else None)

    # -- files --------------------------------------------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        attrs = self.problem.to_attrs()
        return {
            "problem": attrs, "options": {} if "problem_json" in attrs else self.problem.options,
            "fields": list(self.fields), "sensors": asdict(self.sensors), "unit": asdict(self.unit),
            "state": self.state.to_json(), "features": self.scales.to_json(), "dtype": self.dtype,
        }  # fmt: skip

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """What `to_json` gave."""
        s: dict[str, Any] = dict(content["sensors"])
        s["share"] = tuple(s["share"])
        return cls(
            rebuild(content["problem"], content["options"]), tuple(map(str, content["fields"])),
            Sensors(**s),
            TimeStep(str(content["unit"]["kind"]), float(content["unit"]["value"])),
            FieldScaler.from_json(content["state"]), FeatureScaler.from_json(content["features"]),
            {"float32": "float32", "float64": "float64"}[content["dtype"]],
        )  # fmt: skip
