"""What all encodings share: scales, features, time steps and files."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn

from sciml.contracts import Signature
from sciml.errors import FileFormatError, InputError
from sciml.problem import Case, Problem, rebuild
from sciml.solver import Start
from sciml.support import Grid, Support
from sciml.symmetry import Symmetry
from sciml.training.encoding.functions import function_sensors, places_differ, spread
from sciml.training.encoding.given import Given, collate
from sciml.training.encoding.linear import about_units, linear_features, superposed
from sciml.training.encoding.physical import Input, Physical
from sciml.training.laws.base import Constraint, check, laws_of
from sciml.training.laws.kept import Kept
from sciml.training.normalisation import FeatureScaler, FieldScaler, Sums
from sciml.training.samples import (
    CaseTable,
    TimeStep,
    feature_table,
    features,
    function_inputs,
    function_of,
    sizes,
    static_inputs,
)
from sciml.training.stepping import Stepping


@dataclass(frozen=True)
class Encoding(ABC):
    """Everything between physical frames and an operator's tensors; abstract, one subclass a batch type.

    A field goes through the problem's scale for its case first, then through a scale of the training split. What a
    residual model predicts is an increment, in units of the training split's increments.

    Args:
        problem: whose cases these are.
        fields: what is predicted.
        stepping: how time is treated.
        step: length of one step; of the whole time that is asked for with `Query`; None for steady problems.
        template: support of the first training case.
        shared: whether all training cases live on the template, so that a case that says nothing else does too.
        follows: whether the input fields of all training cases lay on the supports of their solutions; then answers to
            a case lie on the grid of its input fields.
        masked: whether some training case leaves cells out.
        given_functions: scaler of input functions at points of their own.
        state, static, features: scalers of fields, of static input fields, and of dimensionless numbers.
        increment: (ahead, field) root mean square increments of the normalised fields.
        span: first and last time of the training cases, in units of `step`'s kind.
        dtype: of the operator's tensors.
        sees_start: whether the frame at which a case begins goes in (`Query`).
        shift: where the first face of a grid lies beside the lower end of its case's domain, as shares of the extents
            for x, y, z: not 0 on a periodic axis with cells at i/N.
        sensors: (sensor, D) positions as shares of the extents at which operators with fixed sensors see functions.
        linear: the features that tell the parameters in which answers are linear (`Steady(linear_in=...)`).
        function_sensors: (sensor, D) for each of `given_functions`, as `sensors`; () where operators take any points.
        constraints: laws that answers obey.
    """

    problem: Problem
    fields: tuple[str, ...]
    stepping: Stepping
    step: TimeStep | None
    template: Support
    shared: bool
    follows: bool
    masked: bool
    state: FieldScaler
    increment: np.ndarray
    static: FieldScaler
    features: FeatureScaler
    span: tuple[float, float]
    dtype: str = "float32"
    sensors: np.ndarray | None = None
    sees_start: bool = True
    shift: tuple[float, ...] = ()
    given_functions: FieldScaler = field(default_factory=lambda: _nothing())
    linear: tuple[str, ...] = ()
    function_sensors: tuple[np.ndarray, ...] = ()
    constraints: tuple[Constraint, ...] = ()

    #: whether fields are flattened to (field, point)
    flat: ClassVar[bool] = False
    #: whether input functions at points of their own have a place in its batches
    takes_functions: ClassVar[bool] = False

    # -- from training data -------------------------------------------------------------------------------------

    @classmethod
    def fit(
        cls, table: CaseTable, stepping: Stepping, *, dtype: str = "float32", symmetries: Sequence[Symmetry] = (),
        sensors: int | None = None, constraints: Sequence[Constraint] = (),
    ) -> Self:  # fmt: skip
        """From the training split alone, in one pass over its frames.

        Args:
            symmetries: those used as augmentations: their images count among the features of the training split.
            sensors: number of fixed sensors that the operator wants.
            constraints: laws that answers obey.
        """
        problem = table.problem
        if not table.cases:
            raise InputError("data: the training split has no cases")
        stepping.check(problem)
        step = stepping.time_step(table)
        linear = linear_features(table.cases, stepping.linear) if stepping.linear else ()
        centred = not stepping.residual and stepping.past == 0
        sums, moves = Sums(len(table.fields)), [Sums(len(table.fields)) for _ in range(stepping.ahead)]
        for frames, weights in table.chunks():
            sums.add(frames, weights)
            for k, moved in enumerate(moves if stepping.residual else ()):
                for stride in range(1, stepping.longest + 1):
                    lag = stepping.every * (k + 1) * stride
                    if len(frames) > lag:
                        moved.add(frames[lag:] - frames[:-lag], weights)
        state = FieldScaler.of(table.fields, sums, centred=centred, about_zero=bool(linear))
        for name, size in zip(table.fields, np.abs(state.offset) + state.scale, strict=True):
            if size > np.finfo(dtype).max:
                most = f"{np.finfo(dtype).max:.3g}"
                raise InputError(f"data: {name} is about {size:.3g}, expected at most {most}; take precision='float64'")
        increment = np.ones((stepping.ahead, len(table.fields)))
        if stepping.residual:
            for k, moved in enumerate(moves):
                size = moved.magnitude / state.scale
                increment[k] = np.where(size > 1e-12, size, 1.0)  # of a field that never changes: as it is
        supports = [table.support(i) for i in range(len(table.cases))]
        names = static_inputs(problem)
        static = FieldScaler.fit(names, _statics(table, names, supports), centred=True) if names else _nothing()
        given = [value for c in table.cases for n in names if isinstance(value := c.inputs.get(n), np.ndarray)]
        problem = problem.informed(
            table.fields, ((s, t, table.frames(i) * table.scales(i).reshape(1, -1, *[1] * len(s.shape)))
                           for i, (s, t) in enumerate(zip(supports, _clocks(table), strict=True)))
        )  # fmt: skip
        first = supports[0]
        shared = all(s.same(first) for s in supports[1:])
        times = [stepping.feature_times(t, step, c) for c, t in zip(table.cases, _clocks(table), strict=True)]
        dts = [stepping.feature_step(step, c) for c in table.cases]
        known = (*features(table.cases[0], times[0][:1], dts[0])[0], *sizes(supports, problem))
        rows = []
        for cases in (table.cases, *([symmetry.case(c) for c in table.cases] for symmetry in symmetries)):
            for stride in range(1, stepping.longest + 1):
                rows += [feature_table(c, t, stride * dt, known) for c, t, dt in zip(cases, times, dts, strict=True)]
        if stepping.longest > 1 and np.array_equal(
            feature_table(table.cases[0], times[0][:1], dts[0], known),
            feature_table(table.cases[0], times[0][:1], 2 * dts[0], known),
        ):
            raise InputError(f"stepping: strides need a problem whose features tell the step, {problem.name}'s do not")
        functions = cls._functions(table.cases, problem)
        if sensors is not None:
            for name, at in function_inputs(problem).items():
                if places_differ(table.cases, supports, name, at):
                    warnings.warn(
                        f"data: {name} lies at other points in some cases than in others; an operator with fixed "
                        "sensors gets it at common ones and does not see where its points were",
                        stacklevel=2,
                    )
        feature = FeatureScaler.fit(known, np.concatenate(rows)) if known else FeatureScaler((), *[np.zeros(0)] * 4)
        feature = about_units(feature, np.concatenate(rows), linear)
        unit = [1.0 if step is None or step.kind == "physical" else c.scales.time for c in table.cases]
        ends = [(t[0] / s, t[-1] / s) for t, s in zip(_clocks(table), unit, strict=True)]
        return cls(
            problem, table.fields, stepping, step, first, shared, all(v.shape == first.shape for v in given),
            any(s.inside is not None for s in supports), state, increment, static, feature,
            (min(a for a, _ in ends), max(b for _, b in ends)), dtype,
            None if sensors is None else _spread(first, sensors),
            stepping.sees_start(lambda: _starts_differ(table, state)), _shift(table.cases[0], first), functions,
            linear,
            () if sensors is None else tuple(
                function_sensors(table.cases, supports, n, at, sensors) for n, at in function_inputs(problem).items()),
        ).held_to(constraints)  # fmt: skip

    def held_to(self, constraints: Sequence[Constraint]) -> Self:
        """The same with these constraints in place of its own.

        Raises:
            InputError: constraints that do not fit the operator or the problem, or undo each other.
        """
        check(constraints, self)
        return replace(self, constraints=tuple(constraints))

    @classmethod
    def _functions(cls, cases: Sequence[Case], problem: Problem) -> FieldScaler:
        """Scales of the input functions at points of their own; refused where the operator's batches have no place."""
        names = function_inputs(problem)
        if names and not cls.takes_functions:
            raise InputError(f"data: {', '.join(names)} have points of their own, which only operators on points take")
        each = [
            FieldScaler.fit((n,), ((function_of(c, n, at)[0][None, None], None) for c in cases), centred=True)
            for n, at in names.items()
        ]
        offset, scale = (np.concatenate([getattr(s, k) for s in each] or [np.zeros(0)]) for k in ("offset", "scale"))
        return FieldScaler(tuple(names), offset, scale)

    # -- sizes --------------------------------------------------------------------------------------------------

    @property
    def torch_dtype(self) -> torch.dtype:
        return torch.float64 if self.dtype == "float64" else torch.float32

    @property
    def channels_out(self) -> int:
        return self.stepping.ahead * len(self.fields)

    @property
    def space(self) -> int:
        """Number of trailing axes of a field's array."""
        return 1 if self.flat else len(self.template.shape)

    @abstractmethod
    def signature(self) -> Signature:
        """What the operator has to map to what."""

    # -- one case -----------------------------------------------------------------------------------------------

    def layout(self, values: np.ndarray, support: Support) -> np.ndarray:
        """(..., *support.shape) in the order of the operator's tensors."""
        if not self.flat or len(support.shape) == 1:
            return values
        return values.reshape(*values.shape[: values.ndim - len(support.shape)], -1)

    def _factors(self, case: Case) -> tuple[np.ndarray, np.ndarray]:
        """(multiplier, offset) of each field: physical = multiplier · normalised + offset."""
        found = case.scales.fields
        scales = np.array([found.get(name, 1.0) for name in self.fields])
        return scales * self.state.scale, scales * self.state.offset

    def factors(self, cases: Sequence[Case]) -> tuple[Tensor, Tensor]:
        """Multipliers and offsets (case, field, 1, ...) in float64."""
        pairs = [self._factors(c) for c in cases]
        shape = (len(cases), len(self.fields), *[1] * self.space)
        return tuple(torch.from_numpy(np.stack([p[k] for p in pairs])).reshape(shape) for k in (0, 1))  # type: ignore[return-value]

    def normalise(self, case: Case, values: np.ndarray, support: Support) -> np.ndarray:
        """(..., field, *shape) physical -> normalised, in the model's number format and layout."""
        multiplier, offset = self._factors(case)
        values = self.layout(np.asarray(values, dtype=np.float64), support)
        shape = (-1,) + (1,) * self.space
        found = (values - offset.reshape(shape)) / multiplier.reshape(shape)
        if support.inside is not None:
            found = np.where(self.layout(support.inside, support), found, 0.0)
        return found.astype(self.dtype)

    def restore(self, case: Case, values: np.ndarray, support: Support) -> np.ndarray:
        """(..., field, *) normalised -> (..., field, *shape) physical; zero outside of the mask."""
        multiplier, offset = self._factors(case)
        shape = (-1,) + (1,) * self.space
        found = np.asarray(values, dtype=np.float64) * multiplier.reshape(shape) + offset.reshape(shape)
        if self.flat:
            found = found[..., : support.size].reshape(*found.shape[:-1], *support.shape)
        if support.inside is not None:
            found = np.where(support.inside, found, 0.0)
        return found.astype(self.dtype)

    def params(self, case: Case, times: np.ndarray, stride: int = 1) -> np.ndarray:
        """(time, feature), normalised, of the applications that start at these times, over `stride` steps."""
        dt = stride * self.stepping.feature_step(self.step, case)
        table = feature_table(case, np.atleast_1d(times), dt, self.features.names)
        return self.features.normalise(table).astype(self.dtype)

    def share(self, case: Case, times: np.ndarray, start: float) -> np.ndarray:
        """(time,) of the whole time that was seen in training, from `start` on (`Query`)."""
        assert self.step is not None
        return ((np.asarray(times, dtype=np.float64) - start) / self.step.of(case)).astype(self.dtype)

    def begin(self, case: Case) -> float:
        """The earliest time at which a training case began, in the time unit of this one."""
        return self.span[0] * (
            case.scales.time if self.step is not None and self.step.kind == "nondimensional" else 1.0
        )

    def doubts(self, case: Case, times: np.ndarray) -> list[str]:
        """Why an answer for these times, from the first of them on, is not to be relied on: what training never saw."""
        dt = self.stepping.feature_step(self.step, case)
        asked = self.stepping.feature_times(np.asarray(times, dtype=np.float64), self.step, case)
        raw = feature_table(case, asked, dt, self.features.names)
        found = self.features.doubts(raw, free=self.linear)  # in proportion
        if self.step is not None:
            unit, scale = case.problem.time_unit, 1.0 if self.step.kind == "physical" else case.scales.time
            low, high = (end * scale for end in self.span)
            slack = 1e-3 * self.step.of(case)
            if float(np.max(times)) > high + slack:
                found.append(f"goes on to {np.max(times):g} {unit}, but training cases end at {high:g} {unit}")
            if float(np.min(times)) < low - slack - self.stepping.lead(self.step, case):
                found.append(f"begins at {np.min(times):g} {unit}, but training cases begin at {low:g} {unit}")
        return found

    def inputs(self, case: Case, support: Support) -> np.ndarray | None:
        """(channel, *) static input fields, normalised."""
        if not self.static.names:
            return None
        values = np.stack([case.input_on(name, support) for name in self.static.names])
        return self.static.normalise(self.layout(values, support), self.space).astype(self.dtype)

    def support(self, case: Case) -> Support:
        """Where an answer to a case lives: where its data do, on the grid of its input fields (`follows`), or as the
        training data did.

        Raises:
            InputError: nothing says where, or in other dimensions than those of the training data.
        """
        template = self.template
        if case.support is not None:
            found, expected = case.support.dimensions, template.dimensions
            if found != expected:
                raise InputError(f"case: expected a support in {expected} dimensions, as in training, got {found}")
            return case.support
        if not isinstance(template, Grid):
            if self.shared:
                return template
            raise InputError(
                f"case: the training cases of {self.problem.name} live on different nodes, and this one does not say "
                "on which; give case.on(support)"
            )
        shape = template.shape
        for name in self.static.names if self.follows else ():
            value = case.inputs.get(name)
            if isinstance(value, np.ndarray) and value.ndim == len(shape):
                shape = value.shape
        if case.problem.needs_extents and case.extents is None and self.shared:
            return template
        geometry = case.geometry
        if shape != template.shape:
            return Grid.uniform(geometry, shape, self.masked)
        grid = template.over(geometry, self.masked, self.shift)
        keeps = grid.mask is None and self.shared and case.problem.needs_extents
        return Grid(grid.faces, grid.periodic, template.mask, grid.at) if keeps else grid

    # -- tensors ------------------------------------------------------------------------------------------------

    @abstractmethod
    def place(self, case: Case, support: Support) -> dict[str, Any]:
        """What `Given` holds of one case, as arrays without the batch axis."""

    def place_flat(self, case: Case, support: Support) -> dict[str, Any]:
        """What `place` holds of points, whatever joins them."""
        inside, weights = support.inside, support.weights().reshape(-1)
        if inside is None and self.masked:
            inside = np.ones(support.size, bool)
        return {
            "static": self.inputs(case, support),
            "mask": None if inside is None else inside.reshape(1, -1).astype(self.dtype),
            "weights": (weights / weights[weights > 0].mean())[None],
            "coords": support.unit().reshape(-1, support.dimensions).T.copy(),
        }

    def given(self, cases: Sequence[Case], supports: Sequence[Support]) -> Given:
        """`place` of several cases, padded where their numbers of points differ."""
        sizes = {s.size for s in supports}
        shapes = {s.shape for s in supports}
        if not self.flat and len(shapes) > 1:
            raise InputError(f"cases: grids of {' and '.join(map(str, sorted(shapes)))} cells do not go into one batch")
        known: dict[int, tuple[Case, dict[str, Any]]] = {}
        forms: dict[tuple[int, int], dict[str, Any]] = {}
        places = []
        for case, support in zip(cases, supports, strict=True):
            key = id(support)
            if key not in known or self.static.names or self.given_functions.names:
                known[key] = (case, self.place(case, support))
            place = known[key][1]
            if self.constraints:
                pair = (id(case), key)
                if pair not in forms:
                    forms[pair] = self._ansatz(case, self._positions(support))
                place = place | forms[pair]
            places.append(place)
        self.agree(places, supports)
        found = collate(places, self.torch_dtype, max(sizes) if self.flat and len(sizes) > 1 else 0)
        if not self.constraints:
            return found
        return replace(found, laws=laws_of(self.constraints, self, cases, supports))

    def _positions(self, support: Support) -> np.ndarray:
        """(*space, D) physical positions in the layout of the operator's tensors."""
        points = support.points()
        return points.reshape(-1, support.dimensions) if self.flat else points.reshape(*support.shape, -1)

    def _ansatz(self, case: Case, points: np.ndarray) -> dict[str, Any]:
        """φ and g of normalised answers at points (*space, D), where a constraint says them:
        q = m n + b with q = g + φ (m N + b) is n = (g − b (1 − φ))/m + φ N."""
        found = [a for c in self.constraints if (a := c.ansatz(self, case, points)) is not None]
        if not found:
            return {}
        factors, values = zip(*found, strict=True)
        factor, value = np.prod(factors, 0), np.sum(values, 0)  # each changes fields of its own
        multiplier, offset = (f.reshape(-1, *[1] * (factor.ndim - 1)) for f in self._factors(case))
        extension = (value - offset * (1.0 - factor)) / multiplier
        return {"factor": factor.astype(self.dtype), "extension": extension.astype(self.dtype)}

    def ansatz_at(self, case: Case, points: np.ndarray) -> dict[str, Tensor]:
        """`Given.factor` and `extension` of one case at points (N, D)."""
        return {n: torch.from_numpy(v)[None] for n, v in self._ansatz(case, points).items()}

    @cached_property
    def kept(self) -> Kept:
        """What constraints keep from case to case: factorisations, by what determines them."""
        return Kept()

    def agree(self, places: list[dict[str, Any]], supports: Sequence[Support]) -> None:
        """Fill in what `place` leaves out of some cases and not of others."""
        for k, (place, support) in enumerate(zip(places, supports, strict=True)):
            if place["mask"] is None and any(p["mask"] is not None for p in places):
                places[k] = place | {"mask": self.layout(np.ones((1, *support.shape), self.dtype), support)}

    def apply(
        self, operator: nn.Module, state: Tensor | None, given: Given, params: Tensor, time: Tensor | None
    ) -> Tensor:
        """One application of the operator; of answers that are linear in parameters, one for each of them, summed up.

        Args and returns: as of `applied`.
        """
        if not self.linear:
            return self.applied(operator, state, given, params, time)
        columns = [self.features.names.index(name) for name in self.linear]
        return superposed(lambda g, p: self.applied(operator, None, g, p, None), given, params, columns)

    @abstractmethod
    def applied(
        self, operator: nn.Module, state: Tensor | None, given: Given, params: Tensor, time: Tensor | None
    ) -> Tensor:
        """The operator on its own batches.

        Args:
            state: (batch, past, field, *) normalised frames, or None.
            params: (batch, feature).
            time: (batch,) share of the time, with `Query`.

        Returns:
            (batch, ahead · field, *).
        """

    @property
    def anywhere(self) -> bool:
        """Whether the operator itself answers at points that are not the support's; see `at`."""
        return False

    def at(
        self, given: Given, state: Tensor | None, support: Support, points: np.ndarray
    ) -> tuple[Given, Tensor | None]:
        """What `apply` takes to answer at these points of one case, whose answers are the last of what it gives.

        Args:
            given, state: of the case on its own support.
            points: (N, D) physical positions.
        """
        raise InputError(f"points: {type(self).__name__} answers on the case's own support")

    def physical(self, operator: nn.Module) -> tuple[Physical, dict[str, Input]]:
        """The operator with these scalings around it as one module, and its inputs by name.

        Raises:
            InputError: batches that no file of a program can take.
        """
        raise InputError(f"export: expected an operator on a grid or on points, got one for {type(self).__name__}")

    @cached_property
    def unit(self) -> Tensor:
        """(ahead · field) increments."""
        return torch.from_numpy(self.increment.reshape(-1).astype(self.dtype))

    def starts(self, starts: Sequence[Start]) -> np.ndarray:
        """(case, past, field, *) normalised frames up to the present; the first stands in for what was before it."""
        found = []
        most = max(s.support.size for s in starts)
        for s in starts:
            frames = s.beginning[0][None] if self.stepping.queries else s.frames
            frames = self.normalise(s.case, frames, s.support)
            missing = self.stepping.past - len(frames)
            if missing > 0:
                frames = np.concatenate([np.repeat(frames[:1], missing, axis=0), frames])
            frames = frames[len(frames) - self.stepping.past :]
            if self.flat and frames.shape[-1] < most:
                frames = np.pad(frames, ((0, 0), (0, 0), (0, most - frames.shape[-1])))
            found.append(frames)
        return np.stack(found)

    # -- files --------------------------------------------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": type(self).__name__,
            "problem": self.problem.to_attrs(),
            "problem_options": {} if "problem_json" in self.problem.to_attrs() else self.problem.options,
            "fields": list(self.fields),
            "stepping": self.stepping.to_json(),
            "step": None if self.step is None else {"kind": self.step.kind, "value": self.step.value},
            "shared": self.shared,
            "follows": self.follows,
            "masked": self.masked,
            "state": self.state.to_json(),
            "increment": self.increment.tolist(),
            "static": self.static.to_json(),
            "features": self.features.to_json(),
            "span": list(self.span),
            "dtype": self.dtype,
            "sees_start": self.sees_start,
            "shift": list(self.shift),
            "functions": self.given_functions.to_json(),
        } | {
            key: value for key, value in (
                ("linear", list(self.linear)), ("function_sensors", [a.tolist() for a in self.function_sensors]),
                ("constraints", [c.to_json() for c in self.constraints]),
            ) if value
        }  # fmt: skip

    @classmethod
    def from_json(cls, c: dict[str, Any], template: Support, sensors: np.ndarray | None, where: str) -> Self:
        try:
            return cls(
                rebuild(c["problem"], c["problem_options"]),
                tuple(c["fields"]),
                Stepping.from_json(c["stepping"]),
                None if c["step"] is None else TimeStep(str(c["step"]["kind"]), float(c["step"]["value"])),
                template,
                bool(c["shared"]),
                bool(c["follows"]),
                bool(c["masked"]),
                FieldScaler.from_json(c["state"]),
                np.array(c["increment"], dtype=float),
                FieldScaler.from_json(c["static"]),
                FeatureScaler.from_json(c["features"]),
                (float(c["span"][0]), float(c["span"][1])),
                {"float32": "float32", "float64": "float64"}[c["dtype"]],
                sensors,
                bool(c["sees_start"]),
                tuple(float(s) for s in c["shift"]),
                FieldScaler.from_json(c["functions"]),
                tuple(map(str, c.get("linear", ()))),
                tuple(np.array(a, dtype=float) for a in c.get("function_sensors", ())),
                tuple(Constraint.from_json(a, "constraints") for a in c.get("constraints", ())),
            )
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise FileFormatError(f"{where}: entry {error} is missing or cannot be used") from None


