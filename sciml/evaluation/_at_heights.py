"""What statistics on planes at given distances from walls share."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from sciml.evaluation import _walls
from sciml.evaluation._heights import Heights, Wanted
from sciml.evaluation._streamed import Streamed, above_zero
from sciml.problem import Case
from sciml.support import Support


class AtHeights(Streamed):
    """Abstract: averages over planes along walls, at the distances that are asked for; arguments as in `Spectra`."""

    along = "height"

    def __init__(
        self,
        *,
        y_plus: Sequence[float] = (),
        y_over_h: Sequence[float] = (),
        friction_velocity: float | None = None,
        viscosity: float | None = None,
        walls: Sequence[str] | str = ("min", "max"),
        velocity: Sequence[str] | None = None,
        homogeneous: Sequence[str] | None = None,
        skip: int = 0,
        name: str = "",
    ):
        name = name or type(self).name
        super().__init__(name, velocity, homogeneous, skip)
        self.walls = _walls.checked(name, walls)
        u, nu = (above_zero(name, n, v) for n, v in
                 (("friction_velocity", friction_velocity), ("viscosity", viscosity)))  # fmt: skip
        self.wanted = Wanted.of(name, y_plus, y_over_h, u, nu)

    def place(self, support: Support, case: Case) -> tuple[Heights, Hashable]:
        found = self.wanted.on(self.name, support, case, self.homogeneous, self.walls, self.names(case)[0])
        return found, found.walls.layers.key()
