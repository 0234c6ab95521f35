"""Heights above walls at which spectra and correlations are taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sciml.errors import InputError, is_number
from sciml.evaluation._layers import Layers, require_waves
from sciml.evaluation._walls import Walls
from sciml.problem import Case
from sciml.support import Support

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclass(frozen=True, eq=False)
class Heights:
    """Planes at given heights, of each wall one, and what is asked along them.

    Args:
        layers: (height, wall) numbers of the planes.
        unit: the length that heights are told in beside the plain one: ν/u_τ or h.
        lags: whether there is a lag of half the domain, an even number of cells, for each direction.
    """

    walls: Walls
    layers: np.ndarray
    plus: float | None

    @property
    def directions(self) -> tuple[int, ...]:
        return self.walls.layers.homogeneous

    def cells(self, axis: int) -> int:
        return len(self.walls.layers.grid.widths[axis])

    def length(self, axis: int) -> float:
        low, high = self.walls.layers.grid.extents[axis]
        return high - low

    def planes(self, velocity: Float[np.ndarray, " component *shape"]) -> np.ndarray:
        """(component, height, wall, *plane)."""
        across = -1 - self.walls.layers.normal
        found = np.moveaxis(np.take(velocity, self.layers.ravel(), axis=across), across, 1)
        return found.reshape(len(velocity), *self.layers.shape, *found.shape[2:])

    def plane_axis(self, axis: int) -> int:
        """Where a direction is among the axes of a plane, from the end."""
        return -1 - sorted(self.directions).index(axis)

    def told(self) -> dict[str, Any]:
        """For results: where the planes are."""
        distance = self.walls.distance[self.layers[:, 0]]
        found = {"wall_distance": distance, "wall_distance_over_height": distance / self.walls.height,
                 "walls": list(self.walls.ends), "axis": self.walls.layers.axis}  # fmt: skip
        return found | ({"wall_distance_plus": distance / self.plus} if self.plus is not None else {})


@dataclass(frozen=True)
class Wanted:
    """Which heights, as a user says them: in viscous lengths or in half heights of the channel."""

    y_plus: tuple[float, ...]
    y_over_h: tuple[float, ...]
    friction_velocity: float | None
    viscosity: float | None

    @staticmethod
    def of(who: str, y_plus: Any, y_over_h: Any, friction_velocity: float | None, viscosity: float | None) -> Wanted:
        for name, values in (("y_plus", y_plus), ("y_over_h", y_over_h)):
            if isinstance(values, str) or not isinstance(values, Sequence | np.ndarray) or not all(
                is_number(v) and v > 0 for v in values
            ):  # fmt: skip
                raise InputError(f"{who}: {name}: expected distances > 0 from a wall, got {values!r}")
        if bool(len(y_plus)) == bool(len(y_over_h)):
            raise InputError(
                f"{who}: y_plus, y_over_h: expected heights in one of the two, got {y_plus!r}, {y_over_h!r}"
            )
        return Wanted(tuple(map(float, y_plus)), tuple(map(float, y_over_h)), friction_velocity, viscosity)

    def on(
        self, who: str, support: Support, case: Case, names: Sequence[str] | None, ends: tuple[str, ...], component: str
    ) -> Heights:
        """The planes of a grid.

        Raises:
            InputError: directions that are not periodic, heights beyond the flow, wall units that nobody gave.
        """
        layers = Layers.of(who, support, names)
        for axis in layers.homogeneous:
            require_waves(who, layers.grid, axis)
        walls = Walls.of(layers, ends, case, component)
        known = case.problem.wall_units(case)
        u = self.friction_velocity or (known[0] if known else None)
        nu = self.viscosity or (known[1] if known else None)
        plus = None if u is None or nu is None else nu / u
        if self.y_plus and plus is None:
            raise InputError(f"{who}: y_plus: expected friction_velocity and viscosity, which the case does not know")
        heights = [v * plus for v in self.y_plus] if plus and self.y_plus else [v * walls.height for v in self.y_over_h]
        for asked, value in zip(self.y_plus or self.y_over_h, heights, strict=True):
            if value > walls.height * (1 + 1e-9):
                raise InputError(
                    f"{who}: {'y_plus' if self.y_plus else 'y_over_h'}: expected heights up to the middle "
                    f"({walls.height / plus if self.y_plus and plus else 1:.4g}), got {asked:g}"
                )
        at = [[walls.nearest(end, value) for end in ends] for value in heights]
        return Heights(walls, np.array(at), plus)
