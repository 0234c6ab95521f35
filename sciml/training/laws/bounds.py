"""Bounds of a field."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from sciml.errors import InputError
from sciml.training.laws.base import Constraint, Law, limits, named

if TYPE_CHECKING:
    from sciml.problem import Case
    from sciml.support import Support
    from sciml.training.encoding import Encoding


@dataclass(frozen=True)
class Bounds(Constraint):
    """low ≤ q ≤ high at every point, q' = min(max(q, low), high): the nearest values that obey.

    Where a bound is met, the gradient of a loss with respect to what lies beyond it is zero.

    Args:
        field: its name.
        low, high: in its unit; None for no bound.

    Raises:
        InputError: no bound, or low above high.
    """

    field: str
    low: float | None = None
    high: float | None = None

    pointwise: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.low is None and self.high is None:
            raise InputError("low: expected a number, or one for high; got neither")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise InputError(f"low: expected at most high, {self.high:g}, got {self.low:g}")

    def changes(self, encoding: Encoding) -> tuple[str, ...]:
        named(self.field, encoding, "Bounds")
        return (self.field,)

    def limits(self) -> dict[str, tuple[float, float]]:
        return {self.field: limits(self.low, self.high)}

    def law(self, encoding: Encoding, case: Case, support: Support) -> Law:
        return _Between(encoding.fields.index(self.field), *limits(self.low, self.high))


@dataclass(frozen=True)
class _Between(Law):
    pointwise: ClassVar[bool] = True

    index: int
    low: float
    high: float

    @property
    def kind(self) -> Hashable:
        return self

    def apply(self, laws: Sequence[_Between], answers: Tensor, before: Tensor | None) -> Tensor:
        held = answers[:, :, self.index].clamp(self.low, self.high)
        return torch.cat([answers[:, :, : self.index], held[:, :, None], answers[:, :, self.index + 1 :]], 2)
