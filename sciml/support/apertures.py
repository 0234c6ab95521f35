"""Which part of every face and of every cell of a grid is inside of a domain.

The signed distance is taken as linear along the edges between the corners of cells, and over the triangles from the
middle of a cell to its sides, so that what is closed is closed for all who ask: finite volumes in every library, audit,
frames stored as means and flow solvers see one body. For a smooth boundary shares are exact to second order in the size
of the cells. A boundary within a millionth of a cell of a grid line lies on it; no face is open to a cell that holds
nothing.

Source: M. J. Berger, M. J. Aftosmis, in Handbook of Numerical Analysis 18, chapter 1 (2017), on cut cells.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sciml.errors import InputError
from sciml.geometry import Geometry
from sciml.support.grid import Grid

if TYPE_CHECKING:
    from jaxtyping import Float


EMPTY = 1e-6  # cells that hold less are solid
ON_A_LINE = 1e-6  # of a cell
UNSEEN = 3  # cells of a body's tip that may go unseen


@dataclass(frozen=True)
class Apertures:
    """Shares of faces and cells, in array order.

    Args:
        faces: for each axis (x, y) the open share of the faces normal to it, n + 1 along it.
        distances: of the same faces the mean distance of the open part from the boundary.
        offsets: of the same faces how far the middle of the open part lies beside the middle of the face, as a share of
            the face's length, positive towards larger coordinates.
        slopes: of the same faces how much the distance grows along them, for one length: a component of the normal.
        volumes: the share of each cell.
    """

    faces: tuple[Float[np.ndarray, "_ _"], ...]
    distances: tuple[Float[np.ndarray, "_ _"], ...]
    offsets: tuple[Float[np.ndarray, "_ _"], ...]
    slopes: tuple[Float[np.ndarray, "_ _"], ...]
    volumes: Float[np.ndarray, "y x"]

    @staticmethod
    def of(geometry: Geometry, grid: Grid, least: float = 0.0) -> Apertures:
        """Those of a plane domain.

        Args:
            least: faces that are less open than this are closed.

        Raises:
            InputError: not in two dimensions.
        """
        if grid.dimensions != 2:
            raise InputError(f"apertures: expected a grid in two dimensions, got {grid.dimensions}")
        nodes = _distance(geometry, grid, *grid.faces)
        middles = _distance(geometry, grid, *(((f[1:] + f[:-1]) / 2) for f in grid.faces))
        wx, wy = grid.widths
        found = [_edges(nodes[:-1], nodes[1:], wy[:, None], least), _edges(nodes[:, :-1], nodes[:, 1:], wx, least)]
        corners = nodes[:-1, :-1], nodes[:-1, 1:], nodes[1:, 1:], nodes[1:, :-1]
        around = zip(corners, (*corners[1:], corners[0]), strict=True)
        volumes = sum(_triangle(middles, a, b) for a, b in around) / 4
        solid = volumes <= EMPTY
        for axis, (share, distance, offset, _) in zip((-1, -2), found, strict=True):
            width = [(0, 0)] * 2
            width[axis] = (1, 1)
            beside = np.pad(solid, width)
            n = beside.shape[axis]
            closed = np.take(beside, range(1, n), axis) | np.take(beside, range(n - 1), axis)
            for values in (share, distance, offset):
                values[closed] = 0.0
        # slivers between the middle of a cell and its whole sides are not there
        x, y = found[0][0], found[1][0]
        whole = (x[:, 1:] == 1) & (x[:, :-1] == 1) & (y[1:] == 1) & (y[:-1] == 1)
        volumes = np.where(whole, 1.0, np.where(solid, 0.0, volumes))
        return Apertures(*(tuple(part) for part in zip(*found, strict=True)), volumes)  # type: ignore[arg-type]

    def check_resolved(self, geometry: Geometry, grid: Grid) -> None:
        """Refuse what no corner of a cell sees. Sharp tips may go unseen over `UNSEEN` cells.

        Raises:
            InputError: a body, or a part of one, thinner than a cell over more than that.
        """
        from scipy.ndimage import binary_dilation

        x, y = self.faces
        whole = (x[:, 1:] == 1) & (x[:, :-1] == 1) & (y[1:] == 1) & (y[:-1] == 1)
        seen = binary_dilation(~whole, np.ones((3, 3)), UNSEEN)
        missed = False
        for boundary in geometry.boundaries.values():
            places = boundary.places(512)
            inner = np.ones(len(places), dtype=bool)
            cells = []
            for k, faces in enumerate(grid.faces):
                slack = 1e-9 * (faces[-1] - faces[0])
                inner &= (places[:, k] > faces[0] + slack) & (places[:, k] < faces[-1] - slack)
                cells.append(np.clip(np.searchsorted(faces, places[:, k]) - 1, 0, len(faces) - 2))
            missed |= not seen[cells[1], cells[0]][inner].all()
        if missed:
            which = f"a body, or more than {UNSEEN} cells of its tip"
            raise InputError(f"geometry: {which}, is thinner than a cell; expected finer cells")

    def check_along_lines(self, geometry: Geometry, grid: Grid, name: str) -> None:
        """Refuse bodies that do not fill whole cells.

        Args:
            name: of the problem, for messages.

        Raises:
            InputError: a body that cuts cells, or is thinner than one.
        """
        if any(np.any((shares > 1e-6) & (shares < 1 - 1e-6)) for shares in (*self.faces, self.volumes)):
            (ny, nx), sides = grid.shape, [b - a for a, b in grid.extents]
            raise InputError(
                f"{name}: a body cuts cells of {sides[0] / nx:g} × {sides[1] / ny:g} m ({ny} × {nx}); expected a "
                "resolution with grid lines along its sides"
            )
        kept = self.volumes > 0.5
        x, y = self.faces
        plates = ((x[:, 1:-1] < 0.5) & kept[:, 1:] & kept[:, :-1], (y[1:-1] < 0.5) & kept[1:] & kept[:-1])
        if any(np.any(plate) for plate in plates):
            raise InputError(f"{name}: a body is thinner than a cell, expected finer cells")
        self.check_resolved(geometry, grid)


def _distance(geometry: Geometry, grid: Grid, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(y, x) signed distance to what lies inside of the domain's box: its sides close nothing."""
    found = np.array(geometry.inner_distance(np.stack(np.meshgrid(x, y), axis=-1)), dtype=np.float64)
    found[np.abs(found) < ON_A_LINE * min(float(w.min()) for w in grid.widths)] = 0.0
    return found


