"""Conservation laws with one parameter drawn evenly from a range."""

from __future__ import annotations

from typing import Any

import numpy as np

from sciml.problem import Case, Problem
from sciml.problems.designs import RandomDesign, Request


class UniformDesign(RandomDesign):
    """Cases with one parameter uniform in a range, as in the published family of the generalised porous medium
    equation; frames are evenly spread from t = 0 to the last time, both included.

    Args:
        problem: the family.
        parameter: which one is drawn; the others keep their defaults.
        span: least and largest value.
        last: time of the last frame, s.
    """

    def __init__(self, problem: Problem, parameter: str, span: tuple[float, float], last: float):
        super().__init__(problem)
        self.parameter, self.span, self.last = parameter, span, last

    def draw(self, random: np.random.Generator, resolution: tuple[int, ...]) -> Case:
        given: dict[str, Any] = {self.parameter: float(random.uniform(*self.span))}
        return self.problem.case(**given)

    def times(self, case: Case, request: Request) -> np.ndarray:
        return self.last * np.linspace(0.0, 1.0, request.frames)
