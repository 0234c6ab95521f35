"""A family of problems and its members.

A `Problem` says what the fields, parameters, inputs and scales are; a `PDEProblem` also its equations and boundary
conditions, a `ParticleProblem` (in `sciml.particle_problem`) its material; a `DataProblem` (in `sciml.problems`) is
made from a data set. A `Case` is one member. Every solver, surrogate, file and audit works from these alone.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from sciml._specs import FieldSpec as FieldSpec
from sciml._specs import InputSpec as InputSpec
from sciml._specs import Invariant as Invariant
from sciml._specs import ParameterSpec as ParameterSpec
from sciml._specs import Scales as Scales
from sciml.boundary import Condition, Conditions, Series, scattered
from sciml.errors import InputError, suggest
from sciml.expressions import Balance, Coordinates, Field, Input, Names, Operators, Parameter
from sciml.geometry import Geometry
from sciml.support import Grid, Support
from sciml.symmetry import Symmetry

if TYPE_CHECKING:
    from jaxtyping import Float

    from sciml.problems.designs import Design


PLACES = 64  # along a boundary, at which values that vary there are told


@dataclass(frozen=True, eq=False)
class Published:
    """A curve that others have published: one field of a case along a straight line through its domain.

    Args:
        title: what it shows, for instance "u, vertical centre line, Re 100".
        source: authors and year.
        case: which case; `time`: when, None for a steady problem.
        field: which field.
        axis: the line runs along x, y or z (0, 1, 2).
        through: a point of the line.
        where, values: the table, over positions along the line, in the case's units.
        labels: names of the axes: of the position, of the value.
    """

    title: str
    source: str
    case: Case
    time: float | None
    field: str
    axis: int
    through: tuple[float, ...]
    where: np.ndarray
    values: np.ndarray
    labels: tuple[str, str] = ("", "")


@dataclass(frozen=True)
class Profile:
    """A straight line along which a field tells much of a flow: what a report draws.

    Args:
        title: what it shows, for instance "u, three diameters behind the cylinder".
        field: which field.
        axis: the line runs along x, y or z (0, 1, 2).
        through: a point of the line.
    """

    title: str
    field: str
    axis: int
    through: tuple[float, ...]


class Problem(ABC):
    """A family of cases: what all problems have, with equations or without."""

    name: str
    title: str
    dimensions: int
    fields: tuple[FieldSpec, ...]
    parameters: tuple[ParameterSpec, ...] = ()
    inputs: tuple[InputSpec, ...] = ()
    #: numbers over time that a solver may tell beside the fields, for instance forces
    quantities: tuple[FieldSpec, ...] = ()
    steady: bool = False
    invariants: tuple[Invariant, ...] = ()
    #: whether solutions jump, at steps that are carried along or at shocks, and nothing smooths them
    jumps: bool = False
    time_unit: str = "s"
    length_unit: str = "m"
    #: whether a case has to say in which box it lives
    needs_extents: bool = False
    #: maps on (case, solution) under which solutions stay solutions
    symmetries: tuple[Symmetry, ...] = ()
    #: whether `scales` says anything: what nobody knows the law of has no scale but the unit
    scaled: bool = True
    #: fields that are the components of a velocity, in the order x, y, z; () where there is none
    velocity: tuple[str, ...] = ()
    #: the field that is the volume fraction of the first of two fluids; "" where there is one fluid
    phase: str = ""
    #: what its data keep, where no equation says it (`Observed` of a `DataProblem`)
    observed: Any = None

    def case(self, label: str = "", subset: str = "", **values: Any) -> Case:
        """One member of the family; parameters and inputs by name, defaults for the rest.

        Raises:
            InputError: an unknown name, a value outside its range, an input of the wrong shape.
        """
        names = {s.name for s in self.parameters}
        parameters = {k: v for k, v in values.items() if k in names}
        inputs = {k: v for k, v in values.items() if k not in names and v is not None}
        return Case(self, parameters, inputs, label=label, subset=subset)

    @property
    def options(self) -> dict[str, Any]:
        """Constructor arguments needed to rebuild this problem object (JSON values)."""
        return {}

    def to_attrs(self) -> dict[str, str]:
        """What names this problem in a file: "problem"; its options go with each case."""
        return {"problem": self.name}

    def same(self, other: Problem) -> bool:
        """Whether cases of the one are cases of the other."""
        return type(self) is type(other) and self.name == other.name and self.options == other.options

    def within(self, support: Support) -> Problem:
        """The same problem, knowing what a support says of the domain, where nothing else says it: which axes are
        periodic."""
        return self

    def informed(self, fields: tuple[str, ...], frames: Iterable[tuple[Support, Any, np.ndarray]]) -> Problem:
        """The same problem, knowing what its training data keep, where it has no equations that say so.

        Args:
            frames: for each case its support, times and frames (T, field, *shape) in physical units.
        """
        return self

    @abstractmethod
    def geometry(self, case: Case) -> Geometry: ...

    @classmethod
    def design(cls) -> Design:
        """The cases that a benchmark makes of this problem.

        Raises:
            InputError: there are none.
        """
        raise InputError(
            f"{cls.name}: has no design of cases; expected a method design(), for instance with "
            "sciml.problems.designs.Ranges, or give cases of your own to solve_many"
        )

    @abstractmethod
    def scales(self, case: Case) -> Scales: ...

    def shown(self, case: Case) -> dict[str, float]:
        """The numbers that say to a person which case this is, and over which errors are drawn; by default the
        parameters, with their units in the names."""
        return {p.shown: case.parameters[p.name] for p in self.parameters}

    def features(self, case: Case, time: float, time_step: float) -> dict[str, float]:
        """Dimensionless numbers that, beside the state, decide the step from `time` to `time + time_step`.

        The default: all parameters as given (the logarithm of those that span decades), the step in units of the time
        scale, and the boundary values that change in time at both ends of the step. Many times are told
        quickly where `time` may be an array (n,), as what changes in time is then; else they are asked for one by one.
        """
        found = dict(p.feature(case.parameters[p.name]) for p in self.parameters)
        if not self.steady:
            found["step"] = time_step / self.scales(case).time
            for name, values in self.boundary_values(case, np.append(time, np.add(time, time_step))).items():
                if values.ndim == 1 and any(isinstance(v, Series) for v in case.inputs.values()):
                    scale = self.scales(case).fields.get(self.field_on(name), 1.0)
                    found[f"{name}_now"], found[f"{name}_next"] = values.reshape(2, *np.shape(time)) / scale
        return found

    def initial_state(self, case: Case, grid: Any) -> dict[str, np.ndarray]:
        """State fields at the start, on a support. The default is the exact solution at t = 0 on a grid.

        Raises:
            InputError: the problem does not say how its cases begin.
        """
        if not isinstance(grid, Grid):
            raise InputError(f"{self.name}: only on a grid does the problem say how a case begins; got {grid!r}")
        return {k: v[0] for k, v in self.exact(case, np.zeros(1), grid.centres).items()}

    def exact(self, case: Case, times: Any, coords: tuple[np.ndarray, ...]) -> dict[str, np.ndarray]:
        """Exact fields over (time, z, y, x) (steady: (z, y, x)) at coordinates (x, y, z), where they are known.

        Raises:
            InputError: no exact solution is known for this case.
        """
        raise InputError(f"{self.name}: no exact solution is known for this case")

    def boundary_values(self, case: Case, times: Any) -> dict[str, np.ndarray]:
        """Values that boundaries are given, "<boundary>_<field>" over (time,) or (time, along the boundary)."""
        return {}

    def streamfunction(self, case: Case, grid: Grid) -> np.ndarray | None:
        """The initial stream function ψ on cell corners (at a resolution of its own), u = ∂ψ/∂y, v = −∂ψ/∂x; None where
        a case begins in another way."""
        return None

    def breaks(self, case: Case) -> tuple[float, ...]:
        """Times at which coefficients, or what passes an end, jump: a step of a scheme should end there."""
        return ()

    def stream(
        self, case: Case, points: Float[np.ndarray, "point 2"], time: float
    ) -> Float[np.ndarray, " point"] | None:
        """ψ where the only flux of the only balance is (∂ψ/∂y, −∂ψ/∂x) q, with ψ known beforehand; else None. The flow
        through a line is then the difference of ψ at its ends, with which a scheme keeps what is even even."""
        return None

    def field_on(self, value: str) -> str:
        """The field of a boundary value called "<boundary>_<field>"."""
        return max((f.name for f in self.fields if value.endswith(f"_{f.name}")), key=len, default="")

    def profiles(self, case: Case) -> tuple[Profile, ...]:
        """Lines along which a report draws a field; none for the centre lines of a velocity."""
        return ()

    def wall_units(self, case: Case) -> tuple[float | None, float] | None:
        """(friction velocity u_τ, kinematic viscosity ν) of a flow along walls; y⁺ = y u_τ / ν. u_τ is None where it is
        not known beforehand, say from the force that drives the flow. None where there are no walls."""
        return None

    def published(self) -> tuple[Published, ...]:
        """Curves that others have published of its cases."""
        return ()

    def balances(self) -> dict[str, Balance]:
        """The equations, by name; none for a problem that states none."""
        return {}

    def defect(self, case: Case, solution: Any) -> dict[str, np.ndarray]:
        """What a solution (xarray.Dataset) violates where there are no balances: a law's name -> (time,) numbers, 0
        where it holds, NaN where it is not known whether."""
        return {}

    def defect_floors(self, case: Case, solution: Any) -> dict[str, float]:
        """What `defect` would see of an exact solution, for laws of which that is known."""
        return {}

    def field(self, name: str) -> FieldSpec:
        for spec in self.fields:
            if spec.name == name:
                return spec
        raise InputError(f"{self.name}: no field is called {name!r}{suggest(name, [f.name for f in self.fields])}")

    @property
    def state_fields(self) -> tuple[str, ...]:
        return tuple(f.name for f in self.fields if f.role == "state")

    def __repr__(self) -> str:
        parameters = ", ".join(f"{p.name}={p.default:g}" for p in self.parameters)
        return f"{type(self).__name__}({', '.join(f.name for f in self.fields)}; {parameters})"

    def _repr_html_(self) -> str:
        from sciml._repr_html import problem_html

        return problem_html(self)


class PDEProblem(Problem):
    """A family of PDEs; each subclass states its equation and is registered under `name`."""

    @abstractmethod
    def boundary_conditions(self, case: Case) -> Conditions:
        """boundary name -> field name -> condition."""

    @abstractmethod
    def equations(self, q: Any, d: Operators, theta: Any, x: Any) -> dict[str, Balance]:
        """The balances, over fields and inputs `q`, operators `d`, parameters `theta`, coordinates `x`."""

    def boundary_values(self, case: Case, times: Any) -> dict[str, np.ndarray]:
        """Dirichlet data "<boundary>_<field>" over (time,) or, where a value varies in space, (time, `PLACES` along the
        boundary)."""
        parts, found = case.geometry.boundaries, {}
        for boundary, conditions in self.boundary_conditions(case).items():
            for name, condition in conditions.items():
                if condition.given:
                    varies = condition.in_space and callable(condition.value)
                    places = parts[boundary].places(PLACES) if varies else None
                    found[f"{boundary}_{name}"] = condition.over(times, places)
        return found

    def forcing(self, case: Case, quantities: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], str]:
        """What sources are beyond what `equations` states, as the quantities of a solution tell, where the equations
        state what is expected alone.

        Args:
            quantities: name -> (T,) numbers over the times of the solution; NaN where they are not known.

        Returns:
            name of a balance -> (component, T), in its unit; and what is to be remarked where it is not known, or "".
        """
        return {}, ""

    def balances(self) -> dict[str, Balance]:
        """`equations` with its symbols filled in."""
        q = Names("field or input", {f.name: Field(f.name) for f in self.fields} | {
            i.name: Input(i.name) for i in self.inputs
        })  # fmt: skip
        theta = Names("parameter", {p.name: Parameter(p.name) for p in self.parameters})
        return self.equations(q, Operators(self.dimensions), theta, Coordinates(self.dimensions))


@dataclass(frozen=True, eq=False)
class Case:
    """One member of a family: parameter values, inputs, and names for people.

    Args:
        problem: the family.
        parameters: values by name; missing ones take their defaults.
        inputs: arrays, or `Series` for inputs in time.
        label: a name for tables and plots.
        subset: the part of a benchmark that it belongs to.
        extents: the box that it lives in, (lower, upper) for x, y, z, where the problem does not say so itself.
        support: where its data live, for a case that comes with data; it is no part of what the case is.
    """

    problem: Problem
    parameters: Mapping[str, float] = field(default_factory=dict)
    inputs: Mapping[str, np.ndarray | Series] = field(default_factory=dict)
    label: str = ""
    subset: str = ""
    extents: tuple[tuple[float, float], ...] | None = None
    support: Support | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        p = self.problem
        specs = {s.name: s for s in p.parameters}
        known = [*specs, *(s.name for s in p.inputs)]
        for name in [*self.parameters, *self.inputs]:
            if name not in known:
                raise InputError(f"{p.name}: no parameter or input is called {name!r}{suggest(name, known)}")
        values = {n: s.checked(p.name, self.parameters.get(n, s.default)) for n, s in specs.items()}
        inputs = {s.name: s.checked(p.name, self.inputs[s.name]) for s in p.inputs if s.name in self.inputs}
        object.__setattr__(self, "parameters", MappingProxyType(values))
        object.__setattr__(self, "inputs", MappingProxyType(inputs))

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_"):
            for table in ("parameters", "inputs"):
                values = object.__getattribute__(self, table)
                if name in values:
                    return values[name]
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def __reduce__(self) -> Any:
        content = (self.problem, dict(self.parameters), dict(self.inputs), self.label, self.subset)
        return (_rebuild, (*content, self.extents, self.support))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Case):
            return NotImplemented
        same = self.problem.same(other.problem) and self.to_attrs()["case_json"] == other.to_attrs()["case_json"]
        return (
            same
            and self.inputs.keys() == other.inputs.keys()
            and all(_same(self.inputs[k], other.inputs[k]) for k in self.inputs)
        )

    def __hash__(self) -> int:
        return hash(self.to_attrs()["case_json"])

    @cached_property
    def geometry(self) -> Geometry:
        return self.problem.geometry(self)

    @property
    def boundary_conditions(self) -> Conditions:
        """What the problem says on each boundary of each field.

        Raises:
            InputError: what it says is no condition.
        """
        problem = self.problem
        found = problem.boundary_conditions(self) if isinstance(problem, PDEProblem) else {}
        for boundary, fields in found.items():
            for name, condition in fields.items():
                if not isinstance(condition, Condition):
                    raise InputError(
                        f"{problem.name}: boundary {boundary!r} has {condition!r:.60} for {name!r}, expected a "
                        "condition such as Dirichlet(value)"
                    )
        return found

    def on(self, support: Support | None) -> Case:
        """The same case with data on `support`."""
        problem = self.problem if support is None else self.problem.within(support)
        parts = {"parameters": dict(self.parameters), "inputs": dict(self.inputs)}
        return replace(self, problem=problem, support=support, **parts)

    def mask(self, grid: Grid) -> np.ndarray | None:
        """(*shape) 1 inside the domain: what the grid itself leaves out, else what lies outside of the geometry; None
        where all cells are inside."""
        if grid.mask is not None:
            return grid.mask
        inside = self.geometry.mask(grid)
        return None if inside.all() else inside

    @property
    def scales(self) -> Scales:
        return self.problem.scales(self)

    def exact(self, times: Any, coords: tuple[np.ndarray, ...]) -> dict[str, np.ndarray]:
        return self.problem.exact(self, times, coords)

    def input_on(self, name: str, grid: Any) -> np.ndarray:
        """A field input on a support: as given where shapes agree, else resampled to the nearest cell of a grid (which
        keeps jumps sharp); of a function given at points of its own see `scattered`; else the problem's default."""
        spec = next((s for s in self.problem.inputs if s.name == name), None)
        if spec is None:
            options = [s.name for s in self.problem.inputs]
            raise InputError(f"{self.problem.name}: no input is called {name!r}{suggest(name, options)}")
        if name in self.inputs:
            values = self.inputs[name]
            assert isinstance(values, np.ndarray)
            if spec.at:
                points = grid.points()
                return self.input_between(name, points.reshape(-1, points.shape[-1])).reshape(points.shape[:-1])
            if values.shape == grid.shape:
                return values
            if not isinstance(grid, Grid) or values.ndim != len(grid.shape):
                raise InputError(f"{name}: has shape {values.shape}, but the data live on {grid.shape}")
            for axis, (n, have) in enumerate(zip(grid.shape, values.shape, strict=True)):
                if n != have:
                    faces = grid.faces[grid.dimensions - 1 - axis]
                    share = ((faces[1:] + faces[:-1]) / 2 - faces[0]) / (faces[-1] - faces[0])
                    values = np.take(values, np.minimum((share * have).astype(int), have - 1), axis=axis)
            return values
        if spec.default is None:
            raise InputError(f"{self.problem.name}: the case has no input {name!r}, and there is no default")
        coordinates = [grid.points()[..., a] for a in range(grid.dimensions)]
        return np.broadcast_to(np.asarray(spec.default(self.parameters, *coordinates), dtype=np.float64), grid.shape)

    def input_between(self, name: str, points: Float[np.ndarray, "point dimension"]) -> Float[np.ndarray, " point"]:
        """A function given at points of its own, anywhere; see `scattered`.

        Raises:
            InputError: its points are missing, or are not as many.
        """
        spec = next(s for s in self.problem.inputs if s.name == name)
        values = np.asarray(self.inputs[name], dtype=np.float64)
        if spec.at not in self.inputs:
            raise InputError(f"{self.problem.name}: {name}: expected {spec.at} beside it")
        places, expected = np.asarray(self.inputs[spec.at], dtype=np.float64), (len(values), points.shape[1])
        if places.shape != expected:
            raise InputError(f"{self.problem.name}: {spec.at}: expected {expected} coordinates, got {places.shape}")
        return scattered(places, values, points)

    def to_attrs(self) -> dict[str, str]:
        """What names this case in a file: "problem" and "case_json"."""
        problem = self.problem.to_attrs()
        content: dict[str, Any] = {"parameters": dict(self.parameters)}
        if "problem_json" not in problem:
            content["options"] = self.problem.options
        content |= {k: v for k, v in (("label", self.label), ("subset", self.subset)) if v}
        if self.extents is not None:
            content["extents"] = [list(pair) for pair in self.extents]
        return {**problem, "case_json": json.dumps(content, sort_keys=True)}

    def input_variables(self) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
        """The inputs as variables "input_<name>" -> (dims, array); a series gives "_times" and "_values"."""
        found: dict[str, tuple[tuple[str, ...], np.ndarray]] = {}
        for spec in self.problem.inputs:
            value = self.inputs.get(spec.name)
            if isinstance(value, Series):
                dim = (f"{spec.name}_knot",)
                found[f"input_{spec.name}_times"] = (dim, value.times)
                found[f"input_{spec.name}_values"] = (dim, value.values)
            elif value is not None:
                found[f"input_{spec.name}"] = (tuple(f"input_{d}" for d in spec.dims), value)
        return found

    @staticmethod
    def from_parts(attrs: Mapping[str, Any], variables: Mapping[str, Any]) -> Case:
        """Rebuild a case from `to_attrs` and `input_variables` (plain arrays by name).

        Raises:
            InputError: attributes are missing or do not describe a case.
        """
        for key in ("problem", "case_json"):
            if key not in attrs:
                raise InputError(f"case: attribute {key!r} is missing; expected a solution or data set made by sciml")
        try:
            content = json.loads(attrs["case_json"])
            parameters, options = dict(content["parameters"]), dict(content.get("options", {}))
            box = content.get("extents")
            extents = None if box is None else tuple((float(a), float(b)) for a, b in box)
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"case: attribute 'case_json' does not describe a case ({error})") from None
        problem = rebuild(attrs, options)
        inputs: dict[str, Any] = {}
        for spec in problem.inputs:
            if f"input_{spec.name}_times" in variables:
                knots = [np.asarray(variables[f"input_{spec.name}_{part}"]) for part in ("times", "values")]
                inside = np.isfinite(knots[0])
                inputs[spec.name] = Series(knots[0][inside], knots[1][inside])
            elif f"input_{spec.name}" in variables:
                inputs[spec.name] = np.asarray(variables[f"input_{spec.name}"])
        return Case(problem, parameters, inputs, content.get("label", ""), content.get("subset", ""), extents)

    def __repr__(self) -> str:
        values = ", ".join(f"{k}={v:g}" for k, v in self.parameters.items())
        inputs = "".join(f", {k}={_shape_of(v)}" for k, v in self.inputs.items())
        name = repr(self.problem.name) if self.problem.needs_extents else ""
        return f"{type(self.problem).__name__}({name}).case({values}{inputs})"

    def _repr_html_(self) -> str:
        from sciml._repr_html import case_html

        return case_html(self)


