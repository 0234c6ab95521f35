"""Families of linear systems, to train on and to measure with: −∇·(c∇φ) = f with coefficients, ends and obstacles at
random."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from sciml.errors import InputError, is_number
from sciml.solvers.linear._family import (
    OPEN,
    EndsChoice,
    Family,
    check_ends,
    counts,
    ends_of,
    generator,
    on_faces,
    spacing_of,
)
from sciml.solvers.linear._obstacles import Obstacles
from sciml.solvers.linear._random_fields import gaussian, pieces
from sciml.solvers.linear.grid_system import GridSystem

__all__ = ["Constant", "EndsChoice", "Family", "Jumps", "LogNormal", "Mixed", "Obstacles", "Recorded"]


@final
@dataclass(frozen=True)
class Constant(Family):
    """c = 1; what is drawn are the ends alone, where they are not given.

    Args:
        ends: of all axes, of each (x, y, ...), or None for any mix of walls, open and periodic ones.
    """

    ends: EndsChoice = OPEN

    def __post_init__(self) -> None:
        check_ends("constant", self.ends)

    def draw(self, rng: np.random.Generator | int, shape: tuple[int, ...]) -> GridSystem:
        rng, shape = generator(rng), counts(shape)
        return GridSystem(shape, ends_of(self.ends, rng, len(shape)), spacing_of(shape))


@final
@dataclass(frozen=True)
class Jumps(Family):
    """Piecewise constant c: with equal chance boxes, balls, or where a smooth random field is positive.

    The smallest c is 1, the largest `contrast`; of boxes and balls others are in between. Jumps lie between any two
    cells, whatever coarser grids take together; faces have the harmonic mean of both cells.

    Args:
        contrast: largest over smallest c.
        ends: as in `Constant`.
    """

    contrast: float = 1e4
    ends: EndsChoice = OPEN

    def __post_init__(self) -> None:
        check_ends("jumps", self.ends)
        if not is_number(self.contrast) or self.contrast <= 1:
            raise InputError(f"jumps: contrast: expected a number > 1, got {self.contrast!r}")

    def draw(self, rng: np.random.Generator | int, shape: tuple[int, ...]) -> GridSystem:
        rng, shape = generator(rng), counts(shape)
        ends = ends_of(self.ends, rng, len(shape))
        kind = int(rng.integers(3))
        if kind == 2:
            level = gaussian(rng, shape, ends, float(rng.uniform(0.04, 0.15)))
            share = (level > np.quantile(level, rng.uniform(0.3, 0.7))).astype(np.float64)
        else:
            share = pieces(rng, shape, kind == 1)
        return GridSystem(shape, ends, spacing_of(shape), on_faces(self.contrast**share, ends))


@final
@dataclass(frozen=True)
class LogNormal(Family):
    """c = exp(σ g) with a Gaussian field g of unit variance and correlation exp(−r²/(2ℓ²)).

    Args:
        sigma: σ.
        length: ℓ, in sides of the box.
        ends: as in `Constant`.
    """

    sigma: float = 2.0
    length: float = 0.1
    ends: EndsChoice = OPEN

    def __post_init__(self) -> None:
        check_ends("lognormal", self.ends)
        for name, value in (("sigma", self.sigma), ("length", self.length)):
            if not is_number(value) or value <= 0:
                raise InputError(f"lognormal: {name}: expected a number > 0, got {value!r}")

    def draw(self, rng: np.random.Generator | int, shape: tuple[int, ...]) -> GridSystem:
        rng, shape = generator(rng), counts(shape)
        ends = ends_of(self.ends, rng, len(shape))
        return GridSystem(
            shape, ends, spacing_of(shape), on_faces(np.exp(self.sigma * gaussian(rng, shape, ends, self.length)), ends)
        )


@final
class Recorded(Family):
    """Systems that were met, such as those of a march (`sciml.solvers.linear.record`), with equal chance.

    Args:
        systems: of any shapes; each draw is among those of the shape that is asked for.
    """

    def __init__(self, systems: Sequence[GridSystem]):
        if not len(systems) or not all(isinstance(s, GridSystem) for s in systems):
            raise InputError("recorded: expected systems on grids, at least one")
        self.systems = tuple(systems)

    def draw(self, rng: np.random.Generator | int, shape: tuple[int, ...]) -> GridSystem:
        rng, shape = generator(rng), counts(shape)
        some = [s for s in self.systems if s.shape == shape]
        if not some:
            known = ", ".join(" × ".join(map(str, s)) for s in sorted({s.shape for s in self.systems}))
            raise InputError(f"shape: expected one of the recorded systems, {known}, got {shape!r}")
        return some[int(rng.integers(len(some)))]


@final
class Mixed(Family):
    """One of several families, each as often as its weight says.

    Args:
        families: (family, weight), ...
    """

    def __init__(self, *families: tuple[Family, float]):
        pairs = bool(families) and all(isinstance(f, tuple) and len(f) == 2 for f in families)
        if not pairs or not all(isinstance(f, Family) and is_number(w) and w > 0 for f, w in families):
            raise InputError(f"mixed: expected (family, weight > 0), ..., got {families!r}")
        self.families = tuple((family, float(weight)) for family, weight in families)

    def draw(self, rng: np.random.Generator | int, shape: tuple[int, ...]) -> GridSystem:
        rng = generator(rng)
        weights = np.array([w for _, w in self.families])
        return self.families[int(rng.choice(len(weights), p=weights / weights.sum()))][0].draw(rng, shape)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Mixed) and self.families == other.families

    def __hash__(self) -> int:
        return hash(self.families)

    def __repr__(self) -> str:
        return f"Mixed({', '.join(map(repr, self.families))})"
