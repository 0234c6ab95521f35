"""Walls across which a profile is taken: distances, slopes of the mean, wall units, mirror images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sciml.errors import InputError
from sciml.evaluation._layers import Layers
from sciml.problem import Case

if TYPE_CHECKING:
    from jaxtyping import Float

ENDS = ("min", "max")


def checked(who: str, walls: Any) -> tuple[str, ...]:
    """Which ends of the axis across the planes are walls."""
    found = (walls,) if isinstance(walls, str) else tuple(walls)
    if not found or not set(found) <= set(ENDS) or len(set(found)) != len(found):
        raise InputError(f"{who}: walls: expected 'min', 'max' or both, got {walls!r}")
    return tuple(e for e in ENDS if e in found)


@dataclass(frozen=True, eq=False)
class Walls:
    """Layers with walls at one end or at both.

    Args:
        ends: "min", "max".
        velocities: of the walls along the streamwise direction.
    """

    layers: Layers
    ends: tuple[str, ...]
    velocities: dict[str, float]

    @staticmethod
    def of(layers: Layers, ends: tuple[str, ...], case: Case, streamwise: str) -> Walls:
        """The walls of a case; they are at rest where the problem says nothing else."""
        known = case.problem.boundary_values(case, [0.0])
        given = {e: np.asarray(known.get(f"{layers.axis}_{e}_{streamwise}", 0.0), float) for e in ends}
        return Walls(layers, ends, {e: float(v.mean()) if v.size else 0.0 for e, v in given.items()})

    @property
    def height(self) -> float:
        """h: half of the distance between two walls, or all that is above one."""
        low, high = self.layers.ends
        return (high - low) / len(self.ends)

    @property
    def distance(self) -> Float[np.ndarray, " layer"]:
        """From the nearest wall."""
        low, high = self.layers.ends
        each = {"min": self.layers.places - low, "max": high - self.layers.places}
        return np.min([each[e] for e in self.ends], axis=0)

    def nearest(self, end: str, distance: float) -> int:
        """The layer whose places are nearest to a distance from a wall."""
        low, high = self.layers.ends
        at = low + distance if end == "min" else high - distance
        return int(np.argmin(np.abs(self.layers.places - at)))

    def slope_weights(self, end: str) -> tuple[Float[np.ndarray, " layer"], float]:
        """(w, c) with dU/dn = Σ w U + c at a wall, n pointing into the flow: the parabola through the wall and the two
        layers beside it, of second order on stretched cells."""
        low, high = self.layers.ends
        y = self.layers.places - low if end == "min" else (high - self.layers.places)[::-1]
        w = np.zeros(len(y))
        if len(y) < 2:
            raise InputError(f"layers: expected two along {self.layers.axis} and more, got {len(y)}")
        a, b = float(y[0]), float(y[1])
        w[0], w[1] = b / (a * (b - a)), -a / (b * (b - a))
        return (w if end == "min" else w[::-1]), -self.velocities[end] * (a + b) / (a * b)

    def derivative_matrix(self) -> tuple[Float[np.ndarray, "layer layer"], Float[np.ndarray, " layer"]]:
        """(D, c) with dU/dy = D U + c at every layer: central differences of second order over unequal spacings, with
        the value at a wall as one more point; one-sided at an end that is no wall."""
        low, high = self.layers.ends
        y, n = self.layers.places, len(self.layers.places)
        before, after = "min" in self.ends, "max" in self.ends
        points = np.concatenate([[low] if before else [], y, [high] if after else []])
        inner = slice(int(before), int(before) + n)
        rows = np.asarray(np.gradient(np.eye(len(points)), points, axis=0, edge_order=2))[inner]
        constant = np.zeros(n)
        if before:
            constant = constant + rows[:, 0] * self.velocities["min"]
        if after:
            constant = constant + rows[:, -1] * self.velocities["max"]
        return rows[:, inner], constant


def mirrored(values: Float[np.ndarray, "quantity layer"], signs: np.ndarray) -> Float[np.ndarray, "quantity half"]:
    """Means of the layers and of their mirror images about the centre plane, of the lower half with the centre.

    Args:
        signs: (Q,) 1 for what is even about the centre plane, −1 for what is odd.
    """
    half = (values.shape[1] + 1) // 2
    return (values[:, :half] + signs[:, None] * values[:, ::-1][:, :half]) / 2
