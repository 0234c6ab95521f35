"""What every support offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sciml.arrays import plain

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Integer, Shaped

Variable = tuple[tuple[str, ...], np.ndarray]


@dataclass(frozen=True)
class Stencil:
    """Linear interpolation at M points: value_m = Σ_k weight[m, k] · flat_values[index[m, k]].

    Args:
        index: (M, K) positions in the flattened values.
        weight: (M, K), each row with sum 1; all 0 for a point of a masked grid that has no cell inside around it.
    """

    index: Integer[np.ndarray, "point corner"]
    weight: Float[np.ndarray, "point corner"]

    def __call__(self, values: Shaped[np.ndarray, "*batch value"]) -> Shaped[np.ndarray, "*batch {len(self.index)}"]:
        """(..., N) -> (..., M)."""
        return (plain("values", values)[..., self.index] * self.weight).sum(-1)


class Support(ABC):
    """Abstract; final are `Grid`, `Points` and `Mesh`."""

    @property
    @abstractmethod
    def dims(self) -> tuple[str, ...]:
        """Names of the array axes of a field: ("z", "y", "x") or its tail, or ("node",)."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Lengths of these axes."""

    @property
    @abstractmethod
    def dimensions(self) -> int:
        """Dimensions of space."""

    @property
    @abstractmethod
    def extents(self) -> tuple[tuple[float, float], ...]:
        """(lower, upper) of the box around it, for x, y, z."""

    #: for x, y, z: whether the ends of the box are identified
    periodic: tuple[bool, ...]

    @property
    def inside(self) -> Bool[np.ndarray, "*shape"] | None:
        """(*shape) True where there is something to have a value; None where it is so everywhere."""
        return None

    @property
    def size(self) -> int:
        return int(np.prod(self.shape))

    @abstractmethod
    def points(self) -> Float[np.ndarray, "*shape {self.dimensions}"]:
        """(*shape, D) positions."""

    @abstractmethod
    def weights(self) -> Float[np.ndarray, "*shape"]:
        """(*shape) quadrature weights, Σ w a ≈ ∫ a dV: cell volumes, dual volumes; 0 where not `inside`."""

    @abstractmethod
    def stencil(self, points: Shaped[np.ndarray, "point {self.dimensions}"]) -> Stencil:
        """Linear interpolation at points (M, D); beyond the outermost points values are continued."""

    @abstractmethod
    def coordinates(self) -> dict[str, Variable]:
        """Coordinate variables of a solution, name -> (dims, array)."""

    def variables(self) -> dict[str, Variable]:
        """What a solution needs beside coordinates: connectivity, mask."""
        return {}

    def sample(
        self, values: Shaped[np.ndarray, "*_batch_shape"], points: Shaped[np.ndarray, "point {self.dimensions}"]
    ) -> Shaped[np.ndarray, "*batch point"]:
        """Values (..., *shape) at points (M, D): (..., M), by linear interpolation."""
        values = plain("values", values)
        lead = values.shape[: values.ndim - len(self.shape)]
        return self.stencil(points)(values.reshape(*lead, -1))

    def onto(self, values: Shaped[np.ndarray, "*_batch_shape"], other: Support) -> Shaped[np.ndarray, "*_batch_other"]:
        """Values (..., *shape) on another support of the same domain: (..., *other.shape)."""
        return self.map_onto(other)(values)

    def map_onto(self, other: Support) -> Callable[[np.ndarray], np.ndarray]:
        """What `onto` does, for many values: the places are looked up once."""
        if self.same(other):
            return np.asarray
        stencil, axes = self.stencil(other.points().reshape(-1, other.dimensions)), len(self.shape)

        def onto(values: np.ndarray) -> np.ndarray:
            values = plain("values", values)
            lead = values.shape[: values.ndim - axes]
            return stencil(values.reshape(*lead, -1)).reshape(*lead, *other.shape)

        return onto

    def same(self, other: Support) -> bool:
        """Whether values of the one are values of the other: equal points up to rounding, and equal masks."""
        if self is other:
            return True
        if type(self) is not type(other) or self.shape != other.shape or self.dimensions != other.dimensions:
            return False
        size = max(b - a for a, b in self.extents) or 1.0
        return bool(np.allclose(self.points(), other.points(), rtol=0.0, atol=1e-6 * size))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({' × '.join(map(str, self.shape))}, {self.dimensions}-D)"

    def unit(self) -> Float[np.ndarray, "*shape {self.dimensions}"]:
        """(*shape, D) positions as shares of the extents."""
        low, high = np.array(self.extents, dtype=np.float64).T
        return (self.points() - low) / np.where(high > low, high - low, 1.0)
