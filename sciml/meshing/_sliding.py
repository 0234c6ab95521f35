"""How nodes on the boundary of a mesh may move: along straight pieces and known circles; where it turns they stay."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse
from jaxtyping import Bool, Float, Integer
from scipy.sparse.csgraph import connected_components

from sciml.errors import InputError
from sciml.geometry import Arc, Geometry
from sciml.meshing._simplices import Cells, Points, adjacency, outer_sides

STRAIGHT = 1e-4  # sine of the angle between sides that make up one straight piece: files have six or seven digits
ON = 1e-6  # of the size of a mesh: how near to a circle nodes are that lie on it


@dataclass(frozen=True)
class Sliding:
    """Directions of nodes.

    Args:
        sides: (S, D) of the boundary: end nodes, or edges that have the region on their left.
        fixed: nodes that stay.
        tangent: (N, D) unit vectors of nodes that slide, 0 of others.
        centre: (N, D) of the circles along which nodes slide; NaN of others.
    """

    sides: Integer[np.ndarray, "side end"]
    fixed: Bool[np.ndarray, " node"]
    tangent: Float[np.ndarray, "node dimension"]
    centre: Float[np.ndarray, "node dimension"]

    @classmethod
    def of(cls, points: Points, cells: Cells, held: np.ndarray | None, geometry: Geometry | None = None) -> Sliding:
        """From a mesh.

        Args:
            held: nodes that stay beside the corners.
            geometry: the region that the mesh fills: nodes on its arcs slide along these. None: they stay.

        Raises:
            InputError: cells that overlap, a boundary that is no closed line around the mesh, a node on a side.
        """
        count, sides = len(points), outer_sides(cells)
        _refuse_overlaps(cells, count)
        _refuse_parts(cells, count)
        if points.shape[1] == 2:
            _refuse_winding(points, cells)
        fixed, tangent = np.zeros(count, bool), np.zeros_like(points)
        if points.shape[1] == 1:
            fixed[sides.ravel()] = True
        else:
            at = np.bincount(sides.ravel(), minlength=count)
            wrong = np.flatnonzero((at != 0) & (at != 2))
            if len(wrong):
                raise InputError(
                    f"mesh: {at[wrong[0]]} sides of the boundary meet at node {wrong[0]}, expected 2: the boundary is "
                    "not closed there, touches itself, or a node hangs on a side"
                )
            along = points[sides[:, 1]] - points[sides[:, 0]]
            along = along / np.linalg.norm(along, axis=1, keepdims=True)
            into, out = np.zeros_like(points), np.zeros_like(points)
            into[sides[:, 1]], out[sides[:, 0]] = along, along
            cross = into[:, 0] * out[:, 1] - into[:, 1] * out[:, 0]
            dot = (into * out).sum(1)
            straight = (at == 2) & (np.abs(cross) < STRAIGHT) & (dot > 0)
            _refuse_hanging(points, sides, (at == 2) & (np.abs(cross) < STRAIGHT) & (dot < 0))
            fixed = (at == 2) & ~straight
            tangent[straight] = out[straight]
        centre = np.full_like(points, np.nan)
        if geometry is not None and points.shape[1] == 2:
            centre = _centres(points, sides, geometry)
            round_ = np.isfinite(centre).all(1)
            away = points[round_] - centre[round_]
            away = away / np.linalg.norm(away, axis=1, keepdims=True)
            fixed[round_] = False
            tangent[round_] = np.stack([-away[:, 1], away[:, 0]], 1)
        if held is not None:
            held = np.asarray(held, int)
            fixed[held], tangent[held], centre[held] = True, 0, np.nan
        return cls(sides, fixed, tangent, centre)

    @property
    def slides(self) -> Bool[np.ndarray, " node"]:
        return np.asarray(self.tangent.any(1))

    def projected(self, steps: Points) -> Points:
        """Steps without what leads off the boundary."""
        found = np.where(self.fixed[:, None], 0.0, steps)
        slides = self.slides
        along = (found[slides] * self.tangent[slides]).sum(1, keepdims=True)
        found[slides] = along * self.tangent[slides]
        return found

    def moved(self, points: Points, steps: Points) -> Points:
        """Where steps lead that are `projected`: straight on, or as far around a circle."""
        found = points + steps
        around = np.isfinite(self.centre).all(1)
        if around.any():
            away = points[around] - self.centre[around]
            turn = (steps[around] * self.tangent[around]).sum(1) / np.linalg.norm(away, axis=1)
            cos, sin = np.cos(turn), np.sin(turn)
            x, y = away.T
            found[around] = self.centre[around] + np.stack([cos * x - sin * y, sin * x + cos * y], 1)
            found[around] = np.where((turn == 0)[:, None], points[around], found[around])
        return found

    def freedoms(self) -> scipy.sparse.csc_array:
        """(N · D, what is free): coordinates of nodes inside, one number of nodes that slide, none of others."""
        count, d = self.tangent.shape
        rows: list[np.ndarray] = []
        columns: list[np.ndarray] = []
        values: list[np.ndarray] = []
        inner = np.flatnonzero(~self.fixed & ~self.slides)
        sliding = np.flatnonzero(self.slides)
        for k in range(d):
            rows.append(d * inner + k)
            columns.append(k * len(inner) + np.arange(len(inner)))
            values.append(np.ones(len(inner)))
            rows.append(d * sliding + k)
            columns.append(d * len(inner) + np.arange(len(sliding)))
            values.append(self.tangent[sliding, k])
        shape = (d * count, d * len(inner) + len(sliding))
        return scipy.sparse.csc_array(
            (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), shape=shape
        )


def _refuse_overlaps(cells: Cells, count: int) -> None:
    """A side belongs to one cell on either side of it."""
    k = cells.shape[1]
    for i in (0, 1) if k == 2 else ():
        if (np.bincount(cells[:, i], minlength=count) > 1).any():
            node = int(np.bincount(cells[:, i], minlength=count).argmax())
            raise InputError(f"cells: several intervals {('start', 'end')[i]} at node {node}: cells lie on each other")
    if k == 3:
        keys = np.concatenate([cells[:, i] * count + cells[:, (i + 1) % 3] for i in range(3)])
        several, times = np.unique(keys, return_counts=True)
        if len(several) < len(keys):
            pair = divmod(int(several[times.argmax()]), count)
            raise InputError(f"cells: several triangles lie on the same side of the edge {pair}: cells overlap")


def _refuse_parts(cells: Cells, count: int) -> None:
    parts, _ = connected_components(adjacency(cells, count), directed=False)
    if parts > 1:
        raise InputError(f"mesh: is of {parts} parts that no cell joins, expected one; move each by itself")


def _refuse_winding(points: Points, cells: Cells) -> None:
    """Angles around a node make up at most one turn; more of them are cells on cells."""
    total = np.zeros(len(points))
    for i in range(3):
        a, b, c = (points[cells[:, (i + j) % 3]] for j in range(3))
        u, v = b - a, c - a
        total += np.bincount(
            cells[:, i], np.arctan2(u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0], (u * v).sum(1)), len(points)
        )
    node = int(total.argmax())
    if total[node] > 2 * np.pi * (1 + 1e-6):
        raise InputError(f"cells: those around node {node} make up more than one turn: cells lie on each other")


def _refuse_hanging(points: Points, sides: np.ndarray, back: np.ndarray) -> None:
    """Where the boundary turns back on itself there is a slit, with nodes in the same places on both its banks; if not,
    a node hangs on a side."""
    before, after = np.zeros(len(points), int), np.zeros(len(points), int)
    before[sides[:, 1]], after[sides[:, 0]] = sides[:, 0], sides[:, 1]
    for node in np.flatnonzero(back):
        a, b = points[before[node]] - points[node], points[after[node]] - points[node]
        if np.linalg.norm(a - b) > STRAIGHT * np.linalg.norm(b):
            hangs, end = (before, after) if a @ a < b @ b else (after, before)
            raise InputError(
                f"mesh: node {hangs[node]} hangs on the side from node {node} to node {end[node]}; expected cells that "
                "share whole sides"
            )


def _centres(points: Points, sides: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Centres of the circles that nodes lie on with both of their sides; NaN of others.

    Raises:
        InputError: the outline of the region is not known, or the mesh's boundary is elsewhere.
    """
    from sciml.meshes.outlines import outline

    found = np.full_like(points, np.nan)
    pieces = [piece for loop in outline(geometry) for piece in loop]
    near = ON * float(np.ptp(points, axis=0).max())
    ends, middle = points[sides], points[sides].mean(1)
    off = np.stack([
        np.where((piece.distance(ends.reshape(-1, 2)).reshape(-1, 2) <= near).all(1), piece.distance(middle), np.inf)
        for piece in pieces
    ])  # fmt: skip
    nearest = off.argmin(0)
    wrong = np.flatnonzero(~np.isfinite(off.min(0)))
    if len(wrong):
        x, y = middle[wrong[0]]
        raise InputError(
            f"geometry: the side of the mesh at ({x:.6g}, {y:.6g}) is not on its boundary, one of {len(wrong)}"
        )
    of_side = np.full((len(sides), 2), np.nan)
    for k, piece in enumerate(pieces):
        if isinstance(piece, Arc):
            of_side[nearest == k] = piece.centre
    into, out = np.full_like(points, np.nan), np.full_like(points, np.nan)
    into[sides[:, 1]], out[sides[:, 0]] = of_side, of_side
    same = np.linalg.norm(into - out, axis=1) <= near  # of both sides; their radii then agree, as the node is on both
    found[same] = out[same]
    return found
