"""Everything that a solution of a case satisfies, as residuals at points: equations, conditions, beginnings.

A `Term` belongs to one kind of points: the interior, one part of the boundary, the start. Its rows are evaluated
together, out of one pass through the fields at a point. What it needs of a point beside its place (a normal, a given
value) is looked up before (`columns`), in NumPy.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from sciml._well_posed import required_conditions
from sciml.boundary import Condition, Flux, InSpace, InTime, Samples, Series
from sciml.calculus import Derivative
from sciml.errors import InputError
from sciml.expressions import ZERO, Expression, Field
from sciml.geometry import SIDES, Boundary
from sciml.problem import Case
from sciml.solvers.pinn._inputs import Beginning
from sciml.solvers.pinn._rows import Evaluator, Row, needed, row_of_field, rows_of, scale_of

Fields = Callable[[Any], Any]  # (x, y, .., t) -> (F,)
Point = Mapping[str, Any]  # "z": (D + 1,), and the columns of a term


class Term(ABC):
    """Abstract: rows at one kind of points.

    Attributes:
        name: of the kind of points.
        rows: names of the rows.
        scales: (R,) by which residuals are divided.
    """

    name: str
    rows: tuple[str, ...]
    scales: np.ndarray

    def columns(self, points: np.ndarray) -> dict[str, np.ndarray]:
        """What is looked up at points (N, D + 1), arrays (N, ...)."""
        return {}

    @abstractmethod
    def values(self, fields: Fields, point: Point, parameters: Mapping[str, Any], inputs: Mapping[str, Any]) -> Any:
        """(R,) residuals in physical units."""

    def scaled(self, fields: Fields, point: Point, parameters: Mapping[str, Any], inputs: Mapping[str, Any]) -> Any:
        """(R,) residuals over their scales."""
        found = self.values(fields, point, parameters, inputs)
        return found / jnp.asarray(self.scales, found.dtype)

    @property
    def inputs(self) -> set[str]:
        """The inputs that it needs."""
        return set()


class Interior(Term):
    """The strong rows of all balances."""

    name = "interior"

    def __init__(self, case: Case, rows: Sequence[Row]):
        names = [f.name for f in case.problem.fields]
        self.rows = tuple(r.name for r in rows)
        self.scales = np.array([r.scale for r in rows])
        self.evaluator = Evaluator(names, case.problem.dimensions, [r.residual for r in rows])

    @property
    def inputs(self) -> set[str]:
        return set(self.evaluator.inputs)

    def values(self, fields: Fields, point: Point, parameters: Mapping[str, Any], inputs: Mapping[str, Any]) -> Any:
        found, _ = self.evaluator(fields, point["z"], parameters, inputs)
        return jnp.stack([jnp.asarray(v, point["z"].dtype) for v in found])


class Side(Term):
    """Conditions on one part of the boundary: a q + b ∂q/∂n − g, or flux·n − g."""

    def __init__(self, case: Case, rows: Sequence[Row], boundary: Boundary, conditions: Mapping[str, Condition]):
        problem = case.problem
        d, names = problem.dimensions, [f.name for f in problem.fields]
        self.name, self.boundary, self.fields = boundary.name, boundary, tuple(conditions)
        self.conditions = tuple(conditions.values())
        self.rows = tuple(f"{boundary.name}.{n}" for n in conditions)
        expressions, parts, scales, held = [], [], [], 0
        for name, condition in conditions.items():
            if isinstance(condition, Flux):
                row = row_of_field(problem, rows, name)
                laws = [(row.flux[axis], 1.0) for axis in range(d)]
                value, slopes = None, laws
                scale = max(scale_of(case, f) if f != ZERO else 0.0 for f in row.flux) or 1.0
            else:
                if condition.law is None:
                    raise InputError(f"{problem.name}: {boundary.name}: {name}: no residual for {condition!r:.60}")
                a, b = condition.law
                units = [tuple(int(k == axis) for k in range(d + 1)) for axis in range(d)]
                value = Field(name) if a else None
                slopes = [(Derivative(Field(name), u), b) for u in units] if b else []
                size = case.scales.fields.get(name, 1.0)
                scale = max(abs(a) * size, abs(b) * size / case.scales.length)
            part: list[tuple[int, int | None, float]] = []  # (place of an expression, axis of the normal, factor)
            if value is not None and condition.law is not None:
                expressions.append(value)
                part.append((held, None, condition.law[0]))
                held += 1
            for axis, (slope, factor) in enumerate(slopes):
                expressions.append(slope)
                part.append((held, axis, factor))
                held += 1
            parts.append(part)
            scales.append(scale)
        self.parts, self.scales = parts, np.array(scales)
        self.evaluator = Evaluator(names, d, expressions)
        #: fields that count here themselves, not by their slopes alone
        self.anchors = {n for n, alphas in needed(expressions, d)[0].items() if (0,) * (d + 1) in alphas}
        self.dimensions, self.case = d, case
        self._parts: dict[tuple[str, ...], Side | None] = {}

    @property
    def inputs(self) -> set[str]:
        return set(self.evaluator.inputs)

    def columns(self, points: np.ndarray) -> dict[str, np.ndarray]:
        d = self.dimensions
        given = [
            given_at(self.case, self.name, n, c, points) for n, c in zip(self.fields, self.conditions, strict=True)
        ]
        return {"normal": self.boundary.normal(points[:, :d]), "given": np.stack(given, axis=1)}

    def values(self, fields: Fields, point: Point, parameters: Mapping[str, Any], inputs: Mapping[str, Any]) -> Any:
        held, _ = self.evaluator(fields, point["z"], parameters, inputs)
        found = []
        for k, part in enumerate(self.parts):
            total = -point["given"][k]
            for place, axis, factor in part:
                total = total + held[place] * (factor if axis is None else factor * point["normal"][axis])
            found.append(total)
        return jnp.stack(found)

    def without(self, exact: set[str], rows: Sequence[Row]) -> Side | None:
        """The conditions on fields that do not satisfy them anyway; None where none are left."""
        left = {n: c for n, c in zip(self.fields, self.conditions, strict=True) if n not in exact}
        if tuple(left) == self.fields:
            return self
        if tuple(left) not in self._parts:  # the same object each time: programs are compiled for it
            self._parts[tuple(left)] = Side(self.case, rows, self.boundary, left) if left else None
        return self._parts[tuple(left)]


class Around(Term):
    """q and its derivatives across are equal at the two ends of a periodic axis."""

    def __init__(self, case: Case, axis: int, orders: Mapping[str, int]):
        problem = case.problem
        (low, high), d = case.geometry.extents[axis], problem.dimensions
        self.low, self.span, self.axis = low, high - low, axis
        sides = [n for n, (a, _) in SIDES.items() if a == axis]
        self.name = f"{sides[0]}~{sides[1]}"
        names = [f.name for f in problem.fields]
        expressions: list[Expression] = []
        rows, scales = [], []
        for name, order in orders.items():
            for k in range(max(order, 1)):
                alpha = tuple(k * (i == axis) for i in range(d + 1))
                expressions.append(Derivative(Field(name), alpha) if k else Field(name))
                rows.append(f"{self.name}.{name}" + "'" * k)
                scales.append(case.scales.fields.get(name, 1.0) / case.scales.length**k)
        self.rows, self.scales = tuple(rows), np.array(scales)
        self.evaluator = Evaluator(names, d, expressions)

    def values(self, fields: Fields, point: Point, parameters: Mapping[str, Any], inputs: Mapping[str, Any]) -> Any:
        ends = []
        for z in (point["z"].at[self.axis].set(self.low), point["z"].at[self.axis].set(self.low + self.span)):
            ends.append(jnp.stack(self.evaluator(fields, z, parameters, inputs)[0]))
        return ends[1] - ends[0]


class Start(Term):
    """q − q₀ at the start."""

    name = "initial"

    def __init__(self, case: Case, beginning: Beginning, fields: Sequence[str]):
        names = [f.name for f in case.problem.fields]
        self.beginning, self.fields = beginning, tuple(fields)
        self.rows = tuple(f"initial.{n}" for n in fields)
        self.places = np.array([names.index(n) for n in fields])
        self.scales = np.array([case.scales.fields.get(n, 1.0) for n in fields])

    def columns(self, points: np.ndarray) -> dict[str, np.ndarray]:
        return {"given": np.stack([self.beginning.at(n, points[:, :-1]) for n in self.fields], axis=1)}

    def values(self, fields: Fields, point: Point, parameters: Mapping[str, Any], inputs: Mapping[str, Any]) -> Any:
        return fields(point["z"])[self.places] - point["given"]


class Mean(Term):
    """The mean over the domain of a field that is only known up to a constant is zero. Its points are sets of points
    of one time, (M, D + 1) each."""

    name = "mean"

    def __init__(self, case: Case, fields: Sequence[str]):
        names = [f.name for f in case.problem.fields]
        self.rows = tuple(f"mean.{n}" for n in fields)
        self.places = np.array([names.index(n) for n in fields])
        self.scales = np.array([case.scales.fields.get(n, 1.0) for n in fields])

    def values(self, fields: Fields, point: Point, parameters: Mapping[str, Any], inputs: Mapping[str, Any]) -> Any:
        import jax

        return jax.vmap(fields)(point["z"]).mean(axis=0)[self.places]


class Observations(Term):
    """q − what was measured, where it was."""

    name = "observations"

    def __init__(self, case: Case, values: Mapping[str, np.ndarray]):
        names = [f.name for f in case.problem.fields]
        self.rows = tuple(f"observations.{n}" for n in values)
        self.places = np.array([names.index(n) for n in values])
        self.scales = np.array([case.scales.fields.get(n, 1.0) for n in values])
        self.given = np.stack(list(values.values()), axis=1)
        self.known = np.isfinite(self.given)

    def columns(self, points: np.ndarray) -> dict[str, np.ndarray]:
        assert len(points) == len(self.given)
        return {"given": np.where(self.known, self.given, 0.0), "known": self.known.astype(np.float64)}

    def values(self, fields: Fields, point: Point, parameters: Mapping[str, Any], inputs: Mapping[str, Any]) -> Any:
        return point["known"] * (fields(point["z"])[self.places] - point["given"])


def given_at(case: Case, boundary: str, name: str, condition: Condition, points: np.ndarray) -> np.ndarray:
    """(N,) what a condition says at points (N, D + 1)."""
    value, places, times = condition.value, points[:, :-1], points[:, -1]
    if isinstance(value, Series):
        return np.asarray(value(times), np.float64)
    if isinstance(value, InTime):
        return np.array([float(value(float(t))) for t in times])
    if isinstance(value, Samples):
        return value(places)
    if isinstance(value, InSpace):
        found = np.asarray(value.function(places), np.float64)
        return found if value.factor is None else found * value.factor(times)
    if callable(value):
        each, back = np.unique(times, return_inverse=True)
        found = np.empty(len(points))
        for k, t in enumerate(each):
            here = back == k
            found[here] = condition.at(float(t), places[here])
        return found
    if np.ndim(value) == 0:
        return np.full(len(points), float(np.asarray(value)))
    side = case.geometry.boundaries[boundary].side
    if np.ndim(value) == 1 and case.problem.dimensions == 2 and side is not None:
        low, high = case.geometry.extents[1 - side[0]]
        middles = low + (high - low) * (np.arange(len(np.asarray(value))) + 0.5) / len(np.asarray(value))
        return np.interp(places[:, 1 - side[0]], middles, np.asarray(value))
    raise InputError(
        f"{case.problem.name}: {boundary}: {name}: the value has shape {np.shape(value)}, expected a number, a "
        "function or values along a side of a plane box"
    )


# -- of a whole case --------------------------------------------------------------------------------------------


class Terms:
    """All terms of a case.

    Args:
        case: which case.
        start: False where the start is given otherwise.

    Raises:
        InputError: no equations, conditions that determine no solution, a field that does not know how it begins.
    """

    def __init__(self, case: Case, start: bool = True):
        problem = case.problem
        self.case, self.rows = case, rows_of(case)
        self.names = tuple(f.name for f in problem.fields)
        d = problem.dimensions
        held, self.input_names = needed([r.residual for r in self.rows], d)
        #: of each field the highest derivative in space, and in time
        self.orders = {n: max((sum(a[:-1]) for a in held.get(n, ())), default=0) for n in self.names}
        self.rates = tuple(n for n in self.names if any(a[-1] for a in held.get(n, ())))
        missing = [n for n in self.names if n not in held]
        if missing:
            raise InputError(f"{problem.name}: no equation holds the field {missing[0]!r}")
        self.interior = Interior(case, self.rows)
        self.sides = {
            b: Side(case, self.rows, case.geometry.boundaries[b], c) for b, c in required_conditions(case).items()
        }
        self.around = [Around(case, axis, self.orders) for axis, p in enumerate(case.geometry.periodic) if p]
        self.beginning = Beginning(case, self.rates) if self.rates and start else None
        self.floating = tuple(n for n in self.names if self._floats(n, held))

    def _floats(self, name: str, held: Mapping[str, set[tuple[int, ...]]]) -> bool:
        """Whether a field is only known up to a constant (in space)."""
        if name in self.rates or any(not any(a[:-1]) for a in held[name]):
            return False
        return all(name not in side.anchors for side in self.sides.values())

    def start(self) -> Start | None:
        return None if self.beginning is None else Start(self.case, self.beginning, self.rates)

    def mean(self) -> Mean | None:
        return Mean(self.case, self.floating) if self.floating else None

    def each(self) -> list[Term]:
        """All of them but the means."""
        start = self.start()
        return [self.interior, *self.sides.values(), *self.around, *([] if start is None else [start])]
