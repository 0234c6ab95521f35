"""The cells whose corners nodes are, and where nodes may go without leaving their domain."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sciml.errors import InputError
from sciml.support import Grid, Mesh, Support

if TYPE_CHECKING:
    from jaxtyping import Float, Integer

ON = 1e-6  # of the extent: how near to its end a node counts as on it
REACH = 2.0  # spacings around inner boundaries within which steps are short


def simplices(support: Support) -> Integer[np.ndarray, "cell corner"]:
    """Intervals or triangles of positive content, between neighbouring points of a grid or of the cells of a mesh.

    Raises:
        InputError: loose points, which have no cells, or other than one or two dimensions.
    """
    d = support.dimensions
    if d > 2:
        raise InputError(f"data: on {d} axes; expected one or two where nodes move")
    if isinstance(support, Mesh):
        found = support.simplices()
        if found.shape[1] != d + 1:
            raise InputError(f"data: cells of {found.shape[1] - 1} dimensions in {d}; expected cells that fill space")
    elif isinstance(support, Grid):
        found = _of_grid(support)
    else:
        raise InputError("data: loose points have no cells; expected a mesh or a grid where nodes move")
    content = _contents(support, found)
    found, turned = found[content != 0], content[content != 0] < 0
    found[turned, :2] = found[turned, 1::-1]
    return found.astype(np.int64)


def freedom(support: Support, cells: Integer[np.ndarray, "cell corner"]) -> Float[np.ndarray, "node dimension"]:
    """The share of a step along each axis that a node may take.

    Nodes on a side of the box around the domain slide along it, so that its corners stay; those on any other boundary,
    as of a hole, stay, and those around them at a distance r take r²/(r² + ρ²) of a step, ρ being two spacings.
    """
    points = support.unit().reshape(-1, support.dimensions)
    scale = np.array([b - a for a, b in support.extents])
    sides = _outer(cells)
    free, inner = np.ones_like(points), np.zeros(len(points), bool)
    ends = points[sides]  # (S, D, D): side, node, axis
    low, high = points.min(0), points.max(0)
    on = np.zeros((len(sides), points.shape[1]), bool)
    for end in (low, high):
        on |= (np.abs(ends - end) <= ON).all(1)
    for axis in range(points.shape[1]):
        free[sides[on[:, axis]].ravel(), axis] = 0.0
    inner[sides[~on.any(1)].ravel()] = True
    if inner.any():
        from scipy.spatial import KDTree

        places = points * scale
        spacing = (np.ptp(places, 0).prod() / len(places)) ** (1 / places.shape[1])
        square = np.asarray(KDTree(places[inner]).query(places)[0]) ** 2
        free *= (square / (square + (REACH * spacing) ** 2))[:, None]
    return free


def _of_grid(grid: Grid) -> np.ndarray:
    """Between points, across the seam of periodic axes as well; without those of which a corner is masked."""
    number = np.arange(grid.size).reshape(grid.shape)
    around = tuple(reversed(grid.periodic))
    ends = []
    for axis, n in enumerate(grid.shape):
        first = np.arange(n if around[axis] and n > 2 else n - 1)
        ends.append((first, (first + 1) % n))
    if len(grid.shape) == 1:
        found = np.stack([number[e] for e in ends[0]], 1)
    else:
        a, b, c, d = (number[np.ix_(ends[0][j], ends[1][i])].ravel() for j, i in ((0, 0), (0, 1), (1, 1), (1, 0)))
        found = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])
    if grid.inside is not None:
        found = found[grid.inside.reshape(-1)[found].all(1)]
    return found


def _contents(support: Support, cells: np.ndarray) -> np.ndarray:
    """Signed, in units of the box, the short way across seams."""
    corners = support.unit().reshape(-1, support.dimensions)[cells]
    sides = corners[:, 1:] - corners[:, :1]
    sides = sides - np.round(sides) * np.array(support.periodic, float)
    return np.linalg.det(sides)


def _outer(cells: np.ndarray) -> np.ndarray:
    """(side, corner) of one cell alone."""
    k = cells.shape[1]
    sides = np.sort(np.concatenate([np.delete(cells, i, 1) for i in range(k)]), 1)
    found, counts = np.unique(sides, axis=0, return_counts=True)
    return found[counts == 1]
