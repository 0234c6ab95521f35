"""Expressions as a list of single operations, each of which is done once however often it occurs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sciml.expressions import Choice, Constant, Expression, Function, Operation, evaluate


@dataclass(frozen=True)
class Slot(Expression):
    """What an earlier operation gave."""

    number: int


class Program:
    """Operations that add up to some expressions, without ∂/∂x.

    Looking a large expression up by its value means going through all of it; here that is done once, not each time that
    it is evaluated.
    """

    def __init__(self) -> None:
        self._known: dict[Expression, Slot | Constant] = {}
        self.operations: list[Expression] = []  # over slots; leaves as they are
        self.needed: list[tuple[int, ...]] = []  # by each, in order, itself included

    def add(self, e: Expression) -> Slot | Constant:
        """Where the value of an expression will be."""
        if isinstance(e, Constant):
            return e
        if e in self._known:
            return self._known[e]
        match e:
            case Operation(name, a, b):
                parts: Sequence[Expression] = (self.add(a), self.add(b))
                shallow: Expression = Operation(name, *parts)
            case Function(name, a):
                parts = (self.add(a),)
                shallow = Function(name, *parts)
            case Choice(decision, a, b):
                parts = (self.add(decision), self.add(a), self.add(b))
                shallow = Choice(*parts)
            case _:
                parts, shallow = (), e
        slot = Slot(len(self.operations))
        before = {n for part in parts if isinstance(part, Slot) for n in self.needed[part.number]}
        self.operations.append(shallow)
        self.needed.append((*sorted(before), slot.number))
        self._known[e] = slot
        return slot

    def value(
        self, of: Slot | Constant, leaf: Callable[[Expression], Any], functions: Mapping[str, Callable[..., Any]],
        memory: dict[int, Any],
    ) -> Any:  # fmt: skip
        """The value of one of its expressions; `memory` holds those of operations."""
        if isinstance(of, Constant):
            return of.value

        def found(e: Expression) -> Any:
            return memory[e.number] if isinstance(e, Slot) else leaf(e)

        for number in self.needed[of.number]:
            if number not in memory:
                memory[number] = evaluate(self.operations[number], found, _none, functions)
        return memory[of.number]


def _none(node: Any) -> Any:
    raise AssertionError(node)
