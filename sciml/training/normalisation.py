"""Scaling of fields and features, from the training split alone, stored with the model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sciml.errors import InputError


class Sums:
    """Of values and of their squares, each field by itself, float64.

    Args:
        count: of the fields.
    """

    def __init__(self, count: int):
        self.n = 0.0
        self.total, self.square = np.zeros(count), np.zeros(count)

    def add(self, values: np.ndarray, weights: np.ndarray | None) -> None:
        """Values (n, field, *space) with quadrature weights (*space), None for equal ones; what weighs nothing is not
        looked at."""
        values = np.asarray(values, dtype=np.float64)
        w = np.ones(values.shape[2:]) if weights is None else np.asarray(weights, dtype=np.float64)
        w = w / w.mean()  # cases of different sizes count alike
        if not (w > 0).all():
            values = np.where(w > 0, values, 0.0)
        flat, w = values.reshape(*values.shape[:2], -1), w.reshape(-1)
        self.n += float(w.sum()) * len(values)
        # not by a matrix product, whose last digits go with the number of threads
        self.total += np.einsum("nfp,p->f", flat, w)
        self.square += np.einsum("nfp,nfp,p->f", flat, flat, w)

    @property
    def magnitude(self) -> np.ndarray:
        """(field,) root mean squares; 0 of a field that is zero throughout.

        Raises:
            InputError: nothing was added.
        """
        if not self.n:
            raise InputError("data: no case has as many frames as one step spans")
        return np.sqrt(self.square / self.n)


@dataclass(frozen=True)
class FieldScaler:
    """(a − offset) / scale for each field, the fields being divided by the problem's scales already.

    A field that the training split holds constant has scale 1: it stays as it is rather than blowing up.
    """

    names: tuple[str, ...]
    offset: np.ndarray
    scale: np.ndarray

    @classmethod
    def fit(
        cls, names: Sequence[str], chunks: Iterable[tuple[np.ndarray, np.ndarray | None]], centred: bool = False,
        about_zero: bool = False,
    ) -> FieldScaler:  # fmt: skip
        """From chunks of ((n, field, *space), quadrature weights or None), in one pass, float64.

        Args:
            centred: subtract the mean of every field; without it only of those whose mean is larger than what they
                vary by (a temperature of 300 K). Of others zero stays zero, as a fluid at rest should, and the scale is
                the root mean square.
            about_zero: subtract no mean, whatever it is: the answer to nothing is nothing.
        """
        sums = Sums(len(names))
        for values, weights in chunks:
            sums.add(values, weights)
        return cls.of(names, sums, centred, about_zero)

    @classmethod
    def of(cls, names: Sequence[str], sums: Sums, centred: bool = False, about_zero: bool = False) -> FieldScaler:
        """From sums over the training split; see `fit`."""
        n, total, square = sums.n, sums.total, sums.square
        if not n > 0:
            raise InputError("data: the training split holds no values to normalise by")
        if not (np.isfinite(total).all() and np.isfinite(square).all()):
            bad = [name for name, s in zip(names, square.tolist(), strict=True) if not np.isfinite(s)]
            raise InputError(f"data: the training split holds values that are not finite in {', '.join(bad)}")
        mean = total / n
        spread = np.sqrt(np.maximum(square / n - mean**2, 0.0))
        offset = mean if centred else np.where(np.abs(mean) > np.maximum(spread, 1e-12 * np.abs(mean)), mean, 0.0)
        offset = np.zeros(len(names)) if about_zero else offset
        scale = np.sqrt(np.maximum(square / n - offset**2, 0.0))
        scale = np.where(scale > 1e-12 * np.maximum(np.abs(offset), 1e-12), scale, 1.0)
        return cls(tuple(names), offset, scale)

    def _shape(self, ndim: int) -> tuple[int, ...]:
        return (-1,) + (1,) * (ndim - 1)

    def normalise(self, values: np.ndarray, space: int) -> np.ndarray:
        """(..., field, *space) in the problem's scales -> normalised; `space` is the number of space axes."""
        shape = self._shape(space + 1)
        return (values - self.offset.reshape(shape)) / self.scale.reshape(shape)

    def restore(self, values: np.ndarray, space: int) -> np.ndarray:
        shape = self._shape(space + 1)
        return values * self.scale.reshape(shape) + self.offset.reshape(shape)

    def to_json(self) -> dict[str, Any]:
        return {"names": list(self.names), "offset": self.offset.tolist(), "scale": self.scale.tolist()}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> FieldScaler:
        return cls(tuple(content["names"]), np.array(content["offset"], float), np.array(content["scale"], float))


