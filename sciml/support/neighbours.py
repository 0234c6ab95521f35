"""Which points are near which: pairs within a radius, points spread as evenly as can be, and moving interpolation.

All are exact and deterministic. Boxes may be periodic along some of their axes.
"""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sciml.errors import InputError, is_number, is_whole
from sciml.support.points import checked_position

if TYPE_CHECKING:
    from jaxtyping import Float, Int64, Shaped
    from scipy.sparse import csr_array

#: of the reach of a point's nodes: nearer than this to one of them, it takes the node's own value
NEAR = 1e-9


def radius_graph(
    points: Shaped[np.ndarray, "node dimension"],
    radius: float,
    *,
    lengths: Sequence[float] | np.ndarray | None = None,
    periodic: Sequence[bool] = (),
    most: int | None = None,
) -> Int64[np.ndarray, "2 edge"]:
    """Sender and receiver of all pairs with |x_i − x_j| ≤ radius, both ways, and of each point with itself; sorted by
    receiver, then by sender. By a k-d tree, in time that goes with the number of pairs.

    Args:
        points: (N, D).
        radius: > 0. Along periodic axes the short way round counts, whatever the radius.
        lengths: (D,) extents of the box, which begins at 0; needed where it is periodic.
        periodic: for each axis, whether the box is periodic along it; () where it is along none.
        most: refuse more pairs than this: points that have collapsed into one.

    Raises:
        InputError: points that are not finite, a radius out of range, or too many pairs.
    """
    points = checked_position(points, "points")
    if not is_number(radius) or not radius > 0 or not math.isfinite(radius):
        raise InputError(f"radius: expected a number > 0, got {radius!r}")
    tree, _ = _tree(points, lengths, periodic)
    if most is not None:
        count = int(tree.count_neighbors(tree, radius))
        if count > most:
            raise InputError(f"radius: {radius:g} joins {count} pairs of {len(points)} points, expected at most {most}")
    pairs = tree.query_pairs(radius, output_type="ndarray").astype(np.int64)
    itself = np.arange(len(points), dtype=np.int64)
    sender = np.concatenate([pairs[:, 0], pairs[:, 1], itself])
    receiver = np.concatenate([pairs[:, 1], pairs[:, 0], itself])
    order = np.argsort(receiver * len(points) + sender)  # no key comes twice
    return np.stack([sender[order], receiver[order]])


def _tree(points: np.ndarray, lengths: Any, periodic: Sequence[bool]) -> tuple[Any, np.ndarray]:
    """A k-d tree, and for each axis its length where it is periodic, 0 elsewhere.

    Raises:
        InputError: lengths that are not one an axis, and > 0 where it is periodic.
    """
    from scipy.spatial import KDTree

    d = points.shape[1]
    if not any(periodic):
        with _denormals():
            return KDTree(points), np.zeros(d)
    size = np.asarray(np.nan if lengths is None else lengths, dtype=np.float64)
    if size.shape != (d,) or len(periodic) != d or not (np.isfinite(size) & (size > 0)).all():
        raise InputError(f"lengths: expected {d} numbers > 0, one an axis, got {lengths!r}")
    around = np.where(np.array(periodic, dtype=bool), size, 0.0)
    with _denormals():
        return KDTree(wrapped(points, around), boxsize=around), around


@contextlib.contextmanager
def _denormals() -> Iterator[None]:
    """Within, denormal numbers are no zeros: many points at 0, on a floor say, are split at the next number above it,
    and without one the tree has no end and the process does. Torch may have switched them off, as training does."""
    torch = sys.modules.get("torch")
    if torch is None or np.array([5e-324]) * 1.0 > 0:
        yield
        return
    torch.set_flush_denormal(False)
    try:
        yield
    finally:
        torch.set_flush_denormal(True)


def wrapped(
    points: Float[np.ndarray, "point dimension"], around: Float[np.ndarray, " dimension"]
) -> Float[np.ndarray, "point dimension"]:
    """Points brought into [0, length) along the axes whose length is not 0."""
    found = points.copy()
    for axis in np.flatnonzero(around):
        found[:, axis] = np.mod(points[:, axis], around[axis])
        found[found[:, axis] >= around[axis], axis] = 0.0  # −1e-20 comes out as the length itself
    return found


def farthest_points(
    points: Shaped[np.ndarray, "node dimension"], count: int, first: int = 0
) -> Int64[np.ndarray, " chosen"]:
    """Farthest-point sampling: i_0 = first, i_k = argmax_i min_{j<k} |x_i − x_{i_j}|; of equal ones the lowest number.

    With r the distance of the point chosen last from those before it, no point further than r away from it can have got
    nearer to the chosen ones, so that a k-d tree is asked for the ball of radius r alone: all balls together hold some
    N log(count) points.

    Args:
        points: (N, D).
        count: how many to choose, at most N.
        first: the one to begin with.

    Returns:
        (count,) their numbers, in the order in which they were chosen: every beginning of it is such a choice.

    Raises:
        InputError: a number out of range.

    Source: T. Gonzalez, Clustering to minimize the maximum intercluster distance (1985).
    """
    from scipy.spatial import KDTree

    points = checked_position(points, "points")
    n = len(points)
    if not is_whole(count) or not 1 <= count <= n:
        raise InputError(f"count: expected a whole number from 1 to {n}, the number of points, got {count!r}")
    if not is_whole(first) or not 0 <= first < n:
        raise InputError(f"first: expected a number from 0 to {n - 1}, got {first!r}")
    chosen = np.empty(count, np.int64)
    chosen[0] = first
    square = ((points - points[first]) ** 2).sum(1)
    square[first] = -1.0
    tree = KDTree(points)
    for k in range(1, count):
        new = int(square.argmax())
        chosen[k] = new
        reach = math.sqrt(max(square[new], 0.0)) * (1 + 1e-12)
        near = np.asarray(tree.query_ball_point(points[new], reach), dtype=np.int64)
        square[near] = np.minimum(square[near], ((points[near] - points[new]) ** 2).sum(1))
        square[new] = -1.0  # points that lie in one place are all chosen once
    return chosen


