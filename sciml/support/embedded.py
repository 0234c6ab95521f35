"""The boundary that a body embeds in a grid of cells, as finite volumes need it.

A cell that the boundary cuts balances what goes through the open shares of its faces and through its piece of wall,
whose area vector is what the faces leave open. On the wall a field has the value f and, inwards, the slope

    ∂q/∂s = (4 q(s) − q(2s) − 3 f) / (2 s)

with q(s) interpolated between cell centres at the distance s = |n_x| Δx + |n_y| Δy along the normal, so that all cells
in question have their centres in the fluid (in a corner too narrow for that, from the cell alone). A condition
a q + b ∂q/∂n = g gives f. Fluxes through open shares are taken from the middles of these shares, on the line through
those of two neighbouring faces. Together this is of second order on smooth boundaries; a cell that holds a corner has
one wall with one normal, which is of first order for conditions on the slope, and where corners are narrow for others.

Cell values are those at cell centres, of cells whose centre lies behind the wall as well.

Source: H. Johansen, P. Colella, J. Comput. Phys. 147, 60 (1998).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from sciml.errors import InputError
from sciml.geometry import Geometry
from sciml.support.apertures import EMPTY, Apertures
from sciml.support.base import Stencil
from sciml.support.grid import Grid

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

CLOSED = 1e-3  # faces that are less open are closed
WITHIN = " within"  # after the name of a side: conditions on pieces of it that lie within the grid
REACH = 3  # cells between a piece of wall and those that its values are found from


@dataclass(frozen=True, eq=False)
class EmbeddedBoundary:
    """Pieces of wall in the cells of a plane grid, n of them.

    Args:
        grid: all cells.
        apertures: open shares of faces and cells.
        cells: numbers of the cells with a wall, in C order.
        points: places on it.
        normals: unit normals, out of the fluid.
        areas: lengths.
        names: the parts of the boundary that hold any of these pieces.
        part: for each piece the number of its part.
        steps: the distance s along the normals.
        index: cells from which values on the wall are found.
        slope: their weights in the slope inwards, of which `stiffness` times the value on the wall is taken off.
        stiffness: see there, 1/m.
        value, free: weights of the value, and of the slope inwards, where nothing is known of the wall.
    """

    grid: Grid
    apertures: Apertures
    cells: Int[np.ndarray, " wall"]
    points: Float[np.ndarray, "wall 2"]
    normals: Float[np.ndarray, "wall 2"]
    areas: Float[np.ndarray, " wall"]
    names: tuple[str, ...]
    part: Int[np.ndarray, " wall"]
    steps: Float[np.ndarray, " wall"]
    index: Int[np.ndarray, "wall 9"]
    slope: Float[np.ndarray, "wall 9"]
    stiffness: Float[np.ndarray, " wall"]
    value: Float[np.ndarray, "wall 9"]
    free: Float[np.ndarray, "wall 9"]

    @staticmethod
    def of(geometry: Geometry, grid: Grid) -> EmbeddedBoundary:
        """What bounds a plane domain other than the straight sides of the grid.

        Raises:
            InputError: not in two dimensions; parts thinner than a cell; less than two cells between a wall and a side.
        """
        apertures = Apertures.of(geometry, grid, CLOSED)
        x, y = apertures.faces
        alive = apertures.volumes > EMPTY
        apertures.check_resolved(geometry, grid)
        _check_sides(apertures, alive, grid.periodic)
        wx, wy = grid.widths
        area = np.stack([wy[:, None] * (x[:, :-1] - x[:, 1:]), wx * (y[:-1] - y[1:])], axis=-1)
        length = np.linalg.norm(area, axis=-1)
        cells = np.flatnonzero(alive & (length > 1e-9 * np.sqrt(grid.volumes())))
        area, length = area.reshape(-1, 2)[cells], length.ravel()[cells]
        normals = area / length[:, None]  # out of the fluid: where a face lacks on its side, the wall is there
        centres = grid.points().reshape(-1, 2)[cells]
        away = np.asarray(geometry.inner_distance(centres), dtype=np.float64)
        points = centres + away[:, None] * normals
        size = np.stack([np.broadcast_to(w, grid.shape).ravel()[cells] for w in (wx, wy[:, None])], axis=-1)
        step = (np.abs(normals) * size).sum(axis=1)
        near, far = (grid.stencil(points - k * step[:, None] * normals) for k in (1, 2))
        inside = alive.ravel()
        good = _usable(near, cells, inside, grid) & _usable(far, cells, inside, grid)
        index = np.concatenate([near.index, far.index, cells[:, None]], axis=1)
        zeros, own = np.zeros_like(near.weight), np.zeros((len(cells), 1))
        one, two = np.concatenate([near.weight, zeros, own], 1), np.concatenate([zeros, far.weight, own], 1)
        cell = np.concatenate([zeros, zeros, own + 1], axis=1)
        # in a corner that is too narrow for both, the cell alone, to first order
        alone = np.maximum(away, step / 4)
        slope = np.where(good[:, None], (4 * one - two) / (2 * step[:, None]), cell / alone[:, None])
        stiffness = np.where(good, 1.5 / step, 1 / alone)
        value = np.where(good[:, None], 2 * one - two, cell)
        free = np.where(good[:, None], (two - one) / step[:, None], 0.0)
        names, part = _parts(geometry, grid, points)
        return EmbeddedBoundary(
            grid, apertures, cells, points, normals, length, names, part, step, index, slope, stiffness, value, free
        )

    @cached_property
    def alive(self) -> Bool[np.ndarray, "y x"]:
        """Cells with some fluid."""
        return self.apertures.volumes > EMPTY

    @cached_property
    def place(self) -> Int[np.ndarray, "y x"]:
        """The number of the piece of wall in each cell; n where there is none."""
        found = np.full(self.grid.shape, len(self.cells))
        found.ravel()[self.cells] = np.arange(len(self.cells))
        return found

    def beside(self, k: int) -> Stencil:
        """How to find values at k steps from each place on the wall."""
        return self.grid.stencil(self.points - k * self.steps[:, None] * self.normals)

    def shifts(self, axis: int) -> tuple[np.ndarray, np.ndarray]:
        """Of the faces normal to an axis the weights of the next and of the last face beside, whose fluxes the middle
        of the open share lies between."""
        open_, offset = self.apertures.faces[axis] > 0, self.apertures.offsets[axis]
        beside = 0 if axis == 0 else 1
        following, before = (_moved(open_, k, beside) for k in (1, -1))
        return (
            np.where(open_ & following & (offset > 0), offset, 0.0),
            np.where(open_ & before & (offset < 0), -offset, 0.0),
        )


def _moved(a: np.ndarray, k: int, axis: int) -> np.ndarray:
    """What lies k further along an array axis; False beyond its ends."""
    found = np.roll(a, -k, axis)
    np.moveaxis(found, axis, 0)[-1 if k > 0 else 0] = False
    return found


def _usable(stencil: Stencil, cells: np.ndarray, inside: np.ndarray, grid: Grid) -> np.ndarray:
    """Whether a stencil takes part in fluid alone, at most `REACH` cells away."""
    needed = np.abs(stencil.weight) > 1e-12
    reach = np.zeros(stencil.index.shape, int)
    for n, there, here, around in zip(
        grid.shape, np.unravel_index(stencil.index, grid.shape), np.unravel_index(cells, grid.shape),
        grid.periodic[::-1], strict=True,
    ):  # fmt: skip
        apart = np.abs(there - here[:, None])
        reach = np.maximum(reach, np.minimum(apart, n - apart) if around else apart)
    return np.all((inside[stencil.index] & (reach <= REACH)) | ~needed, axis=1)


def _parts(geometry: Geometry, grid: Grid, points: np.ndarray) -> tuple[tuple[str, ...], np.ndarray]:
    """The part of the boundary that is nearest to each point."""
    names = list(geometry.boundaries)
    if not names or not len(points):
        return (), np.zeros(len(points), int)
    distance = np.stack([np.asarray(geometry.boundaries[n].distance(points)) for n in names])
    lost = ~np.isfinite(distance).any(axis=0)
    if lost.any():  # beside what was cut off: the nearest that was not
        places = [geometry.boundaries[n].places(512) for n in names]
        for k, found in enumerate(places):
            apart = np.linalg.norm(points[lost, None] - found[None], axis=-1)
            distance[k, lost] = apart.min(axis=1)
    nearest = distance.argmin(axis=0)
    kept = np.unique(nearest)
    return tuple(names[k] for k in kept), np.searchsorted(kept, nearest)


def _check_sides(apertures: Apertures, alive: np.ndarray, periodic: tuple[bool, ...]) -> None:
    """Values at open faces of a side are found from two cells behind them."""
    for axis, name in enumerate("xy"):
        shares, cells = (a if axis == 0 else a.T for a in (apertures.faces[axis], alive))
        for end, side in ((0, "min"), (-1, "max")):
            second = 1 if end == 0 else -2
            if periodic[axis] and np.any(shares[:, end] < 1):
                raise InputError(f"geometry: a body reaches {name}_{side}, which is periodic; expected room")
            if np.any((shares[:, end] > 0) & ~(cells[:, end] & cells[:, second])):
                raise InputError(
                    f"geometry: a body is within two cells of {name}_{side}; expected room, or finer cells"
                )
