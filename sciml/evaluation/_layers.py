"""The layers of a grid: planes over the homogeneous directions, one at each place along what is left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sciml.errors import InputError
from sciml.support import Grid, Support

if TYPE_CHECKING:
    from jaxtyping import Float


def plain_grid(who: str, support: Support) -> Grid:
    """`support`, which has to be a whole grid.

    Raises:
        InputError: nodes, or cells outside of the domain.
    """
    if not isinstance(support, Grid):
        raise InputError(f"{who}: expected values on a grid, got {support!r}")
    if support.inside is not None:
        raise InputError(f"{who}: expected a grid without a mask, got one with cells outside of the domain")
    return support


def axes_of(who: str, grid: Grid, names: Sequence[str] | None) -> tuple[int, ...]:
    """Numbers of the homogeneous axes: those named, else the periodic ones."""
    if names is None:
        return tuple(a for a in range(grid.dimensions) if grid.periodic[a])
    known = "xyz"[: grid.dimensions]
    if isinstance(names, str) or not set(names) <= set(known) or len(set(names)) != len(names):
        raise InputError(f"{who}: homogeneous: expected axes among {tuple(known)}, each once, got {names!r}")
    return tuple(sorted(known.index(n) for n in names))


def require_waves(who: str, grid: Grid, axis: int) -> None:
    """Refuse an axis along which there is no Fourier series."""
    w = grid.widths[axis]
    if not grid.periodic[axis]:
        raise InputError(f"{who}: expected a periodic direction, got {'xyz'[axis]}, which is not")
    if np.ptp(w) > 1e-6 * w.mean():
        raise InputError(f"{who}: expected equal cells along {'xyz'[axis]}, got {w.min():.4g} to {w.max():.4g}")


@dataclass(frozen=True, eq=False)
class Layers:
    """Planes of a grid.

    Args:
        homogeneous: axes (0 = x) that lie in the planes.
        normal: the axis across them.
    """

    grid: Grid
    homogeneous: tuple[int, ...]
    normal: int

    @staticmethod
    def of(who: str, support: Support, names: Sequence[str] | None) -> Layers:
        """The planes of a grid.

        Args:
            who: what asks, for errors.
            names: of the homogeneous axes; None for the periodic ones.

        Raises:
            InputError: nodes, a mask, or not one axis left.
        """
        grid = plain_grid(who, support)
        axes = axes_of(who, grid, names)
        rest = [a for a in range(grid.dimensions) if a not in axes]
        if len(rest) != 1 or not axes:
            said = ", ".join("xyz"[a] for a in axes) or "none"
            raise InputError(
                f"{who}: homogeneous: expected all axes but one (across the walls) of {'xyz'[: grid.dimensions]!r}, "
                f"got {said}"
            )
        return Layers(grid, axes, rest[0])

    @property
    def axis(self) -> str:
        """The name of the axis across the planes."""
        return "xyz"[self.normal]

    @property
    def places(self) -> Float[np.ndarray, " layer"]:
        return self.grid.centres[self.normal]

    @property
    def widths(self) -> Float[np.ndarray, " layer"]:
        return self.grid.widths[self.normal]

    @property
    def ends(self) -> tuple[float, float]:
        return self.grid.extents[self.normal]

    @property
    def streamwise(self) -> int:
        return self.homogeneous[0]

    def key(self) -> tuple[Any, ...]:
        """Equal for equal grids."""
        return (*(f.tobytes() for f in self.grid.faces), self.homogeneous)

    def mean(self, values: Float[np.ndarray, "*batch_shape"]) -> Float[np.ndarray, "*batch layer"]:
        """Over each plane, weighted by the cells' widths."""
        for a in self.homogeneous:  # x is the last array axis
            w = self.grid.widths[a]
            values = np.expand_dims(np.moveaxis(values, -1 - a, -1) @ (w / w.sum()), -1 - a)
        return values.reshape(*values.shape[: values.ndim - self.grid.dimensions], len(self.places))

    def require_mirror(self, who: str) -> None:
        """Refuse planes that are not the same seen from both ends."""
        w = self.widths
        if np.max(np.abs(w - w[::-1])) > 1e-5 * w.mean():
            raise InputError(
                f"{who}: fold: expected cells along {self.axis} that are symmetric about the centre plane; "
                "got others, expected fold=False"
            )
