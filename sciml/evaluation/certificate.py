"""What can be said of long rollouts without a reference: whether they stay bounded, and what becomes of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sciml.errors import InputError, is_number
from sciml.evaluation._flow import Divergence, has_divergence
from sciml.evaluation._held import Held
from sciml.solver import Restartable
from sciml.training.samples import open_data, table


@dataclass(frozen=True)
class Certificate:
    """Rollouts of one solver beyond what any data hold, a row a case.

    Args:
        labels: of the cases.
        horizon: steps that the data hold of each case.
        steps: steps that were rolled out, (case,).
        energy: (case, step) mean square of the fields in the problem's scales; NaN after what is not finite, and where
            a case has fewer steps.
        divergence: likewise, root mean square over U/L; NaN where there is no velocity on a grid.
        most: the largest energy of any frame of the training split.
        limit: an energy up to `limit` times `most` counts as bounded.
    """

    labels: tuple[str, ...]
    horizon: np.ndarray
    steps: np.ndarray
    energy: np.ndarray
    divergence: np.ndarray
    most: float
    limit: float

    @property
    def bounded(self) -> np.ndarray:
        """(case,) steps until the energy first exceeds the bound or is not finite; all that there are if it never
        does."""
        inside = np.isfinite(self.energy) & (self.energy <= self.limit * self.most)
        inside &= np.arange(self.energy.shape[1]) < self.steps[:, None]
        return np.where(inside.all(1), self.energy.shape[1], np.argmin(inside, axis=1))

    @property
    def share(self) -> float:
        """Of the cases that stay bounded to the end."""
        return float((self.bounded >= self.steps).mean())

    @property
    def growth(self) -> np.ndarray:
        """(case,) energy at the end of the rollout over that at the end of the data's horizon; ∞ where it left."""
        return self._over(self.energy)

    @property
    def divergence_growth(self) -> np.ndarray:
        """(case,) likewise of the divergence."""
        return self._over(self.divergence)

    def _over(self, values: np.ndarray) -> np.ndarray:
        place = np.arange(len(values))
        last, then = values[place, self.steps - 1], values[place, np.minimum(self.horizon, self.steps) - 1]
        left = self.bounded < self.steps
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(left & np.isfinite(then), np.inf, last / then)

    def to_json(self) -> dict[str, Any]:
        """Figures as JSON: of all cases together, and of each."""

        def plain(value: float) -> float | None:
            return float(value) if np.isfinite(value) else None

        return {
            "share_bounded": self.share, "limit": self.limit, "largest_energy_seen": self.most,
            "cases": [
                {
                    "case": label, "horizon": int(h), "steps": int(n), "bounded_steps": int(b),
                    "energy_growth": plain(g), "divergence_growth": plain(d),
                }
                for label, h, n, b, g, d in zip(
                    self.labels, self.horizon, self.steps, self.bounded, self.growth, self.divergence_growth,
                    strict=True,
                )
            ],
        }  # fmt: skip


def certificate(
    solver: Restartable, data: Any, *, split: str = "test", times: float = 10.0, limit: float = 2.0,
    train_split: str = "train",
) -> Certificate:  # fmt: skip
    """Roll a solver out from the first frame of each held-out case, `times` as far as the data go.

    There is no truth so far out. What is looked at: the energy E = mean of Σ u²/scale² over the support, which a flow
    that is driven as before keeps within what was seen, and the divergence of the velocity. A bounded rollout may
    still be wrong; one that leaves the bound is.

    Args:
        solver: what can be restarted from a frame: a trained surrogate that goes from frame to frame, or a numerical
            solver.
        data: path of a data set or a data set, whose cases have frames at equal distances.
        times: of the horizon of the data.
        limit: times the largest energy of the training split that count as bounded.

    Raises:
        InputError: a solver that cannot be restarted, a steady problem, no case, or numbers out of range.
    """
    if not isinstance(solver, Restartable):
        raise InputError(f"solver: expected one that goes on from a frame, got {type(solver).__name__}")
    for name, value in (("times", times), ("limit", limit)):
        if not is_number(value) or value < 1:
            raise InputError(f"{name}: expected a number >= 1, got {value!r}")
    dataset = open_data(data)[0]
    fields = getattr(solver, "predicted", None)
    known, seen = (table(dataset, name, fields) for name in (split, train_split))
    if known.problem.steady:
        raise InputError(f"data: {known.problem.name} is steady, there is nothing to roll out")
    for name, found in ((split, known), (train_split, seen)):
        if not found.cases:
            raise InputError(f"split: no case of the data set is in split {name!r}")
    held, before = Held(known, solver.every), Held(seen, 1)
    most = max(
        float(_energy(frame, before.weights(i, k)))
        for i in range(len(before))
        for k, frame in enumerate(before.frames(i, 0, before.length(i)))
    )
    counts = [(held.length(i) - 1) // held.every for i in range(len(held))]
    if min(counts) < 1:
        raise InputError("data: a case has one frame, there is no step to go on with")
    steps = np.array([round(times * n) for n in counts])
    energy, divergence = (np.full((len(held), int(steps.max())), np.nan) for _ in range(2))
    measure = Divergence(held) if has_divergence(held) else None
    for n in sorted(set(steps.tolist())):
        members = [i for i in range(len(held)) if steps[i] == n]
        most_at_once = held.portion(members)
        for a in range(0, len(members), most_at_once):
            part = members[a : a + most_at_once]
            starts = held.starts([(i, 0) for i in part], solver)
            for k, frames in enumerate(solver.rollout(starts, np.stack([_times(held, i, n) for i in part]))):
                for i, frame in zip(part, frames, strict=True):
                    scaled = np.asarray(frame, np.float64) / held.scale(i)
                    with np.errstate(over="ignore", invalid="ignore"):
                        energy[i, k] = _energy(scaled, held.weights(i))
                    if measure is not None:
                        divergence[i, k] = measure(i, scaled)
    labels = tuple(case.label or str(known.number[i]) for i, case in enumerate(known.cases))
    return Certificate(labels, np.array(counts), steps, energy, divergence, most, float(limit))


def _energy(frame: np.ndarray, weights: np.ndarray) -> Any:
    return (np.where(weights > 0, frame, 0.0) ** 2 * weights).sum()


def _times(held: Held, i: int, count: int) -> np.ndarray:
    """(count,) times after the first, at the distance that the data have."""
    assert held.table.times is not None
    known = held.table.times[i]
    step = (known[-1] - known[0]) / (len(known) - 1) * held.every
    if np.ptp(np.diff(known)) > 1e-6 * step:
        raise InputError(f"data: case {held.table.number[i]} has frames at unequal distances, expected equal ones")
    return known[0] + step * np.arange(1, count + 1)
