"""Integrals that stay what they are."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sciml.errors import InputError
from sciml.training.laws.base import Constraint, Law, limits, named

if TYPE_CHECKING:
    from sciml.problem import Case
    from sciml.support import Support
    from sciml.training.encoding import Encoding

HALVINGS = 64  # of the interval in which λ is searched
SLACK = 1e-6  # of the total that bounds allow, by which rounding may go beyond it


@dataclass(frozen=True)
class ConservedTotal(Constraint):
    """∫ q' dV = ∫ q dV of the frame before, with low ≤ q' ≤ high: the nearest such values,

        q' = min(max(q̃ + λ, low), high),

    where λ is the one number that makes the integral right (found to rounding, its derivative being exact). It is for
    fields whose integral the problem knows as an invariant.

    Args:
        field: its name.
        low, high: in its unit; None for no bound.

    Raises:
        InputError: low not below high; when answering, a total that no values within the bounds have.
    """

    field: str
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise InputError(f"low: expected less than high, {self.high:g}, got {self.low:g}")

    def changes(self, encoding: Encoding) -> tuple[str, ...]:
        named(self.field, encoding, "ConservedTotal")
        problem = encoding.problem
        if not any(i.field == self.field and i.rate == 0 for i in problem.invariants):
            known = ", ".join(i.name for i in problem.invariants) or "none"
            raise InputError(
                f"constraints: ConservedTotal: the integral of {self.field} is no invariant of {problem.name} ({known})"
            )
        if not encoding.stepping.past or not encoding.sees_start:
            raise InputError(
                "constraints: ConservedTotal: expected an operator that is given a frame, to keep its total"
            )
        return (self.field,)

    def limits(self) -> dict[str, tuple[float, float]]:
        return {self.field: limits(self.low, self.high)}

    def law(self, encoding: Encoding, case: Case, support: Support) -> Law:
        index = encoding.fields.index(self.field)
        scale = float(encoding.factors([case])[0].flatten()[index].abs())

        def make() -> tuple[_Total, Support]:  # with the support, so that its identity is no other one's
            weights = torch.from_numpy(encoding.layout(support.weights(), support).copy()).double()
            if support.inside is not None:
                weights = weights * torch.from_numpy(encoding.layout(support.inside, support).astype(float))
            return _Total(index, weights, *limits(self.low, self.high), scale), support

        return encoding.kept.get(("total", self, id(support), scale), make)[0]


@dataclass(frozen=True, eq=False)
class _Total(Law):
    """Args:
    weights: (*space,) volumes, zero where there is nothing.
    scale: of the field, against which rounding is measured.
    """

    index: int
    weights: Tensor
    low: float
    high: float
    scale: float = 0.0

    def to(self, device: Any) -> _Total:
        return replace(self, weights=self.weights.to(device))

    @property
    def kind(self) -> Hashable:
        return (self.index, self.low, self.high)

    @property
    def bounded(self) -> bool:
        return math.isfinite(self.low) or math.isfinite(self.high)

    def apply(self, laws: Sequence[_Total], answers: Tensor, before: Tensor | None) -> Tensor:
        assert before is not None
        space = answers.shape[3:]
        weights = torch.stack([_filled(law.weights, space) for law in laws]).to(answers.device).flatten(1)[:, None]
        q, was = answers[:, :, self.index].flatten(2), before[:, self.index].flatten(1)[:, None]
        total = (was * weights).sum(-1, keepdim=True)
        scale = max(law.scale for law in laws)
        held = self._held(q, weights, total, scale).unflatten(2, space)
        return torch.cat([answers[:, :, : self.index], held[:, :, None], answers[:, :, self.index + 1 :]], 2)

    def _held(self, q: Tensor, weights: Tensor, total: Tensor, scale: float) -> Tensor:
        volume = weights.sum(-1, keepdim=True)
        most = volume * max(scale, *(abs(b) for b in (self.low, self.high) if math.isfinite(b)), 0.0)
        beyond = torch.maximum(self.low * volume - total, total - self.high * volume)
        if self.bounded and bool((beyond > SLACK * torch.maximum(most, total.abs())).any()):
            mean = float((total / volume).flatten()[int(beyond.argmax())])
            raise InputError(
                f"constraints: ConservedTotal: the frame before has a mean of {mean:.6g}, "
                f"which no values within {self.low:g} and {self.high:g} have"
            )
        total = torch.minimum(torch.maximum(total, self.low * volume), self.high * volume) if self.bounded else total
        q = torch.where(weights > 0, q, torch.zeros((), dtype=q.dtype, device=q.device))
        shift = (total - (q * weights).sum(-1, keepdim=True)) / volume
        if not self.bounded:
            return q + shift
        with torch.no_grad():  # which values meet a bound: the integral grows with λ, so that halving finds it
            lower = self.low - q.amax(-1, keepdim=True) if math.isfinite(self.low) else shift
            upper = self.high - q.amin(-1, keepdim=True) if math.isfinite(self.high) else shift
            for _ in range(HALVINGS):
                shift = 0.5 * (lower + upper)
                short = ((q + shift).clamp(self.low, self.high) * weights).sum(-1, keepdim=True) < total
                lower, upper = torch.where(short, shift, lower), torch.where(short, upper, shift)
        at_low, at_high = q + shift <= self.low, q + shift >= self.high
        free, fixed = ~(at_low | at_high), torch.zeros_like(q)
        for bound, there in ((self.low, at_low), (self.high, at_high)):
            fixed = fixed.masked_fill(there, bound) if math.isfinite(bound) else fixed
        slope = (weights * free).sum(-1, keepdim=True)
        rest = total - (fixed * weights).sum(-1, keepdim=True) - (q * free * weights).sum(-1, keepdim=True)
        exact = torch.where(slope > 0, rest / slope.clamp_min(1e-300), shift)
        return torch.where(free, q + exact, fixed).clamp(self.low, self.high)


def _filled(weights: Tensor, space: Sequence[int]) -> Tensor:
    """With zeros at points that fill up a batch."""
    if tuple(weights.shape) == tuple(space):
        return weights
    return torch.nn.functional.pad(weights, (0, space[-1] - weights.shape[-1]))
