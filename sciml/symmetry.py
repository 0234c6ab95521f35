"""Exact symmetries of a problem: maps on (case, solution) under which solutions stay solutions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sciml.errors import InputError

if TYPE_CHECKING:
    from sciml.problem import Case

_AXES = ("x", "y", "z")


@dataclass(frozen=True)
class Symmetry:
    """If u solves the case c, then its image solves `case(c)`.

    The image of a field is its array with the axes of `flip` reversed and then, where `swap` names two axes, these
    exchanged; fields in `odd` change sign, and `pairs` names fields that change places (velocity components under an
    exchange of axes).

    Args:
        name: what people call it.
        case: the image of a case.
        flip: axes that are reversed, about the middle of the domain.
        swap: two axes that are exchanged, or none.
        odd: fields that change their sign.
        pairs: pairs of fields that change places.
    """

    name: str
    case: Callable[[Case], Case]
    flip: tuple[str, ...] = ()
    swap: tuple[str, ...] = ()
    odd: tuple[str, ...] = ()
    pairs: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if any(a not in _AXES for a in (*self.flip, *self.swap)) or len(self.swap) not in (0, 2):
            raise InputError(f"symmetry: flip is {self.flip} and swap {self.swap}, expected axes, and none or two")

    def sources(self, fields: tuple[str, ...]) -> list[int]:
        """For each field of the image the number of the field that it comes from."""
        other = {a: b for pair in self.pairs for a, b in (pair, pair[::-1])}
        return [fields.index(other.get(name, name)) for name in fields]

    def signs(self, fields: tuple[str, ...]) -> list[float]:
        """For each field of the image its factor."""
        return [-1.0 if name in self.odd else 1.0 for name in fields]

    def move(self, values: Any) -> Any:
        """The image of the positions alone, for a NumPy array or torch tensor (..., [z, [y,]] x)."""
        order = [-1 - _AXES.index(a) for a in self.flip]
        if order:
            values = np.flip(values, tuple(order)) if isinstance(values, np.ndarray) else values.flip(order)
        if self.swap:
            a, b = (-1 - _AXES.index(axis) for axis in self.swap)
            values = values.swapaxes(a, b)
        return values

    def solution(self, case: Case, fields: dict[str, Any]) -> tuple[Case, dict[str, Any]]:
        """The image of a case and of its fields, name -> array (..., [z, [y,]] x)."""
        names = tuple(fields)
        found = {
            name: sign * self.move(fields[names[source]])
            for name, source, sign in zip(names, self.sources(names), self.signs(names), strict=True)
        }
        return self.case(case), found
