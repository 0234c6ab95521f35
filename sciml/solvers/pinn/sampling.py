"""Points of space and time: in the interior, on parts of the boundary, at the start."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from sciml.errors import InputError
from sciml.geometry import Boundary, Geometry
from sciml.training.parts import Part

Window = tuple[float, float]


class Sampling(Part, family="sampling"):
    """How points are spread over a unit cube."""

    @abstractmethod
    def unit(self, count: int, dimensions: int, random: np.random.Generator) -> Float[np.ndarray, "count dimension"]:
        """Points of [0, 1]ⁿ."""

    def inside(
        self, geometry: Geometry, window: Window, count: int, random: np.random.Generator
    ) -> Float[np.ndarray, "count coordinate"]:
        """Points (N, D + 1) within a geometry, time last: those of the box around it that lie inside.

        Raises:
            InputError: nothing is inside.
        """
        box = np.array([*geometry.extents, window], np.float64)
        found = np.zeros((0, len(box)))
        tried = count
        for _ in range(20):
            trial = box[:, 0] + self.unit(tried, len(box), random) * (box[:, 1] - box[:, 0])
            # on a box all of them are, but for rounding at its edge
            found = trial[np.asarray(geometry.signed_distance(trial[:, :-1])) >= 0]
            if len(found) >= count:
                return found[:count]
            tried = int(tried * min(max(1.1 * count / max(len(found), 1), 1.1), 8.0)) + 8
        raise InputError(f"points: found {len(found)} of {count} inside of the domain; is there anything of it?")

    def on(
        self, boundary: Boundary, window: Window, count: int, random: np.random.Generator
    ) -> Float[np.ndarray, "count coordinate"]:
        """Points (N, D + 1) on a part of the boundary, uniform by its length or area."""
        places = boundary.sample(count, random)
        times = window[0] + self.unit(count, 1, random) * (window[1] - window[0])
        return np.concatenate([places, times], axis=1)


@dataclass(frozen=True)
class SobolPoints(Sampling):
    """Scrambled Sobol' sequences: more even than random points.

    Source: I. M. Sobol', USSR Comput. Math. Math. Phys. 7, 86 (1967); scrambled after A. B. Owen.
    """

    def unit(self, count: int, dimensions: int, random: np.random.Generator) -> Float[np.ndarray, "count dimension"]:
        from scipy.stats.qmc import Sobol

        # beginnings of the sequence that are powers of two are balanced
        return Sobol(dimensions, rng=random).random_base2(max(int(count - 1).bit_length(), 0))[:count]


@dataclass(frozen=True)
class RandomPoints(Sampling):
    """Uniform random points."""

    def unit(self, count: int, dimensions: int, random: np.random.Generator) -> Float[np.ndarray, "count dimension"]:
        return random.random((count, dimensions))


class Resampling(Part, family="resampling"):
    """When points of the interior are drawn again, and how."""

    every: int

    #: whether the residuals of candidates are looked at
    looks: bool = False

    @abstractmethod
    def candidates(self, count: int) -> int:
        """How many points are drawn for `count` of them."""

    @abstractmethod
    def choose(self, residual: Float[np.ndarray, " candidate"], count: int, random: np.random.Generator) -> np.ndarray:
        """Numbers of the candidates that are taken."""


@dataclass(frozen=True)
class Fresh(Resampling):
    """New points every so many steps."""

    every: int = 100

    def __post_init__(self) -> None:
        super().__post_init__()
        self._range("every", 1)

    def candidates(self, count: int) -> int:
        return count

    def choose(self, residual: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
        return np.arange(count)


@dataclass(frozen=True)
class ByResidual(Resampling):
    """Points drawn with probability ∝ |r|^power / mean |r|^power + floor.

    Args:
        every: steps between draws.
        factor: candidates for each point.

    Source: C. Wu et al., Comput. Methods Appl. Mech. Engrg. 403, 115671 (2023).
    """

    every: int = 500
    power: float = 1.0
    floor: float = 1.0
    factor: int = 4

    looks = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self._range("every", 1)
        self._range("power", 0)
        self._range("floor", 0)
        self._range("factor", 2)

    def candidates(self, count: int) -> int:
        return self.factor * count

    def choose(self, residual: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
        weight = np.abs(residual) ** self.power
        mean = float(weight.mean())
        share = (weight / mean if mean > 0 else np.ones(len(weight))) + self.floor
        share = share + 1e-12
        return random.choice(len(share), count, replace=False, p=share / share.sum())
