"""Distances between clouds of particles that do not ask which particle is which.

What collides a few times is chaotic: particles change places, and their distances from where the truth has them say
little. What remains is where the matter is: its centre, what each cell holds, how far it would have to be carried.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from sciml.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Float, Shaped

PLANE, SPACE = 16, 64  # directions: their mean |cos| is within 0.4 % and 1.6 % of what all directions have


def occupancy(
    points: Shaped[np.ndarray, "point d"], weights: Shaped[np.ndarray, " point"],
    extents: Sequence[tuple[float, float]], cells: Sequence[int], periodic: Sequence[bool] = (),
) -> Float[np.ndarray, "*cells"]:  # fmt: skip
    """What particles put into each of the equal cells of a box: each shares its weight linearly between the centres
    around it (cloud in cell), so that sums and centres of mass are kept; beyond the outermost centres it falls into the
    outermost cells, and so does what is outside of the box.

    Args:
        points: (N, D).
        weights: (N,), masses or volumes. Of volumes, over the volume of a cell, this is the volume fraction.
        extents: (lower, upper) of the box for x, y, z.
        cells: number of them along x, y, z.
        periodic: for each axis, whether its ends are one; none by default.

    Returns:
        (z, y, x), or (y, x).
    """
    d = len(cells)
    where, around = np.asarray(points, np.float64), [*periodic] or [False] * d
    if where.ndim != 2 or where.shape[1] != d or np.shape(weights) != (len(where),):
        raise InputError(f"points: expected (N, {d}) with N weights, got {where.shape} and {np.shape(weights)}")
    lower, share = [], []
    for a in range(d):
        low, high = extents[a]
        at = (where[:, a] - low) / (high - low) * cells[a] - 0.5
        at = np.mod(at, cells[a]) if around[a] else np.clip(at, 0.0, cells[a] - 1.0)
        first = np.floor(at)
        lower.append(first.astype(np.int64))
        share.append(at - first)
    found = np.zeros(int(np.prod(cells)))
    for corner in product((0, 1), repeat=d):
        index, part = np.zeros(len(where), np.int64), np.array(weights, np.float64)
        for a in reversed(range(d)):
            k = lower[a] + corner[a]
            k = np.mod(k, cells[a]) if around[a] else np.minimum(k, cells[a] - 1)
            index = index * cells[a] + k
            part = part * (share[a] if corner[a] else 1.0 - share[a])
        found += np.bincount(index, weights=part, minlength=found.size)
    return found.reshape(tuple(reversed(cells)))


def misplaced(one: Float[np.ndarray, "*cells"], other: Float[np.ndarray, "*cells"]) -> float:
    """½ Σ |a − b| / Σ b over cells, the L1 distance of what cells hold: the share of the matter that is in other cells
    than it should be, from 0 to 1 where both hold as much."""
    total = float(np.sum(other))
    return float(0.5 * np.abs(one - other).sum() / total) if total > 0 else float("nan")


def directions(d: int) -> Float[np.ndarray, "direction d"]:
    """Unit vectors spread evenly over half of the circle or of the sphere, always the same."""
    if d == 1:
        return np.ones((1, 1))
    if d == 2:
        angle = np.pi * (np.arange(PLANE) + 0.5) / PLANE
        return np.stack([np.cos(angle), np.sin(angle)], axis=1)
    z = (np.arange(SPACE) + 0.5) / SPACE  # a spiral of golden angles
    angle, radius = np.pi * (3 - np.sqrt(5)) * np.arange(SPACE), np.sqrt(1 - z**2)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), z], axis=1)


def carried(
    one: Shaped[np.ndarray, "point d"], other: Shaped[np.ndarray, "target d"],
    one_weights: Shaped[np.ndarray, " point"] | None = None, other_weights: Shaped[np.ndarray, " target"] | None = None,
) -> float:  # fmt: skip
    """How far the matter of one cloud has to be carried to make the other, whichever particle goes where: the sliced
    Wasserstein distance W₁, the mean over `directions` e of ∫ |F_e(s) − G_e(s)| ds with F and G the shares of both that
    lie below s along e, over the mean of |cos| over all directions (2/π in the plane, ½ in space), so that it is |t| of
    a cloud that is moved by t as a whole.

    Source: N. Bonneel, J. Rabin, G. Peyré, H. Pfister, J. Math. Imaging Vis. 51, 22 (2015), section 3.

    Args:
        one, other: (N, D), (M, D).
        one_weights, other_weights: their shares of the matter; alike by default.
    """
    clouds = [np.asarray(c, np.float64) for c in (one, other)]
    d = clouds[0].shape[1]
    if clouds[1].shape[1] != d:
        raise InputError(f"other: expected points in {d} dimensions, got {clouds[1].shape[1]}")
    weights = []
    for cloud, given in zip(clouds, (one_weights, other_weights), strict=True):
        w = np.ones(len(cloud)) if given is None else np.asarray(given, np.float64)
        weights.append(w / w.sum())
    along = directions(d) @ np.concatenate(clouds).T
    order = np.argsort(along, axis=1)
    ahead = np.cumsum(np.concatenate([weights[0], -weights[1]])[order], axis=1)[:, :-1]
    found = (np.abs(ahead) * np.diff(np.take_along_axis(along, order, axis=1), axis=1)).sum(axis=1)
    return float(found.mean() / {1: 1.0, 2: 2 / np.pi, 3: 0.5}[d])
