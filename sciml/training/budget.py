"""How many steps fit into a time: timed on a copy of the model, and corrected once by what steps really took."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

TENTHS = 10
LEAST = 50  # steps below which there is too little to correct by


@dataclass(frozen=True)
class Budget:
    """Seconds for the steps of a run.

    Args:
        seconds: for all of the run.
        cost: seconds of a step in each tenth of the run; a curriculum makes them differ.
        extra: seconds a step for what happens between steps, such as validation every so many.
    """

    seconds: float
    cost: tuple[float, ...]
    extra: float = 0.0

    @property
    def steps(self) -> int:
        return max(1, int(self.seconds / (float(np.mean(self.cost)) + self.extra)))

    def due(self, step: int, total: int) -> bool:
        """Whether the first tenth of the run has been done, and is long enough to learn from."""
        return total >= LEAST and step * TENTHS >= total

    def corrected(self, step: int, spent: float) -> int:
        """The number of steps of the whole run, given that the first tenth of them, `step` steps, took `spent` seconds
        without what `extra` is for."""
        slower = spent / (step * self.cost[0])
        left = float(np.mean(self.cost[1:])) * slower + self.extra
        return step + max(1, int((self.seconds - spent - step * self.extra) / left))


def timed(step: Callable[[float], float]) -> tuple[float, ...]:
    """Seconds of a step in each tenth of a run.

    Args:
        step: makes one step at a share of the run and returns its seconds. The first one warms up.
    """
    step(0.05)
    first = float(np.median([step(0.05) for _ in range(4)]))
    return (first, *(step((i + 0.5) / TENTHS) for i in range(1, TENTHS)))
