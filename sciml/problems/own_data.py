"""A problem made from a data set: somebody's own data, which need no class."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from sciml.errors import InputError, is_number
from sciml.geometry import Box
from sciml.problem import Case, FieldSpec, InputSpec, Invariant, ParameterSpec, Problem, Scales
from sciml.problems._observe import Observed, observe
from sciml.registry import problems
from sciml.support import Support

if TYPE_CHECKING:
    from sciml.problems.designs import Design

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,127}\Z")  # what files take
_TAKEN = ("time", "x", "y", "z", "mask", "node", "case", "obs", "frame", "row_size", "status", "split", "subset")
_VELOCITIES = (("u", "v", "w"), ("u", "v"), ("vx", "vy", "vz"), ("vx", "vy"), ("ux", "uy", "uz"), ("ux", "uy"))


@problems.register("data")
class DataProblem(Problem):
    """Fields over space (and time) that depend on parameters and inputs, by an unknown law.

    Args:
        name: what it is called; a name of this package's own problems is refused.
        fields: the unknowns, as `FieldSpec`s or names.
        parameters: `ParameterSpec`s or names.
        dimensions: of space.
        steady: whether a case has one frame and no time.
        inputs: static fields that a case is given.
        periodic: for each axis, whether the domain is periodic along it. A `Grid` that says so, of a case or of its
            solution, is enough.
        velocity: fields that make up a velocity; by default fields called u, v, w or the like.
        title, time_unit, length_unit: for people.
        observed: what the data keep, as found in training.
    """

    name = "data"  # in the registry; an object has a name of its own
    needs_extents = True
    scaled = False

    def __init__(
        self,
        name: str,
        fields: Sequence[FieldSpec | str | Mapping[str, Any]],
        parameters: Sequence[ParameterSpec | str | Mapping[str, Any]] = (),
        dimensions: int = 2,
        *,
        steady: bool = False,
        inputs: Sequence[InputSpec | Mapping[str, Any]] = (),
        periodic: Sequence[bool] = (),
        velocity: Sequence[str] | None = None,
        title: str = "",
        time_unit: str = "s",
        length_unit: str = "m",
        observed: Observed | Mapping[str, Any] | None = None,
    ):
        if not isinstance(name, str) or not name:
            raise InputError(f"name: expected a word for the problem, got {name!r}")
        if name in problems.names() and name != "data":
            raise InputError(f"name: {name!r} is a problem of this package, expected another name for one's own data")
        if dimensions not in (1, 2, 3):
            raise InputError(f"dimensions: expected 1, 2 or 3, got {dimensions!r}")
        self.name, self.title = name, title or name.replace("_", " ")
        self.dimensions, self.steady = int(dimensions), bool(steady)
        self.fields = tuple(_spec(FieldSpec, f, {"unit": "1"}) for f in fields)
        self.parameters = tuple(_spec(ParameterSpec, p, {"unit": "1", "default": 0.0}) for p in parameters)
        self.inputs = tuple(_spec(InputSpec, i, {}) for i in inputs)
        if not self.fields:
            raise InputError("fields: expected at least one, got none")
        self.box = tuple(bool(p) for p in periodic) or (False,) * dimensions
        if len(self.box) != dimensions:
            raise InputError(f"periodic: expected {dimensions} entries, got {len(self.box)}")
        given = [s.name for s in (*self.fields, *self.parameters, *self.inputs)]
        for n in given:
            if not isinstance(n, str) or not _NAME.match(n) or n in _TAKEN:
                raise InputError(f"fields, parameters, inputs: {n!r:.60} cannot be a name: expected letters, digits, "
                                 f"_ and none of {', '.join(_TAKEN)}")  # fmt: skip
            if given.count(n) > 1:
                raise InputError(f"fields, parameters, inputs: {n!r} is given {given.count(n)} times, expected once")
        names = {f.name for f in self.fields}
        guess = next((v for v in _VELOCITIES if len(v) == dimensions and set(v) <= names), ())
        self.velocity = tuple(guess if velocity is None else velocity)
        for n in self.velocity:
            self.field(n)
        self.time_unit, self.length_unit = time_unit, length_unit
        content = dict(observed) if isinstance(observed, Mapping) else {}
        if "bounds" in content:
            content["bounds"] = {k: (float(a), float(b)) for k, (a, b) in content["bounds"].items()}
        if "conserved" in content:
            content["conserved"] = tuple(content["conserved"])
        self.observed = observed if isinstance(observed, Observed) else Observed(**content)
        self.invariants = tuple(Invariant(f"total {n}", n, "1") for n in self.observed.conserved)

    @property
    def options(self) -> dict[str, Any]:
        found: dict[str, Any] = {
            "name": self.name, "title": self.title, "dimensions": self.dimensions, "steady": self.steady,
            "fields": [_plain(f) for f in self.fields], "parameters": [_plain(p) for p in self.parameters],
            "inputs": [_plain(i) for i in self.inputs], "periodic": list(self.box), "velocity": list(self.velocity),
            "time_unit": self.time_unit, "length_unit": self.length_unit,
        }  # fmt: skip
        if self.observed != Observed():
            found["observed"] = asdict(self.observed)
        return json.loads(json.dumps(found))

    def to_attrs(self) -> dict[str, str]:
        return {"problem": self.name, "problem_json": json.dumps(self.options, sort_keys=True)}

    @classmethod
    def design(cls) -> Design:
        raise InputError("data: somebody's own data state no equation to solve; sciml import reads them from files")

    def same(self, other: Problem) -> bool:
        """Whether fields, parameters and dimensions agree; units, ranges and what was observed may differ."""
        if not isinstance(other, DataProblem):
            return False
        mine, its = ((p.name, p.dimensions, p.steady, p.box, {f.name for f in p.fields},
                      {q.name for q in p.parameters}) for p in (self, other))  # fmt: skip
        return mine == its

    def with_observed(self, observed: Observed) -> DataProblem:
        """The same problem, knowing what its data keep."""
        content: dict[str, Any] = self.options | {"observed": asdict(observed)}
        return DataProblem(**content)

    def within(self, support: Support) -> DataProblem:
        """Axes whose ends a support identifies are periodic."""
        around = support.periodic
        if len(around) != self.dimensions or not any(p and not mine for p, mine in zip(around, self.box, strict=True)):
            return self
        content: dict[str, Any] = self.options
        box = [bool(p or mine) for p, mine in zip(around, self.box, strict=True)]
        return DataProblem(**{**content, "periodic": box})

    def informed(self, fields: tuple[str, ...], frames: Iterable[tuple[Support, Any, np.ndarray]]) -> DataProblem:
        velocity = self.velocity if set(self.velocity) <= set(fields) else ()
        return self.with_observed(observe(frames, fields, velocity))

    def geometry(self, case: Case) -> Box:
        extents = case.extents
        if extents is None and case.support is not None:
            extents = case.support.extents
        if extents is None:
            raise InputError(f"{self.name}: the case does not say where it lives; give extents or a support")
        # one point, or points in a plane, have an extent of their own all the same
        wide = [(a, b) if b > a else (a - 0.5, b + 0.5) for a, b in extents]
        return Box(tuple(a for a, _ in wide), tuple(b for _, b in wide), self.box)

    def scales(self, case: Case) -> Scales:
        """One for all: what is large and small is learned from the data."""
        return Scales(1.0, 1.0, {f.name: 1.0 for f in self.fields})

    def features(self, case: Case, time: float, time_step: float) -> dict[str, float]:
        """The parameters as given (the logarithm of those that span decades), and the step."""
        found = dict(p.feature(case.parameters[p.name]) for p in self.parameters)
        return found if self.steady else found | {"step": time_step}

    def initial_state(self, case: Case, grid: Any) -> dict[str, np.ndarray]:
        raise InputError(
            f"{self.name}: the data do not say how a case begins; use resume(case, frame, times) from a known frame"
        )

    def __repr__(self) -> str:
        parameters = ", ".join(p.name for p in self.parameters)
        return f"DataProblem({self.name!r}: {', '.join(f.name for f in self.fields)}; {parameters})"

    @classmethod
    def from_dataset(cls, dataset: Any) -> DataProblem:
        """From a packed data set: fields, units, parameters with their ranges, inputs; see `sciml.data.schema`.

        Raises:
            InputError: a data set that names no fields.
        """
        if "problem_json" in dataset.attrs:
            return cls(**json.loads(str(dataset.attrs["problem_json"])))
        names = str(dataset.attrs.get("fields", "")).split()
        nodal = "node_row_size" in dataset.variables
        fields = [
            FieldSpec(
                n, str(dataset[n].attrs.get("units", "1")), "node" if nodal else "cell",
                description=str(dataset[n].attrs.get("long_name", n)),
            )
            for n in names
        ]  # fmt: skip
        parameters = []
        for n in str(dataset.attrs.get("parameters", "")).split():
            values = np.asarray(dataset[n].values, dtype=np.float64)
            default = float(np.median(values)) if values.size else 0.0
            note = dataset[n].attrs
            parameters.append(
                ParameterSpec(n, str(note.get("units", "1")), default, description=str(note.get("long_name", n)))
            )
        if not fields:
            raise InputError("data: the data set names no fields")
        if nodal:
            axes = [a for a in "xyz" if a in dataset.variables]
        else:
            axes = [a for a in "xyz" if a in dataset[names[0]].dims]
        inputs = [
            InputSpec(
                str(v).removeprefix("input_"), str(dataset[v].attrs.get("units", "1")), "coefficient",
                tuple(str(d).removeprefix("input_") for d in dataset[v].dims[1:]),
            )
            for v in dataset.variables
            if str(v).startswith("input_") and not str(v).endswith(("_times", "_row_size")) and dataset[v].ndim > 1
        ]  # fmt: skip
        return cls(
            str(dataset.attrs.get("problem", "own_data")), fields, parameters, len(axes),
            steady="time" not in dataset.variables, inputs=inputs,
            time_unit=str(dataset["time"].attrs.get("units", "s")) if "time" in dataset.variables else "s",
        )  # fmt: skip


def _spec(kind: Any, given: Any, defaults: Mapping[str, Any]) -> Any:
    """A spec from itself, from its JSON, or from a name alone."""
    if isinstance(given, kind):
        return given
    if isinstance(given, str) and defaults:
        return kind(given, **defaults)
    if not isinstance(given, Mapping):
        wanted = f"a name or a {kind.__name__}" if defaults else f"a {kind.__name__}"
        raise InputError(f"{kind.__name__}: expected {wanted}, got {given!r:.60}")
    content = dict(given)
    for name in ("minimum", "maximum"):
        if name in content and not is_number(content[name]):
            content.pop(name)
    if "dims" in content:
        content["dims"] = tuple(content["dims"])
    try:
        return kind(**content)
    except TypeError as error:
        raise InputError(f"{kind.__name__}: {error}") from None


def _plain(spec: Any) -> dict[str, Any]:
    """JSON values; infinite ends of a range, functions and an ordinary parameter's word on logarithms are left out."""
    return {
        k: v
        for k, v in asdict(spec).items()
        if not callable(v) and v is not None and not (isinstance(v, float) and not np.isfinite(v))
        and (k, v) != ("logarithmic", False)
    }  # fmt: skip
