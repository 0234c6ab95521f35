"""How nodes on the boundary of a mesh may move: along straight pieces of it; where it turns they stay."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse
from jaxtyping import Bool, Float, Integer

from sciml.errors import InputError
from sciml.meshing._simplices import Cells, Points, outer_sides

STRAIGHT = 1e-7  # sine of the angle between sides that make up one straight piece


@dataclass(frozen=True)
class Sliding:
    """Directions of nodes.

    Args:
        sides: (S, D) of the boundary: end nodes, or edges that have the region on their left.
        fixed: nodes that stay.
        tangent: (N, D) unit vectors of nodes that slide, 0 of others.
    """

    sides: Integer[np.ndarray, "side end"]
    fixed: Bool[np.ndarray, " node"]
    tangent: Float[np.ndarray, "node dimension"]

    @classmethod
    def of(cls, points: Points, cells: Cells, held: np.ndarray | None) -> Sliding:
        """From a mesh.

        Args:
            held: nodes that stay beside the corners.

        Raises:
            InputError: a boundary that is no closed line around the mesh.
        """
        count, sides = len(points), outer_sides(cells)
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
            fixed = (at == 2) & ~straight
            tangent[straight] = out[straight]
        if held is not None:
            fixed[np.asarray(held, int)], tangent[np.asarray(held, int)] = True, 0
        return cls(sides, fixed, tangent)

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
