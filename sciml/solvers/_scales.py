"""How large an error is to be expected where: what conformal bands are proportional to.

A scale s > 0 is any function of the case and the answer, never of the truth; the promise of `Conformal` holds for each,
and a good one makes bands narrow. What a scale learns it learns from cases of its own, that are not used for the
quantile.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sciml.errors import InputError, is_whole
from sciml.problem import Case
from sciml.support import Grid, Support

_LEAST = 1e-12


@dataclass(frozen=True, eq=False)
class Answer:
    """A solver's answer to one case, as plain numbers.

    Args:
        support: where it lives; of nodes that move, at their first place.
        leads: (T,) times since the start in the case's time scale; (1,) zero for steady problems.
        mean: (T, field, *shape) in physical units.
        std: likewise, where the solver gives it.
        unit: (field,) the problem's scales.
    """

    case: Case
    support: Support
    leads: np.ndarray
    mean: np.ndarray
    std: np.ndarray | None
    unit: np.ndarray

    @property
    def weights(self) -> np.ndarray:
        """(*shape) quadrature weights with sum 1."""
        found = self.support.weights()
        return found / found.sum()

    def spatial(self, values: np.ndarray) -> np.ndarray:
        """(..., field) with axes of length one for the support."""
        return values.reshape(*values.shape, *[1] * len(self.support.shape))


@dataclass(frozen=True)
class Scale(ABC):
    """Abstract: gives s for an answer."""

    #: whether it has to see cases before it gives anything
    learns = True
    #: whether it takes the answer's standard deviation
    takes_std = False

    @abstractmethod
    def fit(self, seen: Sequence[tuple[Answer, np.ndarray]]) -> Scale:
        """The scale that knows these cases: answers with residuals |u − û| (T, field, *shape)."""

    @abstractmethod
    def __call__(self, answer: Answer) -> np.ndarray:
        """(T, field, *shape), or what broadcasts to it: positive, in physical units."""

    @abstractmethod
    def arrays(self) -> dict[str, np.ndarray]:
        """What it has learned."""

    @abstractmethod
    def options(self) -> dict[str, Any]:
        """Arguments that make it, as JSON values."""

    def restored(self, arrays: Mapping[str, np.ndarray]) -> Scale:
        """With what it had learned."""
        return self


@dataclass(frozen=True)
class Constant(Scale):
    """s is the problem's scale of the field for the case, the same everywhere."""

    learns = False

    def fit(self, seen: Sequence[tuple[Answer, np.ndarray]]) -> Constant:
        return self

    def __call__(self, answer: Answer) -> np.ndarray:
        return answer.spatial(np.broadcast_to(answer.unit, (len(answer.leads), len(answer.unit))))

    def arrays(self) -> dict[str, np.ndarray]:
        return {}

    def options(self) -> dict[str, Any]:
        return {}


@dataclass(frozen=True, eq=False)
class Spread(Scale):
    """s = max(σ, floor · ρ · U): the answer's own standard deviation σ, but not less than a share of the root mean
    square residual ρ of the cases seen (over the problem's scale U), as members that agree may all be wrong.

    Args:
        floor: that share.
        typical: (field,) ρ, as learned.
    """

    floor: float = 0.1
    typical: np.ndarray | None = None
    takes_std = True

    def __post_init__(self) -> None:
        if not 0 < self.floor < np.inf:
            raise InputError(f"floor: expected a positive number, got {self.floor!r}")

    def fit(self, seen: Sequence[tuple[Answer, np.ndarray]]) -> Spread:
        square = [_mean(a, (r / a.spatial(a.unit)) ** 2).mean(0) for a, r in seen]
        return replace(self, typical=np.maximum(np.sqrt(_finite_mean(square)), _LEAST))

    def __call__(self, answer: Answer) -> np.ndarray:
        if self.typical is None or answer.std is None:
            raise InputError("scale: Spread needs answers with <field>_std, and cases to learn from")
        return np.maximum(answer.std, answer.spatial(self.floor * self.typical * answer.unit))

    def arrays(self) -> dict[str, np.ndarray]:
        return {} if self.typical is None else {"typical": self.typical}

    def options(self) -> dict[str, Any]:
        return {"floor": self.floor}

    def restored(self, arrays: Mapping[str, np.ndarray]) -> Spread:
        return replace(self, typical=arrays["typical"])


