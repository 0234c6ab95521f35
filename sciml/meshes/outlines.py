"""The outline of a plane region: closed loops of lines and arcs, and the nodes that a mesh has on them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import KDTree

from sciml.errors import InputError
from sciml.geometry import Curve, Geometry

if TYPE_CHECKING:
    from jaxtyping import Float, Integer, Shaped

NEAR = 1e-9  # of the size of a region: points that are one
BESIDE = 1e-6  # of the size of a region: how far beside a curve is looked what lies there
CORNER = math.radians(25.0)  # a turn of the outline from which on there is a node, whatever the size
TURN = math.pi / 8  # by which the outline may turn between two nodes: at least 16 nodes on a circle
ACROSS = 2.0  # edges across a gap, at least
GRADING = 0.25  # how fast edges may get longer: by this much a unit of length
LEVEL = 1.1  # ratio of lengths that count as one in looking up the nearest place that needs them
FINEST = 1 / 50  # of the size: shorter edges than that are not made

Loop = tuple[Curve, ...]


def outline(geometry: Geometry) -> list[Loop]:
    """The boundary of a plane region as closed loops, each with the region on its left; exact: corners are where two
    curves meet.

    Raises:
        InputError: no plane region, nothing that bounds it, or parts that touch in a point.
    """
    if geometry.dimensions != 2:
        raise InputError(f"geometry: expected a region of the plane, got one in {geometry.dimensions}-D")
    scale = max(high - low for low, high in geometry.extents)
    kept: list[Curve] = []
    for piece in _pieces(geometry.curves(), NEAR * scale):
        middle, along = piece.at(np.array([0.5])), piece.tangent(np.array([0.5]))
        aside = BESIDE * scale * np.stack([-along[:, 1], along[:, 0]], axis=-1)
        left, right = (bool(_inside(geometry, middle + sign * aside)[0]) for sign in (1.0, -1.0))
        if left == right:
            continue
        piece = piece if left else piece.part(1.0, 0.0)
        twin = any(
            abs(piece.length - k.length) <= 4 * NEAR * scale and k.distance(middle)[0] <= 4 * NEAR * scale for k in kept
        )
        if not twin:
            kept.append(piece)
    if not kept:
        raise InputError("geometry: nothing bounds it; is there anything of it?")
    return _joined(kept, 100 * NEAR * scale)


def _inside(geometry: Geometry, points: np.ndarray) -> np.ndarray:
    low, high = np.array(geometry.extents).T  # periodic sides bound a mesh, too
    return np.asarray(geometry.contains(points)) & ((points > low) & (points < high)).all(-1)


def _pieces(curves: Sequence[Curve], near: float) -> list[Curve]:
    """The curves, cut where they meet each other."""
    found = []
    low, high = (np.array(ends) for ends in zip(*(_box(c) for c in curves), strict=True))
    ends = [c.at(np.array([0.0, 1.0])) for c in curves]
    for i, curve in enumerate(curves):
        near_by = [
            j for j in np.flatnonzero(((low <= high[i] + near) & (high >= low[i] - near)).all(1)).tolist() if j != i
        ]
        cuts = [0.0]
        slack = near / curve.length
        shares: list[float] = []
        for j in near_by:
            points = np.concatenate([curve.meets(curves[j]), ends[j]])
            points = points[(curve.distance(points) <= near) & (curves[j].distance(points) <= near)]
            shares += curve.nearest(points).tolist()
        for share in sorted(shares):
            if share - cuts[-1] > slack and share < 1.0 - slack:
                cuts.append(share)
        found += [curve.part(a, b) for a, b in itertools.pairwise([*cuts, 1.0])]
    return found


def _box(curve: Curve) -> tuple[np.ndarray, np.ndarray]:
    points = curve.at(np.linspace(0.0, 1.0, 65 if curve.curvature else 2))
    slack = 2e-3 * curve.length if curve.curvature else 0.0
    return points.min(0) - slack, points.max(0) + slack


def _joined(pieces: list[Curve], near: float) -> list[Loop]:
    ends = np.stack([p.at(np.array([0.0, 1.0])) for p in pieces])
    _, first = _merged(ends.reshape(-1, 2), near)
    start, stop = first.reshape(-1, 2).T
    following: dict[int, int] = {}
    for k, s in enumerate(start.tolist()):
        if s in following:
            x, y = ends[k, 0]
            raise InputError(f"geometry: parts of its boundary touch at ({x:.6g}, {y:.6g}), expected loops apart")
        following[s] = k
    loops, left = [], dict.fromkeys(range(len(pieces)))
    while left:
        k = next(iter(left))
        loop = []
        while k in left:
            del left[k]
            loop.append(pieces[k])
            k = following.get(int(stop[k]), -1)
        if k < 0 or pieces[k] is not loop[0]:
            x, y = loop[-1].at(np.array([1.0]))[0]
            raise InputError(f"geometry: its boundary is open or touches itself at ({x:.6g}, {y:.6g})")
        loops.append(tuple(loop))
    return loops


def _merged(points: np.ndarray, near: float) -> tuple[np.ndarray, np.ndarray]:
    """(numbers of the points that stay, for each point which of these it is)."""
    representative = np.arange(len(points))
    for i, j in sorted(KDTree(points).query_pairs(near)):
        representative[j] = min(representative[j], representative[i])
    return np.unique(representative, return_inverse=True)


@dataclass(frozen=True)
class Chain:
    """Part of a loop without corners, by its arc length; a loop without any corner is one chain.

    Args:
        pieces: its curves, one after the other.
        loop, start: the number of its loop, and the arc length along that at which it starts.
        around: the length of the loop.
    """

    pieces: tuple[Curve, ...]
    loop: int
    start: float
    around: float

    @property
    def ends(self) -> np.ndarray:
        return np.concatenate([[0.0], np.cumsum([p.length for p in self.pieces])])

    @property
    def length(self) -> float:
        return float(sum(p.length for p in self.pieces))

    def at(self, s: Shaped[np.ndarray, " place"]) -> Float[np.ndarray, "place 2"]:
        """Points at these lengths along it."""
        ends = self.ends
        which = np.clip(np.searchsorted(ends, s, side="right") - 1, 0, len(self.pieces) - 1)
        points = np.zeros((len(s), 2))
        for k in np.unique(which):
            piece, mine = self.pieces[k], which == k
            points[mine] = piece.at(np.clip((s[mine] - ends[k]) / piece.length, 0.0, 1.0))
        return points

    def bend(self, s: Shaped[np.ndarray, " place"]) -> Float[np.ndarray, " place"]:
        """Curvature there; of a polygon that stands for a smooth curve, turns by the lengths beside them."""
        ends = self.ends
        which = np.clip(np.searchsorted(ends, s, side="right") - 1, 0, len(self.pieces) - 1)
        found = np.array([p.curvature for p in self.pieces])
        for k, (a, b) in enumerate(itertools.pairwise(self.pieces)):
            bend = abs(_turn(a, b)) / min(a.length, b.length)
            found[k], found[k + 1] = max(found[k], bend), max(found[k + 1], bend)
        return found[which]


def _turn(a: Curve, b: Curve) -> float:
    (ax, ay), (bx, by) = a.tangent(np.array([1.0]))[0], b.tangent(np.array([0.0]))[0]
    return math.atan2(ax * by - ay * bx, ax * bx + ay * by)


def chains(loops: Sequence[Loop], size: float) -> list[Chain]:
    """The loops, cut at corners: where they turn by more than `CORNER`, where the name of the boundary changes, and
    between pieces that are long enough for edges of their own."""
    found = []
    for number, loop in enumerate(loops):
        around = sum(p.length for p in loop)
        pairs = [(loop[k - 1], p) for k, p in enumerate(loop)]
        kept = [
            k
            for k, (a, b) in enumerate(pairs)
            if len(loop) > 1 or abs(_turn(a, b)) > 1e-6
            if abs(_turn(a, b)) > CORNER or a.name != b.name or min(a.length, b.length) >= size / 2
        ]
        first = kept[0] if kept else 0
        turned, cuts = loop[first:] + loop[:first], [k - first for k in kept] or [0]
        start = 0.0
        for a, b in itertools.pairwise([*cuts, len(loop)]):
            chain = Chain(turned[a:b], number, start, around)
            found.append(chain)
            start += chain.length
    return found


@dataclass(frozen=True)
class Spacing:
    """How long edges are: h(x) = min(size, min_i hᵢ + g·|x − xᵢ|) with the slope g = `GRADING`.

    Args:
        size: the longest.
        points: (M, 2) places xᵢ that need shorter edges.
        lengths: (M,) hᵢ of these.
    """

    size: float
    points: Float[np.ndarray, "place 2"]
    lengths: Float[np.ndarray, " place"]

    @cached_property
    def levels(self) -> list[tuple[KDTree, np.ndarray]]:
        """The places by about equal lengths: of each of these sets the nearest place counts."""
        level = np.round(np.log(self.lengths / self.size) / math.log(LEVEL)).astype(int)
        return [(KDTree(self.points[level == k]), self.lengths[level == k]) for k in np.unique(level)]

    def __call__(self, points: Shaped[np.ndarray, "point 2"]) -> Float[np.ndarray, " point"]:
        found = np.full(len(points), self.size)
        for tree, lengths in self.levels:
            away, nearest = tree.query(points)
            np.minimum(found, lengths[nearest] + GRADING * away, out=found)
        return found


def spacing(geometry: Geometry, parts: Sequence[Chain], size: float, near: Mapping[str, float] = {}) -> Spacing:
    """Edges short enough for curved parts, for short ones, and for gaps between two.

    Args:
        near: name of a boundary -> how long edges are there at most.

    Raises:
        InputError: that would take edges of less than `FINEST` times the size.
    """
    asked = np.array([min(near.get(p.name, size) for p in c.pieces) for c in parts])
    counts = [
        max(4, math.ceil(4 * c.length / min(size, most)), *(8 if p.curvature else 1 for p in c.pieces),
            min(64, 2 * len(c.pieces)))
        for c, most in zip(parts, asked, strict=True)
    ]  # fmt: skip
    along = [(np.arange(n) + 0.5) / n * c.length for n, c in zip(counts, parts, strict=True)]
    points = np.concatenate([c.at(s) for c, s in zip(parts, along, strict=True)])
    owner = np.repeat(np.arange(len(parts)), counts)
    place = np.concatenate([c.start + s for c, s in zip(parts, along, strict=True)])
    bend = np.concatenate([c.bend(s) for c, s in zip(parts, along, strict=True)])
    lengths = np.minimum(np.minimum(size, asked), np.array([c.length for c in parts]))[owner]
    lengths = np.minimum(lengths, TURN / np.maximum(bend, 1e-300))
    gap = _gaps(geometry, parts, points, owner, place, size)
    lengths = np.minimum(lengths, gap / ACROSS)
    worst = int(lengths.argmin())
    if lengths[worst] < FINEST * size:
        (x, y), least = points[worst], float(lengths[worst])
        curved = TURN / max(float(bend[worst]), 1e-300) <= least
        what = "a gap" if gap[worst] / ACROSS <= least else "a curve" if curved else "a side"
        what = what if asked[owner[worst]] > least else "what is asked"
        raise InputError(
            f"size: {what} near ({x:.4g}, {y:.4g}) needs edges of {least:.3g}, expected a size of at most "
            f"{least / FINEST:.3g} here, got {size:g}"
        )
    short = lengths < size * (1 - 1e-12)
    return Spacing(size, points[short], lengths[short])


def _gaps(
    geometry: Geometry, parts: Sequence[Chain], points: np.ndarray, owner: np.ndarray, place: np.ndarray, size: float
) -> np.ndarray:
    """How wide the region is, from each point of its boundary to another part of it; infinite beyond what matters."""
    gap = np.full(len(points), np.inf)
    pairs = KDTree(points).query_pairs(1.2 * ACROSS * size, output_type="ndarray")
    if not len(pairs):
        return gap
    i, j = pairs[np.lexsort(pairs.T[::-1])].T
    loop, around = np.array([c.loop for c in parts])[owner], np.array([c.around for c in parts])[owner]
    along = np.abs(place[i] - place[j])
    along = np.where(loop[i] == loop[j], np.minimum(along, around[i] - along), np.inf)
    straight = np.linalg.norm(points[i] - points[j], axis=1)
    # beside a corner, and along one smooth part, the boundary is near because it is the same
    apart = (along > 4 * size) | ((along > 1.5 * math.pi / 2 * straight) & (owner[i] == owner[j]))
    i, j = i[apart], j[apart]
    middle = (points[i] + points[j]) / 2
    between = _inside(geometry, middle)
    for a, b in ((i[between], j[between]), (j[between], i[between])):
        for chain in np.unique(owner[b]):
            mine = np.unique(a[owner[b] == chain])
            distance = np.min([p.distance(points[mine]) for p in parts[chain].pieces], axis=0)
            other = owner[mine] != chain
            gap[mine[other]] = np.minimum(gap[mine[other]], distance[other])
        same = owner[a] == owner[b]
        np.minimum.at(gap, a[same], np.linalg.norm(points[a[same]] - points[b[same]], axis=1))
    return gap


def nodes(
    parts: Sequence[Chain], spacing: Spacing
) -> tuple[Float[np.ndarray, "node 2"], Integer[np.ndarray, "side 2"]]:
    """Nodes on the boundary, each chain divided into equal shares of ∫ ds / h, and the sides between them, region on
    the left."""
    points, sides, first = [], [], 0
    for number, chain in enumerate(parts):
        fine = np.linspace(0.0, chain.length, max(17, 8 * math.ceil(chain.length / spacing.size) + 1))
        if len(spacing.points):
            fine = np.linspace(0.0, chain.length, 8 * len(fine))
        wanted = np.concatenate([[0.0], np.cumsum(np.diff(fine) / spacing(chain.at((fine[1:] + fine[:-1]) / 2)))])
        count = max(1, math.ceil(wanted[-1] - 0.2))
        closed = chain.length >= chain.around * (1 - 1e-12)
        count = max(count, 3) if closed else count
        s = np.interp(np.arange(count) / count * wanted[-1], wanted, fine)
        points.append(chain.at(s))
        later = first + np.arange(1, count + 1)
        last_of_loop = number + 1 == len(parts) or parts[number + 1].loop != chain.loop
        if last_of_loop:
            start_of_loop = next(k for k, c in enumerate(parts) if c.loop == chain.loop)
            later[-1] = sum(len(p) for p in points[:start_of_loop])
        sides.append(np.stack([np.arange(first, first + count), later], axis=1))
        first += count
    return np.concatenate(points), np.concatenate(sides)
