"""Linear dynamics of a few modes: the floor of whatever goes from frame to frame.

The training frames are taken in the problem's scales, at equal steps, on one mesh or grid; what a case is described by
is not looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import xarray as xr

from sciml import registry
from sciml.errors import InputError, positive
from sciml.solver import Start
from sciml.solvers._alignment import Clock
from sciml.solvers._frames import history_of
from sciml.solvers._proper_modes import ProperModes
from sciml.solvers.baselines import Baseline
from sciml.support import Grid
from sciml.training.samples import CaseTable

HELD = 0.2  # of the steps of each case, its last ones, on which the number of modes is chosen


@registry.solvers.register("dynamic_modes")
class DynamicModes(Baseline):
    """c(t + Δt) = b + Σ_{j < h} A_j c(t − jΔt),  û = ū + Σ_{k ≤ r} c_k φ_k: dynamic mode decomposition.

    φ are proper orthogonal modes of all training frames by quadrature weights, each field over its spread; b and the
    A_j are fitted by least squares to all steps of the training cases. The number of modes is that whose free run over
    the last fifth of the steps of each case, fitted to the others, is nearest. What would grow is held to its size:
    eigenvalues of the step beyond the unit circle are moved onto it.

    Args:
        history: h, frames that a step makes use of; two for waves and whatever swings, of which one frame does not tell
            which way it goes.

    Raises:
        InputError: at `fit`, frames at unequal times, cases of one frame, or meshes that differ.

    Source: P. J. Schmid, Dynamic mode decomposition of numerical and experimental data, J. Fluid Mech. 656, 5 (2010);
    with delays S. Le Clainche, J. M. Vega, SIAM J. Appl. Dyn. Syst. 16, 882 (2017).
    """

    name = "dynamic modes"
    title = "dynamic modes"
    steady = False
    RANKS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)

    def __init__(self, history: int = 2) -> None:
        super().__init__()
        self.history = positive("history", history)

    def _learn(self, train: CaseTable) -> None:
        assert train.times is not None
        if self.layout.mixed and not isinstance(self.layout.template, Grid):
            raise InputError(f"{self.name}: the meshes of the training cases differ, expected one mesh")
        self.clock = self._steps(train)
        every = [self._frames(train, i) for i in range(len(train.cases))]
        proper, whole = ProperModes.of(np.concatenate(every), self.layout.template.weights(), self.RANKS[-1])
        if not (most := len(proper)):
            raise InputError(f"{self.name}: the training frames do not differ")
        lengths = np.cumsum([0, *map(len, every)])
        courses = [whole[a:b] for a, b in pairwise(lengths.tolist())]
        rank = self._rank(courses, most)
        self.steps_ = self._fitted_steps([c[:, :rank] for c in courses])
        self.mean, self.modes, self.reader = proper.mean, proper.modes[:rank], proper.reader[:rank]

    def _steps(self, train: CaseTable) -> Clock:
        """The step that all frames are apart."""
        assert train.times is not None
        if min(map(len, train.times)) < self.history + 1:
            raise InputError(f"{self.name}: a training case has {min(map(len, train.times))} frames, "
                             f"expected {self.history + 1} or more")  # fmt: skip
        scales = [c.scales.time for c in train.cases]
        for unit in (True, False):
            gaps = np.concatenate([np.diff(t) / (s if unit else 1.0) for t, s in zip(train.times, scales, strict=True)])
            if np.ptp(gaps) <= 1e-3 * gaps.min():
                return Clock(unit, np.array([0.0, float(gaps.mean())]))
        raise InputError(f"{self.name}: frames are {gaps.min():g} to {gaps.max():g} apart, expected equal steps")

    def _frames(self, train: CaseTable, i: int) -> np.ndarray:
        """(frame, field, *template.shape) in the problem's scales."""
        return self.layout.into(train.support(i))(train.frames(i))

    def _rank(self, courses: Sequence[np.ndarray], most: int) -> int:
        cuts = [max(self.history + 1, round((1 - HELD) * len(c))) for c in courses]
        known = [c[:n] for c, n in zip(courses, cuts, strict=True)]
        if all(n == len(c) for c, n in zip(courses, cuts, strict=True)):
            return 1
        misses = {}
        for rank in [r for r in self.RANKS if r <= most]:
            steps, missed = self._fitted_steps([c[:, :rank] for c in known]), 0.0
            for course, n in zip(courses, cuts, strict=True):
                state = _state(course[n - self.history : n, :rank])
                for truth in course[n:]:
                    state = steps @ state
                    missed += float(((state[-rank:] - truth[:rank]) ** 2).sum() + (truth[rank:] ** 2).sum())
            misses[rank] = missed
        return min(misses, key=lambda r: misses[r])

    def _fitted_steps(self, courses: Sequence[np.ndarray]) -> np.ndarray:
        """The matrix of one step of (1, the last h coefficients, the oldest first); no direction of it grows."""
        h, rank = self.history, courses[0].shape[1]
        before = np.concatenate([[_state(c[k : k + h]) for k in range(len(c) - h)] for c in courses])
        after = np.concatenate([c[h:] for c in courses])
        companion = np.eye(1 + h * rank, k=rank)
        companion[0] = 0.0
        companion[0, 0] = 1.0
        companion[-rank:] = np.linalg.lstsq(before, after, rcond=1e-8)[0].T
        values, vectors = np.linalg.eig(companion)
        if np.abs(values).max(initial=0.0) > 1.0 and np.linalg.cond(vectors) < 1e10:
            held = values / np.maximum(np.abs(values), 1.0)
            return np.linalg.solve(vectors.T, (vectors * held).T).T.real
        return companion

    # -- answers --------------------------------------------------------------------------------------------------

    def _history(self, start: Start, frame: xr.Dataset) -> Start:
        step = float(self.clock.times[1]) * self.clock.unit(start.case)
        return history_of(start, frame, step, self.history)

    def _doubts(self, start: Start, times: np.ndarray | None) -> list[str]:
        if len(start.frames) >= self.history:
            return []
        known = f"{len(start.frames)} frame" + "s" * (len(start.frames) != 1)
        return [f"a step goes by {self.history} frames, but begins with {known}: the first is taken to have lasted"]

    def _rollout(self, starts: Sequence[Start], times: np.ndarray) -> Iterator[list[np.ndarray]]:
        step = float(self.clock.times[1])
        into = [self.layout.into(s.support) for s in starts]
        back = [self.layout.back(s.support) for s in starts]
        scales = [self._scale(s.case, s.support) for s in starts]
        states = []
        for s, move, scale in zip(starts, into, scales, strict=True):
            frames = s.frames[-self.history :]
            frames = np.concatenate([np.repeat(frames[:1], self.history - len(frames), axis=0), frames])
            values = move(frames / scale) - self.mean
            axes = tuple(range(1, values.ndim))
            states.append(_state(np.tensordot(values, self.reader, axes=(axes, axes))))
        rank = len(self.modes)
        done = [0] * len(starts)
        for j in range(times.shape[1]):
            found = []
            for i, start in enumerate(starts):
                ahead = (times[i, j] - start.time) / (step * self.clock.unit(start.case))
                whole = round(ahead) if abs(ahead - round(ahead)) < 1e-3 else int(ahead)
                while done[i] < whole:
                    states[i] = self.steps_ @ states[i]
                    done[i] += 1
                if not whole and ahead <= 1e-3:
                    found.append(np.array(start.frames[-1], dtype=np.float64))
                    continue
                now, share = states[i][-rank:], max(ahead - whole, 0.0)
                if share > 1e-3:
                    now = (1 - share) * now + share * (self.steps_ @ states[i])[-rank:]
                frame = self.mean + np.tensordot(now, self.modes, axes=1)
                found.append(back[i](frame) * scales[i])
            yield found

    @property
    def settings(self) -> dict[str, Any]:
        return {} if self.problem is None else {"rank": len(self.modes), "history": self.history}

    # -- files ----------------------------------------------------------------------------------------------------

    def _arrays(self) -> dict[str, np.ndarray]:
        return {"mean": self.mean, "modes": self.modes, "reader": self.reader, "steps": self.steps_}

    def _values(self) -> dict[str, Any]:
        clock = {"nondimensional": self.clock.nondimensional, "times": self.clock.times.tolist()}
        return {"clock": clock, "history": self.history}

    def _restore(self, arrays: Mapping[str, np.ndarray], values: Mapping[str, Any]) -> None:
        self.mean, self.modes, self.reader = arrays["mean"], arrays["modes"], arrays["reader"]
        self.steps_, self.history = arrays["steps"], int(values["history"])
        self.clock = Clock(bool(values["clock"]["nondimensional"]), np.array(values["clock"]["times"], float))


def _state(coefficients: np.ndarray) -> np.ndarray:
    """(1 + history · rank,) of (history, rank)."""
    return np.append(1.0, coefficients.reshape(-1))
