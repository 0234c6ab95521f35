"""What a problem is made of: its fields, parameters and inputs, what each may be, and their scales."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from sciml.arrays import plain, unmasked
from sciml.boundary import Series
from sciml.errors import InputError
from sciml.geometry import AXES


@dataclass(frozen=True)
class FieldSpec:
    """An unknown.

    Args:
        role: "state" fields determine the future; "diagnostic" ones (pressure of an incompressible flow) follow.
        location: where values live: "cell", "face" or "node".
        bounds: the least and the largest value that it can have, where there are such.
    """

    name: str
    unit: str
    location: str = "cell"
    role: str = "state"
    description: str = ""
    bounds: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        for what, value, known in (
            ("location", self.location, ("cell", "face", "node")), ("role", self.role, ("state", "diagnostic")),
        ):  # fmt: skip
            if value not in known:
                raise InputError(f"field {self.name!r}: {what} is {value!r}, expected one of {', '.join(known)}")


@dataclass(frozen=True)
class ParameterSpec:
    """A scalar parameter with its admissible range, ends included unless `open_minimum`.

    Args:
        logarithmic: a positive number that spans decades: learned solvers see its logarithm to base 10.

    Raises:
        InputError: a default that has no logarithm.
    """

    name: str
    unit: str
    default: float
    minimum: float = -math.inf
    maximum: float = math.inf
    description: str = ""
    open_minimum: bool = False
    logarithmic: bool = False

    def __post_init__(self) -> None:
        if self.logarithmic and self.minimum <= 0:
            object.__setattr__(self, "minimum", 0.0)
            object.__setattr__(self, "open_minimum", True)
        if self.logarithmic and not self.default > 0:
            raise InputError(f"parameter {self.name!r}: default is {self.default!r}, expected > 0 if logarithmic")

    def feature(self, value: float) -> tuple[str, float]:
        """What learned solvers are told of a value: the name of a number, and the number."""
        return (f"log10_{self.name}", math.log10(value)) if self.logarithmic else (f"parameter_{self.name}", value)

    @property
    def shown(self) -> str:
        """The name as people read it, with the unit in brackets."""
        return self.name.replace("_", " ") + (f" ({self.unit})" if self.unit not in ("", "1") else "")

    def checked(self, problem: str, value: Any) -> float:
        """`value` as a value of this parameter.

        Raises:
            InputError: it cannot be that; the message names the problem.
        """
        try:
            number = float(unmasked(f"{problem}: {self.name}", value))
        except (TypeError, ValueError):
            raise InputError(f"{problem}: {self.name} is {value!r}, expected a number{self._in()}") from None
        below = number <= self.minimum if self.open_minimum else number < self.minimum
        if not math.isfinite(number) or below or number > self.maximum:
            left = "(" if self.open_minimum or self.minimum == -math.inf else "["
            right = ")" if self.maximum == math.inf else "]"
            interval = f"{left}{self.minimum:g}, {self.maximum:g}{right}"
            raise InputError(f"{problem}: {self.name} is {number:g}{self._in(' ')}, expected a value in {interval}")
        return number

    def _in(self, word: str = " in ") -> str:
        return "" if self.unit in ("", "1") else f"{word}{self.unit}"


@dataclass(frozen=True)
class InputSpec:
    """A field or time series that a case is given.

    Args:
        kind: "coefficient", "source", "initial", "boundary" or "geometry".
        dims: ("time",) for a `Series`; else array dimensions, each "x", "y", "z" (cells) or "x_node", ... (nodes).
        default: function (parameters, *coordinates x, y, ...) -> values for cell fields; None means that the problem
            says itself what absence means.
        positive: whether every value must be > 0.
        at: for a function given at points of its own: the input (N, D) that holds them; "" for one that lives where
            the solution does.
    """

    name: str
    unit: str
    kind: str
    dims: tuple[str, ...]
    default: Callable[..., Any] | None = None
    positive: bool = False
    description: str = ""
    at: str = ""

    def covers(self, dimensions: int) -> bool:
        """Whether it is a coefficient or source with values all over the domain, on cells or at points of its own."""
        return self.kind in ("coefficient", "source") and (bool(self.at) or self.dims == AXES[:dimensions][::-1])

    def checked(self, problem: str, value: Any) -> np.ndarray | Series:
        """`value` as this input: an array that cannot be written to, or a series.

        Raises:
            InputError: it cannot be that; the message names the problem.
        """
        if self.dims == ("time",):
            if isinstance(value, Series):
                return value
            if isinstance(value, tuple) and len(value) == 2:
                return Series(*value)
            raise InputError(f"{problem}: {self.name} is a {type(value).__name__}, expected Series(times, values)")
        try:
            array = np.array(plain(f"{problem}: {self.name}", value))
            if array.dtype.kind not in "biufO":
                raise TypeError
            array = array.astype(np.float64) if array.dtype.kind not in "f" else array
        except InputError:
            raise
        except (TypeError, ValueError):
            raise InputError(f"{problem}: {self.name} is {value!r}, expected numbers over {self.dims}") from None
        if array.ndim != len(self.dims) or array.size == 0:
            raise InputError(
                f"{problem}: {self.name} has shape {array.shape}, expected {len(self.dims)} axes {self.dims}"
            )
        if not np.isfinite(array).all():
            raise InputError(f"{problem}: {self.name} holds values that are not finite")
        if self.positive and not (array > 0).all():
            raise InputError(f"{problem}: {self.name} has a minimum of {array.min():g}, expected values > 0")
        array.flags.writeable = False
        return array


@dataclass(frozen=True)
class Scales:
    """Characteristic magnitudes: L, U, T and one for each field. Normalisation, Δt and the audit share them."""

    length: float
    time: float
    fields: Mapping[str, float]
    velocity: float = 1.0
    pressure: float = 1.0


@dataclass(frozen=True)
class Invariant:
    """A linear functional ∫ weight·field dV that the equations conserve (periodic or closed domains).

    Args:
        field: the field.
        rate: its time derivative; 0 for a conserved quantity.
    """

    name: str
    field: str
    unit: str
    rate: float = 0.0