@dataclass(frozen=True, eq=False)
class Local(Scale):
    """s(x, t) = m(t) · g(ξ) · h(τ): the size m of the answer, and how the relative errors of other cases are spread
    over the domain (g, over positions ξ as shares of the extents, so that meshes may differ) and grow in time (h, over
    the time τ since the start).

    m is the root mean square of the answer, at least a tenth of what is usual. h is the mean of |u − û| / m over the
    domain at each time, g that of |u − û| / (m h) in boxes, each drawn towards the mean over all by the weight of one
    case, and linear between their centres.

    Args:
        boxes: along each axis.
        usual: (field,) the median of m over the scales of the problem, as learned.
        level: (field, *boxes) g; times: (K,) and growth (K, field) h.
    """

    boxes: int = 8
    usual: np.ndarray | None = None
    level: np.ndarray | None = None
    times: np.ndarray | None = None
    growth: np.ndarray | None = None

    def __post_init__(self) -> None:
        if not is_whole(self.boxes) or self.boxes < 1:
            raise InputError(f"boxes: expected a whole number >= 1, got {self.boxes!r}")

    def fit(self, seen: Sequence[tuple[Answer, np.ndarray]]) -> Local:
        sizes = np.concatenate([np.sqrt(_mean(a, a.mean**2)) / a.unit for a, _ in seen])
        sizes = sizes[np.isfinite(sizes).all(1)]
        usual = np.maximum(np.median(sizes, axis=0), _LEAST) if len(sizes) else np.ones(len(seen[0][0].unit))
        known = replace(self, usual=usual)
        relative = [(a, r / a.spatial(known._size(a))) for a, r in seen]
        times = max((a.leads for a, _ in seen), key=len)
        rows = np.full((len(seen), len(times), len(usual)), np.nan)
        for row, (a, r) in zip(rows, relative, strict=True):
            course = _mean(a, r)
            reached = times <= a.leads[-1] * (1 + 1e-6) + 1e-300
            for f in range(len(usual)):
                row[reached, f] = np.interp(times[reached], a.leads, course[:, f])
        growth = _finite_mean(rows)
        growth = np.maximum(growth, np.maximum(1e-3 * growth.max(axis=0), _LEAST))
        known = replace(known, times=times, growth=growth)
        shape = (len(usual), *[self.boxes] * seen[0][0].support.dimensions)
        total, weight = np.zeros(shape), np.zeros(shape[1:])
        for a, r in relative:
            error = r / a.spatial(known._growth(a))
            if not np.isfinite(error).all():
                continue
            index = self._boxes(a.support.unit().reshape(-1, a.support.dimensions))
            error = error.mean(0).reshape(len(usual), -1)
            w = a.weights.ravel()
            np.add.at(weight, index, w)
            for f in range(len(usual)):
                np.add.at(total[f], index, w * error[f])
        mean = total.reshape(len(usual), -1).sum(1) / max(weight.sum(), _LEAST)
        mean = np.maximum(mean, _LEAST).reshape(-1, *[1] * weight.ndim)
        one = np.where(weight > 0, weight / max(len(seen), 1), 1.0 / weight.size)
        return replace(known, level=(total + one * mean) / (weight + one))

    def _boxes(self, unit: np.ndarray) -> tuple[np.ndarray, ...]:
        """Index of the box of each point, in array order."""
        index = np.clip((unit * self.boxes).astype(int), 0, self.boxes - 1)
        return tuple(index[:, axis] for axis in reversed(range(unit.shape[1])))

    def _size(self, a: Answer) -> np.ndarray:
        """(T, field) m."""
        assert self.usual is not None
        return np.maximum(np.sqrt(_mean(a, a.mean**2)), 0.1 * self.usual * a.unit)

    def _growth(self, a: Answer) -> np.ndarray:
        """(T, field) h; beyond what was seen its last value."""
        assert self.times is not None and self.growth is not None
        return np.stack([np.interp(a.leads, self.times, g) for g in self.growth.T], axis=1)

    def __call__(self, answer: Answer) -> np.ndarray:
        if self.level is None:
            raise InputError("scale: Local has seen no cases")
        d = answer.support.dimensions
        boxes = Grid((np.linspace(0.0, 1.0, self.boxes + 1),) * d)
        edge = 0.5 / self.boxes  # as in the outermost boxes beyond their centres
        unit = np.clip(answer.support.unit().reshape(-1, d), edge, 1 - edge)
        level = boxes.sample(self.level, unit).reshape(-1, *answer.support.shape)
        return answer.spatial(self._size(answer) * self._growth(answer)) * level

    def arrays(self) -> dict[str, np.ndarray]:
        found = {"usual": self.usual, "level": self.level, "times": self.times, "growth": self.growth}
        return {k: v for k, v in found.items() if v is not None}

    def options(self) -> dict[str, Any]:
        return {"boxes": int(self.boxes)}

    def restored(self, arrays: Mapping[str, np.ndarray]) -> Local:
        return replace(self, **{k: arrays[k] for k in ("usual", "level", "times", "growth")})


#: for files
SCALES: dict[str, type[Scale]] = {"constant": Constant, "spread": Spread, "local": Local}


def _mean(answer: Answer, values: np.ndarray) -> np.ndarray:
    """(T, field) means over the support of (T, field, *shape)."""
    axes = tuple(range(2, values.ndim))
    w = answer.weights
    return (np.where(w > 0, values, 0.0) * w).sum(axis=axes)


def _finite_mean(values: Any) -> np.ndarray:
    """The mean over the first axis of what is finite; 0 where nothing is."""
    stacked = np.asarray(values, np.float64)
    there = np.isfinite(stacked)
    return np.where(there, stacked, 0.0).sum(0) / np.maximum(there.sum(0), 1)
