"""What a family of linear systems is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from sciml.errors import InputError, is_whole
from sciml.solvers.linear._ends import End, Ends
from sciml.solvers.linear.grid_system import GridSystem

OPEN, WALLS, AROUND = (End.OPEN, End.OPEN), (End.WALL, End.WALL), (End.PERIODIC, End.PERIODIC)
#: what the ends of an axis are drawn from
MIX: tuple[Ends, ...] = (OPEN, WALLS, (End.WALL, End.OPEN), (End.OPEN, End.WALL), AROUND)

#: one pair for all axes, one for each (x, y, ...), or None: drawn for each axis
EndsChoice = Ends | tuple[Ends, ...] | None


class Family(ABC):
    """Abstract: a distribution of systems −∇·(c∇φ) = f on boxes of square cells whose longest side is 1.

    Families are equal where their settings are, and equal seeds give equal systems.
    """

    @abstractmethod
    def draw(self, rng: np.random.Generator | int, shape: tuple[int, ...]) -> GridSystem:
        """One system, in float64.

        Args:
            rng: a generator, which is drawn from, or a seed.
            shape: (y, x) or (z, y, x) counts of cells.

        Raises:
            InputError: no such shape, or none that this family has systems of.
        """


def generator(rng: Any) -> np.random.Generator:
    """A generator, or one made from a seed."""
    if isinstance(rng, np.random.Generator):
        return rng
    if not is_whole(rng) or rng < 0:
        raise InputError(f"rng: expected a NumPy generator or a seed, got {rng!r}")
    return np.random.default_rng(int(rng))


def counts(shape: Any, dimensions: tuple[int, ...] = (1, 2, 3)) -> tuple[int, ...]:
    """Checked counts of cells."""
    whole = isinstance(shape, Sequence) and all(is_whole(n) and n >= 2 for n in shape)
    if not whole or len(shape) not in dimensions:
        several = " or ".join(map(str, dimensions))
        raise InputError(f"shape: expected {several} counts of at least 2 cells, got {shape!r}")
    return tuple(int(n) for n in shape)


def spacing_of(shape: tuple[int, ...]) -> tuple[float, ...]:
    """Square cells, the longest side is 1."""
    return (1 / max(shape),) * len(shape)


def check_ends(name: str, ends: Any) -> None:
    """Refuse what are no ends.

    Raises:
        InputError: anything but what `EndsChoice` says.
    """
    if ends is None:
        return
    pairs = (ends,) if _is_pair(ends) else ends
    if not isinstance(pairs, tuple) or not pairs or not all(_is_pair(p) for p in pairs):
        raise InputError(
            f"{name}: ends: expected a pair of End for all axes, one for each of them or None for any, got {ends!r}"
        )
    if any((low is End.PERIODIC) != (high is End.PERIODIC) for low, high in pairs):
        raise InputError(f"{name}: ends: expected both ends of an axis periodic or neither, got {ends!r}")


def _is_pair(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(isinstance(v, End) for v in value)


def ends_of(choice: EndsChoice, rng: np.random.Generator, dimensions: int) -> tuple[Ends, ...]:
    """The ends of x, y, ... of one system.

    Raises:
        InputError: pairs for another number of axes.
    """
    if choice is None:
        return tuple(MIX[int(k)] for k in rng.integers(len(MIX), size=dimensions))
    if _is_pair(choice):
        return (choice,) * dimensions  # type: ignore[return-value]
    if len(choice) != dimensions:
        raise InputError(f"shape: expected {len(choice)} counts, as there are ends for so many axes, got {dimensions}")
    return choice  # type: ignore[return-value]


def on_faces(values: Float[np.ndarray, "*shape"], ends: tuple[Ends, ...]) -> tuple[Float[np.ndarray, "*faces"], ...]:
    """For each axis (x, y, ...) the coefficient on faces: 2ab/(a + b) between cells of a and b, through which a current
    goes as through both halves in turn; a cell's own at the ends of the box."""
    found = []
    for k, (low, _) in enumerate(ends):
        line = np.moveaxis(values, values.ndim - 1 - k, -1)
        before, behind = line[..., :1], line[..., -1:]
        if low is End.PERIODIC:
            before, behind = behind, before
        a, b = np.concatenate([before, line], -1), np.concatenate([line, behind], -1)
        found.append(np.moveaxis(2 * a * b / (a + b), -1, values.ndim - 1 - k))
    return tuple(np.ascontiguousarray(c) for c in found)