def beginning(case: Case, support: Any, names: Sequence[str] | None = None) -> dict[str, np.ndarray]:
    """Fields at the start as the problem of a case says, float64 over the whole support; all of them, or `names`.

    Raises:
        InputError: the problem does not say how its cases begin, leaves one of `names` out, or gives what is not
            numbers or does not fit the support.
    """
    given = case.problem.initial_state(case, support)
    name = case.problem.name
    if not isinstance(given, Mapping):
        raise InputError(f"{name}: initial_state gives {type(given).__name__}, expected arrays by names of fields")
    missing = [n for n in (given if names is None else names) if n not in given]
    if missing:
        raise InputError(
            f"{name}: initial_state does not say how {missing[0]!r} begins, only {sorted(map(str, given))}; "
            "use resume from a known frame"
        )
    found = {}
    for n in given if names is None else names:
        try:
            values = np.asarray(given[n], np.float64)
        except (TypeError, ValueError):
            raise InputError(f"{name}: initial_state gives {n!r} as {given[n]!r:.60}, expected numbers") from None
        try:
            found[n] = np.array(np.broadcast_to(values, support.shape))
        except ValueError:
            raise InputError(
                f"{name}: initial_state gives {n!r} over {values.shape}, expected {support.shape}, the shape of "
                "the support that it is given"
            ) from None
    return found


def rebuild(attrs: Mapping[str, Any], options: Mapping[str, Any]) -> Problem:
    """The problem that `Problem.to_attrs` and `options` name: "problem" is a name in the registry, or else "data" with
    everything in `problem_json`.

    Raises:
        InputError: no such problem, or options that do not fit it.
    """
    from sciml import registry

    name = str(attrs["problem"])
    if "problem_json" in attrs:
        try:
            name, options = "data", json.loads(str(attrs["problem_json"]))
        except ValueError as error:
            raise InputError(f"problem: attribute 'problem_json' is not JSON ({error})") from None
    try:
        family = registry.problems.get(name)
    except InputError as error:
        raise InputError(f"{error}; one's own is imported first (sciml --import FILE.py)") from None
    try:
        return family(**options)
    except TypeError as error:
        raise InputError(f"problem: {name!r} has options {str(options)[:80]} that do not fit: {error}") from None


def _rebuild(*content: Any) -> Case:
    return Case(*content)


def _same(a: Any, b: Any) -> bool:
    return a == b if isinstance(a, Series) else np.array_equal(a, b)


def _shape_of(value: Any) -> str:
    return repr(value) if isinstance(value, Series) else "array" + str(value.shape)
