"""Named parts of the boundary of a region."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Shaped

AXES: tuple[str, ...] = ("x", "y", "z")
#: the sides of a box by name: (axis, 0 for the lower and 1 for the upper end)
SIDES = {f"{axis}_{end}": (k, e) for k, axis in enumerate(AXES) for e, end in enumerate(("min", "max"))}
TRIALS = 4096  # points from which the share of a boundary that is left over is told


class Boundary(ABC):
    """A named part of the boundary of a region.

    Attributes:
        name: by which conditions are given.
        side: (axis, 0 for the lower and 1 for the upper end) for a whole side of a box; else None.
        size: its length or area; of what is cut off by other regions an estimate, good to a few percent.
    """

    name: str
    side: tuple[int, int] | None = None
    size: float

    @abstractmethod
    def distance(self, points: Shaped[np.ndarray, "*batch d"]) -> Float[np.ndarray | np.floating, "*batch"]:
        """Distance to this part, never negative."""

    def contains(
        self, points: Shaped[np.ndarray, "*batch d"], tolerance: float = 1e-9
    ) -> Bool[np.ndarray | np.bool_, "*batch"]:
        """Whether points lie on this part, within `tolerance` times its size."""
        return self.distance(points) <= tolerance * self.size

    @abstractmethod
    def normal(self, points: Shaped[np.ndarray, "*batch d"]) -> Float[np.ndarray, "*batch d"]:
        """The unit normal, out of the region, at the places of this part nearest to `points`."""

    def places(self, count: int) -> Float[np.ndarray, "place d"]:
        """The same `count` points each time: along a side of a plane box in order, at the middles of equal parts."""
        return self.sample(count, np.random.default_rng(0))

    @abstractmethod
    def sample(self, count: int, random: np.random.Generator) -> Float[np.ndarray, "count d"]:
        """Points on this part, uniform by its length or area."""


class Part(Boundary):
    """Pieces of other boundaries that together have one name.

    Args:
        pieces: each with the sign of its normal and a function of points: which of them still belong to the boundary.
    """

    def __init__(self, name: str, pieces: list[tuple[Boundary, float, Callable[[np.ndarray], np.ndarray]]]):
        self.name, self.pieces = name, []
        random = np.random.default_rng(0)
        sizes = []
        for boundary, sign, kept in pieces:
            share = float(kept(boundary.sample(TRIALS, random)).mean())
            if share > 0:
                self.pieces.append((boundary, sign, kept))
                sizes.append(share * boundary.size)
        self.sizes = np.array(sizes)
        self.size = float(self.sizes.sum())
        whole = len(pieces) == 1 and sizes == [pieces[0][0].size] and pieces[0][1] > 0
        self.side = pieces[0][0].side if whole else None

    def places(self, count: int) -> Float[np.ndarray, "place d"]:
        ends = np.round(np.concatenate([[0], np.cumsum(self.sizes)]) / self.size * count)
        shares = np.diff(ends).astype(int).tolist()
        found = []
        for (boundary, _, kept), n in zip(self.pieces, shares, strict=True):
            if n == 0:
                continue
            fine = boundary.places(n)
            if not kept(fine).all():  # of many in order every so manieth that is left
                fine = boundary.places(64 * n)
                fine = fine[kept(fine)]
                fine = fine[((np.arange(n) + 0.5) / n * len(fine)).astype(int)]
            found.append(fine)
        return np.concatenate(found)

    def _distances(self, points: np.ndarray) -> np.ndarray:
        points = np.asarray(points, dtype=np.float64)
        found = []
        for boundary, _, kept in self.pieces:
            found.append(np.where(kept(points), boundary.distance(points), np.inf))
        return np.stack(found)

    def distance(self, points: Shaped[np.ndarray, "*batch d"]) -> Float[np.ndarray | np.floating, "*batch"]:
        """Exact on the boundary and near it; infinite near what has been cut off."""
        return self._distances(points).min(0)

    def normal(self, points: Shaped[np.ndarray, "*batch d"]) -> Float[np.ndarray, "*batch d"]:
        nearest = self._distances(points).argmin(0)
        normals = np.stack([sign * boundary.normal(points) for boundary, sign, _ in self.pieces])
        return np.take_along_axis(normals, nearest[None, ..., None], axis=0)[0]

    def sample(self, count: int, random: np.random.Generator) -> Float[np.ndarray, "count d"]:
        found = []
        shares = random.multinomial(count, self.sizes / self.size)
        for (boundary, _, kept), n in zip(self.pieces, shares, strict=True):
            got = np.zeros((0, 0))
            while len(got) < n:
                trial = boundary.sample(2 * int(n) + 8, random)
                trial = trial[kept(trial)]
                got = trial if not got.size else np.concatenate([got, trial])
            if n:
                found.append(got[:n])
        return random.permutation(np.concatenate(found))
