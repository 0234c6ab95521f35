"""Loose points, and what they share with the nodes of a mesh."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sciml.arrays import plain
from sciml.errors import InputError
from sciml.support.base import Stencil, Support, Variable

if TYPE_CHECKING:
    from jaxtyping import Float, Shaped


class Cloud(Support):
    """What points and meshes share: values over ("node",)."""

    position: Shaped[np.ndarray, "node dimension"]

    @property
    def periodic(self) -> tuple[bool, ...]:  # type: ignore[override]
        return (False,) * self.dimensions

    @property
    def dims(self) -> tuple[str, ...]:
        return ("node",)

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.position),)

    @property
    def dimensions(self) -> int:
        return self.position.shape[1]

    @property
    def extents(self) -> tuple[tuple[float, float], ...]:
        return tuple((float(a), float(b)) for a, b in zip(self.position.min(0), self.position.max(0), strict=True))

    def points(self) -> Float[np.ndarray, "node dimension"]:
        return self.position

    def coordinates(self) -> dict[str, Variable]:
        return {a: (("node",), self.position[:, i]) for i, a in zip(range(self.dimensions), "xyz", strict=False)}

    def spacing(self) -> float:
        """The median distance from a point to the one that is nearest to it; 0 of a single point."""
        from scipy.spatial import KDTree

        if len(self.position) < 2:
            return 0.0
        return float(np.median(KDTree(self.position).query(self.position, k=2)[0][:, 1]))

    def _nearest(self, points: np.ndarray, count: int) -> Stencil:
        """The nearest points, weighted by the inverse square of their distance; a point of the cloud gives itself."""
        from scipy.spatial import KDTree

        count = min(count, len(self.position))
        distance, index = KDTree(self.position).query(points, k=count)
        distance, index = distance.reshape(len(points), count), np.asarray(index).reshape(len(points), count)
        size = max(b - a for a, b in self.extents) or 1.0
        weight = 1.0 / np.maximum(distance, 1e-12 * size) ** 2
        return Stencil(index, weight / weight.sum(1, keepdims=True))


def checked_position(value: Any, name: str) -> np.ndarray:
    """(N, D) finite positions in one, two or three dimensions, if `value` is that."""
    array = plain(name, value).astype(np.float64)
    if array.ndim != 2 or not 1 <= array.shape[1] <= 3 or not len(array):
        raise InputError(f"{name}: expected positions of shape (N, 1 to 3), got {array.shape}")
    if not np.isfinite(array).all():
        raise InputError(f"{name}: position {int(np.argmin(np.isfinite(array).all(1)))} is not finite")
    return array


@dataclass(frozen=True, eq=False, repr=False)
class Points(Cloud):
    """Loose points: particles, sensors.

    Args:
        position: (N, D).
        volume: (N,) quadrature weights; by default all are equal, with the volume of the box around the points as sum.
    """

    position: Shaped[np.ndarray, "node dimension"]
    volume: Shaped[np.ndarray, " node"] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "position", checked_position(self.position, "points"))
        if self.volume is not None:
            volume = plain("points: volume", self.volume).astype(np.float64)
            if volume.shape != (len(self.position),) or not np.all(volume > 0):
                fits = volume.shape == (len(self.position),)
                what = f"{volume.min():g} among them" if fits else f"shape {volume.shape}"
                raise InputError(f"points: expected {len(self.position)} positive volumes, got {what}")
            object.__setattr__(self, "volume", volume)

    def weights(self) -> Float[np.ndarray, " node"]:
        if self.volume is not None:
            return self.volume
        box = float(np.prod([(b - a) or 1.0 for a, b in self.extents]))
        return np.full(self.shape, box / self.size)

    def variables(self) -> dict[str, Variable]:
        return {} if self.volume is None else {"node_volume": (("node",), self.volume)}

    def stencil(self, points: Shaped[np.ndarray, "point {self.dimensions}"]) -> Stencil:
        """From the D + 1 nearest points, by inverse squares of distances."""
        return self._nearest(plain("points", points).astype(np.float64), self.dimensions + 1)