def _shift(case: Case, support: Support) -> tuple[float, ...]:
    if not isinstance(support, Grid):
        return ()
    found = [(f[0] - a) / (b - a) for f, (a, b) in zip(support.faces, case.geometry.extents, strict=True)]
    return tuple(float(s) if abs(s) > 1e-12 else 0.0 for s in found)


def _nothing() -> FieldScaler:
    return FieldScaler((), np.zeros(0), np.zeros(0))


def _clocks(table: CaseTable) -> list[np.ndarray]:
    return [np.zeros(1)] * len(table.cases) if table.times is None else table.times


def _statics(table: CaseTable, names: Sequence[str], supports: Sequence[Support]) -> Iterable[Any]:
    for case, support in zip(table.cases, supports, strict=True):
        yield np.stack([case.input_on(name, support) for name in names])[None], support.weights()


def _starts_differ(table: CaseTable, state: FieldScaler) -> bool:
    """Whether the first frames of cases differ by more than rounding, in units of the fields' scales."""
    if table.problem.steady or len(set(table.shapes)) > 1:
        return not table.problem.steady
    first = table.frames(0, slice(0, 1))[0]
    scale = state.scale.reshape(-1, *[1] * (first.ndim - 1))
    others = (table.frames(i, slice(0, 1))[0] for i in range(1, len(table.cases)))
    return any(np.abs((f - first) / scale).max() > 1e-6 for f in others)


def _spread(support: Support, count: int) -> np.ndarray:
    """(count or fewer, D) points of a support, far from one another: each is the one farthest from those before it."""
    points = support.unit().reshape(-1, support.dimensions)
    if support.inside is not None:
        points = points[support.inside.reshape(-1)]
    return spread(points, count)
