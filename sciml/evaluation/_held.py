"""The held-out cases: their truth, read when asked for, their weights, and the states that rollouts start from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sciml.errors import InputError
from sciml.solver import Restartable, Start
from sciml.support import Grid, Support
from sciml.training.samples import CaseTable

LIMIT = 2**28  # bytes of truth that are kept, and of frames that are predicted at a time


@dataclass(frozen=True)
class Rollout:
    """One start of one held-out case: step k is frame `frame` + k · every (steady: frame 0, so that `frame` is -1)."""

    case: int
    subset: str
    start: str
    frame: int
    steps: int


class Held:
    """Truth in the problem's scales, read frame by frame where all of it takes more than `LIMIT`.

    Args:
        every: frames of the data that one step spans.
    """

    def __init__(self, table: CaseTable, every: int):
        self.table, self.every = table, every
        self.steady = table.problem.steady
        self.subsets = [str(s) for s in table.subsets]
        self._whole = 2 * table.bytes() <= LIMIT
        self._known: dict[int, np.ndarray] = {}
        self._weights: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self.table.cases)

    def length(self, i: int) -> int:
        return int(self.table.length[i])

    def rollouts(self, starts: Sequence[tuple[str, float]], steps: int) -> list[Rollout]:
        """All rollouts from these shares of the cases.

        Raises:
            InputError: no case is long enough for one step.
        """
        if self.steady:
            return [Rollout(i, subset, "", -1, 1) for i, subset in enumerate(self.subsets)]
        found = []
        for name, share in starts:
            for i, subset in enumerate(self.subsets):
                frame = math.floor(share * (self.length(i) - 1) + 1e-9)
                length = min(steps, (self.length(i) - 1 - frame) // self.every)
                if length > 0:
                    found.append(Rollout(i, subset, name, frame, length))
        if not found:
            more = "two frames" if self.every == 1 else f"{self.every + 1} frames"
            raise InputError(f"data: no held-out case has {more}")
        return found

    # -- frames -------------------------------------------------------------------------------------------------

    def at(self, r: Rollout, k: int) -> int:
        """The frame that the (k + 1)-th step of a rollout arrives at."""
        return 0 if self.steady else r.frame + (k + 1) * self.every

    def times(self, r: Rollout) -> np.ndarray:
        """(steps,) physical times of a rollout."""
        assert self.table.times is not None
        return self.table.times[r.case][r.frame + self.every * np.arange(1, r.steps + 1)]

    def frames(self, i: int, first: int, count: int = 1) -> np.ndarray:
        """(count, field, *shape) from frame `first` on, in the problem's scales."""
        if not self._whole:
            return self.table.frames(i, slice(first, first + count))
        if i not in self._known:
            self._known[i] = self.table.frames(i)
        return self._known[i][first : first + count]

    def truth(self, r: Rollout, k: int) -> np.ndarray:
        """(field, *shape) after step k + 1, in the problem's scales."""
        return self.frames(r.case, self.at(r, k))[0]

    def scale(self, i: int) -> np.ndarray:
        """(field, 1, ...)."""
        return self.table.scales(i).reshape(-1, *[1] * len(self.table.shapes[i]))

    # -- places -------------------------------------------------------------------------------------------------

    def support(self, i: int, frame: int = 0) -> Support:
        return self.table.support(i, frame)

    def weights(self, i: int, frame: int = 0) -> np.ndarray:
        """(*shape) quadrature weights with sum 1."""
        if self.table.moving:
            return _unit(self.support(i, frame).weights())
        if i not in self._weights:
            self._weights[i] = _unit(self.support(i).weights())
        return self._weights[i]

    def described(self) -> str:
        """Where the values live, in words."""
        supports = [self.support(i) for i in range(len(self))]
        first = supports[0]
        if not isinstance(first, Grid):
            sizes = [s.size for s in supports]
            kind = type(first).__name__.lower()
            number = f"{sizes[0]}" if min(sizes) == max(sizes) else f"{min(sizes)} to {max(sizes)}"
            what = f"{number} points" if kind == "points" else f"{kind} of {number} nodes"
            return what + (" that move" if self.table.moving else "")
        words = [f"grid of {' × '.join(str(n) for n in reversed(first.shape))} cells"]
        if not all(isinstance(s, Grid) and s.uniform_cells for s in supports):
            words.append("stretched")
        if any(s.inside is not None for s in supports):
            words.append("masked")
        return ", ".join(words)

    # -- starts -------------------------------------------------------------------------------------------------

    def starts(self, wanted: Sequence[tuple[int, int]], solver: Restartable) -> list[Start]:
        """The true states of (case, frame), with the history that a solver makes use of; the first frame stands in for
        what was before it."""
        assert self.table.times is not None
        firsts: dict[int, tuple[np.ndarray, float]] = {}
        found = []
        for i, frame in wanted:
            scale, times = self.scale(i), self.table.times[i]
            if i not in firsts:
                firsts[i] = (self.frames(i, 0)[0] * scale, float(times[0]))
            at = np.maximum(frame + solver.every * np.arange(1 - solver.history, 1), 0)
            past = np.concatenate([self.frames(i, int(k)) for k in at]) * scale
            found.append(
                Start(
                    self.table.cases[i], self.support(i, frame), past, float(times[frame]), firsts[i], self.table.fields
                )
            )
        return found

    def portion(self, cases: Sequence[int]) -> int:
        """How many rollouts of these cases to carry at once."""
        most = max(int(np.prod(self.table.shapes[i])) for i in cases) * len(self.table.fields) * 8
        return max(1, LIMIT // (8 * most))  # a few frames of each are alive at a time


def _unit(weights: np.ndarray) -> np.ndarray:
    return weights / weights.sum()