@dataclass(frozen=True)
class FeatureScaler:
    """(f − mean) / std for each dimensionless feature; what the training split holds constant becomes 0."""

    names: tuple[str, ...]
    mean: np.ndarray
    std: np.ndarray
    lower: np.ndarray = field(default_factory=lambda: np.zeros(0))
    upper: np.ndarray = field(default_factory=lambda: np.zeros(0))

    @classmethod
    def fit(cls, names: Sequence[str], table: np.ndarray) -> FeatureScaler:
        """From a table (sample, feature) of the training split."""
        table = np.asarray(table, dtype=np.float64)
        if not len(table):
            raise InputError("data: the training split is empty")
        mean, std = table.mean(0), table.std(0)
        std = np.where(std > 1e-6 * np.maximum(np.abs(mean), 1e-6), std, 0.0)
        return cls(tuple(names), mean, std, table.min(0), table.max(0))

    def normalise(self, table: np.ndarray) -> np.ndarray:
        """(..., feature) -> (..., feature)."""
        varies = self.std > 0
        scaled = (np.asarray(table, dtype=np.float64) - self.mean) / np.where(varies, self.std, 1.0)
        return np.where(varies, scaled, 0.0)

    def constant_but_different(self, table: np.ndarray) -> list[str]:
        """Features that never varied in training and now have another value: nothing was learned about them."""
        if not self.names:
            return []
        rows = np.asarray(table, dtype=np.float64).reshape(-1, len(self.names))
        away = np.abs(rows - self.mean).max(axis=0, initial=0.0) > 1e-4 * np.maximum(np.abs(self.mean), 1e-4)
        return [n for n, a, s in zip(self.names, away.tolist(), self.std.tolist(), strict=True) if a and s == 0]

    def beyond(self, table: np.ndarray, margin: float = 0.05) -> list[tuple[str, float]]:
        """Features that varied in training and now leave that range by more than `margin` of its width, each with its
        value furthest away."""
        if not self.names:
            return []
        rows = np.asarray(table, dtype=np.float64).reshape(-1, len(self.names))
        found: list[tuple[str, float]] = []
        for k, name in enumerate(self.names):
            away = np.maximum(self.lower[k] - rows[:, k], rows[:, k] - self.upper[k])
            worst = int(np.argmax(away))
            if self.std[k] > 0 and away[worst] > margin * (self.upper[k] - self.lower[k]):
                found.append((name, float(rows[worst, k])))
        return found

    def doubts(self, table: np.ndarray, free: Sequence[str] = ()) -> list[str]:
        """What of these features training never saw, in words; of those that are `free`, however far they go."""
        if not self.names:
            return []
        rows, found = np.asarray(table, dtype=np.float64).reshape(-1, len(self.names)), []
        for name in self.constant_but_different(rows):
            i = self.names.index(name)
            value = rows[np.argmax(np.abs(rows[:, i] - self.mean[i])), i]
            found.append(
                f"{name} is {value:g}, but was {self.mean[i]:g} throughout the training data: "
                "the model knows nothing of its influence"
            )
        for name, value in self.beyond(rows):
            if name not in free:
                i = self.names.index(name)
                low, high = self.lower[i], self.upper[i]
                found.append(f"{name} is {value:.4g}, beyond the training data's {low:.4g} to {high:.4g}")
        return found

    def to_json(self) -> dict[str, Any]:
        arrays = {k: getattr(self, k).tolist() for k in ("mean", "std", "lower", "upper")}
        return {"names": list(self.names)} | arrays

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> FeatureScaler:
        arrays = [np.array(content[k], dtype=float) for k in ("mean", "std", "lower", "upper")]
        return cls(tuple(content["names"]), *arrays)