def _edges(a: np.ndarray, b: np.ndarray, length: np.ndarray, least: float) -> tuple[np.ndarray, ...]:
    """(share, mean distance, offset, slope) of the open part of edges from their ends' signed distances."""
    low, high = np.minimum(a, b), np.maximum(a, b)
    cut = (low < 0) & (high > 0)
    share = np.where(cut, high / np.where(cut, high - low, 1.0), (low >= 0) & (high > 0))
    # an edge that ends at the boundary, up to rounding, is whole
    share = np.where(share > 1 - 1e-9, 1.0, np.where(share < max(least, 1e-9), 0.0, share))
    distance = np.where(cut, high / 2, (low + high) / 2)
    slope = np.clip((b - a) / length, -1, 1)
    is_open = share > 0
    return share, np.where(is_open, distance, 0.0), np.where(is_open, (1 - share) / 2 * np.sign(b - a), 0.0), slope


def _triangle(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """The share of a triangle where a function that is linear over it is positive, from its values at the corners."""
    low, middle, high = np.sort(np.stack([a, b, c]), axis=0)

    def corner(one: np.ndarray, second: np.ndarray, third: np.ndarray) -> np.ndarray:
        """The share cut off around the one corner of another sign."""
        bottom = (one - second) * (one - third)
        return one**2 / np.where(bottom == 0, 1.0, bottom)

    mixed = np.where(middle > 0, 1 - corner(low, middle, high), corner(high, middle, low))
    return np.where(low >= 0, high > 0, np.where(high <= 0, 0.0, mixed))
