"""What hard constraints of a surrogate have in common.

Between an operator and whoever reads its answers stands, in physical units and in float64,

    û = L(ũ),   ũ = what the operator says (of residual models: the last frame and its increment),

L being the identity on what obeys the law, so that a model that is right is left alone. In training the gradient goes
through L, and a rollout goes on from û.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sciml.errors import InputError, suggest
from sciml.training.parts import Part

if TYPE_CHECKING:
    from sciml.boundary import Condition
    from sciml.problem import Case
    from sciml.support import Support
    from sciml.training.encoding import Encoding


PROBES = (0.0, 0.037, 0.19, 0.37, 0.62, 0.83, 1.0)  # shares of the time of a case


class Constraint(Part, family="constraint"):
    """A law that answers obey, whatever the weights; abstract. What it demands of a case follows from the case.

    Attributes:
        pointwise: whether it asks something of each value alone, so that answers at a few points obey as well.
    """

    pointwise: ClassVar[bool] = False

    @abstractmethod
    def changes(self, encoding: Encoding) -> tuple[str, ...]:
        """The fields that it changes; refuses operators and problems for which it has no meaning."""

    def ansatz(self, encoding: Encoding, case: Case, points: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """(φ, g), each (field, *points), of û = g + φ N at points (*points, D); None for laws that are no such ansatz.

        Args:
            points: in the length unit of the case.
        """
        return None

    def law(self, encoding: Encoding, case: Case, support: Support) -> Law | None:
        """What it says of the answers to one case; None for an ansatz."""
        return None

    def limits(self) -> dict[str, tuple[float, float]]:
        """By field the least and the most that it may be, in its unit; the rounding of an answer respects them too."""
        return {}


class Law(ABC):
    """What a constraint says of one case; abstract.

    Attributes:
        pointwise: as of `Constraint`.
    """

    pointwise: ClassVar[bool] = False

    def to(self, device: Any) -> Self:
        """The same with its tensors there."""
        return self

    @property
    @abstractmethod
    def kind(self) -> Hashable:
        """Laws of one kind are applied together."""

    @abstractmethod
    def apply(
        self,
        laws: Sequence[Self],
        answers: Float[Tensor, "member ahead field *space"],
        before: Float[Tensor, "member field *space"] | None,
    ) -> Float[Tensor, "member ahead field *space"]:
        """The answers that obey; physical, in float64.

        Args:
            laws: of the members, all of this one's kind.
            before: the frame from which the answers go on; None where nothing goes in.
        """


@dataclass(frozen=True, eq=False)
class Laws:
    """Of every sample of a batch.

    Args:
        members: for each sample its laws, one after the other; a single entry where all have the same.
        multiplier, offset: (batch or 1, field, 1, ...) of normalised fields, float64.
    """

    members: tuple[tuple[Law, ...], ...]
    multiplier: Float[Tensor, "batch field *ones"]
    offset: Float[Tensor, "batch field *ones"]

    @property
    def pointwise(self) -> bool:
        """Whether all of them are, so that points may be left out."""
        return all(law.pointwise for member in self.members for law in member)

    def to(self, device: Any) -> Laws:
        moved = {id(law): law.to(device) for member in self.members for law in member}
        members = tuple(tuple(moved[id(law)] for law in member) for member in self.members)
        return Laws(members, self.multiplier.to(device), self.offset.to(device))

    def rows(self, index: Tensor) -> Laws:
        """Of the samples with these numbers."""
        if len(self.members) == 1:
            return self
        return Laws(tuple(self.members[int(i)] for i in index), self.multiplier[index], self.offset[index])

    def repeated(self, times: int) -> Laws:
        """Each sample so many times in a row."""
        if len(self.members) == 1:
            return self
        index = torch.arange(len(self.members), device=self.multiplier.device).repeat_interleave(times)
        return self.rows(index)

    def __call__(
        self, answers: Float[Tensor, "batch channel *space"], before: Float[Tensor, "batch field *space"] | None
    ) -> Float[Tensor, "batch channel *space"]:
        """Normalised answers, (batch, ahead · field, *space), that obey."""
        m, b = self.multiplier, self.offset
        count = m.shape[1]
        found = answers.unflatten(1, (-1, count)).to(m.dtype) * m[:, None] + b[:, None]
        past = None if before is None else before.to(m.dtype) * m + b
        every = self.members if len(self.members) > 1 else self.members * len(answers)
        for several in zip(*every, strict=True):
            laws = list(several)
            kinds = list(dict.fromkeys(law.kind for law in laws))
            if len(kinds) == 1:
                found = laws[0].apply(laws, found, past)
                continue
            parts, rows = [], []
            for kind in kinds:
                mine = [i for i, law in enumerate(laws) if law.kind == kind]
                index = torch.tensor(mine, device=found.device)
                own = None if past is None else past[index]
                parts.append(laws[mine[0]].apply([laws[i] for i in mine], found[index], own))
                rows += mine
            order = torch.empty(len(rows), dtype=torch.int64, device=found.device)
            order[torch.tensor(rows, device=found.device)] = torch.arange(len(rows), device=found.device)
            found = torch.cat(parts)[order]
        return ((found - b[:, None]) / m[:, None]).flatten(1, 2).to(answers.dtype)


def check(constraints: Sequence[Constraint], encoding: Encoding) -> None:
    """Refuse constraints that do not fit, or that would undo each other.

    Raises:
        InputError: says which, and why.
    """
    taken: dict[str, list[Constraint]] = {}
    for constraint in constraints:
        for name in constraint.changes(encoding):
            for former in taken.setdefault(name, []):
                # given values that lie within bounds are no others when what is around them is held to these
                together = former.pointwise and constraint.pointwise and type(former) is not type(constraint)
                if not together:
                    one, two = type(former).__name__, type(constraint).__name__
                    raise InputError(
                        f"constraints: {one} and {two} both change {name}, and the second would undo the first; "
                        "take one"
                    )
            taken[name].append(constraint)


def laws_of(
    constraints: Sequence[Constraint], encoding: Encoding, cases: Sequence[Case], supports: Sequence[Support]
) -> Laws | None:
    """The laws of several cases; None where no constraint has any."""
    known: dict[tuple[int, int], tuple[Law, ...]] = {}  # many starts may be of one case
    found = []
    for case, support in zip(cases, supports, strict=True):
        key = (id(case), id(support))
        if key not in known:
            known[key] = tuple(_of(constraints, encoding, case, support))
        found.append(known[key])
    if not found or not found[0]:
        return None
    multiplier, offset = encoding.factors(cases)
    first = found[0]
    one = all(len(each) == len(first) and all(a is b for a, b in zip(each, first, strict=True)) for each in found)
    if one and bool((multiplier == multiplier[:1]).all()) and bool((offset == offset[:1]).all()):
        return Laws(tuple(found[:1]), multiplier[:1], offset[:1])
    return Laws(tuple(found), multiplier, offset)


def _of(constraints: Sequence[Constraint], encoding: Encoding, case: Case, support: Support) -> Iterator[Law]:
    for constraint in constraints:
        law = constraint.law(encoding, case, support)
        if law is not None:
            yield law


def limits(low: float | None, high: float | None) -> tuple[float, float]:
    """With infinities for those that are None."""
    return -math.inf if low is None else low, math.inf if high is None else high


def moments(encoding: Encoding, case: Case, conditions: Sequence[Condition]) -> np.ndarray:
    """Times at which given values are compared, to tell whether they change."""
    if case.problem.steady or all(condition.still for condition in conditions):
        return np.zeros(1)
    step = encoding.step
    unit = case.scales.time if step is None or step.kind == "nondimensional" else 1.0
    knots = [condition.knots for condition in conditions]
    return np.concatenate([max(case.scales.time, encoding.span[1] * unit) * np.array(PROBES), *knots])


def named(field: str, encoding: Encoding, who: str) -> int:
    """The number of a field among those that are answered."""
    if field not in encoding.fields:
        known = ", ".join(encoding.fields)
        raise InputError(
            f"constraints: {who}: {field!r} is no answered field ({known}){suggest(field, encoding.fields)}"
        )
    return encoding.fields.index(field)
