"""Energy spectra over shells of wave numbers in periodic boxes."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sciml.errors import InputError, is_whole
from sciml.evaluation._layers import plain_grid, require_waves
from sciml.evaluation._streamed import Group, Streamed, average
from sciml.metrics import energy_spectrum
from sciml.problem import Case
from sciml.support import Grid, Support

if TYPE_CHECKING:
    from jaxtyping import Float


class ShellSpectra(Streamed):
    """Kinetic energy by the length of the wave vector in a periodic box,

    E(k) = ½ Σ_{κ in shell k} |û(κ)|²,  Σ_k E(k) = ½⟨|u|²⟩

    (`sciml.metrics.energy_spectrum`), averaged over time and rollouts, or at given steps each over rollouts alone, as
    for turbulence that decays.

    Args:
        steps: numbers of steps (0 is the first predicted frame) to keep apart; () to average over all.
        velocity, skip, name: see `Streamed`.

    Raises:
        InputError: no velocity among the fields, a grid that is not periodic with equal cells.
    """

    along = "wavenumber"

    def __init__(
        self,
        *,
        steps: Sequence[int] = (),
        velocity: Sequence[str] | None = None,
        skip: int = 0,
        name: str = "shell_spectra",
    ):
        super().__init__(name, velocity, None, skip)
        if isinstance(steps, str) or not all(is_whole(k) and k >= 0 for k in steps):
            raise InputError(f"{name}: steps: expected whole numbers >= 0, got {steps!r}")
        self.steps = tuple(int(k) for k in steps)

    def step_of(self, step: int) -> tuple[bool, int | None]:
        return (step in self.steps, step) if self.steps else super().step_of(step)

    def place(self, support: Support, case: Case) -> tuple[Grid, Hashable]:
        grid = plain_grid(self.name, support)
        for axis in range(grid.dimensions):
            require_waves(self.name, grid, axis)
        return grid, tuple(f.tobytes() for f in grid.faces)

    def measure(self, velocity: Float[np.ndarray, " component *shape"], place: Grid) -> Float[np.ndarray, "q n"]:
        return self._spectrum(velocity, place)[1][None]

    @staticmethod
    def _spectrum(velocity: np.ndarray, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
        sides = [b - a for a, b in reversed(grid.extents)]
        return energy_spectrum(velocity, sides, periodic=True)

    def entry(self, group: Group) -> dict[str, Any]:
        grid: Grid = group.place
        wavenumber = self._spectrum(np.zeros((1, *grid.shape)), grid)[0]
        if group.blocking is None:
            return {"wavenumber": wavenumber}
        told = average(group, group.blocking.mean[0], 1.0)
        return {"wavenumber": wavenumber, "energy": told["value"], "standard_error": told["standard_error"]}
