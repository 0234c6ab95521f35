"""Cases whose parameters are drawn from ranges: a design for problems of one's own, and for conservation laws."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from sciml.errors import InputError, is_number, suggest
from sciml.problem import Case, Problem
from sciml.problems.designs import RandomDesign, Request


class Ranges(RandomDesign):
    """Cases with parameters drawn evenly from ranges, logarithmic parameters evenly in their logarithm; the others keep
    their defaults.

    Args:
        problem: the family.
        spans: name of a parameter -> least and largest value.
        last: time of the last frame, in the problem's unit, the first one being at 0; None for frames that are 0.05 of
            the case's time scale apart.

    Raises:
        InputError: a parameter that the problem does not have, or a range that is none.
    """

    def __init__(self, problem: Problem, spans: Mapping[str, tuple[float, float]], last: float | None = None):
        super().__init__(problem)
        known = {p.name: p for p in problem.parameters}
        for name, span in spans.items():
            if name not in known:
                raise InputError(f"spans: {problem.name} has no parameter {name!r}{suggest(name, known)}")
            if len(span) != 2 or not all(map(is_number, span)) or not span[0] < span[1]:
                raise InputError(f"spans: {name!r}: expected the least and the largest value, got {span!r:.60}")
        if last is not None and not (is_number(last) and last > 0):
            raise InputError(f"last: expected a time > 0, got {last!r}")
        self.spans, self.last = dict(spans), last

    def draw(self, random: np.random.Generator, resolution: tuple[int, ...]) -> Case:
        given: dict[str, Any] = {}
        for spec in self.problem.parameters:
            if spec.name in self.spans:
                low, high = self.spans[spec.name]
                if spec.logarithmic:
                    given[spec.name] = math.exp(random.uniform(math.log(low), math.log(high)))
                else:
                    given[spec.name] = float(random.uniform(low, high))
        return self.problem.case(**given)

    def times(self, case: Case, request: Request) -> np.ndarray | None:
        if self.last is None or case.problem.steady:
            return super().times(case, request)
        return self.last * np.linspace(0.0, 1.0, request.frames)