def spacing_of(points: Shaped[np.ndarray, "node dimension"]) -> float:
    """The median distance of a point from its nearest neighbour; 0 of a single point."""
    from scipy.spatial import KDTree

    points = checked_position(points, "points")
    if len(points) < 2:
        return 0.0
    return float(np.median(KDTree(points).query(points, k=2)[0][:, 1]))


def moving_interpolation(
    nodes: Shaped[np.ndarray, "node dimension"],
    points: Shaped[np.ndarray, "point dimension"],
    count: int | None = None,
    *,
    lengths: Sequence[float] | np.ndarray | None = None,
    periodic: Sequence[bool] = (),
) -> csr_array:
    """Weights W (M, N) of moving least squares, u(x_m) = Σ_n W_mn u(n): rows sum to 1, and where the nodes around a
    point span the space, functions of first degree are reproduced: bodies that turn or are stretched evenly stay whole.

        W_mn = b(0)ᵀ (Σ_n k_n b_n b_nᵀ)⁻¹ b_n k_n,   b_n = (1, (x_n − x_m) / r),   k_n = w(s) / s²

    over the `count` nearest nodes, r the distance of the one after these, s = |x_n − x_m| / r and w Wendland's C²
    function w(s) = (1 − s)⁴(1 + 4s); the singular factor makes nodes keep their own values. Where the nodes lie in a
    plane (a line, ...), the degree is 0: Shepard's weights.

    Args:
        nodes: (N, D) where values are known.
        points: (M, D) where they are wanted.
        count: by default 3 · 2^D, at most N.
        lengths, periodic: of the box, as in `radius_graph`.

    Raises:
        InputError: positions that are none, a count out of range.

    Source: P. Lancaster, K. Salkauskas, Surfaces generated by moving least squares methods (1981).
    """
    from scipy.sparse import csr_array

    nodes, points = checked_position(nodes, "nodes"), checked_position(points, "points")
    n, d = nodes.shape
    if points.shape[1] != d:
        raise InputError(f"points: expected {d} coordinates, as the nodes have, got {points.shape[1]}")
    if count is not None and (not is_whole(count) or count < 1):
        raise InputError(f"count: expected a whole number >= 1, got {count!r}")
    k = min(3 * 2**d if count is None else int(count), n)
    tree, around = _tree(nodes, lengths, periodic)
    weights, index = np.empty((len(points), k)), np.empty((len(points), k), np.int64)
    for a in range(0, len(points), CHUNK):
        part = slice(a, a + CHUNK)
        distance, near = tree.query(wrapped(points[part], around), k=min(k + 1, n))
        distance, near = distance.reshape(-1, min(k + 1, n)), np.asarray(near).reshape(-1, min(k + 1, n))
        reach = distance[:, -1:] * (1.0 if n > k else 1.5)
        index[part] = near[:, :k]
        away = nodes[near[:, :k]] - points[part, None]
        away -= around * np.round(away / np.where(around > 0, around, 1.0))
        weights[part] = _moving(away, distance[:, :k], reach)
    starts = np.arange(0, k * len(points) + 1, k)
    return csr_array((weights.ravel(), index.ravel(), starts), shape=(len(points), n))


CHUNK = 1 << 15  # points whose weights are made at once


def _moving(away: np.ndarray, distance: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """(M, k) weights from differences (M, k, D), distances (M, k) and the reach (M, 1)."""
    m, k, d = away.shape
    reach = np.where(reach > 0, reach, 1.0)
    share = np.minimum(distance / reach, 1.0)
    on = share < NEAR
    kernel = (1 - share) ** 4 * (1 + 4 * share) / np.maximum(share, NEAR) ** 2
    kernel = np.where(on.any(1, keepdims=True), on, kernel)
    total = kernel.sum(1, keepdims=True)
    kernel = np.where(total > 0, kernel, 1.0)  # all nodes lie on the rim, where w is 0
    shepard = kernel / kernel.sum(1, keepdims=True)
    if k <= d:
        return shepard
    # about the weighted mean the moments of degree 0 and 1 part: W = shepard · (1 + (0 − m)ᵀ C⁻¹ (y − m))
    y = away / reach[..., None]
    mean = (shepard[..., None] * y).sum(1)
    y = y - mean[:, None]
    moment = np.einsum("mk,mki,mkj->mij", shepard, y, y)
    size = np.trace(moment, axis1=1, axis2=2)
    spans = np.linalg.det(moment) > 1e-4 * (np.maximum(size, 1e-300) / d) ** d
    spans &= ~on.any(1)
    solved = np.zeros((m, d))
    solved[spans] = np.linalg.solve(moment[spans], mean[spans, :, None])[..., 0]
    return shepard * (1 - np.einsum("mi,mki->mk", solved, y))
