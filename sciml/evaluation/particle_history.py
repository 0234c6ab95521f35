"""Centre of mass, energy and reach of particles over time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sciml.errors import InputError, is_number
from sciml.evaluation._particles import Course, Frame, OfParticles, gravity_of
from sciml.geometry import AXES
from sciml.problem import Case

if TYPE_CHECKING:
    from jaxtyping import Float


class ParticleHistory(OfParticles):
    """Of each rollout over time, with w the shares of the mass:

    x̄ = Σ w x,  k = ½ Σ w |v|²,  p = −g · x̄ (above the origin, where gravity is known),

    energies per mass, and how far matter reaches along each axis: the place beyond which `1 − share` of the mass lies,
    so that a drop or two that fly off are not the front.

    Args:
        share: of the mass within reach.
        name: under which the result stands in a summary.

    Raises:
        InputError: see `OfParticles`.
    """

    def __init__(self, *, share: float = 0.99, name: str = "particle_history"):
        super().__init__(name)
        if not is_number(share) or not 0 < share < 1:
            raise InputError(f"{name}: share: expected a number between 0 and 1, got {share!r}")
        self.share = float(share)

    def measure(self, key: tuple[str, int, int], step: int, frame: Frame, case: Case) -> Any:
        gravity = gravity_of(case)
        with np.errstate(over="ignore", invalid="ignore"):
            centre = frame.share @ frame.position
            energy = np.nan if frame.velocity is None else 0.5 * float(frame.share @ np.square(frame.velocity).sum(1))
            potential = np.nan if gravity is None else -float(gravity @ centre)
            return [*centre, energy, potential, *reach(frame.position, frame.share, self.share)]

    def entry(self, course: Course) -> dict[str, Any]:
        d = course.case.problem.dimensions
        values = np.array(course.values, dtype=np.float64).T
        axes = AXES[:d]
        found = {f"centre_{a}": values[k] for k, a in enumerate(axes)}
        found |= {"kinetic_energy": values[d], "potential_energy": values[d + 1]}
        return found | {f"reach_{a}": values[d + 2 + k] for k, a in enumerate(axes)} | {"share": self.share}


def reach(
    position: Float[np.ndarray, "node d"], weights: Float[np.ndarray, " node"], share: float
) -> Float[np.ndarray, " d"]:
    """Along each axis the place below which this share of the matter lies; NaN where a position is not finite."""
    if not np.isfinite(position).all():
        return np.full(position.shape[1], np.nan)
    order = np.argsort(position, axis=0)
    below = np.cumsum(weights[order], axis=0)
    at = np.argmax(below >= share * weights.sum() * (1 - 1e-12), axis=0)
    return np.take_along_axis(position, np.take_along_axis(order, at[None], axis=0), axis=0)[0]
