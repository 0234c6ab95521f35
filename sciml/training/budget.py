"""How many steps fit into a time: timed on a copy of the model, and corrected on the way by what steps really take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

TENTHS = 10
LEAST = 50  # steps below which there is too little to correct by


@dataclass
class Budget:
    """Seconds for the steps of a run.

    Args:
        seconds: for all of the run.
        cost: seconds of a step in each tenth of the run; a curriculum makes them differ.
        extra: seconds a step for what happens between steps, such as validation every so many.
        fixed: seconds for what happens at set shares of the run.
    """

    seconds: float
    cost: tuple[float, ...]
    extra: float = 0.0
    fixed: float = 0.0
    _tenth: int = 0  # in which the steps since the last correction were made
    _step: int = 0  # of that correction
    _spent: float = 0.0  # on steps until then

    @property
    def steps(self) -> int:
        left = max(self.seconds - self.fixed, 0.1 * self.seconds)
        return max(1, int(left / (float(np.mean(self.cost)) + self.extra)))

    def due(self, step: int, total: int) -> bool:
        """Whether a further tenth of the run has been done, in a run long enough to learn from."""
        return total >= LEAST and self._tenth < TENTHS - 1 and step * TENTHS >= (self._tenth + 1) * total

    def corrected(
        self, step: int, total: int, spent: float, elapsed: float, agreed: Callable[[int], int] = lambda total: total
    ) -> int:
        """The number of steps of the whole run.

        How much longer the steps of the last tenth took than was foretold says how much longer the others will take.

        Args:
            step: steps made, of `total` planned.
            spent: seconds that they took.
            elapsed: seconds since `seconds` began to count, with what happens between steps.
            agreed: of the number found here, that which holds; where several processes take the same steps, the same
                in all, or they would not correct it after the same ones again.
        """
        slower = (spent - self._spent) / ((step - self._step) * self.cost[self._tenth])
        clock = max(self.seconds - elapsed, 0.0)
        left = max(clock - self.fixed * (1 - step / total), 0.1 * clock)
        more = max(total - step, 1)
        for _ in range(5):  # a changed total moves the present share of the run, and so what is still to come
            more = max(1, int(left / (slower * self._mean_cost(step / (step + more)) + self.extra)))
        total = agreed(step + more)
        self._tenth, self._step, self._spent = min(step * TENTHS // total, TENTHS - 1), step, spent
        return total

    def _mean_cost(self, share: float) -> float:
        """The foretold cost of a step, averaged over the run from `share` on."""
        edges = np.clip(np.arange(TENTHS + 1) / TENTHS, share, 1.0)
        return float(np.diff(edges) @ np.asarray(self.cost) / max(1.0 - share, 1e-9))


def timed(step: Callable[[float], float], seconds: float) -> tuple[float, ...]:
    """Seconds of a step in each tenth of a run.

    Args:
        step: makes one step at a share of the run and returns its seconds. The first one warms up.
        seconds: for the whole run; where three tries each would take more than a fiftieth of it, there is one each.
    """
    step(0.05)
    shares = (np.arange(TENTHS) + 0.5) / TENTHS
    tries = 3 if 3 * TENTHS * step(0.05) < seconds / 50 else 1
    return tuple(float(np.median([step(float(share)) for _ in range(tries)])) for share in shares)
